//! What the checks ask of every daemon, and what a route is to all of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use wayleave_lab::{End, Host, Lab, Why};

use crate::interop::ours::ASN;

/// The attributes of every route that a daemon under test announces by itself.
pub(crate) const COMMUNITIES: [&str; 2] = ["65001:7", "65001:77"];
pub(crate) const LARGE: [&str; 2] = ["65001:1:2", "4200000001:3:4"];
pub(crate) const MED: u64 = 50;
/// Inside an AS only.
pub(crate) const LOCAL_PREF: u64 = 150;
/// What operators tell each other.
pub(crate) const LUNCH: &str = "out for lunch";

/// A daemon under test.
///
/// Where it cannot do what a check asks for, a constant says so, and the check shows what it does
/// instead: a row of docs/interop.md is then "no", and its test is the same.
pub(crate) trait Daemon: Sized {
    /// Its section in docs/interop.md.
    const HEADING: &str;
    /// The program of the commands that its configuration there needs once it runs, if any.
    const AFTERWARDS: &str = "";
    /// One session on IPv4 can carry its IPv6 routes to another AS.
    const BOTH_OVER_IPV4: bool = true;
    /// A command makes it ask for our routes again (RFC 2918).
    const ASKS_AGAIN: bool = true;
    /// What arrives of [`LUNCH`] when its operator closes a session with it (RFC 9003).
    const SAYS: &str = LUNCH;
    /// It shows its operator what ours said.
    const SHOWS_TEXT: bool = true;
    /// It can bound how many prefixes we may tell it.
    const LIMITS: bool = true;
    /// It passes routes on from one neighbour to another.
    const PASSES_ON: bool = true;
    /// It sends and takes messages past 4,096 octets (RFC 8654).
    const LONG_MESSAGES: bool = true;

    /// Why it cannot run here, where the needs of the test do not say it.
    fn missing() -> Option<String> {
        None
    }

    /// Starts it with a configuration in its own words.
    fn run(lab: &Lab, host: &Host, config: &str) -> Result<Self, Why>;

    fn start(lab: &Lab, host: &Host, setup: &Setup) -> Result<Self, Why>;

    /// The route that it would use for a prefix.
    fn best(&self, prefix: &str) -> Result<Route, Why>;

    /// Takes back a network of its own.
    fn withdraw(&self, prefix: &str) -> Result<(), Why>;

    fn kill(&self) -> Result<(), Why>;

    /// Starts it again after its end, with the networks it had.
    fn start_again(&self) -> Result<(), Why>;

    /// Asks the neighbour for its routes again.
    fn ask_again(&self, neighbour: IpAddr) -> Result<(), Why>;

    /// How many ROUTE-REFRESH it has heard of us, where it counts them.
    fn refreshes_heard(&self, _: IpAddr) -> Result<Option<u64>, Why> {
        Ok(None)
    }

    /// Closes the session for good, with a word to the other side.
    fn close(&self, neighbour: IpAddr, text: &str) -> Result<(), Why>;

    /// Everything it has told its operator of its sessions.
    fn said(&self) -> Result<String, Why>;

    /// The next hop that its own IPv6 routes have over a session on IPv4 when nobody sets one. None:
    /// what it sends is no next hop at all.
    fn unset_next_hop(here: &End) -> Option<String> {
        Some(here.v6.to_string())
    }
}

/// What a daemon is started with.
pub(crate) struct Setup {
    pub(crate) asn: u32,
    pub(crate) id: Ipv4Addr,
    pub(crate) neighbours: Vec<Neighbour>,
    /// What it announces by itself.
    pub(crate) networks: Vec<String>,
    /// Most prefixes of a family that it takes from a neighbour.
    pub(crate) limit: Option<u32>,
    /// The next hop of its own IPv6 routes is left to it.
    pub(crate) next_hop_unset: bool,
    /// So many large communities more has each of its routes; and long messages are switched on where
    /// they have to be (RFC 8654).
    pub(crate) more_large: u32,
    /// What else its configuration says, in its own words.
    pub(crate) more: String,
}

