//! Prefixes that share attributes, in as few UPDATEs as hold them.
//!
//! IPv4 with an IPv4 next hop goes into the fields of RFC 4271; everything else into
//! MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760), which stand first in the message so that a
//! reader finds the prefixes whatever is wrong behind them (RFC 7606, 5.1). A message withdraws
//! or announces, never both.

use super::{
    attribute::{EXTENDED_LENGTH, MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL},
    header::{HEADER_LEN, MessageKind, begin, finish, patch_u16},
    nlri::{put_nlri4, put_nlri6},
};
use crate::{
    attributes::NextHop,
    types::{Family, Ipv4Prefix, Ipv6Prefix, Prefix},
};

/// Octets of the longest prefix on the wire: path identifier, length, address.
const LONGEST_NLRI4: usize = 4 + 1 + 4;
const LONGEST_NLRI6: usize = 4 + 1 + 16;

/// Header, Withdrawn Routes Length, Total Path Attribute Length.
const FIXED: usize = HEADER_LEN + 2 + 2;

/// The attributes leave no room for a single prefix: nothing was written, and the peer must be
/// sent a withdrawal, or it keeps what it was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a route whose attributes take {attributes} octets does not fit a message of {max_len}: \
     it is withdrawn from the peer instead"
)]
pub struct TooLarge {
    /// Octets of the attributes.
    pub attributes: usize,
    /// The longest message the peer takes.
    pub max_len: usize,
}

/// Appends the UPDATEs that announce these IPv4 prefixes, with `attrs` from
/// [`super::egress_attributes`], NEXT_HOP among them. Returns how many messages these are.
///
/// # Errors
/// [`TooLarge`]; then `out` is as it was.
pub fn pack_reach4(
    out: &mut Vec<u8>,
    attrs: &[u8],
    prefixes: impl Iterator<Item = (Ipv4Prefix, Option<u32>)>,
    max_len: usize,
) -> Result<usize, TooLarge> {
    check_room(FIXED + LONGEST_NLRI4, attrs, max_len)?;
    let open = |out: &mut Vec<u8>| {
        let start = begin(out, MessageKind::Update);
        out.extend_from_slice(&[0, 0, 0, 0]);
        patch_u16(out, start + HEADER_LEN + 2, attrs.len());
        out.extend_from_slice(attrs);
        start
    };
    let mut messages = 0;
    let mut start = 0;
    for (prefix, path_id) in prefixes {
        if messages == 0 {
            start = open(out);
            messages = 1;
        } else if out.len() - start + LONGEST_NLRI4 > max_len
            && out.len() - start + octets(prefix.len(), path_id) > max_len
        {
            finish(out, start);
            start = open(out);
            messages += 1;
        }
        put_nlri4(out, prefix, path_id);
    }
    if messages > 0 {
        finish(out, start);
    }
    Ok(messages)
}

/// Appends the UPDATEs that announce these prefixes of `family` by MP_REACH_NLRI, with `attrs`
/// from [`super::egress_attributes`] without NEXT_HOP. Returns how many messages these are.
///
/// IPv4 prefixes may have an IPv6 next hop where the peer agreed to that (RFC 8950). A prefix of
/// another family than `family` is the caller's mistake and is not written.
///
/// # Errors
/// [`TooLarge`]; then `out` is as it was.
pub fn pack_reach_mp(
    out: &mut Vec<u8>,
    attrs: &[u8],
    family: Family,
    next_hop: &NextHop,
    prefixes: impl Iterator<Item = (Prefix, Option<u32>)>,
    max_len: usize,
) -> Result<usize, TooLarge> {
    /// Flags, code, two octets of length, AFI, SAFI, length of the next hop, 32 octets of it,
    /// reserved.
    const LONGEST_HEAD: usize = 4 + 3 + 1 + 32 + 1;
    check_room(FIXED + LONGEST_HEAD + LONGEST_NLRI6, attrs, max_len)?;
    let head = |out: &mut Vec<u8>| {
        match (next_hop.addr, next_hop.link_local) {
            (std::net::IpAddr::V4(addr), _) => {
                out.push(4);
                out.extend_from_slice(&addr.octets());
            }
            (std::net::IpAddr::V6(addr), None) => {
                out.push(16);
                out.extend_from_slice(&addr.octets());
            }
            (std::net::IpAddr::V6(addr), Some(link_local)) => {
                out.push(32);
                out.extend_from_slice(&addr.octets());
                out.extend_from_slice(&link_local.octets());
            }
        }
        out.push(0); // Reserved (RFC 4760, 3)
    };
    let multiprotocol = Multiprotocol {
        code: MP_REACH_NLRI,
        family,
        attrs,
        max_len,
    };
    Ok(multiprotocol.pack(out, head, prefixes))
}

/// Appends the UPDATEs that withdraw these IPv4 prefixes. Returns how many these are.
pub fn pack_withdraw4(
    out: &mut Vec<u8>,
    prefixes: impl Iterator<Item = (Ipv4Prefix, Option<u32>)>,
    max_len: usize,
) -> usize {
    let open = |out: &mut Vec<u8>| {
        let start = begin(out, MessageKind::Update);
        out.extend_from_slice(&[0, 0]);
        start
    };
    let close = |out: &mut Vec<u8>, start: usize| {
        let withdrawn = out.len() - start - HEADER_LEN - 2;
        patch_u16(out, start + HEADER_LEN, withdrawn);
        out.extend_from_slice(&[0, 0]);
        finish(out, start);
    };
    let mut messages = 0;
    let mut start = 0;
    for (prefix, path_id) in prefixes {
        if messages == 0 {
            start = open(out);
            messages = 1;
        } else if out.len() - start + 2 + octets(prefix.len(), path_id) > max_len {
            close(out, start);
            start = open(out);
            messages += 1;
        }
        put_nlri4(out, prefix, path_id);
    }
    if messages > 0 {
        close(out, start);
    }
    messages
}

