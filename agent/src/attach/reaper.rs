//! Deletes interfaces, those of all who wait in one go.
//!
//! Deleting a veth pair costs some 20 ms, nearly all of it a wait inside the kernel for readers to
//! finish; the interfaces of a whole group are deleted after one such wait.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, PoisonError},
};

use nix::errno::Errno;
use wayleave_netlink::{Change, Kernel, KernelError, LinkChange, LinkId, Socket};

use super::group;

#[derive(Debug, Default)]
pub(super) struct Reaper {
    queue: Mutex<Queue>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<u32>,
    finished: BTreeMap<u32, Result<(), KernelError>>,
    /// Somebody is at it.
    running: bool,
}

impl Reaper {
    /// Deletes an interface; one that is gone is no error.
    ///
    /// The first to come deletes his own; those who come meanwhile wait, and one of them deletes
    /// all of theirs together.
    pub(super) fn delete(&self, kernel: &mut Socket, ifindex: u32) -> Result<(), KernelError> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push(ifindex);
        loop {
            if let Some(outcome) = queue.finished.remove(&ifindex) {
                return outcome;
            }
            if queue.running {
                queue = self
                    .done
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.running = true;
            let batch = std::mem::take(&mut queue.waiting);
            drop(queue);
            let outcomes = delete_all(kernel, &batch);
            queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.running = false;
            queue.finished.extend(batch.into_iter().zip(outcomes));
            self.done.notify_all();
        }
    }
}

fn delete_all(kernel: &mut Socket, batch: &[u32]) -> Vec<Result<(), KernelError>> {
    if batch.len() > 1 {
        let mut changes: Vec<Change> = batch
            .iter()
            .map(|ifindex| {
                LinkChange {
                    group: Some(group::DYING),
                    ..LinkChange::of(*ifindex)
                }
                .into()
            })
            .collect();
        changes.push(Change::LinkGroupDelete(group::DYING));
        // Whatever of this fails, deleting one by one tells about each.
        let _ = kernel.apply(&changes);
    }
    let changes: Vec<Change> = batch
        .iter()
        .map(|ifindex| Change::LinkDelete(LinkId::Index(*ifindex)))
        .collect();
    let results = kernel.apply(&changes);
    results
        .into_iter()
        .map(|result| match result {
            Err(error) if error.is(Errno::ENODEV) => Ok(()),
            other => other,
        })
        .collect()
}
