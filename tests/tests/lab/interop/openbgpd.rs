//! OpenBGPD, the portable one.

use std::net::IpAddr;

use serde_json::Value;
use wayleave_lab::{End, Host, Lab, Openbgpd, Why, ensure};

use crate::interop::daemon::{
    COMMUNITIES, Daemon, Families, LOCAL_PREF, MED, Route, Setup, is_ipv6, set,
};
use crate::interop::paths::{Asked, Paths, Told};
use crate::interop::roles::Roles;

pub(crate) struct Tested {
    bgpd: Openbgpd,
}

crate::interop::matrix!(Tested, [Agent]);

impl Daemon for Tested {
    const HEADING: &str = "OpenBGPD";
    /// Its next hop is useless there, and the one in its configuration is not heeded: that counts
    /// inside the AS alone, or with the address of a network that the session is on.
    const BOTH_OVER_IPV4: bool = false;
    const LONG_MESSAGES: bool = false;

    fn missing() -> Option<String> {
        Openbgpd::missing()
    }

    fn run(lab: &Lab, host: &Host, config: &str) -> Result<Self, Why> {
        Ok(Self {
            bgpd: Openbgpd::start(lab, host, config)?,
        })
    }

    fn start(lab: &Lab, host: &Host, setup: &Setup) -> Result<Self, Why> {
        Self::run(lab, host, &config(setup))
    }

    fn best(&self, prefix: &str) -> Result<Route, Why> {
        let route = self.bgpd.best(prefix)?;
        let text = |key: &str| route[key].as_str().unwrap_or_default().to_owned();
        let list = |key: &str| {
            let values = route[key].as_array().map(Vec::as_slice).unwrap_or_default();
            set(values.iter().filter_map(Value::as_str))
        };
        Ok(Route {
            path: text("aspath"),
            communities: list("communities"),
            large: list("large_communities"),
            med: route["metric"].as_u64().unwrap_or(0),
            local_pref: route["localpref"].as_u64(),
            next_hop: text("exit_nexthop"),
        })
    }

    fn withdraw(&self, prefix: &str) -> Result<(), Why> {
        self.bgpd.cli(&format!("network delete {prefix}"))?;
        Ok(())
    }

    fn kill(&self) -> Result<(), Why> {
        Ok(self.bgpd.kill()?)
    }

    fn start_again(&self) -> Result<(), Why> {
        Ok(self.bgpd.start_again()?)
    }

    fn ask_again(&self, neighbour: IpAddr) -> Result<(), Why> {
        self.bgpd.cli(&format!("neighbor {neighbour} refresh"))?;
        Ok(())
    }

    fn refreshes_heard(&self, neighbour: IpAddr) -> Result<Option<u64>, Why> {
        let shown = self.bgpd.cli_json(&format!("show neighbor {neighbour}"))?;
        let heard = &shown["neighbors"][0]["stats"]["message"]["received"]["route_refresh"];
        Ok(Some(heard.as_u64().ok_or("OpenBGPD shows no count")?))
    }

    fn close(&self, neighbour: IpAddr, text: &str) -> Result<(), Why> {
        let address = neighbour.to_string();
        self.bgpd.run(["neighbor", &address, "down", text])?;
        Ok(())
    }

    fn said(&self) -> Result<String, Why> {
        Ok(self.bgpd.process().log())
    }

    /// That of its loopback interface: nobody else can send a packet there.
    fn unset_next_hop(_: &End) -> Option<String> {
        Some("::1".to_owned())
    }
}

impl Paths for Tested {
    /// Of 7.7 FRR has the same answer.
    const ASKED: Asked = Asked::Ignores("route refresh: AID IPv4 unicast not negotiated");

    fn paths(&self, prefix: &str, us: IpAddr) -> Result<Told, Why> {
        let shown = self.bgpd.cli_json(&format!("show rib detail {prefix}"))?;
        let routes = shown["rib"].as_array().map(Vec::as_slice);
        let ours = routes
            .unwrap_or_default()
            .iter()
            .filter(|route| route["neighbor"]["remote_addr"] == us.to_string());
        Ok(ours
            .map(|route| {
                let hop = route["exit_nexthop"].as_str().unwrap_or_default();
                (hop.to_owned(), route["path_id"].as_u64())
            })
            .collect())
    }

    fn agreed(&self, us: IpAddr) -> Result<(), Why> {
        let shown = self.bgpd.cli_json(&format!("show neighbor {us}"))?;
        let session = &shown["neighbors"][0]["session"];
        let agreed = &session["capabilities"]["add-path"];
        let expected = serde_json::json!({ "family": "IPv4 unicast", "mode": "bidir" });
        let families = agreed.as_array().map(Vec::as_slice);
        ensure!(
            families.unwrap_or_default().contains(&expected),
            "{session}"
        );
        Ok(())
    }
}

impl Roles for Tested {
    const MISMATCH: &str = "role mismatch";

    fn our_role(&self, us: IpAddr) -> Result<String, Why> {
        let shown = self.bgpd.cli_json(&format!("show neighbor {us}"))?;
        let theirs = &shown["neighbors"][0]["session"]["remote"];
        let role = theirs["capabilities"]["open_policy_role"].as_str();
        Ok(role.ok_or("OpenBGPD shows no role")?.to_owned())
    }

    fn mark(&self, prefix: &str) -> Result<Option<u64>, Why> {
        let route = self.bgpd.best(prefix)?;
        let attributes = route["attributes"].as_array().map(Vec::as_slice);
        let mark = attributes
            .unwrap_or_default()
            .iter()
            .find(|attribute| attribute["type"] == "OTC");
        Ok(mark.and_then(|mark| mark["as"].as_u64()))
    }
}

fn config(setup: &Setup) -> String {
    let mut text = format!(
        "AS {}\nrouter-id {}\nconnect-retry 1\nholdtime 9\n",
        setup.asn, setup.id
    );
    for network in &setup.networks {
        let mut attributes = format!("metric {MED}");
        for community in COMMUNITIES {
            attributes += &format!(" community {community}");
        }
        for community in setup.large() {
            attributes += &format!(" large-community {community}");
        }
        attributes += &match setup.internal() {
            true => format!(" localpref {LOCAL_PREF}"),
            false => " prepend-self 1".to_owned(),
        };
        if is_ipv6(network) && !setup.next_hop_unset {
            attributes += &format!(" nexthop {}", setup.neighbours[0].here.v6);
        }
        text += &format!("network {network} set {{ {attributes} }}\n");
    }
    for neighbour in &setup.neighbours {
        text += &format!(
            "neighbor {} {{\n  remote-as {}\n",
            neighbour.address, neighbour.asn
        );
        // By default a session carries the family of its own addresses alone.
        if neighbour.families == Families::Both {
            text += "  announce IPv4 unicast\n  announce IPv6 unicast\n";
        }
        if let Some(password) = neighbour.password {
            text += &format!("  tcp md5sig password {password}\n");
        }
        if neighbour.client && neighbour.asn == setup.asn {
            text += "  route-reflector\n";
        }
        if let Some(limit) = setup.limit {
            text += &format!("  max-prefix {limit}\n");
        }
        text += "}\n";
    }
    text + "allow from any\nallow to any\n" + &setup.more
}
