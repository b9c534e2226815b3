//! What must hold for any octets: plain functions, called by fuzzers and by stable tests alike.
//!
//! Each panics when a property is broken, and only then.

use super::{
    AttrFacts, Capabilities, DecodeContext, Egress, MAX_EXTENDED, MAX_MESSAGE, MessageKind, Nlri4,
    Nlri6, Notification, Open, Parsed, RawUpdate, Reflect, RouteRefresh, TooLarge, Verdict,
    cluster_list_contains, contains_large_community, decode_canonical, egress_attributes,
    encode_canonical, facts_of, frame, has_large_community, pack_reach_mp, pack_reach4,
    pack_withdraw_mp, pack_withdraw4, parse_attributes, path_contains,
};
use crate::{
    attributes::{AsSegment, Attributes},
    message,
    types::{Asn, Family, Prefix, RouterId},
};

/// All properties; the first octet chooses which one.
pub fn fuzz_one(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    match choice % 6 {
        0 => stream(rest),
        1 => open(rest),
        2 => notification(rest),
        3 => refresh(rest),
        4 => canonical(rest),
        _ => update(rest),
    }
}

/// Octets as they come from a connection: every message found is read, and each step makes
/// progress.
pub fn stream(data: &[u8]) {
    for max_len in [MAX_MESSAGE, MAX_EXTENDED] {
        let mut rest = data;
        loop {
            let message = match frame(rest, max_len) {
                Ok(Some(message)) => message,
                Ok(None) => {
                    // More is waited for only as long as it may become a message.
                    assert!(rest.len() < max_len);
                    break;
                }
                Err(why) => {
                    assert!(why.code == 1);
                    notification(written(|out| why.encode(out)).get(19..).unwrap_or_default());
                    break;
                }
            };
            assert!(message.len >= 19 && message.len <= max_len);
            match message.kind {
                MessageKind::Open => open(message.body),
                MessageKind::Update => update_with(message.body, true, false, false),
                MessageKind::Notification => notification(message.body),
                MessageKind::RouteRefresh => refresh(message.body),
                MessageKind::Keepalive => assert!(message.body.is_empty()),
            }
            rest = rest.get(message.len..).unwrap_or_default();
        }
    }
}

/// What was read from an OPEN reads the same after it was written.
pub fn open(body: &[u8]) {
    let Ok(open) = Open::decode(body) else {
        return;
    };
    assert!(open.asn.0 != 0 && !matches!(open.hold_time, 1 | 2));
    for word in open.capabilities.describe() {
        assert_printable(&word);
    }
    let mut again = reread(&written(|out| open.encode(out)), Open::decode);
    // Names are made printable once, which can make them longer than a capability holds.
    again
        .capabilities
        .hostname
        .clone_from(&open.capabilities.hostname);
    // A value that two octets cannot hold as a number has to come from the capability.
    let mut first = open;
    dedup(&mut first.capabilities);
    dedup(&mut again.capabilities);
    assert_eq!(first, again);
}

/// A NOTIFICATION is printable and reads the same after it was written.
pub fn notification(body: &[u8]) {
    let notification = Notification::decode(body);
    assert_printable(&notification.to_string());
    if let Some(text) = notification.communication() {
        assert_printable(&text);
    }
    let message = written(|out| notification.encode(out));
    let again = reread(&message, |body| Ok(Notification::decode(body)));
    let kept = again.data.len();
    assert_eq!(notification.data.get(..kept), Some(again.data.as_slice()));
    assert!(kept == notification.data.len() || message.len() == MAX_MESSAGE);
}

/// A ROUTE-REFRESH reads the same after it was written.
pub fn refresh(body: &[u8]) {
    if let Ok(refresh) = RouteRefresh::decode(body) {
        let message = written(|out| refresh.encode(out));
        assert_eq!(reread(&message, RouteRefresh::decode), refresh);
    }
}

