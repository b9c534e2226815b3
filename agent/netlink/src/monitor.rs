//! What others do to the kernel, as it happens.

use std::{io, os::fd::AsFd};

use netlink_sys::{Socket as RawSocket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use socket2::{SockFilter, SockRef};
use tokio::io::unix::AsyncFd;

use crate::{
    error::{KernelError, SocketOperation},
    object::Event,
    socket::{
        adopt::{adopt, register},
        bound_port, force_receive_buffer,
    },
    wire::{self, Messages, RTM_DELNEXTHOP, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_NEWROUTE},
};

/// Receive buffer in bytes. 200,000 route events take about 150 MiB of kernel accounting, so no
/// buffer holds a whole table; this one rides out some 8,000 while the reader is busy.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// Datagrams read before the task yields.
const BUDGET: usize = 128;
const INBOX: usize = 64 * 1024;

/// What to hear about (`RTNLGRP_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Group {
    /// Interfaces: made, changed, up, down, carrier, deleted.
    Links = 1,
    /// Neighbour entries.
    Neighbors = 3,
    /// IPv4 addresses.
    AddressesV4 = 5,
    /// IPv4 routes.
    RoutesV4 = 7,
    /// IPv4 rules.
    RulesV4 = 8,
    /// IPv6 addresses.
    AddressesV6 = 9,
    /// IPv6 routes.
    RoutesV6 = 11,
    /// IPv6 rules.
    RulesV6 = 19,
    /// Nexthop objects.
    Nexthops = 32,
}

/// The groups that decide where packets go: interfaces, addresses, routes, nexthop objects.
pub const FORWARDING: [Group; 6] = [
    Group::Links,
    Group::AddressesV4,
    Group::AddressesV6,
    Group::RoutesV4,
    Group::RoutesV6,
    Group::Nexthops,
];

/// Hears events of multicast groups in the namespace it was opened in.
///
/// The kernel is silent about some losses: a link that goes down takes its IPv4 routes along, and
/// lost carrier takes nexthop objects, without an event for each. [`Event::New`] of the link is
/// the only sign.
#[derive(Debug)]
pub struct Monitor {
    raw: RawSocket,
    inbox: Vec<u8>,
}

impl Monitor {
    /// Opens a socket in the network namespace of the calling thread and joins the groups.
    /// Everything that happens after the return is heard, so list *after* opening.
    ///
    /// # Errors
    /// [`KernelError::Socket`].
    pub fn open(groups: &[Group]) -> Result<Self, KernelError> {
        let mut raw = RawSocket::new(NETLINK_ROUTE)
            .map_err(|error| KernelError::socket(SocketOperation::Open, &error))?;
        let configure = |raw: &mut RawSocket| -> io::Result<()> {
            raw.set_non_blocking(true)?;
            force_receive_buffer(raw, RECEIVE_BUFFER)?;
            bound_port(raw).map(drop)
        };
        configure(&mut raw)
            .map_err(|error| KernelError::socket(SocketOperation::Configure, &error))?;
        for group in groups {
            raw.add_membership(*group as u32)
                .map_err(|error| KernelError::socket(SocketOperation::Join, &error))?;
        }
        Ok(Self {
            raw,
            inbox: Vec::with_capacity(INBOX),
        })
    }

    /// Does not hear the events of routes and nexthop objects that are the echo of one socket's own
    /// changes: the filter drops them in the kernel, before they take room in the buffer. Link and
    /// address events are heard whoever caused them.
    ///
    /// # Errors
    /// [`KernelError::Socket`].
    pub fn ignore_routes_of(&self, port: u32) -> Result<(), KernelError> {
        SockRef::from(&self.raw)
            .attach_filter(&echo_filter(port))
            .map_err(|error| KernelError::socket(SocketOperation::Configure, &error))
    }

    /// Sets the receive buffer, in bytes; 8 MiB unless set. For tests of overruns.
    ///
    /// # Errors
    /// [`KernelError::Socket`].
    pub fn set_receive_buffer(&self, bytes: usize) -> Result<(), KernelError> {
        SockRef::from(&self.raw)
            .set_recv_buffer_size(bytes)
            .map_err(|error| KernelError::socket(SocketOperation::Configure, &error))
    }

