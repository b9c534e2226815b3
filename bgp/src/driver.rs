//! The loop of the thread: wait, read what is there, turn the machine, write.
//!
//! Nothing here but the machine decides anything. A lone change costs one wait, one read and one
//! write; what came together is read together and answered together. No call waits but the one for
//! events.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpStream};
use tokio::sync::{mpsc, oneshot};
use wayleave_bgp_core::{
    Action, BfdReport, ConnId, Prefix, Speaker as Machine, Time, config::SpeakerConfig,
    feed::FeedEvent, view::SpeakerView,
};

use crate::{
    connection::{Connection, Progress, READ_SIZE},
    feed::{Ask, Feed, Prompt, Subscription},
    handle::{Command, Direction, Shutdown},
    interface,
    listener::Listeners,
    log,
    socket::{self, Target, Ttls},
    start::StartError,
    watch::{Watch, Way},
};

/// What a command, or a reader who has made room, wakes the loop with.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// Tokens of listening sockets begin here; below are the numbers of connections, of which a speaker
/// that opens a million a second uses up these in 292,000 years.
const LISTENERS: usize = 1 << 63;

/// Events taken from the system at once.
const EVENTS: usize = 256;

/// Connections taken from the system before others get their turn.
const ACCEPTS: usize = 64;

/// Commands carried out before others get their turn.
const COMMANDS: usize = 64;

/// How long the last messages of all sessions may take.
const LAST_MESSAGES: Duration = Duration::from_secs(2);

/// How often a feed that waits for its peers is looked at, and interfaces without an address that a
/// session needs.
const TICK: Duration = Duration::from_secs(1);

/// The longest wait: nothing is due.
const IDLE: Duration = Duration::from_secs(3_600);

/// The loop and all it owns.
pub(crate) struct Driver {
    origin: Instant,
    poll: Poll,
    waker: Arc<Waker>,
    machine: Machine,
    connections: BTreeMap<ConnId, Connection>,
    /// Connections to be looked at, each once.
    ready: VecDeque<ConnId>,
    /// Connections that have a deadline, or had one.
    limited: Vec<ConnId>,
    listeners: Listeners,
    commands: Receiver<Command>,
    /// Those who take changes at once come first.
    feeds: Vec<Box<dyn Subscription + Send>>,
    /// What is read from any connection goes through here; only the beginning of a message is left
    /// over, and kept by its connection.
    input: Vec<u8>,
    writable: Vec<ConnId>,
    /// When things without an event of their own were last looked at.
    ticked: Instant,
    /// Whoever asked for the end, and when it comes at the latest.
    stopping: Option<(oneshot::Sender<()>, Instant)>,
    bfd: Watch,
    /// Who wants to know of next hops.
    tracker: Option<mpsc::UnboundedSender<Vec<(IpAddr, bool)>>>,
}

/// Whether somebody has commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    Quiet,
    /// There may be more.
    Again,
    /// Nobody is left who could say anything.
    Abandoned,
}

impl Driver {
    /// A driver that listens where its configuration says.
    pub(crate) fn new(
        config: SpeakerConfig,
        poll: Poll,
        waker: Arc<Waker>,
        commands: Receiver<Command>,
    ) -> Result<Self, StartError> {
        let registry = poll.registry().try_clone().map_err(StartError::Thread)?;
        let mut listeners = Listeners::new(registry, LISTENERS);
        listeners.secure(&config);
        listeners.add(&config.listen)?;
        let origin = Instant::now();
        Ok(Self {
            origin,
            poll,
            bfd: Watch::new(Arc::clone(&waker)),
            waker,
            machine: Machine::new(Time(0), config),
            connections: BTreeMap::new(),
            ready: VecDeque::new(),
            limited: Vec::new(),
            listeners,
            commands,
            feeds: Vec::new(),
            input: vec![0; READ_SIZE],
            writable: Vec::new(),
            ticked: origin,
            stopping: None,
            tracker: None,
        })
    }

