//! Route refresh, asked for and announced (RFC 2918, RFC 7313).

use std::time::Duration;

use wayleave_bgp_core::{
    Limits, Speaker, Time,
    wire::{MessageKind, RouteRefresh},
};

use crate::{
    routing::own,
    script::{Script, offer, restarts},
};

const REQUEST: u8 = RouteRefresh::REQUEST;
const BEGIN: u8 = RouteRefresh::BEGIN;
const END: u8 = RouteRefresh::END;

fn enhanced() -> Script {
    let offer = offer(|capabilities| capabilities.enhanced_refresh = true);
    Script::new(offer, |_| {})
}

/// RFC 7313, 4: with the first mark all that is held is stale, and with the second what still is goes.
#[test]
fn what_is_not_told_again_between_the_marks_is_gone() {
    let mut script = enhanced();
    for n in 1..=4 {
        script.announce(n);
    }
    script.refresh(BEGIN);
    let stale = (1..=4).map(|n| (n, true)).collect::<Vec<_>>();
    assert_eq!(script.held(), stale, "held until the end");
    script.announce(2);
    script.announce(5);
    assert_eq!(
        script.held(),
        [(1, true), (2, false), (3, true), (4, true), (5, false)]
    );
    script.refresh(END);
    assert_eq!(script.held(), [(2, false), (5, false)]);
    // And once more, from what is left.
    script.wait(Duration::from_secs(1));
    script.refresh(BEGIN);
    script.announce(5);
    script.refresh(END);
    assert_eq!(script.held(), [(5, false)]);
}

#[test]
fn a_second_beginning_makes_everything_stale_anew() {
    let mut script = enhanced();
    script.announce(1);
    script.announce(2);
    script.refresh(BEGIN);
    script.announce(2);
    script.wait(Duration::from_secs(1));
    script.refresh(BEGIN);
    assert_eq!(script.held(), [(1, true), (2, true)]);
    script.announce(1);
    script.refresh(END);
    assert_eq!(script.held(), [(1, false)]);
}

/// Each is work on the table: a flood of marks is none, and brings nothing back that was gone.
#[test]
fn marks_that_come_all_the_time_count_once_a_second() {
    let mut script = enhanced();
    script.announce(1);
    script.announce(2);
    let marks = |subtype| {
        let mut bytes = Vec::new();
        let (afi, safi) = (1, 1);
        RouteRefresh { afi, safi, subtype }.encode(&mut bytes);
        bytes
    };
    // As many epochs as there are numbers for them, in one read.
    let flood = [marks(BEGIN), marks(END)].concat().repeat(256);
    script.say(&flood);
    assert_eq!(script.held(), []);
    script.announce(3);
    script.say(&flood);
    assert_eq!(script.held(), [(3, false)], "not again so soon");
    script.wait(Duration::from_secs(1));
    script.say(&flood);
    assert_eq!(script.held(), []);
}

/// A refresh, and a change of policy while it is on its way: the end follows all the same.
#[test]
fn a_neighbour_that_is_sent_other_things_from_now_on_still_hears_the_end_of_a_refresh() {
    let mut script = enhanced();
    let now = script.now;
    script.speaker.originate(now, vec![own("10.9.0.0/16")]);
    script.settle();
    words(&mut script);
    script.speaker.received(now, script.conn, &{
        let mut bytes = Vec::new();
        let (afi, safi, subtype) = (1, 1, REQUEST);
        RouteRefresh { afi, safi, subtype }.encode(&mut bytes);
        bytes
    });
    let mut config = script.speaker.config().clone();
    config.peers[0].export = wayleave_bgp_core::config::Policy::Own;
    script.speaker.reconfigure(now, config);
    script.settle();
    let heard = words(&mut script);
    assert_eq!(heard.first(), Some(&"begin"), "{heard:?}");
    assert_eq!(heard.last(), Some(&"end"), "{heard:?}");
    assert!(heard.contains(&"route"), "{heard:?}");
}

/// RFC 7313, 4: "a locally configurable upper bound on how long it would retain any stale routes".
#[test]
fn an_end_that_never_comes_is_waited_for_six_minutes() {
    let mut script = enhanced();
    script.announce(1);
    script.refresh(BEGIN);
    script.wait(Duration::from_secs(359));
    assert_eq!(script.held(), [(1, true)]);
    script.wait(Duration::from_secs(1));
    assert_eq!(script.held(), []);
    script.announce(1);
    assert_eq!(script.held(), [(1, false)]);
}

