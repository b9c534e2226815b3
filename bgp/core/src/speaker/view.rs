//! Showing the speaker's state.

use std::net::IpAddr;

use super::{Speaker, import::refuses_prefix, peer::Peer, rules};
use crate::{
    attributes::NextHop,
    config::{Policy, RemoteAs},
    out::{Group, batch::Pack, export::Encoded},
    rib::{
        attr::AttrId,
        key::PrefixKey,
        source::Slot,
        table::{MOST_OF_ONE_PEER, NONE, Path, Table},
    },
    types::{Family, Ipv4Prefix, Ipv6Prefix, Prefix, Time},
    view::{FamilyCounts, PeerView, RibKind, RoutePage, RouteQuery, RouteView, SpeakerView, State},
    wire::{DecodeContext, decode_canonical, parse_attributes},
};

/// Why a question for routes has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No peer has this name.
    #[error("no peer is named `{0}`")]
    NoSuchPeer(String),
    /// `out` was asked for without a peer.
    #[error("what is advertised differs from peer to peer: name one")]
    PeerRequired,
    /// The peer's session is not Established.
    #[error("peer `{0}` is told nothing: its session is not Established")]
    NotEstablished(String),
    /// The prefix is of the other family.
    #[error("{prefix} is not a prefix of {family}")]
    OtherFamily {
        /// What was asked for.
        prefix: crate::types::Prefix,
        /// In which family.
        family: Family,
    },
}

/// Destinations looked at for one page, so that a question for few routes among many never holds
/// the speaker up.
const PAGE_STEP: u32 = 20_000;

impl Speaker {
    /// The speaker as a whole.
    pub fn view(&self) -> SpeakerView {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        SpeakerView {
            asn: self.config.asn,
            router_id: self.config.router_id,
            peers: count(self.slots().len()),
            established: count(self.established()),
            ipv4_routes: self.tables.v4.best_len(),
            ipv6_routes: self.tables.v6.best_len(),
            paths: self.tables.v4.paths_len() + self.tables.v6.paths_len(),
            attribute_sets: count(self.shared.attrs.len()),
            deferring: None,
        }
    }

    /// All peers, in the order they were configured, then those from listen ranges.
    pub fn peer_views(&self, now: Time) -> Vec<PeerView> {
        let peers = self
            .slots()
            .into_iter()
            .filter_map(|slot| Some((slot, self.peer(slot)?)));
        peers
            .map(|(slot, peer)| self.peer_view(now, slot, peer))
            .collect()
    }