    /// Runs until told to end, or until nobody is left who could say so.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        // Connections to make stand ready from the start, and who came before the listening sockets
        // were watched.
        let mut more = true;
        let mut known = None;
        loop {
            let wait = if more {
                Duration::ZERO
            } else {
                let clock = Instant::now();
                let deadline = known.unwrap_or_else(|| self.deadline(clock));
                deadline.saturating_duration_since(clock)
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Without it nothing is heard again: better to end, and be started anew.
                Err(error) => {
                    tracing::error!(%error, "the BGP speaker cannot wait for its connections");
                    return;
                }
            }
            let (mut called, mut knocked) = (more, more);
            for event in &events {
                match event.token() {
                    WAKE => called = true,
                    Token(number) if number >= LISTENERS => {
                        knocked = true;
                        self.listeners.wake(event.token());
                    }
                    Token(number) => {
                        let conn = ConnId(number as u64);
                        if let Some(connection) = self.connections.get_mut(&conn) {
                            connection.note(event);
                            queue(&mut self.ready, connection, conn);
                        }
                    }
                }
            }
            more = self.advance();
            if called {
                let (now, machine) = (self.now(), &mut self.machine);
                self.bfd
                    .reports(|conn, report| machine.bfd(now, conn, report));
            }
            more |= self.turn();
            let clock = Instant::now();
            let deadline = self.deadline(clock);
            if deadline <= clock {
                self.on_time(clock);
                (more, knocked) = (true, true);
            }
            // Nothing below changes it for a lone change; every connection is asked for it.
            known = (!knocked && !called).then_some(deadline);
            if knocked {
                more |= self.accept(clock);
            }
            if called {
                match self.obey_all(clock) {
                    Called::Quiet => {}
                    Called::Again => more = true,
                    Called::Abandoned => return,
                }
                // What was asked for begins at once.
                more |= self.turn();
            }
            if let Some((_, deadline)) = &self.stopping
                && (self.connections.is_empty() || *deadline <= clock)
            {
                break;
            }
        }
        // Peers that did not take their last message are left behind.
        if let Some((done, _)) = self.stopping {
            // Whoever asked may be gone.
            let _ = done.send(());
        }
    }

    /// The speaker's time.
    fn now(&self) -> Time {
        self.time(Instant::now())
    }

    fn time(&self, clock: Instant) -> Time {
        let since = clock.saturating_duration_since(self.origin);
        Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Lets every connection that is ready do a piece of its work, such as one read; whether one has
    /// more.
    fn advance(&mut self) -> bool {
        for _ in 0..self.ready.len() {
            let Some(conn) = self.ready.pop_front() else {
                break;
            };
            let clock = Instant::now();
            let now = self.time(clock);
            let Some(connection) = self.connections.get_mut(&conn) else {
                continue;
            };
            connection.queued = false;
            match connection.advance(now, clock, &mut self.machine, &mut self.input) {
                Progress::Idle => {}
                Progress::More => queue(&mut self.ready, connection, conn),
                Progress::Ended(why) => {
                    self.connections.remove(&conn);
                    self.machine.closed(now, conn, &why);
                }
            }
        }
        !self.ready.is_empty()
    }

    /// One turn and everything it asks for; whether another is due at once.
    fn turn(&mut self) -> bool {
        let now = self.now();
        let mut more = self.machine.turn(now);
        if let Some(tracker) = &self.tracker
            && let Some(news) = self.machine.poll_next_hops()
        {
            // Whoever asked may be gone.
            let _ = tracker.send(news);
        }
        more |= self.act();
        // Where packets go is known before anybody is told to send some.
        self.feed(now, true);
        more |= self.write_all();
        self.feed(now, false);
        more | self.machine.wants_turn()
    }

    /// Does what the machine wants done; whether there was something.
    fn act(&mut self) -> bool {
        while let Some(news) = self.machine.poll_news() {
            log::write(&news);
        }
        let mut acted = false;
        while let Some(action) = self.machine.poll_action() {
            acted = true;
            match action {
                Action::Connect {
                    conn,
                    remote,
                    interface,
                    local,
                    ttl,
                    min_ttl,
                    password,
                } => {
                    if self.stopping.is_some() {
                        continue;
                    }
                    let target = Target {
                        remote,
                        interface: interface.as_deref(),
                        local,
                        ttls: Ttls {
                            ttl,
                            least: min_ttl,
                        },
                        password: password.as_ref(),
                    };
                    let clock = Instant::now();
                    let opening = socket::connect(&target).and_then(|stream| {
                        let connection = Connection::opening(conn, stream, remote, clock);
                        self.watch(conn, connection)
                    });
                    if let Err(error) = opening {
                        let now = self.time(clock);
                        self.machine.closed(now, conn, &error.to_string());
                    }
                }
                Action::BfdStart {
                    conn,
                    remote,
                    local,
                    link,
                    timers,
                } => {
                    let way = Way {
                        remote,
                        local,
                        link: link.as_deref(),
                        timers,
                    };
                    if let Err(why) = self.bfd.start(conn, &way) {
                        let now = self.now();
                        self.machine.bfd(now, conn, BfdReport::Trouble(why));
                    }
                }
                Action::BfdTimers { conn, timers } => self.bfd.retime(conn, timers),
                Action::BfdStop { conn } => self.bfd.stop(conn),
                Action::Close { conn } => {
                    let clock = Instant::now();
                    match self.connections.get_mut(&conn) {
                        Some(connection) if connection.is_open() => {
                            connection.close(clock);
                            self.limited.push(conn);
                            queue(&mut self.ready, connection, conn);
                        }
                        // Left alone, an attempt would come through one day: the neighbour would
                        // wait on it for our OPEN, and refuse the connection that we open instead.
                        Some(_) | None => {
                            self.connections.remove(&conn);
                            let now = self.time(clock);
                            self.machine.closed(now, conn, "closed by us");
                        }
                    }
                }
            }
        }
        acted
    }

    /// Hears of a connection from now on.
    fn watch(&mut self, conn: ConnId, mut connection: Connection) -> io::Result<()> {
        let token = Token(usize::try_from(conn.0).map_err(io::Error::other)?);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(connection.stream(), token, both)?;
        if connection.deadline().is_some() {
            self.limited.push(conn);
        }
        self.connections.insert(conn, connection);
        Ok(())
    }

    /// Writes to every connection that has something to write and room for it; whether one was found
    /// broken.
    fn write_all(&mut self) -> bool {
        let writable = &mut self.writable;
        self.machine.writable(|conn| writable.push(conn));
        if self.writable.is_empty() {
            return false;
        }
        let (now, mut broken) = (self.now(), false);
        for conn in self.writable.drain(..) {
            if let Some(connection) = self.connections.get_mut(&conn)
                && connection.write(now, &mut self.machine)
            {
                queue(&mut self.ready, connection, conn);
                broken = true;
            }
        }
        broken
    }

    /// Hands changes to those who read feeds: those who take them at once, or the others.
    fn feed(&mut self, now: Time, prompt: bool) {
        let machine = &mut self.machine;
        self.feeds.retain_mut(|feed| {
            let stays = feed.is_prompt() != prompt || feed.advance(machine, now);
            if !stays {
                machine.unsubscribe(feed.id());
            }
            stays
        });
    }

    /// When the loop must run without any event.
    fn deadline(&mut self, clock: Instant) -> Instant {
        let mut deadline = clock + IDLE;
        if let Some((due, _)) = self.machine.poll_timeout() {
            deadline = deadline.min(self.origin + Duration::from_nanos(due.0));
        }
        if self.machine.awaits_sync() || self.machine.undescribed().next().is_some() {
            deadline = deadline.min(self.ticked + TICK);
        }
        if let Some(pause) = self.listeners.deadline() {
            deadline = deadline.min(pause);
        }
        if let Some((_, end)) = self.stopping {
            deadline = deadline.min(end);
        }
        let connections = &self.connections;
        self.limited.retain(|conn| {
            let due = connections.get(conn).and_then(Connection::deadline);
            deadline = due.map_or(deadline, |due| due.min(deadline));
            due.is_some()
        });
        deadline
    }

    /// Something is due.
    fn on_time(&mut self, clock: Instant) {
        self.machine.handle_timeout(self.time(clock));
        for &conn in &self.limited {
            if let Some(connection) = self.connections.get_mut(&conn)
                && connection.deadline().is_some_and(|due| due <= clock)
            {
                queue(&mut self.ready, connection, conn);
            }
        }
        if self.ticked + TICK <= clock {
            self.ticked = clock;
            self.describe_again();
        }
    }

    /// Looks for addresses that sessions lacked when they came up: interfaces get theirs one by one.
    fn describe_again(&mut self) {
        let lacking: Vec<ConnId> = self.machine.undescribed().collect();
        for conn in lacking {
            // One that has just broken shows that in reading.
            if let Some(Ok(info)) = self.connections.get(&conn).map(Connection::describe) {
                self.machine.described(conn, info);
            }
        }
    }

    /// Takes connections that peers have opened; whether more wait.
    fn accept(&mut self, clock: Instant) -> bool {
        let mut taken = Vec::new();
        let more = self.listeners.accept(clock, ACCEPTS, &mut taken);
        for stream in taken {
            match (stream.local_addr(), stream.peer_addr()) {
                (Ok(local), Ok(remote)) => self.admit(stream, local, remote, clock),
                // It is gone already.
                (Err(_), _) | (_, Err(_)) => {}
            }
        }
        more
    }

    fn admit(&mut self, stream: TcpStream, local: SocketAddr, remote: SocketAddr, clock: Instant) {
        let now = self.time(clock);
        let admitted = self
            .machine
            .expects(remote.ip())
            .then(|| interface::describe(local, remote))
            .and_then(|info| self.machine.accepted(now, info));
        let Some(conn) = admitted else {
            tracing::debug!(%remote, "a connection from nobody we know, closed");
            return;
        };
        let (ttl, least) = self.machine.ttls(conn);
        // Nothing unsigned gets through, be it that the listening socket could not be given the key.
        let signed = match self.machine.password(conn) {
            Some(_) if self.listeners.lacks_key(remote.ip()) => Err(io::Error::other(
                "its password could not be set on the listening socket",
            )),
            Some(password) => {
                socket::md5::set(&stream, Prefix::host(remote.ip()), 0, Some(password))
            }
            None => Ok(()),
        };
        let watched = signed
            .and_then(|()| socket::prepare_stream(&stream, Ttls { ttl, least }))
            .and_then(|()| self.watch(conn, Connection::accepted(conn, stream, remote)));
        match watched {
            Ok(()) => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    queue(&mut self.ready, connection, conn);
                }
            }
            Err(error) => {
                tracing::warn!(%remote, %error, "a BGP connection was lost at once");
                self.machine.closed(now, conn, &error.to_string());
            }
        }
    }

    /// Carries out what was asked for meanwhile.
    fn obey_all(&mut self, clock: Instant) -> Called {
        for _ in 0..COMMANDS {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command, clock),
                Err(TryRecvError::Empty) => return Called::Quiet,
                // Whoever asked for the end need not wait for it.
                Err(TryRecvError::Disconnected) if self.stopping.is_some() => return Called::Quiet,
                Err(TryRecvError::Disconnected) => return Called::Abandoned,
            }
        }
        Called::Again
    }

    fn obey(&mut self, command: Command, clock: Instant) {
        let now = self.time(clock);
        let machine = &mut self.machine;
        // Who asked may have given up waiting: an answer nobody takes is no fault.
        match command {
            Command::Speaker(answer) => drop(answer.send(SpeakerView {
                deferring: machine.deferral(now),
                ..machine.view()
            })),
            Command::Peers(answer) => drop(answer.send(machine.peer_views(now))),
            Command::Routes(query, answer) => drop(answer.send(machine.routes(now, &query))),
            Command::Malformed(peer, answer) => drop(answer.send(machine.malformed(now, &peer))),
            Command::Reset(peer, text, answer) => {
                let _ = answer.send(machine.reset(now, &peer, text.as_deref()));
            }
            Command::ShutDown(peer, by, text, answer) => {
                let _ = answer.send(machine.shut_down(now, &peer, &by, text.as_deref()));
            }
            Command::Enable(peer, answer) => {
                let _ = answer.send(machine.enable(now, &peer));
            }
            Command::Refresh(peer, direction, family, answer) => {
                let _ = answer.send(match direction {
                    Direction::In => machine.ask_again(&peer, family),
                    Direction::Out => machine.tell_again(&peer, family),
                });
            }
            Command::Originate(routes) => machine.originate(now, routes),
            Command::OwnRoutesAreComplete => machine.own_routes_are_complete(now),
            Command::NeighborIs(interface, address) => {
                machine.neighbor_is(now, &interface, address);
            }
            Command::TrackNextHops(news) => {
                machine.track_next_hops();
                self.tracker = Some(news);
            }
            Command::Reachable(next_hops) => machine.reachable(&next_hops),
            Command::LinkDown(interface) => machine.link_down(now, &interface),
            Command::Withdraw(rank, prefixes) => machine.withdraw(now, rank, &prefixes),
            // Nothing is begun any more; whoever asked hears that the speaker is gone.
            Command::Reconfigure(..) if self.stopping.is_some() => {}
            Command::Reconfigure(config, answer) => {
                let done = self.listeners.become_those_of(&config.listen);
                let done = done.map(|listening| {
                    self.listeners.secure(&config);
                    let mut done = self.machine.reconfigure(now, *config);
                    done.extend(listening);
                    done
                });
                drop(answer.send(done));
            }
            Command::Subscribe(events) => self.subscribe(Machine::poll_feed, None, events),
            Command::SubscribeForwarding(prompt, events) => {
                self.subscribe(Machine::poll_forwarding, prompt, events);
            }
            Command::Shutdown(why, done) => {
                // Before the sessions close: a stop is no loss of routes, and readers of a feed
                // keep what they had.
                for feed in self.feeds.drain(..) {
                    machine.unsubscribe(feed.id());
                }
                match &why {
                    Shutdown::Restart => machine.depart(now),
                    Shutdown::Administrative(text) => machine.shutdown(now, Some(text)),
                }
                self.listeners.clear();
                self.stopping = Some((done, clock + LAST_MESSAGES));
            }
        }
    }

    /// Starts to hand best routes to a subscriber.
    fn subscribe<R: Send + 'static>(
        &mut self,
        ask: Ask<R>,
        prompt: Option<Prompt<R>>,
        events: mpsc::Sender<FeedEvent<R>>,
    ) {
        if self.stopping.is_some() {
            return;
        }
        let id = self.machine.subscribe();
        let first = prompt.is_some();
        let feed = Feed::new(id, ask, prompt, events, Arc::clone(&self.waker));
        let place = if first { 0 } else { self.feeds.len() };
        self.feeds.insert(place, Box::new(feed));
    }
}

/// Has a connection looked at, once.
fn queue(ready: &mut VecDeque<ConnId>, connection: &mut Connection, conn: ConnId) {
    if !connection.queued {
        connection.queued = true;
        ready.push_back(conn);
    }
}
