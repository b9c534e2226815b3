//! One daemon's life with a table: everything in and out, single changes, everything withdrawn,
//! announced again, a late joiner, the announcing peer's death.
//!
//! Peer 0 announces, peer 1 receives, peer 2 joins late. Every phase ends with the check that
//! the receivers hold exactly what they should; a phase's time runs from its first byte sent to
//! the read that completed the last receiver.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    awake::Awake,
    check::{Expected, Fault, Goal, Passage, Reached, Receiver},
    daemon::{Contender, Kind, Relation, Role},
    error::Error,
    fabric::{Fabric, daemon_address, daemon_socket, peer_address},
    latency::{self, Latency},
    measure::{Measurement, Metric},
    prefix::Family,
    process::Process,
    record::{Recording, Until, record},
    session::{self, Session},
    table::Table,
};

/// The speaker's AS.
pub(crate) const SPEAKER_AS: u32 = 65000;
/// The announcing peer's AS.
pub(crate) const NEIGHBOUR_AS: u32 = SPEAKER_AS + 1;
/// A daemon that does not accept a session within this time is misconfigured or broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// A receiver is done when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(300);
/// A daemon that sends nothing for so long will send nothing more.
const STALLED: Duration = Duration::from_secs(60);

/// What may be measured over a daemon's life. All but `Transfer` build on the phases before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// The table from one peer to the other; time, processor time, memory.
    Transfer,
    /// One prefix at a time through a daemon that holds the table.
    Latency,
    /// The whole table withdrawn.
    Withdraw,
    /// The whole table announced again.
    Reannounce,
    /// A third peer connects and gets the table.
    LateJoiner,
    /// The announcing peer goes; its routes must leave both others.
    PeerDown,
}

/// A table with everything prepared that need not be done while a clock runs.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) family: Family,
    pub(crate) routes: usize,
    pub(crate) announcement: Vec<u8>,
    pub(crate) withdrawal: Vec<u8>,
    over_wire: Expected,
    pub(crate) through_speaker: Expected,
}

impl Workload {
    /// Prepares `table`, which peer 0 will announce.
    pub(crate) fn new(family: Family, table: &Table) -> Result<Self, Error> {
        let hop = peer_address(family, 0);
        let long = |_| Error::Usage("an attribute set of the table fills a message".to_owned());
        let mut over_wire = Expected::default();
        over_wire.add(table, Passage::Wire, hop, &[]);
        let mut through_speaker = Expected::default();
        let ebgp = Passage::Ebgp {
            speaker_as: SPEAKER_AS,
        };
        // On a shared subnet a speaker may leave the next hop alone (RFC 4271 section 5.1.3).
        through_speaker.add(table, ebgp, hop, &[daemon_address(family)]);
        Ok(Self {
            family,
            routes: table.routes(),
            announcement: table.announcement(family, hop).map_err(long)?,
            withdrawal: table.withdrawal(family),
            over_wire,
            through_speaker,
        })
    }

    /// Bytes a receiver may be sent for the table; a guess that a longer stream outgrows.
    pub(crate) fn room(&self) -> usize {
        self.announcement.len() * 5 / 4
    }
}

/// How `latency` samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    pub(crate) samples: usize,
    /// A daemon that is slow at this gets no more time than so.
    pub(crate) budget: Duration,
    /// Whether to sample once more with all processors awake.
    pub(crate) awake: bool,
}

/// Runs one daemon through `phases` once. What was measured before a failure stays in `out`.
pub(crate) fn run(
    fabric: &Fabric,
    contender: &Contender,
    workload: &Workload,
    phases: &[Phase],
    sampling: Sampling,
    out: &mut Vec<Measurement>,
) -> Result<(), Error> {
    let mut life = Life::begin(fabric, contender, workload, out)?;
    let done = life.phases(phases, sampling);
    match &mut life.process {
        Some(process) => done.map_err(|error| process.explain(error)),
        None => done,
    }
}

struct Life<'a> {
    kind: Kind,
    workload: &'a Workload,
    role: Role,
    process: Option<Process>,
    source: Session,
    sink: Session,
    receiver: Receiver<'a>,
    out: &'a mut Vec<Measurement>,
}

