//! From one configuration to another: what changes, and what each change costs.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    model::Config,
    setting::{Effect, Entry},
};

/// The difference of two configurations, in the order of the manual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// One for each table that differs.
    pub changes: Vec<Change>,
}

/// One table that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The table: `bgp`, `peer`, ...
    pub table: String,
    /// Which one of several: the name of a peer or pool, the prefix of a range or block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it came, went or changed.
    pub kind: Kind,
    /// The most this change takes.
    pub effect: Effect,
    /// The values that differ; all of them when the table came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyChange>,
}

/// What happened to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Some of its values differ.
    Changed,
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The key.
    pub key: String,
    /// The value before; null: unset.
    pub before: Value,
    /// The value after; null: unset.
    pub after: Value,
    /// What changing it takes.
    pub effect: Effect,
}

impl Delta {
    /// Compares two configurations.
    pub fn between(before: &Config, after: &Config) -> Self {
        let after_tables = after.tables();
        let before_tables = before.tables();
        let key =
            |(table, name, _): &(&'static str, Option<String>, Vec<Entry>)| (*table, name.clone());
        let old: BTreeMap<_, _> = before_tables
            .iter()
            .map(|table| (key(table), &table.2))
            .collect();
        let new: BTreeMap<_, _> = after_tables
            .iter()
            .map(|table| (key(table), &table.2))
            .collect();
        let mut changes = Vec::new();
        // The tables of a kind stand together in `tables`, so this keeps the manual's order.
        for table in &before_tables {
            if !new.contains_key(&key(table)) {
                changes.push(Change {
                    table: table.0.to_owned(),
                    name: table.1.clone(),
                    kind: Kind::Removed,
                    effect: effect_of_presence(table.0),
                    keys: Vec::new(),
                });
            }
        }
        for table in &after_tables {
            changes.extend(match old.get(&key(table)) {
                Some(entries) => changed(table.0, table.1.clone(), entries, &table.2),
                None => Some(added(table.0, table.1.clone(), &table.2)),
            });
        }
        let order: Vec<_> = after_tables
            .iter()
            .chain(&before_tables)
            .map(|table| table.0)
            .collect();
        changes.sort_by_key(|change| order.iter().position(|table| *table == change.table));
        Self { changes }
    }

    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The most the whole of it takes.
    pub fn effect(&self) -> Effect {
        self.changes
            .iter()
            .map(|change| change.effect)
            .max()
            .unwrap_or(Effect::Live)
    }

    /// The changes a running agent refuses.
    pub fn refused(&self) -> impl Iterator<Item = &Change> {
        self.changes
            .iter()
            .filter(|change| change.effect == Effect::NeedsRestart)
    }
}

/// What it takes that a table comes or goes.
fn effect_of_presence(table: &str) -> Effect {
    match table {
        // Another peer's session does not notice that one comes or goes.
        "peer" | "range" => Effect::ResetsSession,
        "prefix_list" | "policy" => Effect::Live,
        _ => Effect::NeedsRestart,
    }
}

fn added(table: &str, name: Option<String>, entries: &[Entry]) -> Change {
    let effect = match table {
        "peer" | "prefix_list" | "policy" => Effect::Live,
        // Sessions from inside it belonged to a wider range, whose they are no longer.
        "range" => Effect::ResetsSession,
        _ => Effect::NeedsRestart,
    };
    let keys = entries
        .iter()
        .filter(|entry| !entry.value.is_null())
        .map(|entry| KeyChange {
            key: entry.key.to_owned(),
            before: Value::Null,
            after: entry.value.clone(),
            effect,
        });
    Change {
        table: table.to_owned(),
        name,
        kind: Kind::Added,
        effect,
        keys: keys.collect(),
    }
}

fn changed(table: &str, name: Option<String>, before: &[Entry], after: &[Entry]) -> Option<Change> {
    // Both lists come from one type, so that their keys are the same in the same order.
    let keys: Vec<_> = before
        .iter()
        .zip(after)
        .filter(|(before, after)| before.value != after.value)
        .map(|(before, after)| KeyChange {
            key: after.key.to_owned(),
            before: before.value.clone(),
            after: after.value.clone(),
            effect: after.effect,
        })
        .collect();
    let effect = keys.iter().map(|key| key.effect).max()?;
    Some(Change {
        table: table.to_owned(),
        name,
        kind: Kind::Changed,
        effect,
        keys,
    })
}

impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            write!(f, "{change}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.kind {
            Kind::Added => '+',
            Kind::Removed => '-',
            Kind::Changed => '~',
        };
        write!(f, "{sign} {}", self.subject())?;
        match (self.kind, self.effect) {
            (Kind::Removed, Effect::ResetsSession) => writeln!(f, "  (ends the session)")?,
            (_, effect) => writeln!(f, "  ({effect})")?,
        }
        for key in &self.keys {
            match self.kind {
                Kind::Added => writeln!(f, "    {} = {}", key.key, shown(&key.after))?,
                Kind::Removed | Kind::Changed => writeln!(
                    f,
                    "    {}: {} -> {}  ({})",
                    key.key,
                    shown(&key.before),
                    shown(&key.after),
                    key.effect
                )?,
            }
        }
        Ok(())
    }
}

