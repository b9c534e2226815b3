//! BIRD 2.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Mutex;

use wayleave_lab::{Bird, Host, Lab, Why, ensure};

use crate::interop::daemon::{COMMUNITIES, Daemon, LOCAL_PREF, MED, Route, Setup, is_ipv6};
use crate::interop::paths::{Paths, Told};
use crate::interop::roles::Roles;

/// BIRD, and its configuration as it is now: networks come and go with it.
pub(crate) struct Tested {
    bird: Bird,
    config: Mutex<String>,
}

crate::interop::matrix!(Tested, [Bird, Agent]);

impl Daemon for Tested {
    const HEADING: &str = "BIRD";

    fn run(lab: &Lab, host: &Host, config: &str) -> Result<Self, Why> {
        Ok(Self {
            bird: lab.bird(host, config)?,
            config: Mutex::new(config.to_owned()),
        })
    }

    fn start(lab: &Lab, host: &Host, setup: &Setup) -> Result<Self, Why> {
        Self::run(lab, host, &config(setup))
    }

    fn best(&self, prefix: &str) -> Result<Route, Why> {
        let shown = self.bird.best(prefix)?;
        let text = |key: &str| shown.get(key).map(String::as_str).unwrap_or_default();
        let number = |key: &str| text(key).parse().ok();
        Ok(Route {
            path: text("BGP.as_path").to_owned(),
            communities: tuples(text("BGP.community")),
            large: tuples(text("BGP.large_community")),
            med: number("BGP.med").unwrap_or(0),
            local_pref: number("BGP.local_pref"),
            // A link-local next hop stands after the global one.
            next_hop: text("BGP.next_hop")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        })
    }

    fn withdraw(&self, prefix: &str) -> Result<(), Why> {
        let mut config = self.config.lock().map_err(|e| e.to_string())?;
        *config = config.replace(&announced(prefix), "");
        Ok(self.bird.configure(&config)?)
    }

    fn kill(&self) -> Result<(), Why> {
        Ok(self.bird.process().kill()?)
    }

    fn start_again(&self) -> Result<(), Why> {
        Ok(self.bird.start_again()?)
    }

    fn ask_again(&self, _: IpAddr) -> Result<(), Why> {
        self.bird.cli(&format!("reload in {}", self.session()?))?;
        Ok(())
    }

    fn close(&self, _: IpAddr, text: &str) -> Result<(), Why> {
        self.bird.cli(&format!("disable n0 \"{text}\""))?;
        Ok(())
    }

    fn said(&self) -> Result<String, Why> {
        Ok(self.bird.process().log())
    }
}

impl Tested {
    /// Has it write a table as MRT.
    pub(crate) fn dump(&self, table: &str, file: &str) -> Result<(), Why> {
        self.bird
            .cli(&format!("mrt dump table \"{table}\" to \"{file}\""))?;
        Ok(())
    }
}

impl Paths for Tested {
    /// Nor does it show those that it gives itself.
    const SHOWS_IDENTIFIERS: bool = false;

    fn paths(&self, prefix: &str, _: IpAddr) -> Result<Told, Why> {
        let shown = self.bird.cli(&format!("show route {prefix} all"))?;
        let hops = shown
            .lines()
            .filter_map(|line| line.trim().strip_prefix("BGP.next_hop: "));
        Ok(hops.map(|hop| (hop.to_owned(), None)).collect())
    }

    fn agreed(&self, _: IpAddr) -> Result<(), Why> {
        let session = self.session()?;
        let shown = self.bird.cli(&format!("show protocols all {session}"))?;
        let (local, theirs) = shown
            .split_once("Neighbor capabilities")
            .ok_or_else(|| shown.clone())?;
        for side in [local, theirs] {
            let (_, modes) = side.split_once("ADD-PATH").ok_or_else(|| shown.clone())?;
            for mode in ["RX: ipv4", "TX: ipv4"] {
                ensure!(modes.contains(mode), "{shown}");
            }
        }
        Ok(())
    }
}

