//! How others talk to the thread, and what it tells them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU8,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use wayleave_bfd::{DiscardCounts, Event, Hops, Interval, Role, SessionId, SessionView, Timers};

use super::wake::Waker;

/// The thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("BFD has stopped")]
pub struct Stopped;

/// What the thread is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The addresses to receive at; all of both families unless told otherwise. Two processes of one
    /// network namespace can run BFD only at addresses of their own.
    pub listen: Vec<IpAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        }
    }
}

/// A session to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdSession {
    /// The neighbour's address.
    pub remote: IpAddr,
    /// Our own; without it, whichever the kernel sends from.
    pub local: Option<IpAddr>,
    /// The interface that the neighbour is on; a link-local address needs one, and a session over
    /// one hop should have one.
    pub interface: Option<String>,
    /// Over one hop or several.
    pub hops: Hops,
    /// Who begins.
    pub role: Role,
    /// How fast.
    pub timers: Timers,
}

impl BfdSession {
    /// Over one hop, from any address and interface, 50 ms x 3.
    #[must_use]
    pub fn single_hop(remote: IpAddr) -> Self {
        const FIFTY: Interval = match Interval::from_micros(50_000) {
            Some(interval) => interval,
            None => Interval::SLOW,
        };
        const THREE: NonZeroU8 = NonZeroU8::MIN.saturating_add(2);
        Self {
            remote,
            local: None,
            interface: None,
            hops: Hops::Single,
            role: Role::Active,
            timers: Timers {
                desired_min_tx: FIFTY,
                required_min_rx: FIFTY,
                detect_mult: THREE,
            },
        }
    }
}

/// What happens to sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BfdEvent {
    /// A session has changed its state, or the remote system has gone into AdminDown or left it.
    /// The reader should ask [`Event::path_failed`] before it takes anything down.
    State(Event),
    /// A session has no socket, or is refused; it is tried again. The reader should raise a problem.
    Trouble {
        /// The session.
        session: SessionId,
        /// What is wrong, in words.
        what: String,
    },
    /// What was wrong with a session is over.
    Healed {
        /// The session.
        session: SessionId,
    },
}

/// What happens to sessions, in its order. It ends with the thread; that says nothing about paths.
pub type Events = mpsc::UnboundedReceiver<BfdEvent>;

/// A session and its socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdPeerView {
    /// The neighbour.
    pub remote: IpAddr,
    /// The interface, when the session is bound to one.
    pub interface: Option<String>,
    /// The UDP port we send from, while there is a socket.
    pub source_port: Option<u16>,
    /// Why there is none, or no session.
    pub trouble: Option<String>,
    /// How often a packet could not be sent, and why the last time: no route, say.
    pub unsent: u64,
    /// See `unsent`.
    pub last_send_error: Option<String>,
    /// The session; none while it is refused.
    pub session: Option<SessionView>,
}

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdView {
    /// By their names.
    pub peers: Vec<BfdPeerView>,
    /// What was discarded of all that came in.
    pub discarded: DiscardCounts,
    /// How the thread is scheduled, and why not better.
    pub scheduling: String,
    /// How often it woke more than 10 ms late.
    pub late_wakeups: u64,
}

pub(super) enum Command {
    Add(SessionId, BfdSession),
    Remove(SessionId),
    Reconfigure(SessionId, Timers),
    AdminDown(SessionId, bool),
    View(oneshot::Sender<BfdView>),
    Close(oneshot::Sender<()>),
    /// The thread does nothing for so long, as if it were not scheduled.
    #[cfg(test)]
    Stall(std::time::Duration),
}

/// A handle to the thread; cheap to clone. When the last one is gone, all sessions are closed.
///
/// Nothing here blocks: commands are carried out by the thread, in their order.
#[derive(Clone, Debug)]
pub struct BfdHandle {
    commands: std::sync::mpsc::Sender<Command>,
    names: Arc<AtomicU64>,
    // Behind `commands`: dropped after it, and so the thread wakes to find that nobody is left.
    waker: Arc<Waker>,
}

impl BfdHandle {
    pub(super) fn new(commands: std::sync::mpsc::Sender<Command>, waker: Waker) -> Self {
        Self {
            commands,
            names: Arc::default(),
            waker: Arc::new(waker),
        }
    }

    pub(super) fn send(&self, command: Command) {
        // A thread that has ended has no sessions: its end is seen in the events.
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }

    /// Adds a session. What comes of it is told by the events; at first it is down.
    pub fn add(&self, session: BfdSession) -> SessionId {
        let id = SessionId(self.names.fetch_add(1, Ordering::Relaxed));
        self.send(Command::Add(id, session));
        id
    }

    /// Removes a session; the neighbour is told AdminDown. Events of it may be on their way still.
    pub fn remove(&self, session: SessionId) {
        self.send(Command::Remove(session));
    }

    /// Other timers; the session stays up.
    pub fn reconfigure(&self, session: SessionId, timers: Timers) {
        self.send(Command::Reconfigure(session, timers));
    }

    /// Holds a session in AdminDown, or no longer.
    pub fn set_admin_down(&self, session: SessionId, down: bool) {
        self.send(Command::AdminDown(session, down));
    }

    /// All sessions.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn view(&self) -> Result<BfdView, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::View(answer));
        answered.await.map_err(|_| Stopped)
    }

    /// Tells all neighbours AdminDown, so that none takes the end of this process for a failure, and
    /// ends the thread: when they have noticed, after half a second at the latest.
    pub async fn close(&self) {
        let (done, ended) = oneshot::channel();
        self.send(Command::Close(done));
        // It has ended either way.
        let _ = ended.await;
    }
}
