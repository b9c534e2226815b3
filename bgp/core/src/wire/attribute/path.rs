//! AS_PATH on the wire (RFC 4271, 4.3; RFC 5065, 3; RFC 6793).
//!
//! ```text
//! +---------------+---------------+------------------------------+
//! | Segment type  | Count of ASes |   AS numbers, 2 or 4 octets each ...
//! +---------------+---------------+------------------------------+
//! ```

use super::verdict::Problem;
use crate::types::AS_TRANS;

/// RFC 4271, 4.3.
pub(super) const AS_SET: u8 = 1;
/// RFC 4271, 4.3.
pub(super) const AS_SEQUENCE: u8 = 2;
/// RFC 5065, 3.
pub(super) const AS_CONFED_SEQUENCE: u8 = 3;
/// RFC 5065, 3.
pub(super) const AS_CONFED_SET: u8 = 4;

/// Most AS numbers in one segment: its count is one octet.
pub(super) const MOST_IN_SEGMENT: usize = 255;

/// Octets of an AS number on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Two,
    Four,
}

impl Width {
    #[inline]
    fn octets(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// Whether a path is well-formed (RFC 7606, 7.2; RFC 7607, 2; RFC 5065, 5).
#[inline]
pub(super) fn check(mut value: &[u8], width: Width, ebgp: bool) -> Result<(), Problem> {
    while let Some((&kind, rest)) = value.split_first() {
        match kind {
            AS_SET | AS_SEQUENCE => {}
            AS_CONFED_SEQUENCE | AS_CONFED_SET if ebgp => return Err(Problem::Confederation),
            AS_CONFED_SEQUENCE | AS_CONFED_SET => {}
            _ => return Err(Problem::SegmentType),
        }
        let Some((&count, rest)) = rest.split_first() else {
            return Err(Problem::SegmentLength);
        };
        let len = usize::from(count) * width.octets();
        let Some((asns, rest)) = rest.split_at_checked(len) else {
            return Err(Problem::SegmentLength);
        };
        if count == 0 {
            return Err(Problem::SegmentLength);
        }
        let zero = match width {
            Width::Two => asns.as_chunks().0.contains(&[0; 2]),
            Width::Four => asns.as_chunks().0.contains(&[0; 4]),
        };
        if zero {
            return Err(Problem::AsZero);
        }
        value = rest;
    }
    Ok(())
}

/// One segment of a canonical path.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) kind: u8,
    pub(super) asns: &'a [[u8; 4]],
}

impl Segment<'_> {
    #[inline]
    pub(super) fn is_confed(self) -> bool {
        matches!(self.kind, AS_CONFED_SEQUENCE | AS_CONFED_SET)
    }

    /// What the segment adds to the length of the path (RFC 4271, 9.1.2.2 a; RFC 5065, 5.3).
    #[inline]
    pub(super) fn hops(self) -> usize {
        match self.kind {
            AS_SEQUENCE => self.asns.len(),
            AS_SET => 1,
            _ => 0,
        }
    }

    /// Appends the segment; never more than 255 numbers, because it was read from a segment.
    pub(super) fn put(self, out: &mut Vec<u8>, as4: bool) {
        put_head(out, self.kind, self.asns.len());
        put_numbers(out, self.asns, as4);
    }
}

/// The segments of a path with four-octet numbers; ends where the path does not add up.
#[derive(Clone)]
pub(super) struct Segments<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, count], rest) = self.0.split_first_chunk()?;
        let (asns, rest) = rest.split_at_checked(usize::from(count) * 4)?;
        self.0 = rest;
        let (asns, _) = asns.as_chunks();
        Some(Segment { kind, asns })
    }
}

pub(super) fn put_head(out: &mut Vec<u8>, kind: u8, count: usize) {
    debug_assert!(count <= MOST_IN_SEGMENT, "a segment of {count} AS numbers");
    out.extend_from_slice(&[kind, u8::try_from(count).unwrap_or(u8::MAX)]);
}

pub(super) fn put_numbers(out: &mut Vec<u8>, asns: &[[u8; 4]], as4: bool) {
    if as4 {
        out.extend_from_slice(asns.as_flattened());
        return;
    }
    for asn in asns {
        out.extend_from_slice(&two_octets(*asn));
    }
}

