//! Waiting until nothing happens any more.

use std::time::Duration;

use wayleave_bgp_core::view::{RibKind, RouteView};

use crate::{history::History, network::name, topology::Promise};

/// How a history ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Quiet,
    /// It goes on and on, as it may: see [`Promise::Nothing`].
    Restless,
}

/// The longest of everything that is waited for: neighbours are held back for two minutes, each of a
/// pair in its turn, and routes are held for six at most.
const MOST: Duration = Duration::from_secs(1_200);

const SECOND: Duration = Duration::from_secs(1);

impl History {
    /// Lets time pass until all sessions are there that are to be, and nobody has anything to say.
    pub(crate) fn rest(&mut self) -> End {
        let restless = self.promise == Promise::Nothing;
        // A history of few speakers has come to rest after some thousand steps.
        let steps = match restless {
            true => 30_000,
            false => 400_000 + 20_000 * self.net.nodes.len(),
        };
        let end = self.net.now + MOST;
        let mut said = 0;
        let mut silent = 0;
        while self.net.now < end {
            if !self.net.run(SECOND, steps) {
                assert!(
                    restless,
                    "it does not come to rest: a livelock, or a dispute"
                );
                return End::Restless;
            }
            let saying = self.updates();
            silent = match saying == said && self.is_settled() {
                true => silent + 1,
                false => 0,
            };
            said = saying;
            if silent == 3 {
                return End::Quiet;
            }
        }
        // A session may also be lost again and again for want of peace.
        let why = self.unsettled();
        assert!(
            restless && why.is_empty(),
            "not at rest after {MOST:?}: {why:?}"
        );
        End::Restless
    }

    fn is_settled(&self) -> bool {
        self.unsettled().is_empty()
    }

    /// What is still to be waited for, in words.
    fn unsettled(&self) -> Vec<String> {
        let mut why = Vec::new();
        for &(a, b) in &self.edges {
            let joined = self.is_joined(a, b);
            for (n, m) in [(a, b), (b, a)] {
                if self.net.nodes[n].up && self.net.speaker(n).is_established(&name(m)) != joined {
                    why.push(format!(
                        "the session of {n} with {m} is not as it should be"
                    ));
                }
            }
        }
        if !why.is_empty() {
            return why;
        }
        for (n, node) in self
            .net
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.up)
        {
            if node.speaker.is_deferring() {
                why.push(format!("{n} keeps its routes back"));
            }
            // Of a neighbour that is back nothing may be stale once nobody has anything to say: that
            // is for the check to find, not for the timer that ends it after all.
            let is_back = |route: &RouteView| {
                let peer = route.peer.as_deref();
                peer.is_some_and(|peer| node.speaker.is_established(peer))
            };
            let held = self.net.routes(n, RibKind::In, None);
            if held.iter().any(|route| route.stale && !is_back(route)) {
                why.push(format!("{n} holds stale routes"));
            }
        }
        why
    }

    /// UPDATEs sent so far by everybody.
    fn updates(&self) -> u64 {
        let up = self.net.nodes.iter().filter(|node| node.up);
        let views = up.flat_map(|node| node.speaker.peer_views(self.net.now));
        views.map(|view| view.sent.update).sum()
    }
}
