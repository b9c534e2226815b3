//! What can go wrong between us and the kernel.

use std::{fmt, io};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::change::Change;

/// Why the kernel did not do, or could not be asked to do, one thing.
///
/// The subject is not repeated here: callers know which [`Change`] a result belongs to, and
/// [`KernelError::about`] puts the two together for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum KernelError {
    /// The kernel looked at the request and said no.
    #[error("the kernel refused: {errno}{}", Said(.text))]
    Refused {
        /// The error number.
        errno: Code,
        /// The kernel's own explanation (extended acknowledgement), if it gave one.
        text: Option<String>,
    },
    /// The request cannot be expressed in netlink; it was not sent.
    #[error("not sent: {0}")]
    Inexpressible(String),
    /// The answer was lost because the receive buffer overflowed: done or not done, look again.
    #[error("the kernel's answer was lost (receive buffer overflow): look again before retrying")]
    Overrun,
    /// No answer within the time-out: done or not done, look again.
    #[error("the kernel did not answer within {0} ms: look again before retrying")]
    NoAnswer(u32),
    /// The objects changed while they were listed, so the list may lack some: list again.
    #[error("the objects changed while they were listed: list again")]
    Interrupted,
    /// The socket itself failed.
    #[error("netlink socket: {operation}: {errno}")]
    Socket {
        /// What was being done.
        operation: SocketOperation,
        /// The error number.
        errno: Code,
    },
    /// The kernel sent something that cannot be read; a kernel newer than this program, or a bug.
    #[error("cannot read the kernel's message: {0}")]
    Malformed(String),
}

impl KernelError {
    /// The kernel's error number, if it refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(errno.errno()),
            Self::Inexpressible(_)
            | Self::Overrun
            | Self::NoAnswer(_)
            | Self::Interrupted
            | Self::Socket { .. }
            | Self::Malformed(_) => None,
        }
    }

    /// Whether the kernel refused with this number.
    #[must_use]
    pub fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno)
    }

    /// Whether nobody knows if the change took place.
    #[must_use]
    pub const fn is_uncertain(&self) -> bool {
        matches!(self, Self::Overrun | Self::NoAnswer(_))
    }

    /// A refusal, as tests and fakes make them.
    #[must_use]
    pub fn refused(errno: Errno) -> Self {
        Self::Refused {
            errno: Code(errno as i32),
            text: None,
        }
    }

    /// The sentence for a person: what happened to what, why, and what to do about it.
    #[must_use]
    pub fn about(&self, change: &Change) -> String {
        let advice = self.errno().and_then(advice);
        match advice {
            Some(advice) => format!("{change}: {self}; {advice}"),
            None => format!("{change}: {self}"),
        }
    }

    pub(crate) fn socket(operation: SocketOperation, error: &io::Error) -> Self {
        let errno = Code(error.raw_os_error().unwrap_or(Errno::EIO as i32));
        Self::Socket { operation, errno }
    }
}

/// What was done with a socket when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketOperation {
    /// Making it.
    Open,
    /// Taking over one made elsewhere, which must be of the NETLINK_ROUTE family.
    Adopt,
    /// Setting an option.
    Configure,
    /// Joining multicast groups.
    Join,
    /// Sending.
    Send,
    /// Receiving.
    Receive,
}

impl fmt::Display for SocketOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Adopt => "adopt a passed descriptor",
            Self::Configure => "set an option",
            Self::Join => "join multicast groups",
            Self::Send => "send",
            Self::Receive => "receive",
        })
    }
}

/// An error number that prints as its text and name: `File exists (EEXIST)`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub i32);

impl Code {
    /// The number as nix knows it.
    #[must_use]
    pub fn errno(self) -> Errno {
        Errno::from_raw(self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = self.errno();
        if errno == Errno::UnknownErrno {
            return write!(f, "error {}", self.0);
        }
        write!(f, "{} ({errno:?})", errno.desc())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prints `: <text>` or nothing.
struct Said<'a>(&'a Option<String>);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

/// What an operator can do about an error number, where that is known.
fn advice(errno: Errno) -> Option<&'static str> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the list of error numbers is open"
    )]
    match errno {
        Errno::EPERM | Errno::EACCES => Some("CAP_NET_ADMIN in that namespace is needed"),
        Errno::EEXIST => {
            Some("somebody else has one there; remove it or use another metric or name")
        }
        Errno::ENETUNREACH | Errno::EHOSTUNREACH => {
            Some("the gateway is on no connected network of this host")
        }
        Errno::ENODEV => Some("the interface is gone"),
        Errno::ENETDOWN => Some("the interface is down"),
        Errno::ENOBUFS | Errno::ENOMEM => Some("the kernel is out of memory"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{NextHop, Protocol, Route};

    #[test]
    fn a_refusal_says_what_happened_to_what_why_and_what_to_do() {
        let prefix = "10.0.0.0/26".parse().expect("a prefix");
        let gateway = "192.0.2.1".parse().expect("an address");
        let route = Route::unicast(prefix, Protocol::WAYLEAVE, NextHop::via(gateway, 2));
        let error = KernelError::Refused {
            errno: Code(Errno::ENETUNREACH as i32),
            text: Some("Nexthop has invalid gateway".to_owned()),
        };
        assert_eq!(
            error.about(&Change::RouteReplace(route)),
            "replace route 10.0.0.0/26 via 192.0.2.1 dev if2 proto wayleave: the kernel refused: \
             Network is unreachable (ENETUNREACH): Nexthop has invalid gateway; the gateway is on \
             no connected network of this host"
        );
    }
}
