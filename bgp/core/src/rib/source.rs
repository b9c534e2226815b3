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

/// Which path of which peer: one that tells several to a prefix gives each an identifier (RFC 7911, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whose {
    pub(crate) peer: Slot,
    /// 0 where it gives none.
    pub(crate) path_id: u32,
}

impl From<Slot> for Whose {
    fn from(peer: Slot) -> Self {
        Self { peer, path_id: 0 }
    }
}

/// What the decision asks about a peer (RFC 4271, 9.1.2.2 d to g).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// By family; paths of another epoch are gone, whether swept already or not.
    pub(crate) epoch: [u8; 2],
    /// By family: paths of this epoch are *stale*. They count until the peer has said that it has
    /// told everything anew (RFC 7313, 4; RFC 4724, 4.2).
    pub(crate) stale: [Option<u8>; 2],
    pub(crate) ebgp: bool,
    /// Its session is on an interface: a link-local address beside a next hop leads there, as long as
    /// that is.
    pub(crate) on_interface: bool,
    /// We reflect its routes to everybody (RFC 4456).
    pub(crate) client: bool,
    pub(crate) router_id: u32,
    pub(crate) address: IpAddr,
}

impl Source {
    /// Whether a path of this family and epoch counts.
    #[inline]
    pub(crate) fn holds(&self, family: usize, epoch: u8) -> bool {
        self.epoch[family] == epoch || self.is_stale(family, epoch)
    }

    /// Whether it counts although it has not been told anew.
    #[inline]
    pub(crate) fn is_stale(&self, family: usize, epoch: u8) -> bool {
        self.stale[family] == Some(epoch)
    }

    /// What is held of a family is stale from now on. None of it may be so already.
    pub(crate) fn make_stale(&mut self, family: usize) {
        self.stale[family] = Some(self.epoch[family]);
        self.advance(family);
    }

    /// All paths of a family are gone, the stale ones too.
    pub(crate) fn lose(&mut self, family: usize) {
        self.stale[family] = None;
        self.advance(family);
    }

    /// What comes now is told from what came before. Nothing is left of the epoch 256 ago: a sweep
    /// follows every loss, and is over long before, as a peer can cause one loss a second by its
    /// messages, and few more by its sessions.
    fn advance(&mut self, family: usize) {
        self.epoch[family] = self.epoch[family].wrapping_add(1);
    }
    /// This speaker itself.
    pub(crate) fn local(router_id: u32) -> Self {
        Self {
            epoch: [0; 2],
            stale: [None; 2],
            ebgp: false,
            on_interface: true,
            client: true,
            router_id,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}
