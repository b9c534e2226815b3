//! Octets as the life of a BFD session: packets that come, time that passes, what operators do. Then
//! a neighbour that behaves comes, and is served as if nothing had been.
#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr},
    num::{NonZeroU8, NonZeroU32},
    time::Duration,
};

use wayleave_bfd::{
    Bfd, Datagram, Diagnostic, Discard, Event, Hops, Interval, PACKET_LEN, Packet, Path, Role,
    SessionConfig, SessionId, SessionView, State, Time, Timers, Transmit,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    packet(data);
    session(data);
});

const ID: SessionId = SessionId(7);
const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const THEM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
/// The neighbour's discriminator, where the octets do not say one.
const THEIRS: NonZeroU32 = NonZeroU32::new(0x0bad_cafe).unwrap();
const START: Time = Time(1_000_000_000);

/// A payload is a packet or a reason why not, and a packet says the same when it is written.
fn packet(payload: &[u8]) {
    match Packet::decode(payload) {
        Ok(packet) => {
            assert!(payload.len() >= PACKET_LEN);
            // We send no authentication section.
            let plain = Packet {
                authentication: false,
                ..packet
            };
            assert_eq!(Packet::decode(&plain.encode()), Ok(plain));
            assert!(!packet.diagnostic.to_string().is_empty());
        }
        // These are held against a session, not against a payload.
        Err(
            why @ (Discard::YourDiscriminator
            | Discard::NoDiscriminator
            | Discard::NoSession
            | Discard::Port
            | Discard::Interface
            | Discard::Ttl
            | Discard::Authentication),
        ) => panic!("{why} of a payload alone"),
        Err(_) => {}
    }
}

/// What is left of the octets that say what happens.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// So many, or what there is.
    fn octets(&mut self, most: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u32 {
        let octets = self.octets(4).iter();
        octets.fold(0, |number, octet| number << 8 | u32::from(*octet))
    }

    /// Of any length, as often short as long.
    fn interval(&mut self) -> Interval {
        let shift = self.octet().unwrap_or_default() % 32;
        Interval::from_micros((self.number() >> shift).max(1)).expect("it is not zero")
    }

    fn timers(&mut self) -> Timers {
        Timers {
            desired_min_tx: self.interval(),
            required_min_rx: self.interval(),
            detect_mult: NonZeroU8::new(self.octet().unwrap_or(3)).unwrap_or(NonZeroU8::MIN),
        }
    }
}

struct World {
    bfd: Bfd,
    now: Time,
    config: SessionConfig,
    /// Of what happened last, as far as it was taken out.
    state: State,
}

fn session(data: &[u8]) {
    let mut script = Script(data);
    let mode = script.octet().unwrap_or_default();
    let config = SessionConfig {
        path: Path {
            remote: THEM,
            local: (mode & 1 == 0).then_some(US),
            interface: (mode & 2 != 0).then_some(3),
            hops: match mode & 4 == 0 {
                true => Hops::Single,
                false => Hops::Multi {
                    least_ttl: mode | 0x80,
                },
            },
        },
        role: match mode & 8 == 0 {
            true => Role::Active,
            false => Role::Passive,
        },
        timers: script.timers(),
    };
    let mut world = World {
        bfd: Bfd::new(u64::from(mode)),
        now: START,
        config,
        state: State::Down,
    };
    world.add();
    // What happens is bounded as well as how long the octets are: a session may be told to send a
    // million packets a second.
    let mut deadlines = 2_000;
    while let Some(step) = script.octet() {
        world.step(step, &mut script, &mut deadlines);
        world.drain();
    }
    world.neighbour_comes();
}

