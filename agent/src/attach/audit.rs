//! The audit: do records, leases, interfaces and routes tell the same story?

use std::collections::{BTreeMap, BTreeSet};

use wayleave_ipam::Owner;
use wayleave_netlink::{
    Dump, Family, Kernel, KernelError, Link, Object, Route, RouteFilter, Socket,
};

use super::{AttachError, Attachment, Attachments, Shared, group, plan};
use crate::problem::{Problem, Severity};

impl Attachments {
    /// Compares everything this host knows of its containers; an empty list is a clean bill.
    ///
    /// Reports and repairs nothing. Interfaces that an operation is under way for are left out, so
    /// it can run while containers come and go.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn audit(&self) -> Result<Vec<Problem>, AttachError> {
        let shared = &*self.shared;
        shared.clear_solved();
        let mut host = shared.host_socket()?;
        let seen = Seen::look(&mut host, shared)
            .map_err(|error| AttachError::asking("looking at the host's interfaces", &error))?;
        let mut found = Vec::new();
        let mut kept = BTreeMap::new();
        // What changed while we looked is judged by the next audit.
        let (attachments, leases, busy) = {
            let state = shared.lock();
            let leases: Vec<_> = state.allocator.leases().cloned().collect();
            (state.attachments.clone(), leases, state.busy.clone())
        };
        let settled = |owner: &Owner| !busy.contains(owner) && !seen.busy.contains(owner);
        for attachment in attachments.values() {
            kept.insert(attachment.host_name.as_str(), attachment);
            if settled(&attachment.owner) && seen.knows(&attachment.owner) {
                seen.compare(attachment, shared, &mut found);
            }
        }
        for lease in leases.iter().filter(|lease| settled(&lease.owner)) {
            let held = attachments.get(&lease.owner);
            if !held.is_some_and(|a| a.addresses.contains(&lease.address)) {
                found.push(problem(
                    &format!("lease.{}", lease.address),
                    format!(
                        "{} is leased to {}, which does not have it",
                        lease.address, lease.owner
                    ),
                    "the record of the attachment and the lease disagree",
                    "have the runtime call DEL for that container, or GC once it is gone",
                ));
            }
        }
        for attachment in attachments.values().filter(|a| settled(&a.owner)) {
            for address in &attachment.addresses {
                let lease = leases.iter().find(|lease| lease.address == *address);
                if lease.is_none_or(|lease| lease.owner != attachment.owner) {
                    found.push(problem(
                        &format!("address.{address}"),
                        format!("{} uses {address} without a lease", attachment.owner),
                        "the lease was lost or belongs to somebody else",
                        "restart that container",
                    ));
                }
            }
        }
        for link in seen.links.values() {
            if !kept.contains_key(link.name.as_str()) && busy.is_empty() && seen.busy.is_empty() {
                found.push(problem(
                    &format!("orphan.{}", link.name),
                    format!(
                        "interface {} is Wayleave's, but there is no record of it",
                        link.name
                    ),
                    "the state was lost or replaced while its container ran",
                    &format!("stop its container, or `ip link delete {}`", link.name),
                ));
            }
        }
        Ok(found)
    }
}

/// The host's side at one moment, and who was being worked on before it.
struct Seen {
    busy: BTreeSet<Owner>,
    owners: BTreeSet<Owner>,
    links: BTreeMap<String, Link>,
    routes: BTreeSet<Route>,
}

impl Seen {
    fn look(host: &mut Socket, shared: &Shared) -> Result<Self, KernelError> {
        let (busy, owners) = {
            let state = shared.lock();
            (
                state.busy.clone(),
                state.attachments.keys().cloned().collect(),
            )
        };
        let objects = host.dump(&Dump::Links)?;
        let links = objects.into_iter().filter_map(|object| {
            if let Object::Link(link) = object {
                Some(*link)
            } else {
                None
            }
        });
        let links = links
            .filter(|link| group::is_ours(link.group))
            .map(|link| (link.name.clone(), link))
            .collect();
        let mut routes = BTreeSet::new();
        for family in [Family::V4, Family::V6] {
            let filter = RouteFilter::all(family)
                .table(shared.settings.table)
                .protocol(shared.settings.protocol);
            routes.extend(host.routes(filter)?.into_iter().map(Route::canonical));
        }
        Ok(Self {
            busy,
            owners,
            links,
            routes,
        })
    }

    fn knows(&self, owner: &Owner) -> bool {
        self.owners.contains(owner)
    }

    fn compare(&self, attachment: &Attachment, shared: &Shared, found: &mut Vec<Problem>) {
        let name = attachment.host_name.as_str();
        let Some(link) = self.links.get(name) else {
            found.push(problem(
                &format!("gone.{name}"),
                format!("the interface {name} of {} is gone", attachment.owner),
                "its container ended without a DEL, or somebody deleted it",
                "have the runtime call DEL or GC; a restart of wayleaved frees its addresses too",
            ));
            return;
        };
        if link.group != group::ATTACHED || !link.up {
            found.push(problem(
                &format!("half.{name}"),
                format!(
                    "the interface {name} of {} is not as it was made",
                    attachment.owner
                ),
                "it is down, or its group was changed",
                "delete and add the container again",
            ));
        }
        for route in plan::routes(attachment, link.ifindex, &shared.settings) {
            if !self.routes.contains(&route) {
                found.push(problem(
                    &format!("route.{}", route.prefix),
                    format!("{} has no route to {}", attachment.owner, route.prefix),
                    "somebody deleted or replaced it",
                    "the agent puts it back as soon as its slot is free; see `wayleave routes`",
                ));
            }
        }
    }
}

fn problem(key: &str, what: String, why: &str, fix: &str) -> Problem {
    Problem {
        key: format!("attach.{key}"),
        severity: Severity::Error,
        what,
        why: why.to_owned(),
        fix: fix.to_owned(),
    }
}
