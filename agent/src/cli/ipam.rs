//! `wayleave ipam show|attachments|check|explain`

use std::{io::Write, net::IpAddr};

use clap::Subcommand;

use super::{
    Client, CommandError, Outcome,
    client::typed,
    endpoints::ports,
    output::Output,
    page::{Pages, print_json},
    table::{Align, Table, count, duration, plural},
};
use crate::{
    api::ipam::{AttachmentList, BlockView, Explanation, IpamCheck, IpamView, LeaseView},
    problem::Severity,
    text::printable,
};

const PATH: &str = "/v1/ipam";
/// Entries asked for at a time.
const PAGE: u32 = 5_000;

#[derive(Debug, Subcommand)]
pub(super) enum Ipam {
    /// Pools, blocks of this host and how full they are, and leases.
    Show,
    /// Containers' interfaces.
    Attachments,
    /// Compares records, leases, interfaces and routes; exits with 2 when they do not agree.
    Check,
    /// Everything this host knows about an address: who has it, where, and how it is reached.
    Explain {
        /// The address.
        address: IpAddr,
    },
}

impl Ipam {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        match self {
            Self::Show => show(client, out),
            Self::Attachments => attachments(client, out),
            Self::Check => check(client, out),
            Self::Explain { address } => explain(client, out, address),
        }
    }
}

fn show(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let pages = Pages::new(PATH, &[], PAGE);
    if out.is_json() {
        return print_json(client, out, &pages, "leases");
    }
    let mut columns = vec![
        ("ADDRESS", Align::Left),
        ("CONTAINER", Align::Left),
        ("INTERFACE", Align::Left),
        ("NETWORK", Align::Left),
        ("FOR", Align::Right),
    ];
    if out.is_wide() {
        columns.extend([("POOL", Align::Left), ("SINCE", Align::Left)]);
    }
    let mut table = Table::new(columns);
    let mut begun = false;
    pages.each(client, |path, answer| {
        let view: IpamView = typed(path, answer)?;
        if !begun {
            print_space(&view, out)?;
        }
        for lease in &view.leases {
            table.row(lease_row(lease, out.is_wide()));
        }
        if begun {
            table.print_rows(out)?;
        } else if !view.leases.is_empty() {
            writeln!(out)?;
            table.print(out)?;
        }
        begun = true;
        Ok(())
    })?;
    Ok(Outcome::Done)
}

/// Pools, blocks and the number of leases.
fn print_space(view: &IpamView, out: &mut Output<'_>) -> Result<(), CommandError> {
    if view.pools.is_empty() {
        writeln!(out, "no pools; add a [[pool]] to the configuration")?;
    } else {
        let mut table = Table::new([
            ("POOL", Align::Left),
            ("PREFIXES", Align::Left),
            ("EXCLUDED", Align::Left),
            ("CONFIGURED", Align::Left),
        ]);
        for pool in &view.pools {
            table.row([
                pool.name.clone(),
                joined(&pool.cidr),
                joined(&pool.exclude),
                pool.origin.clone(),
            ]);
        }
        table.print(out)?;
    }
    writeln!(out)?;
    if view.blocks.is_empty() {
        writeln!(out, "no blocks on this host; add a [[block]]")?;
    } else {
        let mut table = Table::new([
            ("BLOCK", Align::Left),
            ("POOL", Align::Left),
            ("STATE", Align::Left),
            ("ORIGIN", Align::Left),
            ("SIZE", Align::Right),
            ("USED", Align::Right),
            ("FREE", Align::Right),
        ]);
        for block in &view.blocks {
            table.row(block_row(block));
        }
        table.print(out)?;
    }
    writeln!(out, "\n{}", plural(view.lease_count, "lease"))?;
    Ok(())
}

