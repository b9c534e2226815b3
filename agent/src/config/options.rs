//! What peers, ranges and groups of them have in common: values, and the policy a role implies.

use wayleave_bgp_core::{Asn, Family};

use super::{
    check::{Check, hold_time_expected, hold_time_is_legal},
    diagnostic::Fault,
    group::Groups,
    model::{
        Bgp, BgpRoleSetting, NextHopSelfSetting, PeerOptions, PolicySetting, RemoteAsSetting, Role,
        Secret,
    },
    raw::{RawGroup, RawPeer, RawRange},
    setting::Setting,
    source::Place,
    value::Found,
};

/// Defines the keys that all three tables have.
macro_rules! shared {
    ($($key:ident: $type:ty,)*) => {
        /// What one table says, with what its group says where it says nothing itself.
        pub(super) struct RawOptions<'a> {
            table: &'static str,
            header: &'a Place,
            group: Option<&'a Found<String>>,
            lacks_asn: bool,
            /// Whether it has a name: a router, mostly, and not one of many clients.
            named: bool,
            /// Whether it is reached over IPv6.
            ipv6: bool,
            /// Who connects to us is not connected to: ranges have none.
            connect_retry: Option<&'a Found<u16>>,
            $($key: Option<&'a Found<$type>>,)*
        }

        impl<'a> RawOptions<'a> {
            pub(super) fn of_peer(raw: &'a RawPeer, header: &'a Place) -> Self {
                Self {
                    table: "peer",
                    header,
                    group: raw.group.as_ref(),
                    lacks_asn: raw.lacks("asn"),
                    named: true,
                    // Without an address it is found on its link, which is a matter of IPv6.
                    ipv6: raw.address.as_ref().is_none_or(|addr| addr.value.is_ipv6()),
                    connect_retry: raw.connect_retry.as_ref(),
                    $($key: raw.$key.as_ref(),)*
                }
            }

            pub(super) fn of_range(raw: &'a RawRange, header: &'a Place) -> Self {
                Self {
                    table: "range",
                    header,
                    group: raw.group.as_ref(),
                    lacks_asn: raw.lacks("asn"),
                    named: false,
                    ipv6: raw.prefix.as_ref().is_some_and(|prefix| prefix.value.addr().is_ipv6()),
                    connect_retry: None,
                    $($key: raw.$key.as_ref(),)*
                }
            }

            pub(super) fn of_group(raw: &'a RawGroup, header: &'a Place) -> Self {
                Self {
                    table: "peer_group",
                    header,
                    group: None,
                    lacks_asn: raw.lacks("asn"),
                    named: false,
                    ipv6: false,
                    connect_retry: raw.connect_retry.as_ref(),
                    $($key: raw.$key.as_ref(),)*
                }
            }

            /// What it says itself stands; what it leaves out is the group's.
            fn within(self, group: &'a RawGroup) -> Self {
                Self {
                    lacks_asn: self.lacks_asn && group.lacks("asn"),
                    connect_retry: match self.named {
                        true => self.connect_retry.or(group.connect_retry.as_ref()),
                        false => None,
                    },
                    $($key: self.$key.or(group.$key.as_ref()),)*
                    ..self
                }
            }
        }
    };
}

shared! {
    asn: RemoteAsSetting,
    local_as: Asn,
    local_as_prepend: bool,
    local_as_replace: bool,
    as_override: bool,
    remove_private_as: bool,
    role: Role,
    import: PolicySetting,
    export: PolicySetting,
    families: Vec<Found<Family>>,
    hold_time: u16,
    send_hold_time: u16,
    delay_open: u16,
    reflector_client: bool,
    next_hop_self: NextHopSelfSetting,
    extended_next_hop: bool,
    extended_messages: bool,
    bgp_role: BgpRoleSetting,
    bgp_role_strict: bool,
    add_path_receive: bool,
    add_path_send: u8,
    enforce_first_as: bool,
    allow_own_as: u8,
    max_prefixes: u32,
    max_prefixes_ipv4: u32,
    max_prefixes_ipv6: u32,
    max_prefixes_warning: u8,
    max_prefixes_restart: u32,
    ttl: u8,
    ttl_security: bool,
    password: Secret,
    graceful_restart: bool,
    bfd: bool,
    bfd_interval: u16,
    bfd_multiplier: u8,
    discovery: bool,
}

