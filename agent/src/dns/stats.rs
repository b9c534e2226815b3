//! What the server counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::message::{Action, Rcode, rcode_of};

/// Counters; each only goes up.
#[derive(Debug, Default)]
pub struct Stats {
    pub(super) questions: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) no_such_name: AtomicU64,
    pub(super) not_known_yet: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) forwarded: AtomicU64,
    pub(super) cache_hits: AtomicU64,
    pub(super) upstream_failures: AtomicU64,
    pub(super) overloaded: AtomicU64,
    pub(super) send_errors: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Datagrams and TCP messages taken.
    pub questions: u64,
    /// Answered with NOERROR from the catalog.
    pub answered: u64,
    /// Answered with NXDOMAIN from the catalog.
    pub no_such_name: u64,
    /// Answered with SERVFAIL: the catalog was not complete.
    pub not_known_yet: u64,
    /// Refused: source, name or class.
    pub refused: u64,
    /// Answered with FORMERR, NOTIMP or BADVERS.
    pub malformed: u64,
    /// Not answered: too short, or themselves answers.
    pub dropped: u64,
    /// Passed on to upstreams, the cache's included.
    pub forwarded: u64,
    /// Answered from what an upstream said before.
    pub cache_hits: u64,
    /// Given up because no upstream answered in time.
    pub upstream_failures: u64,
    /// Given up because too many questions to upstreams, or TCP connections, were under way.
    pub overloaded: u64,
    /// Answers the kernel did not take.
    pub send_errors: u64,
}

impl Stats {
    pub(super) fn up(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, action: &Action, reply: &[u8]) {
        Self::up(match action {
            Action::Drop => &self.dropped,
            Action::Forward(_) => &self.forwarded,
            Action::Reply => match rcode_of(reply) {
                Rcode::NOERROR => &self.answered,
                Rcode::NXDOMAIN => &self.no_such_name,
                Rcode::SERVFAIL => &self.not_known_yet,
                Rcode::REFUSED => &self.refused,
                _ => &self.malformed,
            },
        });
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            questions: of(&self.questions),
            answered: of(&self.answered),
            no_such_name: of(&self.no_such_name),
            not_known_yet: of(&self.not_known_yet),
            refused: of(&self.refused),
            malformed: of(&self.malformed),
            dropped: of(&self.dropped),
            forwarded: of(&self.forwarded),
            cache_hits: of(&self.cache_hits),
            upstream_failures: of(&self.upstream_failures),
            overloaded: of(&self.overloaded),
            send_errors: of(&self.send_errors),
        }
    }
}
