//! Sockets that listen, and how their set is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use wayleave_bgp_core::{
    Prefix,
    config::{Password, SpeakerConfig},
};

use mio::{
    Interest, Registry, Token,
    net::{TcpListener, TcpStream},
};

use crate::{socket, start::StartError};

/// Pause after an error such as "too many open files": it would be the same at once.
const PAUSE: Duration = Duration::from_millis(100);

/// All sockets that listen. Each is watched under a number of its own, which is never used again.
#[derive(Debug)]
pub(crate) struct Listeners {
    registry: Registry,
    sockets: BTreeMap<SocketAddr, Listener>,
    next: usize,
    /// What those who connect sign with, by their addresses.
    keys: Keys,
    /// Those whose key could not be set on a socket.
    keyless: BTreeSet<Prefix>,
    /// The TTL or hop limit of what is said before a connection is accepted, when it is not the
    /// system's: a neighbour with TTL security takes nothing from us that does not have 255, and that
    /// is true of the answer to its first packet (RFC 5082, 3).
    ttl: Option<u8>,
    /// By family, IPv4 first: every neighbour has TTL security, so that what comes with less than 255 is
    /// dropped before there is a connection. Otherwise it is once there is one.
    secured: [bool; 2],
}

type Keys = BTreeMap<Prefix, Password>;

/// The passwords of all neighbours and ranges.
fn keys_of(config: &SpeakerConfig) -> Keys {
    let peers = config.peers.iter();
    let peers = peers.map(|peer| (Prefix::host(peer.address), &peer.password));
    let ranges = config.ranges.iter();
    let ranges = ranges.map(|range| (range.prefix, &range.template.password));
    let all = ranges.chain(peers);
    all.filter_map(|(prefix, password)| Some((prefix, password.clone()?)))
        .collect()
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    token: Token,
    /// Somebody waits to be taken, or may.
    ready: bool,
    /// Nobody is taken before this.
    paused: Option<Instant>,
}

impl Listeners {
    /// None yet. Tokens begin at `first`.
    pub(crate) fn new(registry: Registry, first: usize) -> Self {
        Self {
            registry,
            sockets: BTreeMap::new(),
            next: first,
            keys: Keys::new(),
            keyless: BTreeSet::new(),
            ttl: None,
            secured: [false; 2],
        }
    }

    /// Listens at all of these, or at none of them.
    pub(crate) fn add(&mut self, addresses: &[SocketAddr]) -> Result<(), StartError> {
        let bind = |&address: &SocketAddr| match socket::listen(address) {
            Ok(socket) => Ok((address, socket)),
            Err(source) => Err(StartError::Listen { address, source }),
        };
        let bound: Result<Vec<_>, _> = addresses.iter().map(bind).collect();
        for (address, mut socket) in bound? {
            let token = Token(self.next);
            self.next += 1;
            limit(address, &socket, self.ttl, self.secured);
            for (&peers, password) in &self.keys {
                if !sign(address, &socket, peers, Some(password)) {
                    self.keyless.insert(peers);
                }
            }
            self.registry
                .register(&mut socket, token, Interest::READABLE)
                .map_err(|source| StartError::Listen { address, source })?;
            let listener = Listener {
                socket,
                token,
                // Who came between binding and watching is not announced.
                ready: true,
                paused: None,
            };
            self.sockets.insert(address, listener);
        }
        Ok(())
    }

    /// Takes connections from neighbours with a password only when they are signed with it, and
    /// answers those with TTL security so that they hear it.
    pub(crate) fn secure(&mut self, config: &SpeakerConfig) {
        let templates = config.ranges.iter().map(|range| &range.template);
        let mut all = config.peers.iter().chain(templates);
        self.ttl = all.any(|peer| peer.ttl_security).then_some(255);
        self.secured = [true, false].map(|v4| {
            let ranges = config.ranges.iter();
            let ranges = ranges.map(|range| (range.prefix.addr(), &range.template));
            let peers = config.peers.iter().map(|peer| (peer.address, peer));
            let mut of_family = peers
                .chain(ranges)
                .filter(|(address, _)| address.is_ipv4() == v4)
                .peekable();
            of_family.peek().is_some() && of_family.all(|(_, peer)| peer.ttl_security)
        });
        for (&address, Listener { socket, .. }) in &self.sockets {
            limit(address, socket, self.ttl, self.secured);
        }
        let new = keys_of(config);
        let mut old = std::mem::take(&mut self.keys);
        // What could not be set is tried again.
        for peers in std::mem::take(&mut self.keyless) {
            old.remove(&peers);
        }
        for (&address, Listener { socket, .. }) in &self.sockets {
            for &gone in old.keys().filter(|peers| !new.contains_key(peers)) {
                sign(address, socket, gone, None);
            }
            for (&peers, password) in new
                .iter()
                .filter(|(peers, new)| old.get(peers) != Some(new))
            {
                if !sign(address, socket, peers, Some(password)) {
                    self.keyless.insert(peers);
                }
            }
        }
        self.keys = new;
    }

