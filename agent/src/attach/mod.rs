//! Containers' interfaces: routed veth pairs, made whole or not at all.
//!
//! ```text
//!   container                        host
//!  +---------------------------+    +-----------------------------------------+
//!  | eth0 10.1.7.5/32          |    | way0123456789a fe80::1/128              |
//!  |      fd00:7::5/128        |====| 10.1.7.5/32   dev way.. proto wayleave  |
//!  | default via 169.254.1.1   |    | fd00:7::5/128 dev way.. proto wayleave  |
//!  | default via fe80::1       |    |                                         |
//!  +---------------------------+    +-----------------------------------------+
//! ```
//! There is no bridge and no broadcast domain. Both sides know each other's hardware address
//! beforehand (permanent neighbour entries), so no first packet waits for ARP, NDP or duplicate
//! address detection; proxy ARP and `fe80::1` on the host side answer a container that forgot.
//!
//! # Crash safety
//! The record of an attachment is durable before the first change in the kernel, and the last
//! change marks the host's end as whole (its interface group). So a start tells what it finds:
//! marked is whole and is adopted, whatever else somebody deleted meanwhile; not marked is undone;
//! a record without an interface belongs to a container that is gone. One durable commit per ADD
//! and one per DEL, shared with whoever else waits.
//!
//! # Threads
//! Everything here blocks, on the kernel and on the disk, and is called from the threads of the
//! CNI socket. State is behind one lock that is held for memory only. Two calls for one interface
//! wait for each other; calls for different ones do not.
//!
//! Known gaps: a second interface's default route has a higher metric, and traffic from its
//! address leaves by the first, which strict reverse path filtering drops at the host (policy rules
//! inside the container are to come); IPv6 source addresses are not yet policed on the host side.

mod add;
mod audit;
mod check;
mod claim;
mod delete;
mod error;
mod host;
mod name;
mod open;
mod outlet;
mod plan;
mod reaper;
mod record;
mod restore;
mod sockets;
mod space;
mod standing;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use wayleave_cni::message::{Step, StepError};
use wayleave_ipam::{
    Allocator, Block, BlockError, BootId, Effect, Lease, Owner, Pool, Time, Usage, Wanted,
};
use wayleave_netlink::{Mac, Protocol};

use crate::{
    problem::Problems,
    store::{StoreError, StoreHandle},
};

pub use self::error::{AttachError, NotReady, StartError};
pub use self::host::{prepare_host, uplink_mtu};
pub use self::open::{OpenError, open};
pub use self::outlet::{Outlet, Silent};
pub use self::record::Attachment;
pub use self::restore::Adopted;
pub use self::space::{SpaceError, pools_and_blocks};

use self::{claim::Claim, reaper::Reaper, sockets::Sockets};

/// The gateway of every container in IPv4; link-local, so that no address is spent on it.
pub const GATEWAY_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 1, 1);
/// The gateway of every container in IPv6.
pub const GATEWAY_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Interface groups of the host's ends: what `ip link show group 22348` lists.
mod group {
    /// Whole.
    pub(super) const ATTACHED: u32 = 22_348;
    /// Being made.
    pub(super) const BUILDING: u32 = 22_347;
    /// About to be deleted, with all others of the group at once.
    pub(super) const DYING: u32 = 22_346;

    pub(super) const fn is_ours(group: u32) -> bool {
        matches!(group, ATTACHED | BUILDING | DYING)
    }
}

/// What an attachment is made with, beside the request.
#[derive(Clone)]
pub struct Settings {
    /// MTU of both ends in bytes, when the network names none; see [`uplink_mtu`].
    pub mtu: u32,
    /// Who the routes belong to.
    pub protocol: Protocol,
    /// The routing table of the host.
    pub table: u32,
    /// Where problems stand that a start finds: those that are solved are cleared there.
    pub problems: Problems,
    /// Asked at the named points of an operation; for tests that end it there.
    pub points: Option<Points>,
}

/// Ends an operation at a point as a kill would, by answering `false`.
pub type Points = Arc<dyn Fn(Point) -> bool + Send + Sync>;

/// A point of an operation at which a test may end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Nothing is done.
    AddBegun,
    /// The lease is durable.
    AddJournalled,
    /// The veth pair is there.
    AddLinked,
    /// The container's side is complete.
    AddInside,
    /// The host's routes are there, the mark is not.
    AddRouted,
    /// Everything is there, nobody knows.
    AddMarked,
    /// The host's end is still there.
    DelBegun,
    /// The host's end is gone.
    DelUnlinked,
    /// The record is gone.
    DelForgotten,
}

impl Point {
    /// All points, in the order in which an ADD and then a DEL pass them.
    pub const ALL: [Point; 9] = [
        Point::AddBegun,
        Point::AddJournalled,
        Point::AddLinked,
        Point::AddInside,
        Point::AddRouted,
        Point::AddMarked,
        Point::DelBegun,
        Point::DelUnlinked,
        Point::DelForgotten,
    ];
}

