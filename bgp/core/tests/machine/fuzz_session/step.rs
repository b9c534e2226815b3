//! What may happen to a speaker, as steps; and steps as octets, which a fuzzer can change anywhere
//! and still has steps.

/// Neighbours: an external one, a reflection client, an internal one that is none, and a stranger
/// from a listen range.
pub(crate) const PEERS: usize = 4;

/// The stranger.
pub(crate) const STRANGER: usize = 3;

/// One thing that happens. Numbers that are too large for what they choose from begin again at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The peer connects.
    Dial { peer: u8 },
    /// The connection that we are opening to the peer comes through, or is refused.
    Answer { peer: u8, through: bool },
    /// The peer sends an OPEN, and from now on answers KEEPALIVEs.
    Open { peer: u8, variant: u8 },
    /// The peer sends any octets.
    Say { peer: u8, octets: Vec<u8> },
    /// The peer sends a message with a header that is right.
    Message { peer: u8, kind: u8, body: Vec<u8> },
    /// The peer announces prefixes by a well-formed UPDATE.
    Announce {
        peer: u8,
        first: u8,
        count: u8,
        shape: u8,
    },
    /// It takes them back.
    Retract { peer: u8, first: u8, count: u8 },
    /// It asks for a family again.
    Refresh { peer: u8, v6: bool },
    /// It ends its initial update.
    EndOfRib { peer: u8, v6: bool },
    /// Its connection breaks.
    Hang { peer: u8 },
    /// It reads nothing from now on; or so many octets, if it does not; or all again.
    Read { peer: u8, octets: u8 },
    /// Time passes.
    Wait { time: u8 },
    /// We originate routes.
    Originate { first: u8, count: u8, shape: u8 },
    /// We take them back.
    Withdraw { first: u8, count: u8, shape: u8 },
    /// The operator resets a session.
    Reset { peer: u8 },
    /// The operator changes the configuration.
    Reconfigure { peer: u8, what: u8 },
    /// The interface of a connection loses or gets its IPv6 address.
    Describe { peer: u8, v6: bool },
    /// Somebody looks: feeds, tables and what peers were told have to agree.
    Look,
}

/// How the machine and its driver are set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Setup {
    /// Which bounds the speaker has.
    pub(crate) limits: u8,
    /// How the driver does its work.
    pub(crate) driver: u8,
}

/// A run never has more steps: its time is bounded.
const MOST_STEPS: usize = 200;

pub(crate) fn decode(data: &[u8]) -> (Setup, Vec<Step>) {
    let mut reader = Reader(data);
    let setup = Setup {
        limits: reader.octet(),
        driver: reader.octet(),
    };
    let steps = std::iter::from_fn(|| reader.step()).take(MOST_STEPS);
    (setup, steps.collect())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn octet(&mut self) -> u8 {
        let Some((&octet, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        octet
    }

    fn is(&mut self) -> bool {
        self.octet() & 1 != 0
    }

    fn octets(&mut self) -> Vec<u8> {
        let len = usize::from(u16::from_be_bytes([self.octet(), self.octet()]));
        let (octets, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        octets.to_vec()
    }

    fn step(&mut self) -> Option<Step> {
        if self.0.is_empty() {
            return None;
        }
        let code = self.octet();
        Some(match code % 18 {
            0 => Step::Dial { peer: self.octet() },
            1 => Step::Answer {
                peer: self.octet(),
                through: self.is(),
            },
            2 => Step::Open {
                peer: self.octet(),
                variant: self.octet(),
            },
            3 => Step::Say {
                peer: self.octet(),
                octets: self.octets(),
            },
            4 => Step::Message {
                peer: self.octet(),
                kind: self.octet(),
                body: self.octets(),
            },
            5 => Step::Announce {
                peer: self.octet(),
                first: self.octet(),
                count: self.octet(),
                shape: self.octet(),
            },
            6 => Step::Retract {
                peer: self.octet(),
                first: self.octet(),
                count: self.octet(),
            },
            7 => Step::Refresh {
                peer: self.octet(),
                v6: self.is(),
            },
            8 => Step::EndOfRib {
                peer: self.octet(),
                v6: self.is(),
            },
            9 => Step::Hang { peer: self.octet() },
            10 => Step::Read {
                peer: self.octet(),
                octets: self.octet(),
            },
            11 => Step::Wait { time: self.octet() },
            12 => Step::Originate {
                first: self.octet(),
                count: self.octet(),
                shape: self.octet(),
            },
            13 => Step::Withdraw {
                first: self.octet(),
                count: self.octet(),
                shape: self.octet(),
            },
            14 => Step::Reset { peer: self.octet() },
            15 => Step::Reconfigure {
                peer: self.octet(),
                what: self.octet(),
            },
            16 => Step::Describe {
                peer: self.octet(),
                v6: self.is(),
            },
            _ => Step::Look,
        })
    }
}

/// The octets that [`decode`] reads as these steps.
pub(crate) fn encode(setup: Setup, steps: &[Step]) -> Vec<u8> {
    let mut out = vec![setup.limits, setup.driver];
    for step in steps {
        match step {
            Step::Dial { peer } => out.extend([0, *peer]),
            Step::Answer { peer, through } => out.extend([1, *peer, u8::from(*through)]),
            Step::Open { peer, variant } => out.extend([2, *peer, *variant]),
            Step::Say { peer, octets } => {
                out.extend([3, *peer]);
                put(&mut out, octets);
            }
            Step::Message { peer, kind, body } => {
                out.extend([4, *peer, *kind]);
                put(&mut out, body);
            }
            Step::Announce {
                peer,
                first,
                count,
                shape,
            } => out.extend([5, *peer, *first, *count, *shape]),
            Step::Retract { peer, first, count } => out.extend([6, *peer, *first, *count]),
            Step::Refresh { peer, v6 } => out.extend([7, *peer, u8::from(*v6)]),
            Step::EndOfRib { peer, v6 } => out.extend([8, *peer, u8::from(*v6)]),
            Step::Hang { peer } => out.extend([9, *peer]),
            Step::Read { peer, octets } => out.extend([10, *peer, *octets]),
            Step::Wait { time } => out.extend([11, *time]),
            Step::Originate {
                first,
                count,
                shape,
            } => out.extend([12, *first, *count, *shape]),
            Step::Withdraw {
                first,
                count,
                shape,
            } => out.extend([13, *first, *count, *shape]),
            Step::Reset { peer } => out.extend([14, *peer]),
            Step::Reconfigure { peer, what } => out.extend([15, *peer, *what]),
            Step::Describe { peer, v6 } => out.extend([16, *peer, u8::from(*v6)]),
            Step::Look => out.push(17),
        }
    }
    out
}

fn put(out: &mut Vec<u8>, octets: &[u8]) {
    let len = u16::try_from(octets.len()).expect("steps are short");
    out.extend(len.to_be_bytes());
    out.extend(octets);
}
