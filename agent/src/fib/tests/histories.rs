//! Random histories: owners change their minds, others interfere, faults strike; in the end the
//! kernel has exactly what is desired and can be reached.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use wayleave_netlink::Fault;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Desire(Owner, u8, usize),
    Renounce(Owner, u8),
    Delete(u8),
    Replace(u8),
    Link(u32, bool),
    Carrier(u32, bool),
    Address(bool),
    DeleteObject(u32),
    RepointObject(u32),
    Inject(Fault, usize),
    Turn,
    Pass(u64),
    Restart,
}

/// The wishes of the histories; the last cannot be reached.
const ROUTERS: [&[&str]; 5] = [
    &["192.0.2.2"],
    &["192.0.2.3"],
    &["198.51.100.2"],
    &["192.0.2.2", "198.51.100.2"],
    &["203.0.113.1"],
];

fn acts() -> impl Strategy<Value = Act> {
    let owner = select(&[Owner::Block, Owner::Bgp][..]);
    let link = select(&[ETH0, ETH1][..]);
    prop_oneof![
        8 => (owner.clone(), 0..12_u8, 0..ROUTERS.len()).prop_map(|(o, p, w)| Act::Desire(o, p, w)),
        4 => (owner, 0..12_u8).prop_map(|(o, p)| Act::Renounce(o, p)),
        2 => (0..12_u8).prop_map(Act::Delete),
        2 => (0..12_u8).prop_map(Act::Replace),
        2 => (link.clone(), any::<bool>()).prop_map(|(l, up)| Act::Link(l, up)),
        1 => (link, any::<bool>()).prop_map(|(l, up)| Act::Carrier(l, up)),
        1 => any::<bool>().prop_map(Act::Address),
        1 => (0..4_u32).prop_map(Act::DeleteObject),
        1 => (0..4_u32).prop_map(Act::RepointObject),
        3 => (select(&Fault::ALL[..]), 0..5_usize).prop_map(|(f, s)| Act::Inject(f, s)),
        6 => Just(Act::Turn),
        2 => (1..3_000_u64).prop_map(Act::Pass),
        1 => Just(Act::Restart),
    ]
}

/// The same for IPv6, all over one interface.
const ROUTERS_V6: [&[&str]; 5] = [
    &["2001:db8::2"],
    &["2001:db8::3"],
    &["2001:db8::4"],
    &["2001:db8::2", "2001:db8::3"],
    &["2001:db9::1"],
];
/// Prefixes from this number on are of IPv6.
const FIRST_V6: u8 = 9;

fn text(number: u8) -> String {
    if number < FIRST_V6 {
        format!("10.0.{number}.0/24")
    } else {
        format!("2001:db8:{number}::/64")
    }
}

fn routers(number: u8, wish: usize) -> &'static [&'static str] {
    if number < FIRST_V6 {
        ROUTERS[wish]
    } else {
        ROUTERS_V6[wish]
    }
}

type Desires = BTreeMap<(Owner, u8), usize>;

fn act(host: &mut Host, desires: &mut Desires, act: &Act) {
    match act {
        Act::Desire(owner, number, wish) => {
            desires.insert((*owner, *number), *wish);
            host.desires(
                *owner,
                slot(&text(*number)),
                Some(&via(routers(*number, *wish))),
            );
        }
        Act::Renounce(owner, number) => {
            desires.remove(&(*owner, *number));
            host.desires(*owner, slot(&text(*number)), None);
        }
        Act::Delete(number) => {
            let key = route(&text(*number), OURS, "192.0.2.2", ETH0).key();
            let _there_or_not = host.kernel.by_others(&Change::RouteDelete(key));
        }
        Act::Replace(number) => {
            // Somebody who replaces only what is there, as `ip route replace` by hand.
            let hole = Route::blackhole(prefix(&text(*number)), Protocol::BOOT).with_metric(METRIC);
            if host
                .kernel
                .routes_of(OURS)
                .iter()
                .any(|r| r.prefix == hole.prefix)
            {
                host.others(Change::RouteReplace(hole));
            }
        }
        Act::Link(link, up) => host.others(LinkChange::of(*link).up(*up)),
        Act::Carrier(link, carrier) => host.kernel.set_carrier(*link, *carrier),
        Act::Address(add) => {
            let address = Address::new(ETH1, ip("198.51.100.1"), 24);
            let change = if *add {
                Change::AddressAdd
            } else {
                Change::AddressDelete
            };
            let _there_or_not = host.kernel.by_others(&change(address));
        }
        Act::DeleteObject(number) => {
            let id = wayleave_netlink::NexthopId(0x574C_0000 + number);
            let _there_or_not = host.kernel.by_others(&Change::NexthopDelete(id));
        }
        Act::RepointObject(number) => {
            let nexthops = host.kernel.nexthops();
            if let Some(nexthop) = nexthops.get(*number as usize) {
                let to = wayleave_netlink::NexthopTarget::Via {
                    gateway: ip("192.0.2.66"),
                    ifindex: ETH0,
                    onlink: false,
                };
                let repointed = wayleave_netlink::Nexthop {
                    to,
                    ..nexthop.clone()
                };
                // Of a group, the kernel makes no single one.
                let _done_or_not = host.kernel.by_others(&Change::NexthopReplace(repointed));
            }
        }
        Act::Inject(fault, skip) => host.kernel.inject(*fault, *skip),
        Act::Turn => drop(host.turn()),
        Act::Pass(millis) => host.pass(Duration::from_millis(*millis)),
        Act::Restart => {
            // Killed and started: a new machine on the kernel as it is, told the same desires.
            let kernel = host.kernel.clone();
            let now = host.now;
            let settings = *host.reconciler.view().settings();
            *host = Host::set_up(settings, kernel, &[Owner::Bgp]);
            host.now = now + Duration::from_secs(1);
            for ((owner, number), wish) in desires.iter() {
                host.desires(
                    *owner,
                    slot(&text(*number)),
                    Some(&via(routers(*number, *wish))),
                );
            }
            host.in_sync(Owner::Bgp);
        }
    }
}

