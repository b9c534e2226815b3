//! Negotiation, Poll Sequences, detection: RFC 5880, 6.5, 6.8.2 to 6.8.4, 6.8.7.

use std::time::Duration;

use wayleave_bfd::{Diagnostic, Packet, State, Time};

use crate::single::{ID, Single, THEIRS, config, ms, timers};

fn gaps(sent: &[(Time, Packet)]) -> Vec<Duration> {
    sent.windows(2)
        .map(|two| two[1].0.since(two[0].0))
        .collect()
}

#[test]
fn nothing_is_sent_faster_than_once_a_second_before_the_session_is_up() {
    let mut s = Single::new();
    assert_eq!(s.packets().len(), 1);
    let sent = s.pass(ms(60_000));
    assert!((60..=81).contains(&sent.len()), "{}", sent.len());
    for gap in gaps(&sent) {
        assert!(gap >= ms(750) && gap <= ms(1_000), "{gap:?}");
    }
    // An interval of more than a second is kept (6.8.3).
    let mut s = Single::with(config(timers(3_000, 50, 3)));
    assert_eq!(s.packets()[0].desired_min_tx, 3_000_000);
}

#[test]
fn the_slower_end_decides_on_the_interval_and_jitter_makes_it_shorter() {
    for (ours, theirs, agreed) in [(50, 50, 50), (50, 80, 80), (100, 30, 100)] {
        let mut s = Single::with(config(timers(ours, 50, 3)));
        s.theirs.required_min_rx = theirs * 1_000;
        let mut s = s.brought_up();
        s.pass_alive(ms(200));
        let sent = s.pass_alive(ms(20_000));
        let agreed = ms(agreed);
        for gap in gaps(&sent) {
            assert!(
                gap >= agreed * 3 / 4 && gap <= agreed,
                "{gap:?} of {agreed:?}"
            );
        }
        let mean = s.now.since(sent[0].0) / u32::try_from(sent.len()).unwrap();
        assert!(
            mean > agreed * 85 / 100 && mean < agreed * 90 / 100,
            "{mean:?}: 12.5 % less"
        );
    }
}

#[test]
fn with_a_multiplier_of_1_an_interval_is_at_most_90_percent() {
    let mut s = Single::with(config(timers(100, 50, 1))).brought_up();
    s.pass_alive(ms(200));
    for gap in gaps(&s.pass_alive(ms(20_000))) {
        assert!(gap >= ms(75) && gap <= ms(90), "{gap:?}");
    }
}

#[test]
fn the_detection_time_is_their_multiplier_times_the_slower_of_their_sending_and_our_receiving() {
    for (rx, their_tx, their_mult, expected) in [
        (50, 50, 3, 150),
        (50, 70, 3, 210),
        (80, 50, 3, 240),
        (50, 50, 7, 350),
    ] {
        let mut s = Single::with(config(timers(50, rx, 9)));
        s.theirs.desired_min_tx = their_tx * 1_000;
        s.theirs.detect_mult = their_mult.try_into().unwrap();
        let mut s = s.brought_up();
        assert_eq!(s.view().detection_time_us, Some(expected * 1_000));
        s.pass(ms(expected) - Duration::from_nanos(1));
        assert_eq!(s.view().state, State::Up);
        s.pass(Duration::from_nanos(1));
        let events = s.events();
        assert_eq!(
            (events[0].state, events[0].diagnostic),
            (State::Down, Diagnostic::TIME_EXPIRED)
        );
        assert!(events[0].path_failed());
        let view = s.view();
        assert_eq!(
            (view.remote_discriminator, view.remote_min_rx_us),
            (0, 1),
            "6.8.1, 6.8.18"
        );
        assert_eq!((view.downs, view.expirations), (1, 1));
    }
}

#[test]
fn init_expires_too_and_that_is_no_failure_of_a_path_that_was_up() {
    let mut s = Single::new();
    s.theirs.desired_min_tx = 1_000_000;
    s.hear(State::Down);
    s.events();
    s.pass(ms(3_000));
    let events = s.events();
    assert_eq!(
        (events[0].previous, events[0].state),
        (State::Init, State::Down)
    );
    assert!(!events[0].path_failed());
}

#[test]
fn a_failed_session_says_so_at_once_and_then_once_a_second() {
    let mut s = Single::up();
    let sent = s.pass(ms(10_000));
    let down: Vec<_> = sent
        .iter()
        .filter(|(_, packet)| packet.state == State::Down)
        .collect();
    assert_eq!(down[0].1.diagnostic, Diagnostic::TIME_EXPIRED);
    // The first names the session it is about; then their discriminator is forgotten (6.8.1).
    assert_eq!(down[0].1.your_discriminator, THEIRS);
    assert!(
        down[1..]
            .iter()
            .all(|(_, packet)| packet.your_discriminator == 0)
    );
    assert!(down[1].0.since(down[0].0) >= ms(750));
    assert!((10..=14).contains(&down.len()));
    let before = sent
        .iter()
        .filter(|(_, packet)| packet.state == State::Up)
        .count();
    assert!(before <= 4, "no longer than the detection time");
}

