//! Who is on the link of an interface: the neighbours of unnumbered peers, found by router
//! advertisements (RFC 4861), and found by them.
//!
//! ```text
//!  configuration ──(interfaces)──▶ task ──(the neighbour on eth1 is fe80::2)──▶ speaker
//!  kernel ──(links, addresses)──▶   │
//!  ICMPv6 socket ◀──────────────▶ finder: one search for each interface
//! ```
//!
//! The first neighbour heard stays as long as it is heard. Others on the same link are a problem and
//! nothing else: an unnumbered link has two ends.
//!
//! # Deviations from RFC 4861
//! - 6.2.1, 6.2.4: an advertisement is due every [`search::FOUND`], and every [`search::SEARCHING`]
//!   while nobody was heard, as long as that takes. FRR does the same.
//! - 6.3.7: solicitations go on as well: what was not there yet may come at any time, and a router that
//!   advertises more rarely than we forget answers them.
//! - 6.2.6: a link that came up counts as a new one, so that its first advertisement waits for nothing.
//! - Nothing that an advertisement says is followed: prefixes, parameters and default routes are the
//!   kernel's business, which hears it too.

mod finder;
mod host;
mod message;
mod search;
mod socket;
mod task;
mod trouble;

#[cfg(test)]
mod tests;

pub use message::fuzz_one;
pub(crate) use task::run;
