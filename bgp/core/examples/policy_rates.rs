//! How fast policy is: nanoseconds for a lookup in a prefix list, for binding rules to a set of
//! attributes, and per route, on a synthetic table (sets with a few prefixes each).
//!
//! ```text
//! cargo run --release -p wayleave-bgp-core --example policy_rates
//! ```

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]

use std::{hint::black_box, net::IpAddr, sync::Arc, time::Instant};

use wayleave_bgp_core::{
    Asn, Community, Family, LargeCommunity, Prefix,
    attributes::{AsSegment, Attributes},
    policy::{
        Action, Amount, Bound, Condition, Numbers, PrefixEntry, PrefixList, Route, Rule, Rules,
        Session, Set, Source, Then, Validation, Verdict,
    },
    wire::encode_canonical,
};

/// Sets of attributes in the table, and prefixes of each.
const SETS: usize = 40_000;
const PREFIXES: usize = 5;
/// Entries of the large prefix list.
const ENTRIES: usize = 10_000;
/// Each figure is the best of this many runs.
const RUNS: usize = 7;

fn main() {
    let mut random = Random(0x5EED_0000_0BAD_CAFE);
    let list = Arc::new(PrefixList::named("customers", entries(&mut random)));
    let table: Vec<(Vec<u8>, Vec<Prefix>)> = (0..SETS)
        .map(|_| {
            let prefixes = (0..PREFIXES).map(|_| prefix(&mut random)).collect();
            (attributes(&mut random), prefixes)
        })
        .collect();
    let routes = SETS * PREFIXES;
    let all = || table.iter().flat_map(|(_, prefixes)| prefixes);
    let passing = all().filter(|prefix| list.contains(**prefix)).count();
    println!(
        "{SETS} sets of attributes, {PREFIXES} prefixes each; a list of {ENTRIES} prefixes, which means {passing} of them"
    );
    let lookups = best(|| all().filter(|prefix| list.contains(**prefix)).count());
    print("a lookup in the list", lookups, routes);
    let attributes_only: Vec<_> = rules(&list)
        .into_iter()
        .filter(|rule| rule.name != "customers" && rule.name != "small")
        .collect();
    for (name, list) in [
        ("12 rules, 2 of which ask for the prefix", rules(&list)),
        ("10 rules that do not", attributes_only),
        ("no rules", Vec::new()),
    ] {
        println!("{name}:");
        measure(Arc::new(Rules::new("rates", list, Verdict::Accept)), &table);
    }
}

fn measure(rules: Arc<Rules>, table: &[(Vec<u8>, Vec<Prefix>)]) {
    let routes = SETS * PREFIXES;
    let session = session();
    let mut bound = Bound::new(Arc::clone(&rules), session.clone());
    let binding = best(|| {
        for (attributes, _) in table {
            bound.bind(black_box(&set(attributes)));
        }
        0
    });
    print("  binding a set", binding, SETS);
    let both = best(|| {
        let mut accepted = 0;
        for (attributes, prefixes) in table {
            bound.bind(&set(attributes));
            for prefix in prefixes {
                let decision = bound.decide(*prefix, Validation::NotFound);
                accepted += usize::from(decision.verdict == Verdict::Accept);
            }
        }
        accepted
    });
    print("  a route, binding and all", both, routes);
    let mut bounds: Vec<_> = table
        .iter()
        .map(|(attributes, _)| {
            let mut bound = Bound::new(Arc::clone(&rules), session.clone());
            bound.bind(&set(attributes));
            bound
        })
        .collect();
    let again = best(|| {
        let mut accepted = 0;
        for (bound, (_, prefixes)) in bounds.iter_mut().zip(table) {
            for prefix in prefixes {
                let decision = bound.decide(*prefix, Validation::NotFound);
                accepted += usize::from(decision.verdict == Verdict::Accept);
            }
        }
        accepted
    });
    print("  a route of a set that is bound", again, routes);
    let plain = best(|| {
        let mut accepted = 0;
        for (attributes, prefixes) in table {
            for prefix in prefixes {
                let route = Route {
                    prefix: *prefix,
                    validation: Validation::NotFound,
                    set: set(attributes),
                };
                let outcome = rules.evaluate(&session, &route);
                accepted += usize::from(outcome.verdict == Verdict::Accept);
            }
        }
        accepted
    });
    print("  a route, read plainly", plain, routes);
}

