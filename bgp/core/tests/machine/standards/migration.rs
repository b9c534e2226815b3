//! RFC 7705: a speaker that some neighbours take to be in another AS; and what else is done to the
//! numbers of a path at the border, which no standard describes.

use wayleave_bgp_core::{
    Asn,
    config::{LocalAs, PeerConfig, RemoteAs},
    view::{RibKind, State},
};

use super::stage::{
    OPEN, OPTIONAL, OURS, Stage, TRANSITIVE, UPDATE, announce, as_path, attr, mandatory, message,
};

/// The AS that neighbour 1 takes the speaker to be in.
const OLD: u32 = 64_999;

fn local_as(asn: u32) -> LocalAs {
    LocalAs {
        asn: Asn(asn),
        prepend: true,
        replace: false,
    }
}

/// Neighbours in 65002 and 65003, the first of which is shown another AS.
fn stage(change: impl Fn(&mut LocalAs)) -> Stage {
    Stage::up(&[65_002, 65_003], |n, peer| {
        if n == 1 {
            let mut local = local_as(OLD);
            change(&mut local);
            peer.local_as = Some(local);
        }
    })
}

/// The AS_PATH that neighbour `n` is told of 10.0.0.0/8.
fn told(stage: &mut Stage, n: usize) -> Vec<u8> {
    let told = stage.told(n);
    let (flags, value) = &told.routes["10.0.0.0/8"][&2];
    attr(*flags, 2, value)
}

fn change(stage: &mut Stage, change: impl FnOnce(&mut PeerConfig)) -> Vec<String> {
    let mut config = stage.speaker.config().clone();
    change(&mut config.peers[0]);
    let done = stage.speaker.reconfigure(stage.now, config);
    while stage.speaker.turn(stage.now) {}
    done
}

/// RFC 7705, 3: the AS is in our OPEN, and between the neighbour and everybody else.
#[test]
fn a_local_as_is_in_our_open_and_in_paths_of_both_directions() {
    let mut stage = stage(|_| {});
    assert_eq!(stage.view(1).local_asn, Asn(OLD));
    assert_eq!(stage.view(2).local_asn, Asn(OURS));
    stage.say(1, &announce(10, &mandatory(1, &[65_002, 65_100])));
    let held = &stage.routes(RibKind::In, 1)[0];
    assert_eq!(held.as_path, "65002 65100", "as it came");
    let counts = &stage.routes(RibKind::Loc, 1)[0];
    assert_eq!(counts.as_path, "64999 65002 65100");
    let path = [OURS, OLD, 65_002, 65_100];
    assert_eq!(told(&mut stage, 2), as_path(&path));
    stage.say(2, &announce(10, &mandatory(2, &[65_003])));
    assert_eq!(told(&mut stage, 1), as_path(&[OLD, OURS, 65_003]));
}

/// RFC 7705, 3.1: "No Prepend Inbound".
#[test]
fn without_prepending_what_comes_in_stays_as_it_is() {
    let mut stage = stage(|local| local.prepend = false);
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    assert_eq!(told(&mut stage, 2), as_path(&[OURS, 65_002]));
}

/// RFC 7705, 3.2: "Replace Old AS".
#[test]
fn a_local_as_can_hide_our_own_from_the_neighbour() {
    let mut stage = stage(|local| local.replace = true);
    stage.say(2, &announce(10, &mandatory(2, &[65_003])));
    assert_eq!(told(&mut stage, 1), as_path(&[OLD, 65_003]));
}

#[test]
fn our_open_has_the_local_as_in_four_octets_too() {
    for (asn, short) in [(OLD, OLD), (4_200_000_001, 23_456)] {
        let mut stage = Stage::new(&[65_002], |_, peer| peer.local_as = Some(local_as(asn)));
        assert!(stage.call(1));
        let (kind, body) = stage.hear(1).remove(0);
        assert_eq!(kind, OPEN);
        assert_eq!(u32::from(u16::from_be_bytes([body[1], body[2]])), short);
        let capability = [&[65, 4][..], &asn.to_be_bytes()].concat();
        let has = body.windows(6).any(|window| window == capability);
        assert!(has, "four octets in {body:02x?}");
    }
}

