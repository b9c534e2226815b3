//! Interfaces and addresses that come and go.

use super::*;

fn up(link: u32, up: bool) -> Change {
    LinkChange::of(link).up(up).into()
}

/// A host with routes over both uplinks, over one, over both at once, and in IPv6.
fn with_routes() -> (Host, Vec<String>) {
    let mut host = Host::started();
    host.desire("10.1.0.0/24", &via(&["192.0.2.2"]));
    host.desire("10.2.0.0/24", &via(&["198.51.100.2"]));
    host.desire("10.3.0.0/24", &via(&["192.0.2.2", "198.51.100.2"]));
    host.desire("2001:db8:1::/64", &via(&["2001:db8::2"]));
    host.settle();
    let all = host.ours();
    assert_eq!(all.len(), 4);
    (host, all)
}

#[test]
fn routes_over_a_link_go_with_it_at_once_and_come_back_with_it_at_once() {
    let (mut host, all) = with_routes();
    host.others(up(ETH1, false));
    host.settle_at_once();
    assert_eq!(
        host.ours(),
        [
            "10.1.0.0/24 via 192.0.2.2 dev if2 proto wayleave metric 50",
            "10.3.0.0/24 via 192.0.2.2 dev if2 proto wayleave metric 50",
            "2001:db8:1::/64 via 2001:db8::2 dev if2 proto wayleave metric 50",
        ]
    );
    assert_eq!(
        host.trouble("10.2.0.0/24"),
        Some(Trouble::Unresolved(super::super::Unresolved::Down(
            "eth1".into()
        )))
    );
    host.others(up(ETH1, true));
    host.settle_at_once();
    assert_eq!(host.ours(), all);
    assert_eq!(host.trouble("10.2.0.0/24"), None);
}

#[test]
fn a_link_that_bounces_between_two_looks_has_lost_its_routes_all_the_same() {
    let (mut host, all) = with_routes();
    host.others(up(ETH1, false));
    host.others(up(ETH1, true));
    // Of the bounce, only the last word is heard, and it says that nothing has changed.
    let events = host.kernel.take_events();
    host.heard.extend(events.last().cloned());
    assert!(host.ours().len() < 4);
    host.settle();
    host.pass(Duration::from_secs(301));
    host.settle();
    assert_eq!(host.ours(), all, "found by the audit");
}

#[test]
fn an_address_that_bounces_takes_routes_along_and_they_come_back_at_once() {
    let (mut host, all) = with_routes();
    let address = Address::new(ETH1, ip("198.51.100.1"), 24);
    host.others(Change::AddressDelete(address));
    host.settle_at_once();
    assert_eq!(host.ours().len(), 3);
    assert_eq!(
        host.trouble("10.2.0.0/24")
            .map(|trouble| trouble.to_string()),
        Some("next hop 198.51.100.2 is on no connected network".to_owned())
    );
    host.others(Change::AddressAdd(address));
    host.settle_at_once();
    assert_eq!(host.ours(), all);
    // And within one look.
    host.others(Change::AddressDelete(address));
    host.others(Change::AddressAdd(address));
    host.settle_at_once();
    assert_eq!(host.ours(), all);
}

#[test]
fn without_carrier_a_link_carries_nothing() {
    let (mut host, all) = with_routes();
    host.kernel.set_carrier(ETH1, false);
    host.settle_at_once();
    assert_eq!(host.ours().len(), 3);
    host.kernel.set_carrier(ETH1, true);
    host.settle_at_once();
    assert_eq!(host.ours(), all);
}

#[test]
fn a_link_that_is_deleted_and_made_again_under_another_number_is_found() {
    let (mut host, _) = with_routes();
    host.others(Change::LinkDelete(ETH1.into()));
    host.settle_at_once();
    assert_eq!(host.ours().len(), 3);
    let end = NewEnd {
        ifindex: Some(77),
        ..NewEnd::new("eth1")
    };
    host.others(Change::from(NewLink::Bridge(end)));
    host.others(up(77, true));
    host.others(Change::AddressAdd(Address::new(77, ip("198.51.100.1"), 24)));
    host.settle_at_once();
    assert_eq!(host.ours().len(), 4);
    assert!(host.ours()[1].contains("dev if77"), "{:?}", host.ours());
}

