//! Next hops that cannot be reached (RFC 4271, 9.1.2.1).

use std::net::IpAddr;

use wayleave_bgp_core::view::RibKind;

use super::stage::{Stage, announce, mandatory};

fn hop(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n + 1])
}

fn reach(stage: &mut Stage, n: u8, reachable: bool) {
    stage.speaker.reachable(&[(hop(n), reachable)]);
    while stage.speaker.turn(stage.now) {}
}

/// "If the NEXT_HOP attribute of a BGP route depicts an address that is not resolvable [...], the BGP
/// route MUST be excluded from the Phase 2 decision function."
#[test]
fn a_path_with_a_next_hop_that_cannot_be_reached_takes_no_part() {
    let mut stage = Stage::up(&[65_002, 65_003, 65_004], |_, _| {});
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    stage.say(2, &announce(10, &mandatory(2, &[65_003, 7])));
    stage.told(3);
    reach(&mut stage, 1, false);
    let told = stage.told(3);
    let path = |attributes: &super::stage::Attributes| attributes[&2].1[6..10].to_vec();
    assert_eq!(path(&told.routes["10.0.0.0/8"]), 65_003_u32.to_be_bytes());
    let view = &stage.routes(RibKind::In, 1)[0];
    assert_eq!(
        (view.best, &view.reason[..]),
        (false, "its next hop cannot be reached")
    );
    // Nobody is told of a way that leads nowhere.
    reach(&mut stage, 2, false);
    assert_eq!(stage.told(3).withdrawn, ["10.0.0.0/8"]);
    reach(&mut stage, 1, true);
    let told = stage.told(3);
    assert_eq!(path(&told.routes["10.0.0.0/8"]), 65_002_u32.to_be_bytes());
    // What is known holds for routes to come.
    stage.say(2, &announce(11, &mandatory(2, &[65_003])));
    assert!(stage.told(3).routes.is_empty());
    reach(&mut stage, 2, true);
    assert_eq!(stage.told(3).prefixes(), "11.0.0.0/8");
}

#[test]
fn whoever_tracks_next_hops_hears_which_are_in_use() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    assert_eq!(stage.speaker.poll_next_hops(), None, "nobody has asked");
    stage.speaker.track_next_hops();
    assert_eq!(stage.speaker.poll_next_hops(), Some(vec![(hop(1), true)]));
    assert_eq!(stage.speaker.poll_next_hops(), None);
    stage.say(2, &announce(10, &mandatory(2, &[65_003])));
    stage.say(2, &announce(11, &mandatory(2, &[65_003, 7])));
    assert_eq!(stage.speaker.poll_next_hops(), Some(vec![(hop(2), true)]));
    stage.hang_up(2);
    stage.hear(1);
    assert_eq!(stage.speaker.poll_next_hops(), Some(vec![(hop(2), false)]));
}
