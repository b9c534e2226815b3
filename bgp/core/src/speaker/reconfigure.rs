//! Taking a new configuration.
//!
//! What changed is changed, nothing else. A session is closed (Cease, 6) only when something it
//! was opened with changed: see [`opened_alike`]. Policy is applied to what is held already, in
//! both directions. A change of the speaker's own AS, identifier or cluster concerns everybody.

use std::net::IpAddr;

use super::{
    Action, Speaker, action,
    range::{of_range_at, range_of},
    rules::Import,
};
use crate::{
    config::{PeerConfig, Policy, SpeakerConfig},
    rib::{
        key::PrefixKey,
        source::{Slot, Source},
        table::Table,
    },
    types::{Prefix, Time},
    wire::{Cease, Notification},
};

/// Whether a session opened with one of these would have been opened alike with the other.
fn opened_alike(old: &PeerConfig, new: &PeerConfig) -> bool {
    let mut old = old.clone();
    old.import = new.import.clone();
    old.export = new.export.clone();
    old.role = new.role.clone();
    old.allow_own_as = new.allow_own_as;
    old.enforce_first_as = new.enforce_first_as;
    old.next_hop_self = new.next_hop_self;
    old.as_override = new.as_override;
    old.remove_private_as = new.remove_private_as;
    if let (Some(old), Some(new)) = (&mut old.local_as, new.local_as) {
        old.prepend = new.prepend;
        old.replace = new.replace;
    }
    old.reflector_client = new.reflector_client;
    old.discovery = new.discovery;
    old.max_prefixes = new.max_prefixes;
    old.max_prefixes_of = new.max_prefixes_of;
    old.max_prefixes_warning = new.max_prefixes_warning;
    old.max_prefixes_restart = new.max_prefixes_restart;
    old.connect_retry = new.connect_retry;
    old.delay_open = new.delay_open;
    old.bfd = new.bfd;
    old.send_hold_time = new.send_hold_time;
    old == *new
}

impl Speaker {
    /// Puts `config` in force; says what was done, in words.
    pub fn reconfigure(&mut self, now: Time, config: SpeakerConfig) -> Vec<String> {
        let mut done = Vec::new();
        let old = std::mem::replace(&mut self.config, config);
        // What a start found is not for a configuration to change.
        self.config.restarted = old.restarted;
        let new = self.config.clone();
        let all = (old.asn, old.router_id, old.cluster_id, old.discovery)
            != (new.asn, new.router_id, new.cluster_id, new.discovery)
            || old.own_marks != new.own_marks;
        if all {
            self.shared.sources[0] = Source::local(new.router_id.to_u32());
            done.push(format!(
                "speaker: now AS {}, identifier {}; every session is opened again",
                new.asn, new.router_id
            ));
        }
        if old.discovery != new.discovery {
            self.shared.attrs.set_discovery(new.discovery);
        }
        if old.own_marks != new.own_marks {
            self.announce_all_own(now);
        }
        let asked = |config: &SpeakerConfig| (config.restart_time, config.long_lived_restart_time);
        if asked(&old) != asked(&new) {
            done.push(format!(
                "speaker: neighbours are asked to hold our routes for {} s, and for {} s more as the last \
                 choice, from the next session on",
                new.restart_time, new.long_lived_restart_time
            ));
            let restart = self.our_restart();
            for peer in self.peers.iter_mut().flatten() {
                peer.session.set_restart(restart);
            }
        }
        // Who goes, goes first: somebody else may come under its name or at its address.
        let mut again = Vec::new();
        for slot in self.slots() {
            let Some(peer) = self.peer(slot) else {
                continue;
            };
            let name = peer.name.clone();
            let old_config = peer.session.config();
            let change = match peer.range {
                Some(range) => of_range(&new, range, old_config.address),
                None => new.peers.iter().find(|kept| kept.name == *name).cloned(),
            };
            let dynamic = peer.range.is_some();
            match change {
                None => {
                    let (said, why) = match dynamic {
                        true => ("closed, its range changed", Cease::OtherConfigurationChange),
                        false => ("removed", Cease::PeerDeconfigured),
                    };
                    done.push(format!("peer {name}: {said}"));
                    self.remove_peer(now, slot, &Notification::cease(why, None));
                }
                Some(kept) if !all && kept == *old_config => {}
                Some(kept) if !all && opened_alike(old_config, &kept) => {
                    done.push(format!("peer {name}: policy changed, session kept"));
                    self.change_policy(now, slot, kept);
                }
                Some(kept) => {
                    let why = match kept.disabled && !old_config.disabled {
                        true => Cease::AdministrativeShutdown,
                        false => Cease::OtherConfigurationChange,
                    };
                    done.push(format!(
                        "peer {name}: settings changed, session opened again"
                    ));
                    self.remove_peer(now, slot, &Notification::cease(why, None));
                    if !dynamic {
                        again.push(kept);
                    }
                }
            }
        }
        for peer in again {
            self.add_peer(now, peer, None);
        }
        for peer in &new.peers {
            if self.slot_named(&peer.name).is_none() {
                done.push(format!("peer {}: added", peer.name));
                self.add_peer(now, peer.clone(), None);
            }
        }
        self.forget_shut_down();
        if old.multipath != new.multipath {
            done.push(format!("speaker: up to {} equal paths", new.multipath));
            for feed in self.feeds.iter_mut().flatten() {
                feed.start_again();
            }
        }
        done
    }

