//! Next hops behind others' routes, and what the speaker hears of its next hops.

use wayleave_netlink::{Change, LinkChange, NexthopTarget, Protocol, Socket};

use super::{
    kernel::{apply, inside_of, learned, nexthops, ours, run, runtime, until},
    *,
};

/// Through which router our route goes, if there is one.
fn router(socket: &mut Socket) -> Option<String> {
    let through = ours(socket).first()?.nexthop?;
    let mut objects = nexthops(socket).into_iter();
    let object = objects.find(|object| object.id == through)?;
    match object.to {
        NexthopTarget::Via { gateway, .. } => Some(gateway.to_string()),
        _ => None,
    }
}

#[test]
fn a_next_hop_behind_a_route_of_another_protocol_is_reached_that_way() {
    let Some(mut socket) = inside_of(
        "reachability",
        "a_next_hop_behind_a_route_of_another_protocol_is_reached_that_way",
    ) else {
        return;
    };
    let far = route("198.51.100.0/24", Protocol::STATIC, "192.0.2.9", ETH0 + 100);
    let nearer = route("198.51.100.7/32", Protocol::STATIC, "192.0.2.8", ETH0 + 100);
    let default = route("0.0.0.0/0", Protocol::STATIC, "192.0.2.9", ETH0 + 100);
    apply(&mut socket, [Change::RouteAdd(default)]);
    runtime().block_on(async {
        let agent = run();
        agent.handle.track(vec![(ip("198.51.100.7"), true)]);
        agent.in_sync().await;
        // A default route leads everywhere, and says of nothing that it is there.
        assert_eq!(agent.reachability().await, [(ip("198.51.100.7"), false)]);
        until("it is a problem", || agent.problems() == ["fib.next-hops"]).await;
        apply(&mut socket, [Change::RouteAdd(far.clone())]);
        assert_eq!(agent.reachability().await, [(ip("198.51.100.7"), true)]);
        until("it is none", || agent.problems().is_empty()).await;
        agent
            .learn(vec![learned("10.7.0.0/16", Some("198.51.100.7"))])
            .await;
        until("it goes the long way", || {
            router(&mut socket).as_deref() == Some("192.0.2.9")
        })
        .await;
        // The longest prefix counts.
        apply(&mut socket, [Change::RouteAdd(nearer.clone())]);
        until("it goes the nearer way", || {
            router(&mut socket).as_deref() == Some("192.0.2.8")
        })
        .await;
        apply(&mut socket, [Change::RouteDelete(nearer.key())]);
        until("it goes the long way again", || {
            router(&mut socket).as_deref() == Some("192.0.2.9")
        })
        .await;
        apply(&mut socket, [Change::RouteDelete(far.key())]);
        assert_eq!(agent.reachability().await, [(ip("198.51.100.7"), false)]);
        until("it goes nowhere", || ours(&mut socket).is_empty()).await;
        // Nobody uses it any more: that is no problem then, and nothing is remembered of it.
        agent.learn(vec![learned("10.7.0.0/16", None)]).await;
        agent.handle.track(vec![(ip("198.51.100.7"), false)]);
        assert_eq!(agent.reachability().await, [(ip("198.51.100.7"), true)]);
        until("it is none", || agent.problems().is_empty()).await;
    });
}

#[test]
fn next_hops_on_a_link_go_with_it_and_come_back() {
    let Some(mut socket) = inside_of(
        "reachability",
        "next_hops_on_a_link_go_with_it_and_come_back",
    ) else {
        return;
    };
    runtime().block_on(async {
        let agent = run();
        let (near, far) = (ip("192.0.2.9"), ip("203.0.113.1"));
        agent.in_sync().await;
        agent.handle.track(vec![(near, true), (far, true)]);
        assert_eq!(agent.reachability().await, [(far, false)]);
        apply(&mut socket, [LinkChange::of("eth0").up(false).into()]);
        assert_eq!(agent.reachability().await, [(near, false)]);
        apply(&mut socket, [LinkChange::of("eth0").up(true).into()]);
        assert_eq!(agent.reachability().await, [(near, true)]);
    });
}
