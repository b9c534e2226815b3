//! The driver over the loopback interface: each test has addresses of its own there.

use std::{
    collections::BTreeSet,
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::SockRef;

use super::{
    BfdEvent, BfdHandle, BfdSession, BfdView, Diagnostic, Events, Hops, Interval, Options, Role,
    State, Timers, handle::Command, peer::random, spawn,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Two addresses of the loopback network that nobody else is likely to use, in this process or
/// another: the ports are fixed.
fn addresses() -> [IpAddr; 2] {
    let [a, b, c, ..] = random().to_be_bytes();
    // Neither 127.0.0.1 nor anything near it.
    [1, 2].map(|last| Ipv4Addr::new(127, a | 1, b, (c & 0xfc) | last).into())
}

fn timers(millis: u64, detect_mult: u8) -> Timers {
    Timers {
        desired_min_tx: Interval::from_millis(millis).unwrap(),
        required_min_rx: Interval::from_millis(millis).unwrap(),
        detect_mult: detect_mult.try_into().unwrap(),
    }
}

fn session(local: IpAddr, remote: IpAddr, timers: Timers) -> BfdSession {
    BfdSession {
        local: Some(local),
        timers,
        ..BfdSession::single_hop(remote)
    }
}

fn start(listen: IpAddr) -> (BfdHandle, Events) {
    spawn(Options {
        listen: vec![listen],
    })
    .unwrap()
}

/// The next event, which must come soon.
fn next(events: &mut Events) -> Option<BfdEvent> {
    let end = Instant::now() + PATIENCE;
    loop {
        match events.try_recv() {
            Ok(event) => return Some(event),
            Err(tokio::sync::mpsc::error::TryRecvError::Disconnected) => return None,
            Err(tokio::sync::mpsc::error::TryRecvError::Empty) => {}
        }
        assert!(Instant::now() < end, "nothing happens");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn wait_for_state(events: &mut Events, state: State) -> super::Event {
    loop {
        match next(events) {
            Some(BfdEvent::State(event)) if event.state == state => return event,
            Some(_) => {}
            None => panic!("ended without {state}"),
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

fn view(bfd: &BfdHandle) -> BfdView {
    block_on(bfd.view()).unwrap()
}

#[test]
fn two_come_up_and_a_close_is_no_failure() {
    let [a, b] = addresses();
    let (one, mut ones) = start(a);
    let (other, mut others) = start(b);
    one.add(session(a, b, timers(50, 3)));
    other.add(session(b, a, timers(50, 3)));
    wait_for_state(&mut ones, State::Up);
    wait_for_state(&mut others, State::Up);
    let shown = view(&one);
    let peer = &shown.peers[0];
    let up = peer.session.as_ref().unwrap();
    assert_eq!((up.state, peer.trouble.as_deref()), (State::Up, None));
    assert!(peer.source_port.unwrap() >= 49_152);
    assert!(!shown.scheduling.is_empty());

    let begin = Instant::now();
    block_on(one.close());
    assert!(
        begin.elapsed() < Duration::from_millis(400),
        "not waiting for an answer that came"
    );
    assert!(
        next(&mut ones).is_none(),
        "it ends without a word of its sessions"
    );
    let event = wait_for_state(&mut others, State::Down);
    assert!(event.admin_down() && !event.path_failed());
    assert!(block_on(one.view()).is_err());
}

#[test]
fn when_nobody_holds_it_any_more_it_says_goodbye_and_ends() {
    let [a, b] = addresses();
    let (one, mut ones) = start(a);
    let (other, mut others) = start(b);
    one.add(session(a, b, timers(50, 3)));
    other.add(session(b, a, timers(50, 3)));
    wait_for_state(&mut others, State::Up);
    wait_for_state(&mut ones, State::Up);
    drop(one);
    assert!(next(&mut ones).is_none());
    assert!(wait_for_state(&mut others, State::Down).admin_down());
}

/// The fault: our own thread gets no processor for longer than its detection time. The neighbour,
/// who grants us more, goes on sending; what it has sent lies in the socket.
#[test]
fn a_thread_that_was_not_scheduled_takes_nobody_for_silent() {
    let [a, b] = addresses();
    let (one, mut ones) = start(a);
    let (other, mut others) = start(b);
    // Ours: 150 ms. Theirs: 100 times 50 ms.
    one.add(session(a, b, timers(50, 100)));
    other.add(session(b, a, timers(50, 3)));
    wait_for_state(&mut ones, State::Up);
    wait_for_state(&mut others, State::Up);
    std::thread::sleep(Duration::from_millis(300));
    let detection = view(&one).peers[0]
        .session
        .as_ref()
        .unwrap()
        .detection_time_us;
    assert_eq!(detection, Some(150_000));
    for _ in 0..5 {
        one.send(Command::Stall(Duration::from_millis(500)));
        std::thread::sleep(Duration::from_millis(550));
    }
    assert!(ones.try_recv().is_err() && others.try_recv().is_err());
    // The counterpart: it would have noticed a silence.
    drop(other);
    assert!(wait_for_state(&mut ones, State::Down).admin_down());
}

#[test]
fn silence_is_noticed_in_time() {
    let [a, b] = addresses();
    let (one, mut ones) = start(a);
    let (other, mut others) = start(b);
    one.add(session(a, b, timers(50, 3)));
    other.add(BfdSession {
        role: Role::Passive,
        ..session(b, a, timers(50, 3))
    });
    wait_for_state(&mut ones, State::Up);
    wait_for_state(&mut others, State::Up);
    std::thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    other.send(Command::Stall(Duration::from_millis(1_000)));
    let event = wait_for_state(&mut ones, State::Down);
    let took = begin.elapsed();
    assert!(event.path_failed());
    assert_eq!(event.diagnostic, Diagnostic::TIME_EXPIRED);
    assert!(
        took >= Duration::from_millis(95) && took < Duration::from_millis(400),
        "{took:?}"
    );
}

#[test]
fn a_port_that_is_taken_is_trouble_until_it_is_free() {
    let [a, b] = addresses();
    let taken = UdpSocket::bind(SocketAddr::new(a, 3784)).unwrap();
    let (one, mut ones) = start(a);
    let id = one.add(session(a, b, timers(50, 3)));
    match next(&mut ones) {
        Some(BfdEvent::Trouble { session, what }) => {
            assert!(
                session == id && what.contains("another BFD daemon?"),
                "{what}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(view(&one).peers[0].trouble.is_some());
    drop(taken);
    assert_eq!(next(&mut ones), Some(BfdEvent::Healed { session: id }));
    assert_eq!(view(&one).peers[0].trouble, None);
}

#[test]
fn a_missing_interface_a_foreign_address_and_a_path_taken_twice_are_trouble() {
    let [a, b] = addresses();
    let (one, mut ones) = start(a);
    let plain = session(a, b, timers(50, 3));
    one.add(BfdSession {
        interface: Some("nosuch0".to_owned()),
        ..plain
    });
    one.add(BfdSession {
        local: Some("192.0.2.77".parse().unwrap()),
        ..plain.clone()
    });
    let first = one.add(plain.clone());
    let second = one.add(plain);
    let mut seen = Vec::new();
    for _ in 0..3 {
        match next(&mut ones) {
            Some(BfdEvent::Trouble { session, what }) => seen.push((session, what)),
            other => panic!("{other:?}"),
        }
    }
    assert!(seen[0].1.contains("no interface nosuch0"), "{seen:?}");
    assert!(
        seen[1].1.contains("cannot send from 192.0.2.77"),
        "{seen:?}"
    );
    assert!(
        seen[2].0 == second && seen[2].1.contains("runs there already"),
        "{seen:?}"
    );
    // The first goes, the second takes its place.
    one.remove(first);
    assert_eq!(next(&mut ones), Some(BfdEvent::Healed { session: second }));
}

/// RFC 5881, 5, and the class of service.
#[test]
fn packets_leave_with_a_ttl_of_255_and_dscp_cs6() {
    let [a, b] = addresses();
    let socket = UdpSocket::bind(SocketAddr::new(b, 3784)).unwrap();
    setsockopt(&socket, sockopt::Ipv4RecvTtl, &true).unwrap();
    SockRef::from(&socket).set_recv_tos_v4(true).unwrap();
    let (one, _events) = start(a);
    one.add(session(a, b, timers(50, 3)));
    let mut payload = [0; 64];
    let mut parts = [IoSliceMut::new(&mut payload)];
    let mut control = nix::cmsg_space!(libc::c_int, u8);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .unwrap();
    let seen: Vec<_> = message.cmsgs().unwrap().collect();
    assert!(
        seen.contains(&ControlMessageOwned::Ipv4Ttl(255)),
        "{seen:?}"
    );
    assert!(
        seen.contains(&ControlMessageOwned::Ipv4Tos(48 << 2)),
        "{seen:?}"
    );
}

/// RFC 5881, 4: "unique among all BFD sessions on the system", which at random they would not be.
#[test]
fn three_hundred_sessions_send_from_as_many_ports() {
    let [a, _] = addresses();
    let (one, _events) = start(a);
    for last in 0..300u16 {
        let [high, low] = last.to_be_bytes();
        // One session for each address of ours: the system would let them share a port.
        let local = Ipv4Addr::new(127, 99, high + 1, low);
        one.add(session(local.into(), a, timers(2_000, 3)));
    }
    let ports: Vec<u16> = view(&one)
        .peers
        .iter()
        .filter_map(|peer| peer.source_port)
        .collect();
    assert_eq!(ports.len(), 300);
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 300);
}

/// RFC 5881, 4 and 5: what is on the wire, seen by a neighbour that the test plays.
#[test]
fn packets_come_from_one_high_port_and_a_ttl_below_255_is_refused() {
    let [a, b] = addresses();
    let socket = UdpSocket::bind(SocketAddr::new(b, 3784)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (one, mut ones) = start(a);
    one.add(session(a, b, timers(50, 3)));
    let mut packet = [0; 64];
    let (length, from) = socket.recv_from(&mut packet).unwrap();
    assert_eq!((length, from.ip()), (24, a));
    assert!(from.port() >= 49_152);
    let (_, again) = socket.recv_from(&mut packet).unwrap();
    assert_eq!(from, again);

    // Down, with no discriminator of theirs.
    let mut down = [0; 24];
    down[..8].copy_from_slice(&[0x20, 0x40, 3, 24, 0, 0, 0, 9]);
    socket.set_ttl(254).unwrap();
    socket.send_to(&down, SocketAddr::new(a, 3784)).unwrap();
    let end = Instant::now() + PATIENCE;
    while view(&one).discarded.ttl == 0 {
        assert!(Instant::now() < end, "not counted");
    }
    assert!(ones.try_recv().is_err());
    socket.set_ttl(255).unwrap();
    socket.send_to(&down, SocketAddr::new(a, 3784)).unwrap();
    wait_for_state(&mut ones, State::Init);
}

#[test]
fn several_hops_have_their_own_port_and_a_ttl_of_their_own() {
    let [a, b] = addresses();
    let multihop = |local, remote| BfdSession {
        hops: Hops::Multi { least_ttl: 250 },
        ..session(local, remote, timers(50, 3))
    };
    let (one, mut ones) = start(a);
    let (other, mut others) = start(b);
    one.add(multihop(a, b));
    other.add(multihop(b, a));
    wait_for_state(&mut ones, State::Up);
    wait_for_state(&mut others, State::Up);
    assert!(
        UdpSocket::bind(SocketAddr::new(a, 3784)).is_ok(),
        "nobody needs it"
    );
    assert!(UdpSocket::bind(SocketAddr::new(a, 4784)).is_err());
    let socket = UdpSocket::bind(SocketAddr::new(b, 0)).unwrap();
    socket.set_ttl(249).unwrap();
    let mut down = [0; 24];
    down[..8].copy_from_slice(&[0x20, 0x40, 3, 24, 0, 0, 0, 9]);
    socket.send_to(&down, SocketAddr::new(a, 4784)).unwrap();
    let end = Instant::now() + PATIENCE;
    while view(&one).discarded.ttl == 0 {
        assert!(Instant::now() < end, "not counted");
    }
}

#[test]
fn ipv6_works_the_same_and_admin_down_holds() {
    let local: IpAddr = "::1".parse().unwrap();
    // One address is all the loopback interface has: over it, a session with oneself.
    let (one, mut ones) = start(local);
    let id = one.add(BfdSession {
        interface: Some("lo".to_owned()),
        ..session(local, local, timers(50, 3))
    });
    // Its own packets come back with its own discriminator as theirs.
    match next(&mut ones) {
        Some(BfdEvent::State(event)) => assert_eq!(event.session, id),
        Some(BfdEvent::Trouble { what, .. }) => {
            // A machine without IPv6, or another test run at the same time.
            eprintln!("SKIPPED: {what}");
            return;
        }
        other => panic!("{other:?}"),
    }
    one.set_admin_down(id, true);
    wait_for_state(&mut ones, State::AdminDown);
    assert_eq!(view(&one).discarded.ttl, 0);
}

#[test]
fn the_last_session_that_leaves_takes_the_sockets_with_it() {
    let [a, b] = addresses();
    let (one, mut ones) = start(a);
    let (other, mut others) = start(b);
    let id = one.add(session(a, b, timers(50, 3)));
    other.add(session(b, a, timers(50, 3)));
    wait_for_state(&mut ones, State::Up);
    wait_for_state(&mut others, State::Up);
    one.remove(id);
    assert!(wait_for_state(&mut others, State::Down).admin_down());
    let end = Instant::now() + PATIENCE;
    while UdpSocket::bind(SocketAddr::new(a, 3784)).is_err() {
        assert!(Instant::now() < end, "still taken");
    }
    assert!(view(&one).peers.is_empty());
    // And the next brings them back.
    one.add(session(a, b, timers(50, 3)));
    wait_for_state(&mut ones, State::Up);
}
