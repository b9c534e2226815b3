//! All wishes in use, each kept and resolved once: 200,000 routes have a handful.
//!
//! A way to routers has a nexthop object: a single one of its own, and for several a group of
//! theirs. Where a router is found may change; the object, and so the routes through it, stay.
//! Where the kernel knows no objects, or they are switched off, routes carry their next hops.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use wayleave_bgp_core::Time;
use wayleave_netlink::{KernelError, NextHop, NexthopId, NexthopTarget};

use super::{
    contents::{ContentId, Contents},
    objects::{self, Objects},
    topology::Topology,
    way::{Content, Unresolved, WayId, Wish},
};

/// Ways, what their routes do, and the objects those go through.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// By family of the routes; of those over IPv6 routers alone, which routes of both families share,
    /// in the second.
    numbers: [BTreeMap<Arc<Wish>, WayId>; 2],
    /// By number, less one.
    ways: Vec<Option<Way>>,
    free: Vec<WayId>,
    pub(super) contents: Contents,
    pub(super) objects: Objects,
    /// Whether learned routes go through nexthop objects.
    through_objects: bool,
    /// Whether the objects there are have been listed: before that an id says nothing.
    listed: bool,
}

#[derive(Debug)]
struct Way {
    wish: Arc<Wish>,
    ipv6: bool,
    users: u32,
    outcome: Result<ContentId, Unresolved>,
    /// The object of the way and what routes through it do; from the first time it led anywhere.
    object: Option<(NexthopId, ContentId)>,
    /// Of a way to several routers: those to each.
    members: Vec<WayId>,
}

