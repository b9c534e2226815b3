//! One speaker among neighbours whose every octet the test writes and reads itself: neither the
//! encoder nor the decoder under test is trusted with what a standard says.

use std::{collections::BTreeMap, time::Duration};

use wayleave_bgp_core::{
    Action, Asn, ConnId, ConnInfo, Family, RouterId, Speaker, Time,
    config::{PeerConfig, SpeakerConfig},
    feed::Origination,
    view::{PeerView, RibKind, RouteQuery, RouteView, State},
    wire::{Capabilities, Notification, Open, keepalive},
};

use crate::net::{address, config, peer};

/// The AS of the speaker; its identifier is 0.0.0.1 and its address 192.0.2.1.
pub(super) const OURS: u32 = 65_001;

pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
pub(super) const PARTIAL: u8 = 0x20;
const EXTENDED: u8 = 0x10;

pub(super) const OPEN: u8 = 1;
pub(super) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;
pub(super) const ROUTE_REFRESH: u8 = 5;

/// What a neighbour was told: by prefix the attributes by code, and what was taken back.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) routes: BTreeMap<String, Attributes>,
    pub(super) withdrawn: Vec<String>,
}

/// Flags, without the one of the length, and value of each attribute.
pub(super) type Attributes = BTreeMap<u8, (u8, Vec<u8>)>;

impl Told {
    /// The prefixes told, as one text.
    pub(super) fn prefixes(&self) -> String {
        let prefixes: Vec<&str> = self.routes.keys().map(String::as_str).collect();
        prefixes.join(" ")
    }
}

pub(super) struct Stage {
    pub(super) speaker: Speaker,
    pub(super) now: Time,
    asns: Vec<u32>,
    conns: BTreeMap<usize, ConnId>,
}

impl Stage {
    /// A speaker with passive neighbours 1, 2, ... in these ASes; `change` is shown each of them.
    pub(super) fn new(asns: &[u32], mut change: impl FnMut(usize, &mut PeerConfig)) -> Self {
        Self::with(asns, |config| {
            for (n, peer) in (1..).zip(&mut config.peers) {
                change(n, peer);
            }
        })
    }

    /// The same, where the whole configuration may be changed.
    pub(super) fn with(asns: &[u32], change: impl FnOnce(&mut SpeakerConfig)) -> Self {
        let now = Time(1_000_000_000);
        let mut config = config(0, OURS);
        for (n, &asn) in (1..).zip(asns) {
            let mut peer = peer(n, asn);
            peer.passive = true;
            peer.hold_time = 0;
            config.peers.push(peer);
        }
        change(&mut config);
        Self {
            speaker: Speaker::new(now, config),
            now,
            asns: asns.to_vec(),
            conns: BTreeMap::new(),
        }
    }

    /// The same with all sessions up, and what was said on the way forgotten.
    pub(super) fn up(asns: &[u32], change: impl FnMut(usize, &mut PeerConfig)) -> Self {
        let mut stage = Self::new(asns, change);
        stage.raise();
        stage
    }

    pub(super) fn raise(&mut self) {
        for n in 1..=self.asns.len() {
            self.establish(n);
        }
    }

    /// Neighbour `n` connects and says what makes a session.
    pub(super) fn establish(&mut self, n: usize) {
        assert!(self.call(n), "{n} is let in");
        let open = self.open(n);
        self.say(n, &open);
        self.say(n, &keepalive());
        assert_eq!(self.view(n).state, State::Established);
        self.hear(n);
    }

    /// Neighbour `n` opens a connection; whether it is let in.
    pub(super) fn call(&mut self, n: usize) -> bool {
        let conn = self.speaker.accepted(self.now, info(n));
        if let Some(conn) = conn {
            self.conns.insert(n, conn);
        }
        conn.is_some()
    }

    /// The speaker's own connection to neighbour `n` has come through.
    pub(super) fn answer(&mut self, n: usize) {
        let mut actions = std::iter::from_fn(|| self.speaker.poll_action());
        let conn = actions.find_map(|action| {
            let Action::Connect { conn, remote, .. } = action else {
                return None;
            };
            (remote.ip() == address(n)).then_some(conn)
        });
        let conn = conn.expect("it connects");
        self.speaker.connected(self.now, conn, info(n));
        self.conns.insert(n, conn);
    }

