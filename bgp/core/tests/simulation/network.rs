//! Speakers on a virtual clock and a virtual network.
//!
//! Everything that can happen next (a connection comes through, octets arrive, a speaker has its
//! turn) stands in one lot, and the seed draws from it: events of different peers come in any order,
//! and only those of one direction of one connection keep theirs. Time passes when nothing is left.
//!
//! The one in `tests/machine` turns every speaker at every step, which 200 speakers do not bear.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use wayleave_bgp_core::{
    Action, ConnId, ConnInfo, Family, FeedId, Limits, Prefix, Speaker, Time,
    config::SpeakerConfig,
    feed::{FeedEvent, FeedRoute},
    message,
    view::{RibKind, RouteQuery, RouteView},
};

use crate::random::Random;

/// One end of a connection: a speaker, and the number it has for the connection. One that has
/// started again counts from the beginning, so that its life is part of that.
type End = (usize, (u32, ConnId));

/// What is said of a message that is as it should be.
const FINE: &str = r#","verdict":"ok","section":null,"reset":null,"problems":[]"#;

/// Octets a socket holds that nobody reads.
const SOCKET: usize = 65_536;

pub(crate) struct Node {
    pub(crate) speaker: Speaker,
    /// It runs.
    pub(crate) up: bool,
    /// How often it has started before.
    life: u32,
    feed: FeedId,
    /// What the reader of its feed knows.
    pub(crate) picture: BTreeMap<Prefix, FeedRoute>,
    /// It stands in [`Network::busy`].
    busy: bool,
    /// Its reader has stopped.
    deaf: bool,
}

/// One direction of a connection.
struct Pipe {
    to: End,
    bytes: VecDeque<u8>,
    /// Nothing more comes after `bytes`.
    closed: bool,
    /// Nobody is there to read it.
    lost: bool,
    /// It stands in [`Network::ready`].
    ready: bool,
}

pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) random: Random,
    /// Octets one write takes at most.
    pub(crate) write_limit: usize,
    limits: Limits,
    /// By sending end.
    pipes: BTreeMap<End, Pipe>,
    unread: BTreeMap<End, Vec<u8>>,
    cut: BTreeSet<(usize, usize)>,
    /// What may happen next: speakers that may have something to do, connections with something to
    /// deliver, and attempts to connect.
    busy: Vec<usize>,
    ready: Vec<End>,
    calls: Vec<(End, usize)>,
    /// Of everything that was delivered, in its order: what two runs of one seed must agree on.
    pub(crate) digest: u64,
    pub(crate) trace: bool,
}

pub(crate) fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(
        192,
        0,
        2,
        u8::try_from(n + 1).expect("at most 254 speakers"),
    )
}