#[test]
fn a_neighbour_is_neither_in_our_own_as_nor_in_the_one_it_takes_us_to_be_in() {
    for (theirs, remote_as) in [
        (OURS, RemoteAs::External),
        (OLD, RemoteAs::External),
        (OLD, RemoteAs::Exact(Asn(OLD))),
        (OURS, RemoteAs::Exact(Asn(OURS))),
        (OURS, RemoteAs::Internal),
        (OLD, RemoteAs::Internal),
    ] {
        let mut stage = Stage::new(&[theirs], |_, peer| {
            peer.remote_as = remote_as;
            peer.local_as = Some(local_as(OLD));
        });
        assert!(stage.call(1));
        let open = stage.open(1);
        stage.say(1, &open);
        assert_eq!(stage.view(1).state, State::Idle, "{theirs} {remote_as:?}");
        let said = stage.last_word(1);
        assert_eq!((said.code, said.subcode), (2, 2));
    }
}

#[test]
fn a_loop_is_found_by_either_number() {
    let mut stage = stage(|local| local.prepend = false);
    stage.say(1, &announce(10, &mandatory(1, &[65_002, OLD])));
    stage.say(1, &announce(11, &mandatory(1, &[65_002, OURS])));
    stage.say(1, &announce(12, &mandatory(1, &[65_002, 65_100])));
    // The AS that one neighbour takes us to be in is any other for the rest of the world.
    stage.say(2, &announce(13, &mandatory(2, &[65_003, OLD])));
    let refused = stage.routes(RibKind::In, 1);
    let why: Vec<_> = refused.into_iter().map(|route| route.refused).collect();
    let text = |why: &Option<String>| why.clone().unwrap_or_default();
    assert!(text(&why[0]).contains("local_as"), "{why:?}");
    assert!(text(&why[1]).contains("our AS is in"), "{why:?}");
    assert_eq!(why[2], None);
    assert_eq!(stage.routes(RibKind::In, 2)[0].refused, None);
    change(&mut stage, |peer| peer.allow_own_as = 1);
    let refused = stage.routes(RibKind::In, 1);
    assert!(refused.iter().all(|route| route.refused.is_none()));
}

/// RFC 6793, 4.2.2: what the old neighbour cannot read in AS_PATH is in AS4_PATH.
#[test]
fn a_neighbour_with_two_octets_is_told_of_both_as_numbers_exactly() {
    let mut stage = Stage::new(&[65_002, 65_003], |n, peer| {
        peer.local_as = (n == 1).then(|| local_as(4_200_000_001));
    });
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| open.capabilities.as4 = None);
    stage.say(1, &open);
    stage.say(1, &wayleave_bgp_core::wire::keepalive());
    stage.hear(1);
    stage.establish(2);
    stage.say(2, &announce(10, &mandatory(2, &[65_003, 4_200_000_009])));
    let told = stage.told(1);
    let set = &told.routes["10.0.0.0/8"];
    let short = |asns: &[u16]| {
        let octets = asns.iter().flat_map(|asn| asn.to_be_bytes());
        [2, 4].into_iter().chain(octets).collect::<Vec<u8>>()
    };
    // Both sequences of four: the number that goes first, ours, and the two it came with.
    assert_eq!(set[&2].1, short(&[23_456, 65_001, 65_003, 23_456]));
    let exact = as_path(&[4_200_000_001, OURS, 65_003, 4_200_000_009]);
    assert_eq!(attr(TRANSITIVE, 2, &set[&17].1), exact);
}

/// Two sites of one AS hear of each other.
#[test]
fn as_override_puts_ours_in_the_place_of_the_neighbours_wherever_that_stands() {
    let mut stage = Stage::up(&[65_100, 65_100, OURS], |n, peer| peer.as_override = n == 1);
    let path = [
        &[2, 2][..],
        &65_100_u32.to_be_bytes(),
        &65_100_u32.to_be_bytes(),
        &[1, 2],
        &65_007_u32.to_be_bytes(),
        &65_100_u32.to_be_bytes(),
    ]
    .concat();
    let attributes = [
        attr(TRANSITIVE, 1, &[0]),
        attr(TRANSITIVE, 2, &path),
        attr(TRANSITIVE, 3, &[192, 0, 2, 3]),
    ]
    .concat();
    stage.say(2, &announce(10, &attributes));
    let expected = [
        &[2, 3][..],
        &OURS.to_be_bytes(),
        &OURS.to_be_bytes(),
        &OURS.to_be_bytes(),
        &[1, 2],
        &65_007_u32.to_be_bytes(),
        &OURS.to_be_bytes(),
    ]
    .concat();
    assert_eq!(told(&mut stage, 1), attr(TRANSITIVE, 2, &expected));
    assert_eq!(told(&mut stage, 3), attr(TRANSITIVE, 2, &path), "in the AS");
}

