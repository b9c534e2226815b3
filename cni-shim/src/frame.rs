//! Frames: one JSON value with descriptors, over a `SOCK_SEQPACKET` Unix socket.
//!
//! ```text
//!  0               1               2               3
//! +---------------+---------------+---------------+---------------+
//! |      'W'      |      'L'      |    version    |  descriptors  |
//! +---------------+---------------+---------------+---------------+
//! |              length of the JSON text, big endian              |
//! +---------------------------------------------------------------+
//! |                       JSON text ...
//! ```
//! The text is cut in packets, because a packet has to fit the sender's socket buffer; the header and all descriptors are
//! in the first. The version comes before everything else, so that plugin and agent of different releases can tell.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::descriptors;

/// The version of the frames and messages spoken here.
pub const VERSION: u8 = 1;
/// No JSON text is longer.
pub const TEXT_MAX: usize = 1 << 20;
/// No frame carries more descriptors: a namespace and a socket inside it.
pub const DESCRIPTORS_MAX: usize = 2;

const MAGIC: [u8; 2] = *b"WL";
const HEADER: usize = 8;
/// Fits any socket buffer.
const PACKET: usize = 32 * 1024;

/// One end of a connection between plugin and agent.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// Why a frame could not be sent or received. The connection is of no use afterwards.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side has closed the connection, before or within a frame.
    #[error("the other side closed the connection")]
    Closed,
    /// The deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// The peer speaks another protocol.
    #[error("what came is not a Wayleave frame")]
    NotOurs,
    /// The peer speaks another version.
    #[error(
        "the other side speaks version {theirs} of the CNI frames, this one version {VERSION}: install plugin and agent from the same release"
    )]
    Version {
        /// The version of the frame that came.
        theirs: u8,
    },
    /// The text is longer than [`TEXT_MAX`].
    #[error("a message of {0} octets is too large: at most {TEXT_MAX} are allowed")]
    TooLarge(usize),
    /// Lengths and contents contradict each other.
    #[error("a damaged frame came: {0}")]
    Damaged(&'static str),
    /// Descriptors were lost or were not announced.
    #[error("{announced} descriptors were announced and {came} came")]
    Descriptors {
        /// The number in the header.
        announced: usize,
        /// The number that was received.
        came: usize,
    },
    /// The text is not the expected message.
    #[error("a message could not be understood: {0}")]
    Decode(#[from] serde_json::Error),
    /// A system call failed.
    #[error("{call} failed: {errno}")]
    System {
        /// The call.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
}

impl Channel {
    /// Takes a connected socket over.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Sends a message with its descriptors.
    ///
    /// # Errors
    /// When the message is too large, the other side is gone or does not read until the deadline.
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<(), FrameError> {
        let text = serde_json::to_vec(message)?;
        if text.len() > TEXT_MAX {
            return Err(FrameError::TooLarge(text.len()));
        }
        let count = descriptors.len();
        if count > DESCRIPTORS_MAX {
            return Err(FrameError::Descriptors {
                announced: DESCRIPTORS_MAX,
                came: count,
            });
        }
        let mut header = [MAGIC[0], MAGIC[1], VERSION, count as u8, 0, 0, 0, 0];
        header[4..].copy_from_slice(&(text.len() as u32).to_be_bytes());
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let (first, rest) = text.split_at(text.len().min(PACKET - HEADER));
        let control = if raw.is_empty() {
            &rights[..0]
        } else {
            &rights[..]
        };
        self.send_packet(&[&header, first], control, deadline)?;
        for packet in rest.chunks(PACKET) {
            self.send_packet(&[packet], &[], deadline)?;
        }
        Ok(())
    }

    /// Receives a message and its descriptors.
    ///
    /// # Errors
    /// When the other side is gone, sends nothing until the deadline, or sends anything but a frame with this message.
    pub fn receive<T: DeserializeOwned>(
        &self,
        deadline: Instant,
    ) -> Result<(T, Vec<OwnedFd>), FrameError> {
        let mut buffer = vec![0; PACKET];
        let first = self.receive_packet(&mut buffer, deadline)?;
        let data = &buffer[..first.len];
        if data.len() < HEADER || data[..2] != MAGIC {
            return Err(FrameError::NotOurs);
        }
        if data[2] != VERSION {
            return Err(FrameError::Version { theirs: data[2] });
        }
        let announced = usize::from(data[3]);
        let came = first.descriptors.len();
        if first.descriptors_truncated || came != announced || came > DESCRIPTORS_MAX {
            return Err(FrameError::Descriptors { announced, came });
        }
        let mut len = [0; 4];
        len.copy_from_slice(&data[4..HEADER]);
        let len = u32::from_be_bytes(len) as usize;
        if len > TEXT_MAX {
            return Err(FrameError::TooLarge(len));
        }
        let mut text = data[HEADER..].to_vec();
        while text.len() < len {
            let packet = self.receive_packet(&mut buffer, deadline)?;
            if !packet.descriptors.is_empty() || packet.descriptors_truncated {
                let came = announced + packet.descriptors.len();
                return Err(FrameError::Descriptors { announced, came });
            }
            text.extend_from_slice(&buffer[..packet.len]);
        }
        if text.len() != len {
            return Err(FrameError::Damaged("it is longer than its header says"));
        }
        Ok((serde_json::from_slice(&text)?, first.descriptors))
    }

    fn send_packet(
        &self,
        parts: &[&[u8]],
        control: &[ControlMessage<'_>],
        deadline: Instant,
    ) -> Result<(), FrameError> {
        let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        loop {
            setsockopt(&self.socket, sockopt::SendTimeout, &remaining(deadline)?).map_err(
                |errno| FrameError::System {
                    call: "setsockopt",
                    errno,
                },
            )?;
            let fd = self.socket.as_raw_fd();
            match sendmsg::<UnixAddr>(fd, &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
                // A packet is sent whole or not at all.
                Ok(_) => return Ok(()),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => {
                    return Err(FrameError::Closed);
                }
                Err(errno) => {
                    return Err(FrameError::System {
                        call: "sendmsg",
                        errno,
                    });
                }
            }
        }
    }

    fn receive_packet(
        &self,
        buffer: &mut [u8],
        deadline: Instant,
    ) -> Result<descriptors::Packet, FrameError> {
        loop {
            setsockopt(&self.socket, sockopt::ReceiveTimeout, &remaining(deadline)?).map_err(
                |errno| FrameError::System {
                    call: "setsockopt",
                    errno,
                },
            )?;
            match descriptors::receive(&self.socket, buffer) {
                Ok(packet) if packet.len == 0 => return Err(FrameError::Closed),
                Ok(packet) if packet.data_truncated => {
                    return Err(FrameError::Damaged("a packet is too large"));
                }
                Ok(packet) => return Ok(packet),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(Errno::ECONNRESET | Errno::ENOTCONN) => return Err(FrameError::Closed),
                Err(errno) => {
                    return Err(FrameError::System {
                        call: "recvmsg",
                        errno,
                    });
                }
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The time left, as a socket option takes it; zero would mean for ever.
pub(crate) fn remaining(deadline: Instant) -> Result<TimeVal, FrameError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(FrameError::Timeout);
    }
    let left = left.max(Duration::from_millis(1));
    // The types of TimeVal differ between architectures; a day is enough for any deadline.
    let seconds = left.as_secs().min(86_400);
    Ok(TimeVal::new(seconds as _, left.subsec_micros() as _))
}
