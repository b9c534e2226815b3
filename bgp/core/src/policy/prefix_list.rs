//! Lists of prefixes with lengths that pass, made for many entries and one lookup.
//!
//! The entries of a family lie sorted, and each knows the nearest one that covers it. What covers a
//! prefix is then the last entry that is not past it, or one of those that cover that entry: one
//! binary search, and as few steps as entries are nested. Each entry has the lengths that it and
//! all that cover it let pass, so that the first one that covers the prefix answers.

use std::{fmt, net::IpAddr, str::FromStr};

use super::{TextError, number::number};
use crate::{
    rib::key::PrefixKey,
    types::{Family, Ipv4Prefix, Ipv6Prefix, Prefix},
};

/// One entry: prefixes inside of one, of certain lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixEntry {
    prefix: Prefix,
    ge: u8,
    le: u8,
}

impl PrefixEntry {
    /// The very prefix.
    pub fn exact(prefix: Prefix) -> Self {
        Self {
            prefix,
            ge: prefix.len(),
            le: prefix.len(),
        }
    }

    /// The prefix and everything inside it.
    pub fn or_longer(prefix: Prefix) -> Self {
        Self {
            prefix,
            ge: prefix.len(),
            le: longest(prefix),
        }
    }

    /// What lies inside `prefix` with a length from `ge` to `le`. Without both: the very prefix;
    /// with `ge` alone: up to host routes; with `le` alone: from the prefix itself.
    ///
    /// # Errors
    /// Lengths that no prefix inside it has.
    pub fn new(prefix: Prefix, ge: Option<u8>, le: Option<u8>) -> Result<Self, LengthError> {
        let longest = longest(prefix);
        let (from, to) = match (ge, le) {
            (None, None) => (prefix.len(), prefix.len()),
            (Some(ge), None) => (ge, longest),
            (None, Some(le)) => (prefix.len(), le),
            (Some(ge), Some(le)) => (ge, le),
        };
        if prefix.len() <= from && from <= to && to <= longest {
            Ok(Self {
                prefix,
                ge: from,
                le: to,
            })
        } else {
            Err(LengthError {
                prefix,
                ge: from,
                le: to,
                longest,
            })
        }
    }

    /// The prefix in which it all lies.
    pub fn prefix(self) -> Prefix {
        self.prefix
    }

    /// Whether a prefix is meant.
    pub fn matches(self, prefix: Prefix) -> bool {
        self.prefix.contains(prefix) && (self.ge..=self.le).contains(&prefix.len())
    }
}

fn longest(prefix: Prefix) -> u8 {
    match prefix.family() {
        Family::Ipv4Unicast => 32,
        Family::Ipv6Unicast => 128,
    }
}

/// Lengths that no prefix has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{prefix}` with lengths from {ge} to {le} means nothing: expected {} <= ge <= le <= {longest}",
    prefix.len()
)]
pub struct LengthError {
    prefix: Prefix,
    ge: u8,
    le: u8,
    longest: u8,
}

/// An entry as it is written, before it is known which lengths the list gives those without any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenEntry {
    /// The prefix.
    pub prefix: Prefix,
    /// `ge LENGTH`
    pub ge: Option<u8>,
    /// `le LENGTH`
    pub le: Option<u8>,
}

impl FromStr for WrittenEntry {
    type Err = TextError;

    /// `10.0.0.0/8`, `10.0.0.0/8 le 24`, `10.0.0.0/8 ge 16 le 24`
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_ascii_whitespace();
        let prefix = words.next().unwrap_or_default();
        let prefix = prefix
            .parse::<Prefix>()
            .map_err(|error| TextError::because(&error))?;
        let mut written = Self {
            prefix,
            ge: None,
            le: None,
        };
        let expected =
            "`PREFIX`, `PREFIX ge LENGTH`, `PREFIX le LENGTH` or `PREFIX ge LENGTH le LENGTH`";
        let wrong = || TextError::new(text, expected);
        while let Some(word) = words.next() {
            let place = match word {
                "ge" => &mut written.ge,
                "le" => &mut written.le,
                _ => return Err(wrong()),
            };
            let length = words
                .next()
                .and_then(number)
                .and_then(|n| u8::try_from(n).ok());
            if place.is_some() || length.is_none() {
                return Err(wrong());
            }
            *place = length;
        }
        Ok(written)
    }
}

impl FromStr for PrefixEntry {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let WrittenEntry { prefix, ge, le } = text.parse()?;
        Self::new(prefix, ge, le).map_err(|error| TextError::because(&error))
    }
}

impl fmt::Display for PrefixEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.prefix.len();
        self.prefix.fmt(f)?;
        if self.ge != len {
            write!(f, " ge {}", self.ge)?;
        }
        if self.le != self.ge || self.ge != len {
            write!(f, " le {}", self.le)?;
        }
        Ok(())
    }
}

