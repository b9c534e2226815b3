//! Routes of our own.

use super::Speaker;
use crate::{
    attributes::Attributes,
    feed::Origination,
    rib::{attr::AttrId, key::PrefixKey, source::Slot},
    types::{Ipv4Prefix, Ipv6Prefix, Prefix, Time},
    wire::{encode_canonical, facts_of},
};

impl Speaker {
    /// Originates these routes, or replaces what was originated for their prefixes.
    pub fn originate(&mut self, now: Time, routes: Vec<Origination>) {
        for mut route in routes {
            route.communities.sort_unstable();
            route.communities.dedup();
            route.large_communities.sort_unstable();
            route.large_communities.dedup();
            if self.own.get(&route.prefix) == Some(&route) {
                continue;
            }
            let attributes = Attributes {
                med: route.med,
                local_pref: route.local_pref,
                communities: route.communities.clone(),
                large_communities: route.large_communities.clone(),
                ..Attributes::default()
            };
            self.canonical.clear();
            encode_canonical(&attributes, &mut self.canonical);
            let facts = self.with_mark(&self.canonical, facts_of(&self.canonical));
            let attr = self
                .shared
                .attrs
                .intern(&self.canonical, route.next_hop, &facts);
            self.announce_own(now, route.prefix, attr);
            self.own.insert(route.prefix, route);
        }
    }

    /// Takes routes of our own back.
    pub fn withdraw(&mut self, prefixes: &[Prefix]) {
        for prefix in prefixes {
            if self.own.remove(prefix).is_some() {
                let Self { shared, tables, .. } = self;
                match *prefix {
                    Prefix::V4(prefix) => shared.withdraw(&mut tables.v4, prefix, Slot::LOCAL),
                    Prefix::V6(prefix) => shared.withdraw(&mut tables.v6, prefix, Slot::LOCAL),
                };
            }
        }
    }

    /// What we originate, in order of prefixes.
    pub fn originated(&self) -> impl Iterator<Item = &Origination> {
        self.own.values()
    }

    fn announce_own(&mut self, now: Time, prefix: Prefix, attr: AttrId) {
        let since = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let Self { shared, tables, .. } = self;
        if let Some(prefix) = Ipv4Prefix::from_prefix(prefix) {
            shared.announce(&mut tables.v4, prefix, Slot::LOCAL, attr, attr, since);
        } else if let Some(prefix) = Ipv6Prefix::from_prefix(prefix) {
            shared.announce(&mut tables.v6, prefix, Slot::LOCAL, attr, attr, since);
        }
    }
}
