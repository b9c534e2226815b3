//! What a session is told to be.

use std::{fmt, net::IpAddr, num::NonZeroU8, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

/// Names a session; of the caller's choice, and unique among those it has added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An interval between packets: 1 us to 71 minutes, as the packet carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interval(NonZeroU32);

impl Interval {
    /// The least that a session may wish for while it is not up (RFC 5880, 6.8.3).
    // Evaluated while compiling: a million is not zero.
    pub const SLOW: Self = Self(NonZeroU32::new(1_000_000).unwrap());

    /// From microseconds; none for zero.
    #[must_use]
    pub const fn from_micros(micros: u32) -> Option<Self> {
        match NonZeroU32::new(micros) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// From whole milliseconds.
    ///
    /// # Errors
    ///
    /// [`IntervalError`] for zero and for what does not fit.
    pub fn from_millis(millis: u64) -> Result<Self, IntervalError> {
        Self::try_from(Duration::from_millis(millis))
    }

    /// In microseconds.
    #[must_use]
    pub fn micros(self) -> u32 {
        self.0.get()
    }

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_micros(self.micros().into())
    }
}

impl TryFrom<Duration> for Interval {
    type Error = IntervalError;

    /// Parts of a microsecond are left out.
    fn try_from(duration: Duration) -> Result<Self, IntervalError> {
        let micros = u32::try_from(duration.as_micros()).ok();
        micros
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(IntervalError(duration))
    }
}

/// No interval a BFD packet can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no interval for BFD: 1 us to 4294 s")]
pub struct IntervalError(pub Duration);

/// Over how many hops a session goes, which decides its port and what is asked of the TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hops {
    /// One (RFC 5881): what does not come with a TTL of 255 is discarded.
    Single,
    /// Several (RFC 5883).
    Multi {
        /// The least TTL that is taken; 0 takes any. The neighbour should send with 255, so that
        /// `255 - least_ttl` is the number of routers that may lie between.
        least_ttl: u8,
    },
}

impl Hops {
    /// The least TTL that is taken.
    #[must_use]
    pub fn least_ttl(self) -> u8 {
        match self {
            Self::Single => crate::TTL,
            Self::Multi { least_ttl } => least_ttl,
        }
    }

    /// Whether it goes over several hops.
    #[must_use]
    pub fn is_multi(self) -> bool {
        matches!(self, Self::Multi { .. })
    }

    /// The port that its packets are sent to.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Single => crate::SINGLE_HOP_PORT,
            Self::Multi { .. } => crate::MULTIHOP_PORT,
        }
    }
}

/// Between what a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Path {
    /// The neighbour's address.
    pub remote: IpAddr,
    /// Our own; without it, whichever the kernel sends from, and any is answered at.
    pub local: Option<IpAddr>,
    /// The interface (its index) that the session is bound to (RFC 5881, 3); without it, any. A
    /// link-local address is nothing without one.
    pub interface: Option<u32>,
    /// Over one hop or several.
    pub hops: Hops,
}

/// Who begins (RFC 5880, 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Sends from the start. Over one hop both ends must (RFC 5881, 3).
    #[default]
    Active,
    /// Sends nothing before it has heard from the remote system.
    Passive,
}

/// The timing of a session, which can be changed while it is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timers {
    /// The shortest interval to send at (Desired Min TX Interval), once up.
    pub desired_min_tx: Interval,
    /// The shortest interval to receive at (Required Min RX Interval). The remote system's detection
    /// time does not depend on it, ours does.
    pub required_min_rx: Interval,
    /// After how many of our packets missed in a row the remote system declares the session down.
    pub detect_mult: NonZeroU8,
}

/// A session to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionConfig {
    /// Between what.
    pub path: Path,
    /// Who begins.
    pub role: Role,
    /// How fast.
    pub timers: Timers,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_what_the_packet_can_carry() {
        assert_eq!(Interval::from_millis(50).unwrap().micros(), 50_000);
        for none in [
            Duration::ZERO,
            Duration::from_nanos(999),
            Duration::from_secs(4_295),
        ] {
            assert_eq!(Interval::try_from(none), Err(IntervalError(none)));
        }
        assert_eq!(Interval::SLOW.duration(), Duration::from_secs(1));
    }
}
