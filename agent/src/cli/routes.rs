//! `wayleave routes [PREFIX]`: pages through a table and prints as it goes.

use std::{io::Write, net::IpAddr, str::FromStr};

use clap::{Args, ValueEnum};
use serde_json::Value;
use wayleave_bgp_core::{
    Family, Prefix,
    view::{RoutePage, RouteView},
};

use super::{
    Client, CommandError, Outcome,
    client::{encoded, typed},
    output::Output,
    route_pages::{FamilyName, RoutePages},
    table::{Align, Table},
};

#[derive(Debug, Args)]
pub(super) struct Routes {
    /// A prefix, or an address: then the route that covers it.
    prefix: Option<Wanted>,
    /// Which table: heard (before policy), best, told, or the kernel's.
    #[arg(long, value_enum, default_value_t = Rib::Loc)]
    rib: Rib,
    /// Only from this neighbour; with `--rib out`, what it was told.
    #[arg(long, value_name = "NAME", required_if_eq("rib", "out"))]
    peer: Option<String>,
    /// Only this family.
    #[arg(long, value_enum)]
    family: Option<FamilyName>,
    /// What lies inside PREFIX too.
    #[arg(long, requires = "prefix")]
    longer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rib {
    In,
    Loc,
    Out,
    Fib,
}

/// A prefix or an address, as written.
#[derive(Clone, Debug)]
struct Wanted {
    text: String,
    family: Family,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let family = match (text.parse::<IpAddr>(), text.parse::<Prefix>()) {
            (Ok(address), _) => Prefix::host(address).family(),
            (Err(_), Ok(prefix)) => prefix.family(),
            (Err(_), Err(error)) => return Err(error.to_string()),
        };
        Ok(Self {
            text: text.to_owned(),
            family,
        })
    }
}

impl Routes {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        if self.rib == Rib::Fib {
            return self.exec_fib(client, out);
        }
        if out.is_json() {
            return self.print_json(client, out);
        }
        let mut columns = vec![
            ("", Align::Left),
            ("PREFIX", Align::Left),
            ("NEXT HOP", Align::Left),
            ("PEER", Align::Left),
            ("PREF", Align::Right),
            ("MED", Align::Right),
            ("AS PATH", Align::Left),
        ];
        if out.is_wide() {
            columns.extend([
                ("AGE", Align::Right),
                ("COMMUNITIES", Align::Left),
                ("WHY", Align::Left),
            ]);
        }
        let mut table = Table::new(columns);
        let mut begun = false;
        self.each_page(client, |_, page| {
            for route in &page.routes {
                table.row(row(route, out.is_wide()));
            }
            if page.routes.is_empty() {
                return Ok(());
            }
            if begun {
                table.print_rows(out)?
            } else {
                table.print(out)?
            }
            begun = true;
            Ok(())
        })?;
        if !begun {
            writeln!(out, "no routes")?;
        }
        Ok(Outcome::Done)
    }

    fn exec_fib(&self, client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
        if self.peer.is_some() {
            return Err(CommandError::Usage(
                "the kernel does not know which neighbour a route came from: leave --peer out, or ask `--rib loc`".to_owned(),
            ));
        }
        let mut query = Vec::new();
        if let Some(wanted) = &self.prefix {
            self.families()?;
            query.push(format!("prefix={}", encoded(&wanted.text)));
        }
        match self.family {
            Some(FamilyName::Ipv4) => query.push("family=ipv4".to_owned()),
            Some(FamilyName::Ipv6) => query.push("family=ipv6".to_owned()),
            None => {}
        }
        if self.longer {
            query.push("longer=true".to_owned());
        }
        super::fib::print(client, out, &query)
    }

    /// One object with one list, a route a line, written page by page.
    fn print_json(&self, client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
        write!(out, "{{\"routes\":[")?;
        let mut separator = "\n";
        self.each_page(client, |answer, _| {
            for route in answer["routes"].as_array().into_iter().flatten() {
                write!(out, "{separator}{route}")?;
                separator = ",\n";
            }
            Ok(())
        })?;
        writeln!(out, "\n]}}")?;
        Ok(Outcome::Done)
    }

    fn each_page(
        &self,
        client: &Client,
        mut print: impl FnMut(&Value, &RoutePage) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        RoutePages::new(self.families()?, self.query()).each(client, |path, answer| {
            let page: RoutePage = typed(path, answer)?;
            print(answer, &page)
        })
    }

    fn families(&self) -> Result<Vec<Family>, CommandError> {
        let named = self.family.map(Family::from);
        match (&self.prefix, named) {
            (Some(wanted), Some(named)) if wanted.family != named => Err(CommandError::Usage(
                format!("{} is {}, not {named}", wanted.text, wanted.family),
            )),
            (Some(wanted), _) => Ok(vec![wanted.family]),
            (None, Some(named)) => Ok(vec![named]),
            (None, None) => Ok(Family::ALL.to_vec()),
        }
    }

    fn query(&self) -> Vec<String> {
        let rib = match self.rib {
            Rib::In => "in",
            Rib::Loc => "loc",
            Rib::Out => "out",
            Rib::Fib => "fib",
        };
        let mut query = vec![format!("rib={rib}")];
        if let Some(peer) = &self.peer {
            query.push(format!("peer={}", encoded(peer)));
        }
        if let Some(wanted) = &self.prefix {
            query.push(format!("prefix={}", encoded(&wanted.text)));
        }
        if self.longer {
            query.push("longer=true".to_owned());
        }
        query
    }
}

/// Marks as on other routers: `*` usable, `>` best, `=` multipath, `S` stale, `x` refused.
fn row(route: &RouteView, wide: bool) -> Vec<String> {
    let mut marks = String::new();
    marks.push(if route.refused.is_some() { 'x' } else { '*' });
    match (route.best, route.multipath) {
        (true, _) => marks.push('>'),
        (false, true) => marks.push('='),
        (false, false) => {}
    }
    if route.stale {
        marks.push('S');
    }
    let attributes = &route.attributes;
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut row = vec![
        marks,
        route.prefix.to_string(),
        route
            .next_hop
            .map(|hop| hop.addr.to_string())
            .unwrap_or_default(),
        route.peer.clone().unwrap_or_else(|| "self".to_owned()),
        number(attributes.local_pref),
        number(attributes.med),
        route.as_path.clone(),
    ];
    if wide {
        let communities = attributes.communities.iter().map(ToString::to_string);
        let large = attributes.large_communities.iter().map(ToString::to_string);
        row.extend([
            super::table::duration(route.age_seconds),
            communities.chain(large).collect::<Vec<_>>().join(" "),
            route
                .refused
                .clone()
                .unwrap_or_else(|| route.reason.clone()),
        ]);
    }
    row
}
