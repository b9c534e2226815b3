//! AS_PATH and AS4_PATH, with AS numbers of two or four octets (RFC 4271, 4.3; RFC 6793, 3).

use super::EncodeError;
use crate::{attributes::AsSegment, types::Asn};

/// The segments of a path; `None` when it does not add up.
pub(super) fn read(mut value: &[u8], as4: bool) -> Option<Vec<AsSegment>> {
    let mut segments = Vec::new();
    while let Some((&[kind, count], rest)) = value.split_first_chunk() {
        let width = if as4 { 4 } else { 2 };
        let (numbers, rest) = rest.split_at_checked(usize::from(count) * width)?;
        let asns: Vec<Asn> = if as4 {
            let (numbers, _) = numbers.as_chunks();
            numbers
                .iter()
                .map(|asn| Asn(u32::from_be_bytes(*asn)))
                .collect()
        } else {
            let (numbers, _) = numbers.as_chunks();
            numbers
                .iter()
                .map(|asn| Asn(u16::from_be_bytes(*asn).into()))
                .collect()
        };
        segments.push(match kind {
            _ if count == 0 => return None,
            1 => AsSegment::Set(asns),
            2 => AsSegment::Sequence(asns),
            3 => AsSegment::ConfedSequence(asns),
            4 => AsSegment::ConfedSet(asns),
            _ => return None,
        });
        value = rest;
    }
    value.is_empty().then_some(segments)
}

/// The octets of a path; `field` is its name.
pub(super) fn write(path: &[AsSegment], as4: bool, field: &str) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    for (place, segment) in path.iter().enumerate() {
        let wrong = |what: &str| EncodeError::new(format!("{field}[{place}]"), what);
        let (kind, asns) = match segment {
            AsSegment::Set(asns) => (1, asns),
            AsSegment::Sequence(asns) => (2, asns),
            AsSegment::ConfedSequence(asns) => (3, asns),
            AsSegment::ConfedSet(asns) => (4, asns),
        };
        if asns.is_empty() {
            return Err(wrong("a segment without an AS number"));
        }
        let count = u8::try_from(asns.len())
            .map_err(|_| wrong("more AS numbers than the 255 of a segment"))?;
        out.extend_from_slice(&[kind, count]);
        for asn in asns {
            number(*asn, as4, &mut out).map_err(|what| wrong(&what))?;
        }
    }
    Ok(out)
}

/// Appends one AS number.
pub(super) fn number(asn: Asn, as4: bool, out: &mut Vec<u8>) -> Result<(), String> {
    if as4 {
        out.extend_from_slice(&asn.0.to_be_bytes());
        return Ok(());
    }
    let Ok(two) = u16::try_from(asn.0) else {
        return Err(format!(
            "AS {asn} does not fit two octets: a session with such numbers has 23456 in its place, \
             and the number in `as4_path` or `as4_aggregator`"
        ));
    };
    out.extend_from_slice(&two.to_be_bytes());
    Ok(())
}
