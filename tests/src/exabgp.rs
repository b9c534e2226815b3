//! Stock ExaBGP on a host. It has no routing table: what it hears it tells a program, line by line
//! in JSON, and here that program keeps all lines in a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::error::LabError;
use crate::host::{Host, parse_json};
use crate::lab::Lab;
use crate::need;
use crate::process::{Process, Role};
use crate::world;

const START_LIMIT: Duration = Duration::from_secs(15);
/// Where it looks for the pipes of its command line.
const PIPES: &str = "/run/exabgp";

/// A running ExaBGP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exabgp {
    host: Host,
    lab: Lab,
    heard: String,
    process: Arc<Process>,
}

impl Exabgp {
    /// The process in the configuration that hears what neighbours say: to be named in their
    /// `api { processes [ hear ]; ... }`.
    pub const HEARS: &str = "hear";

    /// Why it cannot run here, or nothing. A test that needs it skips itself by this.
    #[must_use]
    pub fn missing() -> Option<String> {
        need::lacks(&["exabgp", "exabgpcli"], "exabgp")
    }

    /// Starts ExaBGP on a host, with a configuration to which the process [`Exabgp::HEARS`] is
    /// added.
    pub fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        let program = need::daemon(lab, "exabgp", "exabgp")?;
        let name = host.name();
        let [heard, hears, file] =
            ["heard", "hear", "conf"].map(|kind| format!("{}/{name}.exabgp.{kind}", world::ROOT));
        // The shell stays, and with it the other end of the pipe that ExaBGP reads commands from:
        // it takes a helper that closed that for dead.
        world::write_file(&hears, &format!("#!/bin/sh\ncat >>{heard}\n"))?;
        fs::set_permissions(&hears, fs::Permissions::from_mode(0o755))
            .map_err(|e| LabError::system(format!("make {hears} executable"), e))?;
        let process = Self::HEARS;
        world::write_file(
            &file,
            &format!("process {process} {{\n  run {hears};\n  encoder json;\n}}\n{config}\n"),
        )?;
        world::make_directory(PIPES)?;
        for direction in ["in", "out"] {
            let pipe = format!("{PIPES}/{name}.{direction}");
            mkfifo(pipe.as_str(), Mode::S_IRUSR | Mode::S_IWUSR)
                .map_err(|e| LabError::system(format!("make the pipe {pipe}"), e.into()))?;
        }
        let arguments = [
            pipes_of(name),
            "exabgp.daemon.user=root".to_owned(),
            program.display().to_string(),
            file,
        ];
        let process = Process::new(host, "exabgp", Role::Router, "/usr/bin/env", arguments);
        lab.register(&process);
        let exabgp = Self {
            host: host.clone(),
            lab: lab.clone(),
            heard,
            process,
        };
        let viewer = exabgp.clone();
        lab.view(format!("ExaBGP on {name}"), move || viewer.summary());
        exabgp.start_again()?;
        Ok(exabgp)
    }

    /// Runs its command line, words separated by spaces, and returns what it printed.
    pub fn cli(&self, command: &str) -> Result<String, LabError> {
        let pipes = pipes_of(self.host.name());
        let words = ["env", pipes.as_str(), "exabgpcli"];
        let words: Vec<&str> = words
            .into_iter()
            .chain(command.split_whitespace())
            .collect();
        let output = self.host.output(&words)?;
        // It ends well whatever ExaBGP answered, and says on standard error that it refused.
        if output.status.success() && output.stderr.is_empty() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.host.failure(&words, &output))
    }

    /// Everything it told of its neighbours, in the order in which it did.
    pub fn events(&self) -> Result<Vec<Value>, LabError> {
        let text = match fs::read_to_string(&self.heard) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(LabError::system(format!("read {}", self.heard), e)),
        };
        // The last line may not be whole yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| parse_json("ExaBGP", line))
            .collect()
    }

    /// What its neighbours hold it to know: the attributes of every prefix, and its next hop under
    /// `next-hop`.
    pub fn table(&self) -> Result<BTreeMap<String, Value>, LabError> {
        let events = self.events()?;
        let mut table = BTreeMap::new();
        for event in &events {
            replay(&mut table, event);
        }
        // By prefix alone: no test has two neighbours tell ExaBGP the same.
        Ok(table
            .into_iter()
            .map(|((_, prefix, _), route)| (prefix, route))
            .collect())
    }

    /// All paths to a prefix, by their identifiers as ExaBGP writes them (`0.0.0.1`; RFC 7911).
    pub fn paths(&self, prefix: &str) -> Result<BTreeMap<String, Value>, LabError> {
        let mut table = BTreeMap::new();
        for event in &self.events()? {
            replay(&mut table, event);
        }
        Ok(table
            .into_iter()
            .filter(|((_, to, _), _)| to == prefix)
            .map(|((_, _, path), route)| (path, route))
            .collect())
    }

    /// The route to a prefix as the last UPDATE about it said. Fails when there is none.
    pub fn best(&self, prefix: &str) -> Result<Value, LabError> {
        let mut table = self.table()?;
        table.remove(prefix).ok_or_else(|| {
            LabError::shape(
                format!("{}'s ExaBGP", self.host.name()),
                format!("no route {prefix}: {table:?}"),
            )
        })
    }

    /// Starts it again after its end, and waits until it answers. What it heard before is forgotten.
    pub fn start_again(&self) -> Result<(), LabError> {
        match fs::remove_file(&self.heard) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(LabError::system(format!("remove {}", self.heard), e));
            }
            Ok(()) | Err(_) => {}
        }
        self.process
            .start_until(&self.lab, START_LIMIT, || self.cli("version").map(drop))
    }

    /// The process: to kill, stop or freeze it, and for its log.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    fn summary(&self) -> String {
        fs::read_to_string(&self.heard).unwrap_or_else(|e| format!("it told nothing: {e}\n"))
    }
}

