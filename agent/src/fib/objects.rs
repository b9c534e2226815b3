//! Nexthop objects: one for each way learned routes go, so that one message repoints all of them.
//!
//! ```text
//!  10.1.0.0/24 ─┐
//!  10.2.0.0/24 ─┼─▶ object 1: via 192.0.2.2 dev eth0        one router: an object of its own
//!  ...         ─┘      ▲
//!  10.9.0.0/24 ───▶ object 3: group 1,2                      several: a group of those
//!                      ▼
//!                   object 2: via 198.51.100.2 dev eth1
//! ```
//!
//! # What the kernel does with them
//! - To delete an object deletes every route through it, without a word about IPv4 ones. So a way
//!   that leads nowhere any more costs one message, however many routes it has.
//! - Carrier loss and a link that goes down delete the objects on it, with their routes, IPv4 ones
//!   again without a word; groups lose the member.
//! - An id that is taken is taken over by a *replace*, whoever's it is: what we believe to be absent
//!   is therefore *added*.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nix::errno::Errno;
use wayleave_bgp_core::Time;
use wayleave_netlink::{
    Change, KernelError, Member, NextHop, NextHops, Nexthop, NexthopId, NexthopTarget, Protocol,
};

use super::{ledger::doubled, way::WayId};

/// Ids from here on, "WL" in the upper half: others count from 1.
const FIRST_ID: u32 = 0x574C_0000;
/// An object nobody needs stays for so long: the way may be wanted again in a moment.
const LINGER: Duration = Duration::from_secs(30);
/// First pause after a failure; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// An object somebody else changed this shortly after the time before waits before it is mended.
const QUARREL: Duration = Duration::from_secs(10);

/// One object of ours.
#[derive(Debug)]
struct Object {
    /// Where it is to lead; `None`: nowhere, it is to go.
    want: Option<NexthopTarget>,
    actual: Actual,
    /// The way it was made for; `None`: left over, from a way given up or from the run before.
    owner: Option<WayId>,
    /// Since when it is left over.
    idle_since: Time,
    pause: Option<Time>,
    failures: u32,
    refused: Option<KernelError>,
    disturbed: Option<Time>,
    seen: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Actual {
    Absent,
    Is(NexthopTarget),
    /// Nobody knows; if there is something, it is ours.
    Unknown,
}

/// What a change of an object, once it is done, means for the routes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are where they were.
    Untouched,
    /// They are gone.
    Gone,
    /// Nobody knows.
    Unknown,
}

/// What an object that somebody made or changed means for ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appeared {
    /// Nothing.
    Nothing,
    /// One of ours leads elsewhere; it is mended.
    Changed,
    /// The id of one of ours is somebody else's now.
    Taken,
}

/// A change to make.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) id: NexthopId,
    pub(super) sent: Sent,
    pub(super) change: Change,
    /// Whether routes could not go through the object before.
    pub(super) blocked: bool,
}

/// A change that was sent.
#[derive(Debug)]
pub(super) enum Sent {
    Set(NexthopTarget),
    Delete,
}

/// All objects of ours.
#[derive(Debug, Default)]
pub(super) struct Objects {
    objects: BTreeMap<NexthopId, Object>,
    /// Ids that others have, as far as they are known.
    foreign: BTreeSet<NexthopId>,
    /// Those of ours that are groups, or are to be.
    groups: BTreeSet<NexthopId>,
    /// Those left over by where they lead; some of it is out of date.
    left_over: BTreeMap<NexthopTarget, Vec<NexthopId>>,
    /// Ids below are taken.
    next: u32,
    /// Objects that may want a change.
    work: BTreeSet<NexthopId>,
    /// Objects to be looked at later; some of it is out of date.
    later: BTreeSet<(Time, NexthopId)>,
    /// Ids that routes of others go through.
    used_by_others: BTreeSet<NexthopId>,
    /// Whether what is left over may go: everybody has claimed what he had.
    swept: bool,
}

