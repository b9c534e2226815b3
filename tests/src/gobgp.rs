//! Stock GoBGP on a host.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::error::LabError;
use crate::host::{Host, parse_json};
use crate::lab::Lab;
use crate::need;
use crate::process::{Process, Role};
use crate::world;

const START_LIMIT: Duration = Duration::from_secs(15);
/// Where it listens for its command line, in the host's own namespace.
const API: &str = "127.0.0.1:50051";

/// A running gobgpd. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gobgp {
    host: Host,
    lab: Lab,
    process: Arc<Process>,
}

impl Gobgp {
    /// Why it cannot run here, or nothing. A test that needs it skips itself by this.
    #[must_use]
    pub fn missing() -> Option<String> {
        need::lacks(&["gobgpd", "gobgp"], "gobgpd")
    }

    /// Starts gobgpd on a host, with a configuration in TOML. It begins with no routes of its own:
    /// those are added by its command line only.
    pub fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        let program = need::daemon(lab, "gobgpd", "gobgpd")?;
        let name = host.name();
        let file = format!("{}/{name}.gobgpd.toml", world::ROOT);
        world::write_file(&file, config)?;
        let arguments = [
            "-f",
            &file,
            "--log-plain",
            "--log-level",
            "debug",
            "--pprof-disable",
            "--api-hosts",
            API,
        ];
        let process = Process::new(host, "gobgpd", Role::Router, program, arguments);
        lab.register(&process);
        let gobgp = Self {
            host: host.clone(),
            lab: lab.clone(),
            process,
        };
        let viewer = gobgp.clone();
        lab.view(format!("GoBGP on {name}"), move || viewer.summary());
        gobgp.start_again()?;
        Ok(gobgp)
    }

    /// Runs its command line, words separated by spaces, and returns what it printed.
    pub fn cli(&self, command: &str) -> Result<String, LabError> {
        self.run(command.split_whitespace())
    }

    /// The same with words that contain spaces.
    pub fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String, LabError> {
        self.host.run(["gobgp"].into_iter().chain(words))
    }

    /// Runs a command that answers in JSON (`neighbor`).
    pub fn cli_json(&self, command: &str) -> Result<Value, LabError> {
        parse_json(
            &format!("`gobgp {command} -j` on {}", self.host.name()),
            &self.cli(&format!("{command} -j"))?,
        )
    }

    /// The best path to a prefix as `gobgp global rib -j` has it. Fails when there is none.
    pub fn best(&self, prefix: &str) -> Result<Value, LabError> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let table = self.cli_json(&format!("global rib -a {family}"))?;
        let paths = table[prefix].as_array().map(Vec::as_slice);
        let best = paths
            .unwrap_or_default()
            .iter()
            .find(|path| path["best"] == true);
        best.cloned().ok_or_else(|| {
            LabError::shape(
                format!("{}'s GoBGP", self.host.name()),
                format!("no route {prefix}: {table}"),
            )
        })
    }

    /// Starts it again after its end, and waits until it answers.
    pub fn start_again(&self) -> Result<(), LabError> {
        self.process
            .start_until(&self.lab, START_LIMIT, || self.cli("global").map(drop))
    }

    /// The process: to kill, stop or freeze it, and for its log.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    fn summary(&self) -> String {
        ["neighbor", "global rib -a ipv4", "global rib -a ipv6"]
            .iter()
            .map(|command| match self.cli(command) {
                Ok(text) => format!("> gobgp {command}\n{text}"),
                Err(e) => format!("> gobgp {command}\n{e}\n"),
            })
            .collect()
    }
}
