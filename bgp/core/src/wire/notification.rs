//! NOTIFICATION: why a session ends (RFC 4271, 4.5 and 6; RFC 4486; RFC 6608; RFC 7313;
//! RFC 8538; RFC 9003; RFC 9687).
//!
//! ```text
//! +---------------+---------------+------------------- ...
//! |  Error code   | Error subcode |   Data
//! +---------------+---------------+------------------- ...
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::header::{HEADER_LEN, MAX_MESSAGE, MessageKind, begin, finish};
use crate::types::Family;

const MESSAGE_HEADER_ERROR: u8 = 1;
const OPEN_ERROR: u8 = 2;
const UPDATE_ERROR: u8 = 3;
const HOLD_TIMER_EXPIRED: u8 = 4;
const FSM_ERROR: u8 = 5;
const CEASE: u8 = 6;
/// RFC 7313, 5.
const ROUTE_REFRESH_ERROR: u8 = 7;
/// RFC 9687, 4.
const SEND_HOLD_TIMER_EXPIRED: u8 = 8;

/// Subcodes of Message Header Error, code 1 (RFC 4271, 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderError {
    /// The marker is not all ones.
    NotSynchronized = 1,
    /// A length outside of what the type allows; data: the length field.
    BadLength = 2,
    /// An unknown type; data: the type.
    BadType = 3,
}

/// Subcodes of OPEN Message Error, code 2 (RFC 4271, 6.2; RFC 5492, 5; RFC 9234, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenError {
    /// A parameter or capability that is known but malformed.
    Unspecific = 0,
    /// Not version 4; data: the largest version we speak.
    UnsupportedVersion = 1,
    /// Not the AS that was configured, or 0 (RFC 7607).
    BadPeerAs = 2,
    /// 0, or our own within our AS (RFC 6286, 2.2).
    BadIdentifier = 3,
    /// An optional parameter of unknown type.
    UnsupportedParameter = 4,
    /// 1 or 2 seconds, or less than the operator accepts.
    UnacceptableHoldTime = 6,
    /// A capability we insist on is missing; data: that capability (RFC 5492, 5).
    UnsupportedCapability = 7,
    /// Roles that do not fit each other (RFC 9234, 4.2).
    RoleMismatch = 11,
}

/// Subcodes of UPDATE Message Error, code 3 (RFC 4271, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateError {
    /// Lengths that contradict each other, or an attribute that stands there twice.
    MalformedAttributeList = 1,
    /// Marked well-known, and not known; data: the attribute.
    UnrecognizedWellKnown = 2,
    /// Data: the code of the attribute.
    MissingWellKnown = 3,
    /// Flags that contradict the code; data: the attribute.
    AttributeFlags = 4,
    /// Data: the attribute.
    AttributeLength = 5,
    /// Not 0, 1 or 2; data: the attribute.
    InvalidOrigin = 6,
    /// Not an address of a host; data: the attribute.
    InvalidNextHop = 8,
    /// A value of an optional attribute that is wrong; data: the attribute.
    OptionalAttribute = 9,
    /// A prefix that is too long or cut off.
    InvalidNetworkField = 10,
    /// AS_PATH is wrong.
    MalformedAsPath = 11,
}

/// Subcodes of Finite State Machine Error, code 5 (RFC 6608, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FsmError {
    /// In a state without a subcode.
    Unspecific = 0,
    /// A message that OpenSent does not expect; data: its type.
    UnexpectedInOpenSent = 1,
    /// A message that OpenConfirm does not expect; data: its type.
    UnexpectedInOpenConfirm = 2,
    /// A message that Established does not expect; data: its type.
    UnexpectedInEstablished = 3,
}