impl Objects {
    /// An object for a way that leads there: one left over that does so already, or a new one.
    pub(super) fn claim(&mut self, owner: WayId, want: NexthopTarget) -> NexthopId {
        while let Some(id) = self.left_over.get_mut(&want).and_then(Vec::pop) {
            if let Some(object) = self.objects.get_mut(&id)
                && object.owner.is_none()
                && object.actual == Actual::Is(want.clone())
            {
                object.owner = Some(owner);
                object.want = Some(want);
                return id;
            }
        }
        let mut id = NexthopId(self.next.max(FIRST_ID));
        while self.objects.contains_key(&id) || self.foreign.contains(&id) {
            id.0 += 1;
        }
        self.next = id.0 + 1;
        self.note_group(id, &want);
        let object = Object {
            want: Some(want),
            owner: Some(owner),
            ..Object::absent()
        };
        self.objects.insert(id, object);
        self.work.insert(id);
        id
    }

    /// A way leads there now, or nowhere.
    pub(super) fn point(&mut self, id: NexthopId, want: Option<NexthopTarget>) {
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        if object.want != want {
            object.want.clone_from(&want);
            // The circumstances have changed: no reason to wait, nor to believe in the refusal.
            object.pause = None;
            object.refused = None;
            self.work.insert(id);
        }
        if let Some(want) = want {
            self.note_group(id, &want);
        }
    }

    fn note_group(&mut self, id: NexthopId, target: &NexthopTarget) {
        if is_group(target) {
            self.groups.insert(id);
        }
    }

