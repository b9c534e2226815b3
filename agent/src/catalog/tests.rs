use wayleave_bgp_core::{
    feed::FeedPath,
    types::{self, Prefix},
};
use wayleave_discovery::{
    codec::{Carrier, Endpoint, NodeKey, Port, Protocol, Record, Service, State},
    community::DiscoveryNumber,
    names::{HostName, Namespace, ServiceName},
};

use super::*;

fn codec() -> Codec {
    Codec::new(DiscoveryNumber::new(4_200_000_000).unwrap())
}

fn change(address: &str, communities: Option<Vec<LargeCommunity>>) -> RouteChange {
    let route = communities.map(|communities| FeedRoute {
        attributes: Arc::new(Attributes {
            large_communities: communities
                .into_iter()
                .map(|community| types::LargeCommunity {
                    global: community.global,
                    local1: community.local1,
                    local2: community.local2,
                })
                .collect(),
            ..Attributes::default()
        }),
        paths: vec![FeedPath {
            source: RouteSource::Peer("tor".into()),
            next_hop: IpAddr::from([192, 0, 2, 1]).into(),
            interface: None,
        }],
        stale: false,
    });
    RouteChange {
        prefix: Prefix::host(address.parse().unwrap()),
        route,
    }
}

fn carrier(key: NodeKey) -> Vec<LargeCommunity> {
    let node = Record {
        host: Some(HostName::new("h1").unwrap()),
        ..Record::default()
    };
    let carrier = Carrier {
        key,
        nonce: 1,
        pools: Default::default(),
        manifest: None,
        node,
    };
    codec().encode_carrier(&carrier).unwrap()
}

fn endpoint(key: NodeKey) -> Vec<LargeCommunity> {
    let mut endpoint = Endpoint::new(key);
    endpoint.record.services.push(Service {
        name: ServiceName::new("web").unwrap(),
        namespace: Namespace::new("default").unwrap(),
        state: State::Ready,
        priority: 0,
        weight: 1,
        ports: [Port {
            protocol: Protocol(6),
            number: 80,
            name: None,
        }]
        .into(),
        tags: Default::default(),
    });
    codec().encode(&endpoint).unwrap()
}

fn resolved(catalog: &RwLock<Catalog>) -> usize {
    catalog.read().unwrap().resolve("web.default").count()
}

#[test]
fn an_endpoint_is_answered_with_while_its_nodes_carrier_is_there() {
    let catalog = Arc::new(RwLock::new(Catalog::new()));
    let (mut feed, index) = Feed::new(codec(), Arc::clone(&catalog));
    let key = NodeKey(7);
    feed.apply(&[change("10.1.7.2", Some(endpoint(key)))]);
    assert_eq!(resolved(&catalog), 0, "held until its carrier comes");
    feed.apply(&[change("fd00::7", Some(carrier(key)))]);
    assert_eq!(resolved(&catalog), 1);
    let seen = *index.borrow();
    feed.apply(&[change("10.9.9.9", Some(Vec::new()))]);
    assert_eq!(
        *index.borrow(),
        seen,
        "a route that says nothing changes nothing"
    );
    feed.apply(&[change("fd00::7", None)]);
    assert_eq!(resolved(&catalog), 0);
    assert!(*index.borrow() > seen);
    feed.apply(&[change("fd00::7", Some(carrier(key)))]);
    feed.apply(&[change("10.1.7.2", None)]);
    assert_eq!(resolved(&catalog), 0);
}

#[test]
fn the_distance_counts_ases_as_the_decision_does() {
    use types::Asn;
    let segments = [
        (AsSegment::Sequence(vec![Asn(1), Asn(2)]), 2),
        (AsSegment::Set(vec![Asn(1), Asn(2)]), 1),
        (AsSegment::ConfedSequence(vec![Asn(1)]), 0),
        (AsSegment::ConfedSet(vec![Asn(1)]), 0),
    ];
    for (segment, expected) in segments {
        assert_eq!(hops(&segment), expected);
    }
}

#[tokio::test]
async fn names_are_denied_only_when_both_families_are_in_sync() {
    let catalog = Arc::new(RwLock::new(Catalog::growing()));
    let (feed, _index) = Feed::new(codec(), Arc::clone(&catalog));
    let (events, received) = mpsc::channel(1);
    let task = tokio::spawn(feed.run(received));
    let is_complete = || catalog.read().unwrap().is_complete();
    for (family, expected) in [
        (Family::Ipv4Unicast, false),
        (Family::Ipv4Unicast, false),
        (Family::Ipv6Unicast, true),
    ] {
        events.send(FeedEvent::InSync(family)).await.unwrap();
        // Behind it in the channel of one place: the event before has been taken when this is sent.
        for _ in 0..2 {
            events.send(FeedEvent::Changes(Vec::new())).await.unwrap();
        }
        assert_eq!(is_complete(), expected, "{family:?}");
    }
    drop(events);
    task.await.unwrap();
    assert!(is_complete());
}

#[test]
fn records_that_cannot_be_used_are_logged_once_a_minute_with_their_number() {
    let mut broken = Broken::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(broken.count(at(0)), Some(0));
    for second in 1..60 {
        assert_eq!(broken.count(at(second)), None);
    }
    assert_eq!(broken.count(at(60)), Some(59));
    assert_eq!(broken.count(at(61)), None);
    assert_eq!(broken.count(at(120)), Some(1));
}
