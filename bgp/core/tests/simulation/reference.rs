//! What a speaker has to make of what it received: import, decision and export, written from RFC 4271
//! (9.1, 9.2), RFC 4456 and what `docs` say of policy. Nothing here asks the crate for a judgement.

use std::{cmp::Reverse, net::IpAddr};

use wayleave_bgp_core::{
    Asn, Community, Prefix, RouterId,
    config::{NextHopSelf, PeerConfig, SpeakerConfig},
    policy::Source,
};

use crate::{
    network::{address, address6},
    plain::{Hop, Plain},
    policy::{Passage, Plan},
};

/// One session, seen from one of its ends.
pub(crate) struct Session<'a> {
    /// This end, and its configuration.
    pub(crate) n: usize,
    pub(crate) here: &'a SpeakerConfig,
    /// The other end, its configuration, and what is configured here for it.
    pub(crate) m: usize,
    pub(crate) there: &'a SpeakerConfig,
    pub(crate) peer: &'a PeerConfig,
}

/// A route that takes part in the decision.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The neighbour it came from; none: this speaker's own.
    pub(crate) from: Option<usize>,
    pub(crate) external: bool,
    /// Which of several of that neighbour's (RFC 7911).
    pub(crate) path_id: Option<u32>,
    /// The neighbour's BGP identifier.
    pub(crate) identifier: RouterId,
    /// Its routes are reflected to everybody.
    pub(crate) client: bool,
    pub(crate) route: Plain,
}

impl Session<'_> {
    pub(crate) fn is_external(&self) -> bool {
        self.here.asn != self.there.asn
    }

    fn cluster(&self) -> RouterId {
        self.here.cluster_id.unwrap_or(self.here.router_id)
    }

    /// Our own address for routes to a prefix.
    fn own_address(&self, prefix: Prefix) -> IpAddr {
        match prefix {
            Prefix::V4(_) => address(self.n).into(),
            Prefix::V6(_) => address6(self.n).into(),
        }
    }

    /// What counts of a route that came in; none: nothing.
    pub(crate) fn import(&self, plan: &Plan, prefix: Prefix, mut route: Plain) -> Option<Plain> {
        let marks = &self.here.own_marks;
        if !marks.is_empty() && marks.iter().all(|mark| route.large.contains(mark)) {
            return None;
        }
        // RFC 4271, 6.3 and 9.1.2.
        if self.is_external() && route.path.first() != Some(&self.there.asn) {
            return None;
        }
        let own = route.path.iter().filter(|&&asn| asn == self.here.asn);
        if own.count() > usize::from(self.peer.allow_own_as) {
            return None;
        }
        // RFC 4456, 8.
        if !self.is_external() {
            let came_back = route.originator == Some(self.here.router_id);
            if came_back || route.clusters.contains(&self.cluster()) {
                return None;
            }
        }
        // RFC 4271, 5.1.3: "A BGP speaker MUST NOT install a route with itself as the next hop."
        if route.hop == Hop::Received(address(self.n).into()) {
            return None;
        }
        // RFC 8326, 4.2.
        if self.is_external() && route.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
            route.local_pref = Some(0);
        }
        let passage = Passage {
            asn: self.here.asn.0,
            peer: self.m,
            prefix,
            source: match self.is_external() {
                true => Source::External,
                false => Source::Internal,
            },
        };
        let came = route.hop;
        let mut route = plan.judge(&passage, route)?;
        route.hop = match route.hop {
            // Ours is not put into what came in: the configuration refuses to.
            Hop::Own => came,
            // For export it is as if the neighbour had said so.
            Hop::Received(addr) | Hop::Set(addr) => Hop::Received(addr),
        };
        Some(route)
    }

    /// How many routes to a prefix the neighbour is told at most, where both want several (RFC 7911, 4).
    pub(crate) fn paths(&self, reverse: &PeerConfig) -> Option<usize> {
        let several = self.peer.add_path_send > 1 && reverse.add_path_receive;
        several.then_some(self.peer.add_path_send.into())
    }

    /// What the neighbour is told of some routes to a prefix: of the best, or of the best so many that
    /// may leave. What came from it, it knows.
    pub(crate) fn told(
        &self,
        plan: &Plan,
        prefix: Prefix,
        candidates: &[Candidate],
        limit: Option<usize>,
    ) -> Vec<Plain> {
        let mut left = candidates.to_vec();
        let (mut leave, mut told) = (0, Vec::new());
        while leave < limit.unwrap_or(1)
            && let Some(best) = decide(&left).cloned()
        {
            left.retain(|one| (one.from, one.path_id) != (best.from, best.path_id));
            if let Some(route) = self.export(plan, prefix, &best) {
                leave += 1;
                told.extend((best.from != Some(self.m)).then_some(route));
            }
            if limit.is_none() {
                break;
            }
        }
        told
    }

    /// What a neighbour is told of a route that it has not told; none: nothing.
    fn export(&self, plan: &Plan, prefix: Prefix, best: &Candidate) -> Option<Plain> {
        let Candidate {
            from,
            external: from_external,
            ..
        } = *best;
        let mut route = best.route.clone();
        // RFC 1997.
        let carries = |community: Community| route.communities.contains(&community);
        if carries(Community::NO_ADVERTISE) {
            return None;
        }
        let stays = carries(Community::NO_EXPORT) || carries(Community::NO_EXPORT_SUBCONFED);
        if self.is_external() && stays {
            return None;
        }
        // RFC 4456, 6: what is not from a client is for clients.
        let internal = from.is_some() && !from_external;
        let reflected = internal && !self.is_external();
        if reflected && !best.client && !self.peer.reflector_client {
            return None;
        }
        // RFC 4271, 5.1.4.
        if self.is_external() && from.is_some() {
            route.med = None;
        }
        let passage = Passage {
            asn: self.here.asn.0,
            peer: self.m,
            prefix,
            source: match (from, from_external) {
                (None, _) => Source::Own,
                (Some(_), true) => Source::External,
                (Some(_), false) => Source::Internal,
            },
        };
        let mut route = plan.judge(&passage, route)?;
        // RFC 4271, 5.1.3.
        let own_next_hop = match self.peer.next_hop_self {
            NextHopSelf::Never => false,
            NextHopSelf::External => !reflected,
            NextHopSelf::Always => true,
        };
        let own = self.own_address(prefix);
        let kept = match route.hop {
            Hop::Own => own,
            Hop::Received(_) if self.is_external() || own_next_hop => own,
            Hop::Received(addr) | Hop::Set(addr) => addr,
        };
        // An address of the other family cannot be told.
        if kept.is_ipv4() != matches!(prefix, Prefix::V4(_)) {
            return None;
        }
        route.hop = Hop::Received(kept);
        if self.is_external() {
            // RFC 4271, 5.1.2 and 5.1.5; RFC 4456, 8.
            route.path.insert(0, self.here.asn);
            route.local_pref = None;
            route.originator = None;
            route.clusters.clear();
        } else {
            route.local_pref = Some(route.local_pref.unwrap_or(100));
        }
        if reflected {
            route.originator.get_or_insert(best.identifier);
            route.clusters.insert(0, self.cluster());
        }
        Some(route)
    }
}

