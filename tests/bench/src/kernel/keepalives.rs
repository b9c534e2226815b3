//! Whether a daemon keeps its sessions alive while the kernel keeps it busy.
//!
//! A second peer with the shortest hold time exchanges no routes. A thread of its own reads its
//! session, and answers in time, from before the table goes into the kernel until it is out again.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    check::Fault,
    decode::message_at,
    encode::{self, kind},
    session::Session,
};

/// The shortest hold time but none (RFC 4271 section 4.2), in seconds.
pub(super) const HOLD_TIME: u16 = 3;
/// How often each side speaks: a third of it (RFC 4271 section 10).
const INTERVAL: Duration = Duration::from_secs(HOLD_TIME as u64 / 3);
/// How closely arrivals are looked for when none wakes the reader.
const TICK: Duration = Duration::from_millis(50);

/// A session that a thread listens to until this is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    reader: Option<JoinHandle<Result<Duration, Fault>>>,
    stop: Arc<AtomicBool>,
}

impl Listening {
    /// Listens to a session just opened.
    pub(super) fn to(session: Session) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        Self {
            reader: Some(thread::spawn(move || read(session, &told))),
            stop,
        }
    }

    /// The longest silence so far.
    ///
    /// # Errors
    /// When the session broke, or the silence was as long as the hold time.
    pub(super) fn longest(mut self) -> Result<Duration, Fault> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.reader.take().map(JoinHandle::join);
        let longest = match joined {
            Some(Ok(longest)) => longest?,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Duration::ZERO,
        };
        within_hold_time(longest)
    }
}

fn within_hold_time(longest: Duration) -> Result<Duration, Fault> {
    let most = Duration::from_secs(HOLD_TIME.into());
    match longest < most {
        true => Ok(longest),
        false => Err(Fault::Silent { longest, most }),
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Reads, and sends what keeps our side alive. The handshake's KEEPALIVE was the first.
fn read(mut session: Session, stop: &AtomicBool) -> Result<Duration, Fault> {
    let stream = &mut session.stream;
    let ready = stream.set_read_timeout(Some(TICK));
    ready.map_err(Fault::Session)?;
    let (mut silence, mut said) = (Silence::since(Instant::now()), Instant::now());
    let (mut unread, mut buffer) = (Vec::new(), [0; 4096]);
    while !stop.load(Ordering::Relaxed) {
        if said.elapsed() >= INTERVAL {
            said = Instant::now();
            let sent = stream.write_all(&encode::keepalive());
            sent.map_err(Fault::Session)?;
        }
        let len = match stream.read(&mut buffer) {
            Ok(0) => return Err(Fault::Session(io::ErrorKind::UnexpectedEof.into())),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fault::Session(error)),
        };
        unread.extend_from_slice(&buffer[..len]);
        silence.hear(&mut unread, Instant::now())?;
    }
    Ok(silence.longest(Instant::now()))
}

/// The time between KEEPALIVEs. Other messages restart a peer's hold timer too (RFC 4271 section
/// 8.2.2), but here are none that would.
#[derive(Clone, Copy, Debug)]
struct Silence {
    last: Instant,
    longest: Duration,
}

impl Silence {
    fn since(last: Instant) -> Self {
        Self {
            last,
            longest: Duration::ZERO,
        }
    }

    /// Takes whole messages out of what has come until now.
    fn hear(&mut self, unread: &mut Vec<u8>, now: Instant) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(message) = message_at(unread, at)? {
            match message.kind {
                kind::KEEPALIVE => {
                    self.longest = self.longest(now);
                    self.last = now;
                }
                kind::NOTIFICATION => return Err(Fault::notification(message.body)),
                _ => {}
            }
            at = message.end;
        }
        unread.drain(..at);
        Ok(())
    }

    /// The one that goes on counts as well.
    fn longest(&self, now: Instant) -> Duration {
        self.longest.max(now.duration_since(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::Family;

    #[test]
    fn the_longest_silence_is_between_keepalives_or_since_the_last() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut silence = Silence::since(start);
        let mut unread = encode::keepalive();
        silence.hear(&mut unread, after(900)).expect("whole");
        // An End-of-RIB says nothing of timers, and half a message nothing at all.
        unread = encode::end_of_rib(Family::Ipv4);
        unread.extend_from_slice(&encode::keepalive()[..10]);
        silence.hear(&mut unread, after(1500)).expect("whole");
        assert_eq!(unread.len(), 10);
        assert_eq!(silence.longest(after(1600)), Duration::from_millis(900));
        unread.extend_from_slice(&encode::keepalive()[10..]);
        silence.hear(&mut unread, after(2100)).expect("whole");
        assert_eq!(silence.longest(after(2100)), Duration::from_millis(1200));
        assert_eq!(silence.longest(after(3500)), Duration::from_millis(1400));
    }

    #[test]
    fn a_silence_as_long_as_the_hold_time_is_a_fault() {
        let just = Duration::from_millis(2999);
        assert_eq!(within_hold_time(just).ok(), Some(just));
        let fault = within_hold_time(Duration::from_secs(3)).expect_err("expired");
        assert_eq!(
            fault.to_string(),
            "no keepalive for 3000 ms at a hold time of 3000 ms"
        );
    }

    #[test]
    fn a_notification_ends_the_listening() {
        // Hold timer expired: code 4.
        let mut unread = [&[0xff; 16][..], &[0, 21, kind::NOTIFICATION, 4, 0]].concat();
        let heard = Silence::since(Instant::now()).hear(&mut unread, Instant::now());
        assert!(matches!(heard, Err(Fault::Notification(4, 0))));
    }
}
