//! The search for the neighbour on the link of one interface.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use wayleave_bgp_core::Time;

/// Between two advertisements while nobody was heard.
pub(super) const SEARCHING: Duration = Duration::from_secs(4);
/// Between two advertisements to somebody who was heard, as FRR does it.
pub(super) const FOUND: Duration = Duration::from_secs(10);
/// Who was not heard for so long is gone: three and a half of its advertisements, or of our questions.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(35);
/// MIN_DELAY_BETWEEN_RAS (RFC 4861, 10).
pub(super) const LEAST_PAUSE: Duration = Duration::from_secs(3);
/// MAX_RA_DELAY_TIME (RFC 4861, 10): an answer to a solicitation waits up to so long.
const LONGEST_DELAY: Duration = Duration::from_millis(500);
/// How long nobody may be heard before an operator should know.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Who was heard less than this before is no news, however often he says that he is there.
const NEWS: Duration = Duration::from_secs(1);
/// So many others are kept in mind: nobody on a link can fill our memory.
const MOST_OTHERS: usize = 8;

/// What can be done on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is none of that name.
    Missing,
    /// It is down, or has no carrier.
    Down,
    /// It has no link-local address that can be used.
    NoAddress,
    /// Messages pass, from here.
    Usable(Outlet),
}

/// From where messages leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outlet {
    pub(super) ifindex: u32,
    /// The address of ours by which we are known on the link.
    pub(super) source: Ipv6Addr,
}

/// What is to be sent now: an advertisement, and with it perhaps a solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Say {
    pub(super) from: Outlet,
    pub(super) solicit: bool,
}

/// One interface.
#[derive(Debug)]
pub(super) struct Search {
    standing: Standing,
    /// Since when nobody is heard.
    alone_since: Time,
    neighbor: Option<Heard>,
    /// Others on the link, and when each was heard last.
    others: BTreeMap<Ipv6Addr, Time>,
    /// The last advertisement since the link is usable.
    advertised: Option<Time>,
    /// When the next one is due.
    next: Time,
    /// Why the last message could not be sent.
    unsent: Option<String>,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    address: Ipv6Addr,
    at: Time,
}

impl Search {
    pub(super) fn new(now: Time, seed: u64) -> Self {
        Self {
            standing: Standing::Missing,
            alone_since: now,
            neighbor: None,
            others: BTreeMap::new(),
            advertised: None,
            next: now,
            unsent: None,
            jitter: Jitter(seed),
        }
    }

    /// The interface is like this now. What was heard on a link counts while it lasts.
    pub(super) fn stands(&mut self, now: Time, standing: Standing) {
        if standing == self.standing {
            return;
        }
        self.standing = standing;
        self.unsent = None;
        self.others.clear();
        if self.neighbor.take().is_some() {
            self.alone_since = now;
        }
        self.advertised = None;
        self.next = now;
    }

    /// Somebody advertises. Whether it is the neighbour, and that is news.
    pub(super) fn advertised(&mut self, now: Time, address: Ipv6Addr) -> bool {
        self.forget(now);
        match &mut self.neighbor {
            Some(neighbor) if neighbor.address != address => {
                if self.others.len() < MOST_OTHERS || self.others.contains_key(&address) {
                    self.others.insert(address, now);
                }
                false
            }
            Some(neighbor) => {
                let news = now.since(neighbor.at) >= NEWS;
                neighbor.at = now;
                news
            }
            None => {
                self.others.remove(&address);
                self.neighbor = Some(Heard { address, at: now });
                true
            }
        }
    }

    /// Somebody asks for routers: the next advertisement comes sooner (RFC 4861, 6.2.6).
    pub(super) fn solicited(&mut self, now: Time) {
        let after_delay = now + self.jitter.of(LONGEST_DELAY);
        let allowed = self.advertised.map_or(now, |last| last + LEAST_PAUSE);
        self.next = self.next.min(after_delay.max(allowed));
    }

    /// What is to be sent now.
    pub(super) fn step(&mut self, now: Time) -> Option<Say> {
        self.forget(now);
        let Standing::Usable(from) = self.standing else {
            return None;
        };
        if now < self.next {
            return None;
        }
        // Who has said something since our last advertisement need not be asked.
        let solicit = self
            .neighbor
            .is_none_or(|heard| self.advertised.is_some_and(|last| heard.at < last));
        let pause = if self.neighbor.is_some() {
            FOUND
        } else {
            SEARCHING
        };
        // "Each time a multicast advertisement is sent [...], the timer is reset to a uniformly distributed
        // random value" (6.2.4): between three quarters and all of it, which is LEAST_PAUSE and more.
        self.next = now + pause * 3 / 4 + self.jitter.of(pause / 4);
        self.advertised = Some(now);
        Some(Say { from, solicit })
    }

    /// What became of sending.
    pub(super) fn sent(&mut self, outcome: Result<(), String>) {
        self.unsent = outcome.err();
    }

    /// When there is something to do, or to say, without anything happening before.
    pub(super) fn next_due(&self, now: Time) -> Option<Time> {
        let usable = matches!(self.standing, Standing::Usable(_));
        let heard = self.neighbor.iter().map(|neighbor| neighbor.at);
        let heard = heard.chain(self.others.values().copied());
        let forgotten = heard.map(|at| at + FORGOTTEN);
        // That nobody is heard is said once.
        let unheard = self.neighbor.is_none().then_some(self.alone_since + GRACE);
        let unheard = unheard.filter(|due| *due > now);
        forgotten
            .chain(unheard)
            .chain(usable.then_some(self.next))
            .min()
    }

    /// The number of the interface, when messages pass.
    pub(super) fn outlet(&self) -> Option<u32> {
        match self.standing {
            Standing::Usable(outlet) => Some(outlet.ifindex),
            Standing::Missing | Standing::Down | Standing::NoAddress => None,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// Why the last message could not be sent.
    pub(super) fn unsent(&self) -> Option<&str> {
        self.unsent.as_deref()
    }

    pub(super) fn neighbor(&self) -> Option<Ipv6Addr> {
        self.neighbor.map(|neighbor| neighbor.address)
    }

    /// Who else is on the link.
    pub(super) fn others(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.others.keys().copied()
    }

    /// Whether nobody is heard for so long that an operator should know.
    pub(super) fn is_in_vain(&self, now: Time) -> bool {
        self.neighbor.is_none() && now.since(self.alone_since) >= GRACE
    }

    fn forget(&mut self, now: Time) {
        let is_gone = |at: Time| now.since(at) >= FORGOTTEN;
        self.others.retain(|_, at| !is_gone(*at));
        if self.neighbor.is_some_and(|neighbor| is_gone(neighbor.at)) {
            self.neighbor = None;
            self.alone_since = now;
        }
    }
}

/// Numbers that differ from host to host, so that two of them do not speak at once for ever (splitmix64).
#[derive(Clone, Copy, Debug)]
struct Jitter(u64);

impl Jitter {
    /// Something between nothing and `most`.
    fn of(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = u32::from((bits >> 48) as u16);
        most * share / u32::from(u16::MAX)
    }
}