    /// A way is given up; its object stays for a while.
    pub(super) fn release(&mut self, id: NexthopId, now: Time) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.owner = None;
            object.idle_since = now;
            self.work.insert(id);
            self.note_left_over(id);
        }
    }

    fn note_left_over(&mut self, id: NexthopId) {
        if let Some(object) = self.objects.get(&id)
            && let Actual::Is(target) = &object.actual
        {
            let there = self.left_over.entry(target.clone()).or_default();
            if !there.contains(&id) {
                there.push(id);
            }
        }
        if self.left_over.len() > 2 * self.objects.len() + 64 {
            self.note_left_over_anew();
        }
    }

    /// Most of what was noted is out of date.
    fn note_left_over_anew(&mut self) {
        self.left_over.clear();
        for (id, object) in &self.objects {
            if let (None, Actual::Is(target)) = (object.owner, &object.actual) {
                let there = self.left_over.entry(target.clone()).or_default();
                there.push(*id);
            }
        }
    }

    /// Why routes cannot go through an object.
    pub(super) fn refusal(&self, id: NexthopId) -> Option<&KernelError> {
        let object = self.objects.get(&id)?;
        match (&object.want, &object.actual) {
            // It is as it should be after all.
            (Some(want), Actual::Is(target)) if want == target => None,
            _ => object.refused.as_ref(),
        }
    }

    /// How often somebody has disturbed an object that waits for it to end; its routes wait with it.
    pub(super) fn disturbances(&self, id: NexthopId) -> Option<u32> {
        let object = self.objects.get(&id)?;
        let waits = object.pause.is_some() && object.refused.is_none();
        let absent = !matches!(object.actual, Actual::Is(_));
        (waits && absent).then_some(object.failures + 1)
    }

    /// Whether routes cannot go through an object at present.
    pub(super) fn is_blocked(&self, id: NexthopId) -> bool {
        self.refusal(id).is_some() || self.disturbances(id).is_some()
    }

    /// Somebody else has a route through an object, whoever's: it is not ours to delete.
    pub(super) fn used_by_others(&mut self, id: NexthopId) {
        self.used_by_others.insert(id);
    }

    /// Whether an object is there, as far as is known.
    pub(super) fn is_there(&self, id: NexthopId) -> bool {
        let object = self.objects.get(&id);
        object.is_some_and(|object| matches!(object.actual, Actual::Is(_)))
    }

    /// Whether an object is about to be deleted, with everything that goes through it.
    pub(super) fn is_going(&self, id: NexthopId) -> bool {
        self.objects.get(&id).is_some_and(|object| {
            object.want.is_none() && object.owner.is_some() && object.actual != Actual::Absent
        })
    }

    /// Where an object leads, spelled out.
    pub(super) fn next_hops(&self, id: NexthopId) -> NextHops {
        let mut hops = Vec::new();
        match self.objects.get(&id).map(|object| &object.actual) {
            Some(Actual::Is(NexthopTarget::Group(members))) => {
                for member in members {
                    hops.extend(self.next_hops(member.id).iter());
                }
                hops.sort_unstable();
            }
            Some(Actual::Is(target)) => hops.extend(hop(target)),
            Some(Actual::Absent | Actual::Unknown) | None => {}
        }
        hops.into()
    }

    /// Every owner has claimed what he had before the start: the rest may go.
    pub(super) fn sweep(&mut self) {
        self.swept = true;
        self.touch_left_over();
    }

    /// No route goes through an object any more.
    pub(super) fn touch(&mut self, id: NexthopId) {
        self.work.insert(id);
    }

    fn touch_left_over(&mut self) {
        let idle = self.objects.iter().filter(|(_, o)| o.owner.is_none());
        self.work.extend(idle.map(|(id, _)| *id));
    }

    /// A link is down or gone: the kernel has deleted the objects on it, or not yet.
    pub(super) fn lost(&mut self, ifindex: u32) {
        let on_link = |object: &Object| match &object.actual {
            Actual::Is(target) => hop(target).is_some_and(|hop| hop.ifindex == ifindex),
            Actual::Absent | Actual::Unknown => false,
        };
        let doubtful: BTreeSet<_> = self
            .objects
            .iter()
            .filter(|(_, object)| on_link(object))
            .map(|(id, _)| *id)
            .collect();
        // A group that keeps another member stays, and a group left empty goes with its last one.
        for group in &self.groups {
            if let Some(object) = self.objects.get_mut(group) {
                let lost = doubtful.iter().filter(|id| object.lose_member(**id));
                if lost.count() > 0 {
                    object.pause = None;
                    object.refused = None;
                    self.work.insert(*group);
                }
            }
        }
        for id in doubtful {
            if let Some(object) = self.objects.get_mut(&id) {
                object.doubt();
                self.work.insert(id);
            }
        }
    }

    /// Somebody made or changed an object.
    pub(super) fn appeared(&mut self, nexthop: &Nexthop, ours: Protocol, now: Time) -> Appeared {
        if nexthop.protocol != ours {
            self.foreign.insert(nexthop.id);
            return if self.objects.contains_key(&nexthop.id) {
                Appeared::Taken
            } else {
                Appeared::Nothing
            };
        }
        let Some(object) = self.objects.get_mut(&nexthop.id) else {
            return Appeared::Nothing;
        };
        let found = Actual::Is(nexthop.to.clone());
        if object.actual == found {
            return Appeared::Nothing;
        }
        object.actual = found;
        object.disturb(now);
        self.work.insert(nexthop.id);
        self.note_group(nexthop.id, &nexthop.to);
        Appeared::Changed
    }

    /// Somebody deleted an object. Returns whether it was one of ours, whose routes are gone then.
    pub(super) fn vanished(&mut self, id: NexthopId, now: Time) -> bool {
        self.foreign.remove(&id);
        let Some(object) = self.objects.get_mut(&id) else {
            return false;
        };
        object.actual = Actual::Absent;
        object.disturb(now);
        self.work.insert(id);
        self.without_member(id);
        true
    }

    /// The kernel dropped an object by itself. Returns whether it was one of ours.
    pub(super) fn dropped(&mut self, id: NexthopId) -> bool {
        let Some(object) = self.objects.get_mut(&id) else {
            return false;
        };
        object.actual = Actual::Absent;
        self.work.insert(id);
        self.without_member(id);
        true
    }

    /// A listing begins.
    pub(super) fn listing_begins(&mut self) {
        self.foreign.clear();
        self.used_by_others.clear();
        for object in self.objects.values_mut() {
            object.seen = false;
        }
    }

    /// An object in the listing under way.
    pub(super) fn listed(&mut self, nexthop: Nexthop, ours: Protocol, now: Time) {
        if nexthop.protocol != ours {
            self.foreign.insert(nexthop.id);
            return;
        }
        let object = self.objects.entry(nexthop.id);
        let object = object.or_insert_with(|| Object {
            idle_since: now,
            ..Object::absent()
        });
        object.actual = Actual::Is(nexthop.to.clone());
        object.seen = true;
        self.work.insert(nexthop.id);
        self.note_group(nexthop.id, &nexthop.to);
        if self
            .objects
            .get(&nexthop.id)
            .is_some_and(|o| o.owner.is_none())
        {
            self.note_left_over(nexthop.id);
        }
    }

    /// The listing is complete. Returns the objects whose id somebody else has taken.
    pub(super) fn listing_ends(&mut self) -> Vec<NexthopId> {
        for (id, object) in &mut self.objects {
            if !object.seen {
                object.actual = Actual::Absent;
                self.work.insert(*id);
            }
        }
        let taken = |id: &&NexthopId| self.objects.contains_key(id);
        self.foreign.iter().filter(taken).copied().collect()
    }

    /// Gives up an object whose id was never ours.
    pub(super) fn forsake(&mut self, id: NexthopId) {
        self.forget(id);
    }

    fn forget(&mut self, id: NexthopId) {
        self.objects.remove(&id);
        self.work.remove(&id);
        self.groups.remove(&id);
        self.next = self.next.min(id.0);
    }

    /// The changes to be made now, in the order in which they are possible. `in_use` tells whether
    /// a route goes through an object.
    pub(super) fn step(
        &mut self,
        now: Time,
        protocol: Protocol,
        in_use: impl Fn(NexthopId) -> bool,
    ) -> Vec<Step> {
        while let Some((due, id)) = self.later.first().copied()
            && due <= now
        {
            self.later.remove(&(due, id));
            self.work.insert(id);
        }
        // With nearly every change of a route.
        if self.work.is_empty() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for id in std::mem::take(&mut self.work) {
            match self.change(id, now, protocol, &in_use) {
                Need::Nothing => {}
                Need::Forget => self.forget(id),
                Need::Later(due) => drop(self.later.insert((due, id))),
                Need::Now(sent, change) => {
                    let blocked = self.is_blocked(id);
                    if let Some(object) = self.objects.get_mut(&id) {
                        object.pause = None;
                    }
                    changes.push(Step {
                        id,
                        sent,
                        change,
                        blocked,
                    });
                }
            }
        }
        // Members before their groups, groups out before their members.
        changes.sort_by_key(|Step { id, sent, .. }| {
            let group = match sent {
                Sent::Set(target) => matches!(target, NexthopTarget::Group(_)),
                Sent::Delete => self.groups.contains(id),
            };
            match (sent, group) {
                (Sent::Set(_), false) => 0,
                (Sent::Set(_), true) => 1,
                (Sent::Delete, true) => 2,
                (Sent::Delete, false) => 3,
            }
        });
        changes
    }

    fn change(
        &self,
        id: NexthopId,
        now: Time,
        protocol: Protocol,
        in_use: &impl Fn(NexthopId) -> bool,
    ) -> Need {
        let Some(object) = self.objects.get(&id) else {
            return Need::Nothing;
        };
        if let Some(until) = object.pause
            && until > now
        {
            return Need::Later(until);
        }
        if object.owner.is_none() {
            if object.actual == Actual::Absent {
                return Need::Forget;
            }
            if now < object.idle_since + LINGER {
                return Need::Later(object.idle_since + LINGER);
            }
            let used = in_use(id) || self.used_by_others.contains(&id) || self.is_member(id);
            if !self.swept || used {
                // Whoever lets go of it last says so, or the next listing does.
                return Need::Nothing;
            }
            return Need::Now(Sent::Delete, Change::NexthopDelete(id));
        }
        let Some(want) = &object.want else {
            return match object.actual {
                Actual::Absent => Need::Nothing,
                Actual::Is(_) | Actual::Unknown => {
                    Need::Now(Sent::Delete, Change::NexthopDelete(id))
                }
            };
        };
        let nexthop = Nexthop {
            id,
            protocol,
            to: want.clone(),
        };
        match &object.actual {
            Actual::Is(target) if target == want => Need::Nothing,
            Actual::Absent => Need::Now(Sent::Set(want.clone()), Change::NexthopAdd(nexthop)),
            // The kernel makes no group of a single one, nor the other way round.
            Actual::Is(target) if is_group(target) != is_group(want) => {
                Need::Now(Sent::Delete, Change::NexthopDelete(id))
            }
            Actual::Is(_) | Actual::Unknown => {
                Need::Now(Sent::Set(want.clone()), Change::NexthopReplace(nexthop))
            }
        }
    }

    /// What became of a change, and what that means for the routes through the object.
    pub(super) fn result(
        &mut self,
        id: NexthopId,
        sent: Sent,
        result: Result<(), KernelError>,
        now: Time,
    ) -> Fate {
        let Some(object) = self.objects.get_mut(&id) else {
            return Fate::Untouched;
        };
        let doubtful = object.actual == Actual::Unknown;
        self.work.insert(id);
        match (sent, result) {
            (Sent::Set(target), Ok(())) => {
                object.actual = Actual::Is(target);
                object.failures = 0;
                object.refused = None;
                // It may have been deleted before, with its routes, or not.
                if doubtful {
                    Fate::Unknown
                } else {
                    Fate::Untouched
                }
            }
            (Sent::Delete, Err(error)) if !error.is(Errno::ENOENT) => {
                object.fail(error, now);
                Fate::Untouched
            }
            (Sent::Delete, _) => {
                object.actual = Actual::Absent;
                object.failures = 0;
                object.refused = None;
                self.without_member(id);
                if self.groups.contains(&id) {
                    // Its members may have been kept for it.
                    self.touch_left_over();
                }
                Fate::Gone
            }
            (Sent::Set(_), Err(error)) => {
                object.fail(error, now);
                Fate::Untouched
            }
        }
    }

    /// Changes whose results never came: nobody knows.
    pub(super) fn doubt(&mut self, id: NexthopId) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.doubt();
            self.work.insert(id);
        }
    }

    /// When there is something to do without anything happening before.
    pub(super) fn next_due(&self, now: Time) -> Option<Time> {
        let work = (!self.work.is_empty()).then_some(now);
        let later = self.later.first().map(|(due, _)| *due);
        work.into_iter().chain(later).min()
    }

    /// Whether nothing is to be done for a way that is wanted.
    pub(super) fn is_settled(&self) -> bool {
        !self.work.iter().any(|id| {
            let object = self.objects.get(id);
            object.is_some_and(|object| object.owner.is_some())
        })
    }

    fn without_member(&mut self, id: NexthopId) {
        for group in &self.groups {
            if let Some(object) = self.objects.get_mut(group)
                && object.lose_member(id)
            {
                self.work.insert(*group);
            }
        }
    }

    fn is_member(&self, id: NexthopId) -> bool {
        self.groups.iter().any(|group| {
            matches!(self.objects.get(group), Some(Object { actual: Actual::Is(NexthopTarget::Group(members)), .. })
                if members.iter().any(|member| member.id == id))
        })
    }
}

