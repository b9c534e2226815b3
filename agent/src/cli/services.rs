//! `wayleave services [--local]`

use std::io::Write;

use clap::Args;
use wayleave_discovery::registry::{Admin, Origin};

use super::{
    Client, CommandError, Outcome,
    client::typed,
    endpoints::ports,
    output::Output,
    page::{Pages, print_json},
    table::{Align, Table},
};
use crate::api::{
    endpoints::PortView,
    services::{LocalAddress, LocalService, LocalServices, ServiceCounts, ServiceList},
};

const PATH: &str = "/v1/services";
/// Services asked for at a time.
const PAGE: u32 = 5_000;

#[derive(Debug, Args)]
pub(super) struct Services {
    /// Those registered on this host, with their health, instead of those of the fabric.
    #[arg(long)]
    local: bool,
}

impl Services {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        if self.local {
            local(client, out)
        } else {
            fabric(client, out)
        }
    }
}

fn fabric(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let pages = Pages::new(PATH, &[], PAGE);
    if out.is_json() {
        return print_json(client, out, &pages, "services");
    }
    let mut columns = vec![
        ("SERVICE", Align::Left),
        ("INSTANCES", Align::Right),
        ("READY", Align::Right),
        ("NODES", Align::Right),
        ("PORTS", Align::Left),
    ];
    if out.is_wide() {
        columns.extend([
            ("DRAINING", Align::Right),
            ("STALE", Align::Right),
            ("OUT", Align::Right),
        ]);
    }
    let mut table = Table::new(columns);
    let (mut begun, mut held) = (false, 0);
    pages.each(client, |path, answer| {
        let list: ServiceList = typed(path, answer)?;
        held = list.catalog.endpoints - list.catalog.believed;
        if list.services.is_empty() {
            return Ok(());
        }
        for service in &list.services {
            table.row(row(service, out.is_wide()));
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
        writeln!(
            out,
            "no services; `wayleave register` registers one of this host"
        )?;
    }
    if held > 0 {
        writeln!(
            out,
            "\n{held} endpoints are not answered with: `wayleave endpoints` says why"
        )?;
    }
    Ok(Outcome::Done)
}

fn row(service: &ServiceCounts, wide: bool) -> Vec<String> {
    let mut row = vec![
        service.service.clone(),
        service.instances.to_string(),
        service.ready.to_string(),
        service.nodes.to_string(),
        ports(&service.ports),
    ];
    if wide {
        let counts = [service.draining, service.stale, service.out];
        row.extend(counts.map(|count| count.to_string()));
    }
    row
}

fn local(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    const PATH: &str = "/v1/services/local";
    let answer = client.get(PATH)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let list: LocalServices = typed(PATH, &answer)?;
    if list.instances.is_empty() {
        writeln!(
            out,
            "nothing is registered on this host; `wayleave register`, or a file in services.d, does it"
        )?;
        return Ok(Outcome::Done);
    }
    let mut columns = vec![
        ("INSTANCE", Align::Left),
        ("SERVICE", Align::Left),
        ("ADDRESS", Align::Left),
        ("PORTS", Align::Left),
        ("HEALTH", Align::Left),
        ("ANNOUNCED", Align::Left),
    ];
    if out.is_wide() {
        columns.extend([
            ("CHECKS", Align::Right),
            ("WEIGHT", Align::Right),
            ("TAGS", Align::Left),
            ("REGISTERED BY", Align::Left),
        ]);
    }
    columns.push(("WANTED", Align::Left));
    let mut table = Table::new(columns);
    for instance in &list.instances {
        for address in &instance.addresses {
            table.row(local_row(instance, address, out.is_wide()));
        }
    }
    table.print(out)?;
    Ok(Outcome::Done)
}

fn local_row(instance: &LocalService, address: &LocalAddress, wide: bool) -> Vec<String> {
    let registration = &instance.registration;
    let list: Vec<_> = registration.ports.iter().map(PortView::new).collect();
    let mut row = vec![
        instance.instance.to_string(),
        instance.service.clone(),
        address.address.to_string(),
        ports(&list),
        health(address).to_owned(),
        address
            .announced
            .map_or_else(|| "no".to_owned(), |state| state.to_string()),
    ];
    if wide {
        let tags: Vec<_> = registration.tags.iter().map(ToString::to_string).collect();
        row.extend([
            registration.checks.len().to_string(),
            registration.weight.to_string(),
            tags.join(" "),
            match &instance.origin {
                Origin::Api => "request".to_owned(),
                Origin::File(path) => path.clone(),
                Origin::Container(id) => format!("container {id}"),
            },
        ]);
    }
    row.push(wanted(&instance.admin));
    row
}

fn health(address: &LocalAddress) -> &'static str {
    use wayleave_discovery::health::Health;
    match address.health {
        Some(Health::Passing) => "passing",
        Some(Health::Starting) => "starting",
        Some(Health::Failing) => "failing",
        // `wayleave problems` says why.
        None => "suspended",
    }
}

/// What the operator wants of an instance; nothing special is not worth a word.
pub(super) fn wanted(admin: &Admin) -> String {
    match admin {
        Admin::Normal => String::new(),
        Admin::Draining => "draining".to_owned(),
        Admin::Maintenance(reason) if reason.is_empty() => "maintenance".to_owned(),
        Admin::Maintenance(reason) => format!("maintenance: {reason}"),
    }
}
