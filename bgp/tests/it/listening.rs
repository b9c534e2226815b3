//! Changing what a running speaker listens on.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use wayleave_bgp::{Shutdown, spawn};
use wayleave_bgp_core::{Asn, RouterId, config::SpeakerConfig};

fn config(listen: &[SocketAddr]) -> SpeakerConfig {
    let mut config = SpeakerConfig::new(RouterId::from(0xc000_0201), Asn(65_001));
    config.listen = listen.to_vec();
    config
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
}

#[test]
fn listening_narrows_and_widens_and_is_as_it_was_when_an_address_cannot_be_had() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let at = |last: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken_at = taken.local_addr().unwrap();

    let speaker = spawn(config(&[everywhere])).unwrap();
    let reconfigure = |listen: &[SocketAddr]| {
        runtime
            .block_on(speaker.handle.reconfigure(config(listen)))
            .unwrap()
            .map_err(|error| error.to_string())
    };
    assert!(answers(at(21)) && answers(at(22)));
    reconfigure(&[at(21)]).unwrap();
    assert!(answers(at(21)) && !answers(at(22)));
    let refused = reconfigure(&[at(22), taken_at]).unwrap_err();
    assert!(refused.contains(&taken_at.to_string()), "{refused}");
    assert!(answers(at(21)) && !answers(at(22)), "nothing has changed");
    assert_eq!(
        reconfigure(&[everywhere]).unwrap(),
        [
            format!("no longer listening on {}", at(21)),
            format!("listening on {everywhere}")
        ]
    );
    assert!(answers(at(21)) && answers(at(22)));
    runtime.block_on(speaker.handle.shutdown(Shutdown::Restart));
    speaker.join().unwrap();
}
