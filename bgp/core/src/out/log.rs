//! What a group has been told, as encoded messages, for its members to write out each at its own
//! pace.
//!
//! A member is a *cursor*: an offset counted from the beginning of the log's life. Each segment
//! says who is to read it; a peer never reads what came from itself.

use std::{collections::VecDeque, io::IoSlice};

use super::outbox::{completed, message_boundary};
use crate::rib::source::Slot;

/// Who reads a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everybody but the peer the routes came from ([`Slot::LOCAL`] is no member).
    AllBut(Slot),
    /// One peer.
    Only(Slot),
}

impl Audience {
    pub(crate) fn includes(self, member: Slot) -> bool {
        match self {
            Self::AllBut(slot) => slot != member,
            Self::Only(slot) => slot == member,
        }
    }
}

/// Whole messages for one audience.
#[derive(Debug)]
struct Segment {
    /// Offset of its end in the block.
    end: usize,
    audience: Audience,
    family: usize,
    messages: u64,
    /// Where its destinations end among those of the block.
    dests: usize,
}

/// What one turn added.
#[derive(Debug, Default)]
struct Block {
    start: u64,
    turn: u64,
    bytes: Vec<u8>,
    segments: Vec<Segment>,
    /// The destinations of all segments: what a member that is dropped behind must be told again.
    dests: Vec<u32>,
    /// What this block has added to [`Log::bytes_held`].
    held: usize,
}

impl Block {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Octets of memory: not what is said in it, but what was allocated to say it.
    fn allocated(&self) -> usize {
        self.bytes.capacity()
            + self.segments.capacity() * size_of::<Segment>()
            + self.dests.capacity() * size_of::<u32>()
    }

    /// The segments as (offset from, offset to, segment).
    fn parts(&self) -> impl Iterator<Item = (usize, usize, &Segment)> {
        let mut from = 0;
        self.segments.iter().map(move |segment| {
            let begin = std::mem::replace(&mut from, segment.end);
            (begin, segment.end, segment)
        })
    }
}

/// A block is closed when it is this long.
const BLOCK: usize = 64 << 10;

/// A log of so many octets has somebody who lags: its blocks stay, and are made as small as they can
/// be. Those of a shorter one are used again as they are.
const LONG: usize = 1 << 20;

/// The log of one group.
#[derive(Debug, Default)]
pub(crate) struct Log {
    blocks: VecDeque<Block>,
    /// The last block all had read, emptied: the next one needs no memory anew.
    spare: Option<Block>,
    end: u64,
    held: usize,
}

impl Log {
    /// The offset at which the next segment begins.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Octets of memory held: messages, the names of their destinations, and the room beside them.
    pub(crate) fn bytes_held(&self) -> usize {
        self.held
    }

    /// The turn of the oldest segment still kept.
    pub(crate) fn oldest_turn(&self) -> Option<u64> {
        self.blocks.front().map(|block| block.turn)
    }

    /// The buffer to append messages to; [`Self::close_segment`] ends what was appended.
    pub(crate) fn open(&mut self, turn: u64) -> &mut Vec<u8> {
        let full = self
            .blocks
            .back()
            .is_none_or(|block| block.bytes.len() >= BLOCK || block.turn != turn);
        if full {
            if self.held >= LONG
                && let Some(block) = self.blocks.back_mut()
            {
                // It grew by doubling, and nothing is added any more.
                block.bytes.shrink_to_fit();
                block.dests.shrink_to_fit();
                let now = block.allocated();
                let before = std::mem::replace(&mut block.held, now);
                self.held = self.held + now - before;
            }
            let mut block = self.spare.take().unwrap_or_default();
            (block.start, block.turn) = (self.end, turn);
            self.blocks.push_back(block);
        }
        &mut self
            .blocks
            .back_mut()
            .expect("pushed above when there was none")
            .bytes
    }

