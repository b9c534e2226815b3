//! Handing best routes to the other owners in the agent: a walk and a bit per change.

use std::sync::Arc;

use super::Speaker;
use crate::{
    attributes::{Attributes, NextHop},
    feed::{FeedEvent, FeedPath, FeedRoute, Forwarding, RouteChange, RouteSource},
    rib::{
        attr::AttrId,
        bits::Bits,
        key::PrefixKey,
        source::Slot,
        table::{Path, Table},
    },
    types::{Family, Time},
    view::State,
    wire::decode_canonical,
};

/// A subscription's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(usize);

/// One family of one subscription.
#[derive(Debug, Default)]
pub(super) struct FeedFamily {
    position: u32,
    behind: Bits,
    in_sync: bool,
}

impl FeedFamily {
    pub(super) fn changed(&mut self, dest: u32) {
        if dest < self.position {
            self.behind.insert(dest);
        }
    }

    pub(super) fn awaits(&self, dest: u32) -> bool {
        self.behind.contains(dest)
    }
}

/// One subscription.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) families: [FeedFamily; 2],
}

impl Feed {
    /// Hands everything over again. Whatever was handed over is told again, be it that it is gone:
    /// a walk from the start would pass over what has gone since.
    pub(super) fn start_again(&mut self) {
        for part in &mut self.families {
            for dest in 0..part.position {
                part.behind.insert(dest);
            }
        }
    }
}

/// A peer that does not send End-of-RIB has sent all it has when it has been quiet this long.
pub(super) const QUIET: std::time::Duration = std::time::Duration::from_secs(3);

/// A peer that has not come by then is not waited for.
pub(super) const ALONE_AFTER: std::time::Duration = std::time::Duration::from_secs(30);

impl Speaker {
    /// A new subscription to the best routes of both families.
    pub fn subscribe(&mut self) -> FeedId {
        let feed = Some(Feed::default());
        match self.feeds.iter().position(Option::is_none) {
            Some(free) => {
                self.feeds[free] = feed;
                FeedId(free)
            }
            None => {
                self.feeds.push(feed);
                FeedId(self.feeds.len() - 1)
            }
        }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, id: FeedId) {
        if let Some(feed) = self.feeds.get_mut(id.0) {
            *feed = None;
        }
    }

    /// The next event of a subscription, with at most `most` changes; `None`: nothing now.
    pub fn poll_feed(&mut self, now: Time, id: FeedId, most: usize) -> Option<FeedEvent> {
        self.poll(now, id, most, &mut Routes::default())
    }

    /// As [`poll_feed`](Self::poll_feed), for a subscriber that only forwards: no attributes are
    /// decoded for it. A subscription is polled one way or the other.
    pub fn poll_forwarding(
        &mut self,
        now: Time,
        id: FeedId,
        most: usize,
    ) -> Option<FeedEvent<Forwarding>> {
        self.poll(now, id, most, &mut Ways::default())
    }

    fn poll<D: Detail>(
        &mut self,
        now: Time,
        id: FeedId,
        most: usize,
        detail: &mut D,
    ) -> Option<FeedEvent<D::Record>> {
        if !self.end_deferral(now) {
            return None;
        }
        let mut feed = self.feeds.get_mut(id.0)?.take()?;
        let event = Family::ALL.into_iter().find_map(|family| {
            let part = &mut feed.families[family.index()];
            let changes = match family {
                Family::Ipv4Unicast => self.changes(&self.tables.v4, part, most, detail),
                Family::Ipv6Unicast => self.changes(&self.tables.v6, part, most, detail),
            };
            if !changes.is_empty() {
                return Some(FeedEvent::Changes(changes));
            }
            if !part.in_sync && self.is_settled(now, family) {
                part.in_sync = true;
                return Some(FeedEvent::InSync(family));
            }
            None
        });
        self.feeds[id.0] = Some(feed);
        event
    }

    /// Whether a subscription still waits for its [`FeedEvent::InSync`]: the driver should then
    /// poll it once a second, not only after turns.
    pub fn awaits_sync(&self) -> bool {
        self.feeds
            .iter()
            .flatten()
            .any(|feed| feed.families.iter().any(|part| !part.in_sync))
    }

    /// Whether all peers have sent what they have, or had the time to.
    fn is_settled(&self, now: Time, family: Family) -> bool {
        let late = now.since(self.started) >= ALONE_AFTER;
        let settled = |slot: Slot| {
            let Some(peer) = self.peer(slot) else {
                return true;
            };
            let Some((_, negotiated)) = peer.session.established() else {
                return late || peer.range.is_some() || peer.session.config().disabled;
            };
            let index = family.index();
            !negotiated.families[index]
                || peer.counts[index].end_of_rib
                || (now.since(peer.last_route) >= QUIET && (late || !negotiated.sends_end_of_rib))
        };
        let quiet = !self.sweep.is_running()
            && !self.rejudging.is_running()
            && !self.tables.v4.has_dirty()
            && !self.tables.v6.has_dirty();
        quiet && self.slots().into_iter().all(settled)
    }

