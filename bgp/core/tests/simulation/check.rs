//! What must hold once it is quiet, at every speaker and on every session.

use std::collections::{BTreeMap, BTreeSet};

use wayleave_bgp_core::{
    Family, LargeCommunity, Prefix, RouterId,
    config::SpeakerConfig,
    feed::RouteSource,
    view::{FamilyCounts, RibKind, RouteView},
};

use crate::{
    history::{History, number},
    network::name,
    plain::{Hop, Plain, difference},
    reference::{Candidate, Session, decide},
};

/// What was there to be checked: that nothing is wrong says little where nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Routes held of neighbours.
    held: usize,
    /// Of these, refused.
    refused: usize,
    /// Of these, reflected.
    reflected: usize,
    /// Best routes that had a rival.
    rivals: usize,
    /// Routes told.
    told: usize,
    /// Best routes that were not told to a neighbour that did not have them.
    kept: usize,
    /// Prefixes of which several routes were told to a neighbour.
    several: usize,
    /// Routes that took no part for want of a way to their next hop.
    unreachable: usize,
}

impl Seen {
    pub(crate) fn add(&mut self, more: &Self) {
        self.held += more.held;
        self.refused += more.refused;
        self.reflected += more.reflected;
        self.rivals += more.rivals;
        self.told += more.told;
        self.kept += more.kept;
        self.several += more.several;
        self.unreachable += more.unreachable;
    }

    /// Fails if the generator has lost what makes its histories worth while.
    pub(crate) fn is_enough(&self, runs: usize) {
        assert!(
            self.held > 10 * runs
                && self.refused > runs
                && self.reflected > runs
                && self.rivals > runs
                && self.told > 10 * runs
                && self.kept > runs
                && self.several > runs
                && self.unreachable > runs / 8,
            "{runs} histories left little to look at: {self:?}"
        );
    }
}

impl History {
    pub(crate) fn check(&self, seen: &mut Seen) {
        let originated = self.originated();
        for (n, node) in self.net.nodes.iter().enumerate() {
            if node.up {
                self.check_speaker(n, &originated, seen);
            }
        }
    }

    fn check_speaker(
        &self,
        n: usize,
        originated: &BTreeSet<(Prefix, LargeCommunity)>,
        seen: &mut Seen,
    ) {
        let here = self.net.speaker(n).config();
        let loc = self.net.routes(n, RibKind::Loc, None);
        let held = self.net.routes(n, RibKind::In, None);
        self.check_no_ghosts(n, here, &held, originated);
        let mut candidates = self.own(n);
        for peer in &here.peers {
            let m = number(peer);
            let up = self.is_joined(n, m);
            assert_eq!(
                self.net.speaker(n).is_established(&name(m)),
                up,
                "the session of {n} with {m}"
            );
            let from = |route: &&RouteView| route.peer.as_deref() == Some(&peer.name);
            let held: Vec<&RouteView> = held.iter().filter(from).collect();
            if !up {
                assert!(
                    held.is_empty(),
                    "{n} holds routes of {m}, which is down: {held:?}"
                );
                continue;
            }
            let session = Session {
                n,
                here,
                m,
                there: self.net.speaker(m).config(),
                peer,
            };
            self.check_in(&session, &held, &mut candidates, seen);
        }
        seen.held += held.len();
        seen.refused += held.iter().filter(|route| route.refused.is_some()).count();
        let is_reflected = |route: &&RouteView| !route.attributes.cluster_list.is_empty();
        seen.reflected += held.iter().filter(is_reflected).count();
        seen.rivals += candidates.values().filter(|all| all.len() > 1).count();
        self.check_loc(n, &loc, &candidates);
        for peer in &here.peers {
            let m = number(peer);
            if self.is_joined(n, m) {
                let session = Session {
                    n,
                    here,
                    m,
                    there: self.net.speaker(m).config(),
                    peer,
                };
                self.check_out(&session, &candidates, seen);
            }
        }
        self.check_feed(n, &loc);
        let view = self.net.speaker(n).view();
        assert_eq!(
            view.paths as usize,
            held.len() + self.owned[n].len(),
            "{n}: what the speaker counts of paths"
        );
        assert_eq!(
            (view.ipv4_routes + view.ipv6_routes) as usize,
            loc.len(),
            "{n}: what the speaker counts of routes"
        );
    }

