use proptest::prelude::*;

use super::*;
use crate::{
    codec::{Codec, Decoded, Endpoint, Record},
    community::DiscoveryNumber,
    judge::Source,
    names::HostName,
};

pub(crate) fn codec() -> Codec {
    Codec::new(DiscoveryNumber::new(4_200_000_001).expect("a usable number"))
}

pub(crate) fn at(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// A path from a peer, not far away.
pub(crate) fn near() -> Facts {
    Facts {
        from: Source::Peer("tor1".into()),
        next_hop: None,
        distance: 10,
        stale: false,
    }
}

/// Services in short: `web.default:ready`, ports and tags after more colons: `web.default:ready:http=80:canary`.
pub(crate) fn announcement(key: u64, services: &[&str]) -> Statement {
    let services = services.iter().map(|text| {
        let mut parts = text.split(':');
        let id: ServiceId = parts.next().unwrap_or_default().parse().expect(text);
        let state = match parts.next() {
            None | Some("ready") => "ready",
            Some(other) => other,
        };
        let mut json = serde_json::json!({
            "name": id.name(), "namespace": id.namespace(), "address": "10.0.0.1", "ports": [], "tags": [],
        });
        for part in parts {
            match part.split_once('=') {
                Some((name, port)) if port.parse::<u16>().is_ok() => json["ports"]
                    .as_array_mut()
                    .expect("an array")
                    .push(serde_json::json!({"name": name, "port": port.parse::<u16>().expect("a port")})),
                _ => json["tags"].as_array_mut().expect("an array").push(part.into()),
            }
        }
        let registration: crate::registry::Registration = serde_json::from_value(json).expect(text);
        registration.service(serde_json::from_value(state.into()).expect("a state"))
    });
    let mut endpoint = Endpoint::new(NodeKey(key));
    endpoint.record = Record {
        services: services.collect(),
        ..Record::default()
    };
    match codec().decode(&codec().encode(&endpoint).expect("small")) {
        Ok(Decoded::Endpoint(announcement)) => Statement::Endpoint(Arc::new(announcement)),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn carrier(key: u64, name: &str, addresses: &[&str]) -> Statement {
    Statement::Carrier(Arc::new(Carrier {
        key: NodeKey(key),
        nonce: 1,
        pools: BTreeMap::new(),
        manifest: None,
        node: Record {
            host: Some(HostName::new(name).expect(name)),
            addresses: addresses.iter().map(|address| at(address)).collect(),
            ..Record::default()
        },
    }))
}

fn addresses(catalog: &Catalog, service: &str) -> Vec<(String, Standing)> {
    catalog
        .resolve(service)
        .map(|i| (i.address.to_string(), i.standing))
        .collect()
}

#[test]
fn an_endpoint_before_its_carrier_is_held_and_then_believed() {
    let mut catalog = Catalog::new();
    catalog.upsert(at("10.1.0.2"), announcement(1, &["web"]), near());
    assert!(!catalog.has_service("web.default"));
    assert_eq!(catalog.counts().without_carrier, 1);
    let before = catalog.index();
    catalog.upsert(at("fdaa::1"), carrier(1, "h1", &[]), near());
    assert_eq!(
        addresses(&catalog, "web.default"),
        [("10.1.0.2".into(), Standing::Ready)]
    );
    assert!(catalog.service_index("web.default") > before);

    catalog.upsert(
        at("fdaa::1"),
        carrier(1, "h1", &[]),
        Facts {
            stale: true,
            ..near()
        },
    );
    assert_eq!(
        addresses(&catalog, "web.default"),
        [("10.1.0.2".into(), Standing::StaleReady)]
    );
    let before = catalog.index();
    catalog.remove(at("fdaa::1"));
    assert!(
        !catalog.has_service("web.default"),
        "a node that is gone takes its services with it"
    );
    assert!(
        catalog.service_index("web.default") > before,
        "a watcher hears of it"
    );
    assert_eq!(
        catalog.counts().without_carrier,
        1,
        "held, for its carrier may come back"
    );
}

#[test]
fn another_nodes_carrier_does_not_make_an_endpoint_believed() {
    let mut catalog = Catalog::new();
    catalog.upsert(at("fdaa::1"), carrier(1, "h1", &[]), near());
    catalog.upsert(at("10.1.0.2"), announcement(2, &["web"]), near());
    assert!(!catalog.has_service("web.default"));
    catalog.upsert(at("10.1.0.3"), announcement(1, &["web"]), near());
    assert!(
        catalog.has_service("web.default"),
        "it would have been found"
    );
}

#[test]
fn instances_are_ordered_by_standing_then_distance_then_address() {
    let mut catalog = Catalog::new();
    for key in 1..=3 {
        catalog.upsert(
            at(&format!("fdaa::{key}")),
            carrier(key, &format!("h{key}"), &[]),
            near(),
        );
    }
    let far = Facts {
        distance: 20,
        ..near()
    };
    catalog.upsert(at("10.0.0.1"), announcement(1, &["web:failing"]), near());
    catalog.upsert(at("10.0.0.2"), announcement(1, &["web:draining"]), near());
    catalog.upsert(at("10.0.0.3"), announcement(2, &["web"]), far);
    catalog.upsert(at("10.0.0.5"), announcement(2, &["web"]), near());
    catalog.upsert(at("10.0.0.4"), announcement(3, &["web"]), near());
    catalog.upsert(
        at("10.0.0.6"),
        announcement(3, &["web"]),
        Facts {
            stale: true,
            ..near()
        },
    );
    let order: Vec<String> = addresses(&catalog, "web.default")
        .into_iter()
        .map(|(a, _)| a)
        .collect();
    assert_eq!(
        order,
        [
            "10.0.0.4", "10.0.0.5", "10.0.0.3", "10.0.0.2", "10.0.0.6", "10.0.0.1"
        ]
    );
    assert_eq!(
        catalog
            .resolve("web.default")
            .filter(|i| i.standing.is_answered())
            .count(),
        5
    );
}

#[test]
fn an_anycast_address_has_one_instance_for_each_node() {
    let mut catalog = Catalog::new();
    for key in 1..=2 {
        catalog.upsert(
            at(&format!("fdaa::{key}")),
            carrier(key, &format!("h{key}"), &[]),
            near(),
        );
    }
    let path = |key, facts| Path {
        statement: announcement(key, &["web"]),
        facts,
    };
    let far = Facts {
        from: Source::Peer("tor2".into()),
        distance: 30,
        ..near()
    };
    catalog.replace(
        at("10.9.9.9"),
        [path(1, far), path(2, near()), path(1, near())],
    );
    let found: Vec<(NodeKey, u32)> = catalog
        .resolve("web.default")
        .map(|i| (i.key, i.facts.distance))
        .collect();
    assert_eq!(
        found,
        [(NodeKey(1), 10), (NodeKey(2), 10)],
        "one path heard twice is one instance"
    );
    catalog.replace(at("10.9.9.9"), [path(2, near())]);
    assert_eq!(catalog.resolve("web.default").count(), 1);
    assert_eq!(catalog.nodes.addresses_of(NodeKey(1)).count(), 0);
}

#[test]
fn what_this_host_announces_is_there_before_its_own_carrier() {
    let mut catalog = Catalog::new();
    catalog.upsert(at("10.1.0.2"), announcement(1, &["web"]), Facts::LOCAL);
    assert_eq!(
        addresses(&catalog, "web.default"),
        [("10.1.0.2".into(), Standing::Ready)]
    );
}

#[test]
fn nodes_are_found_by_name_address_and_key_and_moved_with_their_carrier() {
    let mut catalog = Catalog::new();
    catalog.upsert(at("fdaa::1"), carrier(1, "h1", &["192.0.2.1"]), near());
    assert_eq!(catalog.nodes_named("h1").count(), 1);
    assert_eq!(catalog.nodes_at(at("192.0.2.1")).count(), 1);
    catalog.upsert(at("fdaa::1"), carrier(1, "h2", &["192.0.2.2"]), near());
    assert_eq!(
        (
            catalog.nodes_named("h1").count(),
            catalog.nodes_named("h2").count()
        ),
        (0, 1)
    );
    assert_eq!(catalog.nodes_at(at("192.0.2.1")).count(), 0);
    assert_eq!(
        catalog
            .node(NodeKey(1))
            .and_then(|n| n.name())
            .map(HostName::as_str),
        Some("h2")
    );
    catalog.remove(at("fdaa::1"));
    assert!(catalog.node(NodeKey(1)).is_none());
    assert_eq!(catalog.nodes_at(at("192.0.2.2")).count(), 0);
}

#[test]
fn the_same_again_changes_nothing() {
    let mut catalog = Catalog::new();
    catalog.upsert(at("fdaa::1"), carrier(1, "h1", &[]), near());
    assert!(catalog.upsert(at("10.0.0.1"), announcement(1, &["web"]), near()));
    let index = catalog.index();
    assert!(!catalog.upsert(at("10.0.0.1"), announcement(1, &["web"]), near()));
    assert!(!catalog.upsert(at("fdaa::1"), carrier(1, "h1", &[]), near()));
    assert!(!catalog.remove(at("10.0.0.2")));
    assert_eq!(catalog.index(), index);
}

#[test]
fn a_broken_record_is_counted_and_shown_and_offers_nothing() {
    let mut catalog = Catalog::new();
    catalog.upsert(at("fdaa::1"), carrier(1, "h1", &[]), near());
    let mut endpoint = Endpoint::new(NodeKey(1));
    endpoint.record.host = Some(HostName::new("h1").expect("a name"));
    let mut communities = codec().encode(&endpoint).expect("small");
    communities.pop();
    let Ok(Decoded::Endpoint(broken)) = codec().decode(&communities) else {
        panic!("an endpoint")
    };
    catalog.upsert(
        at("10.0.0.1"),
        Statement::Endpoint(Arc::new(broken)),
        near(),
    );
    assert_eq!(catalog.counts().broken, 1);
    assert_eq!(catalog.endpoints(None).count(), 1);
    assert_eq!(catalog.services().count(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Endpoint {
        address: u8,
        paths: Vec<(u64, u8, bool)>,
    },
    Carrier {
        key: u64,
        state: u8,
    },
}

fn arb_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (
            0u8..4,
            proptest::collection::vec((0u64..3, 0u8..4, any::<bool>()), 0..3)
        )
            .prop_map(|(address, paths)| Step::Endpoint { address, paths }),
        (0u64..3, 0u8..3).prop_map(|(key, state)| Step::Carrier { key, state }),
    ]
}

fn apply(catalog: &mut Catalog, step: &Step) {
    match step {
        Step::Endpoint { address, paths } => {
            let sets: [&[&str]; 4] = [
                &["web"],
                &["web:draining", "api:ready:t"],
                &["api.shop:failing"],
                &["web:ready:t"],
            ];
            let paths = paths.iter().map(|(key, set, stale)| Path {
                statement: announcement(*key, sets[usize::from(*set)]),
                facts: Facts {
                    stale: *stale,
                    ..near()
                },
            });
            catalog.replace(at(&format!("10.0.0.{address}")), paths);
        }
        Step::Carrier { key, state } => {
            let address = at(&format!("fdaa::{key}"));
            match state {
                0 => catalog.remove(address),
                state => {
                    let facts = Facts {
                        stale: *state == 2,
                        ..near()
                    };
                    catalog.upsert(
                        address,
                        carrier(*key, &format!("h{key}"), &["192.0.2.1"]),
                        facts,
                    )
                }
            };
        }
    }
}

/// Everything one can ask, in text, but the change indices.
fn picture(catalog: &Catalog) -> String {
    let mut text = format!("{:?}\n", catalog.counts());
    for service in catalog.services() {
        text += &format!(
            "{service} in {}: ",
            catalog.has_namespace(service.namespace())
        );
        for i in catalog.resolve(service.as_str()) {
            text += &format!("{} {} {:?} {:?}; ", i.address, i.key, i.standing, i.service);
        }
    }
    for key in (0..=9).map(NodeKey) {
        let endpoints: Vec<_> = catalog.nodes.addresses_of(key).collect();
        text += &format!("\n{key} {:?} {endpoints:?}", catalog.node(key));
    }
    text += &format!(
        "\n{:?}",
        catalog
            .nodes_at(at("192.0.2.1"))
            .map(|n| n.carrier.key)
            .collect::<Vec<_>>()
    );
    for (address, held) in catalog.endpoints(None) {
        text += &format!("\n{address} {held:?}");
    }
    text
}

proptest! {
    /// Felix's rule: what is incremental equals what is computed afresh from the last word on each address.
    #[test]
    fn the_view_does_not_depend_on_the_order_of_what_happened(
        steps in proptest::collection::vec(arb_step(), 1..40), reverse in any::<bool>(),
    ) {
        let mut incremental = Catalog::new();
        let mut last: BTreeMap<String, Step> = BTreeMap::new();
        for step in &steps {
            let index = incremental.index();
            let before = picture(&incremental);
            apply(&mut incremental, step);
            prop_assert_eq!(picture(&incremental) == before, incremental.index() == index);
            let of = match step {
                Step::Endpoint { address, .. } => format!("e{address}"),
                Step::Carrier { key, .. } => format!("c{key}"),
            };
            last.insert(of, step.clone());
        }
        let mut afresh = Catalog::new();
        let mut finals: Vec<&Step> = last.values().collect();
        if reverse {
            finals.reverse();
        }
        for step in finals {
            apply(&mut afresh, step);
        }
        prop_assert_eq!(picture(&incremental), picture(&afresh));
        for address in 0..4 {
            incremental.remove(at(&format!("10.0.0.{address}")));
        }
        for key in 0..3 {
            incremental.remove(at(&format!("fdaa::{key}")));
        }
        prop_assert_eq!(picture(&incremental), picture(&Catalog::new()), "something stayed behind");
    }
}
