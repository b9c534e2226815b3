//! This speaker restarts: what it asks of its neighbours, and how it comes back (RFC 4724, 4.1;
//! RFC 8538).

use std::time::Duration;

use wayleave_bgp_core::{
    Family, Speaker,
    config::SpeakerConfig,
    feed::FeedEvent,
    view::RibKind,
    wire::{Capabilities, GracefulRestart, MessageKind, Notification, Open, RouteRefresh},
};

use crate::{
    net::{Net, config, peer},
    routing::own,
    script::{Script, offer},
};

const SECOND: Duration = Duration::from_secs(1);
/// More than the first half minute, after which a first start is over.
const LATER: Duration = Duration::from_secs(40);

/// A speaker with the passive neighbour of a [`Script`], that asks to be waited for.
fn asks(change: impl FnOnce(&mut SpeakerConfig)) -> SpeakerConfig {
    let mut config = config(0, 65_001);
    config.restart_time = 60;
    let mut neighbour = peer(1, 65_002);
    neighbour.passive = true;
    config.peers.push(neighbour);
    change(&mut config);
    config
}

/// The neighbour knows of restarts; `restarting`: it has restarted too.
fn knows(restarting: bool, notification: bool) -> Capabilities {
    offer(|capabilities| {
        capabilities.graceful_restart = Some(GracefulRestart {
            restarting,
            notification,
            time: 90,
            families: vec![(1, 1, true)],
        });
    })
}

fn said(messages: &[(MessageKind, Vec<u8>)], kind: MessageKind) -> Vec<&[u8]> {
    let of_kind = messages.iter().filter(|(said, _)| *said == kind);
    of_kind.map(|(_, body)| &body[..]).collect()
}

/// What the OPEN among these messages says of our restarts.
fn restart_in(messages: &[(MessageKind, Vec<u8>)]) -> GracefulRestart {
    let open = Open::decode(said(messages, MessageKind::Open)[0]).unwrap();
    open.capabilities.graceful_restart.unwrap()
}

#[test]
fn an_open_asks_for_our_routes_to_be_held_and_says_what_has_become_of_them() {
    // 3: a first start has kept nothing; "the most significant bit is ... the Restart State (R) bit".
    let mut fresh = Script::with(asks(|_| ()), knows(false, true));
    let first = restart_in(&fresh.heard());
    assert_eq!((first.restarting, first.time), (false, 60));
    assert_eq!(first.families, [(1, 1, false), (2, 1, false)]);
    // Of a session that comes again later, everything was kept.
    fresh.wait(LATER);
    fresh.hang_up();
    fresh.come(knows(false, true));
    let again = restart_in(&fresh.heard());
    assert!(!again.restarting);
    assert_eq!(again.families, [(1, 1, true), (2, 1, true)]);

    let restarted = asks(|config| config.restarted = true);
    let mut restarted = Script::with(restarted, knows(false, true));
    let open = restart_in(&restarted.heard());
    assert!(open.restarting);
    assert_eq!(open.families, [(1, 1, true), (2, 1, true)]);

    // Nobody is asked by a speaker, or of a neighbour, that is told not to.
    let silent = [
        asks(|config| config.restart_time = 0),
        asks(|config| config.peers[0].graceful_restart = false),
    ];
    for config in silent {
        let open = restart_in(&Script::with(config, knows(false, true)).heard());
        assert!(open.families.is_empty() && open.time == 0);
    }
}