/// Appends the UPDATEs that withdraw these IPv6 prefixes. Returns how many these are.
pub fn pack_withdraw6(
    out: &mut Vec<u8>,
    prefixes: impl Iterator<Item = (Ipv6Prefix, Option<u32>)>,
    max_len: usize,
) -> usize {
    let prefixes = prefixes.map(|(prefix, path_id)| (Prefix::V6(prefix), path_id));
    pack_withdraw_mp(out, Family::Ipv6Unicast, prefixes, max_len)
}

/// Appends the UPDATEs that withdraw these prefixes of `family` by MP_UNREACH_NLRI, as is due
/// for IPv4 prefixes announced by MP_REACH_NLRI. Returns how many these are; a prefix of another
/// family is the caller's mistake and is not written.
pub fn pack_withdraw_mp(
    out: &mut Vec<u8>,
    family: Family,
    prefixes: impl Iterator<Item = (Prefix, Option<u32>)>,
    max_len: usize,
) -> usize {
    let multiprotocol = Multiprotocol {
        code: MP_UNREACH_NLRI,
        family,
        attrs: &[],
        max_len,
    };
    multiprotocol.pack(out, |_| (), prefixes)
}

/// Appends End-of-RIB (RFC 4724, 2): an empty UPDATE for IPv4 unicast, an empty MP_UNREACH_NLRI
/// for any other family.
pub fn end_of_rib(family: Family, out: &mut Vec<u8>) {
    let start = begin(out, MessageKind::Update);
    match family {
        Family::Ipv4Unicast => out.extend_from_slice(&[0, 0, 0, 0]),
        Family::Ipv6Unicast => {
            let (afi, safi) = family.code();
            let [a, b] = afi.to_be_bytes();
            out.extend_from_slice(&[0, 0, 0, 6, OPTIONAL, MP_UNREACH_NLRI, 3, a, b, safi]);
        }
    }
    finish(out, start);
}

/// UPDATEs whose prefixes stand in one of the multiprotocol attributes.
struct Multiprotocol<'a> {
    code: u8,
    family: Family,
    /// What follows the multiprotocol attribute.
    attrs: &'a [u8],
    max_len: usize,
}

impl Multiprotocol<'_> {
    fn pack(
        &self,
        out: &mut Vec<u8>,
        head: impl Fn(&mut Vec<u8>),
        prefixes: impl Iterator<Item = (Prefix, Option<u32>)>,
    ) -> usize {
        let mut messages = 0;
        let mut start = 0;
        for (prefix, path_id) in prefixes {
            if prefix.family() != self.family {
                debug_assert!(false, "{prefix} among prefixes of {}", self.family);
                continue;
            }
            if messages == 0 {
                start = self.open(out, &head);
                messages = 1;
            } else {
                let len = out.len() - start + self.attrs.len() + octets(prefix.len(), path_id);
                if len > self.max_len {
                    self.close(out, start);
                    start = self.open(out, &head);
                    messages += 1;
                }
            }
            match prefix {
                Prefix::V4(prefix) => put_nlri4(out, prefix, path_id),
                Prefix::V6(prefix) => put_nlri6(out, prefix, path_id),
            }
        }
        if messages > 0 {
            self.close(out, start);
        }
        messages
    }

    fn open(&self, out: &mut Vec<u8>, head: &impl Fn(&mut Vec<u8>)) -> usize {
        let start = begin(out, MessageKind::Update);
        let (afi, safi) = self.family.code();
        let [a, b] = afi.to_be_bytes();
        let flags = OPTIONAL | EXTENDED_LENGTH;
        out.extend_from_slice(&[0, 0, 0, 0, flags, self.code, 0, 0, a, b, safi]);
        head(out);
        start
    }

    fn close(&self, out: &mut Vec<u8>, start: usize) {
        let attribute = start + FIXED;
        let value = attribute + 4;
        let len = out.len() - value;
        match u8::try_from(len) {
            // "The Extended Length bit MAY be used only if the length of the attribute value is
            // greater than 255 octets" (RFC 4271, 4.3): close the gap of the second octet.
            Ok(len) => {
                out.copy_within(value.., value - 1);
                out.pop();
                if let Some([flags, _code, short, ..]) = out.get_mut(attribute..) {
                    (*flags, *short) = (OPTIONAL, len);
                }
            }
            Err(_) => patch_u16(out, attribute + 2, len),
        }
        out.extend_from_slice(self.attrs);
        let attributes = out.len() - attribute;
        patch_u16(out, start + HEADER_LEN + 2, attributes);
        finish(out, start);
    }
}

fn check_room(rest: usize, attrs: &[u8], max_len: usize) -> Result<(), TooLarge> {
    if attrs.len() + rest <= max_len {
        return Ok(());
    }
    Err(TooLarge {
        attributes: attrs.len(),
        max_len,
    })
}

/// Octets of one prefix on the wire.
#[inline]
fn octets(len: u8, path_id: Option<u32>) -> usize {
    let identifier = if path_id.is_some() { 4 } else { 0 };
    identifier + 1 + usize::from(len).div_ceil(8)
}
