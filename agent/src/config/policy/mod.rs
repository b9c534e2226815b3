//! `[prefix_list.NAME]` and `[[policy.NAME.rule]]`: from the tables as written to the rules of
//! [`wayleave_bgp_core::policy`].

mod rule;
mod value;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde_json::json;
use wayleave_bgp_core::{
    Prefix,
    policy::{Fabric, PrefixEntry, PrefixList, Rule, Rules, Verdict},
};

pub(super) use value::{MedTo, NextHopSetting, PrefixItem, PrependSetting, SessionKind};

use super::{
    check::Check,
    diagnostic::{Fault, nearest},
    model::{Bgp, Block, Discovery, Dns, Peer, PolicySetting, Pool, Range},
    raw::{Document, RawPolicy, RawPrefixList},
    setting::{Effect, Entry, Origin},
    source::Place,
    speaker::carriers_of,
    value::Found,
};

/// Longest name of a list of prefixes or rules.
const LONGEST_NAME: usize = 64;

/// Everything that is written about policy, and what is there without being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// `[prefix_list.NAME]`, by name.
    pub prefix_lists: Vec<PrefixListTable>,
    /// `[policy.NAME]`, by name.
    pub policies: Vec<Policy>,
    /// Those of the fabric.
    ready_made: Vec<Arc<Rules>>,
}

/// `[prefix_list.NAME]`: prefixes under one name.
#[derive(Clone, Debug)]
pub struct PrefixListTable {
    /// The list, which knows its name.
    pub list: Arc<PrefixList>,
    /// Where it is written.
    pub origin: Origin,
}

/// `[policy.NAME]`: rules under one name.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The rules, which know their name.
    pub rules: Arc<Rules>,
    /// Where it is written.
    pub origin: Origin,
}

/// Moving a line is no change.
impl PartialEq for PrefixListTable {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for PrefixListTable {}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Policy {}

impl Policies {
    /// The rules of this name, written or ready-made.
    pub fn named(&self, name: &str) -> Option<&Arc<Rules>> {
        self.all().find(|rules| rules.name() == name)
    }

    /// The names of all policies, ready-made ones last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all().map(|rules| rules.name())
    }

    /// The name most like one that there is not.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.names())
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Rules>> {
        let written = self.policies.iter().map(|policy| &policy.rules);
        written.chain(&self.ready_made)
    }

    pub(super) fn tables(&self) -> Vec<(&'static str, Option<String>, Vec<Entry>)> {
        let lists = self.prefix_lists.iter().map(|table| {
            let name = table.list.name().map(str::to_owned);
            ("prefix_list", name, table.entries())
        });
        let policies = self.policies.iter().map(|policy| {
            let name = Some(policy.rules.name().to_owned());
            ("policy", name, policy.entries())
        });
        lists.chain(policies).collect()
    }
}

impl PrefixListTable {
    fn entries(&self) -> Vec<Entry> {
        let prefixes: Vec<_> = self
            .list
            .entries()
            .iter()
            .map(ToString::to_string)
            .collect();
        vec![Entry {
            key: "prefixes",
            value: json!(prefixes),
            origin: self.origin.clone(),
            effect: Effect::Live,
        }]
    }
}

impl Policy {
    fn entries(&self) -> Vec<Entry> {
        let rules = self.rules.rules().iter();
        let texts: Vec<_> = rules.map(|rule| format!("{}: {rule}", rule.name)).collect();
        let entry = |key, value| Entry {
            key,
            value,
            origin: self.origin.clone(),
            effect: Effect::Live,
        };
        let default = self.rules.default_verdict().to_string();
        vec![
            entry("default", json!(default)),
            entry("rule", json!(texts)),
        ]
    }
}

/// The tables inside of `[policy.NAME]`, with their keys.
pub fn policy_keys() -> &'static [(&'static str, &'static [&'static str])] {
    Document::NESTED
}

/// What the ready-made policies are made of.
pub(super) fn fabric(
    bgp: &Bgp,
    pools: Option<&[Pool]>,
    discovery: &Discovery,
    dns: &Dns,
) -> Fabric {
    let number = discovery.number.value;
    let pools = pools.into_iter().flatten();
    let cidrs = pools.flat_map(|pool| pool.cidr.value.iter().copied());
    Fabric {
        asn: bgp.asn.value,
        pools: cidrs.chain(carriers_of(number, &dns.zone.value)).collect(),
        discovery: number,
    }
}

/// What rules can speak of; `None` where that has faults of its own.
pub(super) struct Surroundings<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) blocks: Option<&'a [Block]>,
    pub(super) peers: Option<&'a [Peer]>,
    pub(super) ranges: Option<&'a [Range]>,
}

