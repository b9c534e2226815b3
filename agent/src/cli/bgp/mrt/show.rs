//! Records as JSON objects, one a line.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::Value;
use wayleave_bgp_core::{
    Asn, Prefix, RouterId,
    message::{self, Decoded, Found, Hex, PathAttributes},
    mrt::{
        self, Content, EntryAttributes, Header, Malformed, PeerIndexTable, Record, Rib, Session,
        state_name, subtype_name, type_name,
    },
};

use super::super::super::{CommandError, output::Output};
use crate::rfc3339;

/// Shows records; keeps the table of peers that those after it refer to.
#[derive(Default)]
pub(super) struct Show {
    peers: Vec<mrt::Peer>,
}

/// What all records have.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(rename = "type")]
    kind: Value,
    subtype: Value,
    #[serde(flatten)]
    content: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Peers {
        collector: RouterId,
        view: &'a str,
        peers: Vec<Peer>,
    },
    Rib {
        sequence: u32,
        prefix: Prefix,
        entries: Vec<Entry>,
    },
    Message {
        #[serde(flatten)]
        session: Ends,
        direction: &'static str,
        message: Option<Box<Decoded>>,
    },
    StateChange {
        #[serde(flatten)]
        session: Ends,
        old_state: Cow<'static, str>,
        new_state: Cow<'static, str>,
    },
    Other {
        hex: Hex,
    },
    Malformed {
        error: String,
        hex: Hex,
    },
}

/// A peer of a table; without an address where the table has no such index.
#[derive(Serialize)]
struct Peer {
    index: usize,
    #[serde(flatten)]
    peer: Option<Known>,
}

#[derive(Serialize)]
struct Known {
    address: IpAddr,
    asn: Asn,
    router_id: RouterId,
}

#[derive(Serialize)]
struct Entry {
    peer: Peer,
    originated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_id: Option<u32>,
    next_hops: Vec<IpAddr>,
    attributes: PathAttributes,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Found>,
}

#[derive(Serialize)]
struct Ends {
    peer: End,
    local: End,
    interface: u16,
}

#[derive(Serialize)]
struct End {
    address: IpAddr,
    asn: Asn,
}

impl Show {
    pub(super) fn record(
        &mut self,
        header: &Header,
        body: &[u8],
        record: &Result<Record<'_>, Malformed>,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let (micros, content) = match record {
            Ok(record) => (record.micros, self.content(&record.content)),
            Err(why) => {
                let content = Body::Malformed {
                    error: why.to_string(),
                    hex: Hex(body.to_vec()),
                };
                (None, content)
            }
        };
        let named = |name: Option<&str>, number: u16| name.map_or(number.into(), Value::from);
        let Header { kind, subtype, .. } = *header;
        let line = Line {
            time: time(header.timestamp, micros),
            kind: named(type_name(kind), kind),
            subtype: named(subtype_name(kind, subtype), subtype),
            content,
        };
        serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
        Ok(writeln!(out)?)
    }

    fn content<'a>(&mut self, content: &'a Content<'_>) -> Body<'a> {
        match content {
            Content::PeerIndexTable(table) => {
                let PeerIndexTable {
                    collector,
                    view,
                    peers,
                } = table;
                self.peers.clone_from(peers);
                Body::Peers {
                    collector: *collector,
                    view,
                    peers: (0..peers.len()).map(|index| self.peer(index)).collect(),
                }
            }
            Content::Rib(rib) => self.rib(rib),
            Content::Message(message) => Body::Message {
                session: Ends::from(&message.session),
                direction: if message.local { "sent" } else { "received" },
                message: message::decode(message.octets, &message.options()).map(Box::new),
            },
            Content::StateChange(change) => Body::StateChange {
                session: Ends::from(&change.session),
                old_state: state(change.old),
                new_state: state(change.new),
            },
            Content::Other { octets, .. } => Body::Other {
                hex: Hex(octets.to_vec()),
            },
        }
    }

    fn rib(&self, rib: &Rib<'_>) -> Body<'static> {
        let entries = rib.entries.iter().map(|entry| {
            let EntryAttributes {
                next_hops,
                attributes,
                problems,
            } = entry.read(rib);
            Entry {
                peer: self.peer(entry.peer.into()),
                originated: time(entry.originated, None),
                path_id: entry.path_id,
                next_hops,
                attributes,
                problems,
            }
        });
        Body::Rib {
            sequence: rib.sequence,
            prefix: rib.prefix,
            entries: entries.collect(),
        }
    }

    fn peer(&self, index: usize) -> Peer {
        let peer = self.peers.get(index).map(|peer| Known {
            address: peer.address,
            asn: peer.asn,
            router_id: peer.router_id,
        });
        Peer { index, peer }
    }
}

impl From<&Session> for Ends {
    fn from(session: &Session) -> Self {
        Self {
            peer: End {
                address: session.peer,
                asn: session.peer_asn,
            },
            local: End {
                address: session.local,
                asn: session.local_asn,
            },
            interface: session.interface,
        }
    }
}

/// The time of a record (RFC 3339).
pub(super) fn time(seconds: u32, micros: Option<u32>) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
    match micros {
        None => rfc3339::seconds(time),
        Some(micros) => rfc3339::micros(time + Duration::from_micros(micros.into())),
    }
}

/// A state by its name, or by its number where it is one of the daemon's own.
fn state(number: u16) -> Cow<'static, str> {
    state_name(number).map_or_else(|| number.to_string().into(), Cow::from)
}
