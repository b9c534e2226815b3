//! Next hops of the speaker, and whether packets get there: what its decision asks (RFC 4271,
//! 9.1.2.1). The same resolves routes, so that what the speaker prefers can be installed.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    super::way::{Gateway, Unresolved},
    Fib,
};

/// The next hops in use.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    /// Why they cannot be reached, if they cannot.
    next_hops: BTreeMap<IpAddr, Option<Unresolved>>,
    /// What has changed since somebody asked.
    news: BTreeMap<IpAddr, bool>,
}

impl Fib {
    /// These next hops have come into use (`true`), or out of it. Link-local ones are as good as
    /// their session and are not looked at.
    pub fn track(&mut self, next_hops: &[(IpAddr, bool)]) {
        for &(addr, used) in next_hops {
            let link_local = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
            if link_local {
                continue;
            }
            let before = match used {
                true => self.tracked.next_hops.insert(addr, None),
                false => self.tracked.next_hops.remove(&addr),
            };
            // Whoever has forgotten it takes it for reachable the next time.
            if let Some(Some(_)) = before {
                self.tracked.news.insert(addr, true);
                self.troubles_changed = true;
            }
            if used {
                self.reach(addr);
            }
        }
    }

    /// Whether next hops can be reached, where that has changed.
    pub fn take_reachability(&mut self) -> Vec<(IpAddr, bool)> {
        std::mem::take(&mut self.tracked.news).into_iter().collect()
    }

    /// Next hops in use that cannot be reached, with why.
    pub fn unreachable(&self) -> impl Iterator<Item = (IpAddr, &Unresolved)> {
        let all = self.tracked.next_hops.iter();
        all.filter_map(|(addr, why)| Some((*addr, why.as_ref()?)))
    }

    /// Whether one of these is tracked.
    pub(super) fn tracks(&self, which: impl Fn(&IpAddr) -> bool) -> bool {
        self.tracked.next_hops.keys().any(which)
    }

    /// Looks for all anew.
    pub(super) fn reach_again(&mut self) {
        let all: Vec<IpAddr> = self.tracked.next_hops.keys().copied().collect();
        for addr in all {
            self.reach(addr);
        }
    }

    fn reach(&mut self, addr: IpAddr) {
        // Before everything was listed nothing is known to be missing.
        if !self.listed {
            return;
        }
        let why = self
            .topology
            .next_hop(&Gateway::from(addr), addr.is_ipv6())
            .err();
        let Some(known) = self.tracked.next_hops.get_mut(&addr) else {
            return;
        };
        if known.is_none() != why.is_none() {
            self.tracked.news.insert(addr, why.is_none());
        }
        if *known != why {
            *known = why;
            self.troubles_changed = true;
        }
    }
}
