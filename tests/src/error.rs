//! What can go wrong in a lab ([`LabError`]) and why a test failed ([`Why`]).

use std::fmt::{self, Display};
use std::io;
use std::panic::Location;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cni::CniFailure;

/// An operation of the lab that failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A command ran on a host and ended badly.
    #[error("on {host}: `{command}` ended with {status}: {output}")]
    Command {
        /// The host (or container) whose namespace it ran in.
        host: String,
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed, standard error first.
        output: String,
    },
    /// The system refused something.
    #[error("cannot {what}: {source}")]
    System {
        /// What was attempted, with its object.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program answered something else than the JSON it was asked for.
    #[error("{what} did not answer with JSON ({source}): {text}")]
    NotJson {
        /// The command or request.
        what: String,
        /// Where the text stops being JSON.
        source: serde_json::Error,
        /// The beginning of the text.
        text: String,
    },
    /// A program answered in a shape this lab does not know.
    #[error("{what} answered in an unknown shape: {why}")]
    Shape {
        /// The command or request.
        what: String,
        /// What was expected and what stood there.
        why: String,
    },
    /// A name the kernel or a router would refuse.
    #[error("{name:?} cannot be a name here: {why}")]
    Name {
        /// The name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A condition did not become true in time.
    #[error("waited {} ms for {what}; the last answer was: {last}", waited.as_millis())]
    Expired {
        /// How long was waited.
        waited: Duration,
        /// What was waited for.
        what: String,
        /// The last reason against it.
        last: String,
    },
    /// A process is not in the state that the call needs.
    #[error("process {process}: {why}")]
    Process {
        /// The process's name in the lab.
        process: String,
        /// What is the matter.
        why: String,
    },
    /// A program that the lab runs is not installed or not built.
    #[error("{program} is missing: {fix}")]
    Missing {
        /// The program.
        program: String,
        /// How to get it.
        fix: String,
    },
    /// The CNI plugin answered with an error object, or broke the protocol.
    #[error(transparent)]
    Cni(#[from] CniFailure),
    /// An HTTP answer was not a success.
    #[error("GET {path} answered {status}: {body}")]
    Http {
        /// The path asked for.
        path: String,
        /// The status code.
        status: u16,
        /// The body.
        body: String,
    },
    /// Every program of the lab's PATH failed to be found at this place.
    #[error("{} does not exist", .0.display())]
    NoSuchFile(PathBuf),
}

impl LabError {
    /// A refusal of the system while doing `what`.
    pub(crate) fn system(what: impl Into<String>, source: io::Error) -> Self {
        Self::System {
            what: what.into(),
            source,
        }
    }

    /// An answer of unknown shape.
    pub(crate) fn shape(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Shape {
            what: what.into(),
            why: why.into(),
        }
    }
}

/// Why a test failed, or why a condition that is waited for does not hold yet.
///
/// Made from anything that can be displayed, by `?` or by `into()`; remembers where.
pub struct Why {
    message: String,
    at: &'static Location<'static>,
}

impl Why {
    /// The reason in words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

// `Why` itself must not implement `Display`: that is what keeps this apart from `From<T> for T`.
impl<E: Display> From<E> for Why {
    #[track_caller]
    fn from(reason: E) -> Self {
        Self {
            message: reason.to_string(),
            at: Location::caller(),
        }
    }
}

impl fmt::Debug for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n  at {}:{}",
            self.message,
            self.at.file(),
            self.at.line()
        )
    }
}

/// Fails the test (or the attempt, within [`Lab::until`](crate::Lab::until)) unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Why::from(format!($($message)+)));
        }
    };
}

/// Locks what a panicking thread may have left locked: a lab is described even then.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first `limit` characters of a text, for messages.
pub(crate) fn head(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_remembers_the_line_of_the_question_mark() {
        fn body() -> Result<(), Why> {
            Err("no such luck")?;
            Ok(())
        }
        let why = body().expect_err("the body fails");
        assert_eq!(why.message(), "no such luck");
        assert!(format!("{why:?}").contains("error.rs:"), "{why:?}");
    }

    #[test]
    fn ensure_returns_its_message_only_when_the_condition_fails() {
        fn body(n: u32) -> Result<u32, Why> {
            ensure!(n < 3, "{n} is too much");
            Ok(n)
        }
        assert_eq!(body(2).ok(), Some(2));
        assert_eq!(body(3).expect_err("fails").message(), "3 is too much");
    }

    #[test]
    fn a_head_cuts_between_characters() {
        assert_eq!(head("grün", 3), "grü...");
        assert_eq!(head("grün", 4), "grün");
    }
}
