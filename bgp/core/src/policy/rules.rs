//! The list of rules itself, and how one route fares in it.

use std::fmt;

use super::{
    action::{Action, NextHopTo},
    condition::{Condition, Match, Needs, SetView},
    route::{Changed, NextHopChange, Route, Session, Set, Source, Validation},
};
use crate::{
    types::Prefix,
    wire::{Edit, Parts},
};

/// What becomes of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It does not.
    #[default]
    Reject,
}

/// What follows once a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// The route passes.
    Accept,
    /// It does not pass.
    Reject,
    /// The next rule is asked.
    Next,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What people call it.
    pub name: String,
    /// All of these must hold; none: it applies to every route.
    pub matches: Vec<Match>,
    /// What is done to a route it applies to.
    pub actions: Vec<Action>,
    /// What follows.
    pub then: Then,
}

/// An ordered list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    name: String,
    rules: Vec<Rule>,
    /// By the same places.
    splits: Vec<Split>,
    default: Verdict,
}

/// The conditions of a rule by what it takes to judge them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Split {
    session: Vec<usize>,
    set: Vec<usize>,
    prefix: Vec<usize>,
}

/// How a route fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The place of the rule that decided; `None`: none did, and the default stands.
    pub rule: Option<usize>,
    /// What the accepted route is now, when that differs from before.
    pub changed: Option<Changed>,
}

impl Rules {
    /// A list of this name.
    pub fn new(name: impl Into<String>, rules: Vec<Rule>, default: Verdict) -> Self {
        let splits = rules.iter().map(|rule| {
            let mut split = Split::default();
            for (place, wanted) in rule.matches.iter().enumerate() {
                match wanted.condition.needs() {
                    Needs::Session => split.session.push(place),
                    Needs::Set => split.set.push(place),
                    Needs::Prefix => split.prefix.push(place),
                }
            }
            split
        });
        Self {
            name: name.into(),
            splits: splits.collect(),
            rules,
            default,
        }
    }

    /// What people call the list.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What stands where no rule decides.
    pub fn default_verdict(&self) -> Verdict {
        self.default
    }

    /// The places of the rules that can apply on a session at all. Neighbours with the same list,
    /// the same AS of ours and the same places here are told the same, unless
    /// [`Self::names_the_peer`].
    pub fn applicable(&self, session: &Session) -> Vec<usize> {
        (0..self.rules.len())
            .filter(|place| self.applies_on(*place, session))
            .collect()
    }

    /// Whether an action puts the neighbour's own address into routes (`next hop: peer`), which
    /// makes sense on import only.
    pub fn names_the_peer(&self) -> bool {
        self.rules
            .iter()
            .flat_map(|rule| &rule.actions)
            .any(|action| *action == Action::NextHop(NextHopTo::Peer))
    }

    /// Whether a next hop may go out that is not our own: such a route must not go to whom it names
    /// ("SHALL NOT be advertised to a peer using an address of that peer as NEXT_HOP", RFC 4271, 5.1.3).
    pub fn sets_next_hops(&self) -> bool {
        let sets = |action: &Action| matches!(action, Action::NextHop(to) if *to != NextHopTo::Own);
        self.rules.iter().flat_map(|rule| &rule.actions).any(sets)
    }

    /// Whether an action puts our own address into routes, which makes sense on export only.
    pub fn names_ourselves(&self) -> bool {
        self.rules
            .iter()
            .flat_map(|rule| &rule.actions)
            .any(|action| *action == Action::NextHop(NextHopTo::Own))
    }

    /// Whether the same becomes of every route by others, whatever they and their rules are called.
    pub fn does_as(&self, other: &Self) -> bool {
        let alike = |(one, other): (&Rule, &Rule)| {
            one.matches == other.matches && one.actions == other.actions && one.then == other.then
        };
        self.default == other.default
            && self.rules.len() == other.rules.len()
            && self.rules.iter().zip(&other.rules).all(alike)
    }

    /// Whether a rule asks for the validation state of routes: without one nobody needs to know.
    pub fn needs_validation(&self) -> bool {
        self.rules
            .iter()
            .flat_map(|rule| &rule.matches)
            .any(|wanted| matches!(wanted.condition, Condition::Validation(_)))
    }

