//! GoBGP.

use std::net::IpAddr;

use serde_json::Value;
use wayleave_lab::{End, Gobgp, Host, Lab, Why, ensure};

use crate::interop::daemon::{COMMUNITIES, Daemon, LOCAL_PREF, MED, Route, Setup, is_ipv6, set};
use crate::interop::paths::{Paths, Told};

/// gobgpd, and the routes it is told to announce: its configuration has none.
pub(crate) struct Tested {
    gobgp: Gobgp,
    routes: Vec<String>,
}

crate::interop::matrix!(Tested, [Agent]);

/// Types of attributes as its JSON numbers them (RFC 4271, 1997, 4760, 8092).
const AS_PATH: u64 = 2;
const NEXT_HOP: u64 = 3;
const MULTI_EXIT_DISC: u64 = 4;
const LOCAL_PREFERENCE: u64 = 5;
const COMMUNITY: u64 = 8;
const MP_REACH: u64 = 14;
const LARGE_COMMUNITY: u64 = 32;

impl Daemon for Tested {
    const HEADING: &str = "GoBGP";
    const AFTERWARDS: &str = "gobgp";
    /// It keeps what it was told, as we do: `softresetin` looks at that again.
    const ASKS_AGAIN: bool = false;
    const LONG_MESSAGES: bool = false;

    fn missing() -> Option<String> {
        Gobgp::missing()
    }

    fn run(lab: &Lab, host: &Host, config: &str) -> Result<Self, Why> {
        Ok(Self {
            gobgp: Gobgp::start(lab, host, config)?,
            routes: Vec::new(),
        })
    }

    fn start(lab: &Lab, host: &Host, setup: &Setup) -> Result<Self, Why> {
        let networks = setup.networks.iter();
        let tested = Self {
            routes: networks.map(|network| route(setup, network)).collect(),
            ..Self::run(lab, host, &config(setup))?
        };
        tested.announce()?;
        Ok(tested)
    }

    fn best(&self, prefix: &str) -> Result<Route, Why> {
        let path = self.gobgp.best(prefix)?;
        let attributes = path["attrs"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let of = |kind: u64| {
            let found = attributes
                .iter()
                .find(|attribute| attribute["type"] == kind);
            found.unwrap_or(&Value::Null)
        };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let segments = list(&of(AS_PATH)["as_paths"]);
        let numbers = segments.iter().flat_map(|segment| list(&segment["asns"]));
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        let communities = list(&of(COMMUNITY)["communities"]);
        let communities = communities.iter().filter_map(Value::as_u64);
        let large = list(&of(LARGE_COMMUNITY)["value"]);
        let hop = [NEXT_HOP, MP_REACH]
            .into_iter()
            .find_map(|kind| of(kind)["nexthop"].as_str());
        Ok(Route {
            path: numbers.join(" "),
            communities: set(communities.map(|n| format!("{}:{}", n >> 16, n & 0xffff))),
            large: set(large.iter().map(|parts| {
                format!(
                    "{}:{}:{}",
                    parts["ASN"], parts["LocalData1"], parts["LocalData2"]
                )
            })),
            med: of(MULTI_EXIT_DISC)["metric"].as_u64().unwrap_or(0),
            local_pref: of(LOCAL_PREFERENCE)["value"].as_u64(),
            next_hop: hop.unwrap_or_default().to_owned(),
        })
    }

    fn withdraw(&self, prefix: &str) -> Result<(), Why> {
        let family = if is_ipv6(prefix) { "ipv6" } else { "ipv4" };
        self.gobgp
            .cli(&format!("global rib del -a {family} {prefix}"))?;
        Ok(())
    }

    fn kill(&self) -> Result<(), Why> {
        Ok(self.gobgp.process().kill()?)
    }

    fn start_again(&self) -> Result<(), Why> {
        self.gobgp.start_again()?;
        self.announce()
    }

    fn ask_again(&self, neighbour: IpAddr) -> Result<(), Why> {
        for family in ["ipv4", "ipv6"] {
            self.gobgp
                .cli(&format!("neighbor {neighbour} softresetin -a {family}"))?;
        }
        Ok(())
    }

    /// Not `disable`, which it recommends instead: that loses the text.
    fn close(&self, neighbour: IpAddr, text: &str) -> Result<(), Why> {
        let address = neighbour.to_string();
        self.gobgp
            .run(["neighbor", &address, "shutdown", "--reason", text])?;
        Ok(())
    }

    fn said(&self) -> Result<String, Why> {
        Ok(self.gobgp.process().log())
    }

    /// The address of its IPv4 session, mapped: nobody can send a packet there.
    fn unset_next_hop(here: &End) -> Option<String> {
        Some(here.v4.to_ipv6_mapped().to_string())
    }
}

impl Paths for Tested {
    /// Its JSON has no identifiers.
    fn paths(&self, prefix: &str, us: IpAddr) -> Result<Told, Why> {
        let table = self.gobgp.cli(&format!("neighbor {us} adj-in"))?;
        let mut told = Told::new();
        for line in table.lines() {
            // Identifier, prefix, next hop.
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.get(1) == Some(&prefix) {
                let hop = words.get(2).copied().unwrap_or_default();
                told.insert(hop.to_owned(), Some(words[0].parse()?));
            }
        }
        Ok(told)
    }

