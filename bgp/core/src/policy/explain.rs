//! Why a route fares as it does, in words.

use std::net::IpAddr;

use super::{
    community::{AnyCommunity, large_of},
    condition::{Condition, Match, SetView, origin_name},
    route::{Changed, Route, Session},
    rules::{Outcome, Rules, Then, Verdict},
};
use crate::{
    attributes::Origin,
    rib::attr::DEFAULT_LOCAL_PREF,
    types::{Community, Prefix},
};

/// How a route fared, rule by rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// All rules, in their order.
    pub rules: Vec<RuleExplained>,
    /// What came of it: the same as of [`Rules::evaluate`].
    pub outcome: Outcome,
}

/// How a route fared with one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleExplained {
    /// The rule's name.
    pub name: String,
    /// It was asked: no rule before it decided.
    pub asked: bool,
    /// All of its conditions hold.
    pub applies: bool,
    /// Its conditions; none where it was not asked.
    pub conditions: Vec<ConditionExplained>,
    /// What it does to routes it applies to.
    pub actions: Vec<String>,
    /// What follows when it applies.
    pub then: Then,
}

/// How a route fared with one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionExplained {
    /// The condition.
    pub condition: String,
    /// Whether it holds.
    pub holds: bool,
    /// What the route has instead, or what of it makes the condition hold.
    pub found: String,
}

impl Rules {
    /// Judges one route, and says why.
    pub fn explain(&self, session: &Session, route: &Route<'_>) -> Explanation {
        let mut now: Option<Changed> = None;
        let mut decided = None;
        let mut rules = Vec::new();
        for (place, rule) in self.rules().iter().enumerate() {
            let asked = decided.is_none();
            let view = SetView::new(&route.set, now.as_ref());
            let conditions: Vec<_> = rule
                .matches
                .iter()
                .filter(|_| asked)
                .map(|wanted| explained(wanted, session, &view, route))
                .collect();
            let applies = asked && conditions.iter().all(|condition| condition.holds);
            rules.push(RuleExplained {
                name: rule.name.clone(),
                asked,
                applies,
                conditions,
                actions: rule.actions.iter().map(ToString::to_string).collect(),
                then: rule.then,
            });
            if !applies {
                continue;
            }
            if rule.then != Then::Reject {
                let done = self.act(place, session, &route.set, now.as_ref());
                now = done.or(now);
            }
            decided = match rule.then {
                Then::Accept => Some((Verdict::Accept, place)),
                Then::Reject => Some((Verdict::Reject, place)),
                Then::Next => None,
            };
        }
        let verdict = decided.map_or(self.default_verdict(), |(verdict, _)| verdict);
        let leaves = |now: &Changed| verdict == Verdict::Accept && now.differs_from(&route.set);
        Explanation {
            rules,
            outcome: Outcome {
                verdict,
                rule: decided.map(|(_, place)| place),
                changed: now.filter(leaves),
            },
        }
    }
}

fn explained(
    wanted: &Match,
    session: &Session,
    view: &SetView<'_>,
    route: &Route<'_>,
) -> ConditionExplained {
    let condition = &wanted.condition;
    // Each part is true of conditions that are none of its business.
    let holds = condition.holds_on(session)
        && condition.holds_for_set(view)
        && condition.holds_for_prefix(route.prefix, route.validation);
    ConditionExplained {
        condition: wanted.to_string(),
        holds: holds != wanted.negated,
        found: found(condition, session, view, route),
    }
}

/// What a route has of what a condition is about.
fn found(
    condition: &Condition,
    session: &Session,
    view: &SetView<'_>,
    route: &Route<'_>,
) -> String {
    let parts = &view.parts;
    let facts = &parts.facts;
    match condition {
        Condition::Prefix(lists) => {
            let prefix = route.prefix;
            let entry = lists.iter().find_map(|list| list.entry_for(prefix));
            match entry {
                Some(entry) => format!("{prefix}, by {entry}"),
                None => prefix.to_string(),
            }
        }
        Condition::NextHop(lists) => match view.next_hop {
            None => "none".to_owned(),
            Some(addr) => {
                let host = |addr: IpAddr| Prefix::host(addr);
                let entry = lists.iter().find_map(|list| list.entry_for(host(addr)));
                match entry {
                    Some(entry) => format!("{addr}, by {entry}"),
                    None => addr.to_string(),
                }
            }
        },
        Condition::Community(_) | Condition::AllCommunities(_) => communities(view),
        Condition::AsPath(_) | Condition::AsPathContains(_) => path(view),
        Condition::NeighborAs(_) => or_none(facts.neighbor_as),
        Condition::OriginAs(_) => or_none(facts.origin_as),
        Condition::AsPathLength(_) => facts.as_path_len.to_string(),
        Condition::Med(_) => match facts.med {
            Some(med) => med.to_string(),
            None => "none".to_owned(),
        },
        Condition::LocalPref(_) => match facts.local_pref {
            Some(local_pref) => local_pref.to_string(),
            None => format!("none, which counts as {DEFAULT_LOCAL_PREF}"),
        },
        Condition::Origin(_) => origin_name(match facts.origin {
            0 => Origin::Igp,
            1 => Origin::Egp,
            _ => Origin::Incomplete,
        })
        .to_owned(),
        Condition::Family(_) => view.family.to_string(),
        Condition::Peer(_) => session.peer.clone(),
        Condition::Group(_) => session.group.clone().unwrap_or_else(|| "none".to_owned()),
        Condition::Role(_) => session.role.clone().unwrap_or_else(|| "none".to_owned()),
        Condition::External(_) => {
            let kind = if session.external {
                "external"
            } else {
                "internal"
            };
            kind.to_owned()
        }
        Condition::Source(_) => view.source.to_string(),
        Condition::Validation(_) => route.validation.to_string(),
    }
}

fn or_none(asn: u32) -> String {
    if asn == 0 {
        "none".to_owned()
    } else {
        asn.to_string()
    }
}

fn path(view: &SetView<'_>) -> String {
    let text = view.parts.path_text();
    if text.is_empty() {
        "empty".to_owned()
    } else {
        text
    }
}

fn communities(view: &SetView<'_>) -> String {
    let parts = &view.parts;
    let standard = parts
        .communities
        .iter()
        .map(|octets| AnyCommunity::Standard(Community(u32::from_be_bytes(*octets))));
    let large = parts
        .large
        .iter()
        .map(|octets| AnyCommunity::Large(large_of(octets)));
    let extended = parts
        .extended
        .iter()
        .map(|octets| AnyCommunity::Extended(*octets));
    let texts: Vec<_> = standard
        .chain(large)
        .chain(extended)
        .map(|community| community.to_string())
        .collect();
    if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join(" ")
    }
}
