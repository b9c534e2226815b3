//! Policy: lists of rules that say which routes pass, and what is changed about them.
//!
//! A rule has conditions, all of which must hold, actions, and a verdict: `accept`, `reject` or
//! `next`. Rules are asked in their order. One that applies has its actions done; `accept` and
//! `reject` end the list, with `next` the rule behind it is asked, and sees what was changed. Past
//! the last rule the list's default stands, which is to reject unless told otherwise: "Routes
//! contained in an Adj-RIB-In associated with an EBGP peer SHALL NOT be considered eligible in the
//! Decision Process if no explicit Import Policy has been applied" (RFC 8212, 3). Of a route that
//! is rejected nothing is changed.
//!
//! Rules work on attributes in canonical form (see [`crate::wire`]) and give such: nothing is
//! decoded that is not asked for. The engine is asked in two ways:
//!
//! - [`Rules::evaluate`] and [`Rules::explain`] judge one route: plainly, and in words;
//! - [`Bound`] is for tables: what depends on the attributes is judged once for each set of them,
//!   and of a prefix only what is left (see there).
//!
//! Gaps: no as-path access lists as regular expressions (see [`PathPattern`] for what there is
//! instead); IPv6 address specific extended communities (RFC 5701) and link bandwidth are neither
//! matched by name nor changed; nobody fills in [`Validation`] yet.

#![deny(clippy::cast_possible_truncation)]

mod action;
mod as_path;
mod bound;
mod community;
mod condition;
mod explain;
mod extended;
mod fabric;
mod number;
mod prefix_list;
mod route;
mod rules;

pub use action::{Action, Amount, NextHopTo};
pub use as_path::PathPattern;
pub use bound::{Bound, Decision, SetIndex};
pub use community::{AnyCommunity, CommunityPattern};
pub use condition::{Condition, Match, MedIs, NamePattern};
pub use explain::{ConditionExplained, Explanation, RuleExplained};
pub use extended::{ExtendedPattern, Kind as ExtendedKind};
pub use fabric::Fabric;
pub use number::Numbers;
pub use prefix_list::{LengthError, PrefixEntry, PrefixList, WrittenEntry};
pub use route::{Changed, NextHopChange, Route, Session, Set, Source, Validation};
pub use rules::{Outcome, Rule, Rules, Then, Verdict};

/// Why a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TextError(String);

impl TextError {
    fn new(text: &str, expected: &str) -> Self {
        Self(format!("expected {expected}, found {text:?}"))
    }

    fn because(error: &dyn std::error::Error) -> Self {
        Self(error.to_string())
    }
}
