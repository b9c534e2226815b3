//! Policies, each in two forms: the one the speaker is given, and one that is read here as plainly as
//! possible. The reference must not ask the code that it is held against.

use std::sync::Arc;

use wayleave_bgp_core::{
    Asn, Community, Prefix,
    config::Policy,
    policy::{
        Action, Amount, AnyCommunity, Condition, Match, NamePattern, NextHopTo, PrefixEntry,
        PrefixList, Rule, Rules, Source, Verdict,
    },
};

use crate::{
    network::{address, name},
    plain::{Hop, Plain},
    random::Random,
};

/// What is to pass in one direction of one session.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Nothing,
    Everything,
    Own,
    Within(Vec<Prefix>),
    /// Lines in their order; where none decides, whether the route passes.
    Lines(Vec<Line>, bool),
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    when: Vec<When>,
    does: Vec<Does>,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Accept,
    Reject,
    Next,
}

#[derive(Clone, Debug)]
enum When {
    Within(Prefix),
    NotWithin(Prefix),
    Carries(u32),
    Longer(usize),
    From(Source),
    Preferred(u32),
    Peer(usize),
}

#[derive(Clone, Debug)]
enum Does {
    Mark(u32),
    Unmark(u32),
    Prepend(u8),
    Own,
    Elsewhere,
    Prefer(u32),
    PreferMore(u32),
    Med(u32),
    NoMed,
}

/// The session a route passes.
pub(crate) struct Passage {
    /// The speaker whose policy it is, and its AS.
    pub(crate) asn: u32,
    /// The neighbour.
    pub(crate) peer: usize,
    pub(crate) prefix: Prefix,
    pub(crate) source: Source,
}

pub(crate) fn community(number: u32) -> Community {
    Community(65_009 << 16 | number)
}

/// Where [`Does::Elsewhere`] sends packets to.
fn elsewhere() -> std::net::IpAddr {
    address(252).into()
}

impl Plan {
    /// Any. Those that are not `wild` cannot be part of a dispute: they drop routes by what is in
    /// them, mark them, and make paths longer, but never make a route better by passing it on
    /// ("strictly monotonic": Sobrinho 2005), and compare nothing that has no total order (MED).
    pub(crate) fn random(
        random: &mut Random,
        prefixes: &[Prefix],
        import: bool,
        wild: bool,
    ) -> Self {
        match random.below(10) {
            0 => Self::Nothing,
            1 if !import => Self::Own,
            2..=3 => Self::Everything,
            4 => Self::Within((0..3).map(|_| random.one_of(prefixes)).collect()),
            _ => {
                let count = random.between(1, 3);
                let lines = (0..count).map(|_| Line::random(random, prefixes, import, wild));
                Self::Lines(lines.collect(), !random.once_in(4))
            }
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        match self {
            Self::Nothing => Policy::None,
            Self::Everything => Policy::All,
            Self::Own => Policy::Own,
            Self::Within(prefixes) => Policy::Within(prefixes.clone()),
            Self::Lines(lines, passes) => {
                let default = match passes {
                    true => Verdict::Accept,
                    false => Verdict::Reject,
                };
                let rules = lines.iter().map(Line::rule).collect();
                Policy::Rules(Arc::new(Rules::new("lines", rules, default)))
            }
        }
    }

    /// What becomes of a route: none, if it does not pass. Simple policies leave it as it is.
    pub(crate) fn judge(&self, passage: &Passage, route: Plain) -> Option<Plain> {
        match self {
            Self::Nothing => None,
            Self::Everything => Some(route),
            Self::Own => (passage.source == Source::Own).then_some(route),
            Self::Within(prefixes) => {
                let inside = prefixes.iter().any(|outer| outer.contains(passage.prefix));
                inside.then_some(route)
            }
            Self::Lines(lines, passes) => {
                let mut route = route;
                for line in lines {
                    if !line.when.iter().all(|when| when.holds(passage, &route)) {
                        continue;
                    }
                    if line.then == Then::Reject {
                        return None;
                    }
                    for does in &line.does {
                        does.act(passage, &mut route);
                    }
                    if line.then == Then::Accept {
                        return Some(route);
                    }
                }
                passes.then_some(route)
            }
        }
    }
}

impl Line {
    fn random(random: &mut Random, prefixes: &[Prefix], import: bool, wild: bool) -> Self {
        let number = u32::try_from(random.below(4)).unwrap();
        let mut when = Vec::new();
        for _ in 0..random.below(3) {
            when.push(match random.below(8) {
                0 => When::Within(random.one_of(prefixes)),
                1 => When::NotWithin(random.one_of(prefixes)),
                2..=3 => When::Carries(number),
                4 => When::Longer(random.between(1, 4)),
                5 => When::From(random.one_of(&[Source::External, Source::Internal, Source::Own])),
                6 if wild => When::Preferred(random.one_of(&[50, 100, 101, 150])),
                _ => When::Peer(random.below(8)),
            });
        }
        let mut does = Vec::new();
        for _ in 0..random.below(3) {
            does.push(match random.below(if wild { 10 } else { 6 }) {
                0..=1 => Does::Mark(number),
                2 => Does::Unmark(number),
                3 => Does::Prepend(u8::try_from(random.between(1, 2)).unwrap()),
                4 => Does::Own,
                5 => Does::Elsewhere,
                6 => Does::Prefer(random.one_of(&[50, 100, 150])),
                7 if import => Does::PreferMore(10),
                7 | 8 => Does::Med(number),
                _ => Does::NoMed,
            });
        }
        let then = random.one_of(&[Then::Accept, Then::Accept, Then::Reject, Then::Next]);
        Self { when, does, then }
    }

