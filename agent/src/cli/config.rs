//! `wayleave config show` and `wayleave config diff`

use std::io::Write;

use clap::Subcommand;

use super::{Client, CommandError, Outcome, client::typed, output::Output};
use crate::{
    api::configuration::{ConfigView, TableView},
    config::Delta,
    text::printable,
};

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// What is in effect, every value with where it comes from.
    Show,
    /// What a reload would change, and what each change costs.
    Diff,
}

impl Config {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        match self {
            Self::Show => show(client, out),
            Self::Diff => diff(client, out),
        }
    }
}

fn show(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    const PATH: &str = "/v1/config";
    let answer = client.get(PATH)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let view: ConfigView = typed(PATH, &answer)?;
    for (index, table) in view.tables.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        print_table(table, out)?;
    }
    Ok(Outcome::Done)
}

/// As a file would have it, with the origin behind each value; unset values as comments.
fn print_table(table: &TableView, out: &mut Output<'_>) -> Result<(), CommandError> {
    match &table.name {
        Some(name) => writeln!(out, "[[{}]]  # {}", table.table, printable(name))?,
        None => writeln!(out, "[{}]", table.table)?,
    }
    let lines: Vec<_> = table
        .entries
        .iter()
        .map(|entry| {
            let line = if entry.value.is_null() {
                format!("# {} is unset", entry.key)
            } else {
                format!("{} = {}", entry.key, printable(&entry.value.to_string()))
            };
            (line, &entry.origin)
        })
        .collect();
    let width = lines
        .iter()
        .map(|(line, _)| line.chars().count())
        .max()
        .unwrap_or(0)
        .min(60);
    for (line, origin) in lines {
        writeln!(out, "{line:<width$}  # {}", printable(origin))?;
    }
    Ok(())
}

fn diff(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    const PATH: &str = "/v1/config/diff";
    let answer = client.get(PATH)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let delta: Delta = typed(PATH, &answer)?;
    print_delta(&delta, out)?;
    if delta.refused().next().is_some() {
        writeln!(
            out,
            "\na reload would refuse this: restart wayleaved to apply it"
        )?;
    }
    Ok(Outcome::Done)
}

/// The same lines for a difference that is shown and one that was applied.
pub(super) fn print_delta(delta: &Delta, out: &mut Output<'_>) -> Result<(), CommandError> {
    if delta.is_empty() {
        writeln!(out, "no difference")?;
    }
    for line in delta.to_string().lines() {
        writeln!(out, "{}", printable(line))?;
    }
    Ok(())
}
