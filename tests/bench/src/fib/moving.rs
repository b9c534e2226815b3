//! Routes that stay and lead elsewhere: when did the last of them?
//!
//! A daemon may replace each route, and then the kernel's news of the last one is the answer. Or
//! it replaces a nexthop object that they name: from that moment all of them lead elsewhere, and
//! a listing made then says so. The news of the routes that follow are the kernel repeating
//! itself, a tenth of a second long for 100,000 of them, for the sake of listeners that know no
//! objects (sysctl `nexthop_compat_mode`). With that switched off there are none at all.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    check::Fault,
    fib::{
        Fib, Goal, STALLED, TICK, Wanted,
        sentries::{self, Seen},
    },
    netlink::{self, News, nexthop::Object},
};

/// How often the routes are listed when there is no news.
const LOOK: Duration = Duration::from_millis(500);

/// A move that is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    /// When all routes led to where they should.
    pub(crate) at: Instant,
    /// When the kernel had said so of the last of them, where it did.
    pub(crate) told: Option<Instant>,
}

/// A move as the news tell it.
#[derive(Debug)]
pub(crate) struct Moving<'a> {
    wanted: &'a Wanted,
    routes: Vec<Route>,
    left: usize,
    /// The last change that was heard of: of a route by itself, or of an object.
    changed: Option<Instant>,
    told: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Route {
    there: bool,
    nexthop: Option<u32>,
}

impl<'a> Fib<'a> {
    /// What there is before anything moves.
    ///
    /// # Errors
    /// When a wanted route is not there at all, or leads already where it should.
    pub(crate) fn moving(&self) -> Result<Moving<'a>, Fault> {
        let wanted = self.wanted;
        let mut before = vec![None; wanted.prefixes.len()];
        let mut extra = Vec::new();
        for route in self.listed()? {
            match wanted.number(route.key.prefix) {
                Some(number) if !wanted.right(&route) => before[number] = Some(route.nexthop),
                _ => extra.push(route.key.prefix),
            }
        }
        let absent = (wanted.prefixes.iter().zip(&before)).filter(|(_, route)| route.is_none());
        let missing: Vec<_> = absent.map(|(prefix, _)| *prefix).collect();
        if missing.is_empty() && extra.is_empty() {
            return Ok(Moving::from(wanted, before.into_iter().flatten()));
        }
        let changed = Vec::new();
        Err(Fault::Routes {
            missing,
            extra,
            changed,
        })
    }

    /// Calls `move_it`, and waits until everything has moved and nothing changes any more; `None`
    /// when nothing at all has moved within `patience`.
    ///
    /// # Errors
    /// With the routes that do not lead where they should once nothing comes any more.
    pub(crate) fn until_moved(
        &mut self,
        moving: Moving<'_>,
        patience: Duration,
        broken: &AtomicBool,
        move_it: impl FnOnce() -> io::Result<()>,
    ) -> Result<Option<Moved>, Fault> {
        // What was said of objects before is not part of it.
        while (self.objects.take(&mut self.buffer))
            .map_err(Fault::Watch)?
            .is_some()
        {}
        let objects = self.objects.share().map_err(Fault::Watch)?;
        let moved = sentries::posted(&objects, |seen| {
            move_it().map_err(Fault::Watch)?;
            self.until_all_moved(moving, seen, patience, broken)
        });
        moved.map_err(Fault::Watch)?
    }

    fn until_all_moved(
        &mut self,
        mut moving: Moving<'_>,
        seen: &Seen,
        patience: Duration,
        broken: &AtomicBool,
    ) -> Result<Option<Moved>, Fault> {
        let begun = Instant::now();
        let (mut active, mut looked) = (begun, begun);
        loop {
            while let Some(len) = self.monitor.take(&mut self.buffer).map_err(Fault::Watch)? {
                let now = Instant::now();
                for news in netlink::news(&self.buffer[..len]) {
                    moving.route(news, now);
                    active = now;
                }
            }
            for (object, at) in seen.take() {
                moving.object(object, at);
            }
            let idle = active.elapsed();
            if moving.left == 0 && idle >= self.quiet {
                self.verify(Goal::Full)?;
                return Ok(Some(moving.done(Instant::now())));
            }
            if moving.left > 0 && idle >= self.quiet && looked.elapsed() >= LOOK {
                // Perhaps there is no news of it.
                let Err(fault) = self.verify(Goal::Full) else {
                    return Ok(Some(moving.done(Instant::now())));
                };
                looked = Instant::now();
                if moving.changed.is_none() && begun.elapsed() >= patience {
                    return Ok(None);
                }
                if idle >= STALLED || broken.load(Ordering::Relaxed) {
                    return Err(fault);
                }
            }
            thread::sleep(TICK);
        }
    }
}

