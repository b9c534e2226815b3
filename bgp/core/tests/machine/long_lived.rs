//! Long-lived graceful restart (RFC 9494): routes held as the last choice.

use std::time::Duration;

use wayleave_bgp_core::{
    Speaker,
    config::Policy,
    view::{RibKind, RouteView},
    wire::{Capabilities, GracefulRestart},
};

use crate::{
    net::{Net, config, peer},
    routing::own,
    script::{Script, offer},
};

const SECOND: Duration = Duration::from_secs(1);
const LLGR_STALE: &str = "65535:6";
const NO_LLGR: &str = "65535:7";

/// A neighbour whose routes are to be held for so many seconds, and so many as the last choice.
fn neighbour(restart: u16, long: u32) -> Capabilities {
    offer(|capabilities| {
        capabilities.graceful_restart = Some(GracefulRestart {
            restarting: true,
            notification: false,
            time: restart,
            families: vec![(1, 1, true)],
        });
        capabilities.long_lived = Some(vec![(1, 1, true, long)]);
    })
}

fn marked(route: &RouteView) -> bool {
    let communities = route.attributes.communities.iter();
    communities
        .map(ToString::to_string)
        .any(|text| text == LLGR_STALE || text == "llgr-stale")
}

/// What a speaker uses: prefix, and whether it is marked as long-lived.
fn used(script: &Script) -> Vec<(String, bool)> {
    let query = wayleave_bgp_core::view::RouteQuery::all(
        RibKind::Loc,
        wayleave_bgp_core::Family::Ipv4Unicast,
    );
    let routes = script.speaker.routes(script.now, &query).unwrap().routes;
    let used = routes
        .iter()
        .map(|route| (route.prefix.to_string(), marked(route)));
    used.collect()
}

fn both(marked: bool) -> Vec<(String, bool)> {
    [1, 2].map(|n| (format!("10.{n}.0.0/16"), marked)).to_vec()
}

#[test]
fn after_the_restart_time_routes_are_held_as_the_last_choice_until_the_stale_time_ends() {
    // 4.2: "limited by the sum of the Restart Time in the received Graceful Restart Capability and the
    // Long-Lived Stale Time".
    let mut script = Script::new(neighbour(10, 60), |_| ());
    script.announce(1);
    script.announce(2);
    script.end_of_rib();
    script.hang_up();
    script.wait(9 * SECOND);
    assert_eq!(used(&script), both(false));
    script.wait(SECOND);
    assert_eq!(
        used(&script),
        both(true),
        "the helper \"MUST attach the LLGR_STALE community\""
    );
    assert_eq!(script.held(), [(1, true), (2, true)]);
    // Policy that changes meanwhile does not take it off.
    let mut changed = script.speaker.config().clone();
    changed.peers[0].allow_own_as = 3;
    let now = script.now;
    script.speaker.reconfigure(now, changed);
    script.settle();
    assert_eq!(used(&script), both(true));
    script.wait(59 * SECOND);
    assert_eq!(used(&script).len(), 2);
    script.wait(SECOND);
    assert_eq!(used(&script), []);

    // Told anew, they are as any other; what was not is gone with End-of-RIB.
    let mut script = Script::new(neighbour(10, 60), |_| ());
    script.announce(1);
    script.announce(2);
    script.end_of_rib();
    script.hang_up();
    script.wait(20 * SECOND);
    script.come(neighbour(10, 60));
    script.announce(2);
    assert_eq!(
        used(&script),
        [
            ("10.1.0.0/16".to_owned(), true),
            ("10.2.0.0/16".to_owned(), false)
        ]
    );
    script.end_of_rib();
    assert_eq!(used(&script), [("10.2.0.0/16".to_owned(), false)]);
    script.wait(100 * SECOND);
    assert_eq!(used(&script).len(), 1, "no timer is left");
}

