//! Which addresses services of this host may be announced at.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::answers::Network;

/// The addresses of this host's containers, and those that are none of theirs, by configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The blocks of this host.
    pub blocks: Vec<Network>,
    /// Addresses that no service may draw packets from, and whose they are: `the address of neighbour tor`. They are
    /// refused even inside a block.
    pub reserved: BTreeMap<IpAddr, String>,
}

/// Why a service cannot be announced at an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotHere {
    /// It is known to be somebody else's.
    #[error("{address} is {owner}, and announcing it would draw its packets away")]
    Reserved {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        owner: String,
    },
    /// It is no address of this host.
    #[error(
        "{address} lies in no block of this host ({}), and announcing it would draw another host's packets here",
        listed(.blocks)
    )]
    Elsewhere {
        /// The address.
        address: IpAddr,
        /// The blocks of this host.
        blocks: Vec<Network>,
    },
    /// Nobody has it.
    #[error("no container of this host has {address}")]
    Vacant {
        /// The address.
        address: IpAddr,
    },
}

impl NotHere {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Reserved { .. } => {
                "give the address of a container (`wayleave ipam show` lists them)"
            }
            Self::Elsewhere { .. } => "register it on the host whose container has the address",
            Self::Vacant { .. } => {
                "attach its container first (`wayleave ipam show` lists which address is whose)"
            }
        }
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Reserved { address, .. }
            | Self::Elsewhere { address, .. }
            | Self::Vacant { address } => *address,
        }
    }
}

impl Places {
    /// Why nothing can be announced at an address, given the addresses that containers have; none when it can.
    ///
    /// A container may have outlived the block it was leased from: its address is announced by the containers' owner
    /// then, as a host route that must not be withdrawn with a service.
    pub(super) fn refusal(&self, address: IpAddr, taken: &BTreeSet<IpAddr>) -> Option<NotHere> {
        if let Some(owner) = self.reserved.get(&address) {
            return Some(NotHere::Reserved {
                address,
                owner: owner.clone(),
            });
        }
        if !self.blocks.iter().any(|block| block.contains(address)) {
            return Some(NotHere::Elsewhere {
                address,
                blocks: self.blocks.clone(),
            });
        }
        (!taken.contains(&address)).then_some(NotHere::Vacant { address })
    }
}

fn listed(blocks: &[Network]) -> String {
    if blocks.is_empty() {
        return "it has none".to_owned();
    }
    let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
    blocks.join(", ")
}
