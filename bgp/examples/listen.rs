//! Peers with a router and prints what it hears, until it is interrupted. It announces nothing.
//!
//! ```text
//! cargo run -p wayleave-bgp --example listen -- 192.0.2.254 65002 --local-as 65001
//! ```
//!
//! That is the router's address and its AS; without `--local-as` we are in the same one. The router has
//! to know us as a neighbour; nothing listens here, so that no privilege is needed.

#![allow(clippy::print_stdout, missing_docs)]

use std::{
    env,
    error::Error,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use wayleave_bgp::{
    Shutdown,
    core::{
        Asn, RouterId,
        config::{PeerConfig, Policy, RemoteAs, SpeakerConfig},
        feed::{FeedEvent, RouteChange},
        view::State,
    },
    spawn,
};

const USAGE: &str = "Usage: listen ROUTER ASN [--local-as N] [--port P]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (router, asn) = arguments(env::args().skip(1)).ok_or(USAGE)?;
    let mut config = SpeakerConfig::new(identifier(router.address)?, asn);
    config.peers.push(router);
    // The speaker is a thread; its handle asks and tells it, a subscription hears of every route.
    let speaker = spawn(config)?;
    let mut routes = speaker.handle.subscribe(16);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut before = State::Idle;
    loop {
        tokio::select! {
            event = routes.recv() => match event.ok_or("the speaker has stopped")? {
                FeedEvent::Changes(changes) => changes.iter().for_each(print),
                FeedEvent::InSync(family) => println!("# that is all of {family} for now"),
            },
            _ = tick.tick() => for peer in speaker.handle.peers().await? {
                if peer.state != before {
                    let why = peer.last_error.map(|error| format!(": {error}"));
                    println!("# {:?}{}", peer.state, why.unwrap_or_default());
                    before = peer.state;
                }
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // The router reads this text (RFC 9003).
    let why = Shutdown::Administrative("interrupted".to_owned());
    speaker.handle.shutdown(why).await;
    Ok(())
}

fn print(RouteChange { prefix, route }: &RouteChange) {
    let Some(route) = route else {
        return println!("- {prefix}");
    };
    let hops = route.paths.iter().map(|path| path.next_hop.addr);
    let hops: Vec<String> = hops.map(|hop| hop.to_string()).collect();
    let path = route.attributes.as_path_text();
    println!("+ {prefix} via {} path {path}", hops.join(" "));
}

fn arguments(mut words: impl Iterator<Item = String>) -> Option<(PeerConfig, Asn)> {
    let address = words.next()?.parse().ok()?;
    let asn = Asn(words.next()?.parse().ok()?);
    let mut router = PeerConfig::new("router", address, RemoteAs::Exact(asn));
    router.export = Policy::None;
    let mut local = asn;
    while let Some(option) = words.next() {
        match option.as_str() {
            "--local-as" => local = Asn(words.next()?.parse().ok()?),
            "--port" => router.port = words.next()?.parse().ok()?,
            _ => return None,
        }
    }
    Some((router, local))
}

/// Our address towards the router, as is usual. A socket that is connected knows it; nothing is sent.
fn identifier(router: IpAddr) -> std::io::Result<RouterId> {
    let any = if router.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect((router, 179))?;
    Ok(match socket.local_addr()?.ip() {
        IpAddr::V4(address) => RouterId(address),
        IpAddr::V6(address) => RouterId::from(u128::from(address) as u32),
    })
}
