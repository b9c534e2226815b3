//! CHECK: is the attachment as ADD left it?

use std::net::IpAddr;

use wayleave_cni::netns_cookie;
use wayleave_ipam::Owner;
use wayleave_netlink::{Dump, Kernel, KernelError, Link, LinkId, Object, RouteFilter, Socket};

use super::{Attachment, Attachments, Namespace, error::AttachError, group, plan};

impl Attachments {
    /// Compares record, kernel and what the runtime believes; finds all that is wrong.
    ///
    /// `believed` are the addresses of the result that the runtime kept. Routes that later plugins
    /// of a chain added are theirs.
    ///
    /// # Errors
    /// [`AttachError::Wrong`] with everything that is not as it should be.
    pub fn check(
        &self,
        owner: &Owner,
        namespace: Namespace,
        believed: &[IpAddr],
    ) -> Result<(), AttachError> {
        let shared = &*self.shared;
        let _claim = shared.claim(owner)?;
        let attachment = shared
            .lock()
            .attachments
            .get(owner)
            .cloned()
            .ok_or_else(|| AttachError::Unknown(owner.clone()))?;
        let mut wrongs = Vec::new();
        let cookie = netns_cookie(&namespace.route_socket)
            .map_err(|error| AttachError::Namespace(error.to_string()))?;
        if cookie != attachment.alive.netns_cookie {
            wrongs.push(format!(
                "it was attached to another namespace ({}) than the one checked",
                attachment.netns
            ));
        }
        for address in &attachment.addresses {
            if !believed.contains(address) {
                wrongs.push(format!("prevResult lacks its address {address}"));
            }
            let lease = shared
                .lock()
                .allocator
                .lease(*address)
                .map(|l| l.owner.clone());
            if lease.as_ref() != Some(owner) {
                wrongs.push(format!("it has no lease of {address}"));
            }
        }
        let mut host = shared.host_socket()?;
        check_host(&mut host, shared, &attachment, &mut wrongs)
            .map_err(|error| AttachError::asking("looking at the host's side", &error))?;
        let mut inside = Socket::from_fd(namespace.route_socket)
            .map_err(|error| AttachError::Namespace(error.to_string()))?;
        check_inside(&mut inside, &attachment, &mut wrongs)
            .map_err(|error| AttachError::asking("looking at the container's side", &error))?;
        if wrongs.is_empty() {
            return Ok(());
        }
        Err(AttachError::Wrong {
            owner: owner.clone(),
            wrongs,
        })
    }
}

fn check_host(
    host: &mut Socket,
    shared: &super::Shared,
    attachment: &Attachment,
    wrongs: &mut Vec<String>,
) -> Result<(), KernelError> {
    let name = &attachment.host_name;
    let Some(link) = host.link(&LinkId::Name(name.clone()))? else {
        wrongs.push(format!("the host's end {name} is gone"));
        return Ok(());
    };
    if link.group != group::ATTACHED {
        wrongs.push(format!("the host's end {name} is not marked as whole"));
    }
    check_link("the host's end", &link, attachment.mtu, wrongs);
    for wanted in plan::routes(attachment, link.ifindex, &shared.settings) {
        let filter = RouteFilter {
            ifindex: Some(link.ifindex),
            ..RouteFilter::all(wanted.prefix.family()).table(wanted.table)
        };
        if !host.routes(filter)?.contains(&wanted) {
            wrongs.push(format!("the host has no route {}", wanted.prefix));
        }
    }
    Ok(())
}

fn check_inside(
    inside: &mut Socket,
    attachment: &Attachment,
    wrongs: &mut Vec<String>,
) -> Result<(), KernelError> {
    let name = &attachment.owner.interface;
    let Some(link) = inside.link(&LinkId::Name(name.clone()))? else {
        wrongs.push(format!("the container has no interface {name}"));
        return Ok(());
    };
    check_link(
        &format!("the container's {name}"),
        &link,
        attachment.mtu,
        wrongs,
    );
    if link.mac != Some(attachment.container_mac) {
        wrongs.push(format!(
            "the container's {name} has another hardware address"
        ));
    }
    let ifindex = Some(link.ifindex);
    let present: Vec<IpAddr> = inside
        .dump(&Dump::Addresses { ifindex })?
        .into_iter()
        .filter_map(|object| {
            if let Object::Address(a) = object {
                Some(a.local)
            } else {
                None
            }
        })
        .collect();
    for address in &attachment.addresses {
        if !present.contains(address) {
            wrongs.push(format!(
                "the container's {name} lacks the address {address}"
            ));
        }
        let default = plan::default_of(*address);
        let gateway = Some(plan::gateway(*address));
        let filter = RouteFilter {
            ifindex,
            ..RouteFilter::all(default.family())
        };
        let routed = inside.routes(filter)?.iter().any(|route| {
            route.prefix == default && route.next_hops.iter().any(|hop| hop.gateway == gateway)
        });
        if !routed {
            let gateway = plan::gateway(*address);
            wrongs.push(format!("the container has no default route via {gateway}"));
        }
    }
    Ok(())
}

fn check_link(what: &str, link: &Link, mtu: u32, wrongs: &mut Vec<String>) {
    if !link.up {
        wrongs.push(format!("{what} is down"));
    }
    if link.mtu != mtu {
        wrongs.push(format!("{what} has MTU {}, not {mtu}", link.mtu));
    }
}