/// What names in rules can mean.
struct Names<'a> {
    lists: &'a BTreeMap<String, Arc<PrefixList>>,
    /// Names of peers and prefixes of ranges; `None`: not known.
    peers: Option<&'a [String]>,
}

impl Surroundings<'_> {
    fn peer_names(&self) -> Option<Vec<String>> {
        let peers = self.peers?.iter().map(|peer| peer.name.value.clone());
        let ranges = self
            .ranges?
            .iter()
            .map(|range| range.prefix.value.to_string());
        Some(peers.chain(ranges).collect())
    }
}

/// Checks all lists and policies.
pub(super) fn policies(
    lists: Vec<(Found<String>, RawPrefixList)>,
    policies: Vec<(Found<String>, RawPolicy)>,
    around: &Surroundings<'_>,
    check: &mut Check<'_>,
) -> Option<Policies> {
    let fabric = around.fabric;
    let mut complete = true;
    let mut known: BTreeMap<String, Arc<PrefixList>> = BTreeMap::new();
    let blocks = around.blocks.into_iter().flatten();
    let blocks = blocks.map(|block| block.prefix.value);
    for (name, prefixes) in [
        ("pools", fabric.pools.clone()),
        ("blocks", blocks.collect::<Vec<Prefix>>()),
    ] {
        let entries = prefixes.into_iter().map(PrefixEntry::or_longer);
        let list = PrefixList::named(name, entries.collect());
        known.insert(name.to_owned(), list.into());
    }
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    let mut prefix_lists = Vec::new();
    for (name, raw) in lists {
        check_name(
            "prefix_list",
            &name,
            &["pools", "blocks"],
            &mut places,
            check,
        );
        let Some(entries) = entries(&name, raw, check) else {
            complete = false;
            continue;
        };
        let list = Arc::new(PrefixList::named(name.value.clone(), entries));
        known.insert(name.value, Arc::clone(&list));
        prefix_lists.push(PrefixListTable {
            list,
            origin: check.sources.origin(&name.place),
        });
    }
    let ready_made: Vec<Arc<Rules>> = fabric.all().into_iter().map(Arc::new).collect();
    let reserved: Vec<_> = ready_made.iter().map(|rules| rules.name()).collect();
    let peers = around.peer_names();
    let names = Names {
        lists: &known,
        peers: peers.as_deref(),
    };
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    let mut written = Vec::new();
    for (name, raw) in policies {
        check_name("policy", &name, &reserved, &mut places, check);
        let Some(rules) = rules(&name, raw, &names, check) else {
            complete = false;
            continue;
        };
        written.push(Policy {
            rules: Arc::new(rules),
            origin: check.sources.origin(&name.place),
        });
    }
    prefix_lists.sort_by(|a, b| a.list.name().cmp(&b.list.name()));
    written.sort_by(|a, b| a.rules.name().cmp(b.rules.name()));
    complete.then_some(Policies {
        prefix_lists,
        policies: written,
        ready_made,
    })
}

fn check_name(
    kind: &str,
    name: &Found<String>,
    reserved: &[&str],
    places: &mut BTreeMap<String, Place>,
    check: &mut Check<'_>,
) {
    let Found { value, place } = name;
    let is_name = (1..=LONGEST_NAME).contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        // Where a list is named an address can stand too.
        && value.parse::<IpAddr>().is_err();
    if !is_name {
        let message = format!(
            "`{kind}`: expected a name of 1 to {LONGEST_NAME} letters, digits and `._-`, found {value:?}"
        );
        check.fault(place, message);
    } else if reserved.contains(&value.as_str()) {
        let message = format!("`{kind}.{value}`: the agent has one of its own of this name");
        check.fault(place, message);
    }
    if let Some(first) = places.insert(value.clone(), place.clone()) {
        let fault = Fault::new(format!("`{kind}.{value}` is written in two files"));
        check
            .faults
            .push(fault.at(place).also("the first is here", &first));
    }
}

fn entries(
    name: &Found<String>,
    raw: RawPrefixList,
    check: &mut Check<'_>,
) -> Option<Vec<PrefixEntry>> {
    let lacks = raw.lacks("prefixes");
    let Some(prefixes) = raw.prefixes else {
        let fault = Fault::new(format!(
            "`prefixes` is missing in [prefix_list.{}]",
            name.value
        ));
        let help = "write prefixes = [\"10.0.0.0/8 le 24\"]";
        check.missing(lacks, fault.at(&name.place).help(help));
        return None;
    };
    let (ge, le) = (
        raw.ge.map(|found| found.value),
        raw.le.map(|found| found.value),
    );
    let mut entries = Vec::new();
    let mut complete = true;
    for written in prefixes.value {
        let wanted = written.value;
        // Lengths of the list are for entries that name none.
        let own = wanted.ge.or(wanted.le).is_some();
        let (ge, le) = if own {
            (wanted.ge, wanted.le)
        } else {
            (ge, le)
        };
        match PrefixEntry::new(wanted.prefix, ge, le) {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                check.fault(&written.place, format!("`prefix_list.prefixes`: {error}"));
                complete = false;
            }
        }
    }
    complete.then_some(entries)
}

