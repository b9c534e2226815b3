//! Addresses of interfaces, neighbours (ARP, NDP, proxies) and policy rules.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    link::Mac,
    prefix::{Family, Prefix},
    route::Protocol,
};

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The interface.
    pub ifindex: u32,
    /// The address itself.
    pub local: IpAddr,
    /// Length of the connected prefix.
    pub prefix_len: u8,
    /// The other end, on point-to-point addresses.
    pub peer: Option<IpAddr>,
    /// Do not make a connected route.
    pub no_prefix_route: bool,
    /// Usable at once: no duplicate address detection (IPv6).
    pub no_dad: bool,
    /// Reported only: duplicate address detection has not ended; cannot be used yet.
    pub tentative: bool,
}

impl Address {
    /// An address usable at once, with its connected route.
    #[must_use]
    pub const fn new(ifindex: u32, local: IpAddr, prefix_len: u8) -> Self {
        Self {
            ifindex,
            local,
            prefix_len,
            peer: None,
            no_prefix_route: false,
            no_dad: true,
            tentative: false,
        }
    }

    /// The prefix that is connected through this address (that of the peer, if there is one).
    ///
    /// # Panics
    /// Never for decoded addresses, whose length the kernel has checked; a longer length than the
    /// family's counts as the host route.
    #[must_use]
    pub fn connected(&self) -> Prefix {
        let addr = self.peer.unwrap_or(self.local);
        Prefix::new(addr, self.prefix_len).unwrap_or(Prefix::host(addr))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{} peer {peer}/{}", self.local, self.prefix_len)?,
            None => write!(f, "{}/{}", self.local, self.prefix_len)?,
        }
        write!(f, " dev if{}", self.ifindex)
    }
}

/// An entry of the neighbour table, or a proxy entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Neighbor {
    /// The interface.
    pub ifindex: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its hardware address; `None` for proxies.
    pub mac: Option<Mac>,
    /// How much the kernel believes it.
    pub state: NeighborState,
    /// Answer ARP or NDP for this address on the interface (`NTF_PROXY`).
    pub proxy: bool,
}

impl Neighbor {
    /// An entry that never ages.
    #[must_use]
    pub const fn permanent(ifindex: u32, address: IpAddr, mac: Mac) -> Self {
        Self {
            ifindex,
            address,
            mac: Some(mac),
            state: NeighborState::Permanent,
            proxy: false,
        }
    }

    /// Answer for `address` on the interface. IPv6 also wants `proxy_ndp` there.
    #[must_use]
    pub const fn proxy(ifindex: u32, address: IpAddr) -> Self {
        Self {
            ifindex,
            address,
            mac: None,
            state: NeighborState::None,
            proxy: true,
        }
    }
}

impl fmt::Display for Neighbor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.proxy {
            f.write_str("proxy ")?;
        }
        write!(f, "{} dev if{}", self.address, self.ifindex)?;
        if let Some(mac) = self.mac {
            write!(f, " lladdr {mac}")?;
        }
        Ok(())
    }
}

/// State of a neighbour entry (`NUD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NeighborState {
    /// None, as for proxies.
    None,
    /// Being resolved.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Known, not confirmed lately; used, and probed on use.
    Stale,
    /// In use, about to be probed.
    Delay,
    /// Being probed.
    Probe,
    /// Resolution failed.
    Failed,
    /// The interface needs no resolution.
    NoArp,
    /// Set by somebody, never ages.
    Permanent,
}

/// A policy rule: which table to look in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Family of the packets.
    pub family: Family,
    /// Order of evaluation, lower first.
    pub priority: u32,
    /// Source addresses; `None`: all.
    pub from: Option<Prefix>,
    /// Destination addresses; `None`: all.
    pub to: Option<Prefix>,
    /// Interface the packet came in by.
    pub iif: Option<String>,
    /// Interface it goes out by (of bound sockets).
    pub oif: Option<String>,
    /// Mark and mask.
    pub mark: Option<(u32, u32)>,
    /// Ignore routes no longer than this in the table.
    pub suppress_prefix_len: Option<u32>,
    /// What to do.
    pub action: RuleAction,
    /// Who made it.
    pub protocol: Protocol,
}

impl Rule {
    /// Look in `table` for all packets of a family.
    #[must_use]
    pub const fn lookup(family: Family, priority: u32, table: u32, protocol: Protocol) -> Self {
        Self {
            family,
            priority,
            from: None,
            to: None,
            iif: None,
            oif: None,
            mark: None,
            suppress_prefix_len: None,
            action: RuleAction::Lookup(table),
            protocol,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: from ", self.priority)?;
        match self.from {
            Some(from) => write!(f, "{from}")?,
            None => f.write_str("all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = &self.oif {
            write!(f, " oif {oif}")?;
        }
        match self.action {
            RuleAction::Lookup(table) => write!(f, " lookup {table}")?,
            RuleAction::Blackhole => f.write_str(" blackhole")?,
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            RuleAction::Prohibit => f.write_str(" prohibit")?,
            RuleAction::Other(number) => write!(f, " action {number}")?,
        }
        write!(f, " proto {}", self.protocol)
    }
}

/// What a rule does (`FR_ACT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RuleAction {
    /// Look in a table.
    Lookup(u32),
    /// Drop silently.
    Blackhole,
    /// Drop, ICMP unreachable.
    Unreachable,
    /// Drop, ICMP prohibited.
    Prohibit,
    /// Any other, by number.
    Other(u8),
}
