//! The decision process by table (RFC 4271, 9.1.2.2; RFC 4456, 9).

use std::net::IpAddr;

use super::{
    attr::AttrId,
    decision::Step,
    source::{Slot, Source},
    table::Table,
    *,
};
use crate::{types::Ipv4Prefix, wire::AttrFacts};

/// A path as the table below writes it.
#[derive(Clone, Copy)]
struct Candidate {
    facts: AttrFacts,
    ebgp: bool,
    router_id: u32,
    address: u8,
}

fn candidate() -> Candidate {
    let facts = AttrFacts {
        as_path_len: 3,
        neighbor_as: 65_001,
        ..AttrFacts::default()
    };
    Candidate {
        facts,
        ebgp: true,
        router_id: 5,
        address: 5,
    }
}

fn rib(candidates: &[Candidate]) -> (Shared, Table<Ipv4Prefix>, u32) {
    let mut shared = Shared::new(Source::local(1), crate::Limits::default());
    let mut table = Table::new();
    let mut dest = 0;
    for (n, candidate) in (1_u16..).zip(candidates) {
        shared.sources.push(Source {
            epoch: [0; 2],
            stale: [None; 2],
            ebgp: candidate.ebgp,
            on_interface: false,
            client: false,
            router_id: candidate.router_id,
            address: IpAddr::from([192, 0, 2, candidate.address]),
        });
        // The bytes only have to differ where the facts do.
        let bytes = format!("{n}");
        let attr = shared
            .attrs
            .intern(bytes.as_bytes(), None, &candidate.facts);
        let prefix = Ipv4Prefix::from_bits(0x0a00_0000, 8);
        dest = shared
            .announce(&mut table, prefix, Slot(n), attr, attr, 0)
            .dest;
    }
    (shared, table, dest)
}

/// The place of the winner, 1 for the first.
fn winner(candidates: &[Candidate]) -> u16 {
    let (_, table, dest) = rib(candidates);
    table.best(dest).map_or(0, |path| path.peer.0)
}

#[test]
fn every_step_decides_in_its_turn_and_names_itself() {
    let with = |change: fn(&mut Candidate)| {
        let mut changed = candidate();
        change(&mut changed);
        changed
    };
    let plain = candidate();
    // The better of the two has what all later steps would count against it.
    let rows = [
        (
            Step::LocalPref,
            with(|c| {
                c.facts.local_pref = Some(101);
                c.facts.as_path_len = 9;
            }),
            plain,
        ),
        (
            Step::AsPathLength,
            with(|c| {
                c.facts.as_path_len = 2;
                c.facts.origin = 2;
            }),
            plain,
        ),
        (Step::Origin, plain, with(|c| c.facts.origin = 1)),
        (
            Step::Med,
            with(|c| {
                c.facts.med = Some(1);
                c.ebgp = false;
            }),
            with(|c| c.facts.med = Some(2)),
        ),
        (
            Step::ExternalOverInternal,
            with(|c| c.router_id = 9),
            with(|c| c.ebgp = false),
        ),
        (
            Step::RouterId,
            with(|c| {
                c.router_id = 4;
                c.facts.cluster_len = 3;
            }),
            plain,
        ),
        (
            Step::RouterId,
            // RFC 4456, 9: the originator's identifier stands in for the reflector's.
            with(|c| {
                c.facts.originator_id = Some(3);
                c.router_id = 9;
            }),
            plain,
        ),
        (
            Step::ClusterListLength,
            with(|c| {
                c.facts.cluster_len = 1;
                c.address = 9;
            }),
            with(|c| c.facts.cluster_len = 2),
        ),
        (Step::PeerAddress, with(|c| c.address = 4), plain),
    ];
    for (step, better, worse) in rows {
        assert_eq!(winner(&[better, worse]), 1, "{step:?}");
        assert_eq!(winner(&[worse, better]), 2, "{step:?} the other way round");
        let (shared, table, dest) = rib(&[better, worse]);
        let paths: Vec<_> = table.paths_of(dest).map(|(id, _)| id).collect();
        assert_eq!(
            shared.sources().step_between(&table, paths[0], paths[1]),
            step
        );
    }
}

#[test]
fn med_counts_only_within_one_neighbouring_as_and_in_no_order_of_arrival() {
    let of = |neighbor_as, med, router_id| {
        let mut path = candidate();
        path.facts.neighbor_as = neighbor_as;
        path.facts.med = Some(med);
        path.router_id = router_id;
        path.address = u8::try_from(router_id).unwrap();
        path
    };
    // The classic: a (AS 1, MED 10) loses to b (AS 1, MED 5); c (AS 2) has the lowest identifier
    // but one. Without b, a would win; with it, c must, in every order.
    let (a, b, c) = (of(1, 10, 1), of(1, 5, 9), of(2, 0, 5));
    for order in [
        [a, b, c],
        [a, c, b],
        [b, a, c],
        [b, c, a],
        [c, a, b],
        [c, b, a],
    ] {
        let winner = usize::from(winner(&order)) - 1;
        assert_eq!(order[winner].router_id, 5);
    }
}

#[test]
fn our_own_route_wins_and_a_refused_one_takes_no_part() {
    let (mut shared, mut table, dest) = rib(&[candidate()]);
    let prefix = table.prefix(dest);
    let own = shared.attrs.intern(b"own", None, &AttrFacts::default());
    shared.announce(&mut table, prefix, Slot::LOCAL, own, own, 0);
    assert_eq!(table.best(dest).unwrap().peer, Slot::LOCAL);
    shared.withdraw(&mut table, prefix, Slot::LOCAL);
    assert_eq!(table.best(dest).unwrap().peer, Slot(1));
    let received = table.best(dest).unwrap().received;
    let outcome = shared.announce(&mut table, prefix, Slot(1), received, AttrId::NONE, 0);
    assert!(outcome.best_changed && outcome.received == 0 && outcome.accepted == -1);
    assert!(table.best(dest).is_none());
    assert_eq!(table.paths_len(), 1, "kept in adj-RIB-in");
}

#[test]
fn paths_of_a_past_session_are_gone_before_they_are_swept() {
    let (mut shared, mut table, dest) = rib(&[candidate(), candidate()]);
    let prefix = table.prefix(dest);
    shared.sources[1].lose(0);
    // Any change decides again; here the second path is announced with other attributes.
    let attr = shared.attrs.intern(b"new", None, &candidate().facts);
    shared.announce(&mut table, prefix, Slot(2), attr, attr, 0);
    assert_eq!(table.best(dest).unwrap().peer, Slot(2));
    let outcome = shared.announce(&mut table, prefix, Slot(1), attr, attr, 0);
    assert_eq!(
        (outcome.received, outcome.accepted),
        (1, 1),
        "counted in its new session"
    );
}

#[test]
fn nothing_is_held_once_everything_is_gone() {
    let (mut shared, mut table, dest) = rib(&[candidate(), candidate(), candidate()]);
    let prefix = table.prefix(dest);
    for slot in 1..=3 {
        shared.withdraw(&mut table, prefix, Slot(slot)).unwrap();
    }
    assert_eq!(shared.withdraw(&mut table, prefix, Slot(1)), None);
    shared.attrs.collect();
    assert_eq!(
        (shared.attrs.len(), table.paths_len(), table.best_len()),
        (0, 0, 0)
    );
}
