//! Rules on what leaves to a group.
//!
//! They are asked about the best route of each destination, after the protocol has had its say (see
//! [`GroupKey`]): what may not leave is not asked about. A set that they change is *judged*, a set of
//! its own that adj-RIB-out holds and that is encoded as it stands: its next hop is the one that is
//! sent, and MED is there only where it is to be sent. One that they let pass as it is stays itself.

use std::{net::IpAddr, sync::Arc};

use super::export::GroupKey;
use crate::{
    attributes::NextHop,
    policy::{Bound, Rules, Session, Set, Source, Validation, Verdict},
    rib::{
        Shared,
        attr::{AttrId, DISCOVERY},
        source::Slot,
    },
    types::{Family, Prefix},
    wire::{Edit, facts_of},
};

/// The rules of a group, and what they ask of a session.
#[derive(Clone, Debug)]
pub(crate) struct ExportRules {
    rules: Arc<Rules>,
    session: Session,
    /// The rules that can apply on the session.
    places: Vec<usize>,
}

impl ExportRules {
    pub(crate) fn new(rules: Arc<Rules>, session: Session) -> Self {
        Self {
            places: rules.applicable(&session),
            rules,
            session,
        }
    }
}

/// Equal when the same is sent by them.
impl PartialEq for ExportRules {
    fn eq(&self, other: &Self) -> bool {
        (Arc::ptr_eq(&self.rules, &other.rules) || self.rules.does_as(&other.rules))
            && self.places == other.places
            && self.session.local_as == other.session.local_as
            && (!self.rules.sets_next_hops() || self.session.address == other.session.address)
    }
}

impl Eq for ExportRules {}

/// Rules at work: bound to the set that was asked about last.
#[derive(Debug)]
pub(crate) struct Export {
    bound: Bound,
    /// The neighbour, where rules set next hops.
    address: IpAddr,
    /// Which set of whom, in which generation: ids mean something else after one.
    of: Option<(u64, Family, AttrId, Slot)>,
    /// The set as rules see it, if it had to be changed for that.
    base: Vec<u8>,
    /// What leaves then, by the sets that leave the rules.
    leaving: Vec<Option<AttrId>>,
}

impl Export {
    pub(crate) fn new(rules: &ExportRules) -> Self {
        Self {
            bound: Bound::new(Arc::clone(&rules.rules), rules.session.clone()),
            address: rules.session.address,
            of: None,
            base: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// How much dearer a destination is with these rules than without any: measured, a dozen of them ask
    /// for as much again where every destination has another set.
    pub(crate) fn weight(&self) -> usize {
        2 + self.bound.rules().rules().len() / 12
    }

    /// The set with which a prefix leaves that has this one, from this source; none: it does not.
    pub(crate) fn judge(
        &mut self,
        key: &GroupKey,
        shared: &mut Shared,
        attr: AttrId,
        slot: Slot,
        prefix: Prefix,
    ) -> AttrId {
        let family = prefix.family();
        let asked = (shared.attrs.generation(), family, attr, slot);
        if self.of != Some(asked) {
            self.of = Some(asked);
            self.bind(key, shared, family, attr, slot);
        }
        let decision = self.bound.decide(prefix, Validation::NotFound);
        if decision.verdict == Verdict::Reject {
            return AttrId::NONE;
        }
        let at = decision.set.get();
        if let Some(Some(known)) = self.leaving.get(at) {
            return *known;
        }
        let before = shared.attrs.next_hop(attr);
        let reflected = key.reflects(shared, slot);
        let leaves = match self.bound.changed(decision.set) {
            None => match key.usual_next_hop(family, before, reflected) {
                Some(_) => attr,
                None => AttrId::NONE,
            },
            Some(changed) => {
                let change = changed.next_hop;
                let next_hop =
                    key.changed_next_hop(family, before, change, self.address, reflected);
                let facts = facts_of(&changed.attributes);
                next_hop.map_or(AttrId::NONE, |next_hop| {
                    let attrs = &mut shared.attrs;
                    attrs.intern_judged(&changed.attributes, next_hop.kept(), &facts)
                })
            }
        };
        // A rule may have put services on.
        let hidden = shared.attrs.key(leaves).flags & DISCOVERY != 0 && !key.discovery;
        let leaves = if hidden { AttrId::NONE } else { leaves };
        if self.leaving.len() <= at {
            self.leaving.resize(at + 1, None);
        }
        self.leaving[at] = Some(leaves);
        leaves
    }

    fn bind(&mut self, key: &GroupKey, shared: &Shared, family: Family, attr: AttrId, slot: Slot) {
        self.leaving.clear();
        self.base.clear();
        let bytes = shared.attrs.bytes(attr);
        // A MED of others is not passed on; one that rules set is.
        let mut edit = Edit::new(bytes);
        if edit.med().is_some() && !key.keeps_med(slot) {
            edit.set_med(None);
        }
        edit.finish(true, &mut self.base);
        let source = match slot {
            Slot::LOCAL => Source::Own,
            _ if shared.sources[slot.index()].ebgp => Source::External,
            _ => Source::Internal,
        };
        self.bound.bind(&Set {
            family,
            source,
            attributes: &self.base,
            next_hop: shared.attrs.next_hop(attr),
        });
    }
}

/// The next hop of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentNextHop {
    /// Our own address on each session.
    Own,
    /// This, as it is.
    Kept(NextHop),
}

impl SentNextHop {
    fn kept(self) -> Option<NextHop> {
        match self {
            Self::Own => None,
            Self::Kept(next_hop) => Some(next_hop),
        }
    }
}
