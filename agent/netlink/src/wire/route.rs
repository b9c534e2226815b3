//! Routes as bytes (linux/rtnetlink.h).
//!
//! ```text
//! struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags; }
//! struct rtnexthop { u16 len; u8 flags, hops; u32 ifindex; } followed by attributes
//! struct rtvia { u16 family; u8 addr[]; }
//! ```

use std::{net::IpAddr, num::NonZeroU32};

use super::{Attributes, NLA_F_NESTED, Writer, ip_of, malformed, u32_at, u32_of, with_octets};
use crate::{
    error::KernelError,
    nexthop::NexthopId,
    object::RouteFilter,
    prefix::{Family, Prefix},
    route::{NextHop, NextHops, Protocol, Route, RouteKey, RouteKind},
};

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;

const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
const RT_SCOPE_NOWHERE: u8 = 255;
const RT_TABLE_COMPAT: u32 = 252;

const RTNH_F_ONLINK: u8 = 4;
/// A clone made by the kernel for one destination, no route anybody installed.
const RTM_F_CLONED: u32 = 0x200;

/// Length of `rtmsg`.
const RTMSG: usize = 12;
/// Length of `rtnexthop`.
const RTNEXTHOP: usize = 8;
/// More next hops than this do not fit in an attribute, and nobody has them.
const MAX_NEXT_HOPS: usize = 512;

/// Refuses what netlink cannot say.
pub(super) fn check(route: &Route) -> Result<(), KernelError> {
    let no = |why: String| Err(KernelError::Inexpressible(why));
    let hops = &*route.next_hops;
    if hops.len() > MAX_NEXT_HOPS {
        return no(format!(
            "{} next hops, at most {MAX_NEXT_HOPS} are possible",
            hops.len()
        ));
    }
    if !route.kind.has_next_hops() && (!hops.is_empty() || route.nexthop.is_some()) {
        return no(format!("a route of kind {} has no next hop", route.kind));
    }
    if route.kind == RouteKind::Unicast && hops.is_empty() && route.nexthop.is_none() {
        return no("a unicast route needs a next hop".to_owned());
    }
    if !hops.is_empty() && route.nexthop.is_some() {
        return no("next hops and a nexthop object exclude each other".to_owned());
    }
    for hop in hops {
        if !(1..=256).contains(&hop.weight) {
            return no(format!("weight {} is not within 1 to 256", hop.weight));
        }
        if hop
            .gateway
            .is_some_and(|gateway| route.prefix.is_ipv6() && gateway.is_ipv4())
        {
            return no("an IPv6 route cannot lead through an IPv4 gateway".to_owned());
        }
    }
    if route
        .source
        .is_some_and(|source| Family::of(source) != route.prefix.family())
    {
        return no("the preferred source is of another family".to_owned());
    }
    Ok(())
}

/// Writes `rtmsg` and attributes of a route to install.
pub(super) fn write(w: &mut Writer<'_>, route: &Route) {
    let scope = match route.kind {
        RouteKind::Local => RT_SCOPE_HOST,
        RouteKind::Unicast
            if route.nexthop.is_none()
                && route.next_hops.iter().all(|hop| hop.gateway.is_none()) =>
        {
            RT_SCOPE_LINK
        }
        RouteKind::Unicast
        | RouteKind::Blackhole
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Throw
        | RouteKind::Other(_) => RT_SCOPE_UNIVERSE,
    };
    let onlink = matches!(&*route.next_hops, [hop] if hop.onlink);
    let flags = if onlink { u32::from(RTNH_F_ONLINK) } else { 0 };
    header(w, &route.key(), scope, route.kind.number(), flags);
    if let Some(id) = route.nexthop {
        w.attr_u32(RTA_NH_ID, id.0);
    }
    match &*route.next_hops {
        [] => {}
        [hop] => {
            if hop.ifindex != 0 {
                w.attr_u32(RTA_OIF, hop.ifindex);
            }
            gateway(w, hop, route.prefix.family());
        }
        hops => {
            let multipath = w.nest(RTA_MULTIPATH);
            for hop in hops {
                let at = w.position();
                let flags = if hop.onlink { RTNH_F_ONLINK } else { 0 };
                // Invariant: `check` has seen that the weight is within 1..=256.
                let hops = u8::try_from(hop.weight - 1).unwrap_or(u8::MAX);
                w.put(&[0, 0, flags, hops]);
                w.put(&hop.ifindex.to_ne_bytes());
                gateway(w, hop, route.prefix.family());
                w.fill_u16(at);
            }
            w.end(multipath);
        }
    }
    if let Some(source) = route.source {
        with_octets(source, |octets| w.attr(RTA_PREFSRC, octets));
    }
    if let Some(mtu) = route.mtu {
        let metrics = w.nest(RTA_METRICS | NLA_F_NESTED);
        w.attr_u32(RTAX_MTU, mtu.get());
        w.end(metrics);
    }
}

/// Writes `rtmsg` and attributes of a route to delete.
pub(super) fn write_key(w: &mut Writer<'_>, key: &RouteKey) {
    header(w, key, RT_SCOPE_NOWHERE, 0, 0);
}

/// Writes `rtmsg` and attributes of a filter.
pub(super) fn write_filter(w: &mut Writer<'_>, filter: &RouteFilter) {
    let protocol = filter.protocol.unwrap_or(Protocol::UNSPEC);
    w.put(&[filter.family.number(), 0, 0, 0, 0, protocol.0, 0, 0]);
    w.put(&[0; 4]);
    if let Some(table) = filter.table {
        w.attr_u32(RTA_TABLE, table);
    }
    if let Some(ifindex) = filter.ifindex {
        w.attr_u32(RTA_OIF, ifindex);
    }
}

