//! A peer that stops reading must cost the others nothing, and end with the right table once it
//! reads again.
//!
//! Peer 0 announces the table, withdraws it and announces it again, to many readers: once alone
//! and, in a fresh daemon, once beside one more peer whose socket is full after a few kilobytes.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    check::{Goal, Receiver},
    daemon::{Contender, Relation, Role},
    error::Error,
    fabric::Fabric,
    lifecycle::{SPEAKER_AS, Workload, connect, connect_with, enough},
    measure::{Measurement, Metric},
    process::Process,
    record::{Recording, Until, record},
    serve::{Order, last, nonblocking, serve},
    session::Session,
};

/// Receive buffer of the peer that does not read, and the most a daemon's socket may hold.
const SMALL: usize = 64 * 1024;
/// What this peer is sent after it has slept may come in bursts: BIRD pauses for up to 3 s.
const QUIET: Duration = Duration::from_secs(4);

/// Runs a daemon both ways.
pub(crate) fn run(
    fabric: &Fabric,
    contender: &Contender,
    workload: &Workload,
    readers: usize,
    out: &mut Vec<Measurement>,
) -> Result<(), Error> {
    // Or the kernel would hold a small table in the daemon's socket. It holds for this namespace
    // and sockets opened from now on.
    let restored = fabric.in_daemons(|| send_buffers(&format!("4096 16384 {SMALL}")))??;
    let alone = once(fabric, contender, workload, readers, false);
    let beside = alone.and_then(|alone| {
        once(fabric, contender, workload, readers, true).map(|beside| (alone, beside))
    });
    fabric.in_daemons(|| send_buffers(&restored))??;
    let (alone, beside) = beside?;
    let mut note = |metric, value| out.push(Measurement { metric, value });
    note(Metric::Readers, alone.seconds);
    note(Metric::BesideStuck, beside.seconds);
    note(
        Metric::StuckMemory,
        (beside.memory as f64 - alone.memory as f64) / 1e6,
    );
    if let Some(seconds) = beside.catch_up {
        note(Metric::CatchUp, seconds);
    }
    Ok(())
}

/// One daemon's figures.
struct Outcome {
    seconds: f64,
    memory: u64,
    catch_up: Option<f64>,
}

fn once(
    fabric: &Fabric,
    contender: &Contender,
    workload: &Workload,
    readers: usize,
    stuck: bool,
) -> Result<Outcome, Error> {
    let role = Role {
        family: workload.family,
        asn: SPEAKER_AS,
        hold_time: contender.kind.hold_time(),
        peers: readers + 2,
        relation: Relation::External,
        install: false,
    };
    let mut process = contender.start(fabric, &role)?;
    let mut sessions = Vec::with_capacity(readers + 1);
    for peer in 0..=readers {
        sessions.push(connect(&mut process, &role, peer)?);
    }
    nonblocking(&sessions)?;
    let sleeper = match stuck {
        true => Some(connect_with(&mut process, &role, readers + 1, SMALL)?),
        false => None,
    };
    let done = measure(&process, workload, &mut sessions, sleeper);
    done.map_err(|error| process.explain(error))
}

fn measure(
    process: &Process,
    workload: &Workload,
    sessions: &mut [Session],
    sleeper: Option<Session>,
) -> Result<Outcome, Error> {
    let quiet = Order {
        outgoing: &[],
        senders: 0,
        room: 0,
        until: enough(0, 0),
    };
    serve(sessions, quiet).map_err(Error::fault("opening the sessions"))?;
    let before = process.memory();
    let mut receivers: Vec<_> = (1..sessions.len())
        .map(|_| Receiver::new(&workload.through_speaker))
        .collect();
    let step = match sleeper {
        Some(_) => "many readers beside one that does not read",
        None => "many readers",
    };
    let routes = workload.routes;
    let mut seconds = 0.0;
    for (stream, until, goal) in [
        (&workload.announcement, enough(routes, 0), Goal::Full),
        (&workload.withdrawal, enough(0, routes), Goal::Empty),
        (&workload.announcement, enough(routes, 0), Goal::Full),
    ] {
        let outgoing = [stream.as_slice()];
        let order = Order {
            outgoing: &outgoing,
            senders: 1,
            room: workload.room(),
            until,
        };
        let (started, recordings) = serve(sessions, order).map_err(Error::fault(step))?;
        let done = last(&mut receivers, &recordings[1..], &goal).map_err(Error::fault(step))?;
        seconds += done.duration_since(started).as_secs_f64();
    }
    let memory = process.memory().saturating_sub(before);
    let catch_up = match sleeper {
        Some(sleeper) => Some(catch_up(workload, sleeper)?),
        None => None,
    };
    Ok(Outcome {
        seconds,
        memory,
        catch_up,
    })
}

/// The sleeper reads: whatever it missed, it must end with the table.
fn catch_up(workload: &Workload, mut sleeper: Session) -> Result<f64, Error> {
    let step = "the peer that did not read";
    let recording = Recording::with_room(workload.room());
    let until = Until {
        quiet: QUIET,
        ..enough(workload.routes, 0)
    };
    let woke = Instant::now();
    let recording = record(&mut sleeper.stream, recording, until).map_err(Error::fault(step))?;
    let mut receiver = Receiver::new(&workload.through_speaker);
    let reached = receiver
        .replay(&recording, Goal::Full)
        .map_err(Error::fault(step))?;
    Ok(reached.at.duration_since(woke).as_secs_f64())
}

/// Sets the bounds of TCP send buffers in this namespace; what they were before.
fn send_buffers(bounds: &str) -> Result<String, Error> {
    let path = "/proc/sys/net/ipv4/tcp_wmem";
    let before = fs::read_to_string(path).map_err(Error::io(format!("read {path}")))?;
    fs::write(path, bounds).map_err(Error::io(format!("write {path}")))?;
    Ok(before)
}
