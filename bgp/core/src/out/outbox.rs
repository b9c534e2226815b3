//! Whole messages for one connection, and how far they have been written.

use crate::wire::MessageKind;

/// Messages of which the last octet has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) updates: u64,
    /// Marks of a refresh (RFC 7313).
    pub(crate) refreshes: u64,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, more: Self) {
        self.updates += more.updates;
        self.refreshes += more.refreshes;
    }
}

/// Bytes to write, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// Where the first message begins of which the end has not been written.
    begun: usize,
    /// So many octets at the beginning are the rest of a message that was begun elsewhere.
    head: usize,
}

impl Outbox {
    /// The buffer to append whole messages to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts the rest of a message that was begun elsewhere into an empty one; it comes first.
    pub(crate) fn begin_with(&mut self, rest: &[u8]) {
        debug_assert!(self.is_empty(), "something else was to come first");
        self.bytes.extend_from_slice(rest);
        (self.head, self.begun) = (self.bytes.len(), self.bytes.len());
    }

    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes that up to `count` bytes were written; returns what is left of `count`, and which messages
    /// were completed.
    pub(crate) fn consume(&mut self, count: usize) -> (usize, Sent) {
        let taken = count.min(self.len());
        self.written += taken;
        let (begun, sent) = completed(&self.bytes, self.begun, self.written);
        self.begun = begun;
        if self.written == self.bytes.len() {
            (self.written, self.begun, self.head) = (0, 0, 0);
            self.bytes.clear();
            // A walk through a big table leaves a big buffer behind.
            if self.bytes.capacity() > 256 << 10 {
                self.bytes = Vec::new();
            }
        }
        (count - taken, sent)
    }

    /// The rest of the message that was written in part.
    pub(crate) fn rest_of_message(&self) -> &[u8] {
        let end = match self.written.checked_sub(self.head) {
            None => self.head,
            Some(offset) => {
                let whole = self.bytes.get(self.head..).unwrap_or_default();
                self.head + message_boundary(whole, offset)
            }
        };
        self.bytes.get(self.written..end).unwrap_or(&[])
    }
}

/// Counts the messages that begin at or after `from`, where one begins, and end at or before `to`;
/// also returns where the first message begins that ends after `to`.
pub(crate) fn completed(bytes: &[u8], from: usize, to: usize) -> (usize, Sent) {
    let (mut at, mut sent) = (from, Sent::default());
    while let Some(&[high, low, kind]) = bytes
        .get(at + 16..at + 19)
        .and_then(|head| head.first_chunk::<3>())
    {
        let end = at + usize::from(u16::from_be_bytes([high, low]));
        if end > to || end == at {
            break;
        }
        sent.updates += u64::from(kind == MessageKind::Update as u8);
        sent.refreshes += u64::from(kind == MessageKind::RouteRefresh as u8);
        at = end;
    }
    (at, sent)
}

/// The first beginning of a message at or after `offset`, in `bytes` that are whole messages;
/// lengths lead from one to the next (RFC 4271, 4.1).
pub(crate) fn message_boundary(bytes: &[u8], offset: usize) -> usize {
    let mut at = 0;
    while at < offset {
        let length = bytes
            .get(at + 16..at + 18)
            .and_then(|length| length.try_into().ok())
            .map_or(0, |length| usize::from(u16::from_be_bytes(length)));
        if length == 0 {
            return offset;
        }
        at += length;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::keepalive;

    #[test]
    fn writing_in_pieces_keeps_the_order_and_knows_the_rest_of_a_message() {
        let mut outbox = Outbox::default();
        outbox.buffer().extend(keepalive());
        outbox.buffer().extend(keepalive());
        assert_eq!(outbox.rest_of_message(), b"");
        assert_eq!(outbox.consume(25), (0, Sent::default()));
        assert_eq!(outbox.rest_of_message(), &keepalive()[6..]);
        assert_eq!(outbox.consume(20), (7, Sent::default()));
        assert!(outbox.is_empty());
    }

    #[test]
    fn updates_are_counted_when_their_last_octet_has_been_written() {
        let mut outbox = Outbox::default();
        for family in crate::types::Family::ALL {
            crate::wire::end_of_rib(family, outbox.buffer());
            outbox.buffer().extend(keepalive());
        }
        let all = outbox.len();
        let counted: Vec<u64> = (0..all).map(|_| outbox.consume(1).1.updates).collect();
        assert_eq!(counted.iter().sum::<u64>(), 2);
        assert_eq!(
            (counted[21], counted[22]),
            (0, 1),
            "an empty UPDATE has 23 octets"
        );
    }
}
