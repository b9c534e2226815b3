//! `wayleave endpoints [ADDRESS] [--service NAME] [--node NAME]`

use std::{io::Write, net::IpAddr};

use clap::Args;

use super::{
    Client, CommandError, Outcome,
    client::{encoded, typed},
    output::Output,
    page::{Pages, print_json},
    table::{Align, Table},
};
use crate::api::endpoints::{EndpointPage, EndpointView, PortView, ServiceView};

/// Addresses asked for at a time.
const PAGE: u32 = 5_000;

#[derive(Debug, Args)]
pub(super) struct Endpoints {
    /// Only those at this address.
    address: Option<IpAddr>,
    /// Only those of this service: NAME or NAME.NAMESPACE.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only those of this node, by name or key.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

impl Endpoints {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        let pages = Pages::new("/v1/endpoints", &self.query(), PAGE);
        if out.is_json() {
            return print_json(client, out, &pages, "endpoints");
        }
        let mut columns = vec![
            ("ADDRESS", Align::Left),
            ("NODE", Align::Left),
            ("SERVICE", Align::Left),
            ("PORTS", Align::Left),
            ("STATE", Align::Left),
        ];
        if out.is_wide() {
            columns.extend([
                ("WEIGHT", Align::Right),
                ("PRIO", Align::Right),
                ("TAGS", Align::Left),
                ("FROM", Align::Left),
                ("HOPS", Align::Right),
                ("KEY", Align::Left),
            ]);
        }
        columns.push(("NOTE", Align::Left));
        let mut table = Table::new(columns);
        let mut begun = false;
        pages.each(client, |path, answer| {
            let page: EndpointPage = typed(path, answer)?;
            if page.endpoints.is_empty() {
                return Ok(());
            }
            for endpoint in &page.endpoints {
                if endpoint.services.is_empty() {
                    table.row(row(endpoint, None, out.is_wide()));
                }
                for service in &endpoint.services {
                    table.row(row(endpoint, Some(service), out.is_wide()));
                }
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
            writeln!(out, "no endpoints")?;
        }
        Ok(Outcome::Done)
    }

    fn query(&self) -> Vec<String> {
        let address = self.address.map(|address| address.to_string());
        let parameters = [
            ("address", &address),
            ("service", &self.service),
            ("node", &self.node),
        ];
        parameters
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", encoded(value.as_ref()?))))
            .collect()
    }
}

fn row(endpoint: &EndpointView, service: Option<&ServiceView>, wide: bool) -> Vec<String> {
    let state = match (service, endpoint.believed, endpoint.stale) {
        (None, true, _) => String::new(),
        (_, false, _) => "held".to_owned(),
        (Some(service), true, true) => format!("{} (stale)", service.state),
        (Some(service), true, false) => service.state.to_string(),
    };
    let of = |text: Option<String>| text.unwrap_or_default();
    let mut row = vec![
        endpoint.address.to_string(),
        endpoint
            .node
            .clone()
            .or_else(|| endpoint.key.clone())
            .unwrap_or_else(|| "unknown".to_owned()),
        of(service.map(|service| service.id().to_string())),
        of(service.map(|service| ports(&service.ports))),
        state,
    ];
    if wide {
        row.extend([
            of(service.map(|service| service.weight.to_string())),
            of(service.map(|service| service.priority.to_string())),
            of(service.map(tags)),
            endpoint.peer.clone().unwrap_or_else(|| "self".to_owned()),
            endpoint.distance.to_string(),
            of(endpoint.key.clone()),
        ]);
    }
    row.push(of(endpoint.why.clone()));
    row
}

/// `http=80/tcp 9090/udp`
pub(super) fn ports(ports: &[PortView]) -> String {
    ports
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

pub(super) fn tags(service: &ServiceView) -> String {
    service
        .tags
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}
