//! The machine a driver runs: sessions, RIB and fan-out joined.
//!
//! A driver owns the sockets and the clock. It hands in what happened (`connected`, `accepted`,
//! `received`, `closed`, `handle_timeout`), then calls [`Speaker::turn`] until it says there is
//! nothing more to do at once, carries out every [`Action`], and writes what [`Speaker::output`]
//! gives. No call blocks, waits or does more than a bounded piece of work.

mod action;
mod bfd;
mod command;
mod deferral;
mod feed;
mod import;
mod judging;
mod malformed;
mod neighbor;
mod originate;
mod peer;
mod range;
mod reconfigure;
mod rules;
mod staged;
mod stale;
mod turn;
mod update;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::IoSlice,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

pub use self::{
    action::{Action, BfdReport, ConnInfo},
    command::RefreshRefused,
    feed::FeedId,
    view::QueryError,
};
use self::{
    command::ShutDown,
    deferral::Deferral,
    feed::Feed,
    judging::Rejudging,
    originate::Own,
    peer::{OwnAddresses, Peer},
    range::RangeIsFull,
    staged::StagedFamilies,
    turn::Sweep,
};
use crate::{
    config::{Password, PeerConfig, SpeakerConfig},
    limits::Limits,
    news::{Event, News},
    out::{Departure, Families, Group, GroupKey, outbox::Outbox},
    rib::{
        Shared,
        source::{Slot, Source},
    },
    session::{ConnId, Down, Effect, Effects, Negotiated, PeerRestart},
    types::{Family, Prefix, Time},
    wire::{Cease, MAX_MESSAGE, Notification, keepalive},
};

/// Connections at a time that are told that they are not wanted.
const REJECTIONS: usize = 64;

/// News that wait for whoever asks.
const NEWS: usize = 256;

/// One transport connection.
#[derive(Debug)]
struct Conn {
    slot: Slot,
    /// Messages written before the session is Established, and the last ones.
    own: Outbox,
    /// Nothing is read any more; the driver closes when it has written what there is.
    closing: bool,
    /// The session of its peer is Established over it.
    up: bool,
    /// The longest message that is taken (RFC 8654, 4).
    max_received: usize,
    info: Option<ConnInfo>,
}

/// A BGP speaker.
#[derive(Debug)]
pub struct Speaker {
    config: SpeakerConfig,
    started: Time,
    /// Since a restart everybody waits for the neighbours.
    deferral: Option<Deferral>,
    /// What there was to learn at the start was learned, once.
    is_settled: bool,
    /// By slot; the first is this speaker itself and holds nobody.
    peers: Vec<Option<Peer>>,
    by_address: BTreeMap<(IpAddr, Option<Arc<str>>), Slot>,
    /// Who was found on which interface.
    neighbors: BTreeMap<Arc<str>, Ipv6Addr>,
    /// Slots whose peer is gone, not yet safe to give to another.
    retired: Vec<(Slot, u64)>,
    /// In order of their numbers, which is that in which they are written to: the order of a hash map
    /// must not reach the outside.
    conns: BTreeMap<ConnId, Conn>,
    shared: Shared,
    tables: Families,
    groups: Vec<Option<Group>>,
    sweep: Sweep,
    rejudging: Rejudging,
    /// A walk that had waited for room has it.
    walks_go_on: bool,
    feeds: Vec<Option<Feed>>,
    fx: Effects,
    actions: VecDeque<Action>,
    news: VecDeque<News>,
    timers: BTreeSet<(Time, Slot)>,
    own: Own,
    /// Peers that somebody has shut down, by name.
    shut_down: BTreeMap<String, ShutDown>,
    dirty: Vec<u32>,
    canonical: Vec<u8>,
    /// Empty but during a call of [`Speaker::received`].
    staged: StagedFamilies,
}