/// What an object needs.
enum Need {
    Nothing,
    /// It is not there, and nobody wants it.
    Forget,
    Later(Time),
    Now(Sent, Change),
}

impl Object {
    const fn absent() -> Self {
        Self {
            want: None,
            actual: Actual::Absent,
            owner: None,
            idle_since: Time(0),
            pause: None,
            failures: 0,
            refused: None,
            disturbed: None,
            seen: false,
        }
    }

    fn doubt(&mut self) {
        self.actual = Actual::Unknown;
        self.pause = None;
        self.refused = None;
    }

    fn fail(&mut self, error: KernelError, now: Time) {
        if error.errno().is_none() {
            self.actual = Actual::Unknown;
        }
        self.pause = Some(now + doubled(FIRST_PAUSE, self.failures));
        self.failures = self.failures.saturating_add(1);
        self.refused = Some(error);
    }

    /// Somebody else has changed it: mended at once, the second time in a row after a while.
    fn disturb(&mut self, now: Time) {
        let again = self
            .disturbed
            .is_some_and(|last| now.since(last) < QUARREL + doubled(QUARREL, self.failures));
        self.disturbed = Some(now);
        if again {
            self.failures = self.failures.saturating_add(1);
            self.pause = Some(now + doubled(Duration::from_secs(1), self.failures - 1));
        } else {
            self.failures = 0;
            self.pause = None;
        }
    }

