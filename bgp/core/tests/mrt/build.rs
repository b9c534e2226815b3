//! Records put together by hand, so that no test trusts the writer it tests.

use wayleave_bgp_core::{
    message::Hex,
    mrt::{Content, Malformed, Record, Rib, RibEntry, split},
};

/// 2011-03-18 19:15:00, the time of all examples in RFC 6396, Appendix A.
pub(crate) const THEN: u32 = 1_300_475_700;

pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.parse::<Hex>().unwrap().0
}

/// A record with the length that its body has.
pub(crate) fn record(kind: u16, subtype: u16, body: &[u8]) -> Vec<u8> {
    let mut out = THEN.to_be_bytes().to_vec();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&subtype.to_be_bytes());
    out.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// The one record that the octets are.
pub(crate) fn read(octets: &[u8]) -> Result<Record<'_>, Malformed> {
    let (header, body, rest) = split(octets).expect("a whole record");
    assert!(rest.is_empty(), "{} octets behind the record", rest.len());
    Record::decode(&header, body)
}

pub(crate) fn written(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out).unwrap();
    out
}

/// The paths in a record.
pub(crate) fn rib(octets: &[u8]) -> Rib<'_> {
    match read(octets).unwrap().content {
        Content::Rib(rib) => rib,
        other => panic!("no routes: {other:?}"),
    }
}

pub(crate) fn entry(attributes: &[u8]) -> RibEntry<'_> {
    RibEntry {
        peer: 0,
        originated: THEN,
        path_id: None,
        attributes,
    }
}
