//! `wayleaved`: start, run, reload, stop.
//!
//! Start: configuration, directories and their locks, the speaker, the owners, the API, READY.
//! Every refusal is one sentence and a non-zero exit, before anything was touched that a second
//! attempt could trip over. Stop: see [`run`].

mod directories;
mod links;
mod owners;
mod reload;
mod resumption;
mod run;
mod service;
mod sessions;
mod signals;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use nix::sys::stat::{Mode, umask};

pub use self::owners::OwnerError;

use crate::{
    api::BindError,
    config::{self, Config, ConfigErrors, DEFAULT_PATH, HostFacts},
    log::{Log, LogError},
    text,
};

/// The agent: BGP speaker, routes, containers, names.
#[derive(Debug, Parser)]
#[command(name = "wayleaved", version, disable_help_subcommand = true)]
struct Args {
    /// Configuration: a file with the conf.d beside it, or a directory. Without this option a
    /// missing file is no error: the agent starts with no peers and says what to set.
    #[arg(long, value_name = "FILE|DIR")]
    config: Option<PathBuf>,
    /// Only check the configuration: say what is wrong and exit.
    #[arg(long)]
    check: bool,
}

/// Why the agent did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The log.
    #[error("{0}")]
    Log(#[from] LogError),
    /// A directory it needs.
    #[error("cannot use {} as {what}: {}; set [paths] {key}, or run as a user who may write there", path.display(), text::io_reason(reason))]
    Directory {
        /// What it is for.
        what: &'static str,
        /// The key that names it.
        key: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A directory another agent uses.
    #[error("another wayleaved (process {holder}) uses {}; stop it, or give this one another [paths] {key}", path.display())]
    InUse {
        /// The key that names it.
        key: &'static str,
        /// The directory.
        path: PathBuf,
        /// Who it is, as far as known.
        holder: String,
    },
    /// The socket of the API.
    #[error("{0}")]
    Api(#[from] BindError),
    /// The speaker.
    #[error("{0}")]
    Speaker(#[from] wayleave_bgp::StartError),
    /// Something beside the speaker.
    #[error("{0}")]
    Owner(#[from] OwnerError),
    /// The system.
    #[error("cannot start: {}", text::io_reason(.0))]
    System(#[from] io::Error),
}

/// Runs the daemon to its end.
pub fn main() -> ExitCode {
    // Before anything is created: what we write is for root and our group.
    umask(Mode::from_bits_truncate(0o027));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), StartError> {
    let source = Source::named(args.config.as_deref())?;
    let config = source.load()?;
    if args.check {
        for problem in config::advice(&config) {
            let _ = writeln!(
                io::stderr(),
                "warning: {}: {}; {}",
                problem.what,
                problem.why,
                problem.fix
            );
        }
        return Ok(());
    }
    let log = Log::start(&config.log.level.value, config.log.format.value)?;
    abort_on_panic(&log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()?;
    let outcome = runtime.block_on(run::run(config, source, &log));
    // Blocking work that is stuck must not hold up the end of the process.
    runtime.shutdown_background();
    log.flusher()();
    outcome
}

/// Where the configuration comes from, now and at every reload.
#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    optional: bool,
}

impl Source {
    /// An absolute path, so that a reload and every message mean the same file.
    fn named(path: Option<&Path>) -> io::Result<Self> {
        let (path, optional) = (path.unwrap_or(Path::new(DEFAULT_PATH)), path.is_none());
        Ok(Self {
            path: std::path::absolute(path)?,
            optional,
        })
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        config::load(&self.path, self.optional, &HostFacts::observe())
    }
}

/// A panic anywhere ends the process, so that there is never half an agent: the service manager
/// starts a whole one.
fn abort_on_panic(log: &Log) {
    let flush = log.flusher();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let what = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let thread = std::thread::current()
            .name()
            .unwrap_or("unnamed")
            .to_owned();
        let trace = std::backtrace::Backtrace::capture();
        tracing::error!(thread, place, "panic, a bug in wayleaved: {what}");
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            for line in trace.to_string().lines() {
                tracing::error!("{line}");
            }
        }
        flush();
        std::process::abort();
    }));
}

/// Standard error, whether or not there is a log already.
fn report(error: &StartError) {
    let text = error.to_string();
    let text = text.trim_end();
    let _ = match error {
        StartError::Config(_) => writeln!(io::stderr(), "{text}"),
        StartError::Log(_)
        | StartError::Directory { .. }
        | StartError::InUse { .. }
        | StartError::Api(_)
        | StartError::Speaker(_)
        | StartError::Owner(_)
        | StartError::System(_) => writeln!(io::stderr(), "wayleaved: {text}"),
    };
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command, thread, time::Duration};

    use super::*;
    use crate::config::LogFormat;

    /// Set in the process that is to panic.
    const CHILD: &str = "WAYLEAVE_TEST_PANICS";

    #[test]
    fn a_panic_in_any_thread_ends_the_process_and_stands_in_the_log() {
        if std::env::var_os(CHILD).is_some() {
            let log = Log::start("info", LogFormat::Text).unwrap();
            abort_on_panic(&log);
            let _ = thread::Builder::new()
                .name("victim".to_owned())
                .spawn(|| panic!("bytes of a peer: \u{1b}[2J\nforged"));
            thread::sleep(Duration::from_secs(20));
            std::process::exit(0);
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("daemon::tests::a_panic_in_any_thread_ends_the_process_and_stands_in_the_log")
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
        let line = said.lines().find(|line| line.contains("panic, a bug"));
        assert!(
            line.is_some_and(|line| line.contains("bytes of a peer: \\u{1b}[2J\\nforged")
                && line.contains("thread=victim")),
            "{said}"
        );
    }
}
