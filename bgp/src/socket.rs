//! Sockets as BGP wants them.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    os::fd::AsRawFd,
};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};
use wayleave_bgp_core::{Prefix, config::Password};

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
    pub(crate) password: Option<&'a Password>,
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
    if let Some(password) = target.password {
        md5::set(&socket, Prefix::host(remote.ip()), scope, Some(password))?;
    }
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
        set_ttl_of(&socket, v4, ttl)?;
    }
    if let Some(least) = ttls.least {
        set_least_ttl(&*socket, v4, Some(least))?;
    }
    Ok(())
}

/// Sets the TTL or hop limit of what a socket sends; `None`: that of the system.
pub(crate) fn set_ttl(socket: &TcpListener, v4: bool, ttl: Option<u8>) -> io::Result<()> {
    let (level, name) = if v4 {
        (libc::IPPROTO_IP, libc::IP_TTL)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
    };
    option::set(socket, level, name, ttl.map_or(-1, i32::from))
}

fn set_ttl_of(socket: &Socket, v4: bool, ttl: u8) -> io::Result<()> {
    if v4 {
        socket.set_ttl_v4(ttl.into())
    } else {
        socket.set_unicast_hops_v6(ttl.into())
    }
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

pub(crate) mod md5 {
    //! TCP_MD5SIG_EXT (RFC 2385), which no library wraps.
    #![allow(unsafe_code, reason = "setsockopt for an option no library wraps")]

    use std::{
        ffi::c_int,
        io,
        net::{SocketAddr, SocketAddrV6},
        os::fd::AsRawFd,
    };

    use socket2::SockAddr;
    use wayleave_bgp_core::{Prefix, config::Password};

    /// `TCP_MD5SIG_EXT` of linux/tcp.h.
    const TCP_MD5SIG_EXT: c_int = 32;
    /// `TCP_MD5SIG_FLAG_PREFIX`: `prefixlen` counts.
    const FLAG_PREFIX: u8 = 1;

    /// `struct tcp_md5sig` of linux/tcp.h.
    #[repr(C)]
    struct TcpMd5Sig {
        addr: libc::sockaddr_storage,
        flags: u8,
        prefixlen: u8,
        keylen: u16,
        ifindex: c_int,
        key: [u8; Password::LONGEST],
    }

    /// Signs what goes to these addresses, and takes only what is signed from there; `None`: no
    /// longer. The interface of a link-local address is a number.
    pub(crate) fn set(
        socket: &impl AsRawFd,
        peers: Prefix,
        scope: u32,
        password: Option<&Password>,
    ) -> io::Result<()> {
        let secret = password.map(Password::as_bytes).unwrap_or_default();
        let mut key = [0; Password::LONGEST];
        key[..secret.len()].copy_from_slice(secret);
        let address: SockAddr = match peers.addr() {
            std::net::IpAddr::V6(addr) => SocketAddrV6::new(addr, 0, 0, scope).into(),
            addr => SocketAddr::new(addr, 0).into(),
        };
        let option = TcpMd5Sig {
            // SAFETY: a sockaddr_storage is plain numbers, for which all zero is a value; and SockAddr
            // holds one, of which as much is copied as is there.
            addr: unsafe {
                let mut storage: libc::sockaddr_storage = std::mem::zeroed();
                std::ptr::copy_nonoverlapping(
                    address.as_ptr().cast::<u8>(),
                    (&raw mut storage).cast::<u8>(),
                    (address.len() as usize).min(size_of::<libc::sockaddr_storage>()),
                );
                storage
            },
            flags: FLAG_PREFIX,
            prefixlen: peers.len(),
            // A password is never longer than 80 octets.
            keylen: u16::try_from(secret.len()).unwrap_or(0),
            ifindex: 0,
            key,
        };
        let length = libc::socklen_t::try_from(size_of::<TcpMd5Sig>()).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for the life of `socket`, and the pointer and length
        // describe one structure on this stack frame, which the kernel only reads.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                TCP_MD5SIG_EXT,
                (&raw const option).cast(),
                length,
            )
        };
        let error = io::Error::last_os_error();
        match (result, error.raw_os_error()) {
            (0, _) => Ok(()),
            // There was no such key.
            (_, Some(libc::ENOENT)) if password.is_none() => Ok(()),
            (_, Some(libc::ENOPROTOOPT)) => Err(io::Error::new(
                error.kind(),
                "this kernel cannot sign TCP segments (CONFIG_TCP_MD5SIG); take `password` away, or \
                 use a kernel that can",
            )),
            _ => Err(error),
        }
    }
}

/// IP_MINTTL or IPV6_MINHOPCOUNT, which neither socket2 nor nix knows: what comes with less is dropped
/// (RFC 5082). `None`: nothing is.
pub(crate) fn set_least_ttl(socket: &impl AsRawFd, v4: bool, least: Option<u8>) -> io::Result<()> {
    /// `IPV6_MINHOPCOUNT` of linux/in6.h, absent from libc.
    const IPV6_MINHOPCOUNT: i32 = 73;
    let (level, name) = if v4 {
        (libc::IPPROTO_IP, libc::IP_MINTTL)
    } else {
        (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT)
    };
    option::set(socket, level, name, least.unwrap_or(0).into())
}

mod option {
    #![allow(unsafe_code, reason = "setsockopt for options no library wraps")]

    use std::{ffi::c_int, io, os::fd::AsRawFd};

    /// Sets an option that is a number.
    pub(super) fn set(
        socket: &impl AsRawFd,
        level: c_int,
        name: c_int,
        value: c_int,
    ) -> io::Result<()> {
        let length = libc::socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for the life of `socket`, and the pointer and length
        // describe one c_int on this stack frame, which the kernel only reads.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                name,
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
