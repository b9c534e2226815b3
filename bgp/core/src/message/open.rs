//! OPEN (RFC 4271, 4.2; RFC 5492; RFC 9072).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{
    EncodeError, Hex,
    capability::{self, Capability},
    judge::Judge,
};
use crate::{types::Asn, wire};

/// The optional parameter that holds capabilities (RFC 5492, 4).
const CAPABILITIES: u8 = 2;
/// The extended length marker, as a length and as a type (RFC 9072, 2).
const EXTENDED: u8 = 255;

/// The content of an OPEN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// 4.
    #[serde(default = "version")]
    pub version: u8,
    /// The field My Autonomous System: 23456 where the number does not fit (RFC 6793, 9).
    pub my_as: u16,
    /// The AS a session goes by: that of the capability if it is there, else the field's. It
    /// follows from the others.
    #[serde(default)]
    pub asn: Option<Asn>,
    /// Seconds.
    pub hold_time: u16,
    /// BGP identifier.
    pub identifier: Ipv4Addr,
    /// In the order in which they came, over all parameters.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// Everything behind the identifier, where not all of it is capabilities that add up. The
    /// message is made from it then, not from `capabilities`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Hex>,
}

fn version() -> u8 {
    4
}

pub(super) fn decode(body: &[u8], judge: &mut Judge) -> Option<Open> {
    let Some((fixed, parameters)) = body.split_first_chunk::<9>() else {
        find_errors(body, judge);
        return None;
    };
    find_errors(body, judge);
    let [version, a, b, c, d, identifier @ ..] = *fixed;
    let (capabilities, whole) = read_parameters(parameters);
    let my_as = u16::from_be_bytes([a, b]);
    let mut with_as = capabilities.iter().filter_map(|capability| capability.asn);
    Some(Open {
        version,
        my_as,
        asn: Some(with_as.next_back().unwrap_or(Asn(my_as.into()))),
        hold_time: u16::from_be_bytes([c, d]),
        identifier: identifier.into(),
        capabilities,
        parameters: (!whole).then(|| Hex(parameters.to_vec())),
    })
}

/// What a session says of the body; then what it would say next, had that been right.
fn find_errors(body: &[u8], judge: &mut Judge) {
    let mut body = body.to_vec();
    // There are fewer kinds of error than this, and each is mended once.
    for _ in 0..8 {
        let Err(notification) = wire::Open::decode(&body) else {
            return;
        };
        let (what, section) = reason(&notification);
        let subcode = notification.subcode;
        let is_open_error = notification.code == 2;
        judge.reset(notification, what, section);
        let Some((fixed, _)) = body.split_first_chunk_mut::<9>() else {
            return;
        };
        let [version, a, b, c, d, e, f, g, h] = fixed;
        match subcode {
            1 if is_open_error => *version = 4,
            2 if is_open_error && (*a, *b) == (0, 0) => *b = 1,
            3 if is_open_error => (*e, *f, *g, *h) = (0, 0, 0, 1),
            6 if is_open_error => (*c, *d) = (0, 0),
            // The rest is in the parameters, which cannot be mended: go on without them.
            _ => {
                body.truncate(9);
                body.push(0);
            }
        }
    }
}

fn reason(notification: &wire::Notification) -> (&'static str, &'static str) {
    match (notification.code, notification.subcode) {
        (2, 0) => (
            "optional parameters or a capability that do not add up",
            "RFC 4271, 6.2",
        ),
        (2, 1) => ("a version other than 4", "RFC 4271, 6.2"),
        (2, 2) => ("AS number 0", "RFC 7607, 2"),
        (2, 3) => ("BGP identifier 0", "RFC 6286, 2.1"),
        (2, 4) => ("an optional parameter of unknown type", "RFC 4271, 6.2"),
        (2, 6) => ("a hold time of 1 or 2 seconds", "RFC 4271, 6.2"),
        (2, 11) => ("two roles that differ", "RFC 9234, 4.2"),
        _ => ("too short for an OPEN", "RFC 4271, 6.1"),
    }
}

/// The capabilities as far as they can be read, and whether that is all there is.
fn read_parameters(field: &[u8]) -> (Vec<Capability>, bool) {
    let mut capabilities = Vec::new();
    let (extended, mut parameters) = match *field {
        [len, EXTENDED, high, low, ref rest @ ..] if len != 0 => {
            let len = usize::from(u16::from_be_bytes([high, low]));
            (true, (rest.len() == len).then_some(rest))
        }
        [len, ref rest @ ..] => (false, (rest.len() == usize::from(len)).then_some(rest)),
        [] => (false, None),
    };
    while let Some((&kind, rest)) = parameters.and_then(<[u8]>::split_first) {
        let cut = match *rest {
            [high, low, ref rest @ ..] if extended => {
                rest.split_at_checked(u16::from_be_bytes([high, low]).into())
            }
            [len, ref rest @ ..] if !extended => rest.split_at_checked(len.into()),
            _ => None,
        };
        let read = cut
            .filter(|_| kind == CAPABILITIES)
            .and_then(|(value, rest)| Some((capability::read(value)?, rest)));
        let Some((read, rest)) = read else {
            return (capabilities, false);
        };
        capabilities.extend(read);
        parameters = Some(rest);
    }
    (capabilities, parameters.is_some())
}

pub(super) fn encode(content: &Open, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.push(content.version);
    out.extend_from_slice(&content.my_as.to_be_bytes());
    out.extend_from_slice(&content.hold_time.to_be_bytes());
    out.extend_from_slice(&content.identifier.octets());
    if let Some(Hex(parameters)) = &content.parameters {
        out.extend_from_slice(parameters);
        return Ok(());
    }
    let mut capabilities = Vec::new();
    for (place, one) in content.capabilities.iter().enumerate() {
        let field = format!("open.capabilities[{place}]");
        capabilities.extend(capability::octets(one, &field)?);
    }
    // As a session does: one parameter for all, in extended form only when they need it.
    match (
        u8::try_from(capabilities.len()),
        u16::try_from(capabilities.len() + 3),
    ) {
        (Ok(0), _) => out.push(0),
        (Ok(len), _) if len <= 253 => out.extend_from_slice(&[len + 2, CAPABILITIES, len]),
        (_, Ok(all)) => {
            let ([a, b], [c, d]) = (all.to_be_bytes(), (all - 3).to_be_bytes());
            out.extend_from_slice(&[EXTENDED, EXTENDED, a, b, CAPABILITIES, c, d]);
        }
        (_, Err(_)) => {
            let what = "more octets than a message holds";
            return Err(EncodeError::new("open.capabilities", what));
        }
    }
    out.extend_from_slice(&capabilities);
    Ok(())
}
