//! What plugin and agent say to each other.
//!
//! ```text
//!  plugin                         agent
//!    | Call + namespace, socket     |
//!    |----------------------------->|
//!    |            Reply::Perform    |   as often as needed
//!    |<-----------------------------|
//!    | Performed                    |
//!    |----------------------------->|
//!    |            Reply::Done       |   or Reply::Failed
//!    |<-----------------------------|
//! ```
//! ADD and DEL can be said again after a broken connection: the agent makes both idempotent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::NetworkConfig;
use crate::environment::{Attachment, Verb};
use crate::error::CniError;
use crate::result::CniResult;

/// A call, as the plugin passes it on.
///
/// With ADD and CHECK, and with DEL if the namespace still exists, two descriptors come along: the container's network
/// namespace and a `NETLINK_ROUTE` socket made inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What to do.
    pub verb: Verb,
    /// For which interface; with ADD, DEL and CHECK.
    pub attachment: Option<Attachment>,
    /// The path of the container's namespace, for the result and for logs; never opened by the agent.
    pub netns: Option<String>,
    /// `CNI_ARGS`.
    pub args: BTreeMap<String, String>,
    /// The network.
    pub config: NetworkConfig,
    /// How long the plugin will wait for an answer, in milliseconds.
    pub patience_ms: u64,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The plugin should perform these inside the namespace, in order, and report.
    Perform {
        /// What to perform.
        steps: Vec<Step>,
    },
    /// The call succeeded.
    Done {
        /// The result of an ADD, without those of plugins before us.
        result: Option<CniResult>,
    },
    /// The call failed.
    Failed {
        /// What the runtime is told.
        error: CniError,
    },
}

/// Something that only a member of a network namespace can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Write a setting under `/proc/sys/net`.
    WriteSysctl {
        /// The path below `/proc/sys`, such as `net/ipv6/conf/eth0/accept_dad`.
        path: String,
        /// What to write.
        value: String,
    },
    /// Read a setting under `/proc/sys/net`.
    ReadSysctl {
        /// The path below `/proc/sys`.
        path: String,
    },
}

/// What became of the steps: one outcome for each, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Performed {
    /// The value read (empty for a write), or what went wrong.
    pub outcomes: Vec<Result<String, StepError>>,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// The system's error number, when a system call failed.
    pub errno: Option<i32>,
    /// What failed and why.
    pub message: String,
}
