//! One TCP connection: reading into the speaker, writing what it gives.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    rc::Rc,
    time::Duration,
};

use tokio::{net::TcpStream, sync::Notify};
use wayleave_bgp_core::{ConnId, ConnInfo, Speaker as Machine, Time};

use crate::{
    driver::Driver,
    interface,
    socket::{self, Target},
};

/// Bytes read from one connection before others get their turn.
const READ_BUDGET: usize = 256 << 10;

/// Room for one read.
const READ_SIZE: usize = 64 << 10;

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
    /// Wakes the task when writing has come to [`Writing::Full`].
    full: Notify,
    /// The speaker wants it closed.
    pub(crate) close: Notify,
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
            driver.due.notify_one();
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
        driver.due.notify_one();
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
        full: Notify::new(),
        close: Notify::new(),
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
    driver.due.notify_one();
    let why = connection.serve(&driver).await;
    let now = driver.now();
    driver.connections.borrow_mut().remove(&conn);
    driver.machine.borrow_mut().closed(now, conn, &why);
    driver.due.notify_one();
}

impl Connection {
    /// The two ends as the system has them now.
    pub(crate) fn describe(&self) -> io::Result<ConnInfo> {
        let ends = (self.stream.local_addr()?, self.stream.peer_addr()?);
        Ok(interface::describe(ends.0, ends.1))
    }

    /// Reads and writes until either side ends it; says why in words.
    async fn serve(&self, driver: &Rc<Driver>) -> String {
        loop {
            tokio::select! {
                ready = self.stream.readable() => {
                    if let Err(error) = ready.and_then(|()| self.read(driver)) {
                        let ended = error.kind() == io::ErrorKind::UnexpectedEof;
                        return if ended {
                            "the peer closed it".to_owned()
                        } else {
                            error.to_string()
                        };
                    }
                }
                // Only so that the arm below is armed: reading goes on while the peer reads nothing,
                // or two speakers that both wait for room would wait for ever.
                () = self.full.notified() => {}
                ready = self.stream.writable(), if self.writing.get() == Writing::Full => {
                    if let Err(error) = ready {
                        return error.to_string();
                    }
                    self.writing.set(Writing::Open);
                    self.write(driver.now(), &mut driver.machine.borrow_mut());
                    // A walk that waited for room goes on.
                    driver.due.notify_one();
                }
                () = self.close.notified() => {
                    let _ = tokio::time::timeout(LAST_WORDS, self.last_words(driver)).await;
                    return "closed by us".to_owned();
                }
            }
        }
    }

    /// Reads what is there, up to a budget, and hands it to the speaker.
    fn read(&self, driver: &Rc<Driver>) -> io::Result<()> {
        let mut unread = self.unread.borrow_mut();
        let mut budget = READ_BUDGET;
        let mut outcome = Ok(());
        while budget > 0 {
            unread.reserve(READ_SIZE);
            match self.stream.try_read_buf(&mut *unread) {
                Ok(0) => {
                    outcome = Err(io::ErrorKind::UnexpectedEof.into());
                    break;
                }
                Ok(count) => {
                    let now = driver.now();
                    let taken = driver
                        .machine
                        .borrow_mut()
                        .received(now, self.conn, &unread);
                    unread.drain(..taken);
                    budget = budget.saturating_sub(count);
                    if count < READ_SIZE {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        if unread.is_empty() && unread.capacity() > READ_SIZE * 2 {
            *unread = Vec::new();
        }
        driver.due.notify_one();
        outcome
    }

    /// Writes until there is nothing left or the socket is full.
    pub(crate) fn write(&self, now: Time, machine: &mut Machine) {
        while self.writing.get() == Writing::Open {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(SLICES);
            machine.output(self.conn, SLICES, &mut slices);
            if slices.is_empty() {
                return;
            }
            match self.stream.try_write_vectored(&slices) {
                Ok(count) => {
                    drop(slices);
                    machine.written(now, self.conn, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writing.set(Writing::Full);
                    self.full.notify_one();
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
        if socket2::SockRef::from(&self.stream)
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
