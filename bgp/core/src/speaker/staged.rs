//! What an UPDATE changes, kept until enough has come together to be looked up at once.
//!
//! A table of a million routes lies in memory, not in a cache: a search waits for four places in it,
//! one after the other, and searches one after the other wait for each. Changes are therefore
//! collected over the messages of one read and looked up together in passes, of which each reads one
//! place per change: none of these reads depends on another, and the processor waits for a dozen of
//! them at once. What is applied then lies in the cache.

use std::hint::black_box;

use super::turn::mark;
use super::{Feed, Peer};
use crate::{
    rib::{
        Outcome, Shared,
        attr::AttrId,
        key::PrefixKey,
        source::{Slot, Whose},
        table::{NONE, Table},
    },
    types::{Ipv4Prefix, Ipv6Prefix},
};

/// Changes looked up together: what they touch fits the second cache several times.
const MOST: usize = 256;

/// What is done with a prefix.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Withdraw,
    /// `attr` none: refused.
    Announce {
        received: AttrId,
        attr: AttrId,
    },
}

#[derive(Clone, Copy, Debug)]
struct Change<P> {
    prefix: P,
    /// Of a peer that tells several paths; else 0 (RFC 7911, 3).
    path_id: u32,
    act: Act,
    hash: u32,
    /// Its destination, or [`NONE`] when it has none yet.
    dest: u32,
}

/// Changes of one family by one peer, in the order in which they came.
#[derive(Debug)]
pub(super) struct Staged<P>(Vec<Change<P>>);

impl<P> Default for Staged<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Those of both families. The families' tables do not depend on each other.
#[derive(Debug, Default)]
pub(super) struct StagedFamilies {
    pub(super) v4: Staged<Ipv4Prefix>,
    pub(super) v6: Staged<Ipv6Prefix>,
}

/// What applying changes needs beside the table.
pub(super) struct Target<'a> {
    pub(super) shared: &'a mut Shared,
    pub(super) peer: &'a mut Peer,
    pub(super) feeds: &'a mut [Option<Feed>],
    pub(super) slot: Slot,
    pub(super) since: u32,
    pub(super) multipath: bool,
}

impl<P: PrefixKey> Staged<P> {
    pub(super) fn push(&mut self, (prefix, path_id): (P, u32), act: Act) {
        self.0.push(Change {
            prefix,
            path_id,
            act,
            hash: 0,
            dest: NONE,
        });
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// Applies all of them.
    pub(super) fn apply(&mut self, table: &mut Table<P>, target: &mut Target<'_>) {
        for changes in self.0.chunks_mut(MOST) {
            look_up(changes, table, target.shared);
            for change in changes {
                change.apply(table, target);
            }
        }
        self.0.clear();
        // One message holds thousands of prefixes at most, so this is rare.
        self.0.shrink_to(4 * MOST);
    }
}

/// Finds the destinations, and reads what applying will read.
fn look_up<P: PrefixKey>(changes: &mut [Change<P>], table: &Table<P>, shared: &Shared) {
    let mut read = 0;
    for change in changes.iter_mut() {
        change.hash = table.hash(change.prefix);
        read ^= table.touch(change.hash);
    }
    // A single change gains nothing by what follows.
    for change in changes.iter_mut() {
        change.dest = table
            .find_hashed(change.prefix, change.hash)
            .unwrap_or(NONE);
    }
    let heads = || {
        let known = changes.iter().filter(|change| change.dest != NONE);
        known
            .map(|change| table.head(change.dest))
            .filter(|&head| head != NONE)
            .map(|head| table.path(head))
    };
    for path in heads() {
        read ^= u64::from(path.since);
    }
    for path in heads() {
        read ^= u64::from(shared.attrs.touch(path.received));
    }
    black_box(read);
}

impl<P: PrefixKey> Change<P> {
    fn apply(&self, table: &mut Table<P>, target: &mut Target<'_>) {
        let Target {
            shared,
            peer,
            feeds,
            slot,
            since,
            multipath,
        } = target;
        let (prefix, hash) = (self.prefix, self.hash);
        let whose = Whose {
            peer: *slot,
            path_id: self.path_id,
        };
        // What had no destination may have one since, from an earlier one of these changes.
        let outcome = match self.act {
            Act::Withdraw => {
                let known = match self.dest {
                    NONE => table.find_hashed(prefix, hash),
                    dest => Some(dest),
                };
                known.and_then(|dest| shared.withdraw_from(table, dest, whose))
            }
            Act::Announce { received, attr } => {
                let dest = match self.dest {
                    NONE => table.find_or_add_hashed(prefix, hash),
                    dest => dest,
                };
                let outcome = shared.announce_to(table, dest, whose, received, attr, *since);
                if outcome.is_none() {
                    peer.too_many_paths += 1;
                }
                outcome
            }
        };
        let Some(outcome) = outcome else { return };
        let Outcome {
            dest,
            best_changed,
            received,
            accepted,
            stale,
        } = outcome;
        let index = P::FAMILY.index();
        let counts = &mut peer.counts[index];
        counts.received = counts.received.saturating_add_signed(received.into());
        counts.accepted = counts.accepted.saturating_add_signed(accepted.into());
        if let Some(was_accepted) = stale {
            peer.stale[index].leave(was_accepted);
        }
        if *multipath && !best_changed {
            mark(feeds, index, dest);
        }
    }
}
