//! `wayleave register NAME --address ADDRESS ...`, `wayleave register --file FILE`

use std::{io::Write, net::IpAddr, path::PathBuf, str::FromStr};

use clap::Args;
use serde_json::{Map, Value, json};
use wayleave_discovery::codec::Protocol;

use super::{Client, CommandError, Outcome, client::typed, output::Output};
use crate::{api::services::RegisterDone, registry::read_file};

const PATH: &str = "/v1/services";

#[derive(Debug, Args)]
pub(super) struct Register {
    /// The service's name.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// Registers every [[service]] of a file written as those in services.d are.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Its namespace; by default `default`.
    #[arg(long, conflicts_with = "file")]
    namespace: Option<String>,
    /// Where it is reached: an address of a container of this host; may be given again.
    #[arg(
        long,
        value_name = "ADDRESS",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    address: Vec<IpAddr>,
    /// A port: [NAME=]NUMBER[/PROTOCOL], such as `http=8080/tcp`; may be given again.
    #[arg(long, value_name = "PORT", conflicts_with = "file")]
    port: Vec<PortArgument>,
    /// A tag, KEY or KEY=VALUE; may be given again.
    #[arg(long, value_name = "TAG", conflicts_with = "file")]
    tag: Vec<String>,
    /// 0 to 15: a lower one is used first.
    #[arg(long, conflicts_with = "file")]
    priority: Option<u8>,
    /// Its share among those of one priority.
    #[arg(long, conflicts_with = "file")]
    weight: Option<u16>,
    /// A check: tcp[:PORT] or http[:PORT][=PATH]; without PORT that of the first tcp port; may be
    /// given again, and all must pass.
    #[arg(long, value_name = "CHECK", conflicts_with = "file")]
    check: Vec<CheckArgument>,
    /// How often its checks run, such as 500ms or 10s.
    #[arg(long, value_name = "SPAN", requires = "check")]
    interval: Option<String>,
    /// How long one may take.
    #[arg(long, value_name = "SPAN", requires = "check")]
    timeout: Option<String>,
    /// Passes in a row until a failing one passes.
    #[arg(long, value_name = "COUNT", requires = "check")]
    rise: Option<u32>,
    /// Failures in a row until it fails.
    #[arg(long, value_name = "COUNT", requires = "check")]
    fall: Option<u32>,
    /// What tells it from all others of this host; by default made of name, address and port.
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    id: Option<String>,
}

/// `http=8080/tcp`, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PortArgument {
    name: Option<String>,
    number: u16,
    protocol: Protocol,
}

impl FromStr for PortArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) => (Some(name.to_owned()), rest),
            None => (None, text),
        };
        let (number, protocol) = match rest.split_once('/') {
            Some((number, protocol)) => (
                number,
                protocol
                    .parse::<Protocol>()
                    .map_err(|error| error.to_string())?,
            ),
            None => (rest, Protocol::TCP),
        };
        Ok(Self {
            name,
            number: port_number(number)?,
            protocol,
        })
    }
}

/// `tcp:8080` or `http:8080=/healthz`, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CheckArgument {
    kind: &'static str,
    port: Option<u16>,
    path: Option<String>,
}

impl FromStr for CheckArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, path) = match text.split_once('=') {
            Some((head, path)) => (head, Some(path.to_owned())),
            None => (text, None),
        };
        let (kind, port) = match head.split_once(':') {
            Some((kind, port)) => (kind, Some(port_number(port)?)),
            None => (head, None),
        };
        let kind = match kind {
            "tcp" if path.is_some() => {
                return Err("a tcp check has no path: write tcp or tcp:PORT".to_owned());
            }
            "tcp" => "tcp",
            "http" => "http",
            _ => return Err("expected tcp[:PORT] or http[:PORT][=PATH]".to_owned()),
        };
        Ok(Self { kind, port, path })
    }
}

fn port_number(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is not a port: expected 1 to 65535")),
        Ok(port) => Ok(port),
    }
}

