//! I4: what is not ours stays as it was.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::LabError;
use crate::fault;
use crate::host::Host;
use crate::lab::Lab;
use crate::need::Need;
use crate::oracle::Violation;

/// Protocols of routes that daemons of the lab come and go with: ours, and the stock routers'
/// (196 is FRR's static, unnamed in older iproute2).
const LIVELY: &[&str] = &["wayleave", "201", "bird", "zebra", "bgp", "196"];
/// What the kernel counts or recomputes by itself.
const VOLATILE: &[&str] = &[
    "expires", "age", "used", "users", "flags", "cache", "metrics",
];

/// The foreign part of a host's kernel state at one moment.
///
/// Interfaces that came later (an attachment's, a cable laid later) and those that are down now
/// take their routes with them: these are left out of the comparison.
#[derive(Debug, Clone)]
pub struct Snapshot {
    host: Host,
    devices: BTreeSet<String>,
    entries: BTreeSet<String>,
}

/// One thing found in a kernel, and the interface it hangs on.
struct Entry {
    text: String,
    device: Option<String>,
}

impl Snapshot {
    /// Reads a host's kernel.
    pub fn take(host: &Host) -> Result<Self, LabError> {
        let entries = entries(host)?.into_iter().map(|entry| entry.text).collect();
        Ok(Self {
            host: host.clone(),
            devices: devices(host, false)?,
            entries,
        })
    }

    /// What is gone and what is new since.
    pub fn compare(&self) -> Result<Vec<Violation>, LabError> {
        let up = devices(&self.host, true)?;
        let now: Vec<Entry> = entries(&self.host)?;
        let texts: BTreeSet<&str> = now.iter().map(|entry| entry.text.as_str()).collect();
        let gone = self
            .entries
            .iter()
            .filter(|text| !texts.contains(text.as_str()))
            // An entry with an interface says so; one whose interface is down is excused.
            .filter(|text| device_in(text).is_none_or(|device| up.contains(&device)))
            .map(|text| Violation::new("I4", self.host.name(), format!("is gone: {text}")));
        let new = now
            .iter()
            .filter(|entry| !self.entries.contains(&entry.text))
            .filter(|entry| {
                entry
                    .device
                    .as_ref()
                    .is_none_or(|device| self.devices.contains(device))
            })
            .map(|entry| Violation::new("I4", self.host.name(), format!("is new: {}", entry.text)));
        Ok(gone.chain(new).collect())
    }
}

/// I4: foreign routes, rules and nftables of all hosts are as in the lab's snapshot.
pub fn foreign_untouched(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let mut found = Vec::new();
    for snapshot in lab.snapshots() {
        found.extend(snapshot.compare()?);
    }
    Ok(found)
}

fn entries(host: &Host) -> Result<Vec<Entry>, LabError> {
    let mut entries = Vec::new();
    for family in ["-4", "-6"] {
        for route in array(host.ip_json(&format!("-d {family} route show table all"))?) {
            entries.extend(normal(&format!("route {family}"), route));
        }
        for rule in array(host.ip_json(&format!("{family} rule show"))?) {
            entries.extend(normal(&format!("rule {family}"), rule));
        }
    }
    for table in tables(host)? {
        entries.push(Entry {
            text: table,
            device: None,
        });
    }
    Ok(entries)
}

/// A route or rule without what changes by itself; nothing when it is not foreign.
fn normal(kind: &str, value: Value) -> Option<Entry> {
    let Value::Object(mut fields) = value else {
        return None;
    };
    let protocol = fields
        .get("protocol")
        .map(|p| p.as_str().map_or(p.to_string(), str::to_owned));
    if protocol.is_some_and(|p| LIVELY.contains(&p.as_str())) {
        return None;
    }
    fields.retain(|key, _| !VOLATILE.contains(&key.as_str()));
    let device = fields.get("dev").and_then(Value::as_str).map(str::to_owned);
    Some(Entry {
        text: format!("{kind} {}", sorted(fields)),
        device,
    })
}

/// Objects keep the order of their keys sorted: the same route has one text.
fn sorted(fields: Map<String, Value>) -> Value {
    let ordered: std::collections::BTreeMap<_, _> = fields.into_iter().collect();
    Value::Object(ordered.into_iter().collect())
}

fn device_in(text: &str) -> Option<String> {
    let json = text.splitn(3, ' ').nth(2)?;
    serde_json::from_str::<Value>(json).ok()?["dev"]
        .as_str()
        .map(str::to_owned)
}

/// Every nftables table that is not the agent's, its counters left out.
fn tables(host: &Host) -> Result<Vec<String>, LabError> {
    if Need::Nft.unmet().is_some() {
        return Ok(Vec::new());
    }
    let ruleset = host.run(["nft", "--stateless", "list", "ruleset"])?;
    let mut tables: Vec<String> = Vec::new();
    for line in ruleset.lines() {
        match tables.last_mut() {
            Some(table) if !line.starts_with("table ") => {
                table.push('\n');
                table.push_str(line);
            }
            _ => tables.push(line.to_owned()),
        }
    }
    // The agents' tables, and those of faults that the test itself has injected.
    let lively = |table: &String| {
        let name = table.split_whitespace().nth(2).unwrap_or_default();
        name.starts_with("wayleave") || name.starts_with(fault::TABLE)
    };
    Ok(tables.into_iter().filter(|table| !lively(table)).collect())
}

fn devices(host: &Host, only_up: bool) -> Result<BTreeSet<String>, LabError> {
    Ok(array(host.ip_json("link show")?)
        .into_iter()
        .filter(|link| {
            let flags = link["flags"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let has = |flag: &str| flags.iter().any(|f| f == flag);
            !only_up || has("UP") && !has("NO-CARRIER")
        })
        .filter_map(|link| link["ifname"].as_str().map(str::to_owned))
        .collect())
}

fn array(value: Value) -> Vec<Value> {
    if let Value::Array(items) = value {
        items
    } else {
        vec![value]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_of_routers_and_agents_are_not_foreign() {
        for protocol in ["wayleave", "201", "bird", "zebra", "bgp"] {
            let route = json!({ "dst": "10.0.0.0/24", "protocol": protocol });
            assert!(normal("route -4", route).is_none(), "{protocol}");
        }
        assert!(
            normal(
                "route -4",
                json!({ "dst": "10.0.0.0/24", "protocol": "static" })
            )
            .is_some()
        );
    }

    #[test]
    fn what_the_kernel_counts_does_not_make_a_route_different() {
        let text = |route| normal("route -6", route).map(|entry| entry.text);
        let before = json!({ "dst": "fe80::/64", "dev": "eth0", "expires": 12, "flags": [] });
        let after = json!({ "dev": "eth0", "dst": "fe80::/64", "flags": ["linkdown"] });
        assert_eq!(text(before.clone()), text(after));
        assert_eq!(
            device_in(&text(before).expect("is foreign")).as_deref(),
            Some("eth0")
        );
    }
}