    fn peer_view(&self, now: Time, slot: Slot, peer: &Peer) -> PeerView {
        let config = peer.session.config();
        let negotiated = peer.session.established().map(|(_, negotiated)| negotiated);
        let up = negotiated.is_some();
        let group = peer
            .group
            .and_then(|group| self.groups.get(group)?.as_ref());
        let counts = |family: Family| {
            let index = family.index();
            let advertised = group.map_or(0, |group| group.told[index].advertised_to(slot));
            negotiated
                .filter(|negotiated| negotiated.families[index])
                .map(|_| FamilyCounts {
                    advertised,
                    ..peer.counts[index]
                })
        };
        let mut sent = peer.sent;
        if let Some(member) = group.and_then(|group| group.member(slot)) {
            sent.update += member.sent.updates;
            sent.route_refresh += member.sent.refreshes;
        }
        let mut warnings = Vec::new();
        for family in Family::ALL {
            let unsendable = group.is_some_and(|group| {
                group.key.families[family.index()]
                    && group.key.own_next_hop[family.index()].is_none()
            });
            if unsendable {
                warnings.push(format!(
                    "{family} routes that need our own address as next hop are not sent: our \
                     interface towards this peer has none of that family"
                ));
            }
        }
        if let (Some(interface), None) = (&config.interface, peer.session.remote()) {
            warnings.push(format!(
                "no neighbour was found on {interface} yet: none has sent a router advertisement there, \
                 nor connected"
            ));
        }
        if peer.too_many_paths > 0 {
            warnings.push(format!(
                "it has told more than {MOST_OF_ONE_PEER} paths to one prefix: {} times one was ignored",
                peer.too_many_paths
            ));
        }
        if let Some(trouble) = &peer.bfd_trouble {
            warnings.push(format!("BFD does not watch the way to it: {trouble}"));
        }
        if up {
            warnings.extend(many_prefixes(peer));
        }
        let open = peer.session.last_open();
        let last_error = peer.session.last_error();
        let held_back = peer.session.held_back().filter(|until| *until > now);
        PeerView {
            name: peer.name.to_string(),
            address: peer.address(),
            interface: config.interface.clone(),
            asn: open.map(|open| open.asn).or(match config.remote_as {
                RemoteAs::Exact(asn) => Some(asn),
                RemoteAs::Internal => Some(self.config.asn),
                RemoteAs::External => None,
            }),
            local_asn: config.shown_as(self.config.asn),
            session_type: peer.session_type().filter(|_| up),
            state: peer.session.state(),
            state_seconds: now.since(peer.state_since).as_secs(),
            router_id: open.map(|open| open.router_id),
            local_address: peer.local_address.filter(|_| up),
            hold_time: negotiated.map(|negotiated| negotiated.hold_time),
            established_count: peer.established_count,
            last_error_seconds: last_error
                .as_ref()
                .and_then(|&(_, at)| at)
                .map(|at| now.since(at).as_secs()),
            last_error: last_error.map(|(why, _)| why),
            last_error_code: peer.session.last_code(),
            failures: peer.session.failures(),
            shut_down: self.shut_down_view(now, &peer.name),
            held_back_seconds: held_back.map(|until| until.since(now).as_secs()),
            dynamic: peer.range.is_some(),
            capabilities_sent: peer.session.our_open().capabilities.describe(),
            capabilities_received: open
                .map(|open| open.capabilities.describe())
                .unwrap_or_default(),
            sent,
            received: peer.received,
            ipv4: counts(Family::Ipv4Unicast),
            ipv6: counts(Family::Ipv6Unicast),
            treated_as_withdraw: peer.treated_as_withdraw,
            attributes_discarded: peer.attributes_discarded,
            last_malformed: peer.last_malformed.clone(),
            bfd: peer.bfd.filter(|_| peer.bfd_trouble.is_none()),
            warnings,
        }
    }

    /// One page of routes.
    ///
    /// # Errors
    ///
    /// [`QueryError`] when the question makes no sense.
    pub fn routes(&self, now: Time, query: &RouteQuery) -> Result<RoutePage, QueryError> {
        if let Some(prefix) = query.prefix
            && prefix.family() != query.family
        {
            return Err(QueryError::OtherFamily {
                prefix,
                family: query.family,
            });
        }
        match query.family {
            Family::Ipv4Unicast => self.page::<Ipv4Prefix>(now, &self.tables.v4, query),
            Family::Ipv6Unicast => self.page::<Ipv6Prefix>(now, &self.tables.v6, query),
        }
    }

