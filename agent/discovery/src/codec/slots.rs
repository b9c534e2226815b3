//! The record cut into slots of six octets, one large community each.
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!  |1 0 0 0|format |     index     |  octets 0 and 1 of the slot   |  second field
//!  |            octets 2 to 5 of the slot                          |  third field
//!  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The first slot is the head: the length of what follows (16) and its CRC-32/ISO-HDLC (32). The last slot is
//! padded with zeros.

use super::record::RecordError;
use crate::community::{DiscoveryNumber, LargeCommunity};

/// Octets of the record in one community.
pub(super) const SLOT_LEN: usize = 6;

/// The record format this agent writes and reads.
const FORMAT: u8 = 1;

/// The communities that carry `octets`.
///
/// The indices wrap past 255; such a record is far above the budget of a route and is refused by the caller.
#[expect(
    clippy::cast_possible_truncation,
    reason = "stated above, and refused by the caller"
)]
pub(crate) fn split(
    number: DiscoveryNumber,
    octets: &[u8],
) -> impl Iterator<Item = LargeCommunity> {
    let [length1, length0] = (octets.len() as u16).to_be_bytes();
    let [crc3, crc2, crc1, crc0] = crc32fast::hash(octets).to_be_bytes();
    let head = [length1, length0, crc3, crc2, crc1, crc0];
    let body = octets.chunks(SLOT_LEN).map(|chunk| {
        let mut slot = [0; SLOT_LEN];
        for (to, from) in slot.iter_mut().zip(chunk) {
            *to = *from;
        }
        slot
    });
    std::iter::once(head)
        .chain(body)
        .enumerate()
        .map(move |(index, slot)| {
            let [a, b, c, d, e, f] = slot;
            let local1 = u32::from_be_bytes([0x80 | FORMAT, index as u8, a, b]);
            LargeCommunity::new(number.number(), local1, u32::from_be_bytes([c, d, e, f]))
        })
}

/// Gathers the record out of the communities of a route.
///
/// Slots of another format are passed over when slots of this one are there, so that a later version can write both.
pub(super) fn collect(
    number: DiscoveryNumber,
    communities: &[LargeCommunity],
) -> Result<Vec<u8>, RecordError> {
    let mut slots: [Option<[u8; SLOT_LEN]>; 256] = [None; 256];
    let mut other_format = None;
    for community in communities.iter().filter(|c| c.global == number.number()) {
        let [kind, index, a, b] = community.local1.to_be_bytes();
        if kind >> 4 != 0x8 {
            continue;
        }
        if kind & 0x0f != FORMAT {
            other_format = Some(kind & 0x0f);
            continue;
        }
        let [c, d, e, f] = community.local2.to_be_bytes();
        let found = &mut slots[usize::from(index)];
        let slot = [a, b, c, d, e, f];
        if found.replace(slot).is_some_and(|before| before != slot) {
            return Err(RecordError::TwoValues { index });
        }
    }
    let Some([length1, length0, crc3, crc2, crc1, crc0]) = slots[0] else {
        return match other_format {
            Some(format) if slots.iter().all(Option::is_none) => {
                Err(RecordError::UnknownFormat { format })
            }
            _ => Err(RecordError::MissingSlot { index: 0 }),
        };
    };
    let length = usize::from(u16::from_be_bytes([length1, length0]));
    let expected = length.div_ceil(SLOT_LEN);
    if length == 0 || expected > 255 {
        return Err(RecordError::Length { length });
    }
    let mut octets = Vec::with_capacity(expected * SLOT_LEN);
    for (index, slot) in (0..=u8::MAX).zip(&slots).skip(1) {
        match slot {
            Some(slot) if octets.len() < length => octets.extend_from_slice(slot),
            None if octets.len() < length => return Err(RecordError::MissingSlot { index }),
            Some(_) => return Err(RecordError::SurplusSlot { index }),
            None => {}
        }
    }
    if octets.drain(length..).any(|octet| octet != 0) {
        return Err(RecordError::Padding);
    }
    let crc = u32::from_be_bytes([crc3, crc2, crc1, crc0]);
    let computed = crc32fast::hash(&octets);
    if crc != computed {
        return Err(RecordError::Checksum {
            expected: crc,
            computed,
        });
    }
    Ok(octets)
}
