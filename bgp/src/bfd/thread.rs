//! The thread: one loop that reads, lets time pass, sends, and sleeps.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use wayleave_bfd::{Bfd, Diagnostic, SessionId, Time};

use super::{
    handle::{BfdEvent, BfdHandle, BfdSession, BfdView, Command, Events, Options},
    listen::Listener,
    peer::{self, Peer},
    schedule,
    wake::{self, Sleeper},
};

/// How often what could not be had is tried for.
const RETRY: Duration = Duration::from_millis(250);
/// How long a close waits for neighbours to notice. One that has not by then missed its packet, and
/// the next would be due a second after it (RFC 5880, 6.8.3): its detection time is over before.
const FAREWELL: Duration = Duration::from_millis(500);
/// A wake-up so late says that the thread, or the machine, stood still.
const LATE: Duration = Duration::from_millis(10);
/// What the kernel gets then to deliver what has come meanwhile; and what others get of the
/// processor when there is more to read than can be.
const PAUSE: Duration = Duration::from_millis(1);

/// Starts the thread, named `bfd`. It has no sockets before it has sessions.
///
/// # Errors
///
/// When the system has no room for another thread.
pub fn spawn(options: Options) -> io::Result<(BfdHandle, Events)> {
    let (commands, receiver) = std::sync::mpsc::channel();
    let (events, reader) = mpsc::unbounded_channel();
    let (waker, sleeper) = wake::pair()?;
    std::thread::Builder::new()
        .name("bfd".to_owned())
        .spawn(move || Thread::new(options, receiver, events, sleeper).run())?;
    Ok((BfdHandle::new(commands, waker), reader))
}

struct Thread {
    origin: Instant,
    machine: Bfd,
    options: Options,
    peers: BTreeMap<SessionId, Peer>,
    /// Peers that were removed and whose sessions say goodbye.
    leaving: BTreeMap<SessionId, Peer>,
    /// By address, and whether it is for several hops.
    listeners: BTreeMap<(IpAddr, bool), Listener>,
    commands: Receiver<Command>,
    events: mpsc::UnboundedSender<BfdEvent>,
    sleeper: Sleeper,
    /// When what could not be had is tried for again.
    retry: Option<Time>,
    /// Whom to tell when all have left, and until when they may take.
    closing: Option<(Time, Option<oneshot::Sender<()>>)>,
    scheduling: String,
    late_wakeups: u64,
}

impl Thread {
    fn new(
        options: Options,
        commands: Receiver<Command>,
        events: mpsc::UnboundedSender<BfdEvent>,
        sleeper: Sleeper,
    ) -> Self {
        Self {
            origin: Instant::now(),
            machine: Bfd::new(peer::random()),
            options,
            peers: BTreeMap::new(),
            leaving: BTreeMap::new(),
            listeners: BTreeMap::new(),
            commands,
            events,
            sleeper,
            retry: None,
            closing: None,
            scheduling: String::new(),
            late_wakeups: 0,
        }
    }

    fn run(mut self) {
        self.scheduling = schedule::raise();
        tracing::debug!(scheduling = %self.scheduling, "BFD runs");
        loop {
            self.sleeper.rouse();
            self.obey_all();
            // In this order, or a neighbour would be taken for silent whose packet lies in the socket
            // because we were not scheduled: everything that had come by `now` is read, then judged.
            let now = self.now();
            let more = self.read_all(now);
            self.machine.handle_timeout(now);
            if self.retry.is_some_and(|retry| retry <= now) {
                self.provide();
            }
            self.put_out();
            if self.has_closed(now) {
                break;
            }
            if more {
                // A flood: it shall not have the processor to itself.
                std::thread::sleep(PAUSE);
            } else {
                self.sleep();
            }
        }
        if let Some((_, Some(done))) = self.closing {
            // Who asked may have given up waiting.
            let _ = done.send(());
        }
    }

    /// The machine's time.
    fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep(&mut self) {
        let closing = self.closing.as_ref().map(|(until, _)| *until);
        let deadlines = [self.machine.poll_timeout(), self.retry, closing];
        let due = deadlines.into_iter().flatten().min();
        let most = due.map(|due| due.since(self.now()));
        let readers = self.listeners.values().map(Listener::fd);
        if let Err(error) = self.sleeper.sleep(readers, most) {
            tracing::error!(%error, "BFD cannot wait for its sockets");
            std::thread::sleep(LATE);
        }
        if due.is_some_and(|due| self.now().since(due) >= LATE) {
            self.late_wakeups += 1;
            // What came meanwhile may lie in a queue of the kernel that has had no time either.
            std::thread::sleep(PAUSE);
        }
    }

    /// Reads all sockets empty; or says that it could not.
    fn read_all(&mut self, now: Time) -> bool {
        let machine = &mut self.machine;
        let mut more = false;
        for listener in self.listeners.values_mut() {
            more |= listener.read(|datagram, payload| {
                // Counted by the machine.
                let _ = machine.received(now, datagram, payload);
            });
        }
        more
    }

    /// Sends packets and hands out events.
    fn put_out(&mut self) {
        while let Some(transmit) = self.machine.poll_transmit() {
            let id = transmit.session;
            let peer = self
                .peers
                .get_mut(&id)
                .or_else(|| self.leaving.get_mut(&id));
            let Some(peer) = peer else { continue };
            peer.send(transmit.destination, &transmit.bytes);
            if !peer.has_socket() && self.retry.is_none() {
                self.retry = Some(self.now() + RETRY);
            }
        }
        let (machine, before) = (&self.machine, self.leaving.len());
        self.leaving.retain(|id, _| machine.knows(*id));
        if self.leaving.len() < before {
            self.close_listeners();
        }
        // A reader that is gone has no questions.
        for (&session, peer) in &mut self.peers {
            if peer.told == peer.trouble {
                continue;
            }
            peer.told.clone_from(&peer.trouble);
            let _ = self.events.send(match &peer.trouble {
                Some(what) => BfdEvent::Trouble {
                    session,
                    what: what.clone(),
                },
                None => BfdEvent::Healed { session },
            });
        }
        while let Some(event) = self.machine.poll_event() {
            let _ = self.events.send(BfdEvent::State(event));
        }
    }

