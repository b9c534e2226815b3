//! How a peer goes on when a connection is lost (RFC 4271, 8.1.1 and 8.2.2).
//!
//! A neighbour that restarts is to be back at once; one with which nothing can be agreed, or whose
//! sessions come and go, is to cost little. So every fault counts, and so does every session that did
//! not last ([`STABLE_AFTER`]), however it ended; what lasted wipes the slate clean. A fault holds the
//! peer back: IdleHoldTime, doubled each time. Sessions that merely ended are forgiven twice
//! (DampPeerOscillations). While a peer is held back it is neither called nor let in.

use super::{
    Down, Effect, Effects, Phase, Rest, Session,
    timers::{FORGIVEN, IDLE_HOLD_FIRST, IDLE_HOLD_MOST, QUICK_RETRY, STABLE_AFTER},
};
use crate::{
    types::Time,
    wire::{Cease, Notification, OpenError},
};

/// What a lost connection means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The session ended, and nobody says that the next one would not do.
    Ended,
    /// No session came of it.
    NoAnswer,
    /// One of the two found a fault.
    Fault,
    /// The two have nothing to say to each other (RFC 5492, 3 and 5).
    NothingInCommon,
    /// We refused so many prefixes.
    TooMany,
}

impl Session {
    /// Takes a link away and decides how the peer goes on.
    pub(super) fn lose(
        &mut self,
        now: Time,
        at: usize,
        down: Down,
        notification: Option<Notification>,
        fx: &mut Effects,
    ) {
        let link = self.links.remove(at);
        let was_up = link.phase == Phase::Established;
        // Too many routes are not held, and neither are those that lead over a broken way.
        let for_good = [Cease::MaximumPrefixes, Cease::BfdDown];
        let is_for_good = |said: &Notification| for_good.iter().any(|&why| said.is_cease(why));
        if was_up {
            let held = match &down {
                Down::Closed(_) | Down::Unreachable(_) => link.restart(),
                Down::Sent(said) | Down::Received(said) => link.restart().filter(|restart| {
                    restart.notification && !said.is_cease(Cease::HardReset) && !is_for_good(said)
                }),
            };
            fx.push(Effect::Down(link.conn, held));
        }
        let notification = notification.map(|said| match is_for_good(&said) {
            true => link.hard(said),
            false => said,
        });
        fx.push(Effect::Close(link.conn, notification));
        let said = match &down {
            Down::Received(said) | Down::Sent(said) => Some(said),
            Down::Closed(_) | Down::Unreachable(_) => None,
        };
        if was_up {
            if now.since(link.since) >= STABLE_AFTER {
                self.failures = 0;
            }
        } else if said.is_some_and(|said| said.is_cease(Cease::CollisionResolution)) {
            // No fault of anybody. The other connection is here, or on its way.
            if self.links.is_empty() && self.rest == Rest::Passive {
                self.retry_after(now, self.config.connect_retry);
            }
            return;
        }
        let cause = match said {
            // Silence on a session that was up (BFD: on its way) says that the way was cut, not that
            // the two do not understand each other: no reason to keep the neighbour out when it is
            // back.
            Some(said)
                if was_up && (said.is_hold_timer_expired() || said.is_cease(Cease::BfdDown)) =>
            {
                Cause::Ended
            }
            Some(said) if said.is_open_error(OpenError::UnsupportedCapability) => {
                Cause::NothingInCommon
            }
            Some(said)
                if said.is_cease(Cease::MaximumPrefixes) && matches!(down, Down::Sent(_)) =>
            {
                Cause::TooMany
            }
            Some(_) => Cause::Fault,
            None if was_up => Cause::Ended,
            None => Cause::NoAnswer,
        };
        // RFC 5492, 3: a peer that does not know the parameter gets an OPEN without it; once, as it may
        // have learned by the next time.
        let unknown = matches!(&down, Down::Received(said)
            if said.is_open_error(OpenError::UnsupportedParameter));
        self.bare = unknown && !self.bare;
        // Event 24 while the peer was let speak first: it counts nothing (8.2.2).
        let version_only = link.phase == Phase::Delayed
            && said.is_some_and(|said| said.is_open_error(OpenError::UnsupportedVersion));
        self.note(now, down, was_up);
        let another_speaks = self.links.iter().any(|link| link.phase > Phase::Connecting);
        if another_speaks || (cause == Cause::NoAnswer && !self.links.is_empty()) {
            return;
        }
        match cause {
            Cause::NoAnswer => {
                self.rest = Rest::Passive;
                self.retry_after(now, self.config.connect_retry);
            }
            Cause::Ended => {
                if now.since(link.since) < STABLE_AFTER {
                    self.failures += 1;
                }
                match self.failures.checked_sub(FORGIVEN + 1) {
                    None => {
                        self.rest = Rest::Passive;
                        self.retry_after(now, QUICK_RETRY);
                    }
                    Some(more) => self.hold_back(now, doubled(more), fx),
                }
            }
            Cause::Fault | Cause::NothingInCommon | Cause::TooMany => {
                let wait = match (cause, self.config.max_prefixes_restart) {
                    (Cause::TooMany, Some(restart)) => restart,
                    (Cause::NothingInCommon, _) => IDLE_HOLD_MOST,
                    _ => doubled(self.failures),
                };
                if !version_only {
                    self.failures += 1;
                }
                self.hold_back(now, wait, fx);
            }
        }
    }

    /// IdleHoldTimer: nobody calls, and nobody is let in; an attempt that has not come through is
    /// given up.
    fn hold_back(&mut self, now: Time, wait: std::time::Duration, fx: &mut Effects) {
        for link in std::mem::take(&mut self.links) {
            fx.push(Effect::Close(link.conn, None));
        }
        self.rest = Rest::IdleHold(now + self.jitter.apply(wait));
    }

    /// Remembers why, for the operator.
    fn note(&mut self, now: Time, down: Down, was_up: bool) {
        let no_word = matches!(down, Down::Unreachable(_) | Down::Closed(_));
        // An attempt that came to nothing must not hide what the peer said before.
        if no_word && !was_up {
            self.failed(down);
        } else {
            self.ended(now, down);
            self.last_try = None;
        }
    }

    /// The operator wants it to begin anew.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
        self.bare = false;
    }
}

fn doubled(times: u32) -> std::time::Duration {
    IDLE_HOLD_FIRST
        .saturating_mul(1 << times.min(16))
        .min(IDLE_HOLD_MOST)
}
