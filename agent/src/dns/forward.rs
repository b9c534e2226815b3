//! Questions about names that are not ours, put to upstreams.
//!
//! Each question has a socket of its own, so that its port and its identifier are both to be guessed by a forger
//! (RFC 5452). An upstream has one timeout; the next in line is asked then. One that failed is asked last until it
//! answers again.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use domain::base::header::Header;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use super::{
    Settings,
    cache::Cache,
    message::{MAX_DATAGRAM, Transport},
    stats::Stats,
};

/// A question on its way to an upstream.
#[derive(Debug)]
pub(super) struct Forward {
    /// The request to the upstream, with identifier 0 and the name in lower case; without the identifier it is
    /// the key of the cache.
    request: Vec<u8>,
    /// The requester's identifier.
    id: u16,
    /// The requester's question, in its own spelling.
    question: Box<[u8]>,
    transport: Transport,
    limit: usize,
}

/// Why there is no answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Too many questions are under way.
    Overloaded,
    /// No upstream answered in time.
    NoAnswer,
}

/// Asks upstreams.
#[derive(Debug)]
pub(super) struct Forwarder {
    upstreams: Vec<SocketAddr>,
    timeout: Duration,
    /// Which upstream is asked first.
    preferred: AtomicUsize,
    under_way: Arc<Semaphore>,
    cache: Mutex<Cache>,
}

/// 64 bits nobody else knows: the key of a fresh `RandomState` comes from the operating system.
pub(super) fn unpredictable() -> u64 {
    RandomState::new().hash_one(0)
}

impl Forward {
    /// A question of the requester, reduced to what an upstream has to know: its options, cookies among them, are
    /// between it and us.
    pub(super) fn new(
        header: Header,
        question: &[u8],
        dnssec_ok: Option<bool>,
        transport: Transport,
        limit: usize,
    ) -> Self {
        let mut request = vec![0; 12];
        request[2] = 0x01; // RD
        request[3] = u8::from(header.ad()) << 5 | u8::from(header.cd()) << 4;
        request[5] = 1; // QDCOUNT
        request.extend(question.iter().map(u8::to_ascii_lowercase));
        // Type and class are numbers: what looks like a letter in them stays.
        let numbers = question.len().saturating_sub(4);
        if let (Some(to), Some(from)) = (request.get_mut(12 + numbers..), question.get(numbers..)) {
            to.copy_from_slice(from);
        }
        if let Some(dnssec_ok) = dnssec_ok {
            request[11] = 1; // ARCOUNT
            let [size1, size0] = MAX_DATAGRAM.to_be_bytes();
            request.extend([
                0,
                0,
                41,
                size1,
                size0,
                0,
                0,
                u8::from(dnssec_ok) << 7,
                0,
                0,
                0,
            ]);
        }
        Self {
            request,
            id: header.id(),
            question: question.into(),
            transport,
            limit,
        }
    }

    /// Makes the answer of an upstream the answer to the requester, cut to what it takes.
    fn adopt(&self, mut response: Vec<u8>) -> Vec<u8> {
        let end = 12 + self.question.len();
        if response.len() > self.limit {
            // Without its records: the requester asks again over TCP.
            response.truncate(end);
            if let Some([flags, _, counts @ ..]) = response.get_mut(2..12) {
                *flags |= 0x02; // TC
                counts.copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
            }
        }
        if let Some(id) = response.get_mut(..2) {
            id.copy_from_slice(&self.id.to_be_bytes());
        }
        if let Some(question) = response.get_mut(12..end) {
            question.copy_from_slice(&self.question);
        }
        response
    }

    /// The answer when there is none.
    pub(super) fn server_failure(&self) -> Vec<u8> {
        let mut reply = vec![0; 12];
        reply[..2].copy_from_slice(&self.id.to_be_bytes());
        reply[2] = 0x81; // QR, RD
        reply[3] = 0x82; // RA, SERVFAIL
        reply[5] = 1;
        reply.extend(&*self.question);
        reply
    }

