//! Elements of nftables sets and maps, by nfnetlink (linux/netfilter/nf_tables.h).
//!
//! The skeleton, tables, chains, rules and sets, is made once by `nft -f -`, which reads the whole
//! ruleset first and is too slow for every container; elements go here, thousands in a
//! millisecond. One [`NftSocket::apply`] is one transaction: all of it takes place or nothing.
//!
//! ```text
//! nfgenmsg { u8 family, version; be16 res_id; }     numbers of nftables are big endian
//! BATCH_BEGIN, (NEWSETELEM | DELSETELEM)*, BATCH_END    in one datagram
//! ```

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
};

use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;

use crate::{
    error::{Code, KernelError, SocketOperation},
    link::Mac,
    socket::{adopt::adopt, bound_port, configure, receive},
    wire::{self, Answer, Attributes, Messages, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, Writer},
};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_NEWSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 12;
const NFT_MSG_GETSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 13;
const NFT_MSG_DELSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 14;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;
const NLM_F_REQUEST: u16 = 1;

/// Elements in one message; an attribute has at most 65,535 bytes.
const ELEMENTS: usize = 400;
/// A transaction is one datagram; the kernel takes no larger ones from us.
const MAX_TRANSACTION: usize = 8 * 1024 * 1024;
/// `IFNAMSIZ`: names are compared as 16 bytes.
const NAME: usize = 16;

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TableFamily {
    /// IPv4 and IPv6 (`NFPROTO_INET`).
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// Packets at one interface, before routing (`NFPROTO_NETDEV`).
    Netdev = 5,
    /// Bridged frames.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

/// A set or map of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The family of the table.
    pub family: TableFamily,
    /// The table's name.
    pub table: String,
    /// The set's name.
    pub set: String,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = format!("{:?}", self.family).to_lowercase();
        write!(f, "set {family} {} {}", self.table, self.set)
    }
}

/// The key of an element: one field, or several of a concatenation in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Vec<u8>);

impl Key {
    /// No field yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An interface name (`ifname`); what is longer than 16 bytes is no name and matches nothing.
    #[must_use]
    pub fn ifname(self, name: &str) -> Self {
        let mut field = [0; NAME];
        let len = name.len().min(NAME);
        field[..len].copy_from_slice(&name.as_bytes()[..len]);
        self.field(&field)
    }

    /// An IPv4 address (`ipv4_addr`).
    #[must_use]
    pub fn v4(self, addr: Ipv4Addr) -> Self {
        self.field(&addr.octets())
    }

    /// An IPv6 address (`ipv6_addr`).
    #[must_use]
    pub fn v6(self, addr: Ipv6Addr) -> Self {
        self.field(&addr.octets())
    }

    /// An Ethernet address (`ether_addr`).
    #[must_use]
    pub fn mac(self, mac: Mac) -> Self {
        self.field(&mac.0)
    }

    /// A port or a number of two bytes (`inet_service`).
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.field(&port.to_be_bytes())
    }

    /// A protocol or a number of one byte (`inet_proto`).
    #[must_use]
    pub fn proto(self, proto: u8) -> Self {
        self.field(&[proto])
    }

    /// The bytes of a field. In a concatenation each is padded to four; a field alone is not.
    fn field(mut self, bytes: &[u8]) -> Self {
        let concatenated = !self.0.is_empty();
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.0.extend_from_slice(bytes);
        if concatenated {
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
        self
    }
}

/// What a map says for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: it is a set.
    None,
    /// Data, made like a key.
    Data(Key),
    /// Drop the packet.
    Drop,
    /// Accept it.
    Accept,
    /// Go on in a chain and come back.
    Jump(String),
    /// Go on in a chain.
    Goto(String),
}

/// A change of elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementChange {
    /// Adds; what is there already, with the same value, stays.
    Add(Key, Value),
    /// Deletes; `ENOENT` if there is none.
    Delete(Key),
}

/// A NETLINK_NETFILTER socket.
#[derive(Debug)]
pub struct NftSocket {
    raw: RawSocket,
    sequence: u32,
    inbox: Vec<u8>,
}

impl NftSocket {
    /// Opens one in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`KernelError::Socket`].
    pub fn open() -> Result<Self, KernelError> {
        let raw = RawSocket::new(NETLINK_NETFILTER)
            .map_err(|error| KernelError::socket(SocketOperation::Open, &error))?;
        Self::with(raw)
    }

