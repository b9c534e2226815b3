//! What a session asks of the machine around it.

use std::fmt;

use super::{Negotiated, PeerRestart};
use crate::wire::Notification;

/// A connection's number, unique in the life of a speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a session ended or a try failed: what the operator reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// We found a fault and said so.
    Sent(Notification),
    /// The peer found a fault and said so.
    Received(Notification),
    /// The transport ended.
    Closed(String),
    /// The transport could not be opened.
    Unreachable(String),
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(notification) => write!(f, "sent {notification}"),
            Self::Received(notification) => write!(f, "received {notification}"),
            Self::Closed(why) => write!(f, "connection closed: {why}"),
            Self::Unreachable(why) => write!(f, "cannot connect: {why}"),
        }
    }
}

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Open a connection to the peer.
    Connect(ConnId),
    /// The peer opened this connection, and nothing is said on it yet.
    Taken(ConnId),
    /// Write this whole message.
    Send(ConnId, Vec<u8>),
    /// Write this KEEPALIVE, counted apart.
    Keepalive(ConnId),
    /// Write the NOTIFICATION, if any, then close.
    Close(ConnId, Option<Notification>),
    /// The session is Established over this connection.
    Up(ConnId, Box<Negotiated>),
    /// The Established session over this connection is over. With what the peer said of its restarts,
    /// when its routes are to be held.
    Down(ConnId, Option<PeerRestart>),
}

/// Effects in order, and the numbers of connections to come.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) list: Vec<Effect>,
    last_conn: u64,
}

impl Effects {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub(crate) fn next_conn(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId(self.last_conn)
    }
}
