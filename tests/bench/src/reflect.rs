//! Many peers, each with a few routes: everybody must end with everybody else's.

use std::{
    fmt,
    net::TcpListener,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use crate::{
    check::{Expected, Fault, Goal, Passage, Receiver},
    daemon::{Contender, Kind, Relation, Role},
    encode::{Attribute, attr},
    error::Error,
    fabric::{Fabric, ROUTER_ID, daemon_socket, peer_address, peer_id},
    lifecycle::{connect, enough},
    measure::{Measurement, Metric},
    prefix::{Family, Prefix},
    serve::{Order, last, nonblocking, send_all, serve, serve_when},
    session::Session,
    table::{Group, Table},
};

const AS: u32 = 65000;
/// In front of the routes' large communities: no speaker on the bench knows a meaning of these.
const COMMUNITY_AS: u32 = 64_496;

/// Peers times routes each, written `100x1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) peers: usize,
    pub(crate) routes: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = || format!("`{text}` is not PEERSxROUTES, such as 100x1000");
        let (peers, routes) = text.split_once('x').ok_or_else(wanted)?;
        let shape = Self {
            peers: peers.parse().map_err(|_| wanted())?,
            routes: routes.parse().map_err(|_| wanted())?,
        };
        match shape {
            Self {
                peers: 2..=1000,
                routes: 1..=4000,
            } => Ok(shape),
            Self { .. } => Err(format!(
                "`{text}`: 2 to 1000 peers with 1 to 4000 routes each"
            )),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} peers x {} routes", self.peers, self.routes)
    }
}

/// What every peer announces and should get.
#[derive(Debug)]
pub(crate) struct Reflection {
    family: Family,
    shape: Shape,
    announcements: Vec<Vec<u8>>,
    withdrawal: usize,
    over_wire: Expected,
    reflected: Expected,
}

impl Reflection {
    /// Prepares everybody's routes.
    pub(crate) fn new(family: Family, shape: Shape) -> Result<Self, Error> {
        let mut announcements = Vec::with_capacity(shape.peers);
        let mut withdrawal = 0;
        let (mut over_wire, mut reflected) = (Expected::default(), Expected::default());
        for peer in 0..shape.peers {
            let table = routes_of(family, peer, shape.routes);
            let hop = peer_address(family, peer);
            let through = Passage::Reflector {
                originator: peer_id(peer),
                cluster: ROUTER_ID,
            };
            over_wire.add(&table, Passage::Wire, hop, &[]);
            reflected.add(&table, through, hop, &[]);
            withdrawal = table.withdrawal(family).len();
            let long = |_| Error::Usage("a peer's attributes fill a message".to_owned());
            announcements.push(table.announcement(family, hop).map_err(long)?);
        }
        Ok(Self {
            family,
            shape,
            announcements,
            withdrawal,
            over_wire,
            reflected,
        })
    }

    /// Bytes one peer may be sent.
    fn room(&self) -> usize {
        self.announcements.iter().map(Vec::len).sum::<usize>() * 5 / 4
    }

    fn own(&self, peer: usize) -> std::ops::Range<u32> {
        (peer * self.shape.routes) as u32..((peer + 1) * self.shape.routes) as u32
    }
}

