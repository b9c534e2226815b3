//! `[[peer]]` and `[[range]]`: who a neighbour is and how it is reached.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    check::Check,
    diagnostic::Fault,
    group::Groups,
    model::{Bgp, Peer, Range, Transport},
    options::RawOptions,
    raw::{RawPeer, RawRange},
    setting::Setting,
    source::Place,
    value::Found,
};

/// How long a name may be.
pub(super) const LONGEST_NAME: usize = 64;

pub(super) fn peers(
    raw: Vec<RawPeer>,
    groups: &Groups,
    bgp: &Bgp,
    check: &mut Check<'_>,
) -> Option<Vec<Peer>> {
    let mut peers = Vec::new();
    let mut complete = true;
    let mut names: BTreeMap<String, Place> = BTreeMap::new();
    let mut who_is_where = Occupied::default();
    for raw in raw {
        let header = raw.place.clone().unwrap_or_default();
        let name_place = raw
            .name
            .as_ref()
            .map_or(&header, |name| &name.place)
            .clone();
        let address_place = raw
            .address
            .as_ref()
            .map(|addr| &addr.place)
            .or(raw.interface.as_ref().map(|name| &name.place))
            .unwrap_or(&header)
            .clone();
        let Some(peer) = peer(raw, &header, groups, bgp, check) else {
            complete = false;
            continue;
        };
        if let Some(first) = names.insert(peer.name.value.clone(), name_place.clone()) {
            let fault = Fault::new(format!("two peers have the name {:?}", peer.name.value));
            check
                .faults
                .push(fault.at(&name_place).also("the first is here", &first));
        }
        who_is_where.take(&peer, address_place, check);
        peers.push(peer);
    }
    peers.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    complete.then_some(peers)
}

/// Where the peers so far are: no two of them may be the same neighbour.
#[derive(Default)]
struct Occupied {
    addresses: BTreeMap<(IpAddr, Option<String>), Place>,
    /// By interface; whether the peer there is found on its link.
    interfaces: BTreeMap<String, (bool, Place)>,
}

impl Occupied {
    fn take(&mut self, peer: &Peer, place: Place, check: &mut Check<'_>) {
        let transport = &peer.transport;
        let interface = transport.interface.value.clone();
        if let Some(address) = transport.address.value
            && let Some(first) = self
                .addresses
                .insert((address, interface.clone()), place.clone())
        {
            let fault = Fault::new(format!(
                "two peers have the address {address}: who connects from there would be either"
            ));
            check
                .faults
                .push(fault.at(&place).also("the first is here", &first));
        }
        let unnumbered = transport.unnumbered().is_some();
        let Some(interface) = interface else { return };
        match self.interfaces.get(&interface) {
            Some((other, first)) if unnumbered || *other => {
                let fault = Fault::new(format!(
                    "two peers are on the interface {interface:?}, and one of them has no address: whoever \
                     is found there would be either"
                ));
                let help = "write the addresses of both";
                let fault = fault.at(&place).also("the first is here", first);
                check.faults.push(fault.help(help));
            }
            Some(_) | None => {
                self.interfaces.insert(interface, (unnumbered, place));
            }
        }
    }
}

pub(super) fn ranges(
    raw: Vec<RawRange>,
    groups: &Groups,
    bgp: &Bgp,
    check: &mut Check<'_>,
) -> Option<Vec<Range>> {
    let mut ranges: Vec<(Range, Place)> = Vec::new();
    let mut complete = true;
    for raw in raw {
        let header = raw.place.clone().unwrap_or_default();
        let options = RawOptions::of_range(&raw, &header).resolve(groups, bgp, check);
        check.require(
            raw.limit.as_ref(),
            |limit| *limit > 0,
            |_| "`range.limit`: expected 1 or more, found 0".to_owned(),
        );
        let lacks = raw.lacks("prefix");
        let Some(prefix) = raw.prefix else {
            let fault =
                Fault::new("`prefix` is missing in [[range]]: which addresses may connect?");
            let help = "write prefix = \"192.0.2.0/24\"";
            check.missing(lacks, fault.at(&header).help(help));
            complete = false;
            continue;
        };
        let Some(options) = options else {
            complete = false;
            continue;
        };
        let place = prefix.place.clone();
        let clash = ranges
            .iter()
            .find(|(range, _)| range.prefix.value == prefix.value);
        if let Some((_, first)) = clash {
            let fault = Fault::new(format!("two ranges have the prefix {}", prefix.value));
            check
                .faults
                .push(fault.at(&place).also("the first is here", first));
        }
        let range = Range {
            prefix: check.found(prefix),
            limit: check.setting(raw.limit, 100),
            options,
        };
        ranges.push((range, place));
    }
    ranges.sort_by_key(|(range, _)| range.prefix.value);
    complete.then(|| ranges.into_iter().map(|(range, _)| range).collect())
}

