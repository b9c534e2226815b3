//! The allocator seen from its caller: tables of requests, then properties over random runs.

#![allow(
    clippy::unwrap_used,
    reason = "the makers of test data are no tests themselves"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use proptest::prelude::*;
use wayleave_ipam::{
    AllocateError, Allocator, Block, BlockError, BlockState, BootId, Cidr, Effect, Family, Lease,
    MisfitReason, Owner, Pool, PoolRange, ProofOfLife, Request, Time, Wanted,
};

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pool(name: &str, ranges: &[&str], excluded: &[&str]) -> Pool {
    let ranges = ranges
        .iter()
        .map(|r| PoolRange::with_default_blocks(cidr(r)))
        .collect();
    Pool::new(name, ranges, excluded.iter().map(|e| cidr(e)).collect()).unwrap()
}

fn pools() -> Vec<Pool> {
    vec![
        pool(
            "green",
            &["10.1.0.0/16", "fd00:1::/64"],
            &["10.1.7.0/31", "fd00:1::/128"],
        ),
        pool("blue", &["10.2.0.0/16"], &[]),
    ]
}

fn blocks() -> Vec<Block> {
    vec![
        Block::fixed("green", cidr("10.1.7.0/29")),
        Block::fixed("green", cidr("fd00:1::/122")),
        Block::fixed("blue", cidr("10.2.7.0/30")),
    ]
}

fn host() -> Allocator {
    Allocator::restore(pools(), blocks(), vec![]).unwrap().0
}

fn request(container: u32) -> Request {
    Request {
        owner: Owner::new(format!("c{container}"), "eth0"),
        network: "fabric".into(),
        pools: vec![],
        wanted: Wanted::Available,
        addresses: vec![],
        alive: ProofOfLife {
            netns_cookie: u64::from(container),
            boot: BootId(7),
        },
        now: Time(u64::from(container) + 1),
    }
}

fn addresses(leases: &[Lease]) -> Vec<String> {
    leases
        .iter()
        .map(|lease| lease.address.to_string())
        .collect()
}

