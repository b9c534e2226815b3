//! Which session, if any: RFC 5880, 6.3 and 6.8.6; RFC 5881, 3 and 5; RFC 5883, 4.1.

use std::collections::BTreeSet;

use wayleave_bfd::{
    AddError, Bfd, Datagram, Discard, Hops, Packet, Path, SessionConfig, SessionId, State, Time,
};

use crate::single::{ID, Single, THEM, US, config, datagram, timers};

fn down() -> Packet {
    Single::new().theirs
}

/// Three sessions with one neighbour: anywhere, bound to interface 3, and over several hops.
fn three() -> Bfd {
    let mut bfd = Bfd::new(9);
    let config = config(timers(50, 50, 3));
    let with = |interface, hops| SessionConfig {
        path: Path {
            interface,
            hops,
            ..config.path
        },
        ..config
    };
    let sessions = [
        with(None, Hops::Single),
        with(Some(3), Hops::Single),
        with(None, Hops::Multi { least_ttl: 250 }),
    ];
    for (id, config) in (1..).zip(sessions) {
        bfd.add(Time(0), SessionId(id), config).unwrap();
    }
    bfd
}

#[test]
fn a_first_packet_finds_its_session_by_addresses_interface_and_port() {
    let mut bfd = three();
    let mut to = |datagram| bfd.received(Time(0), &datagram, &down().encode());
    assert_eq!(
        to(datagram()),
        Ok(SessionId(2)),
        "of two, the one that is bound"
    );
    assert_eq!(
        to(Datagram {
            interface: 4,
            ..datagram()
        }),
        Ok(SessionId(1))
    );
    assert_eq!(
        to(Datagram {
            multihop: true,
            ttl: 250,
            ..datagram()
        }),
        Ok(SessionId(3))
    );
    assert_eq!(
        to(Datagram {
            local: THEM,
            ..datagram()
        }),
        Err(Discard::NoSession)
    );
    assert_eq!(
        to(Datagram {
            remote: US,
            ..datagram()
        }),
        Err(Discard::NoSession)
    );
}

#[test]
fn a_session_without_a_local_address_is_found_by_any() {
    let mut config = config(timers(50, 50, 3));
    config.path.local = None;
    let mut bfd = Bfd::new(9);
    bfd.add(Time(0), ID, config).unwrap();
    let elsewhere = Datagram {
        local: "10.9.9.9".parse().unwrap(),
        ..datagram()
    };
    assert_eq!(bfd.received(Time(0), &elsewhere, &down().encode()), Ok(ID));
}

#[test]
fn a_packet_that_names_our_discriminator_may_come_from_another_address() {
    let mut s = Single::up();
    let elsewhere = Datagram {
        local: "10.0.0.9".parse().unwrap(),
        remote: "10.0.0.8".parse().unwrap(),
        interface: 8,
        ..datagram()
    };
    s.theirs.state = State::Up;
    let received = s.bfd.received(s.now, &elsewhere, &s.theirs.encode());
    assert_eq!(received, Ok(ID), "6.3");
}

