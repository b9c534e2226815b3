//! Stock FRR on a host.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Group, User};
use serde_json::Value;

use crate::error::LabError;
use crate::host::{Host, parse_json};
use crate::lab::Lab;
use crate::process::{Process, Role};
use crate::world;

/// Where Debian's package keeps the daemons.
const DAEMONS: &str = "/usr/lib/frr";
const START_LIMIT: Duration = Duration::from_secs(15);

/// What FRR is to do: an integrated configuration (`frr.conf`), and which daemons carry it out.
#[derive(Debug, Clone)]
pub struct FrrConfig {
    text: String,
    daemons: Vec<&'static str>,
}

impl FrrConfig {
    /// zebra and bgpd with this configuration.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            daemons: vec!["zebra", "bgpd"],
        }
    }

    /// With bfdd.
    #[must_use]
    pub fn bfd(mut self) -> Self {
        self.daemons.push("bfdd");
        self
    }

    /// With staticd, for `ip route` lines.
    #[must_use]
    pub fn statics(mut self) -> Self {
        self.daemons.push("staticd");
        self
    }
}

/// A running FRR. Its pathspace (`-N`) is the host's name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Frr {
    host: Host,
    lab: Lab,
    processes: Vec<Arc<Process>>,
}

impl Frr {
    pub(crate) fn start(lab: &Lab, host: &Host, config: FrrConfig) -> Result<Self, LabError> {
        let name = host.name();
        for directory in ["/var/run/frr", "/var/log/frr", "/var/lib/frr"] {
            own(directory)?;
        }
        own(&format!("/var/run/frr/{name}"))?;
        own(&format!("/etc/frr/{name}"))?;
        let file = format!("/etc/frr/{name}/frr.conf");
        world::write_file(
            &file,
            &format!(
                "frr defaults datacenter\nhostname {name}\n{}\n",
                config.text
            ),
        )?;
        world::write_file(
            format!("/etc/frr/{name}/vtysh.conf"),
            "service integrated-vtysh-config\n",
        )?;

        // FRR 9 and later have a management daemon that the others need.
        let mgmtd = Path::new(DAEMONS)
            .join("mgmtd")
            .is_file()
            .then_some("mgmtd");
        let processes: Vec<_> = mgmtd
            .into_iter()
            .chain(config.daemons.iter().copied())
            .map(|daemon| {
                let program = format!("{DAEMONS}/{daemon}");
                let arguments = ["-N", name, "--log", "stdout", "--log-level", "debugging"];
                Process::new(host, daemon, Role::Router, program, arguments)
            })
            .collect();
        let frr = Self {
            host: host.clone(),
            lab: lab.clone(),
            processes,
        };
        for process in &frr.processes {
            lab.register(process);
        }
        let viewer = frr.clone();
        lab.view(format!("FRR on {name}"), move || viewer.summary());
        frr.start_daemons()?;
        Ok(frr)
    }

    /// Runs a command in FRR's shell and returns what it printed.
    pub fn vtysh(&self, command: &str) -> Result<String, LabError> {
        self.host
            .run(["vtysh", "-N", self.host.name(), "-c", command])
    }

    /// Runs a command that answers in JSON (`show bgp summary json`).
    pub fn vtysh_json(&self, command: &str) -> Result<Value, LabError> {
        parse_json(
            &format!("`{command}` on {}", self.host.name()),
            &self.vtysh(command)?,
        )
    }

    /// The best path to a prefix as `show bgp ... json` has it. Fails when there is none.
    pub fn best(&self, prefix: &str) -> Result<Value, LabError> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let answer = self.vtysh_json(&format!("show bgp {family} unicast {prefix} json"))?;
        let paths = answer["paths"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let best = paths
            .iter()
            .find(|path| path["bestpath"]["overall"] == true);
        best.cloned().ok_or_else(|| {
            LabError::shape(
                format!("{}'s FRR", self.host.name()),
                format!("no route {prefix}: {answer}"),
            )
        })
    }

    /// Enters lines in configuration mode.
    pub fn configure(&self, lines: &[&str]) -> Result<(), LabError> {
        let mut command = vec!["vtysh", "-N", self.host.name(), "-c", "configure terminal"];
        for line in lines {
            command.extend(["-c", line]);
        }
        self.host.run(command).map(drop)
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// One of its daemons, to kill or freeze it alone.
    pub fn daemon(&self, name: &str) -> Result<&Arc<Process>, LabError> {
        let full = format!("{}.{name}", self.host.name());
        self.processes
            .iter()
            .find(|p| p.name() == full)
            .ok_or_else(|| LabError::Process {
                process: full,
                why: "was not part of this FRR's configuration".to_owned(),
            })
    }

    /// Kills all daemons on the spot.
    pub fn kill(&self) -> Result<(), LabError> {
        self.each_running(|process| process.kill())
    }

    /// Asks all daemons to stop.
    pub fn stop(&self) -> Result<(), LabError> {
        self.each_running(|process| process.stop(Duration::from_secs(10)))
    }

    /// Freezes all daemons.
    pub fn pause(&self) -> Result<(), LabError> {
        self.each_running(|process| process.pause())
    }

    /// Lets all daemons run on.
    pub fn resume(&self) -> Result<(), LabError> {
        self.each_running(|process| process.resume())
    }

    /// Starts the daemons that are not running, and loads the configuration as FRR's own start
    /// script does.
    pub fn start_daemons(&self) -> Result<(), LabError> {
        for process in self.processes.iter().filter(|p| !p.alive()) {
            let (_, daemon) = process.name().split_once('.').unwrap_or_default();
            let command = [
                "vtysh",
                "-N",
                self.host.name(),
                "-d",
                daemon,
                "-c",
                "show version",
            ];
            process.start_until(&self.lab, START_LIMIT, || self.host.run(command).map(drop))?;
        }
        self.host
            .run(["vtysh", "-N", self.host.name(), "-b"])
            .map(drop)
    }

    /// What it printed, all daemons one after the other.
    #[must_use]
    pub fn log(&self) -> String {
        self.processes.iter().map(|p| p.log()).collect()
    }

    fn each_running(
        &self,
        work: impl Fn(&Arc<Process>) -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        // The last started goes first: zebra outlives bgpd, as in FRR's own stop.
        self.processes
            .iter()
            .rev()
            .filter(|p| p.alive())
            .try_for_each(work)
    }

    fn summary(&self) -> String {
        [
            "show bgp summary",
            "show bgp ipv4 unicast",
            "show bgp ipv6 unicast",
        ]
        .iter()
        .map(|command| match self.vtysh(command) {
            Ok(text) => format!("> {command}\n{text}"),
            Err(e) => format!("> {command}\n{e}\n"),
        })
        .collect()
    }
}

/// Makes a directory of FRR's user: the daemons drop root at once.
fn own(path: &str) -> Result<(), LabError> {
    world::make_directory(path)?;
    let refused = |e: io::Error| LabError::system(format!("give {path} to the user frr"), e);
    let user = User::from_name("frr").map_err(|e| refused(e.into()))?;
    let group = Group::from_name("frr").map_err(|e| refused(e.into()))?;
    chown(
        path,
        user.map(|u| u.uid.as_raw()),
        group.map(|g| g.gid.as_raw()),
    )
    .map_err(refused)
}
