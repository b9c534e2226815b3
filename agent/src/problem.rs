//! Problems: what is wrong, lasts, and matters to an operator.
//!
//! Owners raise and clear problems under keys of their own; `status`, the API, the log and
//! systemd's status line read this one table and nothing else. A problem that is raised again
//! keeps its time; its words may change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Warning,
    /// Something that was asked for does not work: the agent is degraded.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What tells it from all others: `owner.kind.subject`, stable, for machines.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, to what.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub fix: String,
}

/// A problem as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The problem.
    pub problem: Problem,
    /// When it was first raised.
    pub since: Instant,
}

/// The table. Clones share it.
#[derive(Clone, Debug)]
pub struct Problems {
    table: Arc<Mutex<BTreeMap<String, Standing>>>,
    changed: watch::Sender<u64>,
}

impl Default for Problems {
    fn default() -> Self {
        Self {
            table: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Problems {
    /// Raises a problem, or renews the words of one that stands.
    pub fn raise(&self, problem: Problem) {
        let mut table = self.lock();
        if let Some(standing) = table.get_mut(&problem.key) {
            if standing.problem == problem {
                return;
            }
            standing.problem = problem;
        } else {
            log_raised(&problem);
            let since = Instant::now();
            table.insert(problem.key.clone(), Standing { problem, since });
        }
        drop(table);
        self.bump();
    }

    /// Clears a problem, if it stands.
    pub fn clear(&self, key: &str) {
        let removed = self.lock().remove(key);
        if let Some(standing) = removed {
            tracing::info!(key, "no longer a problem: {}", standing.problem.what);
            self.bump();
        }
    }

    /// Makes the problems whose keys start with `prefix` exactly these: what is missing is
    /// cleared. For owners that compute all of theirs at once.
    pub fn replace(&self, prefix: &str, problems: Vec<Problem>) {
        let wanted: BTreeMap<_, _> = problems
            .into_iter()
            .map(|problem| (problem.key.clone(), problem))
            .collect();
        let gone: Vec<_> = self
            .lock()
            .keys()
            .filter(|key| key.starts_with(prefix) && !wanted.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            self.clear(&key);
        }
        for problem in wanted.into_values() {
            self.raise(problem);
        }
    }

    /// All that stand, errors first, then by key.
    pub fn standing(&self) -> Vec<Standing> {
        let mut list: Vec<_> = self.lock().values().cloned().collect();
        list.sort_by_key(|standing| std::cmp::Reverse(standing.problem.severity));
        list
    }

    /// Wakes a reader at every change; the number means nothing.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn bump(&self) {
        self.changed
            .send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        // The table is consistent between any two statements: a panic elsewhere does not spoil it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_raised(problem: &Problem) {
    let Problem {
        key,
        severity,
        what,
        why,
        fix,
    } = problem;
    match severity {
        Severity::Error => tracing::error!(key, fix, "{what}: {why}"),
        Severity::Warning => tracing::warn!(key, fix, "{what}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str, severity: Severity, what: &str) -> Problem {
        Problem {
            key: key.to_owned(),
            severity,
            what: what.to_owned(),
            why: String::new(),
            fix: String::new(),
        }
    }

    fn keys(problems: &Problems) -> Vec<String> {
        problems
            .standing()
            .into_iter()
            .map(|standing| standing.problem.key)
            .collect()
    }

    #[test]
    fn a_problem_raised_again_keeps_its_time_and_takes_the_new_words() {
        let problems = Problems::default();
        problems.raise(problem("a", Severity::Error, "first"));
        let first = problems.standing();
        problems.raise(problem("a", Severity::Error, "second"));
        let second = problems.standing();
        assert_eq!(first[0].since, second[0].since);
        assert_eq!(second[0].problem.what, "second");
    }

    #[test]
    fn errors_come_first_and_a_cleared_problem_is_gone() {
        let problems = Problems::default();
        problems.raise(problem("a", Severity::Warning, ""));
        problems.raise(problem("z", Severity::Error, ""));
        assert_eq!(keys(&problems), ["z", "a"]);
        problems.clear("z");
        problems.clear("never raised");
        assert_eq!(keys(&problems), ["a"]);
    }

    #[test]
    fn replacing_under_a_prefix_clears_what_is_missing_and_touches_nothing_else() {
        let problems = Problems::default();
        problems.raise(problem("peer.a", Severity::Warning, ""));
        problems.raise(problem("peer.b", Severity::Warning, ""));
        problems.raise(problem("fib.x", Severity::Warning, ""));
        problems.replace("peer.", vec![problem("peer.b", Severity::Warning, "")]);
        assert_eq!(keys(&problems), ["fib.x", "peer.b"]);
    }

    #[test]
    fn only_a_change_wakes_a_reader() {
        let problems = Problems::default();
        let mut changes = problems.changes();
        problems.raise(problem("a", Severity::Warning, "x"));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        problems.raise(problem("a", Severity::Warning, "x"));
        assert!(!changes.has_changed().unwrap());
    }
}
