//! The sockets that receive: one per address to listen at and kind of session.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv4RecvTtl, Ipv6RecvHopLimit, Ipv6RecvPacketInfo},
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use wayleave_bfd::{Datagram, MULTIHOP_PORT, SINGLE_HOP_PORT};

/// A packet has at most 255 octets, as its Length says; what is behind them is not looked at.
const LONGEST: usize = 256;

/// What is read from one socket at a time, at most. More than fits into it at once: whatever had
/// come before the first read has been read then, and nobody is taken for silent who was not.
const BUDGET: usize = 2_048;

/// Room for datagrams in the kernel, in octets as it counts them: less than [`BUDGET`] of them, for
/// each takes 512 at least.
const ROOM: usize = 256 * 1024;

/// A socket that receives.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    multihop: bool,
    /// Control messages of one datagram: its destination and interface, its TTL.
    control: Vec<u8>,
}

impl Listener {
    pub(super) fn open(address: IpAddr, multihop: bool) -> io::Result<Self> {
        let port = if multihop {
            MULTIHOP_PORT
        } else {
            SINGLE_HOP_PORT
        };
        let address = SocketAddr::new(address, port);
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
        let control = if address.is_ipv4() {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
            setsockopt(&socket, Ipv4RecvTtl, &true)?;
            cmsg_space!(libc::in_pktinfo, libc::c_int)
        } else {
            socket.set_only_v6(true)?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
            setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
            cmsg_space!(libc::in6_pktinfo, libc::c_int)
        };
        // The kernel doubles it, for what it needs itself.
        socket.set_recv_buffer_size(ROOM / 2)?;
        socket.bind(&address.into())?;
        Ok(Self {
            socket,
            multihop,
            control,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Hands over what has come, and whether there may be more still.
    pub(super) fn read(&mut self, mut take: impl FnMut(&Datagram, &[u8])) -> bool {
        let mut payload = [0; LONGEST];
        for _ in 0..BUDGET {
            let mut parts = [IoSliceMut::new(&mut payload)];
            let received = recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            );
            let message = match received {
                Ok(message) => message,
                Err(Errno::EINTR) => continue,
                // Nothing more; or an error that is reported once, of a packet we sent.
                Err(_) => return false,
            };
            let length = message.bytes;
            let datagram = describe(&message, self.multihop);
            if let (Some(datagram), Some(payload)) = (datagram, payload.get(..length)) {
                take(&datagram, payload);
            }
        }
        true
    }
}

/// How a datagram came. One of which the kernel does not say all is none.
fn describe(
    message: &nix::sys::socket::RecvMsg<'_, '_, SockaddrStorage>,
    multihop: bool,
) -> Option<Datagram> {
    let source = message.address?;
    let remote: IpAddr = match (source.as_sockaddr_in(), source.as_sockaddr_in6()) {
        (Some(source), _) => source.ip().into(),
        (None, Some(source)) => source.ip().into(),
        (None, None) => return None,
    };
    let (mut to, mut ttl) = (None, None);
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "we asked for two of some forty"
    )]
    for control in message.cmsgs().ok()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let address = u32::from_be(info.ipi_addr.s_addr).to_be_bytes();
                to = Some((IpAddr::from(address), info.ipi_ifindex.cast_unsigned()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = info.ipi6_addr.s6_addr;
                to = Some((IpAddr::from(address), info.ipi6_ifindex));
            }
            ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
                ttl = u8::try_from(value).ok();
            }
            _ => {}
        }
    }
    let (local, interface) = to?;
    Some(Datagram {
        local,
        remote,
        interface,
        ttl: ttl?,
        multihop,
    })
}
