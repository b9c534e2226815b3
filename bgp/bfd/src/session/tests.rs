//! The state table, the Poll Sequence and the jitter by themselves.

use std::num::NonZeroU8;

use super::{poll::Poll, reception::transition, timing};
use crate::{
    packet::{
        Diagnostic,
        State::{self, AdminDown, Down, Init, Up},
    },
    random::Random,
};

/// RFC 5880, 6.2 and 6.8.6: our state by row, the received state by column.
#[test]
fn every_state_meets_every_received_state_as_6_8_6_has_it() {
    let received = [AdminDown, Down, Init, Up];
    let table: [(State, [State; 4]); 4] = [
        (AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown]),
        (Down, [Down, Init, Up, Down]),
        (Init, [Down, Init, Up, Up]),
        (Up, [Down, Down, Up, Up]),
    ];
    for (state, row) in table {
        for (received, expected) in received.into_iter().zip(row) {
            let change = transition(state, received);
            let next = change.map_or(state, |(next, _)| next);
            assert_eq!(next, expected, "{state} receives {received}");
            let why = change.and_then(|(_, why)| why);
            let expected = match (state, next) {
                (Init | Up, Down) => Some(Diagnostic::NEIGHBOR_DOWN),
                (Down | Init, Up) => Some(Diagnostic::NONE),
                _ => None,
            };
            assert_eq!(why, expected, "{state} receives {received}");
        }
    }
}

/// RFC 5880, 6.5: ended by a Final; 6.8.3: another begins only behind a packet without one.
#[test]
fn a_poll_sequence_ends_with_a_final_and_the_next_waits_for_a_packet_without() {
    let mut poll = Poll::default();
    assert!(!poll.is_active() && !poll.is_pending());
    poll.heard(true);
    assert_eq!(poll, Poll::Idle, "a Final nobody asked for");
    poll.request();
    poll.heard(false);
    assert!(poll.is_active());
    poll.heard(true);
    assert!(!poll.is_active() && !poll.is_pending());
    poll.request();
    assert!(
        !poll.is_active() && poll.is_pending(),
        "too early to ask again"
    );
    poll.heard(true);
    assert!(!poll.is_active(), "another Final of the first sequence");
    poll.heard(false);
    assert!(poll.is_active());
    poll.request();
    poll.heard(true);
    assert!(poll.is_pending(), "what changed meanwhile is not confirmed");
    poll.heard(false);
    poll.heard(true);
    poll.heard(false);
    assert_eq!(poll, Poll::Idle);
}

/// RFC 5880, 6.8.7.
#[test]
fn jitter_is_0_to_25_percent_and_at_least_10_with_a_multiplier_of_1() {
    let mut random = Random::new(7);
    for (mult, least) in [(1, 10), (2, 0), (3, 0)] {
        let mult = NonZeroU8::new(mult).unwrap();
        let drawn: Vec<u64> = (0..10_000)
            .map(|_| timing::jitter(mult, &mut random) * 100)
            .collect();
        let (min, max) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!(*min >= least << 16 && *min < (least + 1) << 16);
        assert!(*max <= 25 << 16 && *max > 24 << 16);
    }
}
