//! Messages of the kernel as objects and events.

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_route::{
    address::AddressMessage, link::LinkMessage, neighbour::NeighbourMessage, rule::RuleMessage,
};

use super::{
    Message, NLM_F_REPLACE, RTM_DELADDR, RTM_DELLINK, RTM_DELNEIGH, RTM_DELNEXTHOP, RTM_DELROUTE,
    RTM_DELRULE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWNEXTHOP, RTM_NEWROUTE, RTM_NEWRULE,
    link, malformed, nexthop, route,
};
use crate::{
    error::KernelError,
    object::{Event, Object},
};

/// `AF_BRIDGE`: the bridge's view of its ports, in messages of interfaces and neighbours.
const AF_BRIDGE: u8 = 7;

/// The object in a message; `None` if it is of no kind we know.
pub(crate) fn object(message: &Message<'_>) -> Result<Option<Object>, KernelError> {
    let payload = message.payload;
    let object = match message.kind {
        RTM_NEWROUTE | RTM_DELROUTE => route::read(payload)?.map(Object::Route),
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => nexthop::read(payload)?.map(Object::Nexthop),
        RTM_NEWLINK | RTM_DELLINK => {
            if payload.first() == Some(&AF_BRIDGE) {
                return Ok(None);
            }
            let message: LinkMessage = parse(payload, "interface")?;
            Some(Object::Link(Box::new(link::read_link(message))))
        }
        RTM_NEWADDR | RTM_DELADDR => {
            let message: AddressMessage = parse(payload, "address")?;
            link::read_address(message)?.map(Object::Address)
        }
        RTM_NEWNEIGH | RTM_DELNEIGH => {
            if payload.first() == Some(&AF_BRIDGE) {
                return Ok(None);
            }
            let message: NeighbourMessage = parse(payload, "neighbour")?;
            link::read_neighbor(message).map(Object::Neighbor)
        }
        RTM_NEWRULE | RTM_DELRULE => {
            let message: RuleMessage = parse(payload, "rule")?;
            link::read_rule(&message)?.map(|rule| Object::Rule(Box::new(rule)))
        }
        _ => None,
    };
    Ok(object)
}

/// What a message of a multicast group tells; `None` if it is of no kind we know.
pub(crate) fn event(message: &Message<'_>) -> Result<Option<Event>, KernelError> {
    let Some(object) = object(message)? else {
        return Ok(None);
    };
    Ok(Some(match message.kind {
        // Whoever asks for a deletion has a port.
        RTM_DELROUTE | RTM_DELNEXTHOP if message.port == 0 => Event::Dropped(object),
        RTM_DELROUTE | RTM_DELNEXTHOP | RTM_DELLINK | RTM_DELADDR | RTM_DELNEIGH | RTM_DELRULE => {
            Event::Gone(object)
        }
        RTM_NEWROUTE if message.flags & NLM_F_REPLACE != 0 => Event::Replaced(object),
        _ => Event::New(object),
    }))
}

fn parse<T: Parseable<[u8]>>(payload: &[u8], what: &str) -> Result<T, KernelError> {
    T::parse(payload).map_err(|error: DecodeError| malformed(format!("{what}: {error}")))
}
