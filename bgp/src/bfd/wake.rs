//! Waking the thread, and its sleep.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
};

/// Ends the thread's sleep, also by being dropped.
#[derive(Debug)]
pub(super) struct Waker(UnixStream);

/// The other end.
#[derive(Debug)]
pub(super) struct Sleeper {
    stream: UnixStream,
    /// Nobody is left who could wake it: the stream would do so for ever.
    alone: bool,
}

pub(super) fn pair() -> io::Result<(Waker, Sleeper)> {
    let (one, other) = UnixStream::pair()?;
    one.set_nonblocking(true)?;
    other.set_nonblocking(true)?;
    let sleeper = Sleeper {
        stream: other,
        alone: false,
    };
    Ok((Waker(one), sleeper))
}

impl Waker {
    pub(super) fn wake(&self) {
        // When there is no room it is awake, or will be.
        let _ = (&self.0).write(&[0]);
    }
}

impl Sleeper {
    /// Sleeps until it is woken, something is to be read, or so long (for ever without). To the
    /// nanosecond, as far as the kernel goes: to poll(2) 1.5 ms would be 2.
    pub(super) fn sleep<'a>(
        &'a self,
        readers: impl Iterator<Item = BorrowedFd<'a>>,
        most: Option<Duration>,
    ) -> io::Result<()> {
        let own = (!self.alone).then(|| self.stream.as_fd());
        let all = own.into_iter().chain(readers);
        let mut waits: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match ppoll(&mut waits, most.map(Into::into), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets that it was woken. Before the commands are looked at: one that comes later wakes
    /// again.
    pub(super) fn rouse(&mut self) {
        let mut buffer = [0; 64];
        loop {
            match (&self.stream).read(&mut buffer) {
                Ok(0) => self.alone = true,
                Ok(count) if count == buffer.len() => continue,
                Ok(_) | Err(_) => {}
            }
            break;
        }
    }
}
