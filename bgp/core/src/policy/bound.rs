//! Rules bound to a session and a set of attributes: what is left to ask of each prefix.
//!
//! Most conditions are about the attributes, which many routes share. Binding judges these once;
//! what stays is a tree of questions about the prefix, often none, mostly one or two. It grows as
//! prefixes ask for it, so that a branch nobody takes costs nothing, and a rule behind `next` sees
//! the set as the branch that leads to it has changed it. Places of the tree that ask the same about
//! the same set are one.

use std::sync::Arc;

use super::{
    condition::SetView,
    route::{Changed, Session, Set, Source, Validation},
    rules::{Rules, Then, Verdict},
};
use crate::{
    attributes::NextHop,
    types::{Family, Prefix},
};

/// A list of rules on one session, bound to one set of attributes after the other. Binding keeps
/// the memory of what was bound before.
#[derive(Clone, Debug)]
pub struct Bound {
    rules: Arc<Rules>,
    session: Session,
    /// Places of the rules that can apply on the session.
    applicable: Vec<usize>,
    family: Family,
    source: Source,
    next_hop: Option<NextHop>,
    /// The set that was bound, and what rules have made of it.
    sets: Vec<Changed>,
    /// What is known of each of these; those past the end of `sets` are kept for their room.
    known: Vec<Known>,
    questions: Vec<Question>,
    first: Step,
}

/// One of the sets that leave: [`SetIndex::UNCHANGED`], or one for [`Bound::changed`]. Good until
/// another set is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetIndex(u32);

impl SetIndex {
    /// The set that was bound.
    pub const UNCHANGED: Self = Self(0);

    /// A small number, counted from 0 for each set that is bound: an index for what the caller
    /// keeps beside it.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// What becomes of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it passes.
    pub verdict: Verdict,
    /// The place of the rule that decided; `None`: the default did.
    pub rule: Option<u32>,
    /// With which attributes.
    pub set: SetIndex,
}

/// A rule that asks for the prefix, of a set that it applies to otherwise.
#[derive(Clone, Copy, Debug)]
struct Question {
    /// An index of `applicable`.
    place: usize,
    set: SetIndex,
    yes: Step,
    no: Step,
}

/// How many rules are judged at a time by a set: what that takes to be read is read once for all.
const TOGETHER: usize = 16;

/// What is known of a set, by the places of the rules.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Whether a rule applies to it.
    applies: Vec<Option<bool>>,
    /// The question for the prefix that a rule asks then.
    asked: Vec<Option<usize>>,
}

impl Known {
    fn forget(&mut self, places: usize) {
        self.applies.clear();
        self.applies.resize(places, None);
        self.asked.clear();
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Nobody came this way yet.
    Unknown,
    Ask(usize),
    Decided(Decision),
}

impl Bound {
    /// Rules on a session, bound to nothing yet: an empty set of attributes.
    pub fn new(rules: Arc<Rules>, session: Session) -> Self {
        let mut bound = Self {
            applicable: rules.applicable(&session),
            rules,
            session,
            family: Family::Ipv4Unicast,
            source: Source::Own,
            next_hop: None,
            sets: vec![Changed::default()],
            known: vec![Known::default()],
            questions: Vec::new(),
            first: Step::Unknown,
        };
        bound.known[0].forget(bound.applicable.len());
        bound.first = bound.advance(0, SetIndex::UNCHANGED);
        bound
    }

    /// Binds a set. What was said about the one before is forgotten, its [`SetIndex`]es too.
    pub fn bind(&mut self, set: &Set<'_>) {
        self.family = set.family;
        self.source = set.source;
        self.next_hop = set.next_hop;
        self.sets.truncate(1);
        if let Some(original) = self.sets.first_mut() {
            original.attributes.clear();
            original.attributes.extend_from_slice(set.attributes);
        }
        self.questions.clear();
        self.known[0].forget(self.applicable.len());
        self.first = self.advance(0, SetIndex::UNCHANGED);
    }

    /// Judges a prefix, which is of the family of the set. `validation` is its state for the origin
    /// AS of the set, [`Validation::NotFound`] where nobody knows; see
    /// [`Rules::needs_validation`].
    #[inline]
    pub fn decide(&mut self, prefix: Prefix, validation: Validation) -> Decision {
        debug_assert_eq!(
            prefix.family(),
            self.family,
            "{prefix} is of another family"
        );
        let mut step = self.first;
        loop {
            let asked = match step {
                Step::Decided(decision) => return decision,
                Step::Ask(asked) => asked,
                // Every step that is taken was explored before.
                Step::Unknown => {
                    return Decision {
                        verdict: Verdict::Reject,
                        rule: None,
                        set: SetIndex::UNCHANGED,
                    };
                }
            };
            let Question { place, yes, no, .. } = self.questions[asked];
            let rule = self.applicable[place];
            let applies = self.rules.applies_to_prefix(rule, prefix, validation);
            step = if applies { yes } else { no };
            if matches!(step, Step::Unknown) {
                step = self.explore(asked, applies);
            }
        }
    }

