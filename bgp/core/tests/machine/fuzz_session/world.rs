//! The driver: one speaker, its connections and its clock; checks after every step.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use wayleave_bgp_core::{
    Action, Asn, ConnId, ConnInfo, Family, FeedId, Limits, Prefix, RouterId, Speaker, Time,
    config::{ListenRange, PeerConfig, RemoteAs, SpeakerConfig},
    feed::{FeedEvent, FeedRoute, RouteSource},
    view::{PeerView, RibKind, RouteQuery, RouteView, State},
    wire::{MAX_MESSAGE, MessageKind, Open, frame, keepalive},
};

use super::{
    ear::Ear,
    step::{PEERS, STRANGER, Setup},
};

pub(crate) const OWN_AS: u32 = 65_000;

/// One connection of a peer.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) peer: usize,
    pub(crate) conn: ConnId,
    pub(crate) ear: Ear,
    /// Said by the peer and not taken by the speaker yet.
    unread: Vec<u8>,
    /// The peer has sent an OPEN and answers KEEPALIVEs.
    pub(crate) polite: bool,
    answered: usize,
    /// The peer reads nothing.
    pub(crate) deaf: bool,
    /// The speaker wants it closed, and the driver has not done so yet.
    pub(crate) closing: bool,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) speaker: Speaker,
    /// In the order in which they came.
    pub(crate) lines: Vec<Line>,
    /// Connections that we are opening.
    pub(crate) dialling: VecDeque<(usize, ConnId)>,
    /// Nobody answers.
    pub(crate) refuses: bool,
    limits: Limits,
    write_limit: usize,
    /// Connections to be closed stay open until time passes.
    lingers: bool,
    feed: FeedId,
    forwarding: FeedId,
    fed: BTreeMap<Prefix, FeedRoute>,
    forwarded: BTreeMap<Prefix, usize>,
}

pub(crate) fn name(peer: usize) -> &'static str {
    ["external", "client", "internal", "guest-198.51.100.7"][peer]
}

pub(crate) fn asn(peer: usize) -> u32 {
    [65_001, OWN_AS, OWN_AS, 65_003][peer]
}

pub(crate) fn is_external(peer: usize) -> bool {
    asn(peer) != OWN_AS
}

fn address(peer: usize) -> IpAddr {
    match peer {
        STRANGER => IpAddr::from([198, 51, 100, 7]),
        _ => IpAddr::from([192, 0, 2, u8::try_from(peer).unwrap_or(0) + 2]),
    }
}

/// The configuration that every run begins and ends with.
pub(crate) fn base() -> SpeakerConfig {
    let mut config = SpeakerConfig::new(RouterId::from(0x0a00_0001), Asn(OWN_AS));
    config.discovery = Some(4_200_000_001);
    for peer in (0..PEERS).filter(|&peer| peer != STRANGER) {
        let remote_as = RemoteAs::Exact(Asn(asn(peer)));
        let mut peer_config = PeerConfig::new(name(peer), address(peer), remote_as);
        peer_config.hold_time = 9;
        peer_config.reflector_client = peer == 1;
        config.peers.push(peer_config);
    }
    let mut template = PeerConfig::new("guest", address(STRANGER), RemoteAs::External);
    template.hold_time = 9;
    config.ranges.push(ListenRange {
        prefix: "198.51.100.0/24".parse().expect("well-formed"),
        limit: 1,
        template,
    });
    config
}

