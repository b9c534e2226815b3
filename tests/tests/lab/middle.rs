//! FRR and BIRD with somebody between them, and what each shows of the other's routes.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, Bird, End, Frr, FrrConfig, Host, Lab, Link, Why, ensure};

pub(crate) const CONVERGED: Duration = Duration::from_secs(30);
pub(crate) const FRR_NETWORKS: [&str; 2] = ["192.0.2.1/32", "2001:db8:1::1/128"];
pub(crate) const BIRD_NETWORKS: [&str; 2] = ["198.51.100.1/32", "2001:db8:2::1/128"];

/// Who stands between FRR and BIRD.
#[derive(Clone, Copy)]
pub(crate) enum Middle {
    /// Our agent, told to leave the kernel alone.
    Speaker,
    /// Our agent, which installs what it learns.
    Router,
    /// BIRD, in our place.
    Bird,
}

/// A neighbour of the one in the middle: its name, AS and addresses.
type Neighbour<'a> = (&'a str, u32, [IpAddr; 2]);

/// FRR, our agent and BIRD, the agent in the middle.
pub(crate) struct Fabric {
    pub(crate) fhost: Host,
    pub(crate) us: Host,
    pub(crate) bhost: Host,
    pub(crate) frr: Frr,
    pub(crate) bird: Bird,
    /// None when BIRD stands in our place.
    pub(crate) agent: Option<Agent>,
    /// Where FRR and BIRD lie, as the other sees it when next hops are unchanged.
    pub(crate) frr_at: [IpAddr; 2],
    pub(crate) bird_at: [IpAddr; 2],
    /// Where we lie, as FRR and as BIRD see it.
    pub(crate) us_at_frr: [IpAddr; 2],
    pub(crate) us_at_bird: [IpAddr; 2],
}

impl Fabric {
    /// Three ASes on two cables: everything passes through our kernel.
    pub(crate) fn external(lab: &Lab, middle: Middle) -> Result<Self, Why> {
        let (fhost, us, bhost) = hosts(lab)?;
        let (left, right): (Link, Link) = (lab.link(&fhost, &us)?, lab.link(&us, &bhost)?);
        let at = |end: &End| [IpAddr::from(end.v4), IpAddr::from(end.v6)];
        let (frr_at, us_at_frr) = (at(&left.a), at(&left.b));
        let (us_at_bird, bird_at) = (at(&right.a), at(&right.b));
        let agent = middle.start(lab, &us, [("frr", 65001, frr_at), ("bird", 65002, bird_at)])?;
        let frr = lab.frr(&fhost, frr_config(65001, 65000, us_at_frr))?;
        let bird = lab.bird(&bhost, &bird_config(65002, 65000, us_at_bird))?;
        Ok(Self {
            fhost,
            us,
            bhost,
            frr,
            bird,
            agent,
            frr_at,
            bird_at,
            us_at_frr,
            us_at_bird,
        })
    }

    /// One AS on one network: we reflect, and packets pass us by.
    pub(crate) fn reflected(lab: &Lab, middle: Middle) -> Result<Self, Why> {
        let (fhost, us, bhost) = hosts(lab)?;
        let switch = lab.switch("sw", &[&fhost, &us, &bhost])?;
        let [frr_at, us_at, bird_at] = [0, 1, 2].map(|n: usize| {
            [
                IpAddr::from(switch.ends[n].v4),
                IpAddr::from(switch.ends[n].v6),
            ]
        });
        let agent = middle.start(lab, &us, [("frr", 65000, frr_at), ("bird", 65000, bird_at)])?;
        let frr = lab.frr(&fhost, frr_config(65000, 65000, us_at))?;
        let bird = lab.bird(&bhost, &bird_config(65000, 65000, us_at))?;
        let (us_at_frr, us_at_bird) = (us_at, us_at);
        Ok(Self {
            fhost,
            us,
            bhost,
            frr,
            bird,
            agent,
            frr_at,
            bird_at,
            us_at_frr,
            us_at_bird,
        })
    }

    pub(crate) fn withdraw_frr_networks(&self) -> Result<(), Why> {
        self.frr.configure(&[
            "router bgp 65001",
            "address-family ipv4 unicast",
            "no network 192.0.2.1/32 route-map OURS",
            "exit-address-family",
            "address-family ipv6 unicast",
            "no network 2001:db8:1::1/128 route-map OURS",
        ])?;
        Ok(())
    }

