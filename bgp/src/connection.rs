//! One TCP connection: reading into the speaker, writing what it gives.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr},
    time::{Duration, Instant},
};

use mio::{event::Event, net::TcpStream};
use wayleave_bgp_core::{ConnId, ConnInfo, Speaker as Machine, Time};

use crate::interface;

/// Bytes read from one connection before others get their turn: more than any message, so that what
/// is left of one, which is read anew with the rest of it, leaves room.
pub(crate) const READ_SIZE: usize = 64 << 10;

/// Pieces written in one call; the system's limit is 1,024.
const SLICES: usize = 64;

/// How long a connection that is being closed may take for its last messages.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the peer may take to answer our connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// What is being done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer has not answered yet.
    Opening,
    Open,
    /// The speaker wants it closed: it writes what there is, and then waits for the peer to have read
    /// it. To close with something unread would reset the connection and lose our NOTIFICATION.
    Closing,
    /// All is written and the peer has been told so.
    Shut,
}

/// Whether there is a point in writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// The system took less than there was: writing waits until the socket is writable.
    Full,
    /// The connection is broken, which reading will show.
    Broken,
}

/// What came of a look at a connection.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing more to do until the system says so.
    Idle,
    /// There is more to read: others come first.
    More,
    /// It is at its end; why, in words.
    Ended(String),
}

/// A connection that is being opened, is open, or is being closed.
#[derive(Debug)]
pub(crate) struct Connection {
    conn: ConnId,
    stream: TcpStream,
    /// Where our attempt goes to.
    remote: SocketAddr,
    phase: Phase,
    /// When its phase is over at the latest.
    deadline: Option<Instant>,
    writing: Writing,
    readable: bool,
    /// The peer has said all, or the connection is broken: reading will come to the end of it, and no
    /// further event says so.
    ended: bool,
    /// Somebody will look at it.
    pub(crate) queued: bool,
    /// What was read and is not a whole message yet.
    unread: Vec<u8>,
}

impl Connection {
    /// A connection on its way to `remote`.
    pub(crate) fn opening(
        conn: ConnId,
        stream: TcpStream,
        remote: SocketAddr,
        now: Instant,
    ) -> Self {
        Self {
            conn,
            stream,
            remote,
            phase: Phase::Opening,
            deadline: Some(now + CONNECT_PATIENCE),
            writing: Writing::Full,
            readable: false,
            ended: false,
            queued: false,
            unread: Vec::new(),
        }
    }

    /// A connection a peer has opened.
    pub(crate) fn accepted(conn: ConnId, stream: TcpStream, remote: SocketAddr) -> Self {
        Self {
            conn,
            stream,
            remote,
            phase: Phase::Open,
            deadline: None,
            writing: Writing::Open,
            // What came before it was watched is not announced.
            readable: true,
            ended: false,
            queued: false,
            unread: Vec::new(),
        }
    }

    /// The two ends as the system has them now.
    pub(crate) fn describe(&self) -> io::Result<ConnInfo> {
        let ends = (self.stream.local_addr()?, self.stream.peer_addr()?);
        Ok(interface::describe(ends.0, ends.1))
    }

    /// What is watched.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// When it has to be looked at without any event.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether it is open for messages of the speaker.
    pub(crate) fn is_open(&self) -> bool {
        self.phase != Phase::Opening
    }

    /// Takes note of what the system says.
    pub(crate) fn note(&mut self, event: &Event) {
        if event.is_read_closed() || event.is_write_closed() || event.is_error() {
            self.ended = true;
            self.readable = true;
        }
        self.readable |= event.is_readable();
        if event.is_writable() && self.writing == Writing::Full {
            self.writing = Writing::Open;
        }
    }

