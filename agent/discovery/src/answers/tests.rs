use proptest::prelude::*;

use super::*;
use crate::catalog::tests::{announcement, at, carrier, near};
use crate::judge::Facts;

fn zone() -> Zone {
    let mut zone = Zone::new(Zone::DEFAULT_ORIGIN).expect("the default");
    zone.servers = vec![at("169.254.1.53")];
    zone.networks = vec![
        Network::new(at("10.1.0.0"), 16).expect("a network"),
        Network::new(at("fd00::"), 64).expect("a network"),
    ];
    zone
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    catalog.upsert(
        at("fdaa::1"),
        carrier(1, "h1", &["192.0.2.1", "10.1.255.1", "2001:db8::1"]),
        near(),
    );
    catalog.upsert(at("fdaa::2"), carrier(2, "h2", &[]), near());
    catalog.upsert(
        at("10.1.7.2"),
        announcement(1, &["web:ready:http=80:https=443:canary:v=two"]),
        near(),
    );
    catalog.upsert(
        at("fd00::2"),
        announcement(1, &["web:ready:http=80"]),
        near(),
    );
    catalog.upsert(
        at("10.1.8.2"),
        announcement(2, &["web:ready:http=8080", "api.shop:failing"]),
        near(),
    );
    catalog.upsert(
        at("10.1.8.3"),
        announcement(2, &["web:draining:http=80"]),
        near(),
    );
    catalog.upsert(
        at("10.1.8.4"),
        announcement(2, &["web:failing:http=80", "job.shop:draining"]),
        near(),
    );
    catalog
}

fn ask(name: &str, kind: QueryType) -> Option<Reply> {
    answer(&zone(), &catalog(), &QueryName::from_text(name)?, kind, 1)
}

#[test]
fn while_the_catalog_grows_what_is_not_in_it_is_not_denied() {
    let mut catalog = Catalog::growing();
    catalog.upsert(at("fdaa::1"), carrier(1, "h1", &[]), near());
    catalog.upsert(at("10.1.7.2"), announcement(1, &["web:ready"]), near());
    let asked = |catalog: &Catalog, name: &str| {
        let name = QueryName::from_text(name).expect("a name");
        answer(&zone(), catalog, &name, QueryType::Any, 1).expect("one of ours")
    };
    let missing = [
        "api.default.svc.wayleave.internal",
        "h2.node.wayleave.internal",
        "9.7.1.10.in-addr.arpa",
    ];
    for name in missing {
        let reply = asked(&catalog, name);
        assert!(reply.not_known_yet && !reply.no_such_name, "{name}");
        assert_eq!((reply.answers, reply.authority), (vec![], None), "{name}");
    }
    let known = asked(&catalog, "web.default.svc.wayleave.internal");
    assert_eq!(known.answers, [address_data(at("10.1.7.2"))]);
    catalog.complete();
    for name in missing {
        let reply = asked(&catalog, name);
        assert!(reply.no_such_name && !reply.not_known_yet, "{name}");
    }
}

/// What came back, in short, sorted.
fn said(name: &str, kind: QueryType) -> String {
    let Some(reply) = ask(name, kind) else {
        return "elsewhere".to_owned();
    };
    assert_eq!(
        reply.answers.is_empty(),
        reply.authority.is_some(),
        "{name}: {reply:?}"
    );
    if reply.no_such_name {
        return "no such name".to_owned();
    }
    let mut texts: Vec<String> = reply
        .answers
        .iter()
        .map(|data| match data {
            Data::A(a) => a.to_string(),
            Data::Aaaa(a) => a.to_string(),
            Data::Srv {
                priority,
                weight,
                port,
                target,
            } => format!("{priority} {weight} {port} {target}"),
            Data::Ptr(name) | Data::Ns(name) => name.clone(),
            Data::Txt(tags) => tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(" "),
            Data::Soa(soa) => format!("{} {}", soa.primary, soa.mailbox),
        })
        .collect();
    texts.sort();
    if texts.is_empty() {
        "nothing".to_owned()
    } else {
        texts.join(", ")
    }
}

