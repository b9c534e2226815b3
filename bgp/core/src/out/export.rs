//! What may leave towards a group of peers, and in which form.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    path::PathChange,
    rules::{Export, ExportRules, SentNextHop},
};

use crate::{
    attributes::NextHop,
    config::{BgpRole, NextHopSelf, Policy},
    policy::NextHopChange,
    rib::{
        Shared,
        attr::{AttrId, DISCOVERY, JUDGED},
        key::PrefixKey,
        source::Slot,
        table::{Path, Table},
    },
    types::{Asn, Family, Prefix, RouterId},
    wire::{AttrFacts, Egress, Reflect, egress_attributes},
};

/// Everything that changes what peers are sent, or its bytes. Peers with equal keys share one
/// group: what they are sent is decided and encoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupKey {
    /// Negotiated, by [`Family::index`].
    pub(crate) families: [bool; 2],
    pub(crate) as4: bool,
    pub(crate) ebgp: bool,
    /// Members are our reflection clients.
    pub(crate) client: bool,
    pub(crate) next_hop_self: NextHopSelf,
    /// Put before the path on eBGP.
    pub(crate) local_asn: Asn,
    /// What else is done to it there.
    pub(crate) path: PathChange,
    pub(crate) cluster_id: RouterId,
    /// Our own address as a next hop on these sessions, by [`Family::index`]; a family without
    /// one cannot be sent routes that need it.
    pub(crate) own_next_hop: [Option<NextHop>; 2],
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub(crate) ipv6_next_hop_for_ipv4: bool,
    /// By [`Family::index`]: so many paths to a prefix are told, with identifiers; 0: the best, without
    /// (RFC 7911).
    pub(crate) add_path: [u8; 2],
    /// What we are to external neighbours (RFC 9234).
    pub(crate) role: Option<BgpRole>,
    /// They know what a long-lived stale route is (RFC 9494).
    pub(crate) long_lived: bool,
    /// Routes that carry service discovery may go to these peers.
    pub(crate) discovery: bool,
    /// Longest message.
    pub(crate) max_message: usize,
    pub(crate) export: Policy,
    /// Rules in its place: what members have in common of them.
    pub(crate) rules: Option<ExportRules>,
}

/// Decides what a group is told about one destination after the other.
#[derive(Debug)]
pub(crate) struct Desired<'a> {
    key: &'a GroupKey,
    rules: Option<&'a mut Export>,
    /// The last set and source, and whether they may leave: routes that share both mostly come
    /// together.
    last: (AttrId, Slot, bool),
}

impl Desired<'_> {
    /// What the group is told about `dest`: attributes and the peer they came from; none when
    /// nothing may be sent.
    #[inline]
    pub(crate) fn of<P: PrefixKey>(
        &mut self,
        shared: &mut Shared,
        table: &Table<P>,
        dest: u32,
    ) -> (AttrId, Slot) {
        const NOTHING: (AttrId, Slot) = (AttrId::NONE, Slot::LOCAL);
        let Some(&Path { attr, peer, .. }) = table.best(dest) else {
            return NOTHING;
        };
        if (self.last.0, self.last.1) != (attr, peer) {
            let leaves = self.key.exports(shared, P::FAMILY, attr, peer);
            self.last = (attr, peer, leaves);
        }
        if !self.last.2 {
            return NOTHING;
        }
        if let Some(rules) = &mut self.rules {
            return match rules.judge(self.key, shared, attr, peer, table.prefix(dest).into()) {
                AttrId::NONE => NOTHING,
                changed => (changed, peer),
            };
        }
        if self.key.exports_prefix(peer, || table.prefix(dest).into()) {
            (attr, peer)
        } else {
            NOTHING
        }
    }

    /// The paths to `dest` that a group is told which takes several: the best of those that may leave.
    pub(crate) fn all<P: PrefixKey>(
        &mut self,
        shared: &mut Shared,
        table: &Table<P>,
        dest: u32,
        into: &mut Vec<Offer>,
    ) {
        let family = P::FAMILY.index();
        let limit = usize::from(self.key.add_path[family]);
        into.clear();
        let sources = shared.sources();
        let mut candidates: Vec<u32> = table
            .paths_of(dest)
            .filter(|(_, path)| {
                let prefix = || table.prefix(dest).into();
                sources.is_candidate(family, path)
                    && self.key.exports(shared, P::FAMILY, path.attr, path.peer)
                    && (self.rules.is_some() || self.key.exports_prefix(path.peer, prefix))
            })
            .map(|(id, _)| id)
            .collect();
        // Where all may be told, none has to be the best.
        let ranked = candidates.len() > limit;
        while into.len() < limit {
            let next = match ranked {
                true => shared.sources().take_best(table, &mut candidates),
                false => candidates.pop(),
            };
            let Some(path) = next else { break };
            let Path { attr, peer, .. } = *table.path(path);
            let prefix = || table.prefix(dest).into();
            let attr = match &mut self.rules {
                Some(rules) => rules.judge(self.key, shared, attr, peer, prefix()),
                None => attr,
            };
            if !attr.is_none() {
                let source = peer;
                into.push(Offer { path, attr, source });
            }
        }
    }
}