/// Every check behind My Discriminator, in the order of 6.8.6, and that it is counted.
#[test]
fn what_belongs_to_no_session_or_comes_from_too_far_is_discarded_and_counted() {
    let mut bfd = three();
    let views = bfd.view(Time(0));
    let [one, two, three] = [0, 1, 2].map(|at| views[at].local_discriminator);
    let to = |your_discriminator| Packet {
        your_discriminator,
        ..down()
    };
    let near = datagram();
    let far = Datagram {
        multihop: true,
        ..near
    };
    let cases = [
        (near, to(one ^ 1), Discard::YourDiscriminator),
        (
            near,
            Packet {
                state: State::Init,
                ..down()
            },
            Discard::NoDiscriminator,
        ),
        (
            near,
            Packet {
                state: State::Up,
                ..down()
            },
            Discard::NoDiscriminator,
        ),
        (Datagram { remote: US, ..near }, down(), Discard::NoSession),
        (far, to(one), Discard::Port),
        (near, to(three), Discard::Port),
        (
            Datagram {
                interface: 4,
                ..near
            },
            to(two),
            Discard::Interface,
        ),
        (Datagram { ttl: 254, ..near }, to(one), Discard::Ttl),
        (Datagram { ttl: 254, ..near }, down(), Discard::Ttl),
        (Datagram { ttl: 249, ..far }, to(three), Discard::Ttl),
    ];
    for (datagram, packet, discard) in cases {
        let received = bfd.received(Time(0), &datagram, &packet.encode());
        assert_eq!(received, Err(discard));
    }
    // An authentication section, which nothing is configured for.
    let mut bytes = to(one).encode().to_vec();
    bytes[1] |= 0x04;
    bytes[3] = 28;
    bytes.extend([1, 4, 0, b'x']);
    assert_eq!(
        bfd.received(Time(0), &near, &bytes),
        Err(Discard::Authentication)
    );
    assert_eq!(bfd.received(Time(0), &near, b"hello"), Err(Discard::Short));
    let all = bfd.discarded();
    assert_eq!(
        (all.ttl, all.no_discriminator, all.port, all.short),
        (3, 2, 2, 1)
    );
    let views = bfd.view(Time(0));
    assert_eq!(views[0].discarded.authentication, 1);
    assert_eq!((views[0].discarded.ttl, views[1].discarded.ttl), (1, 1));
    assert!(
        views
            .iter()
            .all(|view| view.state == State::Down && view.received == 0)
    );
}

#[test]
fn discriminators_are_unequal_and_not_zero_and_differ_from_seed_to_seed() {
    let of = |seed| -> BTreeSet<u32> {
        let mut bfd = Bfd::new(seed);
        for id in 0..500u32 {
            let mut config = config(timers(50, 50, 3));
            config.path.interface = Some(id + 1);
            bfd.add(Time(0), SessionId(id.into()), config).unwrap();
        }
        let views = bfd.view(Time(0));
        views.iter().map(|view| view.local_discriminator).collect()
    };
    let (one, two) = (of(1), of(2));
    assert!(one.len() == 500 && two.len() == 500 && !one.contains(&0));
    assert!(one.is_disjoint(&two));
}

#[test]
fn what_could_not_be_told_apart_is_not_added() {
    let mut bfd = three();
    let plain = config(timers(50, 50, 3));
    let id = SessionId(7);
    let with = |path| SessionConfig { path, ..plain };
    assert_eq!(
        bfd.add(Time(0), id, plain),
        Err(AddError::Path(SessionId(1))),
        "RFC 5882, 4.4"
    );
    let other = with(Path {
        interface: Some(9),
        ..plain.path
    });
    assert_eq!(
        bfd.add(Time(0), SessionId(2), other),
        Err(AddError::Id(SessionId(2)))
    );
    let v6 = "fe80::1".parse().unwrap();
    let mixed = with(Path {
        remote: v6,
        ..plain.path
    });
    assert_eq!(bfd.add(Time(0), id, mixed), Err(AddError::Families(US, v6)));
    let unbound = with(Path {
        remote: v6,
        local: None,
        ..plain.path
    });
    assert_eq!(bfd.add(Time(0), id, unbound), Err(AddError::Interface(v6)));
    for none in ["0.0.0.0", "224.0.0.5", "::", "ff02::1"] {
        let none = none.parse().unwrap();
        let path = Path {
            remote: none,
            local: None,
            ..plain.path
        };
        assert_eq!(
            bfd.add(Time(0), id, with(path)),
            Err(AddError::Address(none))
        );
    }
}

#[test]
fn an_interface_that_was_made_anew_is_bound_to_again() {
    let mut bfd = three();
    bfd.set_interface(Time(0), SessionId(2), Some(30));
    let new = Datagram {
        interface: 30,
        ..datagram()
    };
    assert_eq!(
        bfd.received(Time(0), &new, &down().encode()),
        Ok(SessionId(2))
    );
    assert_eq!(
        bfd.received(Time(0), &datagram(), &down().encode()),
        Ok(SessionId(1))
    );
}
