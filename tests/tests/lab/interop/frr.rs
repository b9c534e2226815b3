//! FRR.

use std::net::IpAddr;

use serde_json::Value;
use wayleave_lab::{Frr, FrrConfig, Host, Lab, Why, ensure};

use crate::interop::daemon::{COMMUNITIES, Daemon, LOCAL_PREF, MED, Route, Setup, is_ipv6, set};
use crate::interop::paths::{Paths, Told};
use crate::interop::roles::Roles;

pub(crate) struct Tested {
    frr: Frr,
    /// The line that its configuration of BGP begins with.
    router: String,
}

crate::interop::matrix!(Tested, [Frr, Agent]);

impl Daemon for Tested {
    const HEADING: &str = "FRR";

    /// Neighbours that bgpd reads of before zebra has told it of the host would have to wait for 4 s.
    fn run(lab: &Lab, host: &Host, config: &str) -> Result<Self, Why> {
        let frr = lab.frr(host, FrrConfig::new(""))?;
        let lines: Vec<&str> = config.lines().map(str::trim).collect();
        frr.configure(&lines)?;
        frr.vtysh("write file")?;
        let router = lines
            .into_iter()
            .find(|line| line.starts_with("router bgp"));
        Ok(Self {
            frr,
            router: router.ok_or("no `router bgp`")?.to_owned(),
        })
    }

    fn start(lab: &Lab, host: &Host, setup: &Setup) -> Result<Self, Why> {
        Self::run(lab, host, &config(setup))
    }

    fn best(&self, prefix: &str) -> Result<Route, Why> {
        let path = self.frr.best(prefix)?;
        let words = |value: &Value| set(value.as_str().unwrap_or_default().split_whitespace());
        let aspath = path["aspath"]["string"].as_str().unwrap_or_default();
        let hops = path["nexthops"].as_array().map(Vec::as_slice);
        // A link-local next hop stands beside the global one.
        let mut hops = hops.unwrap_or_default().iter();
        let hop = hops.find(|hop| hop["scope"] != "link-local");
        Ok(Route {
            path: aspath.replace("Local", ""),
            communities: words(&path["community"]["string"]),
            large: words(&path["largeCommunity"]["string"]),
            med: path["metric"].as_u64().unwrap_or(0),
            local_pref: path["locPrf"].as_u64(),
            next_hop: hop
                .and_then(|hop| hop["ip"].as_str())
                .unwrap_or_default()
                .to_owned(),
        })
    }

    fn withdraw(&self, prefix: &str) -> Result<(), Why> {
        let family = if is_ipv6(prefix) { "ipv6" } else { "ipv4" };
        self.frr.configure(&[
            &self.router,
            &format!("address-family {family} unicast"),
            &format!("no network {prefix} route-map OURS"),
        ])?;
        Ok(())
    }

    fn kill(&self) -> Result<(), Why> {
        Ok(self.frr.daemon("bgpd")?.kill()?)
    }

    fn start_again(&self) -> Result<(), Why> {
        Ok(self.frr.start_daemons()?)
    }

    fn ask_again(&self, neighbour: IpAddr) -> Result<(), Why> {
        for family in ["ipv4", "ipv6"] {
            self.frr
                .vtysh(&format!("clear bgp {family} unicast {neighbour} soft in"))?;
        }
        Ok(())
    }

    fn refreshes_heard(&self, neighbour: IpAddr) -> Result<Option<u64>, Why> {
        let address = neighbour.to_string();
        let shown = self
            .frr
            .vtysh_json(&format!("show bgp neighbors {address} json"))?;
        let heard = &shown[&address]["messageStats"]["routeRefreshRecv"];
        Ok(Some(heard.as_u64().ok_or("FRR shows no count")?))
    }

    fn close(&self, neighbour: IpAddr, text: &str) -> Result<(), Why> {
        self.frr.configure(&[
            &self.router,
            &format!("neighbor {neighbour} shutdown message {text}"),
        ])?;
        Ok(())
    }

