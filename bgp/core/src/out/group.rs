//! A group of peers: comparing what it was told with what is best now, and telling it.

use std::io::IoSlice;

use super::{
    Progress,
    batch::{Batch, Pack, Sink},
    export::{GroupKey, Offer},
    log::{Audience, Log},
    outbox::{Outbox, Sent},
    rules::Export,
    told::{Change, Told},
    walk::{FamilyWalk, Walk},
};
use crate::{
    rib::{Shared, attr::AttrId, key::PrefixKey, source::Slot, table::Table},
    types::{Family, Ipv4Prefix, Ipv6Prefix},
    wire::{self, RouteRefresh},
};

/// Both families' tables.
#[derive(Debug)]
pub(crate) struct Families {
    pub(crate) v4: Table<Ipv4Prefix>,
    pub(crate) v6: Table<Ipv6Prefix>,
}

impl Families {
    pub(crate) fn new() -> Self {
        Self {
            v4: Table::new(),
            v6: Table::new(),
        }
    }

    pub(crate) fn bounds(&self) -> [u32; 2] {
        [self.v4.dest_bound(), self.v6.dest_bound()]
    }
}

/// A member of a group, by slot.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) slot: Slot,
    pub(crate) progress: Progress,
    /// Messages for this peer alone: what its walk produced. Whole messages, written in order.
    pub(crate) private: Outbox,
    /// What was written in this session and group.
    pub(crate) sent: Sent,
}

/// What a peer takes along when it changes its group.
#[derive(Debug)]
pub(crate) struct Departure {
    /// What it had begun to write, or had queued for itself: whole messages, behind the rest of one
    /// it had begun.
    begun: Outbox,
    /// Families whose End-of-RIB is still owed.
    pub(super) end_of_rib: [bool; 2],
    /// Families that are being told again, and the end of that is still owed (RFC 7313).
    pub(super) marked: [bool; 2],
    /// Families that are to be told once more behind that, between marks or not.
    pub(super) once_more: [Option<bool>; 2],
    /// Where several paths are told: the highest identifiers of any it may hold.
    pub(super) path_ids: [u32; 2],
    /// What it has written.
    pub(crate) sent: Sent,
}

/// Where the member with this slot stands.
fn place_of(members: &[Member], slot: Slot) -> Option<usize> {
    members
        .binary_search_by_key(&slot, |member| member.slot)
        .ok()
}

/// Whether anybody reads the log.
fn some_follow(members: &[Member]) -> bool {
    let mut members = members.iter();
    members.any(|member| matches!(member.progress, Progress::Following(_)))
}

/// A destination has changed: who walks may have passed it.
fn remind_walkers(members: &mut [Member], family: usize, dest: u32) {
    for member in members {
        if let Progress::Walking(walk) = &mut member.progress {
            walk.families[family].changed(dest);
        }
    }
}

/// Peers that are sent the same.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) key: GroupKey,
    rules: Option<Export>,
    /// In order of their slots.
    pub(crate) members: Vec<Member>,
    pub(crate) told: [Told; 2],
    pub(crate) log: Log,
    batch: Batch,
    /// New sources that are members and hold what the group held before, with that destination:
    /// they alone get a withdrawal. Where several paths are told, with the path's identifier.
    turned: Vec<(Slot, u32, Option<u32>)>,
    offers: Vec<Offer>,
    changes: Vec<Change>,
}

impl Group {
    pub(crate) fn new(key: GroupKey) -> Self {
        Self {
            rules: key.rules.as_ref().map(Export::new),
            key,
            members: Vec::new(),
            told: [Told::default(), Told::default()],
            log: Log::default(),
            batch: Batch::default(),
            turned: Vec::new(),
            offers: Vec::new(),
            changes: Vec::new(),
        }
    }

    pub(crate) fn join(&mut self, slot: Slot) {
        let walk = Walk::fresh(self.key.families);
        self.add(Member {
            slot,
            progress: Progress::Walking(Box::new(walk)),
            private: Outbox::default(),
            sent: Sent::default(),
        });
    }

    fn add(&mut self, member: Member) {
        let at = self
            .members
            .partition_point(|other| other.slot < member.slot);
        self.members.insert(at, member);
    }

    /// Takes in a peer that comes from another group with its session up.
    pub(crate) fn join_from(&mut self, slot: Slot, departure: Departure) {
        let walk = Walk::anew(self.key.families, &departure);
        let progress = Progress::Walking(Box::new(walk));
        self.add(Member {
            slot,
            progress,
            private: departure.begun,
            sent: departure.sent,
        });
    }

