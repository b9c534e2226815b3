//! `/v1/status`: the agent as a whole.

use std::net::IpAddr;

use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};
use wayleave_bgp_core::{RouterId, view::SpeakerView};

use super::{ApiError, Context, problems::ProblemView};
use crate::{dns, event::Phase, rfc3339};

/// The agent as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// This host.
    pub node: NodeView,
    /// Where the agent is in its life.
    pub phase: Phase,
    /// What it waits for before it is ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// When it started (RFC 3339).
    pub started: String,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// The files its configuration was read from.
    pub config_files: Vec<String>,
    /// The speaker.
    pub speaker: SpeakerView,
    /// What the name server has done, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<dns::Snapshot>,
    /// What is wrong, errors first.
    pub problems: Vec<ProblemView>,
}

/// This host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// The BGP identifier.
    pub router_id: RouterId,
    /// Addresses under which the host itself is known.
    pub addresses: Vec<IpAddr>,
}

pub(super) fn routes() -> Router<Context> {
    Router::new().route("/v1/status", get(status))
}

async fn status(State(context): State<Context>) -> Result<Json<Status>, ApiError> {
    let speaker = context.speaker.speaker().await?;
    let config = context.config.borrow().clone();
    let uptime = context.started.elapsed();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: NodeView {
            name: config.node.name.value.clone(),
            router_id: config.node.router_id.value,
            addresses: config.node.address.value.clone(),
        },
        phase: *context.phase.borrow(),
        waiting: context.progress.waiting(),
        started: rfc3339::ago(uptime),
        uptime_seconds: uptime.as_secs(),
        config_files: config
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
        speaker,
        dns: context.dns.as_ref().map(|counters| counters()),
        problems: ProblemView::all(&context.problems),
    }))
}
