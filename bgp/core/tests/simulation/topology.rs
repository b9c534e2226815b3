//! Who is there, and who speaks with whom.

use std::{collections::BTreeSet, time::Duration};

use wayleave_bgp_core::{
    Asn, Family, LargeCommunity, Limits, RouterId,
    config::{NextHopSelf, PeerConfig, RemoteAs, SpeakerConfig},
};

use crate::{
    network::{address, name},
    random::Random,
};

/// Whose next hops become our own on iBGP; none, more often than not.
pub(crate) const NEXT_HOPS: [NextHopSelf; 4] = [
    NextHopSelf::Never,
    NextHopSelf::Never,
    NextHopSelf::External,
    NextHopSelf::Always,
];

/// What a seed promises about where its history leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// At the end everybody is there and everything passes: paths have the lengths that a search
    /// through the graph of ASes gives.
    ///
    /// There is one stable state, and it is reached: LOCAL_PREF is only ever raised, by the
    /// speaker that originates a route, and stays in its AS; what is left is ordered by length, then
    /// by the identifier of the speaker that is the exit, then by the number of reflectors
    /// on the way, each of which a route gets worse by being passed on, or keeps. MED compares only
    /// between routes of one AS, which no total order does (RFC 3345), so there is none but where
    /// every speaker is an AS of its own, and a neighbour never has two routes to choose from.
    Shortest,
    /// Policies stay in force at the end that drop and mark routes and make paths longer. The same
    /// holds, but for what the lengths are.
    Quiet,
    /// Anything may be preferred to anything: RFC 3345, and what RFC 4264 calls wedgies. If it comes
    /// to rest, all must be as policy says at every speaker; it need not.
    Nothing,
}

pub(crate) struct Topology {
    pub(crate) configs: Vec<SpeakerConfig>,
    pub(crate) edges: Vec<(usize, usize)>,
    /// Every speaker is an AS of its own.
    pub(crate) alone: bool,
    pub(crate) promise: Promise,
    pub(crate) limits: Limits,
    pub(crate) write_limit: usize,
}

impl Topology {
    /// Few speakers that differ in everything.
    pub(crate) fn small(random: &mut Random) -> Self {
        let count = random.between(3, 8);
        let promise = match random.below(4) {
            0..=1 => Promise::Shortest,
            2 => Promise::Quiet,
            _ => Promise::Nothing,
        };
        let alone = random.once_in(3);
        let ases = match alone {
            true => count,
            false => random.between(1, count - 1),
        };
        let mut topology = Self::joined(random, count, ases, count / 2);
        topology.promise = promise;
        topology.limits = Limits {
            log: random.one_of(&[300, 2_000, 8 << 20]),
            turn: random.one_of(&[1, 3, 16_384]),
            walk: random.one_of(&[1, 5, 2_048]),
            unwritten: random.one_of(&[1, 200, 65_536]),
        };
        topology.write_limit = random.one_of(&[7, 100, 5_000, usize::MAX]);
        topology.vary(random);
        topology
    }

    /// Many, sparsely joined.
    pub(crate) fn large(random: &mut Random, count: usize) -> Self {
        let mut topology = Self::joined(random, count, count * 3 / 4, count / 5);
        topology.promise = random.one_of(&[Promise::Shortest, Promise::Quiet]);
        for config in &mut topology.configs {
            config.restart_time = 10;
            for peer in &mut config.peers {
                peer.hold_time = 30;
            }
        }
        topology
    }

