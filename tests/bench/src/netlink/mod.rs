//! rtnetlink by hand, as far as routes take it: requests of many messages, listings, news.
//!
//! This shares no line with the agent's netlink: a mistake made there cannot hide here.
//!
//! ```text
//! | length 4 | type 2 | flags 2 | sequence 4 | port 4 |           nlmsghdr
//! | family | dst bits | src bits | tos | table | protocol | scope | type | flags 4 |   rtmsg
//! | length 2 | type 2 | value, padded to 4 | ...                    attributes
//! ```

pub(crate) mod address;
pub(crate) mod nexthop;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
        setsockopt, socket, sockopt,
    },
};

use crate::prefix::{Family, Prefix};

/// Multicast groups of IPv4 and IPv6 routes.
pub(crate) const ROUTE_NEWS: u32 = 0x40 | 0x400;

/// The one of a family's.
pub(crate) fn route_news(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 0x40,
        Family::Ipv6 => 0x400,
    }
}

/// The routing table `main`.
pub(crate) const MAIN: u32 = 254;
/// A table that no rule leads to.
const FOREIGN: u32 = 999;
/// Protocol of what the kernel makes itself, of `ip` at boot, and of router advertisements.
const NOBODYS: [u8; 3] = [2, 3, 9];
/// Protocol of the routes the bench makes itself: static.
const STATIC: u8 = 4;
/// Their metric, that of our daemon's.
const METRIC: u32 = 50;

mod message {
    pub(super) const ERROR: u16 = 2;
    pub(super) const DONE: u16 = 3;
    pub(super) const NEW_ADDRESS: u16 = 20;
    pub(super) const NEW_ROUTE: u16 = 24;
    pub(super) const DEL_ROUTE: u16 = 25;
    pub(super) const GET_ROUTE: u16 = 26;
    pub(super) const NEW_NEXTHOP: u16 = 104;
    pub(super) const GET_NEXTHOP: u16 = 106;
}

mod flag {
    pub(super) const REQUEST: u16 = 0x1;
    pub(super) const ACK: u16 = 0x4;
    /// A listing changed while it was made.
    pub(super) const INTERRUPTED: u16 = 0x10;
    pub(super) const DUMP: u16 = 0x300;
    /// Make it, and refuse where it exists.
    pub(super) const CREATE: u16 = 0x400 | 0x200;
    /// Make it, whatever is there.
    pub(super) const REPLACE: u16 = 0x400 | 0x100;
}

mod attribute {
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const INTERFACE: u16 = 4;
    pub(super) const GATEWAY: u16 = 5;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const TABLE: u16 = 15;
    pub(super) const NEXTHOP: u16 = 30;
}

