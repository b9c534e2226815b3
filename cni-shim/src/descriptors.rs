//! The two places where raw descriptors and raw socket options are touched.
//!
//! `unsafe` is allowed in this module only: the kernel returns received descriptors as bare integers, which have to be
//! adopted, and no crate of ours knows `SO_NETNS_COOKIE`.
#![allow(unsafe_code)]

use std::io::{self, IoSliceMut};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

/// The kernel passes no more in one message (`SCM_MAX_FD`); with room for all of them a truncated message cannot leave
/// descriptors behind that nobody knows of.
const DESCRIPTORS_MAX: usize = 253;

/// One packet as it was received.
pub(crate) struct Packet {
    /// Octets of data; 0 at the end of the connection.
    pub(crate) len: usize,
    /// Descriptors that came with it, close-on-exec.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// The packet was larger than the buffer.
    pub(crate) data_truncated: bool,
    /// Descriptors were lost.
    pub(crate) descriptors_truncated: bool,
}

/// Receives one packet with the descriptors that came with it.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> nix::Result<Packet> {
    let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut data = [IoSliceMut::new(buffer)];
    let message = recvmsg::<UnixAddr>(
        socket.as_fd().as_raw_fd(),
        &mut data,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let descriptors_truncated = message.flags.contains(MsgFlags::MSG_CTRUNC);
    let data_truncated = message.flags.contains(MsgFlags::MSG_TRUNC);
    let mut descriptors = Vec::new();
    // `cmsgs` fails on truncation only, which is reported beside.
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just installed these descriptors for this message; nobody else knows their numbers.
            descriptors.extend(
                raw.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok(Packet {
        len: message.bytes,
        descriptors,
        data_truncated,
        descriptors_truncated,
    })
}

/// The cookie of the network namespace in which a socket was made (`SO_NETNS_COOKIE`, since Linux 5.14).
///
/// Unlike an inode number it is not used again during a boot.
///
/// # Errors
/// When the descriptor is no socket or the kernel does not know the option.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0u64;
    let mut len = mem::size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets to `cookie`, and both outlive the call.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    if len as usize != mem::size_of_val(&cookie) {
        return Err(io::Error::other("SO_NETNS_COOKIE has an unexpected size"));
    }
    Ok(cookie)
}
