//! Netlink messages as bytes: framing and attributes (RFC 3549 section 2, linux/netlink.h).
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------------------------------------------------------+
//! |                          Length                               |
//! +-------------------------------+-------------------------------+
//! |            Type               |           Flags               |
//! +-------------------------------+-------------------------------+
//! |                      Sequence Number                          |
//! +---------------------------------------------------------------+
//! |                      Process ID (PID)                         |
//! +---------------------------------------------------------------+
//! ```
//! All in the byte order of the host, all padded to four bytes.
//!
//! Routes and nexthop objects are written and read here by hand: routes because a full table is
//! 200,000 messages and the general codec costs a fifth of the whole, nexthop objects because no
//! published codec has them. The tests hold the routes against netlink-packet-route byte by byte.
//! Everything else goes through netlink-packet-route.

mod answer;
mod link;
mod nexthop;
mod object;
mod request;
mod route;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    answer::{Answer, answer},
    link::{read_address, read_link},
    object::{event, object},
    request::{change, dump, link_query},
};
use crate::error::KernelError;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// `NLM_F_ROOT | NLM_F_MATCH`.
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// In an answer: the request is not repeated in it.
const NLM_F_CAPPED: u16 = 0x100;
/// In an answer: attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLMSG_OVERRUN: u16 = 4;

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_SETLINK: u16 = 19;
pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;
pub(crate) const RTM_GETADDR: u16 = 22;
pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_DELROUTE: u16 = 25;
pub(crate) const RTM_GETROUTE: u16 = 26;
pub(crate) const RTM_NEWNEIGH: u16 = 28;
pub(crate) const RTM_DELNEIGH: u16 = 29;
pub(crate) const RTM_GETNEIGH: u16 = 30;
pub(crate) const RTM_NEWRULE: u16 = 32;
pub(crate) const RTM_DELRULE: u16 = 33;
pub(crate) const RTM_GETRULE: u16 = 34;
pub(crate) const RTM_NEWNEXTHOP: u16 = 104;
pub(crate) const RTM_DELNEXTHOP: u16 = 105;
pub(crate) const RTM_GETNEXTHOP: u16 = 106;

/// Length of `nlmsghdr`.
pub(crate) const HEADER: usize = 16;
const NLA_F_NESTED: u16 = 0x8000;
/// Type bits of an attribute, without the nested and byte order flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Appends one message to a buffer.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

/// An attribute that contains attributes, still open.
#[must_use]
pub(crate) struct Nest(usize);

impl<'a> Writer<'a> {
    /// Begins a message; its length is filled in by [`finish`](Self::finish).
    pub(crate) fn begin(out: &'a mut Vec<u8>, kind: u16, flags: u16, sequence: u32) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(&flags.to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&[0; 4]);
        Self { out, start }
    }

    /// Appends the fixed part of a message, or any bytes that need no padding.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends an attribute.
    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) {
        // Invariant: values are addresses, names and nested lists bounded by `request`.
        let len = u16::try_from(4 + value.len()).expect("invariant: attributes are short");
        self.out.extend_from_slice(&len.to_ne_bytes());
        self.out.extend_from_slice(&kind.to_ne_bytes());
        self.out.extend_from_slice(value);
        self.pad();
    }

    /// Appends a 32-bit attribute.
    pub(crate) fn attr_u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// Opens an attribute that contains attributes.
    pub(crate) fn nest(&mut self, kind: u16) -> Nest {
        let nest = Nest(self.out.len());
        self.out.extend_from_slice(&[0; 2]);
        self.out.extend_from_slice(&kind.to_ne_bytes());
        nest
    }

    /// Closes it.
    pub(crate) fn end(&mut self, nest: Nest) {
        self.fill_u16(nest.0);
    }

    /// Where the next byte goes, for lengths filled in later by [`fill_u16`](Self::fill_u16).
    pub(crate) fn position(&self) -> usize {
        self.out.len()
    }

    /// Writes at `at` how many bytes were written since.
    pub(crate) fn fill_u16(&mut self, at: usize) {
        let len = u16::try_from(self.out.len() - at).expect("invariant: attributes are short");
        self.out[at..at + 2].copy_from_slice(&len.to_ne_bytes());
    }

    /// Appends what netlink-packet-route makes of a message.
    pub(crate) fn emit(&mut self, message: &impl netlink_packet_core::Emitable) {
        let at = self.out.len();
        self.out.resize(at + message.buffer_len(), 0);
        message.emit(&mut self.out[at..]);
    }

    /// Ends the message: fills in its length.
    pub(crate) fn finish(mut self) {
        self.pad();
        let len =
            u32::try_from(self.out.len() - self.start).expect("invariant: messages are short");
        self.out[self.start..self.start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    fn pad(&mut self) {
        let len = self.out.len() - self.start;
        self.out.resize(self.start + len.next_multiple_of(4), 0);
    }
}

/// One message out of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Of an event: the socket of whoever caused it; 0 is the kernel itself.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of a datagram. Ends at the first that is malformed, after having said so.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, KernelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let len = u32_at(self.0, 0).map_or(0, |len| len as usize);
        if self.0.len() < HEADER || len < HEADER || len > self.0.len() {
            let have = self.0.len();
            self.0 = &[];
            return Some(Err(malformed(format!(
                "a message of {len} bytes in {have}"
            ))));
        }
        let (message, rest) = self.0.split_at(len);
        self.0 = rest.get(len.next_multiple_of(4) - len..).unwrap_or(&[]);
        Some(Ok(Message {
            kind: u16::from_ne_bytes([message[4], message[5]]),
            flags: u16::from_ne_bytes([message[6], message[7]]),
            sequence: u32::from_ne_bytes([message[8], message[9], message[10], message[11]]),
            port: u32::from_ne_bytes([message[12], message[13], message[14], message[15]]),
            payload: &message[HEADER..],
        }))
    }
}

/// The attributes in a payload. Ends at the first that is malformed, after having said so.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), KernelError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Up to three bytes of padding may follow the last one.
        if self.0.len() < 4 {
            return None;
        }
        let len = usize::from(u16::from_ne_bytes([self.0[0], self.0[1]]));
        let kind = u16::from_ne_bytes([self.0[2], self.0[3]]) & NLA_TYPE_MASK;
        if len < 4 || len > self.0.len() {
            let have = self.0.len();
            self.0 = &[];
            return Some(Err(malformed(format!(
                "attribute {kind} of {len} bytes in {have}"
            ))));
        }
        let value = &self.0[4..len];
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Ok((kind, value)))
    }
}

pub(crate) fn malformed(what: impl Into<String>) -> KernelError {
    KernelError::Malformed(what.into())
}

/// The 32-bit number at an offset.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// The value of a 32-bit attribute.
fn u32_of(value: &[u8]) -> Result<u32, KernelError> {
    let bytes = value.try_into();
    bytes
        .map(u32::from_ne_bytes)
        .map_err(|_| malformed("a number that is not of four bytes"))
}

/// The value of an address attribute, by its length.
fn ip_of(value: &[u8]) -> Result<std::net::IpAddr, KernelError> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Ok(v4.into());
    }
    if let Ok(v6) = <[u8; 16]>::try_from(value) {
        return Ok(v6.into());
    }
    Err(malformed(format!("an address of {} bytes", value.len())))
}

/// The bytes of an address, on the stack.
pub(crate) fn with_octets<R>(addr: std::net::IpAddr, f: impl FnOnce(&[u8]) -> R) -> R {
    match addr {
        std::net::IpAddr::V4(v4) => f(&v4.octets()),
        std::net::IpAddr::V6(v6) => f(&v6.octets()),
    }
}
