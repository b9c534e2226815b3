//! What a correct configuration still leaves to be desired: problems an operator should know.

use super::{
    model::{Config, PeerOptions, PolicySetting},
    options::passes_nothing_unasked,
    setting::{Origin, Setting},
};
use crate::problem::{Problem, Severity};

/// The problems that follow from the configuration alone.
pub fn advice(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.peers.is_empty() && config.ranges.is_empty() {
        problems.push(Problem {
            key: "config.no-peers".to_owned(),
            severity: Severity::Warning,
            what: "this speaker has no peers".to_owned(),
            why: "the configuration has no [[peer]] and no [[range]]".to_owned(),
            fix: format!(
                "add a [[peer]] with address and asn to {}",
                file_to_edit(config)
            ),
        });
    }
    if config.node.router_id.origin == Origin::Default {
        problems.push(Problem {
            key: "config.no-router-id".to_owned(),
            severity: Severity::Warning,
            what: "this speaker has no router id of its own".to_owned(),
            why: "none is set, and the host has no IPv4 address to derive it from".to_owned(),
            fix: format!(
                "set router_id under [node] in {}, before adding peers",
                file_to_edit(config)
            ),
        });
    }
    // Who keeps routes out of the kernel runs a plain speaker, which attaches no containers.
    let plain_speaker = !config.fib.install.value;
    if config.pools.is_empty() && !plain_speaker {
        problems.push(Problem {
            key: "config.no-pool".to_owned(),
            severity: Severity::Warning,
            what: "containers cannot get addresses".to_owned(),
            why: "the configuration has no [[pool]]".to_owned(),
            fix: format!(
                "add a [[pool]] with cidr, and a [[block]] for this host, to {}; \
                 for a plain speaker or reflector set [fib] install = false",
                file_to_edit(config)
            ),
        });
    } else if config.blocks.is_empty() && !plain_speaker {
        problems.push(Problem {
            key: "config.no-block".to_owned(),
            severity: Severity::Warning,
            what: "containers cannot get addresses on this host".to_owned(),
            why: "there is a [[pool]], but no [[block]] of it belongs to this host".to_owned(),
            fix: format!(
                "add a [[block]] with a prefix that no other host has to {}",
                file_to_edit(config)
            ),
        });
    }
    if !config.dns.listen.value.is_empty() && config.discovery.number.value.is_none() {
        problems.push(Problem {
            key: "config.no-discovery".to_owned(),
            severity: Severity::Warning,
            what: "the name server is off".to_owned(),
            why: "[dns] listen is set, and service discovery, whose names it serves, has no number"
                .to_owned(),
            fix: format!(
                "set number under [discovery], the same on all hosts, in {}; or remove listen under [dns]",
                file_to_edit(config)
            ),
        });
    }
    for group in &config.groups {
        problems.extend(unused(config, group));
    }
    for peer in &config.peers {
        problems.extend(policy_advice(config, &peer.name.value, &peer.options));
    }
    for range in &config.ranges {
        problems.extend(policy_advice(
            config,
            &range.prefix.value.to_string(),
            &range.options,
        ));
    }
    problems
}

/// A group without members does nothing: somebody has forgotten them, or the group.
fn unused(config: &Config, group: &Setting<String>) -> Option<Problem> {
    let Setting {
        value: name,
        origin,
    } = group;
    let peers = config.peers.iter().map(|peer| &peer.options);
    let mut members = peers.chain(config.ranges.iter().map(|range| &range.options));
    let is_used = members.any(|options| options.group.value.as_ref() == Some(name));
    (!is_used).then(|| Problem {
        key: format!("config.unused-group.{name}"),
        severity: Severity::Warning,
        what: format!("the peer group {name} has no members"),
        why: format!("it is at {origin}, and no [[peer]] and no [[range]] has group = {name:?}"),
        fix: format!("write group = {name:?} in its members, or remove it"),
    })
}

fn policy_advice(config: &Config, name: &str, options: &PeerOptions) -> Option<Problem> {
    if passes_nothing_unasked(options) {
        let silent = match (&options.import.value, &options.export.value) {
            (PolicySetting::None, PolicySetting::None) => "accepts nothing and is told nothing",
            (PolicySetting::None, _) => "accepts nothing",
            _ => "is told nothing",
        };
        return Some(Problem {
            key: format!("config.no-policy.{name}"),
            severity: Severity::Warning,
            what: format!("the session with {name} {silent}"),
            why: "it is external and has no policy, so nothing may pass (RFC 8212)".to_owned(),
            fix: format!(
                "set role = \"host\", or import and export, for it in {}",
                file_to_edit(config)
            ),
        });
    }
    let follows_pools =
        [&options.import.value, &options.export.value].contains(&&PolicySetting::Pools);
    (follows_pools && config.pools.is_empty()).then(|| Problem {
        key: format!("config.no-pool.{name}"),
        severity: Severity::Warning,
        what: format!("nothing is accepted from {name}"),
        why: "its policy passes what lies in the pools, and there are none".to_owned(),
        fix: format!("add the [[pool]] of the fabric to {}", file_to_edit(config)),
    })
}

fn file_to_edit(config: &Config) -> String {
    match config.files.first() {
        Some(file) => file.display().to_string(),
        None => super::DEFAULT_PATH.to_owned(),
    }
}
