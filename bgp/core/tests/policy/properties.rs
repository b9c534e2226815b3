//! What holds of all rules and all routes.

use std::{net::IpAddr, sync::Arc};

use proptest::{collection::vec, option, prelude::*};
use wayleave_bgp_core::{
    Asn, Community, Family, LargeCommunity, Prefix,
    attributes::{AsSegment, Attributes, Origin, UnknownAttribute},
    policy::{
        Action, Amount, AnyCommunity, Bound, CommunityPattern, Condition, Match, MedIs,
        NamePattern, NextHopTo, Numbers, PathPattern, PrefixEntry, PrefixList, Route, Rule, Rules,
        Source, Then, Validation, Verdict,
    },
    wire::decode_canonical,
};

use crate::route::{Given, is_canonical, router_id, session};

/// Few numbers, so that rules and routes meet.
fn asn() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1_u32..6, 1 => Just(4_200_000_000)]
}

fn numbers() -> impl Strategy<Value = Numbers> {
    prop_oneof![
        3 => asn().prop_map(Numbers::one),
        1 => (0_u32..6, 0_u32..6).prop_map(|(first, more)| Numbers::range(first, first + more).unwrap()),
        1 => Just(Numbers::ANY),
    ]
}

fn community() -> impl Strategy<Value = AnyCommunity> {
    prop_oneof![
        (0_u32..4, 0_u32..4).prop_map(|(a, b)| AnyCommunity::Standard(Community(a << 16 | b))),
        Just(AnyCommunity::Standard(Community::NO_EXPORT)),
        (0_u32..3, 0_u32..3).prop_map(|(global, local1)| AnyCommunity::Large(LargeCommunity {
            global,
            local1,
            local2: 0,
        })),
        (0_u8..2, 2_u8..4, 0_u8..3).prop_map(|(high, low, last)| {
            AnyCommunity::Extended([high, low, 0, 1, 0, 0, 0, last])
        }),
        any::<u64>().prop_map(|octets| AnyCommunity::Extended(octets.to_be_bytes())),
    ]
}

