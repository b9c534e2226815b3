//! RIB_IPV4_UNICAST, RIB_IPV6_UNICAST (RFC 6396, 4.3.2 and 4.3.4), and the same with path
//! identifiers (RFC 8050, 4.1): all paths to one prefix.
//!
//! ```text
//! +---------------------------------------------------------------+
//! |                         Sequence Number                       |
//! +---------------+-----------------------------------------------+
//! | Prefix Length |               Prefix (variable)               |
//! +---------------+---------------+-------------------------------+
//! |          Entry Count          |   RIB Entries (variable)      |
//! +-------------------------------+-------------------------------+
//!
//! +-------------------------------+
//! |          Peer Index           |
//! +-------------------------------+-------------------------------+
//! |                        Originated Time                        |
//! +---------------------------------------------------------------+
//! |                Path Identifier (with ADD-PATH only)           |
//! +-------------------------------+-------------------------------+
//! |        Attribute Length       |   BGP Attributes (variable)   |
//! +-------------------------------+-------------------------------+
//! ```

use super::{
    cursor::Cursor,
    error::{Malformed, Unwritable, fits},
    names::{
        RIB_IPV4_UNICAST, RIB_IPV4_UNICAST_ADDPATH, RIB_IPV6_UNICAST, RIB_IPV6_UNICAST_ADDPATH,
    },
};
use crate::{
    types::{Family, Ipv4Prefix, Ipv6Prefix, Prefix},
    wire::{put_nlri4, put_nlri6},
};

/// All paths to one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rib<'a> {
    /// Which record of the table it is, from 0 on.
    pub sequence: u32,
    /// The prefix.
    pub prefix: Prefix,
    /// Entries have path identifiers.
    pub add_path: bool,
    /// The paths.
    pub entries: Vec<RibEntry<'a>>,
}

/// One path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RibEntry<'a> {
    /// The place of its peer in the PEER_INDEX_TABLE.
    pub peer: u16,
    /// When it was learned, in seconds since 1970.
    pub originated: u32,
    /// Its path identifier; where and only where the record has them.
    pub path_id: Option<u32>,
    /// The path attributes; see [`Self::read`](RibEntry::read).
    pub attributes: &'a [u8],
}

/// Family and ADD-PATH by the subtype, if it is one of these.
pub(super) fn of_subtype(subtype: u16) -> Option<(Family, bool)> {
    Some(match subtype {
        RIB_IPV4_UNICAST => (Family::Ipv4Unicast, false),
        RIB_IPV6_UNICAST => (Family::Ipv6Unicast, false),
        RIB_IPV4_UNICAST_ADDPATH => (Family::Ipv4Unicast, true),
        RIB_IPV6_UNICAST_ADDPATH => (Family::Ipv6Unicast, true),
        _ => return None,
    })
}

impl<'a> Rib<'a> {
    pub(super) fn subtype(&self) -> u16 {
        match (self.prefix.family(), self.add_path) {
            (Family::Ipv4Unicast, false) => RIB_IPV4_UNICAST,
            (Family::Ipv6Unicast, false) => RIB_IPV6_UNICAST,
            (Family::Ipv4Unicast, true) => RIB_IPV4_UNICAST_ADDPATH,
            (Family::Ipv6Unicast, true) => RIB_IPV6_UNICAST_ADDPATH,
        }
    }

    pub(super) fn decode(
        body: &'a [u8],
        family: Family,
        add_path: bool,
    ) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let sequence = cursor.u32("sequence number")?;
        let prefix = prefix(&mut cursor, family)?;
        let count = cursor.u16("number of entries")?;
        // Grown as entries are read: the count alone is no reason to allocate.
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(RibEntry::decode(&mut cursor, add_path)?);
        }
        cursor.end()?;
        Ok(Self {
            sequence,
            prefix,
            add_path,
            entries,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        out.extend_from_slice(&self.sequence.to_be_bytes());
        match self.prefix {
            Prefix::V4(prefix) => put_nlri4(out, prefix, None),
            Prefix::V6(prefix) => put_nlri6(out, prefix, None),
        }
        let most = usize::from(u16::MAX);
        let count: u16 = fits("paths to one prefix", self.entries.len(), most)?;
        out.extend_from_slice(&count.to_be_bytes());
        for entry in &self.entries {
            if entry.path_id.is_some() != self.add_path {
                return Err(Unwritable::MixedPathIds);
            }
            entry.encode(out)?;
        }
        Ok(())
    }
}

impl<'a> RibEntry<'a> {
    fn decode(cursor: &mut Cursor<'a>, add_path: bool) -> Result<Self, Malformed> {
        let peer = cursor.u16("entries: a peer index")?;
        let originated = cursor.u32("entries: an originated time")?;
        let path_id = match add_path {
            true => Some(cursor.u32("entries: a path identifier")?),
            false => None,
        };
        let len = cursor.u16("entries: a length of attributes")?;
        Ok(Self {
            peer,
            originated,
            path_id,
            attributes: cursor.slice(len, "entries: path attributes")?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let most = usize::from(u16::MAX);
        let len: u16 = fits("octets of attributes", self.attributes.len(), most)?;
        out.extend_from_slice(&self.peer.to_be_bytes());
        out.extend_from_slice(&self.originated.to_be_bytes());
        if let Some(path_id) = self.path_id {
            out.extend_from_slice(&path_id.to_be_bytes());
        }
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(self.attributes);
        Ok(())
    }
}

/// As in an UPDATE: "The value of trailing bits is irrelevant."
fn prefix(cursor: &mut Cursor<'_>, family: Family) -> Result<Prefix, Malformed> {
    let len = cursor.u8("prefix")?;
    let octets = cursor.slice(len.div_ceil(8), "prefix")?;
    fn address<const N: usize>(octets: &[u8]) -> Option<[u8; N]> {
        let mut address = [0; N];
        address.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(address)
    }
    let too_long = Malformed::PrefixLength(len);
    match family {
        Family::Ipv4Unicast if len <= 32 => address(octets)
            .map(|bits| Ipv4Prefix::from_bits(u32::from_be_bytes(bits), len).into())
            .ok_or(too_long),
        Family::Ipv6Unicast if len <= 128 => address(octets)
            .map(|bits| Ipv6Prefix::from_bits(u128::from_be_bytes(bits), len).into())
            .ok_or(too_long),
        Family::Ipv4Unicast | Family::Ipv6Unicast => Err(too_long),
    }
}
