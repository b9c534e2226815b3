//! The words every other module speaks: numbers, prefixes, communities, time.

mod asn;
mod community;
mod extended;
mod prefix;
mod time;

pub use asn::{AS_TRANS, Asn, RouterId};
pub(crate) use community::as_text;
pub use community::{Community, LargeCommunity};
pub use extended::{ExtendedCommunity, Ipv6ExtendedCommunity};
pub use prefix::{Family, Ipv4Prefix, Ipv6Prefix, Prefix, PrefixError};
pub use time::Time;
