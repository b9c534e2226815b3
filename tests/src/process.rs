//! Processes of the lab: daemons that tests start, kill, stop and freeze, and that must not die by
//! themselves.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{LabError, lock};
use crate::host::Host;
use crate::lab::Lab;
use crate::world;

/// What a process is: the oracle measures agents and only watches the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `wayleaved`.
    Agent,
    /// A daemon of a stock router.
    Router,
    /// Anything else a test starts.
    Other,
}

/// A daemon in the foreground on a host, its output in a log file. Started again after an end, it
/// is the same process to the lab.
#[derive(Debug)]
pub struct Process {
    name: String,
    role: Role,
    host: Host,
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    child: Option<Child>,
    /// The test ended it, or is about to.
    ending: bool,
    /// How it ended, when it has.
    ended: Option<ExitStatus>,
    /// Every end that no test asked for, and every graceful stop that was not one.
    trouble: Vec<String>,
}

impl Process {
    /// Describes a process. [`Process::start`] starts it.
    pub(crate) fn new<S: Into<OsString>>(
        host: &Host,
        name: &str,
        role: Role,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Arc<Self> {
        let name = format!("{}.{name}", host.name());
        Arc::new(Self {
            log: Path::new(world::ROOT).join(format!("{name}.log")),
            name,
            role,
            host: host.clone(),
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            state: Mutex::new(State {
                child: None,
                ending: false,
                ended: None,
                trouble: Vec::new(),
            }),
        })
    }

    /// The name in messages: `<host>.<daemon>`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Starts it (again). What it prints is appended to its log.
    pub fn start(&self) -> Result<(), LabError> {
        let mut state = lock(&self.state);
        state.look(&self.name);
        if state.child.is_some() {
            return Err(self.error("is running already"));
        }
        let refused = |e| {
            LabError::system(
                format!("start {} ({})", self.name, self.program.display()),
                e,
            )
        };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(refused)?;
        let second = log.try_clone().map_err(refused)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            .process_group(0);
        // A child is born in the network namespace of the thread that starts it.
        let child = self.host.enter(|| command.spawn())?.map_err(refused)?;
        state.child = Some(child);
        state.ending = false;
        state.ended = None;
        Ok(())
    }

    /// Whether it runs (or is frozen).
    #[must_use]
    pub fn alive(&self) -> bool {
        let mut state = lock(&self.state);
        state.look(&self.name);
        state.child.is_some()
    }

    /// Its number, while it runs.
    pub fn pid(&self) -> Result<Pid, LabError> {
        let mut state = lock(&self.state);
        state.look(&self.name);
        match (&state.child, state.ended) {
            // A process number fits a pid_t: the kernel gave it.
            (Some(child), _) => Ok(Pid::from_raw(child.id().cast_signed())),
            (None, Some(status)) => Err(self.error(format!("has ended with {status}"))),
            (None, None) => Err(self.error("was never started")),
        }
    }

    /// Kills it on the spot (SIGKILL) and waits until it is gone.
    pub fn kill(&self) -> Result<(), LabError> {
        self.signal_end(Signal::SIGKILL)?;
        self.wait(Duration::from_secs(10)).map(drop)
    }

    /// Asks it to stop (SIGTERM) and waits; one that does not end within the time, or ends with
    /// anything but success, is an error now and a violation for the oracle.
    pub fn stop(&self, within: Duration) -> Result<(), LabError> {
        self.signal_end(Signal::SIGTERM)?;
        let outcome = self.wait(within);
        let trouble = match &outcome {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => format!("was asked to stop and ended with {status}"),
            Err(_) => format!("did not stop within {} ms", within.as_millis()),
        };
        lock(&self.state).trouble.push(trouble.clone());
        Err(self.error(trouble))
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&self) -> Result<(), LabError> {
        Lab::fault_ahead();
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it run on (SIGCONT).
    pub fn resume(&self) -> Result<(), LabError> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends any signal; the process is not expected to end by it.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let pid = self.pid()?;
        kill(pid, signal)
            .map_err(|e| LabError::system(format!("send {signal} to {}", self.name), e.into()))
    }

    /// Starts it and waits until it answers; its early end is an error that quotes its last words.
    pub(crate) fn start_until(
        &self,
        lab: &Lab,
        within: Duration,
        answers: impl Fn() -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        self.start()?;
        let what = format!("{} to answer", self.name);
        lab.until(within, &what, || {
            if let Some(status) = self.ended() {
                let log = self.log();
                let lines: Vec<&str> = log.lines().rev().take(5).collect();
                let words: Vec<&str> = lines.into_iter().rev().collect();
                return Ok(Err(self.error(format!(
                    "ended at once with {status}: {}",
                    words.join(" | ")
                ))));
            }
            answers()?;
            Ok(Ok(()))
        })?
    }

    /// Everything it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// Everything that went wrong with its life: ends nobody asked for, failed stops.
    #[must_use]
    pub fn trouble(&self) -> Vec<String> {
        let mut state = lock(&self.state);
        state.look(&self.name);
        state.trouble.clone()
    }

    /// How it ended, when it has.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut state = lock(&self.state);
        state.look(&self.name);
        state.ended
    }

    /// Waits for it to end by itself, for programs that are expected to.
    pub fn wait_for_end(&self, within: Duration) -> Result<ExitStatus, LabError> {
        lock(&self.state).ending = true;
        self.wait(within)
    }

    fn signal_end(&self, signal: Signal) -> Result<(), LabError> {
        Lab::fault_ahead();
        let pid = self.pid()?;
        lock(&self.state).ending = true;
        kill(pid, signal)
            .map_err(|e| LabError::system(format!("send {signal} to {}", self.name), e.into()))
    }

    fn wait(&self, within: Duration) -> Result<ExitStatus, LabError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.error(format!("did not end within {} ms", within.as_millis())));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn error(&self, why: impl Into<String>) -> LabError {
        LabError::Process {
            process: self.name.clone(),
            why: why.into(),
        }
    }
}

impl State {
    /// Takes note of an end that has happened.
    fn look(&mut self, name: &str) {
        let Some(child) = &mut self.child else { return };
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                if !self.ending {
                    self.trouble.push(format!("ended by itself with {status}"));
                }
                self.ended = Some(status);
                self.child = None;
            }
            Err(e) => self
                .trouble
                .push(format!("{name} cannot be waited for: {e}")),
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
