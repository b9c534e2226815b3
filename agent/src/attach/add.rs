//! ADD: lease, journal, veth, container's side, host's side, mark.

use std::net::IpAddr;

use nix::errno::Errno;
use wayleave_cni::{message::Step, netns_cookie};
use wayleave_ipam::{Effect, Grant, ProofOfLife, Request};
use wayleave_netlink::{
    Change, Dump, Kernel, KernelError, LinkId, Netns, Object, Route, RouteFilter, Socket,
};

use super::{
    AddRequest, Attached, Attachment, Attachments, Member, Point, Shared, error::AttachError,
    group, now, plan, record, store_error,
};
use crate::store::Write;

/// Metric of a default route in a container that has one already; its interface's number is added.
const SECOND_METRIC: u32 = 1_000;

impl Attachments {
    /// Attaches a container, or finds that it is attached already.
    ///
    /// # Errors
    /// When it cannot be attached as a whole; nothing of it is left then.
    pub fn add(
        &self,
        request: AddRequest,
        member: &mut dyn Member,
    ) -> Result<Attached, AttachError> {
        let shared = &*self.shared;
        let _claim = shared.claim(&request.owner)?;
        shared.passes(Point::AddBegun)?;
        let cookie = netns_cookie(&request.namespace.route_socket)
            .map_err(|error| AttachError::Namespace(error.to_string()))?;
        let alive = ProofOfLife {
            netns_cookie: cookie,
            boot: shared.boot,
        };
        let (grant, known) = shared.lease(&request, alive)?;
        let mtu = request.mtu.unwrap_or(shared.settings.mtu);
        let attachment = Attachment::new(&request, alive, &grant.leases, mtu);
        let mut host = shared.host_socket()?;
        let mut inside = Socket::from_fd(request.namespace.route_socket)
            .map_err(|error| AttachError::Namespace(error.to_string()))?;
        if let Some(known) = known {
            if known == attachment && shared.is_whole(&mut host, &known)? {
                let metric = default_metric(&mut inside, &known)?;
                return Ok(Attached { attachment, metric });
            }
            // The container was restarted under its old identifier, or its interface is gone.
            shared.unlink(&mut host, &known)?;
        }
        shared.journal(&attachment, &grant)?;
        shared.passes(Point::AddJournalled)?;
        let netns = Netns::from_fd(request.namespace.netns);
        let made = Making {
            shared,
            host: &mut host,
            inside: &mut inside,
            member,
        };
        match made.run(&attachment, &netns) {
            Ok(metric) => Ok(Attached { attachment, metric }),
            // As a kill would: the next start tidies up.
            Err(ended @ AttachError::Ended(_)) => Err(ended),
            Err(error) => {
                shared.undo(&mut host, &attachment);
                Err(error)
            }
        }
    }
}

impl Shared {
    /// Takes the addresses in memory; says what the owner had before.
    fn lease(
        &self,
        request: &AddRequest,
        alive: ProofOfLife,
    ) -> Result<(Grant, Option<Attachment>), AttachError> {
        let mut state = self.lock();
        let grant = state.allocator.allocate(&Request {
            owner: request.owner.clone(),
            network: request.network.clone(),
            pools: request.pools.clone(),
            wanted: request.wanted,
            addresses: request.addresses.clone(),
            alive,
            now: now(),
        })?;
        let known = state.attachments.get(&request.owner).cloned();
        Ok((grant, known))
    }

    /// Makes leases and record durable: before this nobody hears of the addresses.
    fn journal(&self, attachment: &Attachment, grant: &Grant) -> Result<(), AttachError> {
        let written = self.try_journal(attachment, grant);
        if let Err(error) = written {
            if !grant.repeated {
                self.free(&attachment.owner);
            }
            return Err(error);
        }
        let owner = attachment.owner.clone();
        self.lock().attachments.insert(owner, attachment.clone());
        Ok(())
    }

    fn try_journal(&self, attachment: &Attachment, grant: &Grant) -> Result<(), AttachError> {
        let mut writes = vec![attachment.put().map_err(store_error)?];
        for effect in &grant.effects {
            if let Effect::Persist(lease) = effect {
                writes.push(Write::lease(lease).map_err(store_error)?);
            }
        }
        self.store.commit_blocking(writes).map_err(store_error)
    }

    /// Takes everything back. What cannot be taken back stays recorded, for a DEL or a restart.
    fn undo(&self, host: &mut Socket, attachment: &Attachment) {
        let undone = self.unlink(host, attachment).and_then(|()| {
            let writes = record::forget(
                &attachment.owner,
                &attachment.addresses,
                &self.lock().allocator,
            );
            self.store.commit_blocking(writes).map_err(store_error)
        });
        match undone {
            Ok(()) => self.free(&attachment.owner),
            Err(error) => {
                tracing::warn!(owner = %attachment.owner, %error, "a failed ADD could not be undone; a DEL will");
            }
        }
    }

