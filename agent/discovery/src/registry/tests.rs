use proptest::prelude::*;

use super::*;
use crate::{
    codec::{Decoded, MAX_COMMUNITIES},
    community::DiscoveryNumber,
};

fn registry() -> Registry {
    let codec = Codec::new(DiscoveryNumber::new(4_200_000_001).expect("a usable number"));
    let mut registry = Registry::new(codec, NodeSettings::new(NodeKey(7)), places());
    for address in [
        "10.1.7.2", "10.1.7.3", "10.1.7.9", "10.1.8.1", "10.1.7.1", "fd00::2",
    ] {
        registry.address_taken(at(address));
    }
    registry
}

/// Of the addresses that [`registry`] has taken 10.1.8.1 lies in no block, and 10.1.7.1 is a neighbour's.
fn places() -> Places {
    let block =
        |text: &str, length| crate::answers::Network::new(at(text), length).expect("a network");
    Places {
        blocks: vec![block("10.1.7.0", 24), block("fd00::", 64)],
        reserved: [(at("10.1.7.1"), "the address of neighbour tor".to_owned())].into(),
    }
}

fn registration(json: &str) -> Registration {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn web() -> Registration {
    registration(
        r#"{"name":"web","address":"10.1.7.2","ports":[{"name":"http","port":80}],
            "checks":[{"kind":"tcp","port":80}]}"#,
    )
}

fn id(text: &str) -> InstanceId {
    InstanceId::new(text).expect(text)
}

