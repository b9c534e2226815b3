//! Messages as people and tools read and write them: `wayleave bgp decode` and `encode`.
//!
//! [`decode`] says what is in one message and what a session would do with it, [`encode`] makes
//! the message from such an object. What is done about an error is decided by the functions of
//! [`crate::wire`] that a session calls, in the order in which it calls them; only the words and
//! the search for further errors are of this module. What a session would have negotiated is an
//! argument, because a message alone does not say it ([`Options`]).
//!
//! An object is complete: what has no field of its own is there in hexadecimal, so that [`encode`]
//! gives back a message that says the same. For messages that a session accepts, decoding what
//! was encoded gives the same object.
//!
//! This module allocates as it likes: nothing here is on the way of a session.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod attributes;
mod capability;
mod error;
mod family;
mod hex;
mod judge;
mod notification;
mod open;
mod path;
mod prefixes;
mod refresh;
mod stream;
mod update;

use serde::{Deserialize, Serialize};

use self::judge::Judge;
pub use self::{
    attributes::{MpReach, MpUnreach, Other, PathAttributes},
    capability::{Capability, FamilyEntry, Mode},
    error::EncodeError,
    family::{FamilyCode, FamilyError},
    hex::{Hex, HexError},
    judge::{Found, Outcome, Reset},
    notification::Notification,
    open::Open,
    prefixes::PathPrefix,
    refresh::RouteRefresh,
    stream::{HexStream, InputError, Step, next},
    update::Update,
};
use crate::{
    types::Family,
    wire::{
        self, DecodeContext, Frame, MAX_EXTENDED, MAX_MESSAGE, MessageKind, begin, finish, frame,
        parse_before,
    },
};

/// What a session would have negotiated, as far as it changes how messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Four-octet AS numbers (RFC 6793).
    pub as4: bool,
    /// The peer is in another AS.
    pub ebgp: bool,
    /// Path identifiers (RFC 7911), by [`Family::index`].
    pub add_path: [bool; 2],
    /// Messages of up to 65535 octets (RFC 8654).
    pub extended: bool,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
}

impl Default for Options {
    /// What most sessions between networks have.
    fn default() -> Self {
        Self {
            as4: true,
            ebgp: true,
            add_path: [false; 2],
            extended: false,
            extended_next_hop: false,
        }
    }
}

impl Options {
    fn has_add_path(&self, family: Family) -> bool {
        let [v4, v6] = self.add_path;
        match family {
            Family::Ipv4Unicast => v4,
            Family::Ipv6Unicast => v6,
        }
    }

    fn max_len(&self) -> usize {
        if self.extended {
            MAX_EXTENDED
        } else {
            MAX_MESSAGE
        }
    }
}

/// One message: what it is, what a session does with it, and what is in it.
///
/// A message is made from `type` and the content of that type, or from `hex` where there is no
/// content. The other fields follow from these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decoded {
    /// The type; `None` where the header does not say a known one.
    #[serde(rename = "type")]
    pub kind: Option<MessageKind>,
    /// What a session does with it.
    pub verdict: Outcome,
    /// RFC and section that decided; `None` when all is well.
    pub section: Option<String>,
    /// What the peer is told when the session ends.
    pub reset: Option<Reset>,
    /// Everything that was found, in the order in which a session looks.
    pub problems: Vec<Found>,
    /// Content of an OPEN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// Content of an UPDATE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// Content of a NOTIFICATION.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification: Option<Notification>,
    /// Content of a ROUTE-REFRESH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_refresh: Option<RouteRefresh>,
    /// The whole message, where its content cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<Hex>,
}

impl Decoded {
    fn new(kind: Option<MessageKind>, judge: Judge) -> Self {
        Self {
            kind,
            verdict: judge.verdict,
            section: judge.section.map(str::to_owned),
            reset: judge.reset.map(Reset::from),
            problems: judge.problems,
            ..Self::default()
        }
    }

    fn has_content(&self) -> bool {
        self.open.is_some()
            || self.update.is_some()
            || self.notification.is_some()
            || self.route_refresh.is_some()
    }
}

/// Decodes one message. `None`: the octets end before it does.
pub fn decode(octets: &[u8], options: &Options) -> Option<Decoded> {
    match frame(octets, options.max_len()) {
        Ok(None) => None,
        Ok(Some(message)) => Some(framed(octets, &message, options)),
        Err(notification) => Some(unframed(octets, notification)),
    }
}

