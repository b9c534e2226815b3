//! A session's own socket: what it sends from.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use socket2::{Domain, Protocol, Socket, Type};
use wayleave_bfd::{PACKET_LEN, Path, SOURCE_PORTS, SessionConfig, TTL};

use super::handle::{BfdPeerView, BfdSession};

/// DSCP CS6, network control (RFC 4594, 3.1), in the octet that it shares with ECN.
const CS6: u32 = 0xc0;
/// The queue of the interface that is served first; above 6 it takes CAP_NET_ADMIN.
const PRIORITIES: [u32; 2] = [7, 6];
/// How many ports are tried before it is given up for now.
const TRIES: u32 = 64;

/// No interface has it: a session whose interface is missing is bound to it.
const NO_INTERFACE: u32 = 0;

/// A session as the driver has it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) config: BfdSession,
    socket: Option<Socket>,
    /// The port of the socket, or of the last one: a session keeps its port (RFC 5881, 4).
    port: Option<u16>,
    /// It is to be held in AdminDown.
    pub(super) admin_down: bool,
    /// The index of its interface, as last seen.
    pub(super) interface: Option<u32>,
    /// Why there is no socket, or no session in the machine.
    pub(super) trouble: Option<String>,
    /// The trouble came with a packet, and is over when one can be sent.
    doubted: bool,
    /// What its client was told of that.
    pub(super) told: Option<String>,
    unsent: u64,
    last_send_error: Option<String>,
}

impl Peer {
    pub(super) fn new(config: BfdSession) -> Self {
        let mut peer = Self {
            config,
            socket: None,
            port: None,
            admin_down: false,
            interface: None,
            trouble: None,
            doubted: false,
            told: None,
            unsent: 0,
            last_send_error: None,
        };
        peer.find_interface();
        peer
    }

    /// The session as the machine is to have it.
    pub(super) fn session(&self) -> SessionConfig {
        SessionConfig {
            path: Path {
                remote: self.config.remote,
                local: self.config.local,
                interface: self.interface,
                hops: self.config.hops,
            },
            role: self.config.role,
            timers: self.config.timers,
        }
    }

    /// Looks for its interface, which may have come, gone, or been made anew.
    pub(super) fn find_interface(&mut self) {
        self.interface = index(self.config.interface.as_deref());
    }

    /// For IPv6, an interface that is gone is but a network that cannot be reached.
    fn interface_has_changed(&self) -> bool {
        self.interface != index(self.config.interface.as_deref())
    }

    pub(super) fn has_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// The port it sends from, or has sent from and will again.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Opens its socket: at the port it has had, or at one that no other session has, which the
    /// system would allow if their addresses differ (RFC 5881, 4 would rather not).
    pub(super) fn open(&mut self, others: &BTreeSet<u16>) -> Result<(), String> {
        if let (Some(NO_INTERFACE), Some(name)) = (self.interface, &self.config.interface) {
            return Err(format!("there is no interface {name}"));
        }
        let describe = |error: io::Error| {
            let from = self
                .config
                .local
                .map_or(String::new(), |local| format!(" from {local}"));
            format!("cannot send{from}: {error}")
        };
        let (first, count) = (*SOURCE_PORTS.start(), SOURCE_PORTS.len());
        let mut last = None;
        for attempt in 0..TRIES {
            let port = match (attempt, self.port) {
                (0, Some(port)) => port,
                // Any of them: the number is below `count`, which is at most 2^14.
                _ => first + u16::try_from(random() % count as u64).unwrap_or(0),
            };
            if others.contains(&port) && others.len() < count {
                continue;
            }
            match self.bind(port) {
                Ok(socket) => {
                    (self.socket, self.port) = (Some(socket), Some(port));
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
                Err(error) => return Err(describe(error)),
            }
        }
        Err(last.map_or_else(|| "finds no free port to send from".to_owned(), describe))
    }

    fn bind(&self, port: u16) -> io::Result<Socket> {
        let v4 = self.config.remote.is_ipv4();
        let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(Protocol::UDP))?;
        if v4 {
            socket.set_ttl_v4(TTL.into())?;
            socket.set_tos_v4(CS6)?;
        } else {
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(TTL.into())?;
            socket.set_tclass_v6(CS6)?;
        }
        // Behind the type of service, which sets it too. Without it packets wait their turn.
        let _ = PRIORITIES
            .iter()
            .any(|priority| socket.set_priority(*priority).is_ok());
        if let Some(interface) = &self.config.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        let local = self.config.local.unwrap_or(match v4 {
            true => Ipv4Addr::UNSPECIFIED.into(),
            false => Ipv6Addr::UNSPECIFIED.into(),
        });
        socket.bind(&self.scoped(local, port).into())?;
        Ok(socket)
    }

    /// What came of providing for it. A socket that can be opened and not be sent from heals nothing.
    pub(super) fn note(&mut self, provided: Result<(), String>) {
        match provided {
            Err(trouble) => (self.trouble, self.doubted) = (Some(trouble), false),
            Ok(()) if self.doubted => {}
            Ok(()) => self.trouble = None,
        }
    }

    /// Sends a packet; what cannot be sent now is not sent later.
    pub(super) fn send(&mut self, destination: SocketAddr, bytes: &[u8; PACKET_LEN]) {
        let Some(socket) = &self.socket else {
            self.unsent += 1;
            return;
        };
        let destination = self.scoped(destination.ip(), destination.port());
        // Over one hop: never by way of a router (RFC 5881, 6). An interface is as good.
        let flags = match self.config.interface.is_none() && !self.config.hops.is_multi() {
            true => libc::MSG_DONTROUTE,
            false => 0,
        };
        let Err(error) = socket.send_to_with_flags(bytes, &destination.into(), flags) else {
            if std::mem::take(&mut self.doubted) {
                self.trouble = None;
            }
            return;
        };
        self.unsent += 1;
        if is_of_the_socket(&error) || self.interface_has_changed() {
            self.socket = None;
            self.doubted = true;
            self.trouble = Some(format!("cannot send to {}: {error}", self.config.remote));
        }
        self.last_send_error = Some(error.to_string());
    }

    fn scoped(&self, address: IpAddr, port: u16) -> SocketAddr {
        match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                let scope = self.interface.unwrap_or(NO_INTERFACE);
                SocketAddrV6::new(address, port, 0, scope).into()
            }
            address @ (IpAddr::V4(_) | IpAddr::V6(_)) => SocketAddr::new(address, port),
        }
    }

    pub(super) fn view(&self, session: Option<wayleave_bfd::SessionView>) -> BfdPeerView {
        BfdPeerView {
            remote: self.config.remote,
            interface: self.config.interface.clone(),
            source_port: self.port.filter(|_| self.socket.is_some()),
            trouble: self.trouble.clone(),
            unsent: self.unsent,
            last_send_error: self.last_send_error.clone(),
            session,
        }
    }
}

fn index(interface: Option<&str>) -> Option<u32> {
    interface.map(|name| nix::net::if_::if_nametoindex(name).unwrap_or(NO_INTERFACE))
}

/// Whether a send failed because its socket is of no use any more: its interface or its address is
/// gone. Others say that there is no way just now, which a session is for finding out.
fn is_of_the_socket(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::ENXIO | libc::EADDRNOTAVAIL | libc::EINVAL | libc::EBADF)
    )
}

/// A number nobody can foresee, from the seed that the standard library draws for each hasher.
pub(super) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
