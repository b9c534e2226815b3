//! A kernel in memory, for tests of everything above: it has the semantics that have bitten and
//! [`Fault`]s that can be called by name.
//!
//! What it models: one route per (prefix, table, metric) whoever's it is; replacement of others'
//! routes; deletion by protocol; reachability of gateways by addresses and direct routes; links
//! that go down and addresses that vanish taking IPv4 routes along silently; carrier loss taking
//! nexthop objects along. What it does not: connected and local routes of the kernel itself,
//! IPv6 multipath appended hop by hop, other namespaces. The package's tests run one script
//! against it and against the real kernel and compare.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each question is about a few of the faults"
)]

mod fault;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

pub use self::fault::Fault;
use self::{fault::send_failure, state::State};
use crate::{
    change::Change,
    error::KernelError,
    kernel::Kernel,
    link::{Link, LinkId},
    nexthop::Nexthop,
    object::{Dump, Event, Object, Progress},
    route::{NextHops, Protocol, Route},
};

/// Objects in one part of a listing.
const PART: usize = 100;

/// A handle of a kernel in memory; clones are handles of the same kernel.
#[derive(Debug, Clone)]
pub struct FakeKernel(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    state: State,
    faults: Vec<Armed>,
    events: Vec<Event>,
    applied: Vec<Change>,
    dump: Option<Listing>,
    no_nexthops: bool,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// Changes it lets pass before it strikes.
    skip: usize,
    /// How often it strikes yet.
    left: usize,
}

#[derive(Debug)]
struct Listing {
    rest: std::vec::IntoIter<Object>,
    part: usize,
    end: Result<(), KernelError>,
    breaks_off: Option<KernelError>,
}

