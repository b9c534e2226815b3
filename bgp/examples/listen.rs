//! Peers with a router and prints what it hears, until it is interrupted. It announces nothing.
//!
//! ```text
//! cargo run -p wayleave-bgp --example listen -- 192.0.2.254 65002 65001
//! ```
//!
//! That is the router's address, its AS and ours; without the last one we are in the same. The router
//! has to know us as a neighbour; nothing listens here, so that no privilege is needed.

#![allow(clippy::print_stdout, missing_docs)]

use std::{env, error::Error, io::stderr, net::IpAddr};

use wayleave_bgp::{
    Shutdown,
    core::{
        Asn,
        config::{PeerConfig, Policy, RemoteAs, SpeakerConfig},
        feed::FeedEvent,
    },
    router_id_towards, spawn,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // How the session is doing stands in the log, on standard error.
    tracing_subscriber::fmt().with_writer(stderr).init();
    let (router, theirs, ours) = arguments().ok_or("Usage: listen ROUTER ASN [OUR_ASN]")?;
    let mut config = SpeakerConfig::new(router_id_towards(router)?, ours);
    let mut peer = PeerConfig::new("router", router, RemoteAs::Exact(theirs));
    peer.export = Policy::None;
    config.peers.push(peer);
    // The speaker is a thread; its handle asks and tells it, a subscription hears of every route.
    let speaker = spawn(config)?;
    let mut routes = speaker.handle.subscribe(16);
    loop {
        tokio::select! {
            event = routes.recv() => match event.ok_or("the speaker has stopped")? {
                FeedEvent::Changes(changes) => changes.iter().for_each(|change| println!("{change}")),
                FeedEvent::InSync(family) => println!("# that is all of {family} for now"),
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // The router's operator reads this text (RFC 9003).
    let why = Shutdown::Administrative("interrupted".to_owned());
    speaker.handle.shutdown(why).await;
    Ok(())
}

fn arguments() -> Option<(IpAddr, Asn, Asn)> {
    let mut words = env::args().skip(1);
    let router = words.next()?.parse().ok()?;
    let theirs = Asn(words.next()?.parse().ok()?);
    let ours = words
        .next()
        .map_or(Some(theirs.0), |word| word.parse().ok())?;
    Some((router, theirs, Asn(ours)))
}
