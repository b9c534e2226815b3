//! Hosts with agents and containers, below a top-of-rack router or among themselves.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use wayleave_lab::{Agent, Bird, Container, Frr, FrrConfig, Host, Lab, Why, ensure};

/// How long a fabric may take from the start of its last daemon until everything is reached.
pub(crate) const CONVERGED: Duration = Duration::from_secs(30);

/// What is between the hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Between {
    /// A router with a cable to every host, running stock FRR.
    Frr,
    /// The same with stock BIRD.
    Bird,
    /// A switch; the agents peer with each other.
    Switch,
}

/// The numbers of a fabric: ASes and times.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    /// Host `n` has this and `n`.
    pub(crate) hosts: u32,
    pub(crate) router: u32,
    /// The router knows AS numbers of four octets.
    pub(crate) as4: bool,
    /// For so many seconds hosts ask to be waited for when they restart, and for so many more as the
    /// last choice.
    pub(crate) restart_time: u16,
    pub(crate) long_lived: u32,
}

impl Numbers {
    pub(crate) const SHORT: Self = Self {
        hosts: 65000,
        router: 65100,
        as4: true,
        restart_time: 30,
        long_lived: 30,
    };
    /// Nobody waits for a host that has gone.
    pub(crate) const UNHELD: Self = Self {
        restart_time: 0,
        long_lived: 0,
        ..Self::SHORT
    };
}

/// A running fabric. Host `n` (from 1) is AS 65000+n and owns 10.1.n.0/24 and fd00:1:0:n::/64; it
/// originates one more address of each family, 10.1.(100+n).1 and fd00:1:0:(100+n)::1.
pub(crate) struct Fabric {
    pub(crate) nodes: Vec<Node>,
    pub(crate) frr: Option<Frr>,
    pub(crate) bird: Option<Bird>,
}

/// A host of the fabric.
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) agent: Agent,
    /// Its own address on the network it is cabled to.
    pub(crate) uplink: IpAddr,
    pub(crate) uplink6: IpAddr,
    number: usize,
    /// Where its default routes lead: what an operator configures for the host itself.
    routers: Vec<IpAddr>,
}

impl Fabric {
    /// Starts `count` hosts; `more` is added to each configuration, `{uplink}` and `{uplink6}` in it
    /// being the host's own addresses.
    pub(crate) fn start(
        lab: &Lab,
        between: Between,
        count: usize,
        more: &str,
    ) -> Result<Self, Why> {
        Self::numbered(lab, between, count, more, Numbers::SHORT)
    }

    /// The same with other numbers.
    pub(crate) fn numbered(
        lab: &Lab,
        between: Between,
        count: usize,
        more: &str,
        numbers: Numbers,
    ) -> Result<Self, Why> {
        let hosts: Vec<Host> = (1..=count)
            .map(|n| lab.host(&format!("h{n}")))
            .collect::<Result<_, _>>()?;
        let mut fabric = Self {
            nodes: Vec::new(),
            frr: None,
            bird: None,
        };
        let mut neighbours: Vec<Vec<IpAddr>> = vec![Vec::new(); count];
        let mut uplinks: Vec<[IpAddr; 2]> = Vec::new();
        if let Between::Switch = between {
            let members: Vec<&Host> = hosts.iter().collect();
            let switch = lab.switch("sw", &members)?;
            uplinks.extend(switch.ends.iter().map(|end| [end.v4.into(), end.v6.into()]));
            for (n, mine) in neighbours.iter_mut().enumerate() {
                let others = switch
                    .ends
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != n);
                mine.extend(others.flat_map(|(_, end)| [end.v4.into(), IpAddr::from(end.v6)]));
            }
        } else {
            let tor = lab.host("tor")?;
            for (host, mine) in hosts.iter().zip(&mut neighbours) {
                let link = lab.link(&tor, host)?;
                uplinks.push([link.b.v4.into(), link.b.v6.into()]);
                mine.extend([link.a.v4.into(), IpAddr::from(link.a.v6)]);
            }
            for (host, routers) in hosts.iter().zip(&neighbours) {
                default_routes(host, routers)?;
            }
            match between {
                Between::Frr => {
                    let text = FRR.replace("65100", &numbers.router.to_string());
                    fabric.frr = Some(lab.frr(&tor, FrrConfig::new(text))?);
                }
                Between::Bird => {
                    let as4 = if numbers.as4 { "on" } else { "off" };
                    let text =
                        BIRD.replace("65100;", &format!("{}; enable as4 {as4};", numbers.router));
                    fabric.bird = Some(lab.bird(&tor, &text)?);
                }
                Between::Switch => {}
            }
        }
        for (n, (host, [uplink, uplink6])) in hosts.into_iter().zip(uplinks).enumerate() {
            let number = n + 1;
            let more = more
                .replace("{uplink}", &uplink.to_string())
                .replace("{uplink6}", &uplink6.to_string());
            let text = configuration(number, numbers, &neighbours[n], &more);
            let agent = lab.agent(&host, &text)?;
            let routers = if let Between::Switch = between {
                Vec::new()
            } else {
                neighbours[n].clone()
            };
            fabric.nodes.push(Node {
                host,
                agent,
                uplink,
                uplink6,
                number,
                routers,
            });
        }
        Ok(fabric)
    }

    /// Every container pings every other and fetches from it, over both families; nobody's address
    /// is translated on the way.
    pub(crate) fn all_connected(containers: &[Container]) -> Result<(), Why> {
        let mut responders = Vec::new();
        for container in containers {
            responders.push(container.serve(8080)?);
        }
        for from in containers {
            let own = from.addresses()?;
            for to in containers.iter().filter(|to| to.id() != from.id()) {
                for address in to.addresses()? {
                    from.ping(address)?;
                    let served = from.tcp(address, 8080)?;
                    ensure!(
                        served.by == to.id(),
                        "{} answered for {}",
                        served.by,
                        to.id()
                    );
                    ensure!(
                        own.contains(&served.source),
                        "{} seen as {}",
                        from.id(),
                        served.source
                    );
                }
            }
        }
        Ok(())
    }
}

