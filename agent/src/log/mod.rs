//! The log: lines to standard error, written by a thread of its own.
//!
//! No owner ever waits for whoever reads the log: a line goes into a bounded queue, and when that
//! is full it is dropped and counted. The writer says so once there is room again.

mod format;
mod writer;

use std::time::Duration;

use tracing_subscriber::{Registry, filter::Targets, layer::SubscriberExt as _, reload};

use crate::config::LogFormat;

/// How long the last lines may take at the end of the process.
const FLUSH: Duration = Duration::from_millis(500);

/// The log of this process.
pub struct Log {
    levels: reload::Handle<Targets, Registry>,
    queue: writer::Queue,
}

impl Log {
    /// Starts the writer and takes over all events of the process.
    ///
    /// # Errors
    /// When the levels cannot be parsed, the thread cannot be started or a log is running already.
    pub fn start(levels: &str, format: LogFormat) -> Result<Self, LogError> {
        let targets = parse_levels(levels)?;
        let queue = writer::start(std::io::stderr())
            .map_err(|error| LogError::Start(crate::text::io_reason(&error)))?;
        let (filter, levels) = reload::Layer::new(targets);
        // Set by systemd where standard error is the journal (systemd.exec(5)).
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        let layer = format::Lines::new(format, journal, queue.clone());
        tracing::subscriber::set_global_default(Registry::default().with(filter).with(layer))
            .map_err(|_| LogError::Start("a log is running already".to_owned()))?;
        Ok(Self { levels, queue })
    }

    /// Changes what is logged from now on.
    ///
    /// # Errors
    /// When the levels cannot be parsed; then nothing changes.
    pub fn set_levels(&self, levels: &str) -> Result<(), LogError> {
        let targets = parse_levels(levels)?;
        self.levels
            .reload(targets)
            .map_err(|error| LogError::Start(error.to_string()))
    }

    /// A way to write the last lines out from anywhere, such as a panic hook.
    pub fn flusher(&self) -> impl Fn() + Send + Sync + 'static {
        let queue = self.queue.clone();
        move || queue.flush(FLUSH)
    }
}

/// Why there is no log as asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The levels mean nothing.
    #[error(
        "{0:?} is no level: expected error, warn, info, debug, trace or off, \
         or levels by target such as \"info,wayleave_bgp=debug\""
    )]
    Levels(String),
    /// The log cannot run.
    #[error("cannot start the log: {0}")]
    Start(String),
}

/// Reads `info` or `info,wayleave_bgp=debug`.
///
/// # Errors
/// When a part is neither a level nor a target with one.
pub fn parse_levels(text: &str) -> Result<Targets, LogError> {
    let wrong = || LogError::Levels(text.to_owned());
    for part in text.split(',') {
        let level = part
            .rsplit_once('=')
            .map_or(part, |(_, level)| level)
            .trim();
        // A bare word that is no level would be taken for a target and switch all of it on.
        if level.is_empty()
            || level
                .parse::<tracing_subscriber::filter::LevelFilter>()
                .is_err()
            || level.bytes().any(|byte| byte.is_ascii_digit())
        {
            return Err(wrong());
        }
    }
    text.replace(' ', "").parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_alone_or_by_target() {
        for good in [
            "info",
            "off",
            "WARN",
            "info,wayleave_bgp=debug",
            "warn, wayleave_agent=trace",
        ] {
            assert!(parse_levels(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "verbose",
            "info,wayleave_bgp",
            "wayleave_bgp=loud",
            "3",
            "info,,debug",
        ] {
            assert!(parse_levels(bad).is_err(), "{bad}");
        }
    }
}