impl<'a> Life<'a> {
    fn begin(
        fabric: &Fabric,
        contender: &Contender,
        workload: &'a Workload,
        out: &'a mut Vec<Measurement>,
    ) -> Result<Self, Error> {
        let (kind, family) = (contender.kind, workload.family);
        let role = Role {
            family,
            asn: SPEAKER_AS,
            hold_time: kind.hold_time(),
            peers: 3,
            silent: 0,
            relation: Relation::External,
            install: false,
            tracked: false,
            send_hold: None,
        };
        let (process, source, sink) = if kind == Kind::Wire {
            let listener = fabric
                .in_daemons(|| TcpListener::bind(daemon_socket(family)))?
                .map_err(Error::io("listen in the daemon's namespace"))?;
            let pair = Session::pair(&listener, family, 0);
            let (source, sink) = pair.map_err(Error::io("connect generator and sink"))?;
            (None, source, sink)
        } else {
            let mut process = contender.start(fabric, &role)?;
            let source = connect(&mut process, &role, 0)?;
            let sink = connect(&mut process, &role, 1)?;
            (Some(process), source, sink)
        };
        let expected = match kind {
            Kind::Wire => &workload.over_wire,
            Kind::Wayleaved | Kind::Bird | Kind::Frr | Kind::Gobgp | Kind::Openbgpd => {
                &workload.through_speaker
            }
        };
        let receiver = Receiver::new(expected);
        Ok(Self {
            kind,
            workload,
            role,
            process,
            source,
            sink,
            receiver,
            out,
        })
    }

    fn phases(&mut self, phases: &[Phase], sampling: Sampling) -> Result<(), Error> {
        let wants = |phase| phases.contains(&phase);
        let last = phases.iter().max().copied().unwrap_or(Phase::Transfer);
        // What a daemon says on a fresh session (its End-of-RIB) is not part of any phase.
        self.settle("opening the sessions")?;
        let (memory, cpu) = (self.memory(), self.cpu());
        let stream = &self.workload.announcement;
        let taken = self.pass("transfer", stream, Goal::Full)?;
        self.note(Metric::Transfer, taken.0);
        if self.process.is_some() {
            self.note(Metric::TransferCpu, (self.cpu() - cpu).as_secs_f64());
            let grown = self.memory().saturating_sub(memory) as f64;
            self.note(Metric::BytesPerRoute, grown / self.workload.routes as f64);
            self.note(Metric::Redundant, taken.1.redundant as f64);
        }
        if wants(Phase::Latency) {
            self.latency(sampling)?;
        }
        if last >= Phase::Withdraw && (wants(Phase::Withdraw) || wants(Phase::Reannounce)) {
            let taken = self.pass("withdraw", &self.workload.withdrawal, Goal::Empty)?;
            self.note(Metric::Withdraw, taken.0);
        }
        if wants(Phase::Reannounce) || (wants(Phase::Withdraw) && last > Phase::Reannounce) {
            let taken = self.pass("re-announce", stream, Goal::Full)?;
            self.note(Metric::Reannounce, taken.0);
        }
        if self.process.is_none() || last < Phase::LateJoiner {
            return Ok(());
        }
        self.joiner_and_death(wants(Phase::PeerDown))
    }

    /// The source sends `stream`; the sink must reach `goal`. Seconds taken.
    fn pass(
        &mut self,
        step: &'static str,
        stream: &[u8],
        goal: Goal,
    ) -> Result<(f64, Reached), Error> {
        let routes = self.workload.routes;
        let until = match goal {
            Goal::Full => enough(routes, 0),
            Goal::Empty | Goal::Without(_) => enough(0, routes),
        };
        let room = self.workload.room();
        let (source, sink) = (&mut self.source, &mut self.sink);
        let mut echoes = source
            .stream
            .try_clone()
            .map(|stream| Session { stream, ..*source });
        let stop = AtomicBool::new(false);
        let (started, recording) = thread::scope(|scope| {
            // The recording's memory is there before the clock starts.
            let (ready, go) = std::sync::mpsc::channel();
            let reader = scope.spawn(move || {
                let recording = Recording::with_room(room);
                let _ = ready.send(());
                record(&mut sink.stream, recording, until)
            });
            let drain = scope.spawn(|| echoes.as_mut().map(|s| s.drain(&stop)));
            let _ = go.recv();
            let started = Instant::now();
            let sent = source.send(stream).map_err(Fault::Session);
            let recording = reader.join();
            stop.store(true, Ordering::Relaxed);
            let _ = drain.join();
            let recording = recording.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (started, sent.and(recording))
        });
        let recording = recording.map_err(Error::fault(step))?;
        let reached = self
            .receiver
            .replay(&recording, goal)
            .map_err(Error::fault(step))?;
        Ok((reached.at.duration_since(started).as_secs_f64(), reached))
    }

    fn latency(&mut self, sampling: Sampling) -> Result<(), Error> {
        let taken = self.sample(sampling)?;
        self.note(Metric::LatencyP50, taken.p50.as_secs_f64() * 1e6);
        self.note(Metric::LatencyP99, taken.p99.as_secs_f64() * 1e6);
        self.note(Metric::LatencySamples, taken.samples as f64);
        if sampling.awake {
            let awake = Awake::keep().map_err(Error::io("keep the processors awake"))?;
            let taken = self.sample(sampling)?;
            drop(awake);
            self.note(Metric::AwakeLatencyP50, taken.p50.as_secs_f64() * 1e6);
            self.note(Metric::AwakeLatencyP99, taken.p99.as_secs_f64() * 1e6);
        }
        Ok(())
    }

