//! A start after a restart: until the neighbours have told what they have, nothing is decided that
//! anybody hears of (RFC 4724, 4.1).
//!
//! Neighbours that know of graceful restart have gone on forwarding by our old routes, and hold them
//! until our End-of-RIB says that there are no others. To tell them half of a table, and then that
//! it is whole, would take away what still works. So routes come in as ever, but they are neither
//! sent nor handed to the feeds: the kernel goes on with those of the process before.

use super::{
    Speaker,
    feed::{ALONE_AFTER, QUIET},
};
use crate::{
    rib::source::Slot,
    session::OurRestart,
    types::{Family, Time},
};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deferral {
    /// Selection_Deferral_Timer: nobody is waited for any longer than this.
    until: Time,
    /// The routes of this speaker's own are not all there yet.
    own: bool,
}

impl Deferral {
    /// Of a speaker that starts now.
    pub(super) fn new(now: Time, config: &crate::config::SpeakerConfig) -> Option<Self> {
        let asks = config.restart_time > 0 || config.long_lived_restart_time > 0;
        let restarts = config.restarted && asks;
        restarts.then(|| Self {
            until: now + config.selection_deferral,
            own: config.awaits_own_routes,
        })
    }

    pub(super) fn until(self) -> Time {
        self.until
    }
}

impl Speaker {
    /// Everything this speaker originates has been said: see
    /// [`awaits_own_routes`](crate::config::SpeakerConfig::awaits_own_routes).
    pub fn own_routes_are_complete(&mut self, now: Time) {
        if let Some(deferral) = &mut self.deferral {
            deferral.own = false;
        }
        self.end_deferral(now);
    }

    /// Whether routes are still kept back after a restart.
    pub fn is_deferring(&self) -> bool {
        self.deferral.is_some()
    }

    /// What our OPENs say of our own restarts.
    pub(super) fn our_restart(&self) -> OurRestart {
        OurRestart {
            time: self.config.restart_time,
            long_lived: self.config.long_lived_restart_time,
            // "the Restart State bit ... when set, indicates that the BGP speaker has restarted, and
            // its peer MUST NOT wait for the End-of-RIB marker from the speaker" (3).
            restarting: self.deferral.is_some(),
            // At the first start there is no forwarding state that could have been kept; later it
            // has been, whatever ended a session.
            forwarding: self.config.restarted || self.is_settled,
        }
    }

    /// Ends the deferral if everybody has been heard or the time is over; whether there is none.
    pub(super) fn end_deferral(&mut self, now: Time) -> bool {
        let Some(deferral) = self.deferral else {
            // After a first start: from now on there is something that a restart could keep.
            if !self.is_settled && now.since(self.started) >= ALONE_AFTER {
                self.settled();
            }
            return true;
        };
        let waits = deferral.own || self.slots().into_iter().any(|slot| self.awaits(now, slot));
        if waits && now < deferral.until {
            return false;
        }
        self.deferral = None;
        // What was learned is told now.
        self.walks_go_on = true;
        self.settled();
        true
    }

    /// Sessions to come say so in their OPENs.
    fn settled(&mut self) {
        self.is_settled = true;
        let restart = self.our_restart();
        for peer in self.peers.iter_mut().flatten() {
            peer.session.set_restart(restart);
        }
    }

    /// Whether a peer still has something to tell. One that restarts itself is not waited for: it
    /// may wait for us ("not including the ones with the 'Restart State' bit set", 4.1).
    fn awaits(&self, now: Time, slot: Slot) -> bool {
        let Some(peer) = self.peer(slot) else {
            return false;
        };
        let Some((_, negotiated)) = peer.session.established() else {
            return peer.range.is_none() && !peer.session.config().disabled;
        };
        if negotiated.is_restarting {
            return false;
        }
        Family::ALL.into_iter().any(|family| {
            let index = family.index();
            let quiet = !negotiated.sends_end_of_rib && now.since(peer.last_route) >= QUIET;
            negotiated.families[index] && !peer.counts[index].end_of_rib && !quiet
        })
    }
}
