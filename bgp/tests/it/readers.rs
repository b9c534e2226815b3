//! Peers that read slowly or not at all, over real sockets.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;
use wayleave_bgp::{Shutdown, Speaker, spawn};
use wayleave_bgp_core::{
    Asn, LargeCommunity, Prefix, RouterId,
    config::{PeerConfig, RemoteAs, SpeakerConfig},
    feed::Origination,
    view::State,
};

/// More than the system buffers for one connection, in each direction.
const ROUTES: u32 = 60_000;

/// A free port of a loopback address. Each speaker has an address of its own: nobody takes itself
/// for a next hop.
fn address(n: u8) -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::new(127, 0, 0, n), 0)).unwrap();
    socket.local_addr().unwrap()
}

fn speaker(n: u32, listen: Option<SocketAddr>, peer: PeerConfig) -> Speaker {
    let mut config = SpeakerConfig::new(RouterId::from(0xc000_0200 + n), Asn(65_000 + n));
    config.listen.extend(listen);
    config.peers.push(peer);
    spawn(config).unwrap()
}

fn neighbour(n: u32, address: SocketAddr) -> PeerConfig {
    let mut peer = PeerConfig::new("neighbour", address.ip(), RemoteAs::Exact(Asn(65_000 + n)));
    peer.port = address.port();
    peer.hold_time = 3;
    peer.connect_retry = Duration::from_secs(1);
    peer
}

/// Routes that share nothing: about 300 octets on the wire each.
fn originate(speaker: &Speaker, n: u32) {
    let route = |i: u32| {
        let address = Ipv4Addr::from_bits((10 + n) << 24 | i);
        let mut route = Origination::new(Prefix::host(address.into()));
        route.large_communities = (0..20)
            .map(|j| LargeCommunity {
                global: 65_000 + n,
                local1: i,
                local2: j,
            })
            .collect();
        route
    };
    speaker.handle.originate((0..ROUTES).map(route).collect());
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A walk through the table fills its buffer with every step here. That what the socket takes at once
/// leads to the next step is shown, without a clock, by the core's own test.
#[test]
fn a_late_joiner_gets_a_table_of_many_attribute_sets_without_a_pause() {
    let runtime = runtime();
    let (here, there) = (address(15), address(16));
    let mut passive = neighbour(1, here);
    passive.passive = true;
    passive.hold_time = 90;
    let holder = speaker(2, Some(there), passive);
    originate(&holder, 2);
    let mut active = neighbour(2, there);
    active.local_address = Some(here.ip());
    active.hold_time = 90;
    let joiner = speaker(1, None, active);
    let accepted = || {
        let peers = runtime.block_on(joiner.handle.peers()).unwrap();
        peers[0].ipv4.as_ref().map_or(0, |counts| counts.accepted)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while accepted() == 0 {
        assert!(Instant::now() < deadline, "it got nothing");
        thread::sleep(Duration::from_millis(5));
    }
    while accepted() != ROUTES {
        assert!(
            Instant::now() < deadline,
            "{} of {ROUTES} routes",
            accepted()
        );
        thread::sleep(Duration::from_millis(20));
    }
    for speaker in [joiner, holder] {
        let why = Shutdown::Administrative("done".to_owned());
        runtime.block_on(speaker.handle.shutdown(why));
        speaker.join().unwrap();
    }
}

#[test]
fn two_speakers_with_more_to_say_than_fits_the_buffers_hear_each_other_out() {
    let runtime = runtime();
    let (here, there) = (address(11), address(12));
    let mut active = neighbour(2, there);
    active.local_address = Some(here.ip());
    let mut passive = neighbour(1, here);
    passive.passive = true;
    let second = speaker(2, Some(there), passive);
    let first = speaker(1, None, active);
    originate(&first, 1);
    originate(&second, 2);
    let deadline = Instant::now() + Duration::from_secs(60);
    let accepted = |speaker: &Speaker| {
        let peers = runtime.block_on(speaker.handle.peers()).unwrap();
        peers[0].ipv4.as_ref().map_or(0, |counts| counts.accepted)
    };
    while (accepted(&first), accepted(&second)) != (ROUTES, ROUTES) {
        assert!(
            Instant::now() < deadline,
            "they have {} and {} of {ROUTES} routes",
            accepted(&first),
            accepted(&second)
        );
        thread::sleep(Duration::from_millis(50));
    }
    for speaker in [first, second] {
        let why = Shutdown::Administrative("done".to_owned());
        runtime.block_on(speaker.handle.shutdown(why));
        speaker.join().unwrap();
    }
}

/// A message with this type and body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

#[test]
fn the_connection_of_a_peer_that_reads_nothing_is_closed_when_its_hold_time_is_over() {
    let runtime = runtime();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = neighbour(2, listener.local_addr().unwrap());
    let speaker = speaker(1, None, peer);
    originate(&speaker, 1);
    let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
    // OPEN (RFC 4271, 4.2): version 4, AS 65002, hold time 3 s, an identifier, no parameters.
    stream
        .write_all(&message(1, &[4, 0xfd, 0xea, 0, 3, 192, 0, 2, 2, 0]))
        .unwrap();
    stream.write_all(&message(4, &[])).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let state = || {
        let peers = runtime.block_on(speaker.handle.peers()).unwrap();
        (peers[0].state, format!("{:?}", peers[0]))
    };
    while state().0 != State::Established {
        assert!(Instant::now() < deadline, "{}", state().1);
        thread::sleep(Duration::from_millis(10));
    }
    // From here on the peer says nothing and reads nothing.
    while state().0 == State::Established {
        assert!(Instant::now() < deadline, "{}", state().1);
        thread::sleep(Duration::from_millis(50));
    }
    let patience = Some(Duration::from_secs(5));
    stream.set_write_timeout(patience).unwrap();
    // The speaker lets go of the connection, unread as it is: what arrives there is answered with a
    // reset from then on.
    while stream.write_all(&message(4, &[])).is_ok() {
        assert!(Instant::now() < deadline, "the connection is still open");
        thread::sleep(Duration::from_millis(50));
    }
    let why = Shutdown::Administrative("done".to_owned());
    runtime.block_on(speaker.handle.shutdown(why));
    speaker.join().unwrap();
}
