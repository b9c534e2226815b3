//! Speakers in one process, on a virtual clock and a virtual network.
//!
//! Everything happens in an order that follows from the seed alone. A connection is two queues of
//! bytes; what is delivered next, and in how large a piece, is drawn from the seed.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use wayleave_bgp_core::{
    Action, Asn, ConnId, ConnInfo, Family, Limits, Prefix, RouterId, Speaker, Time,
    config::{PeerConfig, RemoteAs, SpeakerConfig},
    view::{PeerView, RibKind, RouteQuery, RouteView},
};

/// xorshift64*: small, and the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}

/// One end of a connection.
type End = (usize, ConnId);

#[derive(Debug)]
struct Pipe {
    to: Option<End>,
    bytes: VecDeque<u8>,
    /// Nothing more comes after `bytes`.
    closed: bool,
}

/// Speakers joined by connections.
pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) speakers: Vec<Speaker>,
    addresses: Vec<IpAddr>,
    /// By sending end.
    pipes: BTreeMap<End, Pipe>,
    unread: BTreeMap<End, Vec<u8>>,
    /// Pairs that cannot reach each other.
    cut: Vec<(usize, usize)>,
    /// Ends whose reader has stopped.
    pub(crate) deaf: Vec<usize>,
    pub(crate) rng: Rng,
    /// Octets one write may take; small ones make partial writes.
    pub(crate) write_limit: usize,
    limits: Limits,
}

pub(crate) fn address(n: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(n + 1).unwrap()])
}

pub(crate) fn config(n: usize, asn: u32) -> SpeakerConfig {
    let id = RouterId::from(u32::try_from(n + 1).unwrap());
    SpeakerConfig::new(id, Asn(asn))
}

pub(crate) fn peer(n: usize, asn: u32) -> PeerConfig {
    let mut peer = PeerConfig::new(format!("s{n}"), address(n), RemoteAs::Exact(Asn(asn)));
    peer.hold_time = 9;
    peer
}

/// A connection that speaker `from` has opened to speaker `to`, as the latter sees it: one hop away,
/// and with no other address of its own.
pub(crate) fn call(from: usize, to: usize) -> ConnInfo {
    ConnInfo {
        remote: (address(from), 40_000).into(),
        local: (address(to), 179).into(),
        own_v4: None,
        own_v6: None,
        link_local: None,
        interface: None,
        link: Some("eth0".into()),
    }
}

impl Net {
    pub(crate) fn new(seed: u64, configs: Vec<SpeakerConfig>) -> Self {
        Self::limited(seed, configs, Limits::default())
    }

    /// The same with speakers that hold and do less at a time.
    pub(crate) fn limited(seed: u64, configs: Vec<SpeakerConfig>, limits: Limits) -> Self {
        let now = Time(1_000_000_000);
        Self {
            now,
            addresses: (0..configs.len()).map(address).collect(),
            speakers: configs
                .into_iter()
                .map(|config| Speaker::with_limits(now, config, limits))
                .collect(),
            pipes: BTreeMap::new(),
            unread: BTreeMap::new(),
            cut: Vec::new(),
            deaf: Vec::new(),
            rng: Rng::new(seed),
            write_limit: usize::MAX,
            limits,
        }
    }

    /// A full mesh or any other graph of speakers, each in its AS; `edges` are pairs.
    pub(crate) fn graph(seed: u64, asns: &[u32], edges: &[(usize, usize)]) -> Self {
        let mut configs: Vec<_> = asns
            .iter()
            .enumerate()
            .map(|(n, &asn)| config(n, asn))
            .collect();
        for &(a, b) in edges {
            configs[a].peers.push(peer(b, asns[b]));
            configs[b].peers.push(peer(a, asns[a]));
        }
        Self::new(seed, configs)
    }

