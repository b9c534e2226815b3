//! The owners beside the speaker: each is started here, with what it depends on.
//!
//! ```text
//!  store ─▶ containers ──(routes, blocks)──▶ fib ◀── feed ── speaker
//!    │          │                             │                ▲  │
//!    │          └──(blocks, once the kernel has them)──────────┘  │ feed
//!    └────▶ names: registry ──(endpoints)──────────────────────▶──┤
//!             ▲ addresses come, go       catalog ◀────────────────┘
//!             └─ containers              └─▶ name server, API
//! ```
//!
//! Order of start: store, routes, names, containers, which announce under the key that names know
//! and tell the registry which addresses have somebody; services wait for the containers to have
//! been judged. Each reports to [`Progress`] when it is in sync. At a stop containers go first: no
//! new calls, those under way end; then names. The kernel is left as
//! it is, nothing is withdrawn.

mod containers;
mod names;
mod routes;

use std::io;

use axum::Router;
use tokio::sync::{mpsc, watch};
use wayleave_bgp::SpeakerHandle;
use wayleave_discovery::codec::NodeKey;

use crate::{
    attach,
    cni_server::ServeError,
    config::Config,
    dns::DnsError,
    event::{Owner, Progress},
    fib,
    problem::Problems,
    registry::Reread,
    store::{Host, Restored, Store, StoreError, StoreHandle},
};

use self::{
    containers::{Containers, Outside},
    names::Names,
};

/// What every owner is given.
#[derive(Clone, Debug)]
pub(super) struct Dependencies {
    pub(super) progress: Progress,
    pub(super) problems: Problems,
    pub(super) speaker: SpeakerHandle,
    /// An owner that cannot go on says so here, which ends the agent.
    pub(super) lost: mpsc::Sender<OwnerError>,
}

/// Why an owner did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Durable state.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Routes of the kernel.
    #[error(
        "{0}; run wayleaved with CAP_NET_ADMIN, or set [fib] install = false for a plain speaker"
    )]
    Fib(#[from] fib::StartError),
    /// Routes of the kernel, once they were kept.
    #[error(
        "routes in the kernel can no longer be kept up to date: {0}; wayleaved ends, for a whole one \
         to be started in its place, which takes over what is there"
    )]
    FibLost(fib::Lost),
    /// Containers' interfaces.
    #[error("containers cannot be attached: {0}")]
    Attach(#[from] attach::OpenError),
    /// The CNI socket.
    #[error("{0}")]
    Cni(#[from] ServeError),
    /// Discovery.
    #[error("service discovery cannot start: {0}")]
    Discovery(String),
    /// The name server.
    #[error("{0}")]
    Dns(#[from] DnsError),
    /// The system.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// The owners that run.
pub(super) struct Owners {
    /// What they add to the API, state included.
    pub(super) routes: Router,
    containers: Option<Containers>,
    names: Option<Names>,
    node_key: NodeKey,
    /// True ends the tasks.
    stop: watch::Sender<bool>,
}

/// The durable state, read.
pub(super) struct Opened {
    host: Host,
    store: (StoreHandle, Restored),
}

impl Opened {
    /// Who this node is.
    pub(super) fn node_key(&self) -> NodeKey {
        NodeKey(self.store.1.node_key)
    }
}

/// Reads the durable state. It comes first: every route of this node carries its key.
pub(super) async fn open(config: &Config, progress: &Progress) -> Result<Opened, OwnerError> {
    progress.expect(Owner::Store, "the durable state to be read");
    let directory = config.paths.state.value.clone();
    let host = Host::this()?;
    let store = {
        let host = host.clone();
        blocking(move || Store::open(&directory, &host)).await??
    };
    progress.in_sync(Owner::Store);
    Ok(Opened { host, store })
}

/// Starts the owners the configuration asks for.
pub(super) async fn start(
    config: &Config,
    dependencies: &Dependencies,
    opened: Opened,
) -> Result<Owners, OwnerError> {
    let (stop, stopped) = watch::channel(false);
    let node_key = opened.node_key();
    let Opened {
        host,
        store: opened,
    } = opened;
    let fib = routes::start(config, dependencies)?;
    let mut owners = Owners {
        routes: Router::new(),
        containers: None,
        names: None,
        node_key,
        stop,
    };
    let mut names = names::start(config, dependencies, &opened, &stopped).await?;
    let outside = Outside {
        fib: fib.clone(),
        addresses: names.as_mut().and_then(Names::addresses),
    };
    let containers = containers::start(config, dependencies, &host, opened, outside).await?;
    owners.routes = crate::api::owners(crate::api::OwnerContext {
        fib,
        attachments: containers
            .as_ref()
            .map(|containers| containers.attachments.clone()),
        names: names.as_ref().map(Names::context),
        node: config.node.name.value.clone(),
    });
    owners.containers = containers;
    owners.names = names;
    Ok(owners)
}

impl Owners {
    /// Who this node is.
    pub(super) fn node_key(&self) -> NodeKey {
        self.node_key
    }

    /// The counters of the name server, when there is one.
    pub(super) fn dns(&self) -> Option<crate::api::DnsCounters> {
        self.names.as_ref()?.counters.clone()
    }

    /// Takes what a configuration says of addresses, and reads the files of services again. Without discovery there
    /// are none.
    pub(super) async fn reread_services(&self, config: &Config) -> Reread {
        match &self.names {
            Some(names) => names.reload(config).await,
            None => Reread::default(),
        }
    }

    /// Ends them all; nothing they have put into the kernel or announced is taken back.
    pub(super) async fn stop(self) {
        if let Some(containers) = self.containers {
            containers.stop().await;
        }
        let _ = self.stop.send(true);
        if let Some(names) = self.names {
            names.stop().await;
        }
    }
}

/// Runs what blocks on the disk or the kernel.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OwnerError> {
    // A panic has ended the process already; a runtime that is shutting down drops the work.
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| OwnerError::System(io::Error::other(error)))
}
