//! What the registry wants announced, as the speaker takes it.

use wayleave_bgp_core::{
    feed::Origination,
    types::{LargeCommunity, Prefix},
};
use wayleave_discovery::{
    codec::{Carrier, Codec, EncodeError},
    community,
    registry::Change,
};

use crate::event::rank;

/// What the speaker should do about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// Originate this, in the place of what was originated for the prefix.
    Originate(Origination),
    /// Originate the prefix no longer.
    Withdraw(Prefix),
}

/// The host route of an endpoint. The next hop is ours on each session.
///
/// # Errors
/// Never for what a registry tells, which has checked it with the same codec at registration.
pub fn endpoint(codec: &Codec, change: &Change) -> Result<Announcement, EncodeError> {
    let prefix = Prefix::host(change.address);
    let Some(endpoint) = &change.endpoint else {
        return Ok(Announcement::Withdraw(prefix));
    };
    let mut origination = Origination::new(prefix);
    origination.rank = rank::DISCOVERY;
    origination.large_communities = codec.encode(endpoint)?.into_iter().map(large).collect();
    Ok(Announcement::Originate(origination))
}

/// The carrier of this node at an address of its own; the claims on blocks are added by their owner.
///
/// # Errors
/// When the node's name and addresses do not fit beside the rest, which takes some forty addresses.
pub fn carrier(
    codec: &Codec,
    carrier: &Carrier,
    address: std::net::IpAddr,
) -> Result<Origination, EncodeError> {
    let mut origination = Origination::new(Prefix::host(address));
    origination.rank = rank::DISCOVERY;
    origination.large_communities = codec
        .encode_carrier(carrier)?
        .into_iter()
        .map(large)
        .collect();
    Ok(origination)
}

fn large(community: community::LargeCommunity) -> LargeCommunity {
    let community::LargeCommunity {
        global,
        local1,
        local2,
    } = community;
    LargeCommunity {
        global,
        local1,
        local2,
    }
}
