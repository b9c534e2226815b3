//! A canonical set with some of its attributes replaced: still canonical.

use super::{
    canonical::{Tlvs, push, value},
    path::{AS_SEQUENCE, MOST_IN_SEGMENT, Segments, put_head},
    table::{
        AS_PATH, COMMUNITIES, EXTENDED_COMMUNITIES, LARGE_COMMUNITY, LOCAL_PREF, MULTI_EXIT_DISC,
        ONLY_TO_CUSTOMER, OPTIONAL, ORIGIN, PARTIAL, TRANSITIVE, spec,
    },
};
use crate::types::Asn;

/// What is replaced, by code. Only what differs from the original is kept, so that an edit that
/// changes nothing gives the very same octets.
#[derive(Debug)]
pub(crate) struct Edit<'a> {
    original: &'a [u8],
    /// `None`: removed.
    replaced: Vec<(u8, Option<Vec<u8>>)>,
}

/// Lists of items of one length that policy changes.
macro_rules! lists {
    ($($name:ident $replace:ident $len:literal $code:ident $doc:literal;)*) => {$(
        #[doc = concat!($doc, ", as far as they are now.")]
        pub(crate) fn $name(&self) -> &[[u8; $len]] {
            self.now($code).unwrap_or_default().as_chunks().0
        }

        #[doc = concat!("Replaces ", $doc, "; an empty list is no attribute.")]
        pub(crate) fn $replace(&mut self, list: &[[u8; $len]]) {
            // More than one attribute holds: the first ones stay.
            let most = usize::from(u16::MAX) / $len;
            let list = list.get(..most).unwrap_or(list);
            self.replace($code, (!list.is_empty()).then(|| list.as_flattened().to_vec()));
        }
    )*};
}

impl<'a> Edit<'a> {
    pub(crate) fn new(original: &'a [u8]) -> Self {
        Self {
            original,
            replaced: Vec::new(),
        }
    }

    lists! {
        communities set_communities 4 COMMUNITIES "the communities (RFC 1997)";
        extended set_extended 8 EXTENDED_COMMUNITIES "the extended communities (RFC 4360)";
        large set_large 12 LARGE_COMMUNITY "the large communities (RFC 8092)";
    }

    pub(crate) fn set_origin(&mut self, origin: u8) {
        self.replace(ORIGIN, Some(vec![origin]));
    }

    pub(crate) fn med(&self) -> Option<u32> {
        self.number(MULTI_EXIT_DISC)
    }

    pub(crate) fn set_med(&mut self, med: Option<u32>) {
        self.replace(MULTI_EXIT_DISC, med.map(|med| med.to_be_bytes().to_vec()));
    }

    pub(crate) fn local_pref(&self) -> Option<u32> {
        self.number(LOCAL_PREF)
    }

    pub(crate) fn set_local_pref(&mut self, local_pref: u32) {
        self.replace(LOCAL_PREF, Some(local_pref.to_be_bytes().to_vec()));
    }

    pub(crate) fn set_only_to_customer(&mut self, asn: Asn) {
        self.replace(ONLY_TO_CUSTOMER, Some(asn.0.to_be_bytes().to_vec()));
    }

    /// Puts an AS before the path so many times. Confederation segments that the path begins with
    /// stay before it: they are taken off as a whole when the route leaves the confederation
    /// (RFC 5065, 5.1), which a number before them would prevent.
    pub(crate) fn prepend(&mut self, asn: Asn, times: u8) {
        if times == 0 {
            return;
        }
        let path = self.now(AS_PATH).unwrap_or_default();
        let mut segments = Segments(path);
        let mut ahead = segments.clone();
        while ahead.next().is_some_and(|segment| segment.is_confed()) {
            segments = ahead.clone();
        }
        let (confed, rest) = path.split_at(path.len() - segments.0.len());
        let mut out = confed.to_vec();
        let asn = asn.0.to_be_bytes();
        let mut left = usize::from(times);
        // What the first sequence has no room for gets a segment of its own before it
        // (RFC 4271, 5.1.2 b 1).
        let mut first = Segments(rest);
        let joined = first.next().filter(|segment| segment.kind == AS_SEQUENCE);
        let room = joined.map_or(0, |segment| MOST_IN_SEGMENT - segment.asns.len());
        let within = left.min(room);
        left -= within;
        if left > 0 {
            put_head(&mut out, AS_SEQUENCE, left);
            out.extend(std::iter::repeat_n(asn, left).flatten());
        }
        match joined {
            Some(segment) => {
                put_head(&mut out, AS_SEQUENCE, within + segment.asns.len());
                out.extend(std::iter::repeat_n(asn, within).flatten());
                out.extend_from_slice(segment.asns.as_flattened());
                out.extend_from_slice(first.0);
            }
            None => out.extend_from_slice(rest),
        }
        if out.len() <= usize::from(u16::MAX) {
            self.replace(AS_PATH, Some(out));
        }
    }

