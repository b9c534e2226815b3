//! Why a datagram was not received, and how often.

use serde::{Deserialize, Serialize};

/// Why a datagram was discarded. In the order in which it is held against them (RFC 5880, 6.8.6).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    thiserror::Error,
)]
pub enum Discard {
    /// Shorter than the mandatory section.
    #[error("shorter than 24 octets")]
    Short,
    /// Not version 1.
    #[error("not version 1")]
    Version,
    /// Length is less than 24, or 26 with an authentication section.
    #[error("Length is too small")]
    Length,
    /// Length is more than the datagram has.
    #[error("Length is more than was received")]
    Truncated,
    /// Detect Mult is zero.
    #[error("Detect Mult is zero")]
    DetectMult,
    /// The Multipoint bit is set.
    #[error("the Multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("My Discriminator is zero")]
    MyDiscriminator,
    /// Your Discriminator is none of ours.
    #[error("Your Discriminator is none of ours")]
    YourDiscriminator,
    /// Your Discriminator is zero, in a state in which the sender must know it.
    #[error("Your Discriminator is zero in Init or Up")]
    NoDiscriminator,
    /// No session runs between these addresses, or not over this interface.
    #[error("no session with its sender")]
    NoSession,
    /// It came to the port of the other kind: one hop or several.
    #[error("came to the port of another kind of session")]
    Port,
    /// It came over another interface than the session is bound to (RFC 5881, 3).
    #[error("came over another interface")]
    Interface,
    /// Its TTL or hop limit is too small (RFC 5881, 5).
    #[error("its TTL is too small")]
    Ttl,
    /// It is authenticated, and no session of ours is.
    #[error("has an authentication section, and none is configured")]
    Authentication,
}

/// How often datagrams were discarded, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscardCounts {
    /// [`Discard::Short`].
    pub short: u64,
    /// [`Discard::Version`].
    pub version: u64,
    /// [`Discard::Length`].
    pub length: u64,
    /// [`Discard::Truncated`].
    pub truncated: u64,
    /// [`Discard::DetectMult`].
    pub detect_mult: u64,
    /// [`Discard::Multipoint`].
    pub multipoint: u64,
    /// [`Discard::MyDiscriminator`].
    pub my_discriminator: u64,
    /// [`Discard::YourDiscriminator`].
    pub your_discriminator: u64,
    /// [`Discard::NoDiscriminator`].
    pub no_discriminator: u64,
    /// [`Discard::NoSession`].
    pub no_session: u64,
    /// [`Discard::Port`].
    pub port: u64,
    /// [`Discard::Interface`].
    pub interface: u64,
    /// [`Discard::Ttl`].
    pub ttl: u64,
    /// [`Discard::Authentication`].
    pub authentication: u64,
}

impl DiscardCounts {
    pub(crate) fn count(&mut self, discard: Discard) {
        let counter = match discard {
            Discard::Short => &mut self.short,
            Discard::Version => &mut self.version,
            Discard::Length => &mut self.length,
            Discard::Truncated => &mut self.truncated,
            Discard::DetectMult => &mut self.detect_mult,
            Discard::Multipoint => &mut self.multipoint,
            Discard::MyDiscriminator => &mut self.my_discriminator,
            Discard::YourDiscriminator => &mut self.your_discriminator,
            Discard::NoDiscriminator => &mut self.no_discriminator,
            Discard::NoSession => &mut self.no_session,
            Discard::Port => &mut self.port,
            Discard::Interface => &mut self.interface,
            Discard::Ttl => &mut self.ttl,
            Discard::Authentication => &mut self.authentication,
        };
        *counter += 1;
    }
}
