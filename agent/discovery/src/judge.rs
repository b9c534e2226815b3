//! Whom to believe.
//!
//! Communities are not authenticated: anybody whose route is accepted can write any key. So a route is judged
//! against what else is in the table before its endpoint is answered with.
//!
//! The rule so far: *an endpoint is believed if and only if the carrier of its node's key is present*. One that comes
//! before its carrier is held and judged again. **Not yet judged**: that the key's claim, static block or use map
//! covers the address; that endpoint and carrier have a path from a common peer; that this peer may carry discovery.
//! Until then whoever can announce into the fabric can announce any endpoint, and the border must keep strangers out.

use std::{net::IpAddr, sync::Arc};

use crate::codec::NodeKey;

/// Where a path came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// This host.
    Local,
    /// A peer, by the name the speaker has for it.
    Peer(Arc<str>),
}

/// What the routing table knows of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where it came from.
    pub from: Source,
    /// Its next hop; none for this host's own.
    pub next_hop: Option<IpAddr>,
    /// How far away it is, in whatever measure the caller uses throughout; 0 for this host's own.
    pub distance: u32,
    /// It is kept past its session's end (graceful restart).
    pub stale: bool,
}

impl Facts {
    /// The facts of what this host announces itself.
    pub const LOCAL: Self = Self {
        from: Source::Local,
        next_hop: None,
        distance: 0,
        stale: false,
    };

    /// Among several paths that say the same, the least speaks: our own, then fresh ones, then the nearest.
    pub(crate) fn rank(&self) -> (bool, bool, u32, &Source) {
        (
            self.from != Source::Local,
            self.stale,
            self.distance,
            &self.from,
        )
    }
}

/// What is known of a node through its carrier.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// Its carrier is here.
    Present,
    /// Its carrier is here and stale.
    Stale,
    /// It has none.
    Absent,
}

/// What became of a path.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Answer with it.
    Believed,
    /// Answer with it last: it or its node's carrier is stale.
    Stale,
    /// Wait: its node's carrier is not here.
    NoCarrier,
    /// Never: it does not say whose it is.
    NoKey,
}

impl Verdict {
    /// Whether it may be answered with.
    #[must_use]
    pub const fn is_believed(self) -> bool {
        matches!(self, Self::Believed | Self::Stale)
    }
}

/// Judges one path of an endpoint.
#[must_use]
pub fn judge(key: Option<NodeKey>, facts: &Facts, presence: Presence) -> Verdict {
    match (key, &facts.from, presence) {
        (None, _, _) => Verdict::NoKey,
        // What this host announces needs no witness, and is there before its own carrier is.
        (Some(_), Source::Local, _) => Verdict::Believed,
        (Some(_), Source::Peer(_), Presence::Absent) => Verdict::NoCarrier,
        (Some(_), Source::Peer(_), Presence::Stale) => Verdict::Stale,
        (Some(_), Source::Peer(_), Presence::Present) if facts.stale => Verdict::Stale,
        (Some(_), Source::Peer(_), Presence::Present) => Verdict::Believed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_believed_if_and_only_if_its_carrier_is_there() {
        let key = Some(NodeKey(1));
        let fresh = Facts {
            from: Source::Peer("tor1".into()),
            next_hop: None,
            distance: 1,
            stale: false,
        };
        let stale = Facts {
            stale: true,
            ..fresh.clone()
        };
        for (key, facts, presence, verdict) in [
            (key, fresh.clone(), Presence::Present, Verdict::Believed),
            (key, fresh.clone(), Presence::Stale, Verdict::Stale),
            (key, fresh.clone(), Presence::Absent, Verdict::NoCarrier),
            (key, stale.clone(), Presence::Present, Verdict::Stale),
            (key, stale, Presence::Absent, Verdict::NoCarrier),
            (key, Facts::LOCAL, Presence::Absent, Verdict::Believed),
            (None, fresh, Presence::Present, Verdict::NoKey),
            (None, Facts::LOCAL, Presence::Present, Verdict::NoKey),
        ] {
            assert_eq!(
                judge(key, &facts, presence),
                verdict,
                "{key:?} {facts:?} {presence:?}"
            );
        }
    }
}
