//! The changes that make an attachment, as data.

use std::net::IpAddr;

use wayleave_netlink::{
    Address, Change, Ipv4Setting, LinkChange, Mac, Neighbor, Netns, NewEnd, NextHop, Prefix,
    Protocol, Route, RouteKind, TABLE_LOCAL, VethPlan,
};

use super::{Attachment, GATEWAY_V4, GATEWAY_V6, Settings, group};

/// The pair, its peer in the container's namespace, both ends up; the host's end marked as being
/// made and policed before it can receive anything.
pub(super) fn pair(attachment: &Attachment, netns: Netns) -> VethPlan {
    let host = NewEnd {
        mtu: Some(attachment.mtu),
        mac: Some(attachment.host_mac),
        group: Some(group::BUILDING),
        ..NewEnd::new(&attachment.host_name)
    };
    let peer = NewEnd {
        mtu: Some(attachment.mtu),
        mac: Some(attachment.container_mac),
        ..NewEnd::new(&attachment.owner.interface)
    };
    let settings = vec![
        (Ipv4Setting::Forwarding, 1),
        // Answers a container that lost its permanent entry for the gateway.
        (Ipv4Setting::ProxyArp, 1),
        // Strict: a source address passes only if its route leads back here.
        (Ipv4Setting::RpFilter, 1),
        (Ipv4Setting::SendRedirects, 0),
    ];
    VethPlan::new(host, peer, netns, settings)
}

/// The container's side of one family: address, gateway and default route, in this order.
///
/// In IPv6 the address comes with a local route of its own. The kernel makes one too, but from a
/// work queue, even without duplicate address detection: until then, for milliseconds on a busy
/// host, it drops what arrives for the address. Both are the same but for the metric.
pub(super) fn inside(
    attachment: &Attachment,
    address: IpAddr,
    ifindex: u32,
    metric: u32,
) -> Vec<Change> {
    let gateway = gateway(address);
    let own = Address {
        no_dad: true,
        ..Address::new(ifindex, address, Prefix::host(address).len())
    };
    let hop = NextHop {
        onlink: true,
        ..NextHop::via(gateway, ifindex)
    };
    // What the container's routing daemon, if any, is to leave alone.
    let route = Route::unicast(default_of(address), Protocol::STATIC, hop).with_metric(metric);
    let mut changes = vec![Change::AddressAdd(own)];
    if address.is_ipv6() {
        changes.push(Change::RouteAdd(local(address, ifindex)));
    }
    changes.push(Change::NeighborReplace(Neighbor::permanent(
        ifindex,
        gateway,
        attachment.host_mac,
    )));
    changes.push(Change::RouteAdd(route));
    changes
}

/// The route by which the container takes packets for its address.
fn local(address: IpAddr, ifindex: u32) -> Route {
    Route {
        kind: RouteKind::Local,
        ..Route::unicast(
            Prefix::host(address),
            Protocol::STATIC,
            NextHop::dev(ifindex),
        )
    }
    .in_table(TABLE_LOCAL)
}

/// The host's side before the mark: `fe80::1`, the container's hardware address.
pub(super) fn outside(attachment: &Attachment, ifindex: u32) -> Vec<Change> {
    let mut changes = Vec::with_capacity(attachment.addresses.len() + 1);
    if attachment.has_ipv6() {
        changes.push(Change::AddressAdd(Address {
            no_dad: true,
            ..Address::new(ifindex, GATEWAY_V6.into(), 128)
        }));
    }
    changes.extend(neighbors(attachment, ifindex));
    changes
}

/// The entries by which the host knows the container's hardware address.
pub(super) fn neighbors(attachment: &Attachment, ifindex: u32) -> impl Iterator<Item = Change> {
    let mac: Mac = attachment.container_mac;
    attachment
        .addresses
        .iter()
        .map(move |address| Change::NeighborReplace(Neighbor::permanent(ifindex, *address, mac)))
}

/// The host's routes to the container.
pub(super) fn routes(
    attachment: &Attachment,
    ifindex: u32,
    settings: &Settings,
) -> impl Iterator<Item = Route> {
    let (protocol, table) = (settings.protocol, settings.table);
    attachment.addresses.iter().map(move |address| {
        let hop = NextHop::dev(ifindex);
        Route::unicast(Prefix::host(*address), protocol, hop)
            .in_table(table)
            .canonical()
    })
}

/// The mark of a whole attachment.
pub(super) fn mark(ifindex: u32) -> Change {
    LinkChange {
        group: Some(group::ATTACHED),
        ..LinkChange::of(ifindex)
    }
    .into()
}

/// The gateway of the address's family.
pub(super) fn gateway(address: IpAddr) -> IpAddr {
    if address.is_ipv4() {
        GATEWAY_V4.into()
    } else {
        GATEWAY_V6.into()
    }
}

/// The default route's destination in the address's family.
pub(super) const fn default_of(address: IpAddr) -> Prefix {
    if address.is_ipv4() {
        Prefix::DEFAULT_V4
    } else {
        Prefix::DEFAULT_V6
    }
}
