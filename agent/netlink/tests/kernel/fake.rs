//! The fake kernel answers as the real one does: one script against both.

use wayleave_netlink::{
    Address, Change, FakeKernel, Family, Kernel, LinkChange, Member, NewEnd, NewLink, NextHop,
    Nexthop, NexthopId, NexthopTarget, Protocol, Route, RouteFilter, RouteKey, Socket,
};

use crate::namespace::{in_namespace, ip, prefix};

const OURS: Protocol = Protocol::WAYLEAVE;
const THEIRS: Protocol = Protocol::BIRD;
const DEV: u32 = 100;
const OTHER: u32 = 200;

/// What a kernel is, seen from outside: the error numbers and the routes that were left.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    change: String,
    errno: Option<String>,
    routes: Vec<Route>,
}

fn run(kernel: &mut impl Kernel, script: &[Change]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for change in script {
        let errno = kernel
            .apply_one(change)
            .err()
            .map(|error| match error.errno() {
                Some(errno) => format!("{errno:?}"),
                None => error.to_string(),
            });
        let mut routes = Vec::new();
        for family in [Family::V4, Family::V6] {
            let listed = kernel.routes(RouteFilter::all(family)).expect("a listing");
            routes.extend(
                listed
                    .into_iter()
                    .filter(|r| r.protocol != Protocol::KERNEL),
            );
        }
        let mut routes: Vec<_> = routes.into_iter().map(Route::canonical).collect();
        routes.sort();
        seen.push(Seen {
            change: change.to_string(),
            errno,
            routes,
        });
    }
    seen
}