    pub(crate) fn leave(&mut self, slot: Slot) -> Option<Departure> {
        let at = place_of(&self.members, slot)?;
        let mut begun = Outbox::default();
        if self.members[at].private.is_empty() {
            begun.begin_with(self.rest_of_message(slot));
        } else {
            std::mem::swap(&mut begun, &mut self.members[at].private);
        }
        let end_of_rib = match &self.members[at].progress {
            Progress::Following(_) => [false; 2],
            Progress::Walking(walk) => [walk.families[0].end_of_rib, walk.families[1].end_of_rib],
        };
        let marked = match &self.members[at].progress {
            Progress::Following(_) => [false; 2],
            Progress::Walking(walk) => [0, 1].map(|family: usize| {
                let family = &walk.families[family];
                family.refreshing && family.marks
            }),
        };
        // One that is still on its way from an earlier group may hold what it had there.
        let path_ids = [0, 1].map(|family: usize| {
            let before = match &self.members[at].progress {
                Progress::Following(_) => 0,
                Progress::Walking(walk) => walk.families[family].path_ids,
            };
            before.max(self.told[family].most_places())
        });
        let once_more = match &self.members[at].progress {
            Progress::Following(_) => [None; 2],
            Progress::Walking(walk) => [0, 1].map(|family: usize| {
                let family = &walk.families[family];
                family.once_more.then_some(family.marks)
            }),
        };
        let member = self.members.remove(at);
        Some(Departure {
            once_more,
            path_ids,
            marked,
            begun,
            end_of_rib,
            sent: member.sent,
        })
    }

    pub(crate) fn member(&self, slot: Slot) -> Option<&Member> {
        Some(&self.members[place_of(&self.members, slot)?])
    }

    pub(crate) fn member_mut(&mut self, slot: Slot) -> Option<&mut Member> {
        let at = place_of(&self.members, slot)?;
        self.members.get_mut(at)
    }

    /// Queues whole messages for `slot` alone, ahead of what it has not begun to read.
    pub(crate) fn send_private(&mut self, slot: Slot, write: impl FnOnce(&mut Vec<u8>)) {
        let Self { members, log, .. } = self;
        let Some(member) = place_of(members, slot).map(|at| &mut members[at]) else {
            return;
        };
        if let Progress::Following(cursor) = &mut member.progress
            && member.private.is_empty()
        {
            let rest = log.rest_of_message(*cursor);
            member.private.begin_with(rest);
            let (after, updates) = log.advance(*cursor, slot, rest.len());
            *cursor = after;
            member.sent.updates += updates;
        }
        write(member.private.buffer());
    }

    /// Whether `slot` has something to write now.
    pub(crate) fn has_output(&self, slot: Slot) -> bool {
        self.member(slot).is_some_and(|member| {
            let reads = match member.progress {
                Progress::Following(cursor) => self.log.has_unread(cursor, slot),
                Progress::Walking(_) => false,
            };
            reads || !member.private.is_empty()
        })
    }

