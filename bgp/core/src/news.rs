//! What an operator wants to read in a log: sessions that come and go, and messages that were wrong.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    message::{Hex, Outcome},
    types::{Asn, Family},
    view::SessionType,
};

/// Something worth a line in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The peer's name.
    pub peer: Arc<str>,
    /// Where it is.
    pub address: IpAddr,
    /// What has happened.
    pub event: Event,
}

/// What has happened to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session is Established.
    Up {
        /// The peer's AS.
        asn: Asn,
        /// Internal or external.
        session_type: SessionType,
        /// What was agreed on.
        families: Vec<Family>,
    },
    /// The session is over.
    Down {
        /// Why, in words.
        why: String,
        /// Its routes stay, as it may be back soon (RFC 4724).
        held: bool,
    },
    /// A session did not come about, for another reason than the last time.
    Failed {
        /// Why, in words.
        why: String,
        /// One of the two has said so in a NOTIFICATION: it will not heal by itself.
        refused: bool,
    },
    /// A message was malformed. Those that follow within a second are not told.
    Malformed {
        /// What was wrong, in words.
        what: String,
        /// What was done about it (RFC 7606, 2).
        outcome: Outcome,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up {
                asn,
                session_type,
                families,
            } => {
                let session = match session_type {
                    SessionType::Ibgp => "iBGP",
                    SessionType::Ebgp => "eBGP",
                };
                write!(f, "session up: {session} with AS {asn},")?;
                for family in families {
                    write!(f, " {family}")?;
                }
                Ok(())
            }
            Self::Down { why, held: false } => write!(f, "session down: {why}"),
            Self::Down { why, held: true } => {
                write!(f, "session down: {why}; its routes are held for its return")
            }
            Self::Failed { why, .. } => write!(f, "no session: {why}"),
            Self::Malformed { what, outcome } => {
                let done = match outcome {
                    Outcome::Ok => "taken",
                    Outcome::AttributeDiscard => "taken without the attribute",
                    Outcome::TreatAsWithdraw => "its prefixes count as withdrawn",
                    Outcome::SessionReset => "the session ends",
                };
                write!(f, "malformed message: {what}; {done}")
            }
        }
    }
}

/// A message that was malformed, as it came ("log the entire malformed UPDATE message": RFC 7606, 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MalformedMessage {
    /// Seconds since it came.
    pub seconds: u64,
    /// What was wrong, in words.
    pub what: String,
    /// What was done about it.
    pub outcome: Outcome,
    /// The whole message: what `wayleave bgp decode` reads.
    pub message: Hex,
}
