//! Listings: the kernel makes the next part only when the last one was read.

use nix::errno::Errno;

use super::Socket;
use crate::{
    error::KernelError,
    object::{Dump, Object, Progress},
    wire::{self, Answer, Messages, NLM_F_DUMP_INTR},
};

/// A listing under way.
#[derive(Debug)]
pub(super) struct DumpState {
    sequence: u32,
    /// Whether the kernel has said that the objects changed meanwhile.
    interrupted: bool,
    /// Whether `ENOENT` means an empty list: a table nobody has put a route in does not exist.
    may_be_absent: bool,
}

impl Socket {
    pub(super) fn begin(&mut self, what: &Dump) -> Result<(), KernelError> {
        self.abandon_dump();
        self.sequence = self.sequence.wrapping_add(1);
        self.outbox.clear();
        wire::dump(&mut self.outbox, what, self.sequence)?;
        self.send()?;
        let may_be_absent = matches!(what, Dump::Routes(filter) if filter.table.is_some());
        self.dump = Some(DumpState {
            sequence: self.sequence,
            interrupted: false,
            may_be_absent,
        });
        Ok(())
    }

    pub(super) fn next_part(&mut self, into: &mut Vec<Object>) -> Result<Progress, KernelError> {
        // None is under way: it was abandoned for another request, or has failed.
        let Some(mut dump) = self.dump.take() else {
            return Err(KernelError::Interrupted);
        };
        self.receive()?;
        for message in Messages(&self.inbox) {
            let message = message?;
            if message.sequence != dump.sequence {
                self.strays += 1;
                continue;
            }
            dump.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match wire::answer(&message)? {
                Answer::Object => into.extend(wire::object(&message)?),
                Answer::Done(result) | Answer::Ack(result) => {
                    return match result {
                        Ok(()) if dump.interrupted => Err(KernelError::Interrupted),
                        Ok(()) => Ok(Progress::Done),
                        // Some listings say so in the code instead of the flag.
                        Err(error) if error.is(Errno::EINTR) => Err(KernelError::Interrupted),
                        Err(error) if dump.may_be_absent && error.is(Errno::ENOENT) => {
                            Ok(Progress::Done)
                        }
                        Err(error) => Err(error),
                    };
                }
                Answer::Overrun => return Err(KernelError::Overrun),
            }
        }
        self.dump = Some(dump);
        Ok(Progress::More)
    }

    /// Reads a listing under way to its end and forgets it: the kernel takes no other before.
    pub(super) fn abandon_dump(&mut self) {
        let mut dropped = Vec::new();
        while self.dump.is_some() {
            dropped.clear();
            // An error ends the listing as well.
            let _ended = self.next_part(&mut dropped);
        }
    }
}
