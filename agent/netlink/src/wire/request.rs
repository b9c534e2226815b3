//! Changes and listings as messages.

use super::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, RTM_DELADDR,
    RTM_DELLINK, RTM_DELNEIGH, RTM_DELNEXTHOP, RTM_DELROUTE, RTM_DELRULE, RTM_GETADDR, RTM_GETLINK,
    RTM_GETNEIGH, RTM_GETNEXTHOP, RTM_GETROUTE, RTM_GETRULE, RTM_NEWADDR, RTM_NEWLINK,
    RTM_NEWNEIGH, RTM_NEWNEXTHOP, RTM_NEWROUTE, RTM_NEWRULE, RTM_SETLINK, Writer, link, nexthop,
    route,
};
use crate::{change::Change, error::KernelError, link::LinkId, object::Dump};

const ADD: u16 = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL;
const REPLACE: u16 = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE;
const PLAIN: u16 = NLM_F_REQUEST;
const LIST: u16 = NLM_F_REQUEST | NLM_F_DUMP;

/// Appends the message of a change. Nothing is appended when it cannot be expressed.
pub(crate) fn change(out: &mut Vec<u8>, change: &Change, sequence: u32) -> Result<(), KernelError> {
    let writer = match change {
        Change::RouteAdd(route) | Change::RouteReplace(route) => {
            route::check(route)?;
            let flags = if matches!(change, Change::RouteAdd(_)) {
                ADD
            } else {
                REPLACE
            };
            let mut w = Writer::begin(out, RTM_NEWROUTE, flags, sequence);
            route::write(&mut w, route);
            w
        }
        Change::RouteDelete(key) => {
            let mut w = Writer::begin(out, RTM_DELROUTE, PLAIN, sequence);
            route::write_key(&mut w, key);
            w
        }
        Change::NexthopAdd(nexthop) | Change::NexthopReplace(nexthop) => {
            nexthop::check(nexthop)?;
            let flags = if matches!(change, Change::NexthopAdd(_)) {
                ADD
            } else {
                REPLACE
            };
            let mut w = Writer::begin(out, RTM_NEWNEXTHOP, flags, sequence);
            nexthop::write(&mut w, nexthop);
            w
        }
        Change::NexthopDelete(id) => {
            let mut w = Writer::begin(out, RTM_DELNEXTHOP, PLAIN, sequence);
            nexthop::write_id(&mut w, *id);
            w
        }
        Change::LinkAdd(new) => {
            let message = link::new_link(new)?;
            let mut w = Writer::begin(out, RTM_NEWLINK, ADD, sequence);
            w.emit(&message);
            w
        }
        Change::LinkSet(set) => {
            let message = link::link_change(set)?;
            let mut w = Writer::begin(out, RTM_SETLINK, PLAIN, sequence);
            w.emit(&message);
            w
        }
        Change::LinkDelete(id) => {
            let message = link::link_id(id)?;
            let mut w = Writer::begin(out, RTM_DELLINK, PLAIN, sequence);
            w.emit(&message);
            w
        }
        Change::LinkGroupDelete(group) => {
            let message = link::link_group(*group)?;
            let mut w = Writer::begin(out, RTM_DELLINK, PLAIN, sequence);
            w.emit(&message);
            w
        }
        Change::AddressAdd(address) => {
            let mut w = Writer::begin(out, RTM_NEWADDR, ADD, sequence);
            w.emit(&link::address(address));
            w
        }
        Change::AddressDelete(address) => {
            let mut w = Writer::begin(out, RTM_DELADDR, PLAIN, sequence);
            w.emit(&link::address(address));
            w
        }
        Change::NeighborReplace(neighbor) => {
            let mut w = Writer::begin(out, RTM_NEWNEIGH, REPLACE, sequence);
            w.emit(&link::neighbor(neighbor));
            w
        }
        Change::NeighborDelete(neighbor) => {
            let mut w = Writer::begin(out, RTM_DELNEIGH, PLAIN, sequence);
            w.emit(&link::neighbor(neighbor));
            w
        }
        Change::RuleAdd(rule) => {
            let message = link::rule(rule)?;
            let mut w = Writer::begin(out, RTM_NEWRULE, ADD, sequence);
            w.emit(&message);
            w
        }
        Change::RuleDelete(rule) => {
            let message = link::rule(rule)?;
            let mut w = Writer::begin(out, RTM_DELRULE, PLAIN, sequence);
            w.emit(&message);
            w
        }
    };
    writer.finish();
    Ok(())
}

/// Appends the message that begins a listing.
pub(crate) fn dump(out: &mut Vec<u8>, what: &Dump, sequence: u32) -> Result<(), KernelError> {
    let writer = match what {
        Dump::Routes(filter) => {
            let mut w = Writer::begin(out, RTM_GETROUTE, LIST, sequence);
            route::write_filter(&mut w, filter);
            w
        }
        Dump::Links => {
            let message = link::link_request(None)?;
            let mut w = Writer::begin(out, RTM_GETLINK, LIST, sequence);
            w.emit(&message);
            w
        }
        Dump::Addresses { ifindex } => {
            let mut w = Writer::begin(out, RTM_GETADDR, LIST, sequence);
            w.emit(&link::address_request(*ifindex));
            w
        }
        Dump::Neighbors { ifindex } => {
            let mut w = Writer::begin(out, RTM_GETNEIGH, LIST, sequence);
            w.emit(&link::neighbor_request(*ifindex, false));
            w
        }
        Dump::Proxies => {
            let mut w = Writer::begin(out, RTM_GETNEIGH, LIST, sequence);
            w.emit(&link::neighbor_request(None, true));
            w
        }
        Dump::Rules(family) => {
            let mut w = Writer::begin(out, RTM_GETRULE, LIST, sequence);
            w.emit(&link::rule_request(*family));
            w
        }
        Dump::Nexthops => {
            let mut w = Writer::begin(out, RTM_GETNEXTHOP, LIST, sequence);
            nexthop::write_filter(&mut w);
            w
        }
    };
    writer.finish();
    Ok(())
}

/// Appends the message that asks for one interface.
pub(crate) fn link_query(
    out: &mut Vec<u8>,
    which: &LinkId,
    sequence: u32,
) -> Result<(), KernelError> {
    let message = link::link_request(Some(which))?;
    let mut w = Writer::begin(out, RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, sequence);
    w.emit(&message);
    w.finish();
    Ok(())
}