    fn info(&self, local: usize, remote: usize, port: u16) -> ConnInfo {
        let v6 = |n: usize| format!("2001:db8::{}", n + 1).parse().unwrap();
        ConnInfo {
            remote: SocketAddr::new(self.addresses[remote], port),
            local: SocketAddr::new(self.addresses[local], 179),
            own_v4: None,
            own_v6: Some(v6(local)),
            link_local: None,
            interface: None,
            link: None,
        }
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.cut.push((a.min(b), a.max(b)));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// Ends every connection between two speakers as a reset would.
    pub(crate) fn reset(&mut self, a: usize, b: usize) {
        let ends: Vec<End> = self
            .pipes
            .iter()
            .filter(|(from, pipe)| {
                pipe.to
                    .is_some_and(|to| [(a, b), (b, a)].contains(&(from.0, to.0)))
            })
            .map(|(&from, _)| from)
            .collect();
        for end in ends {
            self.pipes.remove(&end);
            self.unread.remove(&end);
            self.speakers[end.0].closed(self.now, end.1, "connection reset");
        }
    }

    /// Speaker `n` asks speaker `m` for a family again (RFC 2918, 3).
    pub(crate) fn refresh(&mut self, n: usize, m: usize, family: Family) {
        let (afi, safi) = family.code();
        let mut request = vec![0xff; 16];
        request.extend([0, 23, 5, 0, afi as u8, 0, safi]);
        for conn in self.conns_of(m, n) {
            self.speakers[m].received(self.now, conn, &request);
        }
    }

    /// Stops speaker `n` without a word and starts it again with what it was configured to be.
    pub(crate) fn restart(&mut self, n: usize) {
        for other in 0..self.speakers.len() {
            if other != n {
                self.reset(n, other);
            }
        }
        let gone: Vec<End> = self
            .pipes
            .keys()
            .filter(|end| end.0 == n)
            .copied()
            .collect();
        for end in gone {
            self.pipes.remove(&end);
            self.unread.remove(&end);
        }
        let config = self.speakers[n].config().clone();
        self.speakers[n] = Speaker::with_limits(self.now, config, self.limits);
    }

    /// One small step of something that can happen now; whether anything could.
    fn step(&mut self) -> bool {
        let mut acted = false;
        for n in 0..self.speakers.len() {
            while let Some(action) = self.speakers[n].poll_action() {
                acted = true;
                self.act(n, action);
            }
        }
        let mut order: Vec<usize> = (0..self.speakers.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.rng.below(at + 1));
        }
        for n in order {
            if self.speakers[n].turn(self.now) {
                acted = true;
            }
            acted |= self.write(n);
        }
        let ready: Vec<End> = self
            .pipes
            .iter()
            .filter(|(from, pipe)| {
                let Some(to) = pipe.to else { return false };
                (!pipe.bytes.is_empty() || pipe.closed)
                    && !self.deaf.contains(&to.0)
                    && !self.is_cut(from.0, to.0)
            })
            .map(|(&from, _)| from)
            .collect();
        if ready.is_empty() {
            return acted;
        }
        let from = ready[self.rng.below(ready.len())];
        self.deliver(from);
        true
    }

    fn act(&mut self, n: usize, action: Action) {
        match action {
            Action::BfdStart { .. } | Action::BfdTimers { .. } | Action::BfdStop { .. } => {}
            Action::Connect { conn, remote, .. } => {
                let target = self
                    .addresses
                    .iter()
                    .position(|&address| address == remote.ip());
                let Some(m) = target else {
                    return self.speakers[n].closed(self.now, conn, "no route to host");
                };
                if self.is_cut(n, m) {
                    return self.speakers[n].closed(self.now, conn, "no route to host");
                }
                let (ours, theirs) = (self.info(n, m, 179), self.info(m, n, 40_000));
                let Some(accepted) = self.speakers[m].accepted(self.now, theirs) else {
                    return self.speakers[n].closed(self.now, conn, "connection refused");
                };
                let (a, b) = ((n, conn), (m, accepted));
                let pipe = |to| Pipe {
                    to: Some(to),
                    bytes: VecDeque::new(),
                    closed: false,
                };
                self.pipes.insert(a, pipe(b));
                self.pipes.insert(b, pipe(a));
                self.speakers[n].connected(self.now, conn, ours);
            }
            Action::Close { conn } => {
                self.write(n);
                if let Some(pipe) = self.pipes.get_mut(&(n, conn)) {
                    pipe.closed = true;
                }
                self.unread.remove(&(n, conn));
                self.speakers[n].closed(self.now, conn, "closed by us");
            }
        }
    }