fn pattern() -> impl Strategy<Value = CommunityPattern> {
    prop_oneof![
        community().prop_map(|community| community.to_string().parse().unwrap()),
        prop_oneof![
            Just("*:*"),
            Just("1:*"),
            Just("0-2:1-"),
            Just("*:*:*"),
            Just("1:*:0"),
            Just("rt:1:*"),
            Just("0x*"),
            Just("0x00*"),
            Just("non-transitive"),
        ]
        .prop_map(|text| text.parse().unwrap()),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let v4 = (0_u8..4, 0_u8..4, 0_u8..=32)
        .prop_map(|(a, b, len)| Prefix::new(IpAddr::from([10, a, b, 0]), len));
    let v6 = (0_u16..4, 0_u8..=128)
        .prop_map(|(a, len)| Prefix::new(IpAddr::from([0xfd00, a, 0, 0, 0, 0, 0, a]), len));
    prop_oneof![v4, v6]
}

fn prefix_list() -> impl Strategy<Value = Arc<PrefixList>> {
    let entry = (prefix(), 0_u8..8, any::<bool>()).prop_map(|(prefix, more, longer)| {
        if longer {
            PrefixEntry::or_longer(prefix)
        } else {
            PrefixEntry::new(prefix, None, Some(prefix.len() + more))
                .unwrap_or(PrefixEntry::exact(prefix))
        }
    });
    vec(entry, 0..6).prop_map(|entries| Arc::new(PrefixList::new(entries)))
}

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    let word = prop_oneof![
        Just("*".to_owned()),
        Just("?".to_owned()),
        numbers().prop_filter_map("`*` is a run", |numbers| {
            (numbers != Numbers::ANY).then(|| numbers.to_string())
        }),
    ];
    vec(word, 1..6).prop_map(|words| words.join(" ").parse().unwrap())
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        12 => vec(prefix_list(), 1..3).prop_map(Condition::Prefix),
        1 => vec(prefix_list(), 1..3).prop_map(Condition::NextHop),
        3 => vec(pattern(), 1..4).prop_map(Condition::Community),
        1 => vec(pattern(), 1..4).prop_map(Condition::AllCommunities),
        2 => vec(path_pattern(), 1..3).prop_map(Condition::AsPath),
        1 => vec(numbers(), 1..3).prop_map(Condition::AsPathContains),
        1 => vec(numbers(), 1..3).prop_map(Condition::NeighborAs),
        1 => vec(numbers(), 1..3).prop_map(Condition::OriginAs),
        1 => vec(numbers(), 1..3).prop_map(Condition::AsPathLength),
        1 => numbers().prop_map(|range| Condition::Med(vec![MedIs::In(range)])),
        1 => Just(Condition::Med(vec![MedIs::Absent])),
        1 => vec(numbers(), 1..3).prop_map(Condition::LocalPref),
        1 => Just(Condition::Origin(vec![Origin::Igp])),
        1 => Just(Condition::Family(vec![Family::Ipv4Unicast])),
        1 => Just(Condition::Peer(vec![NamePattern::new("tor*")])),
        1 => any::<bool>().prop_map(Condition::External),
        1 => Just(Condition::Source(vec![Source::Own, Source::Internal])),
        1 => Just(Condition::Validation(vec![Validation::Invalid])),
    ]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0_u32..6).prop_map(Amount::Set),
        any::<u32>().prop_map(Amount::Add),
        any::<u32>().prop_map(Amount::Subtract),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        vec(pattern(), 1..3).prop_map(Action::StripCommunities),
        vec(community(), 1..4).prop_map(Action::SetCommunities),
        vec(community(), 1..4).prop_map(Action::AddCommunities),
        amount().prop_map(Action::LocalPref),
        amount().prop_map(Action::Med),
        Just(Action::RemoveMed),
        (option::of(asn()), any::<u8>()).prop_map(|(asn, times)| Action::Prepend {
            asn: asn.map(Asn),
            times,
        }),
        prop_oneof![
            Just(NextHopTo::Own),
            Just(NextHopTo::Unchanged),
            Just(NextHopTo::Peer),
            Just(NextHopTo::Addresses(vec![IpAddr::from([10, 1, 1, 0])])),
        ]
        .prop_map(Action::NextHop),
        prop_oneof![Just(Origin::Egp), Just(Origin::Incomplete)].prop_map(Action::Origin),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let wanted = (condition(), prop::bool::weighted(0.2))
        .prop_map(|(condition, negated)| Match { condition, negated });
    let then = prop_oneof![1 => Just(Then::Accept), 1 => Just(Then::Reject), 3 => Just(Then::Next)];
    let rule =
        (vec(wanted, 0..3), vec(action(), 0..3), then).prop_map(|(matches, actions, then)| Rule {
            name: "rule".to_owned(),
            matches,
            actions,
            then,
        });
    let default = prop_oneof![Just(Verdict::Accept), Just(Verdict::Reject)];
    (vec(rule, 0..8), default).prop_map(|(rules, default)| Rules::new("any", rules, default))
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let asns = |range| vec(asn().prop_map(Asn), range);
    let segment = prop_oneof![
        4 => asns(1..5).prop_map(AsSegment::Sequence),
        1 => asns(250..256).prop_map(AsSegment::Sequence),
        1 => asns(1..4).prop_map(AsSegment::Set),
        1 => asns(1..4).prop_map(AsSegment::ConfedSequence),
        1 => asns(1..4).prop_map(AsSegment::ConfedSet),
    ];
    let unknown = (option::of(0_usize..300), any::<bool>()).prop_map(|(len, partial)| {
        len.map(|len| UnknownAttribute {
            code: 20,
            flags: if partial { 0xE0 } else { 0xC0 },
            value: vec![1; len],
        })
    });
    (
        vec(segment, 0..4),
        option::of(0_u32..6),
        option::of(0_u32..6),
        vec(community(), 0..90),
        any::<bool>(),
        unknown,
    )
        .prop_map(|(as_path, med, local_pref, communities, flag, unknown)| {
            let mut attributes = Attributes {
                origin: if flag {
                    Origin::Igp
                } else {
                    Origin::Incomplete
                },
                as_path,
                med,
                local_pref,
                atomic_aggregate: flag,
                originator_id: flag.then(|| router_id(7)),
                unknown: unknown.into_iter().collect(),
                ..Attributes::default()
            };
            for community in communities {
                match community {
                    AnyCommunity::Standard(standard) => attributes.communities.push(standard),
                    AnyCommunity::Extended(octets) => attributes.extended_communities.push(octets),
                    // A canonical set has each once (RFC 8092, 3).
                    AnyCommunity::Large(large) => {
                        if !attributes.large_communities.contains(&large) {
                            attributes.large_communities.push(large);
                        }
                    }
                }
            }
            attributes
        })
}

