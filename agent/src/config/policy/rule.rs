//! One rule: its conditions, its actions, what follows.

use std::sync::Arc;

use wayleave_bgp_core::policy::{
    Action, Condition, Match, NamePattern, PrefixEntry, PrefixList, Rule, Then,
};

use super::{
    Names,
    value::{MedTo, NextHopSetting, PrefixItem, PrependSetting},
};
use crate::config::{
    check::Check,
    diagnostic::{Fault, nearest},
    raw::{RawMatch, RawRule, RawSet},
    source::Place,
    value::Found,
};

/// How often an AS may be prepended: longer paths are dropped by many networks.
const MOST_PREPENDS: u8 = 32;

pub(super) fn rule(
    raw: RawRule,
    index: usize,
    place: &Place,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Option<Rule> {
    let lacks = raw.lacks("then");
    let name = match raw.name {
        Some(found) => found.value,
        None => format!("rule {}", index + 1),
    };
    let mut matches = Vec::new();
    let mut complete = true;
    if let Some(wanted) = raw.wanted {
        complete &= conditions(wanted.value, false, &mut matches, names, check);
    }
    let set = raw.set.as_ref().map(|set| set.place.clone());
    let actions = raw.set.map(|set| actions(set, check));
    let Some(then) = raw.then else {
        let fault =
            Fault::new("`then` is missing in [[policy.NAME.rule]]: what follows when it applies?");
        let help = "write then = \"accept\", \"reject\" or \"next\" (the next rule is asked)";
        check.missing(lacks, fault.at(place).help(help));
        return None;
    };
    if let (Some(set), Then::Reject) = (set, then.value) {
        let fault = Fault::new("`rule.set`: of a rejected route nothing is changed");
        check
            .faults
            .push(fault.at(&set).also("it is rejected here", &then.place));
    }
    complete.then(|| Rule {
        name,
        matches,
        actions: actions.unwrap_or_default(),
        then: then.value,
    })
}

/// Adds what a table asks for; false when something in it cannot be.
fn conditions(
    raw: RawMatch,
    negated: bool,
    matches: &mut Vec<Match>,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> bool {
    let mut complete = true;
    let mut add = |condition| matches.push(Match { condition, negated });
    for (key, found, make) in [
        ("prefix", raw.prefix, Condition::Prefix as fn(_) -> _),
        ("next_hop", raw.next_hop, Condition::NextHop),
    ] {
        if let Some(items) = some(key, found, check) {
            match lists(key, items, names, check) {
                Some(lists) => add(make(lists)),
                None => complete = false,
            }
        }
    }
    for (key, found, make) in [
        (
            "community",
            raw.community,
            Condition::Community as fn(_) -> _,
        ),
        (
            "all_communities",
            raw.all_communities,
            Condition::AllCommunities,
        ),
    ] {
        if let Some(patterns) = some(key, found, check) {
            add(make(values(patterns)));
        }
    }
    for (key, found, make) in [
        (
            "as_path_contains",
            raw.as_path_contains,
            Condition::AsPathContains as fn(_) -> _,
        ),
        (
            "as_path_length",
            raw.as_path_length,
            Condition::AsPathLength,
        ),
        ("neighbor_as", raw.neighbor_as, Condition::NeighborAs),
        ("origin_as", raw.origin_as, Condition::OriginAs),
        ("local_pref", raw.local_pref, Condition::LocalPref),
    ] {
        if let Some(ranges) = some(key, found, check) {
            add(make(values(ranges)));
        }
    }
    if let Some(patterns) = some("as_path", raw.as_path, check) {
        add(Condition::AsPath(values(patterns)));
    }
    if let Some(wanted) = some("med", raw.med, check) {
        add(Condition::Med(values(wanted)));
    }
    if let Some(origins) = some("origin", raw.origin, check) {
        add(Condition::Origin(values(origins)));
    }
    if let Some(families) = some("family", raw.family, check) {
        add(Condition::Family(values(families)));
    }
    if let Some(peers) = some("peer", raw.peer, check) {
        for peer in &peers {
            check_peer(peer, names, check);
        }
        let patterns = peers.into_iter().map(|peer| NamePattern::new(peer.value));
        add(Condition::Peer(patterns.collect()));
    }
    if let Some(roles) = some("role", raw.role, check) {
        let words = roles.into_iter().map(|role| role.value.word().to_owned());
        add(Condition::Role(words.collect()));
    }
    if let Some(session) = raw.session {
        add(Condition::External(session.value.external));
    }
    if let Some(sources) = some("source", raw.source, check) {
        add(Condition::Source(values(sources)));
    }
    if let Some(states) = some("validation", raw.validation, check) {
        add(Condition::Validation(values(states)));
    }
    if let Some(not) = raw.not {
        if negated {
            check.fault(
                &not.place,
                "`match.not`: what is not not so, is: leave both out",
            );
            return false;
        }
        complete &= conditions(*not.value, true, matches, names, check);
    }
    complete
}

/// A list that has something in it: an empty one would never hold, which nobody means.
fn some<T>(
    key: &str,
    found: Option<Found<Vec<Found<T>>>>,
    check: &mut Check<'_>,
) -> Option<Vec<Found<T>>> {
    let found = found?;
    if found.value.is_empty() {
        let message = format!("`match.{key}`: an empty list is never fulfilled");
        check.fault(&found.place, message);
    }
    Some(found.value)
}

fn values<T>(found: Vec<Found<T>>) -> Vec<T> {
    found.into_iter().map(|found| found.value).collect()
}

/// The lists that are named, and one of what is written here.
fn lists(
    key: &str,
    items: Vec<Found<PrefixItem>>,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Option<Vec<Arc<PrefixList>>> {
    let mut lists = Vec::new();
    let mut entries: Vec<PrefixEntry> = Vec::new();
    let mut complete = true;
    for item in items {
        match item.value {
            PrefixItem::Entry(entry) => entries.push(entry),
            PrefixItem::List(name) => match names.lists.get(&name) {
                Some(list) => lists.push(Arc::clone(list)),
                None => {
                    let fault =
                        Fault::new(format!("`match.{key}`: there is no prefix list {name:?}"));
                    let known = names.lists.keys().map(String::as_str);
                    let help = match nearest(&name, known) {
                        Some(meant) => format!("did you mean {meant:?}?"),
                        None => format!("write it as [prefix_list.{name}]"),
                    };
                    check.faults.push(fault.at(&item.place).help(help));
                    complete = false;
                }
            },
        }
    }
    if !entries.is_empty() {
        lists.push(Arc::new(PrefixList::new(entries)));
    }
    complete.then_some(lists)
}

/// A name that nobody has would make a rule that never applies.
fn check_peer(peer: &Found<String>, names: &Names<'_>, check: &mut Check<'_>) {
    let Some(peers) = names.peers else {
        return;
    };
    let pattern = NamePattern::new(peer.value.clone());
    // Neighbours of a range are called by the range and their address.
    let of_a_range = |known: &String| known.contains('/') && peer.value.starts_with(known.as_str());
    if peers
        .iter()
        .any(|known| pattern.matches(known) || of_a_range(known))
    {
        return;
    }
    let fault = Fault::new(format!(
        "`match.peer`: no [[peer]] has the name {:?}",
        peer.value
    ));
    let known = peers.iter().map(String::as_str);
    check.faults.push(match nearest(&peer.value, known) {
        Some(meant) => fault
            .at(&peer.place)
            .help(format!("did you mean {meant:?}?")),
        None => fault.at(&peer.place),
    });
}

/// What a table does, in the order in which it is done: strip, set, add.
fn actions(raw: Found<RawSet>, check: &mut Check<'_>) -> Vec<Action> {
    let raw = raw.value;
    let mut actions = Vec::new();
    if let Some(patterns) = raw.strip_community {
        actions.push(Action::StripCommunities(values(patterns.value)));
    }
    if let Some(communities) = raw.community {
        if communities.value.is_empty() {
            let fault = Fault::new("`set.community`: expected at least one community");
            let help = "to take all away write strip_community = [\"*:*\", \"*:*:*\", \"0x*\"]";
            check.faults.push(fault.at(&communities.place).help(help));
        }
        actions.push(Action::SetCommunities(values(communities.value)));
    }
    if let Some(communities) = raw.add_community {
        actions.push(Action::AddCommunities(values(communities.value)));
    }
    if let Some(amount) = raw.local_pref {
        actions.push(Action::LocalPref(amount.value));
    }
    if let Some(med) = raw.med {
        actions.push(match med.value {
            MedTo::Amount(amount) => Action::Med(amount),
            MedTo::None => Action::RemoveMed,
        });
    }
    if let Some(origin) = raw.origin {
        actions.push(Action::Origin(origin.value));
    }
    if let Some(Found {
        value: NextHopSetting(to),
        ..
    }) = raw.next_hop
    {
        actions.push(Action::NextHop(to));
    }
    if let Some(prepend) = raw.prepend {
        let place = prepend.place;
        let (asn, times) = match prepend.value {
            PrependSetting::Own(times) => (None, times),
            PrependSetting::Table(table) => {
                let times = table.times.map_or(1, |times| times.value);
                (table.asn.map(|asn| asn.value), times)
            }
        };
        if !(1..=MOST_PREPENDS).contains(&times) {
            let message =
                format!("`set.prepend`: expected 1 to {MOST_PREPENDS} times, found {times}");
            check.fault(&place, message);
        }
        actions.push(Action::Prepend { asn, times });
    }
    actions
}