impl Default for FakeKernel {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeKernel {
    /// A kernel with nothing but `lo`.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            state: State::with_loopback(),
            faults: Vec::new(),
            events: Vec::new(),
            applied: Vec::new(),
            dump: None,
            no_nexthops: false,
        })))
    }

    /// Arms a fault; faults that strike a change let `skip` changes pass before.
    pub fn inject(&self, fault: Fault, skip: usize) {
        self.inner().faults.push(Armed {
            fault,
            skip,
            left: fault.times(),
        });
    }

    /// The faults that have not struck yet.
    #[must_use]
    pub fn armed(&self) -> Vec<Fault> {
        self.inner()
            .faults
            .iter()
            .map(|armed| armed.fault)
            .collect()
    }

    /// Disarms all faults: from now on everything works.
    pub fn heal(&self) {
        self.inner().faults.clear();
    }

    /// Somebody else changes the kernel: no fault strikes, and events are heard.
    ///
    /// # Errors
    /// As the kernel would answer.
    pub fn by_others(&self, change: &Change) -> Result<(), KernelError> {
        let mut inner = self.inner();
        let events = inner.state.apply(change)?;
        inner.hear(events);
        Ok(())
    }

    /// Carrier comes or goes.
    pub fn set_carrier(&self, ifindex: u32, carrier: bool) {
        let mut inner = self.inner();
        let events = inner.state.set_carrier(ifindex, carrier);
        inner.hear(events);
    }

    /// The events since the last call, less the echo of changes of routes and nexthop objects made
    /// through [`Kernel`].
    #[must_use]
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.inner().events)
    }

    /// All changes that were asked for through [`Kernel`] since the last call, also those refused.
    #[must_use]
    pub fn take_applied(&self) -> Vec<Change> {
        std::mem::take(&mut self.inner().applied)
    }

    /// The routes in it, in order.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        self.inner().state.routes().cloned().collect()
    }

    /// From now on it knows no nexthop objects, as before Linux 5.3.
    pub fn without_nexthops(&self) {
        self.inner().no_nexthops = true;
    }

    /// The nexthop objects in it, in order of their ids.
    #[must_use]
    pub fn nexthops(&self) -> Vec<Nexthop> {
        self.inner().state.nexthops().cloned().collect()
    }

    /// The next hops of a route, those of its nexthop object spelled out.
    #[must_use]
    pub fn next_hops(&self, route: &Route) -> NextHops {
        match route.nexthop {
            Some(id) => self.inner().state.hops_of(id).into_iter().collect(),
            None => route.next_hops.clone(),
        }
    }

    /// The routes of a protocol.
    #[must_use]
    pub fn routes_of(&self, protocol: Protocol) -> Vec<Route> {
        self.routes()
            .into_iter()
            .filter(|route| route.protocol == protocol)
            .collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked while holding it has failed anyway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel for FakeKernel {
    fn apply(&mut self, changes: &[Change]) -> Vec<Result<(), KernelError>> {
        let mut inner = self.inner();
        inner.applied.extend_from_slice(changes);
        if inner.strikes(Fault::SendFails) {
            return vec![Err(send_failure()); changes.len()];
        }
        if !changes.is_empty() && inner.strikes(Fault::RefuseThreeCalls) {
            return vec![Err(KernelError::refused(Errno::EBUSY)); changes.len()];
        }
        let every_second = inner.strikes(Fault::RefuseEverySecond);
        let mut rest: Option<Fault> = None;
        let mut results = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            if every_second && index % 2 == 0 {
                results.push(Err(KernelError::refused(Errno::EBUSY)));
                continue;
            }
            let fault = rest.or_else(|| inner.strikes_change(change));
            if let Some(Fault::OverrunOfDone | Fault::OverrunOfNotDone | Fault::SendFailsMidway) =
                fault
            {
                rest = fault;
            }
            results.push(inner.apply_with(change, fault));
        }
        results
    }

    fn begin_dump(&mut self, what: &Dump) -> Result<(), KernelError> {
        let mut inner = self.inner();
        inner.dump = None;
        if inner.strikes(Fault::DumpRefused) {
            return Err(KernelError::refused(Errno::ENOMEM));
        }
        if inner.no_nexthops && *what == Dump::Nexthops {
            let unknown = KernelError::refused(Errno::EOPNOTSUPP);
            inner.dump = Some(Listing {
                rest: Vec::new().into_iter(),
                part: PART,
                end: Ok(()),
                breaks_off: Some(unknown),
            });
            return Ok(());
        }
        let interrupted =
            inner.strikes(Fault::DumpInterrupted) || inner.strikes(Fault::DumpInterruptedOften);
        let trickles = inner.strikes(Fault::DumpTrickles);
        let breaks = inner
            .faults
            .iter()
            .find(|armed| armed.fault.break_off().is_some());
        let breaks = breaks
            .map(|armed| armed.fault)
            .filter(|fault| inner.strikes(*fault));
        inner.dump = Some(Listing {
            rest: inner.state.list(what).into_iter(),
            part: if trickles { 1 } else { PART },
            end: if interrupted {
                Err(KernelError::Interrupted)
            } else {
                Ok(())
            },
            breaks_off: breaks.and_then(Fault::break_off),
        });
        Ok(())
    }

    fn next_dump(&mut self, into: &mut Vec<Object>) -> Result<Progress, KernelError> {
        let mut inner = self.inner();
        let Some(mut listing) = inner.dump.take() else {
            return Err(KernelError::Interrupted);
        };
        let part = listing.part;
        into.extend(listing.rest.by_ref().take(part));
        if let Some(error) = listing.breaks_off {
            return Err(error);
        }
        if listing.rest.len() == 0 {
            return listing.end.map(|()| Progress::Done);
        }
        inner.dump = Some(listing);
        Ok(Progress::More)
    }

    fn link(&mut self, link: &LinkId) -> Result<Option<Link>, KernelError> {
        let mut inner = self.inner();
        if inner.strikes(Fault::LinkQueryFails) {
            return Err(KernelError::NoAnswer(2_000));
        }
        Ok(inner.state.link(link))
    }
}

impl Inner {
    /// Whether a fault of this name is armed; uses it up.
    fn strikes(&mut self, fault: Fault) -> bool {
        let Some(at) = self.faults.iter().position(|armed| armed.fault == fault) else {
            return false;
        };
        self.faults[at].left -= 1;
        if self.faults[at].left == 0 {
            self.faults.remove(at);
        }
        true
    }

