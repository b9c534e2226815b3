//! Several paths to a prefix (RFC 7911).

use std::collections::BTreeMap;

use wayleave_bgp_core::{config::PeerConfig, view::RibKind};

use super::stage::{OPEN, Stage, UPDATE, mandatory, message};

const ADD_PATH: u8 = 69;
const RECEIVE: u8 = 1;
const SEND: u8 = 2;

/// Neighbours of which the first tells several paths and the last takes several, up to `most`.
fn stage(asns: &[u32], most: u8) -> Stage {
    let last = asns.len();
    let mut stage = Stage::new(asns, |n, peer| {
        peer.add_path_receive = n == 1;
        peer.add_path_send = if n == last { most } else { 0 };
    });
    for n in 1..=last {
        let mode = match n {
            1 => SEND,
            _ if n == last => RECEIVE,
            _ => 0,
        };
        establish(&mut stage, n, mode);
    }
    stage
}

fn establish(stage: &mut Stage, n: usize, mode: u8) {
    assert!(stage.call(n));
    let open = stage.open_with(n, |open| {
        if mode != 0 {
            open.capabilities.add_path = vec![(1, 1, mode)];
        }
    });
    stage.say(n, &open);
    stage.say(n, &wayleave_bgp_core::wire::keepalive());
    stage.hear(n);
}

/// `first.0.0.0/8` with an identifier, as it stands in both fields (RFC 7911, 3).
fn numbered(path_id: u32, first: u8) -> Vec<u8> {
    [&path_id.to_be_bytes()[..], &[8, first]].concat()
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
    let body = [
        &length(withdrawn)[..],
        withdrawn,
        &length(attributes),
        attributes,
        nlri,
    ];
    message(UPDATE, &body.concat())
}

/// What neighbour 1 holds to be there: identifier, length of the path, and whether it is the best.
fn held(stage: &Stage) -> Vec<(Option<u32>, usize, bool)> {
    let routes = stage.routes(RibKind::In, 1);
    let mut held: Vec<_> = routes
        .iter()
        .map(|route| {
            let hops = route.as_path.split_whitespace().count();
            (route.path_id, hops, route.best)
        })
        .collect();
    held.sort_unstable();
    held
}

/// What neighbour `n` is told of IPv4 prefixes, by identifier and first octet: the AS the path begins
/// with behind ours; 0: taken back.
fn told(stage: &mut Stage, n: usize) -> BTreeMap<(u32, u8), u32> {
    let mut told = BTreeMap::new();
    for (kind, body) in stage.hear(n) {
        if kind != UPDATE {
            continue;
        }
        let (withdrawn, rest) = counted(&body);
        let (attributes, nlri) = counted(rest);
        for key in keys(withdrawn) {
            told.insert(key, 0);
        }
        // ORIGIN has four octets; the segment's head and our AS come before what counts.
        let behind_ours = attributes
            .get(4 + 3 + 2 + 4..)
            .and_then(|rest| rest.first_chunk());
        for key in keys(nlri) {
            told.insert(key, u32::from_be_bytes(*behind_ours.unwrap()));
        }
    }
    told
}

fn counted(bytes: &[u8]) -> (&[u8], &[u8]) {
    let len = u16::from_be_bytes([bytes[0], bytes[1]]);
    bytes[2..].split_at(len.into())
}

fn keys(nlri: &[u8]) -> Vec<(u32, u8)> {
    let chunks = nlri.as_chunks::<6>();
    assert!(chunks.1.is_empty(), "not all have an identifier: {nlri:?}");
    let key = |&[a, b, c, d, len, first]: &[u8; 6]| {
        assert_eq!(len, 8);
        (u32::from_be_bytes([a, b, c, d]), first)
    };
    chunks.0.iter().map(key).collect()
}

/// RFC 7911, 2 and 3: a route is known by its prefix and its identifier; one that comes again replaces
/// the one with the same identifier, and a withdrawal takes that back alone.
#[test]
fn paths_of_one_neighbour_are_held_apart_and_go_one_by_one() {
    let mut stage = stage(&[65_002, 65_009], 0);
    stage.say(
        1,
        &update(&[], &mandatory(1, &[65_002, 7, 8]), &numbered(1, 10)),
    );
    stage.say(
        1,
        &update(&[], &mandatory(1, &[65_002, 7]), &numbered(0, 10)),
    );
    stage.say(1, &update(&[], &mandatory(1, &[65_002]), &numbered(9, 10)));
    let all = [(None, 2, false), (Some(1), 3, false), (Some(9), 1, true)];
    assert_eq!(held(&stage), all);
    // An identifier says nothing about preference, and need not be the same the next time.
    stage.say(
        1,
        &update(&[], &mandatory(1, &[65_002, 7, 8, 9]), &numbered(9, 10)),
    );
    let all = [(None, 2, true), (Some(1), 3, false), (Some(9), 4, false)];
    assert_eq!(held(&stage), all);
    stage.say(1, &update(&numbered(7, 10), &[], &[]));
    assert_eq!(held(&stage), all, "nobody has that identifier");
    stage.say(1, &update(&numbered(0, 10), &[], &[]));
    assert_eq!(held(&stage), [(Some(1), 3, true), (Some(9), 4, false)]);
    let view = stage.view(1);
    assert_eq!(
        view.ipv4.map(|counts| (counts.received, counts.accepted)),
        Some((2, 2))
    );
    stage.say(
        1,
        &update(&[numbered(9, 10), numbered(1, 10)].concat(), &[], &[]),
    );
    assert!(held(&stage).is_empty());
}

