//! Messages that were malformed, kept as they came (RFC 7606, 6), the last few of each peer.

use std::{collections::VecDeque, time::Duration};

use super::Speaker;
use crate::{
    message::{Hex, Outcome},
    news::{Event, MalformedMessage},
    rib::source::Slot,
    types::Time,
    wire::{HEADER_LEN, MessageKind, begin, finish},
};

/// So many are kept at most ...
const KEPT: usize = 8;

/// ... and no more octets of them than these, but for the last one.
const KEPT_OCTETS: usize = 32 << 10;

/// No more than one in this time is told to a log.
const BETWEEN_NEWS: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Entry {
    at: Time,
    what: String,
    outcome: Outcome,
    message: Vec<u8>,
}

/// Those of one peer, oldest first.
#[derive(Debug, Default)]
pub(super) struct Malformed {
    entries: VecDeque<Entry>,
    told: Option<Time>,
}

impl Speaker {
    /// The last messages of a peer that were malformed, latest first; `None`: no such peer.
    pub fn malformed(&self, now: Time, name: &str) -> Option<Vec<MalformedMessage>> {
        let peer = self.peer(self.slot_named(name)?)?;
        let entries = peer.malformed.entries.iter().rev();
        let shown = entries.map(|entry| MalformedMessage {
            seconds: now.since(entry.at).as_secs(),
            what: entry.what.clone(),
            outcome: entry.outcome,
            message: Hex(entry.message.clone()),
        });
        Some(shown.collect())
    }

    /// Keeps a message, or what came in place of one.
    pub(super) fn keep_malformed(
        &mut self,
        now: Time,
        slot: Slot,
        message: Vec<u8>,
        what: String,
        outcome: Outcome,
    ) {
        let Some(peer) = self.peer_mut(slot) else {
            return;
        };
        let malformed = &mut peer.malformed;
        let octets = |entries: &VecDeque<Entry>| -> usize {
            entries.iter().map(|entry| entry.message.len()).sum()
        };
        while malformed.entries.len() >= KEPT
            || octets(&malformed.entries) + message.len() > KEPT_OCTETS
        {
            if malformed.entries.pop_front().is_none() {
                break;
            }
        }
        malformed.entries.push_back(Entry {
            at: now,
            what: what.clone(),
            outcome,
            message,
        });
        if malformed
            .told
            .is_none_or(|told| now.since(told) >= BETWEEN_NEWS)
        {
            malformed.told = Some(now);
            self.tell(slot, Event::Malformed { what, outcome });
        }
    }
}

/// A message that was cut into kind and body.
pub(super) fn whole(kind: MessageKind, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(body.len() + HEADER_LEN);
    let start = begin(&mut message, kind);
    message.extend_from_slice(body);
    finish(&mut message, start);
    message
}
