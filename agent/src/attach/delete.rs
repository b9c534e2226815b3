//! DEL and GC: interface, record, lease. Never an error because something is gone already.

use std::collections::{BTreeMap, BTreeSet};

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

    /// As [`Self::delete`], unless an ADD has come in between: what was stale then is not now.
    fn delete_stale(&self, owner: &Owner, was: Option<&Attachment>) -> Result<(), AttachError> {
        let shared = &*self.shared;
        let _claim = shared.claim(owner)?;
        if shared.lock().attachments.get(owner) != was {
            return Ok(());
        }
        shared.delete(owner)
    }

    /// Detaches everything of a network that is not in the list, and frees the leases of it whose
    /// record is missing; returns how many those were.
    ///
    /// The list is one runtime's: two runtimes on one host need networks of different names, or each
    /// would collect the other's containers.
    ///
    /// # Errors
    /// When some of them cannot be detached; the others are.
    pub fn collect(&self, network: &str, valid: &BTreeSet<Owner>) -> Result<usize, AttachError> {
        let stale: BTreeMap<Owner, Option<Attachment>> = {
            let state = self.shared.lock();
            let recorded = state.attachments.values().filter(|a| a.network == network);
            let recorded = recorded.map(|a| (a.owner.clone(), Some(a.clone())));
            // An ADD under way has a lease before it has a record.
            let leased = state.allocator.leases().filter(|lease| {
                lease.network == network
                    && !state.attachments.contains_key(&lease.owner)
                    && !state.busy.contains(&lease.owner)
            });
            let leased = leased.map(|lease| (lease.owner.clone(), None));
            recorded
                .chain(leased)
                .filter(|(owner, _)| !valid.contains(owner))
                .collect()
        };
        let stale: Vec<_> = stale.into_iter().collect();
        let mut failures = Vec::new();
        // Side by side, so that the kernel deletes the interfaces of all in one go.
        for part in stale.chunks(SIDE_BY_SIDE) {
            std::thread::scope(|scope| {
                let calls: Vec<_> = part
                    .iter()
                    .map(|(owner, was)| scope.spawn(move || self.delete_stale(owner, was.as_ref())))
                    .collect();
                for ((owner, _), call) in part.iter().zip(calls) {
                    match call.join() {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => failures.push(format!("{owner}: {error}")),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
            });
        }
        self.shared.clear_solved();
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
        let recorded = match &known {
            Some(attachment) => {
                self.unlink(&mut host, attachment)?;
                attachment.addresses.as_slice()
            }
            None => {
                // Never added, deleted before, or the record was lost: then its name tells.
                self.unlink_name(&mut host, &name::host_name(owner))?;
                &[]
            }
        };
        self.passes(Point::DelUnlinked)?;
        let (is_leased, writes) = {
            let state = self.lock();
            let is_leased = state.allocator.leases_of(owner).next().is_some();
            (is_leased, record::forget(owner, recorded, &state.allocator))
        };
        if known.is_some() || is_leased {
            self.store.commit_blocking(writes).map_err(store_error)?;
        }
        self.passes(Point::DelForgotten)?;
        self.free(owner);
        self.clear_solved();
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