pub(crate) fn info(peer: usize, port: u16, with_v6: bool) -> ConnInfo {
    ConnInfo {
        remote: SocketAddr::new(address(peer), port),
        local: SocketAddr::new(IpAddr::from([192, 0, 2, 1]), 179),
        own_v4: None,
        own_v6: with_v6.then(|| "2001:db8::1".parse().expect("well-formed")),
        link_local: None,
        interface: None,
        link: None,
    }
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let number = usize::from(setup.limits);
        let limits = Limits {
            log: [8 << 20, 300, 2_000][number % 3],
            turn: [16_384, 1, 3][number / 3 % 3],
            walk: [64, 1, 5][number / 9 % 3],
            unwritten: [65_536, 1, 200][number / 27 % 3],
        };
        let now = Time(1_000_000_000);
        let mut speaker = Speaker::with_limits(now, base(), limits);
        let (feed, forwarding) = (speaker.subscribe(), speaker.subscribe());
        let mut world = Self {
            now,
            speaker,
            lines: Vec::new(),
            dialling: VecDeque::new(),
            refuses: false,
            limits,
            write_limit: [usize::MAX, 5_000, 60][usize::from(setup.driver >> 1) % 3],
            lingers: setup.driver & 1 != 0,
            feed,
            forwarding,
            fed: BTreeMap::new(),
            forwarded: BTreeMap::new(),
        };
        world.settle();
        world
    }

    /// Where the peer's newest connection stands that is not being closed.
    pub(crate) fn line(&self, peer: usize) -> Option<usize> {
        self.lines
            .iter()
            .rposition(|line| line.peer == peer && !line.closing)
    }

    /// The peer connects; whether it is let in.
    pub(crate) fn dial(&mut self, peer: usize) -> bool {
        let accepted = self.speaker.accepted(self.now, info(peer, 40_000, true));
        if let Some(conn) = accepted {
            self.add_line(peer, conn);
        }
        accepted.is_some()
    }

    /// What becomes of a connection that we are opening.
    pub(crate) fn answer(&mut self, peer: usize, through: bool) {
        let Some(at) = self.dialling.iter().position(|&(to, _)| to == peer) else {
            return;
        };
        let Some((_, conn)) = self.dialling.remove(at) else {
            return;
        };
        if through {
            self.add_line(peer, conn);
            self.speaker
                .connected(self.now, conn, info(peer, 179, true));
        } else {
            self.speaker.closed(self.now, conn, "connection refused");
        }
    }

    fn add_line(&mut self, peer: usize, conn: ConnId) {
        self.lines.push(Line {
            peer,
            conn,
            ear: Ear::new(is_external(peer)),
            unread: Vec::new(),
            polite: false,
            answered: 0,
            deaf: false,
            closing: false,
        });
    }

    /// The peer's octets arrive, in two pieces.
    pub(crate) fn say(&mut self, at: usize, octets: &[u8]) {
        let (first, second) = octets.split_at(octets.len() / 3);
        for piece in [first, second] {
            self.deliver(at, piece);
        }
    }

    fn deliver(&mut self, at: usize, octets: &[u8]) {
        let line = &mut self.lines[at];
        if line.closing {
            return;
        }
        line.unread.extend_from_slice(octets);
        // What the speaker takes for the peer's OPEN says how it will write AS numbers.
        if let Ok(Some(message)) = frame(&line.unread, MAX_MESSAGE)
            && message.kind == MessageKind::Open
            && let Ok(open) = Open::decode(message.body)
        {
            line.ear.as4 = open.capabilities.as4.is_some();
        }
        let conn = line.conn;
        let taken = self.speaker.received(self.now, conn, &line.unread);
        assert!(taken <= line.unread.len());
        line.unread.drain(..taken);
        if self.speaker.is_closing(conn) {
            line.unread.clear();
        }
        // Anything else would lie there until the peer says more.
        assert!(matches!(frame(&line.unread, MAX_MESSAGE), Ok(None)));
    }

    /// The transport of a connection ends.
    pub(crate) fn hang(&mut self, at: usize) {
        let line = self.lines.remove(at);
        self.closed(line.conn, "connection reset");
    }

    fn closed(&mut self, conn: ConnId, why: &str) {
        self.speaker.closed(self.now, conn, why);
        assert!(self.speaker.is_closing(conn), "it is forgotten");
        let mut slices = Vec::new();
        self.speaker.output(conn, 8, &mut slices);
        assert!(slices.is_empty(), "nothing is written to what is closed");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::BfdStart { .. } | Action::BfdTimers { .. } | Action::BfdStop { .. } => {}
            Action::Connect { conn, remote, .. } => {
                let peer = (0..PEERS).find(|&peer| address(peer) == remote.ip());
                let peer = peer.expect("nobody else is connected to");
                if self.refuses {
                    self.speaker.closed(self.now, conn, "connection refused");
                } else {
                    self.dialling.push_back((peer, conn));
                }
            }
            Action::Close { conn } => {
                let line = self.lines.iter_mut().find(|line| line.conn == conn);
                match line {
                    Some(line) => line.closing = true,
                    None => {
                        self.dialling.retain(|&(_, dialled)| dialled != conn);
                        self.speaker.closed(self.now, conn, "closed by us");
                    }
                }
            }
        }
    }

    /// Closes what is to be closed once its last words have been written.
    fn close_closing(&mut self) -> bool {
        let closing = self.lines.iter().filter(|line| line.closing).count();
        // One more than a driver would ever have is closed at once, or they would pile up.
        if closing == 0 || (self.lingers && closing <= PEERS) {
            return false;
        }
        while let Some(at) = self.lines.iter().position(|line| line.closing) {
            // Who has read nothing, or half a message, reads what there is now.
            self.lines[at].deaf = false;
            self.write_all(at);
            let line = self.lines.remove(at);
            let whole = line.deaf || line.ear.is_between_messages();
            assert!(whole, "the last message is cut off");
            self.closed(line.conn, "closed by us");
        }
        true
    }

    /// Writes everything there is for a connection, unless its peer does not read.
    fn write_all(&mut self, at: usize) {
        while self.write(at, usize::MAX) {}
    }

    /// One write of at most so many octets; whether it wrote any.
    pub(crate) fn write(&mut self, at: usize, most: usize) -> bool {
        let line = &mut self.lines[at];
        if line.deaf {
            return false;
        }
        let mut slices = Vec::new();
        self.speaker.output(line.conn, 8, &mut slices);
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let count = all.min(most);
        let octets = slices.iter().flat_map(|slice| slice.iter().copied());
        line.ear.hear(octets.take(count));
        drop(slices);
        if count > 0 {
            self.speaker.written(self.now, line.conn, count);
        }
        count > 0
    }

    /// Whether a polite peer had a KEEPALIVE to answer.
    fn answer_keepalives(&mut self, at: usize) -> bool {
        let line = &mut self.lines[at];
        if !line.polite || line.closing || line.answered == line.ear.keepalives {
            return false;
        }
        line.answered = line.ear.keepalives;
        // Behind half a message it would not be one.
        if line.unread.is_empty() {
            self.deliver(at, &keepalive());
        }
        true
    }

    /// Lets everything happen that can happen without time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1_000_000_u32 {
            let mut acted = false;
            while let Some(action) = self.speaker.poll_action() {
                acted = true;
                self.act(action);
            }
            acted |= self.speaker.turn(self.now);
            for at in 0..self.lines.len() {
                acted |= self.write(at, self.write_limit);
                acted |= self.answer_keepalives(at);
            }
            acted |= self.speaker.wants_turn();
            acted |= self.close_closing();
            acted |= self.take_feeds();
            if !acted {
                return self.check_bounds();
            }
        }
        panic!("a livelock: the speaker does not come to rest");
    }

    fn take_feeds(&mut self) -> bool {
        let mut took = false;
        while let Some(event) = self.speaker.poll_feed(self.now, self.feed, 7) {
            took = true;
            if let FeedEvent::Changes(changes) = event {
                for change in changes {
                    match change.route {
                        Some(route) => self.fed.insert(change.prefix, route).map(drop),
                        None => self.fed.remove(&change.prefix).map(drop),
                    };
                }
            }
        }
        while let Some(event) = self.speaker.poll_forwarding(self.now, self.forwarding, 9) {
            took = true;
            if let FeedEvent::Changes(changes) = event {
                for change in changes {
                    match change.route {
                        Some(route) => {
                            assert!(!route.paths.is_empty());
                            self.forwarded.insert(change.prefix, route.paths.len());
                        }
                        None => drop(self.forwarded.remove(&change.prefix)),
                    }
                }
            }
        }
        took
    }

    /// However little a peer reads and however much another sends, little is held for it.
    fn check_bounds(&self) {
        // What one walk does in one turn past its bound, and what lies in the outbox beside it:
        // KEEPALIVEs until the send hold timer goes off, the last messages.
        let step = self.limits.walk * MAX_MESSAGE * 2;
        let bound = self.limits.log + self.limits.unwritten + step + 16 * MAX_MESSAGE;
        for line in &self.lines {
            let mut slices = Vec::new();
            self.speaker.output(line.conn, usize::MAX, &mut slices);
            let all: usize = slices.iter().map(|slice| slice.len()).sum();
            assert!(all <= bound, "{all} octets wait for {}", name(line.peer));
            assert!(line.deaf || all == 0, "written in full when there is room");
        }
        for peer in 0..PEERS {
            let of_peer = self.lines.iter().filter(|line| line.peer == peer);
            let open = of_peer.filter(|line| !line.closing).count();
            assert!(open <= 3, "{open} connections of {}", name(peer));
            let dialled = self.dialling.iter().filter(|&&(to, _)| to == peer).count();
            assert!(dialled <= 1, "{dialled} attempts to reach {}", name(peer));
        }
        let view = self.speaker.view();
        assert!(view.peers as usize <= PEERS && view.established <= view.peers);
        assert!(view.attribute_sets <= 2 * view.paths + 64, "{view:?}");
    }

    /// Lets time pass, timers and all.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let lingers = std::mem::replace(&mut self.lingers, false);
        self.settle();
        for _ in 0..100_000_u32 {
            let Some((due, _)) = self.speaker.poll_timeout().filter(|&(due, _)| due <= end) else {
                self.now = end;
                self.settle();
                self.lingers = lingers;
                return;
            };
            self.now = self.now.max(due);
            self.speaker.handle_timeout(self.now);
            let next = self.speaker.poll_timeout();
            assert!(
                next.is_none_or(|(next, _)| next > self.now),
                "a deadline that does not move: {next:?}"
            );
            self.settle();
        }
        panic!("timers that go off all the time");
    }

    pub(crate) fn views(&self) -> Vec<PeerView> {
        self.speaker.peer_views(self.now)
    }

    pub(crate) fn view_of(&self, peer: usize) -> Option<PeerView> {
        self.views()
            .into_iter()
            .find(|view| view.name == name(peer))
    }

    pub(crate) fn routes(&self, rib: RibKind, peer: Option<&str>) -> Vec<RouteView> {
        let mut routes = Vec::new();
        for family in Family::ALL {
            let mut query = RouteQuery::all(rib, family);
            query.peer = peer.map(str::to_owned);
            query.limit = 50;
            while let Ok(page) = self.speaker.routes(self.now, &query) {
                routes.extend(page.routes);
                match page.next {
                    Some(next) => query.cursor = next,
                    None => break,
                }
            }
        }
        routes
    }

    /// Tables, feeds and what peers were told agree.
    pub(crate) fn agree(&mut self) {
        self.settle();
        self.feeds_agree();
        self.counts_agree();
        for peer in 0..PEERS {
            self.ears_agree(peer);
        }
    }

    fn feeds_agree(&self) {
        let best = self.routes(RibKind::Loc, None);
        let prefixes: Vec<Prefix> = best.iter().map(|route| route.prefix).collect();
        assert_eq!(best.len(), self.fed.len(), "{prefixes:?} {:?}", self.fed);
        assert_eq!(best.len(), self.forwarded.len());
        for route in best {
            assert!(self.forwarded.contains_key(&route.prefix));
            let fed = &self.fed[&route.prefix];
            assert_eq!(*fed.attributes, route.attributes, "{}", route.prefix);
            let source = match route.peer {
                Some(peer) => RouteSource::Peer(peer.as_str().into()),
                None => RouteSource::Local,
            };
            assert_eq!(fed.paths[0].source, source, "{}", route.prefix);
        }
    }

    fn counts_agree(&self) {
        let views = self.views();
        let up = views.iter().filter(|view| view.state == State::Established);
        assert_eq!(up.count(), self.speaker.view().established as usize);
        for view in views {
            let counts = [view.ipv4, view.ipv6].into_iter().flatten();
            let received: u32 = counts.map(|counts| counts.received).sum();
            let held = self.routes(RibKind::In, Some(&view.name));
            assert_eq!(held.len(), received as usize, "of {}", view.name);
            let why = view.last_error.into_iter().chain(view.last_malformed);
            for text in why {
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
    }

    /// A peer that reads holds what we believe to have told it.
    fn ears_agree(&self, peer: usize) {
        let mut open = self.lines.iter().filter(|line| line.peer == peer);
        let (Some(line), None) = (open.next(), open.next()) else {
            return;
        };
        let up = self
            .view_of(peer)
            .is_some_and(|view| view.state == State::Established);
        if !up || line.deaf || line.closing {
            return;
        }
        let told = self.routes(RibKind::Out, Some(name(peer)));
        let mut held = line.ear.held.clone();
        for route in told {
            let found = held.remove(&route.prefix);
            let found =
                found.unwrap_or_else(|| panic!("{} was not told of {}", name(peer), route.prefix));
            assert_eq!(found.attributes, route.attributes, "{}", route.prefix);
            assert_eq!(Some(found.next_hop), route.next_hop, "{}", route.prefix);
        }
        assert!(held.is_empty(), "{} still holds {held:?}", name(peer));
    }
}