    /// The fault that strikes this change, if one does.
    fn strikes_change(&mut self, change: &Change) -> Option<Fault> {
        let installs = matches!(change, Change::RouteAdd(_) | Change::RouteReplace(_));
        let at = self.faults.iter_mut().position(|armed| {
            let suits = match armed.fault {
                Fault::VanishesSilently
                | Fault::DeletedByOthers
                | Fault::ReplacedByOthers
                | Fault::LinkGoesDown => installs,
                Fault::LostAckOfDone
                | Fault::LostAckOfNotDone
                | Fault::OverrunOfDone
                | Fault::OverrunOfNotDone
                | Fault::SendFailsMidway
                | Fault::GarbledAckOfDone => true,
                other => other.refusal().is_some(),
            };
            if suits && armed.skip > 0 {
                armed.skip -= 1;
                return false;
            }
            suits
        })?;
        Some(self.faults.remove(at).fault)
    }

    fn apply_with(&mut self, change: &Change, fault: Option<Fault>) -> Result<(), KernelError> {
        let Some(fault) = fault else {
            return self.apply_plainly(change);
        };
        if let Some(refusal) = fault.refusal() {
            return Err(refusal);
        }
        match fault {
            Fault::LostAckOfNotDone => return Err(KernelError::NoAnswer(2_000)),
            Fault::OverrunOfNotDone => return Err(KernelError::Overrun),
            Fault::SendFailsMidway => return Err(send_failure()),
            _ => {}
        }
        let result = self.apply_plainly(change);
        // If it failed, nothing was installed that somebody could disturb.
        result.as_ref().map_err(Clone::clone)?;
        match (fault, change) {
            (Fault::LostAckOfDone, _) => return Err(KernelError::NoAnswer(2_000)),
            (Fault::OverrunOfDone, _) => return Err(KernelError::Overrun),
            (Fault::GarbledAckOfDone, _) => {
                return Err(KernelError::Malformed("injected".to_owned()));
            }
            (Fault::VanishesSilently, Change::RouteAdd(route) | Change::RouteReplace(route)) => {
                self.state.lose_route(route);
            }
            (Fault::DeletedByOthers, Change::RouteAdd(route) | Change::RouteReplace(route)) => {
                self.others(&Change::RouteDelete(route.key()));
            }
            (Fault::ReplacedByOthers, Change::RouteAdd(route) | Change::RouteReplace(route)) => {
                let hole = Route::blackhole(route.prefix, Protocol::STATIC)
                    .with_metric(route.metric)
                    .in_table(route.table);
                self.others(&Change::RouteReplace(hole));
            }
            (Fault::LinkGoesDown, Change::RouteAdd(route) | Change::RouteReplace(route)) => {
                let through = route.nexthop.map(|id| self.state.hops_of(id));
                let hops = through.unwrap_or_else(|| route.next_hops.to_vec());
                if let Some(hop) = hops.first() {
                    let down = crate::link::LinkChange::of(hop.ifindex).up(false);
                    self.others(&down.into());
                }
            }
            _ => {}
        }
        result
    }

    fn apply_plainly(&mut self, change: &Change) -> Result<(), KernelError> {
        let of_nexthop = matches!(
            change,
            Change::NexthopAdd(_) | Change::NexthopReplace(_) | Change::NexthopDelete(_)
        );
        if self.no_nexthops && of_nexthop {
            return Err(KernelError::refused(Errno::EOPNOTSUPP));
        }
        let mut events = self.state.apply(change)?;
        if matches!(
            change,
            Change::RouteAdd(_)
                | Change::RouteReplace(_)
                | Change::RouteDelete(_)
                | Change::NexthopAdd(_)
                | Change::NexthopReplace(_)
                | Change::NexthopDelete(_)
        ) {
            events.clear();
        }
        self.events.extend(events);
        Ok(())
    }

    /// Others do something as part of a fault; it need not succeed.
    fn others(&mut self, change: &Change) {
        if let Ok(events) = self.state.apply(change) {
            self.hear(events);
        }
    }

    fn hear(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        if self.strikes(Fault::EventsOverrun) {
            self.events.push(Event::Overrun);
        } else if self.strikes(Fault::EventsTwice) {
            self.events.extend(events.clone());
            self.events.extend(events);
        } else {
            self.events.extend(events);
        }
    }
}
