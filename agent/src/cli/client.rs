//! One conversation with the agent over its socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{net::UnixStream, runtime::Runtime};

use crate::{api::ApiError, text};

/// How long an answer may take; the agent gives up on a request after 30 s itself.
const PATIENCE: Duration = Duration::from_secs(35);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("cannot reach the agent at {}: {reason}; {advice}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// The agent said no.
    #[error("{0}")]
    Refused(ApiError),
    /// What came back is no answer.
    #[error(
        "the answer to {path} is not understood: {reason}; are `wayleave` and `wayleaved` of one version?"
    )]
    Answer {
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The way to the agent.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the agent behind this socket. Nothing is opened yet.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Asks for a path; the answer as it came.
    ///
    /// # Errors
    /// When the agent is not there, refuses, or answers nonsense.
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.request(Method::GET, path, None)
    }

    /// Sends something to a path; the answer as it came.
    ///
    /// # Errors
    /// When the agent is not there, refuses, or answers nonsense.
    pub fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        self.request(Method::POST, path, body)
    }

    /// Puts something in the place of what a path had; the answer as it came.
    ///
    /// # Errors
    /// When the agent is not there, refuses, or answers nonsense.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.request(Method::PUT, path, Some(body))
    }

    /// Takes away what a path has; the answer as it came.
    ///
    /// # Errors
    /// When the agent is not there, refuses, or answers nonsense.
    pub fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.request(Method::DELETE, path, None)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime: Runtime = runtime.map_err(|error| self.unreachable(&error))?;
        let exchange = self.exchange(method, path, body);
        let (status, bytes) = runtime
            .block_on(async { tokio::time::timeout(PATIENCE, exchange).await })
            .unwrap_or_else(|_| Err(self.unreachable(&io::Error::from(io::ErrorKind::TimedOut))))?;
        if status.is_success() {
            return read(path, &bytes);
        }
        match serde_json::from_slice(&bytes) {
            Ok(error) => Err(ClientError::Refused(error)),
            Err(_) => Err(ClientError::Answer {
                path: path.to_owned(),
                reason: format!("status {status}"),
            }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let lost = |error: hyper::Error| ClientError::Unreachable {
            socket: self.socket.clone(),
            reason: format!("the conversation broke off: {error}"),
            advice: "is it being stopped? See its log",
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(lost)?;
        let driver = tokio::spawn(connection);
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "wayleave")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| ClientError::Answer {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let response = sender.send_request(request).await.map_err(lost)?;
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(lost)?
            .to_bytes();
        driver.abort();
        Ok((status, bytes))
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let advice = if error.kind() == io::ErrorKind::PermissionDenied {
            "use sudo, or become a member of the socket's group"
        } else if error.kind() == io::ErrorKind::TimedOut {
            "it is there and does not answer: see its log"
        } else {
            "is wayleaved running? Start it (`systemctl start wayleaved`), or name its socket with --socket"
        };
        ClientError::Unreachable {
            socket: self.socket.clone(),
            reason: text::io_reason(error),
            advice,
        }
    }
}

/// Reads an answer into the type of its subject.
pub(super) fn typed<T: DeserializeOwned>(path: &str, value: &Value) -> Result<T, ClientError> {
    T::deserialize(value).map_err(|error| ClientError::Answer {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn read(path: &str, bytes: &[u8]) -> Result<Value, ClientError> {
    serde_json::from_slice(bytes).map_err(|error| ClientError::Answer {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// A text as a part of a path or a query (RFC 3986, 2.1).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_segment_is_encoded() {
        assert_eq!(encoded("fe80::1%eth0/x"), "fe80%3A%3A1%25eth0%2Fx");
        assert_eq!(encoded("tor-1.a_b~"), "tor-1.a_b~");
    }

    #[test]
    fn an_absent_agent_is_named_with_its_socket_and_what_to_do() {
        let error = Client::new(Path::new("/nonexistent/wayleave.sock"))
            .get("/v1/status")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot reach the agent at /nonexistent/wayleave.sock: no such file or directory; \
             is wayleaved running? Start it (`systemctl start wayleaved`), or name its socket with --socket"
        );
    }
}
