//! Did the receiver end with exactly the routes it should have?
//!
//! Attributes are compared byte for byte in a canonical form (sorted by type, lengths uniform,
//! communities as sets), never by hash. BGP changes some of them on the way; [`Passage`] says
//! which, and everything else must be untouched.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fmt, io,
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    time::{Duration, Instant},
};

use crate::{
    canonical::{by_code, canonical},
    decode::{Attributes, Malformed, Update, message_at},
    encode::{Attribute, attr, kind},
    prefix::{ByPrefix, Prefix},
    record::Recording,
    table::Table,
};

/// What lies between the announcing and the receiving peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Passage {
    /// Nothing: generator straight to sink.
    Wire,
    /// An eBGP speaker: prepends its AS, drops MED (RFC 4271 section 5.1.4).
    Ebgp { speaker_as: u32 },
    /// A route reflector: adds ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 section 8).
    Reflector {
        originator: Ipv4Addr,
        cluster: Ipv4Addr,
    },
}

/// The routes a receiver should end with.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    index: HashMap<Prefix, u32, ByPrefix>,
    /// Per route, which of `sets` it carries.
    set_of: Vec<u32>,
    sets: Vec<Set>,
}

#[derive(Debug)]
struct Set {
    canonical: Vec<u8>,
    next_hops: Vec<IpAddr>,
}

impl Expected {
    /// Adds a table announced by `next_hop`'s owner; a speaker that rewrites the next hop puts
    /// one of `also` there.
    pub(crate) fn add(
        &mut self,
        table: &Table,
        passage: Passage,
        next_hop: IpAddr,
        also: &[IpAddr],
    ) {
        self.index.reserve(table.routes());
        for group in &table.groups {
            let set = self.sets.len() as u32;
            let next_hops = also.iter().copied().chain([next_hop]).collect();
            self.sets.push(Set {
                canonical: expected_form(&group.attributes, passage),
                next_hops,
            });
            for &prefix in &group.prefixes {
                self.index.insert(prefix, self.set_of.len() as u32);
                self.set_of.push(set);
            }
        }
    }

    pub(crate) fn routes(&self) -> usize {
        self.set_of.len()
    }
}

/// What the receiver's routes look like after a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Every expected route is there with its attributes, nothing else is.
    Full,
    /// No route is left.
    Empty,
    /// Every expected route but those numbered so.
    Without(Range<u32>),
}

/// What a receiver has been told, replayed from its recordings.
#[derive(Debug)]
pub(crate) struct Receiver<'a> {
    expected: &'a Expected,
    goal: Goal,
    state: Vec<State>,
    /// Routes whose state is not what the goal wants.
    unmet: usize,
    extra: HashSet<Prefix, ByPrefix>,
    /// What the routes that are wrong came with.
    came_with: BTreeMap<u32, (Vec<u8>, Vec<IpAddr>)>,
    /// Routes the receiver itself announced: some speakers send them back, which RFC 4456
    /// section 8 lets the receiver ignore.
    own: Range<u32>,
    echoed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Right,
    Wrong,
}

/// A phase that reached its goal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    /// When the last byte that mattered was read.
    pub(crate) at: Instant,
    /// Announcements and withdrawals that changed nothing for the receiver.
    pub(crate) redundant: usize,
}

impl<'a> Receiver<'a> {
    pub(crate) fn new(expected: &'a Expected) -> Self {
        Self::with_own(expected, 0..0)
    }

    /// A receiver that announced the routes numbered `own` itself.
    pub(crate) fn with_own(expected: &'a Expected, own: Range<u32>) -> Self {
        Self {
            expected,
            goal: Goal::Empty,
            state: vec![State::Absent; expected.routes()],
            unmet: 0,
            extra: HashSet::default(),
            came_with: BTreeMap::new(),
            own,
            echoed: 0,
        }
    }

    /// Own routes the daemon sent back: no error, but work.
    pub(crate) fn echoed(&self) -> usize {
        self.echoed
    }