/// A path that a group is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Its id in the table.
    pub(crate) path: u32,
    pub(crate) attr: AttrId,
    pub(crate) source: Slot,
}

impl GroupKey {
    /// Decides what the group is told, within one turn and family: ids of attributes are others
    /// later.
    pub(crate) fn desired<'a>(&'a self, rules: Option<&'a mut Export>) -> Desired<'a> {
        Desired {
            key: self,
            rules,
            last: (AttrId::NONE, Slot::LOCAL, false),
        }
    }

    /// Whether routes with this set from this peer may leave, as far as these tell.
    fn exports(&self, shared: &Shared, family: Family, attr: AttrId, peer: Slot) -> bool {
        if attr.is_none() || !self.families[family.index()] {
            return false;
        }
        let flags = shared.attrs.key(attr).flags;
        if flags & AttrFacts::NO_ADVERTISE != 0 {
            return false;
        }
        if flags & DISCOVERY != 0 && !self.discovery {
            return false;
        }
        // "SHOULD NOT be advertised to any neighbor from which the Long-Lived Graceful Restart Capability
        // has not been received" (RFC 9494, 4.3): it would take it for a good one.
        if flags & AttrFacts::LLGR_STALE != 0 && !self.long_lived {
            return false;
        }
        let outside = AttrFacts::NO_EXPORT | AttrFacts::NO_EXPORT_SUBCONFED;
        if self.ebgp && flags & outside != 0 {
            return false;
        }
        // "If a route already contains the OTC Attribute, it MUST NOT be propagated to Providers, Peers, or
        // RSes" (RFC 9234, 5).
        let to_customers = !matches!(
            self.role,
            Some(BgpRole::Customer | BgpRole::Peer | BgpRole::RouteServerClient)
        );
        if flags & AttrFacts::ONLY_TO_CUSTOMER != 0 && !to_customers {
            return false;
        }
        let source = &shared.sources[peer.index()];
        let internal = peer != Slot::LOCAL && !source.ebgp;
        // RFC 4456, 6: what a non-client sent goes to clients only.
        if internal && !self.ebgp && !source.client && !self.client {
            return false;
        }
        // Rules may change it: it is looked at behind them.
        self.rules.is_some()
            || self
                .usual_next_hop(family, shared.attrs.next_hop(attr), internal && !self.ebgp)
                .is_some()
    }

    /// Whether export policy lets this prefix out.
    #[inline]
    fn exports_prefix(&self, peer: Slot, prefix: impl FnOnce() -> Prefix) -> bool {
        match &self.export {
            Policy::All => true,
            // Rules are asked where there is more to go by: see [`Desired::of`].
            Policy::None | Policy::Rules(_) => false,
            Policy::Own => peer == Slot::LOCAL,
            Policy::Within(within) => {
                let prefix = prefix();
                within.iter().any(|outer| outer.contains(prefix))
            }
        }
    }

    /// The next hop as sent (RFC 4271, 5.1.3): our own on eBGP and for what we originate without
    /// one, and where there is none that means anything beyond its link; unchanged otherwise.
    pub(super) fn usual_next_hop(
        &self,
        family: Family,
        next_hop: Option<NextHop>,
        reflected: bool,
    ) -> Option<NextHop> {
        let own = self.own_next_hop[family.index()];
        match next_hop {
            None => own,
            Some(_) if self.puts_own_next_hop(reflected) => own,
            Some(kept) if is_link_local(kept.addr) => own,
            Some(kept) => {
                let sendable = self.sendable(family, kept.addr);
                sendable.then(|| NextHop::from(kept.addr))
            }
        }
    }

    /// Whether what is passed on gets our own next hop whatever it came with.
    fn puts_own_next_hop(&self, reflected: bool) -> bool {
        self.ebgp || self.next_hop_self.is_for(reflected)
    }

    /// Whether routes from this peer are reflected to the group: from one iBGP session to another.
    pub(super) fn reflects(&self, shared: &Shared, slot: Slot) -> bool {
        slot != Slot::LOCAL && !shared.sources[slot.index()].ebgp && !self.ebgp
    }

