//! I5: nothing crashes.

use crate::error::LabError;
use crate::lab::Lab;
use crate::oracle::Violation;
use crate::process::{Process, Role};

/// How a program that has lost its mind says so.
const LAST_WORDS: &[&str] = &[
    "panicked at",
    "internal error: entered unreachable code",
    "fatal runtime error",
    "memory allocation of",
    "stack overflow",
    "AddressSanitizer",
    "core dumped",
    // The agent's own, when a thread of it has panicked.
    "panic, a bug in",
];
/// The same in the stock routers, whose crash would make a test worthless.
const ROUTER_LAST_WORDS: &[&str] = &[
    "Received signal 11",
    "Received signal 6",
    "Assertion",
    "BUG:",
];

/// I5: no process ended that the test did not end, no stop was ungraceful, no log has the words
/// of a crash in it.
pub fn nothing_crashed(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let mut found = Vec::new();
    for process in lab.processes() {
        let trouble = process.trouble();
        found.extend(
            trouble
                .into_iter()
                .map(|what| Violation::new("I5", process.name(), what)),
        );
        if let Some(line) = last_words(&process) {
            found.push(Violation::new(
                "I5",
                process.name(),
                format!("said {line:?}"),
            ));
        }
    }
    Ok(found)
}

fn last_words(process: &Process) -> Option<String> {
    let words = match process.role() {
        Role::Agent | Role::Other => LAST_WORDS,
        Role::Router => ROUTER_LAST_WORDS,
    };
    let log = process.log();
    let line = log
        .lines()
        .find(|line| words.iter().any(|word| line.contains(word)));
    line.map(str::to_owned)
}
