//! A peer that reads slowly, or not at all, must cost the others nothing.
//!
//! Peer 0 announces the table, withdraws it and announces it again, to many readers: alone; in a
//! fresh daemon beside one more peer that reads ten kilobytes a second; and in another beside one
//! that reads nothing. The slow one must end with exactly the table once it reads as fast as it can. The
//! dead one keeps its session with KEEPALIVEs; the send hold timer (RFC 9687) must end it.

use std::{
    fs,
    io::Write,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use crate::{
    check::{Fault, Goal, Receiver},
    daemon::{Contender, Relation, Role, SendHold},
    encode,
    error::Error,
    fabric::{Fabric, peer_address},
    lifecycle::{SPEAKER_AS, Workload, connect, connect_with, enough},
    measure::{Measurement, Metric},
    process::Process,
    record::{Recording, Until, closing, record},
    serve::{Order, last, nonblocking, serve},
    session::Session,
};

/// Receive buffer of the peer that does not read, and the most a daemon's socket may hold.
const SMALL: usize = 64 * 1024;
/// Bytes the slow peer reads at a time, and how often: ten kilobytes a second.
const SIP: usize = 1000;
const SIP_EVERY: Duration = Duration::from_millis(100);
/// What the slow peer is sent when it has become fast may come in bursts: BIRD pauses for up to 3 s.
const QUIET: Duration = Duration::from_secs(4);
/// Hold time of the peer that reads nothing, and how often it says that it lives, in seconds.
const DEAD_HOLD: u16 = 6;
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// When it is to be let go of, seconds: the least that RFC 9687 allows.
const SEND_HOLD: u16 = 2 * DEAD_HOLD;
/// How much later, or earlier, than that it may be: the clock runs from the first byte announced.
const SLACK: f64 = 5.0;

/// Beside whom the readers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nobody,
    Slow,
    Dead,
}

/// Runs a daemon all three ways.
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
    let done = thrice(fabric, contender, workload, readers, out);
    fabric.in_daemons(|| send_buffers(&restored))??;
    done
}

fn thrice(
    fabric: &Fabric,
    contender: &Contender,
    workload: &Workload,
    readers: usize,
    out: &mut Vec<Measurement>,
) -> Result<(), Error> {
    let mut note = |metric, value| out.push(Measurement { metric, value });
    let once = |beside| once(fabric, contender, workload, readers, beside);
    let mib = |more: u64, less: u64| (more as f64 - less as f64) / f64::from(1 << 20);
    let alone = once(Beside::Nobody)?;
    note(Metric::Readers, alone.seconds);
    let slow = once(Beside::Slow)?;
    note(Metric::BesideSlow, slow.seconds);
    note(Metric::SlowMemory, mib(slow.memory, alone.memory));
    note(Metric::SlowPeak, mib(slow.peak, alone.peak));
    if let Some(seconds) = slow.catch_up {
        note(Metric::CatchUp, seconds);
    }
    let dead = once(Beside::Dead)?;
    note(Metric::BesideDead, dead.seconds);
    note(Metric::DeadMemory, mib(dead.memory, alone.memory));
    note(Metric::DeadPeak, mib(dead.peak, alone.peak));
    if let Some(seconds) = dead.dropped {
        note(Metric::DeadDropped, seconds);
    }
    Ok(())
}

/// One daemon's figures.
struct Outcome {
    /// Of the readers.
    seconds: f64,
    /// Of the daemon in bytes: at the end less at the beginning, and the most it had.
    memory: u64,
    peak: u64,
    /// Seconds the slow peer took once it read as fast as it can.
    catch_up: Option<f64>,
    /// Seconds until the dead peer was let go of.
    dropped: Option<f64>,
}

fn once(
    fabric: &Fabric,
    contender: &Contender,
    workload: &Workload,
    readers: usize,
    beside: Beside,
) -> Result<Outcome, Error> {
    let send_hold = match beside {
        Beside::Dead => contender.kind.send_hold(),
        Beside::Nobody | Beside::Slow => SendHold::Unknown,
    };
    let role = Role {
        family: workload.family,
        asn: SPEAKER_AS,
        hold_time: contender.kind.hold_time(),
        peers: readers + 2,
        silent: 0,
        relation: Relation::External,
        install: false,
        tracked: false,
        send_hold: (send_hold == SendHold::Settable).then_some(SEND_HOLD),
    };
    let mut process = contender.start(fabric, &role)?;
    let mut sessions = Vec::with_capacity(readers + 1);
    for peer in 0..=readers {
        sessions.push(connect(&mut process, &role, peer)?);
    }
    nonblocking(&sessions)?;
    let odd = readers + 1;
    let dead = Role {
        hold_time: DEAD_HOLD,
        ..role
    };
    let odd_one = match beside {
        Beside::Nobody => None,
        Beside::Slow => Some(connect_with(&mut process, &role, odd, SMALL)?),
        Beside::Dead => Some(connect_with(&mut process, &dead, odd, SMALL)?),
    };
    let race = Race {
        process: &process,
        workload,
        receivers: (1..sessions.len())
            .map(|_| Receiver::new(&workload.through_speaker))
            .collect(),
        sessions,
        step: match beside {
            Beside::Nobody => "many readers",
            Beside::Slow => "many readers beside one that reads slowly",
            Beside::Dead => "many readers beside one that reads nothing",
        },
    };
    let done = match (odd_one, beside) {
        (None, _) => race.alone(),
        (Some(session), Beside::Dead) => {
            race.beside_dead(fabric, session, peer_address(role.family, odd), send_hold)
        }
        (Some(session), _) => race.beside_slow(session),
    };
    done.map_err(|error| process.explain(error))
}

