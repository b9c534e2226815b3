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
    let mut addresses: BTreeMap<(IpAddr, Option<String>), Place> = BTreeMap::new();
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
            .map_or(&header, |addr| &addr.place)
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
        let transport = &peer.transport;
        let key = (transport.address.value, transport.interface.value.clone());
        if let Some(first) = addresses.insert(key, address_place.clone()) {
            let fault = Fault::new(format!(
                "two peers have the address {}: who connects from there would be either",
                transport.address.value
            ));
            check
                .faults
                .push(fault.at(&address_place).also("the first is here", &first));
        }
        peers.push(peer);
    }
    peers.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    complete.then_some(peers)
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
    let lacks = raw.lacks("address");
    let Some(address) = raw.address else {
        let fault = match &raw.interface {
            Some(interface) => Fault::new(format!(
                "`peer.address` is missing: finding the neighbour on {:?} by itself (unnumbered) is not supported yet",
                interface.value
            ))
            .at(&interface.place)
            .help("write the neighbour's link-local address: address = \"fe80::1\""),
            None => Fault::new("`address` is missing in [[peer]]: where is the neighbour?")
                .at(header)
                .help("write address = \"192.0.2.1\""),
        };
        check.missing(lacks, fault);
        return None;
    };
    check_address(
        &address,
        raw.interface.as_ref(),
        raw.local_address.as_ref(),
        check,
    );
    let place = address.place.clone();
    let transport = Transport {
        address: check.found(address),
        port: check.setting(raw.port, 179),
        interface: check.optional(raw.interface),
        local_address: check.optional(raw.local_address),
        passive: check.setting(raw.passive, false),
        disabled: check.setting(raw.disabled, false),
    };
    let name = match raw.name {
        Some(found) => check.found(found),
        None => {
            let address = transport.address.value;
            let name = match &transport.interface.value {
                Some(interface) => format!("{address}%{interface}"),
                None => address.to_string(),
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
    discovery: Option<&'a Found<bool>>,
}

macro_rules! shared_keys {
    ($raw:ident, $connect_retry:expr, $named:literal) => {
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
            discovery: $raw.discovery.as_ref(),
        }
    };
}

impl<'a> RawOptions<'a> {
    fn from_peer(raw: &'a RawPeer) -> Self {
        shared_keys!(raw, raw.connect_retry.as_ref(), true)
    }

    /// Who connects to us is not connected to: no `connect_retry`.
    fn from_range(raw: &'a RawRange) -> Self {
        shared_keys!(raw, None, false)
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
