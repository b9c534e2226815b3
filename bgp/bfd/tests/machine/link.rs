//! Two machines on a virtual clock, and a link between them that delays, reorders and loses.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use wayleave_bfd::{Bfd, Datagram, Event, SessionConfig, SessionView, State, Time, Timers};

use crate::single::{ID, THEM, US, config};

/// Numbers from a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// One of `0..sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // PCG's multiplier; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What the link does to the packets of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Loses everything.
    pub(crate) cut: bool,
    /// Loses this many of a hundred packets...
    pub(crate) loss: u64,
    /// ... but never so many in a row.
    pub(crate) in_a_row: u32,
    /// Delays by 0 to this many microseconds, each packet by itself: later ones overtake.
    pub(crate) delay_us: u64,
}

pub(crate) const FAIR: Weather = Weather {
    cut: false,
    loss: 0,
    in_a_row: 0,
    delay_us: 0,
};

/// One end. Its clock starts anywhere and runs a little fast or slow, and its driver is late.
pub(crate) struct End {
    pub(crate) bfd: Bfd,
    address: IpAddr,
    peer: IpAddr,
    pub(crate) timers: Timers,
    epoch: u64,
    /// By how many millionths its clock is fast.
    drift: i64,
    pub(crate) weather: Weather,
    lost: u32,
    /// What has been told to its client, and when (in the world's time).
    pub(crate) events: Vec<(Time, Event)>,
    pub(crate) sent: u64,
}

impl End {
    fn local(&self, now: Time) -> Time {
        let drift = i64::try_from(now.0 / 1_000_000).unwrap() * self.drift;
        Time((self.epoch + now.0).checked_add_signed(drift).unwrap())
    }

    /// The world's time that this end's clock shows as `local`, or a little later.
    fn world(&self, local: Time, now: Time) -> Time {
        let ahead = local.since(self.local(now));
        // A clock that is fast gets there sooner; asked too early, it is asked again.
        let millionths = u128::try_from(1_000_000 + self.drift).unwrap();
        let nanos = ahead.as_nanos() * 1_000_000 / millionths;
        now + Duration::from_nanos(u64::try_from(nanos).unwrap() + 1)
    }

    pub(crate) fn config(&self) -> SessionConfig {
        let mut config = config(self.timers);
        config.path.local = Some(self.address);
        config.path.remote = self.peer;
        config
    }
}

/// The two ends, and what is on its way between them.
pub(crate) struct Pair {
    pub(crate) now: Time,
    pub(crate) ends: [End; 2],
    pub(crate) dice: Dice,
    /// Packets by arrival; the number keeps those apart that arrive together.
    flying: BTreeMap<(Time, u64), (usize, Vec<u8>)>,
    number: u64,
}

impl Pair {
    pub(crate) fn new(seed: u64, timers: [Timers; 2]) -> Self {
        let mut dice = Dice::new(seed);
        let mut end = |address, peer, timers| End {
            bfd: Bfd::new(dice.roll(u64::MAX)),
            address,
            peer,
            timers,
            epoch: dice.roll(1 << 40),
            // Up to 200 millionths either way: four times what a bad quartz does.
            drift: i64::try_from(dice.roll(401)).unwrap() - 200,
            weather: FAIR,
            lost: 0,
            events: Vec::new(),
            sent: 0,
        };
        let ends = [end(US, THEM, timers[0]), end(THEM, US, timers[1])];
        let mut pair = Self {
            now: Time(0),
            ends,
            dice,
            flying: BTreeMap::new(),
            number: 0,
        };
        pair.start(0);
        pair.start(1);
        pair
    }

    /// An end starts with nothing but its configuration, as after a crash.
    pub(crate) fn start(&mut self, at: usize) {
        let seed = self.dice.roll(u64::MAX);
        let end = &mut self.ends[at];
        end.bfd = Bfd::new(seed);
        let (now, config) = (end.local(self.now), end.config());
        end.bfd.add(now, ID, config).unwrap();
        self.take_out(at);
    }

    pub(crate) fn weather(&mut self, weather: Weather) {
        for end in &mut self.ends {
            end.weather = weather;
        }
    }

    /// Does something to one end's machine, at its time.
    pub(crate) fn with(&mut self, at: usize, work: impl FnOnce(&mut Bfd, Time)) {
        let now = self.ends[at].local(self.now);
        work(&mut self.ends[at].bfd, now);
        self.take_out(at);
    }

    pub(crate) fn view(&self, at: usize) -> SessionView {
        let end = &self.ends[at];
        end.bfd.view(end.local(self.now)).pop().unwrap()
    }

    pub(crate) fn states(&self) -> [State; 2] {
        [self.view(0).state, self.view(1).state]
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        // Nothing in here happens more often than every millisecond at both ends.
        let mut steps = 0u64;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            steps += 1;
            assert!(
                steps < 10_000 + 100 * u64::try_from(duration.as_millis()).unwrap(),
                "livelock"
            );
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Until a condition holds, at most so long.
    pub(crate) fn pass_until(&mut self, most: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + most;
        while !done(self) {
            match self.next().filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => return false,
            }
            self.step();
        }
        true
    }

    fn next(&self) -> Option<Time> {
        let timeouts = self.ends.iter().filter_map(|end| {
            let due = end.bfd.poll_timeout()?;
            Some(end.world(due, self.now))
        });
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        timeouts.chain(arrival).min()
    }

    /// What is due now: first what has arrived, then the clocks.
    fn step(&mut self) {
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, bytes) = entry.remove();
            let end = &mut self.ends[to];
            let datagram = Datagram {
                local: end.address,
                remote: end.peer,
                interface: 1,
                ttl: 255,
                multihop: false,
            };
            let now = end.local(self.now);
            // One for a discriminator of before a restart is discarded: as it should be.
            let _ = end.bfd.received(now, &datagram, &bytes);
            self.take_out(to);
        }
        for at in [0, 1] {
            let now = self.ends[at].local(self.now);
            self.ends[at].bfd.handle_timeout(now);
            self.take_out(at);
        }
    }

    fn take_out(&mut self, from: usize) {
        let end = &mut self.ends[from];
        while let Some(event) = end.bfd.poll_event() {
            end.events.push((self.now, event));
        }
        while let Some(transmit) = end.bfd.poll_transmit() {
            end.sent += 1;
            let weather = end.weather;
            let unlucky = self.dice.roll(100) < weather.loss && end.lost < weather.in_a_row;
            if weather.cut || unlucky {
                end.lost += 1;
                continue;
            }
            end.lost = 0;
            let delay = Duration::from_micros(self.dice.roll(weather.delay_us + 1));
            self.number += 1;
            let arrival = (self.now + delay, self.number);
            self.flying
                .insert(arrival, (1 - from, transmit.bytes.to_vec()));
        }
    }
}