    /// Moves what speaker `n` has to write into the pipes.
    fn write(&mut self, n: usize) -> bool {
        let mut conns = Vec::new();
        self.speakers[n].writable(|conn| conns.push(conn));
        let mut wrote = false;
        for conn in conns {
            let mut slices = Vec::new();
            self.speakers[n].output(conn, 8, &mut slices);
            let Some(pipe) = self.pipes.get_mut(&(n, conn)) else {
                continue;
            };
            // A socket's buffer: past it the writer waits.
            let room = 65_536_usize
                .saturating_sub(pipe.bytes.len())
                .min(self.write_limit);
            let all: usize = slices.iter().map(|slice| slice.len()).sum();
            let count = room.min(all);
            pipe.bytes
                .extend(slices.iter().flat_map(|slice| slice.iter()).take(count));
            drop(slices);
            if count > 0 {
                self.speakers[n].written(self.now, conn, count);
                wrote = true;
            }
        }
        wrote
    }

    fn deliver(&mut self, from: End) {
        let Some(pipe) = self.pipes.get_mut(&from) else {
            return;
        };
        let Some(to) = pipe.to else { return };
        if pipe.bytes.is_empty() {
            if pipe.closed {
                self.pipes.remove(&from);
                self.pipes.remove(&to);
                self.unread.remove(&to);
                self.speakers[to.0].closed(self.now, to.1, "the peer closed it");
            }
            return;
        }
        let most = pipe.bytes.len();
        let count = 1 + self.rng.below(most.min(16_384));
        let unread = self.unread.entry(to).or_default();
        unread.extend(pipe.bytes.drain(..count));
        let taken = self.speakers[to.0].received(self.now, to.1, unread);
        unread.drain(..taken);
    }

    /// Lets everything happen that can happen without time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..5_000_000_u32 {
            if !self.step() {
                return;
            }
        }
        panic!("a livelock: the net does not come to rest");
    }

    /// Lets a little happen, and leaves the rest on the way.
    pub(crate) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    /// Lets `time` pass, timers and all.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let due = self
                .speakers
                .iter()
                .filter_map(|speaker| speaker.poll_timeout());
            let due = due.map(|(due, _)| due).min().filter(|&due| due <= end);
            let Some(due) = due else { break };
            self.now = self.now.max(due);
            for speaker in &mut self.speakers {
                speaker.handle_timeout(self.now);
            }
        }
        self.now = end;
        self.settle();
    }

    /// Runs until `done`, at most `most`; whether it was.
    pub(crate) fn until(&mut self, most: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + most;
        while self.now < end {
            if done(self) {
                return true;
            }
            self.run(Duration::from_millis(100));
        }
        done(self)
    }

    /// The open connections of speaker `n` to speaker `m`.
    pub(crate) fn conns_of(&self, n: usize, m: usize) -> Vec<ConnId> {
        let ours = self.pipes.iter().filter(|(from, pipe)| {
            from.0 == n && pipe.to.is_some_and(|to| to.0 == m) && !pipe.closed
        });
        ours.map(|(from, _)| from.1).collect()
    }

    pub(crate) fn peer(&self, n: usize, name: &str) -> PeerView {
        let views = self.speakers[n].peer_views(self.now);
        views
            .into_iter()
            .find(|view| view.name == name)
            .expect("there is such a peer")
    }

    pub(crate) fn all_up(&self) -> bool {
        (0..self.speakers.len()).all(|n| {
            let view = self.speakers[n].view();
            view.established == view.peers
        })
    }

    /// Waits for all sessions.
    pub(crate) fn raise(&mut self) {
        assert!(
            self.until(Duration::from_secs(300), Self::all_up),
            "not all sessions came up"
        );
    }

    pub(crate) fn routes(&self, n: usize, rib: RibKind, peer: Option<&str>) -> Vec<RouteView> {
        let mut routes = Vec::new();
        for family in Family::ALL {
            let mut query = RouteQuery::all(rib, family);
            query.peer = peer.map(str::to_owned);
            while let Ok(page) = self.speakers[n].routes(self.now, &query) {
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

    pub(crate) fn prefixes(&self, n: usize) -> Vec<Prefix> {
        self.routes(n, RibKind::Loc, None)
            .into_iter()
            .map(|route| route.prefix)
            .collect()
    }

    pub(crate) fn route(&self, n: usize, prefix: &str) -> Option<RouteView> {
        let prefix: Prefix = prefix.parse().unwrap();
        self.routes(n, RibKind::Loc, None)
            .into_iter()
            .find(|route| route.prefix == prefix)
    }
}
