//! Random histories: whatever happened, once it is quiet every speaker holds what a reference
//! computation says, and was told what its neighbours hold for it.

use std::{collections::BTreeSet, time::Duration};

use wayleave_bgp_core::{Prefix, config::Policy, feed::Origination, view::RibKind};

use crate::net::{Net, Rng};

/// Hops from `origin` to every speaker, over links that are there.
fn distances(count: usize, edges: &[(usize, usize)], origin: usize) -> Vec<Option<usize>> {
    let mut distance = vec![None; count];
    distance[origin] = Some(0);
    for _ in 0..count {
        for &(a, b) in edges {
            for (from, to) in [(a, b), (b, a)] {
                if let Some(hops) = distance[from] {
                    let further: usize = hops + 1;
                    distance[to] =
                        Some(distance[to].map_or(further, |known: usize| known.min(further)));
                }
            }
        }
    }
    distance
}

fn one_history(seed: u64) {
    let mut rng = Rng::new(seed);
    let count = 3 + rng.below(6);
    let asns: Vec<u32> = (0..count)
        .map(|n| 65_001 + u32::try_from(n).unwrap())
        .collect();
    // A tree, so that all are joined, and some links more.
    let mut edges: BTreeSet<(usize, usize)> = (1..count).map(|n| (rng.below(n), n)).collect();
    for _ in 0..rng.below(count) {
        let (a, b) = (rng.below(count), rng.below(count));
        if a != b {
            edges.insert((a.min(b), a.max(b)));
        }
    }
    let edges: Vec<_> = edges.into_iter().collect();
    let mut net = Net::graph(seed, &asns, &edges);
    net.write_limit = [7, 100, 5_000, usize::MAX][rng.below(4)];
    let mut owned: Vec<BTreeSet<Prefix>> = vec![BTreeSet::new(); count];
    for _ in 0..20 {
        let n = rng.below(count);
        let (a, b) = edges[rng.below(edges.len())];
        match rng.below(9) {
            0..=2 => {
                let routes: Vec<Prefix> = (0..1 + rng.below(20))
                    .map(|_| {
                        // Prefixes of one speaker are its own: the reference needs one origin.
                        let block = rng.below(40);
                        let text = if rng.below(2) == 0 {
                            format!("10.{n}.{block}.0/24")
                        } else {
                            format!("2001:db8:{n}:{block}::/64")
                        };
                        text.parse().unwrap()
                    })
                    .collect();
                owned[n].extend(&routes);
                let now = net.now;
                net.speakers[n].originate(now, routes.into_iter().map(Origination::new).collect());
            }
            3 => {
                let gone: Vec<Prefix> = owned[n].iter().take(rng.below(30)).copied().collect();
                for prefix in &gone {
                    owned[n].remove(prefix);
                }
                net.speakers[n].withdraw(net.now, 0, &gone);
            }
            4 => net.reset(a, b),
            5 => {
                net.cut(a, b);
                net.run(Duration::from_secs(rng.below(15) as u64));
            }
            6 => net.heal(),
            7 => {
                // Another policy for a while: what it hid comes back.
                let policy = [Policy::None, Policy::Own, Policy::All][rng.below(3)].clone();
                let mut config = net.speakers[a].config().clone();
                let inward = rng.below(2) == 0;
                for peer in &mut config.peers {
                    if inward && policy != Policy::Own {
                        peer.import = policy.clone();
                    } else {
                        peer.export = policy.clone();
                    }
                }
                let now = net.now;
                net.speakers[a].reconfigure(now, config);
            }
            _ => {
                net.restart(n);
                let now = net.now;
                let routes = owned[n]
                    .iter()
                    .map(|&prefix| Origination::new(prefix))
                    .collect();
                net.speakers[n].originate(now, routes);
            }
        }
        net.run(Duration::from_millis(rng.below(3_000) as u64));
    }
    net.heal();
    for n in 0..count {
        let mut config = net.speakers[n].config().clone();
        for peer in &mut config.peers {
            (peer.import, peer.export) = (Policy::All, Policy::All);
        }
        let now = net.now;
        net.speakers[n].reconfigure(now, config);
    }
    net.raise();
    net.run(Duration::from_secs(1));
    for n in 0..count {
        let mut expected = BTreeSet::new();
        for (origin, prefixes) in owned.iter().enumerate() {
            let hops = distances(count, &edges, origin)[n].unwrap();
            expected.extend(prefixes.iter().map(|&prefix| (prefix, hops)));
        }
        let held: BTreeSet<(Prefix, usize)> = net
            .routes(n, RibKind::Loc, None)
            .into_iter()
            .map(|route| (route.prefix, route.as_path.split_whitespace().count()))
            .collect();
        assert_eq!(held, expected, "seed {seed}, speaker {n}: loc-RIB");
    }
    for &(a, b) in &edges {
        for (from, to) in [(a, b), (b, a)] {
            let told = net.routes(from, RibKind::Out, Some(&format!("s{to}")));
            let held = net.routes(to, RibKind::In, Some(&format!("s{from}")));
            let told: Vec<Prefix> = told.into_iter().map(|route| route.prefix).collect();
            let held: Vec<Prefix> = held.into_iter().map(|route| route.prefix).collect();
            assert_eq!(told, held, "seed {seed}: what s{from} told s{to}");
        }
    }
}

#[test]
fn every_history_ends_with_what_the_reference_says() {
    let count = std::env::var("WAYLEAVE_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    for seed in 0..count.unwrap_or(300) {
        one_history(seed);
    }
}