/// Lets all faults strike, repairs links and addresses, and waits.
fn come_to_rest(host: &mut Host) {
    for _ in 0..3 {
        host.settle();
        host.pass(Duration::from_secs(301));
    }
    // Those that need a change to strike may be left.
    host.kernel.heal();
    for link in [ETH0, ETH1] {
        host.others(LinkChange::of(link).up(true));
        host.kernel.set_carrier(link, true);
    }
    for (link, address, len) in [(ETH1, "198.51.100.1", 24), (ETH0, "2001:db8::1", 64)] {
        let address = Address::new(link, ip(address), len);
        let _there = host.kernel.by_others(&Change::AddressAdd(address));
    }
    for _ in 0..3 {
        host.settle();
        host.pass(Duration::from_secs(301));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_kernel_ends_with_what_is_desired(
        history in vec(acts(), 1..80),
        settings in select(&[SETTINGS, INLINE][..]),
    ) {
        let mut host = Host::set_up(settings, kernel(), &[Owner::Bgp]);
        let mut desires = Desires::new();
        host.in_sync(Owner::Bgp);
        for step in &history {
            act(&mut host, &mut desires, step);
        }
        come_to_rest(&mut host);
        let mut expected = BTreeMap::new();
        for ((_, number), wish) in desires.iter().rev() {
            let hops: Vec<_> = routers(*number, *wish).iter().filter_map(|router| match *router {
                "203.0.113.1" | "2001:db9::1" => None,
                router if router.starts_with("192") || router.contains(':') => {
                    Some(NextHop::via(ip(router), ETH0))
                }
                router => Some(NextHop::via(ip(router), ETH1)),
            }).collect();
            // Iterated from the weakest owner to the strongest of each number.
            expected.insert(*number, hops);
        }
        let occupied: Vec<_> =
            host.kernel.routes().iter().filter(|r| r.protocol != OURS).map(|r| r.prefix).collect();
        let mut routes: Vec<_> = expected.into_iter()
            .filter(|(_, hops)| !hops.is_empty())
            .map(|(number, hops)| Route::unicast(prefix(&text(number)), OURS, hops).with_metric(METRIC))
            .filter(|route| !occupied.contains(&route.prefix))
            .collect();
        routes.sort();
        prop_assert_eq!(host.our_routes(), routes);
        // Of objects, those that routes go through and no others, once the rest has lingered.
        host.pass(Duration::from_secs(40));
        host.settle();
        let mut kept: std::collections::BTreeSet<_> =
            host.kernel.routes_of(OURS).iter().filter_map(|route| route.nexthop).collect();
        for nexthop in host.kernel.nexthops() {
            if let wayleave_netlink::NexthopTarget::Group(members) = &nexthop.to {
                kept.extend(members.iter().map(|member| member.id));
            }
        }
        let there: std::collections::BTreeSet<_> =
            host.kernel.nexthops().iter().map(|nexthop| nexthop.id).collect();
        let wanted = desires.values().filter(|wish| **wish != 4).count();
        prop_assert!(kept.is_subset(&there));
        prop_assert!(there.len() <= wanted * 3, "{there:?}");
        // Others' routes in our places stay only where the machine cannot have known that the
        // place was its own: after a restart, or when it wants nothing there.
        if !history.iter().any(|step| matches!(step, Act::Restart)) {
            for taken in occupied {
                let wanted = (0..12).any(|n| prefix(&text(n)) == taken
                    && desires.iter().any(|((_, m), wish)| *m == n && *wish != 4));
                prop_assert!(!wanted || host.trouble(&taken.to_string()).is_some(), "{taken}");
            }
        }
    }
}