/// A NETLINK_ROUTE socket of the network namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens one that hears of `groups`, with a receive buffer of so many bytes.
    pub(crate) fn open(groups: u32, receive: usize) -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        setsockopt(&fd, sockopt::RcvBufForce, &receive)?;
        setsockopt(&fd, sockopt::SndBufForce, &(1 << 20))?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(fd))
    }

    /// The same socket once more.
    pub(crate) fn share(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// What has come, when there is something.
    pub(crate) fn take(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(self.0.as_raw_fd(), into, MsgFlags::MSG_DONTWAIT) {
            Ok(len) => Ok(Some(len)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for something to come; false when nothing did.
    pub(crate) fn wait(&self, at_most: Duration) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Err(Errno::EINTR) => Ok(false),
            ready => Ok(ready? > 0),
        }
    }

    /// Every route of a family that somebody made, in table main.
    pub(crate) fn routes(&self, family: Family) -> io::Result<Vec<Route>> {
        let mut head = [0; 12];
        head[0] = family_number(family);
        let mut routes = self.list(message::GET_ROUTE, &head, |body| {
            Route::read(body).filter(Route::counts)
        })?;
        // With the sysctl nexthop_compat_mode at 0 a route names its object and nothing else.
        if routes.iter().any(Route::only_names_its_object) {
            let objects: HashMap<_, _> = (self.nexthops()?.into_iter())
                .map(|object| (object.id, object))
                .collect();
            for route in routes.iter_mut().filter(|r| r.only_names_its_object()) {
                if let Some(object) = route.nexthop.and_then(|id| objects.get(&id)) {
                    (route.gateway, route.interface) = (object.gateway, object.interface);
                }
            }
        }
        Ok(routes)
    }

    /// What a listing has that can be read.
    fn list<T>(
        &self,
        kind: u16,
        head: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut request = Vec::with_capacity(28);
        put(kind, flag::REQUEST | flag::DUMP, &mut request, |out| {
            out.extend_from_slice(head);
        });
        let mut buffer = vec![0; 256 * 1024];
        'again: for _ in 0..10 {
            self.send(&request)?;
            let (mut listed, mut interrupted) = (Vec::new(), false);
            loop {
                if !self.wait(Duration::from_secs(10))? {
                    return Err(io::Error::other("the kernel does not list what it has"));
                }
                let Some(len) = self.take(&mut buffer)? else {
                    continue;
                };
                for message in messages(&buffer[..len]) {
                    interrupted |= message.flags & flag::INTERRUPTED != 0;
                    match message.kind {
                        message::DONE if interrupted => continue 'again,
                        message::DONE => return Ok(listed),
                        message::ERROR => return Err(refusal(message.body)),
                        _ => listed.extend(read(message.body)),
                    }
                }
            }
        }
        Err(io::Error::other("the kernel's routes do not stand still"))
    }

    /// Sends prepared changes, each send once the one before was answered whole.
    pub(crate) fn apply(&self, batches: &[Batch]) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        for batch in batches {
            self.send(&batch.bytes)?;
            let mut unanswered = batch.messages;
            while unanswered > 0 {
                let len = match self.take(&mut buffer)? {
                    Some(len) => len,
                    None if self.wait(Duration::from_secs(10))? => continue,
                    None => return Err(io::Error::other("the kernel does not answer")),
                };
                for message in messages(&buffer[..len]).filter(|m| m.kind == message::ERROR) {
                    match message.body.first_chunk::<4>() {
                        Some([0, 0, 0, 0]) => unanswered -= 1,
                        _ => return Err(refusal(message.body)),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Changes for one send.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    messages: usize,
}

/// Messages in one send: past some dozens nothing is gained.
const BATCH: usize = 256;

/// Where a route leads that the bench makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Via {
        gateway: IpAddr,
        interface: u32,
    },
    /// A nexthop object says it.
    Object(u32),
}

impl Way {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Via { gateway, interface } => {
                put_address(attribute::GATEWAY, gateway, out);
                put_attribute(attribute::INTERFACE, &interface.to_ne_bytes(), out);
            }
            Self::Object(id) => put_attribute(attribute::NEXTHOP, &id.to_ne_bytes(), out),
        }
    }
}

/// What makes routes of the bench's own.
pub(crate) fn additions(prefixes: &[Prefix], way: Way) -> Vec<Batch> {
    batches(ours(prefixes), |key, out| {
        key.write(flag::CREATE, out, |out| way.put(out));
    })
}

/// What makes them lead elsewhere.
pub(crate) fn replacements(prefixes: &[Prefix], way: Way) -> Vec<Batch> {
    batches(ours(prefixes), |key, out| {
        key.write(flag::REPLACE, out, |out| way.put(out));
    })
}

/// What removes them, in reverse order: the order of adding is up to ten times slower.
pub(crate) fn removals(prefixes: &[Prefix]) -> Vec<Batch> {
    batches(ours(prefixes).rev(), Key::remove)
}

fn ours(prefixes: &[Prefix]) -> impl DoubleEndedIterator<Item = Key> {
    prefixes.iter().map(|&prefix| Key {
        prefix,
        protocol: STATIC,
        metric: METRIC,
    })
}

/// What puts routes back that were listed, as whose they were.
pub(crate) fn restorations(routes: &[Route]) -> Vec<Batch> {
    batches(routes.iter(), |route, out| {
        route.key.write(flag::CREATE, out, |out| {
            if let (Some(gateway), Some(interface)) = (route.gateway, route.interface) {
                Way::Via { gateway, interface }.put(out);
            }
        });
    })
}

/// What makes, and then removes, the routes numbered so in a table that nobody looks into: each is
/// news for everybody who listens for routes.
pub(crate) fn storm(family: Family, routes: Range<u32>) -> [Vec<Batch>; 2] {
    // In the block for carriers' own use (RFC 6598) and the one for discarding (RFC 6666).
    let prefix = |n| match family {
        Family::Ipv4 => Prefix::v4(Ipv4Addr::from_bits(0x6440_0000 + n), 32),
        Family::Ipv6 => Prefix::v6(Ipv6Addr::from_bits((0x0100 << 112) + u128::from(n)), 128),
    };
    let prefixes = || routes.clone().map(prefix);
    let one = |kind, flags, prefix, out: &mut Vec<u8>| {
        put(kind, flag::REQUEST | flag::ACK | flags, out, |out| {
            const BLACKHOLE: u8 = 6;
            route_head(prefix, 0, STATIC, [0, BLACKHOLE], out);
            put_attribute(attribute::TABLE, &FOREIGN.to_ne_bytes(), out);
        });
    };
    [
        // Some may be left of a storm that broke off.
        batches(prefixes(), |prefix, out| {
            one(message::NEW_ROUTE, flag::REPLACE, prefix, out);
        }),
        batches(prefixes().rev(), |prefix, out| {
            one(message::DEL_ROUTE, 0, prefix, out);
        }),
    ]
}

