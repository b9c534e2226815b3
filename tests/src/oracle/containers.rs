//! I1 and I2: containers have addresses of their own and can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::container::Container;
use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::oracle::Violation;

/// I1: no address is held by two live containers. Reads the kernels.
pub fn one_holder_each(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let mut holders: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for container in lab.containers() {
        let addresses: BTreeSet<IpAddr> = container.addresses()?.into_iter().collect();
        for address in addresses {
            holders
                .entry(address)
                .or_default()
                .push(container.id().to_owned());
        }
    }
    Ok(holders
        .into_iter()
        .filter(|(_, ids)| ids.len() > 1)
        .map(|(address, ids)| {
            Violation::new(
                "I1",
                &address.to_string(),
                format!("is held by {}", ids.join(" and ")),
            )
        })
        .collect())
}

/// I2: every live container is reachable from every host with an agent or containers, and from
/// every other container, except from and to what the test declared cut off.
///
/// From containers one target per other container is tried, as hosts have tried them all.
pub fn all_reachable(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let cut_off: BTreeSet<String> = lab.cut_off().into_iter().collect();
    let present = |host: &Host| !cut_off.contains(host.name());
    let mut live: Vec<(Container, Vec<IpAddr>)> = Vec::new();
    for container in lab.containers() {
        let addresses = container.addresses()?;
        if present(container.host()) && !addresses.is_empty() {
            live.push((container, addresses));
        }
    }
    let mut members: BTreeMap<String, Host> = BTreeMap::new();
    let agents = lab.agents();
    let hosts = agents
        .iter()
        .map(|agent| agent.host())
        .chain(live.iter().map(|(c, _)| c.host()));
    for host in hosts.filter(|host| present(host)) {
        members.insert(host.name().to_owned(), host.clone());
    }

    let mut found = Vec::new();
    let mut attempt = |from: &Host, to: &Container, address: IpAddr| {
        if from.ping(address).is_err() {
            let what = format!("{} ({address}) cannot be reached from it", to.id());
            found.push(Violation::new("I2", from.name(), what));
        }
    };
    for host in members.values() {
        for (container, addresses) in &live {
            addresses
                .iter()
                .for_each(|address| attempt(host, container, *address));
        }
    }
    // In a ring: with many containers the square would take longer than the test.
    let next = live.iter().cycle().skip(1);
    for ((from, own), (to, addresses)) in live.iter().zip(next) {
        for address in addresses {
            // A container of one family cannot reach the other.
            let speaks = own.iter().any(|a| a.is_ipv4() == address.is_ipv4());
            if speaks && from.id() != to.id() {
                attempt(from.inside(), to, *address);
            }
        }
    }
    Ok(found)
}
