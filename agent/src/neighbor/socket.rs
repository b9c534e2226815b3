//! The ICMPv6 socket that router advertisements and solicitations go through: one for all interfaces.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd,
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
        sockopt::Ipv6RecvPacketInfo,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::{
    message::{ADVERTISEMENT, HOP_LIMIT, SOLICITATION},
    search::Outlet,
};

/// All nodes, and all routers, of a link (RFC 4291, 2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub(super) const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Longer than any link lets through without fragments, which these messages must not need (RFC 6980).
const LONGEST: usize = 9_216;

/// It exists while somebody is looked for.
#[derive(Debug)]
pub(super) struct RouterSocket {
    socket: AsyncFd<Socket>,
    payload: Vec<u8>,
    /// Room for what the kernel says about one message: its interface, its hop limit.
    control: Vec<u8>,
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) ifindex: u32,
    pub(super) source: Ipv6Addr,
    pub(super) hop_limit: u8,
    pub(super) octets: &'a [u8],
}

impl RouterSocket {
    /// Opens it in the network namespace of the calling thread. Takes CAP_NET_RAW.
    pub(super) fn open() -> io::Result<Self> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
        system::pass_only(&socket, &[SOLICITATION, ADVERTISEMENT])?;
        socket.set_recv_hoplimit_v6(true)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
        // What we say is for others.
        socket.set_multicast_loop_v6(false)?;
        Ok(Self {
            socket: system::register(socket)?,
            payload: vec![0; LONGEST],
            control: cmsg_space!(libc::in6_pktinfo, libc::c_int),
        })
    }

    /// Sends to everybody on a link.
    pub(super) fn send(&self, from: Outlet, to: Ipv6Addr, octets: &[u8]) -> io::Result<()> {
        let socket = self.socket.get_ref();
        // Solicitations go to all routers, of which we are one on this link from now on. To say so again
        // does no harm, and an interface that was made anew under the old number has forgotten it.
        match socket.join_multicast_v6(&ALL_ROUTERS, from.ifindex) {
            Err(error) if error.raw_os_error() != Some(libc::EADDRINUSE) => return Err(error),
            Err(_) | Ok(()) => {}
        }
        let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, from.ifindex));
        let source = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: from.source.octets(),
            },
            ipi6_ifindex: from.ifindex,
        };
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(octets)],
            &[ControlMessage::Ipv6PacketInfo(&source)],
            MsgFlags::MSG_DONTWAIT,
            Some(&to),
        )?;
        Ok(())
    }

    /// No longer a router on this link.
    pub(super) fn leave(&self, ifindex: u32) {
        // Whoever has gone has left.
        let _ = self
            .socket
            .get_ref()
            .leave_multicast_v6(&ALL_ROUTERS, ifindex);
    }

    /// Waits until something has come since the last call. Read until there is nothing more before
    /// waiting again.
    pub(super) async fn readable(&self) -> io::Result<()> {
        // Before it is read: what comes from now on is another wake-up.
        self.socket.readable().await?.clear_ready();
        Ok(())
    }

    /// What has come, without waiting; `None`: nothing more.
    pub(super) fn receive(&mut self) -> io::Result<Option<Received<'_>>> {
        loop {
            let mut parts = [IoSliceMut::new(&mut self.payload)];
            let received = recvmsg::<SockaddrIn6>(
                self.socket.get_ref().as_raw_fd(),
                &mut parts,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            );
            let message = match received {
                Ok(message) => message,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let (mut ifindex, mut hop_limit) = (None, None);
            #[allow(
                clippy::wildcard_enum_match_arm,
                reason = "we asked for two of some forty"
            )]
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::Ipv6PacketInfo(info) => ifindex = Some(info.ipi6_ifindex),
                    ControlMessageOwned::Ipv6HopLimit(value) => {
                        hop_limit = u8::try_from(value).ok()
                    }
                    _ => {}
                }
            }
            let source = message.address.map(|address| address.ip());
            let length = message.bytes;
            // One of which the kernel does not say all is none.
            if let (Some(ifindex), Some(hop_limit), Some(source)) = (ifindex, hop_limit, source) {
                return Ok(Some(Received {
                    ifindex,
                    source,
                    hop_limit,
                    octets: self.payload.get(..length).unwrap_or_default(),
                }));
            }
        }
    }
}

mod system {
    //! Two safe wishes that have only unsafe interfaces: an option that no library wraps, and `AsyncFd`,
    //! which wants a promise that the object keeps answering with the same open descriptor.
    #![allow(unsafe_code, reason = "see above: there is no safe way to either")]

    use std::{io, os::fd::AsRawFd};

    use socket2::Socket;
    use tokio::io::{Interest, unix::AsyncFd};

    /// The option (RFC 3542, 3.2), which libc does not have.
    const ICMP6_FILTER: libc::c_int = 1;

    /// Hands a socket to the reactor of the current tokio runtime.
    pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
        // SAFETY: `Socket` owns one descriptor, returns that one always, and closes it on drop only.
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        registered.map_err(|error| error.into_parts().1)
    }

    /// ICMP6_FILTER: echo requests and the rest of neighbour discovery do not wake us.
    pub(super) fn pass_only(socket: &Socket, types: &[u8]) -> io::Result<()> {
        // A bit for each type; one that is set keeps it out.
        let mut blocked = [u32::MAX; 8];
        for kind in types {
            blocked[usize::from(kind / 32)] &= !(1 << (kind % 32));
        }
        let length = libc::socklen_t::try_from(size_of_val(&blocked)).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for the life of `socket`; the kernel reads `length` octets, which
        // is the size of the array, and keeps no pointer to it.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_ICMPV6,
                ICMP6_FILTER,
                blocked.as_ptr().cast(),
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