impl Node {
    /// Sets the uplink up again, with the default routes that went with it, as what manages a real
    /// host's interfaces does.
    pub(crate) fn uplink_up(&self) -> Result<(), Why> {
        self.host.ip("link set to-tor up")?;
        default_routes(&self.host, &self.routers)
    }

    /// Makes a container and attaches it.
    pub(crate) fn attach(&self, lab: &Lab, name: &str) -> Result<Container, Why> {
        let container = lab.container(&self.host, name)?;
        let result = container.cni_add(&self.network())?;
        let addresses = container.addresses()?;
        ensure!(
            addresses.len() == 2,
            "{} has {addresses:?}; the result: {result}",
            container.id()
        );
        for address in addresses {
            let own = match address {
                IpAddr::V4(_) => format!("10.1.{}.", self.number),
                IpAddr::V6(_) => format!("fd00:1:0:{}:", self.number),
            };
            ensure!(
                address.to_string().starts_with(&own),
                "{address} is not of our block"
            );
        }
        Ok(container)
    }

    /// The network configuration that a runtime on this host has.
    pub(crate) fn network(&self) -> Value {
        json!({
            "cniVersion": "1.1.0",
            "name": "fabric",
            "type": "wayleave-cni",
            "socket": self.agent.run_directory().join("cni.sock"),
        })
    }
}

fn default_routes(host: &Host, routers: &[IpAddr]) -> Result<(), Why> {
    for router in routers {
        let family = if router.is_ipv4() { "-4" } else { "-6" };
        host.ip(&format!("{family} route replace default via {router}"))?;
    }
    Ok(())
}

fn configuration(number: usize, numbers: Numbers, neighbours: &[IpAddr], more: &str) -> String {
    let mut text = format!(
        r#"
[node]
name = "h{number}"
router_id = "10.0.0.{number}"
[bgp]
asn = {asn}
hold_time = 9
connect_retry = 1
restart_time = {restart_time}
long_lived_restart_time = {long_lived}
originate = ["10.1.{own}.1/32", "fd00:1:0:{own}::1/128"]
[[pool]]
cidr = ["10.1.0.0/16", "fd00:1::/48"]
block_ipv6 = 64
[[block]]
prefix = "10.1.{number}.0/24"
[[block]]
prefix = "fd00:1:0:{number}::/64"
{more}
"#,
        asn = numbers.hosts + number as u32,
        restart_time = numbers.restart_time,
        long_lived = numbers.long_lived,
        own = 100 + number,
    );
    for (n, address) in neighbours.iter().enumerate() {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        text += &format!(
            "[[peer]]\nname = \"p{n}\"\naddress = \"{address}\"\nasn = \"external\"\n\
             role = \"host\"\nfamilies = [\"{family}\"]\n"
        );
    }
    text
}

/// A top-of-rack router as an operator would configure it: whoever is cabled may peer.
const FRR: &str = "router bgp 65100
 bgp router-id 10.0.0.100
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 neighbor HOSTS4 peer-group
 neighbor HOSTS4 remote-as external
 neighbor HOSTS6 peer-group
 neighbor HOSTS6 remote-as external
 bgp listen range 10.255.0.0/16 peer-group HOSTS4
 bgp listen range fd00:255::/32 peer-group HOSTS6
 address-family ipv4 unicast
  no neighbor HOSTS6 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor HOSTS6 activate
 exit-address-family
";

const BIRD: &str = "router id 10.0.0.100;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol bgp hosts4 {
  local as 65100; neighbor range 10.255.0.0/16 external; dynamic name \"hosts4_\";
  ipv4 { import all; export where source = RTS_BGP; };
}
protocol bgp hosts6 {
  local as 65100; neighbor range fd00:255::/32 external; dynamic name \"hosts6_\";
  ipv6 { import all; export where source = RTS_BGP; };
}
";
