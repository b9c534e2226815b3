//! What an operator asks of one session.

use super::Speaker;
use crate::{
    rib::source::Slot,
    types::{Family, Time},
    view::ShutDownView,
    wire::{Cease, Notification, RouteRefresh},
};

/// A peer that somebody has shut down.
#[derive(Clone, Debug)]
pub(super) struct ShutDown {
    since: Time,
    by: String,
    communication: Option<String>,
}

/// Why a table is not told anew, or not asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshRefused {
    /// No peer has this name.
    #[error("no peer is named `{0}`")]
    NoSuchPeer(String),
    /// There is no session.
    #[error(
        "the session with `{0}` is not Established: when it is, everything is told anew anyway"
    )]
    NotEstablished(String),
    /// The neighbour cannot be asked.
    #[error("`{0}` does not know route refresh (RFC 2918): it has not offered it")]
    NotOffered(String),
    /// The family is not exchanged.
    #[error("{family} is not exchanged with `{peer}`")]
    Family {
        /// With whom.
        peer: String,
        /// Which.
        family: Family,
    },
}

impl Speaker {
    /// Closes the session of the peer with this name and opens it again. Whether there is one.
    pub fn reset(&mut self, now: Time, name: &str, communication: Option<&str>) -> bool {
        let Some(slot) = self.slot_named(name) else {
            return false;
        };
        let why = Notification::cease(Cease::AdministrativeReset, communication);
        self.lose_stale(slot);
        self.with_session(now, slot, |session, fx| session.reset(now, &why, fx));
        true
    }

    /// Closes the session of the peer with this name (RFC 9003), and keeps it closed until
    /// [`enable`](Self::enable), whatever is configured meanwhile. `by`: who wants that, in words. Whether
    /// there is such a peer.
    pub fn shut_down(
        &mut self,
        now: Time,
        name: &str,
        by: &str,
        communication: Option<&str>,
    ) -> bool {
        let Some(slot) = self.slot_named(name) else {
            return false;
        };
        let entry = ShutDown {
            since: now,
            by: by.to_owned(),
            communication: communication.map(str::to_owned),
        };
        self.shut_down.insert(name.to_owned(), entry);
        let why = Notification::cease(Cease::AdministrativeShutdown, communication);
        self.lose_stale(slot);
        self.with_session(now, slot, |session, fx| session.stop(now, &why, fx));
        // Nobody waits for it any more.
        self.end_deferral(now);
        true
    }

    /// Lets the peer with this name have sessions again; whether it was shut down.
    pub fn enable(&mut self, now: Time, name: &str) -> bool {
        if self.shut_down.remove(name).is_none() {
            return false;
        }
        if let Some(slot) = self.slot_named(name) {
            self.with_session(now, slot, |session, fx| session.start(now, fx));
        }
        true
    }

    /// Asks the peer with this name to tell everything again (RFC 2918), of one family or of all that are
    /// exchanged with it; which these are.
    ///
    /// # Errors
    ///
    /// [`RefreshRefused`] when it cannot be asked.
    pub fn ask_again(
        &mut self,
        name: &str,
        family: Option<Family>,
    ) -> Result<Vec<Family>, RefreshRefused> {
        let (slot, families) = self.exchanged(name, family)?;
        let session = self.peer(slot).and_then(|peer| peer.session.established());
        let asked = session.filter(|(_, negotiated)| negotiated.route_refresh);
        let Some(conn) = asked.map(|(conn, _)| conn) else {
            return Err(RefreshRefused::NotOffered(name.to_owned()));
        };
        for family in &families {
            let (afi, safi) = family.code();
            let request = RouteRefresh {
                afi,
                safi,
                subtype: RouteRefresh::REQUEST,
            };
            self.send(conn, |out| request.encode(out));
        }
        Ok(families)
    }

    /// Tells the peer with this name everything again, of one family or of all that are exchanged with it,
    /// as if it had asked; which these are.
    ///
    /// # Errors
    ///
    /// [`RefreshRefused`] when there is nobody to tell.
    pub fn tell_again(
        &mut self,
        name: &str,
        family: Option<Family>,
    ) -> Result<Vec<Family>, RefreshRefused> {
        let (slot, families) = self.exchanged(name, family)?;
        let session = self.peer(slot).and_then(|peer| peer.session.established());
        let marks = session.is_some_and(|(_, negotiated)| negotiated.enhanced_refresh);
        let bounds = self.tables.bounds();
        if let Some(group) = self.group_mut(slot) {
            for &family in &families {
                group.refresh(slot, family, bounds, marks);
            }
        }
        self.walks_go_on = true;
        Ok(families)
    }

    /// Who has shut the peer with this name down, if somebody has.
    pub(super) fn shut_down_view(&self, now: Time, name: &str) -> Option<ShutDownView> {
        let entry = self.shut_down.get(name)?;
        Some(ShutDownView {
            seconds: now.since(entry.since).as_secs(),
            by: entry.by.clone(),
            communication: entry.communication.clone(),
        })
    }

    /// Forgets who was shut down and is configured no more: a neighbour that gets such a name later is
    /// another one.
    pub(super) fn forget_shut_down(&mut self) {
        let config = &self.config;
        self.shut_down.retain(|name, _| {
            let named = config.peers.iter().any(|peer| peer.name == *name);
            let mut ranges = config.ranges.iter();
            named || ranges.any(|range| name.starts_with(&format!("{}-", range.template.name)))
        });
    }

    /// What is held of a peer over a restart goes, when somebody wants its session to be over.
    fn lose_stale(&mut self, slot: Slot) {
        for family in Family::ALL {
            self.drop_stale(slot, family);
        }
    }

    fn exchanged(
        &self,
        name: &str,
        family: Option<Family>,
    ) -> Result<(Slot, Vec<Family>), RefreshRefused> {
        let named = || name.to_owned();
        let slot = self
            .slot_named(name)
            .ok_or_else(|| RefreshRefused::NoSuchPeer(named()))?;
        let session = self.peer(slot).and_then(|peer| peer.session.established());
        let (_, negotiated) = session.ok_or_else(|| RefreshRefused::NotEstablished(named()))?;
        let exchanged = |family: &Family| negotiated.families[family.index()];
        match family {
            Some(family) if !exchanged(&family) => Err(RefreshRefused::Family {
                peer: named(),
                family,
            }),
            Some(family) => Ok((slot, vec![family])),
            None => Ok((slot, Family::ALL.into_iter().filter(exchanged).collect())),
        }
    }
}