/// Subcodes of Cease, code 6 (RFC 4486, 3; RFC 8538, 3; RFC 9384).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cease {
    /// More prefixes than the operator accepts; see [`Notification::maximum_prefixes`].
    MaximumPrefixes = 1,
    /// The operator shut the session down; may carry a text (RFC 9003).
    AdministrativeShutdown = 2,
    /// The operator removed the peer.
    PeerDeconfigured = 3,
    /// The operator reset the session; may carry a text (RFC 9003).
    AdministrativeReset = 4,
    /// A connection that is not wanted, such as one too many.
    ConnectionRejected = 5,
    /// The session's parameters changed.
    OtherConfigurationChange = 6,
    /// The other connection of the two was kept (RFC 4271, 6.8).
    CollisionResolution = 7,
    /// Memory or the like ran out.
    OutOfResources = 8,
    /// Not even a graceful restart may keep the routes; see [`Notification::hard_reset`].
    HardReset = 9,
    /// BFD lost the peer (RFC 9384).
    BfdDown = 10,
}

/// Subcodes of ROUTE-REFRESH Message Error, code 7 (RFC 7313, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshError {
    /// Data: the whole message.
    InvalidLength = 1,
}

/// What goes on the wire when a session ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 where the code has none.
    pub subcode: u8,
    /// What the code and subcode say it is, often empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<u8>,
}

impl Notification {
    /// Any code and subcode, without data.
    pub const fn new(code: u8, subcode: u8) -> Self {
        Self {
            code,
            subcode,
            data: Vec::new(),
        }
    }

    /// The same with this data.
    #[must_use]
    pub fn with_data(mut self, data: Vec<u8>) -> Self {
        self.data = data;
        self
    }

    /// Message Header Error (RFC 4271, 6.1).
    pub const fn header(error: HeaderError) -> Self {
        Self::new(MESSAGE_HEADER_ERROR, error as u8)
    }

    /// OPEN Message Error (RFC 4271, 6.2).
    pub const fn open_error(error: OpenError) -> Self {
        Self::new(OPEN_ERROR, error as u8)
    }

    /// UPDATE Message Error (RFC 4271, 6.3).
    pub const fn update_error(error: UpdateError) -> Self {
        Self::new(UPDATE_ERROR, error as u8)
    }

    /// Hold Timer Expired (RFC 4271, 6.5).
    pub const fn hold_timer_expired() -> Self {
        Self::new(HOLD_TIMER_EXPIRED, 0)
    }

    /// Whether this says that the hold timer expired.
    pub fn is_hold_timer_expired(&self) -> bool {
        self.code == HOLD_TIMER_EXPIRED
    }

    /// Whether it is this OPEN Message Error.
    pub fn is_open_error(&self, error: OpenError) -> bool {
        self.code == OPEN_ERROR && self.subcode == error as u8
    }

    /// Finite State Machine Error (RFC 6608); data by [`Self::with_data`]: the message's type.
    pub const fn fsm_error(error: FsmError) -> Self {
        Self::new(FSM_ERROR, error as u8)
    }

    /// Cease (RFC 4486), with a text for the other operator where the subcode has one (RFC 9003,
    /// 2): cut at 255 octets on a character's boundary, and left out of any other subcode.
    pub fn cease(why: Cease, text: Option<&str>) -> Self {
        let mut notification = Self::new(CEASE, why as u8);
        if let Some(text) = text
            && notification.has_communication()
        {
            let text = text
                .get(..text.floor_char_boundary(255))
                .unwrap_or_default();
            let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
            notification.data.push(len);
            notification.data.extend_from_slice(text.as_bytes());
        }
        notification
    }

    /// Cease, Maximum Number of Prefixes Reached, with the family and the bound (RFC 4486, 4).
    pub fn maximum_prefixes(family: Family, bound: u32) -> Self {
        let (afi, safi) = family.code();
        let mut data = afi.to_be_bytes().to_vec();
        data.push(safi);
        data.extend_from_slice(&bound.to_be_bytes());
        Self::cease(Cease::MaximumPrefixes, None).with_data(data)
    }

