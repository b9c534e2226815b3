//! A start after a restart: until the neighbours have told what they have, nothing is decided that
//! anybody hears of (RFC 4724, 4.1).
//!
//! Neighbours that know of graceful restart have gone on forwarding by our old routes, and hold them
//! until our End-of-RIB says that there are no others. To tell them half of a table, and then that
//! it is whole, would take away what still works. So routes come in as ever, but they are neither
//! sent nor handed to the feeds: the kernel goes on with those of the process before.

use std::time::Duration;

use super::{
    Speaker,
    feed::{ALONE_AFTER, QUIET},
};
use crate::{
    rib::source::Slot,
    session::OurRestart,
    types::{Family, Time},
    view::DeferralView,
};

/// Neighbours from ranges have to call: the slowest of them do so every few seconds.
const STRANGERS: Duration = Duration::from_secs(10);

/// How often it is looked whether somebody has been quiet for long enough.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deferral {
    /// Selection_Deferral_Timer: nobody is waited for any longer than this.
    until: Time,
    /// When to look again: some of what is waited for is that time passes.
    look: Time,
    /// The last of those who come without being named has come then.
    came: Time,
    /// The routes of this speaker's own are not all there yet.
    own: bool,
}

impl Deferral {
    /// Of a speaker that starts now.
    pub(super) fn new(now: Time, config: &crate::config::SpeakerConfig) -> Option<Self> {
        let asks = config.restart_time > 0 || config.long_lived_restart_time > 0;
        let restarts = config.restarted && asks;
        // Past that nobody holds our routes any more, and nothing is gained by waiting.
        let held = u64::from(config.restart_time) + u64::from(config.long_lived_restart_time);
        let most = config.selection_deferral.min(Duration::from_secs(held));
        restarts.then(|| Self {
            until: now + most,
            look: now,
            came: now,
            own: config.awaits_own_routes,
        })
    }

    /// When the machine is to be asked at the latest.
    pub(super) fn due(self) -> Time {
        self.look.min(self.until)
    }
}

impl Speaker {
    /// Everything this speaker originates has been said: see
    /// [`awaits_own_routes`](crate::config::SpeakerConfig::awaits_own_routes).
    pub fn own_routes_are_complete(&mut self, now: Time) {
        match &mut self.deferral {
            Some(deferral) => deferral.own = false,
            // What is forwarded is in order from now on.
            None => self.settled(),
        }
        self.end_deferral(now);
    }

    /// Somebody has come who is known by a range only: others may follow.
    pub(super) fn somebody_came(&mut self, now: Time) {
        if let Some(deferral) = &mut self.deferral {
            deferral.came = now;
        }
    }

    /// For whom it is waited after a restart, and for how long at most.
    pub fn deferral(&self, now: Time) -> Option<DeferralView> {
        let deferral = self.deferral?;
        let mut waits_for = Vec::new();
        if deferral.own {
            waits_for.push("the routes of this host".to_owned());
        }
        let peers = self.slots().into_iter();
        let awaited = peers.filter(|&slot| self.awaits(now, slot));
        waits_for.extend(awaited.filter_map(|slot| Some(self.peer(slot)?.name.to_string())));
        if self.awaits_strangers(now, deferral) {
            let ranges = self.config.ranges.iter();
            waits_for.extend(ranges.map(|range| range.prefix.to_string()));
        }
        Some(DeferralView {
            seconds: deferral.until.since(now).as_secs(),
            waits_for,
        })
    }

    /// Who comes from a range is not known by name: it is waited until nobody has for a while.
    fn awaits_strangers(&self, now: Time, deferral: Deferral) -> bool {
        !self.config.ranges.is_empty() && now.since(deferral.came) < STRANGERS
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
        let waits = deferral.own
            || self.awaits_strangers(now, deferral)
            || self.slots().into_iter().any(|slot| self.awaits(now, slot));
        if waits && now < deferral.until {
            self.deferral = Some(Deferral {
                look: now + LOOK_EVERY,
                ..deferral
            });
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
            return peer.range.is_none() && !peer.session.is_stopped();
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
