//! Who may use the socket: root, the user the agent runs as, and members of the socket's group.
//!
//! The mode of the socket (0660) keeps others out; this is the second lock, for a socket whose
//! mode or directory somebody changed.

use std::{fs, io, os::fd::AsFd};

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt::PeerCredentials};

/// Who is let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    user: u32,
    group: Option<u32>,
}

impl Access {
    /// The user this process runs as, and a group if there is one.
    pub(super) fn new(group: Option<u32>) -> Self {
        Self {
            user: nix::unistd::geteuid().as_raw(),
            group,
        }
    }

    /// Lets the other end of a connection in, or says who it is.
    pub(super) fn check(&self, stream: &impl AsFd) -> Result<(), Stranger> {
        let peer = getsockopt(stream, PeerCredentials)
            .map_err(|error| Stranger::Unknown(io::Error::from(error)))?;
        if self.admits(&peer) {
            Ok(())
        } else {
            Err(Stranger::Known {
                user: peer.uid(),
                pid: peer.pid(),
            })
        }
    }

    fn admits(&self, peer: &UnixCredentials) -> bool {
        if peer.uid() == 0 || peer.uid() == self.user {
            return true;
        }
        let Some(group) = self.group else {
            return false;
        };
        peer.gid() == group || supplementary_groups(peer.pid()).contains(&group)
    }
}

/// Somebody who is not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stranger {
    /// With this user id.
    #[error("user {user} (process {pid}) is neither root nor in the group of the socket")]
    Known {
        /// The user.
        user: u32,
        /// The process.
        pid: i32,
    },
    /// The kernel does not say.
    #[error("the kernel does not say who it is: {0}")]
    Unknown(io::Error),
}

/// SO_PEERCRED carries the primary group only; the others stand in /proc (which reads from
/// memory, so that this does not block).
fn supplementary_groups(pid: i32) -> Vec<u32> {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return Vec::new();
    };
    let groups = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .unwrap_or_default();
    groups
        .split_whitespace()
        .filter_map(|group| group.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn our_own_user_is_let_in_and_a_stranger_is_named() {
        let (a, _b) = UnixStream::pair().unwrap();
        assert!(Access::new(None).check(&a).is_ok());
        // As seen by an agent of another user, when this test does not run as root.
        if !nix::unistd::geteuid().is_root() {
            let other = Access {
                user: 4_000_000,
                group: None,
            };
            assert!(matches!(other.check(&a), Err(Stranger::Known { .. })));
        }
    }

    #[test]
    fn the_groups_of_a_process_are_read_from_the_kernel() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut expected: Vec<_> = nix::unistd::getgroups()
            .unwrap()
            .iter()
            .map(|group| group.as_raw())
            .collect();
        let mut read = supplementary_groups(own);
        expected.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, expected);
    }
}
