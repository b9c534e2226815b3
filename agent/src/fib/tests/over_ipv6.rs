//! IPv4 routes over IPv6 next hops (RFC 8950) on the real kernel: through nexthop objects and without.

use std::sync::Arc;

use wayleave_bgp_core::{
    attributes,
    feed::{FeedPath, Forwarding, RouteChange, RouteSource},
};
use wayleave_netlink::{Group, Monitor, NextHops, NexthopId, NexthopTarget, Socket};

use super::{
    kernel::{Running, apply, inside_of, nexthops, ours, run_with, runtime, until},
    *,
};

/// Of the interfaces in the namespace.
const NEAR: u32 = ETH0 + 100;
const FAR: u32 = 300;

/// What is learned, from which routers on which interfaces, and where it leads.
type Case = (
    &'static str,
    &'static [(&'static str, Option<&'static str>)],
    &'static [(&'static str, u32)],
);

const CASES: [Case; 5] = [
    (
        "10.1.0.0/24",
        &[("fe80::2", Some("eth0"))],
        &[("fe80::2", NEAR)],
    ),
    (
        "10.2.0.0/24",
        &[("2001:db8::2", None)],
        &[("2001:db8::2", NEAR)],
    ),
    // The same address on two links are two routers.
    (
        "10.3.0.0/24",
        &[("fe80::2", Some("eth0")), ("fe80::2", Some("eth1"))],
        &[("fe80::2", NEAR), ("fe80::2", FAR)],
    ),
    // One speaks IPv4, another does not.
    (
        "10.4.0.0/24",
        &[("192.0.2.2", None), ("fe80::3", Some("eth1"))],
        &[("192.0.2.2", NEAR), ("fe80::3", FAR)],
    ),
    (
        "2001:db8:77::/64",
        &[("fe80::2", Some("eth0")), ("fe80::2", Some("eth1"))],
        &[("fe80::2", NEAR), ("fe80::2", FAR)],
    ),
];

#[test]
fn ipv4_routes_lead_over_ipv6_routers_through_nexthop_objects() {
    lead_there(
        "ipv4_routes_lead_over_ipv6_routers_through_nexthop_objects",
        SETTINGS,
    );
}

#[test]
fn ipv4_routes_lead_over_ipv6_routers_without_objects() {
    lead_there("ipv4_routes_lead_over_ipv6_routers_without_objects", INLINE);
}

fn lead_there(test: &str, settings: Settings) {
    let Some(mut socket) = inside_of("over_ipv6", test) else {
        return;
    };
    let second = NewLink::Veth {
        host: NewEnd {
            ifindex: Some(FAR),
            ..NewEnd::new("eth1")
        },
        peer: NewEnd::new("peer1"),
        peer_netns: None,
    };
    let up = |name: &str, up| Change::from(LinkChange::of(name).up(up));
    // No address at all on the second one but what the kernel gives it.
    apply(
        &mut socket,
        [second.into(), up("eth1", true), up("peer1", true)],
    );
    runtime().block_on(async {
        let first = run_with(settings);
        first.learn(CASES.iter().map(learned).collect()).await;
        first.in_sync().await;
        settled(&first).await;
        let all = ours(&mut socket);
        for case in &CASES {
            assert_eq!(hops(&mut socket, case.0), expected(case), "{}", case.0);
        }
        // Both families share what leads over the same routers.
        let object = |text: &str| {
            let wanted = prefix(text);
            let mut all = all.iter();
            all.find(|route| route.prefix == wanted)
                .and_then(|route| route.nexthop)
        };
        assert_eq!(object("10.3.0.0/24"), object("2001:db8:77::/64"));
        assert_eq!(object("10.1.0.0/24").is_some(), settings.nexthop_objects);

        // An end that touches nothing, and a start that finds all as it should be.
        drop((first.feed, first.handle));
        first.task.await.expect("no panic").expect("a clean end");
        let groups = [Group::RoutesV4, Group::RoutesV6, Group::Nexthops];
        let mut monitor = Monitor::open(&groups).expect("a monitor");
        let agent = run_with(settings);
        agent.learn(CASES.iter().map(learned).collect()).await;
        agent.in_sync().await;
        agent.progress.complete().await;
        settled(&agent).await;
        let mut events = Vec::new();
        while monitor.read(&mut events).expect("readable") {}
        assert_eq!(events, [], "nothing was touched");
        assert_eq!(ours(&mut socket), all);

        // One link loses its carrier, goes down, is back: what has another way takes that.
        let bounces: [[Change; 2]; 2] = [
            [up("peer1", false), up("peer1", true)],
            [up("eth1", false), up("eth1", true)],
        ];
        for [down, back] in bounces {
            apply(&mut socket, [down]);
            until("the way that is left to be taken", || {
                hops(&mut socket, "10.3.0.0/24") == hop("fe80::2", NEAR)
                    && hops(&mut socket, "10.4.0.0/24") == hop("192.0.2.2", NEAR)
            })
            .await;
            apply(&mut socket, [back]);
            until("both to be taken again", || as_expected(&mut socket)).await;
        }

        // Somebody deletes routes; somebody else the address that a router is near by.
        let gone = ours(&mut socket);
        let gone = gone.iter().map(|route| Change::RouteDelete(route.key()));
        apply(&mut socket, gone.collect::<Vec<_>>());
        until("all to be back", || as_expected(&mut socket)).await;
        let v6 = Address::new(NEAR, ip("2001:db8::1"), 64);
        apply(&mut socket, [Change::AddressDelete(v6)]);
        until("its route to go", || {
            hops(&mut socket, "10.2.0.0/24").is_empty()
        })
        .await;
        assert_eq!(hops(&mut socket, "10.1.0.0/24"), hop("fe80::2", NEAR));
        apply(&mut socket, [Change::AddressAdd(v6)]);
        until("its route to be back", || as_expected(&mut socket)).await;

        let none = CASES.iter().map(|case| RouteChange {
            route: None,
            ..learned(case)
        });
        agent.learn(none.collect()).await;
        until("all to be gone", || ours(&mut socket).is_empty()).await;
    });
}