/// A host's routes: host routes that share their attributes, but for every tenth, which carries
/// a large community of its own as a published endpoint would.
fn routes_of(family: Family, peer: usize, routes: usize) -> Table {
    let shared = vec![
        Attribute::new(attr::WELL_KNOWN, attr::ORIGIN, vec![0]),
        Attribute::new(attr::WELL_KNOWN, attr::AS_PATH, Vec::new()),
        // FRR gives a reflected route without MED one of 0; so that all can be held to "unchanged",
        // every route has it.
        Attribute::new(attr::OPTIONAL, attr::MED, vec![0; 4]),
        Attribute::new(
            attr::WELL_KNOWN,
            attr::LOCAL_PREF,
            100u32.to_be_bytes().to_vec(),
        ),
    ];
    let mut plain = Group {
        attributes: shared.clone(),
        prefixes: Vec::new(),
    };
    let mut groups = Vec::new();
    for route in 0..routes {
        let number = (peer as u32) << 12 | route as u32;
        let prefix = match family {
            // 100.64.0.0/10, a sixteenth of a /16 for each peer.
            Family::Ipv4 => Prefix::v4((0x6440_0000 | number).into(), 32),
            Family::Ipv6 => Prefix::v6((0xfd42_u128 << 112 | u128::from(number)).into(), 128),
        };
        if route % 10 == 9 {
            let community = [COMMUNITY_AS, peer as u32, route as u32]
                .map(u32::to_be_bytes)
                .concat();
            let mut attributes = shared.clone();
            let code = attr::LARGE_COMMUNITIES;
            attributes.push(Attribute::new(attr::OPTIONAL_TRANSITIVE, code, community));
            groups.push(Group {
                attributes,
                prefixes: vec![prefix],
            });
        } else {
            plain.prefixes.push(prefix);
        }
    }
    // Routes are numbered in table order; the order itself does not matter.
    groups.insert(0, plain);
    Table { groups }
}

/// Runs one daemon through the reflection and one peer's death.
pub(crate) fn run(
    fabric: &Fabric,
    contender: &Contender,
    reflection: &Reflection,
    out: &mut Vec<Measurement>,
) -> Result<(), Error> {
    if contender.kind == Kind::Wire {
        return wire(fabric, reflection, out);
    }
    let Shape { peers, routes } = reflection.shape;
    let role = Role {
        family: reflection.family,
        asn: AS,
        hold_time: contender.kind.hold_time(),
        peers,
        silent: 0,
        relation: Relation::Client,
        install: false,
        tracked: false,
        send_hold: None,
    };
    let mut process = contender.start(fabric, &role)?;
    let mut sessions = Vec::with_capacity(peers);
    for peer in 0..peers {
        sessions.push(connect(&mut process, &role, peer)?);
    }
    nonblocking(&sessions)?;
    let step = "reflection";
    let mut note = |metric, value| out.push(Measurement { metric, value });
    let mut measure = || -> Result<(), Error> {
        // End-of-RIB of every fresh session.
        let quiet = Order {
            outgoing: &[],
            senders: 0,
            room: 0,
            until: enough(0, 0),
        };
        serve(&mut sessions, quiet).map_err(Error::fault("opening the sessions"))?;
        let (memory, cpu) = (process.memory(), process.cpu());
        let outgoing: Vec<&[u8]> = reflection.announcements.iter().map(Vec::as_slice).collect();
        let until = enough((peers - 1) * routes, 0);
        let everything = Order {
            outgoing: &outgoing,
            senders: 0,
            room: reflection.room(),
            until,
        };
        let (started, recordings) = serve(&mut sessions, everything).map_err(Error::fault(step))?;
        let cpu = process.cpu() - cpu;
        let memory = process.memory().saturating_sub(memory);
        let mut receivers: Vec<_> = (0..peers)
            .map(|peer| Receiver::with_own(&reflection.reflected, reflection.own(peer)))
            .collect();
        let done = last(&mut receivers, &recordings, &Goal::Full).map_err(Error::fault(step))?;
        note(Metric::Reflect, done.duration_since(started).as_secs_f64());
        note(Metric::ReflectCpu, cpu.as_secs_f64());
        note(Metric::ReflectMemory, memory as f64 / 1e6);
        note(
            Metric::Echoed,
            receivers.iter().map(Receiver::echoed).sum::<usize>() as f64,
        );
        drop(recordings);

        let step = "one peer gone";
        let dying = sessions.remove(0);
        receivers.remove(0);
        let room = reflection.withdrawal * 2;
        let news = Order {
            outgoing: &[],
            senders: 0,
            room,
            until: enough(0, routes),
        };
        let mut died = Instant::now();
        let (_, recordings) = serve_when(&mut sessions, news, || {
            died = Instant::now();
            drop(dying);
        })
        .map_err(Error::fault(step))?;
        let goal = Goal::Without(reflection.own(0));
        let known = last(&mut receivers, &recordings, &goal).map_err(Error::fault(step))?;
        note(
            Metric::NodeDown,
            known.duration_since(died).as_secs_f64() * 1e3,
        );
        Ok(())
    };
    let done = measure();
    done.map_err(|error| process.explain(error))
}