    fn page<P: Pack>(
        &self,
        now: Time,
        table: &Table<P>,
        query: &RouteQuery,
    ) -> Result<RoutePage, QueryError> {
        let slot = match &query.peer {
            None => None,
            Some(name) => {
                let none = || QueryError::NoSuchPeer(name.clone());
                Some((self.slot_named(name).ok_or_else(none)?, name))
            }
        };
        let group = match (query.rib, slot) {
            (RibKind::Out, None) => return Err(QueryError::PeerRequired),
            (RibKind::Out, Some((slot, name))) => {
                let group = self.peer(slot).and_then(|peer| peer.group);
                let group = group.and_then(|group| self.groups.get(group)?.as_ref());
                Some(group.ok_or_else(|| QueryError::NotEstablished(name.clone()))?)
            }
            (RibKind::In | RibKind::Loc, _) => None,
        };
        let slot = slot.map(|(slot, _)| slot);
        let prefix = query.prefix.and_then(P::from_prefix);
        let shown = |dest: u32, routes: &mut Vec<RouteView>| {
            if let (Some(group), Some(slot)) = (group, slot) {
                let told = &group.told[P::FAMILY.index()];
                let mut show = |(id, path): (u32, &Path), path_id, told| {
                    let mut view = self.route_view(now, query.rib, table, (dest, id), path);
                    view.path_id = path_id;
                    routes.extend(self.as_told(group, table.prefix(dest), told, view));
                };
                let (attr, source) = told.get(dest);
                if !attr.is_none() && source != slot {
                    // One that tells several has told the best, mostly.
                    let best = table.best_id(dest);
                    let of_source = || table.paths_of(dest).filter(|(_, path)| path.peer == source);
                    let path = of_source().find(|(id, _)| *id == best);
                    let path = path.or_else(|| of_source().next());
                    path.into_iter()
                        .for_each(|path| show(path, None, (attr, source)));
                }
                for (path_id, id, attr, source) in told.paths(dest) {
                    if let Some(path) = table.live_path(id)
                        && path.dest == dest
                        && !attr.is_none()
                        && source != slot
                    {
                        show((id, path), Some(path_id), (attr, source));
                    }
                }
                return;
            }
            for (id, path) in table.paths_of(dest) {
                let source = &self.shared.sources[path.peer.index()];
                let current = source.holds(P::FAMILY.index(), path.epoch);
                let wanted = match query.rib {
                    RibKind::In => path.peer != Slot::LOCAL,
                    RibKind::Loc | RibKind::Out => id == table.best_id(dest),
                };
                if current && wanted && slot.is_none_or(|slot| slot == path.peer) {
                    routes.push(self.route_view(now, query.rib, table, (dest, id), path));
                }
            }
        };
        let mut routes = Vec::new();
        match prefix {
            Some(prefix) if query.covering => {
                for len in (0..=prefix.split().1).rev() {
                    if let Some(dest) = table.find(prefix.truncate(len)) {
                        shown(dest, &mut routes);
                    }
                    if !routes.is_empty() {
                        break;
                    }
                }
            }
            Some(prefix) if !query.longer => {
                if let Some(dest) = table.find(prefix) {
                    shown(dest, &mut routes);
                }
            }
            _ => {
                let mut dest = query.cursor;
                let last = table.dest_bound().min(dest.saturating_add(PAGE_STEP));
                while dest < last && routes.len() < query.limit as usize {
                    let inside = table.is_live(dest)
                        && prefix.is_none_or(|outer| outer.covers(table.prefix(dest)));
                    if inside {
                        shown(dest, &mut routes);
                    }
                    dest += 1;
                }
                let next = (dest < table.dest_bound()).then_some(dest);
                return Ok(RoutePage { routes, next });
            }
        }
        Ok(RoutePage { routes, next: None })
    }

    fn route_view<P: PrefixKey>(
        &self,
        now: Time,
        rib: RibKind,
        table: &Table<P>,
        (dest, id): (u32, u32),
        path: &Path,
    ) -> RouteView {
        let best = table.best_id(dest);
        let prefix = table.prefix(dest).into();
        let sources = self.shared.sources();
        let refused = path.attr.is_none().then(|| self.why_refused(path, prefix));
        let others = || {
            table.paths_of(dest).filter(|&(other, path)| {
                other != id && sources.is_candidate(P::FAMILY.index(), path)
            })
        };
        let reason = if refused.is_some() {
            "not a candidate".to_owned()
        } else if !sources.is_reachable(path) {
            "its next hop cannot be reached".to_owned()
        } else if id == best {
            // The closest rival says most about why this one won.
            let closest = others()
                .map(|(other, _)| sources.step_between(table, id, other))
                .max();
            closest.map_or("only path", |step| step.text()).to_owned()
        } else if best != NONE {
            let step = sources.step_between(table, best, id);
            format!("the best has: {}", step.text())
        } else {
            "not a candidate".to_owned()
        };
        let mut multipath = Vec::new();
        if id != best && refused.is_none() {
            sources.multipath(table, dest, self.config.multipath, &mut multipath);
        }
        // What was received, and in the Loc-RIB what import policy has made of it.
        let shown = match rib {
            RibKind::Loc | RibKind::Out if !path.attr.is_none() => path.attr,
            RibKind::In | RibKind::Loc | RibKind::Out => path.received,
        };
        let attributes = decode_canonical(self.shared.attrs.bytes(shown));
        RouteView {
            prefix,
            path_id: Some(table.path_id(id)).filter(|&path_id| path_id != 0),
            peer: self.peer(path.peer).map(|peer| peer.name.to_string()),
            next_hop: self.shared.attrs.next_hop(shown),
            best: id == best,
            multipath: multipath.contains(&id),
            refused,
            stale: self.shared.sources[path.peer.index()].is_stale(P::FAMILY.index(), path.epoch),
            reason,
            age_seconds: now.as_secs().saturating_sub(u64::from(path.since)),
            as_path: attributes.as_path_text(),
            attributes,
        }
    }

