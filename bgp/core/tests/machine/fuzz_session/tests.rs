//! Any sequence of steps, and those that have been found out to be hard.

use proptest::{collection::vec, prelude::*};

use wayleave_bgp_core::view::RibKind;

use super::{
    fuzz_one, run, seeds,
    step::{Setup, Step, decode, encode},
    world::World,
};

fn octets() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..60)
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 0_u8..4;
    let of_peer = (peer, any::<u8>(), any::<u8>(), any::<u8>());
    let number = (0_u8..64, any::<u8>(), any::<u8>());
    prop_oneof![
        4 => of_peer.clone().prop_map(|(peer, ..)| Step::Dial { peer }),
        3 => of_peer.clone().prop_map(|(peer, a, ..)| Step::Answer { peer, through: a & 3 != 0 }),
        // Mostly one that leads to a session.
        6 => of_peer.clone().prop_map(|(peer, a, b, _)| {
            let variant = if b & 3 == 0 { a } else { a & 0b1010_1111 };
            Step::Open { peer, variant }
        }),
        1 => (0_u8..4, octets()).prop_map(|(peer, octets)| Step::Say { peer, octets }),
        1 => (0_u8..4, any::<u8>(), octets())
            .prop_map(|(peer, kind, body)| Step::Message { peer, kind, body }),
        9 => (of_peer.clone(), 0_u8..64).prop_map(|((peer, count, shape, _), first)| {
            Step::Announce { peer, first, count, shape }
        }),
        3 => (of_peer.clone(), 0_u8..64)
            .prop_map(|((peer, count, ..), first)| Step::Retract { peer, first, count }),
        1 => of_peer.clone().prop_map(|(peer, a, ..)| Step::Refresh { peer, v6: a & 1 != 0 }),
        1 => of_peer.clone().prop_map(|(peer, a, ..)| Step::EndOfRib { peer, v6: a & 1 != 0 }),
        1 => of_peer.clone().prop_map(|(peer, ..)| Step::Hang { peer }),
        3 => of_peer.clone().prop_map(|(peer, octets, b, _)| Step::Read {
            peer,
            octets: [0, 0, 255, octets][usize::from(b & 3)],
        }),
        4 => (0_u8..12).prop_map(|time| Step::Wait { time }),
        4 => number.clone().prop_map(|(first, count, shape)| Step::Originate { first, count, shape }),
        2 => number.prop_map(|(first, count, shape)| Step::Withdraw { first, count, shape }),
        1 => of_peer.clone().prop_map(|(peer, ..)| Step::Reset { peer }),
        3 => of_peer.clone().prop_map(|(peer, what, ..)| Step::Reconfigure { peer, what }),
        1 => of_peer.prop_map(|(peer, a, ..)| Step::Describe { peer, v6: a & 1 != 0 }),
        2 => Just(Step::Look),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    (any::<u8>(), any::<u8>()).prop_map(|(limits, driver)| Setup { limits, driver })
}

#[test]
fn nothing_happens_and_the_next_sessions_work() {
    for limits in 0..81 {
        let driver = limits % 6;
        run(Setup { limits, driver }, &[]);
    }
    fuzz_one(&[]);
}

#[test]
fn after_lives_that_go_far_the_next_sessions_work() {
    for (name, setup, steps) in seeds::all() {
        println!("{name} {setup:?}");
        run(setup, &steps);
    }
}

#[test]
fn what_did_not_fit_a_message_is_not_shown_as_told() {
    let mut world = World::new(Setup::default());
    for peer in [1, 2] {
        world.play(&Step::Dial { peer });
        world.play(&Step::Open { peer, variant: 0 });
    }
    // So large that it does not fit any more when it is reflected.
    world.play(&Step::Announce {
        peer: 1,
        first: 0,
        count: 0,
        shape: 0x18,
    });
    assert_eq!(world.routes(RibKind::Loc, None).len(), 1);
    let line = &world.lines[world.line(2).unwrap()];
    assert!(line.ear.held.is_empty(), "it was told all the same");
    let shown = world.routes(RibKind::Out, Some("internal"));
    assert!(shown.is_empty(), "{} is shown", shown[0].prefix);
}

/// The session of a peer that has read a part of an UPDATE is reset.
fn reset_within_a_message(wait: Option<u8>) {
    let mut world = World::new(Setup::default());
    for peer in [0, 1] {
        world.play(&Step::Dial { peer });
        world.play(&Step::Open { peer, variant: 0 });
    }
    let read = |octets| Step::Read { peer: 1, octets };
    world.play(&read(0));
    world.play(&Step::Announce {
        peer: 0,
        first: 0,
        count: 31,
        shape: 0,
    });
    world.play(&read(5));
    if let Some(time) = wait {
        world.play(&Step::Wait { time });
    }
    world.play(&Step::Reset { peer: 1 });
}

#[test]
fn a_message_written_in_part_is_finished_before_the_last_word() {
    reset_within_a_message(None);
}

#[test]
fn a_message_written_in_part_is_finished_also_when_a_keepalive_waits_behind_it() {
    reset_within_a_message(Some(5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn whatever_happened_the_next_sessions_work(setup in setup(), steps in vec(step(), 0..60)) {
        run(setup, &steps);
    }

    #[test]
    fn any_octets_are_steps_and_do_no_harm(data in vec(any::<u8>(), 0..600)) {
        fuzz_one(&data);
    }

    #[test]
    fn steps_read_as_they_were_written(setup in setup(), steps in vec(step(), 0..60)) {
        prop_assert_eq!(decode(&encode(setup, &steps)), (setup, steps));
    }
}

fn cases() -> u32 {
    let seeds = std::env::var("WAYLEAVE_SEEDS").ok();
    seeds.and_then(|text| text.parse().ok()).unwrap_or(300)
}