    pub(crate) fn wait_for_routes(&self, lab: &Lab) -> Result<(), Why> {
        let what = "the routes of each router to reach the other";
        Ok(lab.until(CONVERGED, what, || self.crossed_externally())?)
    }

    pub(crate) fn wait_for_reflection(&self, lab: &Lab) -> Result<(), Why> {
        let what = "the routes of each router to reach the other as they are";
        Ok(lab.until(CONVERGED, what, || self.crossed_reflected())?)
    }

    pub(crate) fn wait_for_packets(&self, lab: &Lab) -> Result<(), Why> {
        Ok(lab.until(CONVERGED, "packets to cross", || self.packets_cross())?)
    }

    pub(crate) fn agent(&self) -> Result<&Agent, Why> {
        Ok(self
            .agent
            .as_ref()
            .ok_or("there is no agent in this fabric")?)
    }

    /// All four sessions, as our own CLI and both routers see them.
    pub(crate) fn wait_for_sessions(&self, lab: &Lab) -> Result<(), Why> {
        lab.until(
            CONVERGED,
            "all sessions to be established on all sides",
            || {
                if let Some(agent) = &self.agent {
                    all_established(agent)?;
                }
                let summary = self.frr.vtysh_json("show bgp summary json")?;
                for (family, ours) in [("ipv4Unicast", 0), ("ipv6Unicast", 1)] {
                    let peer = &summary[family]["peers"][self.us_at_frr[ours].to_string()];
                    ensure!(
                        peer["state"] == "Established",
                        "FRR, {family}: {}",
                        peer["state"]
                    );
                }
                for name in ["middle4", "middle6"] {
                    let shown = self.bird.cli(&format!("show protocols {name}"))?;
                    ensure!(shown.contains("Established"), "BIRD: {shown}");
                }
                Ok(())
            },
        )?;
        Ok(())
    }

    /// Each router has the other's routes with everything that may cross an AS border, and our AS
    /// and next hop in place. MED stays behind (RFC 4271, 5.1.4), so does LOCAL_PREF (5.1.5).
    pub(crate) fn crossed_externally(&self) -> Result<(), Why> {
        for (n, prefix) in FRR_NETWORKS.into_iter().enumerate() {
            let route = self.bird.best(prefix)?;
            let has = |name: &str| route.get(name).map(String::as_str).unwrap_or_default();
            is("AS_PATH at BIRD", has("BGP.as_path"), "65000 65001")?;
            is(
                "communities at BIRD",
                has("BGP.community"),
                "(65001,7) (65001,77)",
            )?;
            is(
                "large communities at BIRD",
                has("BGP.large_community"),
                "(65001, 1, 2) (4200000001, 3, 4)",
            )?;
            is("origin at BIRD", has("BGP.origin"), "IGP")?;
            ensure!(
                !route.contains_key("BGP.med"),
                "MED crossed: {}",
                route["BGP.med"]
            );
            // BIRD prints a link-local next hop after the global one.
            let next_hop = has("BGP.next_hop").split(' ').next().unwrap_or_default();
            is(
                "next hop at BIRD",
                next_hop,
                &self.us_at_bird[n].to_string(),
            )?;
        }
        for (n, prefix) in BIRD_NETWORKS.into_iter().enumerate() {
            let path = self.frr.best(prefix)?;
            is(
                "AS_PATH at FRR",
                path["aspath"]["string"].clone(),
                "65000 65002",
            )?;
            is(
                "communities at FRR",
                path["community"]["string"].clone(),
                "65002:8 65002:88",
            )?;
            is(
                "large communities at FRR",
                path["largeCommunity"]["string"].clone(),
                "65002:5:6",
            )?;
            ensure!(
                path["metric"].is_null() || path["metric"] == 0,
                "MED crossed: {path}"
            );
            ensure!(
                has_next_hop(&path, self.us_at_frr[n]),
                "next hop at FRR: {path}"
            );
        }
        Ok(())
    }

