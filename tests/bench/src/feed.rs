//! A table out of a recorded session: an MRT file of BGP4MP_ET or BGP4MP messages (RFC 6396
//! section 4.4), gzipped or not.
//!
//! ```text
//! | time 4 | type 2 | subtype 2 | length 4 | [microseconds 4] |
//! | peer AS 4 | local AS 4 | interface 2 | AFI 2 | peer IP | local IP | BGP message |
//! ```
//!
//! Only messages with four-octet AS numbers are read, and IPv4 unicast out of them. What one
//! session cannot carry on to another AS is left out and counted: [`Feed::left_out`].

use std::{collections::HashMap, fs, io::Read, path::Path, process::Command};

use crate::{
    decode::{Attributes, Malformed, Update, message_at},
    encode::{Attribute, as_sequence, attr, kind},
    error::Error,
    prefix::{ByPrefix, Family, Prefix},
    table::{Group, Table},
};

const BGP4MP: u16 = 16;
const BGP4MP_ET: u16 = 17;
const MESSAGE_AS4: u16 = 4;

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// The table at the end of the recording.
    pub(crate) table: Table,
    /// Prefixes a public neighbour would not announce or a speaker must not pass on: martian,
    /// longer than /24, marked NO_EXPORT or NO_ADVERTISE (RFC 1997), with AS 0 in the path or the
    /// aggregator (RFC 7607), with an AS of the bench in the path.
    pub(crate) left_out: usize,
}