fn peer(
    raw: RawPeer,
    header: &Place,
    groups: &Groups,
    bgp: &Bgp,
    check: &mut Check<'_>,
) -> Option<Peer> {
    let options = RawOptions::of_peer(&raw, header).resolve(groups, bgp, check);
    check.require(raw.name.as_ref(), |name| is_name(name), |name| {
        format!("`peer.name`: expected 1 to {LONGEST_NAME} of letters, digits and `._:%-`, found {name:?}")
    });
    check.require(
        raw.port.as_ref(),
        |port| *port > 0,
        |_| "`peer.port`: expected 1 to 65535, found 0".to_owned(),
    );
    check.require(raw.interface.as_ref(), |name| is_interface(name), |name| {
        format!("`peer.interface`: expected the name of an interface (1 to 15 characters), found {name:?}")
    });
    let place = match (&raw.address, &raw.interface) {
        (Some(address), interface) => {
            let local = raw.local_address.as_ref();
            check_address(address, interface.as_ref(), local, check);
            address.place.clone()
        }
        // Written, and refused.
        (None, _) if !raw.lacks("address") => return None,
        (None, Some(interface)) => {
            let has_password = options
                .as_ref()
                .is_some_and(|options| options.password.value.is_some());
            check_unnumbered(&raw, interface, has_password, check);
            interface.place.clone()
        }
        (None, None) => {
            let fault = Fault::new("`address` is missing in [[peer]]: where is the neighbour?");
            let help = "write address = \"192.0.2.1\", or interface = \"eth0\" for whoever is found on its link";
            check.missing(raw.lacks("interface"), fault.at(header).help(help));
            return None;
        }
    };
    let transport = Transport {
        address: check.optional(raw.address),
        port: check.setting(raw.port, 179),
        interface: check.optional(raw.interface),
        local_address: check.optional(raw.local_address),
        passive: check.setting(raw.passive, false),
        disabled: check.setting(raw.disabled, false),
    };
    let name = match raw.name {
        Some(found) => check.found(found),
        None => {
            let name = match (transport.address.value, &transport.interface.value) {
                (Some(address), Some(interface)) => format!("{address}%{interface}"),
                (Some(address), None) => address.to_string(),
                (None, interface) => interface.clone().unwrap_or_default(),
            };
            Setting {
                value: name,
                origin: check.sources.origin(&place),
            }
        }
    };
    Some(Peer {
        name,
        transport,
        options: options?,
    })
}

/// What makes no sense where the neighbour is found on its link, or cannot be done yet.
fn check_unnumbered(
    raw: &RawPeer,
    interface: &Found<String>,
    has_password: bool,
    check: &mut Check<'_>,
) {
    let name = &interface.value;
    if let Some(local) = &raw.local_address {
        let fault = Fault::new(format!(
            "`peer.local_address`: a neighbour that is found on {name:?} finds us by the link-local address \
             of that interface, so that the session has this one"
        ));
        let help = "leave it out, or write the neighbour's link-local address as well";
        check.faults.push(fault.at(&local.place).help(help));
    }
    // Its own, or that of its group.
    let place = match (&raw.password, has_password) {
        (Some(own), _) => Some(&own.place),
        (None, true) => raw.group.as_ref().map(|group| &group.place),
        (None, false) => None,
    };
    if let Some(place) = place {
        let fault = Fault::new(format!(
            "`peer.password`: the kernel asks for passwords by address, and that of a neighbour found on \
             {name:?} is not known beforehand"
        ));
        let help =
            "write the neighbour's link-local address beside the interface: address = \"fe80::1\"";
        check.faults.push(fault.at(place).help(help));
    }
    if raw.name.is_none() && is_interface(name) && !is_name(name) {
        let fault = Fault::new(format!(
            "`peer.name` is missing, and the interface {name:?} is no name for a peer: expected letters, \
             digits and `._:%-`"
        ));
        check
            .faults
            .push(fault.at(&interface.place).help("write a name beside it"));
    }
}

fn check_address(
    address: &Found<IpAddr>,
    interface: Option<&Found<String>>,
    local: Option<&Found<IpAddr>>,
    check: &mut Check<'_>,
) {
    let addr = address.value;
    if addr.is_unspecified() || addr.is_multicast() {
        check.fault(
            &address.place,
            format!("`peer.address`: {addr} is not the address of one host"),
        );
    }
    let link_local = matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local());
    match interface {
        None if link_local => {
            let fault = Fault::new(format!("`peer.address`: {addr} is link-local, so `interface` is needed"));
            check.faults.push(fault.at(&address.place).help("write interface = \"eth0\" beside it"));
        }
        Some(interface) if !link_local => check.fault(
            &interface.place,
            format!("`peer.interface`: only a link-local address (fe80::...) belongs to an interface, not {addr}"),
        ),
        Some(_) | None => {}
    }
    if let Some(local) = local.filter(|local| local.value.is_ipv4() != addr.is_ipv4()) {
        let message = format!(
            "`peer.local_address`: {} cannot connect to {addr}, the families differ",
            local.value
        );
        check.fault(&local.place, message);
    }
}

/// Whether a name can stand in a path of the API and on a command line as it is.
pub(super) fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:%-".contains(&byte))
        && !name.starts_with('-')
        && !name.bytes().all(|byte| byte == b'.')
}

/// What the kernel takes for a name (dev_valid_name).
fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name
            .chars()
            .any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}