    /// Whether routes of a family can have such a next hop.
    fn sendable(&self, family: Family, next_hop: IpAddr) -> bool {
        match family {
            Family::Ipv4Unicast => next_hop.is_ipv4() || self.ipv6_next_hop_for_ipv4,
            Family::Ipv6Unicast => next_hop.is_ipv6(),
        }
    }

    /// The next hop that is sent to `peer` of a route which rules have changed so; `None`: there is none
    /// that can be.
    pub(super) fn changed_next_hop(
        &self,
        family: Family,
        before: Option<NextHop>,
        change: NextHopChange,
        peer: IpAddr,
        reflected: bool,
    ) -> Option<SentNextHop> {
        let own = self.own_next_hop[family.index()].map(|_| SentNextHop::Own);
        let kept = match change {
            NextHopChange::Usual => {
                let usual_own = self.puts_own_next_hop(reflected);
                let kept = before.filter(|kept| !usual_own && !is_link_local(kept.addr));
                let Some(kept) = kept else {
                    return own;
                };
                return self
                    .sendable(family, kept.addr)
                    .then(|| SentNextHop::Kept(NextHop::from(kept.addr)));
            }
            NextHopChange::Own => return own,
            NextHopChange::Unchanged => match before {
                None => return own,
                Some(kept) => kept,
            },
            NextHopChange::Address(addr) => NextHop::from(addr),
        };
        // A link-local address means something on one link only (RFC 2545, 3), and a neighbour must not
        // be told to send packets to itself (RFC 4271, 5.1.3).
        let global = NextHop::from(kept.addr);
        let means_something = !is_link_local(kept.addr) && kept.addr != peer;
        (means_something && self.sendable(family, kept.addr)).then_some(SentNextHop::Kept(global))
    }

    /// "the MULTI_EXIT_DISC attribute received from a neighboring AS MUST NOT be propagated to other
    /// neighboring ASes" (RFC 4271, 5.1.4).
    pub(super) fn keeps_med(&self, slot: Slot) -> bool {
        !self.ebgp || slot == Slot::LOCAL
    }

    /// Writes the attributes of an UPDATE for routes of `family` with this set, learned from
    /// `source`; the next hop goes into MP_REACH_NLRI when it is returned.
    pub(crate) fn encode(
        &self,
        shared: &Shared,
        family: Family,
        attr: AttrId,
        slot: Slot,
        out: &mut Vec<u8>,
    ) -> Option<Encoded> {
        let source = &shared.sources[slot.index()];
        let reflected = self.reflects(shared, slot);
        let judged = shared.attrs.key(attr).flags & JUDGED != 0;
        let next_hop = match shared.attrs.next_hop(attr) {
            Some(kept) if judged => kept,
            next_hop => self.usual_next_hop(family, next_hop, reflected)?,
        };
        let egress = Egress {
            as4: self.as4,
            prepend: self.ebgp.then_some(self.local_asn),
            keep_local_pref: !self.ebgp,
            // The route's own, or the default where it has none.
            set_local_pref: (!self.ebgp).then_some(shared.attrs.key(attr).local_pref),
            // Rules have seen to it: what is there by now is to be sent.
            keep_med: judged || self.keeps_med(slot),
            reflect: reflected.then(|| Reflect {
                originator: RouterId::from(source.router_id),
                cluster_id: self.cluster_id,
            }),
            foreign: slot != Slot::LOCAL,
            only_to_customer: match self.role {
                Some(BgpRole::Provider | BgpRole::Peer | BgpRole::RouteServer) => {
                    Some(self.local_asn)
                }
                Some(BgpRole::Customer | BgpRole::RouteServerClient) | None => None,
            },
            strip_reflection: self.ebgp,
        };
        let classic = match (family, next_hop.addr) {
            (Family::Ipv4Unicast, std::net::IpAddr::V4(addr)) => Some(addr),
            (Family::Ipv4Unicast | Family::Ipv6Unicast, _) => None,
        };
        out.clear();
        let held = shared.attrs.bytes(attr);
        let changed = self.path.changed(held);
        egress_attributes(changed.as_deref().unwrap_or(held), classic, &egress, out);
        Some(match classic {
            Some(addr) => Encoded::Classic(addr),
            None => Encoded::MultiProtocol(next_hop),
        })
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

/// How a set was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// NEXT_HOP among the attributes, prefixes in the NLRI field.
    Classic(Ipv4Addr),
    /// Prefixes in MP_REACH_NLRI with this next hop.
    MultiProtocol(NextHop),
}
