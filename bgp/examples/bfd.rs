//! Runs BFD with neighbours and prints what becomes of it: to try a path or a neighbour without a
//! routing protocol.
//!
//! ```text
//! cargo run -p wayleave-bgp --example bfd -- 192.0.2.1 --interval 50ms --multiplier 3
//! ```
//!
//! A line for each change of state, with milliseconds since the start. It ends with SIGINT or
//! SIGTERM, and tells the neighbours AdminDown. SIGUSR1 switches between AdminDown and not.

#![allow(clippy::print_stdout, missing_docs)]

use std::{
    env,
    error::Error,
    net::IpAddr,
    num::NonZeroU8,
    process::ExitCode,
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};
use wayleave_bgp::bfd::{
    self, BfdEvent, BfdHandle, BfdSession, Hops, Interval, Options, Role, SessionId,
};

const USAGE: &str = "Usage: bfd PEER... [options]

  PEER                 a neighbour's address; a link-local one with its interface: fe80::1%eth0
  --local ADDRESS      our own address (whichever the kernel takes)
  --interface NAME     the interface that it is on
  --interval TIME      to send and to receive at: 50ms, 1s, 300us (50ms)
  --multiplier N       packets missed until it is down (3)
  --multihop [TTL]     over several hops (RFC 5883), with at least this TTL left (0)
  --passive            sends nothing before it has heard something
  --listen ADDRESS     receives at this address only; may be given more than once";

struct Arguments {
    sessions: Vec<BfdSession>,
    options: Options,
}

fn main() -> ExitCode {
    let arguments = match parse(env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("bfd: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bfd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut switch = signal(SignalKind::user_defined1())?;
        let (bfd, mut events) = bfd::spawn(arguments.options)?;
        let peers: Vec<(SessionId, IpAddr)> = arguments
            .sessions
            .into_iter()
            .map(|session| {
                let remote = session.remote;
                (bfd.add(session), remote)
            })
            .collect();
        println!("scheduling: {}", bfd.view().await?.scheduling);
        let mut admin_down = false;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = switch.recv() => {
                    admin_down = !admin_down;
                    for (session, _) in &peers {
                        bfd.set_admin_down(*session, admin_down);
                    }
                    continue;
                }
            };
            let Some(event) = event else {
                return Err("BFD has ended by itself".into());
            };
            print(start.elapsed(), &event, &peers);
        }
        print_view(&bfd).await?;
        bfd.close().await;
        Ok(())
    })
}

fn print(at: Duration, event: &BfdEvent, peers: &[(SessionId, IpAddr)]) {
    let name = |session: &SessionId| {
        let peer = peers.iter().find(|(id, _)| id == session);
        peer.map_or_else(|| session.to_string(), |(_, address)| address.to_string())
    };
    let at = at.as_millis();
    match event {
        BfdEvent::State(event) => {
            let verdict = match (event.path_failed(), event.admin_down()) {
                (true, _) => ": the path has failed",
                (false, true) => ": switched off",
                (false, false) => "",
            };
            println!(
                "{at} {} {} -> {} ({}; remote {}, {}){verdict}",
                name(&event.session),
                event.previous,
                event.state,
                event.diagnostic,
                event.remote_state,
                event.remote_diagnostic,
            );
        }
        BfdEvent::Trouble { session, what } => println!("{at} {} trouble: {what}", name(session)),
        BfdEvent::Healed { session } => println!("{at} {} healed", name(session)),
    }
}

async fn print_view(bfd: &BfdHandle) -> Result<(), bfd::Stopped> {
    let view = bfd.view().await?;
    for peer in view.peers {
        let Some(session) = peer.session else {
            continue;
        };
        println!(
            "{}: {}, sent {}, unsent {}, received {}, up {} times, down {} times",
            peer.remote,
            session.state,
            session.sent,
            peer.unsent,
            session.received,
            session.ups,
            session.downs,
        );
    }
    println!("late wake-ups: {}", view.late_wakeups);
    Ok(())
}

fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let mut words = words.peekable();
    let mut peers = Vec::new();
    // The address is put in for each peer.
    let mut model = BfdSession::single_hop(IpAddr::from([0, 0, 0, 0]));
    let mut listen = Vec::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--local" => model.local = Some(value()?.parse()?),
            "--interface" => model.interface = Some(value()?),
            "--interval" => {
                let interval = interval(&value()?)?;
                model.timers.desired_min_tx = interval;
                model.timers.required_min_rx = interval;
            }
            "--multiplier" => model.timers.detect_mult = value()?.parse::<NonZeroU8>()?,
            "--multihop" => {
                let least_ttl = words.peek().and_then(|word| word.parse().ok());
                if least_ttl.is_some() {
                    words.next();
                }
                model.hops = Hops::Multi {
                    least_ttl: least_ttl.unwrap_or(0),
                };
            }
            "--passive" => model.role = Role::Passive,
            "--listen" => listen.push(value()?.parse()?),
            option if option.starts_with('-') => return Err(format!("what is {option}?").into()),
            peer => peers.push(peer.to_owned()),
        }
    }
    if peers.is_empty() {
        return Err("no peer is given".into());
    }
    let sessions = peers.iter().map(|peer| session(&model, peer));
    let sessions: Result<_, Box<dyn Error>> = sessions.collect();
    Ok(Arguments {
        sessions: sessions?,
        options: match listen.is_empty() {
            true => Options::default(),
            false => Options { listen },
        },
    })
}

fn session(model: &BfdSession, peer: &str) -> Result<BfdSession, Box<dyn Error>> {
    let (address, interface) = match peer.split_once('%') {
        Some((address, interface)) => (address, Some(interface.to_owned())),
        None => (peer, None),
    };
    Ok(BfdSession {
        remote: address
            .parse()
            .map_err(|_| format!("{peer} is no address"))?,
        interface: interface.or_else(|| model.interface.clone()),
        ..model.clone()
    })
}

fn interval(text: &str) -> Result<Interval, Box<dyn Error>> {
    let units = [("ms", 1_000), ("us", 1), ("s", 1_000_000)];
    let found = units.iter().find_map(|(unit, micros)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*micros)
    });
    let micros = found.ok_or_else(|| format!("{text} is no time such as 50ms, 1s or 300us"))?;
    Ok(Interval::try_from(Duration::from_micros(micros))?)
}