    /// What `slot` has to write now.
    pub(crate) fn slices<'a>(&'a self, slot: Slot, most: usize, slices: &mut Vec<IoSlice<'a>>) {
        let Some(member) = self.member(slot) else {
            return;
        };
        if !member.private.is_empty() {
            slices.push(IoSlice::new(member.private.pending()));
        }
        if let Progress::Following(cursor) = member.progress {
            self.log.slices(cursor, slot, most, slices);
        }
    }

    /// Notes that `slot` wrote `count` bytes of these; whether its walk, which waits when more than
    /// `unwritten` bytes are, can go on.
    pub(crate) fn written(&mut self, slot: Slot, count: usize, unwritten: usize) -> bool {
        let Self { members, log, .. } = self;
        let Some(member) = place_of(members, slot).map(|at| &mut members[at]) else {
            return false;
        };
        let (count, sent) = member.private.consume(count);
        member.sent += sent;
        if let Progress::Following(cursor) = &mut member.progress {
            let (after, updates) = log.advance(*cursor, slot, count);
            *cursor = after;
            member.sent.updates += updates;
        }
        matches!(member.progress, Progress::Walking(_)) && member.private.len() < unwritten
    }

    /// The rest of the message that `slot` has written in part.
    pub(crate) fn rest_of_message(&self, slot: Slot) -> &[u8] {
        match self.member(slot) {
            Some(member) if !member.private.is_empty() => member.private.rest_of_message(),
            Some(Member {
                progress: Progress::Following(cursor),
                ..
            }) => self.log.rest_of_message(*cursor),
            Some(_) | None => &[],
        }
    }

    /// Sends `family`, which is negotiated, to `slot` again; between marks (RFC 7313), if it wants
    /// these. One that is being sent its first table, or is sent everything again already, gets it
    /// once more afterwards, however often it asks meanwhile.
    pub(crate) fn refresh(&mut self, slot: Slot, family: Family, bounds: [u32; 2], marks: bool) {
        let index = family.index();
        self.drop_behind(slot, bounds);
        if let Some(member) = self.member_mut(slot)
            && let Progress::Walking(walk) = &mut member.progress
        {
            let walk = &mut walk.families[index];
            walk.marks = marks;
            if walk.is_passing(bounds[index]) {
                walk.once_more = true;
            } else {
                walk.again(family, member.private.buffer());
            }
        }
    }

    /// Compares what the group was told about `dests` with what is best, and appends the
    /// difference to the log.
    pub(crate) fn flush<P: Pack>(&mut self, shared: &mut Shared, table: &Table<P>, dests: &[u32]) {
        let index = P::FAMILY.index();
        if !self.key.families[index] {
            return;
        }
        if self.key.add_path[index] > 0 {
            return self.flush_paths(shared, table, dests);
        }
        let Self {
            key,
            rules,
            members,
            told,
            batch,
            turned,
            ..
        } = self;
        let told = &mut told[index];
        let following = some_follow(members);
        // Nobody reads what came from the only member there is.
        let alone = match &members[..] {
            [only] => Some(only.slot),
            _ => None,
        };
        let mut desired = key.desired(rules.as_mut());
        for &dest in dests {
            if !told.covers(dest) {
                continue;
            }
            let new = desired.of(shared, table, dest);
            let Some(old) = told.set(shared, dest, new) else {
                continue;
            };
            remind_walkers(members, index, dest);
            if !following {
                continue;
            }
            let source = if new.0.is_none() { old.1 } else { new.1 };
            if alone != Some(source) {
                batch.push(dest, new.0, source);
            }
            let held = !old.0.is_none() && !new.0.is_none() && old.1 != new.1;
            if held && new.1 != Slot::LOCAL {
                turned.push((new.1, dest, None));
            }
        }
        self.append(shared, table);
    }

    /// The same where several paths are told: each is a route of its own, known by prefix and
    /// identifier (RFC 7911, 2).
    fn flush_paths<P: Pack>(&mut self, shared: &mut Shared, table: &Table<P>, dests: &[u32]) {
        let index = P::FAMILY.index();
        let Self {
            key,
            rules,
            members,
            told,
            batch,
            turned,
            offers,
            changes,
            ..
        } = self;
        let told = &mut told[index];
        let following = some_follow(members);
        let mut desired = key.desired(rules.as_mut());
        for &dest in dests {
            if !told.covers(dest) {
                continue;
            }
            desired.all(shared, table, dest, offers);
            told.set_paths(shared, dest, offers, changes);
            if changes.is_empty() {
                continue;
            }
            remind_walkers(members, index, dest);
            if !following {
                continue;
            }
            for &Change { path_id, old, new } in changes.iter() {
                let source = if new.0.is_none() { old.1 } else { new.1 };
                batch.push_path(dest, path_id, new.0, source);
                let held = !old.0.is_none() && !new.0.is_none() && old.1 != new.1;
                if held && new.1 != Slot::LOCAL {
                    turned.push((new.1, dest, Some(path_id)));
                }
            }
        }
        self.append(shared, table);
    }

    fn append<P: Pack>(&mut self, shared: &Shared, table: &Table<P>) {
        let (turn, family) = (shared.turn, P::FAMILY.index());
        if !self.batch.is_empty() {
            let mut sink = LogSink {
                log: &mut self.log,
                turn,
                family,
            };
            self.batch.encode(&self.key, shared, table, &mut sink);
        }
        self.turned.sort_unstable();
        let turned = std::mem::take(&mut self.turned);
        for of_one in turned.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(slot, ..)) = of_one.first() else {
                continue;
            };
            if self.member(slot).is_none() {
                continue;
            }
            let dests: Vec<u32> = of_one.iter().map(|&(_, dest, _)| dest).collect();
            let prefixes = of_one.iter();
            let prefixes = prefixes.map(|&(_, dest, path_id)| (table.prefix(dest), path_id));
            P::pack_withdraw(self.log.open(turn), prefixes, &self.key);
            self.log.close_segment(Audience::Only(slot), family, &dests);
        }
        self.turned = turned;
        self.turned.clear();
    }

    /// How much dearer a destination is than without rules, roughly: the turn is cut accordingly.
    pub(crate) fn weight(&self) -> usize {
        let rules = self.rules.as_ref().map_or(1, Export::weight);
        // Several paths are ranked, and each of them judged.
        let paths = self.key.add_path.into_iter().max().unwrap_or_default();
        rules * (1 + usize::from(paths).min(16))
    }

    /// Looks at up to `most` destinations the group has not covered yet; whether there are more.
    pub(crate) fn fill<P: PrefixKey>(
        &mut self,
        shared: &mut Shared,
        table: &Table<P>,
        most: u32,
    ) -> bool {
        let index = P::FAMILY.index();
        if !self.key.families[index] || self.told[index].is_complete() {
            return false;
        }
        let from = self.told[index].filled();
        let bound = table.dest_bound();
        let to = bound.min(from.saturating_add(most));
        let Self {
            key,
            rules,
            told,
            offers,
            changes,
            ..
        } = self;
        let mut desired = key.desired(rules.as_mut());
        for dest in from..to {
            if !table.is_live(dest) {
                continue;
            }
            if key.add_path[index] > 0 {
                desired.all(shared, table, dest, offers);
                told[index].set_paths(shared, dest, offers, changes);
            } else {
                let new = desired.of(shared, table, dest);
                told[index].set(shared, dest, new);
            }
        }
        self.told[index].set_filled(to, bound);
        !self.told[index].is_complete()
    }

    /// Moves the walks of this group on; whether one of them could go on at once.
    pub(crate) fn walk(&mut self, shared: &Shared, tables: &Families) -> bool {
        let mut more = false;
        let Self {
            key,
            members,
            told,
            log,
            batch,
            ..
        } = self;
        for member in members {
            let Member {
                slot,
                progress,
                private,
                ..
            } = member;
            let Progress::Walking(walk) = progress else {
                continue;
            };
            let mut step = Step {
                key,
                shared,
                slot: *slot,
                private,
                batch,
            };
            step.go(&mut walk.families[0], &told[0], &tables.v4);
            step.go(&mut walk.families[1], &told[1], &tables.v6);
            if walk.is_done() {
                *progress = Progress::Following(log.end());
            } else if private.len() < shared.limits.unwritten {
                more = true;
            }
        }
        more
    }

    /// Forgets what all have read. When the log is too long all the same, those furthest behind
    /// walk; whether there are any, which can go on at once.
    pub(crate) fn trim(&mut self, bounds: [u32; 2], limit: usize) -> bool {
        let mut walks = false;
        let Self { members, log, .. } = self;
        for member in members {
            // Who has nothing to read does not hold the log back.
            if let Progress::Following(cursor) = &mut member.progress {
                (*cursor, _) = log.advance(*cursor, member.slot, 0);
            }
        }
        loop {
            let least = self
                .members
                .iter()
                .filter_map(|member| match member.progress {
                    Progress::Following(cursor) => Some((cursor, member.slot)),
                    Progress::Walking(_) => None,
                })
                .min();
            self.log
                .trim(least.map_or(self.log.end(), |(cursor, _)| cursor));
            match least {
                Some((_, slot)) if self.log.bytes_held() > limit => {
                    self.drop_behind(slot, bounds);
                    walks = true;
                }
                _ => break,
            }
        }
        walks
    }

    /// Makes a follower a walker that owes what it has not read.
    fn drop_behind(&mut self, slot: Slot, bounds: [u32; 2]) {
        let Self {
            key, members, log, ..
        } = self;
        let Some(member) = place_of(members, slot).map(|at| &mut members[at]) else {
            return;
        };
        let Progress::Following(cursor) = member.progress else {
            return;
        };
        let mut walk = Walk::behind(key.families, bounds);
        log.unread(cursor, slot, |family, dests| {
            for &dest in dests {
                walk.families[family].changed(dest);
            }
        });
        // What it has of its own was begun before anything of the log.
        if member.private.is_empty() {
            member.private.begin_with(log.rest_of_message(cursor));
        }
        member.progress = Progress::Walking(Box::new(walk));
    }

    /// Whether a member must still hear of `dest` through its walk, or the group was told of it.
    pub(crate) fn awaits(&self, family: usize, dest: u32) -> bool {
        let walks = |member: &Member| match &member.progress {
            Progress::Following(_) => false,
            Progress::Walking(walk) => walk.awaits(family, dest),
        };
        self.told[family].holds(dest) || self.members.iter().any(walks)
    }

    /// Lets go of everything it holds.
    pub(crate) fn dissolve(&mut self, shared: &mut Shared) {
        for told in &mut self.told {
            told.clear(shared);
        }
    }
}

