//! The API over the Unix socket: `/v1`, JSON, for the command line and for tools.
//!
//! One module per subject, each with the types it answers with and a `routes()`; the command
//! line reads the same types. Fields are only ever added. An owner with a subject of its own
//! gives its routes to [`router`], state included, and they are served beside these.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/status` | the agent as a whole, with its problems |
//! | `GET /v1/peers`, `GET /v1/peers/{name}` | sessions |
//! | `POST /v1/peers/{name}/reset` | closes a session; it is opened again |
//! | `POST /v1/peers/{name}/shutdown`, `/enable` | closes a session and keeps it closed; no longer |
//! | `POST /v1/peers/{name}/refresh` | has routes told again |
//! | `GET /v1/routes?rib=&family=&peer=&prefix=&longer=&covering=&cursor=&limit=` | routes, in pages |
//! | `GET /v1/fib?family=&prefix=&longer=&after=&limit=` | routes in the kernel and what is desired |
//! | `GET /v1/ipam?after=&limit=` | pools, blocks and leases of this host |
//! | `GET /v1/ipam/attachments?after=&limit=` | containers' interfaces |
//! | `GET /v1/ipam/check`, `GET /v1/ipam/explain?address=` | what does not agree; all about an address |
//! | `GET /v1/endpoints?service=&node=&address=&after=&limit=` | what is announced |
//! | `GET /v1/services?after=&limit=`, `PUT /v1/services` | services of the fabric; registers one here |
//! | `GET /v1/services/local`, `DELETE /v1/services/{instance}` | services of this host |
//! | `POST /v1/services/{instance}/drain`, `/undrain`, `/maintenance` | what is wanted of one |
//! | `GET /v1/resolve?name=&type=&limit=` | a name as the name server answers it |
//! | `GET /v1/watch?index=&service=&wait=` | waits for a change of the catalog |
//! | `GET /v1/problems` | what is wrong |
//! | `GET /v1/config`, `GET /v1/config/diff`, `POST /v1/config/reload` | the configuration |
//! | `GET /healthz`, `GET /readyz` | 200 or 503 |

mod access;
pub mod configuration;
pub mod endpoints;
mod error;
pub mod fib;
pub mod ipam;
mod owners;
pub mod peers;
pub mod probe;
pub mod problems;
pub mod resolve;
pub mod routes;
mod server;
pub mod services;
pub mod sessions;
pub mod status;
pub mod watch;

use std::{path::PathBuf, sync::Arc, time::Instant};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Query, Request},
    http::Uri,
    middleware::{self, Next},
    response::Response,
};
use tokio::sync::mpsc;
use wayleave_bgp::SpeakerHandle;

pub use error::{ApiError, Code};
pub use owners::{NamesContext, OwnerContext, owners};
pub use server::{BindError, Socket, socket_group};

use crate::{
    config::Config,
    event::{Phase, Progress, Reload},
    problem::Problems,
};

/// The largest body a request may have.
const LARGEST_BODY: usize = 256 << 10;
/// Entries in one page unless asked for otherwise, and at most.
const PAGE: u32 = 1_000;
const LARGEST_PAGE: u32 = 10_000;
/// How long an answer may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Reads the counters of the name server.
pub type DnsCounters = Arc<dyn Fn() -> crate::dns::Snapshot + Send + Sync>;

/// What handlers can see and reach. Clones share it.
#[derive(Clone)]
pub struct Context {
    /// The speaker.
    pub speaker: SpeakerHandle,
    /// What is wrong.
    pub problems: Problems,
    /// The configuration in effect.
    pub config: tokio::sync::watch::Receiver<Arc<Config>>,
    /// Where the configuration is read from, and whether it may be missing.
    pub config_path: (PathBuf, bool),
    /// Where the agent is in its life.
    pub phase: tokio::sync::watch::Receiver<Phase>,
    /// What it waits for.
    pub progress: Progress,
    /// Reads the counters of the name server, when there is one.
    pub dns: Option<DnsCounters>,
    /// The way to ask for a reload.
    pub reload: mpsc::Sender<Reload>,
    /// When the agent started.
    pub started: Instant,
}

/// All routes: ours, and those of owners that have a subject of their own. Theirs find the
/// [`Context`] in an [`Extension`].
pub fn router(context: Context, others: Router) -> Router {
    Router::new()
        .merge(status::routes())
        .merge(peers::routes())
        .merge(sessions::routes())
        .merge(routes::routes())
        .merge(problems::routes())
        .merge(configuration::routes())
        .merge(probe::routes())
        .with_state(context.clone())
        .merge(others.layer(Extension(context)))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn(in_time))
}

/// Reads what stands behind the question mark of a request.
pub(crate) fn parameters<T: serde::de::DeserializeOwned>(
    query: Option<&str>,
) -> Result<T, ApiError> {
    // The query alone makes a URI of the relative kind, which is all the extractor looks at.
    let uri: Result<Uri, _> = format!("/?{}", query.unwrap_or_default()).parse();
    let bad = |reason: String| {
        ApiError::new(
            Code::BadRequest,
            format!("the parameters are not understood: {reason}"),
        )
    };
    let uri = uri.map_err(|error| bad(error.to_string()))?;
    Query::try_from_uri(&uri)
        .map(|Query(parameters)| parameters)
        .map_err(|error| {
            bad(std::error::Error::source(&error)
                .unwrap_or(&error)
                .to_string())
        })
}

/// Checks the `limit` of a page.
fn page_limit(limit: Option<u32>) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        let message = format!("`limit`: expected 1 to {LARGEST_PAGE}, found {limit}");
        return Err(ApiError::new(Code::BadRequest, message));
    }
    Ok(limit as usize)
}

async fn in_time(request: Request, next: Next) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    tokio::time::timeout(PATIENCE, next.run(request))
        .await
        .map_err(|_| {
            ApiError::new(
                Code::Timeout,
                format!("{path} was not answered in {} s", PATIENCE.as_secs()),
            )
        })
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(
        Code::NotFound,
        format!("there is nothing at {}", uri.path()),
    )
    .hint("see `wayleave help` or docs/cli.md for what there is")
}

async fn not_allowed(uri: Uri) -> ApiError {
    ApiError::new(
        Code::MethodNotAllowed,
        format!("{} does not take that method", uri.path()),
    )
}
