//! A neighbour that restarts, and we who hold its routes meanwhile (RFC 4724, 4.2; RFC 8538).

use std::time::Duration;

use wayleave_bgp_core::{
    BfdReport,
    config::BfdTimers,
    feed::FeedEvent,
    view::State,
    wire::{Cease, MessageKind, Notification, RouteRefresh},
};

use crate::script::{Script, offer, restarts};

const SECOND: Duration = Duration::from_secs(1);

/// A neighbour with two routes that may take two minutes to come back.
fn neighbour(notification: bool) -> Script {
    let mut script = Script::new(restarts(120, true, notification), |_| {});
    script.announce(1);
    script.announce(2);
    script.end_of_rib();
    assert_eq!(script.held(), [(1, false), (2, false)]);
    script
}

/// RFC 4724, 4.2: the routes are retained and marked as stale, replaced by what is told anew, and
/// removed with the End-of-RIB marker.
#[test]
fn routes_are_held_while_the_neighbour_restarts_until_it_has_told_everything() {
    let mut script = neighbour(false);
    script.hang_up();
    assert_eq!(script.held(), [(1, true), (2, true)]);
    script.wait(100 * SECOND);
    script.come(restarts(120, true, false));
    assert_eq!(script.held(), [(1, true), (2, true)]);
    script.announce(2);
    script.announce(3);
    assert_eq!(script.held(), [(1, true), (2, false), (3, false)]);
    script.end_of_rib();
    assert_eq!(script.held(), [(2, false), (3, false)]);
}

#[test]
fn a_neighbour_that_does_not_come_back_in_its_time_has_lost_its_routes() {
    let mut script = neighbour(false);
    script.hang_up();
    script.wait(119 * SECOND);
    assert_eq!(script.held(), [(1, true), (2, true)]);
    script.wait(SECOND);
    assert_eq!(script.held(), []);
}

/// RFC 4724, 4.2: where the bit, the family or the capability is missing in the new OPEN, the stale
/// routes go at once.
#[test]
fn a_neighbour_that_comes_back_without_its_forwarding_state_has_lost_its_routes() {
    for offered in [restarts(120, false, false), offer(|_| {})] {
        let mut script = neighbour(false);
        script.hang_up();
        script.come(offered);
        assert_eq!(script.view().state, State::Established);
        assert_eq!(script.held(), []);
    }
}

/// RFC 4724, 4.2: what was "previously marked as stale MUST be deleted" when it restarts again.
#[test]
fn a_second_restart_keeps_only_what_was_told_since_the_first() {
    let mut script = neighbour(false);
    script.hang_up();
    script.come(restarts(120, true, false));
    script.announce(2);
    script.hang_up();
    assert_eq!(script.held(), [(2, true)]);
    for _ in 0..5 {
        script.wait(2 * SECOND);
        // One whose sessions come and go is held back like any other.
        while script.view().held_back_seconds.is_some() {
            script.wait(SECOND);
        }
        if script.held().is_empty() {
            return;
        }
        script.come(restarts(120, true, false));
        script.announce(2);
        script.hang_up();
        assert_eq!(script.held(), [(2, true)]);
    }
}

/// RFC 4724, 4.2: the old connection is closed without a NOTIFICATION, and the new one is kept.
#[test]
fn a_neighbour_that_calls_before_its_end_was_noticed_is_let_in_and_its_routes_are_held() {
    let mut script = neighbour(false);
    script.heard();
    let first = script.conn;
    script.wait(3 * SECOND);
    script.come(restarts(120, true, false));
    assert_ne!(script.conn, first);
    let view = script.view();
    assert_eq!(
        (view.state, view.established_count),
        (State::Established, 2)
    );
    assert_eq!(script.held(), [(1, true), (2, true)]);
    let second = std::mem::replace(&mut script.conn, first);
    let said = script.heard();
    let notified = said
        .iter()
        .any(|(kind, _)| *kind == MessageKind::Notification);
    assert!(!notified && script.speaker.is_closing(first), "{said:?}");
    script.conn = second;
    script.end_of_rib();
    assert_eq!(script.held(), []);
}

/// RFC 8538, 4: with the N bit of both a NOTIFICATION keeps the routes, unless it is a Hard Reset.
#[test]
fn what_a_notification_costs_depends_on_what_was_agreed() {
    let reset = Notification::cease(Cease::AdministrativeReset, None);
    for (agreed, said, held) in [
        (false, reset.clone(), false),
        (true, reset.clone(), true),
        (true, Notification::hold_timer_expired(), true),
        (true, Notification::hard_reset(&reset), false),
        (
            true,
            Notification::cease(Cease::MaximumPrefixes, None),
            false,
        ),
    ] {
        let mut script = neighbour(agreed);
        script.notify(&said);
        assert_eq!(!script.held().is_empty(), held, "{agreed}, {said}");
    }
}

