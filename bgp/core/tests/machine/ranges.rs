//! Neighbours without a name, and neighbours whose place somebody else takes.

use std::time::Duration;

use wayleave_bgp_core::{
    Asn, ConnId, RouterId, Speaker, Time,
    config::{ListenRange, RemoteAs, SpeakerConfig},
    view::State,
    wire::{Capabilities, MessageKind, Notification, Open, frame, keepalive},
};

use crate::net::{address, config, peer};

/// A range with everybody outside our AS in it.
fn range(prefix: &str, limit: u32) -> ListenRange {
    let mut template = peer(9, 65_000);
    template.name = format!("leaf{limit}");
    template.remote_as = RemoteAs::External;
    ListenRange {
        prefix: prefix.parse().unwrap(),
        limit,
        template,
    }
}

fn hub(ranges: Vec<ListenRange>) -> SpeakerConfig {
    let mut hub = config(0, 65_000);
    hub.ranges = ranges;
    hub
}

/// Somebody connects from there.
fn call(speaker: &mut Speaker, now: Time, from: usize) -> Option<ConnId> {
    call_at(speaker, now, from, 0)
}

/// Somebody connects from there to that address of ours.
fn call_at(speaker: &mut Speaker, now: Time, from: usize, to: usize) -> Option<ConnId> {
    let info = crate::net::call(from, to);
    speaker.accepted(now, info)
}

/// Says OPEN and KEEPALIVE in that AS.
fn speak(speaker: &mut Speaker, now: Time, conn: ConnId, asn: u32) {
    let mut bytes = Vec::new();
    Open {
        asn: Asn(asn),
        hold_time: 0,
        router_id: RouterId::from(asn),
        capabilities: Capabilities {
            families: vec![(1, 1)],
            as4: Some(Asn(asn)),
            ..Capabilities::default()
        },
    }
    .encode(&mut bytes);
    bytes.extend(keepalive());
    speaker.received(now, conn, &bytes);
}

/// The transport ends.
fn hang_up(speaker: &mut Speaker, now: Time, conn: ConnId) {
    speaker.closed(now, conn, "the peer closed it");
    speaker.turn(now);
}

/// The NOTIFICATION that waits to be written on a connection that is to be closed.
fn last_word(speaker: &Speaker, conn: ConnId) -> Notification {
    assert!(speaker.is_closing(conn));
    let mut slices = Vec::new();
    speaker.output(conn, 8, &mut slices);
    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
    let mut rest = &bytes[..];
    loop {
        let message = frame(rest, 4_096).unwrap().expect("it ends with one");
        if message.kind == MessageKind::Notification {
            return Notification::decode(message.body);
        }
        rest = &rest[message.len..];
    }
}

fn state(speaker: &Speaker, now: Time, name: &str) -> Option<State> {
    let views = speaker.peer_views(now);
    let view = views.into_iter().find(|view| view.name == name);
    view.map(|view| view.state)
}

/// RFC 4271, 8.1.1: what a peer did is not forgotten because it has no name.
#[test]
fn a_stranger_that_misbehaves_is_held_back_as_one_with_a_name_would_be() {
    let mut speaker = Speaker::new(Time(0), hub(vec![range("192.0.2.0/24", 8)]));
    let mut now = Time(0);
    let mut answered = 0;
    while now < Time(0) + Duration::from_secs(300) {
        if let Some(conn) = call(&mut speaker, now, 1) {
            answered += 1;
            // Our own AS: no external neighbour.
            speak(&mut speaker, now, conn, 65_000);
            assert_eq!(last_word(&speaker, conn).subcode, 2);
            hang_up(&mut speaker, now, conn);
        }
        now = now + Duration::from_millis(100);
        speaker.handle_timeout(now);
        speaker.turn(now);
    }
    assert!((7..=10).contains(&answered), "{answered} of 3,000 calls");
    let view = &speaker.peer_views(now)[0];
    let code = view.last_error_code.unwrap();
    assert_eq!((code.sent, code.code, code.subcode), (true, 2, 2));
    assert!(view.dynamic && view.failures >= 7);
    // Another one is let in meanwhile, and this one is forgotten in the end.
    assert!(call(&mut speaker, now, 2).is_some());
    for _ in 0..10 {
        now = now + Duration::from_secs(60);
        speaker.handle_timeout(now);
        speaker.turn(now);
    }
    assert_eq!(speaker.view().peers, 0);
}

/// RFC 4486, 4: Connection Rejected.
#[test]
fn who_finds_a_range_full_or_itself_switched_off_is_told_so() {
    let mut config = hub(vec![range("192.0.2.0/24", 1)]);
    let mut off = peer(5, 65_005);
    off.disabled = true;
    config.peers.push(off);
    let mut speaker = Speaker::new(Time(0), config);
    let first = call(&mut speaker, Time(0), 1).unwrap();
    speak(&mut speaker, Time(0), first, 65_001);
    for from in [2, 5] {
        let conn = call(&mut speaker, Time(0), from).unwrap();
        let said = last_word(&speaker, conn);
        assert_eq!((said.code, said.subcode), (6, 5), "from {from}");
        hang_up(&mut speaker, Time(0), conn);
    }
    // Not too many at a time: a flood of calls is closed without a word.
    let flood = (0..1_000).filter(|_| call(&mut speaker, Time(0), 2).is_some());
    assert_eq!(flood.count(), 64);
    assert_eq!(speaker.view().established, 1);
    assert!(call(&mut speaker, Time(0), 300 % 256).is_none());
}

