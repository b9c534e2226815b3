//! I7 and I8: what CNI promised is true, and the agent's books are in order.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::container::{Attachment, Container};
use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::oracle::Violation;

/// I7: every ADD that returned success has a working interface with the addresses of its result,
/// and every DEL that returned success has left nothing, inside or outside.
pub fn attachments_true(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let containers = lab.containers();
    // What another attachment uses now is no remainder of an earlier one.
    let mut in_use: BTreeSet<(String, String)> = BTreeSet::new();
    for container in &containers {
        for attachment in container.attachments().values().filter(|a| !a.deleted) {
            let names = addresses(&attachment.result)
                .into_iter()
                .chain(outside(&attachment.result));
            in_use.extend(names.map(|name| (container.host().name().to_owned(), name)));
        }
    }
    let mut found = Vec::new();
    for container in &containers {
        for (interface, attachment) in container.attachments() {
            let what = match attachment.deleted {
                true => remains(container, &interface, &attachment, &in_use)?,
                false if container.inside().exists() => lacks(container, &interface, &attachment)?,
                // Its namespace vanished without a DEL; a GC is due, no promise is broken.
                false => Vec::new(),
            };
            found.extend(
                what.into_iter()
                    .map(|what| Violation::new("I7", container.id(), what)),
            );
        }
    }
    Ok(found)
}

/// I8: the agent's own audit of its books finds nothing, and knows as many attachments as runtimes
/// believe to have; on every host whose agent runs and has a pool.
pub fn ipam_sound(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let mut found = Vec::new();
    let containers = lab.containers();
    for agent in lab
        .agents()
        .iter()
        .filter(|agent| agent.process().alive() && agent.has_pools())
    {
        let name = agent.host().name();
        let here = containers
            .iter()
            .filter(|container| container.host().name() == name);
        let attached = here
            .flat_map(|container| container.attachments().into_values())
            .filter(|attachment| !attachment.deleted)
            .count();
        found.extend(audit_problems(
            name,
            &agent.api("/v1/ipam/check")?,
            attached,
        )?);
    }
    Ok(found)
}

/// The problems in an answer of `/v1/ipam/check`, and a count of attachments that is not the one
/// expected.
pub fn audit_problems(
    host: &str,
    answer: &Value,
    attached: usize,
) -> Result<Vec<Violation>, LabError> {
    let (Some(problems), Some(known)) = (
        answer["problems"].as_array(),
        answer["attachments"].as_u64(),
    ) else {
        let why = format!("no list of problems or no count of attachments: {answer}");
        return Err(LabError::shape("/v1/ipam/check", why));
    };
    let miscount = (known != attached as u64)
        .then(|| format!("knows {known} attachments, where runtimes have {attached}"));
    let problems = problems.iter().map(Value::to_string).chain(miscount);
    Ok(problems
        .map(|what| Violation::new("I8", host, what))
        .collect())
}

