//! What was wrong with an attribute, and what is done about it (RFC 7606, 2).

use std::fmt;

use super::table::attribute_name;
use crate::wire::notification::{Notification, UpdateError};

/// What can be done about an error in an UPDATE, weakest first (RFC 7606, 2). "AFI/SAFI disable" is
/// not among them: where it is allowed, so is the session reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Approach {
    /// The attribute is left out.
    Discard,
    /// What is announced counts as withdrawn.
    TreatAsWithdraw,
    /// The session is closed.
    Reset,
}

/// What is done with an UPDATE, weakest first (RFC 7606, 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// An attribute was left out; the rest counts. Where several were, this is the first.
    Discard(Malformed),
    /// The prefixes announced are to be handled as if they had been withdrawn.
    TreatAsWithdraw(Malformed),
    /// The session is to be closed with this.
    Reset(Notification),
}

impl Verdict {
    /// As `wayleave bgp decode` prints it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Discard(_) => "attribute-discard",
            Self::TreatAsWithdraw(_) => "treat-as-withdraw",
            Self::Reset(_) => "session-reset",
        }
    }
}

/// What was wrong, with which attribute, and the text that decides what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Malformed {
    /// Type code of the attribute; 0 when the attributes as a whole are meant.
    pub code: u8,
    /// What is wrong with it.
    pub problem: Problem,
    /// RFC and section, such as `RFC 7606, 7.1`.
    pub section: &'static str,
}

/// The ways in which an attribute can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// It reaches past the end of the attributes, or its header does.
    Overrun,
    /// The Optional or Transitive bit contradicts the type code.
    Flags,
    /// Its length is not one it can have.
    Length,
    /// A value that is not defined.
    Value,
    /// It stands there again; the first one counts.
    Duplicate,
    /// It is mandatory and missing.
    Missing,
    /// It is marked well-known and is not known.
    Unrecognized,
    /// An external peer may not send it.
    FromExternal,
    /// A peer with four-octet AS numbers may not send it.
    FromNewSpeaker,
    /// A segment of a type that does not exist.
    SegmentType,
    /// A segment that is empty, cut off, or followed by a stray octet.
    SegmentLength,
    /// A confederation segment where there is no confederation.
    Confederation,
    /// AS 0.
    AsZero,
    /// Not an address that can be a next hop.
    NextHop,
    /// A next hop of a length that the address family does not have.
    NextHopLength,
    /// A prefix that is longer than an address of its family, or cut off.
    Prefix,
}

impl Malformed {
    /// What the peer is told when this closes the session (RFC 4271, 6.3); `attribute` is the
    /// offender as it came.
    pub(super) fn notification(self, attribute: &[u8]) -> Notification {
        let error = match self.problem {
            Problem::Overrun | Problem::Duplicate => UpdateError::MalformedAttributeList,
            Problem::Flags => UpdateError::AttributeFlags,
            Problem::Missing => UpdateError::MissingWellKnown,
            Problem::Unrecognized => UpdateError::UnrecognizedWellKnown,
            Problem::Value if self.code == super::table::ORIGIN => UpdateError::InvalidOrigin,
            Problem::NextHop => UpdateError::InvalidNextHop,
            Problem::SegmentType
            | Problem::SegmentLength
            | Problem::Confederation
            | Problem::AsZero => UpdateError::MalformedAsPath,
            Problem::Length
                if matches!(
                    self.code,
                    super::table::MP_REACH_NLRI | super::table::MP_UNREACH_NLRI
                ) =>
            {
                UpdateError::OptionalAttribute
            }
            Problem::Length => UpdateError::AttributeLength,
            Problem::Value
            | Problem::NextHopLength
            | Problem::Prefix
            | Problem::FromExternal
            | Problem::FromNewSpeaker => UpdateError::OptionalAttribute,
        };
        let data = match error {
            UpdateError::MissingWellKnown => vec![self.code],
            UpdateError::MalformedAttributeList | UpdateError::MalformedAsPath => Vec::new(),
            UpdateError::UnrecognizedWellKnown
            | UpdateError::AttributeFlags
            | UpdateError::AttributeLength
            | UpdateError::InvalidOrigin
            | UpdateError::InvalidNextHop
            | UpdateError::OptionalAttribute
            | UpdateError::InvalidNetworkField => attribute.to_vec(),
        };
        Notification::update_error(error).with_data(data)
    }
}

impl fmt::Display for Malformed {
    /// `ORIGIN: a value that is not defined (RFC 7606, 7.1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, attribute_name(self.code)) {
            (0, _) => f.write_str("path attributes")?,
            (_, Some(name)) => f.write_str(name)?,
            (code, None) => write!(f, "attribute {code}")?,
        }
        write!(f, ": {} ({})", self.problem, self.section)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overrun => "reaches past the end of the attributes",
            Self::Flags => "flags that contradict its type",
            Self::Length => "a length it cannot have",
            Self::Value => "a value that is not defined",
            Self::Duplicate => "stands there more than once",
            Self::Missing => "mandatory and missing",
            Self::Unrecognized => "marked well-known and not known",
            Self::FromExternal => "not accepted from an external peer",
            Self::FromNewSpeaker => "not accepted from a peer with four-octet AS numbers",
            Self::SegmentType => "a segment of a type that does not exist",
            Self::SegmentLength => "a segment that is empty or cut off",
            Self::Confederation => "a confederation segment from outside of any confederation",
            Self::AsZero => "AS number 0",
            Self::NextHop => "not an address that can be a next hop",
            Self::NextHopLength => "a next hop of a length that the family does not have",
            Self::Prefix => "a prefix that is too long for its family or cut off",
        })
    }
}