fn framed(octets: &[u8], message: &Frame<'_>, options: &Options) -> Decoded {
    let Frame { kind, body, len } = *message;
    let mut judge = Judge::default();
    let (mut open, mut update, mut notification, mut route_refresh) = (None, None, None, None);
    match kind {
        MessageKind::Open => open = open::decode(body, &mut judge),
        MessageKind::Update => update = update::decode(body, options, &mut judge),
        MessageKind::Notification => notification = Some(notification::decode(body, &mut judge)),
        MessageKind::RouteRefresh => route_refresh = refresh::decode(body, &mut judge),
        MessageKind::Keepalive => {}
    }
    let mut decoded = Decoded {
        open,
        update,
        notification,
        route_refresh,
        ..Decoded::new(Some(kind), judge)
    };
    if !decoded.has_content() && kind != MessageKind::Keepalive {
        decoded.hex = Some(Hex(octets.get(..len).unwrap_or(octets).to_vec()));
    }
    decoded
}

/// A header that a session does not accept (RFC 4271, 6.1).
fn unframed(octets: &[u8], notification: wire::Notification) -> Decoded {
    let mut judge = Judge::default();
    let kind = match octets.get(18) {
        Some(1) => Some(MessageKind::Open),
        Some(2) => Some(MessageKind::Update),
        Some(3) => Some(MessageKind::Notification),
        Some(4) => Some(MessageKind::Keepalive),
        Some(5) => Some(MessageKind::RouteRefresh),
        _ => None,
    };
    let (kind, what) = match notification.subcode {
        1 => (None, "the marker is not all ones"),
        2 => (kind, "a length that the message cannot have"),
        _ => (None, "a type that is not known"),
    };
    judge.reset(notification, what, "RFC 4271, 6.1");
    Decoded {
        hex: Some(Hex(octets.to_vec())),
        ..Decoded::new(kind, judge)
    }
}

/// Decodes path attributes that stand in no message, and says what is wrong with them. `has_ipv4_nlri`:
/// they belong to an IPv4 prefix that needs a NEXT_HOP.
pub(crate) fn path_attributes(
    raw: &[u8],
    options: &Options,
    has_ipv4_nlri: bool,
) -> (PathAttributes, Vec<Found>) {
    let context = DecodeContext {
        as4: options.as4,
        ebgp: options.ebgp,
    };
    let mut judge = Judge::default();
    let parsed = parse_before(&mut judge, raw, &context, has_ipv4_nlri, &mut Vec::new());
    let attributes = attributes::decode(raw, &parsed, options);
    (attributes, judge.problems)
}

/// Appends the message that an object describes.
///
/// # Errors
/// The field that is missing, contradicts another or the options, or does not fit.
pub fn encode(message: &Decoded, options: &Options, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let (false, Some(Hex(octets))) = (message.has_content(), &message.hex) {
        out.extend_from_slice(octets);
        return Ok(());
    }
    let kind = message
        .kind
        .ok_or_else(|| EncodeError::new("type", "it is missing"))?;
    let missing = |field: &str| {
        EncodeError::new(
            field,
            format!("it is missing, and a {} has it", kind.name()),
        )
    };
    let mut made = Vec::new();
    let start = begin(&mut made, kind);
    match kind {
        MessageKind::Open => {
            let content = message.open.as_ref().ok_or_else(|| missing("open"))?;
            open::encode(content, &mut made)?;
        }
        MessageKind::Update => {
            let content = message.update.as_ref().ok_or_else(|| missing("update"))?;
            update::encode(content, options, &mut made)?;
        }
        MessageKind::Notification => {
            let content = message.notification.as_ref();
            notification::encode(content.ok_or_else(|| missing("notification"))?, &mut made)?;
        }
        MessageKind::RouteRefresh => {
            let content = message.route_refresh.as_ref();
            refresh::encode(content.ok_or_else(|| missing("route_refresh"))?, &mut made);
        }
        MessageKind::Keepalive => {}
    }
    let (_, longest) = kind.lengths(options.max_len());
    if made.len() > longest {
        let what = format!(
            "{} octets, and {longest} is the most it may have",
            made.len()
        );
        return Err(EncodeError::new(field_of(kind), what));
    }
    finish(&mut made, start);
    out.extend_from_slice(&made);
    Ok(())
}

/// Where the content of a type is.
fn field_of(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Open => "open",
        MessageKind::Update => "update",
        MessageKind::Notification => "notification",
        MessageKind::Keepalive => "type",
        MessageKind::RouteRefresh => "route_refresh",
    }
}
