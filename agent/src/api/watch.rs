//! `/v1/watch`: waits until the catalog changes, so that nobody has to ask again and again.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use wayleave_discovery::names::ServiceId;

use super::{ApiError, Code, NamesContext, OwnerContext};

/// How long is waited unless asked for otherwise, and at most: below what any request may take.
const WAIT: Duration = Duration::from_secs(20);
const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// What may stand behind the question mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchParameters {
    /// The index of what the asker has seen; 0 or nothing: answered at once.
    pub index: u64,
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
    Router::new().route("/v1/watch", get(watch))
}

async fn watch(
    State(context): State<OwnerContext>,
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
    let seen = parameters.index;
    let mut index = names.index.clone();
    let changed = async {
        loop {
            // Marked as seen before it is looked at, so that nothing falls between.
            index.borrow_and_update();
            let now = current(names, service.as_ref());
            if now != seen || seen == 0 {
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