/// A list of prefixes of both families, ready to be asked.
#[derive(Clone, PartialEq, Eq)]
pub struct PrefixList {
    name: Option<String>,
    entries: Vec<PrefixEntry>,
    ipv4: Table<Ipv4Prefix>,
    ipv6: Table<Ipv6Prefix>,
}

impl PrefixList {
    /// A list that is spoken of by its name.
    pub fn named(name: impl Into<String>, entries: Vec<PrefixEntry>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::new(entries)
        }
    }

    /// A list without a name.
    pub fn new(entries: Vec<PrefixEntry>) -> Self {
        Self {
            name: None,
            ipv4: Table::new(&entries),
            ipv6: Table::new(&entries),
            entries,
        }
    }

    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What it is made of, as it was given.
    pub fn entries(&self) -> &[PrefixEntry] {
        &self.entries
    }

    /// Whether the list means a prefix.
    #[inline]
    pub fn contains(&self, prefix: Prefix) -> bool {
        match prefix {
            Prefix::V4(prefix) => self.ipv4.contains(prefix),
            Prefix::V6(prefix) => self.ipv6.contains(prefix),
        }
    }

    /// Whether the list means an address.
    pub fn contains_addr(&self, addr: IpAddr) -> bool {
        self.contains(Prefix::host(addr))
    }

    /// The entry that means a prefix, for people: the first as written.
    pub fn entry_for(&self, prefix: Prefix) -> Option<PrefixEntry> {
        self.entries
            .iter()
            .copied()
            .find(|entry| entry.matches(prefix))
    }
}

impl fmt::Debug for PrefixList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixList")
            .field("name", &self.name)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// How a list is called: by its name, or by what little is in it.
impl fmt::Display for PrefixList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.entries.as_slice()) {
            (Some(name), _) => name.fmt(f),
            (None, [only]) => only.fmt(f),
            (None, [first, second]) => write!(f, "{first}, {second}"),
            (None, [first, ..]) => write!(f, "{first} and {} more", self.entries.len() - 1),
            (None, []) => f.write_str("an empty list"),
        }
    }
}

/// The entries of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table<P: Listed> {
    /// In order, each once: what the search compares.
    keys: Vec<P::Key>,
    /// By the same places.
    prefixes: Vec<P>,
    nodes: Vec<Node>,
}

/// A prefix in a list.
trait Listed: PrefixKey {
    /// In the order of prefixes, and fast to compare: one number where one holds it.
    type Key: Copy + Ord + fmt::Debug;

    fn key(self) -> Self::Key;
}

impl Listed for Ipv4Prefix {
    type Key = u64;

    fn key(self) -> u64 {
        u64::from(self.bits()) << 8 | u64::from(self.len())
    }
}

impl Listed for Ipv6Prefix {
    type Key = (u128, u8);

    fn key(self) -> (u128, u8) {
        (self.bits(), self.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    lengths: Lengths,
    /// The nearest entry that covers this one; [`NONE`]: there is none.
    parent: u32,
}

const NONE: u32 = u32::MAX;

/// Lengths from 0 to 128: one more than a number has bits, so that the last stands by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lengths {
    bits: u128,
    host: bool,
}

impl Lengths {
    fn add(&mut self, ge: u8, le: u8) {
        for len in ge..=le.min(127) {
            self.bits |= 1 << len;
        }
        self.host |= le == 128;
    }

    #[inline]
    fn contain(self, len: u8) -> bool {
        if len == 128 {
            self.host
        } else {
            self.bits >> len & 1 != 0
        }
    }
}

impl<P: Listed> Table<P> {
    fn new(entries: &[PrefixEntry]) -> Self {
        let mut sorted: Vec<(P, PrefixEntry)> = entries
            .iter()
            .filter_map(|entry| Some((P::from_prefix(entry.prefix)?, *entry)))
            .collect();
        sorted.sort_unstable();
        let mut table = Self {
            keys: Vec::new(),
            prefixes: Vec::new(),
            nodes: Vec::new(),
        };
        for (prefix, entry) in sorted {
            if table.prefixes.last() != Some(&prefix) {
                let parent = table.covering(table.prefixes.len(), prefix);
                let inherited = table.node(parent).map(|node| node.lengths);
                table.keys.push(prefix.key());
                table.prefixes.push(prefix);
                table.nodes.push(Node {
                    lengths: inherited.unwrap_or_default(),
                    parent,
                });
            }
            if let Some(node) = table.nodes.last_mut() {
                node.lengths.add(entry.ge, entry.le);
            }
        }
        table
    }

    #[inline]
    fn contains(&self, prefix: P) -> bool {
        let key = prefix.key();
        let past = self.keys.partition_point(|entry| *entry <= key);
        self.node(self.covering(past, prefix))
            .is_some_and(|node| node.lengths.contain(prefix.split().1))
    }

