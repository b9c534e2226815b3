//! `wayleave status`

use std::io::Write;

use super::{
    Client, CommandError, Outcome,
    client::typed,
    output::Output,
    problems::print_problems,
    table::{count, duration, plural},
};
use crate::{api::status::Status, problem::Severity, text::printable};

const PATH: &str = "/v1/status";

pub(super) fn exec(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let answer = client.get(PATH)?;
    let status: Status = typed(PATH, &answer)?;
    if out.is_json() {
        out.json(&answer)?;
    } else {
        print(&status, out)?;
    }
    let degraded = status
        .problems
        .iter()
        .any(|view| view.problem.severity == Severity::Error);
    Ok(if degraded {
        Outcome::Degraded
    } else {
        Outcome::Done
    })
}

fn print(status: &Status, out: &mut Output<'_>) -> Result<(), CommandError> {
    let speaker = &status.speaker;
    writeln!(
        out,
        "{}: wayleaved {} is {}, up {} (since {})",
        printable(&status.node.name),
        printable(&status.version),
        status.phase,
        duration(status.uptime_seconds),
        status.started,
    )?;
    for what in &status.waiting {
        writeln!(out, "  waiting  for {}", printable(what))?;
    }
    writeln!(
        out,
        "  speaker  AS {}, router id {}",
        speaker.asn, speaker.router_id
    )?;
    if let Some(deferring) = &speaker.deferring {
        let waits_for: Vec<_> = deferring
            .waits_for
            .iter()
            .map(|what| printable(what))
            .collect();
        writeln!(
            out,
            "  restart  nothing is announced or installed anew before it has heard {} (at most {} s more)",
            waits_for.join(", "),
            deferring.seconds
        )?;
    }
    writeln!(
        out,
        "  peers    {} of {} established",
        speaker.established, speaker.peers
    )?;
    writeln!(
        out,
        "  routes   {} IPv4, {} IPv6 ({} paths, {} attribute sets)",
        count(speaker.ipv4_routes),
        count(speaker.ipv6_routes),
        count(speaker.paths),
        count(speaker.attribute_sets),
    )?;
    let files = match status.config_files.as_slice() {
        [] => "none: defaults only".to_owned(),
        files => printable(&files.join(", ")),
    };
    writeln!(out, "  config   {files}")?;
    if status.problems.is_empty() {
        writeln!(out, "no problems")?;
    } else {
        writeln!(out, "\n{}:", plural(status.problems.len(), "problem"))?;
        print_problems(&status.problems, out)?;
    }
    Ok(())
}
