//! What survives a restart: leases, attachments and services, in one redb file behind one thread.
//!
//! [`Store::open`] checks the file and returns what it holds; [`StoreHandle::commit`] makes writes
//! durable. Requests that wait while a commit is under way share the next one, so a hundred ADDs
//! at once cost a few flushes and not a hundred.
//!
//! # Promises
//! - What `commit` answered `Ok` for is there after a power cut; what it answered `Err` for is
//!   either there or not, and the caller must be content with both: undo in memory, write again.
//! - After a failed commit everything is refused until a probe write succeeds, which the next
//!   request tries: a full disk stops ADDs before an address leaves, and nothing else.
//! - A damaged file, one of a newer release and one of another machine are refused untouched.
//!
//! Values are JSON and fields are only added, so a release reads what the one before wrote.

#[cfg(test)]
pub(crate) mod disk;
mod error;
mod owner;
mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::mpsc::{self, SyncSender},
    thread,
};

use redb::{Database, DatabaseError};
use tokio::sync::oneshot;
use wayleave_ipam::BootId;

pub use self::error::StoreError;
pub(crate) use self::record::decode;
pub use self::record::{Restored, Table, Write};

/// The version of the tables and their values. A release reads the one before and its own.
pub const SCHEMA: u32 = 1;
/// The name of the file in the state directory.
pub const FILE: &str = "state.redb";

/// Requests that may wait for the owner thread; more than ADDs are ever under way.
const QUEUE: usize = 1024;

/// The durable state of one agent.
#[derive(Debug)]
pub struct Store;

/// The way to the owner thread. Clones share it; the last one dropped ends the thread.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    requests: SyncSender<owner::Request>,
}

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The machine's identifier (`/etc/machine-id`); `None` where there is none, as in some
    /// containers: then a copied state directory goes unnoticed.
    pub machine: Option<String>,
    /// The boot that is running.
    pub boot: BootId,
}

/// Makes a database out of a file or, in tests, of something that fails on demand.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Database, DatabaseError> + Send>;

impl Host {
    /// Reads both identifiers of the machine that this process runs on.
    ///
    /// # Errors
    /// When the kernel's boot identifier cannot be read.
    pub fn this() -> Result<Self, StoreError> {
        let path = "/proc/sys/kernel/random/boot_id";
        let boot = std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| text.parse().map_err(|error| format!("{error}")))
            .map_err(|why| StoreError::BootId { why })?;
        let machine = std::fs::read_to_string("/etc/machine-id")
            .ok()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
        Ok(Self { machine, boot })
    }
}

impl Store {
    /// Opens or makes the state in a directory, checks all of it and starts the owner thread.
    ///
    /// Blocks on the disk: call it before the runtime starts.
    ///
    /// # Errors
    /// When the directory cannot be used, or the file is in use, damaged, of a newer release or of
    /// another machine. The file is left as it is.
    pub fn open(directory: &Path, host: &Host) -> Result<(StoreHandle, Restored), StoreError> {
        std::fs::create_dir_all(directory).map_err(|source| StoreError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let path = directory.join(FILE);
        let file = path.clone();
        let opener = Box::new(move || {
            Database::builder()
                .set_check_integrity_on_open(true)
                .create(&file)
        });
        Self::open_with(opener, &path, host)
    }

    pub(crate) fn open_with(
        mut opener: Opener,
        path: &Path,
        host: &Host,
    ) -> Result<(StoreHandle, Restored), StoreError> {
        let database = opener().map_err(|error| StoreError::opening(path, error))?;
        let restored = record::restore(&database, path, host)?;
        let (requests, queue) = mpsc::sync_channel(QUEUE);
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || owner::run(database, opener, &queue))
            .map_err(|source| StoreError::Thread { source })?;
        Ok((StoreHandle { requests }, restored))
    }
}

impl StoreHandle {
    /// Makes the writes durable, all or none.
    ///
    /// # Errors
    /// When the disk refuses them, or refused earlier ones and still does.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (done, outcome) = oneshot::channel();
        let request = owner::Request { writes, done };
        // The queue is longer than the agent has tasks that commit; waiting here would be a defect.
        self.requests
            .try_send(request)
            .map_err(|error| match error {
                mpsc::TrySendError::Full(_) => StoreError::Busy,
                mpsc::TrySendError::Disconnected(_) => StoreError::Stopped,
            })?;
        outcome.await.map_err(|_| StoreError::Stopped)?
    }

    /// The same for a thread that may wait.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_blocking(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (done, outcome) = oneshot::channel();
        self.requests
            .send(owner::Request { writes, done })
            .map_err(|_| StoreError::Stopped)?;
        outcome.blocking_recv().map_err(|_| StoreError::Stopped)?
    }
}

/// The records of one table by key.
pub type Records = BTreeMap<String, Vec<u8>>;
