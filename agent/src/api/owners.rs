//! What the owners beside the speaker can be asked.

use std::sync::{Arc, RwLock};

use axum::Router;
use tokio::sync::watch;
use wayleave_discovery::{answers::Zone, catalog::Catalog};

use crate::{attach::Attachments, fib::FibHandle, registry::RegistryHandle};

/// The owners that run.
#[derive(Clone)]
pub struct OwnerContext {
    /// Routes in the kernel, unless none are installed.
    pub fib: Option<FibHandle>,
    /// Containers, unless the kernel lets none be attached.
    pub attachments: Option<Attachments>,
    /// Service discovery, when it is on.
    pub names: Option<NamesContext>,
    /// The name of this host.
    pub node: String,
}

/// Service discovery.
#[derive(Clone)]
pub struct NamesContext {
    /// The services of this host.
    pub registry: RegistryHandle,
    /// Those of the fabric.
    pub catalog: Arc<RwLock<Catalog>>,
    /// The catalog's index, after each change.
    pub index: watch::Receiver<u64>,
    /// The zone of the name server.
    pub zone: Zone,
}

/// Their routes, beside those of [`super::router`].
pub fn owners(context: OwnerContext) -> Router {
    Router::new().with_state(context)
}
