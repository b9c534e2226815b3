//! Netlink sockets of the host's namespace, one for each operation under way.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

use wayleave_netlink::{KernelError, Socket};

/// Sockets that nobody uses at the moment.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    idle: Mutex<Vec<Socket>>,
}

/// More than this many are closed again after a burst.
const KEPT: usize = 8;

impl Sockets {
    /// A socket for one operation: an idle one, else a new one.
    pub(super) fn take(&self) -> Result<Borrowed<'_>, KernelError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let socket = match idle {
            Some(socket) => socket,
            None => Socket::open()?,
        };
        Ok(Borrowed {
            sockets: self,
            socket: Some(socket),
        })
    }
}

/// A socket on loan; goes back when dropped.
#[derive(Debug)]
pub(super) struct Borrowed<'a> {
    sockets: &'a Sockets,
    /// `None` only while it is dropped.
    socket: Option<Socket>,
}

const HELD: &str = "invariant: the socket is held until it is dropped";

impl Deref for Borrowed<'_> {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        self.socket.as_ref().expect(HELD)
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Socket {
        self.socket.as_mut().expect(HELD)
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut idle = self
            .sockets
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = self.socket.take()
            && idle.len() < KEPT
        {
            idle.push(socket);
        }
    }
}
