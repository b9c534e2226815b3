//! What conditions, actions and verdicts mean, one table each.

use std::{net::IpAddr, sync::Arc};

use wayleave_bgp_core::{
    Asn, Community, Family,
    attributes::{AsSegment, Origin, UnknownAttribute},
    policy::{
        Action, Amount, Bound, Condition, Fabric, Match, MedIs, NamePattern, NextHopChange,
        NextHopTo, Numbers, Rule, Rules, SetIndex, Source, Then, Validation, Verdict,
    },
};

use crate::route::{Given, communities, given, is_canonical, list, patterns, router_id, session};

fn rules(list: impl IntoIterator<Item = Rule>) -> Rules {
    Rules::new("test", list.into_iter().collect(), Verdict::Reject)
}

/// A list that accepts what fulfils one condition.
fn only(wanted: impl Into<Match>) -> Rules {
    rules([Rule::new("only", Then::Accept).when(wanted)])
}

/// A list that does this to every route.
fn always(action: Action) -> Rules {
    rules([Rule::new("always", Then::Accept).with(action)])
}

fn accepts(rules: &Rules, given: &Given) -> bool {
    given.judge(rules).verdict == Verdict::Accept
}

fn numbers(texts: &[&str]) -> Vec<Numbers> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn without_a_rule_that_decides_the_default_stands_which_rejects() {
    // RFC 8212, 3
    let nothing = rules([]);
    assert_eq!(given().judge(&nothing).verdict, Verdict::Reject);
    assert_eq!(given().judge(&nothing).rule, None);
    let open = Rules::new("open", Vec::new(), Verdict::Accept);
    assert_eq!(given().judge(&open).verdict, Verdict::Accept);
    assert_eq!(Verdict::default(), Verdict::Reject);
}

#[test]
fn the_first_rule_that_decides_counts_and_all_of_its_conditions_must_hold() {
    let two = rules([
        Rule::new("long", Then::Reject)
            .when(Condition::Prefix(vec![list(&["10.0.0.0/8 ge 25"])]))
            .when(Condition::NeighborAs(numbers(&["65010"]))),
        Rule::new("ours", Then::Accept).when(Condition::Prefix(vec![list(&["10.0.0.0/8 le 32"])])),
    ]);
    for (prefix, path, rule) in [
        ("10.1.0.0/26", [65_010, 1], Some(0)),
        ("10.1.0.0/26", [65_011, 1], Some(1)),
        ("10.1.0.0/16", [65_010, 1], Some(1)),
        ("11.0.0.0/8", [65_010, 1], None),
    ] {
        let outcome = given().prefix(prefix).path(&path).judge(&two);
        assert_eq!(outcome.rule, rule, "{prefix} {path:?}");
    }
}

#[test]
fn a_rule_behind_next_sees_what_was_changed() {
    let list = rules([
        Rule::new("wash", Then::Next).with(Action::StripCommunities(patterns(&["65001:*"]))),
        Rule::new("trusted", Then::Accept).when(Condition::Community(patterns(&["65001:1"]))),
        Rule::new("mark", Then::Next).with(Action::AddCommunities(communities(&["65001:2"]))),
        Rule::new("marked", Then::Accept).when(Condition::Community(patterns(&["65001:2"]))),
    ]);
    let outcome = given().with(&["65001:1"]).judge(&list);
    assert_eq!(outcome.rule, Some(3), "nobody grants himself what we grant");
}

#[test]
fn of_a_rejected_route_nothing_is_changed() {
    let list = rules([
        Rule::new("mark", Then::Next).with(Action::LocalPref(Amount::Set(7))),
        Rule::new("no", Then::Reject).with(Action::RemoveMed),
    ]);
    let outcome = given().judge(&list);
    assert_eq!((outcome.verdict, outcome.changed), (Verdict::Reject, None));
}