#[test]
fn a_container_route_waits_for_its_interface_and_is_forgotten_with_it() {
    let mut host = Host::started();
    let veth = 40;
    let local = Route::unicast(prefix("10.9.0.1/32"), OURS, NextHop::dev(veth));
    let at = Slot::new(local.prefix, 0);
    host.desires(Owner::Attach, at, Some(&Wish::exactly(&local)));
    host.settle();
    assert_eq!(host.ours(), [""; 0]);
    let end = NewEnd {
        ifindex: Some(veth),
        ..NewEnd::new("wl1")
    };
    host.others(Change::from(NewLink::Bridge(end)));
    host.others(up(veth, true));
    host.settle_at_once();
    assert_eq!(host.ours(), ["10.9.0.1/32 dev if40 proto wayleave"]);
    host.others(Change::LinkDelete(veth.into()));
    host.renounces(Owner::Attach, local.prefix);
    host.settle();
    assert_eq!(host.ours(), [""; 0]);
    assert_eq!(host.fib().counts(), (0, 0, 0));
}

#[test]
fn a_router_of_ipv6_serves_ipv4_routes_and_a_link_local_one_needs_its_interface() {
    let mut host = Host::started();
    let gateway = |interface: Option<&str>| super::super::Gateway {
        addr: ip("fe80::9"),
        link_local: None,
        interface: interface.map(Into::into),
    };
    host.desire("10.1.0.0/24", &via(&["2001:db8::2"]));
    host.desire("10.2.0.0/24", &Wish::Via(vec![gateway(Some("eth1"))]));
    host.desire("10.3.0.0/24", &Wish::Via(vec![gateway(None)]));
    host.settle();
    assert_eq!(
        host.ours(),
        [
            "10.1.0.0/24 via 2001:db8::2 dev if2 proto wayleave metric 50",
            "10.2.0.0/24 via fe80::9 dev if3 proto wayleave metric 50",
        ]
    );
    assert!(host.trouble("10.3.0.0/24").is_some());
}

#[test]
fn nobody_leads_us_to_a_network_we_are_connected_to_while_we_are() {
    let mut host = Host::started();
    // Of the kernel's own routes, the one of IPv6 has a worse metric than learned ones.
    let connected = Route::unicast(
        prefix("2001:db8::/64"),
        Protocol::KERNEL,
        NextHop::dev(ETH0),
    );
    host.others(Change::RouteAdd(connected.with_metric(256)));
    let address = Address::new(ETH1, ip("2001:db8:9::1"), 64);
    host.others(Change::AddressAdd(address));
    host.desire("2001:db8::/64", &via(&["2001:db8:9::2"]));
    host.desire("192.0.2.0/24", &via(&["198.51.100.2"]));
    host.settle();
    assert_eq!(host.ours(), [""; 0]);
    assert_eq!(
        host.reconciler.changed_problems(),
        Some(vec![]),
        "that is as it should be"
    );
    let listed: Vec<_> = host
        .fib()
        .status(None, usize::MAX)
        .into_iter()
        .filter_map(|status| status.trouble)
        .collect();
    assert_eq!(listed, [Trouble::Connected, Trouble::Connected]);
    // When the network is cut off here, the way round counts.
    host.others(up(ETH0, false));
    host.settle_at_once();
    assert_eq!(host.ours().len(), 2);
    host.others(up(ETH0, true));
    host.others(Change::AddressAdd(Address::new(
        ETH0,
        ip("2001:db8::1"),
        64,
    )));
    host.settle_at_once();
    assert_eq!(host.ours(), [""; 0]);
}
