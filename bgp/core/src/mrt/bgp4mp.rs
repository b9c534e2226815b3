//! BGP4MP and BGP4MP_ET (RFC 6396, 4.4; RFC 8050, 3): messages of a session, and its states.
//!
//! ```text
//! +-------------------------------+-------------------------------+
//! |     Peer AS Number (2 or 4)   |    Local AS Number (2 or 4)   |
//! +-------------------------------+-------------------------------+
//! |        Interface Index        |        Address Family         |
//! +-------------------------------+-------------------------------+
//! |        Peer IP Address, Local IP Address (variable)           |
//! +-------------------------------+-------------------------------+
//! |  BGP Message (variable); or Old State (2) and New State (2)   |
//! +---------------------------------------------------------------+
//! ```

use std::net::IpAddr;

use super::{
    cursor::{Cursor, put_address},
    error::{Malformed, Unwritable},
    names::{
        MESSAGE, MESSAGE_ADDPATH, MESSAGE_AS4, MESSAGE_AS4_ADDPATH, MESSAGE_AS4_LOCAL,
        MESSAGE_AS4_LOCAL_ADDPATH, MESSAGE_LOCAL, MESSAGE_LOCAL_ADDPATH, STATE_CHANGE,
        STATE_CHANGE_AS4,
    },
};
use crate::{message::Options, types::Asn, wire::HEADER_LEN};

/// Address family identifiers (RFC 6396, 4.4.1).
const AFI_IPV4: u16 = 1;
const AFI_IPV6: u16 = 2;

/// Both ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The peer's AS; may be 0 in a state change.
    pub peer_asn: Asn,
    /// The collector's AS.
    pub local_asn: Asn,
    /// The interface's index; 0: not known.
    pub interface: u16,
    /// The peer's address.
    pub peer: IpAddr,
    /// The collector's address.
    pub local: IpAddr,
}

/// One BGP message of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whose it is.
    pub session: Session,
    /// AS numbers in the record and in the message have four octets.
    pub as4: bool,
    /// The message's prefixes have path identifiers.
    pub add_path: bool,
    /// The collector has sent it, not received.
    pub local: bool,
    /// The whole message, header included.
    pub octets: &'a [u8],
}

/// A step of a session's state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Whose it is.
    pub session: Session,
    /// AS numbers in the record have four octets.
    pub as4: bool,
    /// The state before, as a number: see [`state_name`].
    pub old: u16,
    /// The state now.
    pub new: u16,
}

/// The name of a state by its number (RFC 6396, 4.4.1). Some daemons write numbers past these, for
/// states of their own.
pub fn state_name(state: u16) -> Option<&'static str> {
    Some(match state {
        1 => "Idle",
        2 => "Connect",
        3 => "Active",
        4 => "OpenSent",
        5 => "OpenConfirm",
        6 => "Established",
        _ => return None,
    })
}

/// What the subtype of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    as4: bool,
    local: bool,
    add_path: bool,
}

/// The subtypes of messages.
const FORMS: [(u16, Form); 8] = [
    form(MESSAGE, false, false, false),
    form(MESSAGE_AS4, true, false, false),
    form(MESSAGE_LOCAL, false, true, false),
    form(MESSAGE_AS4_LOCAL, true, true, false),
    form(MESSAGE_ADDPATH, false, false, true),
    form(MESSAGE_AS4_ADDPATH, true, false, true),
    form(MESSAGE_LOCAL_ADDPATH, false, true, true),
    form(MESSAGE_AS4_LOCAL_ADDPATH, true, true, true),
];

const fn form(subtype: u16, as4: bool, local: bool, add_path: bool) -> (u16, Form) {
    let form = Form {
        as4,
        local,
        add_path,
    };
    (subtype, form)
}

impl Form {
    pub(super) fn of_subtype(subtype: u16) -> Option<Self> {
        let found = FORMS.iter().find(|(number, _)| *number == subtype);
        found.map(|(_, form)| *form)
    }
}

