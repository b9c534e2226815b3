//! The transition table of RFC 4271, 8.2.2: every state, every event that can happen in it.

use std::time::Duration;

use super::*;
use crate::{
    config::RemoteAs,
    types::{Asn, RouterId},
    wire::OpenError,
};

const NOW: Time = Time(1_000_000_000);

fn identity(n: u32, asn: u32) -> Identity {
    Identity {
        asn: Asn(asn),
        router_id: RouterId::from(n),
    }
}

fn config(passive: bool) -> PeerConfig {
    let remote_as = RemoteAs::Exact(Asn(65_002));
    let mut config = PeerConfig::new("p", [192, 0, 2, 2].into(), remote_as);
    config.passive = passive;
    config.hold_time = 9;
    config
}

fn session(passive: bool) -> Session {
    Session::new(config(passive), identity(5, 65_001), 1)
}

/// An OPEN of the peer; `id` above or below ours, which is 5.
fn open(id: u32, asn: u32, hold_time: u16) -> Vec<u8> {
    let mut peer = config(false);
    peer.hold_time = hold_time;
    let mut bytes = Vec::new();
    our_open(identity(id, asn), &peer, OurRestart::default(), false).encode(&mut bytes);
    bytes.split_off(19)
}

fn words(fx: &mut Effects) -> Vec<String> {
    let word = |effect: Effect| match effect {
        Effect::Connect(_) => "connect".to_owned(),
        Effect::Taken(_) => "taken".to_owned(),
        Effect::Send(..) => "open".to_owned(),
        Effect::Keepalive(_) => "keepalive".to_owned(),
        Effect::Close(_, None) => "close".to_owned(),
        Effect::Close(_, Some(why)) => format!("close {}/{}", why.code, why.subcode),
        Effect::Up(..) => "up".to_owned(),
        Effect::Down(_, None) => "down".to_owned(),
        Effect::Down(_, Some(_)) => "down for a restart".to_owned(),
    };
    fx.list.drain(..).map(word).collect()
}

/// A session in `state` over a connection we opened (a passive one is in Active), with what it
/// has asked for so far forgotten.
fn in_state(state: State) -> (Session, Effects, ConnId) {
    let mut session = session(state == State::Active);
    let mut fx = Effects::default();
    if state != State::Idle {
        session.start(NOW, &mut fx);
    }
    let conn = session.links.first().map_or(ConnId(0), |link| link.conn);
    if state >= State::OpenSent {
        session.connected(NOW, conn, &mut fx);
    }
    if state >= State::OpenConfirm {
        session.message(NOW, conn, MessageKind::Open, &open(9, 65_002, 9), &mut fx);
    }
    if state >= State::Established {
        session.message(NOW, conn, MessageKind::Keepalive, &[], &mut fx);
    }
    assert_eq!(session.state(), state);
    fx.list.clear();
    (session, fx, conn)
}

const STATES: [State; 6] = [
    State::Idle,
    State::Connect,
    State::Active,
    State::OpenSent,
    State::OpenConfirm,
    State::Established,
];

type Event = fn(&mut Session, ConnId, &mut Effects);

/// Runs `event` in every state and compares what is done and where it leads.
fn table(event: Event, expected: [(&str, State); 6]) {
    for (state, (effects, after)) in STATES.into_iter().zip(expected) {
        let (mut session, mut fx, conn) = in_state(state);
        event(&mut session, conn, &mut fx);
        assert_eq!(words(&mut fx).join(", "), effects, "in {state:?}");
        assert_eq!(session.state(), after, "after {state:?}");
    }
}

use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

#[test]
fn event_1_manual_start_begins_only_from_idle() {
    table(
        |session, _, fx| session.start(NOW, fx),
        [
            ("connect", Connect),
            ("", Connect),
            ("", Active),
            ("", OpenSent),
            ("", OpenConfirm),
            ("", Established),
        ],
    );
}

#[test]
fn event_2_manual_stop_ends_in_idle_with_a_cease_where_an_open_was_sent() {
    table(
        |session, _, fx| {
            let why = Notification::cease(Cease::AdministrativeShutdown, None);
            session.stop(NOW, &why, fx);
        },
        [
            ("", Idle),
            ("close", Idle),
            ("", Idle),
            ("close 6/2", Idle),
            ("close 6/2", Idle),
            ("down, close 6/2", Idle),
        ],
    );
}

