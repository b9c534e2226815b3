//! What readers of a feed hear of a stop.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use wayleave_bgp::{Shutdown, spawn};
use wayleave_bgp_core::{
    Asn, Prefix, RouterId,
    config::{PeerConfig, RemoteAs, SpeakerConfig},
    feed::{FeedEvent, Origination},
};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_stop_is_the_end_of_the_feed_and_takes_no_route_back() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let there: SocketAddr = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 14), 0))
        .and_then(|socket| socket.local_addr())
        .unwrap();
    let here: IpAddr = Ipv4Addr::new(127, 0, 0, 13).into();
    let mut active = PeerConfig::new("there", there.ip(), RemoteAs::Exact(Asn(65_002)));
    active.port = there.port();
    active.local_address = Some(here);
    active.connect_retry = Duration::from_secs(1);
    let mut passive = PeerConfig::new("here", here, RemoteAs::Exact(Asn(65_001)));
    passive.passive = true;
    let mut first = SpeakerConfig::new(RouterId::from(0xc000_0201), Asn(65_001));
    first.peers.push(active);
    let mut second = SpeakerConfig::new(RouterId::from(0xc000_0202), Asn(65_002));
    second.listen.push(there);
    second.peers.push(passive);

    let (second, first) = (spawn(second).unwrap(), spawn(first).unwrap());
    let prefix: Prefix = "10.1.2.0/24".parse().unwrap();
    second.handle.originate(vec![Origination::new(prefix)]);
    let mut feed = first.handle.subscribe(16);
    let changes = async |feed: &mut tokio::sync::mpsc::Receiver<FeedEvent>| loop {
        match feed.recv().await {
            Some(FeedEvent::Changes(changes)) => break Some(changes),
            Some(_) => {}
            None => break None,
        }
    };
    runtime.block_on(async {
        let learned = tokio::time::timeout(PATIENCE, changes(&mut feed)).await;
        let learned = learned
            .expect("the route arrives")
            .expect("the feed goes on");
        assert!(learned[0].prefix == prefix && learned[0].route.is_some());
        first.handle.shutdown(Shutdown::Restart).await;
        let after = tokio::time::timeout(PATIENCE, changes(&mut feed)).await;
        assert_eq!(after.expect("the feed ends"), None);
        second.handle.shutdown(Shutdown::Restart).await;
    });
    first.join().unwrap();
    second.join().unwrap();
}
