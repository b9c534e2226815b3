//! One peer's BGP session: opened by us, read and written raw.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use crate::{
    daemon::Role,
    encode::{self, HEADER, kind},
    fabric::{daemon_socket, peer_address, peer_id},
    prefix::Family,
};

/// Socket buffers: the sink never pushes back on a daemon before this much is unread.
pub(crate) const BUFFER: usize = 4 << 20;

/// An established session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: TcpStream,
    /// Just before the TCP connection was opened.
    pub(crate) connecting: Instant,
}

impl Session {
    /// Opens the session of the peer numbered so, with a receive buffer of so many bytes.
    pub(crate) fn open(role: &Role, peer: usize, buffer: usize) -> io::Result<Self> {
        let connecting = Instant::now();
        let stream = dial(
            peer_address(role.family, peer),
            daemon_socket(role.family),
            buffer,
        )?;
        let open = encode::open(
            role.peer_as(peer),
            role.hold_time,
            peer_id(peer),
            role.carried(peer),
        );
        handshake(&stream, &open)?;
        Ok(Self { stream, connecting })
    }

    /// A plain connection to `listener` and its accepted end, for measuring the wire alone.
    pub(crate) fn pair(
        listener: &TcpListener,
        family: Family,
        peer: usize,
    ) -> Result<(Self, Self), io::Error> {
        let connecting = Instant::now();
        let near = dial(peer_address(family, peer), daemon_socket(family), BUFFER)?;
        let (far, _) = listener.accept()?;
        enlarge(&far, BUFFER)?;
        far.set_nodelay(true)?;
        Ok((
            Self {
                stream: near,
                connecting,
            },
            Self {
                stream: far,
                connecting,
            },
        ))
    }

    /// Sends a prepared stream.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads and drops until `stop` is set and nothing more comes.
    pub(crate) fn drain(&mut self, stop: &AtomicBool) -> io::Result<()> {
        self.stream
            .set_read_timeout(Some(Duration::from_millis(20)))?;
        let mut scratch = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A TCP connection from a given address, without delay, with large buffers.
fn dial(from: IpAddr, to: SocketAddr, buffer: usize) -> io::Result<TcpStream> {
    let family = if from.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(
        fd.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(from, 0)),
    )?;
    let stream = TcpStream::from(fd);
    enlarge(&stream, buffer)?;
    stream.set_nodelay(true)?;
    connect(stream.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(stream)
}

fn enlarge(stream: &TcpStream, receive: usize) -> io::Result<()> {
    setsockopt(stream, sockopt::RcvBufForce, &receive)?;
    setsockopt(stream, sockopt::SndBufForce, &BUFFER)?;
    Ok(())
}

/// OPEN and KEEPALIVE both ways; reads not a byte more.
fn handshake(mut stream: &TcpStream, open: &[u8]) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(open)?;
    expect(stream, kind::OPEN)?;
    stream.write_all(&encode::keepalive())?;
    expect(stream, kind::KEEPALIVE)
}

fn expect(mut stream: &TcpStream, wanted: u8) -> io::Result<()> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let len = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![0; len.saturating_sub(HEADER)];
    stream.read_exact(&mut body)?;
    match header[18] {
        found if found == wanted => Ok(()),
        kind::NOTIFICATION => Err(io::Error::other(format!(
            "it answered with NOTIFICATION {:?}",
            body.get(..2)
        ))),
        found => Err(io::Error::other(format!(
            "it sent message type {found} for {wanted}"
        ))),
    }
}