#[test]
fn event_17_an_incoming_connection_is_refused_in_idle_and_taken_elsewhere() {
    table(
        |session, _, fx| {
            session.accepted(NOW, fx);
        },
        [
            ("", Idle),
            ("open", OpenSent),
            ("open", OpenSent),
            ("open", OpenSent),
            ("open", OpenConfirm),
            ("open", Established),
        ],
    );
}

#[test]
fn event_18_a_connection_that_fails_leads_to_active_and_a_retry() {
    table(
        |session, conn, fx| session.closed(NOW, conn, "reset", fx),
        [
            ("", Idle),
            ("close", Active),
            ("", Active),
            ("close", Active),
            ("close", Active),
            ("down, close", Active),
        ],
    );
}

#[test]
fn event_19_an_open_is_answered_in_open_sent_and_a_fault_elsewhere() {
    table(
        |session, conn, fx| {
            session.message(NOW, conn, MessageKind::Open, &open(9, 65_002, 9), fx);
        },
        [
            ("", Idle),
            ("close 5/0", Idle),
            ("", Active),
            ("keepalive", OpenConfirm),
            ("close 5/2", Idle),
            ("down, close 5/3", Idle),
        ],
    );
}

#[test]
fn events_24_and_25_a_notification_ends_in_idle_without_an_answer() {
    table(
        |session, conn, fx| session.message(NOW, conn, MessageKind::Notification, &[6, 4], fx),
        [
            ("", Idle),
            ("close", Idle),
            ("", Active),
            ("close", Idle),
            ("close", Idle),
            ("down, close", Idle),
        ],
    );
}

#[test]
fn event_26_a_keepalive_establishes_what_was_confirmed() {
    table(
        |session, conn, fx| session.message(NOW, conn, MessageKind::Keepalive, &[], fx),
        [
            ("", Idle),
            ("close 5/0", Idle),
            ("", Active),
            ("close 5/1", Idle),
            ("up", Established),
            ("", Established),
        ],
    );
}

#[test]
fn event_27_an_update_before_established_is_a_fault_of_the_state_machine() {
    for (state, subcode) in [(OpenSent, 1), (OpenConfirm, 2)] {
        let (mut session, mut fx, conn) = in_state(state);
        session.message(NOW, conn, MessageKind::Update, &[0; 4], &mut fx);
        assert_eq!(words(&mut fx), [format!("close 5/{subcode}")]);
        assert_eq!(session.state(), Idle);
    }
}

#[test]
fn event_10_the_hold_timer_ends_a_session_with_notification_4() {
    for (state, wait) in [(OpenSent, 60), (OpenConfirm, 9), (Established, 9)] {
        let (mut session, mut fx, _) = in_state(state);
        session.timeout(NOW + Duration::from_millis(wait * 1_000 - 1), &mut fx);
        words(&mut fx);
        assert_eq!(session.state(), state, "not before its time");
        session.timeout(NOW + Duration::from_secs(wait), &mut fx);
        let done = words(&mut fx);
        assert!(
            done.contains(&"close 4/0".to_owned()),
            "in {state:?}: {done:?}"
        );
        assert_eq!(done.contains(&"down".to_owned()), state == Established);
        // Who was up and fell silent is let in when it is back.
        let after = if state == Established { Active } else { Idle };
        assert_eq!(session.state(), after);
    }
}

#[test]
fn event_11_keepalives_go_out_at_a_third_of_the_hold_time_at_the_latest() {
    let (mut session, mut fx, conn) = in_state(Established);
    let (mut now, mut sent) = (NOW, 0);
    while now < NOW + Duration::from_secs(90) {
        let (due, _) = session.deadline().expect("an open session has timers");
        assert!(due > now && due.since(now) <= Duration::from_secs(3));
        now = due;
        session.heard(now, conn);
        session.timeout(now, &mut fx);
        sent += words(&mut fx)
            .iter()
            .filter(|word| *word == "keepalive")
            .count();
    }
    assert!((30..=45).contains(&sent), "{sent}");
    assert_eq!(session.state(), Established);
}