/// The attachments and leases of this host. Clones share them.
#[derive(Clone)]
pub struct Attachments {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Somebody finished with an interface.
    freed: Condvar,
    store: StoreHandle,
    sockets: Sockets,
    reaper: Reaper,
    outlet: Box<dyn Outlet>,
    settings: Settings,
    boot: BootId,
}

struct State {
    allocator: Allocator,
    attachments: BTreeMap<Owner, Attachment>,
    /// Interfaces that an operation is under way for.
    busy: BTreeSet<Owner>,
    stopping: bool,
}

/// A container's interface to be made.
#[derive(Debug)]
pub struct AddRequest {
    /// Which.
    pub owner: Owner,
    /// The network it joins.
    pub network: String,
    /// The path of its namespace, as the runtime named it: for the record only.
    pub netns: String,
    /// The pools to take addresses from; empty for all.
    pub pools: Vec<String>,
    /// The families.
    pub wanted: Wanted,
    /// Static addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// MTU in bytes; `None` for [`Settings::mtu`].
    pub mtu: Option<u32>,
    /// Hardware address of the container's end; `None` for a derived one.
    pub mac: Option<Mac>,
    /// The namespace.
    pub namespace: Namespace,
}

/// A container's namespace, as the plugin hands it over.
#[derive(Debug)]
pub struct Namespace {
    /// The namespace itself, to make an interface in.
    pub netns: OwnedFd,
    /// A `NETLINK_ROUTE` socket made inside it.
    pub route_socket: OwnedFd,
}

/// What a container got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The attachment.
    pub attachment: Attachment,
    /// The metric of its default routes; 0 unless it had others before.
    pub metric: u32,
}

/// The plugin, which performs inside the namespace what only a member of it can do.
pub trait Member {
    /// Performs the steps, and returns one outcome for each.
    ///
    /// # Errors
    /// When the plugin is gone.
    fn perform(&mut self, steps: Vec<Step>) -> Result<Vec<Result<String, StepError>>, String>;
}

impl Attachments {
    /// All attachments, by container and interface.
    #[must_use]
    pub fn list(&self) -> Vec<Attachment> {
        self.shared.lock().attachments.values().cloned().collect()
    }

    /// All leases, by address.
    #[must_use]
    pub fn leases(&self) -> Vec<Lease> {
        self.shared.lock().allocator.leases().cloned().collect()
    }

    /// How full the blocks are.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.shared.lock().allocator.usage().collect()
    }

    /// Makes these the pools and blocks; what is leased stays.
    ///
    /// # Errors
    /// When they contradict each other; nothing is changed then.
    pub fn set_blocks(&self, pools: Vec<Pool>, blocks: Vec<Block>) -> Result<(), BlockError> {
        let originated = {
            let mut state = self.shared.lock();
            state.allocator.set_blocks(pools, blocks)?;
            state.allocator.originated().clone()
        };
        self.shared.outlet.originate(&originated);
        Ok(())
    }

    /// Could an ADD be served now?
    ///
    /// # Errors
    /// Why not.
    pub fn readiness(&self) -> Result<(), NotReady> {
        {
            let state = self.shared.lock();
            if state.stopping {
                return Err(NotReady::Stopping);
            }
            if state.allocator.usage().next().is_none() {
                return Err(NotReady::NoPool);
            }
        }
        // An empty commit succeeds if and only if the disk can be written.
        self.shared
            .store
            .commit_blocking(Vec::new())
            .map_err(|error| NotReady::Store(error.to_string()))
    }

    /// Refuses new operations and waits for those under way.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        while !state.busy.is_empty() {
            state = self
                .shared
                .freed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl fmt::Debug for Attachments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.shared.lock().attachments.len();
        f.debug_struct("Attachments")
            .field("count", &count)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below the lock is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passes(&self, point: Point) -> Result<(), AttachError> {
        match &self.settings.points {
            Some(points) if !points(point) => Err(AttachError::Ended(point)),
            _ => Ok(()),
        }
    }

    /// Waits until nobody works on the interface and takes it.
    fn claim(&self, owner: &Owner) -> Result<Claim<'_>, AttachError> {
        Claim::take(self, owner)
    }

    /// Frees the leases of an owner in memory and tells what is announced from now on.
    fn free(&self, owner: &Owner) {
        let (originated, effects) = {
            let mut state = self.lock();
            state.attachments.remove(owner);
            let freed = state.allocator.free(owner);
            (state.allocator.originated().clone(), freed.effects)
        };
        if effects
            .iter()
            .any(|e| matches!(e, Effect::Originate(_) | Effect::Withdraw(_)))
        {
            self.outlet.originate(&originated);
        }
    }
}

/// Now, on the clock that runs on while the host is suspended.
fn now() -> Time {
    // The kernel always has this clock; a zero would only lose the age of a lease.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Time(0), |time| {
        let nanos = std::time::Duration::from(time).as_nanos();
        Time(u64::try_from(nanos).unwrap_or(u64::MAX))
    })
}

fn store_error(error: StoreError) -> AttachError {
    AttachError::Store(error.to_string())
}
