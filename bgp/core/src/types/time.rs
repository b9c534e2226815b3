//! Monotonic time as an argument.

use std::{fmt, ops, time::Duration};

/// Nanoseconds since an origin of the driver's choice; monotonic, never wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time elapsed since `earlier`, or zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since the origin.
    pub fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

impl ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}s",
            self.as_secs(),
            self.0 % 1_000_000_000 / 1_000
        )
    }
}