    /// Cease, Hard Reset, around the reason itself (RFC 8538, 3.1).
    pub fn hard_reset(reason: &Self) -> Self {
        let mut data = vec![reason.code, reason.subcode];
        data.extend_from_slice(&reason.data);
        Self::cease(Cease::HardReset, None).with_data(data)
    }

    /// The reason inside a hard reset (RFC 8538, 3.1).
    pub fn hard_reset_reason(&self) -> Option<Self> {
        match self.data.as_slice() {
            [code, subcode, data @ ..] if self.is_cease(Cease::HardReset) => {
                Some(Self::new(*code, *subcode).with_data(data.to_vec()))
            }
            _ => None,
        }
    }

    /// ROUTE-REFRESH Message Error (RFC 7313, 5).
    pub const fn refresh_error(error: RefreshError) -> Self {
        Self::new(ROUTE_REFRESH_ERROR, error as u8)
    }

    /// Send Hold Timer Expired (RFC 9687, 4).
    pub const fn send_hold_timer_expired() -> Self {
        Self::new(SEND_HOLD_TIMER_EXPIRED, 0)
    }

    /// Whether this is a Cease of this kind.
    pub fn is_cease(&self, why: Cease) -> bool {
        self.code == CEASE && self.subcode == why as u8
    }

    /// Reads a body. Nothing answers an error in a NOTIFICATION (RFC 4271, 6.4), so any body is
    /// one: missing octets count as 0.
    pub fn decode(body: &[u8]) -> Self {
        match *body {
            [code, subcode, ref data @ ..] => Self::new(code, subcode).with_data(data.to_vec()),
            [code] => Self::new(code, 0),
            [] => Self::new(0, 0),
        }
    }

    /// Appends the whole message. Data that does not fit 4096 octets is cut: the peer may not
    /// take longer messages, and its end is for people.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = begin(out, MessageKind::Notification);
        out.extend_from_slice(&[self.code, self.subcode]);
        let room = self.data.len().min(MAX_MESSAGE - HEADER_LEN - 2);
        out.extend_from_slice(self.data.get(..room).unwrap_or_default());
        finish(out, start);
    }

    /// The other operator's text on a shutdown or reset (RFC 9003, 2), safe to print: control
    /// and other invisible characters are escaped, octets that are not UTF-8 replaced.
    pub fn communication(&self) -> Option<String> {
        if !self.has_communication() {
            return None;
        }
        let (&len, text) = self.data.split_first()?;
        // A length past the data is an error that may only be logged (RFC 9003, 4): show what came.
        let text = text.get(..usize::from(len)).unwrap_or(text);
        (!text.is_empty()).then(|| printable(text))
    }

    pub(crate) fn has_communication(&self) -> bool {
        self.is_cease(Cease::AdministrativeShutdown) || self.is_cease(Cease::AdministrativeReset)
    }

    pub(crate) fn names(&self) -> (Option<&'static str>, Option<&'static str>) {
        let code = match self.code {
            MESSAGE_HEADER_ERROR => "Message Header Error",
            OPEN_ERROR => "OPEN Message Error",
            UPDATE_ERROR => "UPDATE Message Error",
            HOLD_TIMER_EXPIRED => "Hold Timer Expired",
            FSM_ERROR => "Finite State Machine Error",
            CEASE => "Cease",
            ROUTE_REFRESH_ERROR => "ROUTE-REFRESH Message Error",
            SEND_HOLD_TIMER_EXPIRED => "Send Hold Timer Expired",
            _ => return (None, None),
        };
        let subcode = match (self.code, self.subcode) {
            (MESSAGE_HEADER_ERROR, 1) => "Connection Not Synchronized",
            (MESSAGE_HEADER_ERROR, 2) => "Bad Message Length",
            (MESSAGE_HEADER_ERROR, 3) => "Bad Message Type",
            (OPEN_ERROR, 0) => "Unspecific",
            (OPEN_ERROR, 1) => "Unsupported Version Number",
            (OPEN_ERROR, 2) => "Bad Peer AS",
            (OPEN_ERROR, 3) => "Bad BGP Identifier",
            (OPEN_ERROR, 4) => "Unsupported Optional Parameter",
            (OPEN_ERROR, 6) => "Unacceptable Hold Time",
            (OPEN_ERROR, 7) => "Unsupported Capability",
            (OPEN_ERROR, 11) => "Role Mismatch",
            (UPDATE_ERROR, 1) => "Malformed Attribute List",
            (UPDATE_ERROR, 2) => "Unrecognized Well-known Attribute",
            (UPDATE_ERROR, 3) => "Missing Well-known Attribute",
            (UPDATE_ERROR, 4) => "Attribute Flags Error",
            (UPDATE_ERROR, 5) => "Attribute Length Error",
            (UPDATE_ERROR, 6) => "Invalid ORIGIN Attribute",
            (UPDATE_ERROR, 7) => "AS Routing Loop",
            (UPDATE_ERROR, 8) => "Invalid NEXT_HOP Attribute",
            (UPDATE_ERROR, 9) => "Optional Attribute Error",
            (UPDATE_ERROR, 10) => "Invalid Network Field",
            (UPDATE_ERROR, 11) => "Malformed AS_PATH",
            (FSM_ERROR, 1) => "Unexpected Message in OpenSent",
            (FSM_ERROR, 2) => "Unexpected Message in OpenConfirm",
            (FSM_ERROR, 3) => "Unexpected Message in Established",
            (CEASE, 1) => "Maximum Number of Prefixes Reached",
            (CEASE, 2) => "Administrative Shutdown",
            (CEASE, 3) => "Peer De-configured",
            (CEASE, 4) => "Administrative Reset",
            (CEASE, 5) => "Connection Rejected",
            (CEASE, 6) => "Other Configuration Change",
            (CEASE, 7) => "Connection Collision Resolution",
            (CEASE, 8) => "Out of Resources",
            (CEASE, 9) => "Hard Reset",
            (CEASE, 10) => "BFD Down",
            (ROUTE_REFRESH_ERROR, 1) => "Invalid Message Length",
            _ => return (Some(code), None),
        };
        (Some(code), Some(subcode))
    }
}

