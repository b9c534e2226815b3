//! Our BFD by itself: the example program `bfd` on a host.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::need::Built;
use crate::process::{Process, Role};

/// A running `bfd`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bfd {
    process: Arc<Process>,
}

/// A change of state, as it printed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Milliseconds since its start.
    pub at: u64,
    /// The neighbour.
    pub peer: String,
    /// The state before.
    pub from: String,
    /// The state now.
    pub to: String,
    /// What it said about it.
    pub why: String,
}

impl Bfd {
    /// Starts it with these arguments.
    pub(crate) fn start(lab: &Lab, host: &Host, arguments: &[&str]) -> Result<Self, LabError> {
        let program: PathBuf = Built::Bfd.path()?;
        let process = Process::new(host, "bfd", Role::Other, program, arguments.iter().copied());
        lab.register(&process);
        process.start()?;
        Ok(Self { process })
    }

    /// All changes so far, of all neighbours.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.process.log().lines().filter_map(change).collect()
    }

    /// The state of a session.
    #[must_use]
    pub fn state(&self, peer: &str) -> String {
        let last = self
            .changes()
            .into_iter()
            .rfind(|change| change.peer == peer);
        last.map_or_else(|| "Down".to_owned(), |change| change.to)
    }

    /// The process: to stop it, which tells its neighbours, to freeze it, and for its log.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }
}

/// `312 10.0.0.2 Up -> Down (...)`
fn change(line: &str) -> Option<Change> {
    let (head, why) = line.split_once(" (")?;
    let words: Vec<&str> = head.split(' ').collect();
    let [at, peer, from, "->", to] = words[..] else {
        return None;
    };
    Some(Change {
        at: at.parse().ok()?,
        peer: peer.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        why: why.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_and_nothing_else() {
        let line =
            "312 fe80::1 Up -> Down (Control Detection Time Expired; remote Down, No Diagnostic)";
        let read = change(line).expect("a change");
        assert_eq!((read.at, read.peer.as_str()), (312, "fe80::1"));
        assert_eq!((read.from.as_str(), read.to.as_str()), ("Up", "Down"));
        assert!(read.why.starts_with("Control Detection Time Expired"));
        assert!(change("scheduling: ordinary; no SCHED_RR: (it takes CAP_SYS_NICE)").is_none());
    }
}
