//! What is wrong with single routes, and the problems an operator sees.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use wayleave_netlink::{KernelError, Protocol};

use super::{machine::Slot, way::Unresolved};
use crate::problem::{Problem, Severity};

/// Why a desired route is not in the kernel, or not the one that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Its next hop cannot be reached.
    #[error("{0}")]
    Unresolved(#[from] Unresolved),
    /// It is a network this host is connected to; nobody leads us there.
    #[error("this host is connected to that network")]
    Connected,
    /// Another protocol has a route at the same prefix, table and metric; it is left alone.
    #[error("protocol {0} has a route with the same metric")]
    Occupied(Protocol),
    /// Another protocol has one with a better metric: ours is installed and not used.
    #[error("protocol {protocol} has a route with the better metric {metric}")]
    Shadowed {
        /// Whose.
        protocol: Protocol,
        /// Its metric.
        metric: u32,
    },
    /// Somebody keeps deleting or replacing it.
    #[error("somebody keeps deleting or replacing it ({times} times)")]
    Contested {
        /// How often, one soon after the other.
        times: u32,
    },
    /// The kernel refused it.
    #[error("{0}")]
    Refused(KernelError),
}

/// Prefix of the keys of all problems raised here.
pub(super) const KEYS: &str = "fib.";

/// How many routes an operator is shown of each kind.
const EXAMPLES: usize = 3;

/// One problem per kind, with counts and examples: a lost uplink is one problem, not a thousand.
pub(super) fn problems<'a>(
    troubles: impl Iterator<Item = (&'a Slot, &'a Trouble)>,
) -> Vec<Problem> {
    let mut kinds: BTreeMap<Kind, (usize, Vec<String>)> = BTreeMap::new();
    for (slot, trouble) in troubles {
        // It is as it should be, and only listed.
        let Some(kind) = Kind::of(trouble) else {
            continue;
        };
        let (count, examples) = kinds.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(format!("{} ({trouble})", slot.prefix));
        }
    }
    kinds
        .into_iter()
        .map(|(kind, (count, examples))| kind.problem(count, &examples))
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Unresolved,
    Occupied,
    Shadowed,
    Contested,
    Refused,
}

impl Kind {
    fn of(trouble: &Trouble) -> Option<Self> {
        Some(match trouble {
            Trouble::Connected => return None,
            Trouble::Unresolved(_) => Self::Unresolved,
            Trouble::Occupied(_) => Self::Occupied,
            Trouble::Shadowed { .. } => Self::Shadowed,
            Trouble::Contested { .. } => Self::Contested,
            Trouble::Refused(_) => Self::Refused,
        })
    }

    fn problem(self, count: usize, examples: &[String]) -> Problem {
        let (key, severity, what, fix) = match self {
            Self::Unresolved => (
                "unresolved",
                Severity::Warning,
                "not installed: the next hop cannot be reached",
                "check the uplink; let the peer set itself as next hop, or connect its network",
            ),
            Self::Occupied => (
                "occupied",
                Severity::Error,
                "not installed: the place is taken",
                "remove the other route, or set another [fib] metric or table",
            ),
            Self::Shadowed => (
                "shadowed",
                Severity::Warning,
                "installed and not used: somebody has a better one",
                "remove the other route, or set a better [fib] metric",
            ),
            Self::Contested => (
                "contested",
                Severity::Error,
                "being deleted or replaced again and again",
                "find out who else changes routes of protocol wayleave: `ip monitor route`",
            ),
            Self::Refused => (
                "refused",
                Severity::Error,
                "refused by the kernel, and tried again",
                "see why; wayleaved needs CAP_NET_ADMIN",
            ),
        };
        let routes = if count == 1 {
            "1 route is"
        } else {
            &format!("{count} routes are")
        };
        let more = if count > examples.len() { ", ..." } else { "" };
        Problem {
            key: format!("{KEYS}{key}"),
            severity,
            what: format!("{routes} {what}"),
            why: format!("{}{more}", examples.join(", ")),
            fix: fix.to_owned(),
        }
    }
}

/// The problem that next hops of routes that were received cannot be reached.
pub(super) fn unreachable<'a>(
    next_hops: impl Iterator<Item = (IpAddr, &'a Unresolved)>,
) -> Option<Problem> {
    let (mut count, mut examples) = (0_usize, Vec::new());
    for (_, why) in next_hops {
        count += 1;
        if examples.len() < EXAMPLES {
            examples.push(why.to_string());
        }
    }
    let hops = match count {
        0 => return None,
        1 => "1 next hop of received routes cannot".to_owned(),
        _ => format!("{count} next hops of received routes cannot"),
    };
    let more = if count > examples.len() { ", ..." } else { "" };
    Some(Problem {
        key: format!("{KEYS}next-hops"),
        severity: Severity::Warning,
        what: format!("{hops} be reached: what has no other is neither installed nor passed on"),
        why: format!("{}{more}", examples.join(", ")),
        fix: "check the uplink; let the peer set itself as next hop, or connect its network; \
              `wayleave routes --rib in` shows which routes these are"
            .to_owned(),
    })
}

/// The problem that the kernel cannot be listed.
pub(super) fn listing_fails(error: &KernelError) -> Problem {
    Problem {
        key: format!("{KEYS}listing"),
        severity: Severity::Error,
        what: "the routes of the kernel cannot be listed; none are installed meanwhile".to_owned(),
        why: error.to_string(),
        fix: "it is tried again; if it stays, restart wayleaved".to_owned(),
    }
}