impl Speaker {
    /// A speaker with this configuration, as of `now`. It acts at once: see
    /// [`Speaker::poll_action`].
    pub fn new(now: Time, config: SpeakerConfig) -> Self {
        Self::with_limits(now, config, Limits::default())
    }

    /// The same with other bounds.
    pub fn with_limits(now: Time, config: SpeakerConfig, limits: Limits) -> Self {
        let mut speaker = Self {
            started: now,
            deferral: Deferral::new(now, &config),
            is_settled: false,
            peers: vec![None],
            by_address: BTreeMap::new(),
            neighbors: BTreeMap::new(),
            retired: Vec::new(),
            conns: BTreeMap::new(),
            shared: Shared::new(Source::local(config.router_id.to_u32()), limits),
            tables: Families::new(),
            groups: Vec::new(),
            sweep: Sweep::default(),
            rejudging: Rejudging::default(),
            walks_go_on: false,
            feeds: Vec::new(),
            fx: Effects::default(),
            actions: VecDeque::new(),
            news: VecDeque::new(),
            timers: BTreeSet::new(),
            own: Own::new(),
            shut_down: BTreeMap::new(),
            dirty: Vec::new(),
            canonical: Vec::new(),
            staged: StagedFamilies::default(),
            config,
        };
        let number = speaker.config.discovery;
        speaker.shared.attrs.set_discovery(number);
        for peer in speaker.config.peers.clone() {
            speaker.add_peer(now, peer, None);
        }
        speaker
    }

    /// The configuration in force.
    pub fn config(&self) -> &SpeakerConfig {
        &self.config
    }

    /// The next thing the driver should do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing worth a line in a log. Whoever does not ask misses all but the last
    /// few hundred.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Something has happened to a peer.
    fn tell(&mut self, slot: Slot, event: Event) {
        let Some(peer) = self.peer(slot) else { return };
        let news = News {
            peer: Arc::clone(&peer.name),
            address: peer.address(),
            event,
        };
        if self.news.len() >= NEWS {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }

    /// TTL to send with and least TTL to receive with on a connection the peer opened, as in
    /// [`Action::Connect`].
    pub fn ttls(&self, conn: ConnId) -> (Option<u8>, Option<u8>) {
        let peer = self
            .conns
            .get(&conn)
            .and_then(|entry| self.peer(entry.slot));
        peer.map_or((None, None), |peer| {
            action::ttls(peer.session.config(), &self.config)
        })
    }

    /// What segments on a connection the peer opened are to be signed with, as in
    /// [`Action::Connect`].
    pub fn password(&self, conn: ConnId) -> Option<&Password> {
        let entry = self.conns.get(&conn)?;
        self.peer(entry.slot)?.session.config().password.as_ref()
    }

    /// Our connection is open. The driver should read from it from now on. One that was given up
    /// meanwhile is to be closed.
    pub fn connected(&mut self, now: Time, conn: ConnId, info: ConnInfo) {
        let Some(slot) = self.conns.get_mut(&conn).map(|entry| {
            entry.info = Some(info);
            entry.slot
        }) else {
            self.actions.push_back(Action::Close { conn });
            return;
        };
        self.with_session(now, slot, |session, fx| session.connected(now, conn, fx));
    }

    /// Connections on which routes of a negotiated family cannot be sent for want of an address of
    /// our own. The driver should look at their interfaces again from time to time, and report
    /// [`Speaker::described`].
    pub fn undescribed(&self) -> impl Iterator<Item = ConnId> {
        let lacking = |group: &Group| {
            let key = &group.key;
            (0..2).any(|family| key.families[family] && key.own_next_hop[family].is_none())
        };
        // Groups are few, and mostly none lacks anything: peers are not gone through for nothing.
        let peers = if self.groups.iter().flatten().any(lacking) {
            &self.peers[..]
        } else {
            &[]
        };
        peers.iter().flatten().filter_map(move |peer| {
            let (conn, _) = peer.session.established()?;
            let group = self.groups.get(peer.group?)?.as_ref()?;
            lacking(group).then_some(conn)
        })
    }

    /// The interface of a connection has other addresses than before.
    pub fn described(&mut self, conn: ConnId, info: ConnInfo) {
        if let Some(entry) = self.conns.get_mut(&conn)
            && entry.info.as_ref() != Some(&info)
        {
            let slot = entry.slot;
            entry.info = Some(info.clone());
            if let Some(peer) = self.peer_mut(slot) {
                peer.own_addresses = OwnAddresses::of(&info);
            }
            self.regroup(slot);
        }
    }

    /// Whether somebody at this address is a peer, or may become one: what the driver should know
    /// before it goes to any trouble for a connection from there.
    pub fn expects(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let host = Prefix::host(address);
        self.by_address.keys().any(|(known, _)| *known == address)
            || self.expects_anybody(address)
            || self
                .config
                .ranges
                .iter()
                .any(|range| range.prefix.contains(host))
    }

    /// Somebody connected. `None`: not a peer, or not now; the driver should close it unread. Whoever
    /// is told why it is not let in (Cease, Connection Rejected: RFC 4486, 4) gets a connection that
    /// [`is_closing`](Self::is_closing).
    pub fn accepted(&mut self, now: Time, info: ConnInfo) -> Option<ConnId> {
        let slot = match self.slot_of(&info) {
            Some(slot) => slot,
            None => match self.admit(now, &info) {
                Ok(slot) => slot?,
                Err(RangeIsFull) => return self.reject(),
            },
        };
        // One that is held back waits in silence (RFC 4271, 8.2.2: Idle refuses); one that somebody
        // has switched off will be there for long.
        if self
            .peer(slot)
            .is_some_and(|peer| peer.session.is_stopped())
        {
            return self.reject();
        }
        let mut conn = None;
        let remote = info.remote.ip().to_canonical();
        self.with_session(now, slot, |session, fx| {
            // Before it is found by its advertisements: one call is enough, and ours is not made.
            conn = session.accepted(now, fx);
            session.found(now, remote, fx);
        });
        let conn = conn?;
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.info = Some(info);
        }
        Some(conn)
    }

