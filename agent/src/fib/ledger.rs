//! What is to be done with which slot, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wayleave_bgp_core::Time;

use super::machine::Slot;

/// First pause after a failure; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// First pause before a route that was put back is put back again.
const FIRST_TRUCE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Two disturbances of a slot within this time are one quarrel.
const QUARREL: Duration = Duration::from_secs(10);

/// Work by slot: at most one piece each.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    installs: BTreeSet<Slot>,
    removals: BTreeSet<Slot>,
    /// Slots that wait after a failure, by time and by slot.
    pauses: BTreeSet<(Time, Slot)>,
    paused: BTreeMap<Slot, Pause>,
    disturbed: BTreeMap<Slot, (Time, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Time,
    failures: u32,
}

/// What is to be done with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    None,
    Install,
    Remove,
}

impl Ledger {
    /// Notes what is to be done with a slot; a pause it is in stays.
    pub(super) fn note(&mut self, slot: Slot, work: Work) {
        let paused = self
            .paused
            .get(&slot)
            .is_some_and(|pause| pause.until > Time(0));
        let waiting = paused && self.pauses.contains(&(self.paused[&slot].until, slot));
        self.installs.remove(&slot);
        self.removals.remove(&slot);
        match work {
            Work::None => self.forgive(&slot),
            Work::Install | Work::Remove if waiting => {}
            Work::Install => drop(self.installs.insert(slot)),
            Work::Remove => drop(self.removals.insert(slot)),
        }
    }

    /// The next slots to work on: removals in reverse order, because the kernel is ten times
    /// slower in the order of adding, and installs, neither starving the other.
    pub(super) fn take(&mut self, max: usize) -> Vec<Slot> {
        let removals = self
            .removals
            .len()
            .min(max - self.installs.len().min(max / 2));
        let installs = self.installs.len().min(max - removals);
        let mut slots = Vec::with_capacity(removals + installs);
        for _ in 0..removals {
            slots.extend(self.removals.pop_last());
        }
        for _ in 0..installs {
            slots.extend(self.installs.pop_first());
        }
        slots
    }

    /// A change failed: the slot waits, longer each time.
    pub(super) fn failed(&mut self, slot: Slot, now: Time) {
        let failures = self.paused.get(&slot).map_or(0, |pause| pause.failures);
        self.pause(
            slot,
            now + doubled(FIRST_PAUSE, failures),
            failures.saturating_add(1),
        );
    }

    /// The circumstances have changed, or it has succeeded: no reason to wait.
    pub(super) fn forgive(&mut self, slot: &Slot) {
        if let Some(pause) = self.paused.remove(slot) {
            self.pauses.remove(&(pause.until, *slot));
        }
    }

    /// Somebody else deleted or replaced our route. Returns how often lately; from the second
    /// time on the slot waits, longer each time.
    pub(super) fn disturbed(&mut self, slot: Slot, now: Time) -> u32 {
        let before = self.disturbed.get(&slot).copied();
        let times = match before {
            Some((last, times)) if now.since(last) < QUARREL + doubled(FIRST_TRUCE, times) => {
                times.saturating_add(1)
            }
            _ => 1,
        };
        self.disturbed.insert(slot, (now, times));
        if times > 1 {
            self.pause(slot, now + doubled(FIRST_TRUCE, times - 2), 0);
        }
        times
    }

    /// How often a slot was disturbed lately.
    pub(super) fn quarrel(&self, slot: &Slot) -> u32 {
        self.disturbed.get(slot).map_or(0, |(_, times)| *times)
    }

    /// Slots whose pause is over. They are to be noted again.
    pub(super) fn due(&mut self, now: Time) -> Vec<Slot> {
        let mut due = Vec::new();
        while let Some((until, slot)) = self.pauses.first().copied() {
            if until > now {
                break;
            }
            self.pauses.pop_first();
            due.push(slot);
        }
        due
    }

