//! `wayleave routes --rib fib`: what the kernel has, and why where it is not what is desired.

use std::io::Write;

use super::{
    Client, CommandError, Outcome,
    client::typed,
    output::Output,
    page::{Pages, print_json},
    table::{Align, Table},
};
use crate::api::fib::{FibPage, FibRoute};

/// Routes asked for at a time: no answer takes the owner of the kernel's routes long.
const PAGE: u32 = 5_000;

/// Pages through what the query asks for and prints as it goes.
pub(super) fn print(
    client: &Client,
    out: &mut Output<'_>,
    query: &[String],
) -> Result<Outcome, CommandError> {
    let pages = Pages::new("/v1/fib", query, PAGE);
    if out.is_json() {
        return print_json(client, out, &pages, "routes");
    }
    let mut columns = vec![
        ("", Align::Left),
        ("PREFIX", Align::Left),
        ("VIA", Align::Left),
        ("DEV", Align::Left),
        ("METRIC", Align::Right),
        ("FOR", Align::Left),
    ];
    if out.is_wide() {
        columns.extend([
            ("KIND", Align::Left),
            ("NHID", Align::Right),
            ("SRC", Align::Left),
            ("MTU", Align::Right),
        ]);
    }
    columns.push(("TROUBLE", Align::Left));
    let mut table = Table::new(columns);
    let mut begun = false;
    pages.each(client, |path, answer| {
        let page: FibPage = typed(path, answer)?;
        if page.routes.is_empty() {
            return Ok(());
        }
        for route in &page.routes {
            table.row(row(route, out.is_wide()));
        }
        if begun {
            table.print_rows(out)?;
        } else {
            table.print(out)?;
        }
        begun = true;
        Ok(())
    })?;
    if !begun {
        writeln!(out, "no routes of ours in the kernel, and none desired")?;
    }
    Ok(Outcome::Done)
}

/// Marks: `*` in the kernel, `!` with trouble.
fn row(route: &FibRoute, wide: bool) -> Vec<String> {
    let mut marks = String::new();
    marks.push(if route.installed.is_some() { '*' } else { ' ' });
    if route.trouble.is_some() {
        marks.push('!');
    }
    let installed = route.installed.as_ref();
    let hops = installed
        .map(|has| has.next_hops.as_slice())
        .unwrap_or_default();
    let via = match installed {
        Some(has) if has.next_hops.is_empty() => has.kind.clone(),
        Some(_) | None => {
            let gateways = hops.iter().map(|hop| {
                hop.gateway
                    .map_or_else(|| "direct".to_owned(), |gateway| gateway.to_string())
            });
            gateways.collect::<Vec<_>>().join(" ")
        }
    };
    let devices: Vec<_> = hops.iter().map(|hop| hop.dev.clone()).collect();
    let mut row = vec![
        marks,
        route.prefix.to_string(),
        via,
        devices.join(" "),
        route.metric.to_string(),
        route.owner.clone().unwrap_or_else(|| "nobody".to_owned()),
    ];
    if wide {
        let of = |text: Option<String>| text.unwrap_or_default();
        row.extend([
            of(installed.map(|has| has.kind.clone())),
            of(installed
                .and_then(|has| has.nexthop)
                .map(|id| id.to_string())),
            of(installed
                .and_then(|has| has.source)
                .map(|source| source.to_string())),
            of(installed.and_then(|has| has.mtu).map(|mtu| mtu.to_string())),
        ]);
    }
    row.push(
        route
            .trouble
            .as_ref()
            .map(|trouble| trouble.why.clone())
            .unwrap_or_default(),
    );
    row
}
