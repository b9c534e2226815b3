//! Records as a whole.

use super::{
    bgp4mp::{Form, Message, StateChange},
    cursor::Cursor,
    error::{Malformed, Unwritable},
    header::{HEADER_LEN, Header, MAX_RECORD},
    names::{BGP4MP, BGP4MP_ET, PEER_INDEX_TABLE, TABLE_DUMP_V2},
    peers::PeerIndexTable,
    rib::{self, Rib},
};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was made: seconds since 1970, in UTC.
    pub timestamp: u32,
    /// Microseconds past these, where the type has them (BGP4MP_ET; RFC 6396, 3).
    pub micros: Option<u32>,
    /// What it holds.
    pub content: Content<'a>,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Whose routes follow.
    PeerIndexTable(PeerIndexTable),
    /// The paths to one prefix.
    Rib(Rib<'a>),
    /// A BGP message.
    Message(Message<'a>),
    /// A session's step from one state to another.
    StateChange(StateChange),
    /// A record that is not read (see the head of this module).
    Other {
        /// Its type.
        kind: u16,
        /// Its subtype.
        subtype: u16,
        /// What follows its header, without the microseconds.
        octets: &'a [u8],
    },
}

impl<'a> Record<'a> {
    /// Reads what follows a header.
    ///
    /// # Errors
    /// What is wrong with the record. The one behind it can be read all the same.
    pub fn decode(header: &Header, body: &'a [u8]) -> Result<Self, Malformed> {
        let Header {
            timestamp,
            kind,
            subtype,
            length,
        } = *header;
        if length > MAX_RECORD {
            return Err(Malformed::TooLong(length));
        }
        let mut cursor = Cursor::new(body);
        let micros = match kind {
            BGP4MP_ET => Some(cursor.u32("microseconds")?),
            _ => None,
        };
        let body = cursor.rest();
        let content = match kind {
            TABLE_DUMP_V2 if subtype == PEER_INDEX_TABLE => {
                PeerIndexTable::decode(body).map(Content::PeerIndexTable)
            }
            TABLE_DUMP_V2 => rib::of_subtype(subtype)
                .map_or(Ok(other(header, body)), |(family, add_path)| {
                    Rib::decode(body, family, add_path).map(Content::Rib)
                }),
            BGP4MP | BGP4MP_ET => {
                match (Form::of_subtype(subtype), StateChange::of_subtype(subtype)) {
                    (Some(form), _) => Message::decode(body, form).map(Content::Message),
                    (None, Some(as4)) => StateChange::decode(body, as4).map(Content::StateChange),
                    (None, None) => Ok(other(header, body)),
                }
            }
            _ => Ok(other(header, body)),
        };
        Ok(Self {
            timestamp,
            micros,
            content: content?,
        })
    }

    /// Appends the record, or nothing when it cannot be written.
    ///
    /// # Errors
    /// What has no place in a record.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let start = out.len();
        let written = self.append(out, start);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn append(&self, out: &mut Vec<u8>, start: usize) -> Result<(), Unwritable> {
        let (kind, subtype) = self.kind();
        let mut header = Header {
            timestamp: self.timestamp,
            kind,
            subtype,
            length: 0,
        };
        header.encode(out);
        if kind == BGP4MP_ET {
            out.extend_from_slice(&self.micros.unwrap_or_default().to_be_bytes());
        }
        match &self.content {
            Content::PeerIndexTable(table) => table.encode(out)?,
            Content::Rib(rib) => rib.encode(out)?,
            Content::Message(message) => message.encode(out)?,
            Content::StateChange(change) => change.encode(out)?,
            Content::Other { octets, .. } => out.extend_from_slice(octets),
        }
        let length = out.len() - start - HEADER_LEN;
        header.length = u32::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_RECORD)
            .ok_or(Unwritable::TooMuch {
                what: "octets of a record",
                found: length,
                most: MAX_RECORD as usize,
            })?;
        let mut octets = Vec::with_capacity(HEADER_LEN);
        header.encode(&mut octets);
        if let Some(place) = out.get_mut(start..start + HEADER_LEN) {
            place.copy_from_slice(&octets);
        }
        Ok(())
    }

    /// Type and subtype, as they are written.
    pub fn kind(&self) -> (u16, u16) {
        let bgp4mp = if self.micros.is_some() {
            BGP4MP_ET
        } else {
            BGP4MP
        };
        match &self.content {
            Content::PeerIndexTable(_) => (TABLE_DUMP_V2, PEER_INDEX_TABLE),
            Content::Rib(rib) => (TABLE_DUMP_V2, rib.subtype()),
            Content::Message(message) => (bgp4mp, message.subtype()),
            Content::StateChange(change) => (bgp4mp, change.subtype()),
            Content::Other { kind, subtype, .. } => (*kind, *subtype),
        }
    }
}

fn other<'a>(header: &Header, octets: &'a [u8]) -> Content<'a> {
    Content::Other {
        kind: header.kind,
        subtype: header.subtype,
        octets,
    }
}