fn script() -> Vec<Change> {
    let via = |gateway: &str| NextHop::via(ip(gateway), DEV);
    let route = |text: &str, hop| Route::unicast(prefix(text), OURS, hop).with_metric(20);
    let bird = |text: &str, hop| Route {
        protocol: THEIRS,
        ..route(text, hop)
    };
    let up = |link: u32, up| Change::from(LinkChange::of(link).up(up));
    let end = |name: &str, ifindex| NewEnd {
        ifindex: Some(ifindex),
        ..NewEnd::new(name)
    };
    let veth = NewLink::Veth {
        host: end("u0", DEV),
        peer: end("u1", OTHER),
        peer_netns: None,
    };
    let address = Address::new(DEV, ip("192.0.2.1"), 24);
    let single = |id, gateway: &str| Nexthop {
        id: NexthopId(id),
        protocol: OURS,
        to: NexthopTarget::Via {
            gateway: ip(gateway),
            ifindex: DEV,
            onlink: false,
        },
    };
    let group = |id, of: &[u32]| Nexthop {
        id: NexthopId(id),
        protocol: OURS,
        to: NexthopTarget::Group(
            of.iter()
                .map(|id| Member {
                    id: NexthopId(*id),
                    weight: 1,
                })
                .collect(),
        ),
    };
    let ten = route("10.0.0.0/24", via("192.0.2.2"));
    let six = route("2001:db8:1::/64", via("2001:db8::2"));
    vec![
        Change::RouteAdd(ten.clone()),
        veth.clone().into(),
        veth.into(),
        Change::RouteAdd(ten.clone()),
        up(DEV, true),
        up(OTHER, true),
        Change::RouteAdd(ten.clone()),
        Change::AddressAdd(address),
        Change::AddressAdd(address),
        Change::AddressAdd(Address::new(DEV, ip("2001:db8::1"), 64)),
        Change::AddressAdd(Address::new(4711, ip("192.0.2.1"), 24)),
        // One per prefix and metric, whoever's; replaced whoever's; deleted by owner only.
        Change::RouteAdd(ten.clone()),
        Change::RouteAdd(ten.clone()),
        Change::RouteAdd(bird("10.0.0.0/24", via("192.0.2.3"))),
        Change::RouteAdd(bird("10.0.0.0/24", via("192.0.2.3")).with_metric(21)),
        Change::RouteReplace(bird("10.0.0.0/24", via("192.0.2.3"))),
        Change::RouteDelete(ten.key()),
        Change::RouteReplace(ten.clone()),
        Change::RouteReplace(Route::blackhole(prefix("10.0.0.0/24"), OURS).with_metric(20)),
        Change::RouteDelete(ten.key()),
        Change::RouteDelete(ten.key()),
        // Gateways.
        Change::RouteAdd(route("10.1.0.0/24", via("198.51.100.1"))),
        Change::RouteAdd(route("10.1.0.0/24", via("198.51.100.1").onlink())),
        Change::RouteAdd(route("10.2.0.0/24", NextHop::via(ip("192.0.2.9"), 0))),
        Change::RouteAdd(route("10.3.0.0/24", NextHop::via(ip("203.0.113.1"), 0))),
        Change::RouteAdd(route("10.4.0.0/24", NextHop::dev(4711))),
        Change::RouteAdd(route("10.5.0.0/24", via("fe80::2"))),
        Change::RouteAdd(route("10.6.0.0/24", via("2001:db8::2"))),
        Change::RouteAdd(route("10.7.0.1/32", NextHop::dev(DEV))),
        Change::RouteAdd(route("10.8.0.0/24", via("192.0.2.2")).with_source(ip("192.0.2.77"))),
        Change::RouteAdd(six.clone()),
        Change::RouteAdd(six.clone()),
        Change::RouteReplace(route("2001:db8:1::/64", via("2001:db8::3"))),
        Change::RouteAdd(route("2001:db8:2::/64", via("2001:db8:9::9"))),
        Change::RouteAdd(route("2001:db8:3::/64", via("fe80::3")).with_metric(0)),
        Change::RouteDelete(RouteKey {
            metric: 0,
            protocol: THEIRS,
            ..six.key()
        }),
        Change::RouteDelete(RouteKey {
            metric: 0,
            ..six.key()
        }),
        // Nexthop objects.
        Change::NexthopReplace(group(10, &[1, 2])),
        Change::NexthopReplace(single(1, "192.0.2.2")),
        Change::NexthopReplace(single(2, "192.0.2.3")),
        Change::NexthopReplace(single(3, "198.51.100.1")),
        Change::NexthopReplace(group(10, &[1, 2])),
        Change::RouteAdd(Route::through(prefix("10.10.0.0/24"), OURS, NexthopId(10))),
        Change::RouteAdd(Route::through(prefix("10.11.0.0/24"), OURS, NexthopId(11))),
        Change::RouteAdd(Route::through(prefix("10.12.0.0/24"), OURS, NexthopId(1))),
        Change::NexthopDelete(NexthopId(1)),
        Change::NexthopDelete(NexthopId(1)),
        Change::NexthopDelete(NexthopId(2)),
        // Silent losses.
        Change::NexthopReplace(single(1, "192.0.2.2")),
        Change::RouteAdd(Route::through(prefix("10.12.0.0/24"), OURS, NexthopId(1))),
        Change::RouteAdd(route("10.13.0.0/24", via("192.0.2.2")).with_source(ip("192.0.2.1"))),
        Change::AddressAdd(Address::new(DEV, ip("203.0.113.1"), 24)),
        Change::AddressDelete(address),
        Change::AddressDelete(address),
        Change::AddressDelete(Address::new(DEV, ip("203.0.113.1"), 24)),
        Change::AddressAdd(address),
        Change::RouteAdd(ten.clone()),
        Change::RouteAdd(six),
        up(DEV, false),
        Change::RouteAdd(ten.clone()),
        up(DEV, true),
        Change::RouteAdd(ten),
        Change::RouteAdd(route(
            "10.14.0.0/24",
            vec![via("192.0.2.2"), NextHop::dev(OTHER)][0],
        )),
        Change::LinkDelete(DEV.into()),
        Change::LinkDelete(DEV.into()),
    ]
}

#[test]
fn the_fake_answers_like_the_kernel_and_holds_the_same_routes_after_every_step() {
    in_namespace(|| {
        let script = script();
        let fake = run(&mut FakeKernel::new(), &script);
        let real = run(&mut Socket::open().expect("a socket"), &script);
        let mut differences = Vec::new();
        for (fake, real) in fake.iter().zip(&real) {
            if fake != real {
                differences.push(format!("fake {fake:#?}\nreal {real:#?}"));
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    });
}
