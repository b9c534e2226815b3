//! `/v1/watch`: waits until the catalog changes, so that nobody has to ask again and again.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{RawQuery, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use wayleave_discovery::names::ServiceId;

use super::{ApiError, Code, NamesContext, OwnerContext};

/// How long is waited unless asked for otherwise, and at most: below what any request may take.
const WAIT: Duration = Duration::from_secs(20);
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// Who may wait at a time: half of the connections there are, so that whoever asks something else
/// is served whatever watches.
const MOST_WATCHERS: usize = super::server::MOST_CONNECTIONS / 2;

/// What may stand behind the question mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchParameters {
    /// The index of what the asker has seen; without it the answer comes at once. 0 is an index as
    /// any other: that of a service nobody has announced yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Only changes of this service, `web` or `web.default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Seconds to wait: 0 to 25, by default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
}

/// Where the catalog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The index to ask with next. It starts anew with each start of the agent: one lower than that
    /// asked with means that everything is to be read again.
    pub index: u64,
    /// Whether there is something new; false: the time is up.
    pub changed: bool,
}

pub(super) fn routes() -> Router<OwnerContext> {
    Router::new()
        .route("/v1/watch", get(watch))
        .layer(Extension(Watchers(Arc::new(Semaphore::new(MOST_WATCHERS)))))
}

/// Room for those who wait.
#[derive(Clone)]
struct Watchers(Arc<Semaphore>);

async fn watch(
    State(context): State<OwnerContext>,
    Extension(watchers): Extension<Watchers>,
    RawQuery(query): RawQuery,
) -> Result<Json<Watched>, ApiError> {
    let names = context.running_names()?;
    let parameters: WatchParameters = super::parameters(query.as_deref())?;
    let service = parameters
        .service
        .as_deref()
        .map(super::endpoints::service)
        .transpose()?;
    let wait = parameters.wait.map_or(WAIT, Duration::from_secs);
    if wait > LONGEST_WAIT {
        let message = format!(
            "`wait`: expected 0 to {} seconds, found {}",
            LONGEST_WAIT.as_secs(),
            wait.as_secs()
        );
        return Err(ApiError::new(Code::BadRequest, message).hint("ask again when the time is up"));
    }
    let Some(seen) = parameters.index else {
        return Ok(Json(Watched {
            index: current(names, service.as_ref()),
            changed: true,
        }));
    };
    // Held until the answer; the semaphore is never closed.
    let Ok(_place) = watchers.0.try_acquire() else {
        let message =
            format!("{MOST_WATCHERS} others wait for changes already, the most there may be");
        return Err(ApiError::new(Code::Busy, message).hint(
            "ask again in a second, without waiting (`wait=0`) or watch once for many services",
        ));
    };
    let mut index = names.index.clone();
    let changed = async {
        loop {
            // Marked as seen before it is looked at, so that nothing falls between.
            index.borrow_and_update();
            let now = current(names, service.as_ref());
            if now != seen {
                return Ok(Watched {
                    index: now,
                    changed: true,
                });
            }
            index.changed().await.map_err(|_| {
                ApiError::new(Code::Unavailable, "service discovery is being stopped")
            })?;
        }
    };
    match tokio::time::timeout(wait, changed).await {
        Ok(outcome) => outcome.map(Json),
        Err(_) => Ok(Json(Watched {
            index: seen,
            changed: false,
        })),
    }
}

fn current(names: &NamesContext, service: Option<&ServiceId>) -> u64 {
    let catalog = names.read();
    match service {
        Some(service) => catalog.service_index(service.as_str()),
        None => catalog.index(),
    }
}
