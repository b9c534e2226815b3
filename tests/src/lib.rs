//! The lab: hosts as network namespaces, stock routers, agents, containers, and an oracle.
//!
//! A topology test is an ordinary `#[test]` whose body runs in a *world* of its own: a process,
//! mount and network namespace in which the test binary re-executes itself. Names cannot clash
//! between tests, and nothing stays behind: when process 1 of the world ends, for whatever
//! reason, the kernel takes everything else with it.
//!
//! ```no_run
//! use std::time::Duration;
//! use wayleave_lab::lab;
//!
//! # // A `#[test]` in real use.
//! fn two_hosts_reach_each_other() {
//!     lab!().run(|lab| {
//!         let a = lab.host("a")?;
//!         let b = lab.host("b")?;
//!         let link = lab.link(&a, &b)?;
//!         lab.until(Duration::from_secs(5), "a to reach b", || Ok(a.ping(link.b.v4.into())?))?;
//!         Ok(())
//!     });
//! }
//! ```
//!
//! * [`LabTest`] (made by [`lab!`]) says what the test needs and how long it may take. Something
//!   missing is *skipped and said* on standard error as `SKIPPED <test>: <why>`; with `CI=true` in the
//!   environment it is a failure.
//! * [`Lab`] makes [`Host`]s, [`Link`]s, [`Switch`]es, [`Frr`], [`Bird`], [`Agent`]s and
//!   [`Container`]s. Asserts read the kernel and the routers, never our own logs.
//! * [`Gobgp`], [`Openbgpd`] and [`Exabgp`] start by themselves, and a test asks them first whether they
//!   are missing.
//! * [`Lab::until`] waits for a condition with a deadline; there is no sleeping for luck.
//! * [`Fault`]s are silent links and blocked ports; links, processes and namespaces can be taken away.
//! * [`Stream`] counts what a fault costs in packets.
//! * [`oracle`] checks the invariants I1 to I8 over the whole lab after every test.
//!
//! Everything that can fail returns a [`Result`]; test bodies use `?`, and [`Why`] remembers the
//! line it was used on. When a test fails the whole lab is described before it goes away.

mod agent;
mod bfd;
mod bird;
mod cni;
mod container;
mod dump;
mod error;
mod exabgp;
mod fault;
mod frr;
mod gobgp;
mod host;
mod http;
mod lab;
mod link;
mod namespace;
mod need;
mod openbgpd;
pub mod oracle;
mod process;
mod run;
mod serve;
mod slot;
mod stream;
mod until;
mod world;

pub use crate::agent::Agent;
pub use crate::bfd::{Bfd, Change};
pub use crate::bird::Bird;
pub use crate::cni::{CniFailure, Verb};
pub use crate::container::Container;
pub use crate::error::{LabError, Why};
pub use crate::exabgp::Exabgp;
pub use crate::fault::Fault;
pub use crate::frr::{Frr, FrrConfig};
pub use crate::gobgp::Gobgp;
pub use crate::host::Host;
pub use crate::lab::Lab;
pub use crate::link::{End, Link, Switch};
pub use crate::need::Need;
pub use crate::openbgpd::Openbgpd;
pub use crate::process::{Process, Role};
pub use crate::run::LabTest;
pub use crate::serve::Served;
pub use crate::stream::{Stream, StreamReport};
