//! Health checks: drives the pure machine of each check with sockets and a clock.
//!
//! The [`Runner`] is a part of the registry's task, not a task of its own: who registers is who hears of it, and no
//! channel between the two can fill up. Attempts are tasks, of which there is a bounded number; a check that is due
//! while all are taken waits for one to end and is not counted as failed for it.
//!
//! One deadline of the runtime serves all checks.

mod attempt;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};
use wayleave_discovery::{
    Time,
    health::{Attempt, Check, CheckSpec, Health, Outcome, Step},
    names::InstanceId,
};

/// What the checks of one address of an instance say now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The instance.
    pub instance: InstanceId,
    /// Its address.
    pub address: IpAddr,
    /// The worst of its checks.
    pub health: Health,
    /// Why it does not pass, for a person.
    pub why: Option<String>,
}

/// One check of one address, by the number of the watch and its place among that watch's checks. A watch that is
/// replaced gets another number, so that a late result of the old one finds nobody.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    watch: u64,
    ordinal: usize,
}

#[derive(Debug)]
struct Watch {
    instance: InstanceId,
    address: IpAddr,
    checks: Vec<Check>,
    told: Health,
}

/// Runs checks and says what they find.
#[derive(Debug)]
pub struct Runner {
    start: Instant,
    seed: u64,
    limit: usize,
    watches: BTreeMap<u64, Watch>,
    numbers: BTreeMap<(InstanceId, IpAddr), u64>,
    next_number: u64,
    /// When each check wants to be called; one entry for each that is not waiting.
    deadlines: BTreeSet<(Time, Key)>,
    /// Due, and waiting for an attempt of another check to end.
    waiting: VecDeque<Key>,
    attempts: JoinSet<(Key, Attempt, Outcome)>,
    under_way: BTreeMap<Key, (Attempt, AbortHandle)>,
    reports: VecDeque<Report>,
}

impl Runner {
    /// How many attempts may be under way when nobody says otherwise: each is one descriptor.
    pub const DEFAULT_LIMIT: usize = 256;

    /// A runner of at most `limit` attempts at a time. The seed spreads the checks over their intervals; two hosts
    /// should have different ones.
    #[must_use]
    pub fn new(limit: usize, seed: u64) -> Self {
        Self {
            start: Instant::now(),
            seed,
            limit: limit.max(1),
            watches: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_number: 0,
            deadlines: BTreeSet::new(),
            waiting: VecDeque::new(),
            attempts: JoinSet::new(),
            under_way: BTreeMap::new(),
            reports: VecDeque::new(),
        }
    }

    /// Checks an address from now on, in the place of what was checked for it. `health` is what is known so far:
    /// [`Health::Starting`] for a new instance.
    pub fn watch(
        &mut self,
        instance: &InstanceId,
        address: IpAddr,
        checks: &[CheckSpec],
        health: Health,
    ) {
        self.forget(instance, address);
        if checks.is_empty() {
            return;
        }
        let (now, number) = (self.now(), self.next_number);
        self.next_number += 1;
        let checks: Vec<Check> = (0u64..)
            .zip(checks)
            .map(|(ordinal, spec)| {
                let seed = self.seed ^ number.rotate_left(32) ^ ordinal;
                Check::resume(spec.clone(), health, seed, now)
            })
            .collect();
        for (ordinal, check) in checks.iter().enumerate() {
            self.deadlines.insert((
                check.poll_timeout(),
                Key {
                    watch: number,
                    ordinal,
                },
            ));
        }
        self.numbers.insert((instance.clone(), address), number);
        let instance = instance.clone();
        self.watches.insert(
            number,
            Watch {
                instance,
                address,
                checks,
                told: health,
            },
        );
    }

    /// Checks an address no longer. Attempts under way are ended.
    pub fn forget(&mut self, instance: &InstanceId, address: IpAddr) {
        let Some(number) = self.numbers.remove(&(instance.clone(), address)) else {
            return;
        };
        let Some(watch) = self.watches.remove(&number) else {
            return;
        };
        for (ordinal, check) in watch.checks.iter().enumerate() {
            let key = Key {
                watch: number,
                ordinal,
            };
            self.deadlines.remove(&(check.poll_timeout(), key));
            if let Some((_, attempt)) = self.under_way.remove(&key) {
                attempt.abort();
            }
        }
        self.waiting.retain(|key| key.watch != number);
        self.reports
            .retain(|report| report.instance != *instance || report.address != address);
    }