fn at(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn a_service_is_announced_once_it_passes_and_withdrawn_when_it_goes() {
    let mut registry = registry();
    assert_eq!(
        registry.register(web(), Origin::Api),
        Ok(Registered::Created)
    );
    assert_eq!(
        registry.poll_change(),
        None,
        "nothing is announced before the first verdict"
    );
    let web = id("web@10.1.7.2:80");
    assert!(registry.set_health(&web, at("10.1.7.2"), Health::Passing));
    let change = registry.poll_change().expect("it passes");
    assert_eq!(change.address, at("10.1.7.2"));
    assert_eq!(change.endpoint.expect("announced").state(), State::Ready);
    assert_eq!(registry.poll_change(), None, "a change is told once");

    assert!(registry.set_health(&web, at("10.1.7.2"), Health::Failing));
    let endpoint = registry.poll_change().and_then(|change| change.endpoint);
    assert_eq!(
        endpoint.expect("replaced, not withdrawn").state(),
        State::Failing
    );

    assert!(registry.deregister(&web).is_some());
    let gone = Change {
        address: at("10.1.7.2"),
        endpoint: None,
    };
    assert_eq!(registry.poll_change(), Some(gone));
    assert_eq!(registry.deregister(&web), None);
    assert!(
        !registry.set_health(&web, at("10.1.7.2"), Health::Passing),
        "a late result is ignored"
    );
    assert_eq!(registry.poll_change(), None);
}

#[test]
fn registering_again_changes_nothing_and_a_new_tag_is_no_outage() {
    let mut registry = registry();
    let web = web();
    registry.register(web.clone(), Origin::Api).expect("fits");
    registry.set_health(&web.instance, at("10.1.7.2"), Health::Passing);
    registry.poll_change().expect("announced");
    assert_eq!(
        registry.register(web.clone(), Origin::Api),
        Ok(Registered::Unchanged)
    );
    assert_eq!(registry.poll_change(), None);

    let tagged = Registration {
        tags: [crate::names::Tag::new("v=2").expect("a tag")].into(),
        ..web
    };
    assert_eq!(
        registry.register(tagged, Origin::Api),
        Ok(Registered::Replaced)
    );
    let endpoint = registry
        .poll_change()
        .and_then(|change| change.endpoint)
        .expect("replaced");
    assert_eq!(endpoint.state(), State::Ready);
    assert_eq!(endpoint.record.services[0].tags.len(), 1);
    assert_eq!(
        registry.poll_change(),
        None,
        "one change, not a withdrawal and an announcement"
    );
}

#[test]
fn services_of_one_address_are_merged_and_each_keeps_its_own_state() {
    let mut registry = registry();
    registry.register(web(), Origin::Api).expect("fits");
    let api = registration(r#"{"name":"api","namespace":"shop","address":"10.1.7.2"}"#);
    registry.register(api, Origin::Api).expect("fits");
    let endpoint = registry
        .poll_change()
        .and_then(|change| change.endpoint)
        .expect("api has no check");
    assert_eq!(endpoint.record.services.len(), 1);
    registry.set_health(&id("web@10.1.7.2:80"), at("10.1.7.2"), Health::Failing);
    let endpoint = registry
        .poll_change()
        .and_then(|change| change.endpoint)
        .expect("both");
    let states: Vec<_> = endpoint
        .record
        .services
        .iter()
        .map(|s| (s.id().as_str().to_owned(), s.state))
        .collect();
    assert_eq!(
        states,
        [
            ("web.default".into(), State::Failing),
            ("api.shop".into(), State::Ready)
        ]
    );
    assert_eq!(
        endpoint.state(),
        State::Failing,
        "the address has the worst state"
    );
}

#[test]
fn an_operator_drains_and_takes_out_but_does_not_hide_a_failure() {
    let mut registry = registry();
    let web = web();
    registry.register(web.clone(), Origin::Api).expect("fits");
    for (health, admin, state) in [
        (Health::Passing, Admin::Draining, State::Draining),
        (
            Health::Passing,
            Admin::Maintenance("disk".into()),
            State::Maintenance,
        ),
        (Health::Failing, Admin::Draining, State::Failing),
        (Health::Passing, Admin::Normal, State::Ready),
    ] {
        registry.set_health(&web.instance, at("10.1.7.2"), health);
        assert!(registry.set_admin(&web.instance, admin));
        let endpoint = registry
            .poll_change()
            .and_then(|change| change.endpoint)
            .expect("changed");
        assert_eq!(endpoint.state(), state);
    }
    assert!(!registry.set_admin(&id("nobody"), Admin::Draining));
}

#[test]
fn each_address_of_a_service_has_its_own_health() {
    let mut registry = registry();
    let dual = registration(
        r#"{"id":"dual","name":"web","addresses":["10.1.7.2","fd00::2"],"checks":[{"kind":"tcp","port":80}]}"#,
    );
    registry
        .register(dual, Origin::Container("c1".into()))
        .expect("fits");
    registry.set_health(&id("dual"), at("fd00::2"), Health::Passing);
    assert_eq!(
        registry.poll_change().expect("v6 passes").address,
        at("fd00::2")
    );
    assert_eq!(registry.poll_change(), None);
    assert_eq!(registry.address_gone(at("fd00::2")).lost, [id("dual")]);
    assert_eq!(registry.poll_change().expect("gone").endpoint, None);
    assert!(
        registry.instance(&id("dual")).is_some(),
        "it still has an address"
    );
    assert_eq!(registry.address_gone(at("10.1.7.2")).lost, [id("dual")]);
    assert!(registry.instance(&id("dual")).is_none());
    assert_eq!(registry.address_gone(at("10.1.7.2")), Gone::default());
}

#[test]
fn only_addresses_of_this_hosts_containers_are_taken_and_a_refusal_says_why() {
    for (address, part) in [
        ("10.1.7.1", "10.1.7.1 is the address of neighbour tor"),
        (
            "10.1.8.1",
            "10.1.8.1 lies in no block of this host (10.1.7.0/24, fd00::/64)",
        ),
        ("192.0.2.1", "192.0.2.1 lies in no block of this host"),
        ("10.1.7.77", "no container of this host has 10.1.7.77"),
        ("fd00::7", "no container of this host has fd00::7"),
    ] {
        let mut registry = registry();
        let json = format!(r#"{{"id":"x","name":"web","addresses":["10.1.7.2","{address}"]}}"#);
        let error = registry
            .register(registration(&json), Origin::Api)
            .expect_err(address);
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.to_string().contains("; "), "what to do: {error}");
        assert_eq!(registry.instances().count(), 0);
        assert_eq!(registry.poll_change(), None);
        let from_file =
            registry.register(registration(&json), Origin::File("/etc/web.toml".into()));
        assert_eq!(
            from_file.is_ok(),
            part.starts_with("no container"),
            "a file may wait for a container, and for nothing else: {from_file:?}"
        );
    }
    let mut nowhere = Registry::new(
        registry().codec,
        NodeSettings::new(NodeKey(7)),
        Places::default(),
    );
    nowhere.address_taken(at("10.1.7.2"));
    let error = nowhere.register(web(), Origin::Api).expect_err("no block");
    assert!(error.to_string().contains("(it has none)"), "{error}");
}

#[test]
fn what_stands_in_a_file_waits_for_its_address_and_comes_back_with_it() {
    let mut registry = registry();
    let file = Origin::File("/etc/web.toml".into());
    let two = registration(r#"{"id":"two","name":"web","addresses":["10.1.7.2","10.1.7.5"]}"#);
    registry.register(two.clone(), file.clone()).expect("waits");
    let change = registry.poll_change().expect("one of them is there");
    assert_eq!(
        (change.address, registry.poll_change()),
        (at("10.1.7.2"), None)
    );
    let waits = |registry: &Registry| -> Vec<IpAddr> {
        registry.suspended().map(|(_, why)| why.address()).collect()
    };
    assert_eq!(waits(&registry), [at("10.1.7.5")]);

    assert_eq!(registry.address_taken(at("10.1.7.5")), [id("two")]);
    assert_eq!(
        registry.poll_change().expect("announced").address,
        at("10.1.7.5")
    );
    assert_eq!(registry.address_gone(at("10.1.7.2")).suspended, [id("two")]);
    assert_eq!(registry.poll_change().expect("withdrawn").endpoint, None);
    assert!(
        !registry.set_health(&id("two"), at("10.1.7.2"), Health::Passing),
        "a late result announces nothing"
    );
    assert_eq!(registry.register(two, file), Ok(Registered::Unchanged));
    assert_eq!(
        registry.poll_change(),
        None,
        "nor does reading the file again"
    );
    assert_eq!(waits(&registry), [at("10.1.7.2")]);
    registry.address_taken(at("10.1.7.2"));
    assert!(
        registry
            .poll_change()
            .expect("it is back")
            .endpoint
            .is_some()
    );
    assert!(waits(&registry).is_empty());
}

#[test]
fn an_address_that_turns_out_to_be_a_neighbours_is_withdrawn_and_comes_back_when_it_is_not() {
    let mut registry = registry();
    registry.register(web(), Origin::Api).expect("fits");
    registry.set_health(&id("web@10.1.7.2:80"), at("10.1.7.2"), Health::Passing);
    registry.poll_change().expect("announced");
    let mut reserved = places();
    reserved
        .reserved
        .insert(at("10.1.7.2"), "this host's own address".to_owned());
    assert_eq!(
        registry.set_places(reserved.clone()),
        [id("web@10.1.7.2:80")]
    );
    assert_eq!(registry.poll_change().expect("withdrawn").endpoint, None);
    assert_eq!(registry.suspended().count(), 1);
    assert_eq!(registry.set_places(reserved), []);
    assert_eq!(registry.set_places(places()), [id("web@10.1.7.2:80")]);
    registry.set_health(&id("web@10.1.7.2:80"), at("10.1.7.2"), Health::Passing);
    assert!(
        registry
            .poll_change()
            .expect("announced")
            .endpoint
            .is_some()
    );
}

#[test]
fn what_was_stored_for_a_container_that_is_gone_is_not_restored() {
    let stored = |json: &str| {
        let registration = registration(json);
        let health = registration
            .addresses
            .iter()
            .map(|address| (*address, Health::Passing));
        Instance {
            health: health.collect(),
            registration,
            origin: Origin::Api,
            admin: Admin::Draining,
        }
    };
    let mut registry = registry();
    for (json, outcome) in [
        (
            r#"{"id":"whole","name":"web","address":"10.1.7.2"}"#,
            Restored::Whole,
        ),
        (
            r#"{"id":"less","name":"web","addresses":["10.1.7.3","10.1.7.4"]}"#,
            Restored::Less,
        ),
        (
            r#"{"id":"gone","name":"web","address":"10.1.7.4"}"#,
            Restored::Gone,
        ),
        (
            r#"{"id":"misfit","name":"web","address":"10.1.8.1"}"#,
            Restored::Whole,
        ),
    ] {
        assert_eq!(registry.restore(stored(json)), Ok(outcome), "{json}");
    }
    let mut announced = BTreeMap::new();
    while let Some(change) = registry.poll_change() {
        announced.insert(change.address, change.endpoint.expect("announced").state());
    }
    let drains = |address| (at(address), State::Draining);
    assert_eq!(
        announced,
        [drains("10.1.7.2"), drains("10.1.7.3")].into(),
        "a container that outlived its block has no service"
    );
    let ids: Vec<&str> = registry.instances().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["less", "misfit", "whole"]);
}

#[test]
fn what_one_registered_no_other_changes() {
    let mut registry = registry();
    registry
        .register(web(), Origin::File("/etc/web.toml".into()))
        .expect("fits");
    let error = registry
        .register(web(), Origin::Api)
        .expect_err("owned by the file");
    assert!(
        error.to_string().contains("the file /etc/web.toml"),
        "{error}"
    );
}

#[test]
fn a_service_too_many_for_an_address_is_refused_and_leaves_all_as_it_was() {
    let mut registry = registry();
    let mut taken = 0;
    let error = loop {
        let json = format!(
            r#"{{"name":"service-number-{taken:03}","address":"10.1.7.2","ports":[{{"name":"http","port":80}}]}}"#
        );
        match registry.register(registration(&json), Origin::Api) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 200, "the budget is never enforced");
    };
    assert!(error.to_string().contains("more than the 192"), "{error}");
    assert_eq!(registry.instances().count(), taken);
    let endpoint = registry
        .poll_change()
        .and_then(|change| change.endpoint)
        .expect("announced");
    assert_eq!(endpoint.record.services.len(), taken);
    assert!(registry.codec.encode(&endpoint).expect("within").len() <= MAX_COMMUNITIES);
}

#[test]
fn addresses_beyond_the_prefix_budget_are_refused() {
    let mut registry = registry();
    registry.node.max_addresses = 2;
    for n in 2..4 {
        registry
            .register(
                registration(&format!(r#"{{"name":"web","address":"10.1.7.{n}"}}"#)),
                Origin::Api,
            )
            .expect("within the budget");
    }
    let third = registration(r#"{"name":"web","address":"10.1.7.9"}"#);
    let error = registry
        .register(third.clone(), Origin::Api)
        .expect_err("beyond");
    assert_eq!(
        error,
        RegisterError::TooManyAddresses {
            wanted: 3,
            limit: 2
        }
    );
    let more = registration(r#"{"name":"api","address":"10.1.7.2"}"#);
    registry
        .register(more, Origin::Api)
        .expect("another service at an address costs no prefix");
    let moved = Registration {
        instance: id("web@10.1.7.3"),
        ..third
    };
    registry
        .register(moved, Origin::Api)
        .expect("a move frees the old address");
}

#[test]
fn wrong_registrations_say_what_is_wrong() {
    for (json, part) in [
        (r#"{"name":"Web","address":"10.1.7.2"}"#, "upper case"),
        (r#"{"name":"web"}"#, "has no address"),
        (
            r#"{"name":"web","address":"127.0.0.1"}"#,
            "a loopback address",
        ),
        (
            r#"{"name":"web","address":"fe80::1"}"#,
            "a link-local address",
        ),
        (
            r#"{"name":"web","address":"::ffff:10.1.1.1"}"#,
            "an IPv4-mapped address",
        ),
        (
            r#"{"name":"web","address":"10.1.7.2","priority":16}"#,
            "must be 0 to 15",
        ),
        (
            r#"{"name":"web","address":"10.1.7.2","ports":[{"port":0}]}"#,
            "port 0",
        ),
        (
            r#"{"name":"web","address":"10.1.7.2","ports":[{"name":"a","port":1},{"name":"a","port":2}]}"#,
            "two tcp ports",
        ),
        (
            r#"{"name":"web","address":"10.1.7.2","ports":[{"protocol":"icmpish","port":1}]}"#,
            "not a protocol",
        ),
        (
            r#"{"name":"web","address":"10.1.7.2","colour":"red"}"#,
            "unknown field",
        ),
        (r#"{"name":"web","address":"10.1.7.300"}"#, "IP address"),
    ] {
        let error = serde_json::from_str::<Registration>(json)
            .expect_err(json)
            .to_string();
        assert!(error.contains(part), "{json}: {error}");
    }
}

#[test]
fn a_registration_survives_its_text_form() {
    let full = registration(
        r#"{"id":"x","name":"web","namespace":"shop","addresses":["10.1.7.2","fd00::2"],"priority":3,"weight":9,
            "ports":[{"name":"http","port":80},{"protocol":"udp","port":443}],"tags":["a=b","c"],
            "checks":[{"kind":"http","port":80}]}"#,
    );
    assert_eq!(
        registration(&serde_json::to_string(&full).expect("plain")),
        full
    );
}

#[derive(Clone, Debug)]
enum Step {
    Register(u8, u8, bool),
    Deregister(u8, u8),
    Health(u8, u8, u8),
    Gone(u8),
    Taken(u8),
    Tell,
}

fn arb_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4, 0u8..3, any::<bool>()).prop_map(|(s, a, c)| Step::Register(s, a, c)),
        (0u8..4, 0u8..3).prop_map(|(s, a)| Step::Deregister(s, a)),
        (0u8..4, 0u8..3, 0u8..3).prop_map(|(s, a, h)| Step::Health(s, a, h)),
        (0u8..3).prop_map(Step::Gone),
        (0u8..3).prop_map(Step::Taken),
        Just(Step::Tell),
    ]
}

proptest! {
    /// Whatever happened in between: who applied all changes holds what is desired, and the codec can write it.
    #[test]
    fn the_sum_of_all_changes_is_what_is_desired(steps in proptest::collection::vec(arb_step(), 1..80)) {
        let mut registry = registry();
        let mut applied: BTreeMap<IpAddr, Endpoint> = BTreeMap::new();
        let name = |service: u8, address: u8| id(&format!("s{service}-a{address}"));
        let address = |n: u8| at(&format!("10.1.7.{}", n + 100));
        let mut taken = BTreeSet::new();
        for step in steps.into_iter().chain([Step::Tell]) {
            match step {
                Step::Register(s, a, checked) => {
                    let checks = if checked { r#"[{"kind":"tcp","port":1}]"# } else { "[]" };
                    let json = format!(
                        r#"{{"id":"s{s}-a{a}","name":"s{s}","address":"{}","checks":{checks}}}"#, address(a)
                    );
                    // Every other service stands in a file, which may wait.
                    let origin = if s % 2 == 0 { Origin::Api } else { Origin::File("f".into()) };
                    let waits = matches!(origin, Origin::File(_));
                    let registered = registry.register(registration(&json), origin);
                    prop_assert_eq!(registered.is_ok(), waits || taken.contains(&a));
                }
                Step::Deregister(s, a) => drop(registry.deregister(&name(s, a))),
                Step::Health(s, a, h) => {
                    let health = [Health::Passing, Health::Starting, Health::Failing][usize::from(h)];
                    registry.set_health(&name(s, a), address(a), health);
                }
                Step::Gone(a) => {
                    taken.remove(&a);
                    registry.address_gone(address(a));
                }
                Step::Taken(a) => {
                    taken.insert(a);
                    registry.address_taken(address(a));
                }
                Step::Tell => while let Some(change) = registry.poll_change() {
                    match change.endpoint {
                        Some(endpoint) => {
                            let communities = registry.codec.encode(&endpoint).expect("checked at registration");
                            let Ok(Decoded::Endpoint(again)) = registry.codec.decode(&communities) else {
                                panic!("what is announced is not understood");
                            };
                            prop_assert_eq!(again.endpoint(), Some(endpoint.clone()));
                            prop_assert_ne!(applied.insert(change.address, endpoint.clone()), Some(endpoint));
                        }
                        None => prop_assert!(applied.remove(&change.address).is_some(), "withdrawn twice"),
                    }
                },
            }
        }
        let desired: BTreeMap<IpAddr, Endpoint> =
            (0..3).filter_map(|n| Some((address(n), registry.desired(address(n))?))).collect();
        let announced_only_where_taken = (0..3).all(|n| taken.contains(&n) || !applied.contains_key(&address(n)));
        prop_assert!(announced_only_where_taken);
        prop_assert_eq!(applied, desired);
    }
}
