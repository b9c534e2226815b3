//! DEL and GC: interface, record, lease. Never an error because something is gone already.

use std::collections::BTreeSet;

use wayleave_ipam::Owner;
use wayleave_netlink::{Kernel, LinkId, Prefix, Socket};

use super::{
    Attachment, Attachments, Point, Shared, error::AttachError, group, name, record, store_error,
};

impl Attachments {
    /// Detaches a container. One that is not attached is no error, nor one whose namespace is gone.
    ///
    /// # Errors
    /// When the kernel or the disk refuses; then the same call can be made again.
    pub fn delete(&self, owner: &Owner) -> Result<(), AttachError> {
        let shared = &*self.shared;
        let _claim = shared.claim(owner)?;
        shared.delete(owner)
    }

    /// Detaches everything of a network that is not in the list; returns how many those were.
    ///
    /// The list is one runtime's: two runtimes on one host need networks of different names, or each
    /// would collect the other's containers.
    ///
    /// # Errors
    /// When some of them cannot be detached; the others are.
    pub fn collect(&self, network: &str, valid: &BTreeSet<Owner>) -> Result<usize, AttachError> {
        let stale: Vec<Owner> = {
            let state = self.shared.lock();
            let of_network = state.attachments.values().filter(|a| a.network == network);
            of_network
                .map(|a| a.owner.clone())
                .filter(|owner| !valid.contains(owner))
                .collect()
        };
        let mut failures = Vec::new();
        // Side by side, so that the kernel deletes the interfaces of all in one go.
        for part in stale.chunks(SIDE_BY_SIDE) {
            std::thread::scope(|scope| {
                let calls: Vec<_> = part
                    .iter()
                    .map(|owner| scope.spawn(move || self.delete(owner)))
                    .collect();
                for (owner, call) in part.iter().zip(calls) {
                    match call.join() {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => failures.push(format!("{owner}: {error}")),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
            });
        }
        if failures.is_empty() {
            return Ok(stale.len());
        }
        Err(AttachError::Collect {
            all: stale.len(),
            failures,
        })
    }
}

/// Detachments of a garbage collection at once.
const SIDE_BY_SIDE: usize = 32;

impl Shared {
    fn delete(&self, owner: &Owner) -> Result<(), AttachError> {
        let known = self.lock().attachments.get(owner).cloned();
        let mut host = self.host_socket()?;
        self.passes(Point::DelBegun)?;
        let addresses = match &known {
            Some(attachment) => {
                self.unlink(&mut host, attachment)?;
                attachment.addresses.clone()
            }
            None => {
                // Never added, deleted before, or the record was lost: then its name tells.
                self.unlink_name(&mut host, &name::host_name(owner))?;
                self.lock()
                    .allocator
                    .leases_of(owner)
                    .map(|lease| lease.address)
                    .collect()
            }
        };
        self.passes(Point::DelUnlinked)?;
        if known.is_some() || !addresses.is_empty() {
            let writes = record::forget(owner, &addresses);
            self.store.commit_blocking(writes).map_err(store_error)?;
        }
        self.passes(Point::DelForgotten)?;
        self.free(owner);
        Ok(())
    }

    /// Removes the interface of an attachment, and with it the kernel's routes and neighbours.
    pub(super) fn unlink(
        &self,
        host: &mut Socket,
        attachment: &Attachment,
    ) -> Result<(), AttachError> {
        // First, or the FIB would put the routes back.
        for address in &attachment.addresses {
            self.outlet.local_route(Prefix::host(*address), None);
        }
        self.unlink_name(host, &attachment.host_name)
    }

    fn unlink_name(&self, host: &mut Socket, name: &str) -> Result<(), AttachError> {
        const WHAT: &str = "removing the interface";
        let link = host
            .link(&LinkId::Name(name.to_owned()))
            .map_err(|error| AttachError::asking(WHAT, &error))?;
        match link {
            Some(link) if group::is_ours(link.group) => self
                .reaper
                .delete(host, link.ifindex)
                .map_err(|error| AttachError::asking(WHAT, &error)),
            // Somebody else's interface under this name is not ours to delete.
            Some(_) | None => Ok(()),
        }
    }
}