#[test]
fn restarts_one_after_the_other_cost_nothing_and_do_not_prolong_the_stale_time() {
    // 4.2: "in the case of consecutive restarts, the previously marked stale routes MUST NOT be deleted
    // before the timer for the Long-Lived Stale Time expires"; RFC 4724 alone deletes them.
    let mut script = Script::new(neighbour(0, 60), |_| ());
    script.announce(1);
    script.announce(2);
    script.end_of_rib();
    script.hang_up();
    assert_eq!(
        used(&script),
        both(true),
        "a Restart Time of zero is over at once"
    );
    for _ in 0..5 {
        script.wait(10 * SECOND);
        script.come(neighbour(0, 60));
        script.announce(2);
        script.hang_up();
        assert_eq!(used(&script), both(true));
    }
    script.wait(9 * SECOND);
    assert_eq!(used(&script).len(), 2);
    script.wait(SECOND);
    assert_eq!(used(&script), [], "the timer of the first loss goes on");
}

#[test]
fn a_neighbour_that_comes_and_goes_has_what_it_does_not_tell_again_held_no_longer_than_that() {
    // "limited by the sum of the Restart Time ... and the LLST" (4.2): the second loss begins the
    // Long-lived Stale Time of what was stale already.
    let mut script = Script::new(neighbour(120, 60), |_| ());
    script.announce(1);
    script.announce(2);
    script.end_of_rib();
    script.hang_up();
    script.wait(10 * SECOND);
    script.come(neighbour(120, 60));
    script.announce(2);
    script.wait(SECOND);
    script.hang_up();
    assert_eq!(
        used(&script),
        [
            ("10.1.0.0/16".to_owned(), true),
            ("10.2.0.0/16".to_owned(), false)
        ]
    );
    script.wait(59 * SECOND);
    script.come(neighbour(120, 60));
    script.announce(2);
    script.wait(SECOND);
    assert_eq!(used(&script), [("10.2.0.0/16".to_owned(), false)]);
}

#[test]
fn what_is_held_over_a_link_goes_with_the_link() {
    let mut script = Script::new(neighbour(10, 60), |_| ());
    script.announce(1);
    script.end_of_rib();
    script.hang_up();
    let now = script.now;
    script.speaker.link_down(now, "eth1");
    assert_eq!(used(&script).len(), 1, "it is on another one");
    script.speaker.link_down(now, "eth0");
    script.settle();
    assert_eq!(used(&script), []);
}

#[test]
fn each_phase_goes_by_the_forwarding_bit_of_its_own_capability() {
    let with = |restart, long| {
        offer(|capabilities| {
            capabilities.graceful_restart = Some(GracefulRestart {
                restarting: true,
                notification: false,
                time: 10,
                families: vec![(1, 1, restart)],
            });
            capabilities.long_lived = Some(vec![(1, 1, long, 60)]);
        })
    };
    for (wait, restart, long, kept) in [
        (5, true, false, true),
        (5, false, true, false),
        (20, true, false, false),
        (20, false, true, true),
    ] {
        let mut script = Script::new(neighbour(10, 60), |_| ());
        script.announce(1);
        script.end_of_rib();
        script.hang_up();
        script.wait(wait * SECOND);
        script.come(with(restart, long));
        let left = used(&script);
        assert_eq!(left.len(), usize::from(kept), "{wait} s, {restart}, {long}");
        // And the mark stays, whatever policy judges anew meanwhile.
        let mut changed = script.speaker.config().clone();
        changed.peers[0].allow_own_as = 3;
        let now = script.now;
        script.speaker.reconfigure(now, changed);
        script.settle();
        assert_eq!(used(&script), left);
    }
}

#[test]
fn a_neighbour_that_comes_back_without_it_has_lost_what_was_held() {
    for capabilities in [offer(|_| ()), crate::script::restarts(10, false, false)] {
        let mut script = Script::new(neighbour(0, 60), |_| ());
        script.announce(1);
        script.end_of_rib();
        script.hang_up();
        assert_eq!(used(&script).len(), 1);
        script.come(capabilities);
        assert_eq!(used(&script), []);
    }
    // "If the Long-Lived Graceful Restart Capability is received without the Graceful Restart
    // Capability, it is ignored" (3.1, in other words).
    let alone = offer(|capabilities| capabilities.long_lived = Some(vec![(1, 1, true, 60)]));
    let mut script = Script::new(alone, |_| ());
    script.announce(1);
    script.hang_up();
    assert_eq!(used(&script), []);
}

