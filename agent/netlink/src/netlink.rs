//! The kernel of the agent's own namespace: one socket for changes, one for listings.

use crate::{
    change::Change,
    error::KernelError,
    kernel::Kernel,
    link::{Link, LinkId},
    object::{Dump, Object, Progress},
    socket::Socket,
};

/// Two sockets, so that a long listing and changes do not wait for each other.
#[derive(Debug)]
pub struct Netlink {
    changes: Socket,
    dumps: Socket,
}

impl Netlink {
    /// Opens both in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`KernelError::Socket`] when the system has no descriptor left.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self {
            changes: Socket::open()?,
            dumps: Socket::open()?,
        })
    }

    /// The port changes come from, for [`Monitor::ignore_routes_of`](crate::Monitor::ignore_routes_of).
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.changes.port()
    }
}

impl Kernel for Netlink {
    fn apply(&mut self, changes: &[Change]) -> Vec<Result<(), KernelError>> {
        self.changes.apply(changes)
    }

    fn begin_dump(&mut self, what: &Dump) -> Result<(), KernelError> {
        self.dumps.begin_dump(what)
    }

    fn next_dump(&mut self, into: &mut Vec<Object>) -> Result<Progress, KernelError> {
        self.dumps.next_dump(into)
    }

    fn link(&mut self, link: &LinkId) -> Result<Option<Link>, KernelError> {
        self.changes.link(link)
    }
}
