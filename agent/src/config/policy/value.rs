//! Values that stand in rules only.

use std::{net::IpAddr, str::FromStr};

use toml::{Spanned, de::DeValue};
use wayleave_bgp_core::{
    Prefix,
    attributes::Origin as RouteOrigin,
    policy::{
        Amount, AnyCommunity, CommunityPattern, MedIs, NextHopTo, Numbers, PathPattern,
        PrefixEntry, Source, Then, Validation, Verdict, WrittenEntry,
    },
};

use crate::config::{
    raw::RawPrepend,
    value::{FromToml, Reading, integer},
};

/// A prefix where a list can stand too.
#[derive(Clone, Debug)]
pub(in crate::config) enum PrefixItem {
    /// What is written.
    Entry(PrefixEntry),
    /// The list of this name.
    List(String),
}

/// What `med` is set to.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum MedTo {
    /// A number, or more or less than it is.
    Amount(Amount),
    /// Nothing: it is removed.
    None,
}

/// What `next_hop` is set to.
#[derive(Clone, Debug)]
pub(in crate::config) struct NextHopSetting(pub(in crate::config) NextHopTo);

/// What `prepend` says.
#[derive(Debug)]
pub(in crate::config) enum PrependSetting {
    /// So often, our own AS.
    Own(u8),
    /// As this table says.
    Table(Box<RawPrepend>),
}

/// What `session` is.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct SessionKind {
    pub(in crate::config) external: bool,
}

/// Texts whose type says by itself what it expected.
macro_rules! texts {
    ($($type:ty, $expected:literal;)*) => {$(
        impl FromToml for $type {
            fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
                let Some(text) = value.get_ref().as_str() else {
                    return reading.expected($expected, value);
                };
                match text.parse::<Self>() {
                    Ok(read) => Some(read),
                    Err(error) => reading.refused(&error.to_string(), value),
                }
            }
        }
    )*};
}
texts! {
    WrittenEntry, "a prefix such as \"10.0.0.0/8 le 24\"";
    CommunityPattern, "a community such as \"65001:*\"";
    AnyCommunity, "a community such as \"65001:100\"";
}

/// One word of several.
macro_rules! words {
    ($($type:ty { $($word:literal => $value:expr,)* } $expected:literal;)*) => {$(
        impl FromToml for $type {
            fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
                match value.get_ref().as_str() {
                    $(Some($word) => Some($value),)*
                    _ => reading.expected($expected, value),
                }
            }
        }
    )*};
}
words! {
    Verdict {
        "accept" => Self::Accept,
        "reject" => Self::Reject,
    } "\"accept\" or \"reject\"";
    Then {
        "accept" => Self::Accept,
        "reject" => Self::Reject,
        "next" => Self::Next,
    } "\"accept\", \"reject\" or \"next\"";
    RouteOrigin {
        "igp" => Self::Igp,
        "egp" => Self::Egp,
        "incomplete" => Self::Incomplete,
    } "\"igp\", \"egp\" or \"incomplete\"";
    Source {
        "own" => Self::Own,
        "internal" => Self::Internal,
        "external" => Self::External,
    } "\"own\", \"internal\" or \"external\"";
    Validation {
        "valid" => Self::Valid,
        "invalid" => Self::Invalid,
        "not-found" => Self::NotFound,
    } "\"valid\", \"invalid\" or \"not-found\"";
    SessionKind {
        "external" => Self { external: true },
        "internal" => Self { external: false },
    } "\"external\" or \"internal\"";
}

impl FromToml for PathPattern {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            return reading.expected("a pattern such as \"65001 * 65010\"", value);
        };
        match text.parse::<Self>() {
            Ok(read) => Some(read),
            Err(error) => reading.refused(&error.to_string(), value),
        }
    }
}

impl FromToml for Numbers {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let read = match value.get_ref().as_str() {
            Some(text) => text.parse().ok(),
            None => number(value.get_ref()).map(Self::one),
        };
        match read {
            Some(read) => Some(read),
            None => reading.expected("a number, or a range such as \"100-200\" or \"5-\"", value),
        }
    }
}

impl FromToml for MedIs {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        if value.get_ref().as_str() == Some("none") {
            return Some(Self::Absent);
        }
        Numbers::from_toml(value, reading).map(Self::In)
    }
}

impl FromToml for Amount {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match amount(value.get_ref()) {
            Some(read) => Some(read),
            None => reading.expected("a number, or how much more or less, such as \"+20\"", value),
        }
    }
}

impl FromToml for MedTo {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        if value.get_ref().as_str() == Some("none") {
            return Some(Self::None);
        }
        match amount(value.get_ref()) {
            Some(read) => Some(Self::Amount(read)),
            None => reading.expected(
                "a number, how much more or less, such as \"+20\", or \"none\"",
                value,
            ),
        }
    }
}

impl FromToml for PrefixItem {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let expected = "a prefix such as \"10.0.0.0/8 le 24\", or the name of a prefix list";
        let Some(text) = value.get_ref().as_str() else {
            return reading.expected(expected, value);
        };
        if let Ok(addr) = IpAddr::from_str(text) {
            return Some(Self::Entry(PrefixEntry::exact(Prefix::host(addr))));
        }
        if !text.contains('/') {
            return Some(Self::List(text.to_owned()));
        }
        match text.parse() {
            Ok(entry) => Some(Self::Entry(entry)),
            Err(error) => reading.refused(&format!("{error}"), value),
        }
    }
}

impl FromToml for NextHopSetting {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let to = match value.get_ref().as_str() {
            Some("self") => NextHopTo::Own,
            Some("unchanged") => NextHopTo::Unchanged,
            Some("peer") => NextHopTo::Peer,
            Some(text) if IpAddr::from_str(text).is_err() => {
                return reading.expected("\"self\", \"unchanged\", \"peer\" or an address", value);
            }
            Some(_) | None => {
                let addresses: Vec<IpAddr> = Vec::from_toml(value, reading)?;
                if addresses.iter().any(|addr| !is_unicast(*addr)) {
                    return reading.expected("addresses of routers", value);
                }
                NextHopTo::Addresses(addresses)
            }
        };
        Some(Self(to))
    }
}

impl FromToml for PrependSetting {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        if value.get_ref().is_integer() {
            return u8::from_toml(value, reading).map(Self::Own);
        }
        RawPrepend::from_toml(value, reading).map(|table| Self::Table(Box::new(table)))
    }
}

/// Whether packets can be sent to it as to a router that others know too.
fn is_unicast(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !addr.is_unspecified() && !addr.is_multicast() && !addr.is_broadcast(),
        IpAddr::V6(addr) => {
            !addr.is_unspecified() && !addr.is_multicast() && !addr.is_unicast_link_local()
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<u32> {
    integer(value).and_then(|number| u32::try_from(number).ok())
}

fn amount(value: &DeValue<'_>) -> Option<Amount> {
    let Some(text) = value.as_str() else {
        return number(value).map(Amount::Set);
    };
    // What stands behind the sign has none of its own.
    let digits = |text: &str| {
        let first = text.bytes().next()?;
        first.is_ascii_digit().then(|| text.parse().ok()).flatten()
    };
    match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(more), _) => digits(more).map(Amount::Add),
        (None, Some(less)) => digits(less).map(Amount::Subtract),
        (None, None) => None,
    }
}