/// The table on its way to the readers.
struct Race<'a> {
    process: &'a Process,
    workload: &'a Workload,
    sessions: Vec<Session>,
    receivers: Vec<Receiver<'a>>,
    step: &'static str,
}

impl Race<'_> {
    fn alone(mut self) -> Result<Outcome, Error> {
        let before = self.settle()?;
        self.through(before)
    }

    fn beside_slow(mut self, mut slow: Session) -> Result<Outcome, Error> {
        let before = self.settle()?;
        let fast = AtomicBool::new(false);
        let workload = self.workload;
        let (raced, recording) = thread::scope(|scope| {
            let sipping = scope.spawn(|| sip(&mut slow, &fast));
            let raced = self.through(before);
            fast.store(true, Ordering::Relaxed);
            (raced, joined(sipping))
        });
        let (outcome, step) = (raced?, "the peer that reads slowly");
        let recording = recording.map_err(Error::fault(step))?;
        let until = Until {
            quiet: QUIET,
            ..enough(workload.routes, 0)
        };
        let lifted = Instant::now();
        let recording = record(&mut slow.stream, recording, until).map_err(Error::fault(step))?;
        let reached = Receiver::new(&workload.through_speaker)
            .replay(&recording, Goal::Full)
            .map_err(Error::fault(step))?;
        Ok(Outcome {
            catch_up: Some(reached.at.saturating_duration_since(lifted).as_secs_f64()),
            ..outcome
        })
    }

    /// Ours must let go of it in time; others need not, and are waited for only where they can.
    fn beside_dead(
        mut self,
        fabric: &Fabric,
        dead: Session,
        address: IpAddr,
        send_hold: SendHold,
    ) -> Result<Outcome, Error> {
        let before = self.settle()?;
        let stop = AtomicBool::new(false);
        let begun = Instant::now();
        let (outcome, dropped) = thread::scope(|scope| -> Result<_, Error> {
            // A thread lives in the namespace of the one that makes it.
            let watch = || scope.spawn(|| play_dead(dead, address, begun, &stop));
            let watching = fabric.in_daemons(watch)?;
            let raced = self.through(before);
            if raced.is_err() || send_hold == SendHold::Unknown {
                stop.store(true, Ordering::Relaxed);
            }
            let dropped = joined(watching);
            Ok((
                raced?,
                dropped.map_err(Error::io("watch the daemon's sockets"))?,
            ))
        })?;
        let limit = f64::from(SEND_HOLD);
        let fault = Error::fault("the peer that reads nothing");
        match dropped {
            Some(seconds) if seconds < limit - SLACK => Err(fault(Fault::Dead {
                dropped: true,
                seconds,
            })),
            None if send_hold == SendHold::Settable => Err(fault(Fault::Dead {
                dropped: false,
                seconds: limit + SLACK,
            })),
            dropped => {
                // That one has gone may not have cost the others anything either.
                self.settle()?;
                Ok(Outcome { dropped, ..outcome })
            }
        }
    }

    /// Reads what a daemon says without being asked: no route may come or go. The daemon's memory.
    fn settle(&mut self) -> Result<u64, Error> {
        let quiet = Order {
            outgoing: &[],
            senders: 0,
            room: 0,
            until: enough(0, 0),
        };
        let fault = Error::fault("sessions at rest");
        let checked = serve(&mut self.sessions, quiet).and_then(|(_, recordings)| {
            let update = |recording: &Recording| recording.counts() != (0, 0);
            match recordings.iter().any(update) {
                true => Err(Fault::Uncalled),
                false => Ok(()),
            }
        });
        checked.map_err(fault)?;
        Ok(self.process.memory())
    }

    /// The table in, out to all readers, withdrawn, in again.
    fn through(&mut self, before: u64) -> Result<Outcome, Error> {
        let (workload, step) = (self.workload, self.step);
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
            let served = serve(&mut self.sessions, order);
            let (started, recordings) = served.map_err(Error::fault(step))?;
            let done = last(&mut self.receivers, &recordings[1..], &goal);
            seconds += done
                .map_err(Error::fault(step))?
                .duration_since(started)
                .as_secs_f64();
        }
        Ok(Outcome {
            seconds,
            memory: self.process.memory().saturating_sub(before),
            peak: self.process.peak(),
            catch_up: None,
            dropped: None,
        })
    }
}

