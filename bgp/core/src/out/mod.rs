//! Adj-RIB-out and the fan-out: groups of peers that are sent the same, one log of encoded
//! messages per group, a cursor per peer.
//!
//! A peer that has just come, or that reads too slowly for the log, is a *walker*: it goes through
//! the table at its own pace and remembers, one bit each, the destinations that changed behind it.
//! It never holds the others back and never grows a queue.

pub(crate) mod batch;
pub(crate) mod export;
pub(crate) mod group;
pub(crate) mod log;
pub(crate) mod outbox;
mod path;
mod rules;
mod told;
pub(crate) mod walk;

pub(crate) use self::{
    export::GroupKey,
    group::{Departure, Families, Group},
    path::PathChange,
    rules::ExportRules,
    walk::Walk,
};

/// How a member of a group gets what it is told.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It reads the log from this offset on.
    Following(u64),
    /// It walks the table first.
    Walking(Box<Walk>),
}
