//! `/v1/config`: what is in effect, what the files would change, and applying it.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{ApiError, Code, Context};
use crate::{
    config::{self, Config, ConfigErrors, Delta, HostFacts},
    event::{Applied, Refused, Reload},
};

/// The configuration in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// The files it was read from.
    pub files: Vec<String>,
    /// Every table, in the order of the manual.
    pub tables: Vec<TableView>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableView {
    /// The table: `bgp`, `peer`, ...
    pub table: String,
    /// Which one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its values.
    pub entries: Vec<EntryView>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// The key.
    pub key: String,
    /// The value; null: unset.
    pub value: serde_json::Value,
    /// `default`, `derived from ...` or `FILE:LINE:COLUMN`.
    pub origin: String,
}

impl ConfigView {
    /// A configuration as it is shown.
    pub fn new(config: &Config) -> Self {
        let tables = config
            .tables()
            .into_iter()
            .map(|(table, name, entries)| TableView {
                table: table.to_owned(),
                name,
                entries: entries
                    .into_iter()
                    .map(|entry| EntryView {
                        key: entry.key.to_owned(),
                        value: entry.value,
                        origin: entry.origin.to_string(),
                    })
                    .collect(),
            });
        Self {
            files: config
                .files
                .iter()
                .map(|file| file.display().to_string())
                .collect(),
            tables: tables.collect(),
        }
    }
}

pub(super) fn routes() -> Router<Context> {
    Router::new()
        .route("/v1/config", get(show))
        .route("/v1/config/diff", get(diff))
        .route("/v1/config/reload", post(reload))
}

async fn show(State(context): State<Context>) -> Json<ConfigView> {
    Json(ConfigView::new(&context.config.borrow()))
}

async fn diff(State(context): State<Context>) -> Result<Json<Delta>, ApiError> {
    let (path, optional) = context.config_path;
    let load = move || config::load(&path, optional, &HostFacts::observe());
    let loaded = tokio::task::spawn_blocking(load)
        .await
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    let after = loaded.map_err(|errors| invalid(&errors))?;
    Ok(Json(Delta::between(&context.config.borrow(), &after)))
}

async fn reload(State(context): State<Context>) -> Result<Json<Applied>, ApiError> {
    let (reply, outcome) = oneshot::channel();
    let stopping = || refused(&Refused::Stopping);
    context
        .reload
        .send(Reload { reply: Some(reply) })
        .await
        .map_err(|_| stopping())?;
    outcome
        .await
        .map_err(|_| stopping())?
        .map(Json)
        .map_err(|reason| refused(&reason))
}

fn refused(reason: &Refused) -> ApiError {
    match reason {
        Refused::Invalid(errors) => invalid(errors),
        Refused::NeedsRestart(delta) => ApiError::new(Code::Conflict, reason.to_string())
            .hint("nothing was changed; restart wayleaved (routes and containers stay), or undo that change")
            .cause(delta),
        Refused::CannotListen(_) => ApiError::new(Code::Conflict, reason.to_string())
            .hint("nothing was changed; make that address available, or set bgp.listen to others"),
        Refused::SpeakerGone | Refused::Stopping => ApiError::new(Code::Unavailable, reason.to_string()),
    }
}

fn invalid(errors: &ConfigErrors) -> ApiError {
    ApiError::new(
        Code::Invalid,
        "the configuration is wrong, and nothing was changed",
    )
    .cause(errors)
}
