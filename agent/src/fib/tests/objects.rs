//! Nexthop objects: one message moves all routes of a way, and nobody else's are touched.

use wayleave_netlink::{Member, Nexthop, NexthopId, NexthopTarget};

use super::*;

const FIRST: u32 = 0x574C_0000;

/// A host with so many routes over eth0.
fn with_routes(count: u32) -> Host {
    let mut host = Host::started();
    for i in 0..count {
        host.desire(
            &format!("10.{}.{}.0/24", i / 250, i % 250),
            &via(&["192.0.2.2"]),
        );
    }
    host.settle();
    assert_eq!(host.ours().len(), count as usize);
    let _done = host.kernel.take_applied();
    host
}

fn single(id: u32, gateway: &str, ifindex: u32) -> Nexthop {
    Nexthop {
        id: NexthopId(id),
        protocol: OURS,
        to: NexthopTarget::Via {
            gateway: ip(gateway),
            ifindex,
            onlink: false,
        },
    }
}

/// The next hop's network moves to the other interface, by a longer prefix there.
fn move_next_hop(host: &Host) {
    host.others(Change::AddressAdd(Address::new(ETH1, ip("192.0.2.5"), 29)));
}

#[test]
fn a_next_hop_that_moves_costs_one_message_however_many_routes_it_has() {
    let mut host = with_routes(1_000);
    move_next_hop(&host);
    host.settle_at_once();
    let moved = single(FIRST, "192.0.2.2", ETH1);
    assert_eq!(host.kernel.take_applied(), [Change::NexthopReplace(moved)]);
    assert!(host.ours().iter().all(|route| route.contains("dev if3")));
    let slot = slot("10.0.7.0/24");
    assert_eq!(host.fib().outcome(&slot), Some(Ok(())));
    let status = host.fib().status_at(slot.prefix);
    let installed = status[0].installed.as_ref().expect("it is there");
    assert_eq!(installed.nexthop, Some(NexthopId(FIRST)));
    assert_eq!(
        installed.next_hops[0].ifindex, ETH1,
        "the hops of the object"
    );
}

#[test]
fn a_next_hop_that_is_lost_takes_its_routes_out_with_one_message() {
    let mut host = with_routes(1_000);
    // Its network is gone, the link stays: the kernel does nothing by itself.
    let address = Address::new(ETH0, ip("192.0.2.1"), 24);
    host.others(Change::AddressDelete(address));
    host.settle_at_once();
    assert_eq!(
        host.kernel.take_applied(),
        [Change::NexthopDelete(NexthopId(FIRST))]
    );
    assert_eq!(host.ours(), [""; 0]);
    assert!(host.trouble("10.0.7.0/24").is_some());
    host.others(Change::AddressAdd(address));
    host.settle_at_once();
    assert_eq!(host.ours().len(), 1_000);
}

#[test]
fn several_routers_are_a_group_that_follows_its_members() {
    let mut host = Host::started();
    let both = via(&["192.0.2.2", "198.51.100.2"]);
    for i in 0..100 {
        host.desire(&format!("10.1.{i}.0/24"), &both);
    }
    host.desire("10.2.0.0/24", &via(&["198.51.100.2"]));
    host.settle();
    let hops = "10.1.7.0/24 proto wayleave metric 50 nexthop via 192.0.2.2 dev if2 weight 1 \
                nexthop via 198.51.100.2 dev if3 weight 1";
    assert_eq!(host.ours()[7], hops);
    assert_eq!(host.kernel.nexthops().len(), 3, "the single one is shared");
    let _done = host.kernel.take_applied();

    // Carrier goes: the kernel takes the member out by itself, and the routes through it alone.
    host.kernel.set_carrier(ETH1, false);
    host.settle_at_once();
    assert_eq!(host.ours().len(), 100);
    assert_eq!(
        host.ours()[7],
        "10.1.7.0/24 via 192.0.2.2 dev if2 proto wayleave metric 50"
    );
    // The one object is cleared away; of the group there is nothing to do, nor of its routes.
    let single = host
        .kernel
        .nexthops()
        .iter()
        .map(|nexthop| nexthop.id.0)
        .min();
    let applied = host.kernel.take_applied();
    assert_eq!(applied.len(), 1, "{applied:?} {single:?}");
    assert!(matches!(applied[0], Change::NexthopDelete(_)));
    host.kernel.set_carrier(ETH1, true);
    host.settle_at_once();
    assert_eq!(host.ours()[7], hops);
    assert_eq!(host.ours().len(), 101);
}