/// RFC 9687: the peer says that it lives, and takes nothing.
#[test]
fn event_29_the_send_hold_timer_ends_a_session_whose_transport_takes_nothing_with_notification_8() {
    for (configured, taken_until, expected) in [
        // The configured time, counted from what was taken last.
        (60, 0, Some(60)),
        (60, 30, Some(90)),
        // Never less than twice the hold time, which is 9 s.
        (10, 0, Some(18)),
        // What is taken all the time ends nothing.
        (60, 600, None),
    ] {
        let (mut session, mut fx, conn) = in_state(Established);
        session.config.send_hold_time = Duration::from_secs(configured);
        let mut ended = None;
        for second in 1..=600 {
            let now = NOW + Duration::from_secs(second);
            session.heard(now, conn);
            if second <= taken_until {
                session.wrote(now, conn);
            }
            let due = session.deadline().map(|(due, _)| due);
            session.timeout(now, &mut fx);
            let done = words(&mut fx);
            if session.state() != Established {
                assert!(done.contains(&"close 8/0".to_owned()), "{done:?}");
                assert!(
                    due.is_some_and(|due| due <= now),
                    "a timer was set for this"
                );
                ended = Some(second);
                break;
            }
        }
        assert_eq!(
            ended, expected,
            "{configured} s, taken until {taken_until} s"
        );
    }
}

#[test]
fn event_9_the_connect_retry_timer_tries_again_and_gives_the_old_try_up() {
    let (mut session, mut fx, _) = in_state(Connect);
    session.timeout(NOW + Duration::from_secs(5), &mut fx);
    assert_eq!(words(&mut fx), ["close", "connect"]);
    assert_eq!(session.state(), Connect);
}

#[test]
fn idle_hold_time_doubles_with_every_fault_up_to_two_minutes_and_refuses_connections_meanwhile() {
    let (mut session, mut fx, _) = in_state(Idle);
    session.start(NOW, &mut fx);
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..9 {
        let conn = session.links[0].conn;
        session.connected(now, conn, &mut fx);
        session.message(now, conn, MessageKind::Notification, &[6, 5], &mut fx);
        assert_eq!(session.accepted(now, &mut fx), None);
        let (due, timer) = session.deadline().expect("it comes back");
        assert_eq!(timer, "IdleHoldTimer");
        waits.push(due.since(now).as_secs_f64());
        now = due;
        session.timeout(now, &mut fx);
        assert_eq!(session.state(), Connect);
    }
    for (n, wait) in waits.iter().enumerate() {
        let full = f64::from(1 << n.min(7)).min(120.0);
        assert!((full * 0.74..=full).contains(wait), "{waits:?}");
    }
}

#[test]
fn of_two_connections_the_one_opened_by_the_higher_identifier_lives() {
    // Ours is 5. The other connection may be in OpenSent or OpenConfirm when the OPEN comes.
    for (peer_id, ours_lives) in [(4, true), (9, false)] {
        for ours_first in [true, false] {
            let (mut session, mut fx, ours) = in_state(OpenSent);
            let theirs = session.accepted(NOW, &mut fx).expect("not idle");
            words(&mut fx);
            let order = if ours_first {
                [ours, theirs]
            } else {
                [theirs, ours]
            };
            for conn in order {
                let body = open(peer_id, 65_002, 9);
                session.message(NOW, conn, MessageKind::Open, &body, &mut fx);
            }
            let done = words(&mut fx);
            assert_eq!(
                done.iter().filter(|word| *word == "close 6/7").count(),
                1,
                "{done:?}"
            );
            let left: Vec<ConnId> = session.links.iter().map(|link| link.conn).collect();
            assert_eq!(left, [if ours_lives { ours } else { theirs }]);
        }
    }
}

/// What the peer says on the favoured connection is lost on the way, and nothing ends it: TTL
/// security at one end only does that.
#[test]
fn a_connection_on_which_the_peer_is_silent_does_not_win_over_one_on_which_it_speaks() {
    for (age, silent_wins) in [(2_900, true), (3_000, false)] {
        let (mut session, mut fx, ours) = in_state(OpenSent);
        let now = NOW + Duration::from_millis(age);
        let theirs = session.accepted(now, &mut fx).expect("not idle");
        words(&mut fx);
        // Ours is favoured: our identifier is 5.
        session.message(now, theirs, MessageKind::Open, &open(4, 65_002, 9), &mut fx);
        let left: Vec<ConnId> = session.links.iter().map(|link| link.conn).collect();
        assert_eq!(left, [if silent_wins { ours } else { theirs }], "{age} ms");
    }
}

