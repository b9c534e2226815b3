//! The attributes of a path in a table (RFC 6396, 4.3.4): as in an UPDATE between new speakers, but
//! for MP_REACH_NLRI, of which only the next hop is left.
//!
//! ```text
//! +----------------------+-----------------------------+
//! | Next Hop Length (1)  |  Next Hop (variable)        |
//! +----------------------+-----------------------------+
//! ```

use std::net::IpAddr;

use super::{
    cursor::put_address,
    rib::{Rib, RibEntry},
};
use crate::{
    attributes::{Attributes, NextHop},
    message::{self, Found, Options, PathAttributes},
    types::{Family, Prefix},
    wire::{Tlvs, encode_canonical, push, put_nlri4, put_nlri6, spec, table},
};

/// How attributes in a table are read: nothing in them depends on a session. That they are an internal
/// peer's means that none is left out.
const OPTIONS: Options = Options {
    as4: true,
    ebgp: false,
    add_path: [false; 2],
    extended: true,
    extended_next_hop: true,
};

/// The attributes of a path, in fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryAttributes {
    /// Where packets go: one address, or a global and a link-local one; none where there is no next
    /// hop, as with routes of the collector itself.
    pub next_hops: Vec<IpAddr>,
    /// All others.
    pub attributes: PathAttributes,
    /// What is wrong with them.
    pub problems: Vec<Found>,
}

impl RibEntry<'_> {
    /// Reads the attributes of an entry of `rib`.
    ///
    /// Some daemons write MP_REACH_NLRI whole, as in an UPDATE. The two are told apart by the first
    /// octet: the length of a next hop is never 0, and that octet of an address family always is.
    pub fn read(&self, rib: &Rib<'_>) -> EntryAttributes {
        let family = rib.prefix.family();
        let (raw, seen) = completed(self.attributes, rib.prefix);
        let (mut attributes, mut problems) =
            message::path_attributes(&raw, &OPTIONS, !seen.mp_reach);
        // An entry without a next hop is no fault: so are routes of the collector itself.
        problems.retain(|found| seen.next_hop || found.attribute != Some(table::NEXT_HOP));
        let next_hops = match (attributes.mp_reach.take(), family) {
            (Some(reach), _) => reach.next_hops,
            (None, Family::Ipv4Unicast) => {
                let next_hop = attributes.next_hop.take();
                next_hop.map(IpAddr::from).into_iter().collect()
            }
            (None, Family::Ipv6Unicast) => Vec::new(),
        };
        EntryAttributes {
            next_hops,
            attributes,
            problems,
        }
    }
}

/// Appends the attributes of a path as they stand in a table of this family.
pub fn encode_attributes(
    attributes: &Attributes,
    next_hop: Option<NextHop>,
    family: Family,
    out: &mut Vec<u8>,
) {
    let mut canonical = Vec::new();
    encode_canonical(attributes, &mut canonical);
    let (code, flags, value) = match (next_hop, family) {
        (None, _) => {
            out.extend_from_slice(&canonical);
            return;
        }
        (
            Some(NextHop {
                addr: IpAddr::V4(addr),
                ..
            }),
            Family::Ipv4Unicast,
        ) => (table::NEXT_HOP, table::TRANSITIVE, addr.octets().to_vec()),
        (Some(next_hop), _) => {
            let mut value = vec![0];
            put_address(&mut value, next_hop.addr);
            if let Some(link_local) = next_hop.link_local {
                put_address(&mut value, link_local.into());
            }
            // 4, 16 or 32.
            if let Ok(len) = u8::try_from(value.len() - 1)
                && let Some(first) = value.first_mut()
            {
                *first = len;
            }
            (table::MP_REACH_NLRI, table::OPTIONAL, value)
        }
    };
    let mut next_hop = Some(value);
    for tlv in (Tlvs { rest: &canonical }) {
        if tlv.code > code
            && let Some(value) = next_hop.take()
        {
            push(out, flags, code, &value);
        }
        push(
            out,
            tlv.flags & !table::EXTENDED_LENGTH,
            tlv.code,
            tlv.value,
        );
    }
    if let Some(value) = next_hop {
        push(out, flags, code, &value);
    }
}

/// Which next hops are there.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    next_hop: bool,
    mp_reach: bool,
}

/// The attributes with MP_REACH_NLRI as in an UPDATE that announces the prefix. A next hop of a length
/// that none has, and what does not add up at the end, stay as they are.
fn completed(attributes: &[u8], prefix: Prefix) -> (Vec<u8>, Seen) {
    let mut out = Vec::with_capacity(attributes.len());
    let mut seen = Seen::default();
    let mut tlvs = Tlvs { rest: attributes };
    for tlv in &mut tlvs {
        seen.next_hop |= tlv.code == table::NEXT_HOP;
        seen.mp_reach |= tlv.code == table::MP_REACH_NLRI;
        let flags = flags(tlv.code, tlv.flags);
        match tlv.value {
            [len @ (4 | 16 | 32), hop @ ..]
                if tlv.code == table::MP_REACH_NLRI && usize::from(*len) == hop.len() =>
            {
                let (afi, safi) = prefix.family().code();
                let [high, low] = afi.to_be_bytes();
                let mut value = vec![high, low, safi];
                value.extend_from_slice(tlv.value);
                // Reserved (RFC 4760, 3).
                value.push(0);
                match prefix {
                    Prefix::V4(prefix) => put_nlri4(&mut value, prefix, None),
                    Prefix::V6(prefix) => put_nlri6(&mut value, prefix, None),
                }
                push(&mut out, flags, tlv.code, &value);
            }
            value => push(&mut out, flags, tlv.code, value),
        }
    }
    out.extend_from_slice(tlvs.rest);
    (out, seen)
}

/// The flags that an attribute has, whatever the file says: BIRD 2 writes none for NEXT_HOP and
/// LOCAL_PREF. What is in a table has been accepted, so that they tell nothing but the Partial bit.
fn flags(code: u8, written: u8) -> u8 {
    match spec(code) {
        Some(spec) => spec.flags | written & table::PARTIAL,
        None => written & !table::EXTENDED_LENGTH,
    }
}
