//! The timers of a peer as deadlines (RFC 4271, 10).

use std::time::Duration;

/// Time to wait for the neighbour's OPEN: "a large value" (RFC 4271, 8.2.2). The four minutes it
/// suggests are long for a fabric whose other connection attempts wait for that.
pub(crate) const OPEN_HOLD: Duration = Duration::from_secs(60);

/// A neighbour that has not said OPEN on a connection by then, but does on another, will not.
pub(crate) const OPEN_OVERDUE: Duration = Duration::from_secs(3);

/// First wait after a session that was up was lost: the neighbour is probably restarting.
pub(crate) const QUICK_RETRY: Duration = Duration::from_millis(200);

/// First IdleHoldTime; doubled with every failure in a row (RFC 4271, 8.1.1).
pub(crate) const IDLE_HOLD_FIRST: Duration = Duration::from_secs(1);

/// Longest IdleHoldTime ("reset from 0 to 120 seconds", RFC 4271, 8.1.1).
pub(crate) const IDLE_HOLD_MOST: Duration = Duration::from_secs(120);

/// A session that was up this long has lasted: nothing counts against the peer any more.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(60);

/// So many sessions that did not last are forgiven when they just ended.
pub(crate) const FORGIVEN: u32 = 2;

/// What counts against somebody who has no name here is forgotten so long after the last time.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

/// "KEEPALIVE messages MUST NOT be sent more frequently than one per second" (RFC 4271, 4.4).
pub(crate) const KEEPALIVE_LEAST: Duration = Duration::from_secs(1);

/// Numbers between 0.75 and 1 for timers that must not run in step (RFC 4271, 10).
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// `time` shortened by up to a quarter.
    pub(crate) fn apply(&mut self, time: Duration) -> Duration {
        // xorshift64: any sequence will do that differs between peers and repeats from its seed.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let eighths = u32::try_from(self.0 >> 32 & 0xff).unwrap_or(0);
        time - time / 4 * eighths / 256
    }
}
