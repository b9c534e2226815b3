//! What the RIB knows about where paths come from.

use std::net::{IpAddr, Ipv4Addr};

/// A peer's place in every table that is indexed by peer. Slot 0 is this speaker itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u16);

impl Slot {
    /// Routes this speaker originates.
    pub(crate) const LOCAL: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What the decision asks about a peer (RFC 4271, 9.1.2.2 d to g).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// Paths of another epoch are gone, whether swept already or not.
    pub(crate) epoch: u8,
    pub(crate) ebgp: bool,
    /// We reflect its routes to everybody (RFC 4456).
    pub(crate) client: bool,
    pub(crate) router_id: u32,
    pub(crate) address: IpAddr,
}

impl Source {
    /// This speaker itself.
    pub(crate) fn local(router_id: u32) -> Self {
        Self {
            epoch: 0,
            ebgp: false,
            client: true,
            router_id,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}