    /// Nothing is stale, has gone in a circle, or is a route that nobody originates any more.
    fn check_no_ghosts(
        &self,
        n: usize,
        here: &SpeakerConfig,
        held: &[RouteView],
        originated: &BTreeSet<(Prefix, LargeCommunity)>,
    ) {
        let cluster = here.cluster_id.unwrap_or(here.router_id);
        for route in held {
            let what = || format!("{n} holds {} of {:?}", route.prefix, route.peer);
            assert!(!route.stale, "{}: stale", what());
            let of_history = |mark: &&LargeCommunity| mark.local1 < 1_000;
            let mut marks = route.attributes.large_communities.iter().filter(of_history);
            let mark = marks.next().expect("all routes are marked");
            assert!(
                originated.contains(&(route.prefix, *mark)),
                "{}: with {mark}, which nobody originates",
                what()
            );
            if route.refused.is_some() {
                continue;
            }
            let peer = here
                .peers
                .iter()
                .find(|peer| Some(&peer.name) == route.peer.as_ref());
            let allowed = peer.map_or(0, |peer| usize::from(peer.allow_own_as));
            let path = Plain::of(route).path;
            let own = path.iter().filter(|&&asn| asn == here.asn).count();
            assert!(own <= allowed, "{}: a loop in {}", what(), route.as_path);
            let clusters: BTreeSet<&RouterId> = route.attributes.cluster_list.iter().collect();
            let once = clusters.len() == route.attributes.cluster_list.len();
            let came_back = clusters.contains(&cluster)
                || route.attributes.originator_id == Some(here.router_id);
            assert!(
                once && !came_back,
                "{}: a loop in {:?}",
                what(),
                route.attributes
            );
        }
    }

    /// What a speaker originates takes part.
    fn own(&self, n: usize) -> BTreeMap<Prefix, Vec<Candidate>> {
        let here = self.net.speaker(n).config();
        let own = self.owned[n].values().map(|route| {
            let large = route.large_communities.iter().chain(&here.own_marks);
            let route_of_own = Plain {
                path: Vec::new(),
                origin: wayleave_bgp_core::attributes::Origin::Igp,
                med: route.med,
                local_pref: route.local_pref,
                communities: route.communities.iter().copied().collect(),
                large: large.copied().collect(),
                originator: None,
                clusters: Vec::new(),
                hop: Hop::Own,
            };
            let candidate = Candidate {
                from: None,
                path_id: None,
                external: false,
                identifier: here.router_id,
                client: false,
                route: route_of_own,
            };
            (route.prefix, vec![candidate])
        });
        own.collect()
    }

    /// Adj-RIB-In is what the neighbour says it has told, and of it counts what policy lets in.
    fn check_in(
        &self,
        session: &Session<'_>,
        held: &[&RouteView],
        candidates: &mut BTreeMap<Prefix, Vec<Candidate>>,
        seen: &mut Seen,
    ) {
        let (n, m) = (session.n, session.m);
        let told = self.net.routes(m, RibKind::Out, Some(n));
        let plain = |route: &RouteView| ((route.prefix, route.path_id), Plain::of(route));
        let number = told.len();
        let told: BTreeMap<_, _> = told.iter().map(plain).collect();
        assert_eq!(number, told.len(), "{m} tells {n} a route twice");
        let is: BTreeMap<_, _> = held.iter().map(|route| plain(route)).collect();
        let differ = difference(&is, &told);
        assert!(
            differ.is_empty(),
            "what {n} has of {m}, and what that says it has told:{differ}"
        );
        let (import, _) = self.plans_of(n, m);
        for route in held {
            let accepted = session.import(&import, route.prefix, Plain::of(route));
            assert_eq!(
                route.refused.is_none(),
                accepted.is_some(),
                "{} at {n} from {m}: refused {:?} by {import:?}: {route:?}",
                route.prefix,
                route.refused,
            );
            if let Some(accepted) = accepted {
                // RFC 4271, 9.1.2.1.
                if let Hop::Received(hop) = accepted.hop
                    && self.unreachable[n].contains(&hop)
                {
                    seen.unreachable += 1;
                    continue;
                }
                let of_prefix = candidates.entry(route.prefix).or_default();
                of_prefix.push(Candidate {
                    from: Some(m),
                    path_id: route.path_id,
                    external: session.is_external(),
                    identifier: session.there.router_id,
                    client: session.peer.reflector_client,
                    route: accepted,
                });
            }
        }
        let views = self.net.speaker(n).peer_views(self.net.now);
        let view = views.into_iter().find(|view| view.name == name(m)).unwrap();
        for (family, counts) in [
            (Family::Ipv4Unicast, view.ipv4),
            (Family::Ipv6Unicast, view.ipv6),
        ] {
            let of_family = |route: &&&RouteView| route.prefix.family() == family;
            let received = held.iter().filter(of_family).count();
            let accepted = held
                .iter()
                .filter(of_family)
                .filter(|route| route.refused.is_none());
            let told = self.net.routes(n, RibKind::Out, Some(m));
            let told = told.iter().filter(|route| route.prefix.family() == family);
            let Some(counts) = counts else {
                assert_eq!(
                    received, 0,
                    "{n} holds {family} of {m}, which was not negotiated"
                );
                continue;
            };
            let count = |number: usize| u32::try_from(number).unwrap();
            let expected = FamilyCounts {
                received: count(received),
                accepted: count(accepted.count()),
                advertised: count(told.count()),
                end_of_rib: true,
            };
            assert_eq!(counts, expected, "{n} counts {family} with {m}");
        }
    }

