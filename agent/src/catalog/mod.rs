//! The catalog's feed: what the loc-RIB holds becomes names.
//!
//! One task applies the speaker's feed to the catalog that the name server and the API share ([`Feed::run`]). It
//! holds the write lock for one batch of changes at a time and tells watchers the new index afterwards.
//!
//! Until the speaker says that both families are in sync, which it does for a host without neighbours too, the catalog
//! is growing and no name is denied. The agent is ready before that: a host whose neighbours are down serves its
//! containers, and its own names.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use wayleave_bgp_core::{
    attributes::{AsSegment, Attributes},
    feed::{FeedEvent, FeedRoute, RouteChange, RouteSource},
    types::Family,
};
use wayleave_discovery::{
    catalog::{Catalog, Statement},
    codec::{Codec, DecodeError, Decoded, RecordStatus},
    community::LargeCommunity,
    judge::{Facts, Source},
};

/// How many changes go in under one lock: a reader waits for no more than these.
const BATCH: usize = 256;

/// Records that cannot be used are logged this often at most: a neighbour can send any number of them.
const BROKEN_EVERY: Duration = Duration::from_secs(60);

/// Applies the speaker's feed to the catalog.
#[derive(Debug)]
pub struct Feed {
    codec: Codec,
    catalog: Arc<RwLock<Catalog>>,
    index: watch::Sender<u64>,
    /// Replicas on a node share their attributes: what was decoded last is likely to come again.
    last: Option<(Arc<Attributes>, Option<Statement>)>,
    in_sync: BTreeSet<Family>,
    broken: Broken,
}

/// Records that could not be used. How many there are now stands in the catalog's counts.
#[derive(Debug, Default)]
struct Broken {
    logged: Option<Instant>,
    unlogged: u64,
}

impl Broken {
    /// Counts one. How many were not logged before it, when it should be logged.
    fn count(&mut self, now: Instant) -> Option<u64> {
        if self
            .logged
            .is_some_and(|logged| now.duration_since(logged) < BROKEN_EVERY)
        {
            self.unlogged += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

impl Feed {
    /// A feed into this catalog. The receiver tells the catalog's index after each batch.
    #[must_use]
    pub fn new(codec: Codec, catalog: Arc<RwLock<Catalog>>) -> (Self, watch::Receiver<u64>) {
        let (index, changed) = watch::channel(0);
        (
            Self {
                codec,
                catalog,
                index,
                last: None,
                in_sync: BTreeSet::new(),
                broken: Broken::default(),
            },
            changed,
        )
    }

    /// Applies events until the speaker is gone.
    pub async fn run(mut self, mut events: mpsc::Receiver<FeedEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                FeedEvent::Changes(changes) => {
                    for batch in changes.chunks(BATCH) {
                        self.apply(batch);
                        tokio::task::yield_now().await;
                    }
                }
                FeedEvent::InSync(family) => {
                    self.in_sync.insert(family);
                    if Family::ALL
                        .iter()
                        .all(|family| self.in_sync.contains(family))
                    {
                        self.write().complete();
                    }
                }
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Catalog> {
        // The catalog is whole between any two of its calls: a panic elsewhere does not spoil it.
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies changes under one lock.
    pub fn apply(&mut self, changes: &[RouteChange]) {
        let decoded: Vec<(IpAddr, Option<(Statement, Facts)>)> = changes
            .iter()
            .filter(|change| change.prefix.is_host())
            .map(|change| {
                let route = change.route.as_ref();
                let said = route.and_then(|route| Some((self.statement(route)?, facts(route))));
                (change.prefix.addr(), said)
            })
            .collect();
        if decoded.is_empty() {
            return;
        }
        let mut catalog = self.write();
        let before = catalog.index();
        for (address, said) in decoded {
            match said {
                Some((statement, facts)) => catalog.upsert(address, statement, facts),
                None => catalog.remove(address),
            };
        }
        let index = catalog.index();
        drop(catalog);
        if index != before {
            self.index.send_replace(index);
        }
    }

    /// What a route says about discovery; none for most.
    fn statement(&mut self, route: &FeedRoute) -> Option<Statement> {
        if let Some((attributes, statement)) = &self.last
            && Arc::ptr_eq(attributes, &route.attributes)
        {
            return statement.clone();
        }
        let communities: Vec<LargeCommunity> = route
            .attributes
            .large_communities
            .iter()
            .map(|c| LargeCommunity::new(c.global, c.local1, c.local2))
            .collect();
        let count = &mut self.broken;
        let mut broken = |error: &dyn std::fmt::Display| {
            if let Some(unlogged) = count.count(Instant::now()) {
                tracing::warn!(source = ?facts(route).from, unlogged, "a record cannot be used: {error}");
            }
        };
        let statement = match self.codec.decode(&communities) {
            Ok(Decoded::Endpoint(announcement)) => {
                if let RecordStatus::Broken(error) = &announcement.record {
                    broken(error);
                }
                Some(Statement::Endpoint(Arc::new(announcement)))
            }
            Ok(Decoded::Carrier {
                carrier,
                broken: record,
            }) => {
                if let Some(error) = &record {
                    broken(error);
                }
                Some(Statement::Carrier(Arc::new(carrier)))
            }
            Err(DecodeError::NoMark) => None,
            Err(error) => {
                broken(&error);
                None
            }
        };
        self.last = Some((Arc::clone(&route.attributes), statement.clone()));
        statement
    }
}

/// What the loc-RIB knows of a route. The distance is the number of ASes on its path, plus one for the peer itself.
fn facts(route: &FeedRoute) -> Facts {
    let Some(best) = route.paths.first() else {
        return Facts::LOCAL;
    };
    match &best.source {
        RouteSource::Local => Facts::LOCAL,
        RouteSource::Peer(peer) => Facts {
            from: Source::Peer(Arc::clone(peer)),
            next_hop: Some(best.next_hop.addr),
            distance: 1 + route.attributes.as_path.iter().map(hops).sum::<u32>(),
            stale: route.stale,
        },
    }
}

/// How many ASes a segment counts for (RFC 4271, 9.1.2.2 a; RFC 5065, 5.3).
fn hops(segment: &AsSegment) -> u32 {
    match segment {
        AsSegment::Sequence(asns) => u32::try_from(asns.len()).unwrap_or(u32::MAX),
        AsSegment::Set(_) => 1,
        AsSegment::ConfedSequence(_) | AsSegment::ConfedSet(_) => 0,
    }
}

#[cfg(test)]
mod tests;
