//! Interfaces, addresses, neighbours and rules, through netlink-packet-route.

use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, Emitable};
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{
        AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth,
        LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
    },
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::RouteProtocol,
    rule::{RuleAction as Action, RuleAttribute, RuleMessage},
};

use super::malformed;
use crate::{
    address::{Address, Neighbor, NeighborState, Rule, RuleAction},
    error::KernelError,
    link::{Ipv4Setting, Link, LinkChange, LinkId, Mac, NewEnd, NewLink},
    prefix::{Family, Prefix},
    route::Protocol,
};

/// `IFNAMSIZ - 1`.
const MAX_NAME: usize = 15;
const IFLA_INET_CONF: u16 = 1;
const NLA_F_NESTED: u16 = 0x8000;

pub(super) fn new_link(link: &NewLink) -> Result<LinkMessage, KernelError> {
    match link {
        NewLink::Bridge(bridge) => {
            let mut message = new_end(bridge)?;
            message
                .attributes
                .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(
                    InfoKind::Bridge,
                )]));
            Ok(message)
        }
        NewLink::Veth {
            host,
            peer,
            peer_netns,
        } => {
            let mut message = new_end(host)?;
            let mut peer = new_end(peer)?;
            if let Some(netns) = peer_netns {
                peer.attributes.push(LinkAttribute::NetNsFd(netns.raw()));
            }
            message.attributes.push(LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]));
            Ok(message)
        }
    }
}

pub(super) fn link_change(change: &LinkChange) -> Result<LinkMessage, KernelError> {
    let mut message = link_id(&change.link)?;
    if let Some(up) = change.up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up {
            LinkFlags::Up
        } else {
            LinkFlags::empty()
        };
    }
    let attributes = &mut message.attributes;
    if let Some(name) = &change.name {
        if matches!(change.link, LinkId::Name(_)) {
            let why = "to rename an interface, name it by its number";
            return Err(KernelError::Inexpressible(why.to_owned()));
        }
        attributes.push(LinkAttribute::IfName(checked_name(name)?));
    }
    if let Some(mtu) = change.mtu {
        attributes.push(LinkAttribute::Mtu(mtu));
    }
    if let Some(mac) = change.mac {
        attributes.push(LinkAttribute::Address(mac.0.to_vec()));
    }
    if let Some(group) = change.group {
        attributes.push(LinkAttribute::Group(group));
    }
    if let Some(master) = change.master {
        attributes.push(LinkAttribute::Controller(master));
    }
    let mut families = Vec::new();
    if !change.ipv4.is_empty() {
        families.push(AfSpecUnspec::Inet(vec![ipv4_settings(&change.ipv4)]));
    }
    if let Some(link_local) = change.link_local {
        let mode = if link_local {
            In6AddrGenMode::Eui64
        } else {
            In6AddrGenMode::None
        };
        families.push(AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)]));
    }
    if !families.is_empty() {
        attributes.push(LinkAttribute::AfSpecUnspec(families));
    }
    Ok(message)
}

pub(super) fn link_id(link: &LinkId) -> Result<LinkMessage, KernelError> {
    let mut message = LinkMessage::default();
    match link {
        LinkId::Index(ifindex) => message.header.index = *ifindex,
        LinkId::Name(name) => message
            .attributes
            .push(LinkAttribute::IfName(checked_name(name)?)),
    }
    Ok(message)
}

pub(super) fn link_group(group: u32) -> Result<LinkMessage, KernelError> {
    if group == 0 {
        let why = "group 0 is everybody's: its interfaces are never deleted together";
        return Err(KernelError::Inexpressible(why.to_owned()));
    }
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    Ok(message)
}

/// Asks for one interface, or for all, without counters.
pub(super) fn link_request(link: Option<&LinkId>) -> Result<LinkMessage, KernelError> {
    let mut message = link.map_or_else(|| Ok(LinkMessage::default()), link_id)?;
    message
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    Ok(message)
}

pub(crate) fn read_link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        kind: None,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Up | LinkFlags::Running),
        carrier: flags.contains(LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        mtu: 0,
        mac: None,
        master: None,
        peer: None,
        peer_netns: None,
        group: 0,
    };
    for attribute in message.attributes {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "the attributes are an open set"
        )]
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(mac) => link.mac = mac.try_into().ok().map(Mac),
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::Link(peer) => link.peer = Some(peer),
            LinkAttribute::LinkNetNsId(id) => link.peer_netns = Some(id),
            LinkAttribute::Group(group) => link.group = group,
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