    /// Replays one phase and tells when its goal was reached for good.
    ///
    /// # Errors
    /// With the routes that are missing, unexpected or changed.
    pub(crate) fn replay(&mut self, recording: &Recording, goal: Goal) -> Result<Reached, Fault> {
        self.goal = goal;
        let unmet = |route| self.state[route as usize] != self.target(route);
        self.unmet = (0..self.expected.routes() as u32)
            .filter(|&r| unmet(r))
            .count();
        let mut reached = self.met().then_some(0);
        let (mut at, mut redundant) = (0, 0);
        while let Some(message) = message_at(recording.bytes(), at)? {
            at = message.end;
            match message.kind {
                kind::UPDATE => {}
                kind::NOTIFICATION => return Err(Fault::notification(message.body)),
                _ => continue,
            }
            let update = Update::parse(message.body)?;
            for prefix in update.withdrawn.prefixes() {
                redundant += usize::from(!self.withdraw(prefix?));
            }
            let mut form = None;
            for prefix in update.announced.prefixes() {
                let form = match &mut form {
                    Some(form) => form,
                    empty => empty.insert(Form::of(&update)?),
                };
                redundant += usize::from(!self.announce(prefix?, form));
            }
            reached = match (self.met(), reached) {
                (true, None) => Some(at),
                (true, since) => since,
                (false, _) => None,
            };
        }
        let Some(offset) = reached else {
            return Err(self.fault());
        };
        Ok(Reached {
            at: recording.time_of(offset),
            redundant,
        })
    }

    fn met(&self) -> bool {
        self.unmet == 0 && self.extra.is_empty()
    }

    fn target(&self, route: u32) -> State {
        let absent = self.own.contains(&route)
            || match &self.goal {
                Goal::Full => false,
                Goal::Empty => true,
                Goal::Without(gone) => gone.contains(&route),
            };
        if absent { State::Absent } else { State::Right }
    }

    /// Returns whether anything changed.
    fn withdraw(&mut self, prefix: Prefix) -> bool {
        match self.expected.index.get(&prefix) {
            Some(&route) => self.set(route, State::Absent, None),
            None => self.extra.remove(&prefix),
        }
    }

    /// Returns whether anything changed.
    fn announce(&mut self, prefix: Prefix, form: &mut Form) -> bool {
        match self.expected.index.get(&prefix) {
            Some(route) if self.own.contains(route) => {
                self.echoed += 1;
                false
            }
            Some(&route) => {
                let set = self.expected.set_of[route as usize];
                if form.matches(set, &self.expected.sets[set as usize]) {
                    self.set(route, State::Right, None)
                } else {
                    self.set(route, State::Wrong, Some(form))
                }
            }
            None => self.extra.insert(prefix),
        }
    }

    fn set(&mut self, route: u32, to: State, form: Option<&Form>) -> bool {
        let target = self.target(route);
        let from = std::mem::replace(&mut self.state[route as usize], to);
        self.unmet -= usize::from(from != target);
        self.unmet += usize::from(to != target);
        if from == State::Wrong {
            self.came_with.remove(&route);
        }
        // The first few suffice to say what is wrong.
        if let Some(form) = form.filter(|_| self.came_with.len() < 100) {
            self.came_with
                .insert(route, (form.canonical.clone(), form.next_hops.clone()));
        }
        from != to
    }

    fn fault(&self) -> Fault {
        let mut routes: Vec<_> = self.expected.index.iter().map(|(p, r)| (*r, *p)).collect();
        routes.sort_unstable();
        let (mut missing, mut changed) = (Vec::new(), Vec::new());
        let mut extra: Vec<Prefix> = self.extra.iter().copied().collect();
        extra.sort_unstable();
        for (route, prefix) in routes {
            match (self.target(route), self.state[route as usize]) {
                (State::Absent, State::Absent) | (State::Right | State::Wrong, State::Right) => {}
                (State::Absent, State::Right | State::Wrong) => extra.push(prefix),
                (State::Right | State::Wrong, State::Absent) => missing.push(prefix),
                (State::Right | State::Wrong, State::Wrong) => {
                    let set = &self.expected.sets[self.expected.set_of[route as usize] as usize];
                    let what = match self.came_with.get(&route) {
                        Some((came, hops)) => difference(set, came, hops),
                        None => "as above".to_owned(),
                    };
                    changed.push(Changed { prefix, what });
                }
            }
        }
        Fault::Routes {
            missing,
            extra,
            changed,
        }
    }
}

