//! The tables as written: every known key, optional, with the place of its value.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use wayleave_bgp_core::{
    Asn, Family, Prefix, RouterId,
    attributes::Origin as RouteOrigin,
    policy::{
        Amount, AnyCommunity, CommunityPattern, MedIs, Numbers, PathPattern, Source, Then,
        Validation, Verdict, WrittenEntry,
    },
};

use super::{
    diagnostic::{Fault, Faults, nearest},
    model::{
        BgpRoleSetting, LogFormat, NextHopSelfSetting, PolicySetting, RemoteAsSetting, Role, Secret,
    },
    policy::{MedTo, NextHopSetting, PrefixItem, PrependSetting, SessionKind},
    source::{Place, Sources},
    value::{Found, FromToml, Reading, describe},
};

/// How a key is written: as its field is called, unless Rust has taken that word.
macro_rules! written {
    ($key:ident) => {
        stringify!($key)
    };
    ($key:ident $written:literal) => {
        $written
    };
}

/// Defines a raw table: its keys once, for reading, for merging and for the hints.
macro_rules! tables {
    ($($(#[$meta:meta])* $name:ident = $table:literal { $($key:ident $($written:literal)? : $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(super) struct $name {
            /// Where the table begins, when it is written at all.
            pub(super) place: Option<Place>,
            /// Keys that stand there with a value that was refused, or misspelt: these were
            /// reported, so that nobody needs to hear that they are missing.
            wrong: Vec<&'static str>,
            $(pub(super) $key: Option<Found<$type>>,)*
        }

        impl $name {
            const TABLE: &'static str = $table;
            const KEYS: &'static [&'static str] = &[$(written!($key $($written)?)),*];

            fn read(
                table: &DeTable<'_>,
                place: Place,
                faults: &mut Faults,
            ) -> Self {
                let file = place.file;
                let mut read = Self { place: Some(place), ..Self::default() };
                for (key, value) in table {
                    match key.get_ref().as_ref() {
                        $(written!($key $($written)?) => {
                            let name = concat!($table, ".", written!($key $($written)?));
                            let mut reading = Reading { file, key: name, faults };
                            read.$key = Found::from_toml(value, &mut reading);
                            if read.$key.is_none() {
                                read.wrong.push(written!($key $($written)?));
                            }
                        })*
                        unknown => {
                            let place = Place::new(file, key.span());
                            read.wrong.extend(nearest(unknown, Self::KEYS.iter().copied()));
                            let fault = unknown_key(Self::TABLE, unknown, Self::KEYS);
                            faults.push(fault.at(&place));
                        }
                    }
                }
                read
            }

            /// Whether nothing at all was said for a key.
            #[allow(dead_code, reason = "not every table has a key it cannot do without")]
            pub(super) fn lacks(&self, key: &str) -> bool {
                let present = [$((written!($key $($written)?), self.$key.is_some())),*];
                !present.contains(&(key, true)) && !self.wrong.iter().any(|wrong| *wrong == key)
            }

            /// Says of every value that it was written for a group.
            #[allow(dead_code, reason = "one table is a group")]
            pub(super) fn mark(&mut self, group: &Arc<str>) {
                $(if let Some(found) = &mut self.$key {
                    found.place.group = Some(Arc::clone(group));
                })*
            }

            /// What `later` sets stands, the rest stays.
            #[allow(dead_code, reason = "lists of tables are joined, not merged")]
            fn merge(&mut self, later: Self) {
                self.place = self.place.take().or(later.place);
                self.wrong.extend(later.wrong);
                $(if later.$key.is_some() {
                    self.$key = later.$key;
                })*
            }
        }
    )*};
}