/// Appends to the log: a stretch is read by everybody but its source.
struct LogSink<'a> {
    log: &'a mut Log,
    turn: u64,
    family: usize,
}

impl Sink for LogSink<'_> {
    fn open(&mut self) -> &mut Vec<u8> {
        self.log.open(self.turn)
    }

    fn close(&mut self, source: Slot, dests: &[u32]) {
        self.log
            .close_segment(Audience::AllBut(source), self.family, dests);
    }
}

/// Appends to one member's own messages.
struct PrivateSink<'a>(&'a mut Vec<u8>);

impl Sink for PrivateSink<'_> {
    fn open(&mut self) -> &mut Vec<u8> {
        self.0
    }

    fn close(&mut self, _: Slot, _: &[u32]) {}
}

/// One step of one member's walk.
struct Step<'a> {
    key: &'a GroupKey,
    shared: &'a Shared,
    slot: Slot,
    private: &'a mut Outbox,
    batch: &'a mut Batch,
}

impl Step<'_> {
    fn go<P: Pack>(&mut self, walk: &mut FamilyWalk, told: &Told, table: &Table<P>) {
        if walk.done || self.private.len() >= self.shared.limits.unwritten {
            return;
        }
        let mut budget = self.shared.limits.walk;
        // Whoever comes from elsewhere may hold paths that are not known here.
        let held = if walk.explicit { walk.path_ids } else { 0 };
        while budget > 0
            && let Some(dest) = walk.behind.pop_first()
        {
            budget = budget.saturating_sub(self.tell::<P>(told, dest, true, held));
        }
        let bound = table.dest_bound();
        while budget > 0 && walk.position < bound {
            if !told.covers(walk.position) {
                break;
            }
            let dest = walk.position;
            walk.position += 1;
            if table.is_live(dest) {
                let done = self.tell::<P>(told, dest, walk.explicit, held);
                budget = budget.saturating_sub(done);
            }
        }
        self.batch.encode(
            self.key,
            self.shared,
            table,
            &mut PrivateSink(self.private.buffer()),
        );
        if walk.position >= bound && told.is_complete() {
            if std::mem::take(&mut walk.end_of_rib) {
                wire::end_of_rib(P::FAMILY, self.private.buffer());
            }
            (walk.explicit, walk.path_ids) = (false, 0);
            if std::mem::take(&mut walk.refreshing) && walk.marks {
                walk.mark(P::FAMILY, RouteRefresh::END, self.private.buffer());
            }
            if std::mem::take(&mut walk.once_more) {
                walk.again(P::FAMILY, self.private.buffer());
            } else {
                walk.done = walk.behind.is_empty();
            }
        }
    }

    /// How much work that was.
    fn tell<P: PrefixKey>(&mut self, told: &Told, dest: u32, withdraw: bool, held: u32) -> usize {
        if self.key.add_path[P::FAMILY.index()] > 0 {
            let before = self.batch.len();
            self.tell_paths(told, dest, withdraw, held);
            return (self.batch.len() - before).max(1);
        }
        let (attr, source) = told.get(dest);
        if attr.is_none() || source == self.slot {
            if withdraw {
                self.batch.push(dest, AttrId::NONE, Slot::LOCAL);
            }
        } else {
            self.batch.push(dest, attr, source);
        }
        1
    }

    /// The same where several paths are told. It may hold any whose identifier is not past `held`.
    fn tell_paths(&mut self, told: &Told, dest: u32, withdraw: bool, held: u32) {
        let mut last = 0;
        for (path_id, _, attr, source) in told.paths(dest) {
            last = path_id;
            if attr.is_none() || source == self.slot {
                if withdraw {
                    let nobody = Slot::LOCAL;
                    self.batch.push_path(dest, path_id, AttrId::NONE, nobody);
                }
            } else {
                self.batch.push_path(dest, path_id, attr, source);
            }
        }
        if withdraw {
            for path_id in last + 1..=held {
                self.batch
                    .push_path(dest, path_id, AttrId::NONE, Slot::LOCAL);
            }
        }
    }
}
