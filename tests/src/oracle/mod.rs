//! The oracle: invariants that hold after every test, whatever its fault was.
//!
//! | | invariant | function |
//! |---|---|---|
//! | I1 | no address is held by two live containers | [`one_holder_each`] |
//! | I2 | every live container is reachable from every host that is not cut off | [`all_reachable`] |
//! | I3 | kernel routes with our protocol equal the agent's own view, and that its loc-RIB | [`fib_agrees`] |
//! | I4 | foreign routes, rules and nftables are as before | [`foreign_untouched`] |
//! | I5 | nothing crashed that the test did not kill | [`nothing_crashed`] |
//! | I6 | memory and descriptors have returned to where they were | [`resources_returned`] |
//! | I7 | ADDs that succeeded work, DELs that succeeded left nothing | [`attachments_true`] |
//! | I8 | the agent's own check of its addresses finds nothing | [`ipam_sound`] |
//!
//! Each is a function of its own that returns violations, and each has a test that shows that it
//! can find one. What does not exist in a lab (agents, containers) cannot be violated.

mod attachments;
mod containers;
mod foreign;
mod life;
mod resources;
mod routes;

use std::fmt::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::lab::Lab;

pub use attachments::{attachments_true, audit_problems, ipam_sound};
pub use containers::{all_reachable, one_holder_each};
pub use foreign::{Snapshot, foreign_untouched};
pub use life::nothing_crashed;
pub use resources::{Baseline, resources_returned};
pub use routes::{FibRoute, agent_view, desired, difference, fib_agrees, kernel_view};

/// How long a fabric may take to heal after the last fault of a test.
const HEAL: Duration = Duration::from_secs(10);
/// How long the kernel may take to finish what it does asynchronously.
const SETTLE: Duration = Duration::from_secs(3);

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `I1` to `I8`.
    pub invariant: &'static str,
    /// The host, container or process.
    pub subject: String,
    /// What was found.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, subject: &str, what: impl Into<String>) -> Self {
        Self {
            invariant,
            subject: subject.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.invariant, self.subject, self.what)
    }
}

/// Checks all invariants. Those that heal get the time to do so.
#[must_use]
pub fn check(lab: &Lab) -> Vec<Violation> {
    type Check = fn(&Lab) -> Result<Vec<Violation>, LabError>;
    let checks: [(&'static str, Check, Duration); 8] = [
        ("I1", one_holder_each, Duration::ZERO),
        ("I2", all_reachable, HEAL),
        ("I3", fib_agrees, HEAL),
        ("I4", foreign_untouched, SETTLE),
        ("I5", nothing_crashed, Duration::ZERO),
        ("I6", resources_returned, HEAL),
        ("I7", attachments_true, SETTLE),
        ("I8", ipam_sound, SETTLE),
    ];
    checks
        .iter()
        .flat_map(|(name, check, bound)| settle(name, *bound, || check(lab)))
        .collect()
}

/// All violations, one per line.
#[must_use]
pub fn describe(violations: &[Violation]) -> String {
    let mut text = format!("the oracle found {} violations:", violations.len());
    for violation in violations {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {violation}");
    }
    text
}

/// Asks until nothing is violated or the bound has passed. What cannot be checked is violated.
fn settle(
    name: &'static str,
    bound: Duration,
    mut check: impl FnMut() -> Result<Vec<Violation>, LabError>,
) -> Vec<Violation> {
    let start = Instant::now();
    loop {
        let found = check().unwrap_or_else(|e| {
            vec![Violation::new(
                name,
                "the lab",
                format!("could not be checked: {e}"),
            )]
        });
        if found.is_empty() || start.elapsed() >= bound {
            return found;
        }
        thread::sleep(Duration::from_millis(100));
    }
}