#[test]
fn every_condition_holds_for_what_it_names_and_its_opposite_for_the_rest() {
    let med = |med| given().change(|attributes| attributes.med = med);
    let local_pref = |value| given().change(|attributes| attributes.local_pref = value);
    let path = |path: &[u32]| given().path(path);
    let ipv6 = || given().prefix("fd00:1::/64");
    let own = || Given {
        source: Source::Own,
        next_hop: None,
        ..given().path(&[])
    };
    let invalid = || Given {
        validation: Validation::Invalid,
        ..given()
    };
    let as_path = |text: &str| Condition::AsPath(vec![text.parse().unwrap()]);
    let name = |text: &str| Condition::Peer(vec![NamePattern::new(text)]);
    let set = |asns: &[u32]| AsSegment::Set(asns.iter().copied().map(Asn).collect());
    let with_set = || given().change(|a| a.as_path.push(set(&[65_030, 65_031])));
    let confederated = || {
        given().change(|a| {
            let inner = AsSegment::ConfedSequence(vec![Asn(64_601), Asn(64_602)]);
            a.as_path.insert(0, inner);
        })
    };
    let table = vec![
        (
            Condition::Prefix(vec![list(&["10.0.0.0/8 le 16"])]),
            given(),
            true,
        ),
        (
            Condition::Prefix(vec![list(&["10.0.0.0/8"])]),
            given(),
            false,
        ),
        (
            Condition::Prefix(vec![list(&["10.0.0.0/8"]), list(&["10.1.0.0/16"])]),
            given(),
            true,
        ),
        (Condition::Prefix(Vec::new()), given(), false),
        (
            Condition::Prefix(vec![list(&["fd00::/8 le 64"])]),
            ipv6(),
            true,
        ),
        (
            Condition::NextHop(vec![list(&["192.0.2.0/24 le 32"])]),
            given(),
            true,
        ),
        (
            Condition::NextHop(vec![list(&["192.0.2.2/32"])]),
            given(),
            false,
        ),
        (
            Condition::NextHop(vec![list(&["0.0.0.0/0 le 32"])]),
            own(),
            false,
        ),
        // RFC 1997: "NO_EXPORT (0xFFFFFF01)"
        (
            Condition::Community(patterns(&["no-export"])),
            given().with(&["65535:65281"]),
            true,
        ),
        (
            Condition::Community(patterns(&["65001:*", "no-export"])),
            given().with(&["65001:9"]),
            true,
        ),
        (Condition::Community(patterns(&["65001:*"])), given(), false),
        (
            Condition::AllCommunities(patterns(&["65001:*", "no-export"])),
            given().with(&["65001:9"]),
            false,
        ),
        (
            Condition::AllCommunities(patterns(&["65001:*", "1:2:3"])),
            given().with(&["65001:9", "1:2:3"]),
            true,
        ),
        // RFC 8092, 3: the parts are compared as numbers
        (
            Condition::Community(patterns(&["4200000000:1:*"])),
            given().with(&["4200000000:1:7"]),
            true,
        ),
        (
            Condition::Community(patterns(&["4200000000:2:*"])),
            given().with(&["4200000000:1:7"]),
            false,
        ),
        // RFC 4360, 4
        (
            Condition::Community(patterns(&["rt:65001:100"])),
            given().with(&["rt:65001:100"]),
            true,
        ),
        (
            Condition::Community(patterns(&["ro:65001:100"])),
            given().with(&["rt:65001:100"]),
            false,
        ),
        (
            Condition::Community(patterns(&["1:2:*", "rt:65001:*"])),
            given().with(&["65001:9"]),
            false,
        ),
        (
            Condition::Community(patterns(&["1:2:*"])),
            given().with(&["1:1:1", "1:2:1"]),
            true,
        ),
        (
            Condition::Community(patterns(&["rt:65001:*"])),
            given().with(&["rt:1:1", "rt:65001:1"]),
            true,
        ),
        (as_path("65010 65020"), given(), true),
        (as_path("65010"), given(), false),
        (as_path("_65020_"), given(), true),
        (as_path("^65010_"), given(), true),
        (as_path("65010 65020 65031"), with_set(), true),
        // RFC 5065, 5.3: what is within the confederation counts for nothing
        (as_path("65010 65020"), confederated(), true),
        (
            Condition::AsPathLength(numbers(&["2"])),
            confederated(),
            true,
        ),
        (
            Condition::AsPathContains(numbers(&["64602"])),
            confederated(),
            true,
        ),
        (
            Condition::AsPathContains(numbers(&["64512-65000"])),
            given(),
            false,
        ),
        (
            Condition::AsPathContains(numbers(&["65031"])),
            with_set(),
            true,
        ),
        (Condition::NeighborAs(numbers(&["65010"])), given(), true),
        (Condition::NeighborAs(numbers(&["*"])), path(&[]), false),
        (Condition::OriginAs(numbers(&["65020"])), given(), true),
        // RFC 6811, 2: a path that ends in a set has no origin
        (Condition::OriginAs(numbers(&["*"])), with_set(), false),
        (Condition::AsPathLength(numbers(&["3-"])), given(), false),
        (Condition::AsPathLength(numbers(&["0"])), path(&[]), true),
        // RFC 4271, 9.1.2.2 a: "an AS_SET counts as 1"
        (Condition::AsPathLength(numbers(&["3"])), with_set(), true),
        (Condition::Med(vec![MedIs::Absent]), given(), true),
        (
            Condition::Med(vec![MedIs::In(Numbers::ANY)]),
            given(),
            false,
        ),
        (
            Condition::Med(vec![MedIs::In(Numbers::one(0))]),
            med(Some(0)),
            true,
        ),
        (Condition::LocalPref(numbers(&["100"])), given(), true),
        (
            Condition::LocalPref(numbers(&["200-"])),
            local_pref(Some(200)),
            true,
        ),
        (Condition::Origin(vec![Origin::Igp]), given(), true),
        (
            Condition::Origin(vec![Origin::Egp, Origin::Incomplete]),
            given(),
            false,
        ),
        (Condition::Family(vec![Family::Ipv4Unicast]), given(), true),
        (Condition::Family(vec![Family::Ipv4Unicast]), ipv6(), false),
        (name("tor1"), given(), true),
        (name("tor*"), given(), true),
        (name("leaf*"), given(), false),
        (Condition::Group(vec!["leaves".to_owned()]), given(), false),
        (Condition::Role(vec!["host".to_owned()]), given(), false),
        (Condition::External(true), given(), true),
        (Condition::Source(vec![Source::Own]), own(), true),
        (
            Condition::Source(vec![Source::Own, Source::Internal]),
            given(),
            false,
        ),
        (
            Condition::Validation(vec![Validation::Invalid]),
            invalid(),
            true,
        ),
        (
            Condition::Validation(vec![Validation::Valid, Validation::NotFound]),
            invalid(),
            false,
        ),
    ];
    for (condition, given, holds) in table {
        assert_eq!(
            accepts(&only(condition.clone()), &given),
            holds,
            "{condition}"
        );
        let opposite = Match::is_not(condition.clone());
        assert_eq!(accepts(&only(opposite), &given), !holds, "not {condition}");
    }
}

