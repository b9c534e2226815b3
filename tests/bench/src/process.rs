//! A daemon under test as a process: started, weighed, killed.

#![allow(unsafe_code)] // Three calls the libraries do not wrap: see the SAFETY comments.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, killpg},
    },
    unistd::Pid,
};

use crate::error::Error;

/// Puts this process, and what it starts from now on, before everything else on the machine.
///
/// # Errors
/// When the kernel does not allow it.
pub(crate) fn outrank_everybody() -> Result<(), Error> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the pointer is to a live value of the type the call reads.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(Error::Io {
            what: "set the real-time scheduler".to_owned(),
            source: io::Error::last_os_error(),
        }),
    }
}

/// Puts the calling thread behind everything else on the machine.
pub(crate) fn give_way_to_everybody() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live value of the type the call reads.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Processor time the calling thread has used.
pub(crate) fn cpu_of_this_thread() -> Duration {
    Duration::from_nanos(scheduled(Path::new("/proc/thread-self")))
}

/// Nanoseconds on a processor, of the thread with this directory in procfs.
fn scheduled(thread: &Path) -> u64 {
    let stat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let first = stat.split(' ').next();
    first.and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// A running daemon and whatever it forked: one process group, killed on drop.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// A second daemon it does its work with: counted and killed with it.
    companion: Option<Box<Process>>,
}

impl Process {
    /// Starts `command` with its output in a log of this name under `scratch`.
    pub(crate) fn start(mut command: Command, log: &str, scratch: &Path) -> Result<Self, Error> {
        let log = scratch.join(format!("{log}.log"));
        let output = File::create(&log).map_err(Error::io("make a log file"))?;
        let errors = output.try_clone().map_err(Error::io("share a log file"))?;
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        // SAFETY: prctl is async-signal-safe and touches no memory of ours.
        unsafe {
            command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .map_err(Error::io(format!("start {name}")))?;
        Ok(Self {
            child,
            log,
            companion: None,
        })
    }

    /// The same, together with one that was started before it.
    pub(crate) fn beside(mut self, companion: Self) -> Self {
        self.companion = Some(Box::new(companion));
        self
    }

    /// How the daemon ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let own = self.child.try_wait().ok().flatten();
        own.or_else(|| self.companion.as_mut().and_then(|other| other.ended()))
    }

    /// What went wrong because the daemon is gone is told as that.
    pub(crate) fn explain(&mut self, error: Error) -> Error {
        match (error, self.ended()) {
            (Error::Fault { step, .. }, Some(status)) => Error::Died {
                step,
                status,
                log: self.log_tail(),
            },
            (error, _) => error,
        }
    }

    /// The end of what the daemon printed.
    pub(crate) fn log_tail(&self) -> String {
        let mut text = fs::read_to_string(&self.log).unwrap_or_default();
        if let Some(other) = &self.companion {
            text.push_str(&other.log_tail());
        }
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Proportional set size of the daemon's processes, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let rollup = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
        let kib = |text: String| -> Option<u64> {
            let line = text.lines().find_map(|l| l.strip_prefix("Pss:"))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let own: u64 = self
            .members()
            .iter()
            .filter_map(rollup)
            .filter_map(kib)
            .sum();
        own * 1024 + self.companion.as_ref().map_or(0, |other| other.memory())
    }

    /// The most memory the daemon's processes ever had resident, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        let kib = |pid: &u32| -> Option<u64> {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let own: u64 = self.members().iter().filter_map(kib).sum();
        own * 1024 + self.companion.as_ref().map_or(0, |other| other.peak())
    }

    /// Processor time the daemon's living threads have used, user and system together.
    pub(crate) fn cpu(&self) -> Duration {
        let mut spent = 0;
        for pid in self.members() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                continue;
            };
            for task in tasks.flatten() {
                spent += scheduled(&task.path());
            }
        }
        let other = self.companion.as_ref().map(|other| other.cpu());
        Duration::from_nanos(spent) + other.unwrap_or_default()
    }

    /// All of the daemon's processes, the companion's too.
    pub(crate) fn everybody(&self) -> Vec<u32> {
        let mut all = self.members();
        all.extend(self.companion.iter().flat_map(|other| other.everybody()));
        all
    }

    /// Every process of the daemon's group: some fork helpers.
    fn members(&self) -> Vec<u32> {
        let group = self.child.id().to_string();
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // `pid (name) state ppid pgrp ...`; the name may hold blanks and parentheses.
                let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
                after.split(' ').nth(2) == Some(&group)
            })
            .collect()
    }
}

impl Drop for Process {
    /// The companion goes after it.
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id() as i32);
        // Gone already is as good as killed.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