impl Roles for Tested {
    const MISMATCH: &str = "Role mismatch";

    fn our_role(&self, _: IpAddr) -> Result<String, Why> {
        let session = self.session()?;
        let shown = self.bird.cli(&format!("show protocols all {session}"))?;
        let (_, theirs) = shown
            .split_once("Neighbor capabilities")
            .ok_or_else(|| shown.clone())?;
        let role = theirs
            .lines()
            .find_map(|line| line.trim().strip_prefix("Role: "));
        Ok(role.ok_or_else(|| shown.clone())?.to_owned())
    }

    fn mark(&self, prefix: &str) -> Result<Option<u64>, Why> {
        let shown = self.bird.best(prefix)?;
        Ok(shown.get("BGP.otc").and_then(|number| number.parse().ok()))
    }
}

impl Tested {
    /// The name of its first session.
    fn session(&self) -> Result<String, Why> {
        let config = self.config.lock().map_err(|e| e.to_string())?;
        let name = config
            .split("protocol bgp ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        Ok(name.ok_or("no `protocol bgp`")?.to_owned())
    }
}

/// `(65001,7) (65001, 77)` as `65001:7` and `65001:77`.
fn tuples(text: &str) -> BTreeSet<String> {
    text.split(')')
        .map(|tuple| {
            tuple
                .trim()
                .trim_start_matches('(')
                .replace(", ", ":")
                .replace(',', ":")
        })
        .filter(|tuple| !tuple.is_empty())
        .collect()
}

fn announced(network: &str) -> String {
    format!("route {network} blackhole;")
}

fn config(setup: &Setup) -> String {
    let asn = setup.asn;
    // First, because defaults count for what stands behind them.
    let mut text = format!(
        "router id {};\n{}protocol device {{ scan time 1; }}\n",
        setup.id, setup.more
    );
    for (channel, ipv6) in [("ipv4", false), ("ipv6", true)] {
        let own = setup
            .networks
            .iter()
            .filter(|network| is_ipv6(network) == ipv6);
        let own: String = own.map(|network| announced(network)).collect();
        text += &format!("protocol static {{ {channel}; {own} }}\n");
    }
    let tuple = |colons: &str| colons.replace(':', ",");
    let scope = match setup.internal() {
        true => format!("bgp_local_pref = {LOCAL_PREF};"),
        false => format!("bgp_path.prepend({asn});"),
    };
    let large: String = setup
        .large()
        .iter()
        .map(|large| format!("bgp_large_community.add(({})); ", tuple(large)))
        .collect();
    text += &format!(
        "filter ours {{\n  if source = RTS_STATIC then {{\n    bgp_med = {MED}; {scope}\n    \
         bgp_community.add(({})); bgp_community.add(({}));\n    {large}\n  }}\n  accept;\n}}\n",
        tuple(COMMUNITIES[0]),
        tuple(COMMUNITIES[1]),
    );
    let limit = setup.limit.map_or(String::new(), |limit| {
        format!("receive limit {limit} action restart;")
    });
    for (n, neighbour) in setup.neighbours.iter().enumerate() {
        let mut more = String::new();
        if let Some(password) = neighbour.password {
            more += &format!("password \"{password}\"; ");
        }
        if neighbour.client && neighbour.asn == asn {
            more += "rr client; ";
        }
        if setup.more_large > 0 {
            more += "enable extended messages on; ";
        }
        for (channel, ipv6) in [("ipv4", false), ("ipv6", true)] {
            if neighbour.carries(ipv6) {
                more += &format!("\n  {channel} {{ import all; export filter ours; {limit} }};");
            }
        }
        text += &format!(
            "protocol bgp n{n} {{\n  local {} as {asn}; neighbor {} as {};\n  connect retry time 1; \
             connect delay time 1; error wait time 1,2;\n  {more}\n}}\n",
            neighbour.local(),
            neighbour.address,
            neighbour.asn,
        );
    }
    text
}