/// Where a way leads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// Routes are to do this.
    To(ContentId),
    /// Nowhere.
    Unresolved(&'a Unresolved),
    /// The kernel refuses its object.
    Blocked(&'a KernelError),
    /// Somebody keeps taking its object away, so many times by now; it waits.
    Disturbed(u32),
}

impl Ways {
    pub(super) fn new(through_objects: bool) -> Self {
        Self {
            through_objects,
            ..Self::default()
        }
    }

    /// Takes a wish into use for routes of a family, once more.
    pub(super) fn claim(&mut self, wish: &Wish, ipv6: bool, topology: &Topology) -> WayId {
        let ipv6 = ipv6 || leads_over_ipv6(wish);
        if let Some(id) = self.numbers[usize::from(ipv6)].get(wish).copied() {
            self.way_mut(id).users += 1;
            return id;
        }
        let members = match wish {
            Wish::Via(gateways) if self.through_objects && gateways.len() > 1 => {
                let alone = gateways.iter().map(|one| Wish::Via(vec![one.clone()]));
                let alone: Vec<_> = alone.collect();
                let alone = alone.iter().map(|one| self.claim(one, ipv6, topology));
                alone.collect()
            }
            Wish::Via(_) | Wish::Exactly(_) | Wish::Blackhole => Vec::new(),
        };
        let wish = Arc::new(wish.clone());
        let way = Some(Way {
            wish: Arc::clone(&wish),
            ipv6,
            users: 1,
            outcome: Err(Unresolved::Empty),
            object: None,
            members,
        });
        let id = match self.free.pop() {
            Some(id) => {
                self.ways[index(id)] = way;
                id
            }
            None => {
                self.ways.push(way);
                let number = u32::try_from(self.ways.len())
                    .ok()
                    .and_then(std::num::NonZeroU32::new);
                WayId(number.expect("invariant: there are fewer ways than routes"))
            }
        };
        self.numbers[usize::from(ipv6)].insert(wish, id);
        self.resolve(id, topology);
        id
    }

    /// Gives a way up, once.
    pub(super) fn release(&mut self, id: WayId, now: Time) {
        let way = self.way_mut(id);
        way.users -= 1;
        if way.users > 0 {
            return;
        }
        let Some(way) = self.ways[index(id)].take() else {
            return;
        };
        self.numbers[usize::from(way.ipv6)].remove(&way.wish);
        self.free.push(id);
        match (way.object, way.outcome) {
            (Some((object, content)), _) => {
                self.contents.release(content);
                self.objects.release(object, now);
            }
            (None, Ok(content)) => self.contents.release(content),
            (None, Err(_)) => {}
        }
        for member in way.members {
            self.release(member, now);
        }
    }

    /// Where it leads, or why nowhere.
    pub(super) fn outcome(&self, id: WayId) -> Outcome<'_> {
        let Some(way) = &self.ways[index(id)] else {
            return Outcome::Unresolved(&Unresolved::Empty);
        };
        let content = match &way.outcome {
            Err(why) => return Outcome::Unresolved(why),
            Ok(content) => *content,
        };
        let Some((object, _)) = way.object else {
            return Outcome::To(content);
        };
        if let Some(error) = self.objects.refusal(object) {
            return Outcome::Blocked(error);
        }
        match self.objects.disturbances(object) {
            Some(times) => Outcome::Disturbed(times),
            None => Outcome::To(content),
        }
    }

    /// The objects there are have been listed.
    pub(super) const fn are_listed(&mut self) {
        self.listed = true;
    }

    /// The addresses of all routers that ways lead to.
    pub(super) fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let ways = self.ways.iter().flatten();
        ways.flat_map(|way| match &*way.wish {
            Wish::Via(gateways) => gateways.as_slice(),
            Wish::Exactly(_) | Wish::Blackhole => &[],
        })
        .map(|gateway| gateway.addr)
    }

    /// Resolves all anew. Returns those that lead elsewhere than before; routes through objects
    /// that were repointed need nothing.
    pub(super) fn resolve_again(&mut self, topology: &Topology) -> BTreeSet<WayId> {
        let mut changed = BTreeSet::new();
        // Groups last: they are what their members are.
        for groups in [false, true] {
            for id in self.ids(|way| way.members.is_empty() != groups) {
                if self.resolve(id, topology) {
                    changed.insert(id);
                }
            }
        }
        changed
    }

    /// The ways no route can go at present, though they lead somewhere.
    pub(super) fn blocked(&self) -> BTreeSet<WayId> {
        let blocked = |way: &Way| {
            way.object
                .is_some_and(|(object, _)| self.objects.is_blocked(object))
        };
        self.ids(blocked).into_iter().collect()
    }

    /// Composes the groups anew: a member was refused, or is no longer.
    pub(super) fn regroup(&mut self, topology: &Topology) {
        for id in self.ids(|way| !way.members.is_empty()) {
            self.resolve(id, topology);
        }
    }

    /// The kernel knows no nexthop objects: routes carry their next hops. Returns all ways.
    pub(super) fn without_objects(&mut self, topology: &Topology) -> BTreeSet<WayId> {
        if !self.through_objects {
            return BTreeSet::new();
        }
        self.through_objects = false;
        let ids = self.ids(|_| true);
        for id in &ids {
            let way = self.way_mut(*id);
            let object = way.object.take();
            if let Some((object, content)) = object {
                way.outcome = Err(Unresolved::Empty);
                self.contents.release(content);
                self.objects.forsake(object);
            }
            self.resolve(*id, topology);
        }
        ids.into_iter().collect()
    }

    /// Ids of ours that turned out to be others': their ways get other objects. Returns these ways.
    pub(super) fn renumber(&mut self, taken: &[NexthopId], topology: &Topology) -> BTreeSet<WayId> {
        let mut moved = BTreeSet::new();
        for object in taken {
            self.objects.forsake(*object);
            let owners = self.ids(|way| way.object.is_some_and(|(own, _)| own == *object));
            for id in owners {
                let way = self.way_mut(id);
                way.outcome = Err(Unresolved::Empty);
                if let Some((_, content)) = way.object.take() {
                    self.contents.release(content);
                }
                self.resolve(id, topology);
                moved.insert(id);
            }
        }
        if !moved.is_empty() {
            self.regroup(topology);
        }
        moved
    }

    /// Contents that route over an interface by themselves, not through an object.
    pub(super) fn over(&self, ifindex: u32) -> BTreeSet<ContentId> {
        let over = |(_, content): &(ContentId, &Content)| content.uses(ifindex);
        let over = self.contents.iter().filter(over);
        over.map(|(id, _)| id).collect()
    }

    /// A content with the next hops of its object spelled out.
    pub(super) fn describe(&self, id: ContentId) -> Content {
        let content = self.contents.get(id).clone();
        match content.nexthop {
            Some(object) => Content {
                next_hops: self.objects.next_hops(object),
                ..content
            },
            None => content,
        }
    }

    /// Resolves one way. Returns whether it leads elsewhere than before.
    fn resolve(&mut self, id: WayId, topology: &Topology) -> bool {
        let Some(way) = &self.ways[index(id)] else {
            return false;
        };
        let target = match &*way.wish {
            Wish::Via(_) if self.through_objects && !self.listed => Err(Unresolved::Empty),
            Wish::Via(gateways) if self.through_objects => match &gateways[..] {
                [one] => match topology.next_hop(one, way.ipv6) {
                    Ok(hop) => Ok(Led::Through(target(&hop))),
                    Err(why) => Err(why),
                },
                _ => self.compose(&way.members).map(Led::Through),
            },
            wish @ (Wish::Via(_) | Wish::Exactly(_) | Wish::Blackhole) => {
                topology.resolve(wish, way.ipv6).map(Led::There)
            }
        };
        let before = way.outcome.clone();
        let object = way.object;
        let outcome = match (target, object) {
            (Ok(Led::Through(target)), Some((object, content))) => {
                self.objects.point(object, Some(target));
                Ok(content)
            }
            (Ok(Led::Through(target)), None) => {
                let object = self.objects.claim(id, target);
                let content = self.contents.claim(&Content::through(object));
                self.way_mut(id).object = Some((object, content));
                Ok(content)
            }
            (Ok(Led::There(content)), _) => Ok(self.contents.claim(&content)),
            (Err(why), object) => {
                if let Some((object, _)) = object {
                    self.objects.point(object, None);
                }
                Err(why)
            }
        };
        let way = self.way_mut(id);
        way.outcome = outcome;
        let changed = way.outcome != before;
        // A way without an object holds what it leads to by itself.
        if way.object.is_none()
            && let Ok(content) = before
        {
            self.contents.release(content);
        }
        changed
    }

    /// The group of those members that lead somewhere.
    fn compose(&self, members: &[WayId]) -> Result<NexthopTarget, Unresolved> {
        let mut why = Unresolved::Empty;
        let mut objects = Vec::new();
        let mut blocked = Vec::new();
        for member in members {
            let object = self.ways[index(*member)]
                .as_ref()
                .and_then(|way| way.object);
            match (self.outcome(*member), object) {
                (Outcome::To(_), Some((object, _))) => objects.push(object),
                (Outcome::Blocked(_) | Outcome::Disturbed(_), Some((object, _))) => {
                    blocked.push(object);
                }
                (Outcome::Unresolved(reason), _) => why = reason.clone(),
                (Outcome::To(_) | Outcome::Blocked(_) | Outcome::Disturbed(_), None) => {}
            }
        }
        // All refused: the group says so, and is tried again when a member is.
        let objects = if objects.is_empty() { blocked } else { objects };
        if objects.is_empty() {
            Err(why)
        } else {
            Ok(objects::group(objects.into_iter()))
        }
    }

    fn ids(&self, which: impl Fn(&Way) -> bool) -> Vec<WayId> {
        let numbered = (1..).zip(&self.ways).filter_map(|(number, way)| {
            let wanted = way.as_ref().is_some_and(&which);
            wanted
                .then(|| std::num::NonZeroU32::new(number).map(WayId))
                .flatten()
        });
        numbered.collect()
    }

    fn way_mut(&mut self, id: WayId) -> &mut Way {
        self.ways[index(id)]
            .as_mut()
            .expect("invariant: a way in use is kept")
    }
}

/// Whether routes of either family go the same way: all routers are of IPv6, over which IPv4 routes lead
/// as well (RFC 8950). With an object for each family, a start could not tell whose is whose.
fn leads_over_ipv6(wish: &Wish) -> bool {
    match wish {
        Wish::Via(gateways) => gateways.iter().all(|gateway| gateway.addr.is_ipv6()),
        Wish::Exactly(_) | Wish::Blackhole => false,
    }
}

/// What a wish comes down to.
enum Led {
    /// A route through an object that leads there.
    Through(NexthopTarget),
    /// A route that does this by itself.
    There(Content),
}

/// The object of a next hop.
fn target(hop: &NextHop) -> NexthopTarget {
    objects::single(hop).expect("invariant: a router has an address")
}

fn index(id: WayId) -> usize {
    id.0.get() as usize - 1
}
