//! The container's network namespace, as the plugin reaches it.
//!
//! `setns` moves one thread, so everything that has to happen inside runs on a thread that ends inside: nothing has to find
//! its way back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::descriptors::netns_cookie;
use crate::message::{Step, StepError};

/// A container's namespace and a netlink socket made inside it.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    route_socket: OwnedFd,
    cookie: u64,
}

/// Why a path leads to no usable namespace.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Nothing is there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It cannot be opened.
    #[error("{} cannot be opened: {source}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no network namespace", .0.display())]
    NotANamespace(PathBuf),
    /// It is the plugin's own, so the host's.
    #[error("{} is the host's own network namespace, not a container's", .0.display())]
    Own(PathBuf),
    /// It cannot be entered.
    #[error("the network namespace {} cannot be entered: {errno}", path.display())]
    Enter {
        /// The path.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// No netlink socket could be made.
    #[error("no netlink socket can be made: {0}")]
    Socket(#[source] io::Error),
}

impl Namespace {
    /// Opens a namespace and makes a `NETLINK_ROUTE` socket inside it.
    ///
    /// # Errors
    /// When the path leads to nothing, to no network namespace, or to the host's own.
    pub fn open(path: &Path) -> Result<Self, NamespaceError> {
        // Not blocking: a path that leads to a pipe must not hold the plugin.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)
            .map_err(|source| {
                if source.kind() == io::ErrorKind::NotFound {
                    NamespaceError::Missing(path.to_owned())
                } else {
                    NamespaceError::Open {
                        path: path.to_owned(),
                        source,
                    }
                }
            })?;
        let route_socket = inside(file.as_fd(), route_socket)
            .map_err(|errno| {
                // The kernel's answer to a descriptor of anything else.
                if errno == Errno::EINVAL {
                    NamespaceError::NotANamespace(path.to_owned())
                } else {
                    NamespaceError::Enter {
                        path: path.to_owned(),
                        errno,
                    }
                }
            })?
            .map_err(|errno| NamespaceError::Socket(errno.into()))?;
        let cookie = netns_cookie(&route_socket).map_err(NamespaceError::Socket)?;
        let here = route_socket_here()?;
        if netns_cookie(&here).map_err(NamespaceError::Socket)? == cookie {
            return Err(NamespaceError::Own(path.to_owned()));
        }
        Ok(Self {
            file,
            route_socket,
            cookie,
        })
    }

    /// The descriptors that go to the agent: the namespace, then the socket inside it.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.file.as_fd(), self.route_socket.as_fd()]
    }

    /// The namespace's cookie.
    #[must_use]
    pub const fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Performs steps inside, in order, each whether or not the one before succeeded.
    #[must_use]
    pub fn perform(&self, steps: &[Step]) -> Vec<Result<String, StepError>> {
        match inside(self.file.as_fd(), || steps.iter().map(perform).collect()) {
            Ok(outcomes) => outcomes,
            Err(errno) => {
                let message = format!("the container's namespace cannot be entered: {errno}");
                let error = StepError {
                    errno: Some(errno as i32),
                    message,
                };
                steps.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }
}

fn route_socket() -> nix::Result<OwnedFd> {
    socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
}

fn route_socket_here() -> Result<OwnedFd, NamespaceError> {
    route_socket().map_err(|errno| NamespaceError::Socket(errno.into()))
}

/// Runs a function on a thread of its own that is a member of the namespace.
fn inside<T: Send>(namespace: BorrowedFd<'_>, f: impl FnOnce() -> T + Send) -> nix::Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            Ok(f())
        });
        match worker.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn perform(step: &Step) -> Result<String, StepError> {
    let (path, value) = match step {
        Step::WriteSysctl { path, value } => (path, Some(value)),
        Step::ReadSysctl { path } => (path, None),
    };
    let full = sysctl_path(path)?;
    let failed = |verb: &str, error: io::Error| StepError {
        errno: error.raw_os_error(),
        message: format!(
            "{} cannot be {verb} in the container: {error}",
            full.display()
        ),
    };
    match value {
        None => fs::read_to_string(&full)
            .map(|text| text.trim_end().to_owned())
            .map_err(|error| failed("read", error)),
        Some(value) => OpenOptions::new()
            .write(true)
            .open(&full)
            .and_then(|mut file| file.write_all(value.as_bytes()))
            .map(|()| String::new())
            .map_err(|error| failed(&format!("set to {value}"), error)),
    }
}

/// Only what belongs to the namespace: everything else under /proc/sys is the host's.
fn sysctl_path(path: &str) -> Result<PathBuf, StepError> {
    let relative = Path::new(path);
    let plain = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if !plain || !relative.starts_with("net") {
        let message = format!("`{path}` is not a setting of a network namespace; refused");
        return Err(StepError {
            errno: None,
            message,
        });
    }
    Ok(Path::new("/proc/sys").join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_the_namespace_may_be_touched() {
        for path in [
            "kernel/core_pattern",
            "/etc/passwd",
            "net/../kernel/hostname",
            "",
            "network",
        ] {
            let step = Step::WriteSysctl {
                path: path.into(),
                value: "x".into(),
            };
            assert!(
                perform(&step).unwrap_err().message.contains("refused"),
                "{path}"
            );
        }
        let step = Step::ReadSysctl {
            path: "net/ipv4/ip_default_ttl".into(),
        };
        assert!(perform(&step).unwrap().parse::<u8>().is_ok());
    }

    #[test]
    fn what_is_no_namespace_is_told_apart() {
        let missing = Namespace::open(Path::new("/nonexistent/ns")).unwrap_err();
        assert!(matches!(missing, NamespaceError::Missing(_)), "{missing}");
        for path in ["/etc/hostname", "/dev/null", "/", "/proc/self/ns/mnt"] {
            let error = Namespace::open(Path::new(path)).unwrap_err();
            // Without privilege the kernel says EPERM where it would say EINVAL.
            let told = matches!(
                error,
                NamespaceError::NotANamespace(_) | NamespaceError::Enter { .. }
            );
            assert!(told, "{path}: {error}");
        }
    }
}