    /// The best are those that the reference decides for, and all the prefixes it has one for.
    fn check_loc(
        &self,
        n: usize,
        loc: &[RouteView],
        candidates: &BTreeMap<Prefix, Vec<Candidate>>,
    ) {
        let best: BTreeMap<Prefix, Candidate> = candidates
            .iter()
            .filter_map(|(&prefix, all)| Some((prefix, decide(all)?.clone())))
            .collect();
        let expected: BTreeMap<_, _> = best
            .iter()
            .map(|(&prefix, best)| {
                let from = best.from.map(name);
                (prefix, (from, best.path_id, best.route.clone()))
            })
            .collect();
        let is: BTreeMap<_, _> = loc
            .iter()
            .map(|route| {
                let from = route.peer.clone();
                (route.prefix, (from, route.path_id, Plain::of(route)))
            })
            .collect();
        let differ = difference(&is, &expected);
        assert!(
            differ.is_empty(),
            "the best routes at {n}:{differ}\nof {candidates:#?}"
        );
        assert_eq!(is.len(), loc.len(), "{n} has two best routes to a prefix");
    }

    /// Adj-RIB-Out is what export makes of the best, or of the best few.
    fn check_out(
        &self,
        session: &Session<'_>,
        candidates: &BTreeMap<Prefix, Vec<Candidate>>,
        seen: &mut Seen,
    ) {
        let (n, m) = (session.n, session.m);
        let (_, export) = self.plans_of(n, m);
        let reverse = self.peer(m, n).unwrap();
        let negotiated = |prefix: Prefix| {
            let family = prefix.family();
            session.peer.families.contains(&family) && reverse.families.contains(&family)
        };
        let limit = session.paths(reverse);
        let expected: BTreeMap<_, _> = candidates
            .iter()
            .filter(|(prefix, _)| negotiated(**prefix))
            .map(|(&prefix, all)| (prefix, session.told(&export, prefix, all, limit)))
            .filter(|(_, routes)| !routes.is_empty())
            .map(|(prefix, routes)| (prefix, in_any_order(routes)))
            .collect();
        let mut told: BTreeMap<Prefix, Vec<Plain>> = BTreeMap::new();
        for route in self.net.routes(n, RibKind::Out, Some(m)) {
            assert_eq!(route.path_id.is_some(), limit.is_some(), "{route:?}");
            told.entry(route.prefix)
                .or_default()
                .push(Plain::of(&route));
        }
        let told: BTreeMap<_, _> = told
            .into_iter()
            .map(|(prefix, routes)| (prefix, in_any_order(routes)))
            .collect();
        let differ = difference(&told, &expected);
        assert!(
            differ.is_empty(),
            "what {n} has told {m}, by {export:?}:{differ}"
        );
        seen.told += told.values().map(Vec::len).sum::<usize>();
        seen.several += told.values().filter(|routes| routes.len() > 1).count();
        let best = candidates.values().filter(|all| decide(all).is_some());
        seen.kept += best.count() - told.len();
    }

    /// Who has followed the feed from the start knows the same routes.
    fn check_feed(&self, n: usize, loc: &[RouteView]) {
        let picture = &self.net.nodes[n].picture;
        let known: BTreeMap<Prefix, ()> = picture.keys().map(|&prefix| (prefix, ())).collect();
        let expected = loc.iter().map(|route| (route.prefix, ())).collect();
        let differ = difference(&known, &expected);
        assert!(differ.is_empty(), "what the feed of {n} has told:{differ}");
        for route in loc {
            let told = &picture[&route.prefix];
            let source = match &route.peer {
                Some(peer) => RouteSource::Peer(peer.as_str().into()),
                None => RouteSource::Local,
            };
            assert!(!told.stale, "{n}: {} is stale in its feed", route.prefix);
            assert_eq!(
                told.paths[0].source, source,
                "{n}: {} in its feed",
                route.prefix
            );
            assert_eq!(
                *told.attributes, route.attributes,
                "{n}: {} in its feed",
                route.prefix
            );
        }
    }
}

/// Routes to one prefix, so that two listings of them can be compared.
fn in_any_order(mut routes: Vec<Plain>) -> Vec<Plain> {
    routes.sort_by_key(|route| format!("{route:?}"));
    routes
}
