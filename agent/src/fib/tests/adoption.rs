//! Start: nothing is flushed, everything is adopted, strays are swept late.

use super::*;

#[test]
fn nothing_is_changed_before_everything_was_listed() {
    let mut host = Host::new(&[]);
    host.kernel.inject(wayleave_netlink::Fault::DumpTrickles, 0);
    host.desire("10.1.0.0/24", &via(&["192.0.2.2"]));
    for _ in 0..5 {
        assert_eq!(host.turn(), Turn::Again);
        assert_eq!(host.ours(), [""; 0]);
    }
    host.settle();
    assert_eq!(
        host.ours(),
        ["10.1.0.0/24 via 192.0.2.2 dev if2 proto wayleave metric 50"]
    );
}

#[test]
fn what_is_right_already_is_not_touched_and_what_differs_is_replaced_in_place() {
    let kernel = kernel();
    let right = route("10.1.0.0/24", OURS, "192.0.2.2", ETH0);
    let wrong = route("10.2.0.0/24", OURS, "192.0.2.9", ETH0);
    for route in [&right, &wrong] {
        kernel
            .by_others(&Change::RouteAdd(route.clone()))
            .expect("added");
    }
    let mut host = Host::set_up(INLINE, kernel, &[Owner::Bgp]);
    host.desire("10.1.0.0/24", &via(&["192.0.2.2"]));
    host.desire("10.2.0.0/24", &via(&["192.0.2.2"]));
    host.in_sync(Owner::Bgp);
    host.settle();
    let replaced = route("10.2.0.0/24", OURS, "192.0.2.2", ETH0);
    assert_eq!(host.kernel.take_applied(), [Change::RouteReplace(replaced)]);
}

#[test]
fn strays_are_swept_only_when_every_owner_has_claimed_his_routes_in_that_family() {
    let kernel = kernel();
    let stray4 = route("10.1.0.0/24", OURS, "192.0.2.2", ETH0);
    let stray6 = route("2001:db8:1::/64", OURS, "2001:db8::2", ETH0);
    let local = Route::unicast(prefix("10.9.0.1/32"), OURS, NextHop::dev(ETH1));
    for route in [&stray4, &stray6, &local] {
        kernel
            .by_others(&Change::RouteAdd(route.clone()))
            .expect("added");
    }
    let mut host = Host::with(kernel, &[Owner::Attach, Owner::Bgp]);
    let left = |host: &Host| host.ours().len();
    host.settle();
    assert_eq!(left(&host), 3);
    host.in_sync(Owner::Attach);
    host.settle();
    assert_eq!(left(&host), 3, "the speaker may still claim them");
    let now = host.now;
    host.fib().in_sync(Owner::Bgp, Family::V6, now);
    host.settle();
    assert_eq!(left(&host), 2, "IPv6 is claimed by everybody");
    // What is claimed late, but before the last has claimed, stays without being touched.
    let wish = Wish::exactly(&local);
    host.desires(Owner::Attach, Slot::new(local.prefix, 0), Some(&wish));
    let _before = host.kernel.take_applied();
    let now = host.now;
    host.fib().in_sync(Owner::Bgp, Family::V4, now);
    host.settle();
    assert_eq!(host.ours(), ["10.9.0.1/32 dev if3 proto wayleave"]);
    assert_eq!(
        host.kernel.take_applied(),
        [Change::RouteDelete(stray4.key())]
    );
}

