//! I6: faults cost neither memory nor descriptors.

use std::collections::BTreeMap;
use std::fs;

use crate::error::LabError;
use crate::lab::Lab;
use crate::oracle::Violation;
use crate::process::{Process, Role};

/// Below this, 10 % is what an allocator keeps for itself.
const MEMORY_SLACK_KIB: u64 = 2048;
/// The connection of a client that is just leaving.
const DESCRIPTOR_SLACK: u64 = 2;
/// The same when the lab itself chose the moment: sessions may have come up and containers have
/// been attached since, and an allocator keeps what they needed.
const LOOSE: [u64; 2] = [12 * 1024, 12];

/// What every agent used at one moment.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    uses: BTreeMap<String, Use>,
    /// Taken by the lab itself, not by a test that knew the lab to be at rest.
    by_itself: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    rss_kib: u64,
    descriptors: u64,
}

impl Baseline {
    /// Measures all agents, and all other processes that are not routers.
    pub(crate) fn take(lab: &Lab) -> Result<Self, LabError> {
        let mut uses = BTreeMap::new();
        for process in lab
            .processes()
            .iter()
            .filter(|p| p.role() != Role::Router && p.alive())
        {
            uses.insert(process.name().to_owned(), Use::measure(process)?);
        }
        let by_itself = false;
        Ok(Self { uses, by_itself })
    }

    /// Measures all agents that can be measured at this moment, if there are any.
    pub(crate) fn take_by_itself(lab: &Lab) -> Option<Self> {
        let processes = lab.processes();
        let agents = processes.iter().filter(|p| p.role() == Role::Agent);
        let uses = agents.filter_map(|p| Some((p.name().to_owned(), Use::measure(p).ok()?)));
        let uses: BTreeMap<_, _> = uses.collect();
        let by_itself = true;
        (!uses.is_empty()).then_some(Self { uses, by_itself })
    }
}

impl Use {
    fn measure(process: &Process) -> Result<Self, LabError> {
        let pid = process.pid()?;
        let refused = |e| LabError::system(format!("measure {}", process.name()), e);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(refused)?;
        let rss_kib = status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .ok_or_else(|| LabError::shape(format!("/proc/{pid}/status"), "no VmRSS"))?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
            .map_err(refused)?
            .count() as u64;
        Ok(Self {
            rss_kib,
            descriptors,
        })
    }

    /// What this uses beyond 10 % more than before, or beyond the slack.
    fn excess(self, before: Self, [memory, descriptors]: [u64; 2]) -> Option<String> {
        let over = |now: u64, then: u64, slack: u64| now > then + (then / 10).max(slack);
        if over(self.rss_kib, before.rss_kib, memory) {
            return Some(format!(
                "uses {} KiB, before {} KiB",
                self.rss_kib, before.rss_kib
            ));
        }
        if over(self.descriptors, before.descriptors, descriptors) {
            let (now, then) = (self.descriptors, before.descriptors);
            return Some(format!("has {now} descriptors open, before {then}"));
        }
        None
    }
}

/// I6: every process measured by [`Lab::baseline`] is back within 10 % (or 2 MiB and 2
/// descriptors, whichever is more). A test that takes none has one taken before its first fault,
/// with more slack; without a fault there is nothing to compare.
pub fn resources_returned(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let Some(baseline) = lab.known_baseline() else {
        return Ok(Vec::new());
    };
    let slack = match baseline.by_itself {
        true => LOOSE,
        false => [MEMORY_SLACK_KIB, DESCRIPTOR_SLACK],
    };
    let mut found = Vec::new();
    for process in lab.processes() {
        let Some(before) = baseline
            .uses
            .get(process.name())
            .filter(|_| process.alive())
        else {
            continue;
        };
        if let Some(what) = Use::measure(&process)?.excess(*before, slack) {
            found.push(Violation::new("I6", process.name(), what));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_counts_beyond_a_tenth_and_the_slack() {
        let used = |rss_kib, descriptors| Use {
            rss_kib,
            descriptors,
        };
        let before = used(100_000, 100);
        for (now, fine) in [
            (used(110_000, 110), true),
            (used(110_001, 100), false),
            (used(100_000, 111), false),
            (used(10, 1), true),
        ] {
            assert_eq!(now.excess(before, [2048, 2]).is_none(), fine, "{now:?}");
        }
        assert!(used(112_289, 112).excess(before, LOOSE).is_some());
        assert!(used(112_288, 112).excess(before, LOOSE).is_none());
        assert!(used(100_000, 113).excess(before, LOOSE).is_some());
        let small = used(4000, 10);
        assert!(used(6048, 12).excess(small, [2048, 2]).is_none());
        assert!(used(6049, 12).excess(small, [2048, 2]).is_some());
        assert!(used(4000, 13).excess(small, [2048, 2]).is_some());
    }
}