impl World {
    fn add(&mut self) {
        // There may be one already, or one that leaves.
        let there = self.bfd.knows(ID);
        assert_eq!(self.bfd.add(self.now, ID, self.config).is_err(), there);
        if !there {
            self.state = State::Down;
        }
        self.drain();
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>, deadlines: &mut usize) {
        let now = self.now;
        match step % 12 {
            // A datagram that may be anything.
            0 => {
                let datagram = Datagram {
                    local: if step & 0x10 == 0 { US } else { THEM },
                    remote: if step & 0x20 == 0 { THEM } else { US },
                    interface: u32::from(script.octet().unwrap_or(3) % 5),
                    ttl: script.octet().unwrap_or(255),
                    multihop: step & 0x40 != 0,
                };
                let length = usize::from(script.octet().unwrap_or_default() % 64);
                let payload = script.octets(length);
                packet(payload);
                let taken = self.bfd.received(now, &datagram, payload);
                assert!(taken.is_err() || Packet::decode(payload).is_ok());
            }
            // A packet of the neighbour's, with what it has to know; the rest is in the octets.
            1..=5 => self.hear(step, script),
            6..=7 => {
                let millis = u64::from(script.octet().unwrap_or_default());
                let unit = [1, 10, 100, 1_000][usize::from(step >> 4) % 4];
                self.pass(Duration::from_millis(millis * unit), deadlines);
            }
            8 => {
                self.config.timers = script.timers();
                self.bfd.reconfigure(now, ID, self.config.timers);
            }
            9 => {
                let bits = script.octet().unwrap_or_default();
                let why = (bits & 1 == 0).then(|| Diagnostic::from_bits(bits >> 1));
                self.bfd.set_admin_down(now, ID, why);
            }
            10 => match step & 0x10 == 0 {
                true => self.bfd.remove(now, ID),
                false => self.add(),
            },
            _ => {
                if self.config.path.interface.is_some() {
                    self.config.path.interface = Some(u32::from(step >> 4) + 1);
                    let interface = self.config.path.interface;
                    self.bfd.set_interface(now, ID, interface);
                }
            }
        }
    }

    /// How a packet comes that is let in.
    fn datagram(&self) -> Datagram {
        Datagram {
            local: US,
            remote: THEM,
            interface: self.config.path.interface.unwrap_or(3),
            ttl: 255,
            multihop: self.config.path.hops.is_multi(),
        }
    }

    fn hear(&mut self, step: u8, script: &mut Script<'_>) {
        let flags = script.octet().unwrap_or_default();
        let state = [State::AdminDown, State::Down, State::Init, State::Up];
        let ours = self.view().map_or(0, |view| view.local_discriminator);
        let shift = u32::from(flags >> 3);
        let packet = Packet {
            diagnostic: Diagnostic::from_bits(step >> 3),
            state: state[usize::from(step >> 4) % 4],
            poll: flags & 1 != 0,
            final_: flags & 2 != 0,
            control_plane_independent: step & 0x80 != 0,
            authentication: false,
            demand: flags & 4 != 0,
            detect_mult: NonZeroU8::new(flags >> 3).unwrap_or(NonZeroU8::MIN),
            my_discriminator: THEIRS,
            your_discriminator: if step.is_multiple_of(5) { 0 } else { ours },
            desired_min_tx: script.number() >> shift,
            required_min_rx: script.number() >> shift,
            required_min_echo_rx: 0,
        };
        let datagram = self.datagram();
        let _ = self.bfd.received(self.now, &datagram, &packet.encode());
    }

