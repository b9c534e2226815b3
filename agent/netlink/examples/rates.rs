//! Rates of the kernel's FIB through this package, beside a loop that sends prepared bytes and
//! does nothing else. Root only; works in a network namespace of its own.
//!
//! `cargo run --release -p wayleave-netlink --example rates [routes]`

use std::{
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use wayleave_netlink::{
    Acknowledge, Address, Change, Family, Kernel, LinkChange, Member, NewEnd, NewLink, NextHop,
    Nexthop, NexthopId, NexthopTarget, Prefix, Protocol, Route, RouteFilter, Socket,
};

const OURS: Protocol = Protocol::WAYLEAVE;
const DEV: u32 = 100;

#[allow(clippy::print_stdout, reason = "the output is the purpose")]
fn main() {
    let count: u32 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(200_000);
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        println!("skipped: cannot make a network namespace: {error}");
        return;
    }
    let mut socket = Socket::open().expect("a netlink socket");
    uplink(&mut socket);
    println!("{count} routes, one namespace; per second unless a time is given");
    println!(
        "{:44} {:>10} {:>10} {:>10} {:>12}",
        "", "add", "replace", "delete", "list, ms"
    );
    for acknowledge in [Acknowledge::Each, Acknowledge::Last] {
        socket.acknowledge(acknowledge);
        for family in [Family::V4, Family::V6] {
            let routes = routes(count, family, &[hop(family, 2)]);
            line(
                &mut socket,
                &format!("{family}, acknowledge {acknowledge:?}"),
                family,
                &routes,
            );
        }
    }
    for family in [Family::V4, Family::V6] {
        bare(
            &mut socket,
            family,
            &routes(count, family, &[hop(family, 2)]),
        );
    }
    for family in [Family::V4, Family::V6] {
        let hops = [hop(family, 2), hop(family, 3)];
        let routes = routes(count, family, &hops);
        line(
            &mut socket,
            &format!("{family}, two next hops"),
            family,
            &routes,
        );
    }
    repoint(&mut socket, count.min(100_000));
}

#[allow(clippy::print_stdout, reason = "the output is the purpose")]
fn line(socket: &mut Socket, title: &str, family: Family, routes: &[Route]) {
    let adds: Vec<_> = routes.iter().cloned().map(Change::RouteAdd).collect();
    let replaces: Vec<_> = routes.iter().cloned().map(Change::RouteReplace).collect();
    let deletes: Vec<_> = routes
        .iter()
        .rev()
        .map(|r| Change::RouteDelete(r.key()))
        .collect();
    let add = timed(socket, &adds);
    let replace = timed(socket, &replaces);
    let start = Instant::now();
    let listed = socket
        .routes(RouteFilter::all(family).protocol(OURS))
        .expect("a listing");
    let list = start.elapsed();
    assert_eq!(listed.len(), routes.len(), "every route is listed");
    let delete = timed(socket, &deletes);
    println!(
        "{title:44} {:>10} {:>10} {:>10} {:>12.0}",
        rate(routes.len(), add),
        rate(routes.len(), replace),
        rate(routes.len(), delete),
        list.as_secs_f64() * 1e3
    );
}

/// The yardstick: messages made beforehand, 256 to a send, answers counted and not looked at.
#[allow(clippy::print_stdout, reason = "the output is the purpose")]
fn bare(socket: &mut Socket, family: Family, routes: &[Route]) {
    let adds = routes
        .iter()
        .cloned()
        .map(Change::RouteAdd)
        .collect::<Vec<_>>();
    let replaces = routes
        .iter()
        .cloned()
        .map(Change::RouteReplace)
        .collect::<Vec<_>>();
    let deletes = routes
        .iter()
        .rev()
        .map(|r| Change::RouteDelete(r.key()))
        .collect::<Vec<_>>();
    let mut rates = Vec::new();
    for changes in [adds, replaces, deletes] {
        let sends: Vec<_> = changes.chunks(256).map(prepared).collect();
        let raw =
            netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).expect("a socket");
        nix::sys::socket::setsockopt(&raw, nix::sys::socket::sockopt::RcvBufForce, &(4 << 20))
            .expect("root may");
        let start = Instant::now();
        for (bytes, count) in sends {
            let kernel = netlink_sys::SocketAddr::new(0, 0);
            raw.send_to(&bytes, &kernel, 0).expect("sent");
            let mut inbox = Vec::with_capacity(4096);
            for _ in 0..count {
                inbox.clear();
                raw.recv(&mut inbox, 0).expect("an answer");
                assert_eq!(inbox[16..20], [0; 4], "the kernel refused");
            }
        }
        rates.push(rate(routes.len(), start.elapsed()));
    }
    let left = socket
        .routes(RouteFilter::all(family).protocol(OURS))
        .expect("a listing");
    assert!(left.is_empty(), "every route is deleted");
    let title = format!("{family}, bare loop, messages made beforehand");
    println!(
        "{title:44} {:>10} {:>10} {:>10}",
        rates[0], rates[1], rates[2]
    );
}