    pub(crate) fn close_segment(&mut self, audience: Audience, family: usize, dests: &[u32]) {
        let Some(block) = self.blocks.back_mut() else {
            return;
        };
        let begin = block.segments.last().map_or(0, |segment| segment.end);
        let end = block.bytes.len();
        if end == begin {
            return;
        }
        let (_, messages) = completed(&block.bytes, begin, end);
        block.dests.extend_from_slice(dests);
        block.segments.push(Segment {
            end,
            audience,
            family,
            messages: messages.updates,
            dests: block.dests.len(),
        });
        self.end += (end - begin) as u64;
        let now = block.allocated();
        let before = std::mem::replace(&mut block.held, now);
        self.held = self.held + now - before;
    }

    /// Index of the block `cursor` is in, or past the last.
    fn block_at(&self, cursor: u64) -> usize {
        self.blocks.partition_point(|block| block.end() <= cursor)
    }

    /// Whether `member` has anything to read from `cursor` on.
    pub(crate) fn has_unread(&self, cursor: u64, member: Slot) -> bool {
        cursor < self.end && {
            let mut blocks = self.blocks.range(self.block_at(cursor)..);
            blocks.any(|block| {
                let mut parts = block.parts();
                parts.any(|(_, to, segment)| {
                    block.start + to as u64 > cursor && segment.audience.includes(member)
                })
            })
        }
    }

