//! Interfaces: attachments across namespaces, settings, deletion.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use wayleave_netlink::{
    Address, Change, Dump, Ipv4Setting, Kernel, KernelError, LinkChange, LinkId, Mac, NewEnd,
    NewLink, NextHop, Object, Protocol, Route, Socket, SocketOperation, VethPlan, sysctl::Sysctl,
};

use crate::namespace::{another, apply, in_namespace, ip, prefix};

#[test]
fn a_veth_is_made_with_its_peer_in_another_namespace_and_no_address_appears_by_itself() {
    in_namespace(|| {
        let mut host = Socket::open().expect("a socket");
        let (netns, mut inside) = another();
        let here = NewEnd {
            ifindex: Some(4000),
            mtu: Some(1450),
            mac: Some(Mac([0xee, 0xee, 0xee, 0xee, 0xee, 0xee])),
            group: Some(7),
            ..NewEnd::new("wl0123456789a")
        };
        let there = NewEnd {
            mtu: Some(1450),
            ..NewEnd::new("eth0")
        };
        let settings = vec![(Ipv4Setting::ProxyArp, 1), (Ipv4Setting::RpFilter, 0)];
        let plan = VethPlan::new(here, there, netns, settings);
        apply(&mut host, plan.host);
        apply(&mut inside, plan.inside);

        let link = host
            .link(&LinkId::Index(4000))
            .expect("asked")
            .expect("there");
        assert_eq!(link.name, "wl0123456789a");
        assert_eq!(
            (link.mtu, link.group, link.up, link.running),
            (1450, 7, true, true)
        );
        assert_eq!(link.mac, Some(Mac([0xee; 6])));
        let eth0 = inside.link(&"eth0".into()).expect("asked").expect("there");
        assert_eq!((eth0.mtu, eth0.up, eth0.running), (1450, true, true));
        assert_eq!(link.peer, Some(eth0.ifindex));
        assert!(link.peer_netns.is_some());

        // Container addresses and routes, by the passed socket; the host's route to it.
        let gateway = ip("169.254.1.1");
        apply(
            &mut inside,
            [
                LinkChange::of("lo").up(true).into(),
                Change::AddressAdd(Address::new(eth0.ifindex, ip("10.1.0.5"), 32)),
                Change::AddressAdd(Address::new(eth0.ifindex, ip("2001:db8::5"), 128)),
                Change::RouteReplace(Route::unicast(
                    gateway.into(),
                    Protocol::WAYLEAVE,
                    NextHop::dev(eth0.ifindex),
                )),
                Change::RouteReplace(Route::unicast(
                    prefix("0.0.0.0/0"),
                    Protocol::WAYLEAVE,
                    NextHop::via(gateway, eth0.ifindex),
                )),
            ],
        );
        apply(
            &mut host,
            [Change::RouteReplace(Route::unicast(
                ip("10.1.0.5").into(),
                Protocol::WAYLEAVE,
                NextHop::dev(4000),
            ))],
        );
        for (socket, ifindex, expected) in [(&mut host, 4000, 0), (&mut inside, eth0.ifindex, 2)] {
            let listed = socket
                .dump(&Dump::Addresses {
                    ifindex: Some(ifindex),
                })
                .expect("a listing");
            assert_eq!(listed.len(), expected, "only what was added: {listed:?}");
            let usable = listed
                .iter()
                .all(|a| matches!(a, Object::Address(a) if !a.tentative));
            assert!(usable, "no duplicate address detection: {listed:?}");
        }
        assert_eq!(
            Sysctl::ProxyArp.read("wl0123456789a").expect("a setting"),
            1
        );
        assert_eq!(
            Sysctl::RpFilter.read("wl0123456789a").expect("a setting"),
            0
        );

        apply(&mut host, [Change::LinkDelete(LinkId::Index(4000))]);
        assert_eq!(host.link(&LinkId::Index(4000)).expect("asked"), None);
        let deadline = Instant::now() + Duration::from_secs(5);
        while inside.link(&"eth0".into()).expect("asked").is_some() {
            assert!(
                Instant::now() < deadline,
                "the peer goes with its other end"
            );
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_whole_group_of_interfaces_is_deleted_by_one_message() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let veths = (0..20).map(|i| {
            Change::from(NewLink::Veth {
                host: NewEnd {
                    group: Some(9),
                    ..NewEnd::new(format!("a{i}"))
                },
                peer: NewEnd::new(format!("b{i}")),
                peer_netns: None,
            })
        });
        apply(&mut socket, veths);
        assert_eq!(socket.dump(&Dump::Links).expect("a listing").len(), 41);
        apply(&mut socket, [Change::LinkGroupDelete(9)]);
        assert_eq!(socket.dump(&Dump::Links).expect("a listing").len(), 1);
        let refused = socket
            .apply_one(&Change::LinkGroupDelete(0))
            .expect_err("never everybody");
        assert!(matches!(refused, KernelError::Inexpressible(_)));
    });
}

#[test]
fn a_name_or_number_that_is_taken_is_refused_and_nothing_is_left_of_the_pair() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        let (netns, mut inside) = another();
        let veth = |name: &str, ifindex| {
            Change::from(NewLink::Veth {
                host: NewEnd {
                    ifindex,
                    ..NewEnd::new(name)
                },
                peer: NewEnd::new("eth0"),
                peer_netns: Some(netns.clone()),
            })
        };
        apply(&mut socket, [veth("one", Some(50))]);
        let errno = |result: Result<(), KernelError>| result.expect_err("refused").errno();
        assert_eq!(
            errno(socket.apply_one(&veth("one", None))),
            Some(Errno::EEXIST)
        );
        assert_eq!(
            errno(socket.apply_one(&veth("two", None))),
            Some(Errno::EEXIST),
            "eth0"
        );
        let other = Change::from(NewLink::Bridge(NewEnd {
            ifindex: Some(50),
            ..NewEnd::new("b")
        }));
        assert_eq!(
            errno(socket.apply_one(&other)),
            Some(Errno::EEXIST),
            "number 50"
        );
        assert_eq!(socket.dump(&Dump::Links).expect("a listing").len(), 2);
        assert_eq!(inside.dump(&Dump::Links).expect("a listing").len(), 2);
        for name in ["", "sixteen-letters-", "a/b", "..", "sp ace"] {
            let error = socket.apply_one(&veth(name, None)).expect_err("no name");
            assert!(
                matches!(error, KernelError::Inexpressible(_)),
                "{name}: {error}"
            );
        }
    });
}