/// What removes routes that a daemon left behind.
pub(crate) fn sweep(routes: &[Route]) -> Vec<Batch> {
    batches(routes.iter().rev().map(|route| route.key), Key::remove)
}

fn batches<T: Copy>(
    changes: impl Iterator<Item = T>,
    write: impl Fn(T, &mut Vec<u8>),
) -> Vec<Batch> {
    let changes: Vec<T> = changes.collect();
    let batch = |some: &[T]| {
        let mut bytes = Vec::with_capacity(some.len() * 80);
        some.iter().for_each(|one| write(*one, &mut bytes));
        Batch {
            bytes,
            messages: some.len(),
        }
    };
    changes.chunks(BATCH).map(batch).collect()
}

/// What tells a route from others in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) prefix: Prefix,
    protocol: u8,
    metric: u32,
}

impl Key {
    /// A route in table main, of scope universe and type unicast.
    fn write(self, flags: u16, out: &mut Vec<u8>, way: impl FnOnce(&mut Vec<u8>)) {
        let flags = flag::REQUEST | flag::ACK | flags;
        put(message::NEW_ROUTE, flags, out, |out| {
            route_head(self.prefix, MAIN as u8, self.protocol, [0, 1], out);
            put_attribute(attribute::PRIORITY, &self.metric.to_ne_bytes(), out);
            way(out);
        });
    }

    fn remove(self, out: &mut Vec<u8>) {
        put(message::DEL_ROUTE, flag::REQUEST | flag::ACK, out, |out| {
            // Of any scope and type.
            route_head(self.prefix, MAIN as u8, self.protocol, [255, 0], out);
            if self.metric != 0 {
                put_attribute(attribute::PRIORITY, &self.metric.to_ne_bytes(), out);
            }
        });
    }
}

/// A route as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) key: Key,
    /// Where it leads when it has a single next hop with an address.
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: Option<u32>,
    /// The nexthop object it names.
    pub(crate) nexthop: Option<u32>,
    table: u32,
    /// Forwarding and no cached copy of another.
    unicast: bool,
}

impl Route {
    fn read(body: &[u8]) -> Option<Self> {
        let (&head, mut rest) = body.split_first_chunk::<12>()?;
        let [family, len, _, _, table, protocol, _, kind, ..] = head;
        let flags = u32::from_ne_bytes(*head.last_chunk::<4>()?);
        let family = family_of(family)?;
        let (mut destination, mut metric, mut gateway) = ([0; 16], 0, None);
        let (mut interface, mut nexthop) = (None, None);
        let mut table = u32::from(table);
        while let Some((&[a, b, c, d], _)) = rest.split_first_chunk::<4>() {
            let size = usize::from(u16::from_ne_bytes([a, b]));
            let value = rest.get(4..size)?;
            match u16::from_ne_bytes([c, d]) {
                attribute::DESTINATION => {
                    destination.get_mut(..value.len())?.copy_from_slice(value)
                }
                attribute::PRIORITY => metric = u32::from_ne_bytes(*value.first_chunk()?),
                attribute::TABLE => table = u32::from_ne_bytes(*value.first_chunk()?),
                attribute::GATEWAY => gateway = Some(read_address(family, value)?),
                attribute::INTERFACE => interface = Some(u32::from_ne_bytes(*value.first_chunk()?)),
                attribute::NEXTHOP => nexthop = Some(u32::from_ne_bytes(*value.first_chunk()?)),
                _ => {}
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        const CLONED: u32 = 0x200;
        Some(Self {
            key: Key {
                prefix: Prefix::new(family, u128::from_be_bytes(destination), len),
                protocol,
                metric,
            },
            gateway,
            interface,
            nexthop,
            table,
            unicast: kind == 1 && flags & CLONED == 0,
        })
    }

    /// Whether somebody made it, in table main. What is no unicast route there counts too, as one
    /// without a gateway.
    fn counts(&self) -> bool {
        self.table == MAIN && !NOBODYS.contains(&self.key.protocol)
    }

    fn only_names_its_object(&self) -> bool {
        self.nexthop.is_some() && self.gateway.is_none()
    }

    /// Where it leads, when it forwards.
    pub(crate) fn leads_to(&self) -> Option<IpAddr> {
        self.gateway.filter(|_| self.unicast)
    }
}

/// A change of the kernel's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Added(Route),
    Removed(Route),
}

/// The changes of table main in what a socket in [`ROUTE_NEWS`] received.
pub(crate) fn news(bytes: &[u8]) -> impl Iterator<Item = News> {
    messages(bytes).filter_map(|message| {
        let route = || Route::read(message.body).filter(Route::counts);
        match message.kind {
            message::NEW_ROUTE => route().map(News::Added),
            message::DEL_ROUTE => route().map(News::Removed),
            _ => None,
        }
    })
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (&[a, b, c, d, e, f, g, h], _) = bytes.split_first_chunk::<8>()?;
        let len = u32::from_ne_bytes([a, b, c, d]) as usize;
        let body = bytes.get(16..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([e, f]),
            flags: u16::from_ne_bytes([g, h]),
            body,
        })
    })
}

