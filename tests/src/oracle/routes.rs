//! I3: the kernel holds what the agent believes it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

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
    /// `unicast`, `blackhole`, ...
    pub kind: String,
    /// The gateways in order, none for a route that is on-link or goes nowhere.
    pub gateways: BTreeSet<String>,
}

impl fmt::Display for FibRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.prefix)?;
        for gateway in &self.gateways {
            write!(f, " via {gateway}")?;
        }
        Ok(())
    }
}

/// I3: on every host whose agent runs, kernel routes with our protocol equal the agent's view. An
/// agent that is told to install nothing, or that says it cannot, has none there.
pub fn fib_agrees(lab: &Lab) -> Result<Vec<Violation>, LabError> {
    let mut found = Vec::new();
    for agent in lab.agents().iter().filter(|agent| agent.process().alive()) {
        let view = if agent.installs_routes() && !agent.has_problem("absent.fib")? {
            agent_view(&agent.cli(["routes", "--rib", "fib"])?)?
        } else {
            BTreeSet::new()
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
    let mut routes = BTreeSet::new();
    for family in ["-4", "-6"] {
        // Without `-d` the kind is only printed when it is no unicast route.
        let words = format!("-d {family} route show table all proto {PROTOCOL}");
        let answer = host.ip_json(&words)?;
        // iproute2 prints an IPv6 multipath route once per next hop in some versions.
        let mut merged: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for route in answer.as_array().map(Vec::as_slice).unwrap_or_default() {
            let text = |key: &str| route[key].as_str().map(str::to_owned);
            let Some(dst) = text("dst") else {
                return Err(LabError::shape(
                    format!("`ip -j {words}`"),
                    format!("no dst: {route}"),
                ));
            };
            let kind = text("type").unwrap_or_else(|| "unicast".to_owned());
            let gateways = merged.entry((with_length(&dst, family), kind)).or_default();
            gateways.extend(gateway(route));
            gateways.extend(
                route["nexthops"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(gateway),
            );
        }
        routes.extend(
            merged
                .into_iter()
                .map(|((prefix, kind), gateways)| FibRoute {
                    prefix,
                    kind,
                    gateways,
                }),
        );
    }
    Ok(routes)
}

/// The agent's own view, from `wayleave routes --rib fib -o json`: a list of routes, each with its
/// `prefix` and what is in the kernel of it (`kind`, `next_hops`), there or below `installed`. What
/// is desired and not installed (`"installed": null`) is no part of it.
pub fn agent_view(answer: &Value) -> Result<BTreeSet<FibRoute>, LabError> {
    let what = "`wayleave routes --rib fib`";
    let list = answer.get("routes").unwrap_or(answer);
    let list = list
        .as_array()
        .ok_or_else(|| LabError::shape(what, format!("no list of routes: {answer}")))?;
    let mut routes = BTreeSet::new();
    for route in list {
        let prefix = route["prefix"]
            .as_str()
            .or_else(|| route["slot"]["prefix"].as_str());
        let prefix = prefix.ok_or_else(|| LabError::shape(what, format!("no prefix: {route}")))?;
        let content = route.get("installed").unwrap_or(route);
        if content.is_null() {
            continue;
        }
        let hops = content["next_hops"].as_array().into_iter().flatten();
        routes.insert(FibRoute {
            prefix: prefix.to_owned(),
            kind: content["kind"].as_str().unwrap_or("unicast").to_owned(),
            gateways: hops.filter_map(gateway).collect(),
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

/// The gateway of a route or next hop; `via` is how iproute2 prints one of the other family.
fn gateway(hop: &Value) -> Option<String> {
    let host = hop["gateway"]
        .as_str()
        .or_else(|| hop["via"]["host"].as_str());
    host.map(str::to_owned)
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
    fn a_route_of_one_side_only_is_a_violation_and_so_is_another_gateway() {
        let view = |gateway: &str| {
            agent_view(&json!([
                { "prefix": "10.0.0.0/24", "kind": "unicast", "next_hops": [{ "gateway": gateway }] },
                { "prefix": "10.1.0.0/24", "kind": "blackhole", "next_hops": [] },
            ]))
            .expect("a view")
        };
        let (one, other) = (view("10.9.0.1"), view("10.9.0.2"));
        assert!(difference("h", &one, &one).is_empty());
        assert_eq!(difference("h", &one, &other).len(), 2);
        let mut less = one.clone();
        less.pop_last();
        assert_eq!(difference("h", &one, &less).len(), 1);
        assert_eq!(difference("h", &less, &one).len(), 1);
    }

    #[test]
    fn what_is_desired_and_not_installed_is_not_believed_to_be_in_the_kernel() {
        let view = agent_view(&json!({ "routes": [
            { "prefix": "10.0.0.0/24", "installed": null, "trouble": "unreachable" },
            { "slot": { "prefix": "10.1.0.0/24" },
              "installed": { "kind": "unicast", "next_hops": [{ "gateway": "10.9.0.1" }] } },
        ]}));
        let shown: Vec<String> = view
            .expect("a view")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["unicast 10.1.0.0/24 via 10.9.0.1"]);
    }

    #[test]
    fn an_answer_that_is_no_list_of_routes_is_an_error_and_no_empty_view() {
        assert!(agent_view(&json!({ "message": "not implemented" })).is_err());
        assert!(agent_view(&json!([{ "dst": "10.0.0.0/24" }])).is_err());
    }
}
