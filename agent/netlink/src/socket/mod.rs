//! The socket: batches of requests with their answers, listings part by part.

pub(crate) mod adopt;
mod dump;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use socket2::SockRef;

use self::dump::DumpState;
use crate::{
    change::Change,
    error::{Code, KernelError, SocketOperation},
    kernel::Kernel,
    link::{Link, LinkId},
    object::{Dump, Object, Progress},
    wire::{self, Answer, Message, Messages},
};

/// Messages in one send. Past some dozens nothing is gained; the receive buffer has to hold the
/// errors of all of them.
const BATCH_MESSAGES: usize = 256;
/// Bytes in one send, well below the default send buffer of 208 KiB.
const BATCH_BYTES: usize = 64 * 1024;
/// Receive buffer in bytes; the kernel counts about 1 KiB for each answer.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// The kernel never sends more than 32 KiB at once in a listing; answers are short.
const INBOX: usize = 64 * 1024;
/// The kernel answers within the send call, so waiting at all means that the answer was lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT_MS: u32 = 2_000;

/// A NETLINK_ROUTE socket for changes and listings. It acts on the network namespace it was made
/// in, whatever the namespace of the thread that uses it.
///
/// All changes of one [`apply`](Kernel::apply) go out 256 to a send. An error is always answered;
/// success is asked for with the last message of a send only, because the kernel works a send off
/// in order before it returns: what was not refused before that last answer is done. Answers are
/// matched by sequence number; a lost one makes the changes it could have been about uncertain
/// ([`KernelError::Overrun`], [`KernelError::NoAnswer`]), never successful.
///
/// A listing under way is abandoned by any other request on the same socket. Whoever lists while
/// he changes takes [`Netlink`](crate::Netlink), which has two.
#[derive(Debug)]
pub struct Socket {
    raw: RawSocket,
    port: u32,
    sequence: u32,
    acknowledge: Acknowledge,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    dump: Option<DumpState>,
    strays: u64,
}

