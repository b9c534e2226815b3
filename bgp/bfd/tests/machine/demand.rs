//! A remote system in Demand mode: RFC 5880, 6.6. We never are.

use wayleave_bfd::{Packet, State};

use crate::single::{ID, Single, ms, timers};

fn demanding() -> Single {
    let mut s = Single::up();
    s.theirs.demand = true;
    s.hear(State::Up);
    assert!(s.packets().is_empty());
    s
}

#[test]
fn it_is_sent_no_periodic_packets_while_both_ends_are_up() {
    let mut s = demanding();
    assert!(s.pass_alive(ms(5_000)).is_empty());
    // Its Polls are answered (6.8.7), and our D bit is never set.
    s.hear_packet(Packet {
        poll: true,
        ..s.theirs
    });
    let sent = s.packets();
    assert!(sent[0].final_ && !sent[0].demand);
    // It is over: packets come again, the first at once.
    s.theirs.demand = false;
    s.hear(State::Up);
    assert_eq!(s.pass(ms(0)).len(), 1);
    assert!(s.pass_alive(ms(1_000)).len() >= 19);
}

#[test]
fn what_changes_is_polled_for_until_it_is_confirmed() {
    let mut s = demanding();
    // The multiplier, which needs no Poll Sequence otherwise.
    s.bfd.reconfigure(s.now, ID, timers(50, 50, 4));
    assert!(s.packets()[0].poll);
    let sent = s.pass_alive(ms(1_000));
    assert!(sent.len() >= 19 && sent.iter().all(|(_, packet)| packet.poll));
    s.confirm();
    s.packets();
    assert!(s.pass_alive(ms(1_000)).is_empty());
}

#[test]
fn its_silence_is_still_a_failure_and_the_d_bit_means_nothing_when_not_up() {
    let mut s = demanding();
    s.pass(ms(150));
    assert_eq!(s.view().state, State::Down);
    s.packets();
    s.hear(State::Down);
    s.packets();
    let alive: Vec<_> = (0..10)
        .flat_map(|_| {
            s.hear(State::Down);
            s.pass(ms(100))
        })
        .collect();
    assert!(!alive.is_empty(), "periodic packets in Init");
}