tables! {
    RawNode = "node" {
        name: String,
        router_id: RouterId,
        address: Vec<Found<IpAddr>>,
    }
    RawPaths = "paths" {
        state: PathBuf,
        run: PathBuf,
        services: PathBuf,
    }
    RawApi = "api" {
        group: String,
    }
    RawBgp = "bgp" {
        asn: Asn,
        cluster_id: RouterId,
        listen: Vec<Found<SocketAddr>>,
        hold_time: u16,
        send_hold_time: u16,
        connect_retry: u16,
        restart_time: u16,
        long_lived_restart_time: u32,
        selection_deferral: u16,
        multipath: u8,
        originate: Vec<Found<Prefix>>,
    }
    RawPeer = "peer" {
        name: String,
        address: IpAddr,
        port: u16,
        interface: String,
        local_address: IpAddr,
        group: String,
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
        passive: bool,
        disabled: bool,
        hold_time: u16,
        send_hold_time: u16,
        connect_retry: u16,
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
    RawRange = "range" {
        prefix: Prefix,
        limit: u32,
        group: String,
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
    RawGroup = "peer_group" {
        name: String,
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
        connect_retry: u16,
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
    RawPool = "pool" {
        name: String,
        cidr: Vec<Found<Prefix>>,
        block: u8,
        block_ipv6: u8,
        exclude: Vec<Found<Prefix>>,
    }
    RawBlock = "block" {
        prefix: Prefix,
        pool: String,
    }
    RawFib = "fib" {
        install: bool,
        table: u32,
        metric: u32,
        protocol: u8,
        nexthop_objects: bool,
    }
    RawDns = "dns" {
        listen: Vec<Found<SocketAddr>>,
        zone: String,
        upstream: Vec<Found<SocketAddr>>,
        clients: Vec<Found<Prefix>>,
    }
    RawDiscovery = "discovery" {
        number: u32,
        region: u16,
        zone: u16,
        prefix_budget: u32,
    }
    RawLog = "log" {
        level: String,
        format: LogFormat,
    }
    RawPrefixList = "prefix_list" {
        prefixes: Vec<Found<WrittenEntry>>,
        ge: u8,
        le: u8,
    }
    RawPolicy = "policy" {
        default: Verdict,
        rule: Vec<RawRule>,
    }
    RawRule = "rule" {
        name: String,
        wanted "match": RawMatch,
        set: RawSet,
        then: Then,
    }
    RawMatch = "match" {
        prefix: Vec<Found<PrefixItem>>,
        next_hop: Vec<Found<PrefixItem>>,
        community: Vec<Found<CommunityPattern>>,
        all_communities: Vec<Found<CommunityPattern>>,
        as_path: Vec<Found<PathPattern>>,
        as_path_contains: Vec<Found<Numbers>>,
        as_path_length: Vec<Found<Numbers>>,
        neighbor_as: Vec<Found<Numbers>>,
        origin_as: Vec<Found<Numbers>>,
        med: Vec<Found<MedIs>>,
        local_pref: Vec<Found<Numbers>>,
        origin: Vec<Found<RouteOrigin>>,
        family: Vec<Found<Family>>,
        peer: Vec<Found<String>>,
        role: Vec<Found<Role>>,
        session: SessionKind,
        source: Vec<Found<Source>>,
        validation: Vec<Found<Validation>>,
        not: Box<RawMatch>,
    }
    RawSet = "set" {
        local_pref: Amount,
        med: MedTo,
        origin: RouteOrigin,
        next_hop: NextHopSetting,
        prepend: PrependSetting,
        community: Vec<Found<AnyCommunity>>,
        add_community: Vec<Found<AnyCommunity>>,
        strip_community: Vec<Found<CommunityPattern>>,
    }
    RawPrepend = "prepend" {
        asn: Asn,
        times: u8,
    }
}

/// Tables that stand inside of others are read like any value.
macro_rules! nested {
    ($($name:ident: $expected:literal,)*) => {$(
        impl FromToml for $name {
            fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
                match value.get_ref().as_table() {
                    Some(table) => Some(Self::read(table, reading.place(value), reading.faults)),
                    None => reading.expected($expected, value),
                }
            }
        }
    )*};
}
nested! {
    RawRule: "rules, each written as [[policy.NAME.rule]]",
    RawMatch: "a table such as { community = \"65001:*\" }",
    RawSet: "a table such as { local_pref = 200 }",
    RawPrepend: "how often our AS is prepended, or a table such as { asn = 65001, times = 3 }",
}

impl FromToml for Box<RawMatch> {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        RawMatch::from_toml(value, reading).map(Self::new)
    }
}

/// Defines the document: single tables are merged over the files, lists of tables are joined.
macro_rules! document {
    (
        single { $($single:ident : $single_type:ident,)* }
        list { $($list:ident = $list_name:literal : $list_type:ident,)* }
        named { $($named:ident = $named_name:literal : $named_type:ident,)* }
        nested { $($nested_type:ident,)* }
    ) => {
        /// All files as one.
        #[derive(Debug, Default)]
        pub(super) struct Document {
            $(pub(super) $single: $single_type,)*
            $(pub(super) $list: Vec<$list_type>,)*
            $(pub(super) $named: Vec<(Found<String>, $named_type)>,)*
        }

        impl Document {
            /// Every table with its keys.
            pub(super) const KEYS: &'static [(&'static str, &'static [&'static str])] = &[
                $((stringify!($single), $single_type::KEYS),)*
                $(($list_name, $list_type::KEYS),)*
                $(($named_name, $named_type::KEYS),)*
            ];

            /// Tables inside of these, with their keys.
            pub(super) const NESTED: &'static [(&'static str, &'static [&'static str])] = &[
                $(($nested_type::TABLE, $nested_type::KEYS),)*
            ];

            fn take(&mut self, file: usize, root: &DeTable<'_>, faults: &mut Faults) {
                for (key, value) in root {
                    let place = Place::new(file, key.span());
                    match key.get_ref().as_ref() {
                        $(stringify!($single) => {
                            if let Some(table) = single(file, stringify!($single), value, faults) {
                                self.$single.merge($single_type::read(table, place, faults));
                            }
                        })*
                        $($list_name => {
                            for (table, place) in list(file, $list_name, value, faults) {
                                self.$list.push($list_type::read(table, place, faults));
                            }
                        })*
                        $($named_name => {
                            for (name, table) in named(file, $named_name, value, faults) {
                                let place = name.place.clone();
                                self.$named.push((name, $named_type::read(table, place, faults)));
                            }
                        })*
                        unknown => {
                            let names = Self::KEYS.iter().map(|(name, _)| *name);
                            let fault = match (nearest(unknown, names), homes_of(unknown)) {
                                (None, Some(homes)) => {
                                    Fault::new(format!("`{unknown}` stands outside any table"))
                                        .help(format!("it is a key of {homes}"))
                                }
                                _ => unknown_table(unknown, value.get_ref()),
                            };
                            faults.push(fault.at(&place));
                        }
                    }
                }
            }
        }
    };
}

