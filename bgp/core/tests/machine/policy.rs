//! Rules on sessions: what they let in and out, what they make of it, and that a speaker does on
//! every session what [`Rules::evaluate`] says of one route.

use std::{sync::Arc, time::Duration};

use wayleave_bgp_core::{
    Asn, Prefix, Speaker,
    attributes::{Attributes, Origin},
    config::{ListenRange, NextHopSelf, PeerConfig, Policy, RemoteAs},
    feed::Origination,
    policy::{
        Action, Amount, AnyCommunity, CommunityPattern, Condition, Match, NamePattern, NextHopTo,
        PrefixEntry, PrefixList, Route, Rule, Rules, Session, Set, Source, Then, Validation,
        Verdict,
    },
    view::{RibKind, RouteView},
    wire::{decode_canonical, encode_canonical},
};

use crate::{
    net::{Net, Rng, address, config, peer},
    routing::own,
};

fn rules(name: &str, rules: Vec<Rule>) -> Policy {
    Policy::Rules(Arc::new(Rules::new(name, rules, Verdict::Reject)))
}

fn accept(name: &str) -> Rule {
    Rule::new(name, Then::Accept)
}

fn within(prefix: &str) -> Condition {
    let entry = PrefixEntry::or_longer(prefix.parse().unwrap());
    Condition::Prefix(vec![Arc::new(PrefixList::named("list", vec![entry]))])
}

fn carries(pattern: &str) -> Condition {
    Condition::Community(vec![pattern.parse().unwrap()])
}

fn community(text: &str) -> AnyCommunity {
    text.parse().unwrap()
}

fn change(
    net: &mut Net,
    n: usize,
    peer: &str,
    change: impl FnOnce(&mut PeerConfig),
) -> Vec<String> {
    let mut config = net.speakers[n].config().clone();
    change(
        config
            .peers
            .iter_mut()
            .find(|known| known.name == peer)
            .unwrap(),
    );
    let now = net.now;
    let done = net.speakers[n].reconfigure(now, config);
    net.settle();
    done
}

fn originate(net: &mut Net, n: usize, routes: Vec<Origination>) {
    let now = net.now;
    net.speakers[n].originate(now, routes);
    net.settle();
}

fn with(prefix: &str, change: impl FnOnce(&mut Origination)) -> Origination {
    let mut route = own(prefix);
    change(&mut route);
    route
}

