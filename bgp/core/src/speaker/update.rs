//! Messages of an Established session into the RIB.

use super::{
    Speaker,
    import::refuses_prefix,
    malformed::whole,
    rules::Judging,
    staged::{Act, Staged, StagedFamilies, Target},
};
use crate::{
    attributes::NextHop,
    config::Policy,
    message::Outcome,
    rib::{attr::AttrId, key::PrefixKey, source::Slot},
    session::ConnId,
    types::{Family, Prefix, Time},
    wire::{
        AttrFacts, Cease, DecodeContext, Malformed, MessageKind, Nlri4, Nlri6, Notification,
        RawUpdate, Verdict, frame, parse_attributes,
    },
};

/// So many octets are kept of what is no message.
const HEAD: usize = 64;

impl Speaker {
    /// Takes whole messages from the front of `bytes`; returns how many octets that were. The
    /// driver should keep the rest and hand it in again with what comes after it.
    pub fn received(&mut self, now: Time, conn: ConnId, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let Some(entry) = self.conns.get(&conn) else {
                return bytes.len();
            };
            if entry.closing {
                return bytes.len();
            }
            let (slot, up, longest) = (entry.slot, entry.up, entry.max_received);
            let rest = bytes.get(taken..).unwrap_or(&[]);
            match frame(rest, longest) {
                Ok(Some(frame)) => {
                    taken += frame.len;
                    self.message(now, slot, conn, up, frame.kind, frame.body);
                }
                Ok(None) => {
                    self.apply(now, slot);
                    return taken;
                }
                Err(notification) => {
                    self.apply(now, slot);
                    // No message: where it ends is not known.
                    let head = rest.get(..rest.len().min(HEAD)).unwrap_or(rest).to_vec();
                    let what = notification.to_string();
                    self.keep_malformed(now, slot, head, what, Outcome::SessionReset);
                    self.fault(now, slot, conn, notification);
                    return bytes.len();
                }
            }
        }
    }

    pub(super) fn fault(
        &mut self,
        now: Time,
        slot: Slot,
        conn: ConnId,
        notification: Notification,
    ) {
        self.with_session(now, slot, |session, fx| {
            session.fault(now, conn, notification, fx)
        });
    }

    fn message(
        &mut self,
        now: Time,
        slot: Slot,
        conn: ConnId,
        up: bool,
        kind: MessageKind,
        body: &[u8],
    ) {
        let Some(peer) = self.peer_mut(slot) else {
            return;
        };
        let count = match kind {
            MessageKind::Open => &mut peer.received.open,
            MessageKind::Update => &mut peer.received.update,
            MessageKind::Notification => &mut peer.received.notification,
            MessageKind::Keepalive => &mut peer.received.keepalive,
            MessageKind::RouteRefresh => &mut peer.received.route_refresh,
        };
        *count += 1;
        peer.session.heard(now, conn);
        // What a session does next may depend on the UPDATEs before, and their paths are those of the
        // epoch they came in.
        if kind != MessageKind::Update {
            self.apply(now, slot);
        }
        let result = match kind {
            MessageKind::Update if up => self.update(now, slot, body),
            MessageKind::RouteRefresh if up => self.refresh(now, slot, body),
            MessageKind::Keepalive if up => Ok(()),
            MessageKind::Open
            | MessageKind::Update
            | MessageKind::Notification
            | MessageKind::Keepalive
            | MessageKind::RouteRefresh => {
                self.with_session(now, slot, |session, fx| {
                    session.message(now, conn, kind, body, fx);
                });
                Ok(())
            }
        };
        if let Err(notification) = result {
            self.apply(now, slot);
            // One with more prefixes than it may have is not malformed.
            if !notification.is_cease(Cease::MaximumPrefixes) {
                let what = notification.to_string();
                let message = whole(kind, body);
                self.keep_malformed(now, slot, message, what, Outcome::SessionReset);
            }
            self.fault(now, slot, conn, notification);
        }
    }

    fn update(&mut self, now: Time, slot: Slot, body: &[u8]) -> Result<(), Notification> {
        let raw = RawUpdate::split(body)?;
        let Some(peer) = self.peer(slot) else {
            return Ok(());
        };
        let Some((_, negotiated)) = peer.session.established() else {
            return Ok(());
        };
        let families = negotiated.families;
        let extended_next_hop = negotiated.extended_next_hop;
        let add_path = negotiated.add_path_receive;
        let context = DecodeContext {
            as4: negotiated.as4,
            ebgp: peer.is_ebgp(),
        };
        if raw.is_end_of_rib_ipv4() {
            self.end_of_rib(slot, Family::Ipv4Unicast);
            return Ok(());
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.last_route = now;
        }
        // Withdrawn first: a prefix in both places is announced (RFC 4271, 4.3).
        let v4 = families[Family::Ipv4Unicast.index()];
        if v4 {
            self.prefixes4(slot, raw.withdrawn, add_path, Act::Withdraw)?;
        }
        if raw.attributes.is_empty() && raw.nlri.is_empty() {
            return Ok(());
        }
        let mut canonical = std::mem::take(&mut self.canonical);
        let parsed = parse_attributes(
            raw.attributes,
            &context,
            !raw.nlri.is_empty(),
            &mut canonical,
        );
        let malformed = parsed.malformed;
        let treat_as_withdraw = match parsed.verdict {
            Verdict::Ok | Verdict::Discard(_) => false,
            Verdict::TreatAsWithdraw(_) => true,
            Verdict::Reset(notification) => {
                self.canonical = canonical;
                return Err(notification);
            }
        };
        if let Some(malformed) = malformed {
            self.note_malformed(now, slot, malformed, treat_as_withdraw, body);
        }
        let facts = parsed.facts;
        let result = (|| {
            if let Some(unreach) = &parsed.unreach
                && let Some(family) = Family::from_code(unreach.afi, unreach.safi)
                && families[family.index()]
            {
                if unreach.nlri.is_empty() && raw.nlri.is_empty() && parsed.reach.is_none() {
                    self.end_of_rib(slot, family);
                }
                self.prefixes(slot, family, unreach.nlri, add_path, Act::Withdraw)
                    .map_err(|_| unreach.bad_nlri())?;
            }
            if let Some(reach) = &parsed.reach
                && let Some(family) = Family::from_code(reach.afi, reach.safi)
                && families[family.index()]
            {
                let foreign = reach.foreign_next_hop(extended_next_hop);
                let foreign = foreign.filter(|_| !treat_as_withdraw);
                if let Some(malformed) = foreign {
                    self.note_malformed(now, slot, malformed, true, body);
                }
                let act = if treat_as_withdraw || foreign.is_some() {
                    Act::Withdraw
                } else {
                    self.set(slot, &canonical, reach.next_hop, &facts)
                };
                self.prefixes(slot, family, reach.nlri, add_path, act)
                    .map_err(|_| reach.bad_nlri())?;
            }
            if v4 && !raw.nlri.is_empty() {
                let act = match parsed.next_hop {
                    Some(next_hop) if !treat_as_withdraw => {
                        let next_hop = NextHop::from(std::net::IpAddr::V4(next_hop));
                        self.set(slot, &canonical, next_hop, &facts)
                    }
                    _ => Act::Withdraw,
                };
                self.prefixes4(slot, raw.nlri, add_path, act)?;
            }
            Ok(())
        })();
        self.canonical = canonical;
        result?;
        let limited = self
            .peer(slot)
            .is_some_and(|peer| peer.session.config().bounds_prefixes());
        if limited || self.staged.v4.is_full() || self.staged.v6.is_full() {
            self.apply(now, slot);
        }
        self.check_limit(slot)
    }

    /// Interns a set of attributes and judges it.
    fn set(&mut self, slot: Slot, canonical: &[u8], next_hop: NextHop, facts: &AttrFacts) -> Act {
        let received = self.shared.attrs.intern(canonical, Some(next_hop), facts);
        let attr = match self.refuses_set(slot, received) {
            Some(_) => AttrId::NONE,
            None => self.adjusted(slot, received),
        };
        Act::Announce { received, attr }
    }

    fn prefixes(
        &mut self,
        slot: Slot,
        family: Family,
        nlri: &[u8],
        add_path: [bool; 2],
        act: Act,
    ) -> Result<(), Notification> {
        match family {
            Family::Ipv4Unicast => self.prefixes4(slot, nlri, add_path, act),
            Family::Ipv6Unicast => {
                let prefixes = Nlri6::new(nlri, add_path[family.index()]);
                self.stage(slot, |staged| &mut staged.v6, prefixes, act)
            }
        }
    }

    fn prefixes4(
        &mut self,
        slot: Slot,
        nlri: &[u8],
        add_path: [bool; 2],
        act: Act,
    ) -> Result<(), Notification> {
        let prefixes = Nlri4::new(nlri, add_path[Family::Ipv4Unicast.index()]);
        self.stage(slot, |staged| &mut staged.v4, prefixes, act)
    }

    /// Judges prefixes and keeps them until they are applied. Those before one that cannot be read
    /// count (RFC 7606 leaves no way but to reset the session then, which takes them back).
    fn stage<P: PrefixKey>(
        &mut self,
        slot: Slot,
        staged: impl FnOnce(&mut StagedFamilies) -> &mut Staged<P>,
        prefixes: impl Iterator<Item = Result<(P, u32), Notification>>,
        act: Act,
    ) -> Result<(), Notification> {
        let staged = staged(&mut self.staged);
        let Act::Announce { received, attr } = act else {
            for prefix in prefixes {
                staged.push(prefix?, act);
            }
            return Ok(());
        };
        let Some(peer) = self.peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            return Ok(());
        };
        // Taken out for as long as the rest of the peer is looked at.
        let mut rules = peer.import.take();
        let mut judging = Judging::of(peer, &mut self.shared);
        let mut judge = |prefix: Prefix| {
            if attr.is_none() || refuses_prefix(judging.config, prefix).is_some() {
                return AttrId::NONE;
            }
            match (&mut rules, &judging.config.import) {
                (Some(rules), _) => rules.judge(&mut judging, attr, prefix),
                // Rules that are not there let nothing in.
                (None, Policy::Rules(_)) => AttrId::NONE,
                (None, _) => attr,
            }
        };
        let mut result = Ok(());
        for prefix in prefixes {
            match prefix {
                Ok((prefix, path_id)) => {
                    let attr = judge(prefix.into());
                    staged.push((prefix, path_id), Act::Announce { received, attr });
                }
                Err(notification) => {
                    result = Err(notification);
                    break;
                }
            }
        }
        peer.import = rules;
        result
    }

    /// Puts what was staged, all of it by `slot`, into the tables.
    fn apply(&mut self, now: Time, slot: Slot) {
        let Self {
            shared,
            tables,
            peers,
            feeds,
            staged,
            config,
            ..
        } = self;
        let Some(peer) = peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            debug_assert!(false, "changes by nobody");
            *staged = StagedFamilies::default();
            return;
        };
        let mut target = Target {
            shared,
            peer,
            feeds,
            slot,
            since: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            multipath: config.multipath > 1,
        };
        staged.v4.apply(&mut tables.v4, &mut target);
        staged.v6.apply(&mut tables.v6, &mut target);
    }

    fn end_of_rib(&mut self, slot: Slot, family: Family) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.counts[family.index()].end_of_rib = true;
        }
        // Of what was held over a restart, what was not told anew is gone (RFC 4724, 4.2).
        self.drop_stale(slot, family);
    }

    fn note_malformed(
        &mut self,
        now: Time,
        slot: Slot,
        malformed: Malformed,
        treat_as_withdraw: bool,
        body: &[u8],
    ) {
        let outcome = match treat_as_withdraw {
            true => Outcome::TreatAsWithdraw,
            false => Outcome::AttributeDiscard,
        };
        let message = whole(MessageKind::Update, body);
        self.keep_malformed(now, slot, message, malformed.to_string(), outcome);
        if let Some(peer) = self.peer_mut(slot) {
            if treat_as_withdraw {
                peer.treated_as_withdraw += 1;
            } else {
                peer.attributes_discarded += 1;
            }
            peer.last_malformed = Some(malformed.to_string());
        }
    }

    /// The peer's maximum of prefixes, of one family and of both (RFC 4486, 4).
    pub(super) fn check_limit(&self, slot: Slot) -> Result<(), Notification> {
        let Some(peer) = self.peer(slot) else {
            return Ok(());
        };
        let config = peer.session.config();
        if !config.bounds_prefixes() {
            return Ok(());
        }
        let held = peer.counts.map(|counts| counts.received);
        let stale = peer.stale.map(|stale| stale.received);
        // What is to be told anew is counted when it is: a neighbour that restarts with other routes
        // never has more than it may. Both together are bounded all the same.
        let exceeds =
            |all: u32, stale: u32, limit: u32| all.saturating_sub(stale) > limit || all / 2 > limit;
        for family in Family::ALL {
            let index = family.index();
            if let Some(limit) = config.max_prefixes_of[index]
                && exceeds(held[index], stale[index], limit)
            {
                return Err(Notification::maximum_prefixes(family, limit));
            }
        }
        match config.max_prefixes {
            Some(limit) if exceeds(held.iter().sum(), stale.iter().sum(), limit) => {
                // The data has room for one family: the one there is most of.
                let family = if held[0] >= held[1] {
                    Family::Ipv4Unicast
                } else {
                    Family::Ipv6Unicast
                };
                Err(Notification::maximum_prefixes(family, limit))
            }
            Some(_) | None => Ok(()),
        }
    }
}
