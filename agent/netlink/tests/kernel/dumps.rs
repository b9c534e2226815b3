//! Listings of everything, and listings disturbed.

use wayleave_netlink::{
    Change, Dump, Family, Kernel, KernelError, Mac, Neighbor, NextHop, Object, Progress, Protocol,
    Route, RouteFilter, Rule, RuleAction, Socket,
};

use crate::namespace::{apply, in_namespace, ip, prefix, uplink};

#[test]
fn links_addresses_neighbours_proxies_and_rules_are_listed() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let neighbor = Neighbor::permanent(dev, ip("192.0.2.9"), Mac([2, 0, 0, 0, 0, 9]));
        let neighbor6 = Neighbor::permanent(dev, ip("2001:db8::9"), Mac([2, 0, 0, 0, 0, 6]));
        let proxies = [
            Neighbor::proxy(dev, ip("169.254.1.1")),
            Neighbor::proxy(dev, ip("2001:db8::99")),
        ];
        let rule = Rule {
            from: Some(prefix("10.0.0.0/8")),
            mark: Some((1, 0xff)),
            iif: Some("u0".to_owned()),
            ..Rule::lookup(Family::V4, 1000, 300, Protocol::WAYLEAVE)
        };
        let rule6 = Rule {
            action: RuleAction::Unreachable,
            to: Some(prefix("2001:db8:7::/48")),
            ..Rule::lookup(Family::V6, 1001, 0, Protocol::WAYLEAVE)
        };
        apply(
            &mut socket,
            [
                Change::NeighborReplace(neighbor),
                Change::NeighborReplace(neighbor6),
                Change::NeighborReplace(proxies[0]),
                Change::NeighborReplace(proxies[1]),
                Change::RuleAdd(rule.clone()),
                Change::RuleAdd(rule6.clone()),
            ],
        );
        let mut list = |what| socket.dump(&what).expect("a listing");

        let names: Vec<_> = list(Dump::Links)
            .into_iter()
            .map(|object| {
                let Object::Link(link) = object else {
                    panic!("no link: {object:?}")
                };
                (link.name, link.up, link.carrier, link.loopback, link.kind)
            })
            .collect();
        let veth = || Some("veth".to_owned());
        assert_eq!(
            names,
            [
                ("lo".to_owned(), true, true, true, None),
                ("u0".to_owned(), true, true, false, veth()),
                ("u1".to_owned(), true, true, false, veth()),
            ]
        );

        let addresses = list(Dump::Addresses { ifindex: Some(dev) });
        let locals: Vec<_> = addresses
            .iter()
            .filter_map(|object| {
                if let Object::Address(a) = object {
                    Some(a.local)
                } else {
                    None
                }
            })
            .filter(|local| !local.to_string().starts_with("fe80"))
            .collect();
        assert_eq!(locals, [ip("192.0.2.1"), ip("2001:db8::1")]);
        assert!(list(Dump::Addresses { ifindex: None }).len() > addresses.len());

        let neighbors = list(Dump::Neighbors { ifindex: Some(dev) });
        assert!(
            neighbors.contains(&Object::Neighbor(neighbor)),
            "{neighbors:?}"
        );
        assert!(
            neighbors.contains(&Object::Neighbor(neighbor6)),
            "{neighbors:?}"
        );
        let listed = list(Dump::Proxies);
        assert_eq!(listed.len(), 2, "{listed:?}");
        for proxy in proxies {
            assert!(
                listed.contains(&Object::Neighbor(proxy)),
                "{proxy} in {listed:?}"
            );
        }
        assert!(list(Dump::Rules(Family::V4)).contains(&Object::Rule(Box::new(rule.clone()))));
        assert!(list(Dump::Rules(Family::V6)).contains(&Object::Rule(Box::new(rule6.clone()))));

        apply(
            &mut socket,
            [
                Change::NeighborDelete(neighbor),
                Change::NeighborDelete(proxies[0]),
                Change::NeighborDelete(proxies[1]),
                Change::RuleDelete(rule),
                Change::RuleDelete(rule6),
            ],
        );
        let mut list = |what| socket.dump(&what).expect("a listing");
        assert_eq!(list(Dump::Proxies), []);
        assert_eq!(
            list(Dump::Rules(Family::V4)).len(),
            3,
            "local, main, default"
        );
    });
}

#[test]
fn a_listing_comes_in_parts_and_another_request_abandons_it() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let routes = (0..5_000).map(|i| {
            let prefix = prefix(&format!("10.0.{}.{}/32", i / 256, i % 256));
            Change::RouteAdd(Route::unicast(
                prefix,
                Protocol::WAYLEAVE,
                NextHop::dev(dev),
            ))
        });
        apply(&mut socket, routes);
        let what = Dump::Routes(RouteFilter::all(Family::V4).protocol(Protocol::WAYLEAVE));
        socket.begin_dump(&what).expect("begun");
        let mut objects = Vec::new();
        let mut parts = 0;
        while socket.next_dump(&mut objects).expect("a part") == Progress::More {
            parts += 1;
        }
        assert_eq!(objects.len(), 5_000);
        assert!(parts > 5, "{parts} parts");

        socket.begin_dump(&what).expect("begun");
        assert_eq!(socket.next_dump(&mut objects), Ok(Progress::More));
        let route = Route::unicast(prefix("10.9.9.9/32"), Protocol::WAYLEAVE, NextHop::dev(dev));
        apply(&mut socket, [Change::RouteAdd(route)]);
        assert_eq!(
            socket.next_dump(&mut objects),
            Err(KernelError::Interrupted)
        );
        assert_eq!(socket.dump(&what).expect("a listing").len(), 5_001);
    });
}

#[test]
fn a_listing_that_is_disturbed_is_begun_again_and_complete() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let mut other = Socket::open().expect("a socket");
        uplink(&mut socket);
        // Listings of interfaces carry the kernel's mark of inconsistency reliably.
        let bridge = |i: u32| {
            Change::from(wayleave_netlink::NewLink::Bridge(
                wayleave_netlink::NewEnd::new(format!("b{i}")),
            ))
        };
        apply(&mut socket, (0..100).map(bridge));
        let mut objects = Vec::new();
        socket.begin_dump(&Dump::Links).expect("begun");
        assert_eq!(socket.next_dump(&mut objects), Ok(Progress::More));
        apply(&mut other, [bridge(100)]);
        let end = loop {
            match socket.next_dump(&mut objects) {
                Ok(Progress::More) => {}
                end => break end,
            }
        };
        assert_eq!(end, Err(KernelError::Interrupted));
        assert_eq!(socket.dump(&Dump::Links).expect("a listing").len(), 3 + 101);
    });
}
