//! Two networks in the daemon's namespace, one inside the other: a next hop that lies in both.
//!
//! As long as only the wider one is there, the next hop is on the first interface; with the
//! longer prefix on the second it is there. Nobody has the address: nothing is sent to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    error::Error,
    fabric::Fabric,
    netlink::{Batch, address},
    prefix::Family,
};

/// Both ends of the first pair are in the namespace, and so are those of the second.
const PAIRS: [[&str; 2]; 2] = [["near", "near-end"], ["far", "far-end"]];

/// The next hop.
pub(super) fn next_hop(family: Family) -> IpAddr {
    address_of(family, 10)
}

fn address_of(family: Family, host: u8) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, 98, 0, host)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfd98, 0, 0, 0, 0, 0, 0, host.into())),
    }
}

/// The interfaces, there until this is dropped.
#[derive(Debug)]
pub(super) struct Detour<'a> {
    fabric: &'a Fabric,
    /// Where the next hop is.
    pub(super) near: u32,
    /// Where it will be.
    pub(super) far: u32,
}

impl<'a> Detour<'a> {
    /// Makes both interfaces, and the wider network on the first.
    pub(super) fn build(fabric: &'a Fabric, family: Family) -> Result<Self, Error> {
        // From here on a failure takes away what there is of it.
        let mut detour = Self {
            fabric,
            near: 0,
            far: 0,
        };
        for [end, other] in PAIRS {
            fabric.ip_in_daemons(&format!("link add {end} type veth peer name {other}"))?;
            for link in [end, other] {
                // No addresses of their own: their making would fall into the measurement.
                fabric.ip_in_daemons(&format!("link set {link} addrgenmode none up"))?;
            }
        }
        let wider = match family {
            Family::Ipv4 => 24,
            Family::Ipv6 => 64,
        };
        let address = address_of(family, 1);
        fabric.ip_in_daemons(&format!(
            "address add {address}/{wider} dev {} nodad",
            PAIRS[0][0]
        ))?;
        let [near, far] = PAIRS.map(|[end, _]| fabric.interface(end));
        (detour.near, detour.far) = (near?, far?);
        Ok(detour)
    }

    /// What puts the longer prefix on the second interface.
    pub(super) fn switch(&self, family: Family) -> Batch {
        let longer = family.max_len() - 3;
        address::addition(address_of(family, 9), longer, self.far)
    }
}

impl Drop for Detour<'_> {
    fn drop(&mut self) {
        for [end, _] in PAIRS {
            // What was never made cannot be deleted.
            let _ = self.fabric.ip_in_daemons(&format!("link delete {end}"));
        }
    }
}