#[test]
fn a_container_gets_one_address_of_every_family_the_host_has() {
    let mut host = host();
    let grant = host.allocate(&request(1)).unwrap();
    assert_eq!(addresses(&grant.leases), ["10.1.7.2", "fd00:1::1"]);
    assert_eq!(
        grant.effects,
        grant
            .leases
            .into_iter()
            .map(Effect::Persist)
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_same_request_again_gets_the_same_addresses_and_changes_nothing() {
    let mut host = host();
    let first = host.allocate(&request(1)).unwrap();
    let again = host.allocate(&request(1)).unwrap();
    assert_eq!(first.leases, again.leases);
    assert!(again.repeated && again.effects.is_empty());
}

#[test]
fn a_container_restarted_in_a_new_namespace_keeps_its_addresses_with_a_new_proof_of_life() {
    let mut host = host();
    let first = host.allocate(&request(1)).unwrap();
    let restarted = Request {
        alive: ProofOfLife {
            netns_cookie: 99,
            boot: BootId(8),
        },
        ..request(1)
    };
    let again = host.allocate(&restarted).unwrap();
    assert_eq!(addresses(&first.leases), addresses(&again.leases));
    assert_eq!(again.effects.len(), 2);
    assert!(host.leases().all(|lease| lease.alive.netns_cookie == 99));
}

#[test]
fn every_address_of_a_block_but_the_excluded_ones_is_given_out_and_then_the_counts_are_named() {
    let mut host = host();
    let only_green = |n| Request {
        pools: vec!["green".into()],
        wanted: Wanted::Ipv4,
        ..request(n)
    };
    let mut given = BTreeSet::new();
    for n in 0..6 {
        given.extend(addresses(&host.allocate(&only_green(n)).unwrap().leases));
    }
    let expected: BTreeSet<String> = (2..8).map(|n| format!("10.1.7.{n}")).collect();
    assert_eq!(given, expected);
    let error = host.allocate(&only_green(6)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no IPv4 address is free in pool `green`: 6 of 6 are leased (2 more are excluded, 0 more are in blocks that take no new leases); \
         remove containers or add a block"
    );
    // Without the limit the other pool serves.
    let grant = host
        .allocate(&Request {
            wanted: Wanted::Ipv4,
            ..request(7)
        })
        .unwrap();
    assert_eq!(addresses(&grant.leases), ["10.2.7.0"]);
}

#[test]
fn when_one_family_is_exhausted_the_other_is_not_taken() {
    let mut host = host();
    for n in 0..10 {
        host.allocate(&Request {
            wanted: Wanted::Ipv4,
            ..request(n)
        })
        .unwrap();
    }
    let before: Vec<Lease> = host.leases().cloned().collect();
    let error = host.allocate(&request(10)).unwrap_err();
    assert!(matches!(
        error,
        AllocateError::Exhausted {
            family: Family::Ipv4,
            leased: 10,
            ..
        }
    ));
    assert_eq!(host.leases().cloned().collect::<Vec<_>>(), before);
    let next = host
        .allocate(&Request {
            wanted: Wanted::Ipv6,
            ..request(11)
        })
        .unwrap();
    assert_eq!(addresses(&next.leases), ["fd00:1::1"]);
}

#[test]
fn requests_that_cannot_be_met_say_why() {
    let mut host = host();
    host.allocate(&Request {
        addresses: vec![address("10.1.7.5")],
        ..request(1)
    })
    .unwrap();
    let with = |addresses: &[&str]| Request {
        addresses: addresses.iter().map(|a| address(a)).collect(),
        ..request(2)
    };
    for (request, wanted) in [
        (
            with(&["10.1.7.5"]),
            "10.1.7.5 is already leased to eth0 of container c1 (network `fabric`)",
        ),
        (
            with(&["10.1.7.1"]),
            "10.1.7.1 cannot be given out: pool `green` excludes it",
        ),
        (
            with(&["10.1.8.1"]),
            "10.1.8.1 cannot be given out here: it is in none of this host's blocks (10.1.7.0/29, 10.2.7.0/30, fd00:1::/122)",
        ),
        (
            with(&["10.1.7.3", "10.1.7.4"]),
            "more than one IPv4 address was asked for",
        ),
        (
            Request {
                pools: vec!["red".into()],
                ..request(2)
            },
            "there is no pool `red`; this host knows blue, green",
        ),
        (
            Request {
                pools: vec!["blue".into()],
                wanted: Wanted::Both,
                ..request(2)
            },
            "an IPv6 address was asked for, but this host has no IPv6 block in pool `blue`",
        ),
        (
            Request {
                network: "other".into(),
                ..request(1)
            },
            "eth0 of container c1 already has 10.1.7.5, fd00:1::1 in network `fabric`, which is not what is asked for now: delete it first",
        ),
    ] {
        let error = host.allocate(&request).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    assert_eq!(host.leases().count(), 2, "a refusal changes nothing");
    let error = Allocator::new().allocate(&request(1)).unwrap_err();
    assert_eq!(error, AllocateError::NoPool);
}

#[test]
fn freeing_is_idempotent_and_a_freed_address_is_not_the_next_one() {
    let mut host = host();
    let first = host.allocate(&request(1)).unwrap();
    let freed = host.free(&request(1).owner);
    assert_eq!(freed.leases, first.leases);
    let forgotten: Vec<Effect> = first
        .leases
        .iter()
        .map(|l| Effect::Forget(l.address))
        .collect();
    assert_eq!(freed.effects, forgotten);
    assert!(host.free(&request(1).owner).effects.is_empty());
    let second = host.allocate(&request(1)).unwrap();
    assert_eq!(addresses(&second.leases), ["10.1.7.3", "fd00:1::2"]);
}

#[test]
fn closing_a_block_announces_its_leases_one_by_one_and_withdraws_the_block() {
    let mut host = host();
    host.allocate(&Request {
        addresses: vec![address("10.1.7.5")],
        ..request(1)
    })
    .unwrap();
    let mut closed = blocks();
    closed[0].state = BlockState::Closed;
    let effects = host.set_blocks(pools(), closed).unwrap();
    assert_eq!(
        effects,
        [
            Effect::Originate(cidr("10.1.7.5/32")),
            Effect::Withdraw(cidr("10.1.7.0/29"))
        ]
    );
    let freed = host.free(&request(1).owner);
    assert!(
        freed
            .effects
            .contains(&Effect::Withdraw(cidr("10.1.7.5/32")))
    );
    assert!(!host.originated().contains(&cidr("10.1.7.5/32")));
}

#[test]
fn a_lease_outlives_its_block_and_finds_back_when_the_block_returns() {
    let mut host = host();
    host.allocate(&Request {
        wanted: Wanted::Ipv4,
        ..request(1)
    })
    .unwrap();
    let effects = host.set_blocks(pools(), vec![]).unwrap();
    assert!(effects.contains(&Effect::Originate(cidr("10.1.7.2/32"))));
    assert_eq!(host.leases().count(), 1);
    let effects = host.set_blocks(pools(), blocks()).unwrap();
    assert!(effects.contains(&Effect::Withdraw(cidr("10.1.7.2/32"))));
    let next = host
        .allocate(&Request {
            wanted: Wanted::Ipv4,
            ..request(2)
        })
        .unwrap();
    assert_eq!(addresses(&next.leases), ["10.1.7.3"]);
}

#[test]
fn contradicting_pools_and_blocks_are_refused_and_change_nothing() {
    let mut host = host();
    host.allocate(&request(1)).unwrap();
    let before = host.originated().clone();
    for (pools, blocks, expected) in [
        (
            vec![
                pool("a", &["10.0.0.0/8"], &[]),
                pool("b", &["10.9.0.0/16"], &[]),
            ],
            vec![],
            BlockError::PoolsOverlap {
                first: "a".into(),
                second: "b".into(),
                overlap: cidr("10.9.0.0/16"),
            },
        ),
        (
            vec![
                pool("a", &["10.0.0.0/8"], &[]),
                pool("a", &["11.0.0.0/8"], &[]),
            ],
            vec![],
            BlockError::PoolTwice("a".into()),
        ),
        (
            pools(),
            vec![Block::fixed("red", cidr("10.1.7.0/24"))],
            BlockError::NoSuchPool {
                block: cidr("10.1.7.0/24"),
                pool: "red".into(),
            },
        ),
        (
            pools(),
            vec![Block::fixed("green", cidr("10.2.7.0/24"))],
            BlockError::OutsidePool {
                block: cidr("10.2.7.0/24"),
                pool: "green".into(),
            },
        ),
        (
            pools(),
            vec![
                Block::fixed("green", cidr("10.1.7.0/24")),
                Block::fixed("green", cidr("10.1.7.64/26")),
            ],
            BlockError::BlocksOverlap {
                first: cidr("10.1.7.0/24"),
                second: cidr("10.1.7.64/26"),
            },
        ),
    ] {
        assert_eq!(host.set_blocks(pools, blocks).unwrap_err(), expected);
        assert_eq!(*host.originated(), before);
    }
}

#[test]
fn records_that_do_not_suit_are_kept_and_named() {
    let lease = |text: &str, container: u32, since| Lease {
        address: address(text),
        owner: Owner::new(format!("c{container}"), "eth0"),
        network: "fabric".into(),
        pool: "green".into(),
        alive: ProofOfLife {
            netns_cookie: 1,
            boot: BootId(1),
        },
        since: Time(since),
    };
    let records = vec![
        lease("10.1.7.4", 1, 30),
        lease("10.1.7.4", 2, 20),
        lease("10.1.7.0", 3, 10),
        lease("10.9.9.9", 4, 10),
        lease("10.1.7.6", 2, 25),
    ];
    let (host, misfits) = Allocator::restore(pools(), blocks(), records).unwrap();
    let named: Vec<_> = misfits
        .iter()
        .map(|m| {
            (
                m.lease.address.to_string(),
                m.lease.owner.container.as_str(),
                m.reason,
            )
        })
        .collect();
    assert_eq!(
        named,
        [
            ("10.1.7.0".to_string(), "c3", MisfitReason::Excluded),
            ("10.9.9.9".to_string(), "c4", MisfitReason::OutsideBlocks),
            ("10.1.7.6".to_string(), "c2", MisfitReason::SecondOfFamily),
            ("10.1.7.4".to_string(), "c1", MisfitReason::Twice),
        ]
    );
    assert_eq!(
        host.lease(address("10.1.7.4")).unwrap().owner.container,
        "c2"
    );
    assert!(host.originated().contains(&cidr("10.9.9.9/32")));
}

/// The cost of an allocation must not grow with the leases; the bound is generous because the machine may be busy.
#[test]
fn ten_thousand_leases_allocate_at_about_the_cost_of_the_first_thousand() {
    let pools = vec![pool("big", &["10.0.0.0/8", "fd00::/64"], &[])];
    let blocks = vec![
        Block::fixed("big", cidr("10.7.0.0/18")),
        Block::fixed("big", cidr("fd00::/112")),
    ];
    let mut host = Allocator::restore(pools, blocks, vec![]).unwrap().0;
    let mut rounds = Vec::new();
    for round in 0..10 {
        #[allow(clippy::disallowed_methods, reason = "a test may measure")]
        let start = Instant::now();
        for n in 0..1_000 {
            host.allocate(&request(round * 1_000 + n)).unwrap();
        }
        rounds.push(start.elapsed());
    }
    println!("per thousand dual-stack leases: {rounds:?}");
    assert_eq!(host.leases().count(), 20_000);
    let late = rounds[5..].iter().min().unwrap();
    let early = rounds[..5].iter().max().unwrap();
    assert!(*late < *early * 5, "{rounds:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Allocate { container: u32, wanted: Wanted },
    AllocateAddress { container: u32, offset: u32 },
    Free { container: u32 },
    Restart,
    CloseBlock(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let wanted = prop_oneof![
        Just(Wanted::Available),
        Just(Wanted::Ipv4),
        Just(Wanted::Ipv6),
        Just(Wanted::Both)
    ];
    prop_oneof![
        6 => (0..24u32, wanted).prop_map(|(container, wanted)| Step::Allocate { container, wanted }),
        2 => (0..24u32, 0..10u32)
            .prop_map(|(container, offset)| Step::AllocateAddress { container, offset }),
        6 => (0..24u32).prop_map(|container| Step::Free { container }),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::CloseBlock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Carries the effects out on a pretended disk and checks after every step that disk and memory agree, that no address
    /// has two owners, that no excluded one is leased, that refusals are true and that every lease is announced.
    #[test]
    fn no_address_is_leased_twice_and_the_records_are_the_state(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let mut host = host();
        let mut blocks = blocks();
        let mut disk: BTreeMap<IpAddr, Lease> = BTreeMap::new();
        let mut announced: BTreeSet<Cidr> = host.originated().clone();
        for step in steps {
            let mut effects = Vec::new();
            match step {
                Step::Allocate { container, wanted } => {
                    match host.allocate(&Request { wanted, ..request(container) }) {
                        Ok(grant) => effects = grant.effects,
                        Err(AllocateError::Exhausted { family, .. }) => {
                            let free: u128 = host
                                .usage()
                                .filter(|u| u.block.cidr.family() == family && u.block.state == BlockState::Open)
                                .map(|u| u.free)
                                .sum();
                            prop_assert_eq!(free, 0);
                        }
                        Err(AllocateError::Different { .. }) => {}
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                }
                Step::AllocateAddress { container, offset } => {
                    let asked = cidr("10.1.7.0/24").at(u128::from(offset)).unwrap();
                    if let Ok(grant) = host.allocate(&Request { addresses: vec![asked], ..request(container) }) {
                        prop_assert!(grant.leases.iter().any(|lease| lease.address == asked));
                        effects = grant.effects;
                    }
                }
                Step::Free { container } => effects = host.free(&request(container).owner).effects,
                Step::Restart => {
                    let records = disk.values().cloned().collect();
                    let (restored, misfits) = Allocator::restore(pools(), blocks.clone(), records).unwrap();
                    prop_assert_eq!(misfits, vec![]);
                    prop_assert_eq!(restored.originated(), host.originated());
                    prop_assert_eq!(restored.usage().collect::<Vec<_>>(), host.usage().collect::<Vec<_>>());
                    host = restored;
                }
                Step::CloseBlock(close) => {
                    blocks[0].state = if close { BlockState::Closed } else { BlockState::Open };
                    effects = host.set_blocks(pools(), blocks.clone()).unwrap();
                }
            }
            for effect in effects {
                match effect {
                    Effect::Persist(lease) => { disk.insert(lease.address, lease); }
                    Effect::Forget(address) => prop_assert!(disk.remove(&address).is_some()),
                    Effect::Originate(cidr) => prop_assert!(announced.insert(cidr)),
                    Effect::Withdraw(cidr) => prop_assert!(announced.remove(&cidr)),
                }
            }
            prop_assert_eq!(&disk.values().cloned().collect::<Vec<_>>(), &host.leases().cloned().collect::<Vec<_>>());
            prop_assert_eq!(&announced, host.originated());
            let mut owned = 0;
            for owner in host.owners() {
                let families: Vec<Family> = host.leases_of(owner).map(|l| Family::of(l.address)).collect();
                owned += families.len();
                prop_assert!(!families.is_empty());
                prop_assert!(families.windows(2).all(|pair| pair[0] != pair[1]));
            }
            prop_assert_eq!(owned, disk.len(), "every lease belongs to exactly one owner");
            for lease in host.leases() {
                prop_assert!(pools().iter().all(|p| !p.excluded().iter().any(|e| e.contains(lease.address))));
                prop_assert!(announced.iter().any(|prefix| prefix.contains(lease.address)));
            }
            for usage in host.usage() {
                let within = host.leases().filter(|l| usage.block.cidr.contains(l.address)).count();
                prop_assert_eq!(usage.leased, within as u128);
                prop_assert_eq!(usage.free, usage.usable - usage.leased);
            }
        }
    }

    #[test]
    fn a_prefix_survives_its_text(address in any::<IpAddr>(), len in 0u8..=128) {
        if let Ok(cidr) = Cidr::containing(address, len) {
            prop_assert_eq!(cidr.to_string().parse::<Cidr>().unwrap(), cidr);
            prop_assert!(cidr.contains(address));
            prop_assert_eq!(cidr.at(cidr.offset_of(address).unwrap()), Some(address));
        }
    }
}
