//! A counted packet stream between two namespaces: what a fault costs, in packets.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::host::Host;

/// One packet per millisecond: a lost packet is a lost millisecond.
const INTERVAL: Duration = Duration::from_millis(1);
/// How long packets may still be under way after the last was sent.
const DRAIN: Duration = Duration::from_millis(300);

/// A running stream of 1,000 numbered UDP packets a second.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<Sent>>,
    receiver: Option<JoinHandle<Received>>,
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamReport {
    /// Packets that were due and given to the kernel, whether or not it took them.
    pub sent: u64,
    /// Of these, packets the sender's own kernel refused (no route, link down).
    pub refused: u64,
    /// Different packets that arrived.
    pub received: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// Packets that arrived again.
    pub duplicates: u64,
    /// The longest run of packets lost one after the other: the longest outage in milliseconds.
    pub longest_outage: u64,
    /// The longest time between two arrivals, in milliseconds. Also grows when the machine halts.
    pub longest_gap_ms: u64,
}

#[derive(Debug)]
struct Sent {
    count: u64,
    refused: u64,
}

#[derive(Debug)]
struct Received {
    /// How often each number arrived.
    counts: Vec<u8>,
    longest_gap: Duration,
}

impl Stream {
    /// Starts a stream from one namespace to an address of another.
    pub fn start(from: &Host, to: &Host, address: IpAddr) -> Result<Self, LabError> {
        let what = format!(
            "start a stream from {} to {address} on {}",
            from.name(),
            to.name()
        );
        let refused = |e| LabError::system(what.clone(), e);
        let target = to
            .enter(|| UdpSocket::bind((address, 0)))?
            .map_err(refused)?;
        let port = target.local_addr().map_err(refused)?.port();
        let any: IpAddr = match address {
            IpAddr::V4(_) => [0; 4].into(),
            IpAddr::V6(_) => [0; 16].into(),
        };
        let source = from.enter(|| UdpSocket::bind((any, 0)))?.map_err(refused)?;
        target
            .set_read_timeout(Some(Duration::from_millis(20)))
            .map_err(refused)?;

        let stop = Arc::new(AtomicBool::new(false));
        let (stop_sending, stop_receiving) = (Arc::clone(&stop), Arc::clone(&stop));
        let receiver = thread::spawn(move || receive(&target, &stop_receiving));
        let to = SocketAddr::new(address, port);
        let sender = thread::spawn(move || send(&source, to, &stop_sending));
        Ok(Self {
            stop,
            sender: Some(sender),
            receiver: Some(receiver),
        })
    }

    /// Stops sending, waits for what is under way, and counts.
    #[must_use]
    pub fn stop(mut self) -> StreamReport {
        self.finish()
    }

    fn finish(&mut self) -> StreamReport {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.take().and_then(|t| t.join().ok());
        let received = self.receiver.take().and_then(|t| t.join().ok());
        // A thread that panicked has counted nothing: everything counts as lost.
        let sent = sent.unwrap_or(Sent {
            count: 0,
            refused: 0,
        });
        let none = Received {
            counts: Vec::new(),
            longest_gap: Duration::ZERO,
        };
        report(&sent, received.unwrap_or(none))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.sender.is_some() {
            self.finish();
        }
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, stop: &AtomicBool) -> Sent {
    let start = Instant::now();
    let mut sent = Sent {
        count: 0,
        refused: 0,
    };
    let mut due = start;
    while !stop.load(Ordering::Relaxed) {
        // By the schedule, not by the interval: a late packet does not delay those after it.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if socket.send_to(&sent.count.to_be_bytes(), to).is_err() {
            sent.refused += 1;
        }
        sent.count += 1;
        due += INTERVAL;
    }
    sent
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> Received {
    let mut received = Received {
        counts: Vec::new(),
        longest_gap: Duration::ZERO,
    };
    let mut last: Option<Instant> = None;
    let mut end: Option<Instant> = None;
    let mut packet = [0; 16];
    loop {
        if end.is_none() && stop.load(Ordering::Relaxed) {
            end = Some(Instant::now() + DRAIN);
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return received;
        }
        match socket.recv(&mut packet) {
            Ok(8) => {
                let now = Instant::now();
                if let Some(last) = last {
                    received.longest_gap = received.longest_gap.max(now - last);
                }
                last = Some(now);
                received.note(&packet);
            }
            // Not one of ours.
            Ok(_) => {}
            Err(e) if is_quiet(&e) => {}
            // The interface or the route went away: that is what streams are there to measure.
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}

impl Received {
    fn note(&mut self, packet: &[u8; 16]) {
        let number = packet[..8]
            .iter()
            .fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        // A day of packets; anything beyond did not come from our sender.
        let Some(index) = usize::try_from(number).ok().filter(|n| *n < 86_400_000) else {
            return;
        };
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] = self.counts[index].saturating_add(1);
    }
}

fn is_quiet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn report(sent: &Sent, mut received: Received) -> StreamReport {
    let total = usize::try_from(sent.count)
        .unwrap_or(usize::MAX)
        .max(received.counts.len());
    received.counts.resize(total, 0);
    let arrived = received.counts.iter().filter(|count| **count > 0).count() as u64;
    let duplicates = received
        .counts
        .iter()
        .map(|count| u64::from(count.saturating_sub(1)))
        .sum();
    let longest_outage = received
        .counts
        .split(|count| *count > 0)
        .map(<[u8]>::len)
        .max();
    StreamReport {
        sent: sent.count,
        refused: sent.refused,
        received: arrived,
        lost: sent.count.saturating_sub(arrived),
        duplicates,
        longest_outage: longest_outage.unwrap_or(0) as u64,
        longest_gap_ms: u64::try_from(received.longest_gap.as_millis()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_losses_duplicates_and_the_longest_outage() {
        let counts = vec![1, 0, 0, 2, 1, 0];
        let received = Received {
            counts,
            longest_gap: Duration::from_millis(7),
        };
        let counted = report(
            &Sent {
                count: 8,
                refused: 2,
            },
            received,
        );
        let expected = StreamReport {
            sent: 8,
            refused: 2,
            received: 3,
            lost: 5,
            duplicates: 1,
            longest_outage: 3, // packets 5, 6 and 7, of which two were never seen at all
            longest_gap_ms: 7,
        };
        assert_eq!(counted, expected);
    }

    #[test]
    fn a_number_from_nowhere_does_not_fill_the_memory() {
        let mut received = Received {
            counts: Vec::new(),
            longest_gap: Duration::ZERO,
        };
        received.note(&[0xff; 16]);
        assert_eq!(received.counts.len(), 0);
    }
}