/// A neighbour of a daemon: one of our agents.
pub(crate) struct Neighbour {
    pub(crate) asn: u32,
    /// The daemon's end of the cable.
    pub(crate) here: End,
    pub(crate) address: IpAddr,
    pub(crate) families: Families,
    /// It reflects to this one.
    pub(crate) client: bool,
    pub(crate) password: Option<&'static str>,
}

/// What a session carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Families {
    Both,
    /// That of its own addresses.
    One,
}

impl Setup {
    /// One neighbour in the AS of the agents, over IPv4 with both families.
    pub(crate) fn beside(asn: u32, id: u8, here: &End, there: &End) -> Self {
        Self::over(
            asn,
            id,
            vec![Neighbour::ours(here, there.v4, Families::Both)],
        )
    }

    /// The same over a session of each family.
    pub(crate) fn beside_twice(asn: u32, id: u8, here: &End, there: &End) -> Self {
        let neighbours = vec![
            Neighbour::ours(here, there.v4, Families::One),
            Neighbour::ours(here, there.v6, Families::One),
        ];
        Self::over(asn, id, neighbours)
    }

    fn over(asn: u32, id: u8, neighbours: Vec<Neighbour>) -> Self {
        Self {
            asn,
            id: Ipv4Addr::new(id, id, id, id),
            neighbours,
            networks: networks(id).to_vec(),
            limit: None,
            next_hop_unset: false,
            more_large: 0,
            more: String::new(),
        }
    }

    /// The large communities of its routes.
    pub(crate) fn large(&self) -> Vec<String> {
        let more = (1..=self.more_large).map(|n| format!("{}:{n}:{n}", self.asn));
        LARGE.map(str::to_owned).into_iter().chain(more).collect()
    }

    /// Whether all its neighbours are in its own AS.
    pub(crate) fn internal(&self) -> bool {
        self.neighbours.iter().all(|n| n.asn == self.asn)
    }
}

impl Neighbour {
    fn ours(here: &End, address: impl Into<IpAddr>, families: Families) -> Self {
        Self {
            asn: ASN,
            here: here.clone(),
            address: address.into(),
            families,
            client: false,
            password: None,
        }
    }

    pub(crate) fn carries(&self, ipv6: bool) -> bool {
        self.families == Families::Both || self.address.is_ipv6() == ipv6
    }

    /// Our address on the session.
    pub(crate) fn local(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => self.here.v4.into(),
            IpAddr::V6(_) => self.here.v6.into(),
        }
    }
}

/// The networks of the daemon with this number, one of each family.
pub(crate) fn networks(id: u8) -> [String; 2] {
    [format!("192.0.{id}.0/24"), format!("2001:db8:{id}::/48")]
}

pub(crate) fn is_ipv6(prefix: &str) -> bool {
    prefix.contains(':')
}

/// A route, whoever shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// AS numbers with a space between them.
    pub(crate) path: String,
    pub(crate) communities: BTreeSet<String>,
    pub(crate) large: BTreeSet<String>,
    /// Some daemons show none as 0.
    pub(crate) med: u64,
    pub(crate) local_pref: Option<u64>,
    pub(crate) next_hop: String,
}

impl Route {
    /// What [`COMMUNITIES`], [`LARGE`] and their like are once they have arrived.
    pub(crate) fn rich(path: impl Into<String>, next_hop: impl ToString) -> Self {
        Self {
            path: path.into(),
            communities: set(COMMUNITIES),
            large: set(LARGE),
            med: MED,
            local_pref: None,
            next_hop: next_hop.to_string(),
        }
    }
}

pub(crate) fn set<S: Into<String>>(words: impl IntoIterator<Item = S>) -> BTreeSet<String> {
    words.into_iter().map(Into::into).collect()
}
