//! Routes on their way into the kernel of the daemon's namespace, and out of it.
//!
//! One peer announces a table: clocked until the kernel has all of it, single prefixes while it
//! does, the table withdrawn, announced again, some of it lost, the peer gone; and in a daemon
//! started anew a table whose next hop moves. After each phase the kernel's routes are listed and
//! compared. The yardstick is the bench's own loop that does nothing but send prepared messages.

mod detour;
mod keepalives;
mod next_hop;
mod resync;

use std::{
    io,
    net::Shutdown,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    awake::Awake,
    check::Fault,
    daemon::{Contender, Kind, Relation, Role},
    encode,
    error::Error,
    fabric::{Fabric, peer_address},
    fib::{Fib, Goal, Waits, Wanted},
    kernel::{keepalives::Listening, resync::Outcome},
    latency::{self, Latency, PAUSE, probe},
    lifecycle::{SPEAKER_AS, Sampling, connect, enough},
    measure::{Measurement, Metric},
    netlink::{Batch, Netlink, Way, additions, removals},
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
    next_hop: next_hop::Load,
    waits: Waits,
}

impl Load {
    /// Prepares `table`, and another of half as many routes whose next hop moves.
    pub(crate) fn new(
        family: Family,
        table: &Table,
        half: &Table,
        waits: Waits,
    ) -> Result<Self, Error> {
        let hop = peer_address(family, 0);
        let long = |_| Error::Usage("an attribute set of the table fills a message".to_owned());
        Ok(Self {
            family,
            announcement: table.announcement(family, hop).map_err(long)?,
            withdrawal: table.withdrawal(family),
            wanted: Wanted::new(family, table.prefixes(), hop),
            next_hop: next_hop::Load::new(family, half, waits)?,
            waits,
        })
    }
}

/// Runs one contender once; what it cannot do becomes a remark.
pub(crate) fn run(
    fabric: &Fabric,
    contender: &Contender,
    load: &Load,
    sampling: Sampling,
    out: &mut Vec<Measurement>,
    remarks: &mut Vec<String>,
) -> Result<(), Error> {
    let mut fib = watch(fabric, &load.wanted, load.waits)?;
    if contender.kind == Kind::Wire {
        bare(fabric, load, &mut fib, sampling, out)?;
    } else {
        let role = Role {
            family: load.family,
            asn: SPEAKER_AS,
            hold_time: contender.kind.hold_time(),
            peers: 1,
            silent: 1,
            relation: Relation::External,
            install: true,
            tracked: false,
            send_hold: None,
        };
        let mut process = contender.start(fabric, &role)?;
        let session = connect(&mut process, &role, 0)?;
        let mut run = Run {
            load,
            kind: contender.kind,
            kernel: kernel(fabric)?,
            fib: &mut fib,
            session,
            out,
            remarks,
        };
        let done = run.phases(&mut process, &role, sampling);
        done.map_err(|error| process.explain(error))?;
    }
    drop(fib);
    remarks.extend(next_hop::run(fabric, contender, &load.next_hop, out)?);
    Ok(())
}

/// Watches the daemon's namespace once nothing of what came before is left in it.
fn watch<'a>(fabric: &Fabric, wanted: &'a Wanted, waits: Waits) -> Result<Fib<'a>, Error> {
    let mut fib = open(fabric, wanted, waits)?;
    fib.sweep()
        .map_err(Error::io("remove routes left in the daemon's namespace"))?;
    fabric.flush_nexthops()?;
    Ok(fib)
}

/// Watches it as it is.
fn open<'a>(fabric: &Fabric, wanted: &'a Wanted, waits: Waits) -> Result<Fib<'a>, Error> {
    let opened = fabric.in_daemons(|| Fib::watch(wanted, waits))?;
    opened.map_err(Error::io("watch the kernel's routes"))
}

/// A socket for changes of the bench's own.
fn kernel(fabric: &Fabric) -> Result<Netlink, Error> {
    let socket = fabric.in_daemons(|| Netlink::open(0, 4 << 20))?;
    socket.map_err(Error::io("open a netlink socket"))
}

struct Run<'a, 'b> {
    load: &'a Load,
    kind: Kind,
    kernel: Netlink,
    fib: &'b mut Fib<'a>,
    session: Session,
    out: &'b mut Vec<Measurement>,
    remarks: &'b mut Vec<String>,
}