impl Register {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        let registrations = match &self.file {
            Some(path) => {
                let services =
                    read_file(path).map_err(|error| CommandError::Usage(error.to_string()))?;
                if services.is_empty() {
                    let message = format!("{}: there is no [[service]] in it", path.display());
                    return Err(CommandError::Usage(message));
                }
                services.iter().map(|service| json!(service)).collect()
            }
            None => vec![self.registration()?],
        };
        let mut answers = Vec::new();
        for registration in &registrations {
            let answer = client.put(PATH, registration)?;
            let done: RegisterDone = typed(PATH, &answer)?;
            if !out.is_json() {
                writeln!(out, "{} is {}", done.instance, said(&done.outcome))?;
                // What was done stays done when the next one is refused.
                out.flush()?;
            }
            answers.push(answer);
        }
        if out.is_json() {
            match (self.file, answers.as_slice()) {
                (None, [answer]) => out.json(answer)?,
                _ => out.json(&json!({ "registered": answers }))?,
            }
        }
        Ok(Outcome::Done)
    }

    /// The registration as the agent takes it, which checks what is in it.
    fn registration(&self) -> Result<Value, CommandError> {
        let mut fields = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            fields.extend(value.map(|value| (key.to_owned(), value)));
        };
        put("name", self.name.as_ref().map(|name| json!(name)));
        put("id", self.id.as_ref().map(|id| json!(id)));
        put("namespace", self.namespace.as_ref().map(|name| json!(name)));
        put("addresses", Some(json!(self.address)));
        put("tags", Some(json!(self.tag)));
        put("priority", self.priority.map(|priority| json!(priority)));
        put("weight", self.weight.map(|weight| json!(weight)));
        let ports = self.port.iter().map(|port| {
            let mut fields = json!({ "port": port.number, "protocol": port.protocol });
            if let Some(name) = &port.name {
                fields["name"] = json!(name);
            }
            fields
        });
        put("ports", Some(ports.collect()));
        let checks: Result<Vec<Value>, CommandError> =
            self.check.iter().map(|check| self.check(check)).collect();
        put("checks", Some(Value::Array(checks?)));
        Ok(Value::Object(fields))
    }

    fn check(&self, check: &CheckArgument) -> Result<Value, CommandError> {
        let first = || {
            let mut ports = self.port.iter();
            ports
                .find(|port| port.protocol == Protocol::TCP)
                .map(|port| port.number)
        };
        let port = check.port.or_else(first).ok_or_else(|| {
            let kind = check.kind;
            CommandError::Usage(format!(
                "which port is checked? Write `--check {kind}:PORT`, or give the service a tcp port with --port"
            ))
        })?;
        let mut fields = json!({ "kind": check.kind, "port": port });
        let given = [
            ("path", check.path.as_ref().map(|path| json!(path))),
            ("interval", self.interval.as_ref().map(|span| json!(span))),
            ("timeout", self.timeout.as_ref().map(|span| json!(span))),
            ("rise", self.rise.map(|count| json!(count))),
            ("fall", self.fall.map(|count| json!(count))),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                fields[key] = value;
            }
        }
        Ok(fields)
    }
}

fn said(outcome: &str) -> &str {
    match outcome {
        "created" => "registered",
        "replaced" => "registered anew in the place of what it was",
        "unchanged" => "registered already, and unchanged",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_with_and_without_name_and_protocol() {
        let port = |text: &str| text.parse::<PortArgument>();
        let full = port("http=8080/tcp").unwrap();
        assert_eq!((full.name.as_deref(), full.number), (Some("http"), 8080));
        assert_eq!(port("53/udp").unwrap().protocol, Protocol::UDP);
        assert_eq!(port("9090").unwrap().name, None);
        for wrong in ["", "http", "http=", "0", "65536", "80/ipx", "80/", "-1"] {
            assert!(port(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn checks_are_read_with_and_without_port_and_path() {
        let check = |text: &str| {
            let check = text.parse::<CheckArgument>()?;
            Ok::<_, String>((check.kind, check.port, check.path))
        };
        let path = |text: &str| Some(text.to_owned());
        for (text, expected) in [
            ("tcp", ("tcp", None, None)),
            ("tcp:80", ("tcp", Some(80), None)),
            ("http", ("http", None, None)),
            ("http=/healthz", ("http", None, path("/healthz"))),
            ("http:80=/q?a=b", ("http", Some(80), path("/q?a=b"))),
        ] {
            assert_eq!(check(text).unwrap(), expected, "{text}");
        }
        for wrong in ["", "icmp", "tcp=/x", "tcp:x", "http:0", "http:=/x"] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
