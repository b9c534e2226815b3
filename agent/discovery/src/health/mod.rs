//! Health of one check as a pure state machine.
//!
//! The driver asks [`poll_timeout`](Check::poll_timeout) when to come back, calls
//! [`handle_timeout`](Check::handle_timeout) then and does what the returned [`Step`] says, and reports what an
//! attempt found through [`handle_result`](Check::handle_result).
//!
//! ```text
//!              rise passes                     fall failures
//!  STARTING ───────────────▶ PASSING ◀──────────────────────▶ FAILING
//!      └──────── fall failures, grace over ─────────────────────▶
//! ```
//!
//! One attempt at a time: the next begins an interval after the last one began, or at once when that is past. An
//! attempt that takes longer than its timeout has failed. Between two changes that are told lies at least the hold, so
//! that a check that flaps ten times a second does not send ten updates; a later damping multiplies this hold.

mod spec;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use spec::{CheckKind, CheckSpec, SpecError, format_span, parse_span};

use crate::Time;

/// What is known of a check's target; a later variant is worse.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It works.
    Passing,
    /// Not known yet; not announced.
    Starting,
    /// It does not work.
    Failing,
}

/// What one attempt found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Pass,
    /// It does not, and why: for a person.
    Fail(String),
}

/// One attempt; a result of an earlier one is not taken for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(u64);

/// What the driver is to do after a timeout.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The driver should begin an attempt and report its result under this number. Nothing is to be cancelled.
    Begin(Attempt),
    /// The driver should abandon this attempt: it took longer than the timeout and has been counted as failed.
    Abandon(Attempt),
    /// Nothing to be begun or abandoned; the health may have changed, ask for it.
    Look,
}

/// A change of health, told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: Health,
    /// Now.
    pub to: Health,
    /// What the last attempt found, for a person; none when it passed.
    pub why: Option<String>,
}

/// The machine of one check.
#[derive(Clone, Debug)]
pub struct Check {
    spec: CheckSpec,
    seed: u64,
    started: Time,
    /// What was told last.
    told: Health,
    told_at: Option<Time>,
    /// What the attempts say, which may wait for the hold to be told.
    found: Health,
    passes: u32,
    failures: u32,
    last_failure: Option<String>,
    attempts: u64,
    under_way: Option<(Attempt, Time)>,
    next: Time,
}

impl Check {
    /// A check whose first attempt is due now, moved by a jitter of up to a tenth of the interval.
    #[must_use]
    pub fn new(spec: CheckSpec, seed: u64, now: Time) -> Self {
        Self::resume(spec, Health::Starting, seed, now)
    }

    /// A check that goes on after a restart with the health it had: a restart of the agent is no news about a
    /// service, so it takes as many failures as ever to change it.
    #[must_use]
    pub fn resume(spec: CheckSpec, health: Health, seed: u64, now: Time) -> Self {
        let mut check = Self {
            spec,
            seed,
            started: now,
            told: health,
            told_at: None,
            found: health,
            passes: 0,
            failures: 0,
            last_failure: None,
            attempts: 0,
            under_way: None,
            next: now,
        };
        // A fresh registration is wanted at once; only many that are restored together are spread.
        if health != Health::Starting {
            check.next = now + check.jitter(check.spec.interval);
        }
        check
    }

    /// The specification it runs by.
    #[must_use]
    pub fn spec(&self) -> &CheckSpec {
        &self.spec
    }

    /// The health as it was last told.
    #[must_use]
    pub fn health(&self) -> Health {
        self.told
    }

    /// Why the last attempt failed; none when it passed.
    #[must_use]
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    /// When the driver should call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        let attempt = match self.under_way {
            Some((_, began)) => began + self.spec.timeout,
            None => self.next,
        };
        match self.hold_end() {
            Some(hold) if self.found != self.told => attempt.min(hold),
            _ => attempt,
        }
    }

    /// Begins an attempt or gives one up. Call [`poll_transition`](Self::poll_transition) afterwards.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Time) -> Step {
        if let Some((attempt, began)) = self.under_way {
            if now < began + self.spec.timeout {
                return Step::Look;
            }
            self.under_way = None;
            let why = format!("no answer within {}", format_span(self.spec.timeout));
            self.count(now, Outcome::Fail(why));
            return Step::Abandon(attempt);
        }
        if now < self.next {
            return Step::Look;
        }
        self.attempts += 1;
        let attempt = Attempt(self.attempts);
        self.under_way = Some((attempt, now));
        // Intervals of many checks drift apart instead of beating together: nine tenths to eleven tenths.
        let tenth = self.spec.interval / 10;
        self.next = now + (self.spec.interval - tenth) + self.jitter(tenth * 2);
        Step::Begin(attempt)
    }

    /// Takes the result of an attempt; that of an abandoned one is ignored. Call
    /// [`poll_transition`](Self::poll_transition) afterwards.
    pub fn handle_result(&mut self, now: Time, attempt: Attempt, outcome: Outcome) {
        if self
            .under_way
            .is_some_and(|(current, _)| current == attempt)
        {
            self.under_way = None;
            self.count(now, outcome);
        }
    }

    /// The change of health that may be told now, if there is one.
    pub fn poll_transition(&mut self, now: Time) -> Option<Transition> {
        if self.found == self.told || self.hold_end().is_some_and(|end| now < end) {
            return None;
        }
        let from = std::mem::replace(&mut self.told, self.found);
        self.told_at = Some(now);
        Some(Transition {
            from,
            to: self.told,
            why: self.last_failure.clone(),
        })
    }

    fn hold_end(&self) -> Option<Time> {
        self.told_at.map(|told| told + self.spec.hold)
    }

    fn count(&mut self, now: Time, outcome: Outcome) {
        match outcome {
            Outcome::Pass => {
                self.failures = 0;
                self.passes = self.passes.saturating_add(1);
                self.last_failure = None;
                // The first verdict waits for nothing: a service that answers is wanted at once.
                if self.passes >= self.spec.rise || self.found == Health::Starting {
                    self.found = Health::Passing;
                }
            }
            Outcome::Fail(why) => {
                self.passes = 0;
                self.last_failure = Some(why);
                let in_grace = self.found == Health::Starting
                    && now.since(self.started) < self.spec.start_grace;
                if !in_grace {
                    self.failures = self.failures.saturating_add(1);
                }
                if self.failures >= self.spec.fall {
                    self.found = Health::Failing;
                }
            }
        }
    }

    /// A span below `below`, another one at each attempt, the same one in each run with this seed.
    fn jitter(&self, below: Duration) -> Duration {
        let nanos = u64::try_from(below.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(crate::seed::mix(self.seed ^ self.attempts) % nanos)
    }
}

#[cfg(test)]
mod tests;