fn texts(net: &Net, n: usize) -> String {
    let prefixes = net.prefixes(n).into_iter();
    prefixes
        .map(|prefix| prefix.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

fn received(net: &Net, n: usize, peer: &str, prefix: &str) -> RouteView {
    let prefix: Prefix = prefix.parse().unwrap();
    let mut routes = net.routes(n, RibKind::In, Some(peer)).into_iter();
    routes.find(|route| route.prefix == prefix).unwrap()
}

#[test]
fn import_rules_decide_what_counts_and_with_which_attributes() {
    let mut net = Net::graph(1, &[65_001, 65_002], &[(0, 1)]);
    let import = rules(
        "in",
        vec![
            Rule::new("not ours", Then::Reject).when(within("10.9.0.0/16")),
            Rule::new("clean", Then::Next).with(Action::StripCommunities(vec![
                "65002:*".parse::<CommunityPattern>().unwrap(),
            ])),
            accept("customers")
                .when(carries("65001:100"))
                .with(Action::LocalPref(Amount::Set(200)))
                .with(Action::AddCommunities(vec![
                    community("65002:7"),
                    community("65002:1:2"),
                ]))
                .with(Action::NextHop(NextHopTo::Addresses(vec![
                    "192.0.2.77".parse().unwrap(),
                ]))),
            accept("rest").when(within("10.0.0.0/8")),
        ],
    );
    net.raise();
    change(&mut net, 1, "s0", |peer| peer.import = import);
    let tagged = |prefix: &str, communities: &[&str]| {
        with(prefix, |route| {
            route.communities = communities
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        })
    };
    originate(
        &mut net,
        0,
        vec![
            tagged("10.1.0.0/16", &["65001:100", "65002:666"]),
            tagged("10.2.0.0/16", &["65002:666"]),
            own("10.9.1.0/24"),
            own("172.16.0.0/16"),
            tagged("2001:db8:1::/48", &["65001:100"]),
        ],
    );
    assert_eq!(texts(&net, 1), "10.1.0.0/16 10.2.0.0/16 2001:db8:1::/48");
    let counts = net.peer(1, "s0").ipv4.unwrap();
    assert_eq!((counts.received, counts.accepted), (4, 2));

    let customer = net.route(1, "10.1.0.0/16").unwrap();
    assert_eq!(customer.attributes.local_pref, Some(200));
    assert_eq!(
        customer.attributes.communities,
        ["65001:100".parse().unwrap(), "65002:7".parse().unwrap()]
    );
    assert_eq!(customer.attributes.large_communities.len(), 1);
    assert_eq!(customer.next_hop.unwrap().addr.to_string(), "192.0.2.77");
    // What came is kept as it came, and why it does not count is said.
    let came = received(&net, 1, "s0", "10.1.0.0/16");
    assert_eq!(came.attributes.communities.len(), 2);
    assert_eq!(came.attributes.local_pref, None);
    assert_eq!(came.next_hop.unwrap().addr, address(0));
    let plain = net.route(1, "10.2.0.0/16").unwrap();
    assert!(plain.attributes.communities.is_empty());
    let refused = |prefix: &str| received(&net, 1, "s0", prefix).refused;
    assert_eq!(
        refused("10.9.1.0/24").as_deref(),
        Some("import policy in: rule `not ours` rejects it")
    );
    assert_eq!(
        refused("172.16.0.0/16").as_deref(),
        Some("import policy in: no rule accepts it")
    );
    // An IPv6 route keeps its next hop: the rule has none for it.
    let v6 = net.route(1, "2001:db8:1::/48").unwrap();
    assert_eq!(v6.next_hop.unwrap().addr.to_string(), "2001:db8::1");

    // A route that changes is judged anew, one that goes is gone.
    originate(&mut net, 0, vec![tagged("10.1.0.0/16", &[])]);
    assert_eq!(
        net.route(1, "10.1.0.0/16").unwrap().attributes.local_pref,
        None
    );
    let now = net.now;
    net.speakers[0].withdraw(now, 0, &["10.1.0.0/16".parse().unwrap()]);
    net.settle();
    assert_eq!(texts(&net, 1), "10.2.0.0/16 2001:db8:1::/48");
}

#[test]
fn export_rules_decide_what_leaves_and_what_it_looks_like() {
    // 0 - 1 - 2, 1 and 3 in one AS.
    let mut net = Net::graph(
        2,
        &[65_001, 65_002, 65_003, 65_002],
        &[(0, 1), (1, 2), (1, 3)],
    );
    net.raise();
    let export = rules(
        "out",
        vec![
            accept("far")
                .when(carries("65001:1"))
                .with(Action::Prepend {
                    asn: Some(Asn(65_099)),
                    times: 2,
                })
                .with(Action::Med(Amount::Add(5)))
                .with(Action::Origin(Origin::Incomplete)),
            accept("through")
                .when(carries("65001:2"))
                .with(Action::NextHop(NextHopTo::Unchanged)),
            accept("elsewhere")
                .when(carries("65001:3"))
                .with(Action::NextHop(NextHopTo::Addresses(vec![
                    "192.0.2.88".parse().unwrap(),
                ]))),
            accept("own").when(Condition::Source(vec![Source::Own])),
            accept("plain").when(within("10.4.0.0/16")),
        ],
    );
    change(&mut net, 1, "s2", |peer| peer.export = export.clone());
    change(&mut net, 1, "s3", |peer| peer.export = export);
    let tagged = |prefix: &str, tag: &str| {
        with(prefix, |route| {
            route.communities = vec![tag.parse().unwrap()];
            route.med = Some(50);
        })
    };
    originate(
        &mut net,
        0,
        vec![
            tagged("10.1.0.0/16", "65001:1"),
            tagged("10.2.0.0/16", "65001:2"),
            tagged("10.3.0.0/16", "65001:3"),
            tagged("10.4.0.0/16", "65001:4"),
            tagged("10.5.0.0/16", "65001:5"),
        ],
    );
    originate(
        &mut net,
        1,
        vec![with("10.6.0.0/16", |route| route.med = Some(9))],
    );
    assert_eq!(
        texts(&net, 2),
        "10.1.0.0/16 10.2.0.0/16 10.3.0.0/16 10.4.0.0/16 10.6.0.0/16"
    );
    let told = |n: usize, prefix: &str| net.route(n, prefix).unwrap();
    let hop = |n: usize, prefix: &str| told(n, prefix).next_hop.unwrap().addr;
    // On the external session our AS comes first in any case; a MED of others stays behind, one that
    // a rule sets goes out (RFC 4271, 5.1.2 and 5.1.4).
    let far = told(2, "10.1.0.0/16");
    assert_eq!(far.as_path, "65002 65099 65099 65001");
    assert_eq!(far.attributes.med, Some(5));
    assert_eq!(far.attributes.origin, Origin::Incomplete);
    assert_eq!(hop(2, "10.1.0.0/16"), address(1));
    assert_eq!(hop(2, "10.2.0.0/16"), address(0));
    assert_eq!(hop(2, "10.3.0.0/16").to_string(), "192.0.2.88");
    assert_eq!(told(2, "10.4.0.0/16").attributes.med, None);
    assert_eq!(told(2, "10.6.0.0/16").attributes.med, Some(9));
    // On the internal one MED is there to be added to, and next hops stay without being asked for.
    let far = told(3, "10.1.0.0/16");
    assert_eq!(far.as_path, "65099 65099 65001");
    assert_eq!(far.attributes.med, Some(55));
    assert_eq!(hop(3, "10.1.0.0/16"), address(0));
    assert_eq!(hop(3, "10.3.0.0/16").to_string(), "192.0.2.88");
    // What is said to be advertised is what arrived.
    for (n, name) in [(2, "s2"), (3, "s3")] {
        let advertised = net.routes(1, RibKind::Out, Some(name));
        assert_eq!(advertised.len(), 5);
        for route in advertised {
            let there = received(&net, n, "s1", &route.prefix.to_string());
            assert_eq!(there.attributes, route.attributes, "{}", route.prefix);
            assert_eq!(there.next_hop, route.next_hop, "{}", route.prefix);
        }
        assert_eq!(net.peer(1, name).ipv4.unwrap().advertised, 5);
    }
}

#[test]
fn rules_that_ask_for_the_neighbour_tell_each_what_is_for_him() {
    let mut net = Net::graph(
        3,
        &[65_001, 65_002, 65_003, 65_004],
        &[(0, 1), (0, 2), (0, 3)],
    );
    net.raise();
    let export = rules(
        "out",
        vec![
            accept("two").when(Condition::Peer(vec![NamePattern::new("s2")])),
            accept("hosts")
                .when(Condition::Role(vec!["host".to_owned()]))
                .with(Action::Med(Amount::Set(3))),
            accept("others").when(Match {
                condition: within("10.1.0.0/16"),
                negated: true,
            }),
        ],
    );
    originate(&mut net, 0, vec![own("10.1.0.0/16"), own("10.2.0.0/16")]);
    for name in ["s1", "s2", "s3"] {
        change(&mut net, 0, name, |peer| peer.export = export.clone());
    }
    let texts = |net: &Net| [1, 2, 3].map(|n| texts(net, n));
    let (both, one) = ("10.1.0.0/16 10.2.0.0/16", "10.2.0.0/16");
    assert_eq!(texts(&net), [one, both, one]);
    let done = change(&mut net, 0, "s3", |peer| peer.role = Some("host".into()));
    assert_eq!(done, ["peer s3: policy changed, session kept"]);
    assert_eq!(texts(&net), [one, both, both]);
    assert_eq!(net.route(3, "10.1.0.0/16").unwrap().attributes.med, Some(3));
    assert_eq!(net.route(2, "10.1.0.0/16").unwrap().attributes.med, None);
}

#[test]
fn services_that_a_rule_has_taken_off_do_not_keep_a_route_out() {
    let mut configs: Vec<_> = (0..2).map(|n| config(n, 65_001 + n as u32)).collect();
    for (n, config) in configs.iter_mut().enumerate() {
        config.discovery = Some(4_200_000_000);
        let mut other = peer(1 - n, 65_002 - n as u32);
        other.discovery = n == 0;
        config.peers.push(other);
    }
    let mut net = Net::new(4, configs);
    net.raise();
    let services = with("10.1.0.1/32", |route| {
        route.large_communities = vec!["4200000000:1:0".parse().unwrap()];
    });
    originate(&mut net, 0, vec![services]);
    let all = rules("all", vec![accept("all")]);
    change(&mut net, 1, "s0", |peer| peer.import = all);
    let refused = received(&net, 1, "s0", "10.1.0.1/32").refused;
    assert_eq!(
        refused.as_deref(),
        Some("it carries services, and its peer may not (`discovery = true`)")
    );
    let cleaned = rules(
        "cleaned",
        vec![accept("all").with(Action::StripCommunities(vec![
            "4200000000:*:*".parse().unwrap(),
        ]))],
    );
    change(&mut net, 1, "s0", |peer| peer.import = cleaned);
    let route = net.route(1, "10.1.0.1/32").unwrap();
    assert!(route.attributes.large_communities.is_empty());
}

/// Rules let everything out that they may; the protocol has its say all the same.
#[test]
fn rules_let_nothing_out_that_must_not_leave() {
    // 1 and 2 are neighbours of 0 in its AS, 3 is in another.
    let asns = [65_001, 65_001, 65_001, 65_003];
    let everything = rules(
        "all",
        vec![accept("all").with(Action::AddCommunities(vec![
            community("65001:1"),
            community("4200000000:1:7"),
        ]))],
    );
    let plain = rules("plain", vec![accept("all")]);
    for (policy, told) in [(plain, "10.4.0.0/16"), (everything, "")] {
        let mut net = Net::graph(5, &asns, &[(0, 1), (0, 2), (0, 3)]);
        let mut hub = net.speakers[0].config().clone();
        hub.discovery = Some(4_200_000_000);
        for peer in &mut hub.peers {
            peer.export = policy.clone();
            peer.import = rules("in", vec![accept("all")]);
            peer.discovery = peer.name != "s3";
        }
        // From the start: whatever comes first is judged.
        let now = net.now;
        net.speakers[0] = Speaker::new(now, hub);
        net.raise();
        let tagged = |prefix: &str, tag: &str| {
            with(prefix, |route| {
                route.communities = vec![tag.parse().unwrap()]
            })
        };
        originate(
            &mut net,
            1,
            vec![
                tagged("10.1.0.0/16", "no-export"),
                tagged("10.2.0.0/16", "no-advertise"),
                with("10.3.0.0/16", |route| {
                    route.large_communities = vec!["4200000000:1:0".parse().unwrap()];
                }),
                own("10.4.0.0/16"),
            ],
        );
        assert_eq!(net.prefixes(0).len(), 3, "all but what nobody is told of");
        // RFC 4456, 6: a non-client's route does not go to another.
        assert_eq!(texts(&net, 2), "");
        // RFC 1997, and services only to whom they may go, whoever has put them on.
        assert_eq!(texts(&net, 3), told);
    }
}

#[test]
fn rules_tell_internal_and_external_sources_and_sessions_apart() {
    // 0 in 65001 and 3 in 65003 are neighbours of 1; 2 is in the AS of 1.
    let mut net = Net::graph(
        6,
        &[65_001, 65_002, 65_002, 65_003],
        &[(0, 1), (1, 2), (1, 3)],
    );
    let source = |source| Condition::Source(vec![source]);
    let export = rules(
        "out",
        vec![
            accept("from outside to us")
                .when(source(Source::External))
                .when(Condition::External(false))
                .with(Action::LocalPref(Amount::Set(7))),
            accept("from us to outside")
                .when(source(Source::Internal))
                .when(Condition::External(true)),
            accept("own").when(source(Source::Own)),
        ],
    );
    let import = |session| {
        let of_source = match session {
            true => Source::External,
            false => Source::Internal,
        };
        rules(
            "in",
            vec![
                accept("such")
                    .when(source(of_source))
                    .when(Condition::External(session)),
            ],
        )
    };
    let mut middle = net.speakers[1].config().clone();
    for peer in &mut middle.peers {
        peer.export = export.clone();
        peer.import = import(peer.name != "s2");
    }
    let now = net.now;
    net.speakers[1] = Speaker::new(now, middle);
    net.raise();
    originate(&mut net, 0, vec![own("10.0.0.0/16")]);
    originate(&mut net, 1, vec![own("10.1.0.0/16")]);
    originate(&mut net, 2, vec![own("10.2.0.0/16")]);
    assert_eq!(texts(&net, 1), "10.0.0.0/16 10.1.0.0/16 10.2.0.0/16");
    assert_eq!(texts(&net, 2), "10.0.0.0/16 10.1.0.0/16 10.2.0.0/16");
    assert_eq!(
        net.route(2, "10.0.0.0/16").unwrap().attributes.local_pref,
        Some(7)
    );
    assert_eq!(texts(&net, 3), "10.1.0.0/16 10.2.0.0/16");
}

#[test]
fn next_hops_that_rules_set_lead_somewhere_or_the_route_does_not_leave() {
    // 1, 2 and 3 share an AS and a link with 0 and 4.
    let asns = [65_001, 65_002, 65_002, 65_002, 65_004];
    let mut net = Net::graph(7, &asns, &[(0, 1), (1, 2), (1, 3), (1, 4)]);
    net.raise();
    let tagged = |prefix: &str, tag: &str| {
        with(prefix, |route| {
            route.communities = vec![tag.parse().unwrap()]
        })
    };
    let to = |name: &str, tag: &str, to: NextHopTo| {
        accept(name).when(carries(tag)).with(Action::NextHop(to))
    };
    let theirs = NextHopTo::Addresses(vec![address(2), "fe80::9".parse().unwrap()]);
    let export = rules(
        "out",
        vec![
            to("ours", "65001:1", NextHopTo::Own),
            to("theirs", "65001:2", theirs),
            accept("usual").with(Action::AddCommunities(vec![community("65002:9")])),
        ],
    );
    for name in ["s2", "s3", "s4"] {
        change(&mut net, 1, name, |peer| {
            peer.export = export.clone();
            if name == "s3" {
                peer.next_hop_self = NextHopSelf::Always;
            }
        });
    }
    originate(
        &mut net,
        0,
        vec![
            tagged("10.1.0.0/16", "65001:1"),
            tagged("10.2.0.0/16", "65001:2"),
            own("10.3.0.0/16"),
            tagged("2001:db8:2::/48", "65001:2"),
        ],
    );
    let hops = |n: usize| {
        let routes = net.routes(n, RibKind::Loc, None).into_iter();
        let hops = routes.map(|route| {
            let next_hop = route.next_hop.unwrap().addr;
            format!("{} {next_hop}", route.prefix)
        });
        hops.collect::<Vec<_>>()
    };
    let [origin, middle, second] = [0, 1, 2].map(address);
    // 2 is not told to send to itself (RFC 4271, 5.1.3); nobody gets a link-local address of others.
    assert_eq!(
        hops(2),
        [
            format!("10.1.0.0/16 {middle}"),
            format!("10.3.0.0/16 {origin}")
        ]
    );
    // `next_hop_self` stands where no rule says otherwise.
    assert_eq!(
        hops(3),
        [
            format!("10.1.0.0/16 {middle}"),
            format!("10.2.0.0/16 {second}"),
            format!("10.3.0.0/16 {middle}")
        ]
    );
    assert_eq!(
        hops(4),
        [
            format!("10.1.0.0/16 {middle}"),
            format!("10.2.0.0/16 {second}"),
            format!("10.3.0.0/16 {middle}")
        ]
    );
    for name in ["s2", "s3", "s4"] {
        let shown = net.routes(1, RibKind::Out, Some(name)).len();
        assert_eq!(shown, hops(name[1..].parse().unwrap()).len(), "{name}");
    }

    // On import: the neighbour's address for what is of its family, and never nonsense.
    let import = |action: NextHopTo| rules("in", vec![accept("all").with(Action::NextHop(action))]);
    let v6 = |net: &Net| {
        net.route(1, "2001:db8:2::/48")
            .map(|route| route.next_hop.unwrap().addr)
    };
    let v4 = |net: &Net| {
        net.route(1, "10.3.0.0/16")
            .map(|route| route.next_hop.unwrap().addr)
    };
    let before = v6(&net);
    change(&mut net, 1, "s0", |peer| {
        peer.import = import(NextHopTo::Peer)
    });
    assert_eq!((v4(&net), v6(&net)), (Some(address(0)), before));
    for nonsense in [
        middle,
        "0.0.0.0".parse().unwrap(),
        "224.0.0.1".parse().unwrap(),
    ] {
        let to = NextHopTo::Addresses(vec![nonsense]);
        change(&mut net, 1, "s0", |peer| peer.import = import(to));
        assert_eq!((v4(&net), v6(&net)), (None, before), "{nonsense}");
    }
}

#[test]
fn neighbours_of_a_range_are_named_by_it_and_by_their_address() {
    let mut configs = vec![config(0, 65_001), config(1, 65_002), config(2, 65_003)];
    for caller in [1, 2] {
        configs[caller].peers.push(peer(0, 65_001));
    }
    let named = |text: &str| Condition::Peer(vec![NamePattern::new(text)]);
    let mut template = PeerConfig::new("192.0.2.0/24", address(0), RemoteAs::External);
    template.import = rules(
        "in",
        vec![
            Rule::new("not him", Then::Reject).when(named("192.0.2.0/24-192.0.2.3")),
            accept("the others").when(named("192.0.2.0/24")),
        ],
    );
    configs[0].ranges.push(ListenRange {
        prefix: "192.0.2.0/24".parse().unwrap(),
        limit: 9,
        template,
    });
    let mut net = Net::new(8, configs);
    net.raise();
    originate(&mut net, 1, vec![own("10.1.0.0/16")]);
    originate(&mut net, 2, vec![own("10.2.0.0/16")]);
    assert_eq!(texts(&net, 0), "10.1.0.0/16");
    let refused = received(&net, 0, "192.0.2.0/24-192.0.2.3", "10.2.0.0/16").refused;
    assert!(refused.is_some_and(|why| why.contains("`not him`")));
}

#[test]
fn rules_that_only_have_other_names_change_nothing() {
    let mut net = Net::graph(9, &[65_001, 65_002], &[(0, 1)]);
    net.raise();
    change(&mut net, 0, "s1", |peer| {
        peer.export = rules("one", vec![accept("all")])
    });
    originate(&mut net, 0, vec![own("10.1.0.0/16")]);
    let sent = net.peer(0, "s1").sent.update;
    change(&mut net, 0, "s1", |peer| {
        peer.export = rules("two", vec![accept("any")])
    });
    assert_eq!(net.peer(0, "s1").sent.update, sent);
    assert_eq!(texts(&net, 1), "10.1.0.0/16");
}

/// Policies to choose from; none of them is "everything".
fn some(random: &mut Rng) -> Policy {
    let number = u32::try_from(random.below(4)).unwrap();
    let list = [
        rules(
            "tags",
            vec![
                Rule::new("no", Then::Reject).when(carries(&format!("65001:{number}"))),
                accept("yes").with(Action::AddCommunities(vec![community(&format!(
                    "65009:{number}"
                ))])),
            ],
        ),
        rules(
            "lists",
            vec![
                Rule::new("mark", Then::Next)
                    .when(within("10.0.0.0/13"))
                    .with(Action::Med(Amount::Set(number)))
                    .with(Action::LocalPref(Amount::Add(number))),
                accept("upper")
                    .when(within("10.8.0.0/13"))
                    .with(Action::RemoveMed),
                accept("marked").when(Condition::LocalPref(vec!["100-".parse().unwrap()])),
            ],
        ),
        rules(
            "paths",
            vec![
                Rule::new("long", Then::Reject)
                    .when(Condition::AsPathLength(vec!["3-".parse().unwrap()])),
                accept("rest")
                    .when(Match {
                        condition: within("10.3.0.0/16"),
                        negated: true,
                    })
                    .with(Action::Prepend {
                        asn: Some(Asn(64_999)),
                        times: 1,
                    })
                    .with(Action::StripCommunities(vec!["65009:*".parse().unwrap()])),
            ],
        ),
        Policy::All,
        Policy::None,
    ];
    list[random.below(list.len())].clone()
}

fn canonical(attributes: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_canonical(attributes, &mut bytes);
    bytes
}

/// What rules say of a route on a session of speaker `n`, and with which attributes.
fn judged(
    net: &Net,
    n: usize,
    peer: &PeerConfig,
    policy: &Policy,
    source: Source,
    bytes: Vec<u8>,
    route: &RouteView,
) -> Option<Vec<u8>> {
    let rules = match policy {
        Policy::All => return Some(bytes),
        Policy::Rules(rules) => rules,
        Policy::None | Policy::Own | Policy::Within(_) => return None,
    };
    let asn = net.speakers[n].config().asn;
    let session = Session {
        peer: peer.name.clone(),
        group: None,
        role: None,
        address: peer.address,
        external: true,
        local_as: asn,
    };
    let set = Set {
        family: route.prefix.family(),
        source,
        attributes: &bytes,
        next_hop: route.next_hop,
    };
    let asked = Route {
        prefix: route.prefix,
        validation: Validation::NotFound,
        set,
    };
    let outcome = rules.evaluate(&session, &asked);
    match outcome.verdict {
        Verdict::Reject => None,
        Verdict::Accept => Some(
            outcome
                .changed
                .map_or(bytes.clone(), |changed| changed.attributes),
        ),
    }
}

/// "adj-out equals policy(loc)", and what counts equals policy(adj-in), on every session.
fn check(net: &Net, seed: u64) {
    for n in 0..net.speakers.len() {
        let loc = net.routes(n, RibKind::Loc, None);
        for peer in &net.speakers[n].config().peers {
            for came in net.routes(n, RibKind::In, Some(&peer.name)) {
                // Loops are no matter of policy.
                if came
                    .refused
                    .as_deref()
                    .is_some_and(|why| why.contains("AS_PATH"))
                {
                    continue;
                }
                let bytes = canonical(&came.attributes);
                let expected = judged(net, n, peer, &peer.import, Source::External, bytes, &came);
                let context = format!("seed {seed}: {} at {n} from {}", came.prefix, peer.name);
                assert_eq!(
                    came.refused.is_none(),
                    expected.is_some(),
                    "{context}: {came:?}"
                );
                let best = loc
                    .iter()
                    .find(|best| best.prefix == came.prefix && came.best);
                if let (Some(best), Some(expected)) = (best, expected) {
                    assert_eq!(best.attributes, decode_canonical(&expected), "{context}");
                }
            }
            let mut told = net.routes(n, RibKind::Out, Some(&peer.name)).into_iter();
            for best in &loc {
                if best.peer.as_deref() == Some(&peer.name) {
                    continue;
                }
                let mut attributes = best.attributes.clone();
                let source = match best.peer {
                    None => Source::Own,
                    Some(_) => {
                        attributes.med = None;
                        Source::External
                    }
                };
                let bytes = canonical(&attributes);
                let expected = judged(net, n, peer, &peer.export, source, bytes, best);
                let context = format!("seed {seed}: {} at {n} to {}", best.prefix, peer.name);
                let Some(expected) = expected else { continue };
                let said = told.next().unwrap_or_else(|| panic!("{context}: not told"));
                assert_eq!(said.prefix, best.prefix, "{context}");
                let mut expected = decode_canonical(&expected);
                // What the session does besides.
                expected.local_pref = None;
                let asn = net.speakers[n].config().asn;
                let text = expected.as_path_text();
                let path = [asn.to_string(), text].join(" ").trim().to_owned();
                assert_eq!(said.as_path, path, "{context}");
                expected.as_path = said.attributes.as_path.clone();
                assert_eq!(said.attributes, expected, "{context}");
            }
            assert!(
                told.next().is_none(),
                "seed {seed}: {n} tells {} too much",
                peer.name
            );
        }
    }
}

#[test]
fn whatever_policies_change_each_session_has_what_they_say() {
    let seeds = std::env::var("WAYLEAVE_SEEDS").ok();
    for seed in 0..seeds.and_then(|text| text.parse().ok()).unwrap_or(40) {
        let mut random = Rng::new(seed);
        let mut net = Net::graph(
            seed,
            &[65_001, 65_002, 65_003, 65_004],
            &[(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)],
        );
        net.raise();
        for _ in 0..40 {
            let n = random.below(4);
            match random.below(8) {
                0..4 => {
                    let prefix = format!("10.{}.0.0/16", random.below(16));
                    let tag = format!("65001:{}", random.below(4));
                    let med = random.below(3);
                    let route = with(&prefix, |route| {
                        route.communities = vec![tag.parse().unwrap()];
                        route.med = (med > 0).then_some(u32::try_from(med).unwrap());
                    });
                    let now = net.now;
                    net.speakers[n].originate(now, vec![route]);
                }
                4 => {
                    let prefix = format!("10.{}.0.0/16", random.below(16));
                    let now = net.now;
                    net.speakers[n].withdraw(now, 0, &[prefix.parse().unwrap()]);
                }
                5..7 => {
                    let mut config = net.speakers[n].config().clone();
                    let at = random.below(config.peers.len());
                    let policy = some(&mut random);
                    if random.below(2) == 0 {
                        config.peers[at].import = policy;
                    } else {
                        config.peers[at].export = policy;
                    }
                    let now = net.now;
                    net.speakers[n].reconfigure(now, config);
                }
                _ => {
                    let count = random.below(200);
                    net.steps(count);
                }
            }
        }
        net.settle();
        net.run(Duration::from_secs(2));
        net.settle();
        check(&net, seed);
    }
}
