//! Why a benchmark could not run, for the person who started it.

use std::{io, path::PathBuf, process::ExitStatus};

use crate::check::Fault;

/// What stopped a run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{command}` failed: {said}")]
    Command { command: String, said: String },
    #[error(
        "cannot make network namespaces ({source}): run as root, or where CAP_SYS_ADMIN is given"
    )]
    Namespaces { source: io::Error },
    #[error("no session with the daemon within {seconds} s ({last}); its log ends with:\n{log}")]
    NoSession {
        seconds: u64,
        last: String,
        log: String,
    },
    #[error("{step}: {fault}")]
    Fault { step: &'static str, fault: Fault },
    #[error("{step}: the daemon ended ({status}); its log ends with:\n{log}")]
    Died {
        step: &'static str,
        status: ExitStatus,
        log: String,
    },
    #[error("{} is not a feed this can read: {why}", path.display())]
    Feed { path: PathBuf, why: String },
    #[error("nothing was measured:{}", list(.0))]
    Problems(Vec<String>),
    #[error("{0}")]
    Usage(String),
}

fn list(problems: &[String]) -> String {
    problems.iter().map(|one| format!("\n- {one}")).collect()
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io {
            what: what.into(),
            source,
        }
    }

    pub(crate) fn fault(step: &'static str) -> impl FnOnce(Fault) -> Self {
        move |fault| Self::Fault { step, fault }
    }
}

impl From<nix::Error> for Error {
    fn from(errno: nix::Error) -> Self {
        Self::Io {
            what: "use a socket".to_owned(),
            source: errno.into(),
        }
    }
}
