//! One session and a remote system that the test plays itself.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::{NonZeroU8, NonZeroU32},
    time::Duration,
};

use wayleave_bfd::{
    Bfd, Datagram, Diagnostic, Event, Hops, Interval, Packet, Path, Role, SessionConfig, SessionId,
    SessionView, State, Time, Timers,
};

pub(crate) const ID: SessionId = SessionId(1);
pub(crate) const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub(crate) const THEM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
/// Their discriminator.
pub(crate) const THEIRS: u32 = 0x0bad_cafe;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn timers(tx: u64, rx: u64, mult: u8) -> Timers {
    Timers {
        desired_min_tx: Interval::from_millis(tx).unwrap(),
        required_min_rx: Interval::from_millis(rx).unwrap(),
        detect_mult: NonZeroU8::new(mult).unwrap(),
    }
}

pub(crate) fn config(timers: Timers) -> SessionConfig {
    SessionConfig {
        path: Path {
            remote: THEM,
            local: Some(US),
            interface: None,
            hops: Hops::Single,
        },
        role: Role::Active,
        timers,
    }
}

/// How their packets come.
pub(crate) fn datagram() -> Datagram {
    Datagram {
        local: US,
        remote: THEM,
        interface: 3,
        ttl: 255,
        multihop: false,
    }
}

/// One session at 50 ms x 3, and the time.
pub(crate) struct Single {
    pub(crate) now: Time,
    pub(crate) bfd: Bfd,
    /// What they send, but for the state.
    pub(crate) theirs: Packet,
}

impl Single {
    pub(crate) fn new() -> Self {
        Self::with(config(timers(50, 50, 3)))
    }

    pub(crate) fn with(config: SessionConfig) -> Self {
        let mut bfd = Bfd::new(1);
        let now = Time(1_000_000_000);
        bfd.add(now, ID, config).unwrap();
        let theirs = Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Down,
            poll: false,
            final_: false,
            control_plane_independent: false,
            authentication: false,
            demand: false,
            detect_mult: NonZeroU8::new(3).unwrap(),
            my_discriminator: NonZeroU32::new(THEIRS).unwrap(),
            your_discriminator: 0,
            desired_min_tx: 50_000,
            required_min_rx: 50_000,
            required_min_echo_rx: 0,
        };
        Self { now, bfd, theirs }
    }

    /// Up by the three-way handshake, all parameters confirmed, nothing left to take out.
    pub(crate) fn up() -> Self {
        Self::new().brought_up()
    }

    pub(crate) fn brought_up(mut self) -> Self {
        self.hear(State::Down);
        self.hear(State::Init);
        self.confirm();
        assert_eq!(self.view().state, State::Up);
        self.packets();
        self.events();
        self
    }

    /// They answer our Poll, if there is one, and send on.
    pub(crate) fn confirm(&mut self) {
        self.theirs.state = State::Up;
        self.hear_packet(Packet {
            final_: true,
            ..self.theirs
        });
        self.hear(State::Up);
    }

    /// They send a packet in this state.
    pub(crate) fn hear(&mut self, state: State) {
        self.theirs.state = state;
        self.hear_packet(self.theirs);
    }

    /// They send this packet; its Your Discriminator is set to ours unless they cannot know it.
    pub(crate) fn hear_packet(&mut self, packet: Packet) {
        self.theirs.your_discriminator = self.view().local_discriminator;
        let your_discriminator = self.theirs.your_discriminator;
        let packet = Packet {
            your_discriminator,
            ..packet
        };
        let received = self.bfd.received(self.now, &datagram(), &packet.encode());
        assert_eq!(received, Ok(ID));
    }

    /// Lets so much time pass, each deadline in its turn; what was sent, and when.
    pub(crate) fn pass(&mut self, duration: Duration) -> Vec<(Time, Packet)> {
        let end = self.now + duration;
        let mut sent = Vec::new();
        while let Some(due) = self.bfd.poll_timeout().filter(|due| *due <= end) {
            // One that lies in the past has become due by what was received.
            self.now = self.now.max(due);
            self.bfd.handle_timeout(self.now);
            let now = self.now;
            sent.extend(self.packets().into_iter().map(|packet| (now, packet)));
        }
        self.now = end;
        sent
    }

    /// The same, while they send every 50 ms.
    pub(crate) fn pass_alive(&mut self, duration: Duration) -> Vec<(Time, Packet)> {
        let end = self.now + duration;
        let mut sent = Vec::new();
        while self.now < end {
            sent.extend(self.pass(ms(50).min(end.since(self.now))));
            self.hear_packet(self.theirs);
            let now = self.now;
            sent.extend(self.packets().into_iter().map(|packet| (now, packet)));
        }
        sent
    }

    /// What is to be sent.
    pub(crate) fn packets(&mut self) -> Vec<Packet> {
        std::iter::from_fn(|| self.bfd.poll_transmit())
            .map(|transmit| Packet::decode(&transmit.bytes).unwrap())
            .collect()
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.bfd.poll_event()).collect()
    }

    pub(crate) fn view(&self) -> SessionView {
        self.bfd.view(self.now).pop().unwrap()
    }
}
