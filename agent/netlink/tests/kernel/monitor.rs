//! Events: what others do, what we do ourselves, and too many of them.

use std::time::Duration;

use wayleave_netlink::{
    Address, Change, Event, FORWARDING, Group, Kernel, LinkChange, Monitor, NextHop, Object,
    Protocol, Route, Socket,
};

use crate::namespace::{apply, in_namespace, ip, prefix, uplink};

/// Everything heard so far: events are there when the system call that caused them returns.
fn heard(monitor: &mut Monitor) -> Vec<Event> {
    let mut events = Vec::new();
    while monitor.read(&mut events).expect("readable") {}
    events
}

/// The routes that somebody made, among everything heard so far.
///
/// A new link is heard late and unasked: its carrier and the kernel's own routes come from a work
/// queue, at any time after the calls that made it.
fn routes_heard(monitor: &mut Monitor) -> Vec<Event> {
    let mut events = heard(monitor);
    events.retain(|event| match event {
        Event::New(Object::Route(route))
        | Event::Replaced(Object::Route(route))
        | Event::Gone(Object::Route(route))
        | Event::Dropped(Object::Route(route)) => route.protocol != Protocol::KERNEL,
        Event::Overrun => true,
        Event::New(_) | Event::Replaced(_) | Event::Gone(_) | Event::Dropped(_) => false,
    });
    events
}

fn route(dev: u32, text: &str) -> Route {
    Route::unicast(
        prefix(text),
        Protocol::WAYLEAVE,
        NextHop::via(ip("192.0.2.2"), dev),
    )
}

#[test]
fn routes_that_others_add_replace_and_delete_are_told_apart() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let mut monitor = Monitor::open(&FORWARDING).expect("a monitor");
        for (ours, hole) in [
            ("10.1.0.0/24", "10.1.0.0/24"),
            ("2001:db8:1::/64", "2001:db8:1::/64"),
        ] {
            let mut first = route(dev, ours);
            if first.prefix.is_ipv6() {
                first.next_hops = NextHop::via(ip("2001:db8::2"), dev).into();
            }
            let first = first.canonical();
            let second = Route::blackhole(prefix(hole), Protocol::STATIC).canonical();
            apply(
                &mut socket,
                [
                    Change::RouteAdd(first.clone()),
                    Change::RouteReplace(second.clone()),
                    Change::RouteDelete(second.key()),
                ],
            );
            assert_eq!(
                routes_heard(&mut monitor),
                [
                    Event::New(Object::Route(first)),
                    Event::Replaced(Object::Route(second.clone())),
                    Event::Gone(Object::Route(second)),
                ]
            );
        }
    });
}

#[test]
fn the_echo_of_our_own_route_changes_is_not_heard_but_everything_else_is() {
    in_namespace(|| {
        let mut ours = Socket::open().expect("a socket");
        let mut theirs = Socket::open().expect("a socket");
        let dev = uplink(&mut ours);
        let mut monitor = Monitor::open(&FORWARDING).expect("a monitor");
        monitor.ignore_routes_of(ours.port()).expect("a filter");
        let object = |id: u32| wayleave_netlink::Nexthop {
            id: wayleave_netlink::NexthopId(id),
            protocol: Protocol::WAYLEAVE,
            to: wayleave_netlink::NexthopTarget::Via {
                gateway: ip("192.0.2.2"),
                ifindex: dev,
                onlink: false,
            },
        };
        apply(&mut ours, [Change::NexthopAdd(object(1))]);
        apply(&mut theirs, [Change::NexthopAdd(object(2))]);
        apply(&mut ours, [Change::NexthopDelete(object(1).id)]);
        let mut events = heard(&mut monitor);
        events.retain(|event| {
            matches!(
                event,
                Event::New(Object::Nexthop(_))
                    | Event::Gone(Object::Nexthop(_))
                    | Event::Dropped(Object::Nexthop(_))
            )
        });
        assert_eq!(events, [Event::New(Object::Nexthop(object(2)))]);
        let mine = route(dev, "10.1.0.0/24");
        let other = route(dev, "10.2.0.0/24");
        apply(&mut ours, [Change::RouteAdd(mine.clone())]);
        apply(&mut theirs, [Change::RouteAdd(other.clone())]);
        apply(&mut theirs, [Change::RouteDelete(mine.key())]);
        apply(&mut ours, [Change::RouteDelete(other.key())]);
        assert_eq!(
            routes_heard(&mut monitor),
            [
                Event::New(Object::Route(other)),
                Event::Gone(Object::Route(mine))
            ]
        );
        // Our own address is heard, and so are the routes the kernel makes of it.
        let address = Address::new(dev, ip("198.51.100.1"), 24);
        apply(&mut ours, [Change::AddressAdd(address)]);
        let events = heard(&mut monitor);
        assert!(
            events.contains(&Event::New(Object::Address(address))),
            "{events:?}"
        );
        let connected = |event: &Event| matches!(event, Event::New(Object::Route(r)) if r.prefix == address.connected());
        assert!(events.iter().any(connected), "{events:?}");
    });
}

