//! I3: the kernel holds what the agent believes it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

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

/// I3: on every host whose agent runs, kernel routes with our protocol equal the agent's view. An
/// agent that says that it cannot install any has none there, and so has one that is told not to
/// and keeps no books.
pub fn fib_agrees(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let mut found = Vec::new();
    for agent in lab.agents().iter().filter(|agent| agent.process().alive()) {
        let view = match pages(agent) {
            Ok(view) => view,
            Err(LabError::Http { .. }) if !agent.installs_routes() => BTreeSet::new(),
            Err(_) if agent.has_problem("absent.fib")? => BTreeSet::new(),
            Err(e) => return Err(e),
        };
        found.extend(difference(
            agent.host().name(),
            &kernel_view(agent.host())?,
            &view,
        ));
    }
    Ok(found)
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

/// The agent's own view: all pages of `/v1/fib`.
fn pages(agent: &Agent) -> Result<BTreeSet<FibRoute>, LabError> {
    let mut routes = BTreeSet::new();
    let mut path = "/v1/fib".to_owned();
    loop {
        let page = agent.api(&path)?;
        routes.append(&mut agent_view(&page)?);
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/fib?after={next}"),
            None => return Ok(routes),
        }
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
    use serde_json::json;

    use super::*;

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
