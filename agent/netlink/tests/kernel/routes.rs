//! Routes and nexthop objects: what we say is what the kernel reports.

use nix::errno::Errno;
use wayleave_netlink::{
    Change, Dump, Family, Kernel, LinkChange, Member, NextHop, Nexthop, NexthopId, NexthopTarget,
    Object, Protocol, Route, RouteFilter, RouteKey, RouteKind, Socket,
};

use crate::namespace::{apply, in_namespace, ip, prefix, uplink};

const OURS: Protocol = Protocol::WAYLEAVE;

fn ours(socket: &mut Socket, family: Family) -> Vec<Route> {
    socket
        .routes(RouteFilter::all(family).protocol(OURS))
        .expect("a listing")
}

#[test]
fn every_shape_of_route_comes_back_as_it_was_installed() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let object = NexthopId(9);
        apply(
            &mut socket,
            [Change::NexthopReplace(Nexthop {
                id: object,
                protocol: OURS,
                to: NexthopTarget::Via {
                    gateway: ip("192.0.2.7"),
                    ifindex: dev,
                    onlink: false,
                },
            })],
        );
        let v4 = NextHop::via(ip("192.0.2.2"), dev);
        let v6 = NextHop::via(ip("2001:db8::2"), dev);
        let ll = NextHop::via(ip("fe80::2"), dev);
        let routes = [
            Route::unicast(prefix("10.0.0.0/24"), OURS, v4),
            Route::unicast(prefix("10.0.1.0/24"), OURS, v4).with_metric(20),
            Route::unicast(prefix("10.0.2.0/24"), OURS, v4).in_table(100),
            Route::unicast(prefix("10.0.3.0/24"), OURS, v4).in_table(1000),
            Route::unicast(prefix("10.0.4.1/32"), OURS, NextHop::dev(dev)),
            Route::unicast(prefix("10.0.5.0/24"), OURS, v6),
            Route::unicast(prefix("10.0.6.0/24"), OURS, ll),
            Route::unicast(
                prefix("10.0.7.0/24"),
                OURS,
                NextHop::via(ip("203.0.113.1"), dev).onlink(),
            ),
            Route::unicast(
                prefix("10.0.8.0/24"),
                OURS,
                vec![
                    v4,
                    NextHop::via(ip("192.0.2.3"), dev).with_weight(7),
                    ll.with_weight(256),
                ],
            ),
            Route::unicast(prefix("10.0.9.0/24"), OURS, v4).with_source(ip("192.0.2.1")),
            Route {
                mtu: 1400.try_into().ok(),
                ..Route::unicast(prefix("10.0.10.0/24"), OURS, v4)
            },
            Route::through(prefix("10.0.11.0/24"), OURS, object),
            Route::blackhole(prefix("10.0.12.0/24"), OURS),
            Route {
                kind: RouteKind::Unreachable,
                ..Route::blackhole(prefix("10.0.13.0/24"), OURS)
            },
            Route {
                kind: RouteKind::Prohibit,
                ..Route::blackhole(prefix("10.0.14.0/24"), OURS)
            },
            Route {
                kind: RouteKind::Throw,
                ..Route::blackhole(prefix("10.0.15.0/24"), OURS)
            },
            Route::unicast(prefix("0.0.0.0/0"), OURS, v4).with_metric(5),
            Route::unicast(prefix("2001:db8:1::/64"), OURS, v6),
            Route::unicast(prefix("2001:db8:2::/64"), OURS, ll).with_metric(20),
            Route::unicast(prefix("2001:db8:3::5/128"), OURS, NextHop::dev(dev)).in_table(1000),
            Route::unicast(
                prefix("2001:db8:4::/64"),
                OURS,
                vec![v6, NextHop::via(ip("2001:db8::3"), dev).with_weight(3)],
            ),
            Route::blackhole(prefix("2001:db8:5::/64"), OURS),
            Route::unicast(prefix("::/0"), OURS, v6).with_source(ip("2001:db8::1")),
        ];
        apply(
            &mut socket,
            routes.iter().cloned().map(Change::RouteReplace),
        );
        let mut expected: Vec<_> = routes.iter().cloned().map(Route::canonical).collect();
        expected.sort();
        let mut found = ours(&mut socket, Family::V4);
        found.extend(ours(&mut socket, Family::V6));
        let mut found: Vec<_> = found.into_iter().map(Route::canonical).collect();
        found.sort();
        assert_eq!(found, expected);

        // Installed again in place: nothing doubles.
        apply(
            &mut socket,
            routes.iter().cloned().map(Change::RouteReplace),
        );
        assert_eq!(
            ours(&mut socket, Family::V4).len() + ours(&mut socket, Family::V6).len(),
            routes.len()
        );

        // Deleted by key alone, whatever they are.
        apply(
            &mut socket,
            routes.iter().map(|route| Change::RouteDelete(route.key())),
        );
        assert_eq!(ours(&mut socket, Family::V4), []);
        assert_eq!(ours(&mut socket, Family::V6), []);
    });
}

#[test]
fn a_filter_works_in_the_kernel_and_shows_nothing_else() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let hop = NextHop::via(ip("192.0.2.2"), dev);
        let mine = Route::unicast(prefix("10.1.0.0/24"), OURS, hop);
        let theirs = Route::unicast(prefix("10.2.0.0/24"), Protocol::BIRD, hop);
        let elsewhere = Route::unicast(prefix("10.3.0.0/24"), OURS, hop).in_table(77);
        apply(
            &mut socket,
            [&mine, &theirs, &elsewhere].map(|r| Change::RouteAdd(r.clone())),
        );
        let all = RouteFilter::all(Family::V4);
        let mut list = |filter| socket.routes(filter).expect("a listing");
        assert_eq!(list(all.protocol(Protocol::BIRD)), [theirs]);
        assert_eq!(list(all.table(77)), [elsewhere]);
        assert_eq!(list(all.table(254).protocol(OURS)), [mine]);
        assert!(
            list(all)
                .iter()
                .any(|route| route.protocol == Protocol::KERNEL)
        );
        assert_eq!(
            list(all.table(4711)),
            [],
            "a table nobody made is empty, no error"
        );
    });
}

