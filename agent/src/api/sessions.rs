//! `POST /v1/peers/{name}/...`: what an operator does to a session.

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{Path, State},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wayleave_bgp::{Direction, RefreshRefused};
use wayleave_bgp_core::{Family, news::MalformedMessage, view::PeerView};

use super::{
    ApiError, Code, Context,
    access::Caller,
    peers::{is, no_peer},
};

/// The longest text a NOTIFICATION carries (RFC 9003).
const LONGEST_COMMUNICATION: usize = 255;

/// What a reset and a shutdown may say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Communication {
    /// A text for the neighbour's operator (RFC 9003), at most 255 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communication: Option<String>,
}

/// A session that was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Whose.
    pub peer: String,
}

/// A peer that may have sessions again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enabled {
    /// Which.
    pub peer: String,
    /// Whether it was shut down.
    pub was_shut_down: bool,
    /// Where the configuration keeps it switched off, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<String>,
}

/// Which table is to be told again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// `in`: what the neighbour tells us; `out`: what we tell it.
    pub direction: RefreshDirection,
    /// Of this family only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
}

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefreshDirection {
    /// The neighbour is asked (RFC 2918).
    In,
    /// It is told.
    Out,
}

/// What is told again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// With whom.
    pub peer: String,
    /// In which direction.
    pub direction: RefreshDirection,
    /// Of which families.
    pub families: Vec<Family>,
}

pub(super) fn routes() -> Router<Context> {
    Router::new()
        .route("/v1/peers/{name}/reset", post(reset))
        .route("/v1/peers/{name}/malformed", get(malformed))
        .route("/v1/peers/{name}/shutdown", post(shutdown))
        .route("/v1/peers/{name}/enable", post(enable))
        .route("/v1/peers/{name}/refresh", post(refresh))
}

async fn reset(
    State(context): State<Context>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Closed>, ApiError> {
    let text = communication(&body)?;
    let peer = full_name(&context, &name).await?;
    kept_closed(&context, &peer).await?;
    if !context.speaker.reset(&peer, text).await? {
        return Err(no_peer(&name, &[]));
    }
    tracing::info!(peer, "session reset by request");
    Ok(Json(Closed { peer }))
}

/// Nothing is opened again that is to stay closed.
async fn kept_closed(context: &Context, peer: &str) -> Result<(), ApiError> {
    let views = context.speaker.peers().await?;
    let is_shut_down = |view: &PeerView| view.name == peer && view.shut_down.is_some();
    if views.iter().any(is_shut_down) {
        let message = format!("{peer} is shut down, so there is no session to reset");
        let hint = format!("`wayleave peers enable {peer}` lets it have one again");
        return Err(ApiError::new(Code::Conflict, message).hint(hint));
    }
    let config = context.config.borrow().clone();
    let configured = config.peers.iter().find(|known| known.name.value == peer);
    match configured.map(|known| &known.transport.disabled) {
        Some(disabled) if disabled.value => {
            let message = format!("{peer} is switched off, so there is no session to reset");
            let hint = format!("remove `disabled` at {} and reload", disabled.origin);
            Err(ApiError::new(Code::Conflict, message).hint(hint))
        }
        Some(_) | None => Ok(()),
    }
}

/// Messages of a peer that were malformed (RFC 7606, 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Malformed {
    /// Whose.
    pub peer: String,
    /// The last few, latest first.
    pub messages: Vec<MalformedMessage>,
}

async fn malformed(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<Malformed>, ApiError> {
    let peer = full_name(&context, &name).await?;
    match context.speaker.malformed(&peer).await? {
        Some(messages) => Ok(Json(Malformed { peer, messages })),
        None => Err(no_peer(&name, &[])),
    }
}

async fn shutdown(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Closed>, ApiError> {
    let text = communication(&body)?;
    let peer = full_name(&context, &name).await?;
    let by = caller.name().await;
    tracing::info!(peer, by, "session shut down by request");
    if !context.speaker.shut_down(&peer, by, text).await? {
        return Err(no_peer(&name, &[]));
    }
    Ok(Json(Closed { peer }))
}

async fn enable(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<Enabled>, ApiError> {
    // One of a range may be gone while it is kept out, and is known by its name all the same.
    let found = full_name(&context, &name).await;
    let peer = found.as_ref().unwrap_or(&name).clone();
    let was_shut_down = context.speaker.enable(&peer).await?;
    if !was_shut_down {
        found?;
    } else {
        tracing::info!(peer, "session enabled by request");
    }
    let config = context.config.borrow().clone();
    let configured = config.peers.iter().find(|known| known.name.value == peer);
    let disabled = configured.map(|known| &known.transport.disabled);
    Ok(Json(Enabled {
        disabled_at: disabled
            .filter(|disabled| disabled.value)
            .map(|disabled| disabled.origin.to_string()),
        peer,
        was_shut_down,
    }))
}

async fn refresh(
    State(context): State<Context>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Refreshed>, ApiError> {
    let hint =
        "send {\"direction\": \"in\"} or {\"direction\": \"out\"}, with \"family\" if it is one";
    let RefreshRequest { direction, family } = parsed(&body, hint)?;
    let peer = full_name(&context, &name).await?;
    let towards = match direction {
        RefreshDirection::In => Direction::In,
        RefreshDirection::Out => Direction::Out,
    };
    let refreshed = context.speaker.refresh(&peer, towards, family).await?;
    let families = refreshed.map_err(|refused| why_not(&refused))?;
    tracing::info!(peer, ?direction, "routes told again by request");
    Ok(Json(Refreshed {
        peer,
        direction,
        families,
    }))
}

fn why_not(refused: &RefreshRefused) -> ApiError {
    let error = |code| ApiError::new(code, refused.to_string());
    match refused {
        RefreshRefused::NoSuchPeer(_) => error(Code::NotFound),
        RefreshRefused::NotEstablished(name) => error(Code::Conflict)
            .hint(format!("see `wayleave peers show {name}` for why there is none")),
        RefreshRefused::NotOffered(name) => error(Code::Conflict).hint(format!(
            "`wayleave peers reset {name}` makes it tell everything again, at the cost of the session"
        )),
        RefreshRefused::Family { peer, .. } => error(Code::Conflict).hint(format!(
            "see `wayleave peers show {peer}` for what is offered on either side"
        )),
    }
}

/// A peer is asked for by its name or its address; what it is called.
async fn full_name(context: &Context, name: &str) -> Result<String, ApiError> {
    let views = context.speaker.peers().await?;
    let found = views.iter().find(|view| is(view, name));
    found.map(|view| view.name.clone()).ok_or_else(|| {
        let known: Vec<_> = views.iter().map(|view| view.name.clone()).collect();
        no_peer(name, &known)
    })
}

fn communication(body: &Bytes) -> Result<Option<String>, ApiError> {
    if body.is_empty() {
        return Ok(None);
    }
    let hint = "send nothing, or {\"communication\": \"TEXT\"}";
    let Communication { communication } = parsed(body, hint)?;
    if communication
        .as_ref()
        .is_some_and(|text| text.len() > LONGEST_COMMUNICATION)
    {
        let message =
            format!("the communication is longer than {LONGEST_COMMUNICATION} bytes (RFC 9003)");
        return Err(ApiError::new(Code::BadRequest, message));
    }
    Ok(communication)
}

fn parsed<T: DeserializeOwned>(body: &Bytes, hint: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new(
            Code::BadRequest,
            format!("the body is not what was expected: {error}"),
        )
        .hint(hint)
    })
}
