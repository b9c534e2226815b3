//! Two machines over a bad link, many times over. Every failure names its seed.

use std::time::Duration;

use proptest::prelude::*;
use wayleave_bfd::{Bfd, Datagram, Diagnostic, SessionId, State, Time, Timers};

use crate::{
    link::{Dice, FAIR, Pair, Weather},
    single::{ID, config, datagram, ms, timers},
};

/// How many histories; `WAYLEAVE_SEEDS` sets another number.
fn seeds() -> std::ops::Range<u64> {
    let many = std::env::var("WAYLEAVE_SEEDS").ok();
    0..many.and_then(|many| many.parse().ok()).unwrap_or(200)
}

fn some_timers(dice: &mut Dice) -> Timers {
    let interval = |dice: &mut Dice| [10, 50, 50, 100, 300, 1_000, 2_000][dice.roll(7) as usize];
    timers(interval(dice), interval(dice), 1 + dice.roll(5) as u8)
}

fn some_pair(seed: u64) -> Pair {
    let mut dice = Dice::new(seed);
    let both = [some_timers(&mut dice), some_timers(&mut dice)];
    Pair::new(seed, both)
}

/// The detection time an end must have once both have agreed.
fn detection_time(pair: &Pair, at: usize) -> Duration {
    let (us, them) = (pair.ends[at].timers, pair.ends[1 - at].timers);
    let interval = us.required_min_rx.max(them.desired_min_tx).duration();
    interval * u32::from(them.detect_mult.get())
}

/// Enough for a handshake at the slow rate, with whatever the link loses in a row.
const HANDSHAKE: Duration = Duration::from_secs(30);

fn both_up(pair: &mut Pair, seed: u64) {
    let up = pair.pass_until(HANDSHAKE, |pair| pair.states() == [State::Up; 2]);
    assert!(up, "seed {seed}: {:?}", pair.states());
}

/// Lets the parameters be confirmed.
fn agreed(pair: &mut Pair, seed: u64) {
    both_up(pair, seed);
    pair.pass(Duration::from_secs(10));
    for at in [0, 1] {
        let view = pair.view(at);
        let expected = detection_time(pair, at).as_micros();
        assert_eq!(
            view.detection_time_us.map(u128::from),
            Some(expected),
            "seed {seed}"
        );
        assert!(!view.polling, "seed {seed}: a Poll Sequence without end");
    }
}

#[test]
fn over_a_good_link_both_come_up_and_stay_up() {
    for seed in seeds() {
        let mut pair = some_pair(seed);
        agreed(&mut pair, seed);
        pair.pass(Duration::from_secs(60));
        for end in &pair.ends {
            let downs = end
                .events
                .iter()
                .filter(|(_, event)| event.path_failed())
                .count();
            assert_eq!(downs, 0, "seed {seed}");
        }
    }
}

#[test]
fn both_are_down_within_the_detection_time_of_a_cut_and_up_again_after_it() {
    for seed in seeds() {
        let mut pair = some_pair(seed);
        agreed(&mut pair, seed);
        pair.weather(Weather { cut: true, ..FAIR });
        let cut = pair.now;
        pair.pass(Duration::from_secs(30));
        for at in [0, 1] {
            let (when, event) = *pair.ends[at].events.last().unwrap();
            assert!(event.path_failed(), "seed {seed}: {event:?}");
            assert_eq!(event.diagnostic, Diagnostic::TIME_EXPIRED, "seed {seed}");
            // Counted from the last packet before the cut; clocks differ by a few millionths.
            let took = when.since(cut);
            let most = detection_time(&pair, at);
            assert!(
                took <= most + most / 1_000,
                "seed {seed}: {took:?} of {most:?}"
            );
            // The last packet came at most an interval, as the other end sends, before the cut.
            let mult = u32::from(pair.ends[1 - at].timers.detect_mult.get());
            let interval = most / mult;
            assert!(
                took + interval + interval / 100 >= most,
                "seed {seed}: {took:?} of {most:?}"
            );
        }
        pair.weather(FAIR);
        both_up(&mut pair, seed);
    }
}

/// A cut of one direction only: the deaf end tells the other, which stops at once.
#[test]
fn a_cut_one_way_takes_both_down() {
    for seed in seeds() {
        let mut pair = some_pair(seed);
        agreed(&mut pair, seed);
        pair.ends[0].weather.cut = true;
        let cut = pair.now;
        pair.pass(Duration::from_secs(30));
        let (deaf, when) = (
            pair.ends[1].events.last().unwrap().1,
            pair.ends[1].events.last().unwrap().0,
        );
        assert_eq!(deaf.diagnostic, Diagnostic::TIME_EXPIRED, "seed {seed}");
        let told = pair.ends[0]
            .events
            .iter()
            .find(|(at, event)| *at >= cut && event.path_failed());
        let (told, event) = told.unwrap_or_else(|| panic!("seed {seed}: not told"));
        assert_eq!(event.diagnostic, Diagnostic::NEIGHBOR_DOWN, "seed {seed}");
        assert_eq!(
            event.remote_diagnostic,
            Diagnostic::TIME_EXPIRED,
            "seed {seed}"
        );
        assert!(told.since(when) < ms(1), "seed {seed}");
    }
}

