//! All sessions of one system.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    num::NonZeroU32,
};

use crate::{
    config::{SessionConfig, SessionId, Timers},
    discard::{Discard, DiscardCounts},
    event::{Datagram, Event, Transmit},
    packet::{Diagnostic, Packet, State},
    paths::Paths,
    random::Random,
    session::{Out, Session},
    time::Time,
    view::SessionView,
};

/// Why a session was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// There is a session of this name.
    #[error("there is a session {0} already")]
    Id(SessionId),
    /// Two systems run one session over a path, whoever asks for it (RFC 5882, 4.4).
    #[error("session {0} runs there already")]
    Path(SessionId),
    /// No address of a single system.
    #[error("{0} is no address of a neighbour")]
    Address(IpAddr),
    /// One address is IPv4, the other IPv6.
    #[error("{0} and {1} are of two families")]
    Families(IpAddr, IpAddr),
    /// It needs to be told the interface of a link-local address.
    #[error("{0} is link-local, and no interface is given")]
    Interface(IpAddr),
}

/// The machine: all sessions of one system.
#[derive(Debug)]
pub struct Bfd {
    random: Random,
    sessions: BTreeMap<SessionId, Session>,
    /// By bfd.LocalDiscr.
    discriminators: BTreeMap<NonZeroU32, SessionId>,
    paths: Paths,
    /// When which session has something to do: one entry each, or none.
    deadlines: BTreeSet<(Time, SessionId)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    discarded: DiscardCounts,
}

