//! The name server: answers from the catalog over UDP and TCP, and asks upstreams for all other names.
//!
//! Messages are read and written by the `domain` package on our own socket loops; what is answered is decided by
//! [`wayleave_discovery::answers`]. One datagram is answered to completion under a short read lock of the catalog: no
//! channel and no task is between a question about a name of ours and its answer. Questions about other names get
//! a task each, of which there are only so many, so that a dead upstream does not delay our own names.
//!
//! Not there yet: a rate limit for each source (those outside of the configured networks are refused with fewer
//! octets than they sent), DNSSEC, notifications.

mod cache;
mod forward;
mod message;
mod stats;
mod tcp;
mod udp;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ipnetwork::IpNetwork;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    task::JoinSet,
};
use wayleave_discovery::{answers::Zone, catalog::Catalog};

use self::{
    forward::Forwarder,
    message::{Action, Transport},
};
pub use self::{
    message::fuzz_one,
    stats::{Snapshot, Stats},
};

/// How the server works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens, over UDP and TCP. No wildcard addresses: an answer must leave from the address asked.
    pub listen: Vec<SocketAddr>,
    /// What it answers for.
    pub zone: Zone,
    /// Who may ask; everybody else is refused. Loopback always may.
    pub clients: Vec<IpNetwork>,
    /// Who is asked for other names, in this order; nobody: other names are refused.
    pub upstreams: Vec<SocketAddr>,
    /// How long one upstream may take; at most a second, for a resolver in a container gives up after five.
    pub upstream_timeout: Duration,
    /// How many questions to upstreams may be under way. More get SERVFAIL at once.
    pub upstream_questions: usize,
    /// How many answers of upstreams are kept.
    pub cache_entries: usize,
    /// How many TCP connections may be open, and how many of them by one source.
    pub tcp_connections: (usize, usize),
}

impl Settings {
    /// The longest an upstream is waited for.
    pub const MAX_UPSTREAM_TIMEOUT: Duration = Duration::from_secs(1);

    /// A server for a zone that listens nowhere yet and forwards nothing.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self {
            listen: Vec::new(),
            zone,
            clients: Vec::new(),
            upstreams: Vec::new(),
            upstream_timeout: Self::MAX_UPSTREAM_TIMEOUT,
            upstream_questions: 256,
            cache_entries: 4_096,
            tcp_connections: (256, 16),
        }
    }
}

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The address cannot be listened on.
    #[error("the name server cannot listen on {address} ({transport}): {}", reason(.source))]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A wildcard address.
    #[error(
        "the name server cannot listen on {0}: answers could leave from another address than the one asked; \
         name each address under `dns.listen`"
    )]
    Wildcard(SocketAddr),
    /// An upstream that is this server.
    #[error("the upstream {0} is this name server itself; name another one under `dns.upstream`")]
    Loop(SocketAddr),
}

fn reason(error: &io::Error) -> String {
    let known = [
        (
            io::ErrorKind::AddrInUse,
            "the port is taken; `ss -lunp` shows by whom, often systemd-resolved or dnsmasq",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "no interface of this host has the address; add it first",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
        ),
    ];
    let found = known.iter().find(|(kind, _)| *kind == error.kind());
    found.map_or_else(|| error.to_string(), |(_, reason)| (*reason).to_owned())
}

/// A server that has its sockets.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

/// What all loops share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    catalog: Arc<RwLock<Catalog>>,
    forwarder: Forwarder,
    stats: Stats,
    seed: AtomicU64,
}

impl Server {
    /// Opens all sockets, or none: before the agent says it is ready.
    pub async fn bind(settings: Settings, catalog: Arc<RwLock<Catalog>>) -> Result<Self, DnsError> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for address in &settings.listen {
            if address.ip().is_unspecified() {
                return Err(DnsError::Wildcard(*address));
            }
            let error = |transport| {
                move |source| DnsError::Bind {
                    address: *address,
                    transport,
                    source,
                }
            };
            let listener = TcpListener::bind(address).await.map_err(error("TCP"))?;
            // With port 0, which tests use, both transports are to share the port that TCP was given.
            let address = listener.local_addr().map_err(error("TCP"))?;
            udp.push(udp::bind(address).map_err(error("UDP"))?);
            tcp.push(listener);
            if settings.upstreams.contains(&address) {
                return Err(DnsError::Loop(address));
            }
        }
        let shared = Arc::new(Shared {
            forwarder: Forwarder::new(&settings),
            settings,
            catalog,
            stats: Stats::default(),
            seed: AtomicU64::new(forward::unpredictable()),
        });
        Ok(Self { shared, udp, tcp })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Reads the counters, also while it runs.
    pub fn stats(&self) -> impl Fn() -> Snapshot + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.stats.snapshot()
    }

    /// Serves until `shutdown` turns true or its sender is gone. Questions to upstreams under way are dropped then.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut loops = JoinSet::new();
        for socket in self.udp {
            loops.spawn(udp::serve(Arc::clone(&self.shared), Arc::new(socket)));
        }
        let open = Arc::new(tcp::Open::new(self.shared.settings.tcp_connections));
        for listener in self.tcp {
            loops.spawn(tcp::serve(
                Arc::clone(&self.shared),
                listener,
                Arc::clone(&open),
            ));
        }
        // An error means that the sender is gone: nobody is left who could want answers.
        let _ = shutdown.wait_for(|stop| *stop).await;
        loops.shutdown().await;
    }
}

impl Shared {
    /// Reads one request and writes its reply, unless somebody else is to be asked.
    fn answer(
        &self,
        source: IpAddr,
        transport: Transport,
        request: &[u8],
        reply: &mut Vec<u8>,
    ) -> Action {
        Stats::up(&self.stats.questions);
        reply.clear();
        let action = if self.may_ask(source) {
            let seed = self.seed.fetch_add(1, Ordering::Relaxed);
            // The catalog is whole between any two of its calls: a panic elsewhere does not spoil it.
            let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
            let forwards = !self.settings.upstreams.is_empty();
            message::respond(
                &self.settings.zone,
                &catalog,
                forwards,
                transport,
                request,
                seed,
                reply,
            )
        } else {
            message::refuse(request, reply)
        };
        self.stats.count(&action, reply);
        action
    }

    fn may_ask(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        source.is_loopback()
            || self
                .settings
                .clients
                .iter()
                .any(|network| network.contains(source))
    }
}

#[cfg(test)]
mod tests;
