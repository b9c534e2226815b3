//! Which slots are not to be touched for a while, and why: failures and quarrels.

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

/// Pauses and quarrels by slot: few, so that what they take is of no account.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Slots that wait after a failure, by time and by slot.
    pauses: BTreeSet<(Time, Slot)>,
    paused: BTreeMap<Slot, Pause>,
    disturbed: BTreeMap<Slot, (Time, u32)>,
    /// Before this no quarrel ends.
    settling: Option<Time>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Time,
    failures: u32,
}

impl Ledger {
    /// Whether a slot is not to be touched yet.
    pub(super) fn waits(&self, slot: &Slot) -> bool {
        !self.pauses.is_empty()
            && self
                .paused
                .get(slot)
                .is_some_and(|pause| self.pauses.contains(&(pause.until, *slot)))
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
        let ends = ends(now, times);
        self.settling = Some(self.settling.map_or(ends, |first| first.min(ends)));
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
        // A whole table may have been flushed: it is not gone through after every batch.
        if self.settling.is_none_or(|first| now < first) {
            return Vec::new();
        }
        let ended = |(last, times): &(Time, u32)| now >= ends(*last, *times);
        let over: Vec<_> = self
            .disturbed
            .iter()
            .filter(|(_, d)| ended(d))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in &over {
            self.disturbed.remove(slot);
        }
        let rest = self.disturbed.values();
        self.settling = rest.map(|(last, times)| ends(*last, *times)).min();
        over
    }

    /// When the next pause or quarrel ends.
    pub(super) fn next_due(&self) -> Option<Time> {
        let pause = self.pauses.first().map(|(until, _)| *until);
        pause.into_iter().chain(self.settling).min()
    }

    /// How many slots wait.
    pub(super) fn len(&self) -> usize {
        self.pauses.len()
    }

    fn pause(&mut self, slot: Slot, until: Time, failures: u32) {
        self.forgive(&slot);
        self.pauses.insert((until, slot));
        self.paused.insert(slot, Pause { until, failures });
    }
}

/// When a slot disturbed so often, last at that time, is at peace again.
fn ends(last: Time, times: u32) -> Time {
    last + QUARREL + doubled(FIRST_TRUCE, times)
}

pub(super) fn doubled(first: Duration, times: u32) -> Duration {
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
    fn failures_wait_longer_each_time_and_a_success_forgives_them() {
        let mut ledger = Ledger::default();
        let mut now = at(0);
        for expected in [100, 200, 400, 800] {
            ledger.failed(slot(1), now);
            assert_eq!(
                ledger.next_due(),
                Some(now + Duration::from_millis(expected))
            );
            assert!(ledger.waits(&slot(1)));
            now = now + Duration::from_millis(expected);
            assert_eq!(ledger.due(now), [slot(1)]);
            assert!(!ledger.waits(&slot(1)));
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
        assert!(!ledger.waits(&slot(1)), "the first time at once");
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