    /// A connection on which nothing is said but that it is not wanted; not too many at a time.
    fn reject(&mut self) -> Option<ConnId> {
        let rejected = self.conns.values();
        if rejected.filter(|entry| entry.slot == Slot::LOCAL).count() >= REJECTIONS {
            return None;
        }
        let conn = self.fx.next_conn();
        self.add_conn(conn, Slot::LOCAL);
        let why = Notification::cease(Cease::ConnectionRejected, None);
        self.close(conn, Slot::LOCAL, Some(why));
        Some(conn)
    }

    /// The transport could not be opened, failed, or ended.
    pub fn closed(&mut self, now: Time, conn: ConnId, why: &str) {
        let Some(slot) = self.conns.get(&conn).map(|entry| entry.slot) else {
            return;
        };
        self.with_session(now, slot, |session, fx| session.closed(now, conn, why, fx));
        self.conns.remove(&conn);
    }

    /// What there is to write on `conn`, in order, at most about `most` pieces.
    pub fn output<'a>(&'a self, conn: ConnId, most: usize, slices: &mut Vec<IoSlice<'a>>) {
        let Some(entry) = self.conns.get(&conn) else {
            return;
        };
        if !entry.own.is_empty() {
            slices.push(IoSlice::new(entry.own.pending()));
        }
        if let Some(group) = self.group_of(entry) {
            group.slices(entry.slot, most, slices);
        }
    }

    /// `count` bytes of that were written. The driver should ask [`Speaker::wants_turn`] when it has
    /// written what it could.
    pub fn written(&mut self, now: Time, conn: ConnId, count: usize) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let (left, _) = entry.own.consume(count);
        let (slot, up) = (entry.slot, entry.up && !entry.closing);
        let unwritten = self.shared.limits.unwritten;
        if up && let Some(group) = self.group_mut(slot) {
            let goes_on = group.written(slot, left, unwritten);
            self.walks_go_on |= goes_on;
        }
        // A deadline that only moves away needs no timer anew.
        if let Some(peer) = self.peer_mut(slot) {
            peer.session.wrote(now, conn);
        }
    }

    /// Whether what was written since the last call made room for more: then another turn is due, as
    /// when [`Speaker::turn`] says so itself.
    pub fn wants_turn(&mut self) -> bool {
        std::mem::take(&mut self.walks_go_on)
    }

    /// Calls `each` with every connection that has something to write.
    pub fn writable(&self, mut each: impl FnMut(ConnId)) {
        for (&conn, entry) in &self.conns {
            let group = || self.group_of(entry);
            if !entry.own.is_empty() || group().is_some_and(|group| group.has_output(entry.slot)) {
                each(conn);
            }
        }
    }

    /// Whether the driver should close `conn` as soon as it has written what there is.
    pub fn is_closing(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_none_or(|entry| entry.closing)
    }

    /// Acts on every deadline up to `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(&(due, slot)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            if let Some(peer) = self.peer_mut(slot) {
                peer.armed = None;
            }
            self.expire_stale(now, slot);
            self.with_session(now, slot, |session, fx| session.timeout(now, fx));
        }
        self.end_deferral(now);
    }

    /// When to call [`Speaker::handle_timeout`] at the latest, and for which timer of which peer.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let of_peers = self.timers.first().map(|&(due, slot)| {
            let deadline = self.peer(slot).and_then(|peer| peer.session.deadline());
            (due, deadline.map_or("no timer", |(_, timer)| timer))
        });
        let deferral = self.deferral.map(|deferral| (deferral.due(), "deferral"));
        of_peers
            .into_iter()
            .chain(deferral)
            .min_by_key(|(due, _)| *due)
    }

    /// Closes all sessions for a restart: neighbours that hold our routes meanwhile go on doing so, the
    /// others are told that we are gone.
    pub fn depart(&mut self, now: Time) {
        for slot in self.slots() {
            self.with_session(now, slot, |session, fx| session.depart(now, fx));
        }
    }

    /// Closes all sessions, saying why (RFC 9003).
    pub fn shutdown(&mut self, now: Time, communication: Option<&str>) {
        let why = Notification::cease(Cease::AdministrativeShutdown, communication);
        for slot in self.slots() {
            self.with_session(now, slot, |session, fx| session.stop(now, &why, fx));
        }
    }

    fn slots(&self) -> Vec<Slot> {
        let slots = (1..).zip(self.peers.iter().skip(1));
        slots
            .filter(|(_, peer)| peer.is_some())
            .map(|(slot, _)| Slot(slot))
            .collect()
    }

    fn peer(&self, slot: Slot) -> Option<&Peer> {
        self.peers.get(slot.index())?.as_ref()
    }

    fn peer_mut(&mut self, slot: Slot) -> Option<&mut Peer> {
        self.peers.get_mut(slot.index())?.as_mut()
    }

    fn slot_named(&self, name: &str) -> Option<Slot> {
        self.slots()
            .into_iter()
            .find(|&slot| self.peer(slot).is_some_and(|peer| &*peer.name == name))
    }

    fn slot_of(&self, info: &ConnInfo) -> Option<Slot> {
        let address = info.remote.ip().to_canonical();
        let scoped = (address, info.interface.clone());
        let known = self
            .by_address
            .get(&scoped)
            .or_else(|| self.by_address.get(&(address, None)));
        let slot = match known {
            Some(slot) => *slot,
            None => self.unnumbered(address, info.interface.as_ref())?,
        };
        // Both ends tell whose connection it is (RFC 4271, 8.2.1).
        let wanted = self.peer(slot)?.session.config().local_address;
        let local = info.local.ip().to_canonical();
        wanted.is_none_or(|wanted| wanted == local).then_some(slot)
    }

    fn group_of(&self, conn: &Conn) -> Option<&Group> {
        if !conn.up || conn.closing {
            return None;
        }
        let index = self.peer(conn.slot)?.group?;
        self.groups.get(index)?.as_ref()
    }

    fn group_mut(&mut self, slot: Slot) -> Option<&mut Group> {
        let index = self.peer(slot)?.group?;
        self.groups.get_mut(index)?.as_mut()
    }

    /// Lets `act` work on a peer's session, then carries out what the session asks for and sets
    /// the peer's timer.
    fn with_session(
        &mut self,
        now: Time,
        slot: Slot,
        act: impl FnOnce(&mut crate::session::Session, &mut Effects),
    ) {
        let mut fx = std::mem::take(&mut self.fx);
        let mut ended = None;
        if let Some(peer) = self.peer_mut(slot) {
            let before = peer.session.state();
            act(&mut peer.session, &mut fx);
            if peer.session.state() != before {
                peer.state_since = now;
            }
            ended = peer.session.take_news();
        }
        let lost = fx.list.iter().find_map(|effect| match effect {
            Effect::Down(_, restart) => Some(restart.is_some()),
            Effect::Connect(_)
            | Effect::Taken(_)
            | Effect::Send(..)
            | Effect::Keepalive(_)
            | Effect::Close(..)
            | Effect::Up(..) => None,
        });
        match (lost, ended) {
            (Some(held), Some(down)) => {
                let why = down.to_string();
                self.tell(slot, Event::Down { why, held });
            }
            (None, Some(down)) => {
                let refused = matches!(down, Down::Sent(_) | Down::Received(_));
                let why = down.to_string();
                self.tell(slot, Event::Failed { why, refused });
            }
            (_, None) => {}
        }
        for effect in fx.list.drain(..) {
            self.carry_out(now, slot, effect);
        }
        self.fx = fx;
        self.arm(slot);
    }

    fn carry_out(&mut self, now: Time, slot: Slot, effect: Effect) {
        match effect {
            Effect::Connect(conn) => {
                self.add_conn(conn, slot);
                if let Some(peer) = self.peer(slot) {
                    // Another may have been found than the one there was a session with.
                    let config = peer.session.config();
                    let remote = self.neighbor_of(config).unwrap_or(peer.address());
                    let action = action::connect(conn, remote, config, &self.config);
                    self.actions.push_back(action);
                }
            }
            Effect::Taken(conn) => self.add_conn(conn, slot),
            Effect::Send(conn, bytes) => {
                // The first message on a connection that the peer opened makes the entry.
                self.add_conn(conn, slot);
                if let Some(peer) = self.peer_mut(slot) {
                    peer.sent.open += 1;
                }
                self.send(conn, |out| out.extend_from_slice(&bytes));
            }
            Effect::Keepalive(conn) => {
                if let Some(peer) = self.peer_mut(slot) {
                    peer.sent.keepalive += 1;
                }
                self.send(conn, |out| out.extend_from_slice(&keepalive()));
            }
            Effect::Close(conn, notification) => self.close(conn, slot, notification),
            Effect::Up(conn, negotiated) => self.up(now, slot, conn, &negotiated),
            Effect::Down(conn, restart) => self.down(now, slot, conn, restart),
        }
    }

    fn add_conn(&mut self, conn: ConnId, slot: Slot) {
        self.conns.entry(conn).or_insert_with(|| Conn {
            slot,
            own: Outbox::default(),
            closing: false,
            up: false,
            max_received: MAX_MESSAGE,
            info: None,
        });
    }

    /// Queues a whole message behind what was begun on `conn`.
    fn send(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        if !entry.up {
            write(entry.own.buffer());
            return;
        }
        let slot = entry.slot;
        if let Some(group) = self.group_mut(slot) {
            group.send_private(slot, write);
        }
    }

    fn close(&mut self, conn: ConnId, slot: Slot, notification: Option<Notification>) {
        if let Some(notification) = notification
            && let Some(entry) = self.conns.get_mut(&conn)
        {
            notification.encode(entry.own.buffer());
            if let Some(peer) = self.peer_mut(slot) {
                peer.sent.notification += 1;
            }
        }
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.closing = true;
            self.actions.push_back(Action::Close { conn });
        }
    }

    fn up(&mut self, now: Time, slot: Slot, conn: ConnId, negotiated: &Negotiated) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        entry.up = true;
        entry.max_received = negotiated.max_received;
        let Some(info) = entry.info.clone() else {
            return;
        };
        let Some(peer) = self.peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        let held = self.shared.sources[slot.index()].stale;
        let of_range = peer.range.is_some();
        // Another may have been found than the one that was called.
        if peer.session.config().is_unnumbered() {
            peer.session.is_at(info.remote.ip().to_canonical());
        }
        peer.came_up(now, &info, negotiated, held.map(|stale| stale.is_some()));
        peer.import = rules::Import::of(peer, self.config.asn);
        let config = peer.session.config();
        let source = Source {
            epoch: self.shared.sources[slot.index()].epoch,
            stale: self.shared.sources[slot.index()].stale,
            ebgp: peer.is_ebgp(),
            on_interface: info.interface.is_some(),
            client: config.reflector_client,
            router_id: negotiated.peer_router_id.to_u32(),
            address: info.remote.ip().to_canonical(),
        };
        let up = Event::Up {
            asn: negotiated.peer_asn,
            session_type: negotiated.session_type,
            families: Family::ALL
                .into_iter()
                .filter(|family| negotiated.families[family.index()])
                .collect(),
        };
        let key = action::group_key(&self.config, peer, negotiated, &info);
        self.shared.sources[slot.index()] = source;
        self.tell(slot, up);
        self.join_group(slot, key, None);
        self.is_back(now, slot, negotiated.restart);
        if of_range {
            self.somebody_came(now);
        }
        self.start_bfd(slot);
    }

    fn join_group(&mut self, slot: Slot, key: GroupKey, departure: Option<Departure>) {
        let same = |group: &Option<Group>| group.as_ref().is_some_and(|group| group.key == key);
        let index = self.groups.iter().position(same).unwrap_or_else(|| {
            let group = Some(Group::new(key));
            match self.groups.iter().position(Option::is_none) {
                Some(free) => {
                    self.groups[free] = group;
                    free
                }
                None => {
                    self.groups.push(group);
                    self.groups.len() - 1
                }
            }
        });
        if let Some(group) = &mut self.groups[index] {
            match departure {
                Some(departure) => group.join_from(slot, departure),
                None => group.join(slot),
            }
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.group = Some(index);
        }
        self.look_for_paths();
    }

    /// Whether somebody is told of more than best paths: then every path's change counts.
    fn look_for_paths(&mut self) {
        let groups = &self.groups;
        self.shared.every_path = [0, 1].map(|family: usize| {
            let mut groups = groups.iter().flatten();
            groups.any(|group| group.key.add_path[family] > 0)
        });
    }

    fn leave_group(&mut self, slot: Slot) -> Option<Departure> {
        let index = self.peer_mut(slot).and_then(|peer| peer.group.take())?;
        let group = self.groups[index].as_mut()?;
        let departure = group.leave(slot);
        if group.members.is_empty() {
            group.dissolve(&mut self.shared);
            self.groups[index] = None;
            self.look_for_paths();
        }
        departure
    }

    /// The session over `conn` is over: its routes are gone at once, swept in the turns to come.
    fn down(&mut self, now: Time, slot: Slot, conn: ConnId, restart: Option<PeerRestart>) {
        // A message written in part is finished, so that a NOTIFICATION after it can be read.
        let rest = self
            .group_mut(slot)
            .map(|group| group.rest_of_message(slot).to_vec());
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.own.buffer().extend(rest.unwrap_or_default());
            entry.up = false;
        }
        self.stop_bfd(slot, conn);
        let departure = self.leave_group(slot);
        if let (Some(departure), Some(peer)) = (departure, self.peer_mut(slot)) {
            peer.sent.update += departure.sent.updates;
            peer.sent.route_refresh += departure.sent.refreshes;
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.last_route = now;
        }
        for family in Family::ALL {
            match restart {
                Some(restart) if restart.holds(family.index()) => {
                    self.hold(now, slot, family, &restart);
                }
                Some(_) | None => self.lose_all(slot, family),
            }
        }
        self.sweep.start(&self.tables);
    }

    /// Sets the peer's timer when its next deadline is earlier than the one set.
    fn arm(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        let session = peer.session.deadline().map(|(due, _)| due);
        let stale = peer.stale.iter();
        let stale = stale
            .flat_map(|stale| [stale.until, stale.long_until])
            .flatten()
            .min();
        let Some(due) = session.into_iter().chain(stale).min() else {
            return;
        };
        if peer.armed.is_none_or(|armed| due < armed) {
            if let Some(armed) = peer.armed.replace(due) {
                self.timers.remove(&(armed, slot));
            }
            self.timers.insert((due, slot));
        }
    }

    /// Adds a peer; one that came from a listen range says from which.
    fn add_peer(&mut self, now: Time, config: PeerConfig, range: Option<Prefix>) -> Option<Slot> {
        let slot = match self.free_slot() {
            Some(slot) => slot,
            None => {
                let slot = Slot(u16::try_from(self.peers.len()).ok()?);
                self.peers.push(None);
                self.shared.sources.push(Source::local(0));
                slot
            }
        };
        let address = (config.address, config.interface.as_deref().map(Arc::from));
        self.by_address.insert(address, slot);
        let identity = crate::session::Identity {
            asn: self.config.asn,
            router_id: self.config.router_id,
        };
        let seed = u64::from(self.config.router_id.to_u32()) << 16 ^ u64::from(slot.0);
        let mut peer = Peer::new(now, config, identity, seed, range);
        peer.session.set_restart(self.our_restart());
        let found = self.neighbor_of(peer.session.config());
        let is_down = self.shut_down.contains_key(&*peer.name);
        self.peers[slot.index()] = Some(peer);
        self.with_session(now, slot, |session, fx| {
            if let Some(remote) = found {
                session.found(now, remote, fx);
            }
            if !is_down {
                session.start(now, fx);
            }
        });
        Some(slot)
    }

    /// A slot whose last peer's routes are all gone.
    fn free_slot(&mut self) -> Option<Slot> {
        let (sweeping, turn) = (self.sweep.is_running(), self.shared.turn);
        let free = self
            .retired
            .iter()
            .position(|&(_, retired)| !sweeping && retired < turn)?;
        Some(self.retired.swap_remove(free).0)
    }

    fn remove_peer(&mut self, now: Time, slot: Slot, why: &Notification) {
        self.with_session(now, slot, |session, fx| session.stop(now, why, fx));
        for family in Family::ALL {
            self.drop_stale(slot, family);
        }
        if let Some(peer) = self.peers.get_mut(slot.index()).and_then(Option::take) {
            if let Some(armed) = peer.armed {
                self.timers.remove(&(armed, slot));
            }
            let config = peer.session.config();
            let address = (config.address, config.interface.as_deref().map(Arc::from));
            // Somebody else may have taken the address meanwhile.
            if self.by_address.get(&address) == Some(&slot) {
                self.by_address.remove(&address);
            }
            self.retired.push((slot, self.shared.turn + 1));
        }
    }
}