pub(super) fn address(address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.local);
    message.header.prefix_len = address.prefix_len;
    message.header.index = address.ifindex;
    message.header.scope = match address.local {
        IpAddr::V4(v4) if v4.is_loopback() => AddressScope::Host,
        IpAddr::V4(v4) if v4.is_link_local() => AddressScope::Link,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => AddressScope::Link,
        IpAddr::V4(_) | IpAddr::V6(_) => AddressScope::Universe,
    };
    let mut flags = AddressFlags::Permanent;
    flags.set(
        AddressFlags::Nodad,
        address.no_dad && address.local.is_ipv6(),
    );
    flags.set(AddressFlags::Noprefixroute, address.no_prefix_route);
    message.header.flags = AddressHeaderFlags::from_bits_retain(
        u8::try_from(flags.bits() & 0xff).expect("invariant: masked"),
    );
    message
        .attributes
        .push(AddressAttribute::Local(address.local));
    message.attributes.push(AddressAttribute::Address(
        address.peer.unwrap_or(address.local),
    ));
    message.attributes.push(AddressAttribute::Flags(flags));
    message
}

pub(super) fn address_request(ifindex: Option<u32>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = ifindex.unwrap_or(0);
    message
}

pub(crate) fn read_address(message: AddressMessage) -> Result<Option<Address>, KernelError> {
    let (mut local, mut address) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in message.attributes {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "the attributes are an open set"
        )]
        match attribute {
            AddressAttribute::Local(addr) => local = Some(addr),
            AddressAttribute::Address(addr) => address = Some(addr),
            AddressAttribute::Flags(all) => flags = all,
            _ => {}
        }
    }
    if Family::from_number(message.header.family.into()).is_none() {
        return Ok(None);
    }
    let Some(local) = local.or(address) else {
        return Err(malformed("an address message without an address"));
    };
    Ok(Some(Address {
        ifindex: message.header.index,
        local,
        prefix_len: message.header.prefix_len,
        peer: address.filter(|address| *address != local),
        no_prefix_route: flags.contains(AddressFlags::Noprefixroute),
        no_dad: flags.contains(AddressFlags::Nodad) || local.is_ipv4(),
        tentative: flags.contains(AddressFlags::Tentative),
    }))
}

pub(super) fn neighbor(neighbor: &Neighbor) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(neighbor.address);
    message.header.ifindex = neighbor.ifindex;
    message.header.state = match neighbor.state {
        NeighborState::None => NeighbourState::None,
        NeighborState::Incomplete => NeighbourState::Incomplete,
        NeighborState::Reachable => NeighbourState::Reachable,
        NeighborState::Stale => NeighbourState::Stale,
        NeighborState::Delay => NeighbourState::Delay,
        NeighborState::Probe => NeighbourState::Probe,
        NeighborState::Failed => NeighbourState::Failed,
        NeighborState::NoArp => NeighbourState::Noarp,
        NeighborState::Permanent => NeighbourState::Permanent,
    };
    if neighbor.proxy {
        message.header.flags = NeighbourFlags::Proxy;
    }
    message
        .attributes
        .push(NeighbourAttribute::Destination(match neighbor.address {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        }));
    if let Some(mac) = neighbor.mac {
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    }
    message
}

pub(super) fn neighbor_request(ifindex: Option<u32>, proxies: bool) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    if proxies {
        message.header.flags = NeighbourFlags::Proxy;
    }
    if let Some(ifindex) = ifindex {
        message
            .attributes
            .push(NeighbourAttribute::IfIndex(ifindex));
    }
    message
}

pub(super) fn read_neighbor(message: NeighbourMessage) -> Option<Neighbor> {
    let (mut address, mut mac) = (None, None);
    for attribute in message.attributes {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "the attributes are an open set"
        )]
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok().map(Mac),
            _ => {}
        }
    }
    // An entry without an IP address is one of a bridge's FDB.
    let address = address?;
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "combinations of states are none to us"
    )]
    let state = match message.header.state {
        NeighbourState::Incomplete => NeighborState::Incomplete,
        NeighbourState::Reachable => NeighborState::Reachable,
        NeighbourState::Stale => NeighborState::Stale,
        NeighbourState::Delay => NeighborState::Delay,
        NeighbourState::Probe => NeighborState::Probe,
        NeighbourState::Failed => NeighborState::Failed,
        NeighbourState::Noarp => NeighborState::NoArp,
        NeighbourState::Permanent => NeighborState::Permanent,
        _ => NeighborState::None,
    };
    let proxy = message.header.flags.contains(NeighbourFlags::Proxy);
    Some(Neighbor {
        ifindex: message.header.ifindex,
        address,
        mac,
        state,
        proxy,
    })
}

