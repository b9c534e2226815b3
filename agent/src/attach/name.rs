//! Names and hardware addresses, derived from whose they are.
//!
//! A process with no memory derives the same, and so finds what an earlier one left.

use wayleave_ipam::Owner;
use wayleave_netlink::Mac;

/// The host's end: `way` and 44 bits of a hash, 14 bytes of the 15 that the kernel takes.
pub(super) fn host_name(owner: &Owner) -> String {
    format!("way{:011x}", hash(owner, "name") >> 20)
}

/// The hardware address of the host's end.
pub(super) fn host_mac(owner: &Owner) -> Mac {
    mac(hash(owner, "host"))
}

/// The hardware address of the container's end, unless the runtime wants another.
pub(super) fn container_mac(owner: &Owner) -> Mac {
    mac(hash(owner, "container"))
}

/// Locally administered and unicast.
fn mac(hash: u64) -> Mac {
    let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
    Mac([(a & 0xfc) | 0x02, b, c, d, e, f])
}

/// FNV-1a over the parts with a final mix: stable over releases, and no secret is in it. Two
/// containers with the same name are refused, not confused, so a collision costs one ADD.
fn hash(owner: &Owner, purpose: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for part in [owner.container.as_str(), owner.interface.as_str(), purpose] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ_between_interfaces_and_containers() {
        let mut names = BTreeSet::new();
        for n in 0..10_000 {
            for interface in ["eth0", "eth1"] {
                let owner = Owner::new(format!("c{n}"), interface);
                let name = host_name(&owner);
                assert_eq!((name.len(), &name[..3]), (14, "way"));
                assert!(names.insert(name));
            }
        }
    }

    #[test]
    fn names_are_the_same_in_every_release() {
        let owner = Owner::new("c1", "eth0");
        assert_eq!(host_name(&owner), host_name(&owner.clone()));
        assert_eq!(host_mac(&owner).0[0] & 0x03, 0x02);
        assert_ne!(host_mac(&owner), container_mac(&owner));
    }
}
