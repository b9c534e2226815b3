//! The message header (RFC 4271, 4.1 and 6.1).
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------------------------------------------------------+
//! |               Marker: sixteen octets, all ones                |
//! +-------------------------------+---------------+---------------+
//! |   Length, header included     |     Type      |
//! +-------------------------------+---------------+
//! ```

use serde::{Deserialize, Serialize};

use super::notification::{HeaderError, Notification};

/// Octets in a header (RFC 4271, 4.1).
pub const HEADER_LEN: usize = 19;

/// The longest message without the extended message capability (RFC 4271, 4.1).
pub const MAX_MESSAGE: usize = 4096;

/// The longest message with it (RFC 8654, 3); OPEN and KEEPALIVE stay at [`MAX_MESSAGE`].
pub const MAX_EXTENDED: usize = 65_535;

const MARKER: [u8; 16] = [0xFF; 16];

/// The five types (RFC 4271, 4.1; RFC 2918, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum MessageKind {
    /// OPEN.
    Open = 1,
    /// UPDATE.
    Update = 2,
    /// NOTIFICATION.
    Notification = 3,
    /// KEEPALIVE.
    Keepalive = 4,
    /// ROUTE-REFRESH.
    RouteRefresh = 5,
}

impl MessageKind {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::Keepalive,
            5 => Self::RouteRefresh,
            _ => return None,
        })
    }

    /// The name in the RFCs' spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Update => "UPDATE",
            Self::Notification => "NOTIFICATION",
            Self::Keepalive => "KEEPALIVE",
            Self::RouteRefresh => "ROUTE-REFRESH",
        }
    }

    /// The lengths a message of this type can have, header included (RFC 4271, 6.1; RFC 2918, 3;
    /// RFC 8654, 4 for what stays at 4096).
    pub(crate) fn lengths(self, max_len: usize) -> (usize, usize) {
        match self {
            Self::Open => (29, MAX_MESSAGE.min(max_len)),
            Self::Update => (23, max_len),
            Self::Notification => (21, max_len),
            Self::Keepalive => (HEADER_LEN, HEADER_LEN),
            Self::RouteRefresh => (23, max_len),
        }
    }
}

/// One whole message at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: MessageKind,
    /// What follows the header.
    pub body: &'a [u8],
    /// Octets of the whole message, header included: what to consume.
    pub len: usize,
}

/// Looks at the first message of `buf`; `Ok(None)` while it is incomplete.
///
/// `max_len` is [`MAX_MESSAGE`], or [`MAX_EXTENDED`] once both sides have offered extended
/// messages (RFC 8654). A header is judged as soon as it is there, not when its body is.
///
/// # Errors
/// Message Header Error (RFC 4271, 6.1): 1/1 for the marker, 1/2 for a length no message, or no
/// message of this type, can have, 1/3 for an unknown type.
#[inline]
pub fn frame(buf: &[u8], max_len: usize) -> Result<Option<Frame<'_>>, Notification> {
    let Some((header, rest)) = buf.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let [marker @ .., high, low, code] = *header;
    if marker != MARKER {
        return Err(Notification::header(HeaderError::NotSynchronized));
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    let bad_length = || Notification::header(HeaderError::BadLength).with_data(vec![high, low]);
    if len < HEADER_LEN || len > max_len {
        return Err(bad_length());
    }
    let Some(kind) = MessageKind::from_code(code) else {
        return Err(Notification::header(HeaderError::BadType).with_data(vec![code]));
    };
    let (shortest, longest) = kind.lengths(max_len);
    if len < shortest || len > longest {
        return Err(bad_length());
    }
    Ok(rest
        .get(..len - HEADER_LEN)
        .map(|body| Frame { kind, body, len }))
}

/// A KEEPALIVE: nothing but a header (RFC 4271, 4.4).
pub fn keepalive() -> [u8; HEADER_LEN] {
    let mut message = [0xFF; HEADER_LEN];
    let [.., high, low, code] = &mut message;
    (*high, *low, *code) = (0, 19, MessageKind::Keepalive as u8);
    message
}

/// Appends a header whose length is filled in by [`finish`]; returns where the message starts.
#[inline]
pub(crate) fn begin(out: &mut Vec<u8>, kind: MessageKind) -> usize {
    let start = out.len();
    let mut header = [0xFF; HEADER_LEN];
    let [.., high, low, code] = &mut header;
    (*high, *low, *code) = (0, 0, kind as u8);
    out.extend_from_slice(&header);
    start
}

/// Completes the message begun at `start` with everything appended since.
#[inline]
pub(crate) fn finish(out: &mut [u8], start: usize) {
    let len = out.len() - start;
    patch_u16(out, start + MARKER.len(), len);
}

/// Writes a length into two octets left for it. Callers keep what they write within
/// [`MAX_EXTENDED`], so that it always fits.
#[inline]
pub(super) fn patch_u16(out: &mut [u8], at: usize, value: usize) {
    debug_assert!(value <= MAX_EXTENDED, "a length past what a message holds");
    let value = u16::try_from(value).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
