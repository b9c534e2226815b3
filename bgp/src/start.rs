//! Starting a speaker on a thread of its own, and its end.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, mpsc},
    thread,
};

use mio::{Poll, Waker};
use wayleave_bgp_core::{RouterId, config::SpeakerConfig};

use crate::{
    driver::{self, Driver},
    handle::SpeakerHandle,
};

/// Why a speaker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address it should listen on cannot be had.
    #[error("cannot listen for BGP on {address}: {}", hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The thread could not be made, or what it waits with.
    #[error("cannot start the BGP speaker's thread: {0}")]
    Thread(io::Error),
}

fn hint(error: &io::Error) -> String {
    let known = [
        (
            io::ErrorKind::AddrInUse,
            "another process (another BGP daemon?) listens there already; stop it, or set \
             bgp.listen to another address",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "no interface has this address; configure it, or set bgp.listen to one that is there",
        ),
    ];
    let hint = known.iter().find(|(kind, _)| *kind == error.kind());
    hint.map_or_else(|| error.to_string(), |(_, hint)| (*hint).to_owned())
}

/// A running speaker.
#[derive(Debug)]
pub struct Speaker {
    /// How to talk to it.
    pub handle: SpeakerHandle,
    thread: thread::JoinHandle<()>,
}

impl Speaker {
    /// Waits for the thread's end; [`SpeakerHandle::shutdown`] first. Blocks.
    ///
    /// # Errors
    ///
    /// What the thread panicked with, if it did.
    pub fn join(self) -> thread::Result<()> {
        self.thread.join()
    }
}

/// An identifier for a speaker: our address towards a neighbour, as is usual. Sends nothing.
///
/// # Errors
///
/// When there is no way to the neighbour.
pub fn router_id_towards(neighbor: IpAddr) -> io::Result<RouterId> {
    let any: IpAddr = match neighbor {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A socket that is connected knows it.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((neighbor, 179))?;
    Ok(match socket.local_addr()?.ip() {
        IpAddr::V4(address) => RouterId(address),
        // Any four octets that nobody else has (RFC 6286): the last ones differ within a network.
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            RouterId(Ipv4Addr::new(a, b, c, d))
        }
    })
}

/// Starts a speaker on a thread of its own, in the network namespace of the calling one. It listens
/// before this returns.
///
/// # Errors
///
/// [`StartError`] when it cannot.
pub fn spawn(config: SpeakerConfig) -> Result<Speaker, StartError> {
    let poll = Poll::new().map_err(StartError::Thread)?;
    let waker = Waker::new(poll.registry(), driver::WAKE).map_err(StartError::Thread)?;
    let waker = Arc::new(waker);
    let (commands, receiver) = mpsc::channel();
    let handle = SpeakerHandle::new(commands, Arc::clone(&waker));
    // Here, not on the thread: errors are for the caller.
    let driver = Driver::new(config, poll, waker, receiver)?;
    let thread = thread::Builder::new()
        .name("bgp".to_owned())
        .spawn(move || driver.run())
        .map_err(StartError::Thread)?;
    Ok(Speaker { handle, thread })
}