    fn rule(&self) -> Rule {
        use wayleave_bgp_core::policy::Then as Real;
        let then = match self.then {
            Then::Accept => Real::Accept,
            Then::Reject => Real::Reject,
            Then::Next => Real::Next,
        };
        let rule = Rule::new("line", then);
        let rule = self
            .when
            .iter()
            .fold(rule, |rule, when| rule.when(when.condition()));
        let actions = self.does.iter().map(Does::action);
        actions.fold(rule, Rule::with)
    }
}

impl When {
    fn condition(&self) -> Match {
        let within = |prefix: &Prefix| {
            let entry = PrefixEntry::or_longer(*prefix);
            Condition::Prefix(vec![Arc::new(PrefixList::named("list", vec![entry]))])
        };
        match self {
            Self::Within(prefix) => within(prefix).into(),
            Self::NotWithin(prefix) => Match {
                condition: within(prefix),
                negated: true,
            },
            Self::Carries(number) => {
                let pattern = community(*number).to_string();
                Condition::Community(vec![pattern.parse().unwrap()]).into()
            }
            Self::Longer(least) => {
                Condition::AsPathLength(vec![format!("{}-", least + 1).parse().unwrap()]).into()
            }
            Self::From(source) => Condition::Source(vec![*source]).into(),
            Self::Preferred(least) => {
                Condition::LocalPref(vec![format!("{least}-").parse().unwrap()]).into()
            }
            Self::Peer(n) => Condition::Peer(vec![NamePattern::new(name(*n))]).into(),
        }
    }

    fn holds(&self, passage: &Passage, route: &Plain) -> bool {
        match self {
            Self::Within(prefix) => prefix.contains(passage.prefix),
            Self::NotWithin(prefix) => !prefix.contains(passage.prefix),
            Self::Carries(number) => route.communities.contains(&community(*number)),
            Self::Longer(least) => route.path.len() > *least,
            Self::From(source) => passage.source == *source,
            Self::Preferred(least) => route.local_pref.unwrap_or(100) >= *least,
            Self::Peer(n) => passage.peer == *n,
        }
    }
}

impl Does {
    fn action(&self) -> Action {
        match self {
            Self::Mark(number) => {
                Action::AddCommunities(vec![AnyCommunity::Standard(community(*number))])
            }
            Self::Unmark(number) => {
                let pattern = community(*number).to_string();
                Action::StripCommunities(vec![pattern.parse().unwrap()])
            }
            Self::Prepend(times) => Action::Prepend {
                asn: None,
                times: *times,
            },
            Self::Own => Action::NextHop(NextHopTo::Own),
            Self::Elsewhere => Action::NextHop(NextHopTo::Addresses(vec![elsewhere()])),
            Self::Prefer(local_pref) => Action::LocalPref(Amount::Set(*local_pref)),
            Self::PreferMore(more) => Action::LocalPref(Amount::Add(*more)),
            Self::Med(med) => Action::Med(Amount::Set(*med)),
            Self::NoMed => Action::RemoveMed,
        }
    }

    fn act(&self, passage: &Passage, route: &mut Plain) {
        match self {
            Self::Mark(number) => {
                route.communities.insert(community(*number));
            }
            Self::Unmark(number) => {
                route.communities.remove(&community(*number));
            }
            Self::Prepend(times) => {
                for _ in 0..*times {
                    route.path.insert(0, Asn(passage.asn));
                }
            }
            Self::Own => route.hop = Hop::Own,
            // It is an IPv4 address: other routes keep theirs.
            Self::Elsewhere => {
                if matches!(passage.prefix, Prefix::V4(_)) {
                    route.hop = Hop::Set(elsewhere());
                }
            }
            Self::Prefer(local_pref) => route.local_pref = Some(*local_pref),
            Self::PreferMore(more) => {
                route.local_pref = Some(route.local_pref.unwrap_or(100) + more);
            }
            Self::Med(med) => route.med = Some(*med),
            Self::NoMed => route.med = None,
        }
    }
}