/// The best of some routes to one prefix (RFC 4271, 9.1.2.2; RFC 4456, 9). Each step strikes out what
/// is worse than something that is left.
pub(crate) fn decide(candidates: &[Candidate]) -> Option<&Candidate> {
    let mut left: Vec<&Candidate> = candidates.iter().collect();
    keep_least(&mut left, |one| one.from.is_some());
    keep_least(&mut left, |one| {
        Reverse(one.route.local_pref.unwrap_or(100))
    });
    keep_least(&mut left, |one| one.route.path.len());
    keep_least(&mut left, |one| one.route.origin);
    // c: "MULTI_EXIT_DISC is only comparable between routes learned from the same neighboring AS", and
    // one that is absent is the lowest.
    let of = |one: &Candidate| -> (Option<Asn>, u32) {
        (one.route.path.first().copied(), one.route.med.unwrap_or(0))
    };
    let all: Vec<_> = left.iter().map(|one| of(one)).collect();
    left.retain(|one| {
        let (neighbour, med) = of(one);
        !all.iter()
            .any(|&(other, lower)| other == neighbour && lower < med)
    });
    keep_least(&mut left, |one| !one.external);
    keep_least(&mut left, |one| {
        one.route.originator.unwrap_or(one.identifier)
    });
    keep_least(&mut left, |one| one.route.clusters.len());
    keep_least(&mut left, |one| one.from.map(address));
    keep_least(&mut left, |one| one.path_id);
    assert!(left.len() < 2, "two routes of one neighbour");
    left.first().copied()
}

fn keep_least<K: Ord>(left: &mut Vec<&Candidate>, of: impl Fn(&Candidate) -> K) {
    if let Some(least) = left.iter().map(|one| of(one)).min() {
        left.retain(|one| of(one) == least);
    }
}
