//! Who may use the socket: root, the user the agent runs as, and members of the socket's group.
//!
//! The mode of the socket (0660) keeps others out; this is the second lock, for a socket whose
//! mode or directory somebody changed.

use std::{io, os::fd::AsFd};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

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

    /// Lets the other end of a connection in, and says who it is either way.
    pub(super) fn check(&self, stream: &impl AsFd) -> Result<Caller, Stranger> {
        let unknown = |error: io::Error| Stranger::Unknown(error);
        let peer = getsockopt(stream, PeerCredentials).map_err(|error| unknown(error.into()))?;
        if peer.uid() == 0 || peer.uid() == self.user {
            return Ok(Caller(peer.uid()));
        }
        let stranger = Stranger::Known {
            user: peer.uid(),
            pid: peer.pid(),
        };
        let group = self.group.ok_or(stranger)?;
        if peer.gid() == group || peer_groups::of(stream).map_err(unknown)?.contains(&group) {
            return Ok(Caller(peer.uid()));
        }
        Err(Stranger::Known {
            user: peer.uid(),
            pid: peer.pid(),
        })
    }
}

/// The user at the other end of a connection that was let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(u32);

impl Caller {
    /// Who that is, in words. Asks the system's user database, which may take its time.
    pub(super) async fn name(self) -> String {
        let Self(id) = self;
        let lookup = move || nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(id));
        match tokio::task::spawn_blocking(lookup).await {
            Ok(Ok(Some(user))) => user.name,
            Ok(Ok(None) | Err(_)) | Err(_) => format!("user {id}"),
        }
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

mod peer_groups {
    //! SO_PEERGROUPS: the supplementary groups of whoever connected, as they were then. By its
    //! process id one could be told those of another process that has the number by now.
    #![allow(unsafe_code, reason = "getsockopt of an option no library wraps")]

    use std::{
        io,
        os::fd::{AsFd, AsRawFd},
    };

    /// Enough for nearly everybody; the kernel says when it is not.
    const USUAL: usize = 64;

    pub(super) fn of(socket: &impl AsFd) -> io::Result<Vec<u32>> {
        let mut groups = vec![0_u32; USUAL];
        loop {
            let bytes = size_of_val(groups.as_slice());
            let mut length = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
            // SAFETY: the descriptor is open for the life of `socket`; the kernel writes at most
            // `length` bytes, which is the size of the vector's initialised part, and any bits are a
            // u32; `length` lives on this stack frame.
            let result = unsafe {
                libc::getsockopt(
                    socket.as_fd().as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_PEERGROUPS,
                    groups.as_mut_ptr().cast(),
                    &raw mut length,
                )
            };
            let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<u32>();
            if result == 0 {
                groups.truncate(count);
                return Ok(groups);
            }
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
                return Err(error);
            }
            groups.resize(count, 0);
        }
    }
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
    fn the_groups_of_the_other_end_are_told_by_the_kernel() {
        let (a, _b) = UnixStream::pair().unwrap();
        let mut expected: Vec<_> = nix::unistd::getgroups()
            .unwrap()
            .iter()
            .map(|group| group.as_raw())
            .collect();
        let mut read = peer_groups::of(&a).unwrap();
        expected.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, expected);
    }
}
