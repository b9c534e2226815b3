//! What is to be done, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use wayleave_bgp_core::Time;
use wayleave_netlink::{Change, KernelError, Prefix, Protocol, Route};

use super::{
    super::{
        contents::ContentId,
        objects::Fate,
        slots::{Actual, SlotId, Work},
        trouble::Trouble,
        way::{Content, Owner, Unresolved},
        ways::Outcome,
    },
    Fates, Fib, QUIET, Sent, Settings, Slot,
};

/// What is to be in a slot.
enum Aim<'a> {
    /// Nothing: nobody desires it, or a stronger one has the prefix.
    Nothing,
    /// Nothing: this host is connected to that network.
    Connected,
    /// Something that leads nowhere.
    Unresolved(&'a Unresolved),
    /// Something through an object that the kernel refuses.
    Blocked(&'a KernelError),
    /// Something through an object that somebody keeps taking away.
    Disturbed(u32),
    /// This.
    To(ContentId),
}

impl Fib {
    /// The changes to make now: those of nexthop objects, then at most `max` of routes.
    /// [`acked`](Self::acked) tells what became of them before anything else is asked.
    pub fn step(&mut self, now: Time, max: usize) -> Vec<Change> {
        // Changes whose results never came: nobody knows.
        for sent in std::mem::take(&mut self.sent) {
            match sent {
                Sent::Install(id, content) => {
                    self.let_go(content);
                    self.doubt(id);
                }
                Sent::Remove(id) => self.doubt(id),
                Sent::Object(id, ..) => self.ways.objects.doubt(id),
            }
        }
        self.settle_fates();
        if !self.listed || self.listing.is_some() {
            return Vec::new();
        }
        self.sweep(now);
        for slot in self.ledger.due(now) {
            self.review_slot(&slot);
        }
        for slot in self.ledger.settle(now) {
            self.review_slot(&slot);
        }
        let mut changes = Vec::new();
        let contents = &self.ways.contents;
        let in_use = |object| contents.go_through(object);
        let objects = self.ways.objects.step(now, self.settings.protocol, in_use);
        for step in objects {
            changes.push(step.change);
            self.sent
                .push(Sent::Object(step.id, step.sent, step.blocked));
        }
        for id in self.slots.take(max) {
            let (change, sent) = self.change(id);
            self.slots.get_mut(id).set_sent(true);
            changes.push(change);
            self.sent.push(sent);
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
        for (sent, result) in sent.into_iter().zip(results) {
            match sent {
                Sent::Install(id, content) => {
                    // Objects come first in a step: what became of them is known.
                    self.settle_fates();
                    self.installed(id, content, result, now);
                }
                Sent::Remove(id) => {
                    self.settle_fates();
                    self.removed(id, result, now);
                }
                Sent::Object(id, sent, before) => {
                    if result.as_ref().is_err_and(|error| error.is(Errno::EEXIST)) {
                        // The id is taken after all: by whom, only a listing tells.
                        self.list_soon(now);
                    }
                    let fate = self.ways.objects.result(id, sent, result, now);
                    let verdict = before != self.ways.objects.is_blocked(id);
                    self.fates.note(id, fate, verdict);
                }
            }
        }
        self.settle_fates();
    }

    /// The way of the owner who counts, unless a stronger one has the prefix at another metric:
    /// IPv6 turns metric 0 into 1024, so the metric alone would let a learned route win over the
    /// container that is here. Nor does anybody lead us to a network we are connected to: IPv6 gives
    /// connected routes metric 256, and the learned one would win.
    fn aim(&self, id: SlotId) -> Aim<'_> {
        let entry = self.slots.get(id);
        let Some(owner) = entry.strongest() else {
            return Aim::Nothing;
        };
        let prefix = entry.slot().prefix;
        let sibling = self.slots.sibling(id, self.settings.metric);
        let stronger = sibling.and_then(|sibling| self.slots.get(sibling).strongest());
        if stronger.is_some_and(|stronger| stronger < owner) {
            return Aim::Nothing;
        }
        if owner == Owner::Bgp as usize && self.topology.is_connected(prefix) {
            return Aim::Connected;
        }
        let Some(way) = entry.wishes[owner] else {
            return Aim::Nothing;
        };
        match self.ways.outcome(way) {
            Outcome::To(content) => Aim::To(content),
            Outcome::Unresolved(why) => Aim::Unresolved(why),
            Outcome::Blocked(error) => Aim::Blocked(error),
            Outcome::Disturbed(times) => Aim::Disturbed(times),
        }
    }

    /// All slots of a prefix, whatever the metric.
    pub(super) fn of_prefix(&self, prefix: Prefix) -> impl Iterator<Item = SlotId> {
        self.slots.of_prefix(prefix, self.settings.metric)
    }

    /// What is to be in a slot: desired, and resolved.
    pub(super) fn target(&self, id: SlotId) -> Option<ContentId> {
        match self.aim(id) {
            Aim::To(content) => Some(content),
            Aim::Nothing
            | Aim::Connected
            | Aim::Unresolved(_)
            | Aim::Blocked(_)
            | Aim::Disturbed(_) => None,
        }
    }

    /// Whether a route that was installed so is there: its nexthop object may have gone with it.
    pub(super) fn is_certain(&self, content: ContentId) -> bool {
        match self.ways.contents.get(content).nexthop {
            Some(object) => self.ways.objects.is_there(object),
            None => true,
        }
    }

    pub(super) fn differs(&self, id: SlotId) -> bool {
        match (self.target(id), self.slots.get(id).actual) {
            (Some(target), Actual::Is(content)) => content != target,
            (None, Actual::Absent) => false,
            _ => true,
        }
    }

    /// All slots of a prefix: a foreign route at one metric bears on ours at another.
    pub(super) fn review_prefix(&mut self, prefix: Prefix) {
        let slots: [Option<SlotId>; 2] = {
            let mut of = self.of_prefix(prefix);
            [of.next(), of.next()]
        };
        for id in slots.into_iter().flatten() {
            self.review(id);
        }
    }

    fn review_slot(&mut self, slot: &Slot) {
        if let Some(id) = self.slots.find(slot) {
            self.review(id);
        }
    }

    /// Has the kernel something else of ours, or nothing: notes who uses which content.
    pub(super) fn set_actual(&mut self, id: SlotId, actual: Actual) {
        if let Actual::Is(content) = actual {
            self.ways.contents.again(content);
        }
        let entry = self.slots.get_mut(id);
        if let Actual::Is(before) = std::mem::replace(&mut entry.actual, actual) {
            self.let_go(before);
        }
    }

    /// One user less of a content; an object that nobody uses may go.
    pub(super) fn let_go(&mut self, content: ContentId) {
        let through = self.ways.contents.get(content).nexthop;
        self.ways.contents.release(content);
        if let Some(object) = through
            && !self.ways.contents.go_through(object)
        {
            self.ways.objects.touch(object);
        }
    }

    /// Decides what is to be done with a slot, and what is wrong with it.
    pub(super) fn review(&mut self, id: SlotId) {
        let aim = self.aim(id);
        let entry = self.slots.get(id);
        let slot = entry.slot();
        let desired = entry.is_desired();
        let occupied = self.foreign.get(&slot).copied();
        let going = |content| {
            let through = self.ways.contents.get(content).nexthop;
            through.is_some_and(|object| self.ways.objects.is_going(object))
        };
        let work = match (&aim, entry.actual) {
            (Aim::To(target), Actual::Is(content)) if content == *target => Work::None,
            (Aim::To(_), Actual::Absent) if occupied.is_some() => Work::None,
            (Aim::To(_), _) => Work::Install,
            // What is there is better than nothing.
            (Aim::Blocked(_) | Aim::Disturbed(_), _) => Work::None,
            // It goes with its object, in one message for all.
            (_, Actual::Is(content)) if going(content) => Work::None,
            (_, Actual::Is(_) | Actual::Unknown) if !entry.is_adopted() => Work::Remove,
            _ => Work::None,
        };
        let trouble = self.judge(slot, desired, &aim, occupied, work);
        let idle = work == Work::None && !desired && !entry.is_adopted();
        let nothing =
            idle && !entry.is_sent() && matches!(entry.actual, Actual::Absent | Actual::Taken);
        self.set_trouble(slot, trouble);
        if nothing {
            self.ledger.forgive(&slot);
            self.slots.remove(id);
        } else if work == Work::None {
            self.ledger.forgive(&slot);
            self.slots.set_work(id, Work::None);
        } else if self.ledger.waits(&slot) {
            self.slots.set_work(id, Work::None);
        } else {
            self.slots.set_work(id, work);
        }
    }

    fn judge(
        &self,
        slot: Slot,
        desired: bool,
        aim: &Aim<'_>,
        occupied: Option<Protocol>,
        work: Work,
    ) -> Option<Trouble> {
        // Before everything was listed nothing is known to be wrong.
        if !desired || !self.listed {
            return None;
        }
        match (aim, occupied, work) {
            (Aim::Nothing, ..) => return None,
            (Aim::Connected, ..) => return Some(Trouble::Connected),
            (Aim::Unresolved(why), ..) => return Some(Trouble::Unresolved((*why).clone())),
            (Aim::Blocked(error), ..) => return Some(Trouble::Refused((*error).clone())),
            (Aim::Disturbed(times), ..) => return Some(Trouble::Contested { times: *times }),
            (Aim::To(_), Some(protocol), Work::None) => return Some(Trouble::Occupied(protocol)),
            (Aim::To(_), ..) => {}
        }
        let times = self.ledger.quarrel(&slot);
        if times > 1 {
            return Some(Trouble::Contested { times });
        }
        // The kernel's own are connected networks, which are better by right.
        let mut shadows = self
            .foreign
            .range(Slot { metric: 0, ..slot }..slot)
            .filter(|(_, by)| **by != Protocol::KERNEL);
        if let Some((Slot { metric, .. }, protocol)) = shadows.next() {
            return Some(Trouble::Shadowed {
                protocol: *protocol,
                metric: *metric,
            });
        }
        if work != Work::Install {
            return None;
        }
        // A refusal stands until it is done, or until something else is wrong.
        match self.troubles.get(&slot) {
            Some(refused @ Trouble::Refused(_)) => Some(refused.clone()),
            _ => None,
        }
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

    fn change(&mut self, id: SlotId) -> (Change, Sent) {
        let Settings {
            table, protocol, ..
        } = self.settings;
        let target = self.target(id);
        let entry = self.slots.get(id);
        let Slot { prefix, metric } = entry.slot();
        let Some(target) = target else {
            let route = Route::blackhole(prefix, protocol);
            let key = route.in_table(table).with_metric(metric).key();
            return (Change::RouteDelete(key), Sent::Remove(id));
        };
        let Content {
            kind,
            next_hops,
            source,
            mtu,
            nexthop,
        } = self.ways.contents.get(target).clone();
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
        // What we believe to be empty is never taken over: the belief may be wrong.
        let change = if entry.actual == Actual::Absent {
            Change::RouteAdd(route)
        } else {
            Change::RouteReplace(route)
        };
        self.ways.contents.again(target);
        (change, Sent::Install(id, target))
    }

    fn installed(
        &mut self,
        id: SlotId,
        content: ContentId,
        result: Result<(), KernelError>,
        now: Time,
    ) {
        self.slots.get_mut(id).set_sent(false);
        let slot = self.slots.get(id).slot();
        match result {
            Ok(()) => {
                self.set_actual(id, Actual::Is(content));
                self.foreign.remove(&slot);
                self.ledger.forgive(&slot);
                if matches!(self.troubles.get(&slot), Some(Trouble::Refused(_))) {
                    self.set_trouble(slot, None);
                }
            }
            Err(error) if error.is(Errno::EEXIST) => {
                // There is one after all: whose, only a listing tells.
                self.refused(slot, error, now);
                self.list_soon(now);
            }
            // Its object was refused before it, which is the reason; or it has gone meanwhile,
            // which an event or a listing tells.
            Err(error) if error.errno().is_some() && !self.is_certain(content) => {
                self.refused(slot, error, now);
                self.list_soon(now);
            }
            Err(error) => {
                if error.errno().is_none() {
                    self.set_actual(id, Actual::Unknown);
                }
                self.refused(slot, error, now);
            }
        }
        self.let_go(content);
        self.review(id);
    }

    fn removed(&mut self, id: SlotId, result: Result<(), KernelError>, now: Time) {
        self.slots.get_mut(id).set_sent(false);
        let slot = self.slots.get(id).slot();
        match result {
            Err(error) if !error.is(Errno::ESRCH) && !error.is(Errno::ENODEV) => {
                if error.errno().is_none() {
                    self.set_actual(id, Actual::Unknown);
                }
                self.refused(slot, error, now);
            }
            // Gone; perhaps before, with its interface.
            _ => {
                self.set_actual(id, Actual::Absent);
                self.ledger.forgive(&slot);
            }
        }
        self.review(id);
    }

    /// Objects were changed, deleted or refused: what that means for the routes through them, all
    /// at once, because it goes through all slots.
    pub(super) fn settle_fates(&mut self) {
        // After nearly every change.
        if self.fates.objects.is_empty() && !self.fates.verdict {
            return;
        }
        let Fates { objects, verdict } = std::mem::take(&mut self.fates);
        if verdict {
            self.ways.regroup(&self.topology);
        }
        let contents = &self.ways.contents;
        let through: BTreeMap<ContentId, Fate> = objects
            .into_iter()
            .filter_map(|(object, fate)| Some((contents.find(&Content::through(object))?, fate)))
            .collect();
        if through.is_empty() && !verdict {
            return;
        }
        let mut touched = Vec::new();
        for (id, entry) in self.slots.iter() {
            let fate = match entry.actual {
                Actual::Is(content) => through.get(&content).copied(),
                Actual::Absent | Actual::Unknown | Actual::Taken => None,
            };
            if fate.is_some() || verdict && entry.is_desired() {
                touched.push((id, fate));
            }
        }
        for (id, fate) in touched {
            match fate {
                Some(Fate::Gone) => self.set_actual(id, Actual::Absent),
                Some(Fate::Unknown) => self.set_actual(id, Actual::Unknown),
                Some(Fate::Untouched) | None => {}
            }
            self.review(id);
        }
    }

    fn refused(&mut self, slot: Slot, error: KernelError, now: Time) {
        self.ledger.failed(slot, now);
        self.set_trouble(slot, Some(Trouble::Refused(error)));
    }

    /// Lists everything before long, as the audit does anyway some time.
    fn list_soon(&mut self, now: Time) {
        self.listing_due = self.listing_due.map(|due| due.min(now + QUIET));
    }

    fn doubt(&mut self, id: SlotId) {
        self.slots.get_mut(id).set_sent(false);
        self.set_actual(id, Actual::Unknown);
        self.review(id);
    }

    /// Removes what was found, is ours, and nobody wants, in the families where everybody has
    /// said what he wants.
    fn sweep(&mut self, now: Time) {
        if self.sweep_due.is_none_or(|due| due > now) {
            return;
        }
        self.sweep_due = None;
        let waiting: BTreeSet<_> = self.unclaimed.iter().map(|(_, family)| *family).collect();
        if waiting.is_empty() {
            self.ways.objects.sweep();
        }
        let mut strays = Vec::new();
        for (id, entry) in self.slots.iter_mut() {
            if entry.is_adopted() && !waiting.contains(&entry.slot().prefix.family()) {
                entry.set_adopted(false);
                strays.push(id);
            }
        }
        for id in strays {
            self.review(id);
        }
    }
}
