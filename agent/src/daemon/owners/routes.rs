//! Routes into the kernel.

use tokio::sync::mpsc;
use wayleave_bgp_core::{Prefix, feed::FeedEvent};
use wayleave_netlink::Protocol;

use super::{Dependencies, OwnerError};
use crate::{
    config::{self, Config},
    fib::{self, FibHandle, Owner},
    problem::{Problem, Severity},
};

/// Parts of the feed on their way.
const FEED: usize = 16;

/// Starts the reconciler where something goes into the kernel: learned routes, or blocks of ours.
pub(super) fn start(
    config: &Config,
    dependencies: &Dependencies,
) -> Result<Option<FibHandle>, OwnerError> {
    if !config.fib.install.value && config.blocks.is_empty() {
        return Ok(None);
    }
    let claimants: &'static [Owner] = if config.fib.install.value {
        &[Owner::Attach, Owner::Block, Owner::Bgp]
    } else {
        &[Owner::Attach, Owner::Block]
    };
    let learned = if config.fib.install.value {
        let learned = dependencies.speaker.subscribe(FEED);
        match config::carriers(config) {
            Some(carriers) => without(carriers, learned),
            None => learned,
        }
    } else {
        // A feed that ends at once: nothing is learned, and what an earlier run learned goes.
        mpsc::channel(1).1
    };
    let settings = fib::Settings {
        table: config.fib.table.value,
        metric: config.fib.metric.value,
        protocol: Protocol(config.fib.protocol.value),
    };
    let (handle, task) = fib::start(
        settings,
        claimants,
        learned,
        dependencies.problems.clone(),
        dependencies.progress.clone(),
    )?;
    let problems = dependencies.problems.clone();
    tokio::spawn(async move {
        if let Err(error) = task.await {
            problems.raise(Problem {
                key: "fib.ended".to_owned(),
                severity: Severity::Error,
                what: "routes in the kernel are no longer kept up to date".to_owned(),
                why: error.to_string(),
                fix: "restart wayleaved; please report this".to_owned(),
            });
        }
    });
    Ok(Some(handle))
}

/// The feed without the routes inside `prefix`: carriers say something and lead nowhere.
fn without(prefix: Prefix, mut feed: mpsc::Receiver<FeedEvent>) -> mpsc::Receiver<FeedEvent> {
    let (events, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(mut event) = feed.recv().await {
            if let FeedEvent::Changes(changes) = &mut event {
                changes.retain(|change| !prefix.contains(change.prefix));
                if changes.is_empty() {
                    continue;
                }
            }
            if events.send(event).await.is_err() {
                break;
            }
        }
    });
    receiver
}
