//! Turning changed destinations into messages: sorted by what they share, packed once.

use super::export::{Encoded, GroupKey};
use crate::{
    rib::{Shared, attr::AttrId, key::PrefixKey, source::Slot, table::Table},
    types::Family,
    wire::{self, MAX_MESSAGE},
};

/// A run of destinations that share attributes and source.
#[derive(Clone, Copy, Debug)]
struct Run {
    source: Slot,
    attr: AttrId,
    start: u32,
    len: u32,
}

/// Destinations collected for encoding. Those that come one after the other with the same
/// attributes, as they were received, make one run; runs are sorted, not destinations.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    dests: Vec<u32>,
    /// The identifiers of their paths, where several are told to a destination; else empty.
    path_ids: Vec<u32>,
    runs: Vec<Run>,
    attributes: Vec<u8>,
    chain: Vec<u32>,
    chained_ids: Vec<u32>,
}

/// Where encoded messages go: one call per stretch that shares a source.
pub(crate) trait Sink {
    /// The buffer to append to.
    fn open(&mut self) -> &mut Vec<u8>;

    /// What was appended since [`Sink::open`] concerns these destinations and came from `source`;
    /// `withdrawn`: it takes back what came from there.
    fn close(&mut self, source: Slot, dests: &[u32]);
}

impl Batch {
    /// Destinations and paths in it.
    pub(crate) fn len(&self) -> usize {
        self.dests.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.dests.is_empty()
    }

    /// Adds a destination; `attr` none: it is withdrawn.
    pub(crate) fn push(&mut self, dest: u32, attr: AttrId, source: Slot) {
        match self.runs.last_mut() {
            Some(run) if run.attr == attr && run.source == source => run.len += 1,
            _ => {
                let start = u32::try_from(self.dests.len()).expect("batches are small");
                self.runs.push(Run {
                    source,
                    attr,
                    start,
                    len: 1,
                });
            }
        }
        self.dests.push(dest);
    }

    /// Adds one of several paths to a destination.
    pub(crate) fn push_path(&mut self, dest: u32, path_id: u32, attr: AttrId, source: Slot) {
        self.push(dest, attr, source);
        self.path_ids.push(path_id);
    }

    /// Encodes everything, withdrawals of a source before its announcements, and empties the
    /// batch.
    pub(crate) fn encode<P: Pack>(
        &mut self,
        key: &GroupKey,
        shared: &Shared,
        table: &Table<P>,
        sink: &mut impl Sink,
    ) {
        self.runs
            .sort_unstable_by_key(|run| (run.source, run.attr, run.start));
        let mut rest = &self.runs[..];
        while let Some(&first) = rest.first() {
            let same = rest
                .iter()
                .take_while(|run| (run.source, run.attr) == (first.source, first.attr))
                .count();
            let (group, after) = rest.split_at(same);
            rest = after;
            let (dests, path_ids) = if let [run] = group {
                (run.of(&self.dests), run.of(&self.path_ids))
            } else {
                self.chain.clear();
                self.chained_ids.clear();
                for run in group {
                    self.chain.extend_from_slice(run.of(&self.dests));
                    self.chained_ids.extend_from_slice(run.of(&self.path_ids));
                }
                (&self.chain[..], &self.chained_ids[..])
            };
            let out = sink.open();
            let prefixes = dests.iter().enumerate();
            let prefixes =
                prefixes.map(|(at, &dest)| (table.prefix(dest), path_ids.get(at).copied()));
            if first.attr.is_none() {
                P::pack_withdraw(out, prefixes, key);
            } else {
                let encoded = key.encode(
                    shared,
                    P::FAMILY,
                    first.attr,
                    first.source,
                    &mut self.attributes,
                );
                let begin = out.len();
                // A long message is one that others cannot be told (RFC 8654, 4): only where a
                // short one does not do.
                let mut pack = |max| {
                    encoded.as_ref().is_some_and(|encoded| {
                        P::pack_reach(out, &self.attributes, encoded, prefixes.clone(), max)
                    })
                };
                let packed =
                    pack(MAX_MESSAGE) || (key.max_message > MAX_MESSAGE && pack(key.max_message));
                if !packed {
                    // What does not fit is withdrawn: never stale data at the peer.
                    out.truncate(begin);
                    P::pack_withdraw(out, prefixes, key);
                }
            }
            sink.close(first.source, dests);
        }
        self.runs.clear();
        self.dests.clear();
        self.path_ids.clear();
    }
}