impl Change {
    /// The table as one names it: `bgp`, `peer tor1`.
    pub fn subject(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name}", self.table),
            None => self.table.clone(),
        }
    }
}

/// A value as TOML has it; unset values in words.
fn shown(value: &Value) -> String {
    if value.is_null() {
        "unset".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use wayleave_bgp_core::{Speaker, Time};

    use super::*;
    use crate::config::{HostFacts, Sources, parse, speaker_config};

    const BASE: &str = r#"
        [node]
        name = "h1"
        router_id = "192.0.2.1"
        [bgp]
        asn = 65001
        [[peer]]
        name = "tor"
        address = "192.0.2.2"
        asn = 65100
        role = "host"
        [[pool]]
        cidr = "10.1.0.0/16"
    "#;

    fn config(text: &str) -> Config {
        let sources = Sources::from_texts([("/etc/wayleave/wayleave.toml", text)]);
        parse(&sources, &HostFacts::default()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn delta(replace: &str, by: &str) -> Delta {
        assert!(BASE.contains(replace), "the base has no {replace:?}");
        Delta::between(&config(BASE), &config(&BASE.replace(replace, by)))
    }

    #[test]
    fn a_configuration_differs_from_itself_in_nothing_wherever_it_stands() {
        assert!(Delta::between(&config(BASE), &config(&format!("# moved\n{BASE}"))).is_empty());
    }

    #[test]
    fn each_change_says_what_it_costs() {
        use Effect::{Live, NeedsRestart, ResetsAllSessions, ResetsSession};
        let table = [
            (
                "role = \"host\"",
                "role = \"host\"\nimport = \"all\"",
                "peer tor",
                Live,
            ),
            (
                "role = \"host\"",
                "import = \"all\"\nexport = \"all\"",
                "peer tor",
                Live,
            ),
            (
                "role = \"host\"",
                "role = \"host\"\nhold_time = 30",
                "peer tor",
                ResetsSession,
            ),
            ("192.0.2.2", "192.0.2.3", "peer tor", ResetsSession),
            (
                "asn = 65100",
                "asn = \"external\"",
                "peer tor",
                ResetsSession,
            ),
            (
                "role = \"host\"",
                "role = \"host\"\nconnect_retry = 9",
                "peer tor",
                Live,
            ),
            (
                "role = \"host\"",
                "role = \"host\"\ndiscovery = false",
                "peer tor",
                Live,
            ),
            (
                "role = \"host\"",
                "role = \"host\"\nttl_security = true",
                "peer tor",
                ResetsSession,
            ),
            ("asn = 65001", "asn = 65002", "bgp", ResetsAllSessions),
            ("asn = 65001", "asn = 65001\nmultipath = 1", "bgp", Live),
            ("asn = 65001", "asn = 65001\nrestart_time = 9", "bgp", Live),
            (
                "asn = 65001",
                "asn = 65001\nlong_lived_restart_time = 9",
                "bgp",
                Live,
            ),
            (
                "asn = 65001",
                "asn = 65001\noriginate = [\"10.1.7.0/24\"]",
                "bgp",
                Live,
            ),
            (
                "router_id = \"192.0.2.1\"",
                "router_id = \"192.0.2.9\"",
                "node",
                ResetsAllSessions,
            ),
            (
                "name = \"h1\"",
                "name = \"h1\"\naddress = [\"192.0.2.9\"]",
                "node",
                NeedsRestart,
            ),
            ("10.1.0.0/16", "10.2.0.0/16", "pool default", NeedsRestart),
            (
                "[bgp]",
                "[paths]\nrun = \"/tmp/run\"\n[bgp]",
                "paths",
                NeedsRestart,
            ),
            ("[bgp]", "[log]\nlevel = \"debug\"\n[bgp]", "log", Live),
            (
                "[bgp]",
                "[prefix_list.x]\nprefixes = \"10.0.0.0/8\"\n[bgp]",
                "prefix_list x",
                Live,
            ),
            (
                "[bgp]",
                "[policy.x]\ndefault = \"accept\"\n[bgp]",
                "policy x",
                Live,
            ),
        ];
        for (replace, by, subject, effect) in table {
            let delta = delta(replace, by);
            let change = delta
                .changes
                .iter()
                .find(|change| change.subject() == subject);
            let change = change.unwrap_or_else(|| panic!("{by:?} changes no {subject}: {delta}"));
            assert_eq!(change.effect, effect, "{by:?}\n{delta}");
            assert_eq!(delta.effect(), effect, "{by:?}\n{delta}");
        }
    }

    /// What the speaker itself says it does about a change, in our words.
    fn done_by_the_speaker(before: &Config, after: &Config) -> Effect {
        let mut speaker = Speaker::new(
            Time(0),
            speaker_config(before, wayleave_discovery::codec::NodeKey(1)),
        );
        let done = speaker.reconfigure(
            Time(1),
            speaker_config(after, wayleave_discovery::codec::NodeKey(1)),
        );
        match done.as_slice() {
            [] => Effect::Live,
            [one] if one.ends_with("policy changed, session kept") => Effect::Live,
            [one] if one.ends_with("settings changed, session opened again") => {
                Effect::ResetsSession
            }
            other => panic!("the speaker did {other:?}"),
        }
    }

    /// A configuration with one peer: these lines, and what they leave out.
    fn peer(lines: &str) -> Config {
        let usual = ["address = \"192.0.2.2\"", "asn = 65100", "role = \"host\""];
        let is_set = |usual: &&str| {
            let key = usual.split(' ').next();
            let sets = |line: &str| line.split(' ').next() == key;
            // Who is on an interface needs no address.
            let found = key == Some("address") && lines.starts_with("interface");
            found || lines.lines().any(sets)
        };
        let usual = usual.into_iter().filter(|line| !is_set(line));
        let peer: Vec<_> = usual.chain(lines.lines()).collect();
        config(&format!(
            "[node]\nname = \"h1\"\nrouter_id = \"192.0.2.1\"\n[bgp]\nasn = 65001\n\
             [[pool]]\ncidr = \"10.1.0.0/16\"\n[[peer_group]]\nname = \"leaves\"\n\
             [[peer]]\nname = \"tor\"\n{}\n",
            peer.join("\n")
        ))
    }

    #[test]
    fn every_key_of_a_peer_costs_what_the_speaker_makes_it_cost() {
        let changes = [
            ("", "group = \"leaves\""),
            ("", "asn = 65101"),
            ("", "import = \"all\""),
            ("", "export = \"all\""),
            ("", "families = [\"ipv4\"]"),
            ("", "passive = true"),
            ("", "disabled = true"),
            ("", "port = 1179"),
            ("", "address = \"192.0.2.3\""),
            (
                "address = \"fe80::2\"\ninterface = \"eth6\"",
                "address = \"fe80::2\"\ninterface = \"eth7\"",
            ),
            ("", "local_address = \"192.0.2.1\""),
            ("", "hold_time = 30"),
            ("", "send_hold_time = 600"),
            ("", "connect_retry = 9"),
            ("asn = 65001", "asn = 65001\nreflector_client = true"),
            ("", "next_hop_self = true"),
            ("", "extended_next_hop = true"),
            ("", "extended_messages = false"),
            ("", "bgp_role = \"customer\""),
            (
                "bgp_role = \"customer\"",
                "bgp_role = \"customer\"\nbgp_role_strict = true",
            ),
            ("interface = \"eth6\"", "interface = \"eth7\""),
            ("", "enforce_first_as = false"),
            ("", "allow_own_as = 3"),
            ("", "delay_open = 3"),
            ("", "local_as = 65010"),
            (
                "local_as = 65010",
                "local_as = 65010\nlocal_as_prepend = false",
            ),
            (
                "local_as = 65010",
                "local_as = 65010\nlocal_as_replace = true",
            ),
            ("", "as_override = true"),
            ("", "remove_private_as = true"),
            ("", "max_prefixes_ipv4 = 7"),
            ("", "max_prefixes_ipv6 = 7"),
            ("", "next_hop_self = \"external\""),
            ("", "add_path_receive = true"),
            ("", "add_path_send = 2"),
            ("", "max_prefixes = 7"),
            (
                "max_prefixes = 7",
                "max_prefixes = 7\nmax_prefixes_warning = 50",
            ),
            (
                "max_prefixes = 7",
                "max_prefixes = 7\nmax_prefixes_restart = 600",
            ),
            ("", "password = \"secret\""),
            ("password = \"secret\"", "password = \"other\""),
            ("", "graceful_restart = false"),
            ("", "bfd = false"),
            ("", "bfd_interval = 50"),
            ("", "bfd_multiplier = 5"),
            ("", "ttl = 3"),
            ("", "ttl_security = true"),
            ("", "discovery = false"),
        ];
        let mut compared = BTreeMap::new();
        for (before, after) in changes {
            let (before, after) = (peer(before), peer(after));
            let delta = Delta::between(&before, &after);
            let done = done_by_the_speaker(&before, &after);
            assert_eq!(delta.effect(), done, "{delta}");
            let keys = delta.changes.into_iter().flat_map(|change| change.keys);
            compared.extend(keys.map(|key| (key.key, key.effect)));
        }
        for entry in peer("").peers[0].entries() {
            // The speaker is told what a role means, not the role.
            let known = entry.key == "role" || compared.get(entry.key) == Some(&entry.effect);
            assert!(known, "{} was not compared", entry.key);
        }
    }

    #[test]
    fn what_is_live_for_a_peer_is_live_for_a_range() {
        let range = "[[range]]\nprefix = \"198.51.100.0/24\"\nasn = \"external\"\nimport = \"none\"\nexport = \"none\"\n[[pool]]";
        let before = BASE.replace("[[pool]]", range);
        let after = before.replace("import = \"none\"", "import = \"all\"");
        let delta = Delta::between(&config(&before), &config(&after));
        assert_eq!(delta.effect(), Effect::Live, "{delta}");
        let after = before.replace("import = \"none\"", "import = \"none\"\nttl = 3");
        let delta = Delta::between(&config(&before), &config(&after));
        assert_eq!(delta.effect(), Effect::ResetsSession, "{delta}");
    }

    #[test]
    fn an_inherited_hold_time_is_a_change_of_the_peers_that_inherit_it() {
        let delta = delta("asn = 65001", "asn = 65001\nhold_time = 30");
        let subjects: Vec<_> = delta.changes.iter().map(Change::subject).collect();
        assert_eq!(subjects, ["bgp", "peer tor"]);
        assert_eq!(delta.effect(), Effect::ResetsSession);
    }

    #[test]
    fn a_value_of_a_group_is_a_change_of_the_members_that_have_it_from_there() {
        let groups = "[[peer_group]]\nname = \"tor\"\nasn = 65100\nhold_time = 30\nallow_own_as = 1\n\
            [[peer_group]]\nname = \"spine\"\nhold_time = 30\n\
            [[peer]]\nname = \"a\"\naddress = \"192.0.2.11\"\ngroup = \"tor\"\n\
            [[peer]]\nname = \"b\"\naddress = \"192.0.2.12\"\ngroup = \"tor\"\nhold_time = 9\n\
            [[peer]]\nname = \"c\"\naddress = \"192.0.2.13\"\ngroup = \"spine\"\nasn = 65100\n\
            [[range]]\nprefix = \"198.51.100.0/24\"\ngroup = \"tor\"\n[[pool]]";
        let before = BASE.replace("[[pool]]", groups);
        let to = |change: &dyn Fn(&str) -> String| {
            let after = change(&before);
            assert_ne!(before, after);
            let delta = Delta::between(&config(&before), &config(&after));
            let subjects: Vec<_> = delta.changes.iter().map(Change::subject).collect();
            (subjects, delta.effect())
        };
        let hold = to(&|text| text.replacen("hold_time = 30", "hold_time = 60", 1));
        let members = ["peer a".to_owned(), "range 198.51.100.0/24".to_owned()];
        assert_eq!(hold, (members.to_vec(), Effect::ResetsSession));
        let live = to(&|text| text.replace("allow_own_as = 1", "allow_own_as = 2"));
        let members = ["peer a", "peer b", "range 198.51.100.0/24"].map(str::to_owned);
        assert_eq!(live, (members.to_vec(), Effect::Live));
        // What a member says is no change where its group has said the same.
        let said = "name = \"a\"\nhold_time = 30";
        assert_eq!(to(&|text| text.replace("name = \"a\"", said)).0, [""; 0]);
        // To another group: what differs between the two.
        let moved = "name = \"c\"\naddress = \"192.0.2.13\"\ngroup = \"tor\"";
        let left = "name = \"c\"\naddress = \"192.0.2.13\"\ngroup = \"spine\"";
        assert_eq!(to(&|text| text.replace(left, moved)).1, Effect::Live);
    }

    #[test]
    fn a_peer_that_comes_is_live_and_one_that_goes_ends_only_its_own_session() {
        let second = "[[peer]]\nname = \"tor2\"\naddress = \"192.0.2.9\"\nasn = 65100\nrole = \"host\"\n[[pool]]";
        let more = BASE.replace("[[pool]]", second);
        let added = Delta::between(&config(BASE), &config(&more));
        assert_eq!(added.effect(), Effect::Live);
        assert_eq!(added.changes[0].kind, Kind::Added);
        let removed = Delta::between(&config(&more), &config(BASE));
        assert_eq!(
            removed.to_string(),
            "- peer tor2  (ends the session)\n",
            "a removed peer names itself and nothing else"
        );
    }

    #[test]
    fn a_renamed_peer_goes_and_comes() {
        let delta = delta("name = \"tor\"", "name = \"leaf\"");
        let kinds: Vec<_> = delta
            .changes
            .iter()
            .map(|c| (c.subject(), c.kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("peer tor".to_owned(), Kind::Removed),
                ("peer leaf".to_owned(), Kind::Added)
            ]
        );
    }
}
