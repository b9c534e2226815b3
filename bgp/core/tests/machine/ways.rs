//! What becomes of sessions when the way to a neighbour is known to be broken: BFD and interfaces.

use std::time::Duration;

use wayleave_bgp_core::{
    Action, Asn, BfdReport, ConnId, RouterId, Speaker, Time,
    config::{BfdTimers, PeerConfig, RemoteAs},
    view::{BfdState, State},
    wire::{Capabilities, Open, keepalive},
};

use crate::net::{address, config, peer};

const TIMERS: BfdTimers = BfdTimers {
    interval: Duration::from_millis(50),
    multiplier: 3,
};

/// A speaker whose neighbour has come up, and what the driver was asked for since.
fn up(change: impl FnOnce(&mut PeerConfig)) -> (Speaker, ConnId, Vec<Action>) {
    let mut config = config(0, 65_001);
    let mut neighbour = peer(1, 65_002);
    neighbour.passive = true;
    neighbour.bfd = Some(TIMERS);
    change(&mut neighbour);
    let asn = match neighbour.remote_as {
        RemoteAs::Internal => 65_001,
        RemoteAs::Exact(_) | RemoteAs::External => 65_002,
    };
    config.peers.push(neighbour);
    let mut speaker = Speaker::new(Time(0), config);
    let info = crate::net::call(1, 0);
    let conn = speaker.accepted(Time(0), info).unwrap();
    let mut bytes = Vec::new();
    Open {
        asn: Asn(asn),
        hold_time: 0,
        router_id: RouterId::from(2),
        capabilities: Capabilities {
            families: vec![(1, 1)],
            as4: Some(Asn(asn)),
            ..Capabilities::default()
        },
    }
    .encode(&mut bytes);
    bytes.extend(keepalive());
    speaker.received(Time(0), conn, &bytes);
    let actions = actions(&mut speaker);
    assert_eq!(state(&speaker), State::Established);
    (speaker, conn, actions)
}

fn actions(speaker: &mut Speaker) -> Vec<Action> {
    std::iter::from_fn(|| speaker.poll_action()).collect()
}

fn state(speaker: &Speaker) -> State {
    speaker.peer_views(Time(0))[0].state
}

#[test]
fn a_session_is_watched_while_it_is_up_where_that_is_wanted() {
    let (mut speaker, conn, asked) = up(|_| {});
    let start = Action::BfdStart {
        conn,
        remote: address(1),
        local: address(0),
        link: Some("eth0".into()),
        timers: TIMERS,
    };
    assert_eq!(asked, [start]);
    let bfd = |speaker: &Speaker| speaker.peer_views(Time(0))[0].bfd;
    assert_eq!(bfd(&speaker), Some(BfdState::Down));
    speaker.bfd(Time(0), conn, BfdReport::State(BfdState::Up));
    assert_eq!(bfd(&speaker), Some(BfdState::Up));
    speaker.reset(Time(0), "s1", None);
    let after = actions(&mut speaker);
    assert!(after.contains(&Action::BfdStop { conn }), "{after:?}");
    assert_eq!(bfd(&speaker), None);
    // What was on its way is about nobody.
    speaker.bfd(Time(0), conn, BfdReport::Failed);

    let (_, _, asked) = up(|peer| peer.bfd = None);
    assert_eq!(asked, []);
}

/// RFC 5882, 4.2 and 10.2; RFC 9384.
#[test]
fn a_broken_way_ends_the_session_with_bfd_down_and_lets_the_neighbour_in_when_it_is_back() {
    let (mut speaker, conn, _) = up(|_| {});
    speaker.bfd(Time(0), conn, BfdReport::State(BfdState::Up));
    speaker.bfd(Time(0), conn, BfdReport::Failed);
    let view = &speaker.peer_views(Time(0))[0];
    let code = view.last_error_code.unwrap();
    assert_eq!((code.sent, code.code, code.subcode), (true, 6, 10));
    assert_eq!((view.state, view.held_back_seconds), (State::Active, None));
}

/// RFC 5882, 4.1 and 4.2: a neighbour need not have BFD, or may have it switched off.
#[test]
fn bfd_that_is_down_off_or_in_trouble_ends_nothing() {
    let (mut speaker, conn, _) = up(|_| {});
    for state in [BfdState::Down, BfdState::Init, BfdState::AdminDown] {
        speaker.bfd(Time(0), conn, BfdReport::State(state));
        assert_eq!(self::state(&speaker), State::Established, "{state:?}");
    }
    let trouble = BfdReport::Trouble("the port is taken".to_owned());
    speaker.bfd(Time(0), conn, trouble);
    let view = &speaker.peer_views(Time(0))[0];
    assert_eq!((view.state, view.bfd), (State::Established, None));
    assert!(view.warnings[0].contains("the port is taken"));
    speaker.bfd(Time(0), conn, BfdReport::Healed);
    let view = &speaker.peer_views(Time(0))[0];
    assert_eq!(view.bfd, Some(BfdState::AdminDown), "as it was");
    assert!(view.warnings.is_empty());
}

#[test]
fn bfd_is_switched_on_and_off_without_a_word_to_the_neighbour() {
    let (mut speaker, conn, _) = up(|_| {});
    let mut config = speaker.config().clone();
    config.peers[0].bfd = None;
    speaker.reconfigure(Time(0), config.clone());
    assert_eq!(actions(&mut speaker), [Action::BfdStop { conn }]);
    config.peers[0].bfd = Some(TIMERS);
    speaker.reconfigure(Time(0), config.clone());
    let asked = actions(&mut speaker);
    assert!(matches!(asked[..], [Action::BfdStart { .. }]), "{asked:?}");
    // Another pace is no other session.
    speaker.bfd(Time(0), conn, BfdReport::State(BfdState::Up));
    let timers = BfdTimers {
        multiplier: 5,
        ..TIMERS
    };
    config.peers[0].bfd = Some(timers);
    speaker.reconfigure(Time(0), config);
    let asked = actions(&mut speaker);
    assert_eq!(asked, [Action::BfdTimers { conn, timers }]);
    assert_eq!(speaker.peer_views(Time(0))[0].bfd, Some(BfdState::Up));
    assert_eq!(state(&speaker), State::Established);
}

#[test]
fn an_interface_that_goes_down_takes_the_external_sessions_on_its_link_along() {
    type Change = fn(&mut PeerConfig);
    let cases: [(&str, Change, &str, bool); 5] = [
        ("one hop", |_| {}, "eth0", true),
        ("another interface", |_| {}, "eth1", false),
        (
            "TTL security",
            |peer| peer.ttl_security = true,
            "eth0",
            true,
        ),
        ("several hops", |peer| peer.ttl = Some(8), "eth0", false),
        (
            "internal",
            |peer| peer.remote_as = RemoteAs::Internal,
            "eth0",
            false,
        ),
    ];
    for (what, change, interface, lost) in cases {
        let (mut speaker, _, _) = up(change);
        speaker.link_down(Time(0), interface);
        assert_eq!(state(&speaker) != State::Established, lost, "{what}");
        let why = speaker.peer_views(Time(0))[0].last_error.clone();
        let named = why.is_some_and(|why| why.contains("eth0 is down"));
        assert_eq!(named, lost, "{what}");
    }
}