/// An error message's meaning: a negated errno stands first.
fn refusal(body: &[u8]) -> io::Error {
    let code = body
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    io::Error::from_raw_os_error(-code)
}

fn put(kind: u16, flags: u16, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 16]);
    body(out);
    let len = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    out[start + 4..start + 6].copy_from_slice(&kind.to_ne_bytes());
    out[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
}

/// The fixed part and the destination.
fn route_head(prefix: Prefix, table: u8, protocol: u8, [scope, kind]: [u8; 2], out: &mut Vec<u8>) {
    let family = family_number(prefix.family());
    out.extend_from_slice(&[family, prefix.len(), 0, 0, table, protocol, scope, kind]);
    out.extend_from_slice(&[0; 4]);
    let bytes = usize::from(prefix.family().max_len() / 8);
    put_attribute(attribute::DESTINATION, &prefix.octets()[..bytes], out);
}

/// Values are of 4 or 16 bytes: nothing is padded.
fn put_attribute(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
}

fn put_address(kind: u16, address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => put_attribute(kind, &address.octets(), out),
        IpAddr::V6(address) => put_attribute(kind, &address.octets(), out),
    }
}

fn read_address(family: Family, value: &[u8]) -> Option<IpAddr> {
    Some(match family {
        Family::Ipv4 => Ipv4Addr::from(*value.first_chunk::<4>()?).into(),
        Family::Ipv6 => Ipv6Addr::from(*value.first_chunk::<16>()?).into(),
    })
}

fn family_of(number: u8) -> Option<Family> {
    match number {
        2 => Some(Family::Ipv4),
        10 => Some(Family::Ipv6),
        _ => None,
    }
}

fn family_number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The news that a route was added.
    pub(crate) fn added(prefix: Prefix, gateway: IpAddr) -> News {
        let interface = 7;
        added_on(prefix, Way::Via { gateway, interface })
    }

    /// The same, with all that there is to say of its way.
    pub(crate) fn added_on(prefix: Prefix, way: Way) -> News {
        let written = additions(&[prefix], way);
        news(&written[0].bytes).next().expect("a message")
    }

    /// The news that a route was removed.
    pub(crate) fn removed(prefix: Prefix) -> News {
        let written = removals(&[prefix]);
        news(&written[0].bytes).next().expect("a message")
    }

    #[test]
    fn what_is_written_reads_back_as_news_of_the_same_routes() {
        for (family, gateway) in [(Family::Ipv4, "10.99.0.2"), (Family::Ipv6, "fd99::2")] {
            let gateway: IpAddr = gateway.parse().expect("an address");
            let prefixes: Vec<_> = (1..=300u128)
                .map(|n| Prefix::new(family, (0x2a00_0000 + n) << 96, 32))
                .collect();
            let interface = 7;
            let written = additions(&prefixes, Way::Via { gateway, interface });
            assert_eq!(
                written.iter().map(|b| b.messages).collect::<Vec<_>>(),
                [256, 44]
            );
            let read: Vec<_> = written
                .iter()
                .flat_map(|batch| news(&batch.bytes))
                .collect();
            assert_eq!(read.len(), 300);
            for (news, prefix) in read.iter().zip(&prefixes) {
                let News::Added(route) = news else {
                    panic!("{news:?}");
                };
                assert_eq!(
                    (route.key.prefix, route.leads_to(), route.interface),
                    (*prefix, Some(gateway), Some(7))
                );
            }
            let gone = removals(&prefixes);
            let News::Removed(first) = news(&gone[0].bytes).next().expect("a message") else {
                panic!("a removal");
            };
            assert_eq!(first.key.prefix, prefixes[299], "the last is removed first");
        }
    }

    #[test]
    fn what_is_cut_off_or_not_a_route_is_no_news() {
        let prefix = Prefix::v4([192, 0, 2, 0].into(), 24);
        let gateway = "10.99.0.2".parse().expect("an address");
        let interface = 7;
        let whole = additions(&[prefix], Way::Via { gateway, interface });
        for len in 0..whole[0].bytes.len() {
            assert_eq!(news(&whole[0].bytes[..len]).count(), 0, "{len} bytes");
        }
        assert_eq!(news(&[0; 64]).count(), 0);
    }
}
