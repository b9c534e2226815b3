//! Many sessions served by one thread, so that the daemon has the other core to itself.

use std::{
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::{
    check::{Fault, Goal, Receiver},
    error::Error,
    record::{Recording, Until, closing},
    session::Session,
};

/// What a round of serving is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// What the sessions send, from the first one on; the rest send nothing.
    pub(crate) outgoing: &'a [&'a [u8]],
    /// The first so many sessions need not receive anything.
    pub(crate) senders: usize,
    /// Bytes each of the others may be sent.
    pub(crate) room: usize,
    /// When the others have enough.
    pub(crate) until: Until,
}

/// Sends and records until all receivers have enough and it is quiet. When the first byte was
/// sent, and a recording of each session.
///
/// # Errors
/// When a session breaks.
pub(crate) fn serve(
    sessions: &mut [Session],
    order: Order<'_>,
) -> Result<(Instant, Vec<Recording>), Fault> {
    serve_when(sessions, order, || {})
}

/// The same, with a word when everything is prepared and the clock starts.
pub(crate) fn serve_when(
    sessions: &mut [Session],
    order: Order<'_>,
    ready: impl FnOnce(),
) -> Result<(Instant, Vec<Recording>), Fault> {
    let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(broken)?;
    let mut unsent: Vec<&[u8]> = order.outgoing.to_vec();
    unsent.resize(sessions.len(), &[]);
    let room = |number| {
        if number < order.senders {
            0
        } else {
            order.room
        }
    };
    let mut recordings: Vec<_> = (0..sessions.len())
        .map(|number| Recording::with_room(room(number)))
        .collect();
    let until = order.until;
    // Those that need nothing are satisfied without ever having received.
    let enough =
        |announced, withdrawn| announced >= until.announced && withdrawn >= until.withdrawn;
    let mut satisfied: Vec<_> = (0..sessions.len())
        .map(|number| number < order.senders || enough(0, 0))
        .collect();
    let mut waiting = satisfied.iter().filter(|satisfied| !**satisfied).count();
    for (number, session) in sessions.iter().enumerate() {
        let flags = match unsent[number] {
            [] => EpollFlags::EPOLLIN,
            _ => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
        };
        let event = EpollEvent::new(flags, number as u64);
        poll.add(session.stream.as_fd(), event).map_err(broken)?;
    }
    ready();
    let started = Instant::now();
    let mut active = started;
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let found = match poll.wait(&mut events, EpollTimeout::from(20u8)) {
            Err(nix::Error::EINTR) => 0,
            found => found.map_err(broken)?,
        };
        if found > 0 {
            active = Instant::now();
        } else {
            let idle = active.elapsed();
            if (waiting == 0 && idle >= until.quiet) || idle >= until.stalled {
                return Ok((started, recordings));
            }
        }
        for event in &events[..found] {
            let number = event.data() as usize;
            let stream = &mut sessions[number].stream;
            if event.events().contains(EpollFlags::EPOLLOUT) {
                unsent[number] = write_some(stream, unsent[number]).map_err(Fault::Session)?;
                if unsent[number].is_empty() {
                    let mut only = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
                    poll.modify(stream.as_fd(), &mut only).map_err(broken)?;
                }
            }
            if event
                .events()
                .intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP)
            {
                let recording = &mut recordings[number];
                recording
                    .take(stream)
                    .map_err(|error| closing(recording, error))?;
                let (announced, withdrawn) = recording.counts();
                if !satisfied[number] && enough(announced, withdrawn) {
                    satisfied[number] = true;
                    waiting -= 1;
                }
            }
        }
    }
}

/// When the last of `receivers` reached `goal`, each by its own recording.
///
/// # Errors
/// With the first receiver's fault.
pub(crate) fn last(
    receivers: &mut [Receiver<'_>],
    recordings: &[Recording],
    goal: &Goal,
) -> Result<Instant, Fault> {
    let mut last = None;
    for (receiver, recording) in receivers.iter_mut().zip(recordings) {
        last = last.max(Some(receiver.replay(recording, goal.clone())?.at));
    }
    Ok(last.unwrap_or_else(Instant::now))
}

/// Writes everybody's pieces as sockets take them.
///
/// # Errors
/// When a socket breaks, or nobody reads.
pub(crate) fn send_all(sessions: &mut [Session], outgoing: &[[&[u8]; 2]]) -> io::Result<()> {
    let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut unsent = outgoing.to_vec();
    for (number, session) in sessions.iter().enumerate() {
        poll.add(
            session.stream.as_fd(),
            EpollEvent::new(EpollFlags::EPOLLOUT, number as u64),
        )?;
    }
    let mut waiting = sessions.len();
    let mut events = vec![EpollEvent::empty(); 256];
    let begun = Instant::now();
    while waiting > 0 {
        if begun.elapsed() > Duration::from_secs(120) {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                "the sink stopped reading",
            ));
        }
        let found = poll.wait(&mut events, EpollTimeout::from(100u8))?;
        for event in &events[..found] {
            let number = event.data() as usize;
            let stream = &mut sessions[number].stream;
            let [first, second] = &mut unsent[number];
            *first = write_some(stream, first)?;
            if first.is_empty() {
                *second = write_some(stream, second)?;
            }
            if first.is_empty() && second.is_empty() {
                poll.delete(stream.as_fd())?;
                waiting -= 1;
            }
        }
    }
    Ok(())
}

/// What is left after one write.
fn write_some<'a>(stream: &mut impl Write, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
    if bytes.is_empty() {
        return Ok(bytes);
    }
    match stream.write(bytes) {
        Ok(written) => Ok(&bytes[written..]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(bytes)
        }
        Err(error) => Err(error),
    }
}

/// Prepares sessions for [`serve`].
pub(crate) fn nonblocking(sessions: &[Session]) -> Result<(), Error> {
    sessions
        .iter()
        .try_for_each(|session| session.stream.set_nonblocking(true))
        .map_err(Error::io("make a socket non-blocking"))
}

fn broken(errno: nix::Error) -> Fault {
    Fault::Session(errno.into())
}