#[test]
fn questions_have_the_answers_of_this_table() {
    use QueryType::{A, Aaaa, Any, Ns, Other, Ptr, Soa, Srv, Txt};
    let web = "10.1.7.2, 10.1.8.2";
    let srv = "0 1 80 10-1-7-2.addr.wayleave.internal, 0 1 80 fd00-0-0-0-0-0-0-2.addr.wayleave.internal, \
               0 1 8080 10-1-8-2.addr.wayleave.internal";
    for (name, kind, expected) in [
        ("web.default.svc", A, web),
        ("WEB.Default.svc", A, web),
        ("web.svc", A, web),
        ("web.svc", Aaaa, "fd00::2"),
        ("web.svc", Any, web),
        ("web.svc", Txt, "canary v=two"),
        ("web.svc", Srv, "nothing"),
        ("web.svc", Other, "nothing"),
        ("job.shop.svc", A, "10.1.8.4"),
        ("api.shop.svc", A, "nothing"),
        ("api.shop.svc", Txt, "nothing"),
        ("api.svc", A, "no such name"),
        ("web.shop.svc", A, "no such name"),
        ("x.web.default.svc", A, "no such name"),
        ("shop.svc", A, "nothing"),
        ("elsewhere.svc", A, "no such name"),
        ("_http._tcp.web.default.svc", Srv, srv),
        ("_http._tcp.web.svc", Srv, srv),
        ("_http._tcp.web.svc", A, "nothing"),
        (
            "_https._tcp.web.svc",
            Srv,
            "0 1 443 10-1-7-2.addr.wayleave.internal",
        ),
        ("_http._udp.web.svc", Srv, "no such name"),
        ("_ftp._tcp.web.svc", Srv, "no such name"),
        ("_tcp.web.svc", Srv, "nothing"),
        ("_udp.web.svc", Srv, "no such name"),
        ("_http._tcp.shop.svc", Srv, "no such name"),
        ("_http._tcp.svc", Srv, "no such name"),
        ("_x._http._tcp.web.svc", Srv, "no such name"),
        ("svc", A, "nothing"),
        ("h1.node", A, "10.1.255.1, 192.0.2.1"),
        ("h1.node", Aaaa, "2001:db8::1"),
        ("h2.node", A, "nothing"),
        ("h3.node", A, "no such name"),
        ("x.h1.node", A, "no such name"),
        ("10-1-7-2.addr", A, "10.1.7.2"),
        ("10-1-7-2.addr", Aaaa, "nothing"),
        ("fd00-0-0-0-0-0-0-2.addr", Aaaa, "fd00::2"),
        ("8-8-8-8.addr", A, "no such name"),
        ("192-0-2-1.addr", A, "192.0.2.1"),
        ("ns", A, "169.254.1.53"),
        ("ns", Aaaa, "nothing"),
        ("x.ns", A, "no such name"),
        ("other", A, "no such name"),
    ] {
        assert_eq!(
            said(&format!("{name}.wayleave.internal"), kind),
            expected,
            "{name} {kind:?}"
        );
    }
    let web = "web.default.svc.wayleave.internal";
    for (name, kind, expected) in [
        (
            "wayleave.internal",
            Soa,
            "ns.wayleave.internal hostmaster.wayleave.internal",
        ),
        ("wayleave.internal", Ns, "ns.wayleave.internal"),
        ("wayleave.internal", A, "nothing"),
        ("internal", A, "elsewhere"),
        ("example.org", A, "elsewhere"),
        ("2.7.1.10.in-addr.arpa", Ptr, web),
        ("2.7.1.10.in-addr.arpa", A, "nothing"),
        ("3.7.1.10.in-addr.arpa", Ptr, "no such name"),
        (
            "4.8.1.10.in-addr.arpa",
            Ptr,
            "job.shop.svc.wayleave.internal, web.default.svc.wayleave.internal",
        ),
        ("1.255.1.10.in-addr.arpa", Ptr, "h1.node.wayleave.internal"),
        ("7.1.10.in-addr.arpa", Ptr, "nothing"),
        ("1.10.in-addr.arpa", Ptr, "nothing"),
        ("10.in-addr.arpa", Ptr, "elsewhere"),
        ("2.7.2.10.in-addr.arpa", Ptr, "elsewhere"),
        ("02.7.1.10.in-addr.arpa", Ptr, "elsewhere"),
        ("1.2.7.1.10.in-addr.arpa", Ptr, "elsewhere"),
        (
            "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            Ptr,
            web,
        ),
        (
            "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            Ptr,
            "elsewhere",
        ),
    ] {
        assert_eq!(said(name, kind), expected, "{name} {kind:?}");
    }
}

#[test]
fn a_negative_answer_names_the_zone_that_says_so() {
    let soa = |name: &str, kind| {
        ask(name, kind)
            .and_then(|reply| reply.authority)
            .expect(name)
    };
    assert_eq!(
        soa("x.svc.wayleave.internal", QueryType::A).owner,
        "wayleave.internal"
    );
    assert_eq!(
        soa("3.7.1.10.in-addr.arpa", QueryType::Ptr).owner,
        "1.10.in-addr.arpa"
    );
    let v6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(
        soa(v6, QueryType::Ptr).owner,
        "0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"
    );
}

#[test]
fn srv_comes_with_the_addresses_of_its_targets() {
    let reply = ask("_http._tcp.web.svc.wayleave.internal", QueryType::Srv).expect("ours");
    assert_eq!(reply.additional.len(), 3);
    for data in &reply.answers {
        let Data::Srv { target, .. } = data else {
            panic!("{data:?}")
        };
        let glue = reply
            .additional
            .iter()
            .find(|(name, _)| name == target)
            .expect("an address");
        let kind = if matches!(glue.1, Data::A(_)) {
            QueryType::A
        } else {
            QueryType::Aaaa
        };
        let asked = ask(target, kind).expect("ours");
        assert_eq!(
            asked.answers,
            std::slice::from_ref(&glue.1),
            "the target resolves to what the glue says"
        );
    }
}