#[test]
fn errors_name_the_reason_in_the_kernels_own_words() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let hop = NextHop::via(ip("192.0.2.2"), dev);
        let theirs = Route::unicast(prefix("10.1.0.0/24"), Protocol::BIRD, hop);
        let mine = Route {
            protocol: OURS,
            ..theirs.clone()
        };
        let lost = Route::unicast(
            prefix("10.2.0.0/24"),
            OURS,
            NextHop::via(ip("198.51.100.1"), 0),
        );
        let nowhere = Route::unicast(prefix("10.2.0.0/24"), OURS, NextHop::dev(4711));
        let none = RouteKey {
            prefix: prefix("10.9.0.0/24"),
            ..mine.key()
        };
        let nothing = Route::unicast(prefix("10.4.0.0/24"), OURS, vec![]);
        let changes = [
            Change::RouteAdd(theirs.clone()),
            Change::RouteAdd(mine.clone()),
            Change::RouteReplace(lost),
            Change::RouteReplace(nowhere),
            Change::RouteDelete(none),
            Change::RouteDelete(mine.key()),
            Change::RouteReplace(nothing),
            Change::LinkSet(LinkChange::of("nobody").up(true).into()),
            Change::RouteAdd(Route {
                prefix: prefix("10.5.0.0/24"),
                ..mine.clone()
            }),
        ];
        let results = socket.apply(&changes);
        let errnos: Vec<_> = results
            .iter()
            .map(|result| result.as_ref().err().and_then(|e| e.errno()))
            .collect();
        assert_eq!(
            errnos,
            [
                None,
                Some(Errno::EEXIST),
                Some(Errno::ENETUNREACH),
                Some(Errno::ENODEV),
                Some(Errno::ESRCH),
                Some(Errno::ESRCH),
                None,
                Some(Errno::ENODEV),
                None,
            ]
        );
        let said = results[2].as_ref().expect_err("unreachable").to_string();
        assert!(said.contains("invalid gateway"), "{said}");
        let said = results[6].as_ref().expect_err("not sent").to_string();
        assert_eq!(said, "not sent: a unicast route needs a next hop");
        assert!(
            results[8].is_ok(),
            "one that fails does not keep the next from being applied"
        );

        // A replacement takes over whoever's route is there.
        apply(&mut socket, [Change::RouteReplace(mine.clone())]);
        let there = socket
            .routes(RouteFilter::all(Family::V4).table(254))
            .expect("a listing");
        assert!(there.contains(&mine) && !there.contains(&theirs));
    });
}

#[test]
fn nexthop_objects_come_back_as_they_were_made_and_repoint_all_routes_at_once() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let single = |id, gateway| Nexthop {
            id: NexthopId(id),
            protocol: OURS,
            to: NexthopTarget::Via {
                gateway: ip(gateway),
                ifindex: dev,
                onlink: false,
            },
        };
        let members = vec![
            Member {
                id: NexthopId(1),
                weight: 1,
            },
            Member {
                id: NexthopId(2),
                weight: 200,
            },
        ];
        let group = Nexthop {
            id: NexthopId(10),
            protocol: OURS,
            to: NexthopTarget::Group(members.clone()),
        };
        let resilient = Nexthop {
            id: NexthopId(11),
            protocol: OURS,
            to: NexthopTarget::Resilient {
                members,
                buckets: 64,
                idle: 6000,
                unbalanced: 0,
            },
        };
        let objects = [
            single(1, "192.0.2.2"),
            single(2, "192.0.2.3"),
            single(3, "2001:db8::9"),
            Nexthop {
                id: NexthopId(4),
                protocol: OURS,
                to: NexthopTarget::Blackhole { family: Family::V6 },
            },
            Nexthop {
                id: NexthopId(5),
                protocol: OURS,
                to: NexthopTarget::Dev {
                    ifindex: dev,
                    family: Family::V4,
                },
            },
            group,
            resilient,
        ];
        apply(
            &mut socket,
            objects.iter().cloned().map(Change::NexthopReplace),
        );
        let listed: Vec<_> = socket
            .dump(&Dump::Nexthops)
            .expect("a listing")
            .into_iter()
            .map(|object| {
                let Object::Nexthop(nexthop) = object else {
                    panic!("no nexthop: {object:?}")
                };
                nexthop
            })
            .collect();
        assert_eq!(listed, objects);

        let routes: Vec<_> = (0..50)
            .map(|i| Route::through(prefix(&format!("10.7.{i}.0/24")), OURS, NexthopId(10)))
            .collect();
        apply(
            &mut socket,
            routes.iter().cloned().map(Change::RouteReplace),
        );
        let only_two = NexthopTarget::Group(vec![Member {
            id: NexthopId(2),
            weight: 1,
        }]);
        let repointed = Nexthop {
            id: NexthopId(10),
            protocol: OURS,
            to: only_two,
        };
        apply(&mut socket, [Change::NexthopReplace(repointed)]);
        assert_eq!(ours(&mut socket, Family::V4).len(), 50);
        // Deleting the object takes its routes along.
        apply(&mut socket, [Change::NexthopDelete(NexthopId(10))]);
        assert_eq!(ours(&mut socket, Family::V4), []);
    });
}
