//! What happens to speakers from the start until all is left alone: drawn from the seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use wayleave_bgp_core::{
    Community, Family, LargeCommunity, Prefix,
    config::{PeerConfig, SpeakerConfig},
    feed::Origination,
};

use crate::{
    network::{Network, address, address6, link, name},
    policy::{Plan, community},
    random::Random,
    topology::{NEXT_HOPS, Promise, Topology},
};

/// Steps a part of the storm may take: some of what is in force meanwhile never comes to rest.
const STORM_STEPS: usize = 3_000;

/// A speaker and the neighbour it has something for.
pub(crate) type Towards = (usize, usize);

pub(crate) struct History {
    pub(crate) net: Network,
    pub(crate) promise: Promise,
    pub(crate) edges: Vec<(usize, usize)>,
    /// What every speaker is to originate.
    pub(crate) owned: Vec<BTreeMap<Prefix, Origination>>,
    /// Import and export policy; where there is none, everything passes.
    pub(crate) plans: BTreeMap<Towards, (Plan, Plan)>,
    /// Peers that are out of the configuration for now.
    removed: BTreeMap<Towards, PeerConfig>,
    /// Next hops that a speaker cannot reach.
    pub(crate) unreachable: Vec<BTreeSet<IpAddr>>,
    pub(crate) prefixes: Vec<Prefix>,
    /// Routes that come and go at once, at most.
    at_once: usize,
    alone: bool,
    round: u32,
    random: Random,
}

impl History {
    pub(crate) fn new(seed: u64, topology: Topology, mut random: Random, trace: bool) -> Self {
        let mut net = Network::new(seed, topology.configs, topology.limits);
        net.write_limit = topology.write_limit;
        net.trace = trace;
        let mut texts = [
            "10.1.0.0/16",
            "10.1.128.0/17",
            "10.2.0.0/16",
            "10.3.3.0/24",
            "10.4.0.1/32",
            "0.0.0.0/0",
            "2001:db8:1::/48",
            "2001:db8:2::/48",
            "2001:db8:2:1::/64",
            "2001:db8:3::1/128",
        ]
        .map(str::to_owned)
        .to_vec();
        // Some have enough for messages and turns that do not take all at once.
        let many = random.once_in(6);
        if many {
            texts.extend((0..40).map(|n| format!("10.5.{n}.0/24")));
            texts.extend((0..20).map(|n| format!("2001:db8:4:{n}::/64")));
        }
        Self {
            owned: vec![BTreeMap::new(); net.nodes.len()],
            unreachable: vec![BTreeSet::new(); net.nodes.len()],
            net,
            promise: topology.promise,
            edges: topology.edges,
            plans: BTreeMap::new(),
            removed: BTreeMap::new(),
            prefixes: texts.iter().map(|text| text.parse().unwrap()).collect(),
            at_once: if many { 25 } else { 3 },
            alone: topology.alone,
            round: 0,
            random,
        }
    }

