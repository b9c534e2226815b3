//! A connection that is given up before it is open, seen from the neighbour.

use std::{
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use wayleave_bgp::{Shutdown, spawn};
use wayleave_bgp_core::{
    Asn, RouterId,
    config::{PeerConfig, RemoteAs, SpeakerConfig},
};

/// A listener that lets one connection wait: the system drops further SYNs, which are sent again
/// after 1, 3 and 7 s.
fn listener_with_room_for_one() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(0)?;
    Ok(socket.into())
}

#[test]
fn an_attempt_that_is_given_up_never_comes_through_to_keep_the_neighbour_waiting() {
    let listener = listener_with_room_for_one().unwrap();
    let address = listener.local_addr().unwrap();
    let filler = TcpStream::connect(address).unwrap();

    let mut peer = PeerConfig::new("deaf", address.ip(), RemoteAs::Exact(Asn(65_002)));
    peer.port = address.port();
    peer.connect_retry = Duration::from_secs(1);
    let mut config = SpeakerConfig::new(RouterId::from(0xc000_0201), Asn(65_001));
    config.peers.push(peer);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let speaker = spawn(config).unwrap();

    // The first attempt has been given up when the view says so.
    let deadline = Instant::now() + Duration::from_secs(10);
    let given_up = || {
        let peers = runtime.block_on(speaker.handle.peers()).unwrap();
        format!("{peers:?}").contains("no answer within the connect retry time")
    };
    while !given_up() {
        assert!(Instant::now() < deadline, "the attempt was never given up");
        thread::sleep(Duration::from_millis(20));
    }

    // Now there is room. Whatever comes through from here on is an attempt that counts: it says
    // OPEN at once. One that was given up would say nothing, and nothing would end it.
    drop(listener.accept().unwrap());
    drop(filler);
    let (heard, outcomes) = mpsc::channel();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = accepting.accept() {
            let heard = heard.clone();
            thread::spawn(move || {
                stream
                    .set_read_timeout(Some(Duration::from_secs(3)))
                    .unwrap();
                let mut byte = [0];
                // Left unread and dropped: the speaker tries again, and again.
                let _ = heard.send(stream.read(&mut byte).is_ok());
            });
        }
    });
    let until = Instant::now() + Duration::from_secs(8);
    let mut count = 0;
    while let Ok(spoke) = outcomes.recv_timeout(until.saturating_duration_since(Instant::now())) {
        assert!(
            spoke,
            "connection {count} was open and said nothing for 3 s"
        );
        count += 1;
    }
    assert!(count > 0, "no attempt came through");
    let shutdown = Shutdown::Administrative("done".to_owned());
    runtime.block_on(speaker.handle.shutdown(shutdown));
}
