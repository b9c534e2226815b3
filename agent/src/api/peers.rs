//! `/v1/peers`: sessions, with what is configured for them.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use wayleave_bgp_core::view::PeerView;

use super::{ApiError, Code, Context};
use crate::{config::Config, rfc3339};

/// All sessions, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerList {
    /// The sessions.
    pub peers: Vec<PeerReport>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// As the speaker sees it.
    #[serde(flatten)]
    pub view: PeerView,
    /// When it came into its state (RFC 3339).
    pub since: String,
    /// When it last went down or failed to come up (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<String>,
    /// What is configured; absent for who connected from a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured: Option<Configured>,
}

/// What is configured for a neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The TCP port.
    pub port: u16,
    /// It is waited for.
    pub passive: bool,
    /// It is switched off.
    pub disabled: bool,
    /// Its role, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What is accepted: `all`, `none`, `pools` or prefixes.
    pub import: serde_json::Value,
    /// What it is told: `all`, `none`, `own`, `pools` or prefixes.
    pub export: serde_json::Value,
    /// Where it stands: `FILE:LINE:COLUMN`.
    pub origin: String,
}

pub(super) fn routes() -> Router<Context> {
    Router::new()
        .route("/v1/peers", get(peers))
        .route("/v1/peers/{name}", get(peer))
}

async fn peers(State(context): State<Context>) -> Result<Json<PeerList>, ApiError> {
    let views = context.speaker.peers().await?;
    let config = context.config.borrow().clone();
    let peers = views
        .into_iter()
        .map(|view| report(view, &config))
        .collect();
    Ok(Json(PeerList { peers }))
}

async fn peer(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<PeerReport>, ApiError> {
    let views = context.speaker.peers().await?;
    let known: Vec<_> = views.iter().map(|view| view.name.clone()).collect();
    let found = views.into_iter().find(|view| is(view, &name));
    let config = context.config.borrow().clone();
    found
        .map(|view| Json(report(view, &config)))
        .ok_or_else(|| no_peer(&name, &known))
}

/// A peer is asked for by its name or its address.
pub(super) fn is(view: &PeerView, name: &str) -> bool {
    view.name == name
        || place(view) == name
        || name
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address == view.address)
}

/// Where a peer is, as one writes it: a link-local address with its interface.
pub fn place(view: &PeerView) -> String {
    match &view.interface {
        Some(interface) if view.address.is_unspecified() => format!("nobody yet on {interface}"),
        Some(interface) => format!("{}%{interface}", view.address),
        None => view.address.to_string(),
    }
}

fn report(view: PeerView, config: &Config) -> PeerReport {
    let configured = config
        .peers
        .iter()
        .find(|peer| peer.name.value == view.name)
        .map(|peer| {
            let value = |policy| serde_json::to_value(policy).unwrap_or_default();
            Configured {
                port: peer.transport.port.value,
                passive: peer.transport.passive.value,
                disabled: peer.transport.disabled.value,
                role: peer.options.role.value.map(|role| match role {
                    crate::config::Role::Host => "host".to_owned(),
                }),
                import: value(&peer.options.import.value),
                export: value(&peer.options.export.value),
                origin: peer.origin().to_string(),
            }
        });
    PeerReport {
        since: rfc3339::ago(Duration::from_secs(view.state_seconds)),
        last_error_at: view
            .last_error_seconds
            .map(|seconds| rfc3339::ago(Duration::from_secs(seconds))),
        configured,
        view,
    }
}

pub(super) fn no_peer(name: &str, known: &[String]) -> ApiError {
    let error = ApiError::new(Code::NotFound, format!("there is no peer {name:?}"));
    match known {
        [] => error.hint("no peers are configured"),
        known if known.len() <= 10 => error.hint(format!("the peers are {}", known.join(", "))),
        _ => error.hint("`wayleave peers` lists them"),
    }
}
