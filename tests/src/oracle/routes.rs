//! I3: the kernel holds what the agent believes it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::oracle::Violation;
use crate::world::PROTOCOL;

/// A kernel route with the agent's protocol, reduced to what both sides can say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FibRoute {
    /// The prefix, always with its length.
    pub prefix: String,
    /// The metric as the kernel has it.
    pub metric: u64,
    /// `unicast`, `blackhole`, ...
    pub kind: String,
    /// `via GATEWAY dev INTERFACE` or `dev INTERFACE` of each next hop; none for a route that goes
    /// nowhere.
    pub hops: BTreeSet<String>,
}

impl fmt::Display for FibRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} metric {}", self.kind, self.prefix, self.metric)?;
        self.hops.iter().try_for_each(|hop| write!(f, " {hop}"))
    }
}

/// I3: on every host whose agent runs, kernel routes with our protocol equal the agent's view, and
/// that is what its sessions say: see [`desired`]. An agent that is told not to install any has
/// none there.
pub fn fib_agrees(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let mut found = Vec::new();
    for agent in lab.agents().iter().filter(|agent| agent.process().alive()) {
        let name = agent.host().name();
        let list = match pages(agent, "/v1/fib?", "after") {
            Ok(list) => list,
            Err(LabError::Http { .. }) if !agent.installs_routes() => Vec::new(),
            Err(e) => return Err(e),
        };
        let view = agent_view(&json!({ "routes": list }))?;
        found.extend(difference(name, &kernel_view(agent.host())?, &view));
        if agent.installs_routes() {
            // Of the loc-RIB the API shows the best path alone; those used beside it are marked here.
            let mut paths = pages(agent, "/v1/routes?rib=in&family=ipv4&", "cursor")?;
            paths.extend(pages(agent, "/v1/routes?rib=in&family=ipv6&", "cursor")?);
            // Carriers of discovery say something about a node and lead nowhere.
            let carrier = agent
                .discovery_number()
                .map(|number| format!("{number}:1:"));
            paths.retain(|path| !carrier.as_ref().is_some_and(|mark| is_carrier(path, mark)));
            found.extend(desired(name, &paths, &list));
        }
    }
    Ok(found)
}

/// Whether a path bears the mark of discovery with the flag of a node's carrier.
fn is_carrier(path: &Value, mark: &str) -> bool {
    const NODE_MANIFEST: u32 = 4;
    let communities = path["attributes"]["large_communities"].as_array();
    communities.into_iter().flatten().any(|community| {
        let value = community.as_str().and_then(|text| text.strip_prefix(mark));
        let value: Option<u32> = value.and_then(|value| value.parse().ok());
        value.is_some_and(|value| value & NODE_MANIFEST != 0)
    })
}

/// Where the agent's routes differ from what its loc-RIB says: every prefix whose best path came
/// from a peer is installed towards the next hops of its paths, nothing else is installed on
/// behalf of BGP, and no route is in trouble. A host is connected to some networks without the
/// agent's help (`connected`): what a peer says about those is not installed.
#[must_use]
pub fn desired(host: &str, paths: &[Value], fib: &[Value]) -> Vec<Violation> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut best: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for path in paths {
        let used = path["best"] == true || path["multipath"] == true;
        if used && !path["peer"].is_null() {
            best.entry(text(&path["prefix"])).or_default().push(path);
        }
    }
    best.retain(|_, paths| paths.iter().any(|path| path["best"] == true));
    let mut found = Vec::new();
    for route in fib {
        let prefix = text(&route["prefix"]);
        let trouble = &route["trouble"];
        if !trouble.is_null() {
            if trouble["kind"] == "connected" {
                best.remove(&prefix);
            } else {
                found.push(format!("{prefix} is in trouble: {trouble}"));
            }
        }
        if route["owner"] != "bgp" || route["installed"].is_null() {
            continue;
        }
        let Some(paths) = best.remove(&prefix) else {
            found.push(format!("{prefix} is installed and no peer's best path"));
            continue;
        };
        let installed = route["installed"]["next_hops"].as_array();
        let gateways: BTreeSet<String> = installed
            .into_iter()
            .flatten()
            .map(|hop| text(&hop["gateway"]))
            .collect();
        // A next hop may have a link-local address beside its global one, and either will do.
        let leads = |path: &Value| {
            let hop = &path["next_hop"];
            gateways.contains(&text(&hop["addr"])) || gateways.contains(&text(&hop["link_local"]))
        };
        let hops: BTreeSet<String> = paths.iter().map(|p| p["next_hop"].to_string()).collect();
        if !paths.iter().all(|path| leads(path)) || gateways.len() != hops.len() {
            found.push(format!(
                "{prefix} leads to {gateways:?}, its best paths to {hops:?}"
            ));
        }
    }
    found.extend(
        best.keys()
            .map(|prefix| format!("{prefix} is a peer's best path and not installed")),
    );
    found
        .into_iter()
        .map(|what| Violation::new("I3", host, what))
        .collect()
}