/// The bench alone: everybody is sent what a perfect reflector would send.
fn wire(fabric: &Fabric, reflection: &Reflection, out: &mut Vec<Measurement>) -> Result<(), Error> {
    let listener = fabric
        .in_daemons(|| TcpListener::bind(daemon_socket(reflection.family)))?
        .map_err(Error::io("listen in the daemon's namespace"))?;
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for peer in 0..reflection.shape.peers {
        let pair = Session::pair(&listener, reflection.family, peer);
        let (one, other) = pair.map_err(Error::io("connect generator and sink"))?;
        near.push(one);
        far.push(other);
    }
    nonblocking(&near)?;
    nonblocking(&far)?;
    let Shape { peers, routes } = reflection.shape;
    // One copy for all: each peer gets what lies before and behind its own part.
    let all = reflection.announcements.concat();
    let ends: Vec<usize> = reflection
        .announcements
        .iter()
        .scan(0, |end, stream| {
            *end += stream.len();
            Some(*end)
        })
        .collect();
    let start = |peer: usize| peer.checked_sub(1).map_or(0, |before| ends[before]);
    let outgoing: Vec<[&[u8]; 2]> = (0..peers)
        .map(|peer| [&all[..start(peer)], &all[ends[peer]..]])
        .collect();
    let ready = AtomicBool::new(false);
    let step = "wire";
    let (started, recordings) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !ready.load(Ordering::Acquire) {
                thread::yield_now();
            }
            let started = Instant::now();
            send_all(&mut far, &outgoing).map(|()| started)
        });
        let until = enough((peers - 1) * routes, 0);
        let all = Order {
            outgoing: &[],
            senders: 0,
            room: reflection.room(),
            until,
        };
        let recordings = serve_when(&mut near, all, || {
            ready.store(true, Ordering::Release);
        });
        // A sender that waits for a reader that failed would wait forever: its sockets go.
        if recordings.is_err() {
            ready.store(true, Ordering::Release);
            near.clear();
        }
        let sent = sender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let started = sent.map_err(Fault::Session)?;
        Ok((started, recordings?.1))
    })
    .map_err(Error::fault(step))?;
    let mut receivers: Vec<_> = (0..peers)
        .map(|peer| Receiver::with_own(&reflection.over_wire, reflection.own(peer)))
        .collect();
    let done = last(&mut receivers, &recordings, &Goal::Full).map_err(Error::fault(step))?;
    let value = done.duration_since(started).as_secs_f64();
    out.push(Measurement {
        metric: Metric::Reflect,
        value,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_read_as_they_are_written_and_nonsense_is_refused() {
        assert_eq!(
            "100x1000".parse(),
            Ok(Shape {
                peers: 100,
                routes: 1000
            })
        );
        for wrong in ["", "100", "1x5", "5x0", "x", "10x5000", "ax1", "2000x1"] {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_peer_has_routes_of_its_own_and_one_in_ten_a_community() {
        let mut seen = std::collections::HashSet::new();
        for peer in 0..5 {
            let table = routes_of(Family::Ipv4, peer, 100);
            assert_eq!((table.routes(), table.groups.len()), (100, 11));
            for prefix in table.prefixes() {
                assert!(seen.insert(prefix), "{prefix} twice");
            }
        }
    }
}
