//! Stock BIRD on a host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::need;
use crate::process::{Process, Role};
use crate::world;

const START_LIMIT: Duration = Duration::from_secs(15);

/// A running BIRD. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bird {
    host: Host,
    lab: Lab,
    socket: String,
    config: String,
    process: Arc<Process>,
}

impl Bird {
    pub(crate) fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        let program = need::find("bird").ok_or_else(|| LabError::Missing {
            program: "bird".to_owned(),
            fix: "install the package bird2".to_owned(),
        })?;
        let name = host.name();
        let (socket, file) = (
            format!("{}/{name}.bird.ctl", world::ROOT),
            format!("{}/{name}.bird.conf", world::ROOT),
        );
        write_config(&file, config)?;
        let process = Process::new(
            host,
            "bird",
            Role::Router,
            program,
            ["-f", "-c", &file, "-s", &socket],
        );
        lab.register(&process);
        let bird = Self {
            host: host.clone(),
            lab: lab.clone(),
            socket,
            config: file,
            process,
        };
        let viewer = bird.clone();
        lab.view(format!("BIRD on {name}"), move || viewer.summary());
        bird.start_again()?;
        Ok(bird)
    }

    /// Runs a command in BIRD's shell and returns what it printed.
    pub fn cli(&self, command: &str) -> Result<String, LabError> {
        let words = ["birdc", "-s", &self.socket];
        let text = self
            .host
            .run(words.into_iter().chain(command.split_whitespace()))?;
        // birdc ends well whatever BIRD answered.
        let refusals = [
            "syntax error",
            "Runtime error",
            "Access denied",
            "No protocols match",
        ];
        match refusals.iter().find(|refusal| text.contains(*refusal)) {
            Some(_) => Err(LabError::shape(format!("`birdc {command}`"), text)),
            None => Ok(text),
        }
    }

    /// The best route to a prefix: the attributes as BIRD prints them, by name (`BGP.as_path`), and
    /// its first gateway as `via`. Fails when there is none.
    pub fn best(&self, prefix: &str) -> Result<BTreeMap<String, String>, LabError> {
        let text = self.cli(&format!("show route {prefix} primary all"))?;
        attributes(&text).ok_or_else(|| {
            LabError::shape(
                format!("{}'s BIRD", self.host.name()),
                format!("no route {prefix}: {text}"),
            )
        })
    }

    /// Replaces the configuration and lets BIRD read it.
    pub fn configure(&self, config: &str) -> Result<(), LabError> {
        write_config(&self.config, config)?;
        let answer = self.cli("configure")?;
        if answer.contains("Reconfigured") || answer.contains("Reconfiguration in progress") {
            return Ok(());
        }
        Err(LabError::shape("`birdc configure`", answer))
    }

    /// Starts it again after its end, and waits until it answers.
    pub fn start_again(&self) -> Result<(), LabError> {
        self.process
            .start_until(&self.lab, START_LIMIT, || self.cli("show status").map(drop))
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
        ["show protocols", "show route all"]
            .iter()
            .map(|command| match self.cli(command) {
                Ok(text) => format!("> {command}\n{text}"),
                Err(e) => format!("> {command}\n{e}\n"),
            })
            .collect()
    }
}

fn attributes(text: &str) -> Option<BTreeMap<String, String>> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        // Long lists go on in further lines, behind one tab more.
        if let (Some(more), Some((_, value))) = (line.strip_prefix("\t\t"), attributes.last_mut()) {
            value.push(' ');
            value.push_str(more);
            continue;
        }
        let line = line.trim();
        let attribute = line
            .strip_prefix("via ")
            .map(|via| ("via", via.split(' ').next().unwrap_or(via)))
            .or_else(|| line.split_once(": "));
        attributes.extend(attribute.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    text.contains(" [")
        .then(|| attributes.into_iter().collect())
}

fn write_config(file: &str, config: &str) -> Result<(), LabError> {
    world::write_file(file, &format!("log stderr all;\n{config}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_of_a_route_are_read_and_none_from_an_empty_table() {
        let text = "BIRD 2.0.12 ready.\nTable master4:\n\
            192.0.2.1/32         unicast [frr4 04:01:07.171] * (100) [AS65001i]\n\
            \tvia 10.255.0.1 on to-frr\n\
            \tType: BGP univ\n\
            \tBGP.as_path: 65000 65001\n\
            \tBGP.large_community: (65001, 1, 2) (65001, 1, 3)\n\
            \t\t(65001, 1, 4)\n";
        let route = attributes(text).expect("a route");
        assert_eq!(route["via"], "10.255.0.1");
        assert_eq!(route["BGP.as_path"], "65000 65001");
        assert_eq!(
            route["BGP.large_community"],
            "(65001, 1, 2) (65001, 1, 3) (65001, 1, 4)"
        );
        assert!(attributes("BIRD 2.0.12 ready.\nNetwork not found\n").is_none());
    }
}