impl RawOptions<'_> {
    /// All values, each with where it comes from; none when too little was said.
    pub(super) fn resolve(
        self,
        groups: &Groups,
        bgp: &Bgp,
        check: &mut Check<'_>,
    ) -> Option<PeerOptions> {
        self.check_values(check);
        let Some(name) = self.group else {
            return self.complete(bgp, check);
        };
        let group = groups.find(self.table, name, check)?;
        self.within(group).complete(bgp, check)
    }

    fn complete(self, bgp: &Bgp, check: &mut Check<'_>) -> Option<PeerOptions> {
        let table = self.table;
        self.check_together(check);
        let Some(asn) = self.asn else {
            let within = match self.group {
                Some(group) => format!(" and in its group {:?}", group.value),
                None => String::new(),
            };
            let fault = Fault::new(format!(
                "`asn` is missing in [[{table}]]{within}: which AS is the neighbour in?"
            ));
            let help = "write asn = 65001, \"external\" (any but ours) or \"internal\" (ours)";
            check.missing(self.lacks_asn, fault.at(self.header).help(help));
            return None;
        };
        let external = asn.value.is_external(bgp.asn.value);
        self.check_borders(asn, bgp, check);
        let role = check.optional(self.role.cloned());
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
        let families = self.families.map(|found| Found {
            value: found.value.iter().map(|family| family.value).collect(),
            place: found.place.clone(),
        });
        Some(PeerOptions {
            group: check.optional(self.group.cloned()),
            asn: check.found(asn.clone()),
            local_as: check.optional(self.local_as.cloned()),
            local_as_prepend: check.setting(self.local_as_prepend.cloned(), true),
            local_as_replace: check.setting(self.local_as_replace.cloned(), false),
            as_override: check.setting(self.as_override.cloned(), false),
            remove_private_as: check.setting(self.remove_private_as.cloned(), false),
            import: policy(self.import, import),
            export: policy(self.export, export),
            families: check.setting(families, Family::ALL.to_vec()),
            hold_time: inherited(self.hold_time, &bgp.hold_time),
            send_hold_time: inherited(self.send_hold_time, &bgp.send_hold_time),
            connect_retry: inherited(self.connect_retry, &bgp.connect_retry),
            delay_open: check.setting(self.delay_open.cloned(), 0),
            reflector_client: check.setting(self.reflector_client.cloned(), false),
            next_hop_self: check.setting(self.next_hop_self.cloned(), NextHopSelfSetting::Never),
            extended_next_hop: match self.extended_next_hop {
                Some(found) => check.found(found.clone()),
                None if self.ipv6 => {
                    Setting::derived(true, "the neighbour being reached over IPv6")
                }
                None => Setting::default_to(false),
            },
            extended_messages: check.setting(self.extended_messages.cloned(), true),
            bgp_role: check.optional(self.bgp_role.cloned()),
            bgp_role_strict: check.setting(self.bgp_role_strict.cloned(), false),
            add_path_receive: check.setting(self.add_path_receive.cloned(), false),
            add_path_send: check.setting(self.add_path_send.cloned(), 0),
            enforce_first_as: check.setting(self.enforce_first_as.cloned(), true),
            allow_own_as: match (self.allow_own_as, role.value) {
                (Some(found), _) => check.found(found.clone()),
                (None, Some(_)) => Setting::derived(allow, "the role"),
                (None, None) => Setting::default_to(allow),
            },
            max_prefixes: check.optional(self.max_prefixes.cloned()),
            max_prefixes_ipv4: check.optional(self.max_prefixes_ipv4.cloned()),
            max_prefixes_ipv6: check.optional(self.max_prefixes_ipv6.cloned()),
            max_prefixes_warning: check.setting(self.max_prefixes_warning.cloned(), 75),
            max_prefixes_restart: check.optional(self.max_prefixes_restart.cloned()),
            ttl: check.optional(self.ttl.cloned()),
            ttl_security: check.setting(self.ttl_security.cloned(), false),
            password: check.optional(self.password.cloned()),
            graceful_restart: check.setting(self.graceful_restart.cloned(), true),
            bfd: match self.bfd {
                Some(found) => check.found(found.clone()),
                None if self.named && external => {
                    Setting::derived(true, "the neighbour being a router outside our AS")
                }
                None => Setting::default_to(false),
            },
            bfd_interval: check.setting(self.bfd_interval.cloned(), 300),
            bfd_multiplier: check.setting(self.bfd_multiplier.cloned(), 3),
            discovery: match (self.discovery, role.value) {
                (Some(found), _) => check.found(found.clone()),
                (None, Some(Role::Host)) => Setting::derived(true, "the role"),
                (None, None) => Setting::default_to(false),
            },
            role,
        })
    }

    /// What makes sense with neighbours on one side of the border of our AS only.
    fn check_borders(&self, asn: &Found<RemoteAsSetting>, bgp: &Bgp, check: &mut Check<'_>) {
        let table = self.table;
        let ours = bgp.asn.value;
        let external = asn.value.is_external(ours);
        if let Some(client) = self.reflector_client
            && client.value
            && external
        {
            let message = format!(
                "`{table}.reflector_client`: only a neighbour in our own AS can be a reflection client (RFC 4456)"
            );
            check.faults.push(self.fault(&client.place, message));
        }
        if let Some(role) = self.bgp_role.filter(|_| !external) {
            let message = format!(
                "`{table}.bgp_role`: roles are of neighbours in other ASes (RFC 9234), and this one is in ours"
            );
            check.faults.push(self.fault(&role.place, message));
        }
        let changes_paths = [
            ("as_override", self.as_override),
            ("remove_private_as", self.remove_private_as),
        ];
        for (key, found) in changes_paths {
            if let Some(found) = found
                && found.value
                && !external
            {
                let message = format!(
                    "`{table}.{key}`: paths change at the border of our AS, and this neighbour is inside it"
                );
                check.faults.push(self.fault(&found.place, message));
            }
        }
        let Some(local) = self.local_as else {
            return;
        };
        let why = if local.value == ours {
            format!(
                "AS {ours} is our own ([bgp] asn), as which every neighbour knows us without this"
            )
        } else if !external {
            format!("the neighbour is in our own AS {ours}, where no other number can be ours")
        } else if asn.value == RemoteAsSetting::Exact(local.value) {
            let local = local.value;
            format!(
                "the neighbour is in AS {local} itself: the session would be neither internal nor external"
            )
        } else {
            return;
        };
        let fault = self.fault(&local.place, format!("`{table}.local_as`: {why}"));
        check.faults.push(fault);
    }

    /// What is wrong with single values.
    pub(super) fn check_values(&self, check: &mut Check<'_>) {
        let table = self.table;
        let families = check.distinct(&format!("{table}.families"), self.families.cloned());
        check.require(
            families.as_ref(),
            |list| !list.is_empty(),
            |_| format!("`{table}.families`: expected at least one of \"ipv4\" and \"ipv6\""),
        );
        check.require(
            self.import,
            |import| *import != PolicySetting::Own,
            |_| {
                format!(
                    "`{table}.import`: \"own\" is what this host originates, so it is for export \
                     only"
                )
            },
        );
        check.require(
            self.hold_time,
            |time| hold_time_is_legal(*time),
            |time| format!("`{table}.hold_time`: {}", hold_time_expected(*time)),
        );
        check.require(
            self.send_hold_time,
            |time| *time > 0,
            |_| format!("`{table}.send_hold_time`: expected 1 to 65535 (seconds), found 0"),
        );
        check.require(
            self.connect_retry,
            |time| *time > 0,
            |_| format!("`{table}.connect_retry`: expected 1 to 65535 (seconds), found 0"),
        );
        check.require(
            self.allow_own_as,
            |count| *count <= 10,
            |count| format!("`{table}.allow_own_as`: expected 0 to 10, found {count}"),
        );
        check.require(
            self.add_path_send,
            |paths| *paths != 1,
            |_| {
                format!(
                    "`{table}.add_path_send`: expected 0 (only the best path) or 2 to 255, found 1, \
                     which would be the best path too"
                )
            },
        );
        let limits = [
            ("max_prefixes", self.max_prefixes),
            ("max_prefixes_ipv4", self.max_prefixes_ipv4),
            ("max_prefixes_ipv6", self.max_prefixes_ipv6),
        ];
        for (key, limit) in limits {
            check.require(
                limit,
                |count| *count > 0,
                |_| {
                    format!(
                        "`{table}.{key}`: expected 1 or more, found 0; leave it out for no limit"
                    )
                },
            );
        }
        check.require(
            self.max_prefixes_warning,
            |percent| (1..=100).contains(percent),
            |percent| {
                format!(
                    "`{table}.max_prefixes_warning`: expected 1 to 100 (per cent), found {percent}"
                )
            },
        );
        check.require(
            self.max_prefixes_restart,
            |time| (1..=86_400).contains(time),
            |time| {
                format!(
                    "`{table}.max_prefixes_restart`: expected 1 to 86400 (seconds), found {time}"
                )
            },
        );
        check.require(
            self.delay_open,
            |time| *time <= 240,
            |time| format!("`{table}.delay_open`: expected 0 to 240 (seconds), found {time}"),
        );
        check.require(
            self.bfd_interval,
            |interval| (10..=60_000).contains(interval),
            |interval| {
                format!(
                    "`{table}.bfd_interval`: expected 10 to 60000 (milliseconds), found {interval}"
                )
            },
        );
        check.require(
            self.bfd_multiplier,
            |multiplier| *multiplier > 0,
            |_| format!("`{table}.bfd_multiplier`: expected 1 to 255, found 0"),
        );
        check.require(
            self.ttl,
            |ttl| *ttl > 0,
            |_| format!("`{table}.ttl`: expected 1 to 255, found 0"),
        );
    }

    /// What is wrong with values beside each other, wherever each of them stands.
    fn check_together(&self, check: &mut Check<'_>) {
        let table = self.table;
        let limits = [
            self.max_prefixes,
            self.max_prefixes_ipv4,
            self.max_prefixes_ipv6,
        ];
        if limits.iter().all(Option::is_none) {
            let about = [
                self.max_prefixes_warning.map(|found| &found.place),
                self.max_prefixes_restart.map(|found| &found.place),
            ];
            for place in about.into_iter().flatten() {
                let message = format!("`{table}` has no max_prefixes for this to be about");
                check.faults.push(self.fault(place, message));
            }
        }
        if self.local_as.is_none() {
            for found in [self.local_as_prepend, self.local_as_replace]
                .into_iter()
                .flatten()
            {
                let message = format!("`{table}` has no local_as for this to be about");
                check.faults.push(self.fault(&found.place, message));
            }
        }
        if let (Some(ttl), Some(security)) = (self.ttl, self.ttl_security)
            && security.value
            && ttl.value != 255
        {
            let message = format!(
                "`{table}.ttl`: TTL security sends with 255 (RFC 5082), which contradicts {}",
                ttl.value
            );
            let fault = self.fault(&ttl.place, message);
            check
                .faults
                .push(fault.also("asked for here", &security.place));
        }
    }

    /// A fault at this place; where the group has said so, for which of its members it is one.
    fn fault(&self, place: &Place, message: String) -> Fault {
        let fault = Fault::new(message).at(place);
        match &place.group {
            Some(_) => fault.also("for this member of the group", self.header),
            None => fault,
        }
    }
}

/// Import, export and how often our AS may stand in a path, when nothing is said.
fn implied_policy(role: Option<Role>, external: bool) -> (PolicySetting, PolicySetting, u8) {
    match role {
        Some(Role::Host) => (PolicySetting::Pools, PolicySetting::Own, 1),
        None if external => (PolicySetting::None, PolicySetting::None, 0),
        None => (PolicySetting::All, PolicySetting::All, 0),
    }
}

/// Whether nobody asked for this policy: an external session without one passes nothing.
pub(super) fn passes_nothing_unasked(options: &PeerOptions) -> bool {
    let unasked =
        |policy: &Setting<PolicySetting>| policy.value == PolicySetting::None && !policy.is_set();
    unasked(&options.import) || unasked(&options.export)
}
