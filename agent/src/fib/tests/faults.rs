//! Every fault of the fake kernel, at several moments: the end is always the same.

use wayleave_netlink::Fault;

use super::*;

/// A life: start with something adopted and something foreign, additions, changes, removals,
/// disturbances. Returns what must be there in the end.
fn live(host: &mut Host) -> Vec<String> {
    host.settle();
    for i in 0..20 {
        host.desire(&format!("10.1.{i}.0/24"), &via(&["192.0.2.2"]));
        host.desire(&format!("2001:db8:1{i:02x}::/64"), &via(&["2001:db8::2"]));
    }
    host.settle();
    for i in 0..10 {
        host.desire(
            &format!("10.1.{i}.0/24"),
            &via(&["192.0.2.3", "198.51.100.3"]),
        );
    }
    for i in 15..20 {
        host.renounce(&format!("10.1.{i}.0/24"));
    }
    host.settle();
    // Somebody disturbs us; whether he succeeds depends on the fault.
    let hole = Route::blackhole(prefix("10.1.3.0/24"), Protocol::BOOT).with_metric(METRIC);
    let _maybe = host.kernel.by_others(&Change::RouteReplace(hole));
    let gone = route("10.1.4.0/24", OURS, "192.0.2.3", ETH0).key();
    let _maybe = host.kernel.by_others(&Change::RouteDelete(gone));
    host.settle();
    // The operator repairs what the fault has broken.
    for link in [ETH0, ETH1] {
        let _up = host.kernel.by_others(&LinkChange::of(link).up(true).into());
    }
    let _there = host.kernel.by_others(&Change::AddressAdd(Address::new(
        ETH0,
        ip("2001:db8::1"),
        64,
    )));
    host.settle();
    // What was lost without a word is found by the next audit at the latest.
    host.pass(Duration::from_secs(301));
    host.settle();

    let mut expected = Vec::new();
    for i in 0..15 {
        let hops = if i < 10 {
            vec![("192.0.2.3", ETH0), ("198.51.100.3", ETH1)]
        } else {
            vec![("192.0.2.2", ETH0)]
        };
        let hops: Vec<_> = hops
            .into_iter()
            .map(|(gw, dev)| NextHop::via(ip(gw), dev))
            .collect();
        expected.push(
            Route::unicast(prefix(&format!("10.1.{i}.0/24")), OURS, hops).with_metric(METRIC),
        );
    }
    for i in 0..20 {
        expected.push(route(
            &format!("2001:db8:1{i:02x}::/64"),
            OURS,
            "2001:db8::2",
            ETH0,
        ));
    }
    expected.sort();
    expected.iter().map(Route::to_string).collect()
}

/// A kernel with a stray of ours and a route of somebody else's.
fn lived_in() -> FakeKernel {
    let kernel = kernel();
    let stray = route("10.250.0.0/24", OURS, "192.0.2.2", ETH0);
    for route in [stray, theirs()] {
        kernel.by_others(&Change::RouteAdd(route)).expect("added");
    }
    kernel
}

fn theirs() -> Route {
    // Over the interface no fault takes down, so that what becomes of it is our doing alone.
    Route::blackhole(prefix("10.251.0.0/24"), Protocol::BIRD).with_metric(METRIC)
}

fn check(name: &str, host: &mut Host, expected: &[String]) {
    assert_eq!(host.ours(), expected, "{name}");
    assert_eq!(host.kernel.routes_of(Protocol::BIRD), [theirs()], "{name}");
    let stuck: Vec<_> = host
        .fib()
        .status(None, usize::MAX)
        .into_iter()
        .filter(|s| s.trouble.is_some())
        .collect();
    assert!(stuck.is_empty(), "{name}: {stuck:#?}");
    let (_, _, waiting) = host.fib().counts();
    assert_eq!(waiting, 0, "{name}");
}

#[test]
fn after_any_single_fault_the_kernel_has_what_is_desired_and_others_lost_nothing() {
    let mut struck = 0;
    for fault in Fault::ALL {
        for skip in [0, 1, 7, 30, 50] {
            let mut host = Host::with(lived_in(), &[]);
            host.kernel.inject(fault, skip);
            let expected = live(&mut host);
            check(&format!("{fault:?} after {skip}"), &mut host, &expected);
            struck += usize::from(host.kernel.armed().is_empty());
        }
    }
    // The question for one interface is not one the reconciler asks; everything else must strike.
    assert!(
        struck >= (Fault::ALL.len() - 1) * 4,
        "only {struck} faults have struck"
    );
}

#[test]
fn after_any_two_faults_the_kernel_has_what_is_desired_and_others_lost_nothing() {
    for first in Fault::ALL {
        for second in Fault::ALL {
            let mut host = Host::with(lived_in(), &[]);
            host.kernel.inject(first, 3);
            host.kernel.inject(second, 25);
            let expected = live(&mut host);
            check(&format!("{first:?} and {second:?}"), &mut host, &expected);
        }
    }
}

#[test]
fn a_listing_that_never_succeeds_is_a_problem_and_nothing_is_installed_blindly() {
    let mut host = Host::new(&[]);
    for _ in 0..8 {
        host.kernel.inject(Fault::DumpRefused, 0);
    }
    host.desire("10.1.0.0/24", &via(&["192.0.2.2"]));
    let mut said = false;
    while !host.kernel.armed().is_empty() {
        assert_eq!(host.ours(), [""; 0]);
        if let Turn::Wait(Some(due)) = host.turn() {
            host.now = due;
        }
        let problems = host.reconciler.changed_problems().unwrap_or_default();
        said |= problems.iter().any(|problem| problem.key == "fib.listing");
    }
    assert!(said);
    host.settle();
    assert_eq!(host.ours().len(), 1);
    assert_eq!(host.reconciler.changed_problems(), Some(vec![]));
}