#[test]
fn a_link_that_goes_down_takes_ipv4_routes_along_with_no_other_sign_than_itself() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let mine = route(dev, "10.1.0.0/24");
        apply(&mut socket, [Change::RouteAdd(mine.clone())]);
        let mut monitor = Monitor::open(&FORWARDING).expect("a monitor");
        apply(&mut socket, [LinkChange::of(dev).up(false).into()]);
        let events = heard(&mut monitor);
        let down = |event: &Event| matches!(event, Event::New(Object::Link(link)) if link.ifindex == dev && !link.up);
        assert!(events.iter().any(down), "{events:?}");
        assert!(
            !events.contains(&Event::Gone(Object::Route(mine.clone()))),
            "{events:?}"
        );
        let gone = socket.apply_one(&Change::RouteDelete(mine.key()));
        assert!(gone.is_err(), "the route is gone all the same");
    });
}

#[test]
fn what_the_kernel_drops_by_itself_is_told_apart_from_what_somebody_deletes() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let object = wayleave_netlink::Nexthop {
            id: wayleave_netlink::NexthopId(1),
            protocol: Protocol::WAYLEAVE,
            to: wayleave_netlink::NexthopTarget::Via {
                gateway: ip("2001:db8::2"),
                ifindex: dev,
                onlink: false,
            },
        };
        let through = Route::through(prefix("2001:db8:7::/64"), Protocol::WAYLEAVE, object.id);
        apply(
            &mut socket,
            [
                Change::NexthopAdd(object.clone()),
                Change::RouteAdd(through.clone()),
            ],
        );
        let mut monitor = Monitor::open(&FORWARDING).expect("a monitor");
        apply(&mut socket, [Change::NexthopDelete(object.id)]);
        let events = heard(&mut monitor);
        let dropped = Event::Dropped(Object::Route(through.canonical()));
        assert!(events.contains(&dropped), "{events:?}");
        assert!(
            events.contains(&Event::Gone(Object::Nexthop(object))),
            "{events:?}"
        );
    });
}

#[test]
fn more_events_than_the_buffer_holds_are_reported_as_an_overrun() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let mut monitor = Monitor::open(&[Group::RoutesV4]).expect("a monitor");
        monitor.set_receive_buffer(4096).expect("a small buffer");
        let routes = (0..200).map(|i| Change::RouteAdd(route(dev, &format!("10.1.{i}.0/24"))));
        apply(&mut socket, routes);
        let events = heard(&mut monitor);
        assert!(events.contains(&Event::Overrun), "{} events", events.len());
        assert!(events.len() < 200);
        // It goes on hearing afterwards.
        let late = route(dev, "10.3.0.0/24");
        apply(&mut socket, [Change::RouteAdd(late.clone())]);
        assert_eq!(
            routes_heard(&mut monitor),
            [Event::New(Object::Route(late))]
        );
    });
}

#[test]
fn a_task_waits_for_events_without_polling() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        runtime.block_on(async {
            let mut monitor = Monitor::open(&[Group::RoutesV4]).expect("a monitor");
            let mut readiness = monitor.readiness().expect("a reactor");
            let quiet = Duration::from_millis(20);
            let early = tokio::time::timeout(quiet, readiness.changed()).await;
            assert!(early.is_err());
            let soon = Duration::from_secs(5);
            for text in ["10.1.0.0/24", "10.2.0.0/24"] {
                let mine = route(dev, text);
                apply(&mut socket, [Change::RouteAdd(mine.clone())]);
                let changed = tokio::time::timeout(soon, readiness.changed()).await;
                changed.expect("in time").expect("a reactor");
                assert_eq!(heard(&mut monitor), [Event::New(Object::Route(mine))]);
            }
        });
    });
}