    /// What becomes of all prefixes of the set, when none needs to be asked about.
    pub fn decided(&self) -> Option<Decision> {
        match self.first {
            Step::Decided(decision) => Some(decision),
            Step::Ask(_) | Step::Unknown => None,
        }
    }

    /// The attributes of a decision; `None`: those that were bound.
    pub fn changed(&self, set: SetIndex) -> Option<&Changed> {
        (set != SetIndex::UNCHANGED).then(|| &self.sets[set.get()])
    }

    /// The rules that are bound.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    #[cold]
    fn explore(&mut self, asked: usize, applies: bool) -> Step {
        let Question { place, set, .. } = self.questions[asked];
        let step = if applies {
            self.apply(place, set)
                .unwrap_or_else(|set| self.advance(place + 1, set))
        } else {
            self.advance(place + 1, set)
        };
        let question = &mut self.questions[asked];
        if applies {
            question.yes = step;
        } else {
            question.no = step;
        }
        step
    }

    /// From a place on: the first rule that asks for the prefix, or what is decided without.
    fn advance(&mut self, mut place: usize, mut set: SetIndex) -> Step {
        while let Some(next) = self.next_that_applies(place, set) {
            if self.rules.asks_for_prefix(self.applicable[next]) {
                return Step::Ask(self.question(next, set));
            }
            set = match self.apply(next, set) {
                Ok(decided) => return decided,
                Err(set) => set,
            };
            place = next + 1;
        }
        let verdict = self.rules.default_verdict();
        Step::Decided(Decision {
            verdict,
            rule: None,
            set: leaving(verdict, set),
        })
    }

    /// The first rule from a place on that applies to a set, as far as that tells.
    fn next_that_applies(&mut self, mut place: usize, set: SetIndex) -> Option<usize> {
        while place < self.applicable.len() {
            match self.known[set.get()].applies[place] {
                Some(true) => return Some(place),
                Some(false) => place += 1,
                None => self.judge_set(place, set),
            }
        }
        None
    }

    /// Judges a set by a rule and some behind it.
    fn judge_set(&mut self, place: usize, set: SetIndex) {
        let before = self.bound_set();
        let view = SetView::new(&before, self.changed(set));
        let places = self.applicable[place..].iter().take(TOGETHER);
        let judged = places.map(|rule| Some(self.rules.applies_to_set(*rule, &view)));
        let judged: [Option<bool>; TOGETHER] = {
            let mut all = [None; TOGETHER];
            all.iter_mut()
                .zip(judged)
                .for_each(|(one, judged)| *one = judged);
            all
        };
        let known = self.known[set.get()].applies[place..].iter_mut();
        known
            .zip(judged)
            .for_each(|(known, judged)| *known = judged);
    }

    /// Applies a rule to a set: a decision, or the set with which to go on.
    fn apply(&mut self, place: usize, set: SetIndex) -> Result<Step, SetIndex> {
        let rule = self.applicable[place];
        let verdict = match self.rules.rules()[rule].then {
            Then::Reject => Verdict::Reject,
            Then::Accept => Verdict::Accept,
            Then::Next => return Err(self.act(rule, set)),
        };
        let set = match verdict {
            Verdict::Accept => self.act(rule, set),
            Verdict::Reject => SetIndex::UNCHANGED,
        };
        Ok(Step::Decided(Decision {
            verdict,
            rule: u32::try_from(rule).ok(),
            set,
        }))
    }

    fn act(&mut self, rule: usize, set: SetIndex) -> SetIndex {
        let before = self.bound_set();
        let done = self
            .rules
            .act(rule, &self.session, &before, self.changed(set));
        let Some(done) = done else {
            return set;
        };
        let same = self.sets.iter().position(|known| *known == done);
        let index = same.unwrap_or_else(|| {
            self.sets.push(done);
            let index = self.sets.len() - 1;
            if self.known.len() <= index {
                self.known.push(Known::default());
            }
            self.known[index].forget(self.applicable.len());
            index
        });
        // As many sets as that do not come from rules that a person wrote.
        SetIndex(u32::try_from(index).unwrap_or(0))
    }

    fn question(&mut self, place: usize, set: SetIndex) -> usize {
        let asked = &mut self.known[set.get()].asked;
        if let Some(Some(asked)) = asked.get(place) {
            return *asked;
        }
        let question = self.questions.len();
        asked.resize(asked.len().max(place + 1), None);
        asked[place] = Some(question);
        self.questions.push(Question {
            place,
            set,
            yes: Step::Unknown,
            no: Step::Unknown,
        });
        question
    }

    fn bound_set(&self) -> Set<'_> {
        Set {
            family: self.family,
            source: self.source,
            attributes: self
                .sets
                .first()
                .map_or(&[], |original| original.attributes.as_slice()),
            next_hop: self.next_hop,
        }
    }
}

/// Of what is rejected nothing leaves, changed or not.
fn leaving(verdict: Verdict, set: SetIndex) -> SetIndex {
    match verdict {
        Verdict::Accept => set,
        Verdict::Reject => SetIndex::UNCHANGED,
    }
}
