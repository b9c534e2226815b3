//! rtnetlink by hand, as far as routes take it: requests of many messages, listings, news.
//!
//! This shares no line with the agent's netlink: a mistake made there cannot hide here.
//!
//! ```text
//! | length 4 | type 2 | flags 2 | sequence 4 | port 4 |           nlmsghdr
//! | family | dst bits | src bits | tos | table | protocol | scope | type | flags 4 |   rtmsg
//! | length 2 | type 2 | value, padded to 4 | ...                    attributes
//! ```

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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
/// The routing table `main`.
pub(crate) const MAIN: u32 = 254;
/// Protocol of what the kernel makes itself, of `ip` at boot, and of router advertisements.
const NOBODYS: [u8; 3] = [2, 3, 9];
/// Protocol of the routes the bench makes itself: static.
const STATIC: u8 = 4;
/// Their metric, that of our daemon's.
const METRIC: u32 = 50;

mod message {
    pub(super) const ERROR: u16 = 2;
    pub(super) const DONE: u16 = 3;
    pub(super) const NEW_ROUTE: u16 = 24;
    pub(super) const DEL_ROUTE: u16 = 25;
    pub(super) const GET_ROUTE: u16 = 26;
}

mod flag {
    pub(super) const REQUEST: u16 = 0x1;
    pub(super) const ACK: u16 = 0x4;
    /// A listing changed while it was made.
    pub(super) const INTERRUPTED: u16 = 0x10;
    pub(super) const DUMP: u16 = 0x300;
    /// Make it, and refuse where it exists.
    pub(super) const CREATE: u16 = 0x400 | 0x200;
}

mod attribute {
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const INTERFACE: u16 = 4;
    pub(super) const GATEWAY: u16 = 5;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const TABLE: u16 = 15;
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
        let mut request = Vec::with_capacity(28);
        put(
            message::GET_ROUTE,
            flag::REQUEST | flag::DUMP,
            &mut request,
            |out| {
                out.extend_from_slice(&[family_number(family), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            },
        );
        let mut buffer = vec![0; 256 * 1024];
        'again: for _ in 0..10 {
            self.send(&request)?;
            let (mut routes, mut interrupted) = (Vec::new(), false);
            loop {
                if !self.wait(Duration::from_secs(10))? {
                    return Err(io::Error::other("the kernel does not list its routes"));
                }
                let Some(len) = self.take(&mut buffer)? else {
                    continue;
                };
                for message in messages(&buffer[..len]) {
                    interrupted |= message.flags & flag::INTERRUPTED != 0;
                    match message.kind {
                        message::DONE if interrupted => continue 'again,
                        message::DONE => return Ok(routes),
                        message::ERROR => return Err(refusal(message.body)),
                        _ => routes.extend(Route::read(message.body).filter(Route::counts)),
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

/// What makes routes of the bench's own: each through `gateway` on `interface`.
pub(crate) fn additions(prefixes: &[Prefix], gateway: IpAddr, interface: u32) -> Vec<Batch> {
    batches(prefixes.iter().copied(), |prefix, out| {
        let flags = flag::REQUEST | flag::ACK | flag::CREATE;
        put(message::NEW_ROUTE, flags, out, |out| {
            // Scope universe, type unicast.
            route_head(prefix, STATIC, [0, 1], out);
            put_attribute(attribute::PRIORITY, &METRIC.to_ne_bytes(), out);
            match gateway {
                IpAddr::V4(hop) => put_attribute(attribute::GATEWAY, &hop.octets(), out),
                IpAddr::V6(hop) => put_attribute(attribute::GATEWAY, &hop.octets(), out),
            }
            put_attribute(attribute::INTERFACE, &interface.to_ne_bytes(), out);
        });
    })
}

/// What removes them, in reverse order: the order of adding is up to ten times slower.
pub(crate) fn removals(prefixes: &[Prefix]) -> Vec<Batch> {
    let ours = prefixes.iter().rev().map(|&prefix| Key {
        prefix,
        protocol: STATIC,
        metric: METRIC,
    });
    batches(ours, Key::remove)
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
    fn remove(self, out: &mut Vec<u8>) {
        put(message::DEL_ROUTE, flag::REQUEST | flag::ACK, out, |out| {
            // Of any scope and type.
            route_head(self.prefix, self.protocol, [255, 0], out);
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
    table: u32,
    /// Forwarding and no cached copy of another.
    unicast: bool,
}

impl Route {
    fn read(body: &[u8]) -> Option<Self> {
        let (&head, mut rest) = body.split_first_chunk::<12>()?;
        let [family, len, _, _, table, protocol, _, kind, ..] = head;
        let flags = u32::from_ne_bytes(*head.last_chunk::<4>()?);
        let family = match family {
            2 => Family::Ipv4,
            10 => Family::Ipv6,
            _ => return None,
        };
        let (mut destination, mut metric, mut gateway) = ([0; 16], 0, None);
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
                attribute::GATEWAY => {
                    gateway = match family {
                        Family::Ipv4 => Some(Ipv4Addr::from(*value.first_chunk::<4>()?).into()),
                        Family::Ipv6 => Some(Ipv6Addr::from(*value.first_chunk::<16>()?).into()),
                    };
                }
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
            table,
            unicast: kind == 1 && flags & CLONED == 0,
        })
    }

    /// Whether somebody made it, in table main. What is no unicast route there counts too, as one
    /// without a gateway.
    fn counts(&self) -> bool {
        self.table == MAIN && !NOBODYS.contains(&self.key.protocol)
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
fn route_head(prefix: Prefix, protocol: u8, [scope, kind]: [u8; 2], out: &mut Vec<u8>) {
    let family = family_number(prefix.family());
    out.extend_from_slice(&[
        family,
        prefix.len(),
        0,
        0,
        MAIN as u8,
        protocol,
        scope,
        kind,
    ]);
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
        let written = additions(&[prefix], gateway, 7);
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
            let written = additions(&prefixes, gateway, 7);
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
                    (route.key.prefix, route.leads_to()),
                    (*prefix, Some(gateway))
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
        let whole = additions(&[prefix], "10.99.0.2".parse().expect("an address"), 7);
        for len in 0..whole[0].bytes.len() {
            assert_eq!(news(&whole[0].bytes[..len]).count(), 0, "{len} bytes");
        }
        assert_eq!(news(&[0; 64]).count(), 0);
    }
}