    fn said(&self) -> Result<String, Why> {
        Ok(self.frr.vtysh("show bgp neighbors")? + &self.frr.log())
    }
}

impl Paths for Tested {
    fn paths(&self, prefix: &str, us: IpAddr) -> Result<Told, Why> {
        let shown = self
            .frr
            .vtysh_json(&format!("show bgp ipv4 unicast {prefix} json"))?;
        let paths = shown["paths"].as_array().map(Vec::as_slice);
        let ours = paths
            .unwrap_or_default()
            .iter()
            .filter(|path| path["peer"]["peerId"] == us.to_string());
        Ok(ours
            .map(|path| {
                let hop = path["nexthops"][0]["ip"].as_str().unwrap_or_default();
                (hop.to_owned(), path["addpathRxId"].as_u64())
            })
            .collect())
    }

    fn agreed(&self, us: IpAddr) -> Result<(), Why> {
        let address = us.to_string();
        let shown = self
            .frr
            .vtysh_json(&format!("show bgp neighbors {address} json"))?;
        let seen = &shown[&address]["neighborCapabilities"]["addPath"]["ipv4Unicast"];
        for direction in ["txAdvertisedAndReceived", "rxAdvertisedAndReceived"] {
            ensure!(seen[direction] == true, "{direction}: {seen}");
        }
        Ok(())
    }
}

impl Roles for Tested {
    const MISMATCH: &str = "2/11 (OPEN Message Error/Role Mismatch)";

    fn our_role(&self, us: IpAddr) -> Result<String, Why> {
        let address = us.to_string();
        let shown = self
            .frr
            .vtysh_json(&format!("show bgp neighbors {address} json"))?;
        let role = shown[&address]["remoteRole"].as_str();
        Ok(role.ok_or("FRR shows no role")?.to_owned())
    }

    fn mark(&self, prefix: &str) -> Result<Option<u64>, Why> {
        Ok(self.frr.best(prefix)?["otc"].as_u64())
    }
}

fn config(setup: &Setup) -> String {
    let asn = setup.asn;
    let scope = match setup.internal() {
        true => format!("set local-preference {LOCAL_PREF}"),
        false => format!("set as-path prepend {asn}"),
    };
    let large = setup.large();
    // A line of its configuration holds no more.
    let mut parts = large.chunks(100).enumerate();
    let first = parts.next().map_or(&[][..], |(_, part)| part);
    let more: String = parts
        .map(|(n, part)| {
            let part = part.join(" ");
            format!(
                " on-match next\nexit\nroute-map OURS permit {}\n \
                 set large-community {part} additive\n",
                10 + n
            )
        })
        .collect();
    let mut text = format!(
        "route-map OURS permit 10\n set metric {MED}\n set community {}\n \
         set large-community {}\n {scope}\n{more}exit\n\
         router bgp {asn}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n no bgp default ipv4-unicast\n",
        COMMUNITIES.join(" "),
        first.join(" "),
        setup.id,
    );
    for neighbour in &setup.neighbours {
        let address = neighbour.address;
        text += &format!(
            " neighbor {address} remote-as {}\n neighbor {address} timers connect 1\n",
            neighbour.asn
        );
        if let Some(password) = neighbour.password {
            text += &format!(" neighbor {address} password {password}\n");
        }
    }
    for (family, ipv6) in [("ipv4", false), ("ipv6", true)] {
        text += &format!(" address-family {family} unicast\n");
        for network in setup
            .networks
            .iter()
            .filter(|network| is_ipv6(network) == ipv6)
        {
            text += &format!("  network {network} route-map OURS\n");
        }
        for neighbour in setup.neighbours.iter().filter(|n| n.carries(ipv6)) {
            let address = neighbour.address;
            text += &format!("  neighbor {address} activate\n");
            if neighbour.client && neighbour.asn == asn {
                text += &format!("  neighbor {address} route-reflector-client\n");
            }
            if let Some(limit) = setup.limit {
                text += &format!("  neighbor {address} maximum-prefix {limit}\n");
            }
        }
        text += " exit-address-family\n";
    }
    text + &setup.more
}
