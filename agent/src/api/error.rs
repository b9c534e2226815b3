//! What a request is told when it fails.

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// A failure: `{"code": ..., "message": ..., "hint": ..., "causes": [...]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// For machines; stable.
    pub code: Code,
    /// What happened, to what.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Why, the nearest cause first; may be several lines each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

/// The codes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The request makes no sense (400).
    BadRequest,
    /// The caller may not (403).
    Forbidden,
    /// There is no such thing (404).
    NotFound,
    /// The path does not take that method (405).
    MethodNotAllowed,
    /// It contradicts the state things are in; nothing was changed (409).
    Conflict,
    /// What was sent is wrong in itself; nothing was changed (422).
    Invalid,
    /// Too many at once (429).
    Busy,
    /// The agent is starting or stopping, or a part of it is gone (503).
    Unavailable,
    /// No answer in time (504).
    Timeout,
    /// The agent is at fault (500).
    Internal,
}

impl Code {
    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl ApiError {
    /// A failure without hint and causes.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into().into_owned();
        Self {
            code,
            message,
            hint: None,
            causes: Vec::new(),
        }
    }

    /// With advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With a cause.
    pub fn cause(mut self, cause: impl ToString) -> Self {
        self.causes.push(cause.to_string());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, busy) = (self.code.status(), self.code == Code::Busy);
        let mut response = (code, Json(self)).into_response();
        if busy {
            // Whoever is turned away does not keep a connection that others could use.
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The speaker's thread has ended, which ends the agent: this is seen at most for a moment.
impl From<wayleave_bgp::Gone> for ApiError {
    fn from(_: wayleave_bgp::Gone) -> Self {
        Self::new(Code::Unavailable, "the BGP speaker is not running").hint("see the agent's log")
    }
}
