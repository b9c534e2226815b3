//! Routes into the kernel.

use std::net::IpAddr;

use tokio::sync::mpsc;
use wayleave_netlink::Protocol;

use super::{Dependencies, OwnerError};
use crate::{
    config::{self, Config},
    fib::{self, FibHandle, Learned, Lost, Owner},
};

/// Parts of the feed on their way.
const FEED: usize = 2;

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
    let subscribe: fib::Subscribe = if config.fib.install.value {
        let speaker = dependencies.speaker.clone();
        Box::new(move |prompt| speaker.subscribe_forwarding(FEED, Some(prompt)))
    } else {
        // A feed that ends at once: nothing is learned, and what an earlier run learned goes.
        Box::new(|_| mpsc::channel(1).1)
    };
    let speaker = dependencies.speaker.clone();
    let learned = Learned {
        subscribe,
        carriers: config::carriers(config),
        reachable: Box::new(move |next_hops| speaker.reachable(next_hops)),
    };
    let settings = fib::Settings {
        table: config.fib.table.value,
        metric: config.fib.metric.value,
        protocol: Protocol(config.fib.protocol.value),
        nexthop_objects: config.fib.nexthop_objects.value,
    };
    let (handle, task) = fib::start(
        settings,
        claimants,
        learned,
        dependencies.problems.clone(),
        dependencies.progress.clone(),
    )?;
    if config.fib.install.value {
        tokio::spawn(track(
            dependencies.speaker.track_next_hops(),
            handle.clone(),
        ));
    }
    tokio::spawn(watch_over(task, dependencies.lost.clone()));
    Ok(Some(handle))
}

/// Has the reconciler find out whether the speaker's next hops can be reached, until the speaker ends.
async fn track(mut next_hops: mpsc::UnboundedReceiver<Vec<(IpAddr, bool)>>, fib: FibHandle) {
    while let Some(news) = next_hops.recv().await {
        fib.track(news);
    }
}

/// Runs the reconciler. When it cannot go on, neither can the agent: what peers are told would no
/// longer be what the kernel does.
async fn watch_over(task: impl Future<Output = Result<(), Lost>>, lost: mpsc::Sender<OwnerError>) {
    if let Err(error) = task.await {
        // One loss ends the agent; of others nobody needs to hear.
        let _ = lost.try_send(OwnerError::FibLost(error));
    }
}

#[cfg(test)]
mod tests {
    use wayleave_netlink::KernelError;

    use super::*;

    #[tokio::test]
    async fn a_reconciler_that_cannot_go_on_is_a_loss_and_one_that_is_done_is_none() {
        let (lost, mut losses) = mpsc::channel(1);
        let broken = KernelError::Malformed("half a message".to_owned());
        watch_over(async { Err(broken.into()) }, lost.clone()).await;
        let loss = losses.try_recv().unwrap().to_string();
        assert!(
            loss.starts_with("routes in the kernel can no longer be kept up to date: "),
            "{loss}"
        );
        watch_over(async { Ok(()) }, lost).await;
        assert!(losses.try_recv().is_err());
    }
}
