//! Datagrams.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;

use super::{
    Shared,
    forward::{Failure, Forward},
    message::{Action, Transport},
    stats::Stats,
};

/// How many datagrams are answered before other tasks have their turn.
const BATCH: usize = 64;

/// A burst of this many octets waits in the kernel while other tasks have theirs.
const RECEIVE_BUFFER: usize = 1 << 20;

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A smaller buffer than wanted is no reason not to serve.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    UdpSocket::from_std(socket.into())
}

/// Serves one socket until the task is dropped.
pub(super) async fn serve(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut request = vec![0; usize::from(u16::MAX)];
    let mut reply = Vec::with_capacity(2_048);
    loop {
        if let Err(error) = socket.readable().await {
            tracing::error!(%error, "the name server cannot wait for datagrams");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut request) {
                Ok((length, source)) => {
                    let octets = request.get(..length).unwrap_or_default();
                    answer(&shared, &socket, source, octets, &mut reply);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What an ICMP message said about an earlier answer: the requester has gone.
                Err(_) => Stats::up(&shared.stats.send_errors),
            }
        }
        tokio::task::yield_now().await;
    }
}

fn answer(
    shared: &Arc<Shared>,
    socket: &Arc<UdpSocket>,
    source: SocketAddr,
    request: &[u8],
    reply: &mut Vec<u8>,
) {
    // Port 0 cannot be answered, and an echo or chargen service would go on for ever.
    if source.port() == 0 {
        return Stats::up(&shared.stats.dropped);
    }
    match shared.answer(source.ip(), Transport::Udp, request, reply) {
        Action::Drop => {}
        Action::Reply => send(shared, socket, source, reply),
        Action::Forward(forward) => match shared.forwarder.known(&forward, &shared.stats) {
            Some(reply) => send(shared, socket, source, &reply),
            None => ask(Arc::clone(shared), Arc::clone(socket), source, forward),
        },
    }
}

fn ask(shared: Arc<Shared>, socket: Arc<UdpSocket>, source: SocketAddr, forward: Box<Forward>) {
    tokio::spawn(async move {
        let reply = shared.resolve(&forward).await;
        send(&shared, &socket, source, &reply);
    });
}

fn send(shared: &Shared, socket: &UdpSocket, to: SocketAddr, reply: &[u8]) {
    // A full send buffer drops the answer, as the network would: the requester asks again.
    if socket.try_send_to(reply, to).is_err() {
        Stats::up(&shared.stats.send_errors);
    }
}

impl Shared {
    /// The answer of an upstream, or SERVFAIL.
    pub(super) async fn resolve(&self, forward: &Forward) -> Vec<u8> {
        match self.forwarder.ask(forward).await {
            Ok(reply) => reply,
            Err(failure) => {
                Stats::up(match failure {
                    Failure::Overloaded => &self.stats.overloaded,
                    Failure::NoAnswer => &self.stats.upstream_failures,
                });
                forward.server_failure()
            }
        }
    }

    /// The address as it is counted by: whole for IPv4, the /64 for IPv6, of which one host has all.
    pub(super) fn source(address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        }
    }
}
