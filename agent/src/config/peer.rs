//! `[[peer]]` and `[[range]]`: what a neighbour is, with the policy its role implies.

use std::{collections::BTreeMap, net::IpAddr};

use wayleave_bgp_core::Family;

use super::{
    check::{Check, hold_time_expected, hold_time_is_legal},
    diagnostic::Fault,
    model::{
        Bgp, Peer, PeerOptions, PolicySetting, Range, RemoteAsSetting, Role, Secret, Transport,
    },
    raw::{RawPeer, RawRange},
    setting::{Origin, Setting},
    source::Place,
    value::Found,
};

/// How long a name may be.
const LONGEST_NAME: usize = 64;

pub(super) fn peers(raw: Vec<RawPeer>, bgp: &Bgp, check: &mut Check<'_>) -> Option<Vec<Peer>> {
    let mut peers = Vec::new();
    let mut complete = true;
    let mut names: BTreeMap<String, Place> = BTreeMap::new();
    let mut who_is_where = Occupied::default();
    for raw in raw {
        let header = raw.place.clone().unwrap_or(Place {
            file: 0,
            span: 0..0,
        });
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
        let Some(peer) = peer(raw, &header, bgp, check) else {
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

pub(super) fn ranges(raw: Vec<RawRange>, bgp: &Bgp, check: &mut Check<'_>) -> Option<Vec<Range>> {
    let mut ranges: Vec<(Range, Place)> = Vec::new();
    let mut complete = true;
    for raw in raw {
        let header = raw.place.clone().unwrap_or(Place {
            file: 0,
            span: 0..0,
        });
        let options = options(RawOptions::from_range(&raw), "range", &header, bgp, check);
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

fn peer(raw: RawPeer, header: &Place, bgp: &Bgp, check: &mut Check<'_>) -> Option<Peer> {
    let options = options(RawOptions::from_peer(&raw), "peer", header, bgp, check);
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
            check_unnumbered(&raw, interface, check);
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
fn check_unnumbered(raw: &RawPeer, interface: &Found<String>, check: &mut Check<'_>) {
    let name = &interface.value;
    if let Some(local) = &raw.local_address {
        let fault = Fault::new(format!(
            "`peer.local_address`: a neighbour that is found on {name:?} finds us by the link-local address \
             of that interface, so that the session has this one"
        ));
        let help = "leave it out, or write the neighbour's link-local address as well";
        check.faults.push(fault.at(&local.place).help(help));
    }
    if let Some(password) = &raw.password {
        let fault = Fault::new(format!(
            "`peer.password`: the kernel asks for passwords by address, and that of a neighbour found on \
             {name:?} is not known beforehand"
        ));
        let help =
            "write the neighbour's link-local address beside the interface: address = \"fe80::1\"";
        check.faults.push(fault.at(&password.place).help(help));
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

/// The keys that peers and ranges share.
struct RawOptions<'a> {
    asn: Option<&'a Found<RemoteAsSetting>>,
    lacks_asn: bool,
    role: Option<&'a Found<Role>>,
    import: Option<&'a Found<PolicySetting>>,
    export: Option<&'a Found<PolicySetting>>,
    families: Option<&'a Found<Vec<Found<Family>>>>,
    hold_time: Option<&'a Found<u16>>,
    send_hold_time: Option<&'a Found<u16>>,
    connect_retry: Option<&'a Found<u16>>,
    delay_open: Option<&'a Found<u16>>,
    reflector_client: Option<&'a Found<bool>>,
    next_hop_self: Option<&'a Found<bool>>,
    extended_next_hop: Option<&'a Found<bool>>,
    enforce_first_as: Option<&'a Found<bool>>,
    allow_own_as: Option<&'a Found<u8>>,
    max_prefixes: Option<&'a Found<u32>>,
    max_prefixes_warning: Option<&'a Found<u8>>,
    max_prefixes_restart: Option<&'a Found<u32>>,
    ttl: Option<&'a Found<u8>>,
    ttl_security: Option<&'a Found<bool>>,
    password: Option<&'a Found<Secret>>,
    graceful_restart: Option<&'a Found<bool>>,
    bfd: Option<&'a Found<bool>>,
    bfd_interval: Option<&'a Found<u16>>,
    bfd_multiplier: Option<&'a Found<u8>>,
    /// Whether it has a name: a router, mostly, and not one of many clients.
    named: bool,
    /// Whether it is reached over IPv6.
    ipv6: bool,
    discovery: Option<&'a Found<bool>>,
}

macro_rules! shared_keys {
    ($raw:ident, $connect_retry:expr, $named:literal, $ipv6:expr) => {
        Self {
            asn: $raw.asn.as_ref(),
            lacks_asn: $raw.lacks("asn"),
            role: $raw.role.as_ref(),
            import: $raw.import.as_ref(),
            export: $raw.export.as_ref(),
            families: $raw.families.as_ref(),
            hold_time: $raw.hold_time.as_ref(),
            send_hold_time: $raw.send_hold_time.as_ref(),
            connect_retry: $connect_retry,
            delay_open: $raw.delay_open.as_ref(),
            reflector_client: $raw.reflector_client.as_ref(),
            next_hop_self: $raw.next_hop_self.as_ref(),
            extended_next_hop: $raw.extended_next_hop.as_ref(),
            enforce_first_as: $raw.enforce_first_as.as_ref(),
            allow_own_as: $raw.allow_own_as.as_ref(),
            max_prefixes: $raw.max_prefixes.as_ref(),
            max_prefixes_warning: $raw.max_prefixes_warning.as_ref(),
            max_prefixes_restart: $raw.max_prefixes_restart.as_ref(),
            ttl: $raw.ttl.as_ref(),
            ttl_security: $raw.ttl_security.as_ref(),
            password: $raw.password.as_ref(),
            graceful_restart: $raw.graceful_restart.as_ref(),
            bfd: $raw.bfd.as_ref(),
            bfd_interval: $raw.bfd_interval.as_ref(),
            bfd_multiplier: $raw.bfd_multiplier.as_ref(),
            named: $named,
            ipv6: $ipv6,
            discovery: $raw.discovery.as_ref(),
        }
    };
}

impl<'a> RawOptions<'a> {
    fn from_peer(raw: &'a RawPeer) -> Self {
        // Without an address it is found on its link, which is a matter of IPv6.
        let ipv6 = raw.address.as_ref().is_none_or(|addr| addr.value.is_ipv6());
        shared_keys!(raw, raw.connect_retry.as_ref(), true, ipv6)
    }

    /// Who connects to us is not connected to: no `connect_retry`.
    fn from_range(raw: &'a RawRange) -> Self {
        let ipv6 = raw
            .prefix
            .as_ref()
            .is_some_and(|prefix| prefix.value.addr().is_ipv6());
        shared_keys!(raw, None, false, ipv6)
    }
}

fn options(
    raw: RawOptions<'_>,
    table: &str,
    header: &Place,
    bgp: &Bgp,
    check: &mut Check<'_>,
) -> Option<PeerOptions> {
    check_numbers(&raw, table, check);
    let families = check.distinct(&format!("{table}.families"), raw.families.cloned());
    check.require(
        families.as_ref(),
        |list| !list.is_empty(),
        |_| format!("`{table}.families`: expected at least one of \"ipv4\" and \"ipv6\""),
    );
    check.require(
        raw.import,
        |import| *import != PolicySetting::Own,
        |_| {
            format!(
                "`{table}.import`: \"own\" is what this host originates, so it is for export only"
            )
        },
    );
    let Some(asn) = raw.asn else {
        let fault = Fault::new(format!(
            "`asn` is missing in [[{table}]]: which AS is the neighbour in?"
        ));
        let help = "write asn = 65001, \"external\" (any but ours) or \"internal\" (ours)";
        check.missing(raw.lacks_asn, fault.at(header).help(help));
        return None;
    };
    let external = asn.value.is_external(bgp.asn.value);
    if let Some(client) = raw
        .reflector_client
        .filter(|client| client.value && external)
    {
        let message = format!(
            "`{table}.reflector_client`: only a neighbour in our own AS can be a reflection client (RFC 4456)"
        );
        check.fault(&client.place, message);
    }
    let role = check.optional(raw.role.cloned());
    let (import, export, allow) = implied_policy(role.value, external);
    let from_role = |value| Setting::derived(value, "the role");
    let by_session = |value| {
        if external {
            Setting::derived(
                value,
                "RFC 8212: an external session passes nothing unasked",
            )
        } else {
            Setting::derived(value, "the session being internal")
        }
    };
    let policy = |found: Option<&Found<PolicySetting>>, implied| match found {
        Some(found) => check.found(found.clone()),
        None if role.value.is_some() => from_role(implied),
        None => by_session(implied),
    };
    let inherited = |found: Option<&Found<u16>>, from: &Setting<u16>| match found {
        Some(found) => check.found(found.clone()),
        None => from.clone(),
    };
    Some(PeerOptions {
        asn: check.found(asn.clone()),
        import: policy(raw.import, import),
        export: policy(raw.export, export),
        families: check.setting(families, Family::ALL.to_vec()),
        hold_time: inherited(raw.hold_time, &bgp.hold_time),
        send_hold_time: inherited(raw.send_hold_time, &bgp.send_hold_time),
        connect_retry: inherited(raw.connect_retry, &bgp.connect_retry),
        delay_open: check.setting(raw.delay_open.cloned(), 0),
        reflector_client: check.setting(raw.reflector_client.cloned(), false),
        next_hop_self: check.setting(raw.next_hop_self.cloned(), false),
        extended_next_hop: match raw.extended_next_hop {
            Some(found) => check.found(found.clone()),
            None if raw.ipv6 => Setting::derived(true, "the neighbour being reached over IPv6"),
            None => Setting::default_to(false),
        },
        enforce_first_as: check.setting(raw.enforce_first_as.cloned(), true),
        allow_own_as: match (raw.allow_own_as, role.value) {
            (Some(found), _) => check.found(found.clone()),
            (None, Some(_)) => Setting::derived(allow, "the role"),
            (None, None) => Setting::default_to(allow),
        },
        max_prefixes: check.optional(raw.max_prefixes.cloned()),
        max_prefixes_warning: check.setting(raw.max_prefixes_warning.cloned(), 75),
        max_prefixes_restart: check.optional(raw.max_prefixes_restart.cloned()),
        ttl: check.optional(raw.ttl.cloned()),
        ttl_security: check.setting(raw.ttl_security.cloned(), false),
        password: check.optional(raw.password.cloned()),
        graceful_restart: check.setting(raw.graceful_restart.cloned(), true),
        bfd: match raw.bfd {
            Some(found) => check.found(found.clone()),
            None if raw.named && external => {
                Setting::derived(true, "the neighbour being a router outside our AS")
            }
            None => Setting::default_to(false),
        },
        bfd_interval: check.setting(raw.bfd_interval.cloned(), 300),
        bfd_multiplier: check.setting(raw.bfd_multiplier.cloned(), 3),
        discovery: match (raw.discovery, role.value) {
            (Some(found), _) => check.found(found.clone()),
            (None, Some(Role::Host)) => Setting::derived(true, "the role"),
            (None, None) => Setting::default_to(false),
        },
        role,
    })
}

/// Import, export and how often our AS may stand in a path, when nothing is said.
fn implied_policy(role: Option<Role>, external: bool) -> (PolicySetting, PolicySetting, u8) {
    match role {
        Some(Role::Host) => (PolicySetting::Pools, PolicySetting::Own, 1),
        None if external => (PolicySetting::None, PolicySetting::None, 0),
        None => (PolicySetting::All, PolicySetting::All, 0),
    }
}

fn check_numbers(raw: &RawOptions<'_>, table: &str, check: &mut Check<'_>) {
    check.require(
        raw.hold_time,
        |time| hold_time_is_legal(*time),
        |time| format!("`{table}.hold_time`: {}", hold_time_expected(*time)),
    );
    check.require(
        raw.send_hold_time,
        |time| *time > 0,
        |_| format!("`{table}.send_hold_time`: expected 1 to 65535 (seconds), found 0"),
    );
    check.require(
        raw.connect_retry,
        |time| *time > 0,
        |_| format!("`{table}.connect_retry`: expected 1 to 65535 (seconds), found 0"),
    );
    check.require(
        raw.allow_own_as,
        |count| *count <= 10,
        |count| format!("`{table}.allow_own_as`: expected 0 to 10, found {count}"),
    );
    check.require(
        raw.max_prefixes,
        |count| *count > 0,
        |_| {
            format!(
                "`{table}.max_prefixes`: expected 1 or more, found 0; leave it out for no limit"
            )
        },
    );
    check.require(
        raw.max_prefixes_warning,
        |percent| (1..=100).contains(percent),
        |percent| {
            format!("`{table}.max_prefixes_warning`: expected 1 to 100 (per cent), found {percent}")
        },
    );
    check.require(
        raw.max_prefixes_restart,
        |time| (1..=86_400).contains(time),
        |time| {
            format!("`{table}.max_prefixes_restart`: expected 1 to 86400 (seconds), found {time}")
        },
    );
    check.require(
        raw.delay_open,
        |time| *time <= 240,
        |time| format!("`{table}.delay_open`: expected 0 to 240 (seconds), found {time}"),
    );
    check.require(
        raw.bfd_interval,
        |interval| (10..=60_000).contains(interval),
        |interval| {
            format!("`{table}.bfd_interval`: expected 10 to 60000 (milliseconds), found {interval}")
        },
    );
    check.require(
        raw.bfd_multiplier,
        |multiplier| *multiplier > 0,
        |_| format!("`{table}.bfd_multiplier`: expected 1 to 255, found 0"),
    );
    if raw.max_prefixes.is_none() {
        let limits = [
            raw.max_prefixes_warning.map(|found| &found.place),
            raw.max_prefixes_restart.map(|found| &found.place),
        ];
        for place in limits.into_iter().flatten() {
            let message = format!("`{table}` has no max_prefixes for this to be about");
            check.fault(place, message);
        }
    }
    check.require(
        raw.ttl,
        |ttl| *ttl > 0,
        |_| format!("`{table}.ttl`: expected 1 to 255, found 0"),
    );
    if let (Some(ttl), Some(security)) = (raw.ttl, raw.ttl_security)
        && security.value
        && ttl.value != 255
    {
        let fault = Fault::new(format!(
            "`{table}.ttl`: TTL security sends with 255 (RFC 5082), which contradicts {}",
            ttl.value
        ));
        check
            .faults
            .push(fault.at(&ttl.place).also("asked for here", &security.place));
    }
}

/// Whether a name can stand in a path of the API and on a command line as it is.
fn is_name(name: &str) -> bool {
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

/// Whether nobody asked for this policy: an external session without one passes nothing.
pub(super) fn passes_nothing_unasked(options: &PeerOptions) -> bool {
    let unasked = |policy: &Setting<PolicySetting>| {
        policy.value == PolicySetting::None && !matches!(policy.origin, Origin::File(_))
    };
    unasked(&options.import) || unasked(&options.export)
}
