//! The one place that vouches for descriptors.
//!
//! Two safe wishes have only unsafe interfaces: netlink-sys takes descriptors through
//! `FromRawFd` alone, because a number need not be an open descriptor, nor owned; and tokio's
//! `AsyncFd` wants a promise that the object keeps answering with the same open descriptor.
#![allow(unsafe_code, reason = "see above: there is no safe way to either")]

use std::{
    io,
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
};

use netlink_sys::Socket;
use tokio::io::unix::AsyncFd;

/// Makes a netlink socket of an owned descriptor. That it is one is checked by the caller; if it
/// were not, system calls would fail, nothing worse.
pub(crate) fn adopt(fd: OwnedFd) -> Socket {
    // SAFETY: `fd` is open and owned, and `into_raw_fd` gives the ownership up.
    unsafe { Socket::from_raw_fd(fd.into_raw_fd()) }
}

/// Hands a socket to the reactor of the current tokio runtime.
pub(crate) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: `Socket` owns one descriptor, returns that one always, and closes it on drop only.
    unsafe { AsyncFd::register(socket) }.map_err(|error| error.into_parts().1)
}
