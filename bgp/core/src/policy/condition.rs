//! What a rule asks of a route.

use std::{fmt, sync::Arc};

use super::{
    as_path::PathPattern,
    community::CommunityPattern,
    number::{Numbers, any_of},
    prefix_list::PrefixList,
    route::{Session, Source, Validation},
};
use crate::{
    attributes::Origin,
    rib::attr::DEFAULT_LOCAL_PREF,
    types::{Family, Prefix},
    wire::Parts,
};

/// One condition of a rule. Of the things it lists any one will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The prefix is in one of these lists.
    Prefix(Vec<Arc<PrefixList>>),
    /// The next hop is in one of these lists. What we originate without one is in none.
    NextHop(Vec<Arc<PrefixList>>),
    /// It carries a community of these.
    Community(Vec<CommunityPattern>),
    /// It carries, for each of these, a community that is meant.
    AllCommunities(Vec<CommunityPattern>),
    /// The path is one of these.
    AsPath(Vec<PathPattern>),
    /// One of these ASes is in the path, in a segment of any type.
    AsPathContains(Vec<Numbers>),
    /// The path begins with one of these ASes.
    NeighborAs(Vec<Numbers>),
    /// The path ends with one of these ASes.
    OriginAs(Vec<Numbers>),
    /// The length of the path as the decision counts it (RFC 4271, 9.1.2.2 a).
    AsPathLength(Vec<Numbers>),
    /// MULTI_EXIT_DISC, where there is one.
    Med(Vec<MedIs>),
    /// LOCAL_PREF; 100 where there is none, as for the decision.
    LocalPref(Vec<Numbers>),
    /// ORIGIN.
    Origin(Vec<Origin>),
    /// The family of the prefix.
    Family(Vec<Family>),
    /// The name of the neighbour on the session, or of the range it came from.
    Peer(Vec<NamePattern>),
    /// Its group.
    Group(Vec<String>),
    /// Its role.
    Role(Vec<String>),
    /// The session is external, or internal.
    External(bool),
    /// Where the route came from.
    Source(Vec<Source>),
    /// Its validation state (RFC 6811).
    Validation(Vec<Validation>),
}

/// A condition, or its opposite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The condition.
    pub condition: Condition,
    /// It must not hold.
    pub negated: bool,
}

/// What MULTI_EXIT_DISC may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MedIs {
    /// Not there.
    Absent,
    /// There, and in this range.
    In(Numbers),
}

/// Names of peers: a name, or with a `*` at its end all that begin so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern in this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.0,
        }
    }
}

/// What it takes to judge a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Session,
    Set,
    Prefix,
}

/// What conditions on a set look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetView<'a> {
    pub(super) parts: Parts<'a>,
    pub(super) family: Family,
    pub(super) source: Source,
    pub(super) next_hop: Option<std::net::IpAddr>,
}

impl Condition {
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Peer(_) | Self::Group(_) | Self::Role(_) | Self::External(_) => Needs::Session,
            Self::Prefix(_) | Self::Validation(_) => Needs::Prefix,
            Self::NextHop(_)
            | Self::Community(_)
            | Self::AllCommunities(_)
            | Self::AsPath(_)
            | Self::AsPathContains(_)
            | Self::NeighborAs(_)
            | Self::OriginAs(_)
            | Self::AsPathLength(_)
            | Self::Med(_)
            | Self::LocalPref(_)
            | Self::Origin(_)
            | Self::Family(_)
            | Self::Source(_) => Needs::Set,
        }
    }

    /// Judges a condition on the session; true of others.
    pub(super) fn holds_on(&self, session: &Session) -> bool {
        let named = |names: &[String], name: &Option<String>| {
            name.as_ref().is_some_and(|name| names.contains(name))
        };
        match self {
            Self::Peer(names) => names.iter().any(|name| {
                let group = session.group.as_deref();
                name.matches(&session.peer) || group.is_some_and(|group| name.matches(group))
            }),
            Self::Group(names) => named(names, &session.group),
            Self::Role(names) => named(names, &session.role),
            Self::External(external) => *external == session.external,
            Self::Prefix(_)
            | Self::NextHop(_)
            | Self::Community(_)
            | Self::AllCommunities(_)
            | Self::AsPath(_)
            | Self::AsPathContains(_)
            | Self::NeighborAs(_)
            | Self::OriginAs(_)
            | Self::AsPathLength(_)
            | Self::Med(_)
            | Self::LocalPref(_)
            | Self::Origin(_)
            | Self::Family(_)
            | Self::Source(_)
            | Self::Validation(_) => true,
        }
    }

    /// Judges a condition on the set; true of others.
    pub(super) fn holds_for_set(&self, view: &SetView<'_>) -> bool {
        let facts = &view.parts.facts;
        let within = |ranges: &[Numbers], number| ranges.iter().any(|range| range.contains(number));
        match self {
            Self::NextHop(lists) => view
                .next_hop
                .is_some_and(|addr| lists.iter().any(|list| list.contains_addr(addr))),
            Self::Community(patterns) => patterns.iter().any(|pattern| pattern.is_in(&view.parts)),
            Self::AllCommunities(patterns) => {
                patterns.iter().all(|pattern| pattern.is_in(&view.parts))
            }
            Self::AsPath(patterns) => patterns.iter().any(|pattern| pattern.matches(&view.parts)),
            Self::AsPathContains(ranges) => view.parts.all_asns().any(|asn| within(ranges, asn)),
            // 0 stands for none, which is no number of an AS (RFC 7607).
            Self::NeighborAs(ranges) => facts.neighbor_as != 0 && within(ranges, facts.neighbor_as),
            Self::OriginAs(ranges) => facts.origin_as != 0 && within(ranges, facts.origin_as),
            Self::AsPathLength(ranges) => within(ranges, facts.as_path_len.into()),
            Self::Med(wanted) => wanted.iter().any(|wanted| match (wanted, facts.med) {
                (MedIs::Absent, None) => true,
                (MedIs::In(range), Some(med)) => range.contains(med),
                (MedIs::Absent, Some(_)) | (MedIs::In(_), None) => false,
            }),
            Self::LocalPref(ranges) => {
                within(ranges, facts.local_pref.unwrap_or(DEFAULT_LOCAL_PREF))
            }
            Self::Origin(origins) => origins
                .iter()
                .any(|origin| *origin as u8 == facts.origin.min(Origin::Incomplete as u8)),
            Self::Family(families) => families.contains(&view.family),
            Self::Source(sources) => sources.contains(&view.source),
            Self::Prefix(_)
            | Self::Peer(_)
            | Self::Group(_)
            | Self::Role(_)
            | Self::External(_)
            | Self::Validation(_) => true,
        }
    }

    /// Judges a condition on the prefix; true of others.
    #[inline]
    pub(super) fn holds_for_prefix(&self, prefix: Prefix, validation: Validation) -> bool {
        match self {
            Self::Prefix(lists) => lists.iter().any(|list| list.contains(prefix)),
            Self::Validation(states) => states.contains(&validation),
            Self::NextHop(_)
            | Self::Community(_)
            | Self::AllCommunities(_)
            | Self::AsPath(_)
            | Self::AsPathContains(_)
            | Self::NeighborAs(_)
            | Self::OriginAs(_)
            | Self::AsPathLength(_)
            | Self::Med(_)
            | Self::LocalPref(_)
            | Self::Origin(_)
            | Self::Family(_)
            | Self::Peer(_)
            | Self::Group(_)
            | Self::Role(_)
            | Self::External(_)
            | Self::Source(_) => true,
        }
    }
}