    /// Whether the host's end is there and marked as whole.
    pub(super) fn is_whole(
        &self,
        host: &mut Socket,
        attachment: &Attachment,
    ) -> Result<bool, AttachError> {
        let link = host
            .link(&LinkId::Name(attachment.host_name.clone()))
            .map_err(|error| AttachError::asking("looking for the host's end", &error))?;
        Ok(link.is_some_and(|link| link.group == group::ATTACHED && link.up))
    }

    pub(super) fn host_socket(&self) -> Result<super::sockets::Borrowed<'_>, AttachError> {
        self.sockets
            .take()
            .map_err(|error| AttachError::asking("opening a netlink socket", &error))
    }
}

/// An attachment being made.
struct Making<'a> {
    shared: &'a Shared,
    host: &'a mut Socket,
    inside: &'a mut Socket,
    member: &'a mut dyn Member,
}

impl Making<'_> {
    /// Makes it; returns the metric of its default routes.
    fn run(mut self, attachment: &Attachment, netns: &Netns) -> Result<u32, AttachError> {
        let ifindex = self.pair(attachment, netns)?;
        self.shared.passes(Point::AddLinked)?;
        let metric = self.inside(attachment)?;
        self.shared.passes(Point::AddInside)?;
        apply(
            self.host,
            "setting up the host's end",
            &plan::outside(attachment, ifindex),
        )?;
        let routes: Vec<Route> = plan::routes(attachment, ifindex, &self.shared.settings).collect();
        for route in &routes {
            self.route(route)?;
        }
        self.shared.passes(Point::AddRouted)?;
        apply(self.host, "marking the host's end", &[plan::mark(ifindex)])?;
        self.shared.passes(Point::AddMarked)?;
        for route in routes {
            self.shared.outlet.local_route(route.prefix, Some(route));
        }
        Ok(metric)
    }

    /// Makes the pair and raises both ends; returns the number of the host's.
    fn pair(&mut self, attachment: &Attachment, netns: &Netns) -> Result<u32, AttachError> {
        let plan = plan::pair(attachment, netns.clone());
        let mut results = self.host.apply(&plan.host);
        if results.first().is_some_and(|made| is(made, Errno::EEXIST)) {
            self.clear_name(attachment)?;
            results = self.host.apply(&plan.host);
        }
        first_error("making the veth pair", &plan.host, results)?;
        apply(self.inside, "raising the container's end", &plan.inside)?;
        let host = self.host.link(&LinkId::Name(attachment.host_name.clone()));
        Ok(found("the host's end", host)?.ifindex)
    }

    /// One of the two names is taken: what an earlier agent left on the host is removed.
    fn clear_name(&mut self, attachment: &Attachment) -> Result<(), AttachError> {
        let name = LinkId::Name(attachment.host_name.clone());
        let link = self
            .host
            .link(&name)
            .map_err(|error| AttachError::asking("looking for the host's end", &error))?;
        let Some(link) = link else {
            return Err(AttachError::InterfaceExists(
                attachment.owner.interface.clone(),
            ));
        };
        let another = {
            let state = self.shared.lock();
            let same = |other: &&Attachment| other.host_name == attachment.host_name;
            state
                .attachments
                .values()
                .filter(same)
                .any(|other| other.owner != attachment.owner)
        };
        if another || !group::is_ours(link.group) {
            return Err(AttachError::HostNameTaken(attachment.host_name.clone()));
        }
        self.shared
            .reaper
            .delete(self.host, link.ifindex)
            .map_err(|error| AttachError::asking("removing a stale host's end", &error))
    }

    /// Sets the container's side up; returns the metric of its default routes.
    fn inside(&mut self, attachment: &Attachment) -> Result<u32, AttachError> {
        let name = LinkId::Name(attachment.owner.interface.clone());
        let ifindex = found("the container's end", self.inside.link(&name))?.ifindex;
        let mut metric = 0;
        for address in &attachment.addresses {
            metric = metric.max(self.family(attachment, *address, ifindex)?);
        }
        Ok(metric)
    }

    fn family(
        &mut self,
        attachment: &Attachment,
        address: IpAddr,
        ifindex: u32,
    ) -> Result<u32, AttachError> {
        const WHAT: &str = "setting up the container's end";
        let changes = plan::inside(attachment, address, ifindex, 0);
        let mut results = self.inside.apply(&changes);
        let off = |result| is(result, Errno::EACCES) || is(result, Errno::EOPNOTSUPP);
        if address.is_ipv6() && results.first().is_some_and(off) {
            self.enable_ipv6(attachment)?;
            results = self.inside.apply(&changes);
        }
        let second = results
            .last()
            .is_some_and(|result| is(result, Errno::EEXIST));
        if second {
            results.pop();
        }
        first_error(WHAT, &changes, results)?;
        if !second {
            return Ok(0);
        }
        let metric = SECOND_METRIC + ifindex;
        let Some(Change::RouteAdd(route)) = changes.last() else {
            return Ok(0);
        };
        let route = Change::RouteAdd(route.clone().with_metric(metric));
        apply(self.inside, WHAT, &[route])?;
        Ok(metric)
    }

    /// Runtimes switch IPv6 off where the network was thought to have none; the setting is out of
    /// netlink's reach.
    fn enable_ipv6(&mut self, attachment: &Attachment) -> Result<(), AttachError> {
        let path = format!("net/ipv6/conf/{}/disable_ipv6", attachment.owner.interface);
        let steps = vec![Step::WriteSysctl {
            path,
            value: "0".to_owned(),
        }];
        let outcomes = self.member.perform(steps).map_err(AttachError::Inside)?;
        match outcomes.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(AttachError::Inside(error.message)),
            None => Err(AttachError::Inside(
                "the plugin reported no outcome".to_owned(),
            )),
        }
    }

    /// A host route of ours may be there already, from an earlier interface; anybody else's is
    /// never replaced.
    fn route(&mut self, route: &Route) -> Result<(), AttachError> {
        const WHAT: &str = "adding the host's route";
        let change = Change::RouteAdd(route.clone());
        match self.host.apply_one(&change) {
            Ok(()) => Ok(()),
            Err(error) if error.is(Errno::EEXIST) => {
                let filter = RouteFilter::all(route.prefix.family()).table(route.table);
                let there = self
                    .host
                    .routes(filter)
                    .map_err(|error| AttachError::asking(WHAT, &error))?
                    .into_iter()
                    .find(|other| other.prefix == route.prefix && other.metric == route.metric);
                match there {
                    Some(other) if other.protocol != route.protocol => {
                        Err(AttachError::kernel(WHAT, &change, &error))
                    }
                    _ => apply(self.host, WHAT, &[Change::RouteReplace(route.clone())]),
                }
            }
            Err(error) => Err(AttachError::kernel(WHAT, &change, &error)),
        }
    }
}