#[test]
fn after_a_restart_nothing_is_told_before_the_neighbour_has_told_everything() {
    let config = asks(|config| {
        config.restarted = true;
        config.awaits_own_routes = true;
    });
    let mut script = Script::with(config, knows(false, true));
    let feed = script.speaker.subscribe();
    script
        .speaker
        .originate(script.now, vec![own("10.200.0.0/16")]);
    script.announce(1);
    script.settle();
    assert!(script.speaker.is_deferring());
    let early = script.heard();
    assert!(said(&early, MessageKind::Update).is_empty());
    assert_eq!(script.speaker.poll_feed(script.now, feed, 9), None);
    // KEEPALIVEs go on, and what is asked meanwhile is answered later.
    script.wait(3 * SECOND);
    script.refresh(RouteRefresh::REQUEST);
    assert!(said(&script.heard(), MessageKind::Update).is_empty());

    // 4.1: until "it receives the End-of-RIB marker from all its peers", and ours is known.
    script.end_of_rib();
    assert!(script.speaker.is_deferring());
    let now = script.now;
    script.speaker.own_routes_are_complete(now);
    assert!(!script.speaker.is_deferring());
    script.settle();
    let later = script.heard();
    let updates = said(&later, MessageKind::Update);
    assert!(updates.len() >= 2, "our route, and End-of-RIB: {updates:?}");
    let end = updates.iter().position(|body| *body == [0; 4]);
    assert!(
        end.is_some_and(|at| at > 0),
        "End-of-RIB is behind our route: {updates:?}"
    );
    assert!(updates.len() > 2, "the refresh that was asked for follows");
    let event = script.speaker.poll_feed(script.now, feed, 9);
    let Some(FeedEvent::Changes(changes)) = event else {
        panic!("{event:?}")
    };
    assert_eq!(changes.len(), 2);
    let event = script.speaker.poll_feed(script.now, feed, 9);
    assert_eq!(event, Some(FeedEvent::InSync(Family::Ipv4Unicast)));
}

#[test]
fn nobody_is_waited_for_longer_than_the_selection_deferral_timer() {
    // "an upper bound on the amount of time a router defers its route selection" (4.1).
    let config = asks(|config| {
        config.restarted = true;
        config.awaits_own_routes = true;
        config.selection_deferral = 10 * SECOND;
        config.peers.push(peer(7, 65_008));
    });
    let mut script = Script::with(config, knows(false, true));
    script.announce(1);
    script.wait(9 * SECOND);
    assert!(script.speaker.is_deferring());
    let (due, timer) = script.speaker.poll_timeout().unwrap();
    assert!(timer == "deferral" || due < script.now + SECOND, "{timer}");
    script.wait(SECOND);
    assert!(!script.speaker.is_deferring());
    script.settle();
    assert!(!said(&script.heard(), MessageKind::Update).is_empty());
}

#[test]
fn a_neighbour_that_restarts_too_is_not_waited_for() {
    // Two that wait for each other would wait in vain (3, the Restart State bit).
    let config = asks(|config| config.restarted = true);
    let mut script = Script::with(config, knows(true, true));
    script.settle();
    assert!(!script.speaker.is_deferring());
    assert!(!said(&script.heard(), MessageKind::Update).is_empty());
}

#[test]
fn a_neighbour_without_end_of_rib_is_waited_for_until_it_is_quiet() {
    let config = asks(|config| config.restarted = true);
    let mut script = Script::with(config, offer(|_| ()));
    script.announce(1);
    script.wait(SECOND);
    assert!(script.speaker.is_deferring());
    script.wait(3 * SECOND);
    assert!(!script.speaker.is_deferring());
}

#[test]
fn neighbours_of_a_range_are_waited_for_until_nobody_comes_any_more() {
    let config = asks(|config| {
        config.restarted = true;
        config.selection_deferral = 25 * SECOND;
        let mut template = config.peers.pop().unwrap();
        template.name = "192.0.2.0/24".to_owned();
        config.ranges.push(wayleave_bgp_core::config::ListenRange {
            prefix: "192.0.2.0/24".parse().unwrap(),
            limit: 9,
            template,
        });
    });
    let mut script = Script::with(config, knows(false, true));
    script.end_of_rib();
    script.wait(9 * SECOND);
    let view = script.speaker.deferral(script.now).unwrap();
    assert_eq!(
        (view.seconds, view.waits_for),
        (16, vec!["192.0.2.0/24".to_owned()])
    );
    assert!(restart_in(&script.heard()).restarting);
    script.wait(SECOND);
    assert!(!script.speaker.is_deferring());
    assert_eq!(script.speaker.deferral(script.now), None);
}