/// RFC 8538, 3.1: what is to be over is said so that it is.
#[test]
fn an_operator_s_reset_and_too_many_routes_are_hard_where_other_reasons_are_not() {
    for agreed in [false, true] {
        let mut script = neighbour(agreed);
        script.heard();
        script.speaker.reset(script.now, "s1", Some("new cable"));
        script.settle();
        assert_eq!(script.held(), []);
        let (_, body) = script.heard().pop().expect("it is told");
        let said = Notification::decode(&body);
        let inner = said.hard_reset_reason();
        assert_eq!(inner.is_some(), agreed, "{said}");
        let reason = inner.unwrap_or(said);
        assert!(reason.is_cease(Cease::AdministrativeReset));

        let mut script = Script::new(restarts(120, true, agreed), |peer| {
            peer.max_prefixes = Some(1);
        });
        script.announce(1);
        script.announce(2);
        assert_eq!(script.held(), []);
        let (_, body) = script.heard().pop().expect("it is told");
        assert_eq!(
            Notification::decode(&body).is_cease(Cease::HardReset),
            agreed
        );
    }
}

/// Routes over a way that is known to be broken are no use to anybody.
#[test]
fn a_broken_way_is_no_restart() {
    let mut script = neighbour(true);
    script.speaker.link_down(script.now, "eth0");
    script.settle();
    assert_eq!(script.held(), []);

    let mut script = Script::new(restarts(120, true, true), |peer| {
        peer.bfd = Some(BfdTimers {
            interval: Duration::from_millis(50),
            multiplier: 3,
        });
    });
    script.announce(1);
    script
        .speaker
        .bfd(script.now, script.conn, BfdReport::Failed);
    script.settle();
    assert_eq!(script.held(), []);
}

#[test]
fn whoever_is_not_to_be_waited_for_is_not() {
    let mut script = Script::new(restarts(120, true, true), |peer| {
        peer.graceful_restart = false
    });
    script.announce(1);
    script.hang_up();
    assert_eq!(script.held(), []);

    // Taken out of the configuration, or reset, while it is away.
    let mut script = neighbour(false);
    script.hang_up();
    let mut config = script.speaker.config().clone();
    config.peers.clear();
    script.speaker.reconfigure(script.now, config);
    script.settle();
    assert_eq!(script.speaker.view().ipv4_routes, 0);

    let mut script = neighbour(false);
    script.hang_up();
    script.speaker.reset(script.now, "s1", None);
    script.settle();
    assert_eq!(script.held(), []);
}

/// An attempt that came through late, beside the one that was taken, is no restart.
#[test]
fn a_second_connection_right_after_the_first_is_an_ordinary_collision() {
    let mut script = neighbour(false);
    let first = script.conn;
    script.come(restarts(120, true, false));
    assert!(script.speaker.is_closing(script.conn));
    script.conn = first;
    assert_eq!(script.view().established_count, 1);
    assert_eq!(script.held(), [(1, false), (2, false)]);
}

/// What was to be told anew since a refresh began is no older than the rest.
#[test]
fn a_restart_in_the_middle_of_a_refresh_costs_nothing_more() {
    let mut offered = restarts(120, true, false);
    offered.enhanced_refresh = true;
    let mut script = Script::new(offered, |_| {});
    script.announce(1);
    script.announce(2);
    script.end_of_rib();
    script.refresh(RouteRefresh::BEGIN);
    script.announce(2);
    script.hang_up();
    assert_eq!(script.held(), [(1, true), (2, true)]);
}

/// A neighbour that comes back with other routes never had more at a time than it may.
#[test]
fn what_is_stale_does_not_count_against_the_maximum_of_prefixes() {
    let mut script = Script::new(restarts(120, true, false), |peer| {
        peer.max_prefixes = Some(2)
    });
    script.announce(1);
    script.announce(2);
    script.end_of_rib();
    script.hang_up();
    script.come(restarts(120, true, false));
    script.announce(3);
    script.announce(4);
    assert_eq!(script.view().state, State::Established);
    assert_eq!(script.held().len(), 4);
    script.end_of_rib();
    assert_eq!(script.held(), [(3, false), (4, false)]);
    script.announce(5);
    assert_eq!(
        script.view().last_error_code.map(|code| code.subcode),
        Some(1)
    );
}

#[test]
fn readers_of_a_feed_hear_which_routes_are_stale() {
    let mut script = neighbour(false);
    let feed = script.speaker.subscribe();
    let told = |script: &mut Script| {
        let mut told = Vec::new();
        while let Some(event) = script.speaker.poll_feed(script.now, feed, 64) {
            if let FeedEvent::Changes(changes) = event {
                told.extend(changes.into_iter().map(|change| {
                    let stale = change.route.map(|route| route.stale);
                    (change.prefix.to_string(), stale)
                }));
            }
        }
        told.sort();
        told
    };
    let both = |stale: Option<bool>| {
        ["10.1.0.0/16", "10.2.0.0/16"].map(|prefix| (prefix.to_owned(), stale))
    };
    assert_eq!(told(&mut script), both(Some(false)));
    script.hang_up();
    assert_eq!(told(&mut script), both(Some(true)));
    script.come(restarts(120, true, false));
    script.announce(1);
    assert_eq!(told(&mut script), both(Some(false))[..1]);
    script.end_of_rib();
    assert_eq!(told(&mut script), both(None)[1..]);
}
