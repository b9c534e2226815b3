//! `/healthz` and `/readyz`: for whoever watches over the agent.

use std::time::Duration;

use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use super::{ApiError, Code, Context};
use crate::event::Phase;

/// How long the speaker may take to say that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// All is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Well {
    /// Always `ok`.
    pub status: String,
}

pub(super) fn routes() -> Router<Context> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

/// The process lives, its speaker too.
async fn healthz(State(context): State<Context>) -> Result<Json<Well>, ApiError> {
    match tokio::time::timeout(SIGN_OF_LIFE, context.speaker.speaker()).await {
        Ok(answer) => answer?,
        Err(_) => {
            return Err(ApiError::new(
                Code::Unavailable,
                "the BGP speaker does not answer",
            ));
        }
    };
    Ok(well())
}

/// Every owner is in sync.
async fn readyz(State(context): State<Context>) -> Result<Json<Well>, ApiError> {
    let phase = *context.phase.borrow();
    if phase == Phase::Ready {
        return Ok(well());
    }
    let error = ApiError::new(Code::Unavailable, format!("the agent is {phase}"));
    let waiting = context.progress.waiting();
    Err(waiting.into_iter().fold(error, |error, what| {
        error.cause(format!("waiting for {what}"))
    }))
}

fn well() -> Json<Well> {
    Json(Well {
        status: "ok".to_owned(),
    })
}