/// Octets that claim to be canonical, and need not be, are read without harm.
pub fn canonical(data: &[u8]) {
    // Once written by us they are canonical, and stay what they are.
    let mut own = Vec::new();
    encode_canonical(&decode_canonical(data), &mut own);
    let attributes = decode_canonical(&own);
    let mut again = Vec::new();
    encode_canonical(&attributes, &mut again);
    assert_eq!(own, again);
    looked_up(&own, &attributes);
    let _ = (facts_of(data), path_contains(data, Asn(1)));
    let _ = has_large_community(data, 1, 1);
    let _ = cluster_list_contains(data, RouterId::from(1));
    let mut out = Vec::new();
    for egress in egresses() {
        out.clear();
        egress_attributes(data, Some([192, 0, 2, 1].into()), &egress, &mut out);
    }
}

/// What is looked up in canonical octets is what stands in them when they are read whole.
fn looked_up(canonical: &[u8], attributes: &Attributes) {
    let path: Vec<Asn> = attributes
        .as_path
        .iter()
        .flat_map(|segment| match segment {
            AsSegment::Set(asns)
            | AsSegment::Sequence(asns)
            | AsSegment::ConfedSequence(asns)
            | AsSegment::ConfedSet(asns) => asns,
        })
        .copied()
        .collect();
    for &asn in path.first().into_iter().chain(path.last()) {
        let count = path.iter().filter(|other| **other == asn).count();
        assert_eq!(path_contains(canonical, asn), count);
    }
    for &community in &attributes.large_communities {
        assert!(contains_large_community(canonical, community));
        assert!(has_large_community(
            canonical,
            community.global,
            community.local1
        ));
    }
    for &cluster in &attributes.cluster_list {
        assert!(cluster_list_contains(canonical, cluster));
    }
    assert_printable(&attributes.as_path_text());
}

/// The body of an UPDATE; the first octet says what the session negotiated.
pub fn update(data: &[u8]) {
    if let Some((mode, body)) = data.split_first() {
        update_with(body, mode & 1 != 0, mode & 2 != 0, mode & 4 != 0);
    }
}

fn update_with(body: &[u8], as4: bool, ebgp: bool, add_path: bool) {
    let Ok(update) = RawUpdate::split(body) else {
        return;
    };
    let ctx = DecodeContext { as4, ebgp };
    let mut canonical = Vec::new();
    let parsed = parse_attributes(
        update.attributes,
        &ctx,
        !update.nlri.is_empty(),
        &mut canonical,
    );
    // Two octets of AS number become four, and three of a header may become four.
    assert!(canonical.len() <= 2 * update.attributes.len() + 8);
    prefixes(&update, &parsed, add_path);
    if let Some(malformed) = &parsed.malformed {
        assert_printable(&malformed.to_string());
    }
    match &parsed.verdict {
        Verdict::Ok | Verdict::Discard(_) => {
            assert_eq!(parsed.facts, facts_of(&canonical));
            settles(&canonical, &parsed.facts);
        }
        Verdict::TreatAsWithdraw(malformed) => {
            assert_eq!(parsed.malformed, Some(*malformed));
            assert!(canonical.is_empty());
        }
        Verdict::Reset(notification) => {
            assert_printable(&notification.to_string());
            assert!(notification.code == 3 && parsed.malformed.is_some());
            assert!(canonical.is_empty());
        }
    }
}