fn prepared(changes: &[Change]) -> (Vec<u8>, usize) {
    const ACK: u8 = 4;
    let mut bytes = Vec::new();
    for change in changes {
        let at = bytes.len();
        change
            .encode(&mut bytes, 1)
            .expect("routes can be expressed");
        bytes[at + 6] |= ACK;
    }
    (bytes, changes.len())
}

/// Repoints all routes of one nexthop object.
#[allow(clippy::print_stdout, reason = "the output is the purpose")]
fn repoint(socket: &mut Socket, count: u32) {
    let group = |member| Nexthop {
        id: NexthopId(10),
        protocol: OURS,
        to: NexthopTarget::Group(vec![Member {
            id: NexthopId(member),
            weight: 1,
        }]),
    };
    let single = |id, host| {
        let NextHop {
            gateway, ifindex, ..
        } = hop(Family::V4, host);
        let gateway = gateway.expect("the next hops here have gateways");
        let to = NexthopTarget::Via {
            gateway,
            ifindex,
            onlink: false,
        };
        Change::NexthopReplace(Nexthop {
            id: NexthopId(id),
            protocol: OURS,
            to,
        })
    };
    let mut changes = vec![single(1, 2), single(2, 3), Change::NexthopReplace(group(1))];
    let through = |route: Route| Route::through(route.prefix, OURS, NexthopId(10)).with_metric(20);
    let routes = routes(count, Family::V4, &[hop(Family::V4, 2)]);
    changes.extend(routes.into_iter().map(through).map(Change::RouteAdd));
    timed(socket, &changes);
    for compat in ["1", "0"] {
        if std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", compat).is_err() {
            continue;
        }
        let took = timed(socket, &[Change::NexthopReplace(group(2))]);
        timed(socket, &[Change::NexthopReplace(group(1))]);
        println!(
            "repoint {count} routes of one object, nexthop_compat_mode={compat}: {:.1} ms",
            took.as_secs_f64() * 1e3
        );
    }
}

fn timed(socket: &mut Socket, changes: &[Change]) -> Duration {
    let start = Instant::now();
    let results = socket.apply(changes);
    let took = start.elapsed();
    for (change, result) in changes.iter().zip(results) {
        if let Err(error) = result {
            panic!("{}", error.about(change));
        }
    }
    took
}

fn rate(count: usize, took: Duration) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "printed only"
    )]
    #[allow(clippy::cast_precision_loss, reason = "printed only")]
    let rate = (count as f64 / took.as_secs_f64()) as u64;
    rate
}

fn hop(family: Family, host: u8) -> NextHop {
    let gateway = match family {
        Family::V4 => IpAddr::from([192, 0, 2, host]),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()).into(),
    };
    NextHop::via(gateway, DEV)
}

fn routes(count: u32, family: Family, hops: &[NextHop]) -> Vec<Route> {
    (0..count)
        .map(|i| {
            let prefix = match family {
                Family::V4 => Prefix::new(IpAddr::from((0x0a00_0000 + (i << 4)).to_be_bytes()), 28),
                Family::V6 => {
                    let [high, low] = [(i >> 16) as u16, (i & 0xffff) as u16];
                    Prefix::new(
                        Ipv6Addr::new(0x2001, 0xdb8, high + 1, low, 0, 0, 0, 0).into(),
                        64,
                    )
                }
            };
            let prefix = prefix.expect("invariant: the length is one of the family");
            Route::unicast(prefix, OURS, hops.to_vec()).with_metric(20)
        })
        .collect()
}

fn uplink(socket: &mut Socket) {
    let veth = NewLink::Veth {
        host: NewEnd {
            ifindex: Some(DEV),
            ..NewEnd::new("u0")
        },
        peer: NewEnd {
            ifindex: Some(200),
            ..NewEnd::new("u1")
        },
        peer_netns: None,
    };
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    timed(
        socket,
        &[
            veth.into(),
            LinkChange::of("u0").up(true).into(),
            LinkChange::of("u1").up(true).into(),
            Change::AddressAdd(Address::new(DEV, IpAddr::from([192, 0, 2, 1]), 24)),
            Change::AddressAdd(Address::new(DEV, v6.into(), 64)),
        ],
    );
}
