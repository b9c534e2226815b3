//! The thread: feeds, desires and events in; one turn after the other; problems out.
//!
//! It has a thread of its own because the kernel works changes off within the system call: a table
//! of a million routes is seconds of that, which nobody else on the thread would survive.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use wayleave_bgp_core::{
    self as bgp, Time,
    feed::{FeedEvent, Forwarding},
};
use wayleave_netlink::{
    AsyncMonitor, FORWARDING, Family, KernelError, Monitor, Netlink, Prefix, Route,
};

use super::{
    feed::{self, Wishes},
    machine::{Fib, Settings, Slot, Status},
    reconciler::{Reconciler, Turn},
    trouble::{KEYS, Trouble},
    way::{Owner, Wish},
};
use crate::{
    event::{self, Progress},
    problem::Problems,
};

/// Commands worked off before the kernel has its turn.
const COMMANDS: usize = 256;
/// Parts of the feed worked off before the kernel has its turn.
const FEED_PARTS: usize = 4;
/// Stretches of the kernel's events read before the kernel has its turn: a storm of them must not
/// hold up desires.
const EVENT_READS: usize = 8;
/// How often problems are counted anew while there is much to do.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Why the routes of the kernel cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket.
    #[error("cannot reach the kernel's routing: {0}")]
    Netlink(#[from] KernelError),
    /// No thread.
    #[error("cannot start the thread that keeps the kernel's routes: {0}")]
    Thread(io::Error),
}

/// Why the routes of the kernel are kept no longer.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The socket that hears of changes has failed for good.
    #[error(transparent)]
    Netlink(#[from] KernelError),
    /// The system calls of the thread cannot be waited for.
    #[error("cannot wait for the kernel's routing: {0}")]
    Runtime(io::Error),
    /// The thread is gone, and has not said why.
    #[error("the thread that keeps the kernel's routes is gone")]
    Thread,
}

/// The best routes of the speaker, and which of them are none.
#[derive(Debug)]
pub struct Learned {
    /// What the speaker says.
    pub feed: mpsc::Receiver<FeedEvent<Forwarding>>,
    /// The carriers of the fabric, if there are any: they say something and lead nowhere.
    pub carriers: Option<bgp::Prefix>,
}

/// How the other owners reach the task; cheap to clone.
#[derive(Clone, Debug)]
pub struct FibHandle {
    // Unbounded: what is on the way is at most what the owners hold themselves.
    commands: mpsc::UnboundedSender<Command>,
}

#[derive(Debug)]
enum Command {
    Desire(Owner, Slot, Option<Wish>),
    Renounce(Owner, Prefix),
    InSync(Owner, Family),
    Settled(Vec<Slot>, oneshot::Sender<Vec<Result<(), Trouble>>>),
    Status(Option<Slot>, usize, oneshot::Sender<Vec<Status>>),
    StatusAt(Vec<Prefix>, oneshot::Sender<Vec<Status>>),
}

impl FibHandle {
    /// A container's route is in the kernel, or is to be: kept there from now on. Its metric
    /// must be 0 (IPv6: 1024), its protocol and table those of the settings.
    pub fn keep(&self, route: &Route) {
        let wish = Wish::exactly(route);
        self.send(Command::Desire(
            Owner::Attach,
            Slot::new(route.prefix, route.metric),
            Some(wish),
        ));
    }

    /// No route of a container at this prefix is kept any more: removed if still there.
    pub fn forget(&self, prefix: Prefix) {
        self.send(Command::Renounce(Owner::Attach, prefix));
    }

    /// Packets to a block of ours that no container has are dropped, or no longer.
    pub fn blackhole(&self, prefix: Prefix, wanted: bool) {
        let wish = wanted.then_some(Wish::Blackhole);
        self.send(Command::Desire(Owner::Block, Slot::new(prefix, 0), wish));
    }

    /// An owner has desired all he had before the start, so that the rest can be swept.
    pub fn in_sync(&self, owner: Owner) {
        self.send(Command::InSync(owner, Family::V4));
        self.send(Command::InSync(owner, Family::V6));
    }