#[test]
fn an_object_that_somebody_deletes_is_back_with_its_routes_at_once() {
    let mut host = with_routes(100);
    host.others(Change::NexthopDelete(NexthopId(FIRST)));
    assert_eq!(host.ours(), [""; 0], "the kernel takes them along");
    host.settle_at_once();
    assert_eq!(host.ours().len(), 100);
    let _done = host.kernel.take_applied();
    // And again, at once: no fight, and no route is tried in vain; a second later all are there.
    host.others(Change::NexthopDelete(NexthopId(FIRST)));
    host.settle_at_once();
    assert_eq!(host.ours(), [""; 0]);
    assert_eq!(host.kernel.take_applied(), []);
    assert_eq!(
        host.trouble("10.0.7.0/24"),
        Some(Trouble::Contested { times: 2 })
    );
    host.pass(Duration::from_millis(1_001));
    host.settle_at_once();
    assert_eq!(host.ours().len(), 100);
    assert_eq!(host.trouble("10.0.7.0/24"), None);
}

#[test]
fn an_object_that_somebody_repoints_is_pointed_back() {
    let mut host = with_routes(100);
    host.others(Change::NexthopReplace(single(FIRST, "192.0.2.66", ETH0)));
    assert!(host.ours()[0].contains("192.0.2.66"));
    host.settle_at_once();
    assert_eq!(
        host.kernel.take_applied(),
        [Change::NexthopReplace(single(FIRST, "192.0.2.2", ETH0))]
    );
}

#[test]
fn whoever_is_started_again_takes_over_objects_and_touches_no_route() {
    let mut host = with_routes(100);
    host.desire("10.9.0.0/24", &via(&["192.0.2.2", "198.51.100.2"]));
    // Of a way that is wanted no more.
    host.desire("10.9.9.0/24", &via(&["192.0.2.9"]));
    host.settle();
    let before = (host.kernel.routes(), host.kernel.nexthops());
    let mut again = Host::with(host.kernel.clone(), &[Owner::Bgp]);
    again.settle();
    for i in 0..100 {
        again.desire(&format!("10.0.{i}.0/24"), &via(&["192.0.2.2"]));
    }
    again.desire("10.9.0.0/24", &via(&["192.0.2.2", "198.51.100.2"]));
    again.settle();
    assert_eq!(again.kernel.take_applied(), []);
    assert_eq!((again.kernel.routes(), again.kernel.nexthops()), before);
    again.in_sync(Owner::Bgp);
    again.settle();
    again.pass(Duration::from_secs(40));
    again.settle();
    let removed = again.kernel.take_applied();
    assert_eq!(
        removed.len(),
        2,
        "the route nobody wants, then its object: {removed:?}"
    );
    assert_eq!(again.ours().len(), 101);
    assert_eq!(again.kernel.nexthops().len(), 3);
}

#[test]
fn an_id_that_somebody_else_has_is_left_to_him() {
    let theirs = Nexthop {
        protocol: Protocol::BIRD,
        ..single(FIRST, "192.0.2.77", ETH0)
    };
    for heard in [true, false] {
        let mut host = Host::started();
        host.others(Change::NexthopAdd(theirs.clone()));
        if !heard {
            let _lost = host.kernel.take_events();
        }
        host.desire("10.1.0.0/24", &via(&["192.0.2.2"]));
        host.settle();
        assert_eq!(
            host.ours(),
            ["10.1.0.0/24 via 192.0.2.2 dev if2 proto wayleave metric 50"]
        );
        assert_eq!(host.kernel.nexthops()[0], theirs);
    }
}

#[test]
fn an_object_the_kernel_refuses_holds_up_its_own_routes_only_and_is_tried_again() {
    let mut host = Host::started();
    host.desire("10.1.0.0/24", &via(&["192.0.2.2"]));
    host.settle();
    for i in 0..50 {
        host.desire(&format!("10.2.{i}.0/24"), &via(&["192.0.2.3"]));
    }
    host.desire("10.3.0.0/24", &via(&["192.0.2.2"]));
    host.kernel.inject(wayleave_netlink::Fault::RefuseEnomem, 0);
    host.settle_at_once();
    assert_eq!(host.ours().len(), 2);
    let why = host.trouble("10.2.7.0/24").expect("refused").to_string();
    assert_eq!(why, "the kernel refused: Out of memory (ENOMEM)");
    host.settle();
    assert_eq!(host.ours().len(), 52);
    assert_eq!(host.trouble("10.2.7.0/24"), None);
}

