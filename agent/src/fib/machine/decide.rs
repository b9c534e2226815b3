//! What is to be done, and what became of it.

use std::{collections::BTreeSet, sync::Arc};

use nix::errno::Errno;
use wayleave_bgp_core::Time;
use wayleave_netlink::{Change, KernelError, Prefix, Protocol, Route};

use super::{
    super::{
        ledger::Work,
        trouble::Trouble,
        way::{Content, Owner, WayId},
    },
    Actual, Entry, Fib, QUIET, Sent, Settings, Slot,
};

impl Fib {
    /// The changes to make now, at most `max`. [`acked`](Self::acked) tells what became of them
    /// before anything else is asked.
    pub fn step(&mut self, now: Time, max: usize) -> Vec<Change> {
        // Changes whose results never came: nobody knows.
        for (slot, _) in std::mem::take(&mut self.sent) {
            self.doubt(slot);
        }
        if !self.listed || self.listing.is_some() {
            return Vec::new();
        }
        self.sweep(now);
        for slot in self.ledger.due(now) {
            self.review(slot);
        }
        for slot in self.ledger.settle(now) {
            self.review(slot);
        }
        let mut changes = Vec::new();
        for slot in self.ledger.take(max) {
            let (change, sent) = self.change(slot);
            changes.push(change);
            self.sent.push((slot, sent));
        }
        changes
    }

    /// What became of the changes of the last step, in their order.
    pub fn acked(&mut self, results: Vec<Result<(), KernelError>>, now: Time) {
        let sent = std::mem::take(&mut self.sent);
        let missing = sent.len().saturating_sub(results.len());
        let results = results
            .into_iter()
            .chain((0..missing).map(|_| Err(KernelError::Overrun)));
        for ((slot, sent), result) in sent.into_iter().zip(results) {
            self.result(slot, sent, result, now);
        }
    }

    /// The way of the owner who counts, unless a stronger one has the prefix at another metric:
    /// IPv6 turns metric 0 into 1024, so the metric alone would let a learned route win over the
    /// container that is here. Nor does anybody lead us to a network we are connected to: IPv6 gives
    /// connected routes metric 256, and the learned one would win.
    pub(super) fn way(&self, slot: &Slot) -> Option<WayId> {
        let strongest = |entry: &Entry| entry.wishes.iter().position(Option::is_some);
        let (owner, entry) = {
            let entry = self.slots.get(slot)?;
            (strongest(entry)?, entry)
        };
        let outranked = self.of_prefix(slot.prefix).any(|(other, entry)| {
            other != slot && strongest(entry).is_some_and(|stronger| stronger < owner)
        });
        let connected = owner == Owner::Bgp as usize && self.topology.is_connected(slot.prefix);
        if outranked || connected {
            None
        } else {
            entry.wishes[owner]
        }
    }

    /// All slots of a prefix, whatever the metric.
    pub(super) fn of_prefix(&self, prefix: Prefix) -> impl Iterator<Item = (&Slot, &Entry)> {
        self.slots.range(
            Slot { prefix, metric: 0 }..=Slot {
                prefix,
                metric: u32::MAX,
            },
        )
    }

    /// What is to be in a slot: desired, and resolved.
    pub(super) fn target(&self, slot: &Slot) -> Option<Arc<Content>> {
        self.ways.outcome(self.way(slot)?).ok().map(Arc::clone)
    }

    pub(super) fn differs(&self, slot: &Slot) -> bool {
        let actual = self.slots.get(slot).map(|entry| &entry.actual);
        match (self.target(slot), actual) {
            (Some(target), Some(Actual::Is(content))) => *content != target,
            (None, None | Some(Actual::Absent)) => false,
            _ => true,
        }
    }

    /// All slots of a prefix: a foreign route at one metric bears on ours at another.
    pub(super) fn review_prefix(&mut self, prefix: Prefix) {
        let slots: Vec<_> = self.of_prefix(prefix).map(|(slot, _)| *slot).collect();
        for slot in slots {
            self.review(slot);
        }
    }

    /// Decides what is to be done with a slot, and what is wrong with it.
    pub(super) fn review(&mut self, slot: Slot) {
        let target = self.target(&slot);
        let Some(entry) = self.slots.get(&slot) else {
            return;
        };
        let desired = entry.wishes.iter().any(Option::is_some);
        let occupied = self.foreign.get(&slot).copied();
        let work = match (&target, &entry.actual) {
            (Some(target), Actual::Is(content)) if content == target => Work::None,
            (Some(_), Actual::Absent) if occupied.is_some() => Work::None,
            (Some(_), _) => Work::Install,
            (None, Actual::Is(_) | Actual::Unknown) if !entry.adopted => Work::Remove,
            (None, _) => Work::None,
        };
        let idle = work == Work::None && !desired && !entry.adopted;
        if idle && matches!(entry.actual, Actual::Absent | Actual::Taken) {
            self.slots.remove(&slot);
        }
        self.ledger.note(slot, work);
        self.judge(slot, desired, target.is_some(), occupied, work);
    }