fn learned((text, routers, _): &Case) -> RouteChange<Forwarding> {
    let prefix = prefix(text);
    let paths = routers.iter().map(|(router, interface)| FeedPath {
        source: RouteSource::Peer("tor".into()),
        next_hop: attributes::NextHop::from(ip(router)),
        interface: interface.map(Arc::from),
    });
    RouteChange {
        prefix: wayleave_bgp_core::Prefix::new(prefix.addr(), prefix.len()),
        route: Some(Forwarding {
            paths: paths.collect(),
        }),
    }
}

/// Waits until all are in the kernel. A link that was just made may not have been heard to run yet.
async fn settled(agent: &Running) {
    let start = std::time::Instant::now();
    loop {
        let slots = CASES.iter().map(|case| (prefix(case.0), METRIC)).collect();
        let outcomes = agent.handle.settled(slots).await.expect("the thread runs");
        if outcomes.iter().all(Result::is_ok) {
            return;
        }
        assert!(start.elapsed().as_secs() < 60, "{outcomes:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn hop(router: &str, ifindex: u32) -> NextHops {
    NextHop::via(ip(router), ifindex).into()
}

fn expected(case: &Case) -> NextHops {
    let hops = case.2.iter();
    let mut hops: Vec<_> = hops
        .map(|(router, ifindex)| NextHop::via(ip(router), *ifindex))
        .collect();
    hops.sort_unstable();
    hops.into()
}

fn as_expected(socket: &mut Socket) -> bool {
    CASES
        .iter()
        .all(|case| hops(socket, case.0) == expected(case))
}

/// Where our route to a prefix leads, be it through an object.
fn hops(socket: &mut Socket, text: &str) -> NextHops {
    let wanted = prefix(text);
    let mut all = ours(socket).into_iter();
    let Some(route) = all.find(|route| route.prefix == wanted) else {
        return NextHops::NONE;
    };
    let Some(object) = route.nexthop else {
        return route.canonical().next_hops;
    };
    let objects = nexthops(socket);
    let target = |id: NexthopId| {
        let mut all = objects.iter();
        all.find(|object| object.id == id).map(|object| &object.to)
    };
    let single = |id: NexthopId| match target(id) {
        Some(NexthopTarget::Via {
            gateway, ifindex, ..
        }) => Some(NextHop::via(*gateway, *ifindex)),
        _ => None,
    };
    let mut hops: Vec<_> = match target(object) {
        Some(NexthopTarget::Group(members)) => {
            members.iter().filter_map(|one| single(one.id)).collect()
        }
        _ => single(object).into_iter().collect(),
    };
    hops.sort_unstable();
    hops.into()
}
