//! The socket itself: taken over only when nobody answers on it, bounded, and served until the
//! agent stops.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use nix::unistd::{Gid, Group, chown};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{
    ApiError, Code,
    access::{Access, Caller},
};
use crate::text;

/// Connections at a time; more wait in the kernel's queue.
pub(super) const MOST_CONNECTIONS: usize = 64;
/// How long a connection may be idle, or take to send the head of a request.
const IDLE: Duration = Duration::from_secs(30);
/// How long requests under way may take when the agent stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// The group that may use the socket when none is configured and this one exists.
const DEFAULT_GROUP: &str = "wayleave";

/// Why the socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers on it.
    #[error(
        "another wayleaved already serves {}; stop it, or give this one another [paths] run",
        .0.display()
    )]
    Served(PathBuf),
    /// It is a file of another kind, which is left alone.
    #[error("{} is not a socket; move it away, or set another [paths] run", .0.display())]
    NotASocket(PathBuf),
    /// The configured group does not exist.
    #[error("the group {0:?} of [api] does not exist; create it with `groupadd --system {0}`")]
    NoGroup(String),
    /// The system does not say which groups there are.
    #[error(
        "cannot look up the group {name:?} of [api]: {}",
        text::io_reason(reason)
    )]
    Groups {
        /// The group.
        name: String,
        /// Why.
        reason: io::Error,
    },
    /// The system refused.
    #[error("cannot create the socket {}: {}", path.display(), text::io_reason(reason))]
    System {
        /// The socket.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

/// The API's socket, listening. The file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    access: Access,
}

impl Socket {
    /// Takes the socket at `path` for root and `group`. A file left by a process that is gone is
    /// replaced.
    ///
    /// # Errors
    /// When somebody serves it, or the system refuses.
    pub fn bind(path: &Path, group: Option<Gid>) -> Result<Self, BindError> {
        let system = |reason: io::Error| BindError::System {
            path: path.to_owned(),
            reason,
        };
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                // A full queue or a refusal by mode means that somebody listens.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(system)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) | Err(_) => return Err(BindError::Served(path.to_owned())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system(error)),
        }
        let listener = UnixListener::bind(path).map_err(system)?;
        let socket = Self {
            listener,
            path: path.to_owned(),
            access: Access::new(group.map(Gid::as_raw)),
        };
        if let Some(group) = group {
            chown(path, None, Some(group)).map_err(|error| system(error.into()))?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(system)?;
        Ok(socket)
    }

    /// Serves until `stop` resolves, then finishes what is under way.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let service = TowerToHyperService::new(router);
        let connections = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(64 << 10);
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&room) => accepted,
                () = &mut stop => break,
            };
            let Some((stream, caller, permit)) = accepted else {
                continue;
            };
            // Handlers of what is to be known later as somebody's wish ask who it was.
            let of_caller = service.clone();
            let of_caller =
                service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                    request.extensions_mut().insert(caller);
                    of_caller.call(request)
                });
            let connection = http.serve_connection(TokioIo::new(stream), of_caller);
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("a connection to the API ended: {error}");
                }
                drop(permit);
            });
        }
        if tokio::time::timeout(LAST_ANSWERS, connections.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("requests to the API were cut off");
        }
    }

    async fn accept(
        &self,
        room: &Arc<Semaphore>,
    ) -> Option<(UnixStream, Caller, OwnedSemaphorePermit)> {
        // The semaphore is never closed.
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        let mut stream = match self.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: some will be given back.
                tracing::warn!(
                    "cannot accept on the API's socket: {}",
                    text::io_reason(&error)
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
                return None;
            }
        };
        match self.access.check(&stream) {
            Ok(caller) => Some((stream, caller, permit)),
            Err(stranger) => {
                tracing::warn!("the API refused a connection: {stranger}");
                let _ = stream.try_write(refusal(&stranger.to_string()).as_bytes());
                let _ = stream.shutdown().await;
                None
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nobody else can have taken the path while we listened on it.
        let _ = fs::remove_file(&self.path);
    }
}

/// An answer without having read the question.
fn refusal(who: &str) -> String {
    let error = ApiError::new(
        Code::Forbidden,
        format!("this socket is not for you: {who}"),
    )
    .hint("use sudo, or become a member of the group");
    let body = serde_json::to_string(&error).unwrap_or_default();
    format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The group that may use the socket: the configured one, which must exist, else `wayleave` if
/// there is such a group.
///
/// # Errors
/// When there is no such group, or the system cannot say.
pub fn socket_group(configured: Option<&str>) -> Result<Option<Gid>, BindError> {
    let found = Group::from_name(configured.unwrap_or(DEFAULT_GROUP));
    match (found, configured) {
        (Ok(Some(group)), _) => Ok(Some(group.gid)),
        (Ok(None), Some(name)) => Err(BindError::NoGroup(name.to_owned())),
        (Err(error), Some(name)) => Err(BindError::Groups {
            name: name.to_owned(),
            reason: error.into(),
        }),
        (Ok(None) | Err(_), None) => Ok(None),
    }
}
