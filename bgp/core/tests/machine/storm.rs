//! Storms: routes that come, change and go faster than some neighbours read, between speakers
//! that hold so little that followers become walkers all the time. Whatever happened, once it is
//! quiet every neighbour holds exactly what it was told, and everybody the latest of everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wayleave_bgp_core::{
    Family, LargeCommunity, Limits, Prefix,
    config::{NextHopSelf, Policy, SpeakerConfig},
    feed::Origination,
    view::RibKind,
};

use crate::net::{Net, Rng, config, peer};

/// Routes by prefix, each with the round it was last changed in.
type Owned = BTreeMap<Prefix, u32>;

fn tag(round: u32) -> LargeCommunity {
    format!("65000:7:{round}").parse().unwrap()
}

fn origination((&prefix, &round): (&Prefix, &u32)) -> Origination {
    let mut route = Origination::new(prefix);
    route.large_communities = vec![tag(round)];
    route
}

/// A reflector in the middle with clients, non-clients and external neighbours around it; the
/// external ones may also know each other. Some sessions carry one family only.
fn topology(rng: &mut Rng) -> (Vec<SpeakerConfig>, Vec<(usize, usize)>) {
    let count = 3 + rng.below(4);
    let asns: Vec<u32> = (0..count)
        .map(|n| match rng.below(3) {
            _ if n == 0 => 65_000,
            0 => 65_000 + u32::try_from(n).unwrap(),
            _ => 65_000,
        })
        .collect();
    let mut configs: Vec<_> = (0..count).map(|n| config(n, asns[n])).collect();
    let mut edges: Vec<(usize, usize)> = (1..count).map(|n| (0, n)).collect();
    for a in 1..count {
        for b in a + 1..count {
            if asns[a] != asns[b] && rng.below(3) == 0 {
                edges.push((a, b));
            }
        }
    }
    for &(a, b) in &edges {
        let mut to_b = peer(b, asns[b]);
        let mut to_a = peer(a, asns[a]);
        to_b.reflector_client = a == 0 && asns[a] == asns[b];
        if rng.below(4) == 0 {
            to_a.families = vec![Family::ALL[rng.below(2)]];
        }
        to_b.passive = rng.below(4) == 0;
        configs[a].peers.push(to_b);
        configs[b].peers.push(to_a);
    }
    (configs, edges)
}

fn prefix(n: usize, rng: &mut Rng) -> Prefix {
    let block = rng.below(60);
    let text = if rng.below(2) == 0 {
        format!("10.{n}.{block}.0/24")
    } else {
        format!("2001:db8:{n}:{block}::/64")
    };
    text.parse().unwrap()
}

