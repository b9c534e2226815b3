//! The record of an attachment: what is durable before the kernel is touched.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};
use wayleave_ipam::{Allocator, Lease, Owner, ProofOfLife};
use wayleave_netlink::Mac;

use super::{AddRequest, name};
use crate::store::{StoreError, Table, Write};

/// A container's interface that is attached, or about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which.
    pub owner: Owner,
    /// The network it is in.
    pub network: String,
    /// The path of its namespace, as the runtime named it.
    pub netns: String,
    /// What shows that it lives.
    pub alive: ProofOfLife,
    /// The name of the host's end.
    pub host_name: String,
    /// The hardware address of the host's end.
    pub host_mac: Mac,
    /// The hardware address of the container's end.
    pub container_mac: Mac,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The MTU of both ends in bytes.
    pub mtu: u32,
}

impl Attachment {
    pub(super) fn new(
        request: &AddRequest,
        alive: ProofOfLife,
        leases: &[Lease],
        mtu: u32,
    ) -> Self {
        let owner = request.owner.clone();
        Self {
            network: request.network.clone(),
            netns: request.netns.clone(),
            alive,
            host_name: name::host_name(&owner),
            host_mac: name::host_mac(&owner),
            container_mac: request.mac.unwrap_or_else(|| name::container_mac(&owner)),
            addresses: leases.iter().map(|lease| lease.address).collect(),
            mtu,
            owner,
        }
    }

    /// Whether it has an address of the family.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }

    pub(super) fn put(&self) -> Result<Write, StoreError> {
        Write::put(Table::Attachments, key(&self.owner), self)
    }
}

/// The key of a record: neither part can hold a slash.
pub(super) fn key(owner: &Owner) -> String {
    format!("{}/{}", owner.container, owner.interface)
}

/// The writes that forget an owner: its record and its leases. `recorded` are the addresses of its
/// record, which may be older than the leases: one that is somebody else's by now stays his.
pub(super) fn forget(owner: &Owner, recorded: &[IpAddr], allocator: &Allocator) -> Vec<Write> {
    let others = |address: &IpAddr| {
        let lease = allocator.lease(*address);
        lease.is_some_and(|lease| lease.owner != *owner)
    };
    let leased = allocator.leases_of(owner).map(|lease| lease.address);
    let addresses: BTreeSet<IpAddr> = recorded
        .iter()
        .copied()
        .filter(|address| !others(address))
        .chain(leased)
        .collect();
    let leases = addresses.into_iter().map(Write::forget_lease);
    std::iter::once(Write::delete(Table::Attachments, key(owner)))
        .chain(leases)
        .collect()
}