/// 6.8.3: a longer interval to send at waits for the Final.
#[test]
fn a_slower_sender_sends_fast_until_the_remote_system_has_confirmed() {
    let mut s = Single::up();
    s.bfd.reconfigure(s.now, ID, timers(400, 50, 3));
    let first = s.packets();
    assert!(first[0].poll && first[0].desired_min_tx == 400_000);
    let sent = s.pass_alive(ms(1_000));
    assert!(
        sent.len() >= 19 && sent.iter().all(|(_, packet)| packet.poll),
        "unconfirmed"
    );
    s.confirm();
    let sent = s.pass_alive(ms(4_000));
    assert!(sent.len() <= 14 && sent.iter().all(|(_, packet)| !packet.poll));
}

/// 6.8.3: a faster one does not wait.
#[test]
fn a_faster_sender_is_fast_at_once() {
    let mut s = Single::with(config(timers(800, 50, 3))).brought_up();
    s.bfd.reconfigure(s.now, ID, timers(50, 50, 3));
    assert!(s.packets()[0].poll);
    assert!(s.pass_alive(ms(1_000)).len() >= 19);
}

/// 6.8.3: a shorter detection time waits for the Final, a longer one does not.
#[test]
fn the_detection_time_gets_shorter_only_when_the_remote_system_has_confirmed() {
    let mut s = Single::with(config(timers(50, 500, 3))).brought_up();
    assert_eq!(s.view().detection_time_us, Some(1_500_000));
    s.bfd.reconfigure(s.now, ID, timers(50, 100, 3));
    s.hear(State::Up);
    assert_eq!(s.view().detection_time_us, Some(1_500_000));
    s.confirm();
    assert_eq!(s.view().detection_time_us, Some(300_000));
    s.bfd.reconfigure(s.now, ID, timers(50, 200, 3));
    assert_eq!(s.view().detection_time_us, Some(600_000));
}

/// 6.8.12: no Poll Sequence for the multiplier.
#[test]
fn another_multiplier_is_told_at_once_and_needs_no_poll() {
    let mut s = Single::up();
    s.bfd.reconfigure(s.now, ID, timers(50, 50, 5));
    let sent = s.packets();
    assert_eq!(
        (sent.len(), sent[0].detect_mult.get(), sent[0].poll),
        (1, 5, false)
    );
}

/// 6.8.3: "cannot wait longer than the new interval between the previous packet and the next".
#[test]
fn a_remote_system_that_can_receive_faster_gets_its_next_packet_at_once() {
    let mut s = Single::new();
    s.theirs.required_min_rx = 2_000_000;
    s.theirs.desired_min_tx = 1_000_000;
    let mut s = s.brought_up();
    s.pass(ms(1_000));
    s.packets();
    s.theirs.required_min_rx = 50_000;
    s.hear(State::Up);
    assert!(s.bfd.poll_timeout().unwrap() <= s.now);
    assert_eq!(s.pass(ms(0)).len(), 1);
}

/// 6.8.7 and 6.8.18: zero asks for no periodic packets, and is forgotten after a silence.
#[test]
fn a_remote_system_that_can_receive_nothing_is_sent_nothing_but_answers() {
    let mut s = Single::up();
    s.theirs.required_min_rx = 0;
    s.hear(State::Up);
    assert!(s.pass_alive(ms(5_000)).is_empty());
    s.hear_packet(Packet {
        poll: true,
        ..s.theirs
    });
    assert!(s.packets()[0].final_);
    assert!(s.pass(ms(5_000)).len() >= 4, "sends again at its own rate");
}

#[test]
fn a_packet_that_is_long_overdue_is_sent_once() {
    let mut s = Single::with(config(timers(50, 50, 3)));
    s.theirs.desired_min_tx = 4_000_000;
    let mut s = s.brought_up();
    s.now = s.now + ms(10_000);
    s.bfd.handle_timeout(Time(s.now.0 - 1));
    assert_eq!(s.packets().len(), 1);
}

/// The driver reads its sockets before it lets time pass: a packet that lay there counts.
#[test]
fn what_is_received_before_a_late_timeout_holds_the_session() {
    let mut s = Single::up();
    s.now = s.now + ms(400);
    s.hear(State::Up);
    s.bfd.handle_timeout(s.now);
    assert_eq!(s.view().state, State::Up);
}
