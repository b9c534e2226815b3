//! Running many seeds on all cores, and naming those that fail.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Seeds that are named of those that fail.
const NAMED: usize = 5;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: a number is wanted")),
    )
}

/// How many seeds were asked for.
pub(crate) fn count() -> Option<u64> {
    variable("WAYLEAVE_SEEDS")
}

/// Runs seeds 0 to `count`, or the one that was asked for, by a test with this in its name. Fails with
/// the seeds that failed, and how to run them again.
pub(crate) fn each<T: Send>(test: &str, count: u64, run: fn(u64, bool) -> T) -> Vec<T> {
    if let Some(seed) = variable("WAYLEAVE_SEED") {
        return vec![run(seed, true)];
    }
    let next = AtomicU64::new(0);
    let (done, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count || failed.lock().unwrap().len() >= NAMED {
                return;
            }
            // A debug assertion of the core fails the seed like any check.
            match catch_unwind(AssertUnwindSafe(|| run(seed, false))) {
                Ok(run) => done.lock().unwrap().push(run),
                Err(why) => failed.lock().unwrap().push((seed, text(&*why))),
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let reports = failed.iter().map(|(seed, why)| {
        format!(
            "seed {seed}: {why}\n  again: WAYLEAVE_SEED={seed} cargo test -p wayleave-bgp-core \
             --test simulation {test} -- --nocapture"
        )
    });
    let reports: Vec<String> = reports.collect();
    assert!(reports.is_empty(), "{}", reports.join("\n"));
    done.into_inner().unwrap()
}

fn text(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().cloned();
    let text = text.or_else(|| why.downcast_ref::<&str>().map(|&text| text.to_owned()));
    text.unwrap_or_else(|| "it panicked".to_owned())
}