    /// An OPEN as neighbour `n` would say it: IPv4 alone, routes can be asked for again, no hold time.
    pub(super) fn open(&self, n: usize) -> Vec<u8> {
        self.open_with(n, |_| {})
    }

    pub(super) fn open_with(&self, n: usize, change: impl FnOnce(&mut Open)) -> Vec<u8> {
        let asn = Asn(self.asns[n - 1]);
        let mut open = Open {
            asn,
            hold_time: 0,
            router_id: RouterId::from(u32::try_from(n + 1).unwrap()),
            capabilities: Capabilities {
                families: vec![(1, 1)],
                as4: Some(asn),
                route_refresh: true,
                ..Capabilities::default()
            },
        };
        change(&mut open);
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        bytes
    }

    pub(super) fn say(&mut self, n: usize, bytes: &[u8]) {
        self.say_on(self.conns[&n], bytes);
    }

    pub(super) fn say_on(&mut self, conn: ConnId, bytes: &[u8]) {
        self.speaker.received(self.now, conn, bytes);
        while self.speaker.turn(self.now) {}
    }

    pub(super) fn conn(&self, n: usize) -> ConnId {
        self.conns[&n]
    }

    /// The transport of neighbour `n` ends.
    pub(super) fn hang_up(&mut self, n: usize) {
        let conn = self.conns.remove(&n).expect("it is connected");
        self.speaker.closed(self.now, conn, "the peer closed it");
        while self.speaker.turn(self.now) {}
    }

    pub(super) fn originate(&mut self, route: Origination) {
        self.speaker.originate(self.now, vec![route]);
        while self.speaker.turn(self.now) {}
    }

    /// What waits to be written to neighbour `n`, which does not read it yet.
    pub(super) fn pending(&self, n: usize) -> Vec<u8> {
        let mut slices = Vec::new();
        self.speaker.output(self.conns[&n], usize::MAX, &mut slices);
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }

    /// Everything neighbour `n` is told until there is nothing more: types and bodies.
    pub(super) fn hear(&mut self, n: usize) -> Vec<(u8, Vec<u8>)> {
        self.hear_on(self.conns[&n])
    }

    pub(super) fn hear_on(&mut self, conn: ConnId) -> Vec<(u8, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let mut more = self.speaker.turn(self.now);
            let mut slices = Vec::new();
            self.speaker.output(conn, 64, &mut slices);
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            self.speaker.written(self.now, conn, bytes.len());
            more |= self.speaker.wants_turn();
            if bytes.is_empty() && !more {
                return messages(&all);
            }
            all.extend(bytes);
        }
    }

    /// The routes neighbour `n` is told from here on.
    pub(super) fn told(&mut self, n: usize) -> Told {
        let mut told = Told::default();
        for (kind, body) in self.hear(n) {
            if kind == UPDATE {
                read_update(&body, &mut told);
            }
        }
        told
    }

    /// The NOTIFICATION that ends the connection with neighbour `n`.
    pub(super) fn last_word(&mut self, n: usize) -> Notification {
        let conn = self.conns[&n];
        self.last_word_on(conn)
            .expect("it ends with a NOTIFICATION")
    }

    /// The NOTIFICATION that ends this connection, if one does.
    pub(super) fn last_word_on(&mut self, conn: ConnId) -> Option<Notification> {
        let heard = self.hear_on(conn);
        let (kind, body) = heard.last()?;
        let said = (*kind == NOTIFICATION).then(|| Notification::decode(body));
        assert_eq!(said.is_some(), self.speaker.is_closing(conn));
        said
    }

    /// Time passes, and every deadline is met as it comes.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((due, _)) = self.speaker.poll_timeout().filter(|&(due, _)| due <= end) {
            self.now = self.now.max(due);
            self.speaker.handle_timeout(self.now);
        }
        self.now = end;
        while self.speaker.turn(self.now) {}
    }

    pub(super) fn view(&self, n: usize) -> PeerView {
        let views = self.speaker.peer_views(self.now);
        let named = |view: &PeerView| view.name == format!("s{n}");
        views.into_iter().find(named).expect("there is such a peer")
    }

    /// What neighbour `n` told, or was told.
    pub(super) fn routes(&self, rib: RibKind, n: usize) -> Vec<RouteView> {
        let mut query = RouteQuery::all(rib, Family::Ipv4Unicast);
        query.peer = Some(format!("s{n}"));
        self.speaker.routes(self.now, &query).unwrap().routes
    }
}

