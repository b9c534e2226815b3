//! The start: what an earlier agent left is adopted, undone or freed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex},
};

use nix::errno::Errno;
use wayleave_ipam::{Allocator, Block, BootId, Misfit, Owner, Pool};
use wayleave_netlink::{Change, Dump, Kernel, KernelError, Link, Object, Socket};

use super::{
    Attachment, Attachments, Outlet, Settings, Shared, State,
    error::StartError,
    group, plan,
    reaper::Reaper,
    record,
    sockets::Sockets,
    standing::{LEASE, MISFIT, ORPHAN, REPAIR},
};
use crate::{
    problem::{Problem, Severity},
    store::{Restored, StoreHandle, Write, decode},
};

/// What a start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Attachments taken over.
    pub kept: usize,
    /// Owners whose containers are gone: their leases are free again.
    pub freed: Vec<Owner>,
    /// Owners whose ADD or DEL was cut short: nothing of it is left.
    pub undone: Vec<Owner>,
    /// What does not fit together and was left as it is.
    pub problems: Vec<Problem>,
}

impl Attachments {
    /// Takes over what the records and the kernel hold, and starts to serve.
    ///
    /// `restored` and `store` come from [`Store::open`](crate::store::Store::open), `boot` is the
    /// running boot. Blocks on kernel and disk; the thread's network namespace is the host's.
    ///
    /// # Errors
    /// When records cannot be read, pools contradict each other, or kernel or disk refuse.
    pub fn start(
        settings: Settings,
        boot: BootId,
        pools: Vec<Pool>,
        blocks: Vec<Block>,
        (store, restored): (StoreHandle, &Restored),
        outlet: Box<dyn Outlet>,
    ) -> Result<(Self, Adopted), StartError> {
        let records: BTreeMap<String, Attachment> =
            decode(&restored.attachments).map_err(StartError::Record)?;
        let (allocator, misfits) = Allocator::restore(pools, blocks, restored.leases.clone())?;
        let mut kernel = Socket::open()?;
        let links = our_links(&mut kernel)?;
        let adopted = Adopted::default();
        let mut start = Start {
            boot,
            allocator,
            kernel,
            links,
            adopted,
        };
        let mut kept = BTreeMap::new();
        let mut writes = Vec::new();
        for attachment in records.into_values() {
            if start.judge(&attachment)? {
                kept.insert(attachment.owner.clone(), attachment);
            } else {
                writes.extend(start.forget(&attachment));
            }
        }
        start.report_leftovers(&kept);
        // Of those whose container is gone nothing is left to say.
        let still = |misfit: &&Misfit| start.allocator.lease(misfit.lease.address).is_some();
        let misfits: Vec<_> = misfits.iter().filter(still).map(misfit).collect();
        start.adopted.problems.extend(misfits);
        let Start {
            allocator,
            mut kernel,
            mut adopted,
            ..
        } = start;
        store
            .commit_blocking(writes)
            .map_err(|error| StartError::Store(error.to_string()))?;
        adopted.kept = kept.len();
        let mut routes = Vec::new();
        for attachment in kept.values() {
            routes.extend(repair(
                &mut kernel,
                attachment,
                &settings,
                &mut adopted.problems,
            )?);
        }
        for route in routes {
            outlet.local_route(route.prefix, Some(route));
        }
        outlet.originate(allocator.originated());
        let state = State {
            allocator,
            attachments: kept,
            busy: BTreeSet::new(),
            stopping: false,
        };
        let shared = Shared {
            state: Mutex::new(state),
            freed: Condvar::new(),
            store,
            sockets: Sockets::default(),
            reaper: Reaper::default(),
            outlet,
            settings,
            boot,
        };
        Ok((
            Self {
                shared: std::sync::Arc::new(shared),
            },
            adopted,
        ))
    }
}

struct Start {
    boot: BootId,
    allocator: Allocator,
    kernel: Socket,
    links: BTreeMap<String, Link>,
    adopted: Adopted,
}

