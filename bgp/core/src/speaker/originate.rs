//! Routes of our own.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::Speaker;
use crate::{
    attributes::Attributes,
    feed::Origination,
    rib::{attr::AttrId, key::PrefixKey, source::Slot},
    types::{Ipv4Prefix, Ipv6Prefix, Prefix, Time},
    wire::{encode_canonical, facts_of},
};

/// Every route of our own by prefix, the one that is announced first.
pub(super) type Own = BTreeMap<(Prefix, Reverse<u8>), Origination>;

impl Speaker {
    /// Originates these routes, or replaces what was originated for their prefixes with their rank.
    /// All carry the marks of the configuration, whoever originates them.
    pub fn originate(&mut self, now: Time, routes: Vec<Origination>) {
        for mut route in routes {
            route.communities.sort_unstable();
            route.communities.dedup();
            let (prefix, key) = (route.prefix, (route.prefix, Reverse(route.rank)));
            if self.own.get(&key) == Some(&route) {
                continue;
            }
            self.own.insert(key, route);
            self.announce_own(now, prefix);
        }
    }

    /// Takes routes of our own with this rank back.
    pub fn withdraw(&mut self, now: Time, rank: u8, prefixes: &[Prefix]) {
        for &prefix in prefixes {
            if self.own.remove(&(prefix, Reverse(rank))).is_some() {
                self.announce_own(now, prefix);
            }
        }
    }

    /// What we originate, in order of prefixes, also what waits behind a higher rank.
    pub fn originated(&self) -> impl Iterator<Item = &Origination> {
        self.own.values()
    }

    /// Announces all routes of our own again, with the marks as they are now.
    pub(super) fn announce_all_own(&mut self, now: Time) {
        let prefixes: BTreeSet<Prefix> = self.own.keys().map(|&(prefix, _)| prefix).collect();
        for prefix in prefixes {
            self.announce_own(now, prefix);
        }
    }

    /// Announces of the routes of our own for a prefix the one with the highest rank, or none.
    fn announce_own(&mut self, now: Time, prefix: Prefix) {
        let all = (prefix, Reverse(u8::MAX))..=(prefix, Reverse(0));
        let Some((_, route)) = self.own.range(all).next() else {
            let Self { shared, tables, .. } = self;
            match prefix {
                Prefix::V4(prefix) => shared.withdraw(&mut tables.v4, prefix, Slot::LOCAL),
                Prefix::V6(prefix) => shared.withdraw(&mut tables.v6, prefix, Slot::LOCAL),
            };
            return;
        };
        let marks = self.config.own_marks.iter();
        let mut large: Vec<_> = route
            .large_communities
            .iter()
            .chain(marks)
            .copied()
            .collect();
        large.sort_unstable();
        large.dedup();
        let attributes = Attributes {
            med: route.med,
            local_pref: route.local_pref,
            communities: route.communities.clone(),
            large_communities: large,
            ..Attributes::default()
        };
        let next_hop = route.next_hop;
        self.canonical.clear();
        encode_canonical(&attributes, &mut self.canonical);
        let facts = facts_of(&self.canonical);
        let attr = self.shared.attrs.intern(&self.canonical, next_hop, &facts);
        self.put_own(now, prefix, attr);
    }

    fn put_own(&mut self, now: Time, prefix: Prefix, attr: AttrId) {
        let since = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let Self { shared, tables, .. } = self;
        if let Some(prefix) = Ipv4Prefix::from_prefix(prefix) {
            shared.announce(&mut tables.v4, prefix, Slot::LOCAL, attr, attr, since);
        } else if let Some(prefix) = Ipv6Prefix::from_prefix(prefix) {
            shared.announce(&mut tables.v6, prefix, Slot::LOCAL, attr, attr, since);
        }
    }
}