/// Reads a feed as `neighbour_as` would announce it.
///
/// # Errors
/// When the file cannot be read, is cut short, or has no route in it.
pub(crate) fn read(path: &Path, neighbour_as: u32) -> Result<Feed, Error> {
    let wrong = |why: String| Error::Feed {
        path: path.to_owned(),
        why,
    };
    let bytes = if path.extension().is_some_and(|e| e == "gz") {
        let output = Command::new("gzip").arg("-dc").arg("--").arg(path).output();
        let output = output.map_err(Error::io("run gzip"))?;
        if !output.status.success() {
            return Err(wrong(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        output.stdout
    } else {
        let mut bytes = Vec::new();
        let file = fs::File::open(path);
        file.and_then(|mut f| f.read_to_end(&mut bytes))
            .map_err(Error::io(format!("read {}", path.display())))?;
        bytes
    };
    let feed = parse(&bytes, neighbour_as).map_err(|why| wrong(why.0.to_owned()))?;
    match feed.table.routes() {
        0 => Err(wrong(
            "it holds no IPv4 route in BGP4MP messages with four-octet AS".to_owned(),
        )),
        _ => Ok(feed),
    }
}

fn parse(mut bytes: &[u8], neighbour_as: u32) -> Result<Feed, Malformed> {
    let mut gather = Gather {
        neighbour_as,
        ..Gather::default()
    };
    while !bytes.is_empty() {
        let (header, rest) = bytes
            .split_first_chunk::<12>()
            .ok_or(Malformed("cut short"))?;
        let [_, _, _, _, t1, t0, s1, s0, l3, l2, l1, l0] = *header;
        let len = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        let (mut record, rest) = rest.split_at_checked(len).ok_or(Malformed("cut short"))?;
        bytes = rest;
        match (u16::from_be_bytes([t1, t0]), u16::from_be_bytes([s1, s0])) {
            (BGP4MP, MESSAGE_AS4) => {}
            (BGP4MP_ET, MESSAGE_AS4) => {
                record = record.get(4..).ok_or(Malformed("microseconds"))?;
            }
            _ => continue,
        }
        let addresses = match record.get(10..12) {
            Some([0, 1]) => 8,
            Some([0, 2]) => 32,
            _ => return Err(Malformed("the address family of a BGP4MP record")),
        };
        let message = record
            .get(12 + addresses..)
            .ok_or(Malformed("a BGP4MP record"))?;
        if let Some(message) = message_at(message, 0)?.filter(|m| m.kind == kind::UPDATE) {
            gather.update(&Update::parse(message.body)?)?;
        }
    }
    Ok(gather.feed())
}

#[derive(Default)]
struct Gather {
    neighbour_as: u32,
    groups: Vec<Vec<Attribute>>,
    /// Attribute block without next hop to its group.
    group_of: HashMap<Vec<u8>, usize>,
    routes: HashMap<Prefix, usize, ByPrefix>,
    /// In the order of first announcement.
    order: Vec<Prefix>,
    left_out: usize,
}

impl Gather {
    fn update(&mut self, update: &Update<'_>) -> Result<(), Malformed> {
        for prefix in update.withdrawn.prefixes() {
            self.routes.remove(&prefix?);
        }
        if update.announced.v4.is_empty() {
            return Ok(());
        }
        let mut block = Vec::with_capacity(update.attributes.len());
        let mut attributes = Vec::with_capacity(8);
        let mut stays_here = false;
        for raw in Attributes(update.attributes) {
            let raw = raw?;
            let value = match raw.code {
                // Ours to set, or never sent to another AS.
                attr::NEXT_HOP | attr::LOCAL_PREF | attr::ORIGINATOR_ID | attr::CLUSTER_LIST => {
                    continue;
                }
                attr::MP_REACH | attr::MP_UNREACH => continue,
                attr::AS_PATH => [&as_sequence(&[self.neighbour_as])[..], raw.value].concat(),
                _ => raw.value.to_vec(),
            };
            stays_here |= match raw.code {
                attr::COMMUNITIES => {
                    words(raw.value).any(|c| (0xffff_ff01..=0xffff_ff03).contains(&c))
                }
                attr::AGGREGATOR => words(raw.value).next() == Some(0),
                attr::AS_PATH => {
                    hops(raw.value).any(|hop| hop == 0 || near(hop, self.neighbour_as))
                }
                _ => false,
            };
            block.extend_from_slice(&[raw.flags, raw.code]);
            block.extend_from_slice(&(value.len() as u16).to_be_bytes());
            block.extend_from_slice(&value);
            let flags = raw.flags & !attr::EXTENDED_LENGTH;
            attributes.push(Attribute::new(flags, raw.code, value));
        }
        attributes.sort_by_key(|a| a.code);
        let next = self.groups.len();
        let group = *self.group_of.entry(block).or_insert(next);
        if group == next {
            self.groups.push(attributes);
        }
        for prefix in update.announced.prefixes() {
            let prefix = prefix?;
            if stays_here || !public(prefix) {
                self.left_out += 1;
            } else if self.routes.insert(prefix, group).is_none() {
                self.order.push(prefix);
            }
        }
        Ok(())
    }

    fn feed(mut self) -> Feed {
        let mut groups: Vec<Group> = self
            .groups
            .into_iter()
            .map(|attributes| Group {
                attributes,
                prefixes: Vec::new(),
            })
            .collect();
        for prefix in self.order {
            // Gone from the map: withdrawn at the end, or withdrawn once and taken already.
            if let Some(group) = self.routes.remove(&prefix) {
                groups[group].prefixes.push(prefix);
            }
        }
        groups.retain(|group| !group.prefixes.is_empty());
        Feed {
            table: Table { groups },
            left_out: self.left_out,
        }
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = u32> + '_ {
    value
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_be_bytes(*word))
}

/// Every AS in an AS_PATH, whatever its segment.
fn hops(mut path: &[u8]) -> impl Iterator<Item = u32> + '_ {
    std::iter::from_fn(move || {
        let (&[_, count], rest) = path.split_first_chunk::<2>()?;
        let (segment, rest) = rest.split_at_checked(usize::from(count) * 4)?;
        path = rest;
        Some(words(segment))
    })
    .flatten()
}

/// The speaker's AS, one below its first neighbour's, and those of its other neighbours: real
/// tables contain private AS numbers, and these would look like loops.
fn near(hop: u32, neighbour_as: u32) -> bool {
    (neighbour_as - 1..neighbour_as + 3).contains(&hop)
}

fn public(prefix: Prefix) -> bool {
    prefix.family() == Family::Ipv4 && (8..=24).contains(&prefix.len()) && !prefix.is_special()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::encode::{announce, withdraw};

    fn record(message: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 9];
        body.extend_from_slice(&[0, 0, 0xfd, 0xe9, 0, 0, 0xfd, 0xe8, 0, 0, 0, 1]);
        body.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        body.extend_from_slice(message);
        let mut record = vec![0, 0, 0, 0, 0, 17, 0, 4];
        record.extend_from_slice(&(body.len() as u32).to_be_bytes());
        record.extend_from_slice(&body);
        record
    }

    fn announcement(path: &[u32], community: [u8; 4], prefixes: &[Prefix]) -> Vec<u8> {
        let set = [
            Attribute::new(attr::WELL_KNOWN, attr::ORIGIN, vec![0]),
            Attribute::new(attr::WELL_KNOWN, attr::AS_PATH, as_sequence(path)),
            Attribute::new(
                attr::OPTIONAL_TRANSITIVE,
                attr::COMMUNITIES,
                community.to_vec(),
            ),
        ];
        let mut out = Vec::new();
        announce(&set, IpAddr::V4(Ipv4Addr::LOCALHOST), prefixes, &mut out).expect("fits");
        record(&out)
    }

    #[test]
    fn the_last_word_on_a_prefix_counts_and_what_cannot_pass_is_left_out() {
        let p = |n: u8, len| Prefix::v4(Ipv4Addr::new(11, n, 0, 0), len);
        let mut withdrawal = Vec::new();
        withdraw(Family::Ipv4, &[p(3, 16)], &mut withdrawal);
        let martian = Prefix::v4(Ipv4Addr::new(10, 0, 0, 0), 16);
        let bytes = [
            announcement(
                &[1, 2],
                [0, 1, 0, 1],
                &[p(1, 16), p(2, 16), p(3, 16), martian, p(9, 25)],
            ),
            announcement(&[1, 3], [0, 1, 0, 1], &[p(2, 16)]),
            announcement(&[1, 4], [0xff, 0xff, 0xff, 1], &[p(4, 16)]),
            announcement(&[1, 65000, 4], [0, 1, 0, 1], &[p(5, 16)]),
            announcement(&[1, 0], [0, 1, 0, 1], &[p(6, 16)]),
            record(&withdrawal),
        ]
        .concat();
        let feed = parse(&bytes, 65001).expect("well formed");
        let groups = feed.table.groups;
        assert_eq!(feed.left_out, 5);
        assert_eq!(
            groups
                .iter()
                .map(|g| g.prefixes.clone())
                .collect::<Vec<_>>(),
            [[p(1, 16)], [p(2, 16)]]
        );
        let path = [as_sequence(&[65001]), as_sequence(&[1, 2])].concat();
        assert_eq!(groups[0].attributes[1].value, path);
        assert!(
            parse(&bytes[..bytes.len() - 1], 65001).is_err(),
            "cut short"
        );
    }
}
