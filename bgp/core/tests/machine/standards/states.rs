//! NOTIFICATION in every state in which there is a connection (RFC 4271, 8.2.2, events 24 and 25).

use std::time::Duration;

use wayleave_bgp_core::{
    view::{RibKind, State},
    wire::keepalive,
};

use super::stage::{NOTIFICATION, Stage, announce, mandatory, message};

/// A speaker whose neighbour 1 has come to this state over a connection that we opened or it did.
fn stage_in(state: State, ours: bool) -> Stage {
    let mut stage = Stage::new(&[65_002], |_, peer| {
        peer.passive = !ours;
        if matches!(state, State::Connect | State::Active) {
            // There is a connection in these states only while our OPEN waits.
            peer.delay_open = Duration::from_secs(30);
        }
    });
    if ours {
        stage.answer(1);
    } else {
        assert!(stage.call(1));
    }
    if state >= State::OpenConfirm {
        let open = stage.open(1);
        stage.say(1, &open);
    }
    if state == State::Established {
        stage.say(1, &keepalive());
        stage.say(1, &announce(10, &mandatory(1, &[65_002])));
        assert_eq!(stage.routes(RibKind::In, 1).len(), 1);
    }
    stage.hear(1);
    assert_eq!(stage.view(1).state, state);
    stage
}

/// RFC 4271, 8.2.2: in every state a NOTIFICATION drops the connection and leads to Idle. 6.4: if there
/// is an error in it, "the receiver cannot use a NOTIFICATION message to report this error back".
#[test]
fn a_notification_ends_the_connection_in_every_state_and_is_not_answered() {
    for (state, ours) in [
        (State::Connect, true),
        (State::Active, false),
        (State::OpenSent, true),
        (State::OpenSent, false),
        (State::OpenConfirm, true),
        (State::OpenConfirm, false),
        (State::Established, true),
        (State::Established, false),
    ] {
        for body in [
            &[6, 4][..],
            &[2, 1, 0, 4],
            &[4, 0],
            // Codes and subcodes of no standard, and more data than makes sense.
            &[99, 99],
            &[&[6, 2, 255][..], &[0xff; 300]].concat(),
        ] {
            let mut stage = stage_in(state, ours);
            let sent = stage.view(1).sent.notification;
            stage.say(1, &message(NOTIFICATION, body));
            assert!(stage.hear(1).is_empty(), "{state:?} {body:?}");
            let conn = stage.conn(1);
            assert!(stage.speaker.is_closing(conn), "{state:?} {body:?}");
            let view = stage.view(1);
            assert_eq!(view.sent.notification, sent);
            // Whose hold timer ended a session that was up may be back at once: our own deviation.
            let silence = state == State::Established && body == [4, 0];
            let after = if silence { State::Active } else { State::Idle };
            assert_eq!(view.state, after, "{state:?} {body:?}");
            let code = view.last_error_code.unwrap();
            assert_eq!(
                (code.sent, code.code, code.subcode),
                (false, body[0], body[1]),
                "{state:?}"
            );
            assert!(stage.routes(RibKind::In, 1).is_empty());
            // Nothing that comes behind it counts.
            stage.say(1, &keepalive());
            assert_eq!(stage.view(1).state, after);
        }
    }
}

/// After it the neighbour is kept out for a while and then let in (RFC 4271, 8.1.1: IdleHoldTime).
#[test]
fn after_a_notification_a_neighbour_is_let_in_again_when_idle_hold_time_is_over() {
    let mut stage = stage_in(State::Established, false);
    stage.say(1, &message(NOTIFICATION, &[6, 4]));
    stage.hang_up(1);
    assert!(!stage.call(1));
    stage.pass(Duration::from_secs(1));
    stage.establish(1);
    assert_eq!(stage.view(1).established_count, 2);
}

/// A NOTIFICATION too short to be one has no length a NOTIFICATION can have (RFC 4271, 6.1), and that is
/// an error of the header, which is answered.
#[test]
fn a_notification_without_its_codes_is_a_bad_message_length() {
    let mut stage = stage_in(State::Established, false);
    stage.say(1, &message(NOTIFICATION, &[6]));
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode), (1, 2));
    assert_eq!(said.data, [0, 20]);
}