    /// One of a group is gone; with the last one goes the group.
    fn lose_member(&mut self, id: NexthopId) -> bool {
        let Actual::Is(NexthopTarget::Group(members)) = &mut self.actual else {
            return false;
        };
        let before = members.len();
        members.retain(|member| member.id != id);
        let lost = members.len() < before;
        if members.is_empty() {
            // Whether its routes went with it is seen when it is deleted or made again.
            self.actual = Actual::Unknown;
        }
        lost
    }
}

const fn is_group(target: &NexthopTarget) -> bool {
    matches!(
        target,
        NexthopTarget::Group(_) | NexthopTarget::Resilient { .. }
    )
}

/// The object of a single next hop.
pub(super) const fn single(hop: &NextHop) -> Option<NexthopTarget> {
    match hop.gateway {
        Some(gateway) => Some(NexthopTarget::Via {
            gateway,
            ifindex: hop.ifindex,
            onlink: hop.onlink,
        }),
        None => None,
    }
}

/// The object of several, with equal weights.
pub(super) fn group(members: impl Iterator<Item = NexthopId>) -> NexthopTarget {
    let mut members: Vec<_> = members.map(|id| Member { id, weight: 1 }).collect();
    members.sort_unstable();
    members.dedup();
    NexthopTarget::Group(members)
}