/// Octets as `wayleave bgp decode` takes them: every one is in a message or in a rest that is cut
/// off, and a message made of what was read says the same. The first octet is the session's.
pub fn decoded(data: &[u8]) {
    let Some((mode, mut rest)) = data.split_first() else {
        return;
    };
    let options = message::Options {
        as4: mode & 1 == 0,
        ebgp: mode & 2 == 0,
        add_path: [mode & 4 != 0, mode & 8 != 0],
        extended: mode & 16 != 0,
        extended_next_hop: mode & 32 != 0,
    };
    while let message::Step::Message(first, taken) = message::next(rest, &options, true) {
        assert!(taken > 0 && taken <= rest.len());
        assert_eq!(
            first.verdict == message::Outcome::Ok,
            first.section.is_none()
        );
        assert_eq!(
            first.reset.is_some(),
            first.verdict == message::Outcome::SessionReset
        );
        // What decided is among what was found, and nothing stronger is.
        let decided = first
            .problems
            .iter()
            .filter(|found| found.verdict == first.verdict);
        assert!(
            first
                .section
                .iter()
                .all(|section| decided.clone().any(|found| found.section == *section))
        );
        assert!(
            first
                .problems
                .iter()
                .all(|found| found.verdict <= first.verdict)
        );
        let mut made = Vec::new();
        message::encode(&first, &options, &mut made).expect("what was read can be made");
        let mut again = message::decode(&made, &options).expect("what was made is whole");
        if first.verdict != message::Outcome::Ok {
            // Attributes are put in order, so that of several errors another one is the first.
            again.verdict = first.verdict;
            again.section.clone_from(&first.section);
            again.reset.clone_from(&first.reset);
            again.problems.clone_from(&first.problems);
        }
        assert_eq!(*first, again);
        rest = rest.get(taken..).unwrap_or_default();
    }
}

/// Attributes that were read leave, arrive and are the same, whatever the peer's AS numbers.
fn settles(canonical: &[u8], facts: &AttrFacts) {
    let decoded = decode_canonical(canonical);
    let mut own = Vec::new();
    encode_canonical(&decoded, &mut own);
    assert_eq!(decode_canonical(&own), decoded);
    for egress in egresses() {
        let once = arrive(canonical, &egress);
        let keep = Egress {
            prepend: None,
            reflect: None,
            ..egress
        };
        assert_eq!(arrive(&once, &keep), once, "unstable by {egress:?}");
        let confederated = if egress.prepend.is_some() { 1 } else { 0 };
        let there = facts_of(&once);
        assert_eq!(
            there.as_path_len,
            facts.as_path_len.saturating_add(confederated),
            "hops by {egress:?}"
        );
    }
}

/// What an internal peer reads of what leaves.
fn arrive(canonical: &[u8], egress: &Egress) -> Vec<u8> {
    let mut sent = Vec::new();
    egress_attributes(canonical, Some([192, 0, 2, 1].into()), egress, &mut sent);
    let mut there = Vec::new();
    let ctx = DecodeContext {
        as4: egress.as4,
        ebgp: false,
    };
    let parsed = parse_attributes(&sent, &ctx, false, &mut there);
    assert_eq!(parsed.verdict, Verdict::Ok, "sent {sent:02x?}");
    there
}

fn egresses() -> impl Iterator<Item = Egress> {
    let reflect = Reflect {
        originator: RouterId::from(0xC000_0201),
        cluster_id: RouterId::from(0xC000_0202),
    };
    [true, false].into_iter().flat_map(move |as4| {
        let internal = Egress {
            as4,
            keep_local_pref: true,
            keep_med: true,
            ..Egress::default()
        };
        let reflected = Egress {
            reflect: Some(reflect),
            ..internal
        };
        let external = |asn| Egress {
            as4,
            prepend: Some(Asn(asn)),
            strip_reflection: true,
            ..Egress::default()
        };
        [
            internal,
            reflected,
            external(64_512),
            external(4_200_000_000),
        ]
    })
}