#[test]
fn conditions_on_the_session_are_settled_with_it() {
    let list = rules([
        Rule::new("hosts", Then::Accept).when(Condition::Role(vec!["host".to_owned()])),
        Rule::new("leaves", Then::Accept).when(Condition::Group(vec!["leaves".to_owned()])),
        Rule::new("within", Then::Accept).when(Condition::External(false)),
        Rule::new("rest", Then::Accept),
    ]);
    let mut of = session();
    assert_eq!(list.applicable(&of), [3]);
    of.role = Some("host".to_owned());
    assert_eq!(list.applicable(&of), [0, 3]);
    of.group = Some("leaves".to_owned());
    of.external = false;
    assert_eq!(list.applicable(&of), [0, 1, 2, 3]);
    assert_eq!(given().judge_on(&of, &list).rule, Some(0));
}

#[test]
fn med_is_set_changed_and_removed() {
    // RFC 4271, 5.1.4: "MUST provide a mechanism (based on local configuration) that allows the
    // MULTI_EXIT_DISC attribute to be removed from a route"
    let with = |med| given().change(|attributes| attributes.med = med);
    for (action, before, after) in [
        (Action::RemoveMed, Some(50), None),
        (Action::RemoveMed, None, None),
        (Action::Med(Amount::Set(20)), None, Some(20)),
        (Action::Med(Amount::Add(20)), Some(30), Some(50)),
        (Action::Med(Amount::Add(20)), None, Some(20)),
        (Action::Med(Amount::Add(u32::MAX)), Some(30), Some(u32::MAX)),
        (Action::Med(Amount::Subtract(20)), Some(10), Some(0)),
    ] {
        let found = with(before).after(&always(action.clone())).med;
        assert_eq!(found, after, "{action} of {before:?}");
    }
}

#[test]
fn local_pref_that_is_absent_counts_as_100() {
    let with = |value| given().change(|attributes| attributes.local_pref = value);
    for (amount, before, after) in [
        (Amount::Set(0), None, 0),
        (Amount::Add(50), None, 150),
        (Amount::Add(50), Some(10), 60),
        (Amount::Subtract(150), None, 0),
    ] {
        let found = with(before).after(&always(Action::LocalPref(amount)));
        assert_eq!(found.local_pref, Some(after), "{amount} of {before:?}");
    }
}

