//! The owners beside the speaker: where each is started, and what is said of those that are not.
//!
//! An owner is started once, with what it depends on, and gives a handle. It reports to
//! [`Progress`] when it is in sync and raises its own problems. Routes of its own for the API go
//! into [`Owners::routes`].

use axum::Router;

use crate::{
    config::Config,
    event::Progress,
    problem::{Problem, Problems, Severity},
};

/// What every owner is given.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "no owner beside the speaker is started yet")]
pub(super) struct Dependencies {
    pub(super) progress: Progress,
    pub(super) problems: Problems,
}

/// The owners that run.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// What they add to the API, state included.
    pub(super) routes: Router,
}

/// Starts the owners the configuration asks for.
pub(super) fn start(config: &Config, dependencies: &Dependencies) -> Owners {
    dependencies.problems.replace("absent.", absent(config));
    Owners::default()
}

/// What the configuration asks for and this version cannot do.
pub(super) fn absent(config: &Config) -> Vec<Problem> {
    let exchanges = !config.peers.is_empty() || !config.ranges.is_empty();
    let asked = [
        (
            "absent.fib",
            config.fib.install.value && exchanges,
            "learned routes are not installed into the kernel",
            "set [fib] install = false for a plain speaker",
        ),
        (
            "absent.attach",
            !config.blocks.is_empty(),
            "containers cannot be attached, and blocks are not announced",
            "announce the block by [bgp] originate meanwhile",
        ),
        (
            "absent.dns",
            !config.dns.listen.value.is_empty(),
            "the name server is not running",
            "remove [dns] listen",
        ),
        (
            "absent.discovery",
            config.discovery.number.value.is_some(),
            "services are neither published nor found",
            "remove [discovery] number",
        ),
    ];
    let asked = asked.into_iter().filter(|(_, wanted, _, _)| *wanted);
    let problem = |(key, _, what, fix): (&str, bool, &str, &str)| Problem {
        key: key.to_owned(),
        severity: Severity::Warning,
        what: what.to_owned(),
        why: "this version of wayleaved does not contain that part".to_owned(),
        fix: fix.to_owned(),
    };
    asked.map(problem).collect()
}
