//! All netlink of Wayleave.
//!
//! - [`Change`] is what we ask of the kernel, [`Object`] and [`Event`] what it tells us: plain
//!   data, comparable, printable like `ip` prints them.
//! - [`Kernel`] is the trait everybody above programs against: apply changes, list objects.
//!   [`Socket`] is one real socket, also one made in another namespace and passed here;
//!   [`Netlink`] two of them for the agent's own namespace; [`FakeKernel`] one in memory whose
//!   [`Fault`]s can be called by name.
//! - [`nft`] changes the elements of nftables sets and maps; the tables themselves are not made here.
//! - [`Monitor`] hears what others do.
//! - [`sysctl`] writes the settings netlink cannot; [`Lookup`] has the slow one-off
//!   questions.
//!
//! # Why not the rtnetlink crate for everything
//! It cannot adopt a socket passed as descriptor (its constructor is private), which is how we
//! reach into containers without `CAP_SYS_ADMIN`; it makes half the routes per second of batches
//! (83,000-100,000 against 177,000-215,000); and its channels are unbounded. Where its
//! convenience is enough, [`Lookup`], it is used. Its companions netlink-packet-route (messages)
//! and netlink-sys (sockets) are what the rest is built on.
//!
//! # Blocking
//! The kernel works requests off inside the system call, so nothing here waits for a peer or a
//! timer; a call costs what the kernel's work costs, about 5 us for a route. Only the
//! [`Readiness`] waits, as a future.

mod address;
mod change;
mod error;
mod fake;
pub mod fuzz;
mod kernel;
mod link;
mod lookup;
mod monitor;
mod netlink;
mod nexthop;
pub mod nft;
mod object;
mod prefix;
mod route;
mod socket;
pub mod sysctl;
mod wire;

pub use self::{
    address::{Address, Neighbor, NeighborState, Rule, RuleAction},
    change::Change,
    error::{Code, KernelError, SocketOperation},
    fake::{FakeKernel, Fault},
    kernel::{DUMP_ATTEMPTS, Kernel},
    link::{Ipv4Setting, Link, LinkChange, LinkId, Mac, Netns, NewEnd, NewLink, VethPlan},
    lookup::{Lookup, Path},
    monitor::{FORWARDING, Group, Monitor, Readiness},
    netlink::Netlink,
    nexthop::{Member, Nexthop, NexthopId, NexthopTarget},
    object::{Dump, Event, Object, Progress, RouteFilter},
    prefix::{Family, Prefix, PrefixError},
    route::{
        METRIC_V6_DEFAULT, NextHop, NextHops, Protocol, Route, RouteKey, RouteKind, TABLE_LOCAL,
        TABLE_MAIN,
    },
    socket::{Acknowledge, Socket},
};
