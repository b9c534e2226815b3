//! Rules on a session, asked about what a peer has sent.
//!
//! What the protocol demands was judged before (see [`super::import`]): rules see no loop, and no
//! route of ours that came back. They see a set as it was received, but for LOCAL_PREF 0 where the
//! neighbour is about to go. What they leave is judged once more: services from peers that may not
//! carry them, which a rule may have taken off, and next hops that lead nowhere.

use std::sync::Arc;

use super::{
    import::{Refusal, as_before, is_usable_next_hop},
    peer::{OwnAddresses, Peer},
};
use crate::{
    attributes::NextHop,
    config::{PeerConfig, Policy},
    policy::{Bound, NextHopChange, Route, Rules, Session, Set, Source, Validation, Verdict},
    rib::{
        Shared,
        attr::{AttrId, DISCOVERY, carries_services},
    },
    types::{Asn, Family, Prefix},
};

/// The session of a peer as rules see it.
pub(super) fn session(peer: &Peer, asn: Asn) -> Session {
    let config = peer.session.config();
    Session {
        peer: config.name.clone(),
        group: peer.range.map(|range| range.to_string()),
        role: config.role.as_deref().map(str::to_owned),
        address: peer.address(),
        external: config.is_external(asn),
        local_as: config.path_as(asn),
    }
}

/// The import rules of a peer, and what they have said of the set that was asked about last.
#[derive(Debug)]
pub(super) struct Import {
    bound: Bound,
    /// Which set, in which generation: ids mean something else after one.
    of: Option<(u64, Family, AttrId)>,
    /// What counts then, by the sets that leave the rules.
    leaving: Vec<Option<AttrId>>,
}

/// What judging by rules takes beside them.
pub(super) struct Judging<'a> {
    pub(super) shared: &'a mut Shared,
    pub(super) config: &'a PeerConfig,
    pub(super) external: bool,
    /// What we are called on the session's link.
    pub(super) own: OwnAddresses,
}

impl<'a> Judging<'a> {
    pub(super) fn of(peer: &'a Peer, shared: &'a mut Shared) -> Self {
        Self {
            shared,
            config: peer.session.config(),
            external: peer.is_ebgp(),
            own: peer.own_addresses,
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

    /// How much dearer a path is with these than without any.
    pub(super) fn weight(&self) -> u32 {
        2 + u32::try_from(self.bound.rules().rules().len() / 12).unwrap_or(u32::MAX / 2)
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
        let asked = (shared.attrs.generation(), family, attr);
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
                let before = shared.attrs.next_hop(attr);
                let next_hop = changed_next_hop(family, before, changed.next_hop);
                let canonical = &changed.attributes;
                let facts = as_before(&shared.attrs, attr, canonical);
                shared.attrs.intern(canonical, next_hop, &facts)
            }
        };
        if refuses_result(shared, leaves, judging.config, judging.own).is_some() {
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

/// The next hop that rules leave. Where ours or the neighbour's is of the other family, and where our
/// own would be set, the route keeps what it came with: the configuration refuses the latter.
fn changed_next_hop(
    family: Family,
    before: Option<NextHop>,
    change: NextHopChange,
) -> Option<NextHop> {
    match change {
        NextHopChange::Address(addr) if addr.is_ipv4() == (family == Family::Ipv4Unicast) => {
            Some(NextHop::from(addr))
        }
        NextHopChange::Address(_)
        | NextHopChange::Usual
        | NextHopChange::Unchanged
        | NextHopChange::Own => before,
    }
}

/// What is wrong with a set that rules have left.
fn refuses_result(
    shared: &Shared,
    attr: AttrId,
    config: &PeerConfig,
    own: OwnAddresses,
) -> Option<Refusal> {
    let next_hop = shared.attrs.next_hop(attr).map(|next_hop| next_hop.addr);
    if shared.attrs.key(attr).flags & DISCOVERY != 0 && !config.discovery {
        Some(Refusal::Discovery)
    } else if next_hop.is_none_or(|addr| !is_usable_next_hop(addr)) {
        Some(Refusal::NextHop)
    } else {
        let ours = next_hop.is_some_and(|addr| own.contains(addr));
        ours.then_some(Refusal::OwnNextHop)
    }
}

/// Why rules refused a route of a peer, in words. `attributes` and `next_hop`: what they were asked
/// about.
pub(super) fn why_refused(
    rules: &Rules,
    peer: &Peer,
    (asn, discovery): (Asn, Option<u32>),
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
        // What it left was refused.
        (Verdict::Accept, _) => {
            let left = outcome.changed.as_ref();
            let left = left.map_or(attributes, |changed| &changed.attributes);
            let why = match carries_services(discovery, left) {
                true => Refusal::Discovery,
                false => Refusal::NextHop,
            };
            why.text().to_owned()
        }
        (Verdict::Reject, Some(rule)) => {
            format!("import policy {name}: rule `{}` rejects it", rule.name)
        }
        (Verdict::Reject, None) => format!("import policy {name}: no rule accepts it"),
    }
}