    fn obey_all(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.close(None);
                    break;
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Add(id, session) => self.add(id, session),
            Command::Remove(id) => self.remove(now, id),
            Command::Reconfigure(id, timers) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.config.timers = timers;
                    self.machine.reconfigure(now, id, timers);
                }
            }
            Command::AdminDown(id, down) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.admin_down = down;
                    let why = down.then_some(Diagnostic::ADMIN_DOWN);
                    self.machine.set_admin_down(now, id, why);
                }
            }
            Command::View(answer) => drop(answer.send(self.view(now))),
            Command::Close(done) => self.close(Some(done)),
            #[cfg(test)]
            Command::Stall(time) => std::thread::sleep(time),
        }
    }

    fn add(&mut self, id: SessionId, session: BfdSession) {
        if self.closing.is_none() {
            self.peers.insert(id, Peer::new(session));
            self.provide();
        }
    }

    fn remove(&mut self, now: Time, id: SessionId) {
        self.machine.remove(now, id);
        if let Some(peer) = self.peers.remove(&id) {
            // Its last packet goes out with the others.
            self.leaving.insert(id, peer);
        }
    }

    /// Everybody is told, once.
    fn close(&mut self, done: Option<oneshot::Sender<()>>) {
        let now = self.now();
        match &mut self.closing {
            Some((_, waiting)) => *waiting = done.or(waiting.take()),
            none => *none = Some((now + FAREWELL, done)),
        }
        let ids: Vec<SessionId> = self.peers.keys().copied().collect();
        for id in ids {
            self.machine.remove(now, id);
            if let Some(peer) = self.peers.remove(&id) {
                self.leaving.insert(id, peer);
            }
        }
    }

    fn has_closed(&self, now: Time) -> bool {
        let closing = self.closing.as_ref();
        closing.is_some_and(|(until, _)| self.machine.is_empty() || *until <= now)
    }

    /// Sees to it that each peer has its session, its socket, and one that receives for it; what
    /// cannot be had is tried for again.
    fn provide(&mut self) {
        let now = self.now();
        let mut trouble = false;
        let ids: Vec<SessionId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(mut peer) = self.peers.remove(&id) else {
                continue;
            };
            let provided = self.provide_for(now, id, &mut peer);
            trouble |= provided.is_err();
            peer.note(provided);
            self.peers.insert(id, peer);
        }
        self.retry = trouble.then(|| now + RETRY);
    }

    fn provide_for(&mut self, now: Time, id: SessionId, peer: &mut Peer) -> Result<(), String> {
        self.listen_for(&peer.config)?;
        if !peer.has_socket() {
            peer.find_interface();
        }
        if self.machine.knows(id) {
            self.machine.set_interface(now, id, peer.interface);
        } else {
            // What was to be sent goes out with the sockets there are.
            let added = self.machine.add(now, id, peer.session());
            added.map_err(|error| error.to_string())?;
            if peer.admin_down {
                let why = Some(Diagnostic::ADMIN_DOWN);
                self.machine.set_admin_down(now, id, why);
            }
        }
        if !peer.has_socket() {
            let others = self.peers.values().chain(self.leaving.values());
            peer.open(&others.filter_map(Peer::port).collect())?;
        }
        Ok(())
    }

    /// The addresses that a session may be received at.
    fn listening(&self, session: &BfdSession) -> Vec<(IpAddr, bool)> {
        let addresses = self.options.listen.iter();
        let of_family = addresses.filter(|address| address.is_ipv4() == session.remote.is_ipv4());
        of_family
            .map(|address| (*address, session.hops.is_multi()))
            .collect()
    }

    fn listen_for(&mut self, session: &BfdSession) -> Result<(), String> {
        let wanted = self.listening(session);
        if wanted.is_empty() {
            return Err(format!(
                "listens at no address to hear {} at",
                session.remote
            ));
        }
        for key @ (address, multihop) in wanted {
            if self.listeners.contains_key(&key) {
                continue;
            }
            let listener = Listener::open(address, multihop).map_err(|error| {
                let taken = error.kind() == io::ErrorKind::AddrInUse;
                let hint = if taken { " (another BFD daemon?)" } else { "" };
                format!("cannot receive BFD at {address}: {error}{hint}")
            })?;
            self.listeners.insert(key, listener);
        }
        Ok(())
    }

    /// Closes what nobody is received at any more.
    fn close_listeners(&mut self) {
        let peers = self.peers.values().chain(self.leaving.values());
        let wanted: Vec<_> = peers
            .flat_map(|peer| self.listening(&peer.config))
            .collect();
        self.listeners.retain(|key, _| wanted.contains(key));
    }

    fn view(&self, now: Time) -> BfdView {
        let mut sessions: BTreeMap<SessionId, _> = self
            .machine
            .view(now)
            .into_iter()
            .map(|session| (session.session, session))
            .collect();
        BfdView {
            peers: self
                .peers
                .iter()
                .map(|(id, peer)| peer.view(sessions.remove(id)))
                .collect(),
            discarded: self.machine.discarded(),
            scheduling: self.scheduling.clone(),
            late_wakeups: self.late_wakeups,
        }
    }
}