    /// Whether somebody with a password might come from there unsigned.
    pub(crate) fn lacks_key(&self, address: IpAddr) -> bool {
        let host = Prefix::host(address.to_canonical());
        self.keyless.iter().any(|peers| peers.contains(host))
    }

    /// Ends listening at all addresses.
    pub(crate) fn clear(&mut self) {
        self.sockets.clear();
    }

    /// Somebody waits at the socket with this token.
    pub(crate) fn wake(&mut self, token: Token) {
        let listener = self
            .sockets
            .values_mut()
            .find(|listener| listener.token == token);
        if let Some(listener) = listener {
            listener.ready = true;
        }
    }

    /// Takes who waits, at most `most` at a time; whether more may be there at once.
    pub(crate) fn accept(&mut self, now: Instant, most: usize, taken: &mut Vec<TcpStream>) -> bool {
        let mut more = false;
        // Each has its share: a flood at one leaves room for the others.
        let share = (most / self.sockets.len().max(1)).max(1);
        for listener in self.sockets.values_mut() {
            let most = taken.len() + share;
            if listener.paused.is_some_and(|until| until > now) {
                continue;
            }
            listener.paused = None;
            while listener.ready && taken.len() < most {
                match listener.socket.accept() {
                    Ok((stream, _)) => taken.push(stream),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        listener.ready = false;
                    }
                    // Gone again before it was taken; the next one waits behind it.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a BGP connection");
                        listener.paused = Some(now + PAUSE);
                        break;
                    }
                }
            }
            more |= listener.ready && listener.paused.is_none();
        }
        more
    }

    /// When the first pause ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let paused = |listener: &Listener| listener.paused.filter(|_| listener.ready);
        self.sockets.values().filter_map(paused).min()
    }

    /// Makes the sockets those of a new configuration; says in words what was done. When one of them
    /// cannot be had, those there were stay.
    pub(crate) fn become_those_of(
        &mut self,
        wanted: &[SocketAddr],
    ) -> Result<Vec<String>, StartError> {
        let gone: Vec<SocketAddr> = self
            .sockets
            .keys()
            .filter(|old| !wanted.contains(old))
            .copied()
            .collect();
        let new: Vec<SocketAddr> = wanted
            .iter()
            .filter(|new| !self.sockets.contains_key(new))
            .copied()
            .collect();
        // The system has no room for 0.0.0.0 and an address of it on one port: there the old
        // socket has to go first.
        let (in_the_way, other): (Vec<SocketAddr>, Vec<SocketAddr>) = gone
            .iter()
            .partition(|gone| new.iter().any(|new| new.port() == gone.port()));
        self.remove(&in_the_way);
        if let Err(error) = self.add(&new) {
            for address in in_the_way {
                if let Err(error) = self.add(&[address]) {
                    // Somebody took it in these microseconds: there is nothing to fall back on.
                    tracing::error!(%address, %error, "no longer listening");
                }
            }
            return Err(error);
        }
        self.remove(&other);
        let gone = gone
            .iter()
            .map(|address| format!("no longer listening on {address}"));
        let new = new.iter().map(|address| format!("listening on {address}"));
        Ok(gone.chain(new).collect())
    }

    fn remove(&mut self, addresses: &[SocketAddr]) {
        for address in addresses {
            self.sockets.remove(address);
        }
    }
}

/// Sets the TTL of what a listening socket says, and the least it hears.
fn limit(at: SocketAddr, socket: &TcpListener, ttl: Option<u8>, secured: [bool; 2]) {
    let v4 = at.is_ipv4();
    let [v4_secured, v6_secured] = secured;
    let secured = if v4 { v4_secured } else { v6_secured };
    let least = secured.then_some(255);
    let set =
        socket::set_ttl(socket, v4, ttl).and_then(|()| socket::set_least_ttl(socket, v4, least));
    if let Err(error) = set {
        tracing::error!(listening = %at, %error, "cannot set the TTL of answers to neighbours");
    }
}

/// Has a socket want signatures from these neighbours, or no longer. What fails is said, and `false`:
/// whoever connects then is not let in.
fn sign(at: SocketAddr, socket: &TcpListener, peers: Prefix, password: Option<&Password>) -> bool {
    if at.is_ipv4() != peers.addr().is_ipv4() {
        return true;
    }
    let signed = socket::md5::set(socket, peers, 0, password);
    if let Err(error) = &signed {
        tracing::error!(listening = %at, %peers, %error, "cannot set the password of a neighbour");
    }
    signed.is_ok()
}
