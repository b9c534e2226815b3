//! Path attributes in one form, so that equal ones have equal bytes.

use std::{borrow::Cow, collections::BTreeMap};

use crate::encode::attr;

/// Sorted by type; extended length and unused flag bits dropped; two bytes of length each;
/// AS_PATH sequences merged; communities sorted. Next hop and prefixes are left out.
pub(crate) fn canonical(attributes: &mut [(u8, u8, &[u8])]) -> Vec<u8> {
    attributes.sort_by_key(|a| a.1);
    let mut out = Vec::with_capacity(attributes.iter().map(|a| a.2.len() + 4).sum());
    for &mut (flags, code, value) in attributes {
        let value = match code {
            attr::NEXT_HOP | attr::MP_REACH | attr::MP_UNREACH => continue,
            attr::AS_PATH => Cow::Owned(canonical_path(value)),
            attr::COMMUNITIES => sorted::<4>(value),
            attr::EXTENDED_COMMUNITIES => sorted::<8>(value),
            attr::LARGE_COMMUNITIES => sorted::<12>(value),
            _ => Cow::Borrowed(value),
        };
        out.extend_from_slice(&[flags & 0xe0, code]);
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(&value);
    }
    out
}

/// Adjacent AS_SEQUENCEs as one, AS_SETs sorted; anything unreadable stays as it is.
fn canonical_path(value: &[u8]) -> Vec<u8> {
    let mut segments: Vec<(u8, Vec<[u8; 4]>)> = Vec::new();
    let mut rest = value;
    while let Some((&[kind, count], tail)) = rest.split_first_chunk::<2>() {
        let Some((hops, tail)) = tail.split_at_checked(usize::from(count) * 4) else {
            return value.to_vec();
        };
        rest = tail;
        let (hops, _) = hops.as_chunks::<4>();
        match segments.last_mut() {
            Some((attr::AS_SEQUENCE, last)) if kind == attr::AS_SEQUENCE => last.extend(hops),
            _ => segments.push((kind, hops.to_vec())),
        }
        if let Some((attr::AS_SET, set)) = segments.last_mut() {
            set.sort_unstable();
        }
    }
    let mut out = Vec::with_capacity(value.len());
    for (kind, hops) in segments {
        out.push(kind);
        out.extend_from_slice(&(hops.len() as u16).to_be_bytes());
        out.extend_from_slice(hops.as_flattened());
    }
    out
}

fn sorted<const N: usize>(value: &[u8]) -> Cow<'_, [u8]> {
    let (elements, rest) = value.as_chunks::<N>();
    if !rest.is_empty() || elements.is_sorted_by(|a, b| a < b) {
        return Cow::Borrowed(value);
    }
    let mut elements = elements.to_vec();
    elements.sort_unstable();
    elements.dedup();
    Cow::Owned(elements.into_flattened())
}

/// The attributes of a canonical form: flags and value by type.
pub(crate) fn by_code(mut canonical: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut attributes = BTreeMap::new();
    while let Some((&[flags, code, high, low], rest)) = canonical.split_first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (value, rest) = rest.split_at(len);
        attributes.insert(code, [&[flags], value].concat());
        canonical = rest;
    }
    attributes
}
