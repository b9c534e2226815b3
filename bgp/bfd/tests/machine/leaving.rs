//! Removing a session: RFC 5880, 6.8.16.

use wayleave_bfd::{SessionId, State};

use crate::single::{ID, Single, config, ms, timers};

#[test]
fn a_session_that_is_removed_says_admin_down_until_the_remote_system_has_noticed() {
    let mut s = Single::up();
    let ours = s.view().local_discriminator;
    s.bfd.remove(s.now, ID);
    let sent = s.packets();
    assert_eq!((sent.len(), sent[0].state), (1, State::AdminDown));
    assert!(
        s.events().is_empty() && s.bfd.view(s.now).is_empty(),
        "its client hears no more"
    );
    assert!(s.bfd.knows(ID));
    // A packet that crossed ours.
    s.theirs.your_discriminator = ours;
    let datagram = crate::single::datagram();
    s.theirs.state = State::Up;
    s.bfd
        .received(s.now, &datagram, &s.theirs.encode())
        .unwrap();
    assert!(s.bfd.knows(ID));
    s.theirs.state = State::Down;
    s.bfd
        .received(s.now, &datagram, &s.theirs.encode())
        .unwrap();
    assert!(!s.bfd.knows(ID) && s.bfd.is_empty() && s.bfd.poll_timeout().is_none());
}

#[test]
fn one_that_is_not_answered_goes_after_a_detection_time_at_the_latest() {
    let mut s = Single::up();
    s.theirs.detect_mult = 255.try_into().unwrap();
    s.hear(State::Up);
    s.bfd.remove(s.now, ID);
    let sent = s.pass(ms(2_999));
    assert!(
        s.bfd.knows(ID)
            && sent
                .iter()
                .all(|(_, packet)| packet.state == State::AdminDown)
    );
    s.pass(ms(1));
    assert!(!s.bfd.knows(ID));
    s.bfd.remove(s.now, ID);
}

#[test]
fn one_that_never_came_up_goes_with_its_last_packet() {
    let mut s = Single::new();
    s.bfd.remove(s.now, ID);
    assert!(s.bfd.is_empty());
    assert_eq!(s.packets().last().unwrap().state, State::AdminDown);
}

#[test]
fn a_path_can_be_taken_again_while_its_last_session_leaves() {
    let mut s = Single::up();
    s.bfd.remove(s.now, ID);
    s.packets();
    s.bfd
        .add(s.now, SessionId(2), config(timers(50, 50, 3)))
        .unwrap();
    assert!(!s.bfd.knows(ID));
    let sent = s.pass(ms(5_000));
    assert!(sent.iter().all(|(_, packet)| packet.state == State::Down));
}