/// Reads a route. `None`: it is none of those that are installed (a cached exception, another
/// family, multicast routing).
pub(super) fn read(payload: &[u8]) -> Result<Option<Route>, KernelError> {
    let Some((head, attributes)) = payload.split_at_checked(RTMSG) else {
        return Err(malformed("a route shorter than its header"));
    };
    let Some(family) = Family::from_number(head[0]) else {
        return Ok(None);
    };
    let flags = u32_at(head, 8).unwrap_or(0);
    if flags & RTM_F_CLONED != 0 {
        return Ok(None);
    }
    let kind = RouteKind::from_number(head[7]);
    let mut destination = family.default_route().addr();
    let mut table = u32::from(head[4]);
    let mut metric = 0;
    let mut hop = NextHop {
        onlink: flags & u32::from(RTNH_F_ONLINK) != 0,
        ..NextHop::dev(0)
    };
    let mut hops = NextHops::NONE;
    let mut nexthop = None;
    let mut source = None;
    let mut mtu = None;
    for attribute in Attributes(attributes) {
        let (attribute, value) = attribute?;
        match attribute {
            RTA_DST => destination = ip_of(value)?,
            RTA_OIF => hop.ifindex = u32_of(value)?,
            RTA_GATEWAY => hop.gateway = Some(ip_of(value)?),
            RTA_VIA => hop.gateway = via(value)?,
            RTA_PRIORITY => metric = u32_of(value)?,
            RTA_PREFSRC => source = Some(ip_of(value)?),
            RTA_TABLE => table = u32_of(value)?,
            RTA_NH_ID => nexthop = Some(NexthopId(u32_of(value)?)),
            RTA_MULTIPATH => hops = read_multipath(value)?,
            RTA_METRICS => mtu = read_mtu(value)?,
            _ => {}
        }
    }
    let prefix = Prefix::new(destination, head[1]).map_err(|error| malformed(error.to_string()))?;
    // With `nexthop_compat_mode` the kernel spells an object out as well; the object is what counts.
    let next_hops = if nexthop.is_some() || !kind.has_next_hops() {
        NextHops::NONE
    } else if hops.is_empty() && (hop.ifindex != 0 || hop.gateway.is_some()) {
        hop.into()
    } else {
        hops
    };
    Ok(Some(Route {
        prefix,
        table,
        metric,
        protocol: Protocol(head[5]),
        kind,
        next_hops,
        nexthop,
        source,
        mtu,
    }))
}

fn header(w: &mut Writer<'_>, key: &RouteKey, scope: u8, kind: u8, flags: u32) {
    let prefix = key.prefix;
    let table = u8::try_from(if key.table < 256 {
        key.table
    } else {
        RT_TABLE_COMPAT
    })
    .expect("invariant: below 256");
    w.put(&[
        prefix.family().number(),
        prefix.len(),
        0,
        0,
        table,
        key.protocol.0,
        scope,
        kind,
    ]);
    w.put(&flags.to_ne_bytes());
    if prefix.len() != 0 {
        with_octets(prefix.addr(), |octets| w.attr(RTA_DST, octets));
    }
    if key.table >= 256 {
        w.attr_u32(RTA_TABLE, key.table);
    }
    if key.metric != 0 {
        w.attr_u32(RTA_PRIORITY, key.metric);
    }
}

fn gateway(w: &mut Writer<'_>, hop: &NextHop, family: Family) {
    match hop.gateway {
        None => {}
        Some(gateway) if Family::of(gateway) == family => {
            with_octets(gateway, |octets| w.attr(RTA_GATEWAY, octets));
        }
        Some(gateway) => {
            let mut via = [0; 18];
            via[..2].copy_from_slice(&u16::from(Family::of(gateway).number()).to_ne_bytes());
            with_octets(gateway, |octets| {
                via[2..2 + octets.len()].copy_from_slice(octets);
                w.attr(RTA_VIA, &via[..2 + octets.len()]);
            });
        }
    }
}

fn via(value: &[u8]) -> Result<Option<IpAddr>, KernelError> {
    let Some((_family, addr)) = value.split_at_checked(2) else {
        return Err(malformed("a gateway without a family"));
    };
    // The link layer address of AF_PACKET is no gateway we know; its length tells it apart.
    if matches!(addr.len(), 4 | 16) {
        ip_of(addr).map(Some)
    } else {
        Ok(None)
    }
}

fn read_multipath(mut value: &[u8]) -> Result<NextHops, KernelError> {
    let mut hops = Vec::new();
    while value.len() >= RTNEXTHOP {
        let len = usize::from(u16::from_ne_bytes([value[0], value[1]]));
        if len < RTNEXTHOP || len > value.len() {
            return Err(malformed(format!(
                "a next hop of {len} bytes in {}",
                value.len()
            )));
        }
        let mut hop = NextHop {
            gateway: None,
            ifindex: u32_at(value, 4).unwrap_or(0),
            weight: u16::from(value[3]) + 1,
            onlink: value[2] & RTNH_F_ONLINK != 0,
        };
        for attribute in Attributes(&value[RTNEXTHOP..len]) {
            let (attribute, value) = attribute?;
            match attribute {
                RTA_GATEWAY => hop.gateway = Some(ip_of(value)?),
                RTA_VIA => hop.gateway = via(value)?,
                _ => {}
            }
        }
        hops.push(hop);
        value = value.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(hops.into())
}

fn read_mtu(value: &[u8]) -> Result<Option<NonZeroU32>, KernelError> {
    let mut mtu = None;
    for attribute in Attributes(value) {
        let (attribute, value) = attribute?;
        if attribute == RTAX_MTU {
            mtu = NonZeroU32::new(u32_of(value)?);
        }
    }
    Ok(mtu)
}
