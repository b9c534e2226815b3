//! What is wrong with a record that is read, or that is to be written.

use super::header::MAX_RECORD;

/// Why a record cannot be read. The next one begins where its header says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The record ends before what it has to hold.
    #[error("it ends within its {0}")]
    Short(&'static str),
    /// There is more in the record than it says.
    #[error("{0} octets are left over at its end")]
    LeftOver(usize),
    /// The header says more octets than any record has.
    #[error("it says it has {0} octets, and {MAX_RECORD} is the most that is read")]
    TooLong(u32),
    /// A prefix of more bits than its family has.
    #[error("a prefix of {0} bits")]
    PrefixLength(u8),
    /// Addresses of a family that no session has.
    #[error("addresses of family {0}: expected 1 (IPv4) or 2 (IPv6)")]
    AddressFamily(u16),
    /// The BGP message says another length than the record leaves it (RFC 6396, 4.4.2).
    #[error("a BGP message that says it has {says} octets, and {there} are there")]
    MessageLength {
        /// By its header.
        says: u16,
        /// By the record.
        there: usize,
    },
}

/// Why a record cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// A field holds no number as large as this.
    #[error("{what}: {found}, and {most} is the most that the format holds")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there can be.
        most: usize,
    },
    /// The two addresses of a session are of different families.
    #[error("the addresses of both ends of the session are of different families")]
    MixedAddresses,
    /// A record for two-octet AS numbers, and a number that is larger.
    #[error("AS {0} needs four octets, and the record has two")]
    FourOctetAs(u32),
    /// All entries of a record have path identifiers, or none has.
    #[error("one entry has a path identifier and another has none")]
    MixedPathIds,
}

/// A length or a count for its field.
pub(super) fn fits<T: TryFrom<usize>>(
    what: &'static str,
    found: usize,
    most: usize,
) -> Result<T, Unwritable> {
    T::try_from(found).map_err(|_| Unwritable::TooMuch { what, found, most })
}