fn hop(target: &NexthopTarget) -> Option<NextHop> {
    match target {
        NexthopTarget::Via {
            gateway,
            ifindex,
            onlink,
        } => Some(NextHop {
            onlink: *onlink,
            ..NextHop::via(*gateway, *ifindex)
        }),
        NexthopTarget::Dev { ifindex, .. } => Some(NextHop::dev(*ifindex)),
        NexthopTarget::Blackhole { .. }
        | NexthopTarget::Group(_)
        | NexthopTarget::Resilient { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_next_hops_one_after_the_other_leave_nothing_behind() {
        let mut objects = Objects::default();
        objects.sweep();
        let mut now = Time(0);
        for host in 0..10_000_u32 {
            let gateway = std::net::Ipv4Addr::from_bits(host).into();
            let hop = NextHop::via(gateway, 2);
            let want = single(&hop).expect("a router");
            let owner = WayId(std::num::NonZeroU32::MIN);
            let id = objects.claim(owner, want);
            assert_eq!(id, NexthopId(FIRST_ID), "the id is free again");
            // It is made; it is given up, and goes when it has lingered.
            let settle = |objects: &mut Objects, now| {
                let steps = objects.step(now, Protocol::WAYLEAVE, |_| false);
                assert_eq!(steps.len(), 1);
                for step in steps {
                    objects.result(step.id, step.sent, Ok(()), now);
                }
                assert_eq!(objects.step(now, Protocol::WAYLEAVE, |_| false).len(), 0);
            };
            settle(&mut objects, now);
            objects.release(id, now);
            now = now + LINGER;
            settle(&mut objects, now);
            assert!(objects.objects.is_empty() && objects.work.is_empty());
        }
        assert!(objects.left_over.len() <= 66 && objects.later.is_empty());
        assert_eq!(objects.next_due(now), None);
    }
}