    /// Applies other policy to what `slot` has sent and was sent.
    fn change_policy(&mut self, now: Time, slot: Slot, config: PeerConfig) {
        let Some(peer) = self.peer_mut(slot) else {
            return;
        };
        let client = config.reflector_client;
        let old = peer.session.config().clone();
        peer.session.set_config(config.clone());
        self.arm(slot);
        let same_rules = match (&old.import, &config.import) {
            (Policy::Rules(old), Policy::Rules(new)) => old.does_as(new),
            (old, new) => old == new,
        };
        let judged_by = |config: &PeerConfig| {
            (
                config.role.clone(),
                config.allow_own_as,
                config.enforce_first_as,
                config.discovery,
                config.local_as,
            )
        };
        if !same_rules || judged_by(&old) != judged_by(&config) {
            let asn = self.config.asn;
            if let Some(peer) = self.peer_mut(slot) {
                peer.import = Import::of(peer, asn);
            }
            self.judge_anew(slot);
        }
        if old.bfd != config.bfd
            && let Some((conn, _)) = self.peer(slot).and_then(|peer| peer.session.established())
        {
            match (old.bfd, config.bfd) {
                // The watch goes on: to begin it anew would look like a failure to the neighbour.
                (Some(_), Some(timers)) => {
                    self.actions.push_back(Action::BfdTimers { conn, timers });
                }
                (None, _) | (_, None) => {
                    self.stop_bfd(slot, conn);
                    self.start_bfd(slot);
                }
            }
        }
        // Whether its routes are reflected concerns every group.
        if self.shared.sources[slot.index()].client != client {
            self.shared.sources[slot.index()].client = client;
            mark_all(&mut self.tables.v4, slot);
            mark_all(&mut self.tables.v6, slot);
        }
        self.regroup(slot);
        if let Err(notification) = self.check_limit(slot)
            && let Some((conn, _)) = self.peer(slot).and_then(|peer| peer.session.established())
        {
            self.fault(now, slot, conn, notification);
        }
    }

    /// Puts a peer whose session is up into the group it belongs to by now.
    pub(super) fn regroup(&mut self, slot: Slot) {
        let key = self.peer(slot).and_then(|peer| {
            let (conn, negotiated) = peer.session.established()?;
            let info = self.conns.get(&conn)?.info.as_ref()?;
            Some(action::group_key(&self.config, peer, negotiated, info))
        });
        let group = self
            .peer(slot)
            .and_then(|peer| self.groups.get(peer.group?)?.as_ref());
        if let (Some(key), Some(group)) = (key, group)
            && key != group.key
        {
            let departure = self.leave_group(slot);
            self.join_group(slot, key, departure);
        }
    }
}

/// What a peer that came from a range is by now; `None`: nobody, or somebody with a name.
fn of_range(config: &SpeakerConfig, range: Prefix, address: IpAddr) -> Option<PeerConfig> {
    let named = config.peers.iter().any(|peer| peer.address == address);
    let by_now = range_of(&config.ranges, address).filter(|by_now| by_now.prefix == range);
    by_now
        .filter(|_| !named)
        .map(|range| of_range_at(range, address))
}

/// Makes every group look again at the routes of `slot`.
fn mark_all<P: PrefixKey>(table: &mut Table<P>, slot: Slot) {
    for dest in 0..table.dest_bound() {
        if table.is_live(dest) && table.paths_of(dest).any(|(_, path)| path.peer == slot) {
            table.mark_dirty(dest);
        }
    }
}
