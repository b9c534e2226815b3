//! Threads that note when a nexthop object changes, one on every processor.
//!
//! The message that moves a whole table is a single one, and the kernel goes on for a while
//! without a pause on the processor it was sent from. Whoever wants to read it there has to wait;
//! a thread that may only run on another one does not.

use std::{
    io,
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::netlink::{
    Netlink,
    nexthop::{self, Object},
};

/// How soon a sentry sees that it is not needed any more.
const TICK: Duration = Duration::from_millis(20);
/// Sentries at most: one is always somewhere else.
const MOST: usize = 4;

/// What the sentries have seen and nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct Seen {
    objects: Mutex<Vec<(Object, Instant)>>,
    relieved: AtomicBool,
}

impl Seen {
    pub(super) fn take(&self) -> Vec<(Object, Instant)> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *objects)
    }

    fn watch(&self, socket: &Netlink) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        while !self.relieved.load(Ordering::Relaxed) {
            socket.wait(TICK)?;
            let now = Instant::now();
            // Another may have been faster.
            while let Some(len) = socket.take(&mut buffer)? {
                let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
                objects.extend(nexthop::news(&buffer[..len]).map(|object| (object, now)));
            }
        }
        Ok(())
    }
}

/// Does `work` while sentries wait at a socket for news of objects; they wait when it begins.
pub(super) fn posted<T>(socket: &Netlink, work: impl FnOnce(&Seen) -> T) -> io::Result<T> {
    let posts = processors()?;
    let (seen, ready) = (Seen::default(), Barrier::new(posts.len() + 1));
    thread::scope(|scope| {
        let sentries: Vec<_> = posts
            .into_iter()
            .map(|post| {
                let (seen, ready) = (&seen, &ready);
                scope.spawn(move || {
                    let there = sched_setaffinity(Pid::from_raw(0), &post);
                    ready.wait();
                    there?;
                    seen.watch(socket)
                })
            })
            .collect();
        ready.wait();
        let done = work(&seen);
        seen.relieved.store(true, Ordering::Relaxed);
        for sentry in sentries {
            let joined = sentry.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(done)
    })
}

/// Some of the processors this thread may run on, each by itself.
fn processors() -> io::Result<Vec<CpuSet>> {
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let some = (0..CpuSet::count()).filter(|number| all.is_set(*number) == Ok(true));
    let alone = |number| {
        let mut one = CpuSet::new();
        one.set(number).map(|()| one)
    };
    Ok(some.take(MOST).map(alone).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentries_go_when_the_work_is_done_and_have_seen_nothing_where_nothing_was() {
        let socket = Netlink::open(0, 1 << 16);
        // Buffers of any size take root.
        let Ok(socket) = socket else {
            eprintln!("SKIPPED: this takes root");
            return;
        };
        let seen = posted(&socket, |seen| seen.take().len()).expect("threads");
        assert_eq!(seen, 0);
        assert!(!processors().expect("this runs on one").is_empty());
    }
}