/// What an attachment that was promised lacks.
fn lacks(
    container: &Container,
    interface: &str,
    attachment: &Attachment,
) -> Result<Vec<String>, LabError> {
    let mut lacks = Vec::new();
    let links = container.inside().ip_json("link show")?;
    let links = links.as_array().map(Vec::as_slice).unwrap_or_default();
    match links.iter().find(|link| link["ifname"] == interface) {
        None => lacks.push(format!("has no interface {interface}")),
        Some(link) => {
            let flags = link["flags"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            if !flags.iter().any(|f| f == "UP") || !flags.iter().any(|f| f == "LOWER_UP") {
                lacks.push(format!(
                    "its interface {interface} is not up: {}",
                    link["flags"]
                ));
            }
        }
    }
    let held: BTreeSet<String> = container
        .addresses()?
        .into_iter()
        .map(|address| address.to_string())
        .collect();
    let promised = addresses(&attachment.result);
    if promised.is_empty() {
        lacks.push("its ADD returned no address".to_owned());
    }
    for address in promised {
        if !held.contains(&address) {
            lacks.push(format!("was promised {address} and does not hold it"));
        } else if let Err(e) = ping(container.host(), &address) {
            lacks.push(format!("its {address} does not answer its own host: {e}"));
        }
    }
    for name in outside(&attachment.result) {
        if !has_interface(container.host(), &name)? {
            lacks.push(format!(
                "the interface {name} of its result is not on the host"
            ));
        }
    }
    Ok(lacks)
}

/// What a deleted attachment has left.
fn remains(
    container: &Container,
    interface: &str,
    attachment: &Attachment,
    in_use: &BTreeSet<(String, String)>,
) -> Result<Vec<String>, LabError> {
    let host = container.host();
    let reused = |name: &String| in_use.contains(&(host.name().to_owned(), name.clone()));
    let mut remains = Vec::new();
    if container.inside().exists() && has_interface(container.inside(), interface)? {
        remains.push(format!("still has the interface {interface}"));
    }
    for name in outside(&attachment.result) {
        if !reused(&name) && has_interface(host, &name)? {
            remains.push(format!("the host still has its interface {name}"));
        }
    }
    for address in addresses(&attachment.result) {
        let (family, length) = if address.contains(':') {
            ("-6", 128)
        } else {
            ("-4", 32)
        };
        let routes = host.ip_json(&format!(
            "{family} route show exact {address}/{length} table all"
        ))?;
        let routes = routes.as_array().map(Vec::as_slice).unwrap_or_default();
        if !reused(&address) && !routes.is_empty() {
            remains.push(format!("the host still has a route to {address}"));
        }
    }
    Ok(remains)
}

/// The addresses of a CNI result, without their lengths.
fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().into_iter().flatten();
    ips.filter_map(|ip| ip["address"].as_str())
        .map(|address| address.split('/').next().unwrap_or(address).to_owned())
        .collect()
}

/// The interfaces of a CNI result that lie outside the container.
fn outside(result: &Value) -> Vec<String> {
    let interfaces = result["interfaces"].as_array().into_iter().flatten();
    interfaces
        .filter(|interface| interface["sandbox"].as_str().unwrap_or_default().is_empty())
        .filter_map(|interface| interface["name"].as_str().map(str::to_owned))
        .collect()
}

fn has_interface(host: &Host, name: &str) -> Result<bool, LabError> {
    Ok(host
        .output(["ip", "link", "show", "dev", name])?
        .status
        .success())
}

fn ping(host: &Host, address: &str) -> Result<(), LabError> {
    let parsed = address
        .parse()
        .map_err(|_| LabError::shape("the ADD's result", address))?;
    host.ping(parsed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_names_addresses_and_the_interfaces_outside() {
        let result = json!({
            "ips": [{ "address": "10.1.0.2/32" }, { "address": "fd00::2/128" }],
            "interfaces": [{ "name": "wl1" }, { "name": "eth0", "sandbox": "/run/netns/c" }],
        });
        assert_eq!(addresses(&result), ["10.1.0.2", "fd00::2"]);
        assert_eq!(outside(&result), ["wl1"]);
    }

    #[test]
    fn every_problem_of_the_agents_own_audit_is_a_violation_and_so_is_a_miscount() {
        let audit =
            |problems: Value| json!({ "problems": problems, "attachments": 2, "leases": 4 });
        let found = |answer: &Value, attached| audit_problems("h", answer, attached);
        assert_eq!(found(&audit(json!([])), 2).expect("an answer"), []);
        assert_eq!(found(&audit(json!([])), 3).expect("an answer").len(), 1);
        assert_eq!(
            found(&audit(json!([{ "what": "a" }, {}])), 2)
                .expect("an answer")
                .len(),
            2
        );
        assert!(found(&json!({ "message": "no such path" }), 0).is_err());
    }
}
