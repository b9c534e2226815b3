//! The other reference: where nothing is in the way, paths are as long as a search through the graph
//! of ASes says, whatever the speakers in between have decided.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wayleave_bgp_core::{Asn, Prefix, view::RibKind};

use crate::{history::History, plain::Plain};

impl History {
    pub(crate) fn check_lengths(&self) {
        let asn = |n: usize| self.net.speaker(n).config().asn;
        let mut origins: BTreeMap<Prefix, BTreeSet<Asn>> = BTreeMap::new();
        for (n, owned) in self.owned.iter().enumerate() {
            for &prefix in owned.keys() {
                origins.entry(prefix).or_default().insert(asn(n));
            }
        }
        let links: BTreeSet<(Asn, Asn)> = self
            .edges
            .iter()
            .flat_map(|&(a, b)| [(asn(a), asn(b)), (asn(b), asn(a))])
            .collect();
        let expected: BTreeMap<Prefix, BTreeMap<Asn, usize>> = origins
            .into_iter()
            .map(|(prefix, origins)| (prefix, distances(&origins, &links)))
            .collect();
        for n in 0..self.net.nodes.len() {
            let loc = self.net.routes(n, RibKind::Loc, None);
            let lengths: BTreeMap<Prefix, usize> = loc
                .iter()
                .map(|route| (route.prefix, Plain::of(route).path.len()))
                .collect();
            // The ASes are joined, so that everybody has a route to everything.
            let expected: BTreeMap<Prefix, usize> = expected
                .iter()
                .map(|(&prefix, lengths)| (prefix, lengths[&asn(n)]))
                .collect();
            assert_eq!(
                lengths, expected,
                "lengths of paths at {n}, and of the shortest ways"
            );
        }
    }
}

/// How far every AS is from the nearest of these.
fn distances(origins: &BTreeSet<Asn>, links: &BTreeSet<(Asn, Asn)>) -> BTreeMap<Asn, usize> {
    let mut known: BTreeMap<Asn, usize> = origins.iter().map(|&asn| (asn, 0)).collect();
    let mut due: VecDeque<Asn> = origins.iter().copied().collect();
    while let Some(asn) = due.pop_front() {
        for &(_, next) in links.iter().filter(|(from, _)| *from == asn) {
            if !known.contains_key(&next) {
                known.insert(next, known[&asn] + 1);
                due.push_back(next);
            }
        }
    }
    known
}