/// 0 has neighbours 1 and 2 in other ASes that announce the same, 2 with a longer path, and tells 3
/// and 4; 4 knows nothing of long-lived routes.
fn fabric() -> Net {
    let asns = [65_001, 65_002, 65_003, 65_004, 65_005];
    let mut net = Net::graph(11, &asns, &[(0, 1), (0, 2), (0, 3), (0, 4)]);
    let mut restarter = config(1, asns[1]);
    restarter.long_lived_restart_time = 60;
    restarter.peers.push(peer(0, asns[0]));
    let mut deaf = config(4, asns[4]);
    deaf.peers.push(peer(0, asns[0]));
    deaf.peers[0].graceful_restart = false;
    let now = net.now;
    net.speakers[1] = Speaker::new(now, restarter);
    net.speakers[4] = Speaker::new(now, deaf);
    net.raise();
    net
}

#[test]
fn a_long_lived_route_is_the_last_choice_and_goes_only_to_those_who_know_what_it_is() {
    let mut net = fabric();
    let now = net.now;
    let mut no = own("10.3.0.0/16");
    no.communities = vec![NO_LLGR.parse().unwrap()];
    net.speakers[1].originate(now, vec![own("10.1.0.0/16"), own("10.2.0.0/16"), no]);
    let mut backup = own("10.1.0.0/16");
    backup.med = Some(9);
    net.speakers[2].originate(now, vec![backup]);
    net.settle();
    let from = |net: &Net, prefix: &str| net.route(0, prefix).and_then(|route| route.peer);
    assert_eq!(from(&net, "10.1.0.0/16").as_deref(), Some("s1"));
    let texts = |net: &Net, n: usize| {
        let prefixes = net.prefixes(n).into_iter();
        prefixes
            .map(|prefix| prefix.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let all = "10.1.0.0/16 10.2.0.0/16 10.3.0.0/16";
    assert_eq!(
        (texts(&net, 3).as_str(), texts(&net, 4).as_str()),
        (all, all)
    );

    let now = net.now;
    net.speakers[1].depart(now);
    net.settle();
    // 4.3: "least preferred": the other way is taken, and nothing is where there is no other. 4.2:
    // what is marked with NO_LLGR "MUST NOT be retained".
    assert_eq!(from(&net, "10.1.0.0/16").as_deref(), Some("s2"));
    assert_eq!(from(&net, "10.2.0.0/16").as_deref(), Some("s1"));
    assert!(marked(&net.route(0, "10.2.0.0/16").unwrap()));
    assert_eq!(texts(&net, 3), "10.1.0.0/16 10.2.0.0/16");
    let told = net.route(3, "10.2.0.0/16").unwrap();
    assert!(
        marked(&told),
        "\"MUST NOT be removed when the route is further advertised\""
    );
    assert!(!marked(&net.route(3, "10.1.0.0/16").unwrap()));
    assert_eq!(
        texts(&net, 4),
        "10.1.0.0/16",
        "not to a neighbour without the capability"
    );
    let why = net.routes(0, RibKind::In, Some("s1"));
    let why = why
        .iter()
        .find(|route| route.prefix.to_string() == "10.1.0.0/16")
        .unwrap();
    assert!(
        why.stale && why.reason.contains("long-lived"),
        "{}",
        why.reason
    );

    // A rule that lets nothing in on the other side does not matter to what is held.
    let mut changed = net.speakers[0].config().clone();
    changed.peers[1].import = Policy::None;
    let now = net.now;
    net.speakers[0].reconfigure(now, changed);
    net.settle();
    assert!(marked(&net.route(0, "10.1.0.0/16").unwrap()));
    net.run(61 * SECOND);
    assert_eq!(texts(&net, 0), "");
    assert_eq!(texts(&net, 3), "");
}