pub(super) fn rule(rule: &Rule) -> Result<RuleMessage, KernelError> {
    let mut message = RuleMessage::default();
    message.header.family = rule.family.number().into();
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    for prefix in [rule.from, rule.to].into_iter().flatten() {
        if prefix.family() != rule.family {
            return Err(KernelError::Inexpressible(format!(
                "{prefix} in a rule of {}",
                rule.family
            )));
        }
    }
    if let Some(from) = rule.from {
        message.header.src_len = from.len();
        attributes.push(RuleAttribute::Source(from.addr()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.len();
        attributes.push(RuleAttribute::Destination(to.addr()));
    }
    if let Some(iif) = &rule.iif {
        attributes.push(RuleAttribute::Iifname(checked_name(iif)?));
    }
    if let Some(oif) = &rule.oif {
        attributes.push(RuleAttribute::Oifname(checked_name(oif)?));
    }
    if let Some((mark, mask)) = rule.mark {
        attributes.push(RuleAttribute::FwMark(mark));
        attributes.push(RuleAttribute::FwMask(mask));
    }
    if let Some(len) = rule.suppress_prefix_len {
        attributes.push(RuleAttribute::SuppressPrefixLen(len));
    }
    if let RuleAction::Lookup(table) = rule.action {
        message.header.table = u8::try_from(table).unwrap_or(0);
        attributes.push(RuleAttribute::Table(table));
    }
    message.header.action = match rule.action {
        RuleAction::Lookup(_) => Action::ToTable,
        RuleAction::Blackhole => Action::Blackhole,
        RuleAction::Unreachable => Action::Unreachable,
        RuleAction::Prohibit => Action::Prohibit,
        RuleAction::Other(number) => Action::Other(number),
    };
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(
        rule.protocol.0,
    )));
    Ok(message)
}

pub(super) fn rule_request(family: Family) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family.number().into();
    message
}

pub(super) fn read_rule(message: &RuleMessage) -> Result<Option<Rule>, KernelError> {
    let header = &message.header;
    let Some(family) = Family::from_number(header.family.into()) else {
        return Ok(None);
    };
    let mut rule = Rule::lookup(family, 0, u32::from(header.table), Protocol::UNSPEC);
    let (mut table, mut mark, mut mask) = (u32::from(header.table), None, u32::MAX);
    for attribute in &message.attributes {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "the attributes are an open set"
        )]
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Source(addr) => rule.from = Some(prefix(*addr, header.src_len)?),
            RuleAttribute::Destination(addr) => rule.to = Some(prefix(*addr, header.dst_len)?),
            RuleAttribute::Iifname(name) => rule.iif = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.oif = Some(name.clone()),
            RuleAttribute::FwMark(value) => mark = Some(*value),
            RuleAttribute::FwMask(value) => mask = *value,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::SuppressPrefixLen(len) => {
                rule.suppress_prefix_len = Some(*len).filter(|len| *len != u32::MAX);
            }
            RuleAttribute::Protocol(protocol) => rule.protocol = Protocol((*protocol).into()),
            _ => {}
        }
    }
    rule.mark = mark.map(|mark| (mark, mask));
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the actions are an open set"
    )]
    let action = match header.action {
        Action::ToTable => RuleAction::Lookup(table),
        Action::Blackhole => RuleAction::Blackhole,
        Action::Unreachable => RuleAction::Unreachable,
        Action::Prohibit => RuleAction::Prohibit,
        other => RuleAction::Other(other.into()),
    };
    rule.action = action;
    Ok(Some(rule))
}

fn new_end(end: &NewEnd) -> Result<LinkMessage, KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = end.ifindex.unwrap_or(0);
    if end.up {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    }
    message
        .attributes
        .push(LinkAttribute::IfName(checked_name(&end.name)?));
    if let Some(mtu) = end.mtu {
        message.attributes.push(LinkAttribute::Mtu(mtu));
    }
    if let Some(mac) = end.mac {
        message
            .attributes
            .push(LinkAttribute::Address(mac.0.to_vec()));
    }
    if let Some(group) = end.group {
        message.attributes.push(LinkAttribute::Group(group));
    }
    Ok(message)
}

/// `IFLA_INET_CONF` with only the settings named. The codec's own form leaves out zeros, and
/// switching something off is half of what this is for.
fn ipv4_settings(settings: &[(Ipv4Setting, u32)]) -> AfSpecInet {
    let attributes: Vec<DefaultNla> = settings
        .iter()
        .map(|(setting, value)| DefaultNla::new(*setting as u16, value.to_ne_bytes().to_vec()))
        .collect();
    let mut bytes = vec![0; attributes.as_slice().buffer_len()];
    attributes.as_slice().emit(&mut bytes);
    AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, bytes))
}

fn checked_name(name: &str) -> Result<String, KernelError> {
    let ok = (1..=MAX_NAME).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    if ok {
        return Ok(name.to_owned());
    }
    Err(KernelError::Inexpressible(format!(
        "`{}` is no interface name: 1 to {MAX_NAME} printable characters without / and :",
        name.escape_default()
    )))
}

fn family(addr: IpAddr) -> AddressFamily {
    Family::of(addr).number().into()
}

fn prefix(addr: IpAddr, len: u8) -> Result<Prefix, KernelError> {
    Prefix::new(addr, len).map_err(|error| malformed(error.to_string()))
}