/// Prefixes that were read are packed and read again.
fn prefixes(update: &RawUpdate<'_>, parsed: &Parsed<'_>, add_path: bool) {
    let path = |id: u32| add_path.then_some(id);
    for field in [update.withdrawn, update.nlri] {
        let read: Vec<_> = Nlri4::new(field, add_path).map_while(Result::ok).collect();
        let items = || read.iter().map(|&(prefix, id)| (prefix, path(id)));
        let withdrawn = written(|out| {
            pack_withdraw4(out, items(), MAX_MESSAGE);
        });
        let announced = written(|out| {
            pack_reach4(out, &[], items(), MAX_MESSAGE).expect("no attributes, much room");
        });
        for (messages, of_withdrawn) in [(withdrawn, true), (announced, false)] {
            let mut again = Vec::new();
            each_update(&messages, |update| {
                let field = if of_withdrawn {
                    update.withdrawn
                } else {
                    update.nlri
                };
                again.extend(Nlri4::new(field, add_path).map_while(Result::ok));
            });
            assert_eq!(again, read);
        }
    }
    let Some(reach) = parsed.reach else {
        return;
    };
    let Some(family) = Family::from_code(reach.afi, reach.safi) else {
        return;
    };
    let read = multiprotocol(family, reach.nlri, add_path);
    let items = || read.iter().map(|&(prefix, id)| (prefix, path(id)));
    let withdrawn = written(|out| {
        pack_withdraw_mp(out, family, items(), MAX_MESSAGE);
    });
    let announced = written(|out| {
        let packed = pack_reach_mp(out, &[], family, &reach.next_hop, items(), MAX_MESSAGE);
        assert!(!matches!(packed, Err(TooLarge { .. })));
    });
    let ctx = DecodeContext::default();
    let (mut gone, mut there) = (Vec::new(), Vec::new());
    each_update(&withdrawn, |update| {
        let parsed = parse_attributes(update.attributes, &ctx, false, &mut Vec::new());
        let unreach = parsed.unreach.expect("packed with MP_UNREACH_NLRI");
        gone.extend(multiprotocol(family, unreach.nlri, add_path));
    });
    each_update(&announced, |update| {
        let parsed = parse_attributes(update.attributes, &ctx, false, &mut Vec::new());
        let again = parsed.reach.expect("packed with MP_REACH_NLRI");
        assert_eq!(again.next_hop, reach.next_hop);
        there.extend(multiprotocol(family, again.nlri, add_path));
    });
    assert_eq!(gone, read);
    assert_eq!(there, read);
}

fn multiprotocol(family: Family, nlri: &[u8], add_path: bool) -> Vec<(Prefix, u32)> {
    match family {
        Family::Ipv4Unicast => Nlri4::new(nlri, add_path)
            .map_while(Result::ok)
            .map(|(prefix, id)| (prefix.into(), id))
            .collect(),
        Family::Ipv6Unicast => Nlri6::new(nlri, add_path)
            .map_while(Result::ok)
            .map(|(prefix, id)| (prefix.into(), id))
            .collect(),
    }
}

fn each_update(mut messages: &[u8], mut visit: impl FnMut(RawUpdate<'_>)) {
    while !messages.is_empty() {
        let message = frame(messages, MAX_MESSAGE)
            .ok()
            .flatten()
            .expect("what was packed is whole messages");
        visit(RawUpdate::split(message.body).expect("what was packed adds up"));
        messages = messages.get(message.len..).unwrap_or_default();
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn reread<T>(message: &[u8], decode: impl FnOnce(&[u8]) -> Result<T, Notification>) -> T {
    let framed = frame(message, MAX_MESSAGE)
        .ok()
        .flatten()
        .expect("what was written is one message");
    assert_eq!(framed.len, message.len());
    decode(framed.body).expect("what was written can be read")
}

fn assert_printable(text: &str) {
    let hostile = text.chars().find(|character| character.is_control());
    assert_eq!(hostile, None, "in {text:?}");
}

/// Lists over several capabilities come back in one order; empty names may be told apart only
/// by their absence.
fn dedup(capabilities: &mut Capabilities) {
    if let Some(restart) = &mut capabilities.graceful_restart {
        restart.families.truncate(63);
    }
    capabilities.unknown.sort();
}