impl Match {
    /// The condition itself.
    pub fn is(condition: Condition) -> Self {
        Self {
            condition,
            negated: false,
        }
    }

    /// Its opposite.
    pub fn is_not(condition: Condition) -> Self {
        Self {
            condition,
            negated: true,
        }
    }
}

impl From<Condition> for Match {
    fn from(condition: Condition) -> Self {
        Self::is(condition)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("not: ")?;
        }
        self.condition.fmt(f)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = |lists: &[Arc<PrefixList>]| {
            let quoted: Vec<_> = lists
                .iter()
                .map(|list| match list.name() {
                    Some(name) => format!("{name:?}"),
                    None => list.to_string(),
                })
                .collect();
            any_of(&quoted)
        };
        match self {
            Self::Prefix(wanted) => write!(f, "prefix in {}", lists(wanted)),
            Self::NextHop(wanted) => write!(f, "next hop in {}", lists(wanted)),
            Self::Community(wanted) => write!(f, "community {}", any_of(wanted)),
            Self::AllCommunities(wanted) => {
                let texts: Vec<_> = wanted.iter().map(ToString::to_string).collect();
                write!(f, "communities {}", texts.join(" and "))
            }
            Self::AsPath(wanted) => {
                let quoted: Vec<_> = wanted.iter().map(|path| format!("\"{path}\"")).collect();
                write!(f, "AS_PATH {}", any_of(&quoted))
            }
            Self::AsPathContains(wanted) => write!(f, "AS_PATH with {} in it", any_of(wanted)),
            Self::NeighborAs(wanted) => write!(f, "neighbour AS {}", any_of(wanted)),
            Self::OriginAs(wanted) => write!(f, "origin AS {}", any_of(wanted)),
            Self::AsPathLength(wanted) => write!(f, "AS_PATH of length {}", any_of(wanted)),
            Self::Med(wanted) => write!(f, "MED {}", any_of(wanted)),
            Self::LocalPref(wanted) => write!(f, "LOCAL_PREF {}", any_of(wanted)),
            Self::Origin(wanted) => {
                let names: Vec<_> = wanted.iter().map(|origin| origin_name(*origin)).collect();
                write!(f, "ORIGIN {}", any_of(&names))
            }
            Self::Family(wanted) => write!(f, "family {}", any_of(wanted)),
            Self::Peer(wanted) => write!(f, "peer {}", any_of(wanted)),
            Self::Group(wanted) => write!(f, "group {}", any_of(wanted)),
            Self::Role(wanted) => write!(f, "role {}", any_of(wanted)),
            Self::External(true) => f.write_str("an external session"),
            Self::External(false) => f.write_str("an internal session"),
            Self::Source(wanted) => write!(f, "source {}", any_of(wanted)),
            Self::Validation(wanted) => write!(f, "validation {}", any_of(wanted)),
        }
    }
}

pub(super) fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Igp => "igp",
        Origin::Egp => "egp",
        Origin::Incomplete => "incomplete",
    }
}

impl fmt::Display for MedIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::In(range) => range.fmt(f),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Internal => "internal",
            Self::External => "external",
        })
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::NotFound => "not-found",
        })
    }
}
