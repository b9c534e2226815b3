//! What the thread and the speaker share: the machine, its kernel, and who waits for it.
//!
//! # Two hands
//! A single change is done by the speaker's thread itself, in the breath it was learned in: to wake
//! another thread takes longer than the kernel needs. Whatever is more than a few changes, or comes
//! while there is work, is left to the thread. So that no change overtakes an older one of the same
//! prefix, nothing is done at once while an event is on its way to the thread.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wayleave_bgp_core::{
    self as bgp, Time,
    feed::{FeedEvent, Forwarding},
};
use wayleave_netlink::{Event, KernelError, Monitor, Netlink};

use super::{
    feed::{self, Wishes},
    machine::Slot,
    reconciler::{Reconciler, Turn},
    task::Reachable,
    trouble::{KEYS, Trouble},
    way::Owner,
};
use crate::{
    event::{self, Progress},
    problem::Problems,
};

/// More changes than these are not done at once: 16 take the kernel a tenth of a millisecond.
const AT_ONCE: usize = 16;
/// When the kernel has taken longer than this for changes done at once, somebody else may keep it
/// busy ...
const SLOW: Duration = Duration::from_millis(2);
/// ... and the speaker keeps away from it so many times as long: it spends no more than a fiftieth
/// of its time on such waits, up to 20 ms each. A thread that was not scheduled for a moment looks
/// the same from here, and ought not to send all changes of a second the long way.
const AWAY: u32 = 50;
/// Not longer, though.
const LONGEST_AWAY: Duration = Duration::from_secs(1);
/// Stretches of the kernel's events read before the kernel has its turn: a storm of them must not
/// hold up desires.
const EVENT_READS: usize = 8;
/// How often problems are counted anew while there is much to do.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Somebody waits for these slots.
pub(super) type Waiter = (Vec<Slot>, oneshot::Sender<Vec<Result<(), Trouble>>>);

/// The machine, its kernel, and what it is told by.
pub(super) struct Core {
    pub(super) reconciler: Reconciler<Netlink>,
    monitor: Monitor,
    heard: Vec<Event>,
    carriers: Option<bgp::Prefix>,
    reachable: Reachable,
    wishes: Wishes,
    problems: Problems,
    progress: Option<Progress>,
    pub(super) waiting: Vec<Waiter>,
    origin: Instant,
    reported: Time,
    /// What the last turn said.
    last: Turn,
    /// Before this nothing is done at once.
    careful: Time,
}

impl Core {
    pub(super) fn new(
        reconciler: Reconciler<Netlink>,
        monitor: Monitor,
        carriers: Option<bgp::Prefix>,
        reachable: Reachable,
        problems: Problems,
        progress: Progress,
    ) -> Self {
        Self {
            reconciler,
            monitor,
            heard: Vec::new(),
            carriers,
            reachable,
            wishes: Wishes::default(),
            problems,
            progress: Some(progress),
            waiting: Vec::new(),
            origin: Instant::now(),
            reported: Time(0),
            last: Turn::Again,
            careful: Time(0),
        }
    }

    pub(super) const fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// One turn, with everything that is to be known now.
    pub(super) fn turn(&mut self) -> Result<Turn, KernelError> {
        let mut more = true;
        for _ in 0..EVENT_READS {
            more = self.monitor.read(&mut self.heard)?;
            if !more {
                break;
            }
        }
        let now = self.now();
        let turn = self.reconciler.turn(now, &mut self.heard);
        self.last = if more { Turn::Again } else { turn };
        let reachability = self.reconciler.fib().take_reachability();
        if !reachability.is_empty() {
            (self.reachable)(reachability);
        }
        self.report();
        Ok(self.last)
    }

    /// Does an event at once, or gives it back. Says whether the thread has something to do then.
    pub(super) fn at_once(
        &mut self,
        event: FeedEvent<Forwarding>,
    ) -> Result<bool, FeedEvent<Forwarding>> {
        let few = matches!(&event, FeedEvent::Changes(changes) if changes.len() <= AT_ONCE);
        let Turn::Wait(due) = self.last else {
            return Err(event);
        };
        let begun = self.now();
        if !few || begun < self.careful || due.is_some_and(|due| due <= begun) {
            return Err(event);
        }
        // What the kernel has to say may be a great deal of work: that is for the thread. So is a
        // socket that has failed.
        if !matches!(self.monitor.read(&mut self.heard), Ok(false)) || !self.heard.is_empty() {
            self.last = Turn::Again;
            return Err(event);
        }
        self.learn(event);
        let turn = self.reconciler.turn(begun, &mut self.heard);
        self.last = turn;
        let now = self.now();
        let taken = now.since(begun);
        if taken > SLOW {
            self.careful = now + taken.saturating_mul(AWAY).min(LONGEST_AWAY);
        }
        let earlier = match (turn, due) {
            (Turn::Again, _) => true,
            (Turn::Wait(Some(next)), Some(due)) => next < due,
            (Turn::Wait(Some(_)), None) => true,
            (Turn::Wait(None), _) => false,
        };
        // To count all problems anew takes longer than a change.
        let troubled = self.reconciler.view().has_changed_troubles();
        Ok(earlier || troubled || !self.waiting.is_empty() || self.progress.is_some())
    }

    pub(super) fn learn(&mut self, event: FeedEvent<Forwarding>) {
        let now = self.now();
        let fib = self.reconciler.fib();
        let metric = fib.settings().metric;
        match event {
            FeedEvent::Changes(changes) => {
                for change in &changes {
                    if self.carriers.is_some_and(|all| all.contains(change.prefix)) {
                        continue;
                    }
                    let slot = Slot::new(feed::prefix(change.prefix), metric);
                    let wish = self.wishes.of(change.route.as_ref());
                    fib.desire(Owner::Bgp, slot, wish, now);
                }
            }
            FeedEvent::InSync(family) => fib.in_sync(Owner::Bgp, feed::family(family), now),
        }
    }

    /// Tells the others what has changed.
    fn report(&mut self) {
        // While there is much to do, not after every piece of it.
        let now = self.now();
        if matches!(self.last, Turn::Wait(_)) || now.since(self.reported) >= REPORT_EVERY {
            self.reported = now;
            if let Some(problems) = self.reconciler.changed_problems() {
                self.problems.replace(KEYS, problems);
            }
        }
        let fib = self.reconciler.view();
        if self.progress.is_some()
            && fib.is_settled()
            && let Some(progress) = self.progress.take()
        {
            progress.in_sync(event::Owner::Fib);
        }
        for (slots, answer) in std::mem::take(&mut self.waiting) {
            let outcomes: Option<Vec<_>> = slots.iter().map(|slot| fib.outcome(slot)).collect();
            match outcomes {
                // Whoever asked may have gone away.
                Some(outcomes) => drop(answer.send(outcomes)),
                None if answer.is_closed() => {}
                None => self.waiting.push((slots, answer)),
            }
        }
    }

    pub(super) fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// A time of the machine on the clock.
    pub(super) fn instant(&self, time: Time) -> Instant {
        self.origin + Duration::from_nanos(time.0)
    }
}
