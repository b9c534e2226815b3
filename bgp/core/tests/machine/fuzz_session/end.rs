//! The end of every run: whatever happened, the next sessions work.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wayleave_bgp_core::{
    Community, Prefix,
    feed::Origination,
    view::{RibKind, State},
    wire::Cease,
};

use super::{
    play::{announcement, refresh, retraction},
    step::{PEERS, STRANGER},
    world::{World, base, is_external, name},
};

/// The peers that are configured.
fn named() -> impl Iterator<Item = usize> + Clone {
    (0..PEERS).filter(|&peer| peer != STRANGER)
}

/// What a well-behaved peer announces: nobody else has these.
fn own_of(peer: usize, v6: bool) -> Prefix {
    let text = if v6 {
        format!("2001:db8:ffff:{peer}::/64")
    } else {
        format!("10.255.{peer}.0/24")
    };
    text.parse().expect("well-formed")
}

impl World {
    /// Everything is closed, time passes, and well-behaved peers come: they get the loc-RIB, and
    /// what they send gets to the others.
    pub(crate) fn end(mut self) {
        self.agree();
        self.quiet();
        let ours = self.announced();
        self.raise(&ours);
        self.exchange(&ours);
        self.part(&ours);
        self.forget();
    }

    /// Every connection ends, and nobody answers any more.
    fn hang_all(&mut self) {
        self.refuses = true;
        while !self.lines.is_empty() {
            self.hang(0);
        }
        while let Some(&(peer, _)) = self.dialling.front() {
            self.answer(peer, false);
        }
        self.settle();
    }

    /// Nobody is connected, and so it stays for a while.
    fn quiet(&mut self) {
        self.hang_all();
        self.speaker.reconfigure(self.now, base());
        // Longer than any timer that keeps a peer out, and than a stranger is remembered.
        self.wait(Duration::from_secs(450));
        assert!(self.lines.is_empty() && self.dialling.is_empty());
        let view = self.speaker.view();
        assert_eq!((view.peers, view.established), (3, 0), "{:?}", self.views());
        self.agree();
        let held: BTreeSet<Prefix> = self.prefixes();
        let ours: BTreeSet<Prefix> = self
            .speaker
            .originated()
            .map(|route| route.prefix)
            .collect();
        assert_eq!(held, ours, "what nobody is there for is gone");
        assert_eq!(view.paths as usize, ours.len());
    }

    fn prefixes(&self) -> BTreeSet<Prefix> {
        let routes = self.routes(RibKind::Loc, None);
        routes.into_iter().map(|route| route.prefix).collect()
    }

    /// The routes of our own that speak, by prefix.
    fn announced(&self) -> BTreeMap<Prefix, Origination> {
        let mut announced = BTreeMap::<Prefix, Origination>::new();
        for route in self.speaker.originated() {
            let known = announced.entry(route.prefix).or_insert(route.clone());
            if known.rank < route.rank {
                known.clone_from(route);
            }
        }
        announced
    }

    /// The sessions come up, and what peers are told is what there is.
    fn raise(&mut self, ours: &BTreeMap<Prefix, Origination>) {
        for peer in named() {
            let before = self.view_of(peer).map_or(0, |view| view.established_count);
            assert!(self.dial(peer), "{} is not let in", name(peer));
            self.settle();
            self.greet(peer, 0);
            self.settle();
            let view = self.view_of(peer).expect("it is configured");
            assert_eq!(view.state, State::Established, "{view:?}");
            assert_eq!(view.established_count, before + 1);
            let line = &self.lines[self.line(peer).expect("it is up")];
            assert_eq!(line.ear.ends, [1, 1], "initial updates come to an end");
            self.expect_held(peer, expected(peer, ours, &[]));
        }
    }

    /// What one sends gets to the others, and nothing is lost with time.
    fn exchange(&mut self, ours: &BTreeMap<Prefix, Origination>) {
        for peer in named() {
            let at = self.line(peer).expect("it is up");
            for v6 in [false, true] {
                let prefix = std::iter::once(own_of(peer, v6));
                let octets = announcement(peer, true, prefix, v6, u8::from(v6));
                self.say(at, &octets);
            }
            self.settle();
        }
        let all: Vec<usize> = named().collect();
        for wait in [0, 13] {
            self.wait(Duration::from_secs(wait));
            for peer in named() {
                self.expect_held(peer, expected(peer, ours, &all));
                let view = self.view_of(peer).expect("it is configured");
                assert_eq!(view.state, State::Established, "{view:?}");
            }
        }
        self.agree();
        // Asked for again, everything is told again, and nothing else.
        for v6 in [false, true] {
            let at = self.line(1).expect("it is up");
            self.say(at, &refresh(v6));
            self.settle();
        }
        self.expect_held(1, expected(1, ours, &all));
        let at = self.line(2).expect("it is up");
        for v6 in [false, true] {
            self.say(at, &retraction(std::iter::once(own_of(2, v6)), v6));
        }
        self.settle();
        for peer in named() {
            self.expect_held(peer, expected(peer, ours, &[0, 1]));
        }
    }

    /// One breaks off, the others are told so; they are sent away with a word.
    fn part(&mut self, ours: &BTreeMap<Prefix, Origination>) {
        self.hang(self.line(0).expect("it is up"));
        self.settle();
        for peer in [1, 2] {
            self.expect_held(peer, expected(peer, ours, &[1]));
        }
        for peer in [1, 2] {
            let at = self.line(peer).expect("it is up");
            self.speaker.reset(self.now, name(peer), None);
            self.say(at, &retraction(std::iter::once(own_of(1, true)), true));
            // The last word is written before the connection is closed: see `close_closing`.
            while self.write(at, usize::MAX) {}
            let told = self.lines[at].ear.notification.clone();
            let told = told.expect("a session that is reset is told so");
            assert!(told.code == 6 && told.subcode == Cease::AdministrativeReset as u8);
        }
    }

    /// With nobody and nothing there, nothing is held.
    fn forget(&mut self) {
        self.hang_all();
        let all: Vec<Origination> = self.speaker.originated().cloned().collect();
        for route in all {
            self.speaker.withdraw(self.now, route.rank, &[route.prefix]);
        }
        self.agree();
        let view = self.speaker.view();
        assert_eq!((view.paths, view.attribute_sets), (0, 0), "{view:?}");
    }

    fn expect_held(&self, peer: usize, expected: BTreeSet<Prefix>) {
        let at = self.line(peer).expect("it is up");
        let held: BTreeSet<Prefix> = self.lines[at].ear.held.keys().copied().collect();
        let differ: Vec<_> = held.symmetric_difference(&expected).collect();
        assert!(
            differ.is_empty(),
            "{} holds otherwise: {differ:?}",
            name(peer)
        );
    }
}

/// What a peer is to hold when these have announced what they have.
fn expected(
    peer: usize,
    ours: &BTreeMap<Prefix, Origination>,
    announcing: &[usize],
) -> BTreeSet<Prefix> {
    let leaves = |route: &&Origination| {
        let has = |value| route.communities.contains(&Community(value));
        let stays = has(0xFFFF_FF02) || (has(0xFFFF_FF01) && is_external(peer));
        !stays
    };
    let of_others = announcing.iter().filter(|&&other| other != peer);
    ours.values()
        .filter(leaves)
        .map(|route| route.prefix)
        .chain(of_others.flat_map(|&other| [own_of(other, false), own_of(other, true)]))
        .collect()
}