    /// Judges one route, from the first rule to the one that decides. [`super::Bound`] gives the
    /// same for less.
    pub fn evaluate(&self, session: &Session, route: &Route<'_>) -> Outcome {
        let mut now: Option<Changed> = None;
        for place in 0..self.rules.len() {
            let view = SetView::new(&route.set, now.as_ref());
            let applies = self.applies_on(place, session)
                && self.applies_to_set(place, &view)
                && self.applies_to_prefix(place, route.prefix, route.validation);
            if !applies {
                continue;
            }
            let rule = &self.rules[place];
            match rule.then {
                Then::Reject => {
                    return Outcome {
                        verdict: Verdict::Reject,
                        rule: Some(place),
                        changed: None,
                    };
                }
                Then::Accept | Then::Next => {
                    let done = self.act(place, session, &route.set, now.as_ref());
                    now = done.or(now);
                }
            }
            if rule.then == Then::Accept {
                return Outcome {
                    verdict: Verdict::Accept,
                    rule: Some(place),
                    changed: now.filter(|now| now.differs_from(&route.set)),
                };
            }
        }
        Outcome {
            verdict: self.default,
            rule: None,
            changed: now
                .filter(|now| self.default == Verdict::Accept && now.differs_from(&route.set)),
        }
    }

    pub(super) fn applies_on(&self, place: usize, session: &Session) -> bool {
        self.all_hold(place, &self.splits[place].session, |condition| {
            condition.holds_on(session)
        })
    }

    pub(super) fn applies_to_set(&self, place: usize, view: &SetView<'_>) -> bool {
        self.all_hold(place, &self.splits[place].set, |condition| {
            condition.holds_for_set(view)
        })
    }

    #[inline]
    pub(super) fn applies_to_prefix(
        &self,
        place: usize,
        prefix: Prefix,
        validation: Validation,
    ) -> bool {
        self.all_hold(place, &self.splits[place].prefix, |condition| {
            condition.holds_for_prefix(prefix, validation)
        })
    }

    /// Whether a rule asks for more than the set.
    pub(super) fn asks_for_prefix(&self, place: usize) -> bool {
        !self.splits[place].prefix.is_empty()
    }

    #[inline]
    fn all_hold(&self, place: usize, which: &[usize], holds: impl Fn(&Condition) -> bool) -> bool {
        let matches = &self.rules[place].matches;
        which.iter().all(|which| {
            let wanted = &matches[*which];
            holds(&wanted.condition) != wanted.negated
        })
    }

    /// Does what a rule says to a set as it is `now`; `None` when that leaves it as it is.
    pub(super) fn act(
        &self,
        place: usize,
        session: &Session,
        set: &Set<'_>,
        now: Option<&Changed>,
    ) -> Option<Changed> {
        let actions = &self.rules[place].actions;
        if actions.is_empty() {
            return None;
        }
        let before = now.map_or(set.attributes, |now| &now.attributes);
        let mut next_hop = now.map_or(NextHopChange::Usual, |now| now.next_hop);
        let unchanged = next_hop;
        let mut edit = Edit::new(before);
        for action in actions {
            action.apply(&mut edit, &mut next_hop, session, set.family);
        }
        if edit.is_unchanged() && next_hop == unchanged {
            return None;
        }
        let mut attributes = Vec::with_capacity(before.len() + 32);
        edit.finish(set.source != Source::Own, &mut attributes);
        Some(Changed {
            attributes,
            next_hop,
        })
    }
}

impl<'a> SetView<'a> {
    pub(super) fn new(set: &Set<'a>, now: Option<&'a Changed>) -> Self {
        let attributes = now.map_or(set.attributes, |now| &now.attributes);
        let change = now.map_or(NextHopChange::Usual, |now| now.next_hop);
        Self {
            parts: Parts::of(attributes),
            family: set.family,
            source: set.source,
            next_hop: change.seen(set.next_hop),
        }
    }
}

impl Changed {
    /// Whether anything is left of what was changed.
    pub(super) fn differs_from(&self, set: &Set<'_>) -> bool {
        self.next_hop != NextHopChange::Usual || self.attributes != set.attributes
    }
}

impl Rule {
    /// A rule that does nothing yet.
    pub fn new(name: impl Into<String>, then: Then) -> Self {
        Self {
            name: name.into(),
            matches: Vec::new(),
            actions: Vec::new(),
            then,
        }
    }

    /// With one more condition.
    #[must_use]
    pub fn when(mut self, wanted: impl Into<Match>) -> Self {
        self.matches.push(wanted.into());
        self
    }

    /// With one more action.
    #[must_use]
    pub fn with(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    /// Whether it can decide about routes of a family by itself, whatever else they are.
    pub fn catches_all(&self) -> bool {
        self.matches.is_empty() && self.then != Then::Next
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |items: Vec<String>| items.join("; ");
        if !self.matches.is_empty() {
            let matches = self.matches.iter().map(ToString::to_string).collect();
            write!(f, "if {}: ", join(matches))?;
        }
        if !self.actions.is_empty() {
            let actions = self.actions.iter().map(ToString::to_string).collect();
            write!(f, "{}; ", join(actions))?;
        }
        self.then.fmt(f)
    }
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Next => "next",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        })
    }
}