    /// So many speakers in so many ASes: a tree of these and some sessions more between them; inside
    /// of each a full mesh, or reflectors.
    fn joined(random: &mut Random, count: usize, ases: usize, more: usize) -> Self {
        let mut members: Vec<Vec<usize>> = (0..ases).map(|asn| vec![asn]).collect();
        for n in ases..count {
            let asn = random.below(ases);
            members[asn].push(n);
        }
        let mut configs: Vec<_> = (0..count)
            .map(|n| {
                let asn = members
                    .iter()
                    .position(|members| members.contains(&n))
                    .unwrap();
                let id = RouterId::from(u32::try_from(n + 1).unwrap());
                SpeakerConfig::new(id, Asn(65_001 + u32::try_from(asn).unwrap()))
            })
            .collect();
        let mut edges = BTreeSet::new();
        // Pairs of a reflector and its client.
        let mut clients = Vec::new();
        for members in &members {
            let reflects = members.len() > 2 && random.once_in(2);
            let reflectors = match reflects {
                true => random.between(1, 2.min(members.len() - 2)),
                false => members.len(),
            };
            let (core, others) = members.split_at(reflectors);
            mesh(core, &mut edges);
            // Some have no reflector of their own but know all of the core.
            let ordinary = others.iter().filter(|_| random.once_in(4)).copied();
            let ordinary: Vec<usize> = ordinary.collect();
            mesh(&[core, &ordinary].concat(), &mut edges);
            for &client in others.iter().filter(|n| !ordinary.contains(n)) {
                let first = random.below(core.len());
                let both = random.once_in(2);
                for (at, &reflector) in core.iter().enumerate() {
                    if at == first || both {
                        clients.push((reflector, client));
                        edges.insert((reflector.min(client), reflector.max(client)));
                    }
                }
            }
        }
        for asn in 1..ases {
            let other = random.below(asn);
            join(random, &members, (other, asn), &mut edges);
        }
        for _ in 0..random.below(more + 1) {
            let (a, b) = (random.below(ases), random.below(ases));
            if a != b {
                join(random, &members, (a, b), &mut edges);
            }
        }
        let edges: Vec<_> = edges.into_iter().collect();
        for &(a, b) in &edges {
            for (from, to) in [(a, b), (b, a)] {
                let remote = RemoteAs::Exact(configs[to].asn);
                let mut peer = PeerConfig::new(name(to), address(to).into(), remote);
                peer.reflector_client = clients.contains(&(from, to));
                configs[from].peers.push(peer);
            }
        }
        Self {
            configs,
            edges,
            alone: ases == count,
            promise: Promise::Shortest,
            limits: Limits::default(),
            write_limit: usize::MAX,
        }
    }

    /// Has speakers and sessions differ.
    fn vary(&mut self, random: &mut Random) {
        for (n, config) in self.configs.iter_mut().enumerate() {
            config.restart_time = random.one_of(&[0, 2, 10, 40]);
            config.selection_deferral = Duration::from_secs(random.one_of(&[5, 30]));
            config.multipath = random.one_of(&[1, 1, 4]);
            if random.once_in(4) {
                config.own_marks = vec![LargeCommunity {
                    global: 65_000,
                    local1: 1_000 + u32::try_from(n).unwrap(),
                    local2: 0,
                }];
            }
            let hold_time = random.one_of(&[3, 9, 30]);
            for peer in &mut config.peers {
                peer.hold_time = hold_time;
                peer.graceful_restart = !random.once_in(5);
                peer.next_hop_self = random.one_of(&NEXT_HOPS);
                peer.add_path_receive = random.once_in(2);
                peer.add_path_send = random.one_of(&[0, 0, 2, 3, 255]);
                peer.send_hold_time = Duration::from_secs(random.one_of(&[20, 480]));
            }
        }
        let whole = self.promise == Promise::Shortest;
        for &(a, b) in &self.edges {
            let (one, other) = match random.once_in(2) {
                true => (a, b),
                false => (b, a),
            };
            let family = random.one_of(&Family::ALL);
            let (passive, narrow) = (random.once_in(5), !whole && random.once_in(6));
            let own_as = u8::from(!whole && random.once_in(8));
            let peers = self.configs[one].peers.iter_mut();
            for peer in peers.filter(|peer| peer.name == name(other)) {
                peer.passive = passive;
                peer.allow_own_as = own_as;
                if narrow {
                    peer.families = vec![family];
                }
            }
        }
        // Two reflectors of one cluster take nothing of each other: who is a client of one alone
        // does not hear everything.
        if !whole && random.once_in(3) {
            for config in &mut self.configs {
                if random.once_in(2) {
                    config.cluster_id = Some(RouterId::from(900));
                }
            }
        }
    }
}

fn mesh(all: &[usize], edges: &mut BTreeSet<(usize, usize)>) {
    for (at, &a) in all.iter().enumerate() {
        for &b in &all[at + 1..] {
            edges.insert((a.min(b), a.max(b)));
        }
    }
}

/// A session between two ASes.
fn join(
    random: &mut Random,
    members: &[Vec<usize>],
    (a, b): (usize, usize),
    edges: &mut BTreeSet<(usize, usize)>,
) {
    let (a, b) = (random.one_of(&members[a]), random.one_of(&members[b]));
    edges.insert((a.min(b), a.max(b)));
}