/// Which changes the kernel is asked to acknowledge; errors are always answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// The last of each send. A third faster than each.
    #[default]
    Last,
    /// Each.
    Each,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`KernelError::Socket`] when the system has no descriptor left.
    pub fn open() -> Result<Self, KernelError> {
        let raw = RawSocket::new(NETLINK_ROUTE)
            .map_err(|error| KernelError::socket(SocketOperation::Open, &error))?;
        Self::with(raw)
    }

    /// Takes over a NETLINK_ROUTE socket that was made elsewhere, in another namespace perhaps.
    ///
    /// # Errors
    /// [`KernelError::Socket`] with `EPROTOTYPE` when it is a socket of another kind, `ENOTSOCK`
    /// when it is none.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, KernelError> {
        let adopting = |error: io::Error| KernelError::socket(SocketOperation::Adopt, &error);
        let (domain, protocol) = {
            let socket = SockRef::from(&fd);
            (
                socket.domain().map_err(adopting)?,
                socket.protocol().map_err(adopting)?,
            )
        };
        // NETLINK_ROUTE is protocol 0, which socket2 reports as none.
        if domain != nix::libc::AF_NETLINK.into() || protocol.is_some() {
            let errno = Code(Errno::EPROTOTYPE as i32);
            return Err(KernelError::Socket {
                operation: SocketOperation::Adopt,
                errno,
            });
        }
        Self::with(adopt::adopt(fd))
    }

    /// Its port, by which the kernel names the author in the events it sends to everybody.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Answers received that belong to no request under way: late ones of requests given up.
    #[must_use]
    pub const fn strays(&self) -> u64 {
        self.strays
    }

    /// Chooses which changes are acknowledged.
    pub const fn acknowledge(&mut self, acknowledge: Acknowledge) {
        self.acknowledge = acknowledge;
    }

    /// Sets the receive buffer, in bytes; 4 MiB unless set. For tests of overruns.
    ///
    /// # Errors
    /// [`KernelError::Socket`].
    pub fn set_receive_buffer(&self, bytes: usize) -> Result<(), KernelError> {
        SockRef::from(&self.raw)
            .set_recv_buffer_size(bytes)
            .map_err(|error| KernelError::socket(SocketOperation::Configure, &error))
    }

    fn with(mut raw: RawSocket) -> Result<Self, KernelError> {
        configure(&raw).map_err(|error| KernelError::socket(SocketOperation::Configure, &error))?;
        let port = bound_port(&mut raw)
            .map_err(|error| KernelError::socket(SocketOperation::Configure, &error))?;
        Ok(Self {
            raw,
            port,
            sequence: 0,
            acknowledge: Acknowledge::default(),
            outbox: Vec::with_capacity(BATCH_BYTES),
            inbox: Vec::with_capacity(INBOX),
            dump: None,
            strays: 0,
        })
    }

    /// Sends as many of the changes as fit in one send and appends their results.
    /// Returns how many that were.
    fn apply_some(
        &mut self,
        changes: &[Change],
        results: &mut Vec<Result<(), KernelError>>,
    ) -> usize {
        let first = self.sequence.wrapping_add(1);
        let mut pending = Vec::with_capacity(changes.len().min(BATCH_MESSAGES));
        self.outbox.clear();
        let mut last_sent = None;
        for change in changes.iter().take(BATCH_MESSAGES) {
            if self.outbox.len() >= BATCH_BYTES {
                break;
            }
            self.sequence = self.sequence.wrapping_add(1);
            let at = self.outbox.len();
            match wire::change(&mut self.outbox, change, self.sequence) {
                Ok(()) => {
                    if self.acknowledge == Acknowledge::Each {
                        ask_acknowledgement(&mut self.outbox[at..]);
                    }
                    last_sent = Some((at, pending.len()));
                    pending.push(None);
                }
                Err(error) => pending.push(Some(Err(error))),
            }
        }
        let count = pending.len();
        if let Some((at, last)) = last_sent {
            ask_acknowledgement(&mut self.outbox[at..]);
            let unknown = match self.send() {
                Ok(()) => self.collect(first, last, &mut pending),
                Err(error) => Some(error),
            };
            for result in &mut pending {
                if result.is_none() {
                    *result = Some(unknown.clone().map_or(Ok(()), Err));
                }
            }
        }
        results.extend(pending.into_iter().flatten());
        count
    }

    /// Reads answers until the one with sequence number `first + last` is there. Returns why the
    /// changes without an answer are uncertain, if they are.
    fn collect(
        &mut self,
        first: u32,
        last: usize,
        pending: &mut [Option<Result<(), KernelError>>],
    ) -> Option<KernelError> {
        let mut lost = None;
        loop {
            match self.receive() {
                Ok(()) => {}
                // Answers were dropped, others may still be in the queue: read on to the end.
                Err(KernelError::Overrun) => {
                    lost = Some(KernelError::Overrun);
                    continue;
                }
                Err(error) => return Some(lost.unwrap_or(error)),
            }
            for message in Messages(&self.inbox) {
                let verdict = match message.and_then(|m| Ok((m.sequence, wire::answer(&m)?))) {
                    Ok((sequence, Answer::Ack(verdict))) => {
                        let index = sequence.wrapping_sub(first) as usize;
                        pending.get_mut(index).map(|slot| (index, slot, verdict))
                    }
                    Ok((_, Answer::Overrun)) => {
                        lost = Some(KernelError::Overrun);
                        continue;
                    }
                    Ok((_, Answer::Done(_) | Answer::Object)) => None,
                    Err(error) => {
                        lost = Some(error);
                        continue;
                    }
                };
                let Some((index, slot, verdict)) = verdict else {
                    self.strays += 1;
                    continue;
                };
                let done = index == last;
                *slot = Some(verdict);
                if done {
                    return match self.acknowledge {
                        // Whatever else has no answer by now has lost it.
                        Acknowledge::Each => Some(lost.unwrap_or(KernelError::Overrun)),
                        Acknowledge::Last => lost,
                    };
                }
            }
        }
    }

    fn send(&self) -> Result<(), KernelError> {
        let kernel = SocketAddr::new(0, 0);
        loop {
            match self.raw.send_to(&self.outbox, &kernel, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(KernelError::socket(SocketOperation::Send, &error)),
            }
        }
    }

    /// Reads one datagram into the inbox.
    fn receive(&mut self) -> Result<(), KernelError> {
        receive(&self.raw, &mut self.inbox)
    }
}