#[test]
fn a_second_connection_beside_an_established_session_is_closed_whoever_is_higher() {
    let (mut session, mut fx, conn) = in_state(Established);
    let second = session
        .accepted(NOW, &mut fx)
        .expect("taken to be judged by its OPEN");
    session.message(NOW, second, MessageKind::Open, &open(9, 65_002, 9), &mut fx);
    assert_eq!(words(&mut fx), ["open", "close 6/7"]);
    assert_eq!(session.established().map(|(conn, _)| conn), Some(conn));
}

#[test]
fn the_smaller_hold_time_is_taken_and_zero_means_none() {
    for (theirs, agreed) in [(3, 3), (9, 9), (240, 9), (0, 0)] {
        let (mut session, mut fx, conn) = in_state(OpenSent);
        session.message(
            NOW,
            conn,
            MessageKind::Open,
            &open(9, 65_002, theirs),
            &mut fx,
        );
        session.message(NOW, conn, MessageKind::Keepalive, &[], &mut fx);
        let (_, negotiated) = session.established().expect("it is up");
        assert_eq!(negotiated.hold_time, agreed);
        assert_eq!(session.deadline().is_none(), agreed == 0);
    }
}

#[test]
fn an_open_that_cannot_be_accepted_is_answered_with_its_subcode() {
    let wrong_as = open(9, 65_003, 9);
    let hold_of_one = open(9, 65_002, 1);
    let zero_id = open(0, 65_002, 9);
    let mut version_3 = open(9, 65_002, 9);
    version_3[0] = 3;
    for (body, error) in [
        (wrong_as, OpenError::BadPeerAs),
        (hold_of_one, OpenError::UnacceptableHoldTime),
        (zero_id, OpenError::BadIdentifier),
        (version_3, OpenError::UnsupportedVersion),
    ] {
        let (mut session, mut fx, conn) = in_state(OpenSent);
        session.message(NOW, conn, MessageKind::Open, &body, &mut fx);
        assert_eq!(words(&mut fx), [format!("close 2/{}", error as u8)]);
        assert_eq!(session.state(), Idle);
    }
}

/// DelayOpen (RFC 4271, 8.1.1): a session over a connection of ours on which nothing was said.
fn delayed() -> (Session, Effects, ConnId) {
    let mut session = session(false);
    session.config.delay_open = Duration::from_secs(3);
    let mut fx = Effects::default();
    session.start(NOW, &mut fx);
    let conn = session.links[0].conn;
    session.connected(NOW, conn, &mut fx);
    assert_eq!(words(&mut fx), ["connect"]);
    assert_eq!(session.state(), Connect);
    (session, fx, conn)
}

#[test]
fn event_12_the_delay_open_timer_sends_the_open_when_the_peer_has_not_spoken() {
    let (mut session, mut fx, _) = delayed();
    assert_eq!(
        session.deadline(),
        Some((NOW + Duration::from_secs(3), "DelayOpenTimer"))
    );
    session.timeout(NOW + Duration::from_millis(2_999), &mut fx);
    assert!(words(&mut fx).is_empty());
    session.timeout(NOW + Duration::from_secs(3), &mut fx);
    assert_eq!(words(&mut fx), ["open"]);
    assert_eq!(session.state(), OpenSent);
}

#[test]
fn event_20_an_open_while_ours_is_delayed_is_answered_with_ours_and_a_keepalive() {
    let (mut session, mut fx, conn) = delayed();
    session.message(NOW, conn, MessageKind::Open, &open(9, 65_002, 9), &mut fx);
    assert_eq!(words(&mut fx), ["open", "keepalive"]);
    assert_eq!(session.state(), OpenConfirm);
    let due = session.deadline().map(|(_, timer)| timer);
    assert_eq!(due, Some("KeepaliveTimer"), "the delay is over");
    session.message(NOW, conn, MessageKind::Keepalive, &[], &mut fx);
    assert_eq!(session.state(), Established);
}

#[test]
fn while_its_open_is_delayed_a_connection_of_the_peer_leaves_the_state_active() {
    let mut session = session(true);
    session.config.delay_open = Duration::from_secs(3);
    let mut fx = Effects::default();
    session.start(NOW, &mut fx);
    let conn = session.accepted(NOW, &mut fx).expect("active");
    assert_eq!(words(&mut fx), ["taken"]);
    assert_eq!(session.state(), Active);
    // Event 18: it ends, and nothing is held against the peer.
    session.closed(NOW, conn, "reset", &mut fx);
    assert_eq!(words(&mut fx), ["close"]);
    assert_eq!((session.state(), session.failures()), (Active, 0));
    assert!(session.accepted(NOW, &mut fx).is_some());
}

