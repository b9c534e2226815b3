//! Others in our table: those we leave alone, and those who do not leave us alone.

use super::*;

const HERE: &str = "10.1.0.0/24";
const MINE: &str = "10.1.0.0/24 via 192.0.2.2 dev if2 proto wayleave metric 50";

/// A host with one route installed.
fn with_route() -> Host {
    let mut host = Host::started();
    host.desire(HERE, &via(&["192.0.2.2"]));
    host.settle();
    assert_eq!(host.ours(), [MINE]);
    let _done = host.kernel.take_applied();
    host
}

fn key() -> wayleave_netlink::RouteKey {
    route(HERE, OURS, "192.0.2.2", ETH0).key()
}

#[test]
fn a_place_taken_by_another_protocol_is_left_alone_until_it_is_given_up() {
    let theirs = route(HERE, Protocol::BIRD, "192.0.2.9", ETH0);
    for before_start in [true, false] {
        let kernel = kernel();
        if before_start {
            kernel
                .by_others(&Change::RouteAdd(theirs.clone()))
                .expect("added");
        }
        let mut host = Host::with(kernel, &[]);
        if !before_start {
            host.settle();
            host.others(Change::RouteAdd(theirs.clone()));
        }
        host.desire(HERE, &via(&["192.0.2.2"]));
        host.desire("10.2.0.0/24", &via(&["192.0.2.2"]));
        host.settle();
        assert_eq!(host.trouble(HERE), Some(Trouble::Occupied(Protocol::BIRD)));
        assert_eq!(host.ours().len(), 1, "the other route is not held up");
        let problems = host.reconciler.changed_problems().expect("a new problem");
        assert_eq!(problems[0].key, "fib.occupied");
        assert_eq!(
            problems[0].what,
            "1 route is not installed: the place is taken"
        );
        assert_eq!(
            problems[0].why,
            "10.1.0.0/24 (protocol bird has a route with the same metric)"
        );
        let mut applied = host.kernel.take_applied();
        applied.retain(|change| !matches!(change, Change::NexthopAdd(_)));
        assert_eq!(applied.len(), 1, "theirs was never touched");

        host.others(Change::RouteDelete(theirs.key()));
        host.settle_at_once();
        assert_eq!(host.ours()[0], MINE);
        assert_eq!(host.trouble(HERE), None);
        assert_eq!(host.reconciler.changed_problems(), Some(vec![]));
    }
}

#[test]
fn a_place_taken_behind_our_back_is_found_by_the_refusal() {
    let mut host = Host::started();
    let theirs = route(HERE, Protocol::BIRD, "192.0.2.9", ETH0);
    host.others(Change::RouteAdd(theirs));
    // The event is lost without a sign.
    let _lost = host.kernel.take_events();
    host.desire(HERE, &via(&["192.0.2.2"]));
    host.settle();
    assert_eq!(host.trouble(HERE), Some(Trouble::Occupied(Protocol::BIRD)));
    assert_eq!(host.kernel.routes_of(Protocol::BIRD).len(), 1);
}

#[test]
fn a_route_that_somebody_deletes_is_back_at_once() {
    let mut host = with_route();
    host.others(Change::RouteDelete(key()));
    host.settle_at_once();
    assert_eq!(host.ours(), [MINE]);
}

#[test]
fn a_route_that_somebody_replaces_is_back_at_once() {
    let mut host = with_route();
    let hole = Route::blackhole(prefix(HERE), Protocol::BOOT).with_metric(METRIC);
    host.others(Change::RouteReplace(hole));
    assert_eq!(host.ours(), [""; 0]);
    host.settle_at_once();
    assert_eq!(host.ours(), [MINE]);
    assert_eq!(host.kernel.routes_of(Protocol::BOOT), []);
}

#[test]
fn a_route_of_ours_that_somebody_changes_is_changed_back_at_once() {
    let mut host = with_route();
    host.others(Change::RouteReplace(route(HERE, OURS, "192.0.2.66", ETH0)));
    host.settle_at_once();
    assert_eq!(host.ours(), [MINE]);
}