    /// Forgets quarrels that have ended; returns their slots.
    pub(super) fn settle(&mut self, now: Time) -> Vec<Slot> {
        let ended = |(last, times): &(Time, u32)| {
            now.since(*last) >= QUARREL + doubled(FIRST_TRUCE, *times)
        };
        let over: Vec<_> = self
            .disturbed
            .iter()
            .filter(|(_, d)| ended(d))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in &over {
            self.disturbed.remove(slot);
        }
        over
    }

    /// When the next pause ends.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.pauses.first().map(|(until, _)| *until)
    }

    /// Whether something can be done now.
    pub(super) fn has_work(&self) -> bool {
        !self.installs.is_empty() || !self.removals.is_empty()
    }

    /// How many slots are to be worked on, now or after a pause.
    pub(super) fn len(&self) -> usize {
        self.installs.len() + self.removals.len() + self.pauses.len()
    }

    fn pause(&mut self, slot: Slot, until: Time, failures: u32) {
        self.forgive(&slot);
        self.installs.remove(&slot);
        self.removals.remove(&slot);
        self.pauses.insert((until, slot));
        self.paused.insert(slot, Pause { until, failures });
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first
        .saturating_mul(1_u32.checked_shl(times.min(16)).unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(host: u8) -> Slot {
        let prefix = wayleave_netlink::Prefix::host([10, 0, 0, host].into());
        Slot { prefix, metric: 50 }
    }

    fn at(millis: u64) -> Time {
        Time(millis * 1_000_000)
    }

    #[test]
    fn installs_go_in_order_removals_in_reverse_and_neither_starves_the_other() {
        let mut ledger = Ledger::default();
        for host in 0..10 {
            ledger.note(slot(host), Work::Install);
            ledger.note(slot(100 + host), Work::Remove);
        }
        let hosts: Vec<_> = ledger.take(4);
        assert_eq!(hosts, [slot(109), slot(108), slot(0), slot(1)]);
        assert_eq!(ledger.take(100).len(), 16);
        assert!(!ledger.has_work());
    }

    #[test]
    fn failures_wait_longer_each_time_and_a_success_forgives_them() {
        let mut ledger = Ledger::default();
        let mut now = at(0);
        for expected in [100, 200, 400, 800] {
            ledger.failed(slot(1), now);
            assert_eq!(
                ledger.next_due(),
                Some(now + Duration::from_millis(expected))
            );
            ledger.note(slot(1), Work::Install);
            assert!(!ledger.has_work(), "it waits");
            now = now + Duration::from_millis(expected);
            assert_eq!(ledger.due(now), [slot(1)]);
            ledger.note(slot(1), Work::Install);
            assert_eq!(ledger.take(10), [slot(1)]);
        }
        for _ in 0..40 {
            ledger.failed(slot(1), now);
        }
        assert_eq!(ledger.next_due(), Some(now + LONGEST_PAUSE));
        ledger.forgive(&slot(1));
        assert_eq!(ledger.len(), 0);
        ledger.failed(slot(1), now);
        assert_eq!(ledger.next_due(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn a_route_disturbed_twice_in_a_row_waits_a_second_and_then_longer() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.disturbed(slot(1), at(0)), 1);
        ledger.note(slot(1), Work::Install);
        assert_eq!(ledger.take(10), [slot(1)], "the first time at once");
        assert_eq!(ledger.disturbed(slot(1), at(5)), 2);
        assert_eq!(ledger.next_due(), Some(at(1_005)));
        assert_eq!(ledger.due(at(1_005)), [slot(1)]);
        assert_eq!(ledger.disturbed(slot(1), at(1_010)), 3);
        assert_eq!(ledger.next_due(), Some(at(3_010)));
        assert_eq!(ledger.settle(at(5_000)), []);
        assert_eq!(ledger.settle(at(60_000)), [slot(1)]);
        assert_eq!(ledger.disturbed(slot(1), at(60_001)), 1);
    }
}