impl fmt::Display for Notification {
    /// `Cease: Administrative Shutdown (6/2): "moving racks"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names() {
            (Some(code), Some(subcode)) => write!(f, "{code}: {subcode}")?,
            (Some(code), None) => f.write_str(code)?,
            (None, _) => f.write_str("Unknown error")?,
        }
        write!(f, " ({}/{})", self.code, self.subcode)?;
        if let Some(text) = self.communication() {
            return write!(f, ": \"{text}\"");
        }
        if let Some(reason) = self.hard_reset_reason() {
            // One level only: a peer may nest them as deep as a message is long.
            let (code, subcode) = reason.names();
            let words = subcode.or(code).unwrap_or("Unknown error");
            write!(f, ": {words} ({}/{})", reason.code, reason.subcode)?;
            return match reason.communication() {
                Some(text) => write!(f, ": \"{text}\""),
                None => Ok(()),
            };
        }
        if let (true, &[a, b, safi, c, d, e, g]) =
            (self.is_cease(Cease::MaximumPrefixes), self.data.as_slice())
        {
            let (afi, bound) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, g]));
            let family = super::capability::family_name(afi, safi);
            return write!(f, ": at most {bound} of {family}");
        }
        /// Octets of data shown; the rest is counted.
        const SHOWN: usize = 16;
        if !self.data.is_empty() {
            f.write_str(", data")?;
            for octet in self.data.iter().take(SHOWN) {
                write!(f, " {octet:02x}")?;
            }
            if self.data.len() > SHOWN {
                write!(f, " and {} octets more", self.data.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// Text from a peer made safe for a log line and a terminal.
pub(super) fn printable(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for character in String::from_utf8_lossy(octets).chars() {
        match character {
            '\'' => text.push('\''),
            character => text.extend(character.escape_debug()),
        }
    }
    text
}
