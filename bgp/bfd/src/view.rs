//! What a session shows, to people and as JSON.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    config::{Role, SessionId},
    discard::DiscardCounts,
    packet::State,
};

/// One session. Intervals are in microseconds, as in the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its name.
    pub session: SessionId,
    /// The neighbour.
    pub remote: IpAddr,
    /// Our address, when the session is bound to one.
    pub local: Option<IpAddr>,
    /// The index of the interface it is bound to.
    pub interface: Option<u32>,
    /// Over several hops (RFC 5883).
    pub multihop: bool,
    /// Who begins.
    pub role: Role,
    /// bfd.SessionState.
    pub state: State,
    /// Milliseconds in this state.
    pub state_ms: u64,
    /// bfd.LocalDiag, in words.
    pub diagnostic: String,
    /// bfd.RemoteSessionState.
    pub remote_state: State,
    /// The remote system's diagnostic, in words.
    pub remote_diagnostic: String,
    /// bfd.LocalDiscr.
    pub local_discriminator: u32,
    /// bfd.RemoteDiscr; 0 while nothing is heard.
    pub remote_discriminator: u32,
    /// bfd.DesiredMinTxInterval, as advertised: a second at least unless up.
    pub desired_min_tx_us: u32,
    /// bfd.RequiredMinRxInterval, as advertised.
    pub required_min_rx_us: u32,
    /// bfd.DetectMult.
    pub detect_mult: u8,
    /// The remote system's Desired Min TX Interval.
    pub remote_desired_min_tx_us: u32,
    /// bfd.RemoteMinRxInterval.
    pub remote_min_rx_us: u32,
    /// The remote system's Detect Mult; 0 before anything was heard.
    pub remote_detect_mult: u8,
    /// The interval that we send at, before jitter; none while nothing is sent periodically.
    pub transmit_interval_us: Option<u64>,
    /// After how long a silence the session goes down; none before anything was heard.
    pub detection_time_us: Option<u64>,
    /// A Poll Sequence is under way.
    pub polling: bool,
    /// The remote system is in Demand mode.
    pub remote_demand: bool,
    /// The remote system's BFD outlives its control plane.
    pub remote_independent: bool,
    /// How often it came up.
    pub ups: u64,
    /// How often it went down from being up.
    pub downs: u64,
    /// Of these, by the detection time.
    pub expirations: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets received, those not counted that were discarded.
    pub received: u64,
    /// Packets discarded that belonged to it.
    pub discarded: DiscardCounts,
}