fn block_row(block: &BlockView) -> Vec<String> {
    let word = |value| {
        serde_json::to_value(value)
            .ok()
            .as_ref()
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let origin = match block.origin {
        wayleave_ipam::Origin::Static => "static".to_owned(),
        wayleave_ipam::Origin::Claimed { epoch } => format!("claimed (epoch {epoch})"),
    };
    vec![
        block.cidr.to_string(),
        block.pool.clone(),
        word(block.state),
        origin,
        size(block.size),
        size(block.used),
        size(block.free),
    ]
}

/// Sizes of IPv6 blocks are beyond what anybody reads.
fn size(addresses: u64) -> String {
    if addresses < 1 << 40 {
        return count(addresses);
    }
    format!("2^{}", 64 - (addresses - 1).leading_zeros())
}

fn lease_row(lease: &LeaseView, wide: bool) -> Vec<String> {
    let mut row = vec![
        lease.address.to_string(),
        lease.container.clone(),
        lease.interface.clone(),
        lease.network.clone(),
        lease.since_seconds.map(duration).unwrap_or_default(),
    ];
    if wide {
        row.extend([lease.pool.clone(), lease.since.clone().unwrap_or_default()]);
    }
    row
}

fn attachments(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let pages = Pages::new("/v1/ipam/attachments", &[], PAGE);
    if out.is_json() {
        return print_json(client, out, &pages, "attachments");
    }
    let mut columns = vec![
        ("CONTAINER", Align::Left),
        ("INTERFACE", Align::Left),
        ("ADDRESSES", Align::Left),
        ("NETWORK", Align::Left),
        ("HOST SIDE", Align::Left),
        ("MTU", Align::Right),
    ];
    if out.is_wide() {
        columns.extend([
            ("MAC", Align::Left),
            ("HOST MAC", Align::Left),
            ("NAMESPACE", Align::Left),
        ]);
    }
    let mut table = Table::new(columns);
    let mut begun = false;
    pages.each(client, |path, answer| {
        let list: AttachmentList = typed(path, answer)?;
        if list.attachments.is_empty() {
            return Ok(());
        }
        for has in &list.attachments {
            let mut row = vec![
                has.container.clone(),
                has.interface.clone(),
                joined(&has.addresses),
                has.network.clone(),
                has.host_interface.clone(),
                has.mtu.to_string(),
            ];
            if out.is_wide() {
                row.extend([
                    has.container_mac.clone(),
                    has.host_mac.clone(),
                    has.netns.clone(),
                ]);
            }
            table.row(row);
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
        writeln!(out, "no containers are attached")?;
    }
    Ok(Outcome::Done)
}

fn check(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    const PATH: &str = "/v1/ipam/check";
    let answer = client.get(PATH)?;
    let found: IpamCheck = typed(PATH, &answer)?;
    if out.is_json() {
        out.json(&answer)?;
    } else {
        print_check(&found, out)?;
    }
    Ok(if found.problems.is_empty() {
        Outcome::Done
    } else {
        Outcome::Degraded
    })
}

fn print_check(found: &IpamCheck, out: &mut Output<'_>) -> Result<(), CommandError> {
    let looked_at = format!(
        "{} and {}",
        plural(found.attachments, "interface"),
        plural(found.leases, "lease")
    );
    if found.problems.is_empty() {
        writeln!(
            out,
            "records, leases, interfaces and routes agree ({looked_at})"
        )?;
        return Ok(());
    }
    let problems = plural(found.problems.len(), "problem");
    writeln!(out, "{problems} among {looked_at}:")?;
    for problem in &found.problems {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (what, key) = (printable(&problem.what), printable(&problem.key));
        writeln!(out, "  {severity}: {what}  [{key}]")?;
        writeln!(out, "    why    {}", printable(&problem.why))?;
        writeln!(out, "    fix    {}", printable(&problem.fix))?;
    }
    Ok(())
}

fn explain(
    client: &Client,
    out: &mut Output<'_>,
    address: IpAddr,
) -> Result<Outcome, CommandError> {
    let path = format!("/v1/ipam/explain?address={address}");
    let answer = client.get(&path)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let explanation: Explanation = typed(&path, &answer)?;
    print_explanation(&explanation, out)?;
    Ok(Outcome::Done)
}

fn print_explanation(found: &Explanation, out: &mut Output<'_>) -> Result<(), CommandError> {
    writeln!(out, "{}", printable(&found.summary))?;
    let mut line = |label: &str, text: String| writeln!(out, "  {label:<10} {}", printable(&text));
    if let Some(pool) = &found.pool {
        line("pool", pool.clone())?;
    }
    if let Some(block) = &found.block {
        let (used, all) = (size(block.used), size(block.size));
        line(
            "block",
            format!("{} of this host, {used} of {all} used", block.cidr),
        )?;
    }
    if let Some(lease) = &found.lease {
        let since = match (&lease.since, lease.since_seconds) {
            (Some(since), Some(seconds)) => format!(" since {since} ({})", duration(seconds)),
            _ => String::new(),
        };
        let (container, interface) = (&lease.container, &lease.interface);
        line(
            "lease",
            format!("{container} {interface}, network {}{since}", lease.network),
        )?;
    }
    if let Some(has) = &found.attachment {
        let (host, netns) = (&has.host_interface, &has.netns);
        line("attached", format!("behind {host}, namespace {netns}"))?;
    }
    if let Some(route) = &found.route {
        let from = route
            .peer
            .as_ref()
            .map_or_else(|| "of this host".to_owned(), |peer| format!("from {peer}"));
        let hop = route
            .next_hop
            .map(|hop| format!(" via {}", hop.addr))
            .unwrap_or_default();
        let path = if route.as_path.is_empty() {
            String::new()
        } else {
            format!(", AS path {}", route.as_path)
        };
        let age = duration(route.age_seconds);
        line(
            "route",
            format!("{}{hop} {from}{path}, for {age}", route.prefix),
        )?;
    }
    if let Some(way) = &found.way {
        let gateway = way.gateway.map(|gateway| format!(" via {gateway}"));
        let source = way.source.map(|source| format!(" from {source}"));
        let [gateway, source] = [gateway, source].map(Option::unwrap_or_default);
        line("kernel", format!("sends by {}{gateway}{source}", way.dev))?;
    }
    if let Some(node) = &found.node {
        let name = node.name.as_deref().unwrap_or("name not known");
        line("node", format!("{name} (key {})", node.key))?;
    }
    for endpoint in &found.endpoints {
        let node = endpoint.node.as_deref().unwrap_or("an unknown node");
        let services: Vec<String> = endpoint
            .services
            .iter()
            .map(|service| {
                format!(
                    "{} {} {}",
                    service.id(),
                    ports(&service.ports),
                    service.state
                )
            })
            .collect();
        let services = if services.is_empty() {
            "no services".to_owned()
        } else {
            services.join(", ")
        };
        let why = endpoint
            .why
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        line("endpoint", format!("of {node}: {services}{why}"))?;
    }
    Ok(())
}

fn joined(list: &[impl ToString]) -> String {
    list.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_until_they_are_powers() {
        for (addresses, text) in [
            (0, "0"),
            (256, "256"),
            (1 << 16, "65,536"),
            (u64::MAX, "2^64"),
            (1 << 56, "2^56"),
        ] {
            assert_eq!(size(addresses), text);
        }
    }
}
