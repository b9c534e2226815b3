//! The drivers of the Wayleave BGP speaker and, in [`bfd`], of BFD.
//!
//! [`spawn`] starts one thread that runs [`wayleave_bgp_core::Speaker`] to completion on each
//! event: it reads what is there, decodes, decides, encodes and writes in one pass, with no
//! channel or lock between a peer and the RIB and no timer on the path of a change. Everything
//! else talks to it through a [`SpeakerHandle`].

pub mod bfd;
mod connection;
mod driver;
mod feed;
mod handle;
mod interface;
mod listener;
mod log;
mod socket;
mod start;
mod wake;
mod watch;

pub use wayleave_bgp_core as core;
pub use wayleave_bgp_core::{QueryError, RefreshRefused};

pub use self::{
    feed::Prompt,
    handle::{Direction, Gone, Shutdown, SpeakerHandle},
    start::{Speaker, StartError, router_id_towards, spawn},
};
