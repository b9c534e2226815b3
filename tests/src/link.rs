//! Cables and switches between hosts.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::until::until;

/// The kernel's deferred work, on a busy machine.
const SETTLE: Duration = Duration::from_secs(10);

/// One end of a cable: an interface of a host, up and with an address of each family.
#[derive(Debug, Clone)]
pub struct End {
    /// The host.
    pub host: Host,
    /// The interface's name.
    pub name: String,
    /// Its address, in a /30 (cable) or /24 (switch).
    pub v4: Ipv4Addr,
    /// Its address, in a /64.
    pub v6: Ipv6Addr,
}

impl End {
    /// Sets the interface down, as an administrator does. The far end loses its carrier.
    pub fn down(&self) -> Result<(), LabError> {
        Lab::fault_ahead();
        self.host
            .ip(&format!("link set {} down", self.name))
            .map(drop)
    }

    /// Sets the interface up.
    pub fn up(&self) -> Result<(), LabError> {
        self.host
            .ip(&format!("link set {} up", self.name))
            .map(drop)
    }

    /// The interface's index.
    pub fn index(&self) -> Result<u64, LabError> {
        let words = format!("link show dev {}", self.name);
        let answer = self.host.ip_json(&words)?;
        answer[0]["ifindex"]
            .as_u64()
            .ok_or_else(|| LabError::shape(format!("`ip -j {words}`"), "no ifindex"))
    }

    fn addresses(&self, v4_length: u8) -> Result<(), LabError> {
        self.host
            .address(&self.name, &format!("{}/{v4_length}", self.v4))?;
        self.host.address(&self.name, &format!("{}/64", self.v6))?;
        self.up()
    }
}

/// A cable between two hosts: a veth pair.
#[derive(Debug, Clone)]
pub struct Link {
    /// The end at the host named first.
    pub a: End,
    /// The end at the host named second.
    pub b: End,
}

impl Link {
    /// Lays the `n`-th cable of the lab: 10.255.n.0/30 and fd00:255:n::/64, `.1` at `a`, `.2` at `b`.
    pub(crate) fn lay(
        n: u8,
        a: &Host,
        b: &Host,
        names: (String, String),
    ) -> Result<Self, LabError> {
        pair(a, &names.0, b, &names.1, n)?;
        let end = |host: &Host, name, last: u8| End {
            host: host.clone(),
            name,
            v4: Ipv4Addr::new(10, 255, n, last),
            v6: Ipv6Addr::new(0xfd00, 0x255, n.into(), 0, 0, 0, 0, last.into()),
        };
        let link = Self {
            a: end(a, names.0, 1),
            b: end(b, names.1, 2),
        };
        link.a.addresses(30)?;
        link.b.addresses(30)?;
        // Only when both ends are up is there a carrier, and with it IPv6.
        settled(a, &link.a.name, 2)?;
        settled(b, &link.b.name, 2)?;
        Ok(link)
    }

    /// Sets the first end down; the second loses its carrier.
    pub fn down(&self) -> Result<(), LabError> {
        self.a.down()
    }

    /// Sets the first end up again.
    pub fn up(&self) -> Result<(), LabError> {
        self.a.up()
    }
}

/// A switch: a bridge in a namespace of its own, and the ends of its ports.
#[derive(Debug, Clone)]
pub struct Switch {
    /// The namespace the bridge `br0` lives in.
    pub host: Host,
    /// The hosts' ends, in the order the hosts were named.
    pub ends: Vec<End>,
}

impl Switch {
    /// Makes the `n`-th network of the lab: 10.254.n.0/24 and fd00:254:n::/64, the hosts from `.1`.
    pub(crate) fn build(
        n: u8,
        host: Host,
        hosts: &[&Host],
        first_pair: u8,
    ) -> Result<Self, LabError> {
        // No spanning tree and no multicast snooping: ports forward at once, also for neighbour
        // discovery.
        host.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        host.ip("link set br0 up")?;
        let mut ends = Vec::new();
        for (number, member) in (1u8..).zip(hosts) {
            let (near, port) = (
                format!("sw-{}", host.name()),
                format!("p-{}", member.name()),
            );
            pair(member, &near, &host, &port, first_pair + number - 1)?;
            host.ip(&format!("link set {port} master br0 up"))?;
            let end = End {
                host: (*member).clone(),
                name: near,
                v4: Ipv4Addr::new(10, 254, n, number),
                v6: Ipv6Addr::new(0xfd00, 0x254, n.into(), 0, 0, 0, 0, number.into()),
            };
            end.addresses(24)?;
            settled(&host, &port, 1)?;
            settled(&end.host, &end.name, 2)?;
            ends.push(end);
        }
        if !ends.is_empty() {
            settled(&host, "br0", 1)?;
        }
        Ok(Self { host, ends })
    }

    /// The end of a host at this switch.
    #[must_use]
    pub fn end(&self, host: &Host) -> Option<&End> {
        self.ends.iter().find(|end| end.host.name() == host.name())
    }
}

/// Waits until the kernel has done for an interface what it does in its own time: IPv6 addresses
/// usable, their local and anycast routes there. A snapshot taken before would see them come.
fn settled(host: &Host, interface: &str, addresses: usize) -> Result<(), LabError> {
    let what = format!("{interface} of {} to settle", host.name());
    until(SETTLE, &what, || {
        let shown = host.ip_json(&format!("-6 address show dev {interface}"))?;
        let held = shown[0]["addr_info"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let usable = held
            .iter()
            .filter(|address| address["tentative"] != true)
            .count();
        let routes = host.ip_json(&format!("-6 route show table local dev {interface}"))?;
        let routes = routes.as_array().map(Vec::as_slice).unwrap_or_default();
        let count = |kind: &str| routes.iter().filter(|route| route["type"] == kind).count();
        let found = [held.len(), usable, count("local"), count("anycast")];
        if found == [addresses; 4] {
            return Ok(());
        }
        let why = format!(
            "{} addresses, {} usable, {} local and {} anycast routes, where {addresses} of each \
             are due",
            found[0], found[1], found[2], found[3]
        );
        Err(LabError::shape(what.clone(), why))
    })
}

/// Makes the `n`-th veth pair of the lab.
///
/// The two ends get indexes of their own: when they are equal (which happens by itself in two fresh
/// namespaces) the kernel delays the news of a lost carrier by 0.8 s.
fn pair(a: &Host, a_name: &str, b: &Host, b_name: &str, n: u8) -> Result<(), LabError> {
    let (a_index, b_index) = (100 + 2 * u32::from(n), 101 + 2 * u32::from(n));
    a.ip(&format!(
        "link add {a_name} index {a_index} type veth peer name {b_name} index {b_index} netns {}",
        b.namespace_path().display()
    ))
    .map(drop)
}