    /// Takes numbers out of the path, wherever they stand; a segment that is left without any goes too.
    pub(crate) fn remove_as_numbers(&mut self, goes: impl Fn(Asn) -> bool) {
        let mut out = Vec::new();
        for segment in Segments(self.now(AS_PATH).unwrap_or_default()) {
            let stays = |asn: &&[u8; 4]| !goes(Asn(u32::from_be_bytes(**asn)));
            let left: Vec<[u8; 4]> = segment.asns.iter().filter(stays).copied().collect();
            if !left.is_empty() {
                put_head(&mut out, segment.kind, left.len());
                out.extend_from_slice(left.as_flattened());
            }
        }
        self.replace_path(out);
    }

    /// Puts another number in the place of one, wherever that stands in the path.
    pub(crate) fn replace_as_number(&mut self, of: Asn, by: Asn) {
        let (of, by) = (of.0.to_be_bytes(), by.0.to_be_bytes());
        let mut out = Vec::new();
        for segment in Segments(self.now(AS_PATH).unwrap_or_default()) {
            put_head(&mut out, segment.kind, segment.asns.len());
            let numbers = segment.asns.iter();
            out.extend(numbers.flat_map(|&asn| if asn == of { by } else { asn }));
        }
        self.replace_path(out);
    }

    /// A route without a path stays without one.
    fn replace_path(&mut self, path: Vec<u8>) {
        if self.now(AS_PATH).is_some() {
            self.replace(AS_PATH, Some(path));
        }
    }

    /// Whether the set is what it was.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.replaced.is_empty()
    }

    /// Appends the set as it is now. `foreign`: somebody else originated the route, so that an
    /// optional transitive attribute that was not there is marked as partial: "If they are not
    /// attached by the originator, the Partial bit in the Attribute Flags octet is set to 1"
    /// (RFC 4271, 5).
    pub(crate) fn finish(mut self, foreign: bool, out: &mut Vec<u8>) {
        self.replaced.sort_by_key(|(code, _)| *code);
        let mut due = self.replaced.iter().peekable();
        for tlv in (Tlvs {
            rest: self.original,
        }) {
            while let Some((code, new)) = due.next_if(|(code, _)| *code < tlv.code) {
                put_new(*code, new.as_deref(), foreign, out);
            }
            match due.next_if(|(code, _)| *code == tlv.code) {
                Some((code, Some(new))) => {
                    let flags = tlv.flags & (OPTIONAL | TRANSITIVE | PARTIAL);
                    push(out, flags, *code, new);
                }
                Some((_, None)) => {}
                None => out.extend_from_slice(tlv.whole),
            }
        }
        for (code, new) in due {
            put_new(*code, new.as_deref(), foreign, out);
        }
    }

    fn now(&self, code: u8) -> Option<&[u8]> {
        match self.replaced.iter().find(|(changed, _)| *changed == code) {
            Some((_, new)) => new.as_deref(),
            None => value(self.original, code),
        }
    }

    fn number(&self, code: u8) -> Option<u32> {
        let octets = self.now(code)?.first_chunk()?;
        Some(u32::from_be_bytes(*octets))
    }

    fn replace(&mut self, code: u8, new: Option<Vec<u8>>) {
        self.replaced.retain(|(changed, _)| *changed != code);
        if value(self.original, code) != new.as_deref() {
            self.replaced.push((code, new));
        }
    }
}

/// Writes an attribute that the original does not have.
fn put_new(code: u8, new: Option<&[u8]>, foreign: bool, out: &mut Vec<u8>) {
    let Some(new) = new else {
        return;
    };
    let flags = spec(code).map_or(0, |spec| spec.flags);
    let partial = if foreign && flags == OPTIONAL | TRANSITIVE {
        PARTIAL
    } else {
        0
    };
    push(out, flags | partial, code, new);
}
