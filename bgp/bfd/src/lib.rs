//! The pure BFD machine of Wayleave: Bidirectional Forwarding Detection as RFC 5880 has it, over one
//! hop of IPv4 or IPv6 (RFC 5881) and over several (RFC 5883).
//!
//! The contract of this package, kept by its dependencies and its lints:
//!
//! - it is deterministic: the same inputs at the same [`Time`]s and the same seed give the same
//!   outputs, so that a run can be simulated on a virtual clock, fuzzed, and replayed;
//! - it contains no networking code, starts no thread, and takes neither time nor randomness from
//!   the system: the caller (the *driver*) hands in the time and the datagrams, and sends what it is
//!   told to;
//! - nothing it is given makes it panic: a datagram ends in a session or in a [`Discard`].
//!
//! [`Bfd`] is all sessions of one system. A driver hands in what it has received, then lets time
//! pass ([`Bfd::handle_timeout`]), then takes out what is to be sent and what there is to be known:
//! in this order, or a session would be declared down whose packet lies in the socket.
//!
//! # What is not here, and what differs
//!
//! - Authentication (RFC 5880, 6.7): none can be configured. What comes with an authentication
//!   section is discarded, as 6.8.6 wants it.
//! - The Echo function (5, 6.4, 6.8.8, 6.8.9): we advertise a Required Min Echo RX Interval of 0 and
//!   send none.
//! - Demand mode (6.6): we never ask for it. A remote system that does is obeyed.
//! - A packet with a Your Discriminator of zero finds its session by addresses and interface. So it
//!   does on a point-to-point link, where RFC 5881, 6 asks for any source address to be taken: a
//!   routing protocol knows the address of its neighbour.
//! - The congestion control that RFC 5880, 7 asks for over several hops is what 6.8.3 brings: a
//!   session that has failed sends once a second until it is up again. Intervals do not grow.
//! - Poll in AdminDown: 6.8.6 discards the packet before the Poll bit is looked at, 6.8.7 wants a
//!   Final "without respect to the session state". 6.8.6 is followed.
//! - bfd.LocalDiag is set to zero when a session comes up: it then says why the *last* change was
//!   made, which 6.8.1 asks for and no other text does.

mod bfd;
mod config;
mod discard;
mod event;
mod packet;
mod paths;
mod random;
mod session;
mod time;
mod view;

pub use self::{
    bfd::{AddError, Bfd},
    config::{Hops, Interval, IntervalError, Path, Role, SessionConfig, SessionId, Timers},
    discard::{Discard, DiscardCounts},
    event::{Datagram, Event, Transmit},
    packet::{Diagnostic, PACKET_LEN, Packet, State},
    time::Time,
    view::SessionView,
};

/// The UDP port that control packets over one hop are sent to (RFC 5881, 4).
pub const SINGLE_HOP_PORT: u16 = 3784;
/// The UDP port that control packets over several hops are sent to (RFC 5883, 5).
pub const MULTIHOP_PORT: u16 = 4784;
/// The UDP ports they may be sent from (RFC 5881, 4); each session keeps one.
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// The TTL or hop limit they are sent with (RFC 5881, 5).
pub const TTL: u8 = 255;
