//! Routes in the kernel: what the owners desire, what the kernel has, and the way from one to
//! the other.
//!
//! ```text
//!  best routes (feed) ──┐
//!  containers (attach) ─┼─▶ desires ─▶ Fib ──▶ changes, 256 at a time ──▶ kernel
//!  blocks ──────────────┘      ▲        ▲                                   │
//!                     resolution│       └── listings, results, events ◀─────┘
//!                        links, addresses
//! ```
//!
//! Learned routes go through nexthop objects, one for each way, which the machine owns alike: a
//! next hop that moves costs one message however many routes it has.
//!
//! [`Fib`] is the machine: pure, told everything, asked what to do next. [`Reconciler`] joins it
//! to a [`Kernel`](wayleave_netlink::Kernel), one bounded piece of work per call. [`start`] runs
//! that on a thread.
//!
//! # Ownership
//! A slot of the kernel's FIB is (prefix, table, metric). Ours are the routes with our protocol
//! number, in our table, at one of our metrics; nothing else is ever changed:
//! - A slot held by another protocol is left alone and listed, until it is given up.
//! - A route of ours that somebody deletes or replaces is put back at once, the second time
//!   within ten seconds after a second, then two, four ... up to thirty: never a fight.
//! - At start nothing is flushed. What is ours already is adopted, and replaced in place where it
//!   differs. What nobody desires is swept only when every owner that could desire it has said
//!   that he is in sync.
//!
//! # Races that have bitten others
//! - A link that goes down takes its IPv4 routes along without a word, and so does the last IPv4
//!   address of an interface: after either, what was there counts as unknown and is replaced. Lost
//!   carrier takes nexthop objects along, and whatever goes through them, as silently.
//! - An event can be older than what we did since. A slot believed empty is therefore *added* to,
//!   never replaced; `EEXIST` then means that the belief was wrong, and everything is listed anew.
//! - A lost answer, an overrun, an interrupted listing: done or not done, nobody knows. Believing
//!   nothing and doing it again is right in all cases, because every change is idempotent.
//! - Deleting very many IPv4 routes in the order of adding is ten times slower than in reverse.
//!
//! # What it does not do yet
//! - A BGP next hop is on a connected network or behind a route of another protocol in the same
//!   table, but for default routes; of several next hops of such a route one is used. It is not
//!   resolved through routes learned by BGP (RFC 4271 section 9.1.2.1 leaves that to us).
//! - Weights of multipath routes are equal.

mod contents;
mod core;
mod feed;
mod ledger;
mod machine;
mod objects;
mod reconciler;
mod slots;
mod task;
#[cfg(test)]
mod tests;
mod topology;
mod trouble;
mod way;
mod ways;

pub use self::{
    machine::{Fib, Settings, Slot, Status},
    reconciler::{Reconciler, Turn},
    task::{FibHandle, Learned, Lost, Reachable, StartError, Subscribe, start},
    trouble::Trouble,
    way::{Gateway, Owner, Unresolved, Wish},
};
