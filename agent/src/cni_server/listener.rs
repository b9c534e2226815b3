//! The listening socket itself.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, Backlog, Shutdown, SockFlag, SockType, UnixAddr, bind as bind_to, connect,
        getsockopt, listen as listen_on, shutdown, socket, sockopt,
    },
    unistd::{Gid, Uid, geteuid},
};
use socket2::SockRef;

use super::ServeError;

/// Plugins that wait to be accepted.
const BACKLOG: i32 = 512;

fn seqpacket() -> nix::Result<OwnedFd> {
    socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
}

/// Removes the socket of an agent that died.
pub(super) fn clear(path: &Path) -> Result<(), ServeError> {
    let failed = |verb| {
        move |source: io::Error| ServeError::Socket {
            path: path.to_owned(),
            verb,
            source,
        }
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("looked at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ServeError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let refused = |errno: Errno| failed("tried")(errno.into());
    let probe = seqpacket().map_err(refused)?;
    let address = UnixAddr::new(path).map_err(refused)?;
    match connect(probe.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(ServeError::InUse(path.to_owned())),
        Err(_) => fs::remove_file(path).map_err(failed("removed")),
    }
}

pub(super) fn bind(path: &Path) -> io::Result<OwnedFd> {
    let listener = seqpacket()?;
    bind_to(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(listener)
}

pub(super) fn listen(listener: &OwnedFd) -> io::Result<()> {
    Ok(listen_on(listener, Backlog::new(BACKLOG)?)?)
}

/// The next connection; `None` after [`end`].
pub(super) fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    loop {
        match SockRef::from(listener).accept() {
            Ok((socket, _)) => return Ok(Some(socket.into())),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINTR | Errno::ECONNABORTED) => {}
                Some(Errno::EINVAL) => return Ok(None),
                _ => return Err(error),
            },
        }
    }
}

/// Wakes whoever waits in [`accept`] for good.
pub(super) fn end(listener: &OwnedFd) {
    // It fails only for what is no socket.
    let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
}

/// Root, ourselves, and the group may call.
pub(super) fn check_peer(socket: &OwnedFd, group: Option<Gid>) -> Result<(), String> {
    let peer = getsockopt(socket, sockopt::PeerCredentials)
        .map_err(|errno| format!("its credentials cannot be read: {errno}"))?;
    let user = Uid::from_raw(peer.uid());
    let allowed = user.is_root()
        || user == geteuid()
        || group.is_some_and(|group| Gid::from_raw(peer.gid()) == group);
    if allowed {
        return Ok(());
    }
    Err(format!(
        "process {} of user {} is neither root nor of the group",
        peer.pid(),
        user
    ))
}
