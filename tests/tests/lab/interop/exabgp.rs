//! ExaBGP, which is no router: it says what it is told to, and repeats what it hears.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;
use wayleave_lab::{End, Exabgp, Host, Lab, Why, ensure};

use crate::interop::daemon::{COMMUNITIES, Daemon, LOCAL_PREF, MED, Route, Setup, is_ipv6, set};
use crate::interop::paths::{Asked, Paths, Told};

pub(crate) struct Tested {
    exabgp: Exabgp,
}

crate::interop::matrix!(Tested, [Agent]);

impl Daemon for Tested {
    const HEADING: &str = "ExaBGP";
    /// `teardown` takes a subcode and no text, and says what that means by itself.
    const SAYS: &str = "Administrative Shutdown";
    /// It takes our NOTIFICATION for an UPDATE, and complains of that.
    const SHOWS_TEXT: bool = false;
    const LIMITS: bool = false;
    const PASSES_ON: bool = false;

    fn missing() -> Option<String> {
        Exabgp::missing()
    }

    fn run(lab: &Lab, host: &Host, config: &str) -> Result<Self, Why> {
        Ok(Self {
            exabgp: Exabgp::start(lab, host, config)?,
        })
    }

    fn start(lab: &Lab, host: &Host, setup: &Setup) -> Result<Self, Why> {
        Self::run(lab, host, &config(setup))
    }

    fn best(&self, prefix: &str) -> Result<Route, Why> {
        let route = self.exabgp.best(prefix)?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let joined = |value: &Value, by: &str| {
            let parts: Vec<String> = list(value).iter().map(Value::to_string).collect();
            parts.join(by)
        };
        let tuples = |key: &str| set(list(&route[key]).iter().map(|parts| joined(parts, ":")));
        Ok(Route {
            path: joined(&route["as-path"], " "),
            communities: tuples("community"),
            large: tuples("large-community"),
            med: route["med"].as_u64().unwrap_or(0),
            local_pref: route["local-preference"].as_u64(),
            next_hop: route["next-hop"].as_str().unwrap_or_default().to_owned(),
        })
    }

    fn withdraw(&self, prefix: &str) -> Result<(), Why> {
        self.exabgp
            .cli(&format!("withdraw route {prefix} next-hop self"))?;
        Ok(())
    }

    fn kill(&self) -> Result<(), Why> {
        Ok(self.exabgp.process().kill()?)
    }

    fn start_again(&self) -> Result<(), Why> {
        Ok(self.exabgp.start_again()?)
    }

    fn ask_again(&self, neighbour: IpAddr) -> Result<(), Why> {
        for family in ["ipv4", "ipv6"] {
            let ask = format!("neighbor {neighbour} announce route-refresh {family} unicast");
            self.exabgp.cli(&ask)?;
        }
        Ok(())
    }

    fn refreshes_heard(&self, _: IpAddr) -> Result<Option<u64>, Why> {
        let shown = self.exabgp.cli("show neighbor extensive")?;
        // What was sent, then what was heard.
        let line = shown
            .lines()
            .find_map(|line| line.trim().strip_prefix("refresh:"));
        let heard = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(Some(heard.ok_or("ExaBGP shows no count")?.parse()?))
    }

    fn close(&self, neighbour: IpAddr, _: &str) -> Result<(), Why> {
        self.exabgp
            .cli(&format!("neighbor {neighbour} teardown 2"))?;
        Ok(())
    }

    fn said(&self) -> Result<String, Why> {
        let events: String = self.exabgp.events()?.iter().map(Value::to_string).collect();
        Ok(events + &self.exabgp.process().log())
    }

    /// Four octets of nothing, in an attribute for IPv6.
    fn unset_next_hop(_: &End) -> Option<String> {
        None
    }
}

impl Tested {
    /// A command of its command line.
    pub(crate) fn cli(&self, command: &str) -> Result<(), Why> {
        self.exabgp.cli(command)?;
        Ok(())
    }
}

impl Paths for Tested {
    /// "ExaBGP misbehaved", says 4.2.21 of itself.
    const ASKED: Asked = Asked::Closes;

    fn paths(&self, prefix: &str, _: IpAddr) -> Result<Told, Why> {
        let mut told = Told::new();
        for (path, route) in self.exabgp.paths(prefix)? {
            // It writes identifiers like addresses.
            let path: Ipv4Addr = path.parse()?;
            let hop = route["next-hop"].as_str().unwrap_or_default();
            told.insert(hop.to_owned(), Some(u32::from(path).into()));
        }
        Ok(told)
    }

    fn agreed(&self, _: IpAddr) -> Result<(), Why> {
        let shown = self.exabgp.cli("show neighbor extensive")?;
        let enabled = |name: &str| {
            let line = shown.lines().find(|line| line.trim().starts_with(name));
            line.map_or(0, |line| line.matches("enabled").count())
        };
        // By both sides, and for the family; it does not show directions.
        ensure!(enabled("add-path:") == 2, "{shown}");
        ensure!(enabled("ipv4 unicast:") == 3, "{shown}");
        Ok(())
    }

    /// The last octet of the next hop is the identifier, as in its configuration.
    fn own_path(&self, prefix: &str, next_hop: IpAddr, there: bool) -> Result<(), Why> {
        let verb = if there { "announce" } else { "withdraw" };
        let text = next_hop.to_string();
        let (_, last) = text.rsplit_once('.').ok_or("no IPv4 address")?;
        self.exabgp.cli(&format!(
            "{verb} route {prefix} next-hop {text} as-path [ 65001 ] path-information 0.0.0.{last}"
        ))?;
        Ok(())
    }
}

fn config(setup: &Setup) -> String {
    let mut text = String::new();
    for neighbour in &setup.neighbours {
        let mut more = String::new();
        if let Some(password) = neighbour.password {
            more += &format!("  md5-password \"{password}\";\n");
        }
        let mut families = String::new();
        for (family, ipv6) in [("ipv4", false), ("ipv6", true)] {
            if neighbour.carries(ipv6) {
                families += &format!("{family} unicast; ");
            }
        }
        let mut own = String::new();
        for network in &setup.networks {
            let family = if is_ipv6(network) { "ipv6" } else { "ipv4" };
            let hop = match is_ipv6(network) {
                true if setup.next_hop_unset => "self".to_owned(),
                true => neighbour.here.v6.to_string(),
                false => neighbour.here.v4.to_string(),
            };
            // It prepends nothing by itself.
            let scope = match setup.internal() {
                true => format!("local-preference {LOCAL_PREF}"),
                false => format!("as-path [ {0} {0} ]", setup.asn),
            };
            own += &format!(
                "    {family} {{ unicast {network} next-hop {hop} origin igp {scope} med {MED} \
                 community [ {} ] large-community [ {} ]; }}\n",
                COMMUNITIES.join(" "),
                setup.large().join(" "),
            );
        }
        text += &format!(
            "neighbor {} {{\n  router-id {};\n  local-address {};\n  local-as {};\n  peer-as {};\n  \
             hold-time 9;\n{more}  family {{ {families}}}\n  \
             capability {{ route-refresh enable; asn4 enable; }}\n  \
             api {{ processes [ {} ]; neighbor-changes; receive {{ parsed; update; }} }}\n  \
             announce {{\n{own}  }}\n}}\n",
            neighbour.address,
            setup.id,
            neighbour.local(),
            setup.asn,
            neighbour.asn,
            Exabgp::HEARS,
        );
    }
    text
}
