//! Stock OpenBGPD (the portable one) on a host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::error::LabError;
use crate::host::{Host, parse_json};
use crate::lab::Lab;
use crate::need;
use crate::process::{Process, Role};
use crate::until::until;
use crate::world;

const START_LIMIT: Duration = Duration::from_secs(15);
/// The home of its user, which its children make their root.
const HOME: &str = "/run/openbgpd";

/// A running bgpd: a parent and three children. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Openbgpd {
    host: Host,
    lab: Lab,
    socket: String,
    process: Arc<Process>,
}

impl Openbgpd {
    /// Why it cannot run here, or nothing. A test that needs it skips itself by this.
    #[must_use]
    pub fn missing() -> Option<String> {
        // FRR's daemon has the same name, but lies elsewhere; their command lines differ.
        need::lacks(&["bgpd", "bgpctl"], "openbgpd")
    }

    /// Starts bgpd on a host, with a configuration that need not name the control socket.
    pub fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        let program = need::daemon(lab, "bgpd", "openbgpd")?;
        let name = host.name();
        let (socket, file) = (
            format!("{}/{name}.bgpd.sock", world::ROOT),
            format!("{}/{name}.bgpd.conf", world::ROOT),
        );
        // Before it reads a file it makes sure that nobody else can.
        world::write_file(&file, &format!("socket \"{socket}\"\n{config}\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
            .map_err(|e| LabError::system(format!("hide {file} from others"), e))?;
        world::make_directory(HOME)?;
        let arguments = ["-d", "-v", "-f", &file];
        let process = Process::new(host, "bgpd", Role::Router, program, arguments);
        lab.register(&process);
        let openbgpd = Self {
            host: host.clone(),
            lab: lab.clone(),
            socket,
            process,
        };
        let viewer = openbgpd.clone();
        lab.view(format!("OpenBGPD on {name}"), move || viewer.summary());
        openbgpd.start_again()?;
        Ok(openbgpd)
    }

    /// Runs its command line, words separated by spaces, and returns what it printed.
    pub fn cli(&self, command: &str) -> Result<String, LabError> {
        self.run(command.split_whitespace())
    }

    /// The same with words that contain spaces.
    pub fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String, LabError> {
        let words: Vec<&str> = words.into_iter().collect();
        let fixed = ["bgpctl", "-s", &self.socket];
        self.host.run(fixed.iter().chain(&words))
    }

    /// Runs a command that answers in JSON (`show neighbor`).
    pub fn cli_json(&self, command: &str) -> Result<Value, LabError> {
        parse_json(
            &format!("`bgpctl -j {command}` on {}", self.host.name()),
            &self.cli(&format!("-j {command}"))?,
        )
    }

    /// The selected route to a prefix as `bgpctl -j show rib detail` has it. Fails when there is
    /// none.
    pub fn best(&self, prefix: &str) -> Result<Value, LabError> {
        let answer = self.cli_json(&format!("show rib detail selected {prefix}"))?;
        let routes = answer["rib"].as_array().map(Vec::as_slice);
        let best = routes.unwrap_or_default().first();
        best.cloned().ok_or_else(|| {
            LabError::shape(
                format!("{}'s OpenBGPD", self.host.name()),
                format!("no route {prefix}: {answer}"),
            )
        })
    }

    /// Kills the parent on the spot, and waits until its children have seen that and gone: they
    /// hold the port and the socket.
    pub fn kill(&self) -> Result<(), LabError> {
        self.process.kill()?;
        until(START_LIMIT, "the children of bgpd to end", || {
            match self.cli("show summary") {
                Ok(text) => Err(text),
                Err(_) => Ok(()),
            }
        })
    }

    /// Starts it again after its end, and waits until it answers.
    pub fn start_again(&self) -> Result<(), LabError> {
        self.process.start_until(&self.lab, START_LIMIT, || {
            self.cli("show summary").map(drop)
        })
    }

    /// The process: to stop or freeze it, and for its log.
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
        ["show summary", "show rib detail"]
            .iter()
            .map(|command| match self.cli(command) {
                Ok(text) => format!("> bgpctl {command}\n{text}"),
                Err(e) => format!("> bgpctl {command}\n{e}\n"),
            })
            .collect()
    }
}
