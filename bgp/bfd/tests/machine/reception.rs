//! What a packet does: RFC 5880, 6.8.6, and administrative control, 6.8.16.

use wayleave_bfd::{Diagnostic, Packet, SessionView, State};

use crate::single::{Single, THEIRS, ms};

#[test]
fn three_packets_bring_a_session_up_and_each_is_answered_at_once() {
    let mut s = Single::new();
    let first = s.packets();
    assert_eq!(first.len(), 1);
    assert_eq!(
        (first[0].state, first[0].your_discriminator),
        (State::Down, 0)
    );
    assert_eq!(
        first[0].desired_min_tx, 1_000_000,
        "6.8.3: slow while not up"
    );
    s.hear(State::Down);
    let second = s.packets();
    assert_eq!(second.len(), 1);
    assert_eq!(
        (second[0].state, second[0].your_discriminator),
        (State::Init, THEIRS)
    );
    s.hear(State::Init);
    let third = s.packets();
    assert_eq!(third.len(), 1);
    assert_eq!(
        (third[0].state, third[0].desired_min_tx),
        (State::Up, 50_000)
    );
    assert!(third[0].poll, "6.8.3: the interval has changed");
    let states: Vec<_> = s.events().iter().map(|e| (e.previous, e.state)).collect();
    assert_eq!(
        states,
        [(State::Down, State::Init), (State::Init, State::Up)]
    );
}

#[test]
fn a_packet_in_the_same_state_changes_nothing_and_is_not_answered() {
    let mut s = Single::up();
    s.hear(State::Up);
    assert!(s.packets().is_empty() && s.events().is_empty());
}

#[test]
fn a_poll_is_answered_at_once_with_a_final_that_is_no_poll() {
    let mut s = Single::up();
    s.hear_packet(Packet {
        poll: true,
        ..s.theirs
    });
    let sent = s.packets();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].final_ && !sent[0].poll);
    // Even with a Poll Sequence of our own under way (6.5: never both bits).
    s.bfd
        .reconfigure(s.now, crate::single::ID, crate::single::timers(70, 50, 3));
    assert!(s.packets()[0].poll);
    s.hear_packet(Packet {
        poll: true,
        ..s.theirs
    });
    let sent = s.packets();
    assert!(sent[0].final_ && !sent[0].poll);
}

#[test]
fn a_final_carries_the_state_that_its_poll_has_led_to() {
    let mut s = Single::new();
    s.hear(State::Down);
    s.packets();
    s.theirs.state = State::Up;
    s.hear_packet(Packet {
        poll: true,
        ..s.theirs
    });
    let sent = s.packets();
    assert_eq!(sent.len(), 1, "what the Final says is not said twice");
    assert_eq!((sent[0].state, sent[0].final_), (State::Up, true));
}

#[test]
fn a_neighbour_that_says_down_takes_the_session_down_with_diagnostic_3() {
    let mut s = Single::up();
    s.hear(State::Down);
    let events = s.events();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].previous, events[0].state),
        (State::Up, State::Down)
    );
    assert_eq!(events[0].diagnostic, Diagnostic::NEIGHBOR_DOWN);
    assert!(events[0].path_failed());
    let sent = s.packets();
    assert_eq!(
        (sent[0].state, sent[0].diagnostic),
        (State::Down, Diagnostic::NEIGHBOR_DOWN)
    );
    // Once down, up only when the remote system has left Up (6.1).
    s.hear(State::Up);
    assert_eq!(s.view().state, State::Down);
}