    /// So many things happen, most of them before the last has had its effect.
    pub(crate) fn storm(&mut self, rounds: usize) {
        for round in 0..rounds {
            self.round = u32::try_from(round).unwrap();
            self.event();
            match self.random.below(6) {
                0 => {}
                1..=3 => {
                    for _ in 0..self.random.below(60) {
                        self.net.step();
                    }
                }
                4 => {
                    let millis = self.random.below(2_000) as u64;
                    self.pass(Duration::from_millis(millis));
                }
                // Long enough for hold timers, and for what is held meanwhile.
                _ => {
                    let seconds = self.random.one_of(&[1, 4, 12, 35]);
                    self.pass(Duration::from_secs(seconds));
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.net.run(time, STORM_STEPS);
    }

    fn event(&mut self) {
        let n = self.random.below(self.net.nodes.len());
        let (a, b) = self.random.one_of(&self.edges);
        let (a, b) = match self.random.once_in(2) {
            true => (a, b),
            false => (b, a),
        };
        if !self.net.nodes[n].up {
            return self.come_back(n);
        }
        match self.random.below(26) {
            0..=5 => self.originate(n),
            6..=7 => self.withdraw(n),
            8 => {
                self.net.say(|| format!("the link of {a} and {b} is cut"));
                self.net.cut(a, b);
            }
            9 => {
                self.net.say(|| format!("the link of {a} and {b} is back"));
                self.net.heal(a, b);
            }
            10 => {
                self.net
                    .say(|| format!("connections of {a} and {b} are reset"));
                self.net.reset(a, b);
            }
            11 => {
                let deaf = self.random.once_in(2);
                self.net.say(|| format!("{n} reads nothing: {deaf}"));
                self.net.set_deaf(n, deaf);
            }
            12 => {
                let family = self.random.one_of(&Family::ALL);
                self.net.say(|| format!("{a} asks {b} for {family} again"));
                self.net.refresh(a, b, family);
            }
            13..=14 => self.go(n),
            15..=18 => self.change_policy(a, b),
            19 => self.toggle_peer(a, b),
            20..=21 => self.change_settings(a, b),
            22 => {
                self.net.say(|| format!("an operator of {a} resets {b}"));
                self.net
                    .with(a, |speaker, now| speaker.reset(now, &name(b), None));
            }
            23..=24 => {
                // That of a neighbour mostly, whose routes come with it.
                let m = match self.random.once_in(4) {
                    true => self.random.below(self.net.nodes.len()),
                    false => b,
                };
                let hops = [address(m).into(), address6(m).into()];
                let hop: IpAddr = self.random.one_of(&hops);
                let lost = !self.unreachable[a].contains(&hop);
                self.reach(a, hop, !lost);
            }
            _ => {
                self.net.say(|| format!("{a} sees its link to {b} go down"));
                self.net
                    .with(a, |speaker, now| speaker.link_down(now, &link(a, b)));
            }
        }
    }

    /// Speaker `n` hears that it can reach a next hop, or no longer.
    fn reach(&mut self, n: usize, hop: IpAddr, reachable: bool) {
        match reachable {
            true => self.unreachable[n].remove(&hop),
            false => self.unreachable[n].insert(hop),
        };
        if self.net.nodes[n].up {
            self.net.say(|| format!("{n} can reach {hop}: {reachable}"));
            self.net
                .with(n, |speaker, _| speaker.reachable(&[(hop, reachable)]));
        }
    }

    fn originate(&mut self, n: usize) {
        let random = &mut self.random;
        let mut routes = Vec::new();
        for _ in 0..random.between(1, self.at_once) {
            let mut route = Origination::new(random.one_of(&self.prefixes));
            // Whose it is, and which of its routes: so that what is out of date can be told.
            route.large_communities = vec![LargeCommunity {
                global: 65_000,
                local1: u32::try_from(n).unwrap(),
                local2: self.round,
            }];
            if random.once_in(2) {
                route
                    .communities
                    .push(community(u32::try_from(random.below(4)).unwrap()));
            }
            // See `Promise`.
            if self.promise == Promise::Nothing || (self.alone && self.promise == Promise::Shortest)
            {
                route.med = random.one_of(&[None, None, Some(0), Some(7), Some(9)]);
            }
            route.local_pref = random.one_of(&[None, None, Some(101), Some(200)]);
            if self.promise != Promise::Shortest {
                let few = [Community::NO_EXPORT, Community::NO_ADVERTISE];
                route
                    .communities
                    .extend(few.into_iter().filter(|_| random.once_in(12)));
            }
            if self.promise == Promise::Nothing {
                route.local_pref = random.one_of(&[None, Some(50), Some(101)]);
                if random.once_in(12) {
                    route.communities.push(Community::GRACEFUL_SHUTDOWN);
                }
            }
            routes.push(route);
        }
        for route in &mut routes {
            route.communities.sort_unstable();
            self.net.say(|| {
                let (pref, med) = (route.local_pref, route.med);
                let marks = route.communities.iter().map(ToString::to_string);
                let marks: Vec<_> = marks.collect();
                let (prefix, round) = (route.prefix, route.large_communities[0]);
                format!("{n} originates {prefix}, {round}: {pref:?} {med:?} {marks:?}")
            });
            self.owned[n].insert(route.prefix, route.clone());
        }
        self.net
            .with(n, |speaker, now| speaker.originate(now, routes));
    }

    fn withdraw(&mut self, n: usize) {
        let count = self.random.between(1, self.at_once);
        let gone: Vec<Prefix> = self.owned[n].keys().take(count).copied().collect();
        self.net.say(|| {
            let gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
            format!("{n} withdraws {}", gone.join(", "))
        });
        for prefix in &gone {
            self.owned[n].remove(prefix);
        }
        self.net
            .with(n, |speaker, now| speaker.withdraw(now, 0, &gone));
    }

    /// Speaker `n` stops, in order or not.
    fn go(&mut self, n: usize) {
        match self.random.below(3) {
            0 => {
                self.net.say(|| format!("{n} departs"));
                self.net.with(n, |speaker, now| speaker.depart(now));
                self.net.settle(STORM_STEPS);
            }
            1 => {
                self.net.say(|| format!("{n} shuts down"));
                self.net
                    .with(n, |speaker, now| speaker.shutdown(now, Some("for today")));
                self.net.settle(STORM_STEPS);
            }
            _ => self.net.say(|| format!("{n} crashes")),
        }
        self.net.crash(n);
        if self.random.once_in(3) {
            self.come_back(n);
        }
    }

    /// It starts again, as one that has just been there or as a new one, and perhaps with less than
    /// it had.
    fn come_back(&mut self, n: usize) {
        let mut config = self.net.speaker(n).config().clone();
        config.restarted = self.random.once_in(2);
        config.awaits_own_routes = config.restarted && self.random.once_in(2);
        self.net
            .say(|| format!("{n} starts, restarted: {}", config.restarted));
        let awaits = config.awaits_own_routes;
        self.net.start(n, config);
        // Whoever tells it has not heard of it yet, or is there before everything else.
        if self.random.once_in(2) {
            self.unreachable[n].clear();
        }
        let lost = self.unreachable[n].iter().map(|&hop| (hop, false));
        let lost: Vec<(IpAddr, bool)> = lost.collect();
        self.net.with(n, |speaker, _| speaker.reachable(&lost));
        if self.random.once_in(3)
            && let Some((prefix, _)) = self.owned[n].pop_first()
        {
            self.net
                .say(|| format!("{n} no longer originates {prefix}"));
        }
        let later = awaits && self.random.once_in(2);
        if later {
            self.net.settle(STORM_STEPS);
        }
        let routes = self.owned[n].values().cloned().collect();
        self.net.with(n, |speaker, now| {
            speaker.originate(now, routes);
            // One that forgets to say so has the Selection_Deferral_Timer.
            if later {
                speaker.own_routes_are_complete(now);
            }
        });
    }

    /// Another policy of `a` for `b`.
    fn change_policy(&mut self, a: usize, b: usize) {
        // Until the end anything may be in force; what is then, has to keep the promise.
        self.draw_plans(a, b, true);
        self.apply_plans(a);
    }

    fn draw_plans(&mut self, a: usize, b: usize, wild: bool) {
        let (mut import, mut export) = self.plans_of(a, b);
        let draw = self.random.below(3);
        if draw != 0 {
            import = Plan::random(&mut self.random, &self.prefixes, true, wild);
        }
        if draw != 1 {
            export = Plan::random(&mut self.random, &self.prefixes, false, wild);
        }
        self.net
            .say(|| format!("{a} has for {b}: import {import:?}, export {export:?}"));
        self.plans.insert((a, b), (import, export));
    }

    pub(crate) fn plans_of(&self, a: usize, b: usize) -> (Plan, Plan) {
        let none = (Plan::Everything, Plan::Everything);
        self.plans.get(&(a, b)).cloned().unwrap_or(none)
    }

    fn apply_plans(&mut self, n: usize) {
        let mut config = self.net.speaker(n).config().clone();
        for peer in &mut config.peers {
            let (import, export) = self.plans_of(n, number(peer));
            // A policy that has not changed stays the same allocation, as it does in the agent.
            let (import, export) = (import.policy(), export.policy());
            if peer.import != import {
                peer.import = import;
            }
            if peer.export != export {
                peer.export = export;
            }
        }
        self.reconfigure(n, config);
    }

    fn reconfigure(&mut self, n: usize, config: SpeakerConfig) {
        let done = self
            .net
            .with(n, |speaker, now| speaker.reconfigure(now, config));
        if !done.is_empty() {
            self.net.say(|| format!("{n}: {}", done.join("; ")));
        }
    }

    /// Takes `b` out of the configuration of `a`, or puts it back.
    fn toggle_peer(&mut self, a: usize, b: usize) {
        let mut config = self.net.speaker(a).config().clone();
        match self.removed.remove(&(a, b)) {
            Some(peer) => config.peers.push(peer),
            None => {
                let at = config
                    .peers
                    .iter()
                    .position(|peer| number(peer) == b)
                    .unwrap();
                self.removed.insert((a, b), config.peers.remove(at));
            }
        }
        self.reconfigure(a, config);
        self.apply_plans(a);
    }

    fn change_settings(&mut self, a: usize, b: usize) {
        let mut config = self.net.speaker(a).config().clone();
        let whole = self.promise == Promise::Shortest;
        let random = &mut self.random;
        for peer in config.peers.iter_mut().filter(|peer| number(peer) == b) {
            match random.below(6) {
                0 => peer.disabled = !peer.disabled,
                1 => peer.next_hop_self = random.one_of(&NEXT_HOPS),
                2 => peer.hold_time = random.one_of(&[3, 9, 30]),
                3 => peer.graceful_restart = !peer.graceful_restart,
                // What is for ever must keep the promise.
                4 if !whole => peer.reflector_client = !peer.reflector_client,
                5 if !whole => peer.allow_own_as = 1 - peer.allow_own_as,
                _ => {
                    config.restart_time = random.one_of(&[0, 2, 10, 40]);
                    config.multipath = random.one_of(&[1, 4]);
                }
            }
        }
        self.reconfigure(a, config);
    }

    /// The last things that happen: what is to be there is there, and what is in force keeps the
    /// promise of the seed.
    pub(crate) fn calm_down(&mut self) {
        let whole = self.promise == Promise::Shortest;
        for n in 0..self.net.nodes.len() {
            self.net.set_deaf(n, false);
        }
        if whole || self.random.once_in(2) {
            self.net.heal_all();
        }
        for n in 0..self.net.nodes.len() {
            if whole || self.random.once_in(2) {
                for hop in self.unreachable[n].clone() {
                    self.reach(n, hop, true);
                }
            }
        }
        // Where not everybody has to be there, some stay away.
        for n in 0..self.net.nodes.len() {
            if !self.net.nodes[n].up && (whole || self.random.once_in(2)) {
                self.come_back(n);
            }
        }
        let removed: Vec<Towards> = self.removed.keys().copied().collect();
        for (a, b) in removed {
            if self.net.nodes[a].up && (whole || self.random.once_in(2)) {
                self.toggle_peer(a, b);
            }
        }
        for n in 0..self.net.nodes.len() {
            if !self.net.nodes[n].up {
                continue;
            }
            let mut config = self.net.speaker(n).config().clone();
            for peer in &mut config.peers {
                peer.disabled &= !whole && self.random.once_in(2);
            }
            self.reconfigure(n, config);
        }
        match self.promise {
            Promise::Shortest => self.plans.clear(),
            // What was in force so far may be part of a dispute.
            Promise::Quiet => {
                let all: Vec<Towards> = self.plans.keys().copied().collect();
                self.plans.clear();
                for (a, b) in all {
                    self.draw_plans(a, b, false);
                }
            }
            Promise::Nothing => {}
        }
        for n in 0..self.net.nodes.len() {
            if self.net.nodes[n].up {
                self.apply_plans(n);
            }
        }
    }

    /// The configuration of `n` for `m`.
    pub(crate) fn peer(&self, n: usize, m: usize) -> Option<&PeerConfig> {
        let peers = &self.net.speaker(n).config().peers;
        peers.iter().find(|peer| number(peer) == m)
    }

    /// Whether two speakers have to have a session by the end.
    pub(crate) fn is_joined(&self, a: usize, b: usize) -> bool {
        let wants = |n: usize, m: usize| {
            self.net.nodes[n].up && self.peer(n, m).is_some_and(|peer| !peer.disabled)
        };
        wants(a, b) && wants(b, a) && !self.net.is_cut(a, b)
    }

    /// The routes that are originated by the end, by the marks that tell them apart.
    pub(crate) fn originated(&self) -> BTreeSet<(Prefix, LargeCommunity)> {
        let mut all = BTreeSet::new();
        for (n, owned) in self.owned.iter().enumerate() {
            if self.net.nodes[n].up {
                let routes = owned.values();
                all.extend(routes.map(|route| (route.prefix, route.large_communities[0])));
            }
        }
        all
    }
}

/// Which speaker a peer is.
pub(crate) fn number(peer: &PeerConfig) -> usize {
    peer.name.trim_start_matches('s').parse().unwrap()
}