    fn sample(&mut self, sampling: Sampling) -> Result<Latency, Error> {
        let family = self.workload.family;
        let taken = latency::sample(&mut self.source, &mut self.sink, family, sampling)
            .map_err(Error::fault("latency"))?;
        self.settle("latency")?;
        Ok(taken)
    }

    fn joiner_and_death(&mut self, death: bool) -> Result<(), Error> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let routes = self.workload.routes;
        let recording = Recording::with_room(self.workload.room());
        let mut joiner = connect(process, &self.role, 2)?;
        let recording = record(&mut joiner.stream, recording, enough(routes, 0))
            .map_err(Error::fault("late joiner"))?;
        let mut joined = Receiver::new(&self.workload.through_speaker);
        let reached = joined
            .replay(&recording, Goal::Full)
            .map_err(Error::fault("late joiner"))?;
        self.note(
            Metric::LateJoiner,
            reached.at.duration_since(joiner.connecting).as_secs_f64(),
        );
        self.settle("late joiner")?;
        if !death {
            return Ok(());
        }
        let room = self.workload.withdrawal.len() * 2;
        let (source, sink) = (&self.source.stream, &mut self.sink.stream);
        let until = enough(0, routes);
        let (died, first, second) = thread::scope(|scope| {
            // Both recordings' memory is there before the clock starts.
            let reader = |stream| {
                let recording = Recording::with_room(room);
                move || record(stream, recording, until)
            };
            let (first, second) = (reader(sink), reader(&mut joiner.stream));
            let (first, second) = (scope.spawn(first), scope.spawn(second));
            let died = Instant::now();
            let closed = source
                .shutdown(std::net::Shutdown::Both)
                .map_err(Fault::Session);
            let joined = |handle: thread::ScopedJoinHandle<'_, Result<Recording, Fault>>| {
                handle
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            (closed.map(|()| died), joined(first), joined(second))
        });
        let step = "peer down";
        let died = died.map_err(Error::fault(step))?;
        let (first, second) = (
            first.map_err(Error::fault(step))?,
            second.map_err(Error::fault(step))?,
        );
        let one = self
            .receiver
            .replay(&first, Goal::Empty)
            .map_err(Error::fault(step))?;
        let other = joined
            .replay(&second, Goal::Empty)
            .map_err(Error::fault(step))?;
        self.note(
            Metric::PeerDown,
            one.at.max(other.at).duration_since(died).as_secs_f64(),
        );
        Ok(())
    }

    /// Reads both sessions until the daemon has nothing more to say.
    fn settle(&mut self, step: &'static str) -> Result<(), Error> {
        if self.kind == Kind::Wire {
            return Ok(());
        }
        for session in [&mut self.source, &mut self.sink] {
            record(&mut session.stream, Recording::with_room(0), enough(0, 0))
                .map_err(Error::fault(step))?;
        }
        Ok(())
    }

    fn memory(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::memory)
    }

    fn cpu(&self) -> Duration {
        self.process.as_ref().map_or(Duration::ZERO, Process::cpu)
    }

    fn note(&mut self, metric: Metric, value: f64) {
        self.out.push(Measurement { metric, value });
    }
}

/// Opens the session of one peer of `role`; tries again while the daemon is not listening yet or
/// turns us away.
pub(crate) fn connect(process: &mut Process, role: &Role, peer: usize) -> Result<Session, Error> {
    connect_with(process, role, peer, session::BUFFER)
}

/// The same, with a receive buffer of so many bytes.
pub(crate) fn connect_with(
    process: &mut Process,
    role: &Role,
    peer: usize,
    buffer: usize,
) -> Result<Session, Error> {
    let begun = Instant::now();
    loop {
        let last = match Session::open(role, peer, buffer) {
            Ok(session) => return Ok(session),
            Err(last) => last,
        };
        if let Some(status) = process.ended() {
            let step = "opening the sessions";
            return Err(Error::Died {
                step,
                status,
                log: process.log_tail(),
            });
        }
        if begun.elapsed() > PATIENCE {
            let (seconds, last) = (PATIENCE.as_secs(), last.to_string());
            return Err(Error::NoSession {
                seconds,
                last,
                log: process.log_tail(),
            });
        }
        // Nothing tells when a daemon begins to listen.
        thread::sleep(Duration::from_millis(20));
    }
}

/// Reads until so much has come and it is quiet.
pub(crate) fn enough(announced: usize, withdrawn: usize) -> Until {
    Until {
        announced,
        withdrawn,
        quiet: QUIET,
        stalled: STALLED,
    }
}