/// Why a run does not count.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The stream is not BGP.
    Malformed(Malformed),
    /// The daemon closed with a NOTIFICATION of this code and subcode.
    Notification(u8, u8),
    /// The session broke.
    Session(io::Error),
    /// A single change did not arrive within so many seconds.
    Lost { seconds: u64 },
    /// A route changed in the kernel that nobody had asked to.
    Restless(Prefix),
    /// Between two keepalives there was more time than the session allows.
    Silent { longest: Duration, most: Duration },
    /// Routes were written again though only so many were missing.
    Rewritten { written: usize, missing: usize },
    /// So many foreign routes were made, and still the daemon may have heard what it should miss.
    Overheard { foreign: u32 },
    /// What the kernel has cannot be told.
    Watch(io::Error),
    /// Routes came or went that nobody had announced or withdrawn.
    Uncalled,
    /// A peer that reads nothing was let go of so many seconds after the first byte, or not by then.
    Dead { dropped: bool, seconds: f64 },
    /// The receiver's routes are not what they should be.
    Routes {
        missing: Vec<Prefix>,
        extra: Vec<Prefix>,
        changed: Vec<Changed>,
    },
}

/// A route that arrived with other attributes than it should have.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) prefix: Prefix,
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn notification(body: &[u8]) -> Self {
        Self::Notification(
            body.first().copied().unwrap_or(0),
            body.get(1).copied().unwrap_or(0),
        )
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Notification(code, subcode) => {
                write!(
                    f,
                    "the daemon closed the session with NOTIFICATION {code}/{subcode}"
                )
            }
            Self::Lost { seconds } => write!(f, "a change did not arrive within {seconds} s"),
            Self::Restless(prefix) => write!(f, "the kernel's route to {prefix} changed by itself"),
            Self::Silent { longest, most } => write!(
                f,
                "no keepalive for {} ms at a hold time of {} ms",
                longest.as_millis(),
                most.as_millis()
            ),
            Self::Rewritten { written, missing } => write!(
                f,
                "{written} routes were written though only {missing} were missing"
            ),
            Self::Overheard { foreign } => write!(
                f,
                "after {foreign} foreign routes the kernel still keeps news for a daemon that stands still"
            ),
            Self::Watch(error) => write!(f, "watching the kernel's routes: {error}"),
            Self::Uncalled => write!(f, "the daemon sent routes though nothing had changed"),
            Self::Dead { dropped, seconds } => {
                let said = if *dropped { "was already" } else { "was not" };
                write!(f, "the peer {said} let go of after {seconds:.1} s")
            }
            Self::Session(error) => write!(f, "the session with the daemon broke: {error}"),
            Self::Routes {
                missing,
                extra,
                changed,
            } => {
                write!(
                    f,
                    "{} routes missing, {} unexpected, {} with changed attributes",
                    missing.len(),
                    extra.len(),
                    changed.len()
                )?;
                missing
                    .iter()
                    .take(3)
                    .try_for_each(|p| write!(f, "; missing {p}"))?;
                extra
                    .iter()
                    .take(3)
                    .try_for_each(|p| write!(f, "; unexpected {p}"))?;
                changed
                    .iter()
                    .take(3)
                    .try_for_each(|c| write!(f, "; {}: {}", c.prefix, c.what))
            }
        }
    }
}

/// The attributes of one received UPDATE, and the last comparison made with them.
struct Form {
    canonical: Vec<u8>,
    next_hops: Vec<IpAddr>,
    compared: Option<(u32, bool)>,
}