#[test]
fn a_session_that_has_only_begun_is_closed_without_a_word() {
    // Its neighbour may hold our routes since the time before, and any NOTIFICATION ends that.
    let mut speaker = Speaker::new(wayleave_bgp_core::Time(0), asks(|_| ()));
    let now = wayleave_bgp_core::Time(0);
    let conn = speaker.accepted(now, crate::net::call(1, 0)).unwrap();
    let mut slices = Vec::new();
    speaker.output(conn, 9, &mut slices);
    let open = slices.iter().map(|slice| slice.len()).sum();
    drop(slices);
    speaker.written(now, conn, open);
    speaker.depart(now);
    assert!(speaker.is_closing(conn));
    let mut slices = Vec::new();
    speaker.output(conn, 9, &mut slices);
    assert!(slices.iter().all(|slice| slice.is_empty()));
}

#[test]
fn how_a_session_is_closed_for_a_restart_depends_on_what_the_neighbour_knows() {
    let notification = |capabilities: Capabilities, config: SpeakerConfig| {
        let mut script = Script::with(config, capabilities);
        script.heard();
        let now = script.now;
        script.speaker.depart(now);
        assert!(script.speaker.is_closing(script.conn));
        let heard = script.heard();
        let said = said(&heard, MessageKind::Notification);
        said.first()
            .map(|body| Notification::decode(body))
            .map(|said| (said.code, said.subcode))
    };
    // RFC 8538, 4: a NOTIFICATION that both read as a restart; RFC 4724, 4.2: any is the end of what
    // is held, so that none is sent.
    assert_eq!(notification(knows(false, true), asks(|_| ())), Some((6, 4)));
    assert_eq!(notification(knows(false, false), asks(|_| ())), None);
    // It does not hold our routes: it is told that we are gone.
    assert_eq!(notification(offer(|_| ()), asks(|_| ())), Some((6, 2)));
    let off = asks(|config| config.restart_time = 0);
    assert_eq!(notification(knows(false, false), off), Some((6, 2)));
    // "Hard Reset", with the reason inside, where another NOTIFICATION would be read as a restart.
    let off = asks(|config| config.restart_time = 0);
    assert_eq!(notification(knows(false, true), off), Some((6, 9)));
}

/// 0 - 1 - 2: what 1 passes on stays in use while it restarts, and what is gone by then goes.
#[test]
fn routes_through_a_speaker_that_restarts_stay_until_it_has_told_everything() {
    for orderly in [false, true] {
        let mut net = Net::graph(7, &[65_001, 65_002, 65_003], &[(0, 1), (1, 2)]);
        let mut config = net.speakers[1].config().clone();
        config.restart_time = 60;
        config.restarted = true;
        let now = net.now;
        net.speakers[1] = Speaker::new(now, config);
        net.raise();
        net.run(5 * SECOND);
        let routes = ["10.1.0.0/16", "10.2.0.0/16"];
        net.speakers[0].originate(now, routes.map(own).to_vec());
        net.speakers[1].originate(now, vec![own("10.9.0.0/16")]);
        net.settle();
        let seen = |net: &Net| {
            let routes = net.routes(2, RibKind::Loc, None).into_iter();
            let seen = routes.map(|route| (route.prefix.to_string(), route.stale));
            seen.collect::<Vec<_>>()
        };
        let all = |stale| {
            ["10.1.0.0/16", "10.2.0.0/16", "10.9.0.0/16"].map(|prefix| (prefix.to_owned(), stale))
        };
        assert_eq!(seen(&net), all(false));

        if orderly {
            let now = net.now;
            net.speakers[1].depart(now);
            net.settle();
            assert_eq!(seen(&net), all(true), "orderly");
        }
        // 0 has something to withdraw meanwhile, and 1 forgets what it originated.
        net.restart(1);
        let now = net.now;
        net.speakers[0].withdraw(now, 0, &["10.2.0.0/16".parse().unwrap()]);
        for _ in 0..400 {
            net.steps(1);
            let there = seen(&net);
            let kept = there.iter().any(|(prefix, _)| prefix == "10.1.0.0/16");
            assert!(kept, "orderly: {orderly}, {there:?}");
        }
        net.raise();
        net.run(10 * SECOND);
        assert_eq!(seen(&net), [("10.1.0.0/16".to_owned(), false)]);
        assert_eq!(net.peer(2, "s1").established_count, 2);
    }
}