document! {
    single {
        node: RawNode,
        paths: RawPaths,
        api: RawApi,
        bgp: RawBgp,
        fib: RawFib,
        dns: RawDns,
        discovery: RawDiscovery,
        log: RawLog,
    }
    list {
        peers = "peer": RawPeer,
        ranges = "range": RawRange,
        groups = "peer_group": RawGroup,
        pools = "pool": RawPool,
        blocks = "block": RawBlock,
    }
    named {
        prefix_lists = "prefix_list": RawPrefixList,
        policies = "policy": RawPolicy,
    }
    nested {
        RawRule,
        RawMatch,
        RawSet,
        RawPrepend,
    }
}

impl Document {
    /// Parses and reads every file; what is wrong goes to `faults`, the rest is read on.
    pub(super) fn read(sources: &Sources, faults: &mut Faults) -> Self {
        let mut document = Self::default();
        for (file, text) in sources.texts() {
            let (root, errors) = DeTable::parse_recoverable(text);
            for error in &errors {
                let span = error.span().unwrap_or(0..0);
                let place = Place::new(file, span);
                faults.push(Fault::new(format!("not TOML: {}", error.message())).at(&place));
            }
            // What a broken file seems to say is not worth judging.
            if errors.is_empty() {
                document.take(file, root.get_ref(), faults);
            }
        }
        document
    }
}

fn single<'t, 'i>(
    file: usize,
    name: &str,
    value: &'t Spanned<DeValue<'i>>,
    faults: &mut Faults,
) -> Option<&'t DeTable<'i>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        let place = Place::new(file, value.span());
        let found = describe(value.get_ref());
        let fault = Fault::new(format!("`{name}`: expected one table, found {found}"));
        faults.push(fault.at(&place).help(format!("write it as [{name}], once")));
    }
    table
}

