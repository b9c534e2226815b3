//! OPEN: who a speaker is and what it offers (RFC 4271, 4.2; RFC 5492; RFC 9072).
//!
//! ```text
//! +---------------+
//! |    Version    |
//! +---------------+---------------+
//! |     My Autonomous System      |
//! +-------------------------------+
//! |           Hold Time           |
//! +-------------------------------+-------------------------------+
//! |                         BGP Identifier                        |
//! +---------------+-----------------------------------------------+
//! | Opt Parm Len  |   Optional Parameters (variable) ...
//! +---------------+------------------ ...
//! ```
//!
//! With RFC 9072 the length is 255, a parameter type 255 and two octets of real length follow,
//! and every parameter has two octets of length.

use serde::{Deserialize, Serialize};

use super::{
    capability::{Capabilities, malformed},
    header::{MessageKind, begin, finish, patch_u16},
    notification::{HeaderError, Notification, OpenError},
};
use crate::types::{Asn, RouterId};

const VERSION: u8 = 4;
/// The only optional parameter in use (RFC 5492, 4).
const CAPABILITIES: u8 = 2;
/// The extended length marker, as a length and as a type (RFC 9072, 2).
const EXTENDED: u8 = 255;

/// An OPEN, as far as it can be judged without a configuration: whether the AS is the expected
/// one, the identifier a clash and the capabilities enough is the session's to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The sender's AS: four octets from the capability if it is there, else the field.
    pub asn: Asn,
    /// Hold time proposed, in seconds: 0, or 3 and up.
    pub hold_time: u16,
    /// BGP identifier, not 0.
    pub router_id: RouterId,
    /// What the sender offers.
    #[serde(default)]
    pub capabilities: Capabilities,
}

impl Open {
    /// Reads a body.
    ///
    /// # Errors
    /// OPEN Message Error (RFC 4271, 6.2): 2/1 for another version, with ours as data; 2/2 for
    /// AS 0 (RFC 7607, 2); 2/3 for identifier 0 (RFC 6286, 2.1); 2/4 for an unknown optional
    /// parameter; 2/6 for a hold time of 1 or 2; 2/0 for parameters or capabilities that are cut
    /// off or malformed; 2/11 for two different roles (RFC 9234, 4.2). 1/2 for a body too short
    /// for an OPEN, which [`super::frame`] has told before.
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let Some((fixed, parameters)) = body.split_first_chunk::<9>() else {
            return Err(Notification::header(HeaderError::BadLength));
        };
        let [version, a, b, c, d, identifier @ ..] = *fixed;
        if version != VERSION {
            // "a 2-octet unsigned integer, which indicates the largest, locally-supported
            // version number less than the version the remote BGP peer bid"
            let error = Notification::open_error(OpenError::UnsupportedVersion);
            return Err(error.with_data(vec![0, VERSION]));
        }
        let capabilities = decode_parameters(parameters)?;
        let field = Asn(u16::from_be_bytes([a, b]).into());
        let asn = capabilities.as4.unwrap_or(field);
        if asn.0 == 0 || field.0 == 0 {
            return Err(Notification::open_error(OpenError::BadPeerAs));
        }
        let hold_time = u16::from_be_bytes([c, d]);
        if matches!(hold_time, 1 | 2) {
            return Err(Notification::open_error(OpenError::UnacceptableHoldTime));
        }
        let router_id = u32::from_be_bytes(identifier);
        if router_id == 0 {
            let error = Notification::open_error(OpenError::BadIdentifier);
            return Err(error.with_data(identifier.to_vec()));
        }
        Ok(Self {
            asn,
            hold_time,
            router_id: router_id.into(),
            capabilities,
        })
    }

    /// Appends the whole message: all capabilities in one parameter, as most speakers do, and
    /// in extended form only when they need it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = begin(out, MessageKind::Open);
        out.push(VERSION);
        out.extend_from_slice(&self.asn.to_u16().to_be_bytes());
        out.extend_from_slice(&self.hold_time.to_be_bytes());
        out.extend_from_slice(&self.router_id.0.octets());
        let mut capabilities = Vec::with_capacity(64);
        self.capabilities.encode(&mut capabilities);
        match u8::try_from(capabilities.len()) {
            Ok(0) => out.push(0),
            Ok(len) if len <= 253 => out.extend_from_slice(&[len + 2, CAPABILITIES, len]),
            _ => {
                out.extend_from_slice(&[EXTENDED, EXTENDED, 0, 0, CAPABILITIES, 0, 0]);
                let at = out.len();
                patch_u16(out, at - 5, capabilities.len() + 3);
                patch_u16(out, at - 2, capabilities.len());
            }
        }
        out.extend_from_slice(&capabilities);
        finish(out, start);
    }
}

fn decode_parameters(field: &[u8]) -> Result<Capabilities, Notification> {
    let (extended, mut parameters) = match *field {
        // "If the value of the Non-Ext OP Type field is 255, then the encoding described above
        // is used", whatever the length before it, unless that is 0 (RFC 9072, 2).
        [len, EXTENDED, high, low, ref rest @ ..] if len != 0 => {
            let len = u16::from_be_bytes([high, low]);
            (
                true,
                counted(rest, len.into()).ok_or_else(|| malformed(&[]))?,
            )
        }
        [len, ref rest @ ..] => (
            false,
            counted(rest, len.into()).ok_or_else(|| malformed(&[]))?,
        ),
        [] => return Err(malformed(&[])),
    };
    let mut capabilities = Capabilities::default();
    while let Some((&kind, rest)) = parameters.split_first() {
        let (len, rest) = match *rest {
            [high, low, ref rest @ ..] if extended => (u16::from_be_bytes([high, low]), rest),
            [len, ref rest @ ..] if !extended => (len.into(), rest),
            _ => return Err(malformed(parameters)),
        };
        let Some((value, rest)) = rest.split_at_checked(len.into()) else {
            return Err(malformed(parameters));
        };
        if kind != CAPABILITIES {
            return Err(Notification::open_error(OpenError::UnsupportedParameter));
        }
        capabilities.decode(value)?;
        parameters = rest;
    }
    Ok(capabilities)
}

/// The parameters, when they are exactly as long as they say.
fn counted(rest: &[u8], len: usize) -> Option<&[u8]> {
    (rest.len() == len).then_some(rest)
}