#[test]
fn draining_and_stale_instances_are_answered_only_when_nothing_better_is_left() {
    let web = QueryName::from_text("web.svc.wayleave.internal").expect("a name");
    let mut catalog = catalog();
    let ask = |catalog: &Catalog| {
        let reply = answer(&zone(), catalog, &web, QueryType::A, 1).expect("ours");
        let mut answers: Vec<String> = reply
            .answers
            .iter()
            .map(|d| {
                if let Data::A(a) = d {
                    a.to_string()
                } else {
                    panic!()
                }
            })
            .collect();
        answers.sort();
        (reply.no_such_name, answers.join(" "))
    };
    catalog.remove(at("10.1.8.2"));
    assert_eq!(ask(&catalog), (false, "10.1.7.2".into()));
    catalog.upsert(
        at("fdaa::1"),
        carrier(1, "h1", &[]),
        Facts {
            stale: true,
            ..near()
        },
    );
    assert_eq!(
        ask(&catalog),
        (false, "10.1.8.3".into()),
        "draining before stale"
    );
    catalog.remove(at("10.1.8.3"));
    assert_eq!(
        ask(&catalog),
        (false, "10.1.7.2".into()),
        "stale before nothing"
    );
    catalog.remove(at("fdaa::1"));
    assert_eq!(
        ask(&catalog),
        (false, String::new()),
        "only a failing one: the name is there, empty"
    );
    catalog.remove(at("10.1.8.4"));
    assert_eq!(ask(&catalog), (true, String::new()));
}

#[test]
fn many_instances_are_sampled_fairly_and_in_every_order() {
    let mut catalog = Catalog::new();
    catalog.upsert(at("fdaa::1"), carrier(1, "h1", &[]), near());
    for n in 1..=100 {
        catalog.upsert(
            at(&format!("10.1.0.{n}")),
            announcement(1, &["web"]),
            near(),
        );
    }
    let zone = Zone {
        answer_limit: 10,
        ..zone()
    };
    let web = QueryName::from_text("web.svc.wayleave.internal").expect("a name");
    let mut first = std::collections::BTreeMap::new();
    let mut any = std::collections::BTreeMap::new();
    for seed in 0..10_000 {
        let reply = answer(&zone, &catalog, &web, QueryType::A, seed).expect("ours");
        assert_eq!(reply.answers.len(), 10);
        for (position, data) in reply.answers.iter().enumerate() {
            let Data::A(address) = data else {
                panic!("{data:?}")
            };
            *any.entry(*address).or_insert(0) += 1;
            if position == 0 {
                *first.entry(*address).or_insert(0) += 1;
            }
        }
    }
    assert_eq!((first.len(), any.len()), (100, 100));
    assert!(any.values().all(|n| (800..1_200).contains(n)), "{any:?}");
    assert!(first.values().all(|n| (50..160).contains(n)), "{first:?}");
}

#[test]
fn the_nearest_come_first_where_the_zone_says_so() {
    let mut catalog = Catalog::new();
    catalog.upsert(at("fdaa::1"), carrier(1, "h1", &[]), near());
    for n in 1..=20u32 {
        let facts = Facts {
            distance: 100 - n,
            ..near()
        };
        catalog.upsert(at(&format!("10.1.0.{n}")), announcement(1, &["web"]), facts);
    }
    let zone = Zone {
        answer_limit: 3,
        order: Order::Nearest,
        ..zone()
    };
    let web = QueryName::from_text("web.svc.wayleave.internal").expect("a name");
    let reply = answer(&zone, &catalog, &web, QueryType::A, 7).expect("ours");
    let nearest = ["10.1.0.20", "10.1.0.19", "10.1.0.18"].map(|a| address_data(at(a)));
    assert_eq!(reply.answers, nearest);
}

proptest! {
    #[test]
    fn every_question_has_an_answer_and_a_negative_one_has_its_authority(
        labels in proptest::collection::vec(prop_oneof![
            "[a-z0-9_-]{1,12}", Just("svc".to_owned()), Just("web".to_owned()), Just("default".to_owned()),
            Just("_tcp".to_owned()), Just("_http".to_owned()), Just("node".to_owned()), Just("addr".to_owned()),
        ], 0..6),
        below in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut text = labels.join(".");
        if below {
            text += if text.is_empty() { "wayleave.internal" } else { ".wayleave.internal" };
        }
        let name = QueryName::from_text(&text).expect("short");
        let (zone, catalog) = (zone(), catalog());
        for kind in [QueryType::A, QueryType::Aaaa, QueryType::Srv, QueryType::Ptr, QueryType::Any, QueryType::Other] {
            let reply = answer(&zone, &catalog, &name, kind, seed);
            prop_assert_eq!(reply.is_some(), below, "{}", text);
            let Some(reply) = reply else { continue };
            prop_assert_eq!(reply.answers.is_empty(), reply.authority.is_some());
            prop_assert!(!reply.no_such_name || reply.answers.is_empty());
        }
    }
}