fn given() -> impl Strategy<Value = Given> {
    let source = prop_oneof![
        Just(Source::Own),
        Just(Source::Internal),
        Just(Source::External)
    ];
    let validation = prop_oneof![Just(Validation::NotFound), Just(Validation::Invalid)];
    (prefix(), attributes(), any::<bool>(), source, validation).prop_map(
        |(prefix, attributes, hop, source, validation)| Given {
            prefix,
            attributes,
            next_hop: hop.then(|| IpAddr::from([10, 0, 0, 0])),
            source,
            validation,
        },
    )
}

/// A pattern by its words, place by place: `reached` has the words that may come next.
fn naive(words: &[&str], hops: &[Vec<u32>]) -> bool {
    let skip = |mut at: usize| {
        let mut reached = vec![at];
        while words.get(at) == Some(&"*") {
            at += 1;
            reached.push(at);
        }
        reached
    };
    let mut reached = skip(0);
    for hop in hops {
        let mut next = Vec::new();
        for at in reached {
            let passes = match words.get(at) {
                None => false,
                Some(&"*") => {
                    next.extend(skip(at));
                    false
                }
                Some(&"?") => true,
                Some(word) => {
                    let range: Numbers = word.parse().unwrap();
                    hop.iter().any(|asn| range.contains(*asn))
                }
            };
            if passes {
                next.extend(skip(at + 1));
            }
        }
        next.sort_unstable();
        next.dedup();
        reached = next;
    }
    reached.contains(&words.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_rule_decides_about_every_route_and_gives_canonical_octets(
        rules in rules(),
        given in given(),
    ) {
        let before = given.canonical();
        prop_assert!(is_canonical(&before));
        if let Some(changed) = given.judge(&rules).changed {
            prop_assert!(is_canonical(&changed.attributes), "{:?}", changed);
        }
    }

    /// The tree of what is left to ask, and the words, say what the plain reading of the rules says.
    #[test]
    fn bound_rules_and_explanations_agree_with_the_plain_reading(
        rules in rules(),
        first in given(),
        prefixes in vec((prefix(), any::<bool>()), 1..12),
        second in given(),
    ) {
        let rules = Arc::new(rules);
        let mut bound = Bound::new(Arc::clone(&rules), session());
        for given in [first, second] {
            let canonical = given.canonical();
            let set = given.set(&canonical);
            bound.bind(&set);
            let family = given.prefix.family();
            let asked = prefixes.iter().filter(|(prefix, _)| prefix.family() == family);
            for (prefix, invalid) in asked.chain([&(given.prefix, false)]) {
                let validation = if *invalid { Validation::Invalid } else { given.validation };
                let route = Route { prefix: *prefix, validation, set };
                let plain = rules.evaluate(&session(), &route);
                let decision = bound.decide(*prefix, validation);
                prop_assert_eq!(decision.verdict, plain.verdict);
                prop_assert_eq!(decision.rule.map(|rule| rule as usize), plain.rule);
                prop_assert_eq!(bound.changed(decision.set), plain.changed.as_ref());
                if let Some(decided) = bound.decided() {
                    prop_assert_eq!(decided, decision);
                }
                let explained = rules.explain(&session(), &route);
                prop_assert_eq!(&explained.outcome, &plain);
                let applied = explained.rules.iter().rposition(|rule| rule.applies && rule.then != Then::Next);
                prop_assert_eq!(applied, plain.rule);
            }
        }
    }

    /// What reaches rules was judged before; should it not have been, they still end.
    #[test]
    fn octets_that_are_no_attributes_make_nothing_panic(
        rules in rules(),
        given in given(),
        at in any::<prop::sample::Index>(),
        by in any::<u8>(),
        noise in vec(any::<u8>(), 0..40),
    ) {
        let rules = Arc::new(rules);
        let mut broken = given.canonical();
        let at = at.index(broken.len());
        broken[at] ^= by;
        for octets in [broken, noise] {
            let set = given.set(&octets);
            let route = Route { prefix: given.prefix, validation: given.validation, set };
            let plain = rules.evaluate(&session(), &route);
            let mut bound = Bound::new(Arc::clone(&rules), session());
            bound.bind(&set);
            let decision = bound.decide(given.prefix, given.validation);
            prop_assert_eq!(decision.verdict, plain.verdict);
            prop_assert_eq!(&rules.explain(&session(), &route).outcome, &plain);
        }
    }

    /// Conditions are judged on octets; decoded attributes must say the same.
    #[test]
    fn conditions_mean_on_octets_what_they_mean_on_decoded_attributes(
        given in given(),
        patterns in vec(pattern(), 1..4),
        path in path_pattern(),
        asns in vec(numbers(), 1..3),
    ) {
        let holds = |condition: Condition| {
            let rule = Rule::new("only", Then::Accept).when(condition);
            let rules = Rules::new("only", vec![rule], Verdict::Reject);
            given.judge(&rules).verdict == Verdict::Accept
        };
        let attributes = &given.attributes;
        let standard = attributes.communities.iter().copied().map(AnyCommunity::Standard);
        let large = attributes.large_communities.iter().copied().map(AnyCommunity::Large);
        let extended = attributes.extended_communities.iter().copied().map(AnyCommunity::Extended);
        let carried: Vec<_> = standard.chain(large).chain(extended).collect();
        let is_carried = |pattern: &CommunityPattern| carried.iter().any(|found| pattern.matches(*found));
        prop_assert_eq!(holds(Condition::Community(patterns.clone())), patterns.iter().any(is_carried));
        prop_assert_eq!(holds(Condition::AllCommunities(patterns.clone())), patterns.iter().all(is_carried));

        let mut hops: Vec<Vec<u32>> = Vec::new();
        let mut everywhere: Vec<Asn> = Vec::new();
        for segment in &attributes.as_path {
            match segment {
                AsSegment::Sequence(asns) => hops.extend(asns.iter().map(|asn| vec![asn.0])),
                AsSegment::Set(asns) => hops.push(asns.iter().map(|asn| asn.0).collect()),
                AsSegment::ConfedSequence(_) | AsSegment::ConfedSet(_) => {}
            }
            match segment {
                AsSegment::Sequence(asns) | AsSegment::Set(asns)
                | AsSegment::ConfedSequence(asns) | AsSegment::ConfedSet(asns) => everywhere.extend(asns),
            }
        }
        let text = path.to_string();
        let words: Vec<_> = text.split(' ').collect();
        prop_assert_eq!(holds(Condition::AsPath(vec![path])), naive(&words, &hops), "{} on {:?}", text, hops);
        let contains = everywhere.iter().any(|asn| asns.iter().any(|range| range.contains(asn.0)));
        prop_assert_eq!(holds(Condition::AsPathContains(asns)), contains);
        let length = u32::try_from(hops.len()).unwrap();
        prop_assert!(holds(Condition::AsPathLength(vec![Numbers::one(length)])));
        prop_assert!(!holds(Condition::AsPathLength(vec![Numbers::one(length + 1)])));
    }

    #[test]
    fn every_text_is_read_or_refused(text in "[0-9a-z:*_^$.?x \\-/]{0,24}", any in ".{0,12}") {
        for text in [text, any] {
            let _ = text.parse::<Numbers>();
            let _ = text.parse::<AnyCommunity>();
            let _ = text.parse::<CommunityPattern>();
            let _ = text.parse::<PathPattern>();
            let _ = text.parse::<PrefixEntry>();
        }
    }

    #[test]
    fn what_was_added_can_be_stripped_and_leaves_nothing(
        added in vec(community(), 1..6),
        given in given(),
    ) {
        let patterns = || added.iter().map(|community| community.to_string().parse().unwrap()).collect();
        let one = |action| Rules::new("one", vec![Rule::new("one", Then::Accept).with(action)], Verdict::Reject);
        let stripped = given.after(&one(Action::StripCommunities(patterns())));
        let both = Rules::new("both", vec![
            Rule::new("add", Then::Next).with(Action::AddCommunities(added.clone())),
            Rule::new("strip", Then::Accept).with(Action::StripCommunities(patterns())),
        ], Verdict::Reject);
        prop_assert_eq!(given.after(&both), stripped);

        let once = given.after(&one(Action::AddCommunities(added.clone())));
        let twice = Given { attributes: once.clone(), ..given };
        prop_assert_eq!(twice.after(&one(Action::AddCommunities(added))), once);
    }

    #[test]
    fn actions_change_only_what_they_are_about(given in given(), action in action()) {
        let rules = Rules::new("one", vec![Rule::new("one", Then::Accept).with(action.clone())], Verdict::Reject);
        let outcome = given.judge(&rules);
        let mut after = match &outcome.changed {
            Some(changed) => decode_canonical(&changed.attributes),
            None => decode_canonical(&given.canonical()),
        };
        let before = decode_canonical(&given.canonical());
        match action {
            Action::StripCommunities(_) | Action::SetCommunities(_) | Action::AddCommunities(_) => {
                after.communities.clone_from(&before.communities);
                after.large_communities.clone_from(&before.large_communities);
                after.extended_communities.clone_from(&before.extended_communities);
            }
            Action::LocalPref(_) => after.local_pref = before.local_pref,
            Action::Med(_) | Action::RemoveMed => after.med = before.med,
            Action::Prepend { times, .. } => {
                let count = |attributes: &Attributes| attributes.as_path.iter().map(|segment| match segment {
                    AsSegment::Sequence(asns) | AsSegment::Set(asns)
                    | AsSegment::ConfedSequence(asns) | AsSegment::ConfedSet(asns) => asns.len(),
                }).sum::<usize>();
                prop_assert_eq!(count(&after), count(&before) + usize::from(times));
                after.as_path.clone_from(&before.as_path);
            }
            Action::NextHop(_) => {}
            Action::Origin(_) => after.origin = before.origin,
        }
        prop_assert_eq!(after, before);
    }

    #[test]
    fn texts_of_communities_and_patterns_read_what_they_print(community in community(), pattern in pattern(), path in path_pattern()) {
        let text = community.to_string();
        prop_assert_eq!(text.parse::<AnyCommunity>().unwrap(), community);
        prop_assert!(text.parse::<CommunityPattern>().unwrap().matches(community));
        prop_assert_eq!(pattern.to_string().parse::<CommunityPattern>().unwrap(), pattern);
        prop_assert_eq!(path.to_string().parse::<PathPattern>().unwrap(), path);
    }
}
