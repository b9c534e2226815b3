//! The driver of BFD: [`wayleave_bfd::Bfd`] on a thread of its own, with its UDP sockets.
//!
//! The thread (named `bfd`) does nothing else, so that no table work of the speaker delays a packet.
//! It asks for real-time scheduling ([`BfdView::scheduling`] says what it got); without it the
//! ordinary scheduler decides, which on a machine that is not short of memory wakes a thread that
//! sleeps most of its time within a few milliseconds.
//!
//! ```no_run
//! use wayleave_bgp::bfd::{self, BfdEvent, BfdSession};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (bfd, mut events) = bfd::spawn(bfd::Options::default())?;
//! let neighbour = bfd.add(BfdSession::single_hop("192.0.2.1".parse()?));
//! while let Some(event) = events.recv().await {
//!     if let BfdEvent::State(event) = event
//!         && event.path_failed()
//!     {
//!         println!("{neighbour}: {}", event.diagnostic);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The sockets:
//!
//! - One per family and kind of session to receive on, at ports 3784 (RFC 5881, 4) and 4784
//!   (RFC 5883, 5), while there is a session of that family and kind. They take the TTL or hop limit,
//!   destination and interface of each datagram from its control messages; what has no TTL of 255 on
//!   one hop is discarded (RFC 5881, 5).
//! - One per session to send from: its source port lies between 49152 and 65535 and stays the same
//!   (RFC 5881, 4); it is bound to the session's address, and to its interface if it has one. TTL 255,
//!   DSCP CS6. Over one hop and without an interface it uses no gateway.
//!
//! A socket that cannot be had is tried for again, four times a second; its sessions are down
//! meanwhile, and [`BfdEvent::Trouble`] says why.

mod handle;
mod listen;
mod peer;
mod schedule;
#[cfg(test)]
mod tests;
mod thread;
mod wake;

pub use wayleave_bfd::{
    self as machine, Diagnostic, DiscardCounts, Event, Hops, Interval, Role, SessionId,
    SessionView, State, Timers,
};

pub use self::{
    handle::{BfdEvent, BfdHandle, BfdPeerView, BfdSession, BfdView, Events, Options, Stopped},
    thread::spawn,
};
