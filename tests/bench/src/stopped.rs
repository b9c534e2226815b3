//! A daemon that stands still for a while.

use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A signal is taken within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Processes that are stopped; dropped, they go on.
#[derive(Debug)]
pub(crate) struct Stopped(Vec<u32>);

impl Stopped {
    /// Stops these processes, and returns when they stand still.
    ///
    /// # Errors
    /// When one does not.
    pub(crate) fn all_of(pids: Vec<u32>) -> io::Result<Self> {
        let stopped = Self(pids);
        stopped.send(Signal::SIGSTOP)?;
        let begun = Instant::now();
        while !stopped.0.iter().all(|pid| stands_still(*pid)) {
            if begun.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(stopped)
    }

    /// Lets them go on; when.
    pub(crate) fn resume(self) -> io::Result<Instant> {
        let at = Instant::now();
        self.send(Signal::SIGCONT)?;
        Ok(at)
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        for pid in &self.0 {
            kill(Pid::from_raw(*pid as i32), signal)?;
        }
        Ok(())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Gone is as good as going on.
        let _ = self.send(Signal::SIGCONT);
    }
}

/// Whether every thread of a process is stopped.
fn stands_still(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        state(&stat) == Some('T')
    })
}

/// `pid (name) state ...`; the name may hold blanks and parentheses.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_state_of_a_thread_comes_after_its_name() {
        assert_eq!(state("812 (a) (b) T 1 812"), Some('T'));
        assert_eq!(state(""), None);
    }

    #[test]
    fn a_stopped_process_goes_on_when_it_is_let_go_of() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let pid = child.id();
        let stopped = Stopped::all_of(vec![pid]).expect("it is ours");
        assert!(stands_still(pid));
        drop(stopped);
        let begun = Instant::now();
        while stands_still(pid) && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!stands_still(pid));
        child.kill().expect("it is ours");
        child.wait().expect("it was killed");
    }
}