fn one_storm(seed: u64) {
    let mut rng = Rng::new(seed);
    let (configs, edges) = topology(&mut rng);
    let count = configs.len();
    let limits = Limits {
        log: [300, 2_000, 8 << 20][rng.below(3)],
        turn: [1, 3, 16_384][rng.below(3)],
        walk: [1, 5, 2_048][rng.below(3)],
        unwritten: [1, 200, 65_536][rng.below(3)],
    };
    let mut net = Net::limited(seed, configs, limits);
    net.write_limit = [7, 40, 5_000, usize::MAX][rng.below(4)];
    let mut owned: Vec<Owned> = vec![Owned::new(); count];
    for round in 0..60 {
        let n = rng.below(count);
        let (a, b) = edges[rng.below(edges.len())];
        let now = net.now;
        match rng.below(12) {
            0..=3 => {
                let mut changed = Owned::new();
                for _ in 0..1 + rng.below(30) {
                    changed.insert(prefix(n, &mut rng), round);
                }
                net.speakers[n].originate(now, changed.iter().map(origination).collect());
                owned[n].extend(changed);
            }
            4..=5 => {
                let gone: Vec<Prefix> = owned[n].keys().copied().collect();
                let skip = rng.below(gone.len() + 1);
                for prefix in &gone[skip..] {
                    owned[n].remove(prefix);
                }
                net.speakers[n].withdraw(net.now, 0, &gone[skip..]);
            }
            6..=7 if net.deaf.is_empty() => net.deaf.push(n),
            6..=7 => net.deaf.clear(),
            8 => {
                let (from, to) = [(a, b), (b, a)][rng.below(2)];
                net.refresh(from, to, Family::ALL[rng.below(2)]);
            }
            9 => {
                let mut config = net.speakers[a].config().clone();
                for peer in &mut config.peers {
                    if peer.name == format!("s{b}") {
                        match rng.below(3) {
                            0 => peer.disabled = !peer.disabled,
                            1 => peer.export = [Policy::Own, Policy::All][rng.below(2)].clone(),
                            _ => {
                                let other = [NextHopSelf::External, NextHopSelf::Always];
                                peer.next_hop_self = match peer.next_hop_self {
                                    NextHopSelf::Never => other[rng.below(2)],
                                    NextHopSelf::External | NextHopSelf::Always => {
                                        NextHopSelf::Never
                                    }
                                };
                            }
                        }
                    }
                }
                net.speakers[a].reconfigure(now, config);
            }
            10 => net.reset(a, b),
            _ => {
                net.speakers[a].reset(now, &format!("s{b}"), None);
            }
        }
        // Most of the time the next thing happens before the last has been read.
        if rng.below(3) == 0 {
            net.run(Duration::from_millis(rng.below(1_500) as u64));
        } else {
            net.steps(rng.below(30));
        }
    }
    net.deaf.clear();
    for n in 0..count {
        let mut config = net.speakers[n].config().clone();
        for peer in &mut config.peers {
            peer.disabled = false;
            peer.export = Policy::All;
        }
        let now = net.now;
        net.speakers[n].reconfigure(now, config);
    }
    net.raise();
    net.run(Duration::from_secs(1));
    let tagged = |routes: Vec<wayleave_bgp_core::view::RouteView>| -> BTreeSet<_> {
        let of = |route: wayleave_bgp_core::view::RouteView| {
            let tags: Vec<_> = route
                .attributes
                .large_communities
                .iter()
                .map(ToString::to_string)
                .collect();
            format!("{} {}", route.prefix, tags.join(","))
        };
        routes.into_iter().map(of).collect()
    };
    for &(a, b) in &edges {
        for (from, to) in [(a, b), (b, a)] {
            let told = tagged(net.routes(from, RibKind::Out, Some(&format!("s{to}"))));
            let held = tagged(net.routes(to, RibKind::In, Some(&format!("s{from}"))));
            let differ: Vec<&String> = held.symmetric_difference(&told).collect();
            assert!(
                differ.is_empty(),
                "seed {seed}: s{to} of s{from}: {differ:?}"
            );
        }
    }
    // The reflector hears of everything it has a family for.
    let all: BTreeSet<_> = owned
        .iter()
        .flatten()
        .map(|(prefix, &round)| format!("{prefix} {}", tag(round)))
        .collect();
    let held = tagged(net.routes(0, RibKind::Loc, None));
    let stale: Vec<&String> = held.difference(&all).collect();
    assert!(stale.is_empty(), "seed {seed}: stale at s0: {stale:?}");
    let whole = net.speakers[1..].iter().all(|speaker| {
        let to_reflector = |peer: &&wayleave_bgp_core::config::PeerConfig| peer.name == "s0";
        speaker
            .config()
            .peers
            .iter()
            .find(to_reflector)
            .is_some_and(|peer| peer.families.len() == 2)
    });
    if whole {
        let missing: Vec<&String> = all.difference(&held).collect();
        assert!(missing.is_empty(), "seed {seed}: not at s0: {missing:?}");
    }
}

#[test]
fn after_every_storm_neighbours_hold_what_they_were_told() {
    let count = std::env::var("WAYLEAVE_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    for seed in 0..count.unwrap_or(300) {
        one_storm(seed);
    }
}

#[test]
fn a_refresh_on_a_session_of_one_family_comes_to_an_end() {
    let mut configs = vec![config(0, 65_001), config(1, 65_002)];
    configs[0].peers.push(peer(1, 65_002));
    configs[1].peers.push(peer(0, 65_001));
    configs[0].peers[0].families = vec![Family::Ipv4Unicast];
    let mut net = Net::new(1, configs);
    net.raise();
    for family in Family::ALL {
        net.refresh(1, 0, family);
        net.settle();
    }
    assert_eq!(net.peer(0, "s1").received.route_refresh, 2);
    assert_eq!(
        net.peer(0, "s1").sent.route_refresh,
        2,
        "the marks around the one answer"
    );
    let now = net.now;
    let route = Origination::new("10.0.0.0/24".parse().unwrap());
    net.speakers[0].originate(now, vec![route]);
    net.settle();
    assert!(net.route(1, "10.0.0.0/24").is_some());
}
