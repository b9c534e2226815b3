//! What a kernel has for routes: told by its news as they come, and by a listing afterwards.
//!
//! The news go into a receive buffer of a gigabyte and are taken from it in one go every
//! millisecond: nobody is woken for them, so watching costs the writer of the routes nothing but the
//! kernel's copy of each message, and hardly any of the other core.

mod moving;
mod sentries;

pub(crate) use self::moving::Moved;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    check::{Changed, Fault},
    netlink::{self, Netlink, News, ROUTE_NEWS, Route, nexthop},
    prefix::{ByPrefix, Family, Prefix},
};

/// Half of what a receive buffer can be: the kernel doubles it.
const RECEIVE_BUFFER: usize = 1 << 29;
/// How often the news are taken.
const TICK: Duration = Duration::from_millis(1);
/// Nothing for so long, and nothing more will come.
const STALLED: Duration = Duration::from_secs(30);
/// A single change that takes longer is lost.
const LOST: Duration = Duration::from_secs(10);

/// How long is waited for what should not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    /// A table is settled when nothing has changed for so long.
    pub(crate) quiet: Duration,
    /// Who does not notice something by itself has not noticed after so long.
    pub(crate) unnoticed: Duration,
}

/// The routes a kernel should end with.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) family: Family,
    pub(crate) prefixes: Vec<Prefix>,
    pub(crate) gateway: IpAddr,
    /// The interface they should lead through, where that matters.
    interface: Option<u32>,
    index: HashMap<Prefix, u32, ByPrefix>,
}

impl Wanted {
    /// All of `prefixes`, each through `gateway`.
    pub(crate) fn new(family: Family, prefixes: Vec<Prefix>, gateway: IpAddr) -> Self {
        let index = prefixes.iter().zip(0..).map(|(p, n)| (*p, n)).collect();
        Self {
            family,
            prefixes,
            gateway,
            interface: None,
            index,
        }
    }

    /// The same, but through this interface.
    pub(crate) fn through(&self, interface: u32) -> Self {
        Self {
            interface: Some(interface),
            ..self.clone()
        }
    }

    /// Whether a route leads where it should.
    fn right(&self, route: &Route) -> bool {
        let on = self.interface.is_none() || route.interface == self.interface;
        on && route.leads_to() == Some(self.gateway)
    }

    /// The number of a prefix that is wanted.
    fn number(&self, prefix: Prefix) -> Option<usize> {
        self.index.get(&prefix).map(|number| *number as usize)
    }
}

/// Which of them should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Full,
    Empty,
    /// All but so many, whichever they are.
    Lacking(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Right,
    Wrong,
}

/// A namespace's routes of one family, watched.
#[derive(Debug)]
pub(crate) struct Fib<'a> {
    wanted: &'a Wanted,
    quiet: Duration,
    told: Told<'a>,
    monitor: Netlink,
    /// Hears of nexthop objects only.
    objects: Netlink,
    kernel: Netlink,
    buffer: Vec<u8>,
}

/// The routes as the news have it.
#[derive(Debug)]
struct Told<'a> {
    wanted: &'a Wanted,
    state: Vec<State>,
    right: usize,
    wrong: usize,
    extra: HashSet<Prefix, ByPrefix>,
    /// How much news of the family there was.
    heard: usize,
}