    /// How many attempts are under way.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.under_way.len()
    }

    /// The next change of an address's health. Waits for ever when nothing is checked. Dropping the future loses
    /// nothing: it can stand in a `select!`.
    pub async fn next(&mut self) -> Report {
        loop {
            if let Some(report) = self.reports.pop_front() {
                return report;
            }
            let deadline = self.deadlines.first().map(|(time, _)| *time);
            let due = self.sleep(deadline);
            tokio::select! {
                Some(ended) = self.attempts.join_next() => {
                    // An attempt that was ended by us comes back as an error and is known already.
                    if let Ok((key, attempt, outcome)) = ended {
                        self.take_result(key, attempt, outcome);
                    }
                    self.begin_waiting();
                }
                () = due, if deadline.is_some() => self.take_due(),
                else => std::future::pending().await,
            }
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    fn sleep(&self, until: Option<Time>) -> impl Future<Output = ()> + use<> {
        let until = until.unwrap_or(Time::ZERO).since(Time::ZERO);
        sleep_until(self.start + until)
    }

    /// Calls all checks whose time has come.
    fn take_due(&mut self) {
        let now = self.now();
        while let Some((time, key)) = self.deadlines.first().copied() {
            if time > now {
                break;
            }
            self.deadlines.pop_first();
            let is_new = !self.under_way.contains_key(&key);
            if is_new && self.under_way.len() >= self.limit {
                self.waiting.push_back(key);
            } else {
                self.call(key, now);
            }
        }
    }

    /// Begins what waited for an attempt to end.
    fn begin_waiting(&mut self) {
        while self.under_way.len() < self.limit
            && let Some(key) = self.waiting.pop_front()
        {
            self.call(key, self.now());
        }
    }

    /// Lets a check whose deadline was removed do what it is due for, and puts its next deadline in.
    fn call(&mut self, key: Key, now: Time) {
        let Some(watch) = self.watches.get_mut(&key.watch) else {
            return;
        };
        let address = watch.address;
        let Some(check) = watch.checks.get_mut(key.ordinal) else {
            return;
        };
        match check.handle_timeout(now) {
            Step::Begin(number) => {
                let kind = check.spec().kind.clone();
                let running = async move { (key, number, attempt::run(address, &kind).await) };
                let running = self.attempts.spawn(running);
                self.under_way.insert(key, (number, running));
            }
            Step::Abandon(_) => {
                if let Some((_, attempt)) = self.under_way.remove(&key) {
                    attempt.abort();
                }
            }
            Step::Look => {}
        }
        self.settle(key, now);
    }

    fn take_result(&mut self, key: Key, attempt: Attempt, outcome: Outcome) {
        let now = self.now();
        let check = self
            .watches
            .get_mut(&key.watch)
            .and_then(|w| w.checks.get_mut(key.ordinal));
        let Some(check) = check else {
            return;
        };
        // An attempt may end just when it is given up: then its result comes behind the beginning of the next.
        if self
            .under_way
            .get(&key)
            .is_some_and(|(current, _)| *current == attempt)
        {
            self.under_way.remove(&key);
        }
        self.deadlines.remove(&(check.poll_timeout(), key));
        check.handle_result(now, attempt, outcome);
        self.settle(key, now);
    }

    /// Puts the deadline of a check in, and reports when the worst of its watch has changed.
    fn settle(&mut self, key: Key, now: Time) {
        let Some(watch) = self.watches.get_mut(&key.watch) else {
            return;
        };
        let Some(check) = watch.checks.get_mut(key.ordinal) else {
            return;
        };
        let _ = check.poll_transition(now);
        self.deadlines.insert((check.poll_timeout(), key));
        let Some(worst) = watch.checks.iter().max_by_key(|check| check.health()) else {
            return;
        };
        let health = worst.health();
        if std::mem::replace(&mut watch.told, health) != health {
            let why = worst.last_failure().filter(|_| health == Health::Failing);
            self.reports.push_back(Report {
                instance: watch.instance.clone(),
                address: watch.address,
                health,
                why: why.map(str::to_owned),
            });
        }
    }
}

#[cfg(test)]
mod tests;