#[test]
fn event_24_a_version_error_while_the_open_is_delayed_ends_in_idle_and_counts_nothing() {
    let (mut session, mut fx, conn) = delayed();
    session.message(NOW, conn, MessageKind::Notification, &[2, 1, 0, 3], &mut fx);
    assert_eq!(words(&mut fx), ["close"]);
    assert_eq!((session.state(), session.failures()), (Idle, 0));
    // With the timer not running it does (event 25 in the table above, and 24 in OpenSent).
    let (mut session, mut fx, conn) = in_state(OpenSent);
    session.message(NOW, conn, MessageKind::Notification, &[2, 1, 0, 3], &mut fx);
    assert_eq!((session.state(), session.failures()), (Idle, 1));
}

#[test]
fn events_21_22_and_28_a_faulty_message_is_answered_and_ends_in_idle() {
    // Header, OPEN and UPDATE errors come as faults from where they are found.
    table(
        |session, conn, fx| {
            let why = Notification::open_error(OpenError::Unspecific);
            session.fault(NOW, conn, why, fx);
        },
        [
            ("", Idle),
            ("close 2/0", Idle),
            ("", Active),
            ("close 2/0", Idle),
            ("close 2/0", Idle),
            ("down, close 2/0", Idle),
        ],
    );
}

/// RFC 6608, 4: what came, in the state it came in.
#[test]
fn an_unexpected_message_is_answered_with_the_state_and_its_type() {
    use MessageKind::{Keepalive, Open, RouteRefresh, Update};
    for (state, subcode, kinds) in [
        (OpenSent, 1, &[Update, Keepalive, RouteRefresh][..]),
        (OpenConfirm, 2, &[Open, Update, RouteRefresh][..]),
        (Established, 3, &[Open][..]),
    ] {
        for &kind in kinds {
            let (mut session, mut fx, conn) = in_state(state);
            session.message(NOW, conn, kind, &[0; 4], &mut fx);
            let Some(Effect::Close(_, Some(said))) = fx.list.pop() else {
                panic!("it is closed with a reason");
            };
            assert_eq!(
                (said.code, said.subcode, said.data),
                (5, subcode, vec![kind as u8])
            );
        }
    }
}

/// One session that comes up and is ended by the transport `lasted` after.
fn come_and_go(session: &mut Session, now: &mut Time, lasted: Duration, fx: &mut Effects) {
    while session.links.is_empty() {
        *now = session.deadline().expect("it comes back").0;
        session.timeout(*now, fx);
    }
    let conn = session.links[0].conn;
    session.connected(*now, conn, fx);
    session.message(*now, conn, MessageKind::Open, &open(9, 65_002, 0), fx);
    session.message(*now, conn, MessageKind::Keepalive, &[], fx);
    assert_eq!(session.state(), Established);
    *now = *now + lasted;
    session.closed(*now, conn, "reset", fx);
    fx.list.clear();
}

/// DampPeerOscillations (RFC 4271, 8.1.1).
#[test]
fn sessions_that_come_and_go_are_forgiven_twice_and_then_held_back() {
    let (mut session, mut fx, mut now) = (session(false), Effects::default(), NOW);
    session.start(now, &mut fx);
    let mut sessions = 0;
    while now.since(NOW) < Duration::from_secs(300) {
        come_and_go(&mut session, &mut now, Duration::ZERO, &mut fx);
        sessions += 1;
        let held = session.held_back().is_some();
        assert_eq!(held, sessions > 2, "after {sessions}");
        assert!(!held || session.accepted(now, &mut fx).is_none());
    }
    // 0.2, 0.2, then 1, 2, 4 to 120 seconds.
    assert!((9..=12).contains(&sessions), "{sessions} in five minutes");
    // One that lasts is the end of it.
    come_and_go(&mut session, &mut now, Duration::from_secs(60), &mut fx);
    assert_eq!((session.state(), session.failures()), (Active, 0));
    come_and_go(&mut session, &mut now, Duration::ZERO, &mut fx);
    assert_eq!((session.state(), session.failures()), (Active, 1));
}