/// A detection time is DetectMult intervals, and the next packet is sent after at most one of them:
/// while never DetectMult packets in a row are lost, one always comes in time. A link that delays
/// some packets and not others by nearly an interval takes as much from that as a lost packet.
#[test]
fn loss_of_fewer_packets_in_a_row_than_the_multiplier_takes_nothing_down() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let interval = [10, 50, 100][dice.roll(3) as usize];
        let mult = 3 + dice.roll(3) as u8;
        let both = timers(interval, interval, mult);
        let mut pair = Pair::new(seed, [both; 2]);
        both_up(&mut pair, seed);
        pair.pass(Duration::from_secs(5));
        let before = [0, 1].map(|at| pair.ends[at].events.len());
        let steady = Weather {
            loss: 60,
            in_a_row: u32::from(mult) - 1,
            ..FAIR
        };
        let unsteady = Weather {
            in_a_row: u32::from(mult) - 2,
            delay_us: interval * 900,
            ..steady
        };
        for weather in [steady, unsteady] {
            pair.weather(weather);
            pair.pass(Duration::from_secs(60));
            // What one has lost last and the other delays first would be in a row.
            pair.weather(FAIR);
            pair.pass(Duration::from_secs(1));
        }
        for (at, before) in before.into_iter().enumerate() {
            let events = &pair.ends[at].events;
            assert_eq!(events.len(), before, "seed {seed}: {events:?}");
        }
    }
}

/// The counterpart: DetectMult packets lost in a row do take it down.
#[test]
fn loss_of_as_many_packets_in_a_row_as_the_multiplier_takes_it_down() {
    let both = timers(50, 50, 3);
    let mut pair = Pair::new(1, [both; 2]);
    both_up(&mut pair, 1);
    pair.weather(Weather {
        loss: 100,
        in_a_row: 4,
        ..FAIR
    });
    pair.pass(Duration::from_secs(5));
    assert!(
        pair.ends
            .iter()
            .all(|end| end.events.iter().any(|(_, event)| event.path_failed()))
    );
}

#[test]
fn a_handshake_gets_through_loss_and_reordering() {
    for seed in seeds() {
        let mut pair = some_pair(seed);
        let weather = Weather {
            cut: false,
            loss: 50,
            in_a_row: 4,
            delay_us: 5_000,
        };
        pair.weather(weather);
        let up = pair.pass_until(Duration::from_secs(300), |pair| {
            pair.states() == [State::Up; 2]
        });
        assert!(up, "seed {seed}");
    }
}

/// An end that crashes and is back at once: the other notices at the first packet, and both are up
/// again without either being told by anybody.
#[test]
fn an_end_that_starts_again_is_noticed_and_comes_up() {
    for seed in seeds() {
        let mut pair = some_pair(seed);
        for round in 0..5 {
            agreed(&mut pair, seed);
            pair.weather(Weather {
                delay_us: 2_000,
                ..FAIR
            });
            let at = pair.dice.roll(2) as usize;
            pair.start(at);
            pair.pass(ms(5));
            let (_, event) = pair.ends[1 - at]
                .events
                .iter()
                .rev()
                .find(|(_, event)| event.path_failed())
                .unwrap();
            assert_eq!(
                event.diagnostic,
                Diagnostic::NEIGHBOR_DOWN,
                "seed {seed}, round {round}"
            );
            pair.weather(FAIR);
        }
    }
}

/// Anything an operator does, at any time, over a link that loses: it ends up, agreed, and no
/// change of timers alone takes it down. A link that changes the order of packets may: without
/// sequence numbers a packet of before the change, arriving behind its Poll, is taken at its word.
#[test]
fn timers_change_at_any_time_without_the_session_going_down() {
    for seed in seeds() {
        let mut pair = some_pair(seed);
        // With a multiplier of one or two, any loss is a failure.
        for end in &mut pair.ends {
            end.timers.detect_mult = 4.try_into().unwrap();
        }
        pair.start(0);
        pair.start(1);
        both_up(&mut pair, seed);
        pair.pass(Duration::from_secs(10));
        let before = [0, 1].map(|at| pair.ends[at].events.len());
        pair.weather(Weather {
            cut: false,
            loss: 30,
            in_a_row: 1,
            ..FAIR
        });
        for _ in 0..30 {
            let at = pair.dice.roll(2) as usize;
            let mut timers = some_timers(&mut pair.dice);
            timers.detect_mult = pair.ends[at].timers.detect_mult;
            pair.ends[at].timers = timers;
            pair.with(at, |bfd, now| bfd.reconfigure(now, ID, timers));
            let pause = pair.dice.roll(3_000);
            pair.pass(ms(pause));
        }
        pair.weather(FAIR);
        agreed(&mut pair, seed);
        for at in [0, 1] {
            assert_eq!(
                pair.ends[at].events.len(),
                before[at],
                "seed {seed}: {:?}",
                pair.ends[at].events.last()
            );
        }
    }
}