/// The metric of the default routes that an attached container has through us.
fn default_metric(inside: &mut Socket, attachment: &Attachment) -> Result<u32, AttachError> {
    const WHAT: &str = "looking at the container's routes";
    let name = LinkId::Name(attachment.owner.interface.clone());
    let ifindex = found("the container's end", inside.link(&name))?.ifindex;
    let asking = |error: KernelError| AttachError::asking(WHAT, &error);
    for address in &attachment.addresses {
        let prefix = plan::default_of(*address);
        let filter = RouteFilter {
            ifindex: Some(ifindex),
            ..RouteFilter::all(prefix.family())
        };
        for object in inside.dump(&Dump::Routes(filter)).map_err(asking)? {
            if let Object::Route(route) = object
                && route.prefix == prefix
                && route.metric > SECOND_METRIC
                && route.metric == SECOND_METRIC + ifindex
            {
                return Ok(route.metric);
            }
        }
    }
    Ok(0)
}

/// Applies changes of which each needs the one before.
pub(super) fn apply(
    kernel: &mut impl Kernel,
    what: &'static str,
    changes: &[Change],
) -> Result<(), AttachError> {
    let results = kernel.apply(changes);
    first_error(what, changes, results)
}

fn first_error(
    what: &'static str,
    changes: &[Change],
    results: Vec<Result<(), KernelError>>,
) -> Result<(), AttachError> {
    for (change, result) in changes.iter().zip(results) {
        result.map_err(|error| AttachError::kernel(what, change, &error))?;
    }
    Ok(())
}

fn is(result: &Result<(), KernelError>, errno: Errno) -> bool {
    result.as_ref().is_err_and(|error| error.is(errno))
}

fn found(
    what: &'static str,
    link: Result<Option<wayleave_netlink::Link>, KernelError>,
) -> Result<wayleave_netlink::Link, AttachError> {
    match link {
        Ok(Some(link)) => Ok(link),
        Ok(None) => Err(AttachError::Kernel {
            what,
            why: "it has vanished".to_owned(),
            gone: true,
        }),
        Err(error) => Err(AttachError::asking(what, &error)),
    }
}