/// Nanoseconds of the best run.
fn best(mut run: impl FnMut() -> usize) -> u128 {
    let runs = (0..RUNS).map(|_| {
        let start = Instant::now();
        black_box(run());
        start.elapsed().as_nanos()
    });
    runs.min().unwrap_or_default()
}

fn print(what: &str, nanos: u128, count: usize) {
    println!("{what:<34} {:>7} ns", nanos / count as u128);
}

fn rules(list: &Arc<PrefixList>) -> Vec<Rule> {
    let community = |text: &str| Condition::Community(vec![text.parse().expect("a pattern")]);
    let path = |text: &str| Condition::AsPath(vec![text.parse().expect("a pattern")]);
    let add = |text: &str| Action::AddCommunities(vec![text.parse().expect("a community")]);
    let small: PrefixEntry = "0.0.0.0/0 ge 25".parse().expect("an entry");
    vec![
        Rule::new("long paths", Then::Reject).when(Condition::AsPathLength(vec![
            "50-".parse().expect("a range"),
        ])),
        Rule::new("private", Then::Reject).when(path("* 64512-65534 *")),
        Rule::new("wash", Then::Next).with(Action::StripCommunities(vec![
            "65001:*".parse().expect("a pattern"),
            "65001:*:*".parse().expect("a pattern"),
        ])),
        Rule::new("graceful shutdown", Then::Next)
            .when(community("graceful-shutdown"))
            .with(Action::LocalPref(Amount::Set(0))),
        Rule::new("small", Then::Reject).when(Condition::Prefix(vec![Arc::new(PrefixList::new(
            vec![small],
        ))])),
        Rule::new("customers", Then::Accept)
            .when(Condition::Prefix(vec![Arc::clone(list)]))
            .with(Action::LocalPref(Amount::Set(200)))
            .with(add("65001:200")),
        Rule::new("blackhole", Then::Accept).when(community("blackhole")),
        Rule::new("lower", Then::Next)
            .when(community("3:80"))
            .with(Action::LocalPref(Amount::Subtract(20))),
        Rule::new("neighbour", Then::Next)
            .when(Condition::NeighborAs(vec![Numbers::one(3)]))
            .with(add("65001:3")),
        Rule::new("large", Then::Next).when(community("4200000000:*:*")),
        Rule::new("no med", Then::Next).with(Action::RemoveMed),
        Rule::new("rest", Then::Accept).with(add("65001:100")),
    ]
}

fn set(attributes: &[u8]) -> Set<'_> {
    Set {
        family: Family::Ipv4Unicast,
        source: Source::External,
        attributes,
        next_hop: Some(IpAddr::from([192, 0, 2, 1]).into()),
    }
}

fn session() -> Session {
    Session {
        peer: "transit".to_owned(),
        group: None,
        role: None,
        address: IpAddr::from([192, 0, 2, 1]),
        external: true,
        local_as: Asn(65_001),
    }
}

fn prefix(random: &mut Random) -> Prefix {
    let len = [16, 20, 22, 23, 24, 24, 24, 24][random.below(8) as usize];
    Prefix::new(IpAddr::from(random.next().to_be_bytes()), len)
}

/// Prefixes of many lengths, some inside of others.
fn entries(random: &mut Random) -> Vec<PrefixEntry> {
    let entries = (0..ENTRIES).map(|_| {
        let len = 12 + random.below(13) as u8;
        let prefix = Prefix::new(IpAddr::from(random.next().to_be_bytes()), len);
        PrefixEntry::new(prefix, None, Some(24)).expect("lengths up to 24")
    });
    entries.collect()
}

/// Paths and communities as long as those of real tables.
fn attributes(random: &mut Random) -> Vec<u8> {
    let hops = 2 + random.below(6);
    let path = (0..hops).map(|_| Asn(1 + random.below(60_000))).collect();
    let communities = (0..random.below(8))
        .map(|_| Community(random.below(60_000) << 16 | random.below(1_000)))
        .collect();
    let large = (0..random.below(3)).map(|local1| LargeCommunity {
        global: 6_000,
        local1,
        local2: 7,
    });
    let attributes = Attributes {
        as_path: vec![AsSegment::Sequence(path)],
        med: (random.below(2) == 0).then(|| random.below(100)),
        communities,
        large_communities: large.collect(),
        ..Attributes::default()
    };
    let mut canonical = Vec::new();
    encode_canonical(&attributes, &mut canonical);
    canonical
}

/// xorshift: the same table every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.next() % bound
    }
}
