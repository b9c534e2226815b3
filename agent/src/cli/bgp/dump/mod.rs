//! `wayleave bgp dump`: a table of the agent as an MRT file.

mod progress;
mod writer;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::SystemTime,
};

use clap::{Args, ValueEnum};
use serde_json::json;
use wayleave_bgp_core::{Family, view::RoutePage};

use self::{progress::Progress, writer::Writer};
use super::{
    super::{
        Client, CommandError, Outcome,
        client::{encoded, typed},
        output::Output,
        route_pages::{FamilyName, RoutePages},
        table::plural,
    },
    new_file::NewFile,
};
use crate::{
    api::{peers::PeerList, status::Status},
    text::printable,
};

pub(super) const HELP: &str = "\
First comes a PEER_INDEX_TABLE with all neighbours, then one record for each prefix with all its \
paths: of `--rib in` as they were heard, of `--rib loc` the best one as policy has made it. Routes of \
this host itself are those of the first peer, which has no address. The table is asked for in pages, \
and goes on changing meanwhile. The file is there when it is whole, not before.

Examples:
  $ wayleave bgp dump --rib in routes.mrt
  $ wayleave bgp dump - | gzip > routes.mrt.gz

Exit codes: 0 done; 1 wrong usage, or the file cannot be written; 2 the file is there, without paths \
that have no place in it; 3 the agent cannot be reached.";

#[derive(Debug, Args)]
pub(in super::super) struct Dump {
    /// Which table: heard (before policy), or best.
    #[arg(long, value_enum, default_value_t = Table::Loc)]
    rib: Table,
    /// Only from this neighbour.
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// Only this family.
    #[arg(long, value_enum)]
    family: Option<FamilyName>,
    /// The file; `-` is standard output.
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    In,
    Loc,
}

impl Table {
    fn parameter(self) -> &'static str {
        match self {
            Self::In => "rib=in",
            Self::Loc => "rib=loc",
        }
    }

    /// The view's name in the file: the tables of RFC 4271, 3.2.
    fn view(self) -> &'static str {
        match self {
            Self::In => "Adj-RIB-In",
            Self::Loc => "Loc-RIB",
        }
    }
}

impl Dump {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        let to_stdout = self.file.as_os_str() == "-";
        if to_stdout && io::stdout().is_terminal() {
            return Err(CommandError::Usage(
                "MRT is not for terminals: name a file, or send standard output somewhere"
                    .to_owned(),
            ));
        }
        let status: Status = typed("/v1/status", &client.get("/v1/status")?)?;
        let peers: PeerList = typed("/v1/peers", &client.get("/v1/peers")?)?;
        let has_own = self.rib == Table::Loc;
        let mut writer = Writer::new(&status, &peers, self.rib.view(), has_own)?;
        let mut query = vec![self.rib.parameter().to_owned()];
        query.extend(
            self.peer
                .iter()
                .map(|peer| format!("peer={}", encoded(peer))),
        );
        let families = match self.family {
            Some(name) => vec![name.into()],
            None => Family::ALL.to_vec(),
        };
        let pages = RoutePages::new(families, query);
        let mut target = if to_stdout {
            Target::Stdout(out)
        } else {
            Target::File(NewFile::create(&self.file)?)
        };
        let mut progress = Progress::new(&status);
        target.write(&writer.take())?;
        pages.each(client, |path, answer| {
            let page: RoutePage = typed(path, answer)?;
            writer.page(&page, SystemTime::now());
            progress.tell(writer.prefixes());
            target.write(&writer.take())
        })?;
        progress.end();
        let outcome = writer.complain();
        match target {
            Target::Stdout(_) => {}
            Target::File(file) => {
                file.commit()?;
                self.summary(&writer, out)?;
            }
        }
        Ok(outcome)
    }

    fn summary(&self, writer: &Writer, out: &mut Output<'_>) -> Result<(), CommandError> {
        let file = self.file.display().to_string();
        let (prefixes, paths, peers) = (writer.prefixes(), writer.paths(), writer.peers());
        if out.is_json() {
            return Ok(out.json(&json!({
                "file": file,
                "view": self.rib.view(),
                "prefixes": prefixes,
                "paths": paths,
                "peers": peers,
                "left_out": writer.left_out(),
            }))?);
        }
        let of = if prefixes == 1 { "prefix" } else { "prefixes" };
        let (paths, peers) = (plural(paths, "path"), plural(peers, "peer"));
        let file = printable(&file);
        Ok(writeln!(out, "{file}: {prefixes} {of}, {paths}, {peers}")?)
    }
}

/// Where the dump goes.
enum Target<'a, 'o> {
    Stdout(&'a mut Output<'o>),
    File(NewFile),
}

impl Target<'_, '_> {
    fn write(&mut self, octets: &[u8]) -> Result<(), CommandError> {
        match self {
            Self::Stdout(out) => Ok(out.write_all(octets)?),
            Self::File(file) => file.write(octets),
        }
    }
}
