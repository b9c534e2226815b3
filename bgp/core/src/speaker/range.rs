//! Peers that nobody has named: whoever connects from a listen range.

use std::net::IpAddr;

use super::{ConnInfo, Peer, Speaker, peer};
use crate::{
    config::{ListenRange, PeerConfig},
    rib::source::Slot,
    types::{Prefix, Time},
    wire::{Cease, Notification},
};

/// A listen range has as many peers as it may.
#[derive(Debug)]
pub(super) struct RangeIsFull;

impl Speaker {
    /// Makes a peer of somebody who connects from a listen range; `None`: from none of them.
    pub(super) fn admit(
        &mut self,
        now: Time,
        info: &ConnInfo,
    ) -> Result<Option<Slot>, RangeIsFull> {
        let address = info.remote.ip().to_canonical();
        // A peer that is known by name, but connects to another address of ours, is nobody else.
        if self.by_address.contains_key(&(address, None)) {
            return Ok(None);
        }
        let Some(range) = range_of(&self.config.ranges, address) else {
            return Ok(None);
        };
        let of_range = |peer: &&Peer| peer.range == Some(range.prefix);
        let mut present: Vec<&Peer> = self.peers.iter().flatten().filter(of_range).collect();
        if present.len() >= range.limit as usize {
            // Who is held back has no claim to a place that somebody else wants.
            present.retain(|peer| peer.session.is_alone());
            // Last of all one whose routes are held: it is expected back.
            let held = |peer: &Peer| peer.stale.iter().any(peer::Stale::is_held);
            present.sort_by_key(|peer| held(peer));
            let gives_way = present.first().map(|peer| peer.name.clone());
            let Some(slot) = gives_way.and_then(|name| self.slot_named(&name)) else {
                return Err(RangeIsFull);
            };
            let why = Notification::cease(Cease::PeerDeconfigured, None);
            self.remove_peer(now, slot, &why);
        }
        let Some(range) = range_of(&self.config.ranges, address) else {
            return Ok(None);
        };
        let (prefix, config) = (range.prefix, of_range_at(range, address));
        Ok(self.add_peer(now, config, Some(prefix)))
    }
}

/// The most specific range with this address.
pub(super) fn range_of(ranges: &[ListenRange], address: IpAddr) -> Option<&ListenRange> {
    let host = Prefix::host(address);
    let covering = ranges.iter().filter(|range| range.prefix.contains(host));
    covering.max_by_key(|range| range.prefix.len())
}

/// What a range makes of a peer at this address.
pub(super) fn of_range_at(range: &ListenRange, address: IpAddr) -> PeerConfig {
    let template = range.template.clone();
    PeerConfig {
        name: format!("{}-{address}", template.name),
        address,
        interface: None,
        passive: true,
        ..template
    }
}