impl Run {
    /// What of a list of all destinations is of this run; nothing of one that is empty.
    fn of<'a>(&self, all: &'a [u32]) -> &'a [u32] {
        let range = self.start as usize..(self.start + self.len) as usize;
        all.get(range).unwrap_or_default()
    }
}

/// Prefixes, with path identifiers where the peer takes them.
type Numbered<P> = (P, Option<u32>);

/// Encoding by family.
pub(crate) trait Pack: PrefixKey {
    fn pack_withdraw(
        out: &mut Vec<u8>,
        prefixes: impl Iterator<Item = Numbered<Self>>,
        key: &GroupKey,
    );

    /// Whether the attributes left room for at least one prefix.
    fn pack_reach(
        out: &mut Vec<u8>,
        attributes: &[u8],
        encoded: &Encoded,
        prefixes: impl Iterator<Item = Numbered<Self>>,
        max: usize,
    ) -> bool;
}

impl Pack for crate::types::Ipv4Prefix {
    fn pack_withdraw(
        out: &mut Vec<u8>,
        prefixes: impl Iterator<Item = Numbered<Self>>,
        key: &GroupKey,
    ) {
        // What came in MP_REACH_NLRI goes by MP_UNREACH_NLRI. Either takes back what came the other
        // way: there is one table of IPv4 unicast routes.
        if key.ipv6_next_hop_for_ipv4 {
            let prefixes = prefixes.map(|(prefix, id)| (prefix.into(), id));
            wire::pack_withdraw_mp(out, Family::Ipv4Unicast, prefixes, MAX_MESSAGE);
        } else {
            wire::pack_withdraw4(out, prefixes, MAX_MESSAGE);
        }
    }

    fn pack_reach(
        out: &mut Vec<u8>,
        attributes: &[u8],
        encoded: &Encoded,
        prefixes: impl Iterator<Item = Numbered<Self>>,
        max: usize,
    ) -> bool {
        match encoded {
            Encoded::Classic(_) => wire::pack_reach4(out, attributes, prefixes, max).is_ok(),
            Encoded::MultiProtocol(next_hop) => {
                let prefixes = prefixes.map(|(prefix, id)| (prefix.into(), id));
                let family = Family::Ipv4Unicast;
                wire::pack_reach_mp(out, attributes, family, next_hop, prefixes, max).is_ok()
            }
        }
    }
}

impl Pack for crate::types::Ipv6Prefix {
    fn pack_withdraw(
        out: &mut Vec<u8>,
        prefixes: impl Iterator<Item = Numbered<Self>>,
        _: &GroupKey,
    ) {
        wire::pack_withdraw6(out, prefixes, MAX_MESSAGE);
    }

    fn pack_reach(
        out: &mut Vec<u8>,
        attributes: &[u8],
        encoded: &Encoded,
        prefixes: impl Iterator<Item = Numbered<Self>>,
        max: usize,
    ) -> bool {
        match encoded {
            Encoded::Classic(_) => false,
            Encoded::MultiProtocol(next_hop) => {
                let prefixes = prefixes.map(|(prefix, id)| (prefix.into(), id));
                let family = Family::Ipv6Unicast;
                wire::pack_reach_mp(out, attributes, family, next_hop, prefixes, max).is_ok()
            }
        }
    }
}
