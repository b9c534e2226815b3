//! A daemon misses what somebody did to its routes: when has it put them back?
//!
//! It is stopped; a storm of foreign routes fills the buffers of the sockets it listens with, and
//! among what it misses then some of its own routes are deleted. Once it goes on it can only find
//! out by listing. The yardstick lists and puts them back.

use std::{
    collections::HashSet,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use crate::{
    check::Fault,
    daemon::Kind,
    error::Error,
    fib::{Fib, Goal, Waits},
    netlink::{self, Netlink, Route, Way, additions, restorations, route_news},
    overrun::{all_lost, drops},
    prefix::{ByPrefix, Family, Prefix},
    process::Process,
    stopped::Stopped,
};

/// Foreign routes are added by so many until every buffer is full ...
const GUST: u32 = 5000;
/// ... but not more than so many: who has room for these hears everything.
const STORM: u32 = 500_000;
/// Most routes that are deleted.
const DELETED: usize = 1000;
/// A daemon that must notice has lost the routes for good when it has put back none by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether it must notice. The others scan the kernel's routes now and then, or never.
fn must_notice(kind: Kind) -> bool {
    match kind {
        Kind::Wire | Kind::Wayleaved => true,
        Kind::Bird | Kind::Frr | Kind::Gobgp | Kind::Openbgpd => false,
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Everything was back after so long.
    Restored(Duration),
    /// It was not, and need not be.
    Remark(String),
}

/// For a daemon all of whose routes are in the kernel, as they are again afterwards.
pub(super) fn run(
    fib: &mut Fib<'_>,
    kind: Kind,
    process: &Process,
    socket: &Netlink,
    waits: Waits,
) -> Result<Outcome, Error> {
    let patience = if must_notice(kind) {
        PATIENCE
    } else {
        waits.unnoticed
    };
    let step = "news lost";
    let deleted = spread(&fib.listed().map_err(Error::fault(step))?, DELETED);
    let pids = process.everybody();
    let stopped = Stopped::all_of(pids.clone()).map_err(Error::io("stop the daemon"))?;
    overrun(fib.family(), &pids, &deleted, socket).map_err(Error::fault(step))?;
    let never = AtomicBool::new(false);
    (fib.until(Goal::Lacking(deleted.len()), &never)).map_err(Error::fault(step))?;
    let heard = fib.heard();
    let resumed = stopped
        .resume()
        .map_err(Error::io("let the daemon go on"))?;
    let reached = fib.until_within(Goal::Full, patience, &never);
    match reached {
        Ok(at) => {
            let (written, missing) = (fib.heard() - heard, deleted.len());
            let check = match written == missing {
                true => fib.verify(Goal::Full),
                false => Err(Fault::Rewritten { written, missing }),
            };
            check.map_err(Error::fault(step))?;
            Ok(Outcome::Restored(at.duration_since(resumed)))
        }
        Err(_) if !must_notice(kind) && fib.heard() == heard => {
            let mut restore = || {
                let applied = socket.apply(&restorations(&deleted));
                applied.map_err(Fault::Watch)?;
                fib.until(Goal::Full, &never)
            };
            restore().map_err(Error::fault(step))?;
            let seconds = patience.as_secs_f64();
            Ok(Outcome::Remark(format!(
                "had put back none of its routes {seconds} s after their news were lost"
            )))
        }
        Err(fault) => Err(Error::fault(step)(fault)),
    }
}

/// Deletes routes while every socket of these processes that listens for routes drops the news.
fn overrun(family: Family, pids: &[u32], deleted: &[Route], socket: &Netlink) -> Result<(), Fault> {
    let drops = || drops(pids, route_news(family));
    let before = drops();
    let mut foreign = 0;
    while !all_lost(&before, &drops(), 1) {
        if foreign >= STORM {
            return Err(Fault::Overheard { foreign });
        }
        let [gust, _] = netlink::storm(family, foreign..foreign + GUST);
        socket.apply(&gust).map_err(Fault::Watch)?;
        foreign += GUST;
    }
    // A socket that has overrun takes nothing until it has been read empty.
    let full = drops();
    let removal = netlink::sweep(deleted);
    socket.apply(&removal).map_err(Fault::Watch)?;
    if !all_lost(&full, &drops(), deleted.len() as u64) {
        return Err(Fault::Overheard { foreign });
    }
    let [_, calm] = netlink::storm(family, 0..foreign);
    socket.apply(&calm).map_err(Fault::Watch)
}

/// The bench's own routes, by the bench itself: a listing, and what is missing in it.
pub(super) fn bare(
    fib: &mut Fib<'_>,
    socket: &Netlink,
    wanted: &[Prefix],
    way: Way,
) -> Result<Duration, Fault> {
    let never = AtomicBool::new(false);
    let deleted = spread(&fib.listed()?, DELETED);
    let removal = netlink::sweep(&deleted);
    socket.apply(&removal).map_err(Fault::Watch)?;
    fib.until(Goal::Lacking(deleted.len()), &never)?;
    let begun = Instant::now();
    let listed = fib.listed()?;
    let there: HashSet<_, ByPrefix> = listed.iter().map(|route| route.key.prefix).collect();
    let missing = wanted.iter().filter(|prefix| !there.contains(prefix));
    let missing: Vec<_> = missing.copied().collect();
    socket
        .apply(&additions(&missing, way))
        .map_err(Fault::Watch)?;
    let at = fib.until(Goal::Full, &never)?;
    fib.verify(Goal::Full)?;
    Ok(at.duration_since(begun))
}

/// So many of them, or half, from all over the table.
fn spread(routes: &[Route], most: usize) -> Vec<Route> {
    let count = most.min(routes.len() / 2);
    let chosen = (0..count).filter_map(|n| routes.get(n * routes.len() / count));
    chosen.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{News, tests::added};

    #[test]
    fn what_is_deleted_comes_from_all_over_the_table_and_is_half_of_a_small_one() {
        let route = |n: u32| {
            let prefix = Prefix::new(Family::Ipv4, u128::from(0x0b00_0000 + n) << 96, 32);
            match added(prefix, [10, 99, 0, 2].into()) {
                News::Added(route) | News::Removed(route) => route,
            }
        };
        let routes: Vec<_> = (0..3000).map(route).collect();
        let chosen = spread(&routes, 1000);
        assert_eq!(chosen.len(), 1000);
        assert_eq!((chosen[0], chosen[999]), (routes[0], routes[2997]));
        assert_eq!(spread(&routes[..9], 1000).len(), 4);
        assert!(spread(&routes[..1], 1000).is_empty());
    }
}