fn info(n: usize) -> ConnInfo {
    ConnInfo {
        remote: (address(n), 40_000).into(),
        local: (address(0), 179).into(),
        own_v4: None,
        own_v6: None,
        link_local: None,
        interface: None,
        link: None,
    }
}

/// A whole message (RFC 4271, 4.1).
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend(short(19 + body.len()));
    message.push(kind);
    message.extend(body);
    message
}

/// One attribute (RFC 4271, 4.3).
pub(super) fn attr(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = match u8::try_from(value.len()) {
        Ok(len) => vec![flags, code, len],
        Err(_) => [&[flags | EXTENDED, code][..], &short(value.len())].concat(),
    };
    out.extend(value);
    out
}

/// AS_PATH with these as an AS_SEQUENCE.
pub(super) fn as_path(asns: &[u32]) -> Vec<u8> {
    let mut value = Vec::new();
    if !asns.is_empty() {
        value.extend([2, u8::try_from(asns.len()).unwrap()]);
        value.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    attr(TRANSITIVE, 2, &value)
}

/// ORIGIN, this AS_PATH, and NEXT_HOP 192.0.2.x as neighbour `n` would tell it.
pub(super) fn mandatory(n: usize, asns: &[u32]) -> Vec<u8> {
    let hop = [192, 0, 2, u8::try_from(n + 1).unwrap()];
    let origin = attr(TRANSITIVE, 1, &[0]);
    [origin, as_path(asns), attr(TRANSITIVE, 3, &hop)].concat()
}

/// An UPDATE with these attributes for `first.0.0.0/8`.
pub(super) fn announce(first: u8, attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(short(attributes.len()));
    body.extend(attributes);
    body.extend([8, first]);
    message(UPDATE, &body)
}

fn short(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap().to_be_bytes()
}

fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let len = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
        assert!((19..=4_096).contains(&len), "a message of {len} octets");
        messages.push((bytes[18], bytes[19..len].to_vec()));
        bytes = &bytes[len..];
    }
    messages
}

fn read_update(body: &[u8], told: &mut Told) {
    let (withdrawn, rest) = counted(body);
    let (mut attributes, nlri) = counted(rest);
    let mut set = Attributes::new();
    while let [flags, code, rest @ ..] = attributes {
        let (value, rest) = if flags & EXTENDED == 0 {
            rest[1..].split_at(rest[0].into())
        } else {
            counted(rest)
        };
        let attribute = (flags & !EXTENDED, value.to_vec());
        assert_eq!(set.insert(*code, attribute), None, "attribute {code} twice");
        attributes = rest;
    }
    for prefix in prefixes(withdrawn) {
        told.routes.remove(&prefix);
        told.withdrawn.push(prefix);
    }
    for prefix in prefixes(nlri) {
        told.routes.insert(prefix, set.clone());
    }
}

/// Splits off what two octets of length stand before.
fn counted(bytes: &[u8]) -> (&[u8], &[u8]) {
    let len = u16::from_be_bytes([bytes[0], bytes[1]]);
    bytes[2..].split_at(len.into())
}

fn prefixes(mut nlri: &[u8]) -> Vec<String> {
    let mut prefixes = Vec::new();
    while let [len, rest @ ..] = nlri {
        let (octets, rest) = rest.split_at(usize::from(*len).div_ceil(8));
        let mut addr = [0; 4];
        addr[..octets.len()].copy_from_slice(octets);
        prefixes.push(format!("{}/{len}", std::net::Ipv4Addr::from(addr)));
        nlri = rest;
    }
    prefixes
}
