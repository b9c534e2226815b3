//! One TCP connection: reading into the speaker, writing what it gives.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice, Read},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};
use wayleave_bgp_core::{ConnId, ConnInfo, Speaker as Machine, Time};

use crate::{
    driver::Driver,
    interface,
    signal::Signal,
    socket::{self, Target},
};

/// Bytes read from one connection before others get their turn: more than any message, so that what
/// is left of one, which is read anew with the rest of it, leaves room.
pub(crate) const READ_SIZE: usize = 64 << 10;

/// Pieces written in one call; the system's limit is 1,024.
const SLICES: usize = 64;

/// How long a connection that is being closed may take for its last messages.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the peer may take to answer our connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// Whether there is a point in writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// The system took less than there was: writing waits until the socket is writable.
    Full,
    /// The connection is broken, which reading will show.
    Broken,
}

/// An open connection.
pub(crate) struct Connection {
    conn: ConnId,
    stream: TcpStream,
    writing: Cell<Writing>,
    /// The speaker wants it closed.
    closing: Cell<bool>,
    /// Wakes the task when it is to be closed, or writing has come to [`Writing::Full`].
    attention: Signal,
    /// What was read and is not a whole message yet.
    unread: RefCell<Vec<u8>>,
}

/// Connects and runs the connection.
pub(crate) async fn open(driver: Rc<Driver>, conn: ConnId, target: Target<'_>) {
    let opened = socket::connect(&target, CONNECT_PATIENCE).await;
    driver.attempts.borrow_mut().remove(&conn);
    match opened {
        Ok(stream) => run(driver, conn, stream, true).await,
        Err(error) => {
            let now = driver.now();
            driver
                .machine
                .borrow_mut()
                .closed(now, conn, &error.to_string());
            driver.due.give();
        }
    }
}

/// Takes a connection a peer has opened.
pub(crate) async fn accept(driver: Rc<Driver>, stream: TcpStream) -> io::Result<()> {
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    let now = driver.now();
    let expected = driver.machine.borrow().expects(remote.ip());
    let admitted = expected
        .then(|| interface::describe(local, remote))
        .and_then(|info| driver.machine.borrow_mut().accepted(now, info));
    let Some(conn) = admitted else {
        tracing::debug!(%remote, "a connection from nobody we know, closed");
        return Ok(());
    };
    let (ttl, least) = driver.machine.borrow().ttls(conn);
    if let Err(error) = socket::prepare_stream(&stream, socket::Ttls { ttl, least }) {
        driver
            .machine
            .borrow_mut()
            .closed(now, conn, &error.to_string());
        driver.due.give();
        return Err(error);
    }
    run(driver, conn, stream, false).await;
    Ok(())
}

async fn run(driver: Rc<Driver>, conn: ConnId, stream: TcpStream, ours: bool) {
    let ends = stream
        .local_addr()
        .and_then(|local| Ok((local, stream.peer_addr()?)));
    let connection = Rc::new(Connection {
        conn,
        stream,
        writing: Cell::new(Writing::Open),
        closing: Cell::new(false),
        attention: Signal::default(),
        unread: RefCell::default(),
    });
    driver
        .connections
        .borrow_mut()
        .insert(conn, Rc::clone(&connection));
    let now = driver.now();
    match ends {
        Ok((local, remote)) if ours => {
            let info = interface::describe(local, remote);
            driver.machine.borrow_mut().connected(now, conn, info);
        }
        Ok(_) => {}
        Err(error) => driver
            .machine
            .borrow_mut()
            .closed(now, conn, &error.to_string()),
    }
    driver.due.give();
    let why = connection.serve(&driver).await;
    let now = driver.now();
    driver.connections.borrow_mut().remove(&conn);
    driver.machine.borrow_mut().closed(now, conn, &why);
    driver.due.give();
}

impl Connection {
    /// The two ends as the system has them now.
    pub(crate) fn describe(&self) -> io::Result<ConnInfo> {
        let ends = (self.stream.local_addr()?, self.stream.peer_addr()?);
        Ok(interface::describe(ends.0, ends.1))
    }