    /// The last entry before `past` that covers a prefix, which is not before any of these.
    #[inline]
    fn covering(&self, past: usize, prefix: P) -> u32 {
        let Some(last) = past.checked_sub(1) else {
            return NONE;
        };
        // Fewer than 2^32 entries: each has 16 octets and more.
        let mut place = u32::try_from(last).unwrap_or(NONE);
        while let Some(entry) = self.prefixes.get(place as usize) {
            if entry.covers(prefix) {
                return place;
            }
            place = self.nodes[place as usize].parent;
        }
        NONE
    }

    fn node(&self, place: u32) -> Option<&Node> {
        self.nodes.get(place as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn list(entries: &[&str]) -> PrefixList {
        let read = entries.iter().map(|entry| {
            entry
                .parse()
                .unwrap_or_else(|error| panic!("{entry}: {error}"))
        });
        PrefixList::new(read.collect())
    }

    #[test]
    fn ge_and_le_bound_the_lengths_as_on_other_routers() {
        let table = [
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.1.0.0/16", false),
            ("10.0.0.0/8 le 24", "10.0.0.0/8", true),
            ("10.0.0.0/8 le 24", "10.1.2.0/24", true),
            ("10.0.0.0/8 le 24", "10.1.2.0/25", false),
            ("10.0.0.0/8 ge 16", "10.0.0.0/8", false),
            ("10.0.0.0/8 ge 16", "10.1.2.3/32", true),
            ("10.0.0.0/8 ge 16 le 24", "10.0.0.0/15", false),
            ("10.0.0.0/8 ge 16 le 24", "11.0.0.0/16", false),
            ("0.0.0.0/0", "0.0.0.0/0", true),
            ("0.0.0.0/0", "10.0.0.0/8", false),
            ("0.0.0.0/0 le 32", "::/0", false),
            ("::/0", "::/0", true),
            ("::/0 ge 128", "fd00::1/128", true),
            ("::/0 ge 128", "fd00::/64", false),
            ("fd00::/8 le 64", "fd00:1::/64", true),
        ];
        for (entry, prefix, expected) in table {
            let prefix: Prefix = prefix.parse().unwrap();
            assert_eq!(
                list(&[entry]).contains(prefix),
                expected,
                "{entry} {prefix}"
            );
            let read: PrefixEntry = entry.parse().unwrap();
            assert_eq!(read.matches(prefix), expected);
            let full = match entry {
                "10.0.0.0/8 ge 16" => "10.0.0.0/8 ge 16 le 32",
                "::/0 ge 128" => "::/0 ge 128 le 128",
                other => other,
            };
            assert_eq!(read.to_string(), full);
        }
    }

    #[test]
    fn lengths_that_nothing_has_are_refused() {
        for text in [
            "10.0.0.0/8 le 7",
            "10.0.0.0/8 ge 33",
            "10.0.0.0/8 ge 24 le 16",
            "10.0.0.0/8 le 33",
            "10.0.0.0/8 le",
            "10.0.0.0/8 le 9 le 10",
            "10.0.0.0/8 gt 9",
            "10.0.0.1/8",
            "",
        ] {
            assert!(text.parse::<PrefixEntry>().is_err(), "{text:?}");
        }
    }

    /// Prefixes that are nested and side by side, in both families.
    fn prefix() -> impl Strategy<Value = Prefix> {
        let v4 = (any::<[u8; 2]>(), 0_u8..=32)
            .prop_map(|([a, b], len)| Prefix::new(IpAddr::from([a & 0x81, b & 0xC3, b, a]), len));
        let v6 = (any::<u16>(), 0_u8..=128).prop_map(|(word, len)| {
            Prefix::new(
                IpAddr::from([word & 0x8001, 0, word, 0, 0, 0, 0, word & 3]),
                len,
            )
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        /// RFC 8212 asks for policy; a list that lets through what it should not is none.
        #[test]
        fn a_list_means_what_its_entries_mean_one_by_one(
            entries in vec((prefix(), 0_u8..40, 0_u8..40), 0..40),
            asked in vec(prefix(), 1..40),
        ) {
            let entries: Vec<_> = entries
                .into_iter()
                .filter_map(|(prefix, ge, le)| {
                    let from = prefix.len() + ge;
                    PrefixEntry::new(prefix, Some(from), Some(from + le)).ok()
                })
                .collect();
            let list = PrefixList::new(entries.clone());
            let own = entries.iter().map(|entry| entry.prefix());
            for prefix in asked.into_iter().chain(own) {
                let expected = entries.iter().any(|entry| entry.matches(prefix));
                prop_assert_eq!(list.contains(prefix), expected, "{} in {:?}", prefix, entries);
                prop_assert_eq!(list.entry_for(prefix).is_some(), expected);
            }
        }
    }
}