#[test]
fn only_our_protocol_in_our_table_at_our_metrics_is_ours() {
    let kernel = kernel();
    let base = route("10.1.0.0/24", OURS, "192.0.2.2", ETH0);
    let others = [
        base.clone().with_metric(METRIC + 1),
        base.clone().with_metric(7),
        base.clone().in_table(100),
        Route {
            protocol: Protocol::BIRD,
            prefix: prefix("10.2.0.0/24"),
            ..base.clone()
        },
    ];
    for route in others.iter().chain([&base]) {
        kernel
            .by_others(&Change::RouteAdd(route.clone()))
            .expect("added");
    }
    let mut host = Host::with(kernel, &[]);
    host.settle();
    let mut left = host.kernel.routes();
    let mut expected = others.to_vec();
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_route_of_ours_that_appears_unasked_is_given_time_to_be_claimed() {
    let mut host = Host::started();
    let local = Route::unicast(prefix("10.9.0.1/32"), OURS, NextHop::dev(ETH1));
    let stray = Route::unicast(prefix("10.9.0.2/32"), OURS, NextHop::dev(ETH1));
    host.others(Change::RouteAdd(local.clone()));
    host.others(Change::RouteAdd(stray.clone()));
    host.settle_at_once();
    assert_eq!(host.ours().len(), 2);
    host.desires(
        Owner::Attach,
        Slot::new(local.prefix, 0),
        Some(&Wish::exactly(&local)),
    );
    host.settle();
    assert_eq!(host.ours(), ["10.9.0.1/32 dev if3 proto wayleave"]);
    assert_eq!(
        host.kernel.take_applied(),
        [Change::RouteDelete(stray.key())]
    );
}

#[test]
fn the_stronger_owner_wins_and_the_weaker_takes_over_when_he_goes() {
    let mut host = Host::started();
    let at = slot("10.1.0.0/26");
    host.desire("10.1.0.0/26", &via(&["192.0.2.2"]));
    host.settle();
    host.desires(Owner::Block, at, Some(&Wish::Blackhole));
    host.settle();
    assert_eq!(
        host.ours(),
        ["blackhole 10.1.0.0/26 proto wayleave metric 50"]
    );
    host.desire("10.1.0.0/26", &via(&["192.0.2.3"]));
    host.settle();
    assert_eq!(
        host.ours(),
        ["blackhole 10.1.0.0/26 proto wayleave metric 50"]
    );
    host.renounces(Owner::Block, at.prefix);
    host.settle();
    assert_eq!(
        host.ours(),
        ["10.1.0.0/26 via 192.0.2.3 dev if2 proto wayleave metric 50"]
    );
    host.renounce("10.1.0.0/26");
    host.settle();
    assert_eq!(host.ours(), [""; 0]);
    let forgotten = format!("{:?}", host.reconciler.view());
    assert!(
        !forgotten.contains("10.1.0.0"),
        "nothing is kept of it: {forgotten}"
    );
}

#[test]
fn many_routes_go_in_in_order_and_out_in_reverse() {
    let mut host = Host::started();
    let wish = via(&["192.0.2.2"]);
    let all: Vec<_> = (0..5_000_u32)
        .map(|i| format!("10.{}.{}.0/24", i / 250, i % 250))
        .collect();
    for prefix in &all {
        host.desire(prefix, &wish);
    }
    host.settle();
    assert_eq!(host.ours().len(), 5_000);
    #[allow(clippy::wildcard_enum_match_arm, reason = "whatever else there may be")]
    let place = |change: &Change| match change {
        Change::RouteAdd(route) => (true, route.prefix),
        Change::RouteDelete(key) => (false, key.prefix),
        other => panic!("neither an addition nor a removal: {other}"),
    };
    let applied = |host: &Host| {
        let mut applied = host.kernel.take_applied();
        applied
            .retain(|change| !matches!(change, Change::NexthopAdd(_) | Change::NexthopDelete(_)));
        applied
    };
    let added: Vec<_> = applied(&host).iter().map(place).collect();
    assert!(added.is_sorted() && added.iter().all(|(addition, _)| *addition));
    for prefix in &all {
        host.renounce(prefix);
    }
    host.settle();
    assert_eq!(host.ours(), [""; 0]);
    let removed: Vec<_> = applied(&host).iter().rev().map(place).collect();
    assert!(removed.is_sorted() && removed.iter().all(|(addition, _)| !addition));
}

#[test]
fn a_container_here_wins_over_a_learned_route_whatever_the_metric() {
    // Of IPv6, metric 0 is 1024 to the kernel, which is worse than that of learned routes.
    for (text, router) in [
        ("10.9.0.1/32", "192.0.2.2"),
        ("2001:db8:9::1/128", "2001:db8::2"),
    ] {
        let mut host = Host::started();
        let local = Route::unicast(prefix(text), OURS, NextHop::dev(ETH1)).canonical();
        host.desire(text, &via(&[router]));
        host.settle();
        let learned = host.ours();
        let at = Slot::new(local.prefix, local.metric);
        host.desires(Owner::Attach, at, Some(&Wish::exactly(&local)));
        host.settle();
        assert_eq!(host.ours(), [local.to_string()]);
        host.renounces(Owner::Attach, local.prefix);
        host.settle();
        assert_eq!(host.ours(), learned);
    }
}