    /// Waits until the kernel has what is desired at these prefixes and metrics, or has refused;
    /// `None` when the task has ended.
    pub async fn settled(&self, slots: Vec<(Prefix, u32)>) -> Option<Vec<Result<(), Trouble>>> {
        let (answer, answered) = oneshot::channel();
        let slots = slots
            .into_iter()
            .map(|(prefix, metric)| Slot::new(prefix, metric))
            .collect();
        self.send(Command::Settled(slots, answer));
        answered.await.ok()
    }

    /// A page of what is desired and installed, after a slot; `None` when the task has ended.
    pub async fn status(&self, after: Option<Slot>, limit: usize) -> Option<Vec<Status>> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Status(after, limit, answer));
        answered.await.ok()
    }

    /// What is desired and installed at the first of these prefixes that has something; `None` when
    /// the task has ended.
    pub async fn status_at(&self, prefixes: Vec<Prefix>) -> Option<Vec<Status>> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::StatusAt(prefixes, answer));
        answered.await.ok()
    }

    fn send(&self, command: Command) {
        // A task that has ended keeps no routes; its end is reported elsewhere.
        let _ = self.commands.send(command);
    }
}

/// Starts to keep the kernel's routes, in the network namespace of the calling thread.
///
/// `claimants` are the owners that will say [`in_sync`](FibHandle::in_sync); the speaker does by the
/// feed. Reports to `progress` once the kernel was listed and everything known by then is
/// installed. The future waits for the end, which comes when the handle and the feed are gone;
/// routes stay in the kernel.
///
/// # Errors
/// When there is no netlink socket or thread to be had.
pub fn start(
    settings: Settings,
    claimants: &[Owner],
    learned: Learned,
    problems: Problems,
    progress: Progress,
) -> Result<(FibHandle, impl Future<Output = Result<(), Lost>> + Send), StartError> {
    // Here, not on the thread: errors are for the caller.
    let kernel = Netlink::open()?;
    let monitor = Monitor::open(&FORWARDING)?;
    monitor.ignore_routes_of(kernel.port())?;
    progress.expect(
        event::Owner::Fib,
        "the kernel's routes to be listed and brought in line",
    );
    let (commands, received) = mpsc::unbounded_channel();
    let fib = Fib::new(settings, claimants, Time(0));
    let (ended, end) = oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Lost::Runtime)?;
        runtime.block_on(async {
            let task = Task {
                reconciler: Reconciler::new(fib, kernel),
                events: monitor.into_async()?,
                feed: Some(learned.feed),
                carriers: learned.carriers,
                wishes: Wishes::default(),
                commands: received,
                problems,
                progress: Some(progress),
                waiting: Vec::new(),
                origin: Instant::now(),
                reported: Time(0),
            };
            Ok(task.run().await?)
        })
    };
    thread::Builder::new()
        .name("fib".to_owned())
        // Who waited for the end may be gone.
        .spawn(move || drop(ended.send(run())))
        .map_err(StartError::Thread)?;
    let end = async { end.await.unwrap_or(Err(Lost::Thread)) };
    Ok((FibHandle { commands }, end))
}

/// Somebody waits for these slots.
type Waiter = (Vec<Slot>, oneshot::Sender<Vec<Result<(), Trouble>>>);

struct Task {
    reconciler: Reconciler<Netlink>,
    events: AsyncMonitor,
    feed: Option<mpsc::Receiver<FeedEvent<Forwarding>>>,
    carriers: Option<bgp::Prefix>,
    wishes: Wishes,
    commands: mpsc::UnboundedReceiver<Command>,
    problems: Problems,
    progress: Option<Progress>,
    waiting: Vec<Waiter>,
    origin: Instant,
    reported: Time,
}