#[test]
fn communities_of_all_kinds_are_added_once_replaced_by_kind_and_stripped_by_pattern() {
    let texts = |attributes: &wayleave_bgp_core::attributes::Attributes| {
        let standard = attributes.communities.iter().map(ToString::to_string);
        let large = attributes.large_communities.iter().map(ToString::to_string);
        let extended = attributes.extended_communities.iter();
        let extended = extended
            .map(|octets| wayleave_bgp_core::policy::AnyCommunity::Extended(*octets).to_string());
        standard.chain(large).chain(extended).collect::<Vec<_>>()
    };
    let before = || given().with(&["65001:1", "65002:1", "4200000000:1:1", "rt:65001:1"]);
    let table: [(Action, &[&str]); 7] = [
        (
            Action::AddCommunities(communities(&[
                "65001:1",
                "no-export",
                "4200000000:1:1",
                "rt:65001:2",
            ])),
            &[
                "65001:1",
                "65002:1",
                "no-export",
                "4200000000:1:1",
                "rt:65001:1",
                "rt:65001:2",
            ],
        ),
        (
            Action::SetCommunities(communities(&["65009:1", "65009:2"])),
            &["65009:1", "65009:2", "4200000000:1:1", "rt:65001:1"],
        ),
        (
            Action::SetCommunities(communities(&["4200000000:9:9"])),
            &["65001:1", "65002:1", "4200000000:9:9", "rt:65001:1"],
        ),
        (
            Action::StripCommunities(patterns(&["65001:*"])),
            &["65002:1", "4200000000:1:1", "rt:65001:1"],
        ),
        (
            Action::StripCommunities(patterns(&["*:*:*", "rt:*:*"])),
            &["65001:1", "65002:1"],
        ),
        (
            Action::StripCommunities(patterns(&["*:*", "*:*:*", "0x*"])),
            &[],
        ),
        (
            Action::StripCommunities(patterns(&["65003:*"])),
            &["65001:1", "65002:1", "4200000000:1:1", "rt:65001:1"],
        ),
    ];
    for (action, expected) in table {
        let list = always(action.clone());
        assert_eq!(texts(&before().after(&list)), expected, "{action}");
        if let Some(changed) = before().judge(&list).changed {
            assert!(is_canonical(&changed.attributes), "{action}");
        }
    }
}

#[test]
fn an_attribute_that_we_attach_to_anothers_route_is_partial() {
    // RFC 4271, 5: "If they are not attached by the originator, the Partial bit in the Attribute
    // Flags octet is set to 1"
    let add = || always(Action::AddCommunities(communities(&["65001:1"])));
    let flags = |given: Given| {
        let changed = given.judge(&add()).changed.unwrap();
        let at = changed.attributes.len() - 7;
        changed.attributes[at..at + 2].to_vec()
    };
    assert_eq!(flags(given()), [0xE0, 8]);
    let own = Given {
        source: Source::Own,
        ..given()
    };
    assert_eq!(flags(own), [0xC0, 8]);
    // One that was whole stays whole with more in it.
    let at = given().with(&["65002:1"]).judge(&add()).changed.unwrap();
    assert_eq!(at.attributes[at.attributes.len() - 11..][..2], [0xC0, 8]);
}

#[test]
fn prepending_fills_the_first_sequence_and_then_makes_another() {
    // RFC 4271, 5.1.2 b
    let prepend = |times| always(Action::Prepend { asn: None, times });
    let sequence = |asns: &[u32]| AsSegment::Sequence(asns.iter().copied().map(Asn).collect());
    assert_eq!(
        given().after(&prepend(2)).as_path,
        [sequence(&[65_001, 65_001, 65_010, 65_020])]
    );
    assert_eq!(
        given().path(&[]).after(&prepend(1)).as_path,
        [sequence(&[65_001])]
    );
    assert_eq!(given().judge(&prepend(0)).changed, None);
    let full = given().path(&[7; 254]).after(&prepend(3)).as_path;
    let mut first = vec![65_001];
    first.extend([7; 254]);
    assert_eq!(full, [sequence(&[65_001, 65_001]), sequence(&first)]);
    let set = AsSegment::Set(vec![Asn(1), Asn(2)]);
    let behind_set = given().change(|a| a.as_path = vec![set.clone()]);
    assert_eq!(
        behind_set.after(&prepend(1)).as_path,
        [sequence(&[65_001]), set]
    );
    let other = always(Action::Prepend {
        asn: Some(Asn(65_099)),
        times: 1,
    });
    assert_eq!(
        given().after(&other).as_path,
        [sequence(&[65_099, 65_010, 65_020])]
    );
}

