use std::time::Duration;

use wayleave_bgp_core::{Asn, config::RemoteAs, view::State};

use crate::net::{Net, config, peer};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn two_speakers_that_connect_to_each_other_at_once_end_with_one_session() {
    for seed in 0..200 {
        let mut net = Net::graph(seed, &[65_001, 65_002], &[(0, 1)]);
        net.raise();
        net.run(30 * SECOND);
        for (n, other) in [(0, "s1"), (1, "s0")] {
            let view = net.peer(n, other);
            assert_eq!(view.state, State::Established, "seed {seed}");
            assert_eq!(
                view.established_count, 1,
                "seed {seed}: {:?}",
                view.last_error
            );
        }
    }
}

#[test]
fn a_passive_peer_waits_and_is_found() {
    let mut configs = vec![config(0, 65_001), config(1, 65_001)];
    configs[0].peers.push(peer(1, 65_001));
    configs[1].peers.push(peer(0, 65_001));
    configs[0].peers[0].passive = true;
    let mut net = Net::new(1, configs);
    assert_eq!(net.peer(0, "s1").state, State::Active);
    net.raise();
}

#[test]
fn the_hold_timer_closes_a_session_that_has_gone_silent_with_notification_4() {
    let mut net = Net::graph(3, &[65_001, 65_002], &[(0, 1)]);
    net.raise();
    net.cut(0, 1);
    net.run(10 * SECOND);
    for (n, other) in [(0, "s1"), (1, "s0")] {
        let view = net.peer(n, other);
        assert_ne!(view.state, State::Established);
        let why = view.last_error.unwrap();
        assert!(
            why.contains("Hold Timer Expired") || why.contains("hold timer"),
            "{why}"
        );
    }
    net.heal();
    net.raise();
}

#[test]
fn keepalives_hold_an_idle_session_up() {
    let mut net = Net::graph(4, &[65_001, 65_002], &[(0, 1)]);
    net.raise();
    net.run(600 * SECOND);
    let view = net.peer(0, "s1");
    assert_eq!(
        (view.state, view.established_count),
        (State::Established, 1)
    );
    assert!(
        view.received.keepalive >= 200,
        "{}",
        view.received.keepalive
    );
}

#[test]
fn a_peer_in_another_as_than_configured_is_refused_with_bad_peer_as() {
    let mut configs = vec![config(0, 65_001), config(1, 65_002)];
    configs[0].peers.push(peer(1, 65_009));
    configs[1].peers.push(peer(0, 65_001));
    let mut net = Net::new(5, configs);
    net.run(2 * SECOND);
    assert_ne!(net.peer(0, "s1").state, State::Established);
    let why = net.peer(1, "s0").last_error.unwrap();
    assert!(why.contains("2/2"), "{why}");
}

#[test]
fn one_identifier_twice_in_an_as_is_refused_and_between_two_is_not() {
    for (asn, refused) in [(65_001, true), (65_002, false)] {
        let mut configs = vec![config(0, 65_001), config(1, asn)];
        configs[1].router_id = configs[0].router_id;
        configs[0].peers.push(peer(1, asn));
        configs[1].peers.push(peer(0, 65_001));
        let mut net = Net::new(6, configs);
        net.run(60 * SECOND);
        assert_eq!(net.all_up(), !refused);
        if refused {
            let why = net.peer(0, "s1").last_error.unwrap();
            assert!(why.contains("2/3"), "{why}");
        }
    }
}

#[test]
fn an_operators_reset_reaches_the_peer_in_words_and_the_session_comes_back() {
    let mut net = Net::graph(7, &[65_001, 65_002], &[(0, 1)]);
    net.raise();
    assert!(net.speakers[0].reset(net.now, "s1", Some("new cable")));
    net.settle();
    let why = net.peer(1, "s0").last_error.unwrap();
    assert!(why.contains("6/4") && why.contains("new cable"), "{why}");
    net.raise();
    assert!(!net.speakers[0].reset(net.now, "nobody", None));
}

#[test]
fn a_peer_that_is_disabled_is_neither_called_nor_let_in() {
    let mut net = Net::graph(8, &[65_001, 65_002], &[(0, 1)]);
    let mut config = net.speakers[0].config().clone();
    config.peers[0].disabled = true;
    let done = net.speakers[0].reconfigure(net.now, config);
    assert_eq!(done, ["peer s1: settings changed, session opened again"]);
    net.run(20 * SECOND);
    assert_eq!(net.peer(0, "s1").state, State::Idle);
    assert_ne!(net.peer(1, "s0").state, State::Established);
}

#[test]
fn an_unchanged_configuration_changes_nothing_and_a_new_peer_touches_no_other() {
    let mut net = Net::graph(9, &[65_001, 65_002, 65_003], &[(0, 1)]);
    net.raise();
    let mut config = net.speakers[0].config().clone();
    assert!(
        net.speakers[0]
            .reconfigure(net.now, config.clone())
            .is_empty()
    );
    config.peers.push(peer(2, 65_003));
    assert_eq!(
        net.speakers[0].reconfigure(net.now, config),
        ["peer s2: added"]
    );
    let mut other = net.speakers[2].config().clone();
    other.peers.push(peer(0, 65_001));
    net.speakers[2].reconfigure(net.now, other);
    net.raise();
    assert_eq!(net.peer(0, "s1").established_count, 1);
    assert_eq!(net.peer(0, "s1").last_error, None);
}

#[test]
fn a_listen_range_admits_strangers_up_to_its_limit_and_forgets_them() {
    let mut hub = config(0, 65_000);
    let mut template = peer(9, 65_000);
    template.name = "leaf".to_owned();
    template.remote_as = RemoteAs::External;
    hub.ranges.push(wayleave_bgp_core::config::ListenRange {
        prefix: "192.0.2.0/24".parse().unwrap(),
        limit: 2,
        template,
    });
    let mut configs = vec![hub];
    for n in 1..4 {
        let mut leaf = config(n, 65_000 + u32::try_from(n).unwrap());
        leaf.peers.push(peer(0, 65_000));
        configs.push(leaf);
    }
    let mut net = Net::new(10, configs);
    // Sessions that last leave nothing to remember.
    net.run(80 * SECOND);
    let view = net.speakers[0].view();
    assert_eq!((view.peers, view.established), (2, 2));
    let asns: Vec<_> = net.speakers[0]
        .peer_views(net.now)
        .into_iter()
        .map(|view| view.asn)
        .collect();
    assert!(
        asns.iter()
            .all(|asn| asn.is_some_and(|asn| asn > Asn(65_000)))
    );
    for n in 1..4 {
        net.cut(0, n);
        net.reset(0, n);
    }
    net.run(SECOND);
    assert_eq!(net.speakers[0].view().peers, 0);
    net.heal();
    net.run(20 * SECOND);
    assert_eq!(net.speakers[0].view().established, 2);
}

#[test]
fn garbage_on_a_session_ends_that_session_and_no_other() {
    let mut net = Net::graph(11, &[65_001, 65_002, 65_003], &[(0, 1), (0, 2)]);
    net.raise();
    let before = net.peer(0, "s2").established_count;
    let conns = net.conns_of(0, 1);
    let (now, conn) = (net.now, conns[0]);
    net.speakers[0].received(now, conn, &[0; 64]);
    net.settle();
    let why = net.peer(0, "s1").last_error.unwrap();
    assert!(why.contains("1/1"), "{why}");
    assert_eq!(net.peer(0, "s2").established_count, before);
    assert_eq!(net.peer(0, "s2").state, State::Established);
    net.raise();
}
