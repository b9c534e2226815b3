//! `wayleave resolve NAME [--type TYPE]`

use std::io::Write;

use clap::{Args, builder::PossibleValuesParser};

use super::{
    Client, CommandError, Outcome,
    client::{encoded, typed},
    endpoints::{ports, tags},
    output::Output,
    table::{Align, Table, plural},
};
use crate::{
    api::resolve::{InstanceView, RecordView, Resolution, ResolveStatus},
    text::printable,
};

/// Instances that are listed behind a service.
const INSTANCES: u32 = 1_000;

#[derive(Debug, Args)]
pub(super) struct Resolve {
    /// A name with or without the zone, a service (`web`, `web.default`, `_http._tcp.web`), a node
    /// (`h1.node`), or an address.
    name: String,
    /// The type of record; by default what suits the name: A and AAAA, SRV, or PTR.
    #[arg(
        long = "type",
        value_name = "TYPE",
        ignore_case = true,
        value_parser = PossibleValuesParser::new(["A", "AAAA", "SRV", "TXT", "PTR", "NS", "SOA"])
    )]
    kind: Option<String>,
}

impl Resolve {
    /// A name that means nothing is a failure, so that scripts can tell.
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        let mut path = format!("/v1/resolve?name={}&limit={INSTANCES}", encoded(&self.name));
        if let Some(kind) = &self.kind {
            path.push_str(&format!("&type={kind}"));
        }
        let answer = client.get(&path)?;
        let found: Resolution = typed(&path, &answer)?;
        if out.is_json() {
            out.json(&answer)?;
        } else {
            print(&found, out)?;
        }
        match found.status {
            ResolveStatus::Ok => Ok(Outcome::Done),
            ResolveStatus::NoData | ResolveStatus::NoSuchName => {
                out.flush()?;
                Err(CommandError::Told)
            }
        }
    }
}

fn print(found: &Resolution, out: &mut Output<'_>) -> Result<(), CommandError> {
    let name = printable(&found.name);
    let types = found.types.join(" or ");
    match found.status {
        ResolveStatus::NoSuchName => writeln!(out, "{name} does not exist (NXDOMAIN)")?,
        ResolveStatus::NoData => {
            writeln!(out, "{name} is there and has no {types} record (NODATA)")?
        }
        ResolveStatus::Ok => {
            for record in &found.answers {
                line(record, found.ttl, out)?;
            }
            if out.is_wide() {
                for record in &found.additional {
                    line(record, found.ttl, out)?;
                }
            }
        }
    }
    let Some(service) = &found.service else {
        return Ok(());
    };
    writeln!(
        out,
        "\n{} of {}:",
        plural(found.instances.len() + found.left_off, "instance"),
        printable(service)
    )?;
    let mut columns = vec![
        ("ADDRESS", Align::Left),
        ("NODE", Align::Left),
        ("PORTS", Align::Left),
        ("STATE", Align::Left),
        ("WEIGHT", Align::Right),
    ];
    if out.is_wide() {
        columns.extend([
            ("PRIO", Align::Right),
            ("HOPS", Align::Right),
            ("TAGS", Align::Left),
        ]);
    }
    let mut table = Table::new(columns);
    for instance in &found.instances {
        table.row(row(instance, out.is_wide()));
    }
    table.print(out)?;
    if found.left_off > 0 {
        writeln!(
            out,
            "and {} more: `wayleave endpoints --service {service}`",
            found.left_off
        )?;
    }
    Ok(())
}

/// As zone files have it.
fn line(record: &RecordView, ttl: u32, out: &mut Output<'_>) -> std::io::Result<()> {
    let (name, data) = (printable(&record.name), printable(&record.data));
    writeln!(out, "{name}.  {ttl}  IN  {}  {data}", record.kind)
}

fn row(instance: &InstanceView, wide: bool) -> Vec<String> {
    let service = &instance.service;
    let mut row = vec![
        instance.address.to_string(),
        instance
            .node
            .clone()
            .unwrap_or_else(|| instance.key.clone()),
        ports(&service.ports),
        match instance.standing.as_str() {
            // The state says more: maintenance or failing.
            "out" => service.state.to_string(),
            standing => standing.to_owned(),
        },
        service.weight.to_string(),
    ];
    if wide {
        row.extend([
            service.priority.to_string(),
            instance.distance.to_string(),
            tags(service),
        ]);
    }
    row
}
