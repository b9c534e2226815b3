//! Processors that do not halt while single changes are timed.
//!
//! A virtual processor that halts is taken off by its host, and to have it back takes as long as all
//! that is measured, or nothing at all: whether it halts in between depends on which processor the
//! system puts whom, and so on chance. A thread on each that never waits keeps them running. These
//! threads have SCHED_IDLE: they are preempted by whoever else wants to run, and count as idle where
//! the system looks for a processor for somebody.

use std::{
    hint, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::process;

/// After this the scheduler has seen that they run, and the first samples are like the others.
const SETTLE: Duration = Duration::from_millis(50);

/// Keeps all processors that this process may use from halting until it is dropped.
#[derive(Debug)]
pub(crate) struct Awake {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Awake {
    /// Begins to.
    pub(crate) fn keep() -> io::Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let mut awake = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for number in (0..CpuSet::count()).filter(|number| all.is_set(*number) == Ok(true)) {
            let mut alone = CpuSet::new();
            alone.set(number)?;
            let (ready, told) = std::sync::mpsc::channel();
            let stop = Arc::clone(&awake.stop);
            awake.threads.push(thread::spawn(move || {
                let here = sched_setaffinity(Pid::from_raw(0), &alone);
                let here = here.map_err(io::Error::from);
                let here = here.and_then(|()| process::give_way_to_everybody());
                let stays = here.is_ok();
                // Whoever asked waits for this.
                let _ = ready.send(here);
                while stays && !stop.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            }));
            told.recv().map_err(io::Error::other)??;
        }
        thread::sleep(SETTLE);
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_spins_on_every_processor_and_all_go() {
        let awake = Awake::keep().expect("nobody forbids to be the last in the queue");
        let processors = sched_getaffinity(Pid::from_raw(0)).expect("this runs on some");
        let number = (0..CpuSet::count()).filter(|n| processors.is_set(*n) == Ok(true));
        assert_eq!(awake.threads.len(), number.count());
        assert!(awake.threads.iter().all(|thread| !thread.is_finished()));
        drop(awake);
    }
}
