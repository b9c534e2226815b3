//! `wayleave policy test NAME`: without the agent, from the configuration files.

mod input;
mod print;

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use wayleave_bgp_core::policy::{Session, Verdict};

use super::{CommandError, Outcome, output::Output, table::plural};
use crate::config::{self, Config, DEFAULT_PATH, HostFacts};
use input::{Given, RouteOptions};

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Which rule decides about a route, why, and what leaves.
    #[command(
        after_help = "Exit codes: 0 the route is accepted; 2 it is rejected; 1 wrong usage, or a wrong configuration."
    )]
    Test(Box<Test>),
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// The policy: one of the configuration, or `fabric-import`, `fabric-export`,
    /// `border-import` or `border-export`.
    #[arg(value_name = "NAME")]
    name: String,
    /// The configuration: a file with the conf.d beside it, or a directory.
    #[arg(long, value_name = "FILE|DIR")]
    config: Option<PathBuf>,
    /// Reads the route as JSON from standard input, as `routes -o json` prints it.
    #[arg(long, conflicts_with = "prefix")]
    stdin: bool,
    #[command(flatten)]
    route: RouteOptions,
}

/// Longest route on standard input.
const LONGEST_INPUT: u64 = 1 << 20;

impl Policy {
    pub(super) fn exec(self, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
        match self {
            Self::Test(test) => test.exec(out),
        }
    }
}

impl Test {
    fn exec(self, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
        let loaded = config::load(path, self.config.is_none(), &HostFacts::observe());
        let config = match loaded {
            Ok(config) => config,
            Err(errors) => {
                let mut stderr = io::stderr().lock();
                write!(stderr, "{errors}")?;
                writeln!(stderr, "\n{}", plural(errors.diagnostics.len(), "error"))?;
                return Err(CommandError::Told);
            }
        };
        let policies = &config.policies;
        let rules = policies.named(&self.name).ok_or_else(|| {
            let meant = match policies.nearest(&self.name) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => {
                    let names: Vec<_> = policies.names().collect();
                    format!("there are: {}", names.join(", "))
                }
            };
            CommandError::Usage(format!("there is no policy {:?}; {meant}", self.name))
        })?;
        let given = if self.stdin {
            let mut text = String::new();
            io::stdin()
                .lock()
                .take(LONGEST_INPUT)
                .read_to_string(&mut text)?;
            Given::from_json(&text, &self.route)
        } else {
            Given::from_options(&self.route)
        };
        let given = given.map_err(CommandError::Usage)?;
        let session = session(&config, &given)?;
        let canonical = given.canonical();
        let route = given.route(&canonical, &session);
        let explanation = rules.explain(&session, &route);
        print::print(out, rules, &session, &route, &explanation)?;
        Ok(match explanation.outcome.verdict {
            Verdict::Accept => Outcome::Done,
            Verdict::Reject => Outcome::Degraded,
        })
    }
}

/// The session with the peer that is named, or one with somebody nobody knows.
fn session(config: &Config, given: &Given) -> Result<Session, CommandError> {
    let local_as = config.bgp.asn.value;
    let Some(name) = &given.peer else {
        return Ok(Session {
            peer: "unnamed".to_owned(),
            group: None,
            role: None,
            address: input::NOBODY,
            external: given.external.unwrap_or(true),
            local_as,
        });
    };
    let peer = config.peers.iter().find(|peer| peer.name.value == *name);
    let Some(peer) = peer else {
        let names: Vec<_> = config
            .peers
            .iter()
            .map(|peer| peer.name.value.as_str())
            .collect();
        let known = if names.is_empty() {
            "the configuration has none".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        return Err(CommandError::Usage(format!(
            "there is no peer {name:?}; {known}"
        )));
    };
    let options = &peer.options;
    let external = options.asn.value.is_external(local_as);
    if given.external.is_some_and(|given| given != external) {
        let kind = if external { "external" } else { "internal" };
        return Err(CommandError::Usage(format!(
            "the session with {name:?} is {kind}"
        )));
    }
    Ok(Session {
        peer: name.clone(),
        group: None,
        role: options.role.value.map(|role| role.word().to_owned()),
        address: peer.transport.address.value.unwrap_or(input::NOBODY),
        external,
        local_as: match (options.local_as.value, options.local_as_replace.value) {
            (Some(shown), true) => shown,
            _ => local_as,
        },
    })
}
