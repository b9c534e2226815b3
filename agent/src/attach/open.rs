//! From a configuration to attachments that serve.

use wayleave_ipam::{BootId, Family};
use wayleave_netlink::{KernelError, Protocol, Socket};

use super::{
    Attachments, Outlet, Settings, StartError, host,
    space::{SpaceError, pools_and_blocks},
};
use crate::{
    config::Config,
    problem::Problems,
    store::{Restored, StoreHandle},
};

/// Why the attachments cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The pools of the configuration.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// What the last run left.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The host.
    #[error("this host's network cannot be looked at: {0}")]
    Host(#[from] KernelError),
}

/// Makes the host ready, takes over what the last run left, and serves.
///
/// - `boot`: the running boot, from [`store::Host::this`](crate::store::Host::this);
/// - `store`, `restored`: from [`Store::open`](crate::store::Store::open);
/// - `outlet`: the way to the FIB and the speaker; all that is attached is told to it before this
///   returns, so the FIB's owner for containers is in sync then;
/// - `problems`: raised under `attach.` and `ipam.`, and cleared when they are solved.
///
/// Blocks on kernel and disk; the network namespace of the calling thread is the host's.
/// Afterwards: [`cni_server::Server::start`](crate::cni_server::Server::start) with the result. To
/// stop: the server first, then [`Attachments::stop`].
///
/// # Errors
/// When the pools contradict each other, or kernel or disk refuse.
pub fn open(
    config: &Config,
    boot: BootId,
    (store, restored): (StoreHandle, &Restored),
    outlet: Box<dyn Outlet>,
    problems: &Problems,
) -> Result<Attachments, OpenError> {
    let (pools, blocks) = pools_and_blocks(config)?;
    let mut kernel = Socket::open()?;
    // Without a block there is nothing to forward to, and the host is left as it is.
    let has = |family: &Family| blocks.iter().any(|block| block.cidr.family() == *family);
    let families: Vec<Family> = Family::ALL.into_iter().filter(has).collect();
    let mut standing = host::prepare_host(&mut kernel, &families);
    let settings = Settings {
        mtu: host::uplink_mtu(&mut kernel)?,
        protocol: Protocol(config.fib.protocol.value),
        table: config.fib.table.value,
        problems: problems.clone(),
        points: None,
    };
    let (attachments, adopted) =
        Attachments::start(settings, boot, pools, blocks, (store, restored), outlet)?;
    tracing::info!(
        kept = adopted.kept,
        freed = adopted.freed.len(),
        undone = adopted.undone.len(),
        "attachments of the last run"
    );
    standing.extend(adopted.problems);
    for problem in standing {
        problems.raise(problem);
    }
    Ok(attachments)
}