impl<'a> Message<'a> {
    /// How the message is to be read. A record does not say all that the session had negotiated;
    /// what it leaves open is taken for granted.
    pub fn options(&self) -> Options {
        Options {
            as4: self.as4,
            ebgp: self.session.peer_asn != self.session.local_asn,
            add_path: [self.add_path; 2],
            extended: true,
            extended_next_hop: true,
        }
    }

    pub(super) fn subtype(&self) -> u16 {
        let form = Form {
            as4: self.as4,
            local: self.local,
            add_path: self.add_path,
        };
        let found = FORMS.iter().find(|(_, other)| *other == form);
        // All eight are in the list.
        found.map_or(MESSAGE_AS4, |(subtype, _)| *subtype)
    }

    pub(super) fn decode(body: &'a [u8], form: Form) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let session = Session::decode(&mut cursor, form.as4)?;
        let octets = cursor.rest();
        let header = octets
            .first_chunk::<HEADER_LEN>()
            .ok_or(Malformed::Short("BGP message"))?;
        // "Only one BGP message SHALL be encoded". A header that is none is for the reader of
        // messages to judge.
        let [marker @ .., high, low, _] = *header;
        let says = u16::from_be_bytes([high, low]);
        let is_header = marker == [0xFF; 16] && usize::from(says) >= HEADER_LEN;
        if is_header && usize::from(says) != octets.len() {
            return Err(Malformed::MessageLength {
                says,
                there: octets.len(),
            });
        }
        Ok(Self {
            session,
            as4: form.as4,
            add_path: form.add_path,
            local: form.local,
            octets,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        self.session.encode(self.as4, out)?;
        out.extend_from_slice(self.octets);
        Ok(())
    }
}

impl StateChange {
    /// Whether AS numbers have four octets, if the subtype is that of a state change.
    pub(super) fn of_subtype(subtype: u16) -> Option<bool> {
        match subtype {
            STATE_CHANGE => Some(false),
            STATE_CHANGE_AS4 => Some(true),
            _ => None,
        }
    }

    pub(super) fn subtype(&self) -> u16 {
        if self.as4 {
            STATE_CHANGE_AS4
        } else {
            STATE_CHANGE
        }
    }

    pub(super) fn decode(body: &[u8], as4: bool) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let change = Self {
            session: Session::decode(&mut cursor, as4)?,
            as4,
            old: cursor.u16("old state")?,
            new: cursor.u16("new state")?,
        };
        cursor.end()?;
        Ok(change)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        self.session.encode(self.as4, out)?;
        out.extend_from_slice(&self.old.to_be_bytes());
        out.extend_from_slice(&self.new.to_be_bytes());
        Ok(())
    }
}

impl Session {
    fn decode(cursor: &mut Cursor<'_>, as4: bool) -> Result<Self, Malformed> {
        let peer_asn = cursor.asn(as4, "peer's AS number")?;
        let local_asn = cursor.asn(as4, "local AS number")?;
        let interface = cursor.u16("interface index")?;
        let v6 = match cursor.u16("address family")? {
            AFI_IPV4 => false,
            AFI_IPV6 => true,
            other => return Err(Malformed::AddressFamily(other)),
        };
        Ok(Self {
            peer_asn,
            local_asn,
            interface,
            peer: cursor.address(v6, "peer's address")?,
            local: cursor.address(v6, "local address")?,
        })
    }

    fn encode(&self, as4: bool, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        for asn in [self.peer_asn, self.local_asn] {
            match u16::try_from(asn.0) {
                _ if as4 => out.extend_from_slice(&asn.0.to_be_bytes()),
                Ok(number) => out.extend_from_slice(&number.to_be_bytes()),
                Err(_) => return Err(Unwritable::FourOctetAs(asn.0)),
            }
        }
        let family = match (self.peer, self.local) {
            (IpAddr::V4(_), IpAddr::V4(_)) => AFI_IPV4,
            (IpAddr::V6(_), IpAddr::V6(_)) => AFI_IPV6,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                return Err(Unwritable::MixedAddresses);
            }
        };
        out.extend_from_slice(&self.interface.to_be_bytes());
        out.extend_from_slice(&family.to_be_bytes());
        put_address(out, self.peer);
        put_address(out, self.local);
        Ok(())
    }
}