#[test]
fn a_descriptor_that_is_no_route_socket_is_refused() {
    let (stream, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let file = std::fs::File::open("/dev/null").expect("a file");
    let audit =
        netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_USERSOCK).expect("a socket");
    let audit = audit.as_fd().try_clone_to_owned().expect("a descriptor");
    for fd in [stream.into(), file.into(), audit] {
        let error = Socket::from_fd(fd).expect_err("refused");
        let adopting = SocketOperation::Adopt;
        assert!(
            matches!(error, KernelError::Socket { operation, .. } if operation == adopting),
            "{error}"
        );
    }
}

#[test]
fn settings_are_written_and_read_and_errors_name_setting_and_interface() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("a socket");
        apply(&mut socket, [NewLink::Bridge(NewEnd::new("br")).into()]);
        for (setting, value) in [
            (Sysctl::ForwardingV4, 1),
            (Sysctl::ForwardingV6, 1),
            (Sysctl::ProxyArp, 1),
            (Sysctl::ProxyNdp, 1),
            (Sysctl::RpFilter, 2),
            (Sysctl::AcceptDad, 0),
            (Sysctl::DadTransmits, 0),
            (Sysctl::AcceptRa, 0),
            (Sysctl::AddrGenMode, 1),
            (Sysctl::DisableIpv6, 1),
        ] {
            setting.write("br", value).expect("written");
            assert_eq!(setting.read("br").expect("read"), value, "{setting}");
        }
        let error = Sysctl::ProxyArp
            .write("nobody", 1)
            .expect_err("no such interface");
        assert_eq!(
            error.to_string(),
            "cannot write net.ipv4.conf.*.proxy_arp of interface `nobody`: No such file or \
             directory (os error 2)"
        );
        assert!(Sysctl::ProxyArp.write("../all", 1).is_err());
    });
}
