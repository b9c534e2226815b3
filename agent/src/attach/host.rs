//! What the host itself needs before containers can be reached.

use std::collections::BTreeSet;

use wayleave_ipam::Family;
use wayleave_netlink::{
    Dump, Kernel, KernelError, Link, Object, Prefix, RouteFilter, RouteKind,
    sysctl::{Sysctl, SysctlError},
};

use super::{group, standing::FORWARDING};
use crate::problem::{Problem, Severity};

/// The MTU of a host that has no uplink yet, in bytes.
const MTU_DEFAULT: u32 = 1_500;

/// Lets the host forward packets of these families; returns what could not be done.
///
/// Forwarding makes the kernel ignore router advertisements, from which a host may have its own
/// default route: interfaces that listen to them are told to go on doing so.
#[must_use]
pub fn prepare_host(kernel: &mut impl Kernel, families: &[Family]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for family in families {
        let setting = match family {
            Family::Ipv4 => Sysctl::ForwardingV4,
            Family::Ipv6 => Sysctl::ForwardingV6,
        };
        let done = match setting.read("all") {
            Ok(0) => enable(kernel, setting),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            problems.push(Problem {
                key: format!("{FORWARDING}{family}").to_lowercase(),
                severity: Severity::Error,
                what: format!(
                    "this host does not forward {family}: its containers cannot be reached"
                ),
                why: error.to_string(),
                fix: match family {
                    Family::Ipv4 => "sysctl -w net.ipv4.ip_forward=1".to_owned(),
                    Family::Ipv6 => "sysctl -w net.ipv6.conf.all.forwarding=1".to_owned(),
                },
            });
        }
    }
    problems
}

fn enable(kernel: &mut impl Kernel, setting: Sysctl) -> Result<(), SysctlError> {
    if setting == Sysctl::ForwardingV6 {
        for link in links(kernel).unwrap_or_default() {
            // An interface without IPv6 has no such setting.
            if Sysctl::AcceptRa
                .read(&link.name)
                .is_ok_and(|value| value == 1)
            {
                Sysctl::AcceptRa.write(&link.name, 2)?;
            }
        }
    }
    setting.write("all", 1)
}

/// The smallest MTU on the way out: of the interfaces with a default route, else of all that are
/// up and neither loopback nor a container's.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn uplink_mtu(kernel: &mut impl Kernel) -> Result<u32, KernelError> {
    let mut through = BTreeSet::new();
    for default in [Prefix::DEFAULT_V4, Prefix::DEFAULT_V6] {
        let filter = RouteFilter::all(default.family()).table(wayleave_netlink::TABLE_MAIN);
        for route in kernel.routes(filter)? {
            if route.prefix == default && route.kind == RouteKind::Unicast {
                through.extend(route.next_hops.iter().map(|hop| hop.ifindex));
            }
        }
    }
    let links = links(kernel)?;
    let leads_out = |link: &&Link| !link.loopback && link.up && !group::is_ours(link.group);
    let uplinks = links
        .iter()
        .filter(|link| through.contains(&link.ifindex))
        .filter(leads_out);
    let mtu = uplinks.map(|link| link.mtu).min();
    let any = links.iter().filter(leads_out).map(|link| link.mtu).min();
    Ok(mtu.or(any).unwrap_or(MTU_DEFAULT))
}

fn links(kernel: &mut impl Kernel) -> Result<Vec<Link>, KernelError> {
    let objects = kernel.dump(&Dump::Links)?;
    let links = objects.into_iter().filter_map(|object| {
        if let Object::Link(link) = object {
            Some(*link)
        } else {
            None
        }
    });
    Ok(links.collect())
}
