//! What can go wrong with an attachment.

use wayleave_cni::error::{CniError, code};
use wayleave_ipam::{AllocateError, BlockError, Owner};
use wayleave_netlink::{Change, KernelError};

use super::Point;

/// Why an operation failed. Unless it says otherwise, nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No address can be had.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// The record could not be made durable.
    #[error("{0}")]
    Store(String),
    /// The kernel refused a step.
    #[error("{what}: {why}")]
    Kernel {
        /// What was being done.
        what: &'static str,
        /// The change and the kernel's answer.
        why: String,
        /// Whether the container's namespace has gone meanwhile.
        gone: bool,
    },
    /// The container has an interface of that name which is not ours.
    #[error("the container already has an interface `{0}`")]
    InterfaceExists(String),
    /// The host has an interface of the name we derive, which is not ours.
    #[error("this host already has an interface `{0}`, which is not Wayleave's")]
    HostNameTaken(String),
    /// The plugin could not do what it was asked to.
    #[error("inside the container: {0}")]
    Inside(String),
    /// The descriptors that came are of no use.
    #[error("the container's namespace was not handed over: {0}")]
    Namespace(String),
    /// Another operation for the same interface takes too long.
    #[error("another operation for {0} is still under way")]
    Busy(Owner),
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
    /// CHECK: the interface is not known.
    #[error("{0} is not attached")]
    Unknown(Owner),
    /// CHECK: something is not as ADD left it.
    #[error("{owner} is not as it was made: {}", wrongs.join("; "))]
    Wrong {
        /// The interface.
        owner: Owner,
        /// All that is wrong.
        wrongs: Vec<String>,
    },
    /// GC: some could not be deleted.
    #[error("{} of {all} could not be deleted: {}", failures.len(), failures.join("; "))]
    Collect {
        /// How many there were.
        all: usize,
        /// What went wrong with each.
        failures: Vec<String>,
    },
    /// A test ended the operation here, as a kill would.
    #[error("ended at {0:?} by a test")]
    Ended(Point),
}

/// Why an ADD could not be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The agent has nothing to give.
    #[error("no pool configured")]
    NoPool,
    /// The disk refuses.
    #[error("the state cannot be written: {0}")]
    Store(String),
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
}

/// Why the attachments of the last run could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A record cannot be read.
    #[error("an attachment's record cannot be read: {0}")]
    Record(String),
    /// The pools and blocks contradict each other.
    #[error(transparent)]
    Blocks(#[from] BlockError),
    /// The kernel could not be asked.
    #[error("the host's interfaces cannot be listed: {0}")]
    Kernel(#[from] KernelError),
    /// The result could not be written.
    #[error("{0}")]
    Store(String),
}

impl AttachError {
    /// A step that the kernel refused.
    pub(super) fn kernel(what: &'static str, change: &Change, error: &KernelError) -> Self {
        Self::Kernel {
            what,
            why: error.about(change),
            gone: false,
        }
    }

    /// A question that the kernel did not answer.
    pub(super) fn asking(what: &'static str, error: &KernelError) -> Self {
        Self::Kernel {
            what,
            why: error.to_string(),
            gone: false,
        }
    }

    /// What the runtime is told.
    #[must_use]
    pub fn to_cni(&self) -> CniError {
        let error = |code, details: &str| CniError::new(code, self.to_string()).because(details);
        match self {
            Self::Allocate(AllocateError::NoPool | AllocateError::Exhausted { .. }) => error(
                code::TRY_AGAIN_LATER,
                "`wayleave ipam` shows the blocks and who has them",
            ),
            Self::Allocate(_) => error(
                code::INVALID_CONFIGURATION,
                "the network configuration asks for what this host cannot give",
            ),
            Self::Store(_) => error(code::TRY_AGAIN_LATER, "no address was given out"),
            Self::Busy(_) | Self::Stopping => error(code::TRY_AGAIN_LATER, ""),
            Self::Kernel { gone: true, .. } => {
                error(code::UNKNOWN_CONTAINER, "the container ended meanwhile")
            }
            Self::Kernel { .. } | Self::Inside(_) | Self::HostNameTaken(_) => {
                error(code::KERNEL_REFUSED, "nothing of it was left behind")
            }
            Self::InterfaceExists(_) => error(
                code::INTERFACE_EXISTS,
                "another plugin or the runtime made it; choose another CNI_IFNAME",
            ),
            Self::Namespace(_) => {
                error(code::PROTOCOL, "are plugin and agent of the same release?")
            }
            Self::Unknown(_) => error(code::UNKNOWN_CONTAINER, "ADD it first"),
            Self::Wrong { .. } => error(code::CHECK_FAILED, "DEL and ADD make it anew"),
            Self::Collect { .. } => error(code::TRY_AGAIN_LATER, ""),
            Self::Ended(_) => error(code::INTERNAL, ""),
        }
    }
}

impl NotReady {
    /// What the runtime is told.
    #[must_use]
    pub fn to_cni(&self) -> CniError {
        let details = match self {
            Self::NoPool => {
                "add a [[pool]], and a [[block]] for this host, to /etc/wayleave/wayleave.toml"
            }
            Self::Store(_) => "containers keep running; ADD is served again once the disk is",
            Self::Stopping => "",
        };
        CniError::new(code::NOT_AVAILABLE, self.to_string()).because(details)
    }
}