impl Form {
    fn of(update: &Update<'_>) -> Result<Self, Malformed> {
        let mut attributes = Vec::with_capacity(12);
        for raw in Attributes(update.attributes) {
            let raw = raw?;
            attributes.push((raw.flags, raw.code, raw.value));
        }
        let mut next_hops = Vec::with_capacity(1);
        for hop in [update.next_hop, update.next_hop_v6].into_iter().flatten() {
            if let Some(&v4) = hop.first_chunk::<4>().filter(|_| hop.len() == 4) {
                next_hops.push(IpAddr::from(v4));
            } else if let Some(&v6) = hop.first_chunk::<16>() {
                next_hops.push(IpAddr::from(v6));
            } else {
                return Err(Malformed("a next hop of neither 4 nor 16 bytes"));
            }
        }
        if next_hops.is_empty() {
            return Err(Malformed("an announcement without a next hop"));
        }
        Ok(Self {
            canonical: canonical(&mut attributes),
            next_hops,
            compared: None,
        })
    }

    fn matches(&mut self, number: u32, set: &Set) -> bool {
        match self.compared {
            Some((last, answer)) if last == number => answer,
            _ => {
                let answer = self.canonical == set.canonical
                    && self.next_hops.iter().all(|hop| set.next_hops.contains(hop));
                self.compared = Some((number, answer));
                answer
            }
        }
    }
}