fn list<'t, 'i>(
    file: usize,
    name: &str,
    value: &'t Spanned<DeValue<'i>>,
    faults: &mut Faults,
) -> Vec<(&'t DeTable<'i>, Place)> {
    let mut tables = Vec::new();
    let mut wrong = |value: &Spanned<DeValue<'_>>| {
        let place = Place::new(file, value.span());
        let found = describe(value.get_ref());
        let fault = Fault::new(format!(
            "`{name}`: expected a list of tables, found {found}"
        ));
        let help = format!("write every one of them as [[{name}]]");
        faults.push(fault.at(&place).help(help));
    };
    match value.get_ref().as_array() {
        None => wrong(value),
        Some(items) => {
            for item in items.iter() {
                match item.get_ref().as_table() {
                    Some(table) => tables.push((table, Place::new(file, item.span()))),
                    None => wrong(item),
                }
            }
        }
    }
    tables
}

/// Tables of one kind, each under a name of its own.
fn named<'t, 'i>(
    file: usize,
    kind: &str,
    value: &'t Spanned<DeValue<'i>>,
    faults: &mut Faults,
) -> Vec<(Found<String>, &'t DeTable<'i>)> {
    let mut wrong = |what: &str, value: &Spanned<DeValue<'_>>| {
        let place = Place::new(file, value.span());
        let found = describe(value.get_ref());
        let fault = Fault::new(format!("`{what}`: expected a table, found {found}"));
        let help = format!("write every one of them as [{kind}.NAME]");
        faults.push(fault.at(&place).help(help));
    };
    let mut tables = Vec::new();
    let Some(all) = value.get_ref().as_table() else {
        wrong(kind, value);
        return tables;
    };
    for (name, value) in all {
        let place = Place::new(file, name.span());
        let name = Found {
            value: name.get_ref().to_string(),
            place,
        };
        match value.get_ref().as_table() {
            Some(table) => tables.push((name, table)),
            None => wrong(&format!("{kind}.{}", name.value), value),
        }
    }
    tables
}

fn unknown_key(table: &'static str, key: &str, known: &[&'static str]) -> Fault {
    let fault = Fault::new(format!("unknown key `{key}` in {}", header(table)));
    if let Some(meant) = nearest(key, known.iter().copied()) {
        return fault.help(format!("did you mean `{meant}`?"));
    }
    match homes_of(key) {
        Some(homes) => fault.help(format!("`{key}` is a key of {homes}")),
        None => fault.help(format!("known here: {}", known.join(", "))),
    }
}

fn unknown_table(name: &str, value: &DeValue<'_>) -> Fault {
    let what = if value.is_table() { "table" } else { "key" };
    let fault = Fault::new(format!("unknown {what} `{name}`"));
    let names = Document::KEYS.iter().map(|(name, _)| *name);
    match nearest(name, names.clone()) {
        Some(meant) => fault.help(format!("did you mean {}?", header(meant))),
        None => {
            let all = names.map(header).collect::<Vec<_>>().join(", ");
            fault.help(format!("known tables: {all}"))
        }
    }
}

/// The tables that have a key of this name, in words.
fn homes_of(key: &str) -> Option<String> {
    let homes = |tables: &[(&str, &[&str])]| -> Vec<_> {
        tables
            .iter()
            .filter(|(_, keys)| keys.contains(&key))
            .map(|(table, _)| header(table))
            .collect()
    };
    let mut homes_found = homes(Document::KEYS);
    // What stands inside of a rule is looked for last: few mean that.
    if homes_found.is_empty() {
        homes_found = homes(Document::NESTED);
    }
    let homes = homes_found;
    match homes.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        [first @ .., last] => Some(format!("{} and {last}", first.join(", "))),
    }
}

/// How a table is opened.
fn header(table: &str) -> String {
    match table {
        "peer" | "range" | "peer_group" | "pool" | "block" => format!("[[{table}]]"),
        "prefix_list" | "policy" => format!("[{table}.NAME]"),
        "rule" => "[[policy.NAME.rule]]".to_owned(),
        "match" | "set" => format!("`{table}` of a rule"),
        "prepend" => "`set.prepend`".to_owned(),
        _ => format!("[{table}]"),
    }
}
