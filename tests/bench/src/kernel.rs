//! Routes on their way into the kernel of the daemon's namespace, and out of it.
//!
//! One peer announces a table: clocked until the kernel has all of it, single prefixes while it
//! does, the table withdrawn, announced again, the peer gone. After each phase the kernel's routes
//! are listed and compared. The yardstick is the bench's own loop that does nothing but send
//! prepared messages.

use std::{
    io,
    net::Shutdown,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    check::Fault,
    daemon::{Contender, Kind, Relation, Role},
    encode,
    error::Error,
    fabric::{Fabric, peer_address},
    fib::{Fib, Goal, Wanted},
    latency::{self, Latency, PAUSE, probe},
    lifecycle::{SPEAKER_AS, Sampling, connect, enough},
    measure::{Measurement, Metric},
    netlink::{Batch, Netlink, additions, removals},
    prefix::Family,
    process::{self, Process},
    record::{Recording, record},
    session::Session,
    table::Table,
};

/// A table with everything prepared that need not be done while a clock runs.
#[derive(Debug)]
pub(crate) struct Load {
    family: Family,
    announcement: Vec<u8>,
    withdrawal: Vec<u8>,
    wanted: Wanted,
}

impl Load {
    pub(crate) fn new(family: Family, table: &Table) -> Result<Self, Error> {
        let hop = peer_address(family, 0);
        let long = |_| Error::Usage("an attribute set of the table fills a message".to_owned());
        Ok(Self {
            family,
            announcement: table.announcement(family, hop).map_err(long)?,
            withdrawal: table.withdrawal(family),
            wanted: Wanted::new(family, table.prefixes(), hop),
        })
    }
}

/// Runs one contender once.
pub(crate) fn run(
    fabric: &Fabric,
    contender: &Contender,
    load: &Load,
    sampling: Sampling,
    out: &mut Vec<Measurement>,
) -> Result<(), Error> {
    let watch = || Fib::watch(&load.wanted);
    let mut fib = fabric
        .in_daemons(watch)?
        .map_err(Error::io("watch the kernel's routes"))?;
    fib.sweep()
        .map_err(Error::io("remove routes left in the daemon's namespace"))?;
    fabric.flush_nexthops()?;
    if contender.kind == Kind::Wire {
        return bare(fabric, load, &mut fib, sampling, out);
    }
    let role = Role {
        family: load.family,
        asn: SPEAKER_AS,
        hold_time: contender.kind.hold_time(),
        peers: 1,
        silent: 0,
        relation: Relation::External,
        install: true,
        tracked: false,
        send_hold: None,
    };
    let mut process = contender.start(fabric, &role)?;
    let session = connect(&mut process, &role, 0)?;
    let mut run = Run {
        load,
        fib: &mut fib,
        process: &process,
        session,
        out,
    };
    let done = run.phases(sampling);
    done.map_err(|error| process.explain(error))
}

struct Run<'a, 'b> {
    load: &'a Load,
    fib: &'b mut Fib<'a>,
    process: &'b Process,
    session: Session,
    out: &'b mut Vec<Measurement>,
}

impl Run<'_, '_> {
    fn phases(&mut self, sampling: Sampling) -> Result<(), Error> {
        // What a daemon says and does at its start is not part of any phase.
        record(
            &mut self.session.stream,
            Recording::with_room(0),
            enough(0, 0),
        )
        .map_err(Error::fault("opening the session"))?;
        let (memory, cpu) = (self.process.memory(), self.process.cpu());
        let load = self.load;
        let seconds = self.pass("into the kernel", &load.announcement, Goal::Full)?;
        self.note(Metric::Installed, seconds);
        self.note(
            Metric::InstalledCpu,
            (self.process.cpu() - cpu).as_secs_f64(),
        );
        let grown = self.process.memory().saturating_sub(memory) as f64;
        self.note(
            Metric::InstalledBytes,
            grown / load.wanted.prefixes.len() as f64,
        );
        let taken = self
            .singles(sampling)
            .map_err(Error::fault("single prefixes into the kernel"))?;
        note_latency(taken, self.out);
        let seconds = self.pass("withdrawn from the kernel", &load.withdrawal, Goal::Empty)?;
        self.note(Metric::Uninstalled, seconds);
        let seconds = self.pass("into the kernel again", &load.announcement, Goal::Full)?;
        self.note(Metric::InstalledAgain, seconds);

        let gone = Instant::now();
        let closed = self.session.stream.shutdown(Shutdown::Both);
        closed.map_err(Error::io("close the session"))?;
        let at = self.reach("peer gone", Goal::Empty, &AtomicBool::new(false))?;
        self.note(Metric::FibPeerDown, at.duration_since(gone).as_secs_f64());
        Ok(())
    }