/// RFC 7313, 5: marks that were not agreed upon are ignored, and before End-of-RIB of a neighbour that
/// sends it: "MUST ignore any BoRRs" (4).
#[test]
fn marks_that_mean_nothing_are_ignored() {
    let mut script = Script::new(offer(|_| {}), |_| {});
    script.announce(1);
    script.refresh(BEGIN);
    script.refresh(END);
    assert_eq!(script.held(), [(1, false)]);

    let mut offered = restarts(120, true, false);
    offered.enhanced_refresh = true;
    let mut script = Script::new(offered, |_| {});
    script.announce(1);
    script.refresh(BEGIN);
    script.refresh(END);
    assert_eq!(script.held(), [(1, false)]);
    script.end_of_rib();
    script.refresh(BEGIN);
    script.refresh(END);
    assert_eq!(script.held(), [], "now they mean something");
    // No subtype that exists: ignored.
    script.announce(1);
    script.refresh(77);
    assert_eq!(script.held(), [(1, false)]);
}

/// What the neighbour hears, in words.
fn words(script: &mut Script) -> Vec<&'static str> {
    let word = |(kind, body): (MessageKind, Vec<u8>)| match kind {
        MessageKind::Update if body == [0; 4] => "end-of-rib",
        MessageKind::Update if body[..2] != [0, 0] => "withdraw",
        MessageKind::Update => "route",
        MessageKind::RouteRefresh if body[2] == BEGIN => "begin",
        MessageKind::RouteRefresh if body[2] == END => "end",
        MessageKind::RouteRefresh => "request",
        MessageKind::Open | MessageKind::Keepalive => "open",
        MessageKind::Notification => "notification",
    };
    let heard = script.heard().into_iter().map(word);
    heard.filter(|word| *word != "open").collect()
}

/// RFC 7313, 4: no mark goes out before End-of-RIB.
#[test]
fn a_table_asked_for_is_sent_between_marks_to_those_who_know_them_and_never_before_end_of_rib() {
    for (known, expected) in [
        (true, &["begin", "route", "end"][..]),
        (false, &["route"][..]),
    ] {
        let offer = offer(|capabilities| capabilities.enhanced_refresh = known);
        let mut script = Script::new(offer.clone(), |_| {});
        let now = script.now;
        script.speaker.originate(now, vec![own("10.9.0.0/16")]);
        script.hang_up();
        script.come(offer);
        // Asked before anything was written: the first table comes first, whole.
        script.refresh(REQUEST);
        let first = words(&mut script);
        assert_eq!(first, [&["route", "end-of-rib"], expected].concat());
        script.refresh(REQUEST);
        assert_eq!(words(&mut script), expected);
    }
}

#[test]
fn a_request_withdraws_only_what_the_neighbour_holds() {
    let mut script = Script::new(offer(|_| {}), |_| {});
    let now = script.now;
    // The neighbour's own routes are not for it, and it has never heard of them from us.
    for n in 1..=9 {
        script.announce(n);
    }
    script
        .speaker
        .originate(now, vec![own("10.90.0.0/16"), own("10.91.0.0/16")]);
    script.settle();
    assert_eq!(words(&mut script).last(), Some(&"route"));
    // One of ours goes while it has not been written yet.
    let gone = "10.91.0.0/16".parse().unwrap();
    script.speaker.withdraw(now, 0, &[gone]);
    script.settle();
    script.refresh(REQUEST);
    assert_eq!(words(&mut script), ["withdraw", "route"]);
    // And one while everything is being told again.
    script.refresh(REQUEST);
    let gone = "10.90.0.0/16".parse().unwrap();
    script.speaker.withdraw(now, 0, &[gone]);
    script.settle();
    assert_eq!(words(&mut script).last(), Some(&"withdraw"));
}

/// Requests faster than a walk through the table kept it from ever ending.
#[test]
fn requests_that_come_all_the_time_do_not_keep_the_table_from_arriving() {
    let limits = Limits {
        walk: 4,
        unwritten: 1,
        ..Limits::default()
    };
    let mut config = crate::net::config(0, 65_001);
    let mut neighbour = crate::net::peer(1, 65_002);
    neighbour.passive = true;
    config.peers.push(neighbour);
    let mut script = Script::with(config.clone(), offer(|_| {}));
    script.speaker = Speaker::with_limits(Time(0), config, limits);
    script.come(offer(|_| {}));
    let routes = (0..200).map(|n| {
        let mut route = own(&format!("10.1.{n}.0/24"));
        route.med = Some(n);
        route
    });
    let now = script.now;
    script.speaker.originate(now, routes.collect());
    let (mut routes, mut passes) = (0, 0);
    for _ in 0..2_000 {
        script.refresh(REQUEST);
        // One piece is read between two requests.
        let mut slices = Vec::new();
        script.speaker.output(script.conn, 1, &mut slices);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        drop(slices);
        let now = script.now;
        script.speaker.written(now, script.conn, bytes.len());
        let mut rest = &bytes[..];
        while let Some(message) = wayleave_bgp_core::wire::frame(rest, 4_096).unwrap() {
            if message.kind == MessageKind::Update && message.body == [0; 4] {
                passes += 1;
            } else if message.kind == MessageKind::Update {
                routes += 1;
            }
            rest = &rest[message.len..];
        }
        script.settle();
    }
    assert_eq!(passes, 1, "the first table has an end");
    assert!(routes >= 400, "{routes} routes: the table, again and again");
}