pub(crate) fn address6(n: usize) -> Ipv6Addr {
    let last = u16::try_from(n + 1).expect("at most 254 speakers");
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

pub(crate) fn name(n: usize) -> String {
    format!("s{n}")
}

/// The name of the interface between two speakers, at both of them.
pub(crate) fn link(a: usize, b: usize) -> String {
    format!("l{}-{}", a.min(b), a.max(b))
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn info(local: usize, remote: usize, ports: (u16, u16)) -> ConnInfo {
    ConnInfo {
        remote: (address(remote), ports.1).into(),
        local: (address(local), ports.0).into(),
        own_v4: None,
        own_v6: Some(address6(local)),
        link_local: None,
        interface: None,
        link: Some(link(local, remote).into()),
    }
}

impl Network {
    pub(crate) fn new(seed: u64, configs: Vec<SpeakerConfig>, limits: Limits) -> Self {
        let now = Time(1_000_000_000);
        let nodes = configs
            .into_iter()
            .map(|config| Node::new(now, config, limits));
        let mut network = Self {
            now,
            nodes: nodes.collect(),
            random: Random::new(seed),
            write_limit: usize::MAX,
            limits,
            pipes: BTreeMap::new(),
            unread: BTreeMap::new(),
            cut: BTreeSet::new(),
            busy: Vec::new(),
            ready: Vec::new(),
            calls: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            trace: false,
        };
        for n in 0..network.nodes.len() {
            network.touch(n);
        }
        network
    }

    /// Says what happens, when a seed is replayed.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} {}", self.now, what());
        }
    }

    /// Something has happened to a speaker: it is to have a turn.
    pub(crate) fn touch(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.up && !node.busy {
            node.busy = true;
            self.busy.push(n);
        }
    }

    /// Lets `act` do something to a speaker.
    pub(crate) fn with<T>(&mut self, n: usize, act: impl FnOnce(&mut Speaker, Time) -> T) -> T {
        let done = act(&mut self.nodes[n].speaker, self.now);
        self.touch(n);
        done
    }

    pub(crate) fn speaker(&self, n: usize) -> &Speaker {
        &self.nodes[n].speaker
    }

    // What happens to the network.

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert(pair(a, b));
    }

    pub(crate) fn heal(&mut self, a: usize, b: usize) {
        self.cut.remove(&pair(a, b));
        self.look_again();
    }

    pub(crate) fn heal_all(&mut self) {
        self.cut.clear();
        self.look_again();
    }

    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&pair(a, b))
    }

    pub(crate) fn set_deaf(&mut self, n: usize, deaf: bool) {
        self.nodes[n].deaf = deaf;
        self.look_again();
    }

    /// Ends every connection between two speakers for both, and what was on the way is lost.
    pub(crate) fn reset(&mut self, a: usize, b: usize) {
        let ends = self.ends_between(a, b);
        for end in ends {
            self.forget(end);
            self.with(end.0, |speaker, now| {
                speaker.closed(now, end.1.1, "connection reset");
            });
        }
    }

    /// Speaker `n` asks speaker `m` for a family again (RFC 2918, 3).
    pub(crate) fn refresh(&mut self, n: usize, m: usize, family: Family) {
        let (afi, safi) = family.code();
        let mut request = vec![0xff; 16];
        request.extend([0, 23, 5]);
        request.extend(afi.to_be_bytes());
        request.extend([0, safi]);
        for (_, (_, conn)) in self.ends_between(m, n).into_iter().filter(|end| end.0 == m) {
            // Handed in apart from what lies unread, so between two messages.
            self.with(m, |speaker, now| speaker.received(now, conn, &request));
        }
    }

    /// Speaker `n` is gone without a word. What it had written may be lost or not.
    pub(crate) fn crash(&mut self, n: usize) {
        self.nodes[n].up = false;
        self.calls.retain(|(end, _)| end.0 != n);
        let own: Vec<End> = self
            .pipes
            .keys()
            .filter(|end| end.0 == n)
            .copied()
            .collect();
        for end in own {
            let lost = self.random.once_in(2);
            self.unread.remove(&end);
            let Some(pipe) = self.pipes.get_mut(&end) else {
                continue;
            };
            pipe.closed = true;
            if lost {
                pipe.bytes.clear();
            }
            let to = pipe.to;
            if let Some(back) = self.pipes.get_mut(&to) {
                back.lost = true;
                back.bytes.clear();
            }
            self.offer(end);
            self.offer(to);
        }
    }

    /// Starts speaker `n`, which knows nothing of before but its configuration.
    pub(crate) fn start(&mut self, n: usize, config: SpeakerConfig) {
        self.nodes[n] = Node {
            busy: self.nodes[n].busy,
            life: self.nodes[n].life + 1,
            ..Node::new(self.now, config, self.limits)
        };
        self.touch(n);
    }

    // What happens by itself.

    /// One thing that can happen now; whether there was any.
    pub(crate) fn step(&mut self) -> bool {
        let all = self.busy.len() + self.ready.len() + self.calls.len();
        if all == 0 {
            return false;
        }
        let at = self.random.below(all);
        if let Some(&n) = self.busy.get(at) {
            self.busy.swap_remove(at);
            self.nodes[n].busy = false;
            self.turn(n);
            return true;
        }
        let at = at - self.busy.len();
        if let Some(&from) = self.ready.get(at) {
            self.ready.swap_remove(at);
            self.deliver(from);
            return true;
        }
        let (end, to) = self.calls.swap_remove(at - self.ready.len());
        self.call(end, to);
        true
    }

    /// Lets everything happen that can happen without time passing; whether it came to an end within
    /// so many steps.
    pub(crate) fn settle(&mut self, mut steps: usize) -> bool {
        while self.step() {
            if steps == 0 {
                return false;
            }
            steps -= 1;
        }
        true
    }

    /// Lets `time` pass, timers and all, in so many steps at most; whether they were enough.
    pub(crate) fn run(&mut self, time: Duration, steps: usize) -> bool {
        let end = self.now + time;
        loop {
            if !self.settle(steps) {
                return false;
            }
            let due = |node: &Node| node.speaker.poll_timeout().map(|(due, _)| due);
            let running = self.nodes.iter().filter(|node| node.up);
            let Some(next) = running.filter_map(due).min().filter(|&due| due <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for n in 0..self.nodes.len() {
                let node = &self.nodes[n];
                if node.up && due(node).is_some_and(|due| due <= self.now) {
                    self.with(n, |speaker, now| speaker.handle_timeout(now));
                }
            }
        }
        self.now = end;
        for n in 0..self.nodes.len() {
            // "The driver should then poll it once a second, not only after turns."
            if self.speaker(n).awaits_sync() || self.speaker(n).is_deferring() {
                self.touch(n);
            }
        }
        let rests = self.settle(steps);
        if rests {
            self.check_idle();
        }
        rests
    }

    /// Nobody has anything left to do that it did not say: another turn, for which there is no reason,
    /// does nothing. Without this a route that is forgotten goes out with the next KEEPALIVE, and
    /// hardly anything is ever missing at the end.
    fn check_idle(&mut self) {
        for n in 0..self.nodes.len() {
            if !self.nodes[n].up {
                continue;
            }
            let speaker = &mut self.nodes[n].speaker;
            let (mut before, mut after) = (Vec::new(), Vec::new());
            speaker.writable(|conn| before.push(conn));
            let more = speaker.turn(self.now);
            speaker.writable(|conn| after.push(conn));
            assert!(
                !more && before == after,
                "{n} had something left to do, and nobody knew: {before:?}, then {after:?}"
            );
        }
    }

    /// What a driver does when something has happened to its speaker.
    fn turn(&mut self, n: usize) {
        if !self.nodes[n].up {
            return;
        }
        while let Some(action) = self.nodes[n].speaker.poll_action() {
            self.act(n, action);
        }
        let mut again = self.nodes[n].speaker.turn(self.now);
        // Now and then a write comes late: the next turn finds what the last one left.
        if self.random.once_in(4) {
            again = true;
        } else {
            again |= self.write(n);
        }
        let (now, node) = (self.now, &mut self.nodes[n]);
        again |= node.speaker.wants_turn();
        while let Some(event) = node.speaker.poll_feed(now, node.feed, 64) {
            let FeedEvent::Changes(changes) = event else {
                continue;
            };
            for change in changes {
                if self.trace {
                    let way = change.route.as_ref().map(|route| &route.paths);
                    eprintln!("{} feed of {n}: {} {way:?}", self.now, change.prefix);
                }
                match change.route {
                    Some(route) => node.picture.insert(change.prefix, route),
                    None => node.picture.remove(&change.prefix),
                };
            }
        }
        if again {
            self.touch(n);
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        match action {
            Action::BfdStart { .. } | Action::BfdTimers { .. } | Action::BfdStop { .. } => {}
            Action::Connect { conn, remote, .. } => {
                let to = (0..self.nodes.len()).find(|&m| IpAddr::V4(address(m)) == remote.ip());
                let to = to.expect("peers are speakers");
                self.calls.push((self.end(n, conn), to));
            }
            Action::Close { conn } => {
                self.write(n);
                let end = self.end(n, conn);
                self.calls.retain(|(call, _)| *call != end);
                self.unread.remove(&end);
                if let Some(pipe) = self.pipes.get_mut(&end) {
                    pipe.closed = true;
                    let to = pipe.to;
                    if let Some(back) = self.pipes.get_mut(&to) {
                        back.lost = true;
                        back.bytes.clear();
                    }
                    self.offer(end);
                    self.offer(to);
                }
                self.with(n, |speaker, now| speaker.closed(now, conn, "closed by us"));
            }
        }
    }

    fn call(&mut self, end: End, m: usize) {
        let (n, (_, conn)) = end;
        let refused = match () {
            () if self.is_cut(n, m) => Some("no route to host"),
            () if !self.nodes[m].up => Some("connection refused"),
            () => None,
        };
        if let Some(why) = refused {
            return self.with(n, |speaker, now| speaker.closed(now, conn, why));
        }
        let taken = self.with(m, |speaker, now| {
            speaker.accepted(now, info(m, n, (179, 40_000)))
        });
        let Some(taken) = taken else {
            return self.with(n, |speaker, now| {
                speaker.closed(now, conn, "connection refused");
            });
        };
        let other = self.end(m, taken);
        for (from, to) in [(end, other), (other, end)] {
            let pipe = Pipe {
                to,
                bytes: VecDeque::new(),
                closed: false,
                lost: false,
                ready: false,
            };
            self.pipes.insert(from, pipe);
        }
        self.with(n, |speaker, now| {
            speaker.connected(now, conn, info(n, m, (40_000, 179)));
        });
    }

    /// Moves what a speaker has to write into its pipes; whether it may have more to write at once.
    fn write(&mut self, n: usize) -> bool {
        let mut conns = Vec::new();
        self.nodes[n].speaker.writable(|conn| conns.push(conn));
        let mut more = false;
        for conn in conns {
            let mut slices = Vec::new();
            self.nodes[n].speaker.output(conn, 8, &mut slices);
            let end = (n, (self.nodes[n].life, conn));
            let Some(pipe) = self.pipes.get_mut(&end) else {
                continue;
            };
            // A socket's buffer: past it the writer waits.
            let room = SOCKET
                .saturating_sub(pipe.bytes.len())
                .min(self.write_limit);
            let all = slices.iter().flat_map(|slice| slice.iter());
            let before = pipe.bytes.len();
            pipe.bytes.extend(all.take(room));
            let count = pipe.bytes.len() - before;
            if pipe.lost {
                pipe.bytes.clear();
            }
            if count > 0 {
                self.nodes[n].speaker.written(self.now, conn, count);
                self.offer(end);
                more = true;
            }
        }
        more
    }

    fn deliver(&mut self, from: End) {
        let Some(pipe) = self.pipes.get_mut(&from) else {
            return;
        };
        pipe.ready = false;
        let to = pipe.to;
        let waits = !pipe.lost && (self.nodes[to.0].deaf || self.cut.contains(&pair(from.0, to.0)));
        if waits {
            return;
        }
        if pipe.lost || pipe.bytes.is_empty() {
            if pipe.closed {
                let lost = pipe.lost;
                self.forget(from);
                if !lost {
                    self.forget(to);
                    digest(&mut self.digest, &[0xff, from.0 as u8, to.0 as u8]);
                    self.say(|| format!("{} sees the end of a connection with {}", to.0, from.0));
                    self.with(to.0, |speaker, now| {
                        speaker.closed(now, to.1.1, "the peer closed it");
                    });
                }
            }
            return;
        }
        let count = 1 + self.random.below(pipe.bytes.len().min(16_384));
        let full = pipe.bytes.len() >= SOCKET;
        let unread = self.unread.entry(to).or_default();
        let before = unread.len();
        unread.extend(pipe.bytes.drain(..count));
        digest(&mut self.digest, &[from.0 as u8, to.0 as u8]);
        digest(&mut self.digest, &unread[before..]);
        let taken = self.nodes[to.0].speaker.received(self.now, to.1.1, unread);
        let read: Vec<u8> = unread.drain(..taken).collect();
        if self.trace {
            self.show(from.0, to.0, &read);
        }
        self.touch(to.0);
        if full {
            self.touch(from.0);
        }
        self.offer(from);
    }

    fn end(&self, n: usize, conn: ConnId) -> End {
        (n, (self.nodes[n].life, conn))
    }

    /// Shows the messages that a speaker has read, but for KEEPALIVEs.
    fn show(&self, from: usize, to: usize, mut octets: &[u8]) {
        let options = message::Options {
            // LOCAL_PREF is shown wherever it stands.
            ebgp: false,
            ..message::Options::default()
        };
        while let message::Step::Message(said, taken) = message::next(octets, &options, true) {
            let text = serde_json::to_string(&said).unwrap_or_default();
            let text = text.replace(FINE, "");
            if !text.contains("\"KEEPALIVE\"") {
                self.say(|| format!("{from} tells {to}: {text}"));
            }
            octets = &octets[taken..];
        }
    }

    /// Has a pipe wait for its turn if it has something to deliver, and can.
    fn offer(&mut self, from: End) {
        let Some(pipe) = self.pipes.get(&from) else {
            return;
        };
        let to = pipe.to.0;
        let something = !pipe.bytes.is_empty() || pipe.closed;
        let can = pipe.lost || (!self.nodes[to].deaf && !self.is_cut(from.0, to));
        if something && can && !pipe.ready {
            self.ready.push(from);
            if let Some(pipe) = self.pipes.get_mut(&from) {
                pipe.ready = true;
            }
        }
    }

    /// What could not be delivered may be by now.
    fn look_again(&mut self) {
        let all: Vec<End> = self.pipes.keys().copied().collect();
        for end in all {
            self.offer(end);
        }
    }

    fn forget(&mut self, from: End) {
        self.pipes.remove(&from);
        self.unread.remove(&from);
        self.ready.retain(|end| *end != from);
    }

    fn ends_between(&self, a: usize, b: usize) -> Vec<End> {
        let joins = |from: &End, pipe: &Pipe| [(a, b), (b, a)].contains(&(from.0, pipe.to.0));
        let ends = self.pipes.iter();
        ends.filter(|(from, pipe)| joins(from, pipe))
            .map(|(&from, _)| from)
            .collect()
    }

    // What there is to see.

    pub(crate) fn routes(&self, n: usize, rib: RibKind, peer: Option<usize>) -> Vec<RouteView> {
        let mut routes = Vec::new();
        for family in Family::ALL {
            let mut query = RouteQuery::all(rib, family);
            query.peer = peer.map(name);
            while let Ok(page) = self.speaker(n).routes(self.now, &query) {
                routes.extend(page.routes);
                match page.next {
                    Some(next) => query.cursor = next,
                    None => break,
                }
            }
        }
        routes.sort_by(|a, b| (a.prefix, &a.peer).cmp(&(b.prefix, &b.peer)));
        routes
    }
}

impl Node {
    fn new(now: Time, config: SpeakerConfig, limits: Limits) -> Self {
        let mut speaker = Speaker::with_limits(now, config, limits);
        Self {
            feed: speaker.subscribe(),
            speaker,
            up: true,
            life: 0,
            picture: BTreeMap::new(),
            busy: false,
            deaf: false,
        }
    }
}

/// FNV-1a goes on with these.
fn digest(digest: &mut u64, octets: &[u8]) {
    for octet in octets {
        *digest = (*digest ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3);
    }
}