    /// Adds what `member` reads from `cursor` on to `slices`, up to `most` of them.
    pub(crate) fn slices<'a>(
        &'a self,
        cursor: u64,
        member: Slot,
        most: usize,
        slices: &mut Vec<IoSlice<'a>>,
    ) {
        for block in self.blocks.range(self.block_at(cursor)..) {
            // Neighbouring segments for this member become one slice.
            let mut run: Option<(usize, usize)> = None;
            for (from, to, segment) in block.parts() {
                if block.start + to as u64 <= cursor {
                    continue;
                }
                let skipped = usize::try_from(cursor.saturating_sub(block.start)).unwrap_or(0);
                let from = from.max(skipped);
                if segment.audience.includes(member) {
                    run = Some((run.map_or(from, |(begin, _)| begin), to));
                } else if let Some((begin, end)) = run.take() {
                    slices.push(IoSlice::new(&block.bytes[begin..end]));
                    if slices.len() >= most {
                        return;
                    }
                }
            }
            if let Some((begin, end)) = run {
                slices.push(IoSlice::new(&block.bytes[begin..end]));
            }
            if slices.len() >= most {
                return;
            }
        }
    }

    /// The cursor after `member` has written `count` bytes from `cursor`, past what it is not to
    /// read; and how many messages of the segments it has finished.
    pub(crate) fn advance(&self, mut cursor: u64, member: Slot, mut count: usize) -> (u64, u64) {
        let mut messages = 0;
        for block in self.blocks.range(self.block_at(cursor)..) {
            for (_, to, segment) in block.parts() {
                let to = block.start + to as u64;
                if to <= cursor {
                    continue;
                }
                if segment.audience.includes(member) {
                    let left = usize::try_from(to - cursor).unwrap_or(usize::MAX);
                    if count < left {
                        return (cursor + count as u64, messages);
                    }
                    count -= left;
                    messages += segment.messages;
                }
                cursor = to;
            }
        }
        (cursor, messages)
    }

    /// The rest of the message `cursor` stands in; empty at a message's beginning.
    pub(crate) fn rest_of_message(&self, cursor: u64) -> &[u8] {
        let Some(block) = self.blocks.get(self.block_at(cursor)) else {
            return &[];
        };
        let offset = usize::try_from(cursor - block.start).unwrap_or(0);
        // Segments are whole messages, one after the other.
        let at = message_boundary(&block.bytes, offset);
        block.bytes.get(offset..at).unwrap_or(&[])
    }

    /// Calls `each` with the family and the destinations of what `member` has yet to read.
    pub(crate) fn unread(&self, cursor: u64, member: Slot, mut each: impl FnMut(usize, &[u32])) {
        for block in self.blocks.range(self.block_at(cursor)..) {
            let mut from = 0;
            for (_, to, segment) in block.parts() {
                let dests = std::mem::replace(&mut from, segment.dests)..segment.dests;
                if block.start + to as u64 > cursor && segment.audience.includes(member) {
                    each(segment.family, &block.dests[dests]);
                }
            }
        }
    }

    /// Forgets what every cursor is past.
    pub(crate) fn trim(&mut self, least_cursor: u64) {
        while let Some(block) = self.blocks.front() {
            if block.end() > least_cursor {
                break;
            }
            self.held -= block.held;
            let spare = self.blocks.pop_front();
            self.spare = spare.map(|mut block| {
                block.held = 0;
                block.bytes.clear();
                block.segments.clear();
                block.dests.clear();
                block
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fill: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xff; 16];
        bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        bytes.resize(len, fill);
        bytes
    }

    fn log() -> Log {
        let mut log = Log::default();
        for (turn, audience, fill) in [
            (1, Audience::AllBut(Slot(1)), b'a'),
            (1, Audience::Only(Slot(1)), b'b'),
            (1, Audience::AllBut(Slot(2)), b'c'),
            (2, Audience::AllBut(Slot(0)), b'd'),
        ] {
            log.open(turn).extend(message(fill, 30));
            log.close_segment(audience, 0, &[u32::from(fill)]);
        }
        log
    }

    fn read(log: &Log, member: Slot, step: usize) -> Vec<u8> {
        let mut cursor = 0;
        let mut seen = Vec::new();
        loop {
            let mut slices = Vec::new();
            log.slices(cursor, member, 8, &mut slices);
            let bytes: Vec<u8> = slices
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .take(step)
                .collect();
            if bytes.is_empty() {
                return seen;
            }
            (cursor, _) = log.advance(cursor, member, bytes.len());
            seen.extend(bytes);
        }
    }

    #[test]
    fn each_member_reads_its_own_segments_in_order_however_short_its_writes_are() {
        let log = log();
        for step in [1, 7, 30, 1_000] {
            let fills = |member| {
                let bytes = read(&log, Slot(member), step);
                bytes
                    .chunks(30)
                    .map(|chunk| char::from(chunk[29]))
                    .collect::<String>()
            };
            assert_eq!(fills(1), "bcd");
            assert_eq!(fills(2), "ad");
            assert_eq!(fills(3), "acd");
        }
    }

    #[test]
    fn a_cursor_inside_a_message_finds_its_rest() {
        let log = log();
        assert_eq!(log.rest_of_message(0), b"");
        assert_eq!(log.rest_of_message(25), b"aaaaa");
        assert_eq!(log.rest_of_message(30), b"");
        assert_eq!(log.rest_of_message(30 + 29), b"b");
        assert_eq!(log.rest_of_message(log.end()), b"");
    }

    #[test]
    fn what_a_member_has_not_read_is_named_and_what_all_have_read_is_forgotten() {
        let mut log = log();
        let mut dests = Vec::new();
        log.unread(45, Slot(1), |_, unread| dests.extend_from_slice(unread));
        assert_eq!(dests, [u32::from(b'b'), u32::from(b'c'), u32::from(b'd')]);
        log.trim(89);
        let all = log.bytes_held();
        assert!(all >= 120 + 4 * 4, "{all}");
        log.trim(90);
        let last = log.bytes_held();
        assert!((30 + 4..all).contains(&last), "{last} of {all}");
        assert_eq!(log.oldest_turn(), Some(2));
        log.trim(120);
        assert_eq!((log.bytes_held(), log.oldest_turn()), (0, None));
        assert_eq!(log.advance(120, Slot(1), 0), (120, 0));
    }
}