impl<'a> Moving<'a> {
    /// Routes as many as are wanted, each with the object it names.
    fn from(wanted: &'a Wanted, objects: impl Iterator<Item = Option<u32>>) -> Self {
        let there = false;
        let routes: Vec<_> = objects.map(|nexthop| Route { there, nexthop }).collect();
        Self {
            wanted,
            left: routes.len(),
            routes,
            changed: None,
            told: None,
        }
    }

    fn route(&mut self, news: News, now: Instant) {
        let (News::Added(route) | News::Removed(route)) = news;
        let Some(number) = self.wanted.number(route.key.prefix) else {
            return;
        };
        let there = matches!(news, News::Added(_)) && self.wanted.right(&route);
        let before = self.routes[number];
        // It names the same object as before: that has changed and not the route.
        let repeated = there && route.nexthop.is_some() && route.nexthop == before.nexthop;
        if !repeated {
            self.changed = self.changed.max(Some(now));
        }
        let nexthop = route.nexthop;
        self.routes[number] = Route { there, nexthop };
        self.left += usize::from(before.there);
        self.left -= usize::from(there);
        self.told = (self.left == 0).then(|| self.told.unwrap_or(now));
    }

    fn object(&mut self, object: Object, at: Instant) {
        if object.interface.is_some() && object.interface == self.wanted.interface {
            self.changed = self.changed.max(Some(at));
        }
    }

    /// What a right listing makes of the news. Without any it cannot be older than the listing.
    fn done(&self, listed: Instant) -> Moved {
        Moved {
            at: self.changed.unwrap_or(listed),
            told: self.told,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{
        netlink::{
            Way,
            tests::{added_on, removed},
        },
        prefix::{Family, Prefix},
    };

    const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 98, 0, 10));
    /// The interface that the routes leave, and the one they come to.
    const FROM: u32 = 4;
    const TO: u32 = 5;

    fn prefixes() -> [Prefix; 2] {
        [1, 2].map(|n| Prefix::v4([198, 51, 100, n * 16].into(), 28))
    }

    fn wanted() -> Wanted {
        Wanted::new(Family::Ipv4, prefixes().to_vec(), GATEWAY).through(TO)
    }

    fn via(prefix: Prefix, interface: u32) -> News {
        let gateway = GATEWAY;
        added_on(prefix, Way::Via { gateway, interface })
    }

    /// As the kernel tells of a route that names an object.
    fn by(prefix: Prefix, id: u32, interface: u32) -> News {
        let News::Added(mut route) = via(prefix, interface) else {
            unreachable!("it was added");
        };
        route.nexthop = Some(id);
        News::Added(route)
    }

    #[test]
    fn routes_replaced_one_by_one_have_moved_with_the_last() {
        let (wanted, [one, two]) = (wanted(), prefixes());
        let mut moving = Moving::from(&wanted, [None; 2].into_iter());
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        moving.route(via(one, TO), after(1));
        moving.route(via(two, FROM), after(2));
        assert_eq!((moving.left, moving.told), (1, None));
        // Some daemons remove and add.
        moving.route(removed(two), after(3));
        moving.route(via(two, TO), after(4));
        let moved = moving.done(after(99));
        assert_eq!((moved.at, moved.told), (after(4), Some(after(4))));
        moving.route(via(one, FROM), after(5));
        assert_eq!((moving.left, moving.told), (1, None), "and back again");
    }

    #[test]
    fn an_object_that_is_replaced_moves_all_routes_at_once_whatever_is_repeated() {
        let (wanted, [one, two]) = (wanted(), prefixes());
        let mut moving = Moving::from(&wanted, [Some(7); 2].into_iter());
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let object = |interface| Object {
            id: 7,
            gateway: Some(GATEWAY),
            interface: Some(interface),
        };
        moving.object(object(FROM), after(1));
        moving.object(object(TO), after(2));
        let moved = moving.done(after(99));
        assert_eq!((moved.at, moved.told), (after(2), None), "nothing repeated");
        moving.route(by(one, 7, TO), after(3));
        moving.route(by(two, 7, TO), after(4));
        let moved = moving.done(after(99));
        assert_eq!((moved.at, moved.told), (after(2), Some(after(4))));
        // Another object is a change of the route itself.
        moving.route(by(two, 8, TO), after(5));
        assert_eq!(moving.changed, Some(after(5)));
    }

    #[test]
    fn a_move_that_nobody_told_of_is_as_old_as_its_listing() {
        let wanted = wanted();
        let moving = Moving::from(&wanted, [None; 2].into_iter());
        let listed = Instant::now();
        let moved = moving.done(listed);
        assert_eq!((moved.at, moved.told), (listed, None));
    }
}
