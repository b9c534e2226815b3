//! Taking a new configuration.
//!
//! A peer whose settings changed is closed (Cease, 6) and opened with the new ones; all others are
//! left alone. A change of the speaker's own AS, identifier or cluster concerns everybody.

use super::Speaker;
use crate::{
    config::SpeakerConfig,
    rib::source::Source,
    types::Time,
    wire::{Cease, Notification},
};

impl Speaker {
    /// Puts `config` in force; says what was done, in words.
    pub fn reconfigure(&mut self, now: Time, config: SpeakerConfig) -> Vec<String> {
        let mut done = Vec::new();
        let old = std::mem::replace(&mut self.config, config);
        let new = self.config.clone();
        let all =
            (old.asn, old.router_id, old.cluster_id) != (new.asn, new.router_id, new.cluster_id);
        if all {
            self.shared.sources[0] = Source::local(new.router_id.to_u32());
            done.push(format!(
                "speaker: now AS {}, identifier {}; every session is opened again",
                new.asn, new.router_id
            ));
        }
        for slot in self.slots() {
            let Some(peer) = self.peer(slot) else {
                continue;
            };
            if peer.dynamic {
                if all || old.ranges != new.ranges {
                    done.push(format!("peer {}: closed, its range changed", peer.name));
                    let why = Notification::cease(Cease::OtherConfigurationChange, None);
                    self.remove_peer(now, slot, &why);
                }
                continue;
            }
            let kept = new.peers.iter().find(|kept| kept.name == *peer.name);
            let name = peer.name.clone();
            match kept {
                None => {
                    done.push(format!("peer {name}: removed"));
                    let why = Notification::cease(Cease::PeerDeconfigured, None);
                    self.remove_peer(now, slot, &why);
                }
                Some(kept) if all || kept != peer.session.config() => {
                    done.push(format!(
                        "peer {name}: settings changed, session opened again"
                    ));
                    let why = Notification::cease(Cease::OtherConfigurationChange, None);
                    self.remove_peer(now, slot, &why);
                    self.add_peer(now, kept.clone(), false);
                }
                Some(_) => {}
            }
        }
        for peer in &new.peers {
            if self.slot_named(&peer.name).is_none() {
                done.push(format!("peer {}: added", peer.name));
                self.add_peer(now, peer.clone(), false);
            }
        }
        done
    }
}