    /// The peer sends `stream`; the kernel must reach `goal`. Seconds taken.
    fn pass(&mut self, step: &'static str, stream: &[u8], goal: Goal) -> Result<f64, Error> {
        let session = &self.session;
        let clone = || -> io::Result<Session> {
            Ok(Session {
                stream: session.stream.try_clone()?,
                ..*session
            })
        };
        let (mut writer, mut reader) = (
            clone().map_err(Error::io("share a socket"))?,
            clone().map_err(Error::io("share a socket"))?,
        );
        let (stop, broken) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let started = Instant::now();
            let sent = scope.spawn(|| {
                let sent = writer.send(stream);
                broken.fetch_or(sent.is_err(), Ordering::Relaxed);
                sent
            });
            let drained = scope.spawn(|| {
                let drained = reader.drain(&stop);
                broken.fetch_or(drained.is_err(), Ordering::Relaxed);
                drained
            });
            let reached = self.reach(step, goal, &broken);
            stop.store(true, Ordering::Relaxed);
            if reached.is_err() {
                // A writer that waits for a daemon that reads nothing would wait forever.
                let _ = self.session.stream.shutdown(Shutdown::Both);
            }
            let joined = |handle: thread::ScopedJoinHandle<'_, io::Result<()>>| {
                handle
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            let (sent, drained) = (joined(sent), joined(drained));
            let reached = reached?;
            sent.and(drained)
                .map_err(|error| Error::fault(step)(Fault::Session(error)))?;
            Ok(reached.duration_since(started).as_secs_f64())
        })
    }

    fn reach(
        &mut self,
        step: &'static str,
        goal: Goal,
        broken: &AtomicBool,
    ) -> Result<Instant, Error> {
        let reached = self.fib.until(goal, broken).map_err(Error::fault(step))?;
        self.fib.verify(goal).map_err(Error::fault(step))?;
        Ok(reached)
    }

    /// One prefix at a time: announced, seen in the kernel, withdrawn, seen to be gone.
    fn singles(&mut self, sampling: Sampling) -> Result<Latency, Fault> {
        let family = self.load.family;
        let announce = latency::announcement(family, 1)?;
        let mut withdraw = Vec::new();
        encode::withdraw(family, &[probe(family)], &mut withdraw);
        let session = &mut self.session;
        samples(self.fib, family, sampling, |there| {
            let change = if there { &announce } else { &withdraw };
            session.send(change).map_err(Fault::Session)
        })
    }

    fn note(&mut self, metric: Metric, value: f64) {
        self.out.push(Measurement { metric, value });
    }
}

/// Makes the probe's route and removes it, again and again; how long each took to be there.
fn samples(
    fib: &mut Fib<'_>,
    family: Family,
    sampling: Sampling,
    mut change: impl FnMut(bool) -> Result<(), Fault>,
) -> Result<Latency, Fault> {
    let begun = Instant::now();
    let mut taken = Vec::with_capacity(sampling.samples);
    while taken.len() < sampling.samples && begun.elapsed() < sampling.budget {
        thread::sleep(PAUSE);
        let sent = Instant::now();
        change(true)?;
        taken.push(fib.change_of(probe(family), true)?.duration_since(sent));
        thread::sleep(PAUSE);
        change(false)?;
        fib.change_of(probe(family), false)?;
    }
    Ok(Latency::of(taken))
}

fn note_latency(taken: Latency, out: &mut Vec<Measurement>) {
    for (metric, value) in [
        (Metric::FibP50, taken.p50.as_secs_f64() * 1e6),
        (Metric::FibP99, taken.p99.as_secs_f64() * 1e6),
        (Metric::FibSamples, taken.samples as f64),
    ] {
        out.push(Measurement { metric, value });
    }
}

/// The kernel alone, under the same watch.
fn bare(
    fabric: &Fabric,
    load: &Load,
    fib: &mut Fib<'_>,
    sampling: Sampling,
    out: &mut Vec<Measurement>,
) -> Result<(), Error> {
    let interface = fabric.interface()?;
    let socket = fabric.in_daemons(|| Netlink::open(0, 4 << 20))?;
    let socket = socket.map_err(Error::io("open a netlink socket"))?;
    let Wanted {
        prefixes, gateway, ..
    } = &load.wanted;
    let add = additions(prefixes, *gateway, interface);
    let remove = removals(prefixes);
    let one = [probe(load.family)];
    let (add_one, remove_one) = (additions(&one, *gateway, interface), removals(&one));
    let fault = Error::fault("the bare kernel");
    let mut work = || -> Result<(), Fault> {
        let mut note = |metric, value| out.push(Measurement { metric, value });
        let (seconds, cpu) = drive(&socket, fib, &add, Goal::Full)?;
        note(Metric::Installed, seconds);
        note(Metric::InstalledCpu, cpu.as_secs_f64());
        let taken = samples(fib, load.family, sampling, |there| {
            let change = if there { &add_one } else { &remove_one };
            socket.apply(change).map_err(Fault::Watch)
        })?;
        note_latency(taken, out);
        let mut note = |metric, value| out.push(Measurement { metric, value });
        let (seconds, _) = drive(&socket, fib, &remove, Goal::Empty)?;
        note(Metric::Uninstalled, seconds);
        // There is no peer that could go: the same again stands beside what daemons do then.
        let (seconds, _) = drive(&socket, fib, &add, Goal::Full)?;
        note(Metric::InstalledAgain, seconds);
        let (seconds, _) = drive(&socket, fib, &remove, Goal::Empty)?;
        note(Metric::FibPeerDown, seconds);
        Ok(())
    };
    work().map_err(fault)
}

/// Sends everything from a thread of its own; seconds until the news had it, and that thread's
/// processor time.
fn drive(
    socket: &Netlink,
    fib: &mut Fib<'_>,
    batches: &[Batch],
    goal: Goal,
) -> Result<(f64, Duration), Fault> {
    let broken = AtomicBool::new(false);
    thread::scope(|scope| {
        let started = Instant::now();
        let worker = scope.spawn(|| {
            let before = process::cpu_of_this_thread();
            let applied = socket.apply(batches);
            broken.store(applied.is_err(), Ordering::Relaxed);
            applied.map(|()| process::cpu_of_this_thread() - before)
        });
        let reached = fib.until(goal, &broken);
        let cpu = worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(Fault::Watch)?;
        let reached = reached?;
        fib.verify(goal)?;
        Ok((reached.duration_since(started).as_secs_f64(), cpu))
    })
}