    /// Appends what has happened since the last call, without waiting. Returns whether there may
    /// be more already. Lost events, and events that cannot be read, appear as
    /// [`Event::Overrun`]: list again.
    ///
    /// # Errors
    /// [`KernelError::Socket`] when the socket has failed for good.
    pub fn read(&mut self, into: &mut Vec<Event>) -> Result<bool, KernelError> {
        read(&self.raw, &mut self.inbox, into)
    }

    /// What tells a tokio runtime that something has happened.
    ///
    /// # Errors
    /// [`KernelError::Socket`] when the reactor does not take it.
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO enabled.
    pub fn readiness(&self) -> Result<Readiness, KernelError> {
        let fd = self.raw.as_fd().try_clone_to_owned();
        let fd = fd.and_then(|fd| register(adopt(fd)));
        let fd = fd.map_err(|error| KernelError::socket(SocketOperation::Configure, &error))?;
        Ok(Readiness(fd))
    }
}

/// Waits for events of a [`Monitor`], which is read elsewhere: by whoever holds it, on whatever
/// thread.
#[derive(Debug)]
pub struct Readiness(AsyncFd<RawSocket>);

impl Readiness {
    /// Waits until something has happened since the last call. There may be nothing to read all
    /// the same, when somebody has read it meanwhile. Read until there is nothing before waiting
    /// again. Cancellation loses nothing.
    ///
    /// # Errors
    /// [`KernelError::Socket`] when the reactor has failed.
    pub async fn changed(&mut self) -> Result<(), KernelError> {
        let mut guard = self
            .0
            .readable_mut()
            .await
            .map_err(|error| KernelError::socket(SocketOperation::Receive, &error))?;
        // Before it is read: what comes from now on is a change of its own.
        guard.clear_ready();
        Ok(())
    }
}

fn read(raw: &RawSocket, inbox: &mut Vec<u8>, into: &mut Vec<Event>) -> Result<bool, KernelError> {
    for _ in 0..BUDGET {
        inbox.clear();
        inbox.reserve(INBOX);
        match raw.recv(inbox, nix::libc::MSG_TRUNC) {
            Ok(len) if len > inbox.len() => {
                tracing::warn!(
                    len,
                    "a netlink event was longer than the buffer: listing again"
                );
                into.push(Event::Overrun);
            }
            Ok(_) => decode(inbox, into),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => return Ok(false),
                Some(Errno::EINTR) => {}
                Some(Errno::ENOBUFS) => into.push(Event::Overrun),
                _ => return Err(KernelError::socket(SocketOperation::Receive, &error)),
            },
        }
    }
    Ok(true)
}

fn decode(datagram: &[u8], into: &mut Vec<Event>) {
    for message in Messages(datagram) {
        match message.and_then(|message| wire::event(&message)) {
            Ok(event) => into.extend(event),
            Err(error) => {
                tracing::warn!(%error, "an event of the kernel cannot be read: listing again");
                into.push(Event::Overrun);
            }
        }
    }
}

/// Classic BPF over the `nlmsghdr`: accept all but routes and nexthop objects whose author has
/// this port.
///
/// The machine loads words in network order, the header is in that of the host; the constants are
/// turned round accordingly.
fn echo_filter(port: u32) -> [SockFilter; 9] {
    const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
    const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const TYPE: u32 = 4;
    const PORT: u32 = 12;
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        SockFilter::new(LOAD_HALF, 0, 0, TYPE),
        SockFilter::new(JUMP_EQUAL, 3, 0, kind(RTM_NEWROUTE)),
        SockFilter::new(JUMP_EQUAL, 2, 0, kind(RTM_DELROUTE)),
        SockFilter::new(JUMP_EQUAL, 1, 0, kind(RTM_NEWNEXTHOP)),
        SockFilter::new(JUMP_EQUAL, 0, 2, kind(RTM_DELNEXTHOP)),
        SockFilter::new(LOAD_WORD, 0, 0, PORT),
        SockFilter::new(JUMP_EQUAL, 1, 0, port.to_be()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