#[test]
fn what_is_prepended_stays_when_the_confederation_is_left() {
    // RFC 5065, 5.1: leading confederation segments are removed towards other ASes
    let inner = AsSegment::ConfedSequence(vec![Asn(64_601)]);
    let given = given().change(|a| a.as_path.insert(0, inner.clone()));
    let list = always(Action::Prepend {
        asn: None,
        times: 1,
    });
    let path = given.after(&list).as_path;
    assert_eq!(path[0], inner);
    assert_eq!(
        path[1],
        AsSegment::Sequence(vec![Asn(65_001), Asn(65_010), Asn(65_020)])
    );
}

#[test]
fn the_next_hop_is_turned_and_later_rules_see_it() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let both = vec![address("192.0.2.9"), address("2001:db8::9")];
    let table = [
        (NextHopTo::Own, Some(NextHopChange::Own)),
        (NextHopTo::Unchanged, Some(NextHopChange::Unchanged)),
        (
            NextHopTo::Peer,
            Some(NextHopChange::Address(session().address)),
        ),
        (
            NextHopTo::Addresses(both.clone()),
            Some(NextHopChange::Address(both[0])),
        ),
        (NextHopTo::Addresses(vec![both[1]]), None),
    ];
    for (to, expected) in table {
        let outcome = given().judge(&always(Action::NextHop(to.clone())));
        let found = outcome.changed.map(|changed| changed.next_hop);
        assert_eq!(found, expected, "{to}");
    }
    let seen = rules([
        Rule::new("turn", Then::Next).with(Action::NextHop(NextHopTo::Addresses(both))),
        Rule::new("turned", Then::Accept).when(Condition::NextHop(vec![list(&["192.0.2.9/32"])])),
    ]);
    assert_eq!(given().judge(&seen).rule, Some(1));
}

#[test]
fn what_is_not_spoken_of_stays_as_it_is() {
    let given = given().change(|attributes| {
        attributes.atomic_aggregate = true;
        attributes.originator_id = Some(router_id(7));
        attributes.cluster_list = vec![router_id(8)];
        attributes.unknown = vec![UnknownAttribute {
            code: 99,
            flags: 0xE0,
            value: vec![1; 300],
        }];
    });
    let list = rules([Rule::new("all", Then::Accept)
        .with(Action::LocalPref(Amount::Set(7)))
        .with(Action::Origin(Origin::Incomplete))
        .with(Action::AddCommunities(communities(&["65001:1", "1:2:3"])))]);
    let mut expected = given.attributes.clone();
    expected.local_pref = Some(7);
    expected.origin = Origin::Incomplete;
    expected.communities = vec![Community(65_001 << 16 | 1)];
    expected.large_communities = vec!["1:2:3".parse().unwrap()];
    assert_eq!(given.after(&list), expected);
}

#[test]
fn a_change_that_is_taken_back_is_none() {
    let list = rules([
        Rule::new("there", Then::Next).with(Action::AddCommunities(communities(&["65001:1"]))),
        Rule::new("back", Then::Accept).with(Action::StripCommunities(patterns(&["65001:*"]))),
    ]);
    assert_eq!(given().judge(&list).changed, None);
}

#[test]
fn routes_marked_for_a_graceful_shutdown_become_the_last_choice() {
    // RFC 8326, 4 and 4.1
    let fabric = Fabric {
        asn: Asn(65_001),
        pools: vec!["10.0.0.0/8".parse().unwrap()],
        discovery: Some(4_200_000_000),
    };
    for list in [fabric.import(), fabric.border_import()] {
        let given = given().with(&["graceful-shutdown"]);
        let inside = list.name() == "fabric-import";
        let given = given.prefix(if inside {
            "10.1.0.0/16"
        } else {
            "192.0.2.0/24"
        });
        assert_eq!(given.after(&list).local_pref, Some(0), "{}", list.name());
        let mut within = session();
        within.external = false;
        assert_eq!(
            given.judge_on(&within, &list).changed,
            None,
            "{}",
            list.name()
        );
    }
}

