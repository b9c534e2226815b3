//! A disk that fails and loses power on demand, for tests.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use redb::{Database, StorageBackend};

use super::Opener;

/// A disk in memory that can be told to fail and that keeps a log of what reached it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(pub(crate) Arc<DiskState>);

#[derive(Debug, Default)]
pub(crate) struct DiskState {
    pub(crate) bytes: Mutex<Vec<u8>>,
    pub(crate) log: Mutex<Vec<Operation>>,
    /// Operations until everything fails; 0: never.
    pub(crate) fuse: AtomicU64,
    pub(crate) syncs: AtomicU64,
}

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Length(u64),
    Write(u64, Vec<u8>),
    Sync,
}

impl Disk {
    pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same content.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        *Self::locked(&copy.0.bytes) = Self::locked(&self.0.bytes).clone();
        copy
    }

    pub(crate) fn opener(&self) -> Opener {
        let disk = self.clone();
        Box::new(move || {
            Database::builder()
                .set_check_integrity_on_open(true)
                .create_with_backend(disk.clone())
        })
    }

    fn change(&self, operation: Operation) -> Result<(), std::io::Error> {
        match self.0.fuse.load(Ordering::SeqCst) {
            0 => {}
            1 => return Err(std::io::Error::from_raw_os_error(nix::libc::ENOSPC)),
            left => self.0.fuse.store(left - 1, Ordering::SeqCst),
        }
        apply(&mut Self::locked(&self.0.bytes), &operation);
        Self::locked(&self.0.log).push(operation);
        Ok(())
    }
}

pub(crate) fn apply(bytes: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Length(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        Operation::Write(at, data) => {
            let at = usize::try_from(*at).unwrap();
            bytes[at..at + data.len()].copy_from_slice(data);
        }
        Operation::Sync => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(Self::locked(&self.0.bytes).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let bytes = Self::locked(&self.0.bytes);
        let at = usize::try_from(offset).map_err(std::io::Error::other)?;
        let part = bytes.get(at..at + out.len());
        out.copy_from_slice(part.ok_or(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.change(Operation::Length(len))
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        self.change(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.change(Operation::Write(offset, data.to_vec()))
    }
}