    /// Lets time pass, each deadline in its turn, as long as there may be any.
    fn pass(&mut self, time: Duration, deadlines: &mut usize) {
        let end = self.now + time;
        while let Some(due) = self.bfd.poll_timeout().filter(|due| *due <= end) {
            if *deadlines == 0 {
                break;
            }
            *deadlines -= 1;
            self.now = self.now.max(due);
            self.bfd.handle_timeout(self.now);
            let next = self.bfd.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "it does not move on"
            );
            self.drain();
        }
        self.now = end;
        self.bfd.handle_timeout(end);
    }

    fn view(&self) -> Option<SessionView> {
        self.bfd.view(self.now).pop()
    }

    /// Takes out what there is, and looks whether it can be.
    fn drain(&mut self) -> Vec<Transmit> {
        let view = self.view();
        while let Some(event) = self.bfd.poll_event() {
            self.follow(&event);
        }
        if let Some(view) = &view {
            assert_eq!(view.state, self.state, "the client was not told");
            check(view);
        }
        let transmits: Vec<_> = std::iter::from_fn(|| self.bfd.poll_transmit()).collect();
        for transmit in &transmits {
            self.sent(transmit, view.as_ref());
        }
        transmits
    }

    /// RFC 5880, 6.2: how states follow each other.
    fn follow(&mut self, event: &Event) {
        assert_eq!((event.session, event.previous), (ID, self.state));
        let possible = match (event.previous, event.state) {
            (State::AdminDown, next) => matches!(next, State::AdminDown | State::Down),
            (State::Down, _) | (_, State::AdminDown | State::Down) => true,
            (State::Init, next) => matches!(next, State::Init | State::Up),
            (State::Up, next) => next == State::Up,
        };
        assert!(possible, "{event:?}");
        assert!(!event.path_failed() || !event.admin_down());
        self.state = event.state;
    }

    fn sent(&self, transmit: &Transmit, view: Option<&SessionView>) {
        let packet = Packet::decode(&transmit.bytes).expect("ours is well formed");
        // RFC 5880, 6.5: never both.
        assert!(!(packet.poll && packet.final_));
        assert!(!packet.authentication && !packet.demand && !packet.control_plane_independent);
        assert_eq!(packet.required_min_echo_rx, 0);
        assert!(packet.desired_min_tx > 0);
        // RFC 5880, 6.8.3: slow while it is not up.
        assert!(packet.state == State::Up || packet.desired_min_tx >= 1_000_000);
        assert_eq!(transmit.destination.ip(), THEM);
        assert_eq!(transmit.destination.port(), self.config.path.hops.port());
        if let Some(view) = view {
            assert_eq!(packet.my_discriminator.get(), view.local_discriminator);
        }
    }

    /// Whatever there was, with a neighbour that has just started the session comes up.
    fn neighbour_comes(&mut self) {
        // One that leaves does so within a detection time, which may be hours.
        if self.view().is_none() {
            self.bfd = Bfd::new(1);
            self.add();
        }
        let interval = Interval::from_micros(50_000).expect("it is not zero");
        let timers = Timers {
            desired_min_tx: interval,
            required_min_rx: interval,
            detect_mult: NonZeroU8::MIN.saturating_add(2),
        };
        self.bfd.set_admin_down(self.now, ID, None);
        self.bfd.reconfigure(self.now, ID, timers);
        let mut neighbour = Bfd::new(99);
        let theirs = SessionConfig {
            path: Path {
                remote: US,
                local: Some(THEM),
                interface: None,
                hops: self.config.path.hops,
            },
            role: Role::Active,
            timers,
        };
        neighbour
            .add(self.now, ID, theirs)
            .expect("it is the first");
        let to_us = self.datagram();
        let to_them = Datagram {
            local: THEM,
            remote: US,
            ..to_us
        };
        let end = self.now + Duration::from_secs(30);
        while self.now < end {
            loop {
                let (ours, said) = (self.drain(), neighbour.poll_transmit());
                if ours.is_empty() && said.is_none() {
                    break;
                }
                for transmit in ours {
                    let _ = neighbour.received(self.now, &to_them, &transmit.bytes);
                }
                if let Some(said) = said {
                    let taken = self.bfd.received(self.now, &to_us, &said.bytes);
                    // It may not know yet that our session is another one.
                    assert!(matches!(taken, Ok(ID) | Err(Discard::YourDiscriminator)));
                }
            }
            let due = [self.bfd.poll_timeout(), neighbour.poll_timeout()];
            let due = due.into_iter().flatten().min().unwrap_or(end);
            self.now = self.now.max(due.min(end));
            self.bfd.handle_timeout(self.now);
            neighbour.handle_timeout(self.now);
            let view = self.view().expect("nobody removes it");
            let other = neighbour.view(self.now).pop().expect("nobody removes it");
            if (view.state, other.state) == (State::Up, State::Up)
                && !view.polling
                && !other.polling
            {
                assert_eq!(view.remote_discriminator, other.local_discriminator);
                assert_eq!(view.detection_time_us, Some(150_000));
                return;
            }
        }
        panic!("not up: {:?}", self.view());
    }
}

/// What is shown of a session makes sense.
fn check(view: &SessionView) {
    assert_ne!(view.local_discriminator, 0);
    assert!(view.state != State::Up || view.remote_discriminator != 0);
    assert!(view.state != State::Up || view.detection_time_us.is_some());
    assert!(view.state == State::Up || view.desired_min_tx_us >= 1_000_000);
    assert!(view.downs <= view.ups && view.ups <= view.downs + 1);
    assert!(view.expirations <= view.downs);
}