#[test]
fn as_override_does_not_show_what_a_local_as_hides() {
    for replace in [true, false] {
        let mut stage = Stage::up(&[65_100, 65_100], |_, peer| {
            peer.as_override = true;
            peer.local_as = Some(LocalAs {
                replace,
                prepend: false,
                ..local_as(OLD)
            });
        });
        stage.say(2, &announce(10, &mandatory(2, &[65_100])));
        let path = match replace {
            true => as_path(&[OLD, OLD]),
            false => as_path(&[OLD, OURS, OURS]),
        };
        assert_eq!(told(&mut stage, 1), path);
    }
}

/// RFC 6996, 4: private numbers "MUST be removed from the AS path attributes" before they leave for the
/// Internet. The neighbour's own stays: it finds its loops by it.
#[test]
fn private_as_numbers_are_left_out_but_for_the_neighbours_own() {
    let mut stage = Stage::up(&[64_600, 64_700], |n, peer| {
        peer.remove_private_as = n == 1;
    });
    let path = [64_700, 3_320, 4_200_000_000, 64_600, 65_535, 64_512];
    stage.say(2, &announce(10, &mandatory(2, &path)));
    assert_eq!(told(&mut stage, 1), as_path(&[OURS, 3_320, 64_600, 65_535]));
    stage.say(2, &announce(10, &mandatory(2, &[64_700, 64_800])));
    assert_eq!(told(&mut stage, 1), as_path(&[OURS]), "nothing is left");
}

#[test]
fn what_is_done_to_paths_can_be_changed_while_the_session_is_up() {
    let mut stage = stage(|_| {});
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    stage.say(2, &announce(10, &mandatory(2, &[65_003, 65_002])));
    assert_eq!(told(&mut stage, 2), as_path(&[OURS, OLD, 65_002]));
    type Step = (fn(&mut PeerConfig), Option<Vec<u8>>);
    let steps: [Step; 3] = [
        (
            |peer| {
                peer.local_as = Some(LocalAs {
                    prepend: false,
                    ..local_as(OLD)
                })
            },
            Some(as_path(&[OURS, 65_002])),
        ),
        (
            |peer| {
                peer.local_as = Some(LocalAs {
                    replace: true,
                    ..local_as(OLD)
                })
            },
            Some(as_path(&[OURS, OLD, 65_002])),
        ),
        (|peer| peer.as_override = true, None),
    ];
    for (step, second) in steps {
        let done = change(&mut stage, step);
        assert_eq!(done, ["peer s1: policy changed, session kept"]);
        if let Some(path) = second {
            assert_eq!(told(&mut stage, 2), path);
        }
    }
    // With the way through neighbour 1 gone it is told of the other one, as all of this wants it.
    let withdraw = [&[0, 2, 8, 10][..], &[0, 0]].concat();
    stage.say(1, &message(UPDATE, &withdraw));
    assert_eq!(told(&mut stage, 1), as_path(&[OLD, 65_003, OLD]));
    // Another number is another OPEN.
    let done = change(&mut stage, |peer| peer.local_as = Some(local_as(64_998)));
    assert_eq!(done, ["peer s1: settings changed, session opened again"]);
}

/// RFC 4271, 9.1.2.2 c: MED compares among the routes of one neighbouring AS, which is the one they came
/// from, and not the one that two neighbours take us to be in.
#[test]
fn med_does_not_compare_across_neighbours_that_share_a_local_as() {
    let mut stage = Stage::up(&[65_002, 65_003, 65_004], |n, peer| {
        peer.local_as = (n < 3).then(|| local_as(OLD));
    });
    let med = |value: u32| attr(OPTIONAL, 4, &value.to_be_bytes());
    stage.say(
        2,
        &announce(10, &[mandatory(2, &[65_003]), med(5)].concat()),
    );
    stage.say(
        1,
        &announce(10, &[mandatory(1, &[65_002]), med(50)].concat()),
    );
    // The lower identifier decides.
    let best = &stage.routes(RibKind::In, 1)[0];
    assert_eq!(
        (best.best, &best.reason[..]),
        (true, "lower BGP identifier")
    );
}
