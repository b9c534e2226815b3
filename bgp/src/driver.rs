//! The thread: one loop that turns the speaker, writes, and waits.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    rc::Rc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::LocalSet,
};
use wayleave_bgp_core::{
    Action, ConnId, FeedId, Speaker as Machine, Time, config::SpeakerConfig, feed::FeedEvent,
};

use crate::{
    connection::{self, Connection},
    feed,
    handle::{Command, Shutdown, SpeakerHandle},
    listener,
    signal::Signal,
    socket,
};

/// Why a speaker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address it should listen on cannot be had.
    #[error("cannot listen for BGP on {address}: {}", hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The thread could not be made.
    #[error("cannot start the BGP speaker's thread: {0}")]
    Thread(io::Error),
}

fn hint(error: &io::Error) -> String {
    let known = [
        (
            io::ErrorKind::AddrInUse,
            "another process (another BGP daemon?) listens there already; stop it, or set \
             bgp.listen to another address",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "no interface has this address; configure it, or set bgp.listen to one that is there",
        ),
    ];
    let hint = known.iter().find(|(kind, _)| *kind == error.kind());
    hint.map_or_else(|| error.to_string(), |(_, hint)| (*hint).to_owned())
}

/// A running speaker.
#[derive(Debug)]
pub struct Speaker {
    /// How to talk to it.
    pub handle: SpeakerHandle,
    thread: thread::JoinHandle<()>,
}

impl Speaker {
    /// Waits for the thread's end; [`SpeakerHandle::shutdown`] first. Blocks.
    ///
    /// # Errors
    ///
    /// What the thread panicked with, if it did.
    pub fn join(self) -> thread::Result<()> {
        self.thread.join()
    }
}

/// Starts a speaker on a thread of its own. It listens before this returns.
///
/// # Errors
///
/// [`StartError`] when it cannot.
pub fn spawn(config: SpeakerConfig) -> Result<Speaker, StartError> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (started, outcome) = std::sync::mpsc::channel();
    let thread = thread::Builder::new()
        .name("bgp".to_owned())
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = started.send(Err(StartError::Thread(error)));
                    return;
                }
            };
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                let listeners = match bind(&config.listen) {
                    Ok(listeners) => listeners,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return;
                    }
                };
                let driver = Driver::new(config);
                for (address, socket) in listeners {
                    driver.listen(address, socket);
                }
                let _ = started.send(Ok(()));
                // A task like the others, not the future that is blocked on: that one is polled only
                // after another look at the system for events, which each change would wait for.
                let turns = tokio::task::spawn_local(driver.run(receiver));
                if let Err(error) = turns.await
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
            });
        })
        .map_err(StartError::Thread)?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(Speaker {
            handle: SpeakerHandle::new(commands),
            thread,
        }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Thread(io::Error::other(
            "it ended before it listened",
        ))),
    }
}

type Bound = Vec<(SocketAddr, tokio::net::TcpListener)>;

fn bind(addresses: &[SocketAddr]) -> Result<Bound, StartError> {
    let bind = |&address: &SocketAddr| match socket::listen(address) {
        Ok(socket) => Ok((address, socket)),
        Err(source) => Err(StartError::Listen { address, source }),
    };
    addresses.iter().map(bind).collect()
}

/// The longest message.
const MESSAGE: usize = 4_096;

/// What the loop runs for.
enum Event {
    Due,
    Deadline,
    Command(Command),
    /// Nobody is left who could say anything.
    Abandoned,
}

/// What the tasks of the thread share.
pub(crate) struct Driver {
    origin: Instant,
    pub(crate) machine: RefCell<Machine>,
    pub(crate) connections: RefCell<BTreeMap<ConnId, Rc<Connection>>>,
    /// Connections that are being opened.
    pub(crate) attempts: RefCell<BTreeMap<ConnId, tokio::task::AbortHandle>>,
    listeners: RefCell<BTreeMap<SocketAddr, tokio::task::JoinHandle<()>>>,
    /// Something came in: a turn is due. The task that takes it runs behind everything that was
    /// ready before, so that what came together is answered together.
    pub(crate) due: Signal,
    /// Since the last turn that ran behind all readers, one of them was answered at once.
    answered: Cell<bool>,
    /// What is read from any connection goes through here; only the beginning of a message is left
    /// over, and kept by its connection.
    pub(crate) input: RefCell<Vec<u8>>,
    feeds: RefCell<Vec<Rc<Notify>>>,
    stopping: Cell<bool>,
}