    /// Closes it when it has written what there is.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.attention.give();
    }

    /// Reads and writes until either side ends it; says why in words.
    async fn serve(&self, driver: &Rc<Driver>) -> String {
        match poll_fn(|cx| self.advance(driver, cx)).await {
            Ok(()) => {
                let _ = tokio::time::timeout(LAST_WORDS, self.last_words(driver)).await;
                "closed by us".to_owned()
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the peer closed it".to_owned()
            }
            Err(error) => error.to_string(),
        }
    }

    /// Reads and writes what it can; ready when the connection is lost, or we are to close it.
    fn advance(&self, driver: &Rc<Driver>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.attention.poll(cx).is_ready() {}
        if self.closing.get() {
            return Poll::Ready(Ok(()));
        }
        // Reading goes on while the peer reads nothing, or two speakers that both wait for room would
        // wait for ever.
        while self.writing.get() == Writing::Full
            && let Poll::Ready(room) = self.stream.poll_write_ready(cx)
        {
            room?;
            self.writing.set(Writing::Open);
            self.write(driver.now(), &mut driver.machine.borrow_mut());
            // A walk that waited for room goes on.
            driver.due.give();
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            if !self.read(driver)? {
                // There is more: others, and the turn for what was read, come first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Reads once and hands what there was to the speaker; whether that was all.
    fn read(&self, driver: &Rc<Driver>) -> io::Result<bool> {
        let mut input = driver.input.borrow_mut();
        let mut unread = self.unread.borrow_mut();
        let (kept, room) = input.split_at_mut(unread.len());
        kept.copy_from_slice(&unread);
        let full = room.len();
        let count = match self.take(room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let read = &input[..unread.len() + count];
        let now = driver.now();
        let taken = driver.machine.borrow_mut().received(now, self.conn, read);
        unread.clear();
        unread.extend_from_slice(&read[taken..]);
        drop((input, unread));
        driver.heard(count);
        Ok(count < full)
    }

    /// One read. One that leaves room has emptied the socket, and what comes after it is an event of
    /// its own: that is noted at once, not found out by a second read that gets nothing. (A stream's
    /// own `poll_read` does the same, but wants the stream to itself.)
    fn take(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut taken = None;
        let read = self.stream.try_io(Interest::READABLE, || {
            let count = (&*SockRef::from(&self.stream)).read(room)?;
            taken = Some(count);
            if (1..room.len()).contains(&count) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        });
        taken.map_or(read, Ok)
    }

    /// Writes until there is nothing left or the socket is full.
    pub(crate) fn write(&self, now: Time, machine: &mut Machine) {
        while self.writing.get() == Writing::Open {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(4);
            machine.output(self.conn, SLICES, &mut slices);
            if slices.is_empty() {
                return;
            }
            let all: usize = slices.iter().map(|slice| slice.len()).sum();
            let more = slices.len() >= SLICES;
            // One piece goes the shorter way through the system.
            let written = match &slices[..] {
                [only] => self.stream.try_write(only),
                _ => self.stream.try_write_vectored(&slices),
            };
            match written {
                Ok(count) => {
                    drop(slices);
                    machine.written(now, self.conn, count);
                    if count == all && !more {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writing.set(Writing::Full);
                    self.attention.give();
                }
                Err(_) => self.writing.set(Writing::Broken),
            }
        }
    }

    /// Writes the rest, then waits for the peer to have read it: closing with something unread
    /// would reset the connection and lose our NOTIFICATION.
    async fn last_words(&self, driver: &Rc<Driver>) {
        loop {
            self.write(driver.now(), &mut driver.machine.borrow_mut());
            match self.writing.get() {
                Writing::Open => break,
                Writing::Full => self.writing.set(Writing::Open),
                Writing::Broken => return,
            }
            if self.stream.writable().await.is_err() {
                return;
            }
        }
        if SockRef::from(&self.stream)
            .shutdown(std::net::Shutdown::Write)
            .is_err()
        {
            return;
        }
        let mut ignored = [0; 4_096];
        while self.stream.readable().await.is_ok() {
            match self.stream.try_read(&mut ignored) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
