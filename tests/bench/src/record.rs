//! What a peer was sent, kept raw with the times of arrival.
//!
//! While the clock runs a reader only walks message headers and counts prefixes; the checks, and
//! with them the exact moment a goal was reached, come from replaying the recording afterwards.

use std::{
    io::{self, ErrorKind, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    check::Fault,
    decode::{Malformed, Update, message_at},
    encode::kind,
};

/// Most bytes taken by one read, so that times of arrival stay fine-grained.
const READ: usize = 256 * 1024;

/// A stretch of a session's incoming stream, cut at message boundaries.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Received bytes in `..len`; beyond that memory touched in advance.
    buffer: Vec<u8>,
    len: usize,
    /// (end of what was read, when), ascending.
    reads: Vec<(usize, Instant)>,
    started: Instant,
    /// Counted so far: where the next message starts, prefixes announced and withdrawn.
    counted: usize,
    announced: usize,
    withdrawn: usize,
}

/// When a reader has seen enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// At least so many prefixes announced ...
    pub(crate) announced: usize,
    /// ... and so many withdrawn ...
    pub(crate) withdrawn: usize,
    /// ... and then nothing for so long.
    pub(crate) quiet: Duration,
    /// Give up when nothing at all has come for so long.
    pub(crate) stalled: Duration,
}

impl Recording {
    /// Room for about `bytes`, touched now so that no page fault falls into the measurement.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self {
            buffer: vec![0xaa; bytes + READ],
            len: 0,
            reads: Vec::with_capacity(bytes / 1024 + 16),
            started: Instant::now(),
            counted: 0,
            announced: 0,
            withdrawn: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn of(stream: Vec<u8>) -> Self {
        let mut recording = Self::with_room(0);
        recording.len = stream.len();
        recording.buffer = stream;
        recording
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Prefixes announced and withdrawn in the whole messages so far.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.announced, self.withdrawn)
    }

    /// When the peer last heard anything.
    pub(crate) fn last(&self) -> Instant {
        self.reads.last().map_or(self.started, |read| read.1)
    }

    /// When the byte before `offset` was read.
    pub(crate) fn time_of(&self, offset: usize) -> Instant {
        let at = self.reads.partition_point(|read| read.0 < offset);
        match offset {
            0 => self.started,
            _ => self.reads.get(at).map_or(self.started, |read| read.1),
        }
    }

    /// One read from a socket; `Ok(false)` when it had nothing.
    ///
    /// # Errors
    /// When the stream breaks, ends, or is not BGP.
    pub(crate) fn take(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        self.take_at_most(stream, READ)
    }

    /// The same, of at most so many bytes.
    pub(crate) fn take_at_most(&mut self, stream: &mut TcpStream, most: usize) -> io::Result<bool> {
        if self.buffer.len() - self.len < READ / 4 {
            let grown = (self.buffer.len() * 3 / 2).max(READ);
            self.buffer.resize(grown, 0xaa);
        }
        let end = self.buffer.len().min(self.len + most.min(READ));
        match stream.read(&mut self.buffer[self.len..end]) {
            Ok(0) => Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the daemon closed it",
            )),
            Ok(read) => {
                self.len += read;
                self.reads.push((self.len, Instant::now()));
                self.count().map_err(io::Error::other)?;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn count(&mut self) -> Result<(), Malformed> {
        while let Some(message) = message_at(&self.buffer[..self.len], self.counted)? {
            if message.kind == kind::UPDATE {
                let update = Update::parse(message.body)?;
                self.announced += update.announced.count()?;
                self.withdrawn += update.withdrawn.count()?;
            }
            self.counted = message.end;
        }
        Ok(())
    }

    /// Whether the stream ends with a whole message.
    pub(crate) fn at_boundary(&self) -> bool {
        self.counted == self.len
    }
}

/// Reads a session until enough has come and it has gone quiet, or until it has stalled; what is
/// missing then is for the check to say.
///
/// # Errors
/// When the session breaks.
pub(crate) fn record(
    stream: &mut TcpStream,
    mut recording: Recording,
    until: Until,
) -> Result<Recording, Fault> {
    recording.started = Instant::now();
    // Short enough to notice quiet in time, long enough not to matter.
    let tick = Duration::from_millis(20);
    stream
        .set_read_timeout(Some(tick))
        .map_err(Fault::Session)?;
    loop {
        match recording.take(stream) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => return Err(closing(&recording, error)),
        }
        let idle = recording.last().elapsed();
        let (announced, withdrawn) = recording.counts();
        let enough =
            announced >= until.announced && withdrawn >= until.withdrawn && recording.at_boundary();
        if (enough && idle >= until.quiet) || idle >= until.stalled {
            return Ok(recording);
        }
    }
}

/// A broken session, said by its NOTIFICATION when there was one.
pub(crate) fn closing(recording: &Recording, error: io::Error) -> Fault {
    let mut at = 0;
    while let Ok(Some(message)) = message_at(recording.bytes(), at) {
        if message.kind == kind::NOTIFICATION {
            return Fault::notification(message.body);
        }
        at = message.end;
    }
    Fault::Session(error)
}