    /// Closes it when it has written what there is.
    pub(crate) fn close(&mut self, now: Instant) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.deadline = Some(now + LAST_WORDS);
        }
    }

    /// Does a piece of what it has to do: comes up, reads once, or ends. `input` is where any
    /// connection reads to. What the speaker has to say is written by [`write`](Self::write).
    pub(crate) fn advance(
        &mut self,
        now: Time,
        clock: Instant,
        machine: &mut Machine,
        input: &mut [u8],
    ) -> Progress {
        let late = self.deadline.is_some_and(|deadline| deadline <= clock);
        match self.phase {
            Phase::Opening if self.writing == Writing::Open => match self.opened() {
                Ok(true) => {
                    self.phase = Phase::Open;
                    self.deadline = None;
                    match self.describe() {
                        Ok(info) => machine.connected(now, self.conn, info),
                        Err(error) => return Progress::Ended(error.to_string()),
                    }
                    self.hear(now, machine, input)
                }
                Ok(false) => Progress::Idle,
                Err(error) => Progress::Ended(error.to_string()),
            },
            Phase::Opening if late => Progress::Ended(format!(
                "no answer from {} within {CONNECT_PATIENCE:?}",
                self.remote
            )),
            Phase::Opening => Progress::Idle,
            Phase::Open => self.hear(now, machine, input),
            Phase::Closing | Phase::Shut if late => Progress::Ended(BY_US.to_owned()),
            Phase::Closing => {
                self.write(now, machine);
                match self.writing {
                    Writing::Open if self.stream.shutdown(Shutdown::Write).is_ok() => {
                        self.phase = Phase::Shut;
                        self.drain(input)
                    }
                    Writing::Full => Progress::Idle,
                    Writing::Open | Writing::Broken => Progress::Ended(BY_US.to_owned()),
                }
            }
            Phase::Shut => self.drain(input),
        }
    }

    /// Whether our attempt has come through.
    fn opened(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                self.writing = Writing::Full;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn hear(&mut self, now: Time, machine: &mut Machine, input: &mut [u8]) -> Progress {
        if !self.readable {
            return Progress::Idle;
        }
        match self.read(now, machine, input) {
            Ok(()) if self.readable => Progress::More,
            Ok(()) => Progress::Idle,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Progress::Ended("the peer closed it".to_owned())
            }
            Err(error) => Progress::Ended(error.to_string()),
        }
    }

    /// Reads once and hands what there was to the speaker.
    fn read(&mut self, now: Time, machine: &mut Machine, input: &mut [u8]) -> io::Result<()> {
        let (kept, room) = input.split_at_mut(self.unread.len());
        kept.copy_from_slice(&self.unread);
        let full = room.len();
        let count = match self.stream.read(room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        // A read that leaves room has emptied the socket, and what comes after it is an event of its
        // own; but for the end, whose event may have come with that of the last octets.
        self.readable = count == full || self.ended;
        let read = input.get(..self.unread.len() + count).unwrap_or_default();
        let taken = machine.received(now, self.conn, read);
        self.unread.clear();
        self.unread
            .extend_from_slice(read.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Reads on without listening, until the peer closes its side.
    fn drain(&mut self, input: &mut [u8]) -> Progress {
        if !self.readable {
            return Progress::Idle;
        }
        match self.stream.read(input) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Progress::Idle;
            }
            Ok(0) | Err(_) => return Progress::Ended(BY_US.to_owned()),
        }
        Progress::More
    }

    /// Writes until there is nothing left or the socket is full. Whether the connection was found
    /// broken: reading says how.
    pub(crate) fn write(&mut self, now: Time, machine: &mut Machine) -> bool {
        while self.writing == Writing::Open && self.phase != Phase::Shut {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(4);
            machine.output(self.conn, SLICES, &mut slices);
            if slices.is_empty() {
                return false;
            }
            let all: usize = slices.iter().map(|slice| slice.len()).sum();
            let more = slices.len() >= SLICES;
            // One piece goes the shorter way through the system.
            let written = match &slices[..] {
                [only] => self.stream.write(only),
                _ => self.stream.write_vectored(&slices),
            };
            match written {
                Ok(count) => {
                    drop(slices);
                    machine.written(now, self.conn, count);
                    if count == all && !more {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writing = Writing::Full;
                }
                Err(_) => {
                    self.writing = Writing::Broken;
                    self.readable = true;
                    return true;
                }
            }
        }
        false
    }
}

const BY_US: &str = "closed by us";
