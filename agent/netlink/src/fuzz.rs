//! Bodies of the fuzz targets as plain functions, so that stable tests run them too.
//!
//! The kernel is trusted, yet its messages grow with every release, and some of what they carry
//! (names, addresses of tunnels) comes from others.

use crate::{
    change::Change,
    error::KernelError,
    nft,
    object::Object,
    wire::{self, Answer, Message, Messages},
};

/// Kinds of messages that are read: an octet chooses one.
const KINDS: [u16; 14] = [
    wire::RTM_NEWROUTE,
    wire::RTM_DELROUTE,
    wire::RTM_NEWNEXTHOP,
    wire::RTM_DELNEXTHOP,
    wire::RTM_NEWLINK,
    wire::RTM_DELLINK,
    wire::RTM_NEWADDR,
    wire::RTM_DELADDR,
    wire::RTM_NEWNEIGH,
    wire::RTM_DELNEIGH,
    wire::RTM_NEWRULE,
    wire::RTM_DELRULE,
    wire::NLMSG_ERROR,
    wire::NLMSG_DONE,
];

/// Octets as a datagram of the kernel.
///
/// # Panics
/// When what was understood is written and does not stay what it is: that is the finding.
pub fn datagram(octets: &[u8]) {
    for message in Messages(octets) {
        let Ok(message) = message else { break };
        read(&message);
    }
}

/// Octets as the payload of one message; the first two say of which kind, and with which flags.
///
/// # Panics
/// As [`datagram`].
pub fn message(octets: &[u8]) {
    if let Some((&[kind, flags], payload)) = octets.split_first_chunk() {
        read(&Message {
            kind: KINDS[usize::from(kind) % KINDS.len()],
            flags: u16::from(flags) << 8,
            sequence: 1,
            port: u32::from(flags & 1),
            payload,
        });
    }
}

fn read(message: &Message<'_>) {
    if let Ok(Answer::Ack(Err(error)) | Answer::Done(Err(error))) = wire::answer(message) {
        assert!(matches!(error, KernelError::Refused { .. }));
        assert!(!error.to_string().is_empty());
    }
    let mut keys = Vec::new();
    if nft::read_keys(message.payload, &mut keys).is_ok() {
        assert!(keys.len() <= message.payload.len() / 4);
    }
    let object = wire::object(message);
    let event = wire::event(message);
    assert_eq!(object.is_ok(), event.is_ok());
    if let Ok(Some(object)) = object {
        settles(object);
    }
}

/// What was read and can be asked for settles: written and read, it is what it will stay. Once it may
/// change, for the kernel can say what is not ours to ask for, and what cannot be (the weight of an
/// only next hop).
fn settles(object: Object) {
    if let Some(once) = written(&object) {
        assert_eq!(written(&once).as_ref(), Some(&once), "was {object:?}");
    }
}

/// The object after it was written and read; none when it cannot be said.
fn written(object: &Object) -> Option<Object> {
    let (text, change) = match object {
        // A next hop without interface and gateway is none, and so it is written.
        Object::Route(route)
            if route
                .next_hops
                .iter()
                .any(|hop| hop.ifindex == 0 && hop.gateway.is_none()) =>
        {
            return None;
        }
        Object::Route(route) => (route.to_string(), Change::RouteAdd(route.clone())),
        Object::Nexthop(nexthop) => (nexthop.to_string(), Change::NexthopAdd(nexthop.clone())),
        Object::Address(address) => (address.to_string(), Change::AddressAdd(*address)),
        Object::Neighbor(neighbor) => (neighbor.to_string(), Change::NeighborReplace(*neighbor)),
        Object::Rule(rule) => (rule.to_string(), Change::RuleAdd((**rule).clone())),
        // Interfaces are shown, and asked for by what they are to become.
        Object::Link(_) => return None,
    };
    assert!(!text.is_empty());
    let mut octets = Vec::new();
    if change.encode(&mut octets, 1).is_err() {
        assert!(octets.is_empty(), "nothing is begun that cannot be said");
        return None;
    }
    let mut messages = Messages(&octets);
    let (Some(Ok(message)), None) = (messages.next(), messages.next()) else {
        panic!("a change is one message: {octets:02x?}");
    };
    wire::object(&message).expect("what was written can be read")
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn the_fuzz_bodies_stand_arbitrary_octets(octets in vec(any::<u8>(), 0..400)) {
            super::datagram(&octets);
            super::message(&octets);
        }

        /// Octets that look like attributes get further in than arbitrary ones.
        #[test]
        fn the_fuzz_bodies_stand_attributes(
            kind in 0_u8..14, flags: u8, fixed in vec(any::<u8>(), 28),
            attributes in vec((0_u16..40, prop_oneof![
                vec(any::<u8>(), 0..20), vec(any::<u8>(), 4), vec(any::<u8>(), 16)
            ]), 0..12),
        ) {
            for head in [8, 12, 16, 28] {
                let mut octets = vec![kind, flags];
                octets.extend(&fixed[..head]);
                for (kind, value) in &attributes {
                    let len = u16::try_from(4 + value.len()).expect("short");
                    octets.extend(len.to_ne_bytes());
                    octets.extend(kind.to_ne_bytes());
                    octets.extend(value);
                    octets.resize(octets.len().next_multiple_of(4) + 2, 0);
                    octets.truncate((octets.len() - 2) / 4 * 4 + 2);
                }
                super::message(&octets);
            }
        }
    }
}
