//! Peers on a link whose address nobody has configured.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use wayleave_bgp_core::{
    Action, Asn, ConnInfo, RouterId, Speaker, Time,
    config::{PeerConfig, RemoteAs},
    view::{PeerView, State},
    wire::{Capabilities, Open, keepalive},
};

use crate::net::config;

fn link_local(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n)
}

fn peer(interface: &str) -> PeerConfig {
    let anybody = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let mut peer = PeerConfig::new(interface, anybody, RemoteAs::External);
    peer.interface = Some(interface.to_owned());
    peer
}

fn call_from(n: u16, interface: &str) -> ConnInfo {
    ConnInfo {
        remote: (link_local(n), 40_000).into(),
        local: (link_local(1), 179).into(),
        own_v4: None,
        own_v6: None,
        link_local: Some(link_local(1)),
        interface: Some(interface.into()),
        link: Some(interface.into()),
    }
}

struct Host {
    speaker: Speaker,
    now: Time,
}

impl Host {
    fn new() -> Self {
        let mut config = config(0, 65_001);
        config.peers = vec![peer("eth1"), peer("eth2")];
        let now = Time(1_000_000_000);
        let speaker = Speaker::new(now, config);
        Self { speaker, now }
    }

    /// Where it wants to connect to.
    fn dials(&mut self) -> Vec<(IpAddr, String)> {
        let actions = std::iter::from_fn(|| self.speaker.poll_action());
        let dials = actions.filter_map(|action| match action {
            Action::Connect {
                remote, interface, ..
            } => Some((remote.ip(), interface.unwrap().to_string())),
            _ => None,
        });
        dials.collect()
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.speaker.handle_timeout(self.now);
        while self.speaker.turn(self.now) {}
    }

    fn view(&self, interface: &str) -> PeerView {
        let views = self.speaker.peer_views(self.now);
        views
            .into_iter()
            .find(|view| view.name == interface)
            .unwrap()
    }

    /// Somebody connects and says what makes a session; whether it is let in.
    fn establish(&mut self, n: u16, interface: &str) -> bool {
        let info = call_from(n, interface);
        let Some(conn) = self.speaker.accepted(self.now, info) else {
            return false;
        };
        let asn = Asn(65_100);
        let open = Open {
            asn,
            hold_time: 0,
            router_id: RouterId::from(u32::from(n)),
            capabilities: Capabilities {
                families: vec![(1, 1)],
                as4: Some(asn),
                extended_next_hop: vec![(1, 1, 2)],
                ..Capabilities::default()
            },
        };
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        bytes.extend(keepalive());
        self.speaker.received(self.now, conn, &bytes);
        while self.speaker.turn(self.now) {}
        true
    }
}

#[test]
fn nobody_is_called_before_the_neighbour_is_found_and_then_at_once() {
    let mut host = Host::new();
    assert!(host.dials().is_empty());
    host.wait(Duration::from_secs(100));
    assert!(host.dials().is_empty());
    let view = host.view("eth1");
    assert_eq!(view.state, State::Active);
    assert_eq!(view.interface.as_deref(), Some("eth1"));
    assert!(
        view.warnings.iter().any(|text| text.contains("eth1")),
        "{:?}",
        view.warnings
    );
    host.speaker.neighbor_is(host.now, "eth1", link_local(7));
    let there = |n| vec![(IpAddr::V6(link_local(n)), "eth1".to_owned())];
    assert_eq!(host.dials(), there(7));
    let view = host.view("eth1");
    assert_eq!(view.address, IpAddr::V6(link_local(7)));
    assert!(view.warnings.is_empty(), "{:?}", view.warnings);
    // To hear of it again changes nothing; where it is another one, that is called next.
    host.speaker.neighbor_is(host.now, "eth1", link_local(7));
    assert!(host.dials().is_empty());
    host.speaker.neighbor_is(host.now, "eth1", link_local(8));
    assert!(host.dials().is_empty());
    host.wait(Duration::from_secs(6));
    assert_eq!(host.dials(), there(8));
}

#[test]
fn whoever_calls_on_the_link_is_the_neighbour_and_nobody_else_while_the_session_is_up() {
    let mut host = Host::new();
    assert!(host.speaker.expects(link_local(7).into()));
    assert!(!host.establish(7, "eth9"), "no peer is on that link");
    assert!(host.establish(7, "eth1"));
    assert!(host.dials().is_empty(), "one connection is enough");
    let view = host.view("eth1");
    assert_eq!(
        (view.state, view.address),
        (State::Established, link_local(7).into())
    );
    assert!(!host.establish(8, "eth1"), "there is a neighbour");
    assert!(
        host.establish(7, "eth2"),
        "the same address on another link"
    );
    // Others of the link are heard meanwhile.
    host.speaker.neighbor_is(host.now, "eth1", link_local(8));
    assert_eq!(host.view("eth1").state, State::Established);
    let global = ConnInfo {
        remote: "[2001:db8::7]:40000".parse().unwrap(),
        ..call_from(7, "eth1")
    };
    assert!(host.speaker.accepted(host.now, global).is_none());
}

#[test]
fn a_peer_that_is_configured_later_knows_who_was_found() {
    let mut host = Host::new();
    host.speaker.neighbor_is(host.now, "eth3", link_local(7));
    assert!(host.dials().is_empty());
    let mut changed = host.speaker.config().clone();
    changed.peers.push(peer("eth3"));
    host.speaker.reconfigure(host.now, changed.clone());
    let eth3 = vec![(IpAddr::V6(link_local(7)), "eth3".to_owned())];
    assert_eq!(host.dials(), eth3);
    // One whose settings change is opened again, and not looked for anew.
    changed.peers[2].hold_time = 30;
    host.speaker.reconfigure(host.now, changed);
    assert_eq!(host.dials(), eth3);
}

#[test]
fn a_neighbour_that_has_replaced_another_is_known_by_its_own_address() {
    let mut host = Host::new();
    assert!(host.establish(7, "eth1"));
    host.speaker.neighbor_is(host.now, "eth1", link_local(8));
    assert_eq!(host.view("eth1").address, IpAddr::V6(link_local(7)));
    host.speaker.link_down(host.now, "eth1");
    host.wait(Duration::from_secs(6));
    let there = vec![(IpAddr::V6(link_local(8)), "eth1".to_owned())];
    assert_eq!(host.dials(), there);
    // It calls before our call comes through.
    assert!(host.establish(8, "eth1"));
    let view = host.view("eth1");
    assert_eq!(
        (view.state, view.address),
        (State::Established, link_local(8).into())
    );
    // After a restart of its own it is let in, though its old session is still there.
    let again = host.speaker.accepted(host.now, call_from(8, "eth1"));
    assert!(again.is_some());
    assert!(
        host.speaker
            .accepted(host.now, call_from(7, "eth1"))
            .is_none()
    );
}