#[test]
fn what_is_ours_stays_within_the_fabric_and_nobody_else_speaks_for_it() {
    let fabric = Fabric {
        asn: Asn(65_001),
        pools: vec!["10.0.0.0/8".parse().unwrap()],
        discovery: Some(4_200_000_000),
    };
    let ours = ["65001:7", "65001:1:2", "4200000000:1:2", "65010:7"];
    let own = Given {
        source: Source::Own,
        ..given()
            .with(&ours)
            .with(&["0x4004fde900000064", "rt:65010:1"])
    };
    let leaves = own.after(&fabric.border_export());
    assert_eq!(leaves.communities, ["65010:7".parse().unwrap()]);
    assert_eq!(leaves.large_communities, []);
    assert_eq!(leaves.extended_communities.len(), 1, "RFC 4360, 2");
    assert!(!accepts(&fabric.border_export(), &given()), "no transit");
    assert!(accepts(&fabric.export(), &own) && !accepts(&fabric.export(), &given()));

    let foreign = given().with(&ours).prefix("192.0.2.0/24");
    let arrives = foreign.after(&fabric.border_import());
    assert_eq!(arrives.communities, ["65010:7".parse().unwrap()]);
    assert_eq!(arrives.large_communities, []);
    assert!(
        !accepts(&fabric.border_import(), &given()),
        "10.1.0.0/16 is ours"
    );
    assert!(accepts(&fabric.import(), &given()) && !accepts(&fabric.import(), &foreign));
}

#[test]
fn binding_asks_of_a_prefix_only_what_depends_on_it() {
    let list = rules([
        Rule::new("marked", Then::Reject).when(Condition::Community(patterns(&["65001:666"]))),
        Rule::new("ours", Then::Next)
            .when(Condition::Prefix(vec![list(&["10.0.0.0/8 le 32"])]))
            .with(Action::LocalPref(Amount::Set(200))),
        Rule::new("small", Then::Reject).when(Condition::Prefix(vec![list(&["0.0.0.0/0 ge 25"])])),
        Rule::new("rest", Then::Accept),
    ]);
    let mut bound = Bound::new(Arc::new(list), session());
    let marked = given().with(&["65001:666"]);
    let canonical = marked.canonical();
    bound.bind(&marked.set(&canonical));
    assert_eq!(
        bound.decided().unwrap().rule,
        Some(0),
        "nothing is left to ask"
    );

    let canonical = given().canonical();
    bound.bind(&given().set(&canonical));
    assert_eq!(bound.decided(), None);
    for (prefix, rule, changed) in [
        ("10.1.0.0/16", 3, true),
        ("192.0.2.0/24", 3, false),
        ("10.1.0.0/25", 2, false),
        ("10.2.0.0/16", 3, true),
    ] {
        let decision = bound.decide(prefix.parse().unwrap(), Validation::NotFound);
        assert_eq!(decision.rule, Some(rule), "{prefix}");
        assert_eq!(bound.changed(decision.set).is_some(), changed, "{prefix}");
        assert!(
            decision.set.get() <= 1,
            "prefixes that are changed alike share a set"
        );
        assert_eq!(decision.set == SetIndex::UNCHANGED, !changed);
    }
}

#[test]
fn an_explanation_says_what_was_found_beside_what_was_wanted() {
    let list = rules([
        Rule::new("blackhole", Then::Accept)
            .when(Condition::Community(patterns(&["blackhole"])))
            .when(Condition::Prefix(vec![list(&["10.0.0.0/8 ge 32"])])),
        Rule::new("ours", Then::Reject).when(Match::is_not(Condition::NeighborAs(numbers(&["7"])))),
        Rule::new("rest", Then::Accept),
    ]);
    let given = given().with(&["65001:1"]);
    let canonical = given.canonical();
    let route = wayleave_bgp_core::policy::Route {
        prefix: given.prefix,
        validation: given.validation,
        set: given.set(&canonical),
    };
    let explained = list.explain(&session(), &route);
    let said: Vec<_> = explained
        .rules
        .iter()
        .flat_map(|rule| &rule.conditions)
        .map(|c| format!("{}: {} ({})", c.condition, c.holds, c.found))
        .collect();
    assert_eq!(
        said,
        [
            "community blackhole: false (65001:1)",
            "prefix in 10.0.0.0/8 ge 32 le 32: false (10.1.0.0/16)",
            "not: neighbour AS 7: true (65010)",
        ]
    );
    let asked: Vec<_> = explained.rules.iter().map(|rule| rule.asked).collect();
    assert_eq!(asked, [true, true, false]);
    assert_eq!(explained.outcome, list.evaluate(&session(), &route));
}
