//! Sockets as BGP wants them.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

/// TTLs of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ttls {
    /// To send with.
    pub(crate) ttl: Option<u8>,
    /// Least to receive (RFC 5082).
    pub(crate) least: Option<u8>,
}

/// Where a connection goes.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) remote: SocketAddr,
    pub(crate) interface: Option<&'a str>,
    pub(crate) local: Option<IpAddr>,
    pub(crate) ttls: Ttls,
}

/// Begins to open a connection. It is open, or has failed, when it can be written to.
pub(crate) fn connect(target: &Target<'_>) -> io::Result<TcpStream> {
    let mut remote = target.remote;
    let mut scope = 0;
    if let (SocketAddr::V6(address), Some(interface)) = (&mut remote, target.interface) {
        scope = nix::net::if_::if_nametoindex(interface)?;
        address.set_scope_id(scope);
    }
    let domain = Domain::for_address(remote);
    let socket = Socket::new(
        domain,
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    if let Some(local) = target.local {
        let local = match local {
            IpAddr::V4(_) => SocketAddr::new(local, 0),
            IpAddr::V6(local) => SocketAddrV6::new(local, 0, 0, scope).into(),
        };
        socket.bind(&local.into())?;
    }
    prepare(&socket, remote.is_ipv4(), target.ttls)?;
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Options of an open connection.
pub(crate) fn prepare_stream(stream: &TcpStream, ttls: Ttls) -> io::Result<()> {
    let v4 = stream.local_addr()?.ip().to_canonical().is_ipv4();
    prepare(socket2::SockRef::from(stream), v4, ttls)
}

fn prepare(socket: impl std::ops::Deref<Target = Socket>, v4: bool, ttls: Ttls) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(ttl) = ttls.ttl {
        if v4 {
            socket.set_ttl_v4(ttl.into())?;
        } else {
            socket.set_unicast_hops_v6(ttl.into())?;
        }
    }
    if let Some(least) = ttls.least {
        min_ttl::set(&*socket, v4, least)?;
    }
    Ok(())
}

/// A listening socket.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(
        domain,
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    Ok(TcpListener::from_std(socket.into()))
}

mod min_ttl {
    //! IP_MINTTL and IPV6_MINHOPCOUNT, which neither socket2 nor nix knows.
    #![allow(unsafe_code, reason = "setsockopt for two options no library wraps")]

    use std::{ffi::c_int, io, os::fd::AsRawFd};

    /// `IPV6_MINHOPCOUNT` of linux/in6.h, absent from libc.
    const IPV6_MINHOPCOUNT: c_int = 73;

    pub(super) fn set(socket: &impl AsRawFd, v4: bool, least: u8) -> io::Result<()> {
        let (level, option) = if v4 {
            (libc::IPPROTO_IP, libc::IP_MINTTL)
        } else {
            (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT)
        };
        let value = c_int::from(least);
        let length = libc::socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for the life of `socket`, and the pointer and length
        // describe one c_int on this stack frame, which the kernel only reads.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                length,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