    /// Whether a response is one to this question; anything may arrive at a socket.
    fn is_answered_by(&self, response: &[u8], id: u16) -> bool {
        let end = 12 + self.question.len();
        let (Some(header), Some(question)) = (response.get(..12), response.get(12..end)) else {
            return false;
        };
        header[..2] == id.to_be_bytes()
            && header[2] & 0x80 != 0
            && header[4..6] == [0, 1]
            && question.eq_ignore_ascii_case(&self.question)
    }

    /// Part of the fuzz target: octets as what the upstream says.
    pub(super) fn fuzz_one(&self, octets: &[u8]) {
        assert!(!self.is_answered_by(&octets[..octets.len().min(12)], 0));
        let mut answered = octets.to_vec();
        if answered.len() >= 12 {
            answered.truncate(12);
            answered[2] |= 0x80;
            answered.extend(&self.request[12..]);
            answered.extend(octets);
            let mut cache = Cache::new(2);
            let now = Instant::now();
            cache.keep(&self.request[2..], &answered, now);
            let _ = cache.find(&self.request[2..], now);
            assert!(self.adopt(answered).len() <= self.limit.max(12 + self.question.len()));
        }
    }
}

impl Forwarder {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            upstreams: settings.upstreams.clone(),
            timeout: settings
                .upstream_timeout
                .min(Settings::MAX_UPSTREAM_TIMEOUT),
            preferred: AtomicUsize::new(0),
            under_way: Arc::new(Semaphore::new(settings.upstream_questions)),
            cache: Mutex::new(Cache::new(settings.cache_entries)),
        }
    }

    /// The answer that is known already; looked up before a task is spent on the question.
    pub(super) fn known(&self, forward: &Forward, stats: &Stats) -> Option<Vec<u8>> {
        let found = self.cache().find(&forward.request[2..], Instant::now())?;
        Stats::up(&stats.cache_hits);
        Some(forward.adopt(found))
    }

    /// The answer of the first upstream that gives one.
    pub(super) async fn ask(&self, forward: &Forward) -> Result<Vec<u8>, Failure> {
        let Ok(_permit) = self.under_way.try_acquire() else {
            return Err(Failure::Overloaded);
        };
        let first = self.preferred.load(Ordering::Relaxed);
        for turn in 0..self.upstreams.len() {
            let at = (first + turn) % self.upstreams.len();
            let Some(upstream) = self.upstreams.get(at) else {
                continue;
            };
            let asked = async {
                match forward.transport {
                    Transport::Udp => ask_udp(*upstream, forward).await,
                    Transport::Tcp => ask_tcp(*upstream, forward).await,
                }
            };
            match timeout(self.timeout, asked).await {
                Ok(Ok(response)) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    self.cache()
                        .keep(&forward.request[2..], &response, Instant::now());
                    return Ok(forward.adopt(response));
                }
                Ok(Err(error)) => tracing::debug!(%upstream, %error, "upstream failed"),
                Err(_) => tracing::debug!(%upstream, "upstream did not answer in time"),
            }
        }
        Err(Failure::NoAnswer)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // Whole between any two of its calls.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask_udp(upstream: SocketAddr, forward: &Forward) -> std::io::Result<Vec<u8>> {
    let local: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(upstream).await?;
    let (id, request) = numbered(forward);
    socket.send(&request).await?;
    let mut response = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut response).await?;
        if let Some(found) = response.get(..length)
            && forward.is_answered_by(found, id)
        {
            return Ok(found.to_vec());
        }
    }
}

async fn ask_tcp(upstream: SocketAddr, forward: &Forward) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    let (id, request) = numbered(forward);
    // A question is at most 12 + 259 + 11 octets.
    let length = u16::try_from(request.len()).map_err(std::io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes()[..], &request].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut response = vec![0; usize::from(length)];
    stream.read_exact(&mut response).await?;
    if forward.is_answered_by(&response, id) {
        Ok(response)
    } else {
        Err(std::io::Error::other("the answer is to another question"))
    }
}

fn numbered(forward: &Forward) -> (u16, Vec<u8>) {
    let [id1, id0, ..] = unpredictable().to_be_bytes();
    let mut request = forward.request.clone();
    request[..2].copy_from_slice(&[id1, id0]);
    (u16::from_be_bytes([id1, id0]), request)
}
