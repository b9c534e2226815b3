//! One session: the variables of RFC 5880, 6.8.1 and what changes them.
//!
//! [`reception`] is 6.8.6, [`timing`] is 6.8.2 to 6.8.4 and 6.8.7, [`poll`] is 6.5.

mod poll;
mod reception;
#[cfg(test)]
mod tests;
mod timing;

use std::{collections::VecDeque, net::SocketAddr, num::NonZeroU8, num::NonZeroU32};

use crate::{
    config::{Interval, Role, SessionConfig, SessionId, Timers},
    discard::DiscardCounts,
    event::{Event, Transmit},
    packet::{Diagnostic, Packet, State},
    random::Random,
    time::Time,
    view::SessionView,
};

use self::poll::Poll;

/// Where a session's packets go, and what decides when.
pub(crate) struct Out<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) transmits: &'a mut VecDeque<Transmit>,
}

/// What the remote system has said in its last packet, or what is taken for it (6.8.1).
#[derive(Clone, Copy, Debug)]
struct Remote {
    /// bfd.RemoteSessionState.
    state: State,
    diagnostic: Diagnostic,
    /// bfd.RemoteDiscr.
    discriminator: u32,
    /// bfd.RemoteMinRxInterval.
    min_rx: u32,
    /// bfd.RemoteDemandMode.
    demand: bool,
    /// Desired Min TX Interval.
    desired_min_tx: u32,
    /// Detect Mult; none before the first packet.
    detect_mult: Option<NonZeroU8>,
    independent: bool,
}

impl Remote {
    const UNKNOWN: Self = Self {
        state: State::Down,
        diagnostic: Diagnostic::NONE,
        discriminator: 0,
        min_rx: 1,
        demand: false,
        desired_min_tx: 0,
        detect_mult: None,
        independent: false,
    };
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    ups: u64,
    downs: u64,
    expirations: u64,
    sent: u64,
    received: u64,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    config: SessionConfig,
    /// bfd.SessionState, and since when.
    state: State,
    since: Time,
    /// bfd.LocalDiscr.
    discriminator: NonZeroU32,
    /// bfd.LocalDiag.
    diagnostic: Diagnostic,
    /// bfd.DesiredMinTxInterval, and the value that is sent at: they differ while a Poll Sequence
    /// announces a longer one (6.8.3).
    desired_min_tx: Interval,
    effective_tx: Interval,
    /// bfd.RequiredMinRxInterval, and the value that the detection time is made of: they differ
    /// while a Poll Sequence announces a shorter one (6.8.3).
    required_min_rx: Interval,
    effective_rx: Interval,
    remote: Remote,
    poll: Poll,
    /// When the remote system was last heard; none once a detection time has passed without.
    heard: Option<Time>,
    /// When the last packet was sent, Finals apart.
    transmitted: Option<Time>,
    /// How much shorter the interval to the next packet is, in 65536ths (6.8.7).
    jitter: u64,
    /// What the remote system was last told.
    told: Option<Packet>,
    /// It has been removed and says goodbye, until then at the latest.
    leaving: Option<Time>,
    counts: Counts,
    pub(crate) discarded: DiscardCounts,
}

impl Session {
    pub(crate) fn new(
        now: Time,
        id: SessionId,
        discriminator: NonZeroU32,
        config: SessionConfig,
    ) -> Self {
        let desired_min_tx = config.timers.desired_min_tx.max(Interval::SLOW);
        let required_min_rx = config.timers.required_min_rx;
        Self {
            id,
            config,
            state: State::Down,
            since: now,
            discriminator,
            diagnostic: Diagnostic::NONE,
            desired_min_tx,
            effective_tx: desired_min_tx,
            required_min_rx,
            effective_rx: required_min_rx,
            remote: Remote::UNKNOWN,
            poll: Poll::default(),
            heard: None,
            transmitted: None,
            jitter: 0,
            told: None,
            leaving: None,
            counts: Counts::default(),
            discarded: DiscardCounts::default(),
        }
    }

    pub(crate) fn config(&self) -> &SessionConfig {
        &self.config
    }

    pub(crate) fn discriminator(&self) -> NonZeroU32 {
        self.discriminator
    }

    /// What its clients are told of; an event is due when it has changed.
    pub(crate) fn standing(&self) -> (State, bool) {
        (self.state, self.remote.state == State::AdminDown)
    }

    /// The event that says what has changed since the state was `previous`.
    pub(crate) fn event(&self, previous: State) -> Event {
        Event {
            session: self.id,
            state: self.state,
            previous,
            diagnostic: self.diagnostic,
            remote_state: self.remote.state,
            remote_diagnostic: self.remote.diagnostic,
            remote_independent: self.remote.independent,
        }
    }

    /// Other timers (6.8.10 to 6.8.12).
    pub(crate) fn set_timers(&mut self, timers: Timers) {
        self.config.timers = timers;
        self.advertise();
    }

    /// The interface has another index.
    pub(crate) fn set_interface(&mut self, interface: Option<u32>) {
        self.config.path.interface = interface;
    }

    /// Administrative control (6.8.16): down for this reason, or no longer.
    pub(crate) fn set_admin_down(&mut self, now: Time, why: Option<Diagnostic>) {
        match why {
            Some(why) if self.state != State::AdminDown => self.enter(now, State::AdminDown, why),
            Some(why) => self.diagnostic = why,
            // The diagnostic is left as it is: it says why the session is not up.
            None if self.state == State::AdminDown => {
                self.enter(now, State::Down, self.diagnostic);
            }
            None => {}
        }
    }