fn rules(
    name: &Found<String>,
    raw: RawPolicy,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Option<Rules> {
    let lacks = raw.lacks("rule") && raw.lacks("default");
    if lacks {
        let fault = Fault::new(format!(
            "[policy.{}] has no rules and no default",
            name.value
        ));
        let help = format!("write its rules as [[policy.{}.rule]]", name.value);
        check.faults.push(fault.at(&name.place).help(help));
    }
    let default = raw.default.map_or(Verdict::Reject, |found| found.value);
    let mut rules: Vec<(Rule, Place)> = Vec::new();
    let mut complete = true;
    for (index, raw) in raw.rule.into_iter().flat_map(|list| list.value).enumerate() {
        let place = raw.place.clone().unwrap_or_else(|| name.place.clone());
        let Some(rule) = rule::rule(raw, index, &place, names, check) else {
            complete = false;
            continue;
        };
        if let Some((_, first)) = rules.iter().find(|(other, _)| other.name == rule.name) {
            let fault = Fault::new(format!(
                "two rules of policy {:?} have the name {:?}",
                name.value, rule.name
            ));
            check
                .faults
                .push(fault.at(&place).also("the first is here", first));
        }
        if let Some((last, first)) = rules.iter().find(|(other, _)| other.catches_all()) {
            let fault = Fault::new(format!(
                "rule {:?} is never asked: {:?} decides about every route",
                rule.name, last.name
            ));
            check
                .faults
                .push(fault.at(&place).also("it stands here", first));
        }
        rules.push((rule, place));
    }
    let rules = rules.into_iter().map(|(rule, _)| rule).collect();
    complete.then(|| Rules::new(name.value.clone(), rules, default))
}

/// A policy that a peer or a range is to have.
pub(super) struct Reference {
    table: &'static str,
    key: &'static str,
    name: String,
    place: Place,
}

/// Every policy that is asked for by name.
pub(super) fn references(document: &Document) -> Vec<Reference> {
    let peers = document.peers.iter().flat_map(|peer| {
        [
            ("peer", "import", &peer.import),
            ("peer", "export", &peer.export),
        ]
    });
    let ranges = document.ranges.iter().flat_map(|range| {
        [
            ("range", "import", &range.import),
            ("range", "export", &range.export),
        ]
    });
    let groups = document.groups.iter().flat_map(|group| {
        [
            ("peer_group", "import", &group.import),
            ("peer_group", "export", &group.export),
        ]
    });
    peers
        .chain(ranges)
        .chain(groups)
        .filter_map(|(table, key, found)| {
            let found = found.as_ref()?;
            let PolicySetting::Named(name) = &found.value else {
                return None;
            };
            Some(Reference {
                table,
                key,
                name: name.clone(),
                place: found.place.clone(),
            })
        })
        .collect()
}

/// Whether what peers ask for is there, and makes sense in that direction.
pub(super) fn check_references(
    references: &[Reference],
    policies: Option<&Policies>,
    check: &mut Check<'_>,
) {
    for reference in references {
        let Reference {
            table,
            key,
            name,
            place,
        } = reference;
        // What is wrong with the policies was said.
        let Some(policies) = policies else {
            continue;
        };
        let Some(rules) = policies.named(name) else {
            let fault =
                Fault::new(format!("`{table}.{key}`: there is no policy {name:?}")).at(place);
            check.faults.push(match policies.nearest(name) {
                Some(meant) => fault.help(format!("did you mean \"policy:{meant}\"?")),
                None => fault.help(format!("write its rules as [[policy.{name}.rule]]")),
            });
            continue;
        };
        if *key == "export" && rules.names_the_peer() {
            let message = format!(
                "`{table}.export`: policy {name:?} sets the next hop to \"peer\", which makes sense on import only"
            );
            check.fault(place, message);
        }
        if *key == "import" && rules.names_ourselves() {
            let message = format!(
                "`{table}.import`: policy {name:?} sets the next hop to \"self\", which makes sense on export only"
            );
            check.fault(place, message);
        }
    }
}