    /// Each router has the other's routes as they were sent, with the marks of one reflection.
    pub(crate) fn crossed_reflected(&self) -> Result<(), Why> {
        for (n, prefix) in FRR_NETWORKS.into_iter().enumerate() {
            let route = self.bird.best(prefix)?;
            let has = |name: &str| route.get(name).map(String::as_str).unwrap_or_default();
            is("AS_PATH at BIRD", has("BGP.as_path"), "")?;
            is(
                "communities at BIRD",
                has("BGP.community"),
                "(65001,7) (65001,77)",
            )?;
            is(
                "large communities at BIRD",
                has("BGP.large_community"),
                "(65001, 1, 2) (4200000001, 3, 4)",
            )?;
            is("MED at BIRD", has("BGP.med"), "50")?;
            is("LOCAL_PREF at BIRD", has("BGP.local_pref"), "150")?;
            let next_hop = has("BGP.next_hop").split(' ').next().unwrap_or_default();
            is("next hop at BIRD", next_hop, &self.frr_at[n].to_string())?;
            is("ORIGINATOR_ID at BIRD", has("BGP.originator_id"), "1.1.1.1")?;
            is("CLUSTER_LIST at BIRD", has("BGP.cluster_list"), "3.3.3.3")?;
        }
        for (n, prefix) in BIRD_NETWORKS.into_iter().enumerate() {
            let path = self.frr.best(prefix)?;
            ensure!(
                path["aspath"]["length"] == 0,
                "AS_PATH at FRR: {}",
                path["aspath"]
            );
            is(
                "communities at FRR",
                path["community"]["string"].clone(),
                "65002:8 65002:88",
            )?;
            is(
                "large communities at FRR",
                path["largeCommunity"]["string"].clone(),
                "65002:5:6",
            )?;
            ensure!(path["metric"] == 60, "MED at FRR: {}", path["metric"]);
            ensure!(
                path["locPrf"] == 160,
                "LOCAL_PREF at FRR: {}",
                path["locPrf"]
            );
            ensure!(
                has_next_hop(&path, self.bird_at[n]),
                "next hop at FRR: {path}"
            );
            is(
                "ORIGINATOR_ID at FRR",
                path["originatorId"].clone(),
                "2.2.2.2",
            )?;
            is(
                "CLUSTER_LIST at FRR",
                path["clusterList"]["list"][0].clone(),
                "3.3.3.3",
            )?;
        }
        Ok(())
    }

    /// One packet of each family there and back, between the addresses the routes are for.
    pub(crate) fn packets_cross(&self) -> Result<(), Why> {
        for (from, to) in FRR_NETWORKS.iter().zip(BIRD_NETWORKS) {
            let (from, to) = (address(from)?.to_string(), address(to)?.to_string());
            self.fhost
                .run(["ping", "-n", "-q", "-c", "1", "-W", "1", "-I", &from, &to])?;
        }
        Ok(())
    }
}

fn hosts(lab: &Lab) -> Result<(Host, Host, Host), Why> {
    let (fhost, us, bhost) = (lab.host("frr")?, lab.host("us")?, lab.host("bird")?);
    for (host, networks) in [(&fhost, FRR_NETWORKS), (&bhost, BIRD_NETWORKS)] {
        for network in networks {
            host.address("lo", network)?;
        }
    }
    Ok((fhost, us, bhost))
}

