//! A few labs at a time on one machine, whatever number of test processes and threads there is.
//!
//! The kernel takes network namespaces down asynchronously; with many labs at once the clean-up
//! falls behind and every lab slows down. A slot is a locked file in the system's temporary
//! directory; the kernel releases it when its holder ends, however it ends.

use std::env;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::unistd::Uid;

use crate::error::LabError;

/// How many labs run at once (they mostly wait) unless `WAYLEAVE_LABS` says otherwise.
const LABS: usize = 3;

/// The right to run a lab, until dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _file: File,
}

impl Slot {
    /// Waits for a free slot.
    pub(crate) fn acquire() -> Result<Self, LabError> {
        let slots = env::var("WAYLEAVE_LABS")
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(LABS);
        let mut pause = Duration::from_millis(20);
        loop {
            for n in 0..slots.max(1) {
                if let Some(slot) = Self::attempt(n)? {
                    return Ok(slot);
                }
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    fn attempt(n: usize) -> Result<Option<Self>, LabError> {
        let path = env::temp_dir().join(format!("wayleave-lab-{}-{n}.lock", Uid::effective()));
        let refused = |e| LabError::system(format!("open the lab's slot {}", path.display()), e);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(refused(e)),
        }
    }
}