impl Driver {
    fn new(config: SpeakerConfig) -> Rc<Self> {
        Rc::new(Self {
            origin: Instant::now(),
            machine: RefCell::new(Machine::new(Time(0), config)),
            connections: RefCell::default(),
            attempts: RefCell::default(),
            listeners: RefCell::default(),
            due: Signal::default(),
            answered: Cell::new(false),
            input: RefCell::new(vec![0; connection::READ_SIZE]),
            feeds: RefCell::default(),
            stopping: Cell::new(false),
        })
    }

    /// The speaker's time.
    pub(crate) fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn listen(self: &Rc<Self>, address: SocketAddr, socket: tokio::net::TcpListener) {
        let task = tokio::task::spawn_local(listener::run(Rc::clone(self), socket));
        self.listeners.borrow_mut().insert(address, task);
    }

    async fn run(self: Rc<Self>, mut commands: mpsc::UnboundedReceiver<Command>) {
        // Connections to make stand ready from the start.
        self.due.give();
        let timer = tokio::time::sleep_until(self.deadline().into());
        tokio::pin!(timer);
        loop {
            let deadline = self.deadline().into();
            // A deadline that moved away is left alone, or every message would set the timer anew: it
            // finds nothing due then, and the next one is set.
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            // What is rarer is looked at first. Turns are taken after everything.
            let event = poll_fn(|cx| {
                if timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Event::Deadline);
                }
                if let Poll::Ready(command) = commands.poll_recv(cx) {
                    return Poll::Ready(command.map_or(Event::Abandoned, Event::Command));
                }
                self.due.poll(cx).map(|()| Event::Due)
            });
            match event.await {
                Event::Due => {}
                Event::Deadline => {
                    let now = self.now();
                    self.machine.borrow_mut().handle_timeout(now);
                    self.describe_again();
                    self.wake_feeds();
                }
                Event::Command(command) => {
                    if let Some(done) = self.obey(command).await {
                        self.finish().await;
                        let _ = done.send(());
                        break;
                    }
                }
                Event::Abandoned => break,
            }
            if self.turn() {
                // Behind whoever has read meanwhile; and timers and commands come before it.
                self.due.give();
                tokio::task::yield_now().await;
            } else {
                self.answered.set(false);
            }
        }
    }

    /// Something came in on a connection. Turns run behind all readers that were ready, but the first
    /// of them that brings no more than a message is answered at once: mostly it is the only one, and
    /// need not wait for what else there is to look at.
    pub(crate) fn heard(self: &Rc<Self>, count: usize) {
        if count <= MESSAGE && !self.answered.replace(true) {
            self.turn();
        }
        self.due.give();
    }

    /// One turn and everything it asks for; whether another is due at once.
    fn turn(self: &Rc<Self>) -> bool {
        let now = self.now();
        let more = self.machine.borrow_mut().turn(now);
        self.act();
        self.write_all();
        self.wake_feeds();
        more | self.machine.borrow_mut().wants_turn()
    }

    fn act(self: &Rc<Self>) {
        loop {
            let Some(action) = self.machine.borrow_mut().poll_action() else {
                break;
            };
            match action {
                Action::Connect {
                    conn,
                    remote,
                    interface,
                    local,
                    ttl,
                    min_ttl,
                } => {
                    if self.stopping.get() {
                        continue;
                    }
                    let ttls = socket::Ttls {
                        ttl,
                        least: min_ttl,
                    };
                    let driver = Rc::clone(self);
                    let attempt = tokio::task::spawn_local(async move {
                        let target = socket::Target {
                            remote,
                            interface: interface.as_deref(),
                            local,
                            ttls,
                        };
                        connection::open(driver, conn, target).await;
                    });
                    // It has not run yet, and takes itself out when it is through.
                    let mut attempts = self.attempts.borrow_mut();
                    attempts.insert(conn, attempt.abort_handle());
                }
                Action::Close { conn } => {
                    let connection = self.connections.borrow().get(&conn).cloned();
                    match connection {
                        Some(connection) => connection.close(),
                        None => {
                            // Left alone, it would come through one day: the neighbour would wait on
                            // it for our OPEN, and refuse the connection that we open instead.
                            if let Some(attempt) = self.attempts.borrow_mut().remove(&conn) {
                                attempt.abort();
                            }
                            let now = self.now();
                            self.machine.borrow_mut().closed(now, conn, "closed by us");
                        }
                    }
                }
            }
        }
    }

    /// Writes to every connection that has something to write and room for it.
    fn write_all(&self) {
        let mut ready = Vec::new();
        self.machine.borrow().writable(|conn| ready.push(conn));
        let now = self.now();
        let connections = self.connections.borrow();
        for conn in ready {
            if let Some(connection) = connections.get(&conn) {
                connection.write(now, &mut self.machine.borrow_mut());
            }
        }
    }

    /// Looks for addresses that sessions lacked when they came up: interfaces get theirs one by one.
    fn describe_again(&self) {
        let lacking: Vec<ConnId> = self.machine.borrow().undescribed().collect();
        for conn in lacking {
            let connection = self.connections.borrow().get(&conn).cloned();
            // One that has just broken shows that in reading.
            if let Some(Ok(info)) = connection.map(|connection| connection.describe()) {
                self.machine.borrow_mut().described(conn, info);
            }
        }
    }

    fn wake_feeds(&self) {
        for feed in self.feeds.borrow().iter() {
            feed.notify_one();
        }
    }

    /// Whether the speaker was told to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(crate) fn drop_feed(&self, id: FeedId, wake: &Rc<Notify>) {
        self.machine.borrow_mut().unsubscribe(id);
        self.feeds
            .borrow_mut()
            .retain(|feed| !Rc::ptr_eq(feed, wake));
    }

    /// When the loop must run without any event.
    fn deadline(&self) -> Instant {
        /// How often a feed that waits for its peers is looked at, and interfaces without an address
        /// that a session needs.
        const TICK: Duration = Duration::from_secs(1);
        const IDLE: Duration = Duration::from_secs(3_600);
        let machine = self.machine.borrow();
        let ticks = machine.awaits_sync() || machine.undescribed().next().is_some();
        let latest = if ticks { TICK } else { IDLE };
        let latest = Instant::now() + latest;
        let due = machine
            .poll_timeout()
            .map(|(due, _)| self.origin + Duration::from_nanos(due.0));
        due.map_or(latest, |due| due.min(latest))
    }

    /// Carries a command out. The sender of a shutdown is returned: the loop ends with it.
    async fn obey(self: &Rc<Self>, command: Command) -> Option<oneshot::Sender<()>> {
        let now = self.now();
        // Borrowed anew each time: nothing may be held while something is waited for.
        let machine = || self.machine.borrow_mut();
        // Who asked may have given up waiting: an answer nobody takes is no fault.
        match command {
            Command::Speaker(answer) => drop(answer.send(machine().view())),
            Command::Peers(answer) => drop(answer.send(machine().peer_views(now))),
            Command::Routes(query, answer) => drop(answer.send(machine().routes(now, &query))),
            Command::Reset(peer, text, answer) => {
                let _ = answer.send(machine().reset(now, &peer, text.as_deref()));
            }
            Command::Originate(routes) => machine().originate(now, routes),
            Command::Withdraw(rank, prefixes) => machine().withdraw(now, rank, &prefixes),
            Command::Reconfigure(config, answer) => {
                drop(answer.send(self.reconfigure(*config).await));
            }
            Command::Subscribe(events) => self.feed(Machine::poll_feed, None, events),
            Command::SubscribeForwarding(prompt, events) => {
                self.feed(Machine::poll_forwarding, prompt, events);
            }
            Command::Shutdown(why, done) => {
                let text = match &why {
                    Shutdown::Restart => None,
                    Shutdown::Administrative(text) => Some(text.as_str()),
                };
                // Before the sessions close: a stop is no loss of routes, and readers of a feed
                // keep what they had.
                self.stopping.set(true);
                machine().shutdown(now, text);
                return Some(done);
            }
        }
        None
    }

    /// Starts to hand best routes to a subscriber.
    fn feed<R: 'static>(
        self: &Rc<Self>,
        poll: feed::Poll<R>,
        prompt: Option<feed::Prompt<R>>,
        events: mpsc::Sender<FeedEvent<R>>,
    ) {
        let id = self.machine.borrow_mut().subscribe();
        let wake = Rc::new(Notify::new());
        self.feeds.borrow_mut().push(Rc::clone(&wake));
        let run = feed::run(Rc::clone(self), id, wake, poll, prompt, events);
        tokio::task::spawn_local(run);
    }

    /// Puts a configuration in force, or nothing of it.
    async fn reconfigure(
        self: &Rc<Self>,
        config: SpeakerConfig,
    ) -> Result<Vec<String>, StartError> {
        let listening = self.listen_anew(&config.listen).await?;
        let now = self.now();
        let mut done = self.machine.borrow_mut().reconfigure(now, config);
        done.extend(listening);
        Ok(done)
    }

    /// Makes the listening sockets those of a new configuration. When one of them cannot be had,
    /// those there were stay.
    async fn listen_anew(
        self: &Rc<Self>,
        wanted: &[SocketAddr],
    ) -> Result<Vec<String>, StartError> {
        let old: Vec<SocketAddr> = self.listeners.borrow().keys().copied().collect();
        let gone: Vec<_> = old
            .iter()
            .filter(|old| !wanted.contains(old))
            .copied()
            .collect();
        let new: Vec<_> = wanted
            .iter()
            .filter(|new| !old.contains(new))
            .copied()
            .collect();
        // The system has no room for 0.0.0.0 and an address of it on one port: there the old
        // socket has to go first.
        let (in_the_way, other) = gone
            .iter()
            .partition(|gone| new.iter().any(|new| new.port() == gone.port()));
        let in_the_way: Vec<SocketAddr> = in_the_way;
        let other: Vec<SocketAddr> = other;
        self.stop_listening(&in_the_way).await;
        let sockets = match bind(&new) {
            Ok(sockets) => sockets,
            Err(error) => {
                for address in in_the_way {
                    match socket::listen(address) {
                        Ok(socket) => self.listen(address, socket),
                        // Somebody took it in these microseconds: there is nothing to fall back on.
                        Err(error) => tracing::error!(%address, %error, "no longer listening"),
                    }
                }
                return Err(error);
            }
        };
        for (address, socket) in sockets {
            self.listen(address, socket);
        }
        self.stop_listening(&other).await;
        let gone = gone
            .iter()
            .map(|address| format!("no longer listening on {address}"));
        let new = new.iter().map(|address| format!("listening on {address}"));
        Ok(gone.chain(new).collect())
    }

    async fn stop_listening(&self, addresses: &[SocketAddr]) {
        for address in addresses {
            let task = self.listeners.borrow_mut().remove(address);
            if let Some(task) = task {
                task.abort();
                // Its end is the socket's; that it was cancelled is no news.
                let _ = task.await;
            }
        }
    }

    /// Lets the last messages out.
    async fn finish(self: &Rc<Self>) {
        for task in self.listeners.borrow().values() {
            task.abort();
        }
        let all_closed = async {
            loop {
                self.turn();
                if self.connections.borrow().is_empty() {
                    break;
                }
                self.due.given().await;
            }
        };
        // Peers that do not take their last message are left behind.
        let _ = tokio::time::timeout(Duration::from_secs(2), all_closed).await;
    }
}
