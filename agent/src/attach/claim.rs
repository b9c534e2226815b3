//! The right to work on one interface.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use wayleave_ipam::Owner;

use super::{AttachError, Shared};

/// A runtime gives up after minutes; an operation takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Held while an operation on an interface is under way; others wait.
pub(super) struct Claim<'a> {
    shared: &'a Shared,
    owner: Owner,
}

impl<'a> Claim<'a> {
    pub(super) fn take(shared: &'a Shared, owner: &Owner) -> Result<Self, AttachError> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = shared.lock();
        loop {
            if state.stopping {
                return Err(AttachError::Stopping);
            }
            if state.busy.insert(owner.clone()) {
                return Ok(Self {
                    shared,
                    owner: owner.clone(),
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AttachError::Busy(owner.clone()));
            }
            state = shared
                .freed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.shared.lock().busy.remove(&self.owner);
        self.shared.freed.notify_all();
    }
}