impl Bfd {
    /// No session yet. From the seed come discriminators and jitter: another one for each start.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            sessions: BTreeMap::new(),
            discriminators: BTreeMap::new(),
            paths: Paths::default(),
            deadlines: BTreeSet::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            discarded: DiscardCounts::default(),
        }
    }

    /// Adds a session, in Down.
    ///
    /// # Errors
    ///
    /// [`AddError`]; nothing has changed then.
    pub fn add(&mut self, now: Time, id: SessionId, config: SessionConfig) -> Result<(), AddError> {
        let path = config.path;
        if path.remote.is_unspecified() || path.remote.is_multicast() {
            return Err(AddError::Address(path.remote));
        }
        if let Some(local) = path.local
            && local.is_ipv4() != path.remote.is_ipv4()
        {
            return Err(AddError::Families(local, path.remote));
        }
        if is_link_local(path.remote) && path.interface.is_none() {
            return Err(AddError::Interface(path.remote));
        }
        if self.sessions.contains_key(&id) {
            return Err(AddError::Id(id));
        }
        if let Some(holder) = self.paths.holder(&path) {
            if self
                .sessions
                .get(&holder)
                .is_some_and(|held| !held.is_leaving())
            {
                return Err(AddError::Path(holder));
            }
            // Its farewell and our first packets would contradict each other.
            self.forget(holder);
        }
        let discriminator = self.free_discriminator();
        self.discriminators.insert(discriminator, id);
        self.paths.insert(id, path);
        let session = Session::new(now, id, discriminator, config);
        self.sessions.insert(id, session);
        self.with(now, id, |_, _| {});
        Ok(())
    }

    /// Removes a session: it goes into AdminDown, and is [known](Self::knows) until the remote
    /// system has noticed or a detection time has passed (RFC 5880, 6.8.16). Its client hears no more
    /// of it.
    pub fn remove(&mut self, now: Time, id: SessionId) {
        if self
            .sessions
            .get(&id)
            .is_some_and(|session| !session.is_leaving())
        {
            self.with(now, id, |session, _| session.leave(now));
        }
    }

    /// Whether packets of this session may still be sent: until a removed session has left.
    #[must_use]
    pub fn knows(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Whether there is no session, not even one that leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Other timers; the session stays up (RFC 5880, 6.8.3).
    pub fn reconfigure(&mut self, now: Time, id: SessionId, timers: Timers) {
        self.with(now, id, |session, _| session.set_timers(timers));
    }

    /// The interface of a session has been made anew, with another index.
    pub fn set_interface(&mut self, now: Time, id: SessionId, interface: Option<u32>) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let old = session.config().path;
        if old.interface != interface {
            self.paths.remove(id, &old);
            self.paths.insert(id, crate::Path { interface, ..old });
            self.with(now, id, |session, _| session.set_interface(interface));
        }
    }

    /// Holds a session administratively down for this reason, or no longer (RFC 5880, 6.8.16).
    pub fn set_admin_down(&mut self, now: Time, id: SessionId, why: Option<Diagnostic>) {
        self.with(now, id, |session, _| {
            if !session.is_leaving() {
                session.set_admin_down(now, why);
            }
        });
    }

    /// A datagram has come to one of the BFD ports (RFC 5880, 6.8.6).
    ///
    /// # Errors
    ///
    /// Why it was discarded; it has been counted.
    pub fn received(
        &mut self,
        now: Time,
        datagram: &Datagram,
        payload: &[u8],
    ) -> Result<SessionId, Discard> {
        match self.accept(datagram, payload) {
            Ok((id, packet)) => {
                self.with(now, id, |session, out| session.received(now, &packet, out));
                Ok(id)
            }
            Err((id, discard)) => {
                self.discarded.count(discard);
                if let Some(session) = id.and_then(|id| self.sessions.get_mut(&id)) {
                    session.discarded.count(discard);
                }
                Err(discard)
            }
        }
    }

    /// The next time at which [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// Lets time pass. What was received before `now` must have been handed in.
    pub fn handle_timeout(&mut self, now: Time) {
        // Those that are due now, each once: whatever its clock does next, the loop ends.
        let due: Vec<SessionId> = self
            .deadlines
            .iter()
            .take_while(|(due, _)| *due <= now)
            .map(|(_, id)| *id)
            .collect();
        for id in due {
            self.with(now, id, |session, out| session.handle_timeout(now, out));
        }
    }

    /// The next packet to send. The driver should ask until there is none, after each input.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next change of a session, for its client.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All sessions that have not been removed.
    #[must_use]
    pub fn view(&self, now: Time) -> Vec<SessionView> {
        let sessions = self.sessions.values();
        let present = sessions.filter(|session| !session.is_leaving());
        present.map(|session| session.view(now)).collect()
    }

    /// What was discarded of all that came in, whether it belonged to a session or not.
    #[must_use]
    pub fn discarded(&self) -> DiscardCounts {
        self.discarded
    }

    /// The checks of 6.8.6 up to authentication, and that of RFC 5881, 5. With a failed one comes
    /// the session it was found for.
    fn accept(
        &self,
        datagram: &Datagram,
        payload: &[u8],
    ) -> Result<(SessionId, Packet), (Option<SessionId>, Discard)> {
        let packet = Packet::decode(payload).map_err(|discard| (None, discard))?;
        let id = match NonZeroU32::new(packet.your_discriminator) {
            Some(ours) => self
                .discriminators
                .get(&ours)
                .copied()
                .ok_or((None, Discard::YourDiscriminator))?,
            None if matches!(packet.state, State::Init | State::Up) => {
                return Err((None, Discard::NoDiscriminator));
            }
            None => self
                .paths
                .find(datagram)
                .ok_or((None, Discard::NoSession))?,
        };
        let refuse = |discard| Err((Some(id), discard));
        let Some(session) = self.sessions.get(&id) else {
            return Err((None, Discard::NoSession));
        };
        let path = session.config().path;
        if path.hops.is_multi() != datagram.multihop {
            return refuse(Discard::Port);
        }
        // RFC 5880, 6.3 leaves the interface free once discriminators are known; RFC 5881, 3 binds
        // the session to it, and 9 relies on that against forgeries.
        if path
            .interface
            .is_some_and(|index| index != datagram.interface)
        {
            return refuse(Discard::Interface);
        }
        if datagram.ttl < path.hops.least_ttl() {
            return refuse(Discard::Ttl);
        }
        if packet.authentication {
            return refuse(Discard::Authentication);
        }
        Ok((id, packet))
    }

    /// Does something to a session, and what follows from it: packets, an event, its next deadline.
    fn with(&mut self, now: Time, id: SessionId, work: impl FnOnce(&mut Session, &mut Out<'_>)) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let (before, old) = (session.standing(), session.deadline());
        let mut out = Out {
            random: &mut self.random,
            transmits: &mut self.transmits,
        };
        work(session, &mut out);
        session.settle(now, &mut out);
        if session.standing() != before && !session.is_leaving() {
            self.events.push_back(session.event(before.0));
        }
        let (new, left) = (session.deadline(), session.has_left(now));
        if let Some(old) = old {
            self.deadlines.remove(&(old, id));
        }
        self.deadlines.extend(new.map(|due| (due, id)));
        if left {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.discriminators.remove(&session.discriminator());
            self.paths.remove(id, &session.config().path);
            self.deadlines.retain(|(_, held)| *held != id);
        }
    }

    fn free_discriminator(&mut self) -> NonZeroU32 {
        // A few of four thousand million are taken: the second try is rare already.
        loop {
            let discriminator = self.random.discriminator();
            if !self.discriminators.contains_key(&discriminator) {
                return discriminator;
            }
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