/// Two paths of one neighbour that differ in nothing: the decision is the same each time.
#[test]
fn of_equal_paths_of_one_neighbour_the_lower_identifier_is_the_best() {
    let mut stage = stage(&[65_002, 65_009], 0);
    for path_id in [5, 3, 4] {
        stage.say(
            1,
            &update(&[], &mandatory(1, &[65_002]), &numbered(path_id, 10)),
        );
    }
    let best = |stage: &Stage| held(stage).into_iter().find(|(.., best)| *best).unwrap().0;
    assert_eq!(best(&stage), Some(3));
    let routes = stage.routes(RibKind::In, 1);
    let reason = |id: u32| {
        let mut routes = routes.iter();
        let route = routes.find(|route| route.path_id == Some(id)).unwrap();
        route.reason.clone()
    };
    assert_eq!(reason(3), "lower path identifier");
    assert_eq!(reason(4), "the best has: lower path identifier");
}

/// RFC 7911, 3: "any Path Identifier [...] MUST be [...] unique" for a prefix on a session; a path
/// keeps it, and the best so many are told.
#[test]
fn a_neighbour_that_takes_several_paths_is_told_the_best_of_them() {
    let mut stage = stage(&[65_002, 65_003, 65_004, 65_009], 2);
    let tell = |stage: &mut Stage, n: usize, path: &[u32]| match n {
        1 => stage.say(1, &update(&[], &mandatory(1, path), &numbered(7, 10))),
        _ => stage.say(n, &update(&[], &mandatory(n, path), &[8, 10])),
    };
    tell(&mut stage, 1, &[65_002, 7, 8]);
    tell(&mut stage, 2, &[65_003]);
    let first = told(&mut stage, 4);
    let of = |told: &BTreeMap<(u32, u8), u32>, asn: u32| {
        let mut all = told.iter();
        let ((path_id, _), _) = all.find(|(_, begins)| **begins == asn).unwrap();
        *path_id
    };
    assert_eq!(first.len(), 2, "{first:?}");
    let (far, near) = (of(&first, 65_002), of(&first, 65_003));
    assert!(far != near && far != 0 && near != 0, "{first:?}");
    // A better one comes: the worse of the two makes room for it, and is not told any more.
    tell(&mut stage, 3, &[65_004, 7]);
    assert_eq!(told(&mut stage, 4), BTreeMap::from([((far, 10), 65_004)]));
    // The best goes, and the one that had no room is back.
    stage.say(2, &update(&[8, 10], &[], &[]));
    assert_eq!(told(&mut stage, 4), BTreeMap::from([((near, 10), 65_002)]));
    let routes = stage.routes(RibKind::Out, 4);
    let mut shown: Vec<_> = routes.iter().map(|route| route.path_id).collect();
    shown.sort_unstable();
    let mut both = [Some(far), Some(near)];
    both.sort_unstable();
    assert_eq!(shown, both);
    assert_eq!(stage.view(4).ipv4.map(|counts| counts.advertised), Some(2));
    // Whoever tells one path is not told others' identifiers.
    assert_eq!(stage.routes(RibKind::Out, 2)[0].path_id, None);
    // A neighbour that goes takes its paths along, each of them.
    stage.hang_up(1);
    stage.hang_up(3);
    let gone = told(&mut stage, 4);
    assert_eq!(gone, BTreeMap::from([((far, 10), 0), ((near, 10), 0)]));
}

/// RFC 7911, 4: identifiers are there in a direction when one end has offered to send and the other to
/// receive.
#[test]
fn identifiers_take_two_that_want_them() {
    /// What we are configured to want, offer then, and are offered.
    type Row = (fn(&mut PeerConfig), u8, u8);
    let rows: [Row; 5] = [
        (|peer| peer.add_path_receive = true, RECEIVE, RECEIVE),
        (|peer| peer.add_path_send = 2, SEND, SEND),
        (|peer| peer.add_path_send = 1, 0, RECEIVE | SEND),
        (|_| (), 0, RECEIVE | SEND),
        (
            |peer| (peer.add_path_receive, peer.add_path_send) = (true, 255),
            RECEIVE | SEND,
            0,
        ),
    ];
    for (ours, offered, theirs) in rows {
        let mut stage = Stage::new(&[65_002, 65_003], |n, peer| {
            if n == 1 {
                ours(peer);
            }
        });
        assert!(stage.call(1));
        let said = stage.hear(1);
        let (kind, open) = &said[0];
        assert_eq!(*kind, OPEN);
        let family = [0, 1, 1, offered];
        let known = open
            .windows(6)
            .any(|part| part[0] == ADD_PATH && part[2..] == family);
        assert_eq!(known, offered != 0, "{offered}: {open:?}");
        let open = stage.open_with(1, |open| {
            if theirs != 0 {
                open.capabilities.add_path = vec![(1, 1, theirs)];
            }
        });
        stage.say(1, &open);
        stage.say(1, &wayleave_bgp_core::wire::keepalive());
        stage.establish(2);
        stage.hear(1);
        stage.say(1, &update(&[], &mandatory(1, &[65_002]), &[8, 10]));
        assert_eq!(held(&stage), [(None, 1, true)]);
        stage.say(2, &update(&[], &mandatory(2, &[65_003]), &[8, 11]));
        assert_eq!(stage.told(1).prefixes(), "11.0.0.0/8");
    }
}