impl<'a> Fib<'a> {
    /// Watches the namespace of the calling thread, whose routes should be none at first.
    pub(crate) fn watch(wanted: &'a Wanted, waits: Waits) -> io::Result<Self> {
        Ok(Self {
            wanted,
            quiet: waits.quiet,
            told: Told::nothing(wanted),
            monitor: Netlink::open(ROUTE_NEWS, RECEIVE_BUFFER)?,
            objects: Netlink::open(nexthop::NEWS, 4 << 20)?,
            kernel: Netlink::open(0, 4 << 20)?,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Removes whatever a daemon that failed has left behind, of any family.
    pub(crate) fn sweep(&mut self) -> io::Result<()> {
        for family in [Family::Ipv4, Family::Ipv6] {
            let left = self.kernel.routes(family)?;
            self.kernel.apply(&netlink::sweep(&left))?;
        }
        while self.monitor.take(&mut self.buffer)?.is_some() {}
        Ok(())
    }

    /// Takes news until the goal is reached and nothing changes any more; when it was reached.
    /// Gives up early when `broken` says that nothing will come.
    ///
    /// # Errors
    /// With the routes that are missing, unexpected or wrong once nothing comes any more, and when
    /// news were lost.
    pub(crate) fn until(&mut self, goal: Goal, broken: &AtomicBool) -> Result<Instant, Fault> {
        self.until_within(goal, STALLED, broken)
    }

    /// The same, but gives up once nothing has come for so long.
    pub(crate) fn until_within(
        &mut self,
        goal: Goal,
        stalled: Duration,
        broken: &AtomicBool,
    ) -> Result<Instant, Fault> {
        let mut active = Instant::now();
        let mut reached = self.told.met(goal).then_some(active);
        loop {
            while let Some(len) = self.monitor.take(&mut self.buffer).map_err(Fault::Watch)? {
                let now = Instant::now();
                for news in netlink::news(&self.buffer[..len]) {
                    self.told.note(news);
                    active = now;
                }
                reached = match (self.told.met(goal), reached) {
                    (true, None) => Some(now),
                    (true, since) => since,
                    (false, _) => None,
                };
            }
            let idle = active.elapsed();
            match reached {
                Some(at) if idle >= self.quiet => return Ok(at),
                None if idle >= stalled || broken.load(Ordering::Relaxed) => {
                    return Err(self.fault(goal));
                }
                _ => thread::sleep(TICK),
            }
        }
    }

    /// Waits for a single change of `prefix`; when it came.
    pub(crate) fn change_of(&mut self, prefix: Prefix, added: bool) -> Result<Instant, Fault> {
        let begun = Instant::now();
        while let Some(left) = LOST.checked_sub(begun.elapsed()) {
            if !self.monitor.wait(left).map_err(Fault::Watch)? {
                continue;
            }
            let Some(len) = self.monitor.take(&mut self.buffer).map_err(Fault::Watch)? else {
                continue;
            };
            let now = Instant::now();
            for news in netlink::news(&self.buffer[..len]) {
                match news {
                    News::Added(route)
                        if added && route.key.prefix == prefix && self.wanted.right(&route) =>
                    {
                        return Ok(now);
                    }
                    News::Removed(route) if !added && route.key.prefix == prefix => return Ok(now),
                    News::Added(route) | News::Removed(route) if route.key.prefix == prefix => {}
                    News::Added(route) | News::Removed(route) => {
                        return Err(Fault::Restless(route.key.prefix));
                    }
                }
            }
        }
        Err(Fault::Lost {
            seconds: LOST.as_secs(),
        })
    }

    /// Lists the kernel's routes and compares: exactly those wanted, each where it should lead.
    pub(crate) fn verify(&self, goal: Goal) -> Result<(), Fault> {
        let listed = self.listed()?;
        let mut there = vec![false; self.wanted.prefixes.len()];
        let (mut extra, mut changed) = (Vec::new(), Vec::new());
        for route in listed {
            let prefix = route.key.prefix;
            let number = self.wanted.number(prefix).filter(|_| goal != Goal::Empty);
            // Twice at two metrics is once too much.
            match number.filter(|number| !there[*number]) {
                None => extra.push(prefix),
                Some(number) => {
                    there[number] = true;
                    if !self.wanted.right(&route) {
                        let what = match (route.leads_to(), route.interface) {
                            (Some(gateway), Some(interface)) => {
                                format!("leads to {gateway} on interface {interface}")
                            }
                            (Some(gateway), None) => format!("leads to {gateway}"),
                            (None, _) => "leads nowhere".to_owned(),
                        };
                        changed.push(Changed { prefix, what });
                    }
                }
            }
        }
        let missing: Vec<_> = match goal {
            Goal::Empty => Vec::new(),
            Goal::Full | Goal::Lacking(_) => (self.wanted.prefixes.iter().zip(there))
                .filter(|(_, there)| !there)
                .map(|(prefix, _)| *prefix)
                .collect(),
        };
        let lacking = match goal {
            Goal::Lacking(number) => number,
            Goal::Full | Goal::Empty => 0,
        };
        if missing.len() == lacking && extra.is_empty() && changed.is_empty() {
            return Ok(());
        }
        Err(Fault::Routes {
            missing,
            extra,
            changed,
        })
    }

    pub(crate) fn family(&self) -> Family {
        self.wanted.family
    }

    /// Every route there is.
    pub(crate) fn listed(&self) -> Result<Vec<Route>, Fault> {
        self.kernel.routes(self.wanted.family).map_err(Fault::Watch)
    }

    /// How much news of the family there was until now.
    pub(crate) fn heard(&self) -> usize {
        self.told.heard
    }

    /// Why a goal was not reached: by a listing, or, where the listing is right, that the news
    /// did not say so.
    fn fault(&self, goal: Goal) -> Fault {
        match self.verify(goal) {
            Err(fault) => fault,
            Ok(()) => Fault::Watch(io::Error::other(format!(
                "the routes are right and the news of them were not: {} right, {} wrong, {} unexpected",
                self.told.right,
                self.told.wrong,
                self.told.extra.len()
            ))),
        }
    }
}

impl<'a> Told<'a> {
    fn nothing(wanted: &'a Wanted) -> Self {
        Self {
            wanted,
            state: vec![State::Absent; wanted.prefixes.len()],
            right: 0,
            wrong: 0,
            extra: HashSet::default(),
            heard: 0,
        }
    }

    fn note(&mut self, news: News) {
        let (route, state) = match news {
            News::Added(route) if self.wanted.right(&route) => (route, State::Right),
            News::Added(route) => (route, State::Wrong),
            News::Removed(route) => (route, State::Absent),
        };
        let prefix = route.key.prefix;
        self.heard += usize::from(prefix.family() == self.wanted.family);
        let Some(number) = self.wanted.number(prefix) else {
            // The other family is not looked at: the daemon was told nothing of it.
            if prefix.family() == self.wanted.family {
                match state {
                    State::Absent => self.extra.remove(&prefix),
                    State::Right | State::Wrong => self.extra.insert(prefix),
                };
            }
            return;
        };
        let before = std::mem::replace(&mut self.state[number], state);
        self.right -= usize::from(before == State::Right);
        self.wrong -= usize::from(before == State::Wrong);
        self.right += usize::from(state == State::Right);
        self.wrong += usize::from(state == State::Wrong);
    }

    fn met(&self, goal: Goal) -> bool {
        let right = match goal {
            Goal::Full => self.wanted.prefixes.len(),
            Goal::Empty => 0,
            Goal::Lacking(number) => self.wanted.prefixes.len() - number,
        };
        self.right == right && self.wrong == 0 && self.extra.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::tests::{added, removed};

    #[test]
    fn a_table_is_full_with_exactly_its_routes_and_empty_with_none() {
        let (hop, other) = ([10, 99, 0, 2].into(), [10, 99, 0, 3].into());
        let [one, two, three] = [1, 2, 3].map(|n| Prefix::v4([198, 51, 100, n * 16].into(), 28));
        let wanted = Wanted::new(Family::Ipv4, vec![one, two], hop);
        let mut told = Told::nothing(&wanted);
        assert!(told.met(Goal::Empty) && !told.met(Goal::Full));
        for (news, full, empty) in [
            (added(one, hop), false, false),
            (added(two, hop), true, false),
            // Said again: nothing changes.
            (added(two, hop), true, false),
            (added(two, other), false, false),
            (added(two, hop), true, false),
            (added(three, hop), false, false),
            (removed(three), true, false),
            (removed(one), false, false),
            (removed(two), false, true),
            (added(three, hop), false, false),
        ] {
            told.note(news);
            assert_eq!(
                (told.met(Goal::Full), told.met(Goal::Empty)),
                (full, empty),
                "{news:?}"
            );
        }
    }
}
