//! The machine and a kernel: one bounded piece of work per turn.

use std::time::Duration;

use nix::errno::Errno;
use wayleave_bgp_core::Time;
use wayleave_netlink::{Dump, Event, Family, Kernel, KernelError, Object, Progress, RouteFilter};

use super::{machine::Fib, trouble};
use crate::problem::Problem;

/// Changes in one turn: about a millisecond.
const BATCH: usize = 256;
/// First pause after a listing that failed; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Joins a [`Fib`] to a [`Kernel`].
#[derive(Debug)]
pub struct Reconciler<K> {
    fib: Fib,
    kernel: K,
    listing: Option<Stages>,
    failures: u32,
    listing_problem: Option<KernelError>,
    /// The kernel knows no nexthop objects.
    without_objects: bool,
    /// Part of a listing, kept for its room.
    objects: Vec<Object>,
}

/// What is still to be listed.
#[derive(Debug)]
struct Stages {
    under_way: Option<Dump>,
    rest: std::vec::IntoIter<Dump>,
}

/// What is to be done after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Another turn, after everybody else had his.
    Again,
    /// Nothing until something happens, or until then.
    Wait(Option<Time>),
}

impl<K: Kernel> Reconciler<K> {
    /// Joins them.
    pub const fn new(fib: Fib, kernel: K) -> Self {
        Self {
            fib,
            kernel,
            listing: None,
            failures: 0,
            listing_problem: None,
            without_objects: false,
            objects: Vec::new(),
        }
    }

    /// The machine, to be told desires.
    pub const fn fib(&mut self) -> &mut Fib {
        &mut self.fib
    }

    /// The machine, to be asked.
    pub const fn view(&self) -> &Fib {
        &self.fib
    }

    /// One piece of work: a part of a listing, or a batch of changes. `events` are those that are
    /// to be had now, in order; the fewer are kept back, the less is done in vain. They are taken out, but for those that came while a listing is under way: they are newer than it.
    pub fn turn(&mut self, now: Time, events: &mut Vec<Event>) -> Turn {
        if events.contains(&Event::Overrun) {
            // Whatever else was heard, everything is to be listed, from the start.
            self.listing = None;
            events.clear();
            self.fib.observed(&Event::Overrun, now);
        }
        if self.listing.is_none() && self.fib.wants_listing(now) {
            // What has happened up to now will be in the listing.
            self.heed(events, now);
            self.begin_listing(now);
        }
        if self.listing.is_some() {
            self.list(now);
            if self.listing.is_some() {
                return Turn::Again;
            }
        }
        self.heed(events, now);
        let changes = self.fib.step(now, BATCH);
        if !changes.is_empty() {
            let results = self.kernel.apply(&changes);
            self.fib.acked(results, now);
        }
        match self.fib.next_due(now) {
            Some(due) if due <= now => Turn::Again,
            due => Turn::Wait(due),
        }
    }

    /// The problems as they stand, if they have changed since the last time.
    pub fn changed_problems(&mut self) -> Option<Vec<Problem>> {
        let listing = self.listing_problem.as_ref().map(trouble::listing_fails);
        let mut problems = trouble::problems(self.fib.changed_troubles()?);
        problems.extend(trouble::unreachable(self.fib.unreachable()));
        problems.extend(listing);
        Some(problems)
    }

    fn heed(&mut self, events: &mut Vec<Event>, now: Time) {
        for event in events.drain(..) {
            self.fib.observed(&event, now);
        }
    }

    fn begin_listing(&mut self, now: Time) {
        let table = self.fib.settings().table;
        let routes = |family| Dump::Routes(RouteFilter::all(family).table(table));
        let mut stages = vec![Dump::Links, Dump::Addresses { ifindex: None }];
        if !self.without_objects {
            stages.push(Dump::Nexthops);
        }
        stages.extend([routes(Family::V4), routes(Family::V6)]);
        self.fib.listing_begins();
        self.listing = Some(Stages {
            under_way: None,
            rest: stages.into_iter(),
        });
        self.next_stage(now);
    }

    fn next_stage(&mut self, now: Time) {
        let Some(stages) = &mut self.listing else {
            return;
        };
        stages.under_way = stages.rest.next();
        match stages.under_way {
            Some(what) => {
                if let Err(error) = self.kernel.begin_dump(&what) {
                    self.listing_failed(error, now);
                }
            }
            None => {
                self.listing = None;
                self.failures = 0;
                if self.listing_problem.take().is_some() {
                    self.fib.report_troubles();
                }
                self.fib.listing_ends(now);
            }
        }
    }

    fn list(&mut self, now: Time) {
        self.objects.clear();
        match self.kernel.next_dump(&mut self.objects) {
            Ok(progress) => {
                self.fib.listed(&mut self.objects, now);
                if progress == Progress::Done {
                    self.next_stage(now);
                }
            }
            Err(error) if error.is(Errno::EOPNOTSUPP) && self.lists_objects() => {
                tracing::info!(
                    "this kernel knows no nexthop objects: routes carry their next hops"
                );
                self.fib.has_no_objects();
                self.next_stage(now);
            }
            Err(error) => self.listing_failed(error, now),
        }
    }

    fn lists_objects(&self) -> bool {
        let stages = self.listing.as_ref();
        stages.is_some_and(|stages| stages.under_way == Some(Dump::Nexthops))
    }

    fn listing_failed(&mut self, error: KernelError, now: Time) {
        self.listing = None;
        self.failures = self.failures.saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10).saturating_sub(1));
        // An interruption is no failure: begun again at once, unless it goes on and on.
        let again = if error == KernelError::Interrupted && self.failures <= 3 {
            now
        } else {
            now + pause.min(LONGEST_PAUSE)
        };
        tracing::debug!(%error, failures = self.failures, "a listing of the kernel's routes broke off");
        if self.failures >= 5 {
            self.listing_problem = Some(error);
            self.fib.report_troubles();
        }
        self.fib.listing_fails(again);
    }
}
