//! The machine against the fake kernel on a virtual clock, and against the real one.

mod adoption;
mod faults;
mod histories;
mod kernel;
mod links;
mod objects;
mod others;
mod over_ipv6;
mod reachability;

use std::{net::IpAddr, time::Duration};

use wayleave_bgp_core::Time;
use wayleave_netlink::{
    Address, Change, Event, FakeKernel, Family, LinkChange, NewEnd, NewLink, NextHop, Prefix,
    Protocol, Route,
};

use super::{
    machine::{Fib, Settings, Slot},
    reconciler::{Reconciler, Turn},
    trouble::Trouble,
    way::{Owner, Wish},
};

const OURS: Protocol = Protocol::WAYLEAVE;
const METRIC: u32 = 50;
const SETTINGS: Settings = Settings {
    table: 254,
    metric: METRIC,
    protocol: OURS,
    nexthop_objects: true,
};
/// As on a kernel without nexthop objects.
const INLINE: Settings = Settings {
    nexthop_objects: false,
    ..SETTINGS
};
const ETH0: u32 = 2;
const ETH1: u32 = 3;

/// A host with two uplinks, its kernel, its clock and everything it has heard.
struct Host {
    kernel: FakeKernel,
    reconciler: Reconciler<FakeKernel>,
    heard: Vec<Event>,
    now: Time,
}

impl Host {
    fn new(claimants: &[Owner]) -> Self {
        Self::with(kernel(), claimants)
    }

    /// An agent that starts on a kernel as it is.
    fn with(kernel: FakeKernel, claimants: &[Owner]) -> Self {
        Self::set_up(SETTINGS, kernel, claimants)
    }

    fn set_up(settings: Settings, kernel: FakeKernel, claimants: &[Owner]) -> Self {
        let now = Time(1_000_000_000);
        let _old_news = kernel.take_events();
        let _done_before = kernel.take_applied();
        let fib = Fib::new(settings, claimants, now);
        let reconciler = Reconciler::new(fib, kernel.clone());
        Self {
            kernel,
            reconciler,
            heard: Vec::new(),
            now,
        }
    }

    /// An agent all of whose owners have claimed what they had, which was nothing.
    fn started() -> Self {
        let mut host = Self::new(&[]);
        host.settle();
        host
    }

    fn turn(&mut self) -> Turn {
        self.heard.extend(self.kernel.take_events());
        self.reconciler.turn(self.now, &mut self.heard)
    }

    /// Turns until nothing is to be done but the next audit. Time passes as far as it must.
    fn settle(&mut self) {
        for _ in 0..5_000 {
            self.now = self.now + Duration::from_micros(1);
            match self.turn() {
                Turn::Again => {}
                Turn::Wait(Some(due)) if due.since(self.now) < Duration::from_secs(100) => {
                    self.now = due;
                }
                Turn::Wait(_) => return,
            }
        }
        panic!("it never comes to rest: {:?}", self.reconciler.view());
    }

    /// Turns until nothing is to be done at once. Returns after how many; no time passes.
    fn settle_at_once(&mut self) {
        for _ in 0..5_000 {
            if self.turn() != Turn::Again {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.reconciler.view());
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn fib(&mut self) -> &mut Fib {
        self.reconciler.fib()
    }

    fn desire(&mut self, prefix: &str, wish: &Wish) {
        self.desires(Owner::Bgp, slot(prefix), Some(wish));
    }

    fn renounce(&mut self, prefix: &str) {
        self.desires(Owner::Bgp, slot(prefix), None);
    }

    fn desires(&mut self, owner: Owner, slot: Slot, wish: Option<&Wish>) {
        let now = self.now;
        self.fib().desire(owner, slot, wish, now);
    }

    fn renounces(&mut self, owner: Owner, prefix: Prefix) {
        let now = self.now;
        self.fib().renounce(owner, prefix, now);
    }

    fn in_sync(&mut self, owner: Owner) {
        let now = self.now;
        for family in [Family::V4, Family::V6] {
            self.fib().in_sync(owner, family, now);
        }
    }

    fn others(&self, change: impl Into<Change>) {
        let change = change.into();
        if let Err(error) = self.kernel.by_others(&change) {
            panic!("{}", error.about(&change));
        }
    }

    /// Our routes, as text.
    fn ours(&self) -> Vec<String> {
        self.our_routes().iter().map(Route::to_string).collect()
    }

    /// Our routes, with the next hops they lead to, be it through a nexthop object.
    fn our_routes(&self) -> Vec<Route> {
        let spelled_out = |route: Route| Route {
            next_hops: self.kernel.next_hops(&route),
            nexthop: None,
            ..route
        };
        let routes = self.kernel.routes_of(OURS).into_iter();
        routes.map(|route| spelled_out(route).canonical()).collect()
    }

    fn trouble(&mut self, prefix: &str) -> Option<Trouble> {
        self.fib().outcome(&slot(prefix)).and_then(Result::err)
    }
}

/// A kernel with two uplinks.
fn kernel() -> FakeKernel {
    let kernel = FakeKernel::new();
    let end = |name: &str, ifindex| NewEnd {
        ifindex: Some(ifindex),
        ..NewEnd::new(name)
    };
    let changes = [
        NewLink::Bridge(end("eth0", ETH0)).into(),
        NewLink::Bridge(end("eth1", ETH1)).into(),
        LinkChange::of(ETH0).up(true).into(),
        LinkChange::of(ETH1).up(true).into(),
        Change::AddressAdd(Address::new(ETH0, ip("192.0.2.1"), 24)),
        Change::AddressAdd(Address::new(ETH1, ip("198.51.100.1"), 24)),
        Change::AddressAdd(Address::new(ETH0, ip("2001:db8::1"), 64)),
    ];
    for change in changes {
        if let Err(error) = kernel.by_others(&change) {
            panic!("{}", error.about(&change));
        }
    }
    kernel
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

fn slot(text: &str) -> Slot {
    Slot::new(prefix(text), METRIC)
}

/// The wish for one or more routers.
fn via(routers: &[&str]) -> Wish {
    Wish::Via(routers.iter().map(|router| ip(router).into()).collect())
}

/// A route as it stands in the kernel.
fn route(text: &str, protocol: Protocol, gateway: &str, dev: u32) -> Route {
    Route::unicast(prefix(text), protocol, NextHop::via(ip(gateway), dev)).with_metric(METRIC)
}