    /// Says goodbye: goes into AdminDown, and stays until the remote system has noticed, but no
    /// longer than a detection time of the remote system (6.8.16).
    pub(crate) fn leave(&mut self, now: Time) {
        self.set_admin_down(now, Some(Diagnostic::ADMIN_DOWN));
        let mult = u32::from(self.config.timers.detect_mult.get());
        let interval = self.agreed_interval(self.desired_min_tx);
        self.leaving = Some(now + interval * mult);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// It was removed, and nobody needs to be told any more.
    pub(crate) fn has_left(&self, now: Time) -> bool {
        // A remote system that is down has either noticed or had nothing to notice.
        let noticed = matches!(self.remote.state, State::Down | State::AdminDown);
        self.leaving.is_some_and(|until| noticed || until <= now)
    }

    fn enter(&mut self, now: Time, state: State, why: Diagnostic) {
        self.counts.ups += u64::from(state == State::Up);
        self.counts.downs += u64::from(self.state == State::Up);
        self.state = state;
        self.since = now;
        self.diagnostic = why;
        self.advertise();
    }

    /// What is advertised follows the configuration, and the state (6.8.3).
    fn advertise(&mut self) {
        let Timers {
            desired_min_tx,
            required_min_rx,
            ..
        } = self.config.timers;
        let desired_min_tx = match self.state {
            State::Up => desired_min_tx,
            State::AdminDown | State::Down | State::Init => desired_min_tx.max(Interval::SLOW),
        };
        let old = (self.desired_min_tx, self.required_min_rx);
        if old != (desired_min_tx, required_min_rx) {
            self.desired_min_tx = desired_min_tx;
            self.required_min_rx = required_min_rx;
            // Nobody knows of other values before the first packet.
            if self.told.is_some() {
                self.poll.request();
            }
        }
        self.take_effect();
    }

    /// Whether it may send at all (6.8.7, Passive role).
    fn may_transmit(&self) -> bool {
        self.config.role == Role::Active || self.remote.discriminator != 0
    }

    /// Demand mode is active on the remote system (6.8).
    fn remote_demands(&self) -> bool {
        self.remote.demand && self.state == State::Up && self.remote.state == State::Up
    }

    /// The contents of the next packet (6.8.7), without Poll and Final.
    fn contents(&self) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: false,
            final_: false,
            // A thread of the speaker's own process: it ends with it.
            control_plane_independent: false,
            authentication: false,
            demand: false,
            detect_mult: self.config.timers.detect_mult,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.desired_min_tx.micros(),
            required_min_rx: self.required_min_rx.micros(),
            required_min_echo_rx: 0,
        }
    }

    /// After anything that may have changed what the remote system should know: tells it at once
    /// (6.8.7), and in its Demand mode until it has confirmed it (6.6).
    pub(crate) fn settle(&mut self, now: Time, out: &mut Out<'_>) {
        if self.may_transmit() && self.told != Some(self.contents()) {
            if self.remote_demands() {
                self.poll.request();
            }
            self.transmit(now, out);
        }
    }

    /// Sends a periodic packet, or one between two of them.
    fn transmit(&mut self, now: Time, out: &mut Out<'_>) {
        self.transmitted = Some(now);
        self.jitter = timing::jitter(self.config.timers.detect_mult, out.random);
        let poll = self.poll.is_active();
        self.send(
            Packet {
                poll,
                ..self.contents()
            },
            out,
        );
    }

    fn send(&mut self, packet: Packet, out: &mut Out<'_>) {
        self.told = Some(packet.contents());
        self.counts.sent += 1;
        let path = &self.config.path;
        out.transmits.push_back(Transmit {
            session: self.id,
            destination: SocketAddr::new(path.remote, path.hops.port()),
            source: path.local,
            interface: path.interface,
            bytes: packet.encode(),
        });
    }

    pub(crate) fn view(&self, now: Time) -> SessionView {
        let micros =
            |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        SessionView {
            session: self.id,
            remote: self.config.path.remote,
            local: self.config.path.local,
            interface: self.config.path.interface,
            multihop: self.config.path.hops.is_multi(),
            role: self.config.role,
            state: self.state,
            state_ms: micros(now.since(self.since)) / 1_000,
            diagnostic: self.diagnostic.to_string(),
            remote_state: self.remote.state,
            remote_diagnostic: self.remote.diagnostic.to_string(),
            local_discriminator: self.discriminator.get(),
            remote_discriminator: self.remote.discriminator,
            desired_min_tx_us: self.desired_min_tx.micros(),
            required_min_rx_us: self.required_min_rx.micros(),
            detect_mult: self.config.timers.detect_mult.get(),
            remote_desired_min_tx_us: self.remote.desired_min_tx,
            remote_min_rx_us: self.remote.min_rx,
            remote_detect_mult: self.remote.detect_mult.map_or(0, NonZeroU8::get),
            transmit_interval_us: self.transmit_interval().map(micros),
            detection_time_us: self.detection_time().map(micros),
            polling: self.poll.is_pending(),
            remote_demand: self.remote.demand,
            remote_independent: self.remote.independent,
            ups: self.counts.ups,
            downs: self.counts.downs,
            expirations: self.counts.expirations,
            sent: self.counts.sent,
            received: self.counts.received,
            discarded: self.discarded,
        }
    }
}