/// The number in two octets, AS_TRANS where it does not fit (RFC 6793, 4.2.2).
#[inline]
pub(super) fn two_octets(asn: [u8; 4]) -> [u8; 2] {
    match asn {
        [0, 0, high, low] => [high, low],
        _ => AS_TRANS.to_u16().to_be_bytes(),
    }
}

/// Whether two octets hold [`AS_TRANS`].
pub(super) fn two_octets_is_as_trans(asn: [u8; 2]) -> bool {
    asn == AS_TRANS.to_u16().to_be_bytes()
}

/// Whether the number needs four octets.
#[inline]
pub(super) fn needs_four(asn: [u8; 4]) -> bool {
    !matches!(asn, [0, 0, _, _])
}

/// The path of an old speaker in four octets per number, exact as far as AS4_PATH makes it so
/// (RFC 6793, 4.2.3). Both have passed [`check`].
pub(super) fn merge(as_path: &[u8], as4_path: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(as4_path) = as4_path else {
        widen(as_path, usize::MAX, out);
        return;
    };
    // "AS_CONFED_SEQUENCE and AS_CONFED_SET MUST NOT be carried in the AS4_PATH attribute":
    // segments of these types are discarded (RFC 6793, 6).
    let exact = || Segments(as4_path).filter(|segment| !segment.is_confed());
    let known: usize = exact().map(Segment::hops).sum();
    let all = count_two_octets(as_path);
    let Some(leading) = all.checked_sub(known) else {
        // "then the AS4_PATH attribute SHALL be ignored"
        widen(as_path, usize::MAX, out);
        return;
    };
    let start = out.len();
    widen(as_path, leading, out);
    let mut exact = exact();
    // A sequence that was cut in two is one again where it fits, so that a path looks the same
    // whichever way it came.
    if let Some(first) = exact.next()
        && !extend_last(out, start, first)
    {
        first.put(out, true);
    }
    for segment in exact {
        segment.put(out, true);
    }
}

/// Adds the numbers of `next` to the last segment written since `start` when both are sequences
/// and one segment holds them.
fn extend_last(out: &mut Vec<u8>, start: usize, next: Segment<'_>) -> bool {
    let Some(written) = out.get(start..) else {
        return false;
    };
    let Some(last) = Segments(written).last() else {
        return false;
    };
    let count = last.asns.len() + next.asns.len();
    let at = out.len() - last.asns.len() * 4 - 1;
    let (true, true, Ok(count)) = (
        last.kind == AS_SEQUENCE,
        next.kind == AS_SEQUENCE,
        u8::try_from(count),
    ) else {
        return false;
    };
    if let Some(octet) = out.get_mut(at) {
        *octet = count;
    }
    put_numbers(out, next.asns, true);
    true
}

/// The segments of a path with two-octet numbers.
fn segments_two_octets(value: &[u8]) -> impl Iterator<Item = (u8, &[[u8; 2]])> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (&[kind, count], after) = rest.split_first_chunk()?;
        let (asns, after) = after.split_at_checked(usize::from(count) * 2)?;
        rest = after;
        Some((kind, asns.as_chunks().0))
    })
}

fn count_two_octets(value: &[u8]) -> usize {
    segments_two_octets(value)
        .map(|(kind, asns)| match kind {
            AS_SEQUENCE => asns.len(),
            AS_SET => 1,
            _ => 0,
        })
        .sum()
}

/// Appends the first `hops` hops of a two-octet path in four octets per number, with the
/// confederation segments among and before them: "a valid AS_CONFED_SEQUENCE or AS_CONFED_SET
/// path segment SHALL be prepended if it is either the leading path segment or is adjacent to a
/// path segment that is prepended" (RFC 6793, 4.2.3).
fn widen(value: &[u8], mut hops: usize, out: &mut Vec<u8>) {
    let mut adjacent = true;
    for (kind, asns) in segments_two_octets(value) {
        let taken = match kind {
            AS_SEQUENCE => asns.len().min(hops),
            AS_SET if hops > 0 => asns.len(),
            AS_CONFED_SEQUENCE | AS_CONFED_SET if adjacent => asns.len(),
            _ => 0,
        };
        adjacent = taken == asns.len();
        if taken == 0 {
            break;
        }
        hops -= match kind {
            AS_SEQUENCE => taken,
            AS_SET => 1,
            _ => 0,
        };
        put_head(out, kind, taken);
        for &[high, low] in asns.iter().take(taken) {
            out.extend_from_slice(&[0, 0, high, low]);
        }
    }
}