#[test]
fn who_is_held_back_gives_its_place_to_somebody_new() {
    let mut speaker = Speaker::new(Time(0), hub(vec![range("192.0.2.0/24", 1)]));
    let bad = call(&mut speaker, Time(0), 1).unwrap();
    speak(&mut speaker, Time(0), bad, 65_000);
    hang_up(&mut speaker, Time(0), bad);
    assert_eq!(speaker.view().peers, 1, "remembered");
    let good = call(&mut speaker, Time(0), 2).unwrap();
    speak(&mut speaker, Time(0), good, 65_002);
    assert_eq!((speaker.view().peers, speaker.view().established), (1, 1));
}

#[test]
fn a_range_counts_its_own_peers_and_not_those_of_one_inside_it() {
    let ranges = vec![range("192.0.2.0/24", 1), range("192.0.2.2/32", 2)];
    let mut speaker = Speaker::new(Time(0), hub(ranges));
    let inner = call(&mut speaker, Time(0), 1).unwrap();
    let outer = call(&mut speaker, Time(0), 2).unwrap();
    speak(&mut speaker, Time(0), inner, 65_001);
    speak(&mut speaker, Time(0), outer, 65_002);
    assert_eq!(speaker.view().established, 2);
}

#[test]
fn what_changes_in_a_range_changes_its_peers_and_closes_no_session_without_need() {
    let mut speaker = Speaker::new(Time(0), hub(vec![range("192.0.2.0/24", 4)]));
    let conn = call(&mut speaker, Time(0), 1).unwrap();
    speak(&mut speaker, Time(0), conn, 65_001);
    let mut config = speaker.config().clone();
    config.ranges[0].limit = 9;
    assert!(speaker.reconfigure(Time(0), config.clone()).is_empty());
    config.ranges[0].template.max_prefixes = Some(7);
    let done = speaker.reconfigure(Time(0), config.clone());
    assert_eq!(done, ["peer leaf4-192.0.2.2: policy changed, session kept"]);
    assert_eq!(speaker.view().established, 1);
    config.ranges.clear();
    let done = speaker.reconfigure(Time(0), config);
    assert_eq!(done, ["peer leaf4-192.0.2.2: closed, its range changed"]);
    assert_eq!(last_word(&speaker, conn).subcode, 6);
}

#[test]
fn a_neighbour_that_is_given_a_name_keeps_its_place_when_the_stranger_it_was_goes() {
    let mut speaker = Speaker::new(Time(0), hub(vec![range("192.0.2.0/24", 4)]));
    let conn = call(&mut speaker, Time(0), 1).unwrap();
    speak(&mut speaker, Time(0), conn, 65_001);
    let mut config = speaker.config().clone();
    let mut named = peer(1, 65_001);
    named.passive = true;
    config.peers.push(named);
    let done = speaker.reconfigure(Time(0), config);
    assert_eq!(
        done,
        [
            "peer leaf4-192.0.2.2: closed, its range changed",
            "peer s1: added"
        ]
    );
    hang_up(&mut speaker, Time(0), conn);
    let again = call(&mut speaker, Time(0), 1).unwrap();
    speak(&mut speaker, Time(0), again, 65_001);
    assert_eq!(state(&speaker, Time(0), "s1"), Some(State::Established));
    assert_eq!(speaker.view().peers, 1);
}

#[test]
fn two_neighbours_that_swap_addresses_are_found_where_they_are() {
    let mut config = hub(Vec::new());
    for n in [1, 2] {
        let mut neighbour = peer(n, 65_000 + u32::try_from(n).unwrap());
        neighbour.passive = true;
        config.peers.push(neighbour);
    }
    let mut speaker = Speaker::new(Time(0), config.clone());
    config.peers[0].address = address(2);
    config.peers[1].address = address(1);
    assert_eq!(speaker.reconfigure(Time(0), config).len(), 2);
    for (from, asn) in [(2, 65_001), (1, 65_002)] {
        assert!(speaker.expects(address(from)));
        let conn = call(&mut speaker, Time(0), from).unwrap();
        speak(&mut speaker, Time(0), conn, asn);
    }
    assert_eq!(speaker.view().established, 2);
}

/// RFC 4271, 8.2.1: a connection belongs to a peer by both of its ends.
#[test]
fn a_neighbour_that_calls_another_address_than_its_own_is_not_let_in() {
    let mut config = hub(vec![range("192.0.2.0/24", 4)]);
    let mut neighbour = peer(1, 65_001);
    neighbour.passive = true;
    neighbour.local_address = Some(address(0));
    config.peers.push(neighbour);
    let mut speaker = Speaker::new(Time(0), config);
    assert!(call_at(&mut speaker, Time(0), 1, 7).is_none());
    assert!(call_at(&mut speaker, Time(0), 1, 0).is_some());
}