#[test]
fn a_neighbour_in_admin_down_is_no_failure_of_the_path() {
    let mut s = Single::up();
    s.hear(State::AdminDown);
    let events = s.events();
    assert_eq!(
        (events[0].state, events[0].remote_state),
        (State::Down, State::AdminDown)
    );
    assert_eq!(events[0].diagnostic, Diagnostic::NEIGHBOR_DOWN);
    assert!(
        !events[0].path_failed() && events[0].admin_down(),
        "RFC 5882, 4.2"
    );
    s.hear(State::AdminDown);
    assert!(s.events().is_empty());
    // It leaves AdminDown: its clients are told, though we stay down.
    s.hear(State::Up);
    let events = s.events();
    assert_eq!(
        (events[0].previous, events[0].state),
        (State::Down, State::Down)
    );
    assert!(!events[0].admin_down() && !events[0].path_failed());
    s.hear(State::AdminDown);
    assert!(s.events()[0].admin_down());
    // Silence after AdminDown: we know nothing of it any more.
    s.pass(ms(200));
    let events = s.events();
    assert!(!events[0].admin_down() && !events[0].path_failed());
}

#[test]
fn admin_down_of_ours_is_told_at_once_and_holds_against_everything() {
    let mut s = Single::up();
    s.bfd
        .set_admin_down(s.now, crate::single::ID, Some(Diagnostic::ADMIN_DOWN));
    let sent = s.packets();
    assert_eq!(
        (sent[0].state, sent[0].diagnostic),
        (State::AdminDown, Diagnostic::ADMIN_DOWN)
    );
    assert_eq!(sent[0].desired_min_tx, 1_000_000);
    let events = s.events();
    assert!(events[0].admin_down() && !events[0].path_failed());
    for state in [State::AdminDown, State::Down, State::Init, State::Up] {
        s.theirs.poll = true;
        s.hear(state);
        assert_eq!(s.view().state, State::AdminDown);
        assert!(
            s.packets().iter().all(|packet| !packet.final_),
            "discarded before its Poll"
        );
    }
    s.theirs.poll = false;
    // It goes on being told (6.8.16), and no silence changes it.
    assert!(s.pass(ms(5_000)).len() >= 4);
    assert_eq!(s.view().state, State::AdminDown);
    s.bfd.set_admin_down(s.now, crate::single::ID, None);
    assert_eq!(s.view().state, State::Down);
    s.hear(State::Down);
    s.hear(State::Init);
    assert_eq!(s.view().state, State::Up);
}

#[test]
fn a_passive_system_sends_nothing_before_it_has_heard_something() {
    let mut config = crate::single::config(crate::single::timers(50, 50, 3));
    config.role = wayleave_bfd::Role::Passive;
    let mut s = Single::with(config);
    assert!(s.packets().is_empty());
    assert!(s.pass(ms(10_000)).is_empty());
    s.hear(State::Down);
    assert_eq!(s.packets()[0].state, State::Init);
    // Nothing more is heard: its discriminator is forgotten (6.8.1), and it is quiet again.
    s.pass(ms(3_000));
    assert_eq!(s.view().remote_discriminator, 0);
    assert!(s.pass(ms(10_000)).is_empty());
}

#[test]
fn the_diagnostic_says_why_it_is_down_until_it_is_up() {
    let mut s = Single::up();
    s.pass(ms(150));
    assert_eq!(s.view().diagnostic, "Control Detection Time Expired");
    s.hear(State::Down);
    assert_eq!(
        (s.view().state, s.view().diagnostic.as_str()),
        (State::Init, "Control Detection Time Expired")
    );
    s.hear(State::Init);
    assert_eq!(s.view().diagnostic, "No Diagnostic");
}

/// What people and programs read: names and units.
#[test]
fn a_session_shows_what_6_8_1_keeps_as_json_too() {
    let s = Single::up();
    let view = s.view();
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["remote"], "10.0.0.2");
    assert_eq!(
        (&json["state"], &json["remote_state"]),
        (&"Up".into(), &"Up".into())
    );
    assert_eq!(json["remote_discriminator"], THEIRS);
    assert_eq!(json["transmit_interval_us"], 50_000);
    assert_eq!(json["detection_time_us"], 150_000);
    assert_eq!(serde_json::from_value::<SessionView>(json).unwrap(), view);
}