impl Middle {
    /// Starts a plain speaker with two neighbours, one session per family and neighbour.
    fn start(
        self,
        lab: &Lab,
        us: &Host,
        neighbours: [Neighbour<'_>; 2],
    ) -> Result<Option<Agent>, Why> {
        match self {
            Self::Speaker => Ok(Some(lab.agent(us, &agent_config(neighbours, false))?)),
            Self::Router => Ok(Some(lab.agent(us, &agent_config(neighbours, true))?)),
            Self::Bird => {
                lab.bird(us, &middle_bird_config(neighbours))?;
                Ok(None)
            }
        }
    }
}

fn agent_config(neighbours: [Neighbour<'_>; 2], install: bool) -> String {
    let mut text = format!(
        "[node]\nname = \"us\"\nrouter_id = \"3.3.3.3\"\n\
         [bgp]\nasn = 65000\nconnect_retry = 1\nhold_time = 9\n\
         [fib]\ninstall = {install}\n"
    );
    for (name, remote, addresses) in neighbours {
        let client = remote == 65000;
        for (address, family) in addresses.iter().zip(["4", "6"]) {
            text += &format!(
                "[[peer]]\nname = \"{name}{family}\"\naddress = \"{address}\"\nasn = {remote}\n\
                 families = [\"ipv{family}\"]\nimport = \"all\"\nexport = \"all\"\n\
                 reflector_client = {client}\n"
            );
        }
    }
    text
}

fn middle_bird_config(neighbours: [Neighbour<'_>; 2]) -> String {
    let mut text = "router id 3.3.3.3;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
template bgp session { local as 65000; connect retry time 1; connect delay time 1; error wait time 1,2; }
"
    .to_owned();
    for (name, remote, addresses) in neighbours {
        let client = if remote == 65000 { "rr client;" } else { "" };
        for (address, family) in addresses.iter().zip(["4", "6"]) {
            text += &format!(
                "protocol bgp {name}{family} from session {{ neighbor {address} as {remote}; {client} \
                 ipv{family} {{ import all; export where source = RTS_BGP; }}; }}\n"
            );
        }
    }
    text
}

fn frr_config(asn: u32, remote: u32, us: [IpAddr; 2]) -> FrrConfig {
    let [us4, us6] = us;
    let [net4, net6] = FRR_NETWORKS;
    FrrConfig::new(format!(
        "route-map OURS permit 10
 set metric 50
 set local-preference 150
 set community 65001:7 65001:77
 set large-community 65001:1:2 4200000001:3:4
exit
router bgp {asn}
 bgp router-id 1.1.1.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor {us4} remote-as {remote}
 neighbor {us4} timers connect 1
 neighbor {us6} remote-as {remote}
 neighbor {us6} timers connect 1
 address-family ipv4 unicast
  network {net4} route-map OURS
  no neighbor {us6} activate
 exit-address-family
 address-family ipv6 unicast
  network {net6} route-map OURS
  neighbor {us6} activate
 exit-address-family
"
    ))
}

pub(crate) fn bird_config(asn: u32, remote: u32, us: [IpAddr; 2]) -> String {
    let [us4, us6] = us;
    format!(
        "router id 2.2.2.2;
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; }}
protocol kernel {{ ipv4 {{ export where source = RTS_BGP; }}; }}
protocol kernel {{ ipv6 {{ export where source = RTS_BGP; }}; }}
filter ours {{
  if source != RTS_DEVICE || ifname != \"lo\" then reject;
  bgp_med = 60;
  bgp_local_pref = 160;
  bgp_community.add((65002,8));
  bgp_community.add((65002,88));
  bgp_large_community.add((65002,5,6));
  accept;
}}
template bgp session {{ local as {asn}; connect retry time 1; connect delay time 1; error wait time 1,2; }}
protocol bgp middle4 from session {{ neighbor {us4} as {remote}; ipv4 {{ import all; export filter ours; }}; }}
protocol bgp middle6 from session {{ neighbor {us6} as {remote}; ipv6 {{ import all; export filter ours; }}; }}
"
    )
}

fn all_established(agent: &Agent) -> Result<(), Why> {
    let peers = peers(agent)?;
    ensure!(peers.len() == 4, "{} peers", peers.len());
    for peer in peers {
        ensure!(
            peer["state"] == "Established",
            "{} is {}",
            peer["name"],
            peer["state"]
        );
    }
    Ok(())
}

pub(crate) fn peers(agent: &Agent) -> Result<Vec<Value>, Why> {
    let answer = agent.cli(["peers"])?;
    let peers = answer["peers"].as_array().cloned();
    Ok(peers.ok_or_else(|| format!("`wayleave peers` has no list of peers: {answer}"))?)
}

/// A value a router shows, as text or JSON text, is the one expected.
fn is(what: &str, shown: impl Into<Value>, expected: &str) -> Result<(), Why> {
    let shown = shown.into();
    ensure!(shown == expected, "{what}: {shown} and not {expected:?}");
    Ok(())
}

fn has_next_hop(path: &Value, expected: IpAddr) -> bool {
    let hops = path["nexthops"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    hops.iter().any(|hop| hop["ip"] == expected.to_string())
}

pub(crate) fn address(network: &str) -> Result<IpAddr, Why> {
    Ok(network.split('/').next().unwrap_or(network).parse()?)
}