/// A neighbour, a prefix of it, and which path to that: nothing without ADD-PATH.
type Key = (String, String, String);

/// Applies a line to the routes.
fn replay(table: &mut BTreeMap<Key, Value>, event: &Value) {
    let neighbour = &event["neighbor"];
    let from = neighbour["address"]["peer"].as_str().unwrap_or_default();
    if event["type"] == "state" && neighbour["state"] == "down" {
        table.retain(|(peer, ..), _| peer != from);
    }
    let update = &neighbour["message"]["update"];
    let empty = serde_json::Map::new();
    let object = |value: &Value| value.as_object().unwrap_or(&empty).clone();
    for (_, prefixes) in object(&update["withdraw"]) {
        for (prefix, path) in nlri(&prefixes) {
            table.remove(&(from.to_owned(), prefix, path));
        }
    }
    for (_, by_next_hop) in object(&update["announce"]) {
        // It tells a global next hop and the link-local one beside it as two (RFC 2545, 3).
        let mut by_next_hop: Vec<_> = object(&by_next_hop).into_iter().collect();
        by_next_hop.sort_by_key(|(next_hop, _)| !next_hop.starts_with("fe80:"));
        for (next_hop, prefixes) in by_next_hop {
            for (prefix, path) in nlri(&prefixes) {
                let mut route = object(&update["attribute"]);
                route.insert("next-hop".to_owned(), json!(next_hop));
                table.insert((from.to_owned(), prefix, path), Value::Object(route));
            }
        }
    }
}

/// Prefixes and their identifiers.
fn nlri(prefixes: &Value) -> Vec<(String, String)> {
    let prefixes = prefixes.as_array().map(Vec::as_slice).unwrap_or_default();
    prefixes
        .iter()
        .filter_map(|nlri| {
            let prefix = nlri["nlri"].as_str()?;
            let path = nlri["path-information"].as_str().unwrap_or_default();
            Some((prefix.to_owned(), path.to_owned()))
        })
        .collect()
}

/// The setting that tells the daemons of a lab, which share a file system, apart.
fn pipes_of(name: &str) -> String {
    format!("exabgp.api.pipename={name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: Value) -> Value {
        json!({ "type": "update", "neighbor": {
            "address": { "local": "10.255.0.2", "peer": "10.255.0.1" }, "message": message } })
    }

    #[test]
    fn routes_come_go_by_withdrawal_and_go_with_their_session() {
        let mut table = BTreeMap::new();
        let key = |prefix: &str| ("10.255.0.1".to_owned(), prefix.to_owned(), String::new());
        replay(
            &mut table,
            &said(json!({ "update": {
                "attribute": { "origin": "igp" },
                "announce": { "ipv4 unicast": { "10.255.0.1": [
                    { "nlri": "192.0.2.0/24" }, { "nlri": "192.0.3.0/24" } ] } } } })),
        );
        assert_eq!(table[&key("192.0.2.0/24")]["next-hop"], "10.255.0.1");
        assert_eq!(table[&key("192.0.3.0/24")]["origin"], "igp");
        replay(
            &mut table,
            &said(json!({ "update": {
                "withdraw": { "ipv4 unicast": [ { "nlri": "192.0.2.0/24" } ] } } })),
        );
        assert_eq!(table.keys().collect::<Vec<_>>(), [&key("192.0.3.0/24")]);
        replay(
            &mut table,
            &json!({ "type": "state", "neighbor": {
                "address": { "peer": "10.255.0.1" }, "state": "down" } }),
        );
        assert!(table.is_empty());
    }
    #[test]
    fn paths_to_one_prefix_go_one_by_one() {
        let mut table = BTreeMap::new();
        for path in ["0.0.0.1", "0.0.0.2"] {
            replay(
                &mut table,
                &said(json!({ "update": {
                    "attribute": { "origin": "igp" },
                    "announce": { "ipv4 unicast": { "10.255.0.1": [
                        { "nlri": "192.0.2.0/24", "path-information": path } ] } } } })),
            );
        }
        assert_eq!(table.len(), 2);
        replay(
            &mut table,
            &said(json!({ "update": { "withdraw": { "ipv4 unicast": [
                { "nlri": "192.0.2.0/24", "path-information": "0.0.0.1" } ] } } })),
        );
        let left: Vec<_> = table.keys().map(|(.., path)| path.as_str()).collect();
        assert_eq!(left, ["0.0.0.2"]);
    }
}