    fn changes<P: PrefixKey, D: Detail>(
        &self,
        table: &Table<P>,
        part: &mut FeedFamily,
        most: usize,
        detail: &mut D,
    ) -> Vec<RouteChange<D::Record>> {
        let mut changes = Vec::new();
        let mut paths = Vec::new();
        let mut record = |dest: u32| {
            let best = table.best(dest)?;
            self.shared
                .sources()
                .multipath(table, dest, self.config.multipath, &mut paths);
            let paths = paths.iter().map(|id| *table.path(*id));
            Some(detail.record(self, P::FAMILY.index(), *best, paths))
        };
        while changes.len() < most
            && let Some(dest) = part.behind.pop_first()
        {
            if table.is_live(dest) {
                let prefix = table.prefix(dest).into();
                let route = record(dest);
                changes.push(RouteChange { prefix, route });
            }
        }
        while changes.len() < most && part.position < table.dest_bound() {
            let dest = part.position;
            part.position += 1;
            if table.is_live(dest)
                && let Some(route) = record(dest)
            {
                let prefix = table.prefix(dest).into();
                changes.push(RouteChange {
                    prefix,
                    route: Some(route),
                });
            }
        }
        changes
    }

    fn next_hop(&self, path: &Path) -> NextHop {
        let unspecified = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let next_hop = self.shared.attrs.next_hop(path.attr);
        next_hop.unwrap_or(unspecified.into())
    }

    fn feed_path(&self, peer: Slot, next_hop: NextHop) -> FeedPath {
        let peer = self.peer(peer);
        FeedPath {
            source: match peer {
                Some(peer) => RouteSource::Peer(peer.name.clone()),
                None => RouteSource::Local,
            },
            next_hop,
            interface: peer.and_then(|peer| peer.interface.clone()),
        }
    }

    /// How many peers are Established.
    pub(super) fn established(&self) -> usize {
        let up = |peer: &&super::Peer| peer.session.state() == State::Established;
        self.peers.iter().flatten().filter(up).count()
    }
}

/// How much a subscriber is told of a route.
trait Detail {
    type Record;

    /// What is told of a route of this family with this best path and these multipath ones, the best among them.
    fn record(
        &mut self,
        speaker: &Speaker,
        family: usize,
        best: Path,
        paths: impl Iterator<Item = Path>,
    ) -> Self::Record;
}

/// Everything. Routes of one event that have the same attributes share them.
#[derive(Default)]
struct Routes {
    decoded: hashbrown::HashMap<AttrId, Arc<Attributes>>,
}

impl Detail for Routes {
    type Record = FeedRoute;

    fn record(
        &mut self,
        speaker: &Speaker,
        family: usize,
        best: Path,
        paths: impl Iterator<Item = Path>,
    ) -> FeedRoute {
        let decode = || Arc::new(decode_canonical(speaker.shared.attrs.bytes(best.attr)));
        let attributes = self.decoded.entry(best.attr).or_insert_with(decode);
        FeedRoute {
            attributes: Arc::clone(attributes),
            paths: paths
                .map(|path| speaker.feed_path(path.peer, speaker.next_hop(&path)))
                .collect(),
            stale: speaker.shared.sources[best.peer.index()].is_stale(family, best.epoch),
        }
    }
}

/// Where packets go. Few of the ways of a million routes differ, and those of neighbours hardly.
#[derive(Default)]
struct Ways {
    key: Way,
    recent: Vec<(Way, Arc<[FeedPath]>)>,
    oldest: usize,
}

/// Whose paths, and their next hops.
type Way = Vec<(Slot, NextHop)>;

impl Ways {
    /// So many are remembered within one event.
    const RECENT: usize = 16;
}

impl Detail for Ways {
    type Record = Forwarding;

    fn record(
        &mut self,
        speaker: &Speaker,
        _family: usize,
        _best: Path,
        paths: impl Iterator<Item = Path>,
    ) -> Forwarding {
        self.key.clear();
        self.key
            .extend(paths.map(|path| (path.peer, speaker.next_hop(&path))));
        if let Some((_, paths)) = self.recent.iter().find(|(key, _)| *key == self.key) {
            let paths = Arc::clone(paths);
            return Forwarding { paths };
        }
        let hops = self.key.iter();
        let paths: Arc<[FeedPath]> = hops
            .map(|(peer, next_hop)| speaker.feed_path(*peer, *next_hop))
            .collect();
        let remembered = (self.key.clone(), Arc::clone(&paths));
        if self.recent.len() < Self::RECENT {
            self.recent.push(remembered);
        } else {
            self.recent[self.oldest] = remembered;
            self.oldest = (self.oldest + 1) % Self::RECENT;
        }
        Forwarding { paths }
    }
}
