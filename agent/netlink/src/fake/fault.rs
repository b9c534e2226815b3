//! Faults by name.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each question is about a few of the faults"
)]

use nix::errno::Errno;

use crate::error::{Code, KernelError, SocketOperation};

/// Something that goes wrong between us and the kernel. Injected into a
/// [`FakeKernel`](super::FakeKernel), each happens once and is then gone, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A change is refused: no privilege.
    RefuseEperm,
    /// A change is refused: there is one already.
    RefuseEexist,
    /// A change is refused: there is none.
    RefuseEsrch,
    /// A change is refused: the gateway is unreachable.
    RefuseEnetunreach,
    /// A change is refused: no route to the gateway (IPv6).
    RefuseEhostunreach,
    /// A change is refused: no such interface.
    RefuseEnodev,
    /// A change is refused: the interface is down.
    RefuseEnetdown,
    /// A change is refused: not understood.
    RefuseEinval,
    /// A change is refused: out of memory.
    RefuseEnomem,
    /// A change is refused: out of buffers, which is an answer and no overrun.
    RefuseEnobufs,
    /// A change is refused: busy.
    RefuseEbusy,
    /// Every second change of the call is refused.
    RefuseEverySecond,
    /// All changes of three calls in a row are refused.
    RefuseThreeCalls,
    /// A change is done and its answer lost.
    LostAckOfDone,
    /// A change is not done and no answer says so.
    LostAckOfNotDone,
    /// From a change on, all of the call are done and the answers overrun the buffer.
    OverrunOfDone,
    /// From a change on, none of the call is done and the answers overrun the buffer.
    OverrunOfNotDone,
    /// From a change on, nothing can be sent any more in this call.
    SendFailsMidway,
    /// Nothing can be sent in this call.
    SendFails,
    /// An answer cannot be read, though the change is done.
    GarbledAckOfDone,
    /// A route is installed and vanishes at once without an event.
    VanishesSilently,
    /// A route is installed and somebody deletes it at once.
    DeletedByOthers,
    /// A route is installed and somebody puts a blackhole in its place at once.
    ReplacedByOthers,
    /// A route is installed and its interface goes down at once.
    LinkGoesDown,
    /// A listing is interrupted at its end.
    DumpInterrupted,
    /// A listing is interrupted five times in a row.
    DumpInterruptedOften,
    /// A listing cannot be begun.
    DumpRefused,
    /// A listing breaks off after its first part: the buffer overran.
    DumpOverrun,
    /// A listing breaks off after its first part: the socket failed.
    DumpSocketFails,
    /// A listing breaks off after its first part: a message cannot be read.
    DumpMalformed,
    /// A listing breaks off after its first part: no answer.
    DumpNoAnswer,
    /// A listing comes one object at a time.
    DumpTrickles,
    /// The events of the next change by others are lost, and an overrun says so.
    EventsOverrun,
    /// The events of the next change by others come twice.
    EventsTwice,
    /// The question for an interface fails.
    LinkQueryFails,
}

impl Fault {
    /// All of them, for tests that loop.
    pub const ALL: [Self; 35] = [
        Self::RefuseEperm,
        Self::RefuseEexist,
        Self::RefuseEsrch,
        Self::RefuseEnetunreach,
        Self::RefuseEhostunreach,
        Self::RefuseEnodev,
        Self::RefuseEnetdown,
        Self::RefuseEinval,
        Self::RefuseEnomem,
        Self::RefuseEnobufs,
        Self::RefuseEbusy,
        Self::RefuseEverySecond,
        Self::RefuseThreeCalls,
        Self::LostAckOfDone,
        Self::LostAckOfNotDone,
        Self::OverrunOfDone,
        Self::OverrunOfNotDone,
        Self::SendFailsMidway,
        Self::SendFails,
        Self::GarbledAckOfDone,
        Self::VanishesSilently,
        Self::DeletedByOthers,
        Self::ReplacedByOthers,
        Self::LinkGoesDown,
        Self::DumpInterrupted,
        Self::DumpInterruptedOften,
        Self::DumpRefused,
        Self::DumpOverrun,
        Self::DumpSocketFails,
        Self::DumpMalformed,
        Self::DumpNoAnswer,
        Self::DumpTrickles,
        Self::EventsOverrun,
        Self::EventsTwice,
        Self::LinkQueryFails,
    ];

    /// The error a single change is refused with, for the faults that do that.
    pub(super) fn refusal(self) -> Option<KernelError> {
        let errno = match self {
            Self::RefuseEperm => Errno::EPERM,
            Self::RefuseEexist => Errno::EEXIST,
            Self::RefuseEsrch => Errno::ESRCH,
            Self::RefuseEnetunreach => Errno::ENETUNREACH,
            Self::RefuseEhostunreach => Errno::EHOSTUNREACH,
            Self::RefuseEnodev => Errno::ENODEV,
            Self::RefuseEnetdown => Errno::ENETDOWN,
            Self::RefuseEinval => Errno::EINVAL,
            Self::RefuseEnomem => Errno::ENOMEM,
            Self::RefuseEnobufs => Errno::ENOBUFS,
            Self::RefuseEbusy => Errno::EBUSY,
            _ => return None,
        };
        Some(KernelError::refused(errno))
    }

    /// The error a listing breaks off with after its first part, for the faults that do that.
    pub(super) fn break_off(self) -> Option<KernelError> {
        match self {
            Self::DumpOverrun => Some(KernelError::Overrun),
            Self::DumpSocketFails => Some(KernelError::Socket {
                operation: SocketOperation::Receive,
                errno: Code(Errno::EIO as i32),
            }),
            Self::DumpMalformed => Some(KernelError::Malformed("injected".to_owned())),
            Self::DumpNoAnswer => Some(KernelError::NoAnswer(2_000)),
            _ => None,
        }
    }

    /// How often it happens before it is gone.
    pub(super) const fn times(self) -> usize {
        match self {
            Self::RefuseThreeCalls => 3,
            Self::DumpInterruptedOften => 5,
            _ => 1,
        }
    }
}

pub(super) fn send_failure() -> KernelError {
    KernelError::Socket {
        operation: SocketOperation::Send,
        errno: Code(Errno::ENOBUFS as i32),
    }
}
