//! What an operator does to a session, and what the neighbour hears of it (RFC 9003, RFC 2918).

use std::time::Duration;

use wayleave_bgp_core::{
    Family, Prefix, RefreshRefused,
    config::{ListenRange, PeerConfig, RemoteAs},
    feed::Origination,
    view::{ShutDownView, State},
};

use super::stage::{OURS, ROUTE_REFRESH, Stage, UPDATE, announce, mandatory};

const SECOND: Duration = Duration::from_secs(1);

/// RFC 9003, 2: the text goes along with Cease, Administrative Shutdown.
#[test]
fn a_shutdown_says_why_and_lasts_until_it_is_taken_back_whatever_is_configured() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    assert_eq!(stage.told(2).prefixes(), "10.0.0.0/8");
    let text = "moving racks";
    assert!(stage.speaker.shut_down(stage.now, "s1", "ann", Some(text)));
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode), (6, 2));
    assert_eq!(said.communication().as_deref(), Some(text));
    assert_eq!(stage.told(2).withdrawn, ["10.0.0.0/8"]);
    stage.hang_up(1);
    stage.pass(300 * SECOND);
    let view = stage.view(1);
    assert_eq!(view.state, State::Idle);
    let expected = ShutDownView {
        seconds: 300,
        by: "ann".to_owned(),
        communication: Some(text.to_owned()),
    };
    assert_eq!(view.shut_down, Some(expected));
    assert!(view.last_error.unwrap().contains(text));
    // Another configuration, of what a session is opened with and of what it is not.
    let changes: [fn(&mut PeerConfig); 2] =
        [|peer| peer.allow_own_as = 1, |peer| peer.hold_time = 9];
    for change in changes {
        let mut config = stage.speaker.config().clone();
        change(&mut config.peers[0]);
        stage.speaker.reconfigure(stage.now, config);
        assert_eq!(stage.view(1).state, State::Idle);
        assert!(stage.view(1).shut_down.is_some());
        // It is let in only to be told so (Cease, Connection Rejected).
        assert!(stage.call(1));
        let said = stage.last_word(1);
        assert_eq!((said.code, said.subcode), (6, 5));
        stage.hang_up(1);
    }
    assert!(stage.speaker.enable(stage.now, "s1"));
    assert!(!stage.speaker.enable(stage.now, "s1"), "it no longer is");
    assert_eq!(stage.view(1).shut_down, None);
    stage.establish(1);
    assert_eq!(stage.view(2).established_count, 1, "nobody else noticed");
}

#[test]
fn who_is_configured_no_more_is_forgotten_as_shut_down_too() {
    let mut stage = Stage::up(&[65_002], |_, _| {});
    assert!(!stage.speaker.shut_down(stage.now, "s9", "ann", None));
    assert!(stage.speaker.shut_down(stage.now, "s1", "ann", None));
    let with = stage.speaker.config().clone();
    let mut without = with.clone();
    without.peers.clear();
    stage.speaker.reconfigure(stage.now, without);
    stage.speaker.reconfigure(stage.now, with);
    assert_eq!(stage.view(1).shut_down, None);
    stage.establish(1);
}

#[test]
fn a_neighbour_from_a_range_is_kept_out_by_its_name() {
    let mut stage = Stage::with(&[65_002], |config| {
        let mut template = config.peers.remove(0);
        template.name = "192.0.2.0/24".to_owned();
        template.remote_as = RemoteAs::External;
        let prefix: Prefix = template.name.parse().unwrap();
        config.ranges.push(ListenRange {
            prefix,
            limit: 9,
            template,
        });
    });
    let name = "192.0.2.0/24-192.0.2.2";
    let establish = |stage: &mut Stage| {
        assert!(stage.call(1));
        let open = stage.open(1);
        stage.say(1, &open);
        stage.say(1, &wayleave_bgp_core::wire::keepalive());
        stage.speaker.is_established(name)
    };
    assert!(establish(&mut stage));
    assert!(stage.speaker.shut_down(stage.now, name, "ann", None));
    stage.hear(1);
    stage.hang_up(1);
    stage.pass(3_600 * SECOND);
    assert!(stage.call(1));
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode), (6, 5));
    stage.hang_up(1);
    assert!(stage.speaker.enable(stage.now, name));
    assert!(establish(&mut stage));
}

/// RFC 2918, 4: asked for only where the neighbour has said that it knows how.
#[test]
fn a_neighbour_is_asked_for_its_routes_again_if_it_can_be() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    let asked = stage.speaker.ask_again("s1", None);
    assert_eq!(asked, Ok(vec![Family::Ipv4Unicast]), "what is exchanged");
    assert_eq!(stage.hear(1), [(ROUTE_REFRESH, vec![0, 1, 0, 1])]);
    assert_eq!(stage.view(1).sent.route_refresh, 1);
    let refused = stage.speaker.ask_again("s1", Some(Family::Ipv6Unicast));
    assert!(matches!(refused, Err(RefreshRefused::Family { .. })));
    let refused = stage.speaker.ask_again("s9", None);
    assert!(matches!(refused, Err(RefreshRefused::NoSuchPeer(_))));
    stage.hang_up(1);
    let refused = stage.speaker.ask_again("s1", None);
    assert!(matches!(refused, Err(RefreshRefused::NotEstablished(_))));
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| open.capabilities.route_refresh = false);
    stage.say(1, &open);
    stage.say(1, &wayleave_bgp_core::wire::keepalive());
    stage.hear(1);
    let refused = stage.speaker.ask_again("s1", None);
    assert!(matches!(refused, Err(RefreshRefused::NotOffered(_))));
    assert!(stage.hear(1).is_empty(), "it is not asked");
}

#[test]
fn a_neighbour_is_told_everything_again_although_it_has_not_asked_and_nobody_else_is() {
    let mut stage = Stage::up(&[65_002, 65_002, OURS], |_, _| {});
    stage.originate(Origination::new("10.0.0.0/8".parse().unwrap()));
    stage.say(3, &announce(11, &mandatory(3, &[65_009])));
    for n in 1..=2 {
        assert_eq!(stage.told(n).prefixes(), "10.0.0.0/8 11.0.0.0/8");
    }
    let told = stage.speaker.tell_again("s1", None);
    assert_eq!(told, Ok(vec![Family::Ipv4Unicast]));
    assert_eq!(stage.told(1).prefixes(), "10.0.0.0/8 11.0.0.0/8");
    let updates = stage
        .hear(2)
        .into_iter()
        .filter(|(kind, _)| *kind == UPDATE);
    assert_eq!(updates.count(), 0);
    assert_eq!(stage.view(1).established_count, 1);
}