    /// Why a path that does not count does not.
    fn why_refused(&self, path: &Path, prefix: Prefix) -> String {
        let Some(peer) = self.peer(path.peer) else {
            return "its peer is gone".to_owned();
        };
        let config = peer.session.config();
        let refusal = self
            .refuses_set(path.peer, path.received)
            .or_else(|| refuses_prefix(config, prefix));
        match (refusal, &config.import) {
            (Some(refusal), _) => refusal.text().to_owned(),
            (None, Policy::Rules(rules)) => {
                let attrs = &self.shared.attrs;
                let received = attrs.bytes(path.received);
                let adjusted = self.as_adjusted(path.peer, path.received);
                let asked = adjusted.as_deref().unwrap_or(received);
                let next_hop = attrs.next_hop(path.received);
                let us = (self.config.asn, self.config.discovery);
                rules::why_refused(rules, peer, us, prefix, asked, next_hop)
            }
            (None, _) => "refused by import policy".to_owned(),
        }
    }

    /// A route with the attributes a group is sent: what was encoded for it, read back. None when
    /// it cannot be sent, and was withdrawn instead.
    fn as_told<P: Pack>(
        &self,
        group: &Group,
        prefix: P,
        (attr, source): (AttrId, Slot),
        mut view: RouteView,
    ) -> Option<RouteView> {
        let (mut sent, mut canonical) = (Vec::new(), Vec::new());
        let key = &group.key;
        let encoded = key.encode(&self.shared, P::FAMILY, attr, source, &mut sent)?;
        let mut message = Vec::new();
        let one = std::iter::once((prefix, view.path_id));
        if !P::pack_reach(&mut message, &sent, &encoded, one, key.max_message) {
            return None;
        }
        let context = DecodeContext {
            as4: key.as4,
            ebgp: key.ebgp,
        };
        let classic = matches!(encoded, Encoded::Classic(_));
        // Ours is well formed, and what is canonical is what a reader makes of it.
        parse_attributes(&sent, &context, classic, &mut canonical);
        view.next_hop = Some(match encoded {
            Encoded::Classic(addr) => NextHop::from(IpAddr::V4(addr)),
            Encoded::MultiProtocol(next_hop) => next_hop,
        });
        view.attributes = decode_canonical(&canonical);
        view.as_path = view.attributes.as_path_text();
        Some(view)
    }

    /// Whether a peer is Established, by name.
    pub fn is_established(&self, name: &str) -> bool {
        self.slot_named(name)
            .and_then(|slot| self.peer(slot))
            .is_some_and(|peer| peer.session.state() == State::Established)
    }
}

/// Warnings of a peer that has sent nearly as many prefixes as it may.
fn many_prefixes(peer: &Peer) -> impl Iterator<Item = String> {
    let config = peer.session.config();
    let held = peer.counts.map(|counts| counts.received);
    let [v4, v6] = config.max_prefixes_of;
    let bounds = [
        (
            held.iter().sum(),
            config.max_prefixes,
            "prefixes",
            "max_prefixes",
        ),
        (held[0], v4, "IPv4 prefixes", "max_prefixes_ipv4"),
        (held[1], v6, "IPv6 prefixes", "max_prefixes_ipv6"),
    ];
    let warning = config.max_prefixes_warning;
    bounds.into_iter().filter_map(move |(held, limit, what, key)| {
        let limit = limit?;
        let warned_at = u64::from(limit) * u64::from(warning) / 100;
        (u64::from(held) >= warned_at).then(|| {
            format!(
                "it has sent {held} of the {limit} {what} it may: past that the session is closed ({key})"
            )
        })
    })
}
