//! When a session sends, and when it gives up (RFC 5880, 6.8.2 to 6.8.4 and 6.8.7).

use std::{num::NonZeroU8, time::Duration};

use crate::{
    packet::{Diagnostic, State},
    random::Random,
    session::{Out, Remote, Session},
    time::Time,
};

/// The whole of an interval, in the unit of [`jitter`].
const WHOLE: u64 = 1 << 16;

/// How much an interval is shortened: 0 to 25 %; with a DetectMult of 1 at least 10 %, or the
/// detection time could pass before the next packet arrives (6.8.7).
pub(super) fn jitter(detect_mult: NonZeroU8, random: &mut Random) -> u64 {
    let least = if detect_mult.get() == 1 {
        WHOLE.div_ceil(10)
    } else {
        0
    };
    random.between(least, WHOLE / 4)
}

fn shorten(interval: Duration, jitter: u64) -> Duration {
    // An interval has at most 2^42 ns, and jitter is a part of 2^16.
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    let less = nanos / WHOLE * jitter + nanos % WHOLE * jitter / WHOLE;
    Duration::from_nanos(nanos.saturating_sub(less))
}

impl Session {
    /// Changed intervals are used at once, except those that the remote system has to know of first
    /// while the session is up: a longer one to send at, a shorter one to receive at (6.8.3).
    pub(super) fn take_effect(&mut self) {
        let (tx, rx) = (self.desired_min_tx, self.required_min_rx);
        let waits = self.state == State::Up && self.poll.is_pending();
        self.effective_tx = if waits { self.effective_tx.min(tx) } else { tx };
        self.effective_rx = if waits { self.effective_rx.max(rx) } else { rx };
    }

    /// The greater of an interval of ours and bfd.RemoteMinRxInterval.
    pub(super) fn agreed_interval(&self, ours: crate::Interval) -> Duration {
        Duration::from_micros(u64::from(ours.micros().max(self.remote.min_rx)))
    }

    /// The interval of periodic packets before jitter; none while there are to be none (6.8.7).
    pub(super) fn transmit_interval(&self) -> Option<Duration> {
        let silenced = self.remote.min_rx == 0
            || (self.remote_demands() && !self.poll.is_active())
            || !self.may_transmit();
        (!silenced).then(|| self.agreed_interval(self.effective_tx))
    }

    /// The detection time in Asynchronous mode, which is the only one we are in (6.8.4).
    pub(super) fn detection_time(&self) -> Option<Duration> {
        let mult = self.remote.detect_mult?;
        let interval = self.effective_rx.micros().max(self.remote.desired_min_tx);
        Some(Duration::from_micros(u64::from(interval)) * u32::from(mult.get()))
    }

    fn detection_deadline(&self) -> Option<Time> {
        Some(self.heard? + self.detection_time()?)
    }

    /// Counted from the last packet, so that an interval that has become shorter is honoured at
    /// once (6.8.3).
    fn transmit_deadline(&self) -> Option<Time> {
        Some(self.transmitted? + shorten(self.transmit_interval()?, self.jitter))
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let deadlines = [
            self.detection_deadline(),
            self.transmit_deadline(),
            self.leaving,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Does what has become due. A packet that is overdue is sent once, however late it is.
    pub(crate) fn handle_timeout(&mut self, now: Time, out: &mut Out<'_>) {
        if self.detection_deadline().is_some_and(|due| due <= now) {
            self.expire(now, out);
        }
        if self.transmit_deadline().is_some_and(|due| due <= now) {
            self.transmit(now, out);
        }
    }

    /// A detection time has passed without a packet (6.8.4). What is known of the remote system is
    /// forgotten: bfd.RemoteDiscr must be (6.8.1), bfd.RemoteMinRxInterval should be (6.8.18).
    ///
    /// The failure is announced first, while we can still name the remote system's session: it may
    /// hear us though we do not hear it, and FRR takes no packet without its discriminator while it is
    /// up. It would go on for another detection time.
    fn expire(&mut self, now: Time, out: &mut Out<'_>) {
        self.heard = None;
        match self.state {
            State::Init | State::Up => {
                self.counts.expirations += u64::from(self.state == State::Up);
                self.enter(now, State::Down, Diagnostic::TIME_EXPIRED);
                self.transmit(now, out);
            }
            State::AdminDown | State::Down => {}
        }
        self.remote = Remote {
            desired_min_tx: self.remote.desired_min_tx,
            detect_mult: self.remote.detect_mult,
            independent: self.remote.independent,
            ..Remote::UNKNOWN
        };
        // That we do not know it any more is nothing to be told at once.
        if let Some(told) = &mut self.told {
            told.your_discriminator = 0;
        }
    }
}
