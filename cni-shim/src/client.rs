//! The plugin's side of the conversation with the agent.
//!
//! An agent that is being restarted is waited for: a runtime that is told of a failure throws the container away.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};

use crate::environment::Verb;
use crate::error::{CniError, code};
use crate::frame::{Channel, FrameError, remaining};
use crate::message::{Call, Performed, Reply};
use crate::namespace::Namespace;
use crate::result::CniResult;

/// How long the parts of a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until an agent accepts the connection, and again after it broke.
    pub connect: Duration,
    /// For the whole conversation with the agent.
    pub total: Duration,
    /// Until the runtime has written the configuration to stdin.
    pub stdin: Duration,
}

/// An agent asks for steps a few times at most; more is a defect that must not go on for ever.
const ROUNDS_MAX: usize = 16;
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_millis(100);

/// Why the agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No agent accepted the connection in time.
    #[error("no agent answers at {}", socket.display())]
    Nobody {
        /// The socket.
        socket: PathBuf,
        /// What the last attempt said.
        #[source]
        source: io::Error,
    },
    /// The socket is not for us.
    #[error("the agent's socket {} cannot be used", socket.display())]
    Unusable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The conversation broke down.
    #[error("the conversation with the agent broke down")]
    Frame(#[from] FrameError),
    /// The agent asked for steps without end.
    #[error("the agent asked for steps more than {ROUNDS_MAX} times")]
    Endless,
}

impl Patience {
    /// What a runtime can be expected to grant; they give up after minutes.
    #[must_use]
    pub const fn of(verb: Verb) -> Self {
        let (connect, total) = match verb {
            // Asked every few seconds; the answer to silence is known.
            Verb::Status | Verb::Version => (1, 5),
            Verb::Add | Verb::Del | Verb::Check | Verb::Gc => (10, 30),
        };
        Self {
            connect: Duration::from_secs(connect),
            total: Duration::from_secs(total),
            stdin: Duration::from_secs(10),
        }
    }
}

/// Puts a call to the agent and performs what it asks for; `Ok(Err(_))` is the agent's own refusal.
///
/// # Errors
/// When the agent gives no answer within the patience.
pub fn call(
    socket: &Path,
    call: &Call,
    namespace: Option<&Namespace>,
    patience: Patience,
) -> Result<Result<Option<CniResult>, CniError>, CallError> {
    let deadline = Instant::now() + patience.total;
    loop {
        let channel = connect_until(socket, deadline.min(Instant::now() + patience.connect))?;
        match converse(&channel, call, namespace, deadline) {
            // The agent was stopped in mid-call. All verbs are idempotent: say it again.
            Err(CallError::Frame(FrameError::Closed)) if Instant::now() < deadline => {
                thread::sleep(RETRY_FIRST);
            }
            outcome => return outcome,
        }
    }
}

fn converse(
    channel: &Channel,
    call: &Call,
    namespace: Option<&Namespace>,
    deadline: Instant,
) -> Result<Result<Option<CniResult>, CniError>, CallError> {
    let descriptors: Vec<BorrowedFd<'_>> = namespace
        .map(|ns| ns.descriptors().to_vec())
        .unwrap_or_default();
    let mut call = call.clone();
    let left = deadline.saturating_duration_since(Instant::now());
    call.patience_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    channel.send(&call, &descriptors, deadline)?;
    for _ in 0..ROUNDS_MAX {
        match channel.receive::<Reply>(deadline)?.0 {
            Reply::Done { result } => return Ok(Ok(result)),
            Reply::Failed { error } => return Ok(Err(error)),
            Reply::Perform { steps } => {
                let outcomes = match namespace {
                    Some(namespace) => namespace.perform(&steps),
                    None => steps.iter().map(|_| Err(no_namespace())).collect(),
                };
                channel.send(&Performed { outcomes }, &[], deadline)?;
            }
        }
    }
    Err(CallError::Endless)
}

fn no_namespace() -> crate::message::StepError {
    let message = "the call came without a network namespace".to_owned();
    crate::message::StepError {
        errno: None,
        message,
    }
}

fn connect_until(path: &Path, deadline: Instant) -> Result<Channel, CallError> {
    let unusable = |errno: Errno| CallError::Unusable {
        socket: path.to_owned(),
        source: errno.into(),
    };
    let address = UnixAddr::new(path).map_err(unusable)?;
    let mut pause = RETRY_FIRST;
    loop {
        let socket = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(unusable)?;
        // A connection waits in `connect` while the agent's queue is full.
        let Ok(left) = remaining(deadline) else {
            return Err(nobody(path, Errno::ETIMEDOUT));
        };
        setsockopt(&socket, sockopt::SendTimeout, &left).map_err(unusable)?;
        let raw = std::os::fd::AsRawFd::as_raw_fd(&socket);
        match connect(raw, &address) {
            Ok(()) => return Ok(Channel::new(socket)),
            // Not there yet, left over from a dead agent, or its queue is full.
            Err(errno @ (Errno::ENOENT | Errno::ECONNREFUSED | Errno::EAGAIN | Errno::EINTR)) => {
                if Instant::now() + pause >= deadline {
                    return Err(nobody(path, errno));
                }
                thread::sleep(pause);
                pause = (pause * 2).min(RETRY_MAX);
            }
            Err(errno) => return Err(unusable(errno)),
        }
    }
}

fn nobody(socket: &Path, errno: Errno) -> CallError {
    CallError::Nobody {
        socket: socket.to_owned(),
        source: errno.into(),
    }
}

impl CallError {
    /// What the runtime is told.
    #[must_use]
    pub fn to_cni(&self, verb: Verb) -> CniError {
        let mut why = String::new();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            if !why.is_empty() {
                why.push_str(": ");
            }
            why.push_str(&error.to_string());
            source = error.source();
        }
        let (code, hint) = match self {
            _ if verb == Verb::Status => (code::NOT_AVAILABLE, "is wayleaved running?"),
            CallError::Nobody { .. } => (code::TRY_AGAIN_LATER, "is wayleaved running?"),
            CallError::Frame(FrameError::Closed | FrameError::Timeout) => {
                (code::TRY_AGAIN_LATER, "the agent's log says more")
            }
            CallError::Unusable { .. } => (
                code::IO_FAILURE,
                "check `socket` in the network configuration, and that the runtime runs as root",
            ),
            CallError::Frame(_) | CallError::Endless => {
                (code::PROTOCOL, "are plugin and agent of the same release?")
            }
        };
        let details = if why.is_empty() {
            hint.to_owned()
        } else {
            format!("{why}; {hint}")
        };
        CniError::new(code, self.to_string()).because(details)
    }
}
