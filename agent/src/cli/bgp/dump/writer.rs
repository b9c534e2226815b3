//! Pages of routes into records.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime},
};

use wayleave_bgp_core::{
    Asn, RouterId,
    mrt::{Content, Peer, PeerIndexTable, Record, Rib, RibEntry, Unwritable, encode_attributes},
    view::{RoutePage, RouteView},
};

use super::super::super::{CommandError, Outcome, table::plural};
use crate::{
    api::{peers::PeerList, status::Status},
    text::printable,
};

/// One dump: what has been made of it and not been taken, and what is told at its end.
pub(super) struct Writer {
    /// The time of all records: that of the dump.
    timestamp: u32,
    /// Places in the PEER_INDEX_TABLE, by name.
    indexes: HashMap<String, u16>,
    peers: usize,
    /// Routes without a peer are this host's own.
    has_own: bool,
    prefixes: u32,
    paths: usize,
    /// Paths of neighbours that are not in the table of peers: they were not there when it began.
    late: BTreeMap<String, usize>,
    /// Prefixes that have no place in a record, with why, and how many paths they have.
    unwritable: Vec<(String, usize)>,
    octets: Vec<u8>,
}

impl Writer {
    /// Begins with the table of peers. `has_own`: the table has routes of this host itself, which are
    /// those without a peer.
    pub(super) fn new(
        status: &Status,
        peers: &PeerList,
        view: &str,
        has_own: bool,
    ) -> Result<Self, CommandError> {
        let speaker = &status.speaker;
        let own = has_own.then_some(Peer {
            router_id: speaker.router_id,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            asn: speaker.asn,
        });
        let views = || peers.peers.iter().map(|peer| &peer.view);
        // One that never sent an OPEN has no routes either; it is there all the same.
        let listed = views().map(|peer| Peer {
            router_id: peer.router_id.unwrap_or(RouterId::from(0)),
            address: peer.address,
            asn: peer.asn.unwrap_or(Asn(0)),
        });
        let table = PeerIndexTable {
            collector: speaker.router_id,
            view: view.to_owned(),
            peers: own.into_iter().chain(listed).collect(),
        };
        // What has no place in the table is told below.
        let indexes = views()
            .zip(usize::from(has_own)..)
            .filter_map(|(peer, index)| Some((peer.name.clone(), u16::try_from(index).ok()?)));
        let mut writer = Self {
            timestamp: seconds(SystemTime::now()),
            indexes: indexes.collect(),
            peers: table.peers.len(),
            has_own,
            prefixes: 0,
            paths: 0,
            late: BTreeMap::new(),
            unwritable: Vec::new(),
            octets: Vec::new(),
        };
        let written = writer.record(Content::PeerIndexTable(table));
        written.map_err(|why| CommandError::Usage(format!("no MRT can be made: {why}")))?;
        Ok(writer)
    }

    /// A record for each prefix of a page.
    pub(super) fn page(&mut self, page: &RoutePage, now: SystemTime) {
        for paths in page
            .routes
            .chunk_by(|one, other| one.prefix == other.prefix)
        {
            self.prefix(paths, now);
        }
    }

    fn prefix(&mut self, paths: &[RouteView], now: SystemTime) {
        let Some(prefix) = paths.first().map(|path| path.prefix) else {
            return;
        };
        // Where one path has an identifier the record has one for each; 0 is as good as none.
        let add_path = paths.iter().any(|path| path.path_id.is_some());
        let mut entries = Vec::with_capacity(paths.len());
        for path in paths {
            let Some(peer) = self.index(path) else {
                continue;
            };
            let mut attributes = Vec::new();
            encode_attributes(
                &path.attributes,
                path.next_hop,
                prefix.family(),
                &mut attributes,
            );
            let originated = now.checked_sub(Duration::from_secs(path.age_seconds));
            let originated = seconds(originated.unwrap_or(SystemTime::UNIX_EPOCH));
            let path_id = add_path.then_some(path.path_id.unwrap_or(0));
            entries.push((peer, originated, path_id, attributes));
        }
        if entries.is_empty() {
            return;
        }
        let entries: Vec<_> = entries
            .iter()
            .map(|(peer, originated, path_id, attributes)| RibEntry {
                peer: *peer,
                originated: *originated,
                path_id: *path_id,
                attributes,
            })
            .collect();
        let count = entries.len();
        let rib = Rib {
            sequence: self.prefixes,
            prefix,
            add_path,
            entries,
        };
        match self.record(Content::Rib(rib)) {
            Ok(()) => {
                self.prefixes += 1;
                self.paths += count;
            }
            Err(why) => self.unwritable.push((format!("{prefix}: {why}"), count)),
        }
    }

    /// The place of a path's peer in the table, or none when it is not there.
    fn index(&mut self, path: &RouteView) -> Option<u16> {
        let name = match &path.peer {
            None if self.has_own => return Some(0),
            // Its peer has been taken away since.
            None => "a neighbour that is gone",
            Some(name) => name,
        };
        let index = self.indexes.get(name).copied();
        if index.is_none() {
            *self.late.entry(name.to_owned()).or_default() += 1;
        }
        index
    }

    /// Appends a record.
    fn record(&mut self, content: Content<'_>) -> Result<(), Unwritable> {
        let record = Record {
            timestamp: self.timestamp,
            micros: None,
            content,
        };
        record.encode(&mut self.octets)
    }

    pub(super) fn prefixes(&self) -> u32 {
        self.prefixes
    }

    pub(super) fn paths(&self) -> usize {
        self.paths
    }

    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    /// What has been made since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.octets)
    }

    pub(super) fn left_out(&self) -> usize {
        let unwritable = self.unwritable.iter().map(|(_, paths)| paths);
        self.late.values().chain(unwritable).sum()
    }

    /// Says what is not in the file, and why.
    pub(super) fn complain(&self) -> Outcome {
        let mut stderr = io::stderr().lock();
        for (name, paths) in &self.late {
            let (name, paths) = (printable(name), plural(*paths, "path"));
            let _ = writeln!(
                stderr,
                "wayleave: {paths} of {name} left out: it was not there when the dump began"
            );
        }
        for (why, _) in &self.unwritable {
            let _ = writeln!(stderr, "wayleave: left out: {}", printable(why));
        }
        if self.unwritable.is_empty() {
            Outcome::Done
        } else {
            Outcome::Degraded
        }
    }
}

/// Seconds since 1970, as far as four octets go.
fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u32::try_from(since.unwrap_or_default().as_secs()).unwrap_or(u32::MAX)
}
