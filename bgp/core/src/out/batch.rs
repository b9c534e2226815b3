//! Turning changed destinations into messages: sorted by what they share, packed once.

use super::export::{Encoded, GroupKey};
use crate::{
    rib::{Shared, attr::AttrId, key::PrefixKey, source::Slot, table::Table},
    types::Family,
    wire,
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
    runs: Vec<Run>,
    attributes: Vec<u8>,
    chain: Vec<u32>,
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
            let dests = if let [run] = group {
                &self.dests[run.start as usize..(run.start + run.len) as usize]
            } else {
                self.chain.clear();
                for run in group {
                    let run = run.start as usize..(run.start + run.len) as usize;
                    self.chain.extend_from_slice(&self.dests[run]);
                }
                &self.chain[..]
            };
            let out = sink.open();
            let prefixes = dests.iter().map(|&dest| table.prefix(dest));
            if first.attr.is_none() {
                P::pack_withdraw(out, prefixes, key.max_message);
            } else {
                let encoded = key.encode(
                    shared,
                    P::FAMILY,
                    first.attr,
                    first.source,
                    &mut self.attributes,
                );
                let begin = out.len();
                let packed = encoded.is_some_and(|encoded| {
                    P::pack_reach(
                        out,
                        &self.attributes,
                        &encoded,
                        prefixes.clone(),
                        key.max_message,
                    )
                });
                if !packed {
                    // What does not fit is withdrawn: never stale data at the peer.
                    out.truncate(begin);
                    P::pack_withdraw(out, prefixes, key.max_message);
                }
            }
            sink.close(first.source, dests);
        }
        self.runs.clear();
        self.dests.clear();
    }
}

/// Encoding by family.
pub(crate) trait Pack: PrefixKey {
    fn pack_withdraw(out: &mut Vec<u8>, prefixes: impl Iterator<Item = Self>, max: usize);

    /// Whether the attributes left room for at least one prefix.
    fn pack_reach(
        out: &mut Vec<u8>,
        attributes: &[u8],
        encoded: &Encoded,
        prefixes: impl Iterator<Item = Self>,
        max: usize,
    ) -> bool;
}

impl Pack for crate::types::Ipv4Prefix {
    fn pack_withdraw(out: &mut Vec<u8>, prefixes: impl Iterator<Item = Self>, max: usize) {
        wire::pack_withdraw4(out, prefixes.map(|prefix| (prefix, None)), max);
    }

    fn pack_reach(
        out: &mut Vec<u8>,
        attributes: &[u8],
        encoded: &Encoded,
        prefixes: impl Iterator<Item = Self>,
        max: usize,
    ) -> bool {
        match encoded {
            Encoded::Classic(_) => {
                let prefixes = prefixes.map(|prefix| (prefix, None));
                wire::pack_reach4(out, attributes, prefixes, max).is_ok()
            }
            Encoded::MultiProtocol(next_hop) => {
                let prefixes = prefixes.map(|prefix| (prefix.into(), None));
                wire::pack_reach_mp(
                    out,
                    attributes,
                    Family::Ipv4Unicast,
                    next_hop,
                    prefixes,
                    max,
                )
                .is_ok()
            }
        }
    }
}

impl Pack for crate::types::Ipv6Prefix {
    fn pack_withdraw(out: &mut Vec<u8>, prefixes: impl Iterator<Item = Self>, max: usize) {
        wire::pack_withdraw6(out, prefixes.map(|prefix| (prefix, None)), max);
    }

    fn pack_reach(
        out: &mut Vec<u8>,
        attributes: &[u8],
        encoded: &Encoded,
        prefixes: impl Iterator<Item = Self>,
        max: usize,
    ) -> bool {
        match encoded {
            Encoded::Classic(_) => false,
            Encoded::MultiProtocol(next_hop) => {
                let prefixes = prefixes.map(|prefix| (prefix.into(), None));
                wire::pack_reach_mp(
                    out,
                    attributes,
                    Family::Ipv6Unicast,
                    next_hop,
                    prefixes,
                    max,
                )
                .is_ok()
            }
        }
    }
}
