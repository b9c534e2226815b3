//! One-off questions through the rtnetlink crate.

use wayleave_netlink::{Change, Lookup, NextHop, Path, Protocol, Route, Socket};

use crate::namespace::{apply, in_namespace, ip, prefix, uplink};

#[test]
fn the_way_to_an_address_is_told_or_that_there_is_none() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let dev = uplink(&mut socket);
        let gateway = ip("192.0.2.2");
        let route = Route::unicast(
            prefix("10.0.0.0/8"),
            Protocol::STATIC,
            NextHop::via(gateway, dev),
        );
        apply(&mut socket, [Change::RouteAdd(route)]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let lookup = Lookup::spawn().expect("a socket");
            let source = Some(ip("192.0.2.1"));
            let path = |gateway| {
                Some(Path {
                    ifindex: dev,
                    gateway,
                    source,
                })
            };
            assert_eq!(lookup.path(ip("10.1.2.3")).await, Ok(path(Some(gateway))));
            assert_eq!(lookup.path(ip("192.0.2.9")).await, Ok(path(None)));
            assert_eq!(lookup.path(ip("203.0.113.1")).await, Ok(None));
            assert_eq!(lookup.path(ip("2001:db8:ffff::1")).await, Ok(None));
            let link = lookup.link("u0").await.expect("asked").expect("there");
            assert_eq!(link.ifindex, dev);
            assert_eq!(lookup.link("nobody").await, Ok(None));
            assert_eq!(lookup.links().await.expect("asked").len(), 3);
            let addresses = lookup.addresses().await.expect("asked");
            assert!(
                addresses
                    .iter()
                    .any(|address| address.local == ip("2001:db8::1"))
            );
        });
    });
}
