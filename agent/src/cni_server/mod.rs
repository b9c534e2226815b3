//! The CNI socket: where the plugin `wayleave-cni` calls.
//!
//! It is apart from the API's, so that nothing that floods the one delays the other. A call has a
//! thread of its own for its few milliseconds: it waits for the kernel and for the disk, and must
//! wait neither on the runtime's threads nor for another call. At most [`CALLS_MAX`] run at once;
//! more wait in the socket's queue, where the plugin's own deadline covers them.
//!
//! Only root and, if configured, members of one group may connect: the socket's mode says so, and
//! the peer's credentials are checked besides, because a mode can be changed by accident.

mod call;
mod listener;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::unistd::{Gid, chown};
use wayleave_cni::frame::Channel;

use crate::attach::Attachments;

/// Calls served at once.
pub const CALLS_MAX: usize = 64;
/// A plugin sends its call at once; whoever does not is no plugin.
const FIRST_FRAME: Duration = Duration::from_secs(2);

/// The socket being served.
#[derive(Debug)]
pub struct Server {
    listener: Arc<OwnedFd>,
    path: PathBuf,
    accepting: Option<JoinHandle<()>>,
    slots: Arc<Slots>,
}

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The directory, the socket or its mode.
    #[error("the CNI socket {} cannot be {verb}: {source}", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody listens there.
    #[error(
        "another process listens on {}: is a second wayleaved running? give each its own `paths.run`",
        .0.display()
    )]
    InUse(PathBuf),
    /// The path holds something else.
    #[error("{} exists and is no socket; it was left as it is: remove it or set `paths.run`", .0.display())]
    NotASocket(PathBuf),
    /// No thread can be started.
    #[error("no thread can be started for the CNI socket: {0}")]
    Thread(io::Error),
}

impl Server {
    /// Listens on `path` and serves calls out of `attachments`, on threads that inherit the network
    /// namespace of the caller's. `group` may connect too; `None`: root only.
    ///
    /// A socket left by an agent that died is replaced; one that somebody answers is not.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(
        path: &Path,
        group: Option<Gid>,
        attachments: Attachments,
    ) -> Result<Self, ServeError> {
        let failed = |verb| {
            move |source: io::Error| ServeError::Socket {
                path: path.to_owned(),
                verb,
                source,
            }
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed("made"))?;
        }
        listener::clear(path)?;
        let listener = listener::bind(path).map_err(failed("bound"))?;
        // Nobody can connect before `listen`, so there is no moment with a wrong mode.
        if let Some(group) = group {
            chown(path, None, Some(group)).map_err(|e| failed("given to its group")(e.into()))?;
        }
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("protected"))?;
        listener::listen(&listener).map_err(failed("listened on"))?;
        let listener = Arc::new(listener);
        let slots = Arc::new(Slots::default());
        let accepting = thread::Builder::new()
            .name("cni".to_owned())
            .spawn({
                let (listener, slots) = (Arc::clone(&listener), Arc::clone(&slots));
                move || accept_all(&listener, group, &slots, &attachments)
            })
            .map_err(ServeError::Thread)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            accepting: Some(accepting),
            slots,
        })
    }

    /// Accepts no more calls, waits until those under way have ended, and removes the socket.
    ///
    /// Plugins that come meanwhile wait for the next agent.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        // Unlinked first: a plugin that looks for the next agent must not find this one.
        let _ = fs::remove_file(&self.path);
        listener::end(&self.listener);
        if accepting.join().is_err() {
            tracing::error!("the thread of the CNI socket had panicked");
        }
        self.slots.wait_all_free();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Serves until the listener ends.
fn accept_all(
    listener: &OwnedFd,
    group: Option<Gid>,
    slots: &Arc<Slots>,
    attachments: &Attachments,
) {
    loop {
        let slot = Slots::take(slots);
        let socket = match listener::accept(listener) {
            Ok(Some(socket)) => socket,
            Ok(None) => return,
            Err(error) => {
                // Out of descriptors or memory: others will give some back.
                tracing::warn!(%error, "a CNI call could not be accepted");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if let Err(why) = listener::check_peer(&socket, group) {
            tracing::warn!(%why, "a connection to the CNI socket was refused");
            continue;
        }
        let attachments = attachments.clone();
        let spawned = thread::Builder::new()
            .name("cni call".to_owned())
            .spawn(move || {
                let channel = Channel::new(socket);
                call::serve(&channel, &attachments, Instant::now() + FIRST_FRAME);
                drop(slot);
            });
        if let Err(error) = spawned {
            // The plugin sees its connection closed and calls again.
            tracing::warn!(%error, "no thread can be started for a CNI call");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Places for calls.
#[derive(Debug, Default)]
struct Slots {
    taken: Mutex<usize>,
    given_back: Condvar,
}

#[derive(Debug)]
struct Slot(Arc<Slots>);

impl Slots {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(slots: &Arc<Self>) -> Slot {
        let mut taken = slots.lock();
        while *taken >= CALLS_MAX {
            taken = slots
                .given_back
                .wait(taken)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Slot(Arc::clone(slots))
    }

    fn wait_all_free(&self) {
        let mut taken = self.lock();
        while *taken > 0 {
            taken = self
                .given_back
                .wait(taken)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.given_back.notify_all();
    }
}