    /// Takes over one that was made elsewhere, in another namespace perhaps.
    ///
    /// # Errors
    /// [`KernelError::Socket`], also when it is a socket of another kind.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, KernelError> {
        let adopting = |error| KernelError::socket(SocketOperation::Adopt, &error);
        let (domain, protocol) = {
            let socket = SockRef::from(&fd);
            (
                socket.domain().map_err(adopting)?,
                socket.protocol().map_err(adopting)?,
            )
        };
        let netfilter = socket2::Protocol::from(NETLINK_NETFILTER as i32);
        if domain != nix::libc::AF_NETLINK.into() || protocol != Some(netfilter) {
            let errno = Code(nix::errno::Errno::EPROTOTYPE as i32);
            return Err(KernelError::Socket {
                operation: SocketOperation::Adopt,
                errno,
            });
        }
        Self::with(adopt(fd))
    }

    /// Applies changes to sets in one transaction: all, or none.
    ///
    /// # Errors
    /// The first refusal; then nothing has changed. When the answer is lost
    /// ([`KernelError::is_uncertain`]) nobody knows.
    pub fn apply(&mut self, changes: &[(Set, Vec<ElementChange>)]) -> Result<(), KernelError> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let mut messages = 0;
        self.bracket(&mut bytes, NFNL_MSG_BATCH_BEGIN);
        for (set, changes) in changes {
            // Runs of one kind go together; their order is kept.
            for run in changes.chunk_by(|a, b| is_addition(a) == is_addition(b)) {
                for part in run.chunks(ELEMENTS) {
                    self.sequence = self.sequence.wrapping_add(1);
                    write_part(&mut bytes, set, part, self.sequence);
                    messages += 1;
                }
            }
        }
        if messages == 0 {
            return Ok(());
        }
        self.bracket(&mut bytes, NFNL_MSG_BATCH_END);
        if bytes.len() > MAX_TRANSACTION {
            let why = format!("a transaction of {} bytes; split it", bytes.len());
            return Err(KernelError::Inexpressible(why));
        }
        self.send(&bytes)?;
        self.collect(first, messages)
    }

    /// The keys in a set.
    ///
    /// # Errors
    /// `ENOENT` if there is no such set; [`KernelError::Interrupted`] if it changed meanwhile.
    pub fn keys(&mut self, set: &Set) -> Result<Vec<Key>, KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut w = Writer::begin(&mut bytes, NFT_MSG_GETSETELEM, flags, self.sequence);
        write_set(&mut w, set);
        w.finish();
        self.send(&bytes)?;
        let mut keys = Vec::new();
        let mut interrupted = false;
        loop {
            receive(&self.raw, &mut self.inbox)?;
            for message in Messages(&self.inbox) {
                let message = message?;
                if message.sequence != self.sequence {
                    continue;
                }
                interrupted |= message.flags & wire::NLM_F_DUMP_INTR != 0;
                match wire::answer(&message)? {
                    Answer::Object => read_keys(message.payload, &mut keys)?,
                    Answer::Overrun => return Err(KernelError::Overrun),
                    Answer::Ack(result) | Answer::Done(result) => {
                        result?;
                        return if interrupted {
                            Err(KernelError::Interrupted)
                        } else {
                            Ok(keys)
                        };
                    }
                }
            }
        }
    }

    fn with(mut raw: RawSocket) -> Result<Self, KernelError> {
        let configuring = |error| KernelError::socket(SocketOperation::Configure, &error);
        configure(&raw).map_err(configuring)?;
        bound_port(&mut raw).map_err(configuring)?;
        Ok(Self {
            raw,
            sequence: 0,
            inbox: Vec::new(),
        })
    }

    /// Appends the message that begins or ends a transaction.
    fn bracket(&mut self, out: &mut Vec<u8>, kind: u16) {
        let mut w = Writer::begin(out, kind, NLM_F_REQUEST, 0);
        let [high, low] = NFNL_SUBSYS_NFTABLES.to_be_bytes();
        w.put(&[0, 0, high, low]);
        w.finish();
    }

    fn send(&self, bytes: &[u8]) -> Result<(), KernelError> {
        // The kernel doubles it for its own accounting.
        let room = (bytes.len() + 4096).max(256 * 1024);
        // Without the privilege the default has to do; a larger datagram is refused then.
        let _forced = setsockopt(&self.raw, sockopt::SndBufForce, &room);
        self.raw
            .send_to(bytes, &SocketAddr::new(0, 0), 0)
            .map(drop)
            .map_err(|error| KernelError::socket(SocketOperation::Send, &error))
    }

    /// Reads the answer to each message. One refusal undoes the whole transaction.
    fn collect(&mut self, first: u32, messages: u32) -> Result<(), KernelError> {
        let mut left = messages;
        let mut refused = None;
        while left > 0 {
            match receive(&self.raw, &mut self.inbox) {
                Ok(()) => {}
                // After a refusal the others need not be answered.
                Err(error) => return Err(refused.unwrap_or(error)),
            }
            for message in Messages(&self.inbox) {
                let message = message?;
                let Answer::Ack(result) = wire::answer(&message)? else {
                    continue;
                };
                // The end of the transaction answers under number 0 if it fails as a whole.
                let ours = message.sequence.wrapping_sub(first) < messages;
                match result {
                    Err(error) if ours || message.sequence == 0 => {
                        return Err(refused.take().unwrap_or(error));
                    }
                    Ok(()) if ours => left -= 1,
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }
}

const fn is_addition(change: &ElementChange) -> bool {
    matches!(change, ElementChange::Add(..))
}

fn write_part(out: &mut Vec<u8>, set: &Set, part: &[ElementChange], sequence: u32) {
    let (kind, create) = match part.first() {
        Some(ElementChange::Add(..)) => (NFT_MSG_NEWSETELEM, NLM_F_CREATE),
        Some(ElementChange::Delete(_)) | None => (NFT_MSG_DELSETELEM, 0),
    };
    let mut w = Writer::begin(out, kind, NLM_F_REQUEST | NLM_F_ACK | create, sequence);
    write_set(&mut w, set);
    let elements = w.nest(NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED);
    for change in part {
        let element = w.nest(NFTA_LIST_ELEM | NLA_F_NESTED);
        match change {
            ElementChange::Delete(key) => write_data(&mut w, NFTA_SET_ELEM_KEY, key),
            ElementChange::Add(key, value) => {
                write_data(&mut w, NFTA_SET_ELEM_KEY, key);
                write_value(&mut w, value);
            }
        }
        w.end(element);
    }
    w.end(elements);
    w.finish();
}

fn write_set(w: &mut Writer<'_>, set: &Set) {
    w.put(&[set.family as u8, 0, 0, 0]);
    write_name(w, NFTA_SET_ELEM_LIST_TABLE, &set.table);
    write_name(w, NFTA_SET_ELEM_LIST_SET, &set.set);
}

fn write_name(w: &mut Writer<'_>, kind: u16, name: &str) {
    let mut bytes = name.as_bytes().to_vec();
    // The kernel's names have at most 255 bytes; a longer one is refused there.
    bytes.truncate(1024);
    bytes.push(0);
    w.attr(kind, &bytes);
}

fn write_data(w: &mut Writer<'_>, kind: u16, data: &Key) {
    let nest = w.nest(kind | NLA_F_NESTED);
    w.attr(NFTA_DATA_VALUE, &data.0);
    w.end(nest);
}

fn write_value(w: &mut Writer<'_>, value: &Value) {
    const NF_DROP: i32 = 0;
    const NF_ACCEPT: i32 = 1;
    const NFT_JUMP: i32 = -3;
    const NFT_GOTO: i32 = -4;
    let (code, chain) = match value {
        Value::None => return,
        Value::Data(data) => return write_data(w, NFTA_SET_ELEM_DATA, data),
        Value::Drop => (NF_DROP, None),
        Value::Accept => (NF_ACCEPT, None),
        Value::Jump(chain) => (NFT_JUMP, Some(chain)),
        Value::Goto(chain) => (NFT_GOTO, Some(chain)),
    };
    let data = w.nest(NFTA_SET_ELEM_DATA | NLA_F_NESTED);
    let verdict = w.nest(NFTA_DATA_VERDICT | NLA_F_NESTED);
    w.attr(NFTA_VERDICT_CODE, &code.to_be_bytes());
    if let Some(chain) = chain {
        write_name(w, NFTA_VERDICT_CHAIN, chain);
    }
    w.end(verdict);
    w.end(data);
}

pub(crate) fn read_keys(payload: &[u8], keys: &mut Vec<Key>) -> Result<(), KernelError> {
    for attribute in Attributes(payload.get(4..).unwrap_or(&[])) {
        let (NFTA_SET_ELEM_LIST_ELEMENTS, elements) = attribute? else {
            continue;
        };
        for element in Attributes(elements) {
            for attribute in Attributes(element?.1) {
                let (NFTA_SET_ELEM_KEY, key) = attribute? else {
                    continue;
                };
                for data in Attributes(key) {
                    keys.push(Key(data?.1.to_vec()));
                }
            }
        }
    }
    Ok(())
}