impl Kernel for Socket {
    fn apply(&mut self, changes: &[Change]) -> Vec<Result<(), KernelError>> {
        self.abandon_dump();
        let mut results = Vec::with_capacity(changes.len());
        let mut rest = changes;
        while !rest.is_empty() {
            let count = self.apply_some(rest, &mut results);
            rest = &rest[count..];
        }
        results
    }

    fn begin_dump(&mut self, what: &Dump) -> Result<(), KernelError> {
        self.begin(what)
    }

    fn next_dump(&mut self, into: &mut Vec<Object>) -> Result<Progress, KernelError> {
        self.next_part(into)
    }

    fn link(&mut self, which: &LinkId) -> Result<Option<Link>, KernelError> {
        self.abandon_dump();
        self.sequence = self.sequence.wrapping_add(1);
        self.outbox.clear();
        wire::link_query(&mut self.outbox, which, self.sequence)?;
        self.send()?;
        let mut found = None;
        loop {
            self.receive()?;
            for message in Messages(&self.inbox) {
                let message: Message<'_> = message?;
                if message.sequence != self.sequence {
                    self.strays += 1;
                    continue;
                }
                match wire::answer(&message)? {
                    Answer::Ack(Ok(())) => return Ok(found),
                    Answer::Ack(Err(error)) if error.is(Errno::ENODEV) => return Ok(None),
                    Answer::Ack(Err(error)) | Answer::Done(Err(error)) => return Err(error),
                    Answer::Done(Ok(())) => {}
                    Answer::Overrun => return Err(KernelError::Overrun),
                    Answer::Object => {
                        if let Some(Object::Link(link)) = wire::object(&message)? {
                            found = Some(*link);
                        }
                    }
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

/// Reads one datagram; gives up after the time-out set by [`configure`].
pub(crate) fn receive(raw: &RawSocket, inbox: &mut Vec<u8>) -> Result<(), KernelError> {
    loop {
        inbox.clear();
        inbox.reserve(INBOX);
        match raw.recv(inbox, nix::libc::MSG_TRUNC) {
            Ok(len) if len > inbox.len() => {
                return Err(wire::malformed(format!(
                    "a datagram of {len} bytes was cut"
                )));
            }
            Ok(_) => return Ok(()),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINTR) => {}
                Some(Errno::ENOBUFS) => return Err(KernelError::Overrun),
                Some(Errno::EAGAIN) => return Err(KernelError::NoAnswer(ANSWER_TIMEOUT_MS)),
                _ => return Err(KernelError::socket(SocketOperation::Receive, &error)),
            },
        }
    }
}

/// Sets the options every socket of ours has.
pub(crate) fn configure(raw: &RawSocket) -> io::Result<()> {
    raw.set_non_blocking(false)?;
    raw.set_cap_ack(true)?;
    raw.set_ext_ack(true)?;
    // Without it the kernel ignores the filters of a listing silently.
    raw.set_netlink_get_strict_chk(true)?;
    SockRef::from(raw).set_read_timeout(Some(ANSWER_TIMEOUT))?;
    force_receive_buffer(raw, RECEIVE_BUFFER)
}

/// Sets the receive buffer past `net.core.rmem_max` if we may, else as large as it allows.
pub(crate) fn force_receive_buffer(raw: &RawSocket, bytes: usize) -> io::Result<()> {
    if setsockopt(raw, sockopt::RcvBufForce, &bytes).is_ok() {
        return Ok(());
    }
    SockRef::from(raw).set_recv_buffer_size(bytes)
}

/// Binds the socket unless it is bound, and returns its port.
pub(crate) fn bound_port(raw: &mut RawSocket) -> io::Result<u32> {
    let mut address = SocketAddr::new(0, 0);
    raw.get_address(&mut address)?;
    if address.port_number() != 0 {
        return Ok(address.port_number());
    }
    match raw.bind_auto() {
        Ok(address) => Ok(address.port_number()),
        // Somebody who shares the descriptor was faster.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
            raw.get_address(&mut address)?;
            Ok(address.port_number())
        }
        Err(error) => Err(error),
    }
}

/// Sets `NLM_F_ACK` in the first message of `bytes`.
fn ask_acknowledgement(bytes: &mut [u8]) {
    let flags = u16::from_ne_bytes([bytes[6], bytes[7]]) | wire::NLM_F_ACK;
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
}
