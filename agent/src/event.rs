//! The messages between owners, and the picture of tasks and channels.
//!
//! ```text
//!             signals ──▶ daemon ◀── Reload ── api ◀── `wayleave`, over run/wayleave.sock
//!                           │  ▲               │ asks and waits for an answer
//!      Arc<Config> (watch)  │  │ Progress      ▼
//!        ┌──────────────────┤  │        ┌─ speaker (a thread of its own) ⇄ peers
//!        ▼                  ▼  │        │      ▲
//!      api, owners      Phase (watch)   │      └── SpeakerConfig, Origination, withdrawn prefixes
//!                                       ▼
//!                            FeedEvent: full picture, changes, InSync ──▶ owners
//!
//!      every owner ── Problem ──▶ problem table ──▶ api, log, service manager
//! ```
//!
//! - `daemon` and everything named *owner* are tasks of one single-threaded runtime; the speaker,
//!   BFD, the kernel's routes, the store and the log's writer have threads of their own.
//! - A *watch* channel holds the latest value only: a reader that lags gets the latest state,
//!   never a backlog. Feeds of the speaker are bounded and coalesce in the speaker.
//! - No owner waits for another. Only the edges (API, CNI) wait for an answer.
//! - Nothing is deleted anywhere before every feed that could still claim it is in sync.
//!
//! What passes between owners is serialisable, so that a run can be recorded. [`Reload`] is not:
//! it is a question of an edge and carries the way its answer goes.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
pub use wayleave_bgp_core::feed::{FeedEvent, FeedPath, FeedRoute, Origination, RouteChange};

use crate::config::{ConfigErrors, Delta};

/// Where the agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Owners start and bring themselves in line with the kernel.
    Starting,
    /// All owners are in sync.
    Ready,
    /// Work under way is finished; nothing new is begun.
    Stopping,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
        })
    }
}

/// Who keeps a piece of state that the agent waits for at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// The BGP speaker: peers, RIB.
    Speaker,
    /// Routes in the kernel.
    Fib,
    /// Durable state.
    Store,
    /// Containers' interfaces.
    Attach,
    /// Services of this host.
    Registry,
}

/// What the agent waits for before it says that it is ready: one entry per owner that was
/// started, gone once that owner is in sync.
#[derive(Clone, Debug)]
pub struct Progress {
    waiting: watch::Sender<BTreeMap<Owner, String>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            waiting: watch::Sender::new(BTreeMap::new()),
        }
    }
}

impl Progress {
    /// The agent is not ready before this owner is: `what` completes "waiting for".
    pub fn expect(&self, owner: Owner, what: impl Into<String>) {
        self.waiting.send_modify(|waiting| {
            waiting.insert(owner, what.into());
        });
    }

    /// This owner is in sync.
    pub fn in_sync(&self, owner: Owner) {
        self.waiting
            .send_if_modified(|waiting| waiting.remove(&owner).is_some());
    }

    /// What is still waited for, in words.
    pub fn waiting(&self) -> Vec<String> {
        self.waiting.borrow().values().cloned().collect()
    }

    /// Returns once nothing is waited for.
    pub async fn complete(&self) {
        // The sender lives in `self`, so the channel cannot close.
        let _ = self.waiting.subscribe().wait_for(BTreeMap::is_empty).await;
    }
}

/// Ranks of what this host originates ([`Origination::rank`]): where several owners want the same
/// prefix announced, the one that says most about it speaks.
pub mod rank {
    /// `[bgp] originate`.
    pub const CONFIGURED: u8 = 0;
    /// Blocks.
    pub const BLOCK: u8 = 1;
    /// Services, and what this node says about itself.
    pub const DISCOVERY: u8 = 2;
}

/// A wish to read the configuration again and apply it.
#[derive(Debug)]
pub struct Reload {
    /// Where the outcome goes; nobody waits for that of a signal.
    pub reply: Option<oneshot::Sender<Result<Applied, Refused>>>,
}

/// A reload that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What changed.
    pub delta: Delta,
    /// What was done about it, in words.
    pub actions: Vec<String>,
    /// Files of services that are wrong, and why: what they describe is as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

/// Why a reload was refused; then nothing at all changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The files are wrong.
    #[error("the configuration is wrong: {}", .0.summary())]
    Invalid(ConfigErrors),
    /// Something in it needs a restart.
    #[error("{} changed, which needs a restart of wayleaved", subjects(.0))]
    NeedsRestart(Delta),
    /// An address to listen on cannot be had.
    #[error("{0}")]
    CannotListen(String),
    /// The speaker did not answer.
    #[error("the speaker is gone")]
    SpeakerGone,
    /// The agent is about to end.
    #[error("the agent is stopping")]
    Stopping,
}

fn subjects(delta: &Delta) -> String {
    let keys = delta.refused().map(|change| {
        let keys: Vec<_> = change
            .keys
            .iter()
            .filter(|key| key.effect == crate::config::Effect::NeedsRestart)
            .map(|key| key.key.as_str())
            .collect();
        match (change.kind, keys.as_slice()) {
            (crate::config::Kind::Changed, [_, ..]) => {
                format!("{} ({})", change.subject(), keys.join(", "))
            }
            _ => change.subject(),
        }
    });
    keys.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_agent_is_ready_when_the_last_owner_is_in_sync() {
        let progress = Progress::default();
        progress.expect(Owner::Speaker, "its peers to be configured");
        progress.expect(Owner::Fib, "the kernel's routes to be adopted");
        progress.in_sync(Owner::Speaker);
        assert_eq!(progress.waiting(), ["the kernel's routes to be adopted"]);
        let complete = tokio::spawn({
            let progress = progress.clone();
            async move { progress.complete().await }
        });
        tokio::task::yield_now().await;
        assert!(!complete.is_finished());
        progress.in_sync(Owner::Fib);
        complete.await.unwrap();
    }
}
