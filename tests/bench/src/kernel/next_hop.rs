//! The network behind a next hop moves to another interface: when do all routes lead there?
//!
//! Half as many routes as the section has, with a next hop that is not the peer. An interior
//! network makes such changes all the time, and a host does when an uplink comes back. The
//! yardstick replaces each route, and once more a single nexthop object that all of them name.

use std::{
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use crate::{
    check::Fault,
    daemon::{Contender, Kind, Relation, Role},
    error::Error,
    fabric::Fabric,
    fib::{Goal, Moved, Waits, Wanted},
    kernel::{
        detour::{self, Detour},
        exchange, kernel, open, settle, watch,
    },
    lifecycle::{SPEAKER_AS, connect},
    measure::{Measurement, Metric},
    netlink::{Batch, Way, additions, nexthop, replacements},
    prefix::Family,
    table::Table,
};

/// A daemon that has not moved a single route by then will not.
const PATIENCE: Duration = Duration::from_secs(10);
/// The yardstick's nexthop object.
const OBJECT: u32 = 1;

/// A table whose next hop moves.
#[derive(Debug)]
pub(super) struct Load {
    family: Family,
    announcement: Vec<u8>,
    wanted: Wanted,
    waits: Waits,
}

impl Load {
    pub(super) fn new(family: Family, table: &Table, waits: Waits) -> Result<Self, Error> {
        let hop = detour::next_hop(family);
        let long = |_| Error::Usage("an attribute set of the table fills a message".to_owned());
        Ok(Self {
            family,
            announcement: table.announcement(family, hop).map_err(long)?,
            wanted: Wanted::new(family, table.prefixes(), hop),
            waits,
        })
    }
}

/// Runs one contender once; a remark when it does not follow its next hop.
pub(super) fn run(
    fabric: &Fabric,
    contender: &Contender,
    load: &Load,
    out: &mut Vec<Measurement>,
) -> Result<Option<String>, Error> {
    if contender.kind == Kind::Wire {
        let replaced = bare(fabric, load, each)?;
        note(replaced, out);
        let (begun, moved) = bare(fabric, load, by_object)?;
        let value = moved.at.duration_since(begun).as_secs_f64() * 1e3;
        let metric = Metric::NextHopObject;
        out.push(Measurement { metric, value });
        return Ok(None);
    }
    let detour = Detour::build(fabric, load.family)?;
    let near = load.wanted.through(detour.near);
    let mut fib = watch(fabric, &near, load.waits)?;
    let role = Role {
        family: load.family,
        asn: SPEAKER_AS,
        hold_time: contender.kind.hold_time(),
        peers: 1,
        silent: 0,
        relation: Relation::External,
        install: true,
        tracked: true,
        send_hold: None,
    };
    let mut process = contender.start(fabric, &role)?;
    let mut session = connect(&mut process, &role, 0)?;
    let measure = || {
        settle(&mut session)?;
        let step = "into the kernel by a next hop that is not the peer";
        exchange(&session, step, &load.announcement, |broken| {
            fib.until(Goal::Full, broken)?;
            fib.verify(Goal::Full)
        })?;
        drop(fib);
        let step = "next hop moves";
        let far = load.wanted.through(detour.far);
        let switch = [detour.switch(load.family)];
        let mut fib = open(fabric, &far, load.waits)?;
        let moving = fib.moving().map_err(Error::fault(step))?;
        let socket = kernel(fabric)?;
        exchange(&session, step, &[], |broken| {
            let mut begun = Instant::now();
            let moved = fib.until_moved(moving, PATIENCE, broken, || {
                begun = Instant::now();
                socket.apply(&switch)
            })?;
            Ok(moved.map(|moved| (begun, moved)))
        })
    };
    let (_, moved) = measure().map_err(|error: Error| process.explain(error))?;
    match moved {
        Some(moved) => note(moved, out),
        None => {
            let seconds = PATIENCE.as_secs();
            let said = format!("had not followed a next hop that moved after {seconds} s");
            return Ok(Some(said));
        }
    }
    Ok(None)
}

fn note((begun, moved): (Instant, Moved), out: &mut Vec<Measurement>) {
    for (metric, at) in [
        (Metric::NextHopMoved, Some(moved.at)),
        (Metric::NextHopTold, moved.told),
    ] {
        let value = at.map(|at| at.duration_since(begun).as_secs_f64() * 1e3);
        out.extend(value.map(|value| Measurement { metric, value }));
    }
}

/// The messages that make routes, and those that make them lead to the second interface.
type Messages = [Vec<Batch>; 2];

/// A replacement of each route.
fn each(load: &Load, [near, far]: [u32; 2]) -> Messages {
    let Wanted {
        prefixes, gateway, ..
    } = &load.wanted;
    let via = |interface| Way::Via {
        gateway: *gateway,
        interface,
    };
    [
        additions(prefixes, via(near)),
        replacements(prefixes, via(far)),
    ]
}

/// A single object that all routes name.
fn by_object(load: &Load, [near, far]: [u32; 2]) -> Messages {
    let Wanted {
        prefixes, gateway, ..
    } = &load.wanted;
    let object = |interface| nexthop::setting(OBJECT, *gateway, interface);
    let mut make = vec![object(near)];
    make.extend(additions(prefixes, Way::Object(OBJECT)));
    [make, vec![object(far)]]
}

/// The kernel alone, under the same watch.
fn bare(
    fabric: &Fabric,
    load: &Load,
    messages: impl Fn(&Load, [u32; 2]) -> Messages,
) -> Result<(Instant, Moved), Error> {
    let detour = Detour::build(fabric, load.family)?;
    let interfaces = [detour.near, detour.far];
    let [near, far] = interfaces.map(|interface| load.wanted.through(interface));
    let [make, lead] = messages(load, interfaces);
    let socket = kernel(fabric)?;
    let mut fib = watch(fabric, &near, load.waits)?;
    let mut work = || -> Result<(), Fault> {
        socket.apply(&make).map_err(Fault::Watch)?;
        fib.until(Goal::Full, &AtomicBool::new(false))?;
        fib.verify(Goal::Full)
    };
    work().map_err(Error::fault("the bare kernel"))?;
    drop(fib);
    let mut fib = open(fabric, &far, load.waits)?;
    let fault = Error::fault("the bare kernel, next hop moves");
    let mut work = || -> Result<_, Fault> {
        let moving = fib.moving()?;
        let switch = [detour.switch(load.family)];
        let (mut begun, never) = (Instant::now(), AtomicBool::new(false));
        thread::scope(|scope| {
            let mut worker = None;
            let moved = fib.until_moved(moving, PATIENCE, &never, || {
                begun = Instant::now();
                worker = Some(scope.spawn(|| {
                    socket.apply(&switch)?;
                    socket.apply(&lead)
                }));
                Ok(())
            });
            if let Some(worker) = worker {
                let joined = worker.join();
                let applied = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                applied.map_err(Fault::Watch)?;
            }
            let lost = Fault::Lost {
                seconds: PATIENCE.as_secs(),
            };
            Ok((begun, moved?.ok_or(lost)?))
        })
    };
    work().map_err(fault)
}
