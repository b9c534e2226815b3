//! What the owners beside the speaker can be asked.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::Router;
use tokio::sync::watch;
use wayleave_discovery::{answers::Zone, catalog::Catalog};

use super::{ApiError, Code, endpoints, fib, ipam, resolve, services, watch as watching};
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

/// Their routes, beside those of [`super::router`], which gives them its own context too.
pub fn owners(context: OwnerContext) -> Router {
    Router::new()
        .merge(ipam::routes())
        .merge(fib::routes())
        .merge(endpoints::routes())
        .merge(services::routes())
        .merge(resolve::routes())
        .merge(watching::routes())
        .with_state(context)
}

impl OwnerContext {
    /// The routes of the kernel, or why there are none.
    pub(super) fn running_fib(&self) -> Result<&FibHandle, ApiError> {
        self.fib.as_ref().ok_or_else(|| {
            ApiError::new(
                Code::Unavailable,
                "this agent installs no routes into the kernel",
            )
            .hint("[fib] install is false; set it to true and restart wayleaved")
        })
    }

    /// The containers, or why there can be none.
    pub(super) fn running_attachments(&self) -> Result<&Attachments, ApiError> {
        self.attachments.as_ref().ok_or_else(|| {
            ApiError::new(Code::Unavailable, "this agent attaches no containers").hint(
                "wayleaved needs CAP_NET_ADMIN, and a [[pool]] with a [[block]] of this host; \
                 `wayleave problems` says which is missing",
            )
        })
    }

    /// Service discovery, or how to switch it on.
    pub(super) fn running_names(&self) -> Result<&NamesContext, ApiError> {
        self.names.as_ref().ok_or_else(|| {
            ApiError::new(Code::Unavailable, "service discovery is off").hint(
                "set [discovery] number, the same on all hosts of the fabric, and restart wayleaved",
            )
        })
    }
}

impl NamesContext {
    /// The catalog, to be read and given back before anything is waited for.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Catalog> {
        // The catalog is whole between any two of its calls: a panic elsewhere does not spoil it.
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }
}
