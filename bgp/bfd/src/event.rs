//! What goes in, and what comes out.

use std::net::{IpAddr, SocketAddr};

use crate::{
    config::SessionId,
    packet::{Diagnostic, PACKET_LEN, State},
};

/// How a datagram was received. The driver learns all of it from the socket's control messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its destination address.
    pub local: IpAddr,
    /// Its source address.
    pub remote: IpAddr,
    /// The index of the interface it came in by.
    pub interface: u32,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// Whether it came to the port of sessions over several hops (RFC 5883, 5).
    pub multihop: bool,
}

/// A packet to send. The driver should send it at once, with a TTL of 255, from the session's own
/// source port; when it cannot, it drops it: the next one is due soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The session it belongs to.
    pub session: SessionId,
    /// Where to.
    pub destination: SocketAddr,
    /// Where from, when the session is bound to an address.
    pub source: Option<IpAddr>,
    /// The index of the interface it must leave by, when the session is bound to one.
    pub interface: Option<u32>,
    /// The payload.
    pub bytes: [u8; PACKET_LEN],
}

/// A session has changed its state; or its remote system has gone into AdminDown or left it, while
/// our own state did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The session.
    pub session: SessionId,
    /// Its state now.
    pub state: State,
    /// Its state before.
    pub previous: State,
    /// Why it changed.
    pub diagnostic: Diagnostic,
    /// The remote system's state, as last heard; Down when it is not heard any more.
    pub remote_state: State,
    /// Why the remote system last changed its state.
    pub remote_diagnostic: Diagnostic,
    /// The remote system's BFD outlives its control plane (its C bit). Ours never says so. While
    /// either does not, a failure may be a restart (RFC 5882, 4.3.2).
    pub remote_independent: bool,
}

impl Event {
    /// The path has failed: a routing protocol over it should act as if its hold timer had expired
    /// (RFC 5882, 4.2). A session that was not up has nothing to lose, and one that went down because
    /// either end was told to (AdminDown) says nothing about the path: RFC 5882, 4.2 has clients
    /// do nothing then.
    #[must_use]
    pub fn path_failed(&self) -> bool {
        self.previous == State::Up
            && self.state == State::Down
            && self.remote_state != State::AdminDown
    }

    /// BFD is switched off at either end, and must not keep a routing protocol from coming up
    /// (RFC 5882, 4.1).
    #[must_use]
    pub fn admin_down(&self) -> bool {
        self.state == State::AdminDown || self.remote_state == State::AdminDown
    }
}