impl Run<'_, '_> {
    fn phases(
        &mut self,
        process: &mut Process,
        role: &Role,
        sampling: Sampling,
    ) -> Result<(), Error> {
        let silent = Role {
            hold_time: keepalives::HOLD_TIME,
            ..*role
        };
        settle(&mut self.session)?;
        let listening = Listening::to(connect(process, &silent, role.peers)?);
        let (memory, cpu) = (process.memory(), process.cpu());
        let load = self.load;
        let seconds = self.pass("into the kernel", &load.announcement, Goal::Full)?;
        self.note(Metric::Installed, seconds);
        self.note(Metric::InstalledCpu, (process.cpu() - cpu).as_secs_f64());
        let grown = process.memory().saturating_sub(memory) as f64;
        self.note(
            Metric::InstalledBytes,
            grown / load.wanted.prefixes.len() as f64,
        );
        let step = "single prefixes into the kernel";
        let taken = self.singles(sampling).map_err(Error::fault(step))?;
        note_latency(taken, self.out);
        if sampling.awake {
            let awake = Awake::keep().map_err(Error::io("keep the processors awake"))?;
            let taken = self.singles(sampling).map_err(Error::fault(step))?;
            drop(awake);
            note_awake(taken, self.out);
        }
        let seconds = self.pass("withdrawn from the kernel", &load.withdrawal, Goal::Empty)?;
        self.note(Metric::Uninstalled, seconds);
        let longest = listening
            .longest()
            .map_err(Error::fault("keepalives meanwhile"))?;
        self.note(Metric::KeepaliveGap, longest.as_secs_f64() * 1e3);
        let seconds = self.pass("into the kernel again", &load.announcement, Goal::Full)?;
        self.note(Metric::InstalledAgain, seconds);
        match resync::run(self.fib, self.kind, process, &self.kernel, load.waits)? {
            Outcome::Restored(taken) => self.note(Metric::Resynced, taken.as_secs_f64()),
            Outcome::Remark(why) => self.remarks.push(why),
        }

        let gone = Instant::now();
        let closed = self.session.stream.shutdown(Shutdown::Both);
        closed.map_err(Error::io("close the session"))?;
        let step = "peer gone";
        let at = reach(self.fib, Goal::Empty, &AtomicBool::new(false));
        let at = at.map_err(Error::fault(step))?;
        self.note(Metric::FibPeerDown, at.duration_since(gone).as_secs_f64());
        Ok(())
    }

    /// The peer sends `stream`; the kernel must reach `goal`. Seconds taken.
    fn pass(&mut self, step: &'static str, stream: &[u8], goal: Goal) -> Result<f64, Error> {
        let fib = &mut *self.fib;
        let (started, reached) = exchange(&self.session, step, stream, |broken| {
            reach(fib, goal, broken)
        })?;
        Ok(reached.duration_since(started).as_secs_f64())
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

/// Reads what a daemon says and does at its start, which is not part of any phase.
fn settle(session: &mut Session) -> Result<(), Error> {
    let recording = Recording::with_room(0);
    record(&mut session.stream, recording, enough(0, 0))
        .map_err(Error::fault("opening the session"))?;
    Ok(())
}

/// The kernel as the news have it and as it is: both must be at `goal`.
fn reach(fib: &mut Fib<'_>, goal: Goal, broken: &AtomicBool) -> Result<Instant, Fault> {
    let reached = fib.until(goal, broken)?;
    fib.verify(goal)?;
    Ok(reached)
}

/// The peer sends `stream`, and reads what comes, until `until` has seen what it waits for. It is
/// told when the session breaks. When the first byte was sent.
fn exchange<T>(
    session: &Session,
    step: &'static str,
    stream: &[u8],
    until: impl FnOnce(&AtomicBool) -> Result<T, Fault>,
) -> Result<(Instant, T), Error> {
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
        let reached = until(&broken);
        stop.store(true, Ordering::Relaxed);
        if reached.is_err() {
            // A writer that waits for a daemon that reads nothing would wait forever.
            let _ = session.stream.shutdown(Shutdown::Both);
        }
        let joined = |handle: thread::ScopedJoinHandle<'_, io::Result<()>>| {
            handle
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let (sent, drained) = (joined(sent), joined(drained));
        let reached = reached.map_err(Error::fault(step))?;
        sent.and(drained)
            .map_err(|error| Error::fault(step)(Fault::Session(error)))?;
        Ok((started, reached))
    })
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

fn note_awake(taken: Latency, out: &mut Vec<Measurement>) {
    for (metric, value) in [
        (Metric::AwakeFibP50, taken.p50.as_secs_f64() * 1e6),
        (Metric::AwakeFibP99, taken.p99.as_secs_f64() * 1e6),
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
    let socket = kernel(fabric)?;
    let prefixes = &load.wanted.prefixes;
    let way = Way::Via {
        gateway: load.wanted.gateway,
        interface: fabric.interface("daemon")?,
    };
    let add = additions(prefixes, way);
    let remove = removals(prefixes);
    let one = [probe(load.family)];
    let (add_one, remove_one) = (additions(&one, way), removals(&one));
    let fault = Error::fault("the bare kernel");
    let mut work = || -> Result<(), Fault> {
        let mut note = |metric, value| out.push(Measurement { metric, value });
        let (seconds, cpu) = drive(&socket, fib, &add, Goal::Full)?;
        note(Metric::Installed, seconds);
        note(Metric::InstalledCpu, cpu.as_secs_f64());
        let mut singles = || {
            samples(fib, load.family, sampling, |there| {
                let change = if there { &add_one } else { &remove_one };
                socket.apply(change).map_err(Fault::Watch)
            })
        };
        note_latency(singles()?, out);
        if sampling.awake {
            let _awake = Awake::keep().map_err(Fault::Watch)?;
            note_awake(singles()?, out);
        }
        let mut note = |metric, value| out.push(Measurement { metric, value });
        let (seconds, _) = drive(&socket, fib, &remove, Goal::Empty)?;
        note(Metric::Uninstalled, seconds);
        // There is no peer that could go: the same again stands beside what daemons do then.
        let (seconds, _) = drive(&socket, fib, &add, Goal::Full)?;
        note(Metric::InstalledAgain, seconds);
        let taken = resync::bare(fib, &socket, prefixes, way)?;
        note(Metric::Resynced, taken.as_secs_f64());
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