impl Start {
    /// Whether the attachment lives. What is left of one that does not is removed.
    fn judge(&mut self, attachment: &Attachment) -> Result<bool, KernelError> {
        let owner = attachment.owner.clone();
        let link = self.links.remove(&attachment.host_name);
        match link {
            // A boot ends every namespace; an interface of this name has been made since.
            Some(link) if attachment.alive.boot != self.boot => {
                self.links.insert(link.name.clone(), link);
                self.adopted.freed.push(owner);
                Ok(false)
            }
            Some(link) if link.group == group::ATTACHED => Ok(true),
            Some(link) => {
                let delete = Change::LinkDelete(link.ifindex.into());
                match self.kernel.apply_one(&delete) {
                    Err(error) if !error.is(Errno::ENODEV) => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                self.adopted.undone.push(owner);
                Ok(false)
            }
            // The kernel removes a veth with the namespace of its peer.
            None => {
                self.adopted.freed.push(owner);
                Ok(false)
            }
        }
    }

    /// Frees in memory; returns the writes that make it durable.
    fn forget(&mut self, attachment: &Attachment) -> Vec<Write> {
        let writes = record::forget(&attachment.owner, &attachment.addresses, &self.allocator);
        self.allocator.free(&attachment.owner);
        writes
    }

    /// Ours by their mark, and nothing is known of them: reported, never touched.
    fn report_leftovers(&mut self, kept: &BTreeMap<Owner, Attachment>) {
        for link in self.links.values() {
            self.adopted.problems.push(Problem {
                key: format!("{ORPHAN}{}", link.name),
                severity: Severity::Warning,
                what: format!(
                    "interface {} is Wayleave's, but there is no record of it",
                    link.name
                ),
                why: "the state was lost or replaced while its container ran".to_owned(),
                fix: format!("stop its container, or `ip link delete {}`", link.name),
            });
        }
        for lease in self.allocator.leases() {
            if !kept.contains_key(&lease.owner) {
                self.adopted.problems.push(Problem {
                    key: format!("{LEASE}{}", lease.address),
                    severity: Severity::Warning,
                    what: format!(
                        "{} is leased to {}, which is not attached",
                        lease.address, lease.owner
                    ),
                    why: "the record of its attachment is missing".to_owned(),
                    fix: "have its runtime call DEL for it, or GC once that container is gone"
                        .to_owned(),
                });
            }
        }
    }
}

/// Puts back what somebody deleted while no agent ran; returns the routes that should be there.
fn repair(
    kernel: &mut Socket,
    attachment: &Attachment,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Result<Vec<wayleave_netlink::Route>, KernelError> {
    let name = attachment.host_name.as_str();
    let Some(link) = kernel.link(&name.into())? else {
        // It went between listing and now; its DEL or the next start frees it.
        return Ok(Vec::new());
    };
    let routes: Vec<_> = plan::routes(attachment, link.ifindex, settings).collect();
    let changes: Vec<Change> = plan::neighbors(attachment, link.ifindex)
        .chain(routes.iter().cloned().map(Change::RouteAdd))
        .collect();
    for (change, result) in changes.iter().zip(kernel.apply(&changes)) {
        match result {
            Ok(()) => {}
            Err(error) if error.is(Errno::EEXIST) => {}
            Err(error) => problems.push(Problem {
                key: format!("{REPAIR}{name}"),
                severity: Severity::Error,
                what: format!("{} may be unreachable", attachment.owner),
                why: error.about(change),
                fix: "delete and add the container again".to_owned(),
            }),
        }
    }
    Ok(routes)
}

fn our_links(kernel: &mut Socket) -> Result<BTreeMap<String, Link>, KernelError> {
    let objects = kernel.dump(&Dump::Links)?;
    let links = objects.into_iter().filter_map(|object| {
        if let Object::Link(link) = object {
            Some(*link)
        } else {
            None
        }
    });
    Ok(links
        .filter(|link| group::is_ours(link.group))
        .map(|link| (link.name.clone(), link))
        .collect())
}

fn misfit(misfit: &Misfit) -> Problem {
    let lease = &misfit.lease;
    Problem {
        key: format!("{MISFIT}{}", lease.address),
        severity: Severity::Warning,
        what: format!(
            "{}, leased to {}, does not fit the configuration",
            lease.address, lease.owner
        ),
        why: misfit.reason.to_string(),
        fix: "it stays until its container ends; restore the block, or restart the container"
            .to_owned(),
    }
}