#[test]
fn a_neighbour_in_the_wrong_as_that_calls_while_we_do_is_held_back_and_named() {
    let (mut session, mut fx, _) = in_state(Connect);
    let theirs = session.accepted(NOW, &mut fx).expect("not idle");
    session.message(NOW, theirs, MessageKind::Open, &open(9, 65_003, 9), &mut fx);
    assert_eq!(words(&mut fx), ["open", "close 2/2", "close"]);
    assert_eq!(session.state(), Idle, "our attempt is given up");
    let (why, at) = session.last_error().expect("it is said");
    assert!(why.contains("Bad Peer AS") && at == Some(NOW), "{why}");
    assert_eq!(session.accepted(NOW, &mut fx), None);
}

#[test]
fn a_lost_collision_is_nobodys_fault_but_a_session_that_is_ended_so_was_lost() {
    for (state, idle) in [(OpenSent, false), (OpenConfirm, false), (Established, true)] {
        let (mut session, mut fx, conn) = in_state(state);
        session.message(NOW, conn, MessageKind::Notification, &[6, 7], &mut fx);
        assert_eq!(session.state() == Idle, idle, "{state:?}");
        assert_eq!(session.last_error().is_some(), idle);
    }
}

#[test]
fn the_open_of_a_connection_that_lost_says_nothing_about_the_session() {
    let (mut session, mut fx, _) = in_state(Established);
    session.config.remote_as = RemoteAs::External;
    let second = session.accepted(NOW, &mut fx).expect("judged by its OPEN");
    session.message(
        NOW,
        second,
        MessageKind::Open,
        &open(77, 65_009, 9),
        &mut fx,
    );
    let open = session.last_open().expect("there is a session");
    assert_eq!((open.asn, open.router_id), (Asn(65_002), RouterId::from(9)));
}

#[test]
fn keepalives_are_a_second_apart_at_least() {
    let (mut session, mut fx, conn) = in_state(OpenSent);
    session.message(NOW, conn, MessageKind::Open, &open(9, 65_002, 3), &mut fx);
    session.message(NOW, conn, MessageKind::Keepalive, &[], &mut fx);
    let mut now = NOW;
    for _ in 0..100 {
        let (due, timer) = session.deadline().expect("the session has timers");
        assert_eq!(timer, "KeepaliveTimer");
        assert!(due.since(now) >= Duration::from_secs(1));
        now = due;
        session.heard(now, conn);
        session.timeout(now, &mut fx);
    }
}

/// RFC 5492, 3 and 5.
#[test]
fn a_peer_that_knows_no_capabilities_gets_an_open_without_and_one_with_none_of_ours_a_list() {
    let (mut session, mut fx, conn) = in_state(OpenSent);
    session.message(NOW, conn, MessageKind::Notification, &[2, 4], &mut fx);
    let (due, _) = session.deadline().expect("it comes back");
    session.timeout(due, &mut fx);
    let conn = session.links[0].conn;
    fx.list.clear();
    session.connected(due, conn, &mut fx);
    let Some(Effect::Send(_, bytes)) = fx.list.pop() else {
        panic!("an OPEN goes out");
    };
    assert_eq!(bytes.len(), 29, "no optional parameter");
    session.message(due, conn, MessageKind::Open, &open(9, 65_002, 9), &mut fx);
    session.message(due, conn, MessageKind::Keepalive, &[], &mut fx);
    let (_, negotiated) = session.established().expect("it is up");
    assert_eq!(
        (negotiated.families, negotiated.as4),
        ([true, false], false)
    );

    let mut session = self::session(false);
    session.config.families = vec![crate::types::Family::Ipv6Unicast];
    let mut fx = Effects::default();
    session.start(NOW, &mut fx);
    let conn = session.links[0].conn;
    session.connected(NOW, conn, &mut fx);
    fx.list.clear();
    let mut peer = config(false);
    peer.families = vec![crate::types::Family::Ipv4Unicast];
    let mut bytes = Vec::new();
    our_open(identity(9, 65_002), &peer, OurRestart::default(), false).encode(&mut bytes);
    session.message(NOW, conn, MessageKind::Open, &bytes[19..], &mut fx);
    let Some(Effect::Close(_, Some(said))) = fx.list.pop() else {
        panic!("it is refused");
    };
    assert_eq!((said.code, said.subcode), (2, 7));
    assert_eq!(said.data, [1, 4, 0, 2, 0, 1]);
    assert!(session.held_back().expect("not again soon").since(NOW) >= Duration::from_secs(90));
}
