//! Unnumbered peers: one neighbour on the link of an interface, whose address nobody has configured.
//!
//! Who it is the driver hears by its router advertisements (RFC 4861, 4.2), or it connects first. Any
//! address of that link may: there is but one neighbour on it.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::Speaker;
use crate::{config::PeerConfig, rib::source::Slot, types::Time};

impl Speaker {
    /// The neighbour on the link of this interface has this link-local address. It is kept in mind: a
    /// peer may be configured there later. To be told again does no harm.
    pub fn neighbor_is(&mut self, now: Time, interface: &str, address: Ipv6Addr) {
        let interface: Arc<str> = interface.into();
        let slot = self.on_interface(&interface);
        self.neighbors.insert(interface, address);
        if let Some(slot) = slot {
            self.with_session(now, slot, |session, fx| {
                session.found(now, IpAddr::V6(address), fx);
            });
        }
    }

    /// Where an unnumbered peer was found.
    pub(super) fn neighbor_of(&self, config: &PeerConfig) -> Option<IpAddr> {
        let interface = config
            .interface
            .as_deref()
            .filter(|_| config.is_unnumbered())?;
        self.neighbors.get(interface).copied().map(IpAddr::V6)
    }

    /// The unnumbered peer that somebody with this address on the link of this interface can be. While
    /// its session is up, nobody else is.
    pub(super) fn unnumbered(&self, address: IpAddr, interface: Option<&Arc<str>>) -> Option<Slot> {
        let slot = self.on_interface(interface?)?;
        let session = &self.peer(slot)?.session;
        let other = session.established().is_some() && session.remote() != Some(address);
        (is_link_local(address) && !other).then_some(slot)
    }

    /// Whether somebody with this address may be an unnumbered peer.
    pub(super) fn expects_anybody(&self, address: IpAddr) -> bool {
        is_link_local(address) && self.by_address.keys().any(|(known, _)| *known == UNKNOWN)
    }

    fn on_interface(&self, interface: &Arc<str>) -> Option<Slot> {
        self.by_address
            .get(&(UNKNOWN, Some(Arc::clone(interface))))
            .copied()
    }
}

/// What stands for the address of an unnumbered peer.
const UNKNOWN: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