/// The routes of a host's kernel that carry the agent's protocol, in all tables.
pub fn kernel_view(host: &Host) -> Result<BTreeSet<FibRoute>, LabError> {
    // iproute2 prints an IPv6 multipath route once per next hop in some versions.
    let mut merged: BTreeMap<(String, u64, String), BTreeSet<String>> = BTreeMap::new();
    for (family, least) in [("-4", 0), ("-6", 1024)] {
        // Without `-d` the kind is only printed when it is no unicast route.
        let words = format!("-d {family} route show table all proto {PROTOCOL}");
        let answer = host.ip_json(&words)?;
        for route in answer.as_array().map(Vec::as_slice).unwrap_or_default() {
            let Some(dst) = route["dst"].as_str() else {
                return Err(LabError::shape(
                    format!("`ip -j {words}`"),
                    format!("no dst: {route}"),
                ));
            };
            let kind = route["type"].as_str().unwrap_or("unicast").to_owned();
            let metric = route["metric"].as_u64().unwrap_or(least);
            let nowhere = kind != "unicast";
            let hops = merged
                .entry((with_length(dst, family), metric, kind))
                .or_default();
            // A blackhole of IPv6 is printed with the loopback as its interface.
            if !nowhere {
                hops.extend(hop(route));
                hops.extend(
                    route["nexthops"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(hop),
                );
            }
        }
    }
    let route = |((prefix, metric, kind), hops)| FibRoute {
        prefix,
        metric,
        kind,
        hops,
    };
    Ok(merged.into_iter().map(route).collect())
}

/// The routes on all pages of an answer; a page names the next, to be asked for by `key`.
fn pages(agent: &Agent, path: &str, key: &str) -> Result<Vec<Value>, LabError> {
    let mut routes = Vec::new();
    let mut page = agent.api(path.trim_end_matches(['?', '&']))?;
    loop {
        let Some(list) = page["routes"].as_array_mut() else {
            return Err(LabError::shape(path, format!("no list of routes: {page}")));
        };
        routes.append(list);
        let next = match (&page["next"], page["next"].as_str()) {
            (Value::Null, _) => return Ok(routes),
            (_, Some(next)) => next.to_owned(),
            (next, None) => next.to_string(),
        };
        page = agent.api(&format!("{path}{key}={next}"))?;
    }
}

/// One page of the agent's own view. What is desired and not `installed` is no part of it.
pub fn agent_view(page: &Value) -> Result<BTreeSet<FibRoute>, LabError> {
    let what = "/v1/fib";
    let list = page["routes"]
        .as_array()
        .ok_or_else(|| LabError::shape(what, format!("no list of routes: {page}")))?;
    let mut routes = BTreeSet::new();
    for route in list {
        let (Some(prefix), Some(metric)) = (route["prefix"].as_str(), route["metric"].as_u64())
        else {
            return Err(LabError::shape(
                what,
                format!("no prefix or no metric: {route}"),
            ));
        };
        let Some(installed) = route.get("installed").filter(|content| !content.is_null()) else {
            continue;
        };
        let kind = installed["kind"]
            .as_str()
            .ok_or_else(|| LabError::shape(what, format!("no kind: {route}")))?;
        routes.insert(FibRoute {
            prefix: prefix.to_owned(),
            metric,
            kind: kind.to_owned(),
            hops: installed["next_hops"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(hop)
                .collect(),
        });
    }
    Ok(routes)
}

/// What one side has and the other has not.
#[must_use]
pub fn difference(
    host: &str,
    kernel: &BTreeSet<FibRoute>,
    agent: &BTreeSet<FibRoute>,
) -> Vec<Violation> {
    let leaked = kernel
        .difference(agent)
        .map(|r| format!("in the kernel, unknown to the agent: {r}"));
    let lacking = agent
        .difference(kernel)
        .map(|r| format!("believed, not in the kernel: {r}"));
    leaked
        .chain(lacking)
        .map(|what| Violation::new("I3", host, what))
        .collect()
}

/// A next hop as text; `via` is how iproute2 prints a gateway of the other family. Nothing for a
/// route whose next hops are listed one by one.
fn hop(hop: &Value) -> Option<String> {
    let device = hop["dev"].as_str()?;
    let gateway = hop["gateway"]
        .as_str()
        .or_else(|| hop["via"]["host"].as_str());
    Some(match gateway {
        Some(gateway) => format!("via {gateway} dev {device}"),
        None => format!("dev {device}"),
    })
}

fn with_length(dst: &str, family: &str) -> String {
    match (dst, family) {
        ("default", "-4") => "0.0.0.0/0".to_owned(),
        ("default", _) => "::/0".to_owned(),
        (dst, _) if dst.contains('/') => dst.to_owned(),
        (dst, "-4") => format!("{dst}/32"),
        (dst, _) => format!("{dst}/128"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_is_installed_towards_it_and_nothing_else_is() {
        let path = |prefix: &str, addr: &str| json!({ "prefix": prefix, "peer": "p", "best": true, "next_hop": { "addr": addr } });
        let route = |prefix: &str, gateway: &str| {
            json!({ "prefix": prefix, "owner": "bgp", "installed": {
                "kind": "unicast", "next_hops": [{ "gateway": gateway, "dev": "eth0" }] } })
        };
        let one = path("10.0.0.0/24", "10.9.0.1");
        let installed = route("10.0.0.0/24", "10.9.0.1");
        let mut link_local = path("fd00::/64", "fd01::1");
        link_local["next_hop"]["link_local"] = json!("fe80::1");
        let mut own = path("10.2.0.0/24", "10.9.0.1");
        own["peer"] = Value::Null;
        let mut second = path("10.0.0.0/24", "10.9.0.2");
        (second["best"], second["multipath"]) = (json!(false), json!(true));
        let mut worse = second.clone();
        worse["multipath"] = json!(false);
        let block = json!({ "prefix": "10.1.0.0/24", "owner": "block", "installed": {
            "kind": "blackhole" } });
        let troubled = |kind: &str| json!({ "prefix": "10.0.0.0/24", "owner": "bgp", "trouble": { "kind": kind } });
        let cases = [
            (
                vec![one.clone(), own, worse],
                vec![installed.clone(), block],
                0,
            ),
            (vec![link_local], vec![route("fd00::/64", "fe80::1")], 0),
            (vec![one.clone()], vec![], 1),
            (vec![], vec![installed.clone()], 1),
            (vec![one.clone()], vec![route("10.0.0.0/24", "10.9.0.2")], 1),
            (vec![one.clone(), second], vec![installed], 1),
            (vec![one.clone()], vec![troubled("connected")], 0),
            (vec![one], vec![troubled("unresolved")], 2),
        ];
        for (n, (best, fib, count)) in cases.into_iter().enumerate() {
            let found = desired("h", &best, &fib);
            assert_eq!(found.len(), count, "{n}: {found:?}");
        }
    }

    #[test]
    fn a_carrier_is_told_by_its_mark_and_no_endpoint_is_one() {
        let path = |text: &str| json!({ "attributes": { "large_communities": [text] } });
        for (text, carrier) in [
            ("7:1:16777220", true),
            ("7:1:16777216", false),
            ("8:1:4", false),
        ] {
            assert_eq!(is_carrier(&path(text), "7:1:"), carrier, "{text}");
        }
    }

    #[test]
    fn prefixes_of_the_kernel_get_the_length_they_leave_out() {
        for (dst, family, expected) in [
            ("default", "-4", "0.0.0.0/0"),
            ("default", "-6", "::/0"),
            ("10.0.0.1", "-4", "10.0.0.1/32"),
            ("fd00::1", "-6", "fd00::1/128"),
            ("10.0.0.0/24", "-4", "10.0.0.0/24"),
        ] {
            assert_eq!(with_length(dst, family), expected);
        }
    }

    #[test]
    fn a_route_of_one_side_only_is_a_violation_and_so_is_another_gateway_or_metric() {
        let view = |gateway: &str, metric: u32| {
            agent_view(&json!({ "routes": [
                { "prefix": "10.0.0.0/24", "metric": metric, "installed": {
                    "kind": "unicast", "next_hops": [{ "gateway": gateway, "dev": "eth0" }] } },
                { "prefix": "10.1.0.0/24", "metric": 0, "installed": { "kind": "blackhole" } },
            ]}))
            .expect("a view")
        };
        let one = view("10.9.0.1", 50);
        assert!(difference("h", &one, &one).is_empty());
        assert_eq!(difference("h", &one, &view("10.9.0.2", 50)).len(), 2);
        assert_eq!(difference("h", &one, &view("10.9.0.1", 51)).len(), 2);
        let mut less = one.clone();
        less.pop_last();
        assert_eq!(difference("h", &one, &less).len(), 1);
        assert_eq!(difference("h", &less, &one).len(), 1);
    }

    #[test]
    fn what_is_desired_and_not_installed_is_not_believed_to_be_in_the_kernel() {
        let view = agent_view(&json!({ "routes": [
            { "prefix": "10.0.0.0/24", "metric": 50, "trouble": { "kind": "unresolved" } },
            { "prefix": "10.1.0.0/24", "metric": 50, "installed": {
                "kind": "unicast", "next_hops": [{ "dev": "eth0", "weight": 1 }] } },
        ]}));
        let shown: Vec<String> = view
            .expect("a view")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["unicast 10.1.0.0/24 metric 50 dev eth0"]);
    }

    #[test]
    fn an_answer_that_is_no_list_of_routes_is_an_error_and_no_empty_view() {
        assert!(agent_view(&json!({ "message": "not implemented" })).is_err());
        assert!(agent_view(&json!({ "routes": [{ "dst": "10.0.0.0/24" }] })).is_err());
    }
}