/// The canonical form of `sent` once it has made its passage.
fn expected_form(sent: &[Attribute], passage: Passage) -> Vec<u8> {
    let mut attributes: Vec<(u8, u8, Cow<'_, [u8]>)> = sent
        .iter()
        .map(|a| (a.flags, a.code, Cow::Borrowed(&a.value[..])))
        .collect();
    match passage {
        Passage::Wire => {}
        Passage::Ebgp { speaker_as } => {
            attributes.retain(|a| a.1 != attr::MED);
            for attribute in attributes.iter_mut().filter(|a| a.1 == attr::AS_PATH) {
                let mut path = vec![attr::AS_SEQUENCE, 1];
                path.extend_from_slice(&speaker_as.to_be_bytes());
                path.extend_from_slice(&attribute.2);
                attribute.2 = Cow::Owned(path);
            }
        }
        Passage::Reflector {
            originator,
            cluster,
        } => {
            let optional =
                |code, id: Ipv4Addr| (attr::OPTIONAL, code, Cow::Owned(id.octets().to_vec()));
            attributes.push(optional(attr::ORIGINATOR_ID, originator));
            attributes.push(optional(attr::CLUSTER_LIST, cluster));
        }
    }
    let mut attributes: Vec<_> = attributes.iter().map(|a| (a.0, a.1, &a.2[..])).collect();
    canonical(&mut attributes)
}

/// What differs between two canonical forms, by attribute type.
fn difference(set: &Set, came: &[u8], hops: &[IpAddr]) -> String {
    let (expected, came) = (by_code(&set.canonical), by_code(came));
    let mut said = Vec::new();
    for (code, value) in &expected {
        match came.get(code) {
            None => said.push(format!("attribute {code} is gone")),
            Some(other) if other != value => {
                said.push(format!(
                    "attribute {code} is {other:02x?} instead of {value:02x?}"
                ));
            }
            Some(_) => {}
        }
    }
    for code in came.keys().filter(|code| !expected.contains_key(*code)) {
        said.push(format!("attribute {code} was added"));
    }
    if !hops.iter().all(|hop| set.next_hops.contains(hop)) {
        said.push(format!(
            "the next hop is {hops:?} instead of one of {:?}",
            set.next_hops
        ));
    }
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        encode::{announce, as_sequence, withdraw},
        prefix::Family,
        table::Group,
    };

    const HOP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));
    const SPEAKER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
    const EBGP: Passage = Passage::Ebgp { speaker_as: 65000 };

    fn table() -> Table {
        Table::synthetic(Family::Ipv4, 3000, 65001, 11)
    }

    fn expected(passage: Passage) -> Expected {
        let mut expected = Expected::default();
        expected.add(&table(), passage, HOP, &[SPEAKER]);
        expected
    }

    /// What an honest eBGP speaker would send on.
    fn through_ebgp(table: &Table) -> Table {
        let mut out = table.clone();
        for attributes in out.groups.iter_mut().map(|g| &mut g.attributes) {
            attributes.retain(|a| a.code != attr::MED);
            for path in attributes.iter_mut().filter(|a| a.code == attr::AS_PATH) {
                path.value[1] += 1;
                path.value.splice(2..2, 65000u32.to_be_bytes());
            }
        }
        out
    }

    fn full(sent: &Table, hop: IpAddr) -> Recording {
        Recording::of(sent.announcement(Family::Ipv4, hop).expect("short sets"))
    }

    fn verdict(sent: &Table, passage: Passage, hop: IpAddr) -> Result<Reached, Fault> {
        Receiver::new(&expected(passage)).replay(&full(sent, hop), Goal::Full)
    }

    fn routes(fault: Fault) -> (Vec<Prefix>, Vec<Prefix>, Vec<Changed>) {
        let Fault::Routes {
            missing,
            extra,
            changed,
        } = fault
        else {
            panic!("{fault}")
        };
        (missing, extra, changed)
    }

    #[test]
    fn an_honest_speaker_passes_and_repeats_are_counted() {
        assert_eq!(
            verdict(&table(), Passage::Wire, HOP)
                .expect("unchanged")
                .redundant,
            0
        );
        let mut sent = through_ebgp(&table());
        sent.groups.push(sent.groups[0].clone());
        let reached = verdict(&sent, EBGP, SPEAKER).expect("prepended");
        assert_eq!(reached.redundant, sent.groups[0].prefixes.len());
    }

    #[test]
    fn a_lost_prefix_is_named() {
        let mut sent = through_ebgp(&table());
        let lost = sent.groups[40].prefixes.remove(0);
        let (missing, extra, changed) = routes(verdict(&sent, EBGP, HOP).expect_err("one less"));
        assert_eq!((missing, extra.len(), changed.len()), (vec![lost], 0, 0));
    }

    #[test]
    fn an_invented_prefix_is_named() {
        let mut sent = through_ebgp(&table());
        let invented = Prefix::v4(Ipv4Addr::new(10, 0, 0, 0), 8);
        sent.groups[3].prefixes.push(invented);
        let (missing, extra, _) = routes(verdict(&sent, EBGP, HOP).expect_err("one more"));
        assert_eq!((missing.len(), extra), (0, vec![invented]));
    }

    #[test]
    fn a_changed_a_lost_and_an_added_attribute_are_named() {
        type Edit = fn(&mut Vec<Attribute>);
        let edits: [(Edit, &str); 4] = [
            (
                |set| {
                    let found = set.iter_mut().find(|a| a.code == attr::COMMUNITIES);
                    found.expect("chosen so").value[3] ^= 1;
                },
                "attribute 8 is",
            ),
            (
                |set| set.retain(|a| a.code != attr::COMMUNITIES),
                "attribute 8 is gone",
            ),
            (
                |set| {
                    set.insert(
                        2,
                        Attribute::new(attr::WELL_KNOWN, attr::LOCAL_PREF, vec![0; 4]),
                    )
                },
                "attribute 5 was added",
            ),
            (
                |set| set[0].flags = attr::OPTIONAL_TRANSITIVE,
                "attribute 1 is",
            ),
        ];
        for (edit, says) in edits {
            let mut sent = through_ebgp(&table());
            let holds = |g: &&mut Group| g.attributes.iter().any(|a| a.code == attr::COMMUNITIES);
            let group = sent
                .groups
                .iter_mut()
                .find(holds)
                .expect("some set has communities");
            edit(&mut group.attributes);
            let prefixes = group.prefixes.clone();
            let (missing, extra, changed) = routes(verdict(&sent, EBGP, HOP).expect_err("changed"));
            assert_eq!((missing.len(), extra.len()), (0, 0));
            assert_eq!(
                changed.iter().map(|c| c.prefix).collect::<Vec<_>>(),
                prefixes
            );
            assert!(changed[0].what.starts_with(says), "{}", changed[0].what);
        }
    }

    #[test]
    fn a_missing_prepend_and_a_foreign_next_hop_are_faults() {
        let (.., changed) = routes(verdict(&table(), EBGP, HOP).expect_err("nothing prepended"));
        assert_eq!(changed.len(), 3000);
        let foreign = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 9));
        let sent = through_ebgp(&table());
        let (.., changed) = routes(verdict(&sent, EBGP, foreign).expect_err("foreign next hop"));
        assert!(changed[0].what.contains("next hop"), "{}", changed[0].what);
    }

    #[test]
    fn communities_may_be_reordered_and_path_sequences_split() {
        let sent = [
            Attribute::new(attr::WELL_KNOWN, attr::AS_PATH, as_sequence(&[1, 2, 3])),
            Attribute::new(
                attr::OPTIONAL_TRANSITIVE,
                attr::COMMUNITIES,
                vec![0, 1, 0, 2, 0, 1, 0, 1],
            ),
        ];
        let split = [as_sequence(&[1]), as_sequence(&[2, 3])].concat();
        let other = [
            Attribute::new(
                attr::OPTIONAL_TRANSITIVE,
                attr::COMMUNITIES,
                vec![0, 1, 0, 1, 0, 1, 0, 2],
            ),
            Attribute::new(attr::WELL_KNOWN, attr::AS_PATH, split),
        ];
        assert_eq!(
            expected_form(&sent, Passage::Wire),
            expected_form(&other, Passage::Wire)
        );
    }

    #[test]
    fn withdrawals_empty_the_receiver_and_one_left_behind_is_named() {
        let (expected, prefixes) = (expected(Passage::Wire), table().prefixes());
        let full = full(&table(), HOP);
        for kept in [0, 1] {
            let mut receiver = Receiver::new(&expected);
            receiver.replay(&full, Goal::Full).expect("unchanged");
            let mut stream = Vec::new();
            withdraw(Family::Ipv4, &prefixes[kept..], &mut stream);
            let verdict = receiver.replay(&Recording::of(stream), Goal::Empty);
            match kept {
                0 => assert_eq!(verdict.expect("all withdrawn").redundant, 0),
                _ => assert_eq!(routes(verdict.expect_err("one left")).1, prefixes[..1]),
            }
        }
    }

    #[test]
    fn own_routes_that_come_back_are_counted_and_a_dead_peers_must_go() {
        let mut expected = Expected::default();
        let mut stream = Vec::new();
        let reflect = Passage::Reflector {
            originator: Ipv4Addr::LOCALHOST,
            cluster: Ipv4Addr::BROADCAST,
        };
        let prefixes: Vec<_> = (0..3)
            .map(|n| Prefix::v4(Ipv4Addr::new(11, n, 0, 0), 16))
            .collect();
        let sent = vec![Attribute::new(attr::WELL_KNOWN, attr::ORIGIN, vec![0])];
        let mut got = sent.clone();
        got.push(Attribute::new(
            attr::OPTIONAL,
            attr::ORIGINATOR_ID,
            vec![127, 0, 0, 1],
        ));
        got.push(Attribute::new(
            attr::OPTIONAL,
            attr::CLUSTER_LIST,
            vec![255; 4],
        ));
        for &prefix in &prefixes {
            let group = Group {
                attributes: sent.clone(),
                prefixes: vec![prefix],
            };
            expected.add(
                &Table {
                    groups: vec![group],
                },
                reflect,
                HOP,
                &[],
            );
            announce(&got, HOP, &[prefix], &mut stream).expect("short");
        }
        let mut receiver = Receiver::with_own(&expected, 1..2);
        receiver
            .replay(&Recording::of(stream), Goal::Full)
            .expect("all reflected");
        assert_eq!(receiver.echoed(), 1);
        let mut stream = Vec::new();
        withdraw(Family::Ipv4, &prefixes[..1], &mut stream);
        let gone = Recording::of(stream);
        assert!(
            receiver.replay(&gone, Goal::Without(2..3)).is_err(),
            "the wrong one went"
        );
        assert!(
            receiver
                .replay(&Recording::of(Vec::new()), Goal::Without(0..1))
                .is_ok()
        );
    }
}
