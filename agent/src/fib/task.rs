//! The thread: feeds, desires and events in; one turn after the other; problems out.
//!
//! It has a thread of its own because the kernel works changes off within the system call: a table
//! of a million routes is seconds of that, which nobody else on the thread would survive.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::sync::{Notify, mpsc, oneshot};
use wayleave_bgp::Prompt;
use wayleave_bgp_core::{
    self as bgp, Time,
    feed::{FeedEvent, Forwarding},
};
use wayleave_netlink::{
    FORWARDING, Family, KernelError, Monitor, Netlink, Prefix, Readiness, Route,
};

use super::{
    core::Core,
    machine::{Fib, Settings, Slot, Status},
    reconciler::{Reconciler, Turn},
    trouble::Trouble,
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
pub struct Learned {
    /// Has the speaker hand over what goes where; called once.
    pub subscribe: Subscribe,
    /// The carriers of the fabric, if there are any: they say something and lead nowhere.
    pub carriers: Option<bgp::Prefix>,
    /// Is told whether next hops of the speaker can be reached, where that changes.
    pub reachable: Reachable,
}

/// See [`Learned`].
pub type Reachable = Box<dyn Fn(Vec<(IpAddr, bool)>) + Send>;

/// See [`Learned`].
pub type Subscribe = Box<dyn FnOnce(Prompt<Forwarding>) -> mpsc::Receiver<FeedEvent<Forwarding>>>;

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
    Track(Vec<(IpAddr, bool)>),
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

    /// These next hops of the speaker have come into use (`true`), or out of it.
    pub fn track(&self, next_hops: Vec<(IpAddr, bool)>) {
        self.send(Command::Track(next_hops));
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
    let reconciler = Reconciler::new(fib, kernel);
    let core = Core::new(
        reconciler,
        monitor,
        learned.carriers,
        learned.reachable,
        problems,
        progress,
    );
    let shared = Arc::new(Shared {
        core: Mutex::new(core),
        on_their_way: AtomicUsize::new(0),
        wake: Notify::new(),
    });
    let prompt = Arc::clone(&shared);
    let feed = (learned.subscribe)(Box::new(move |event| prompt.at_once(event)));
    let (ended, end) = oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Lost::Runtime)?;
        runtime.block_on(async {
            let readiness = shared.core().monitor().readiness()?;
            let task = Task {
                readiness,
                shared,
                feed: Some(feed),
                commands: received,
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

/// What the thread and the speaker's prompt have in common.
struct Shared {
    core: Mutex<Core>,
    /// Events the prompt has given back and the thread has not learned yet.
    on_their_way: AtomicUsize,
    wake: Notify,
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        // Whoever panicked has ended the agent; in a test, the test.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the speaker's thread: does an event at once, or gives it back for the channel.
    fn at_once(&self, event: FeedEvent<Forwarding>) -> Option<FeedEvent<Forwarding>> {
        let left = match self.core.try_lock() {
            Ok(mut core) if self.on_their_way.load(Ordering::Acquire) == 0 => {
                match core.at_once(event) {
                    Ok(more) => {
                        if more {
                            self.wake.notify_one();
                        }
                        return None;
                    }
                    Err(event) => event,
                }
            }
            Ok(_) | Err(_) => event,
        };
        self.on_their_way.fetch_add(1, Ordering::AcqRel);
        Some(left)
    }
}

struct Task {
    shared: Arc<Shared>,
    readiness: Readiness,
    feed: Option<mpsc::Receiver<FeedEvent<Forwarding>>>,
    commands: mpsc::UnboundedReceiver<Command>,
}

impl Task {
    async fn run(mut self) -> Result<(), KernelError> {
        loop {
            let turn = self.turn()?;
            let due = match turn {
                Turn::Again => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Turn::Wait(due) => due.map(|due| self.shared.core().instant(due)),
            };
            let commands_open = !self.commands.is_closed() || !self.commands.is_empty();
            if self.feed.is_none() && !commands_open {
                return Ok(());
            }
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                result = self.readiness.changed() => result?,
                () = self.shared.wake.notified() => {}
                command = self.commands.recv(), if commands_open => {
                    if let Some(command) = command {
                        obey(&mut self.shared.core(), command);
                    }
                }
                event = next(&mut self.feed) => match event {
                    Some(event) => self.learn(&mut self.shared.core(), event),
                    None => self.feed = None,
                },
                () = timer => {}
            }
        }
    }

    /// A turn, with all desires that are there already.
    fn turn(&mut self) -> Result<Turn, KernelError> {
        let mut core = self.shared.core();
        for _ in 0..COMMANDS {
            let Ok(command) = self.commands.try_recv() else {
                break;
            };
            obey(&mut core, command);
        }
        for _ in 0..FEED_PARTS {
            let Some(event) = self.feed.as_mut().and_then(|feed| feed.try_recv().ok()) else {
                break;
            };
            self.learn(&mut core, event);
        }
        core.turn()
    }

    fn learn(&self, core: &mut Core, event: FeedEvent<Forwarding>) {
        core.learn(event);
        // In tests events come without the prompt.
        let _ =
            self.shared
                .on_their_way
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                    count.checked_sub(1)
                });
    }
}

fn obey(core: &mut Core, command: Command) {
    let now = core.now();
    let fib = core.reconciler.fib();
    match command {
        Command::Desire(owner, slot, wish) => fib.desire(owner, slot, wish.as_ref(), now),
        Command::Renounce(owner, prefix) => fib.renounce(owner, prefix, now),
        Command::InSync(owner, family) => fib.in_sync(owner, family, now),
        Command::Settled(slots, answer) => core.waiting.push((slots, answer)),
        Command::Status(after, limit, answer) => {
            // Whoever asked may have gone away.
            let _ = answer.send(fib.status(after, limit));
        }
        Command::Track(next_hops) => fib.track(&next_hops),
        Command::StatusAt(prefixes, answer) => {
            let mut found = prefixes.into_iter().map(|prefix| fib.status_at(prefix));
            let _ = answer.send(found.find(|at| !at.is_empty()).unwrap_or_default());
        }
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