#[test]
fn a_router_of_a_group_that_the_kernel_refuses_leaves_the_others() {
    let mut host = Host::started();
    host.desire("10.1.0.0/24", &via(&["192.0.2.2", "198.51.100.2"]));
    // Both members come before the group.
    host.kernel.inject(wayleave_netlink::Fault::RefuseEnomem, 1);
    host.settle();
    assert_eq!(host.ours().len(), 1);
    assert!(host.ours()[0].contains("192.0.2.2") && host.ours()[0].contains("198.51.100.2"));
}

#[test]
fn where_the_kernel_knows_no_objects_routes_carry_their_next_hops() {
    let kernel = kernel();
    kernel.without_nexthops();
    let mut host = Host::with(kernel, &[]);
    host.desire("10.1.0.0/24", &via(&["192.0.2.2"]));
    host.desire("10.2.0.0/24", &via(&["192.0.2.2", "198.51.100.2"]));
    host.settle();
    assert_eq!(host.ours().len(), 2);
    assert!(
        host.kernel
            .routes()
            .iter()
            .all(|route| route.nexthop.is_none())
    );
}

#[test]
fn objects_switched_off_leave_none_behind() {
    let host = with_routes(10);
    let mut again = Host::set_up(INLINE, host.kernel, &[Owner::Bgp]);
    for i in 0..10 {
        again.desire(&format!("10.0.{i}.0/24"), &via(&["192.0.2.2"]));
    }
    again.in_sync(Owner::Bgp);
    again.settle();
    again.pass(Duration::from_secs(40));
    again.settle();
    assert_eq!(again.kernel.nexthops(), []);
    assert_eq!(again.ours().len(), 10);
    assert_eq!(again.kernel.routes_of(OURS)[0].nexthop, None);
}

#[test]
fn a_group_is_of_objects_in_order_and_each_once() {
    let mut host = Host::started();
    host.desire(
        "10.1.0.0/24",
        &via(&["198.51.100.2", "192.0.2.2", "192.0.2.2"]),
    );
    host.settle();
    let groups: Vec<_> = host
        .kernel
        .nexthops()
        .into_iter()
        .filter_map(|nexthop| match nexthop.to {
            NexthopTarget::Group(members) => Some(members),
            NexthopTarget::Via { .. }
            | NexthopTarget::Dev { .. }
            | NexthopTarget::Blackhole { .. }
            | NexthopTarget::Resilient { .. } => None,
        })
        .collect();
    let member = |id| Member {
        id: NexthopId(id),
        weight: 1,
    };
    assert_eq!(groups, [[member(FIRST), member(FIRST + 1)]]);
}

#[test]
fn an_object_taken_over_under_another_protocol_is_his_and_our_routes_get_another() {
    let mut host = with_routes(100);
    let his = Nexthop {
        protocol: Protocol::STATIC,
        ..single(FIRST, "192.0.2.66", ETH0)
    };
    host.others(Change::NexthopReplace(his.clone()));
    host.settle_at_once();
    assert!(
        host.ours()
            .iter()
            .all(|route| route.contains("via 192.0.2.2 "))
    );
    // When ours is given up, his stays.
    for i in 0..100 {
        host.renounce(&format!("10.0.{i}.0/24"));
    }
    host.settle();
    host.pass(Duration::from_secs(40));
    host.settle();
    assert_eq!(host.kernel.nexthops(), [his]);
}

#[test]
fn an_object_that_somebody_elses_route_goes_through_is_not_deleted() {
    let mut host = with_routes(1);
    let theirs = Route::through(prefix("10.99.0.0/24"), Protocol::STATIC, NexthopId(FIRST));
    host.others(Change::RouteAdd(theirs.clone()));
    host.renounce("10.0.0.0/24");
    host.settle();
    host.pass(Duration::from_secs(400));
    host.settle();
    assert_eq!(host.kernel.routes(), [theirs]);
}

#[test]
fn a_thousand_next_hops_lost_at_once_are_a_thousand_messages_and_one_pass() {
    let mut host = Host::started();
    for i in 0..1_000_u32 {
        let router = format!("10.200.{}.{}", i / 250, i % 250 + 2);
        host.desire(
            &format!("10.{}.{}.0/24", i / 250, i % 250),
            &via(&[&router]),
        );
    }
    let address = Address::new(ETH1, ip("10.200.0.1"), 16);
    host.others(Change::AddressAdd(address));
    host.settle();
    assert_eq!(host.ours().len(), 1_000);
    let _done = host.kernel.take_applied();
    host.others(LinkChange::of(ETH1).up(false));
    host.settle_at_once();
    assert_eq!(host.ours(), [""; 0]);
    assert_eq!(host.kernel.take_applied().len(), 1_000);
    host.others(LinkChange::of(ETH1).up(true));
    host.settle_at_once();
    assert_eq!(host.ours().len(), 1_000);
}
