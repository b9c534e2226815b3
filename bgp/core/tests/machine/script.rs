//! One speaker and a neighbour that says what a test tells it to.

use std::time::Duration;

use wayleave_bgp_core::{
    Asn, ConnId, Family, RouterId, Speaker, Time,
    config::{PeerConfig, SpeakerConfig},
    view::{PeerView, RibKind, RouteQuery, RouteView},
    wire::{
        Capabilities, GracefulRestart, MessageKind, Notification, Open, RouteRefresh, end_of_rib,
        frame, keepalive,
    },
};

use crate::net::{config, peer};

/// The neighbour is `s1` in AS 65002, and passive for us.
pub(crate) struct Script {
    pub(crate) speaker: Speaker,
    pub(crate) now: Time,
    pub(crate) conn: ConnId,
}

/// What the neighbour offers: IPv4 unicast, four-octet AS numbers, and this.
pub(crate) fn offer(change: impl FnOnce(&mut Capabilities)) -> Capabilities {
    let mut capabilities = Capabilities {
        families: vec![(1, 1)],
        as4: Some(Asn(65_002)),
        route_refresh: true,
        ..Capabilities::default()
    };
    change(&mut capabilities);
    capabilities
}

/// A graceful restart capability for IPv4 unicast.
pub(crate) fn restarts(seconds: u16, forwarding: bool, notification: bool) -> Capabilities {
    offer(|capabilities| {
        capabilities.graceful_restart = Some(GracefulRestart {
            restarting: false,
            notification,
            time: seconds,
            families: vec![(1, 1, forwarding)],
        });
    })
}

impl Script {
    pub(crate) fn new(capabilities: Capabilities, change: impl FnOnce(&mut PeerConfig)) -> Self {
        let mut config = config(0, 65_001);
        let mut neighbour = peer(1, 65_002);
        neighbour.passive = true;
        change(&mut neighbour);
        config.peers.push(neighbour);
        Self::with(config, capabilities)
    }

    /// The same with other settings of the speaker; `s1` must be among its peers.
    pub(crate) fn with(config: SpeakerConfig, capabilities: Capabilities) -> Self {
        let now = Time(0);
        let mut script = Self {
            speaker: Speaker::new(now, config),
            now,
            conn: ConnId(0),
        };
        script.come(capabilities);
        script
    }

    /// Connects, beside whatever connection there is, and opens a session.
    pub(crate) fn come(&mut self, capabilities: Capabilities) {
        let info = crate::net::call(1, 0);
        self.conn = self.speaker.accepted(self.now, info).expect("let in");
        let mut bytes = Vec::new();
        Open {
            asn: Asn(65_002),
            hold_time: 0,
            router_id: RouterId::from(2),
            capabilities,
        }
        .encode(&mut bytes);
        bytes.extend(keepalive());
        self.say(&bytes);
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.speaker.received(self.now, self.conn, bytes);
        self.settle();
    }

    /// Announces 10.N.0.0/16.
    pub(crate) fn announce(&mut self, n: u8) {
        let attributes = [
            &[0x40, 1, 1, 0][..],
            &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea],
            &[0x40, 3, 4, 192, 0, 2, 2],
        ]
        .concat();
        let mut body = vec![0, 0, 0, u8::try_from(attributes.len()).unwrap()];
        body.extend(attributes);
        body.extend([16, 10, n]);
        self.message(2, &body);
    }

    pub(crate) fn end_of_rib(&mut self) {
        let mut bytes = Vec::new();
        end_of_rib(Family::Ipv4Unicast, &mut bytes);
        self.say(&bytes);
    }

    pub(crate) fn refresh(&mut self, subtype: u8) {
        let mut bytes = Vec::new();
        let (afi, safi) = Family::Ipv4Unicast.code();
        RouteRefresh { afi, safi, subtype }.encode(&mut bytes);
        self.say(&bytes);
    }

    pub(crate) fn notify(&mut self, why: &Notification) {
        let mut bytes = Vec::new();
        why.encode(&mut bytes);
        self.say(&bytes);
    }

    pub(crate) fn message(&mut self, kind: u8, body: &[u8]) {
        let mut message = vec![0xff; 16];
        message.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
        message.push(kind);
        message.extend(body);
        self.say(&message);
    }

    /// The transport ends.
    pub(crate) fn hang_up(&mut self) {
        self.speaker
            .closed(self.now, self.conn, "the peer closed it");
        self.settle();
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.speaker.handle_timeout(self.now);
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        while self.speaker.turn(self.now) {}
        while self.speaker.poll_action().is_some() {}
    }

    /// All messages that wait to be written, written.
    pub(crate) fn heard(&mut self) -> Vec<(MessageKind, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let mut slices = Vec::new();
            self.speaker.output(self.conn, 64, &mut slices);
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            if bytes.is_empty() {
                break;
            }
            drop(slices);
            self.speaker.written(self.now, self.conn, bytes.len());
            all.extend(bytes);
            while self.speaker.turn(self.now) | self.speaker.wants_turn() {}
        }
        let mut rest = &all[..];
        let mut messages = Vec::new();
        while let Some(message) = frame(rest, 4_096).unwrap() {
            messages.push((message.kind, message.body.to_vec()));
            rest = &rest[message.len..];
        }
        messages
    }

    pub(crate) fn view(&self) -> PeerView {
        self.speaker.peer_views(self.now)[0].clone()
    }

    /// What is held of the neighbour: second octet of the prefix, and whether it is stale.
    pub(crate) fn held(&self) -> Vec<(u8, bool)> {
        let query = RouteQuery {
            peer: Some("s1".to_owned()),
            ..RouteQuery::all(RibKind::In, Family::Ipv4Unicast)
        };
        let routes = self.speaker.routes(self.now, &query).unwrap().routes;
        let second = |route: &RouteView| match route.prefix.addr() {
            std::net::IpAddr::V4(addr) => addr.octets()[1],
            std::net::IpAddr::V6(_) => unreachable!("asked for IPv4"),
        };
        let mut held: Vec<_> = routes
            .iter()
            .inspect(|route| assert!(route.best, "{} counts", route.prefix))
            .map(|route| (second(route), route.stale))
            .collect();
        held.sort_unstable();
        let counts = self.view().ipv4;
        if let Some(counts) = counts {
            assert_eq!(counts.received as usize, held.len());
            assert_eq!(counts.accepted as usize, held.len());
        }
        held
    }
}
