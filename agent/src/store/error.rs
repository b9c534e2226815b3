//! Why state could not be opened or written.

use std::{
    io,
    path::{Path, PathBuf},
};

use redb::{DatabaseError, StorageError};

/// Why state could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be made.
    #[error("the state directory {} cannot be made: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel's boot identifier cannot be read.
    #[error(
        "the kernel's boot identifier cannot be read, so leases cannot be told from those before a reboot: {why}"
    )]
    BootId {
        /// Why not.
        why: String,
    },
    /// Another process has the file open.
    #[error("{} is in use: is another wayleaved running with the same state directory? give each its own `paths.state`", .0.display())]
    InUse(PathBuf),
    /// The file cannot be read or made.
    #[error("{} cannot be opened: {why}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The file's checksums or contents are wrong.
    #[error(
        "{} is damaged ({why}); it was left as it is. Restore it from a backup, or move it away to \
         start with no leases, once no container of this host runs any more",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A newer release wrote the file.
    #[error(
        "{} was written by a newer release (schema {found}, this one knows {}); it was left as it \
         is. Install that release again",
        path.display(),
        super::SCHEMA
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// Another machine wrote the file.
    #[error(
        "{} belongs to another machine (machine-id {found}, this one is {here}); it was left as it \
         is. Its leases are that machine's: move it away to start with none",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The machine that wrote it.
        found: String,
        /// This machine.
        here: String,
    },
    /// The owner thread cannot be started.
    #[error("the thread that owns the state cannot be started: {source}")]
    Thread {
        /// Why not.
        source: io::Error,
    },
    /// A commit failed.
    #[error("the state could not be written: {why}; is the disk full or read-only?")]
    Commit {
        /// Why not.
        why: String,
    },
    /// An earlier commit failed and the disk still refuses.
    #[error("nothing is written since an earlier failure, and a probe failed again: {why}")]
    Refusing {
        /// What the probe said.
        why: String,
    },
    /// A value cannot be written as JSON.
    #[error("a record cannot be encoded: {why}")]
    Encode {
        /// Why not.
        why: String,
    },
    /// Too many commits are waiting.
    #[error("too many writes are waiting for the disk; try again")]
    Busy,
    /// The owner thread has ended: the agent is stopping.
    #[error("the state is closed: the agent is stopping")]
    Stopped,
}

impl StoreError {
    pub(super) fn opening(path: &Path, error: DatabaseError) -> Self {
        let path = path.to_owned();
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "the library's list of errors is open"
        )]
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse(path),
            DatabaseError::Storage(StorageError::Corrupted(why)) => Self::Damaged { path, why },
            // What the library says of a file that is shorter than its header claims, or is none.
            DatabaseError::Storage(StorageError::Io(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Damaged {
                    path,
                    why: error.to_string(),
                }
            }
            DatabaseError::UpgradeRequired(version) => Self::Damaged {
                path,
                why: format!("file format {version} is not known here"),
            },
            other => Self::Open {
                path,
                why: other.to_string(),
            },
        }
    }

    pub(super) fn damaged(path: &Path, why: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}
