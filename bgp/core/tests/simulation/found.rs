//! What seeds have found, in small.

use std::time::Duration;

use wayleave_bgp_core::{
    Asn, Limits, Prefix, RouterId,
    config::{PeerConfig, RemoteAs, SpeakerConfig},
    feed::Origination,
    view::RibKind,
};

use crate::network::{Network, address, name};

const STEPS: usize = 100_000;

/// Speakers in a row, each an AS of its own, that hold nothing for each other.
fn row(seed: u64, count: usize, limits: Limits) -> Network {
    let asn = |n: usize| Asn(65_001 + u32::try_from(n).unwrap());
    let configs = (0..count).map(|n| {
        let id = RouterId::from(u32::try_from(n + 1).unwrap());
        let mut config = SpeakerConfig::new(id, asn(n));
        let others = [n.checked_sub(1), Some(n + 1).filter(|&next| next < count)];
        let peers = others.into_iter().flatten().map(|m| PeerConfig {
            graceful_restart: false,
            ..PeerConfig::new(name(m), address(m).into(), RemoteAs::Exact(asn(m)))
        });
        config.peers = peers.collect();
        config
    });
    let mut net = Network::new(seed, configs.collect(), limits);
    net.run(Duration::from_secs(10), STEPS);
    net
}

fn originate(net: &mut Network, n: usize, blocks: std::ops::Range<u8>) {
    let prefix = |block: u8| format!("10.{n}.{block}.0/24").parse().unwrap();
    let routes = blocks.map(|block| Origination::new(prefix(block)));
    let routes = routes.collect();
    net.with(n, |speaker, now| speaker.originate(now, routes));
}

fn held(net: &Network, n: usize, of: usize) -> Vec<Prefix> {
    let routes = net.routes(n, RibKind::In, Some(of)).into_iter();
    routes.map(|route| route.prefix).collect()
}

/// What a log has no room for goes out by walks: nothing else happens for which there would be
/// another turn.
#[test]
fn a_member_that_falls_out_of_the_log_is_told_at_once_all_the_same() {
    let limits = Limits {
        log: 1,
        ..Limits::default()
    };
    for seed in 0..10 {
        let mut net = row(seed, 2, limits);
        originate(&mut net, 0, 0..3);
        net.settle(STEPS);
        assert_eq!(held(&net, 1, 0).len(), 3, "seed {seed}");
    }
}

/// Paths that come while those of a neighbour that has gone are swept.
#[test]
fn a_sweep_takes_everything_out_while_other_paths_come() {
    let limits = Limits {
        turn: 1,
        ..Limits::default()
    };
    for seed in 0..40 {
        let mut net = row(seed, 3, limits);
        originate(&mut net, 0, 0..4);
        net.settle(STEPS);
        // A first sweep, so that the next one begins somewhere in the middle.
        net.reset(0, 1);
        net.run(Duration::from_secs(10), STEPS);
        originate(&mut net, 2, 0..4);
        net.settle(STEPS);
        assert_eq!(held(&net, 2, 1).len(), 4, "seed {seed}");
        net.reset(0, 1);
        originate(&mut net, 2, 4..8);
        net.settle(STEPS);
        assert_eq!(held(&net, 1, 2).len(), 8, "seed {seed}");
        assert_eq!(held(&net, 2, 1), [], "seed {seed}: routes of nobody");
        assert_eq!(net.speaker(1).view().paths, 8, "seed {seed}");
    }
}
