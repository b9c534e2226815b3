//! Lives that go far: what a fuzzer begins with, and what it would take long to find.

use super::step::{Setup, Step};

const EXTERNAL: u8 = 0;
const CLIENT: u8 = 1;
const INTERNAL: u8 = 2;
const GUEST: u8 = 3;

/// A session that comes up.
fn up(peer: u8) -> [Step; 2] {
    [Step::Dial { peer }, Step::Open { peer, variant: 0 }]
}

fn announce(peer: u8, first: u8, count: u8, shape: u8) -> Step {
    Step::Announce {
        peer,
        first,
        count,
        shape,
    }
}

/// All of them, by name.
pub(crate) fn all() -> Vec<(&'static str, Setup, Vec<Step>)> {
    let plain = Setup::default();
    let small = Setup {
        limits: 1 + 3 + 9 + 27,
        driver: 5,
    };
    let everybody = || [EXTERNAL, CLIENT, INTERNAL, GUEST].into_iter().flat_map(up);
    let mut lives = vec![
        ("everybody", plain, everybody().collect()),
        ("dialled", plain, {
            let dialled = |peer| {
                let through = peer != INTERNAL;
                [
                    Step::Answer { peer, through },
                    Step::Open { peer, variant: 0 },
                ]
            };
            [EXTERNAL, CLIENT, INTERNAL]
                .into_iter()
                .flat_map(dialled)
                .chain([Step::Wait { time: 6 }, Step::Look])
                .collect()
        }),
        ("collision", plain, {
            let both = |variant| {
                [
                    Step::Dial { peer: EXTERNAL },
                    Step::Answer {
                        peer: EXTERNAL,
                        through: true,
                    },
                    Step::Open {
                        peer: EXTERNAL,
                        variant,
                    },
                    Step::Open {
                        peer: EXTERNAL,
                        variant,
                    },
                    Step::Wait { time: 7 },
                ]
            };
            both(0).into_iter().chain(both(0x80)).collect()
        }),
        ("refused-opens", plain, {
            let with = |variant| {
                [
                    Step::Dial { peer: EXTERNAL },
                    Step::Open {
                        peer: EXTERNAL,
                        variant,
                    },
                    Step::Wait { time: 7 },
                ]
            };
            [0x40, 0x18, 0x01, 0x27]
                .into_iter()
                .flat_map(with)
                .collect()
        }),
    ];
    let mut routes: Vec<Step> = everybody().collect();
    for (peer, shape) in [
        (EXTERNAL, 0x02),
        (CLIENT, 0x21),
        (INTERNAL, 0x40),
        (GUEST, 0xC3),
    ] {
        routes.push(announce(peer, 3, 9, shape));
        routes.push(announce(peer, 7, 2, shape ^ 1));
        routes.push(Step::EndOfRib {
            peer,
            v6: peer & 1 != 0,
        });
        routes.push(Step::Look);
    }
    routes.extend([
        Step::Originate {
            first: 5,
            count: 20,
            shape: 0x75,
        },
        Step::Retract {
            peer: CLIENT,
            first: 0,
            count: 6,
        },
        Step::Look,
        Step::Hang { peer: EXTERNAL },
        Step::Refresh {
            peer: CLIENT,
            v6: true,
        },
        Step::Look,
    ]);
    let mut policies = routes.clone();
    for what in [
        0x12, 0x23, 0x04, 0x05, 0x0A, 0x0B, 0x0D, 0x1E, 0x09, 0x08, 0x02, 0x03,
    ] {
        let peer = what & 3;
        policies.extend([Step::Reconfigure { peer, what }, Step::Look]);
    }
    let mut settings = routes.clone();
    for what in [0x00, 0x01, 0x16, 0x17, 0x1C, 0x0F, 0x0F, 0x00] {
        let peer = what & 1;
        settings.push(Step::Reconfigure { peer, what });
        settings.extend(up(peer));
        settings.extend([announce(peer, 1, 3, 0), Step::Look]);
    }
    let mut slow: Vec<Step> = everybody().collect();
    for peer in [CLIENT, INTERNAL] {
        slow.push(Step::Read { peer, octets: 0 });
    }
    for round in 0..6 {
        slow.extend([
            announce(EXTERNAL, round * 9, 31, round << 1),
            Step::Read {
                peer: CLIENT,
                octets: 20 + round,
            },
            Step::Retract {
                peer: EXTERNAL,
                first: round * 5,
                count: 3,
            },
            Step::Wait { time: round },
        ]);
    }
    let mut stuck = slow.clone();
    slow.extend([CLIENT, INTERNAL].map(|peer| Step::Read { peer, octets: 255 }));
    slow.push(Step::Look);
    stuck.extend([Step::Wait { time: 10 }, Step::Wait { time: 11 }, Step::Look]);
    // Sent away in the middle of a message.
    let mut torn: Vec<Step> = everybody().collect();
    for peer in [CLIENT, INTERNAL] {
        torn.push(Step::Read { peer, octets: 0 });
        torn.push(announce(EXTERNAL, 0, 31, 0x08));
        torn.push(Step::Refresh { peer, v6: false });
        torn.push(Step::Read { peer, octets: 5 });
        torn.push(match peer {
            CLIENT => Step::Reset { peer },
            _ => Step::Say {
                peer,
                octets: vec![0; 19],
            },
        });
    }
    let mut large: Vec<Step> = everybody().collect();
    for shape in [0x18, 0x19, 0x1E, 0x1F] {
        large.extend([
            announce(CLIENT, shape, 0, shape),
            announce(EXTERNAL, 40, 1, shape),
        ]);
    }
    large.push(Step::Wait { time: 1 });
    for (name, steps) in [
        ("routes", routes),
        ("policies", policies),
        ("settings", settings),
        ("slow", slow),
        ("stuck", stuck),
        ("torn", torn),
        ("large", large),
    ] {
        lives.push((name, plain, steps.clone()));
        lives.push((name, small, steps));
    }
    lives
}