    fn judge(
        &mut self,
        slot: Slot,
        desired: bool,
        resolved: bool,
        occupied: Option<Protocol>,
        work: Work,
    ) {
        let better = Slot { metric: 0, ..slot }..slot;
        // The kernel's own are connected networks, which are better by right.
        let mut shadows = self
            .foreign
            .range(better)
            .filter(|(_, by)| **by != Protocol::KERNEL);
        let shadow = shadows.next();
        let times = self.ledger.quarrel(&slot);
        let trouble = if !desired {
            None
        } else if !resolved {
            let way = self.way(&slot);
            match way.map(|way| self.ways.outcome(way)) {
                Some(outcome) => outcome.err().map(|why| Trouble::Unresolved(why.clone())),
                None => self
                    .topology
                    .is_connected(slot.prefix)
                    .then_some(Trouble::Connected),
            }
        } else if let (Some(protocol), Work::None) = (occupied, work) {
            Some(Trouble::Occupied(protocol))
        } else if times > 1 {
            Some(Trouble::Contested { times })
        } else if let Some((Slot { metric, .. }, protocol)) = shadow {
            Some(Trouble::Shadowed {
                protocol: *protocol,
                metric: *metric,
            })
        } else if work == Work::Install {
            // A refusal stands until it is done, or until something else is wrong.
            match self.troubles.get(&slot) {
                Some(refused @ Trouble::Refused(_)) => Some(refused.clone()),
                _ => None,
            }
        } else {
            None
        };
        self.set_trouble(slot, trouble);
    }

    fn set_trouble(&mut self, slot: Slot, trouble: Option<Trouble>) {
        let changed = match trouble {
            Some(trouble) if self.troubles.get(&slot) == Some(&trouble) => false,
            Some(trouble) => {
                self.troubles.insert(slot, trouble);
                true
            }
            None => self.troubles.remove(&slot).is_some(),
        };
        self.troubles_changed |= changed;
    }

    fn change(&self, slot: Slot) -> (Change, Sent) {
        let Settings {
            table, protocol, ..
        } = self.settings;
        let Some(content) = self.target(&slot) else {
            let route = Route::blackhole(slot.prefix, protocol);
            let key = route.in_table(table).with_metric(slot.metric).key();
            return (Change::RouteDelete(key), Sent::Remove);
        };
        let Content {
            kind,
            next_hops,
            source,
            mtu,
            nexthop,
        } = Content::clone(&content);
        let Slot { prefix, metric } = slot;
        let route = Route {
            prefix,
            table,
            metric,
            protocol,
            kind,
            next_hops,
            nexthop,
            source,
            mtu,
        };
        let empty = self
            .slots
            .get(&slot)
            .is_none_or(|entry| entry.actual == Actual::Absent);
        // What we believe to be empty is never taken over: the belief may be wrong.
        let change = if empty {
            Change::RouteAdd(route)
        } else {
            Change::RouteReplace(route)
        };
        (change, Sent::Install(content))
    }

    fn result(&mut self, slot: Slot, sent: Sent, result: Result<(), KernelError>, now: Time) {
        let Some(entry) = self.slots.get_mut(&slot) else {
            return;
        };
        match (sent, result) {
            (Sent::Install(content), Ok(())) => {
                entry.actual = Actual::Is(content);
                self.foreign.remove(&slot);
                self.ledger.forgive(&slot);
                if matches!(self.troubles.get(&slot), Some(Trouble::Refused(_))) {
                    self.set_trouble(slot, None);
                }
            }
            (Sent::Remove, Ok(())) => {
                entry.actual = Actual::Absent;
                self.ledger.forgive(&slot);
            }
            // Gone already, perhaps with its interface.
            (Sent::Remove, Err(error)) if error.is(Errno::ESRCH) || error.is(Errno::ENODEV) => {
                entry.actual = Actual::Absent;
                self.ledger.forgive(&slot);
            }
            (Sent::Install(_), Err(error)) if error.is(Errno::EEXIST) => {
                // There is one after all: whose, only a listing tells.
                self.refused(slot, error, now);
                self.listing_due = self.listing_due.map(|due| due.min(now + QUIET));
            }
            (_, Err(error)) => {
                if error.errno().is_none() {
                    entry.actual = Actual::Unknown;
                }
                self.refused(slot, error, now);
            }
        }
        self.review(slot);
    }

    fn refused(&mut self, slot: Slot, error: KernelError, now: Time) {
        self.ledger.failed(slot, now);
        self.set_trouble(slot, Some(Trouble::Refused(error)));
    }

    fn doubt(&mut self, slot: Slot) {
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.actual = Actual::Unknown;
        }
        self.review(slot);
    }

    /// Removes what was found, is ours, and nobody wants, in the families where everybody has
    /// said what he wants.
    fn sweep(&mut self, now: Time) {
        if self.sweep_due.is_none_or(|due| due > now) {
            return;
        }
        self.sweep_due = None;
        let waiting: BTreeSet<_> = self.unclaimed.iter().map(|(_, family)| *family).collect();
        let mut strays = Vec::new();
        for (slot, entry) in &mut self.slots {
            if entry.adopted && !waiting.contains(&slot.prefix.family()) {
                entry.adopted = false;
                strays.push(*slot);
            }
        }
        for slot in strays {
            self.review(slot);
        }
    }
}