    fn agreed(&self, us: IpAddr) -> Result<(), Why> {
        let shown = self.gobgp.cli(&format!("neighbor {us}"))?;
        let (_, modes) = shown
            .split_once("add-path:\tadvertised and received")
            .ok_or_else(|| shown.clone())?;
        let both = modes
            .lines()
            .filter(|line| line.contains("ipv4-unicast") && line.contains("receive/send"));
        ensure!(both.count() == 2, "{shown}");
        Ok(())
    }
}

impl Tested {
    fn announce(&self) -> Result<(), Why> {
        for route in &self.routes {
            self.gobgp.cli(&format!("global rib add {route}"))?;
        }
        Ok(())
    }
}

fn route(setup: &Setup, network: &str) -> String {
    let family = if is_ipv6(network) { "ipv6" } else { "ipv4" };
    let (communities, large) = (COMMUNITIES.join(","), setup.large().join(","));
    let mut text = format!(
        "-a {family} {network} origin igp med {MED} community {communities} large-community {large}"
    );
    text += &match setup.internal() {
        true => format!(" local-pref {LOCAL_PREF}"),
        false => format!(" aspath {}", setup.asn),
    };
    if is_ipv6(network) && !setup.next_hop_unset {
        text += &format!(" nexthop {}", setup.neighbours[0].here.v6);
    }
    text
}

fn config(setup: &Setup) -> String {
    let mut text = format!(
        "[global.config]\n  as = {}\n  router-id = \"{}\"\n",
        setup.asn, setup.id
    );
    for neighbour in &setup.neighbours {
        text += &format!(
            "\n[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{}\"\n    peer-as = {}\n",
            neighbour.address, neighbour.asn
        );
        if let Some(password) = neighbour.password {
            text += &format!("    auth-password = \"{password}\"\n");
        }
        text += "  [neighbors.timers.config]\n    connect-retry = 1\n    hold-time = 9\n    \
                 keepalive-interval = 3\n";
        if neighbour.client && neighbour.asn == setup.asn {
            text += &format!(
                "  [neighbors.route-reflector.config]\n    route-reflector-client = true\n    \
                 route-reflector-cluster-id = \"{}\"\n",
                setup.id
            );
        }
        for (family, ipv6) in [("ipv4", false), ("ipv6", true)] {
            if !neighbour.carries(ipv6) {
                continue;
            }
            text += &format!(
                "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      \
                 afi-safi-name = \"{family}-unicast\"\n"
            );
            if let Some(limit) = setup.limit {
                text += &format!(
                    "    [neighbors.afi-safis.prefix-limit.config]\n      max-prefixes = {limit}\n"
                );
            }
        }
    }
    text + &setup.more
}