#[test]
fn a_route_replaced_while_events_were_lost_is_found_and_put_back() {
    let mut host = with_route();
    host.kernel
        .inject(wayleave_netlink::Fault::EventsOverrun, 0);
    let hole = Route::blackhole(prefix(HERE), Protocol::BOOT).with_metric(METRIC);
    host.others(Change::RouteReplace(hole));
    host.settle_at_once();
    assert_eq!(host.ours(), [MINE]);
}

#[test]
fn whoever_keeps_taking_our_place_gets_no_fight() {
    let mut host = with_route();
    let hole = Route::blackhole(prefix(HERE), Protocol::BOOT).with_metric(METRIC);
    let mut rewrites = Vec::new();
    for _ in 0..60_000 {
        if host.ours() == [MINE] {
            host.others(Change::RouteReplace(hole.clone()));
        }
        host.pass(Duration::from_millis(1));
        host.settle_at_once();
        if !host.kernel.take_applied().is_empty() {
            rewrites.push(host.now);
        }
    }
    let gaps: Vec<_> = rewrites
        .windows(2)
        .map(|w| w[1].since(w[0]).as_millis())
        .collect();
    assert_eq!(gaps, [1_001, 2_001, 4_001, 8_001, 16_001], "in a minute");
    assert!(matches!(
        host.trouble(HERE),
        Some(Trouble::Contested { times: 6.. })
    ));
    let problems = host.reconciler.changed_problems().expect("a problem");
    assert_eq!(problems[0].key, "fib.contested");

    // He gives up: ours is there again, and after a while nothing is said of it any more.
    host.settle();
    assert_eq!(host.ours(), [MINE]);
    host.pass(Duration::from_secs(400));
    host.settle();
    assert_eq!(host.trouble(HERE), None);
}

#[test]
fn a_better_route_of_somebody_else_is_reported_and_left_alone() {
    let mut host = with_route();
    let theirs = Route::blackhole(prefix(HERE), Protocol::STATIC);
    host.others(Change::RouteAdd(theirs.clone()));
    host.settle();
    assert_eq!(host.ours(), [MINE]);
    let problems = host.reconciler.changed_problems().expect("a problem");
    assert_eq!(problems[0].key, "fib.shadowed");
    assert_eq!(
        problems[0].why,
        "10.1.0.0/24 (protocol static has a route with the better metric 0)"
    );
    assert_eq!(host.kernel.take_applied(), []);
    host.others(Change::RouteDelete(theirs.key()));
    host.settle();
    assert_eq!(host.reconciler.changed_problems(), Some(vec![]));
}

#[test]
fn a_whole_table_that_somebody_flushes_is_back_at_once() {
    let mut host = Host::started();
    let wish = via(&["192.0.2.2"]);
    for i in 0..1_000 {
        host.desire(&format!("10.{}.{}.0/24", i / 250, i % 250), &wish);
    }
    host.settle();
    for route in host.kernel.routes_of(OURS) {
        host.others(Change::RouteDelete(route.key()));
    }
    assert_eq!(host.ours(), [""; 0]);
    host.settle_at_once();
    assert_eq!(host.ours().len(), 1_000);
}

#[test]
fn a_refused_route_holds_up_no_other_and_is_tried_again() {
    let mut host = Host::started();
    for i in 0..10 {
        host.desire(&format!("10.0.{i}.0/24"), &via(&["192.0.2.2"]));
    }
    host.kernel.inject(wayleave_netlink::Fault::RefuseEnomem, 5);
    host.settle_at_once();
    assert_eq!(host.ours().len(), 9);
    let refused = host.trouble("10.0.4.0/24").expect("refused").to_string();
    assert_eq!(refused, "the kernel refused: Out of memory (ENOMEM)");
    host.settle();
    assert_eq!(host.ours().len(), 10);
    assert_eq!(host.trouble("10.0.4.0/24"), None);
}
