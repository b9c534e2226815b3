//! What is known of the way to a peer, beside what comes over it: BFD (RFC 5882) and the link.

use super::{Action, BfdReport, Speaker, action};
use crate::{
    rib::source::Slot,
    session::ConnId,
    types::{Family, Time},
    view::BfdState,
    wire::{Cease, Notification},
};

impl Speaker {
    /// What BFD says of the way that this session goes. A broken one ends it (RFC 9384).
    ///
    /// BFD that has never been up, or was switched off at either end, ends nothing: a neighbour need
    /// not have it (RFC 5882, 4.1 and 4.2).
    pub fn bfd(&mut self, now: Time, conn: ConnId, report: BfdReport) {
        let Some(slot) = self.conns.get(&conn).map(|entry| entry.slot) else {
            return;
        };
        let Some(peer) = self.peer_mut(slot) else {
            return;
        };
        if peer.session.established().map(|(up, _)| up) != Some(conn) {
            return;
        }
        match report {
            BfdReport::State(state) => peer.bfd = Some(state),
            BfdReport::Trouble(why) => peer.bfd_trouble = Some(why),
            BfdReport::Healed => peer.bfd_trouble = None,
            BfdReport::Failed => {
                let why = Notification::cease(Cease::BfdDown, None);
                self.fault(now, slot, conn, why);
            }
        }
    }

    /// An interface cannot pass packets any more. Sessions with external neighbours on its link are
    /// lost at once: there is no other way to them.
    pub fn link_down(&mut self, now: Time, interface: &str) {
        let lost = self.conns.iter().filter(|(_, entry)| {
            let on_it = |info: &super::ConnInfo| info.link.as_deref() == Some(interface);
            let far = self.peer(entry.slot).is_none_or(|peer| {
                let (ttl, least) = action::ttls(peer.session.config(), &self.config);
                ttl != Some(1) && least.is_none()
            });
            entry.info.as_ref().is_some_and(on_it) && !far
        });
        let lost: Vec<(ConnId, Slot)> = lost.map(|(&conn, entry)| (conn, entry.slot)).collect();
        for (conn, slot) in lost {
            let why = format!("the interface {interface} is down");
            self.with_session(now, slot, |session, fx| {
                session.way_lost(now, conn, &why, fx)
            });
        }
        // What is held of neighbours that are away leads over it too, and they cannot come back by it.
        for slot in self.slots() {
            let held = self.peer(slot).is_some_and(|peer| {
                let (ttl, least) = action::ttls(peer.session.config(), &self.config);
                let near = ttl == Some(1) || least.is_some();
                near && peer.link.as_deref() == Some(interface)
                    && peer.session.established().is_none()
            });
            if held {
                for family in Family::ALL {
                    self.drop_stale(slot, family);
                }
            }
        }
    }

    pub(super) fn start_bfd(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        let Some((conn, _)) = peer.session.established() else {
            return;
        };
        let info = self.conns.get(&conn).and_then(|entry| entry.info.as_ref());
        if let (Some(timers), Some(info)) = (peer.session.config().bfd, info) {
            peer.bfd = Some(BfdState::Down);
            self.actions.push_back(Action::BfdStart {
                conn,
                remote: info.remote.ip().to_canonical(),
                local: info.local.ip().to_canonical(),
                link: info.link.clone(),
                timers,
            });
        }
    }

    pub(super) fn stop_bfd(&mut self, slot: Slot, conn: ConnId) {
        if let Some(peer) = self.peer_mut(slot)
            && peer.bfd.take().is_some() | peer.bfd_trouble.take().is_some()
        {
            self.actions.push_back(Action::BfdStop { conn });
        }
    }
}
