//! What we ask of the kernel, as data: it can be compared, logged and replayed.

use std::{fmt, sync::Arc};

use crate::{
    address::{Address, Neighbor, Rule},
    error::KernelError,
    link::{LinkChange, LinkId, NewLink},
    nexthop::{Nexthop, NexthopId},
    route::{Route, RouteKey},
    wire,
};

/// One change of kernel state; one netlink message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Add a route; `EEXIST` if the prefix has one in that table with that metric, whoever's.
    RouteAdd(Route),
    /// Add a route, or take the place of the one at the same prefix, table and metric:
    /// **whoever's it is**. Check ownership first.
    RouteReplace(Route),
    /// Delete a route, if it is of that protocol; `ESRCH` if there is none.
    RouteDelete(RouteKey),
    /// Add a nexthop object; `EEXIST` if the id is taken, by whomever.
    NexthopAdd(Nexthop),
    /// Add or change a nexthop object, **whoever's it is**; routes that use it follow at once.
    NexthopReplace(Nexthop),
    /// Delete a nexthop object **and every route that uses it**; `ENOENT` if there is none.
    NexthopDelete(NexthopId),
    /// Make an interface; `EEXIST` if the name is taken.
    LinkAdd(Arc<NewLink>),
    /// Change an interface.
    LinkSet(Arc<LinkChange>),
    /// Delete an interface; of a veth, both ends. `ENODEV` if there is none.
    LinkDelete(LinkId),
    /// Delete all interfaces of a group in one go (never group 0).
    LinkGroupDelete(u32),
    /// Add an address; `EEXIST` if the interface has it.
    AddressAdd(Address),
    /// Delete an address; `EADDRNOTAVAIL` if there is none.
    AddressDelete(Address),
    /// Add or change a neighbour entry, or add a proxy.
    NeighborReplace(Neighbor),
    /// Delete a neighbour entry or a proxy; `ENOENT` if there is none.
    NeighborDelete(Neighbor),
    /// Add a rule; `EEXIST` if there is the same one.
    RuleAdd(Rule),
    /// Delete a rule; `ENOENT` if there is none.
    RuleDelete(Rule),
}

impl Change {
    /// Appends the netlink message of the change, without `NLM_F_ACK`. [`Socket`](crate::Socket)
    /// does this by itself; measurements and recordings want the bytes.
    ///
    /// # Errors
    /// [`KernelError::Inexpressible`]; nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>, sequence: u32) -> Result<(), KernelError> {
        wire::change(out, self, sequence)
    }
}

impl From<NewLink> for Change {
    fn from(link: NewLink) -> Self {
        Self::LinkAdd(Arc::new(link))
    }
}

impl From<LinkChange> for Change {
    fn from(change: LinkChange) -> Self {
        Self::LinkSet(Arc::new(change))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RouteAdd(route) => write!(f, "add route {route}"),
            Self::RouteReplace(route) => write!(f, "replace route {route}"),
            Self::RouteDelete(key) => write!(f, "delete route {key}"),
            Self::NexthopAdd(nexthop) => write!(f, "add nexthop {nexthop}"),
            Self::NexthopReplace(nexthop) => write!(f, "replace nexthop {nexthop}"),
            Self::NexthopDelete(id) => write!(f, "delete nexthop id {id}"),
            Self::LinkAdd(link) => match &**link {
                NewLink::Veth { host, peer, .. } => {
                    write!(f, "add veth {} with peer {}", host.name, peer.name)
                }
                NewLink::Bridge(bridge) => write!(f, "add bridge {}", bridge.name),
            },
            Self::LinkSet(change) => {
                write!(f, "set link {}", change.link)?;
                if let Some(up) = change.up {
                    f.write_str(if up { " up" } else { " down" })?;
                }
                if let Some(name) = &change.name {
                    write!(f, " name {name}")?;
                }
                if let Some(mtu) = change.mtu {
                    write!(f, " mtu {mtu}")?;
                }
                if let Some(mac) = change.mac {
                    write!(f, " address {mac}")?;
                }
                if let Some(group) = change.group {
                    write!(f, " group {group}")?;
                }
                if let Some(master) = change.master {
                    write!(f, " master if{master}")?;
                }
                for (setting, value) in &change.ipv4 {
                    write!(f, " {setting:?}={value}")?;
                }
                Ok(())
            }
            Self::LinkDelete(link) => write!(f, "delete link {link}"),
            Self::LinkGroupDelete(group) => write!(f, "delete links of group {group}"),
            Self::AddressAdd(address) => write!(f, "add address {address}"),
            Self::AddressDelete(address) => write!(f, "delete address {address}"),
            Self::NeighborReplace(neighbor) => write!(f, "replace neighbour {neighbor}"),
            Self::NeighborDelete(neighbor) => write!(f, "delete neighbour {neighbor}"),
            Self::RuleAdd(rule) => write!(f, "add rule {rule}"),
            Self::RuleDelete(rule) => write!(f, "delete rule {rule}"),
        }
    }
}
