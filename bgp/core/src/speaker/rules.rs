//! Rules on a session, asked about what a peer has sent.
//!
//! What the protocol demands was judged before (see [`super::import`]): rules see no loop, and no
//! route of ours that came back. They see a set as it was received, but for LOCAL_PREF 0 where the
//! neighbour is about to go. Routes that carry service discovery are refused after them, from
//! peers that may not: a rule may have taken the services off.

use std::{net::IpAddr, sync::Arc};

use super::{
    import::{Refusal, with_mark},
    peer::Peer,
};
use crate::{
    attributes::NextHop,
    config::{PeerConfig, Policy, RemoteAs},
    policy::{Bound, NextHopChange, Route, Rules, Session, Set, Source, Validation, Verdict},
    rib::{
        Shared,
        attr::{AttrId, DISCOVERY},
    },
    types::{Asn, Family, Prefix},
    wire::facts_of,
};

/// The session of a peer as rules see it.
pub(super) fn session(peer: &Peer, asn: Asn) -> Session {
    let config = peer.session.config();
    Session {
        // Peers of a range have no names: it stands for them.
        peer: match peer.range {
            Some(range) => range.to_string(),
            None => config.name.clone(),
        },
        group: None,
        role: config.role.as_deref().map(str::to_owned),
        address: config.address,
        external: match config.remote_as {
            RemoteAs::Exact(remote) => remote != asn,
            RemoteAs::External => true,
            RemoteAs::Internal => false,
        },
        local_as: asn,
    }
}

/// The import rules of a peer, and what they have said of the set that was asked about last.
#[derive(Debug)]
pub(super) struct Import {
    bound: Bound,
    /// Which set, in which turn: ids mean something else after one.
    of: Option<(u64, Family, AttrId)>,
    /// What counts then, by the sets that leave the rules.
    leaving: Vec<Option<AttrId>>,
}

/// What judging by rules takes beside them.
pub(super) struct Judging<'a> {
    pub(super) shared: &'a mut Shared,
    /// The number of service discovery.
    pub(super) discovery: Option<u32>,
    pub(super) config: &'a PeerConfig,
    pub(super) external: bool,
    /// Our end of the session.
    pub(super) local: Option<IpAddr>,
}

impl<'a> Judging<'a> {
    pub(super) fn of(peer: &'a Peer, shared: &'a mut Shared, discovery: Option<u32>) -> Self {
        Self {
            shared,
            discovery,
            config: peer.session.config(),
            external: peer.is_ebgp(),
            local: peer.local_address,
        }
    }
}

impl Import {
    /// Of a peer that has any.
    pub(super) fn of(peer: &Peer, asn: Asn) -> Option<Self> {
        let Policy::Rules(rules) = &peer.session.config().import else {
            return None;
        };
        Some(Self {
            bound: Bound::new(Arc::clone(rules), session(peer, asn)),
            of: None,
            leaving: Vec::new(),
        })
    }

    /// What counts of a prefix that came with a set which is not refused otherwise; none: nothing.
    pub(super) fn judge(
        &mut self,
        judging: &mut Judging<'_>,
        attr: AttrId,
        prefix: Prefix,
    ) -> AttrId {
        let family = prefix.family();
        let shared = &mut *judging.shared;
        let asked = (shared.turn, family, attr);
        if self.of != Some(asked) {
            self.of = Some(asked);
            self.leaving.clear();
            self.bound.bind(&Set {
                family,
                source: source_of(judging.external),
                attributes: shared.attrs.bytes(attr),
                next_hop: shared.attrs.next_hop(attr),
            });
        }
        let decision = self.bound.decide(prefix, Validation::NotFound);
        if decision.verdict == Verdict::Reject {
            return AttrId::NONE;
        }
        let at = decision.set.get();
        if let Some(Some(known)) = self.leaving.get(at) {
            return *known;
        }
        let mut leaves = match self.bound.changed(decision.set) {
            None => attr,
            Some(changed) => {
                let next_hop = match changed.next_hop {
                    NextHopChange::Usual | NextHopChange::Unchanged => shared.attrs.next_hop(attr),
                    NextHopChange::Address(addr) => Some(NextHop::from(addr)),
                    NextHopChange::Own => judging.local.map(NextHop::from),
                };
                let canonical = &changed.attributes;
                let facts = with_mark(judging.discovery, canonical, facts_of(canonical));
                shared.attrs.intern(canonical, next_hop, &facts)
            }
        };
        if carries_what_it_may_not(shared, leaves, judging.config) {
            leaves = AttrId::NONE;
        }
        if self.leaving.len() <= at {
            self.leaving.resize(at + 1, None);
        }
        self.leaving[at] = Some(leaves);
        leaves
    }
}

fn source_of(external: bool) -> Source {
    match external {
        true => Source::External,
        false => Source::Internal,
    }
}

fn carries_what_it_may_not(shared: &Shared, attr: AttrId, config: &PeerConfig) -> bool {
    shared.attrs.key(attr).flags & DISCOVERY != 0 && !config.discovery
}

/// Why rules refused a route of a peer, in words. `attributes` and `next_hop`: what they were asked
/// about.
pub(super) fn why_refused(
    rules: &Rules,
    peer: &Peer,
    asn: Asn,
    prefix: Prefix,
    attributes: &[u8],
    next_hop: Option<NextHop>,
) -> String {
    let route = Route {
        prefix,
        validation: Validation::NotFound,
        set: Set {
            family: prefix.family(),
            source: source_of(peer.is_ebgp()),
            attributes,
            next_hop,
        },
    };
    let name = rules.name();
    let outcome = rules.evaluate(&session(peer, asn), &route);
    let by = outcome.rule.and_then(|place| rules.rules().get(place));
    match (outcome.verdict, by) {
        (Verdict::Accept, _) => Refusal::Discovery.text().to_owned(),
        (Verdict::Reject, Some(rule)) => {
            format!("import policy {name}: rule `{}` rejects it", rule.name)
        }
        (Verdict::Reject, None) => format!("import policy {name}: no rule accepts it"),
    }
}