/// Reads ten kilobytes a second until told to go on faster.
fn sip(slow: &mut Session, fast: &AtomicBool) -> Result<Recording, Fault> {
    let mut recording = Recording::with_room(0);
    slow.stream.set_nonblocking(true).map_err(Fault::Session)?;
    while !fast.load(Ordering::Relaxed) {
        let taken = recording.take_at_most(&mut slow.stream, SIP);
        taken.map_err(|error| closing(&recording, error))?;
        thread::sleep(SIP_EVERY);
    }
    slow.stream.set_nonblocking(false).map_err(Fault::Session)?;
    Ok(recording)
}

/// Sends KEEPALIVEs and reads nothing until the daemon's end of the connection is closed, or until
/// `stop`, or until it is far too late. Seconds since `begun` when it closed.
fn play_dead(
    mut dead: Session,
    address: IpAddr,
    begun: Instant,
    stop: &AtomicBool,
) -> std::io::Result<Option<f64>> {
    dead.stream.set_nonblocking(true)?;
    let too_late = Duration::from_secs_f64(f64::from(SEND_HOLD) + SLACK);
    let mut alive = begun;
    while !stop.load(Ordering::Relaxed) {
        // Looked at before the clock is: a daemon that was in time is not found to be late.
        let open = connected(address)?;
        let now = Instant::now();
        if !open {
            return Ok(Some(now.duration_since(begun).as_secs_f64()));
        }
        if now.duration_since(begun) > too_late {
            return Ok(None);
        }
        if now >= alive {
            // A daemon that has let go answers with a reset: seen above the next time.
            let _ = dead.stream.write(&encode::keepalive());
            alive = now + ALIVE_EVERY;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

/// Whether this namespace has an established TCP connection to an address.
fn connected(address: IpAddr) -> std::io::Result<bool> {
    let list = match address {
        IpAddr::V4(_) => "/proc/thread-self/net/tcp",
        IpAddr::V6(_) => "/proc/thread-self/net/tcp6",
    };
    Ok(fs::read_to_string(list)?
        .lines()
        .any(|line| is_established_with(line, address)))
}

/// Whether a line of `/proc/net/tcp` says so: `sl local remote state`, addresses in hexadecimal
/// words of this machine's byte order.
fn is_established_with(line: &str, address: IpAddr) -> bool {
    let mut fields = line.split_whitespace().skip(2);
    let (Some(remote), Some("01")) = (fields.next(), fields.next()) else {
        return false;
    };
    let words = match address {
        IpAddr::V4(v4) => vec![v4.octets()],
        IpAddr::V6(v6) => v6.octets().as_chunks::<4>().0.to_vec(),
    };
    let hex: String = words
        .into_iter()
        .map(|word| format!("{:08X}", u32::from_ne_bytes(word)))
        .collect();
    remote.split(':').next() == Some(&hex)
}

fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Sets the bounds of TCP send buffers in this namespace; what they were before.
fn send_buffers(bounds: &str) -> Result<String, Error> {
    let path = "/proc/sys/net/ipv4/tcp_wmem";
    let before = fs::read_to_string(path).map_err(Error::io(format!("read {path}")))?;
    fs::write(path, bounds).map_err(Error::io(format!("write {path}")))?;
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::Family;

    #[test]
    fn a_connection_is_found_by_its_remote_address_and_state() {
        let line = |state| format!("   1: 0100630A:00B3 0D00630A:C0DE {state} 00000000:00000000");
        let other: IpAddr = [10, 99, 0, 14].into();
        let peer: IpAddr = [10, 99, 0, 13].into();
        assert!(is_established_with(&line("01"), peer));
        assert!(!is_established_with(&line("04"), peer), "FIN_WAIT1");
        assert!(!is_established_with(&line("01"), other));
        let head = "  sl  local_address rem_address   st tx_queue rx_queue";
        assert!(!is_established_with(head, peer));
        let v6 =
            "   1: 000099FD000000000000000001000000:00B3 000099FD00000000000000000D000000:C0DE 01";
        let peer = peer_address(Family::Ipv6, 11);
        assert!(is_established_with(v6, peer), "{peer}");
    }
}