#[test]
fn admin_down_takes_the_other_end_down_without_a_failure_and_ends_without_one() {
    for seed in seeds() {
        let mut pair = some_pair(seed);
        agreed(&mut pair, seed);
        pair.with(0, |bfd, now| {
            bfd.set_admin_down(now, ID, Some(Diagnostic::ADMIN_DOWN))
        });
        pair.pass(Duration::from_secs(20));
        assert_eq!(
            pair.states(),
            [State::AdminDown, State::Down],
            "seed {seed}"
        );
        pair.with(0, |bfd, now| bfd.set_admin_down(now, ID, None));
        agreed(&mut pair, seed);
        for end in &pair.ends {
            assert!(
                end.events.iter().all(|(_, event)| !event.path_failed()),
                "seed {seed}"
            );
        }
    }
}

/// One history twice.
#[test]
fn the_same_seed_gives_the_same_history() {
    let run = || {
        let mut pair = some_pair(7);
        pair.weather(Weather {
            cut: false,
            loss: 20,
            in_a_row: 9,
            delay_us: 9_000,
        });
        pair.pass(Duration::from_secs(60));
        let [a, b] = &pair.ends;
        format!("{:?} {:?} {} {}", a.events, b.events, a.sent, b.sent)
    };
    assert_eq!(run(), run());
}

/// A cautious rate: whatever the neighbour sends, and however fast, nobody is sent more than one
/// packet for each that came, beside the periodic ones.
#[test]
fn a_neighbour_that_talks_nonsense_is_not_talked_down() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let mut bfd = Bfd::new(seed);
        bfd.add(Time(0), ID, config(timers(50, 50, 3))).unwrap();
        let ours = bfd.view(Time(0))[0].local_discriminator;
        let (mut now, mut heard, mut sent) = (Time(0), 0u64, 0u64);
        for _ in 0..2_000 {
            now = now + Duration::from_micros(dice.roll(2_000));
            let mut bytes: Vec<u8> = (0..24).map(|_| dice.roll(256) as u8).collect();
            bytes[0] = bytes[0] & 0x1f | 0x20;
            bytes[1] &= 0xfa;
            bytes[3] = 24;
            let yours = if dice.roll(4) == 0 { 0 } else { ours };
            bytes[8..12].copy_from_slice(&yours.to_be_bytes());
            heard += u64::from(bfd.received(now, &datagram(), &bytes).is_ok());
            bfd.handle_timeout(now);
            sent += std::iter::from_fn(|| bfd.poll_transmit()).count() as u64;
            while bfd.poll_event().is_some() {}
        }
        assert!(heard > 500, "seed {seed}: {heard}");
        let periodic = now.0 / 37_000_000 + 2;
        assert!(
            sent <= 2 * heard + periodic,
            "seed {seed}: {sent} for {heard}"
        );
    }
}

proptest! {
    #[test]
    fn any_octets_from_anywhere_at_any_time_do_no_harm(
        inputs in prop::collection::vec(
            (any::<u64>(), prop::collection::vec(any::<u8>(), 0..40), any::<u8>(), any::<bool>()),
            0..40,
        )
    ) {
        let mut bfd = Bfd::new(3);
        bfd.add(Time(0), SessionId(0), config(timers(50, 50, 3))).unwrap();
        for (now, mut bytes, ttl, own) in inputs {
            if let Some(first) = bytes.first_mut() {
                *first = *first & 0x1f | 0x20;
            }
            if let (true, Some(view), 12..) = (own, bfd.view(Time(now)).pop(), bytes.len()) {
                bytes[8..12].copy_from_slice(&view.local_discriminator.to_be_bytes());
            }
            // Time may even run backwards: nothing but the order of things depends on it.
            let _ = bfd.received(Time(now), &Datagram { ttl: ttl | 0xf0, ..datagram() }, &bytes);
            bfd.handle_timeout(Time(now));
            while bfd.poll_transmit().is_some() {}
            while bfd.poll_event().is_some() {}
        }
    }
}
