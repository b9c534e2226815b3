//! A running agent: `wayleaved` on a host, with paths of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::error::LabError;
use crate::host::{Host, parse_json};
use crate::http;
use crate::lab::Lab;
use crate::need::Built;
use crate::process::{Process, Role};
use crate::world;

const START_LIMIT: Duration = Duration::from_secs(15);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// `wayleave` has answered, and the answer is that something is wrong.
const DEGRADED: i32 = 2;

/// An agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Agent {
    host: Host,
    lab: Lab,
    cli: PathBuf,
    config: PathBuf,
    state: PathBuf,
    run: PathBuf,
    process: Arc<Process>,
}

impl Agent {
    pub(crate) fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        let agent = Self::prepare(lab, host, config)?;
        agent.start_again()?;
        Ok(agent)
    }

    /// Where `wayleaved` lies, for tests that start it by themselves because it must refuse to.
    pub fn program() -> Result<PathBuf, LabError> {
        Built::Wayleaved.path()
    }

    fn prepare(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        let root = Path::new(world::ROOT).join(host.name());
        let (state, run, file) = (
            root.join("state"),
            root.join("run"),
            root.join("wayleave.toml"),
        );
        world::make_directory(&state)?;
        world::make_directory(&run)?;
        let program = Self::program()?;
        let arguments = ["--config".as_ref(), file.as_os_str()];
        let process = Process::new(host, "wayleaved", Role::Agent, program, arguments);
        let agent = Self {
            host: host.clone(),
            lab: lab.clone(),
            cli: Built::Wayleave.path()?,
            config: file,
            state,
            run,
            process,
        };
        agent.write_config(config)?;
        lab.register(&agent.process);
        let viewer = agent.clone();
        lab.view(format!("wayleaved on {}", host.name()), move || {
            viewer.summary()
        });
        Ok(agent)
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Where its state lies.
    #[must_use]
    pub fn state_directory(&self) -> &Path {
        &self.state
    }

    /// Where its sockets lie.
    #[must_use]
    pub fn run_directory(&self) -> &Path {
        &self.run
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// Whether it is told to install routes into the kernel.
    #[must_use]
    pub fn installs_routes(&self) -> bool {
        !self
            .config()
            .lines()
            .any(|line| line.trim() == "install = false")
    }

    /// The discovery number of its fabric, when it has one.
    pub(crate) fn discovery_number(&self) -> Option<u32> {
        let config = self.config();
        let number = config
            .lines()
            .find_map(|line| line.strip_prefix("number = "));
        number.and_then(|number| number.trim().parse().ok())
    }

    /// Whether it has address space to give out.
    #[must_use]
    pub fn has_pools(&self) -> bool {
        self.config().lines().any(|line| line.trim() == "[[pool]]")
    }

    /// Whether it raises the problem with this key now (`peer.tor`).
    pub fn has_problem(&self, key: &str) -> Result<bool, LabError> {
        let status = self.cli(["status"])?;
        let problems = status["problems"].as_array().ok_or_else(|| {
            LabError::shape(
                "`wayleave status`",
                format!("no list of problems: {status}"),
            )
        })?;
        Ok(problems.iter().any(|problem| problem["key"] == key))
    }

    /// Replaces the configuration file; the lab's paths are put in.
    pub fn write_config(&self, config: &str) -> Result<(), LabError> {
        let (state, run) = (self.state.display(), self.run.display());
        let paths = format!("[paths]\nstate = \"{state}\"\nrun = \"{run}\"\n");
        world::write_file(&self.config, &format!("{config}\n{paths}"))
    }

    /// Kills it on the spot.
    pub fn kill(&self) -> Result<(), LabError> {
        self.process.kill()
    }

    /// Asks it to stop and waits for a clean end.
    pub fn stop(&self) -> Result<(), LabError> {
        self.process.stop(STOP_LIMIT)
    }

    /// Freezes it.
    pub fn pause(&self) -> Result<(), LabError> {
        self.process.pause()
    }

    /// Lets it run on.
    pub fn resume(&self) -> Result<(), LabError> {
        self.process.resume()
    }

    /// Starts it after an end, and waits until it is ready.
    pub fn start_again(&self) -> Result<(), LabError> {
        self.process
            .start_until(&self.lab, START_LIMIT, || self.api("/readyz").map(drop))
    }

    /// Stops it and starts it again.
    pub fn restart(&self) -> Result<(), LabError> {
        self.stop()?;
        self.start_again()
    }

    /// Everything it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Runs `wayleave` against it, with `-o json`, and returns the answer.
    pub fn cli<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Value, LabError> {
        let words: Vec<&str> = words.into_iter().collect();
        let text = self.run_cli(words.iter().copied().chain(["-o", "json"]))?;
        parse_json(
            &format!("`wayleave {}` on {}", words.join(" "), self.host.name()),
            &text,
        )
    }

    /// Runs `wayleave` against it and returns what a person would see.
    pub fn cli_text<'a>(
        &self,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, LabError> {
        self.run_cli(words)
    }

    /// Asks its API for a path (`/v1/status`).
    pub fn api(&self, path: &str) -> Result<Value, LabError> {
        let socket = self.socket();
        let refused = |e| LabError::system(format!("connect to {}", socket.display()), e);
        let stream = UnixStream::connect(&socket).map_err(refused)?;
        stream
            .set_read_timeout(Some(REQUEST_LIMIT))
            .map_err(refused)?;
        stream
            .set_write_timeout(Some(REQUEST_LIMIT))
            .map_err(refused)?;
        http::get_json(stream, path)
    }

    fn run_cli<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String, LabError> {
        let socket = self.socket();
        let fixed = [
            self.cli.as_os_str(),
            "--socket".as_ref(),
            socket.as_os_str(),
        ];
        let words: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
        let command: Vec<&OsStr> = fixed.into_iter().chain(words).collect();
        let output = self.host.output(&command)?;
        if output.status.success() || output.status.code() == Some(DEGRADED) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.host.failure(&command, &output))
    }

    fn config(&self) -> String {
        fs::read_to_string(&self.config).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        self.run.join("wayleave.sock")
    }

    fn summary(&self) -> String {
        [
            &["status"][..],
            &["peers"],
            &["routes"],
            &["routes", "--rib", "fib"],
        ]
        .iter()
        .map(|words| {
            let text = self
                .cli_text(words.iter().copied())
                .unwrap_or_else(|e| format!("{e}\n"));
            format!("> wayleave {}\n{text}", words.join(" "))
        })
        .collect()
    }
}