impl Task {
    async fn run(mut self) -> Result<(), KernelError> {
        let mut heard = Vec::new();
        loop {
            // Desires that are there already go into the same batch.
            self.take_what_is_there();
            for _ in 0..EVENT_READS {
                if !self.events.read(&mut heard)? {
                    break;
                }
            }
            let now = self.now();
            let turn = self.reconciler.turn(now, &mut heard);
            self.report(turn);
            let due = match turn {
                Turn::Again => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Turn::Wait(due) => due,
            };
            let commands_open = !self.commands.is_closed() || !self.commands.is_empty();
            if self.feed.is_none() && !commands_open {
                return Ok(());
            }
            let timer = async {
                match due {
                    Some(due) => {
                        let due = self.origin + Duration::from_nanos(due.0);
                        tokio::time::sleep_until(due.into()).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                result = self.events.next(&mut heard) => result?,
                command = self.commands.recv(), if commands_open => {
                    if let Some(command) = command {
                        self.obey(command);
                    }
                }
                event = next(&mut self.feed) => match event {
                    Some(event) => self.learn(event),
                    None => self.feed = None,
                },
                () = timer => {}
            }
        }
    }

    fn take_what_is_there(&mut self) {
        for _ in 0..COMMANDS {
            let Ok(command) = self.commands.try_recv() else {
                break;
            };
            self.obey(command);
        }
        for _ in 0..FEED_PARTS {
            let Some(event) = self.feed.as_mut().and_then(|feed| feed.try_recv().ok()) else {
                break;
            };
            self.learn(event);
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.now();
        let fib = self.reconciler.fib();
        match command {
            Command::Desire(owner, slot, wish) => fib.desire(owner, slot, wish.as_ref(), now),
            Command::Renounce(owner, prefix) => fib.renounce(owner, prefix, now),
            Command::InSync(owner, family) => fib.in_sync(owner, family, now),
            Command::Settled(slots, answer) => self.waiting.push((slots, answer)),
            Command::Status(after, limit, answer) => {
                // Whoever asked may have gone away.
                let _ = answer.send(fib.status(after, limit));
            }
            Command::StatusAt(prefixes, answer) => {
                let mut found = prefixes.into_iter().map(|prefix| fib.status_at(prefix));
                let _ = answer.send(found.find(|at| !at.is_empty()).unwrap_or_default());
            }
        }
    }

    fn learn(&mut self, event: FeedEvent<Forwarding>) {
        let now = self.now();
        let fib = self.reconciler.fib();
        let metric = fib.settings().metric;
        match event {
            FeedEvent::Changes(changes) => {
                for change in &changes {
                    if self.carriers.is_some_and(|all| all.contains(change.prefix)) {
                        continue;
                    }
                    let slot = Slot::new(feed::prefix(change.prefix), metric);
                    let wish = self.wishes.of(change.route.as_ref());
                    fib.desire(Owner::Bgp, slot, wish, now);
                }
            }
            FeedEvent::InSync(family) => fib.in_sync(Owner::Bgp, feed::family(family), now),
        }
    }

    /// Tells the others what has changed.
    fn report(&mut self, turn: Turn) {
        // While there is much to do, not after every piece of it.
        let now = self.now();
        if matches!(turn, Turn::Wait(_)) || now.since(self.reported) >= REPORT_EVERY {
            self.reported = now;
            if let Some(problems) = self.reconciler.changed_problems() {
                self.problems.replace(KEYS, problems);
            }
        }
        let fib = self.reconciler.view();
        if self.progress.is_some()
            && fib.is_settled()
            && let Some(progress) = self.progress.take()
        {
            progress.in_sync(event::Owner::Fib);
        }
        for (slots, answer) in std::mem::take(&mut self.waiting) {
            let outcomes: Option<Vec<_>> = slots.iter().map(|slot| fib.outcome(slot)).collect();
            match outcomes {
                // Whoever asked may have gone away.
                Some(outcomes) => drop(answer.send(outcomes)),
                None if answer.is_closed() => {}
                None => self.waiting.push((slots, answer)),
            }
        }
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The next part of a feed; never, if there is none.
async fn next(
    feed: &mut Option<mpsc::Receiver<FeedEvent<Forwarding>>>,
) -> Option<FeedEvent<Forwarding>> {
    match feed {
        Some(feed) => feed.recv().await,
        None => std::future::pending().await,
    }
}
