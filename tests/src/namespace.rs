//! Network namespaces by name, and threads inside them.

use std::fs::{self, File};
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::LabError;

/// A named network namespace, as `ip netns` makes them: a mount in `/run/netns`.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    path: PathBuf,
}

impl Namespace {
    /// Makes a namespace with a working loopback-less stack.
    pub(crate) fn create(name: &str) -> Result<Self, LabError> {
        let path = Path::new("/run/netns").join(name);
        let refused =
            |e: io::Error| LabError::system(format!("make the network namespace {name}"), e);
        File::create_new(&path).map_err(refused)?;
        // A namespace belongs to the thread that made it until it is mounted somewhere.
        let made = thread::scope(|scope| {
            scope
                .spawn(|| -> nix::Result<()> {
                    unshare(CloneFlags::CLONE_NEWNET)?;
                    let none = None::<&str>;
                    mount(
                        Some("/proc/thread-self/ns/net"),
                        &path,
                        none,
                        MsFlags::MS_BIND,
                        none,
                    )
                })
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        });
        made.map_err(|e| refused(e.into()))?;
        Ok(Self {
            name: name.to_owned(),
            path,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the name still exists.
    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Takes the name away. The namespace itself goes, some time later, with its last user.
    pub(crate) fn remove(&self) -> Result<(), LabError> {
        let refused =
            |e: io::Error| LabError::system(format!("remove the namespace {}", self.name), e);
        umount2(&self.path, MntFlags::MNT_DETACH).map_err(|e| refused(e.into()))?;
        fs::remove_file(&self.path).map_err(refused)
    }

    /// Runs a closure on a fresh thread inside the namespace (`setns` is per thread) and waits for
    /// it. Sockets made and processes started there stay there.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let refused =
            |e: io::Error| LabError::system(format!("enter the namespace {}", self.name), e);
        let file = File::open(&self.path).map_err(refused)?;
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET)?;
                Ok::<T, nix::Error>(work())
            });
            inside
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
        .map_err(|e| refused(e.into()))
    }
}
