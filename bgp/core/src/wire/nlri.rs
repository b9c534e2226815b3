//! Prefixes on the wire (RFC 4271, 4.3; RFC 4760, 5; RFC 7911, 3).
//!
//! ```text
//! +---------------------------------------+
//! |   Path Identifier (4 octets)          |   with ADD-PATH only
//! |   Length in bits (1 octet)            |
//! |   Prefix (as few octets as hold it)   |
//! +---------------------------------------+
//! ```

use super::notification::{Notification, UpdateError};
use crate::types::{Ipv4Prefix, Ipv6Prefix};

/// Iterates over IPv4 prefixes; after an error it ends.
#[derive(Clone, Debug)]
pub struct Nlri4<'a> {
    rest: &'a [u8],
    add_path: bool,
}

/// Iterates over IPv6 prefixes; after an error it ends.
#[derive(Clone, Debug)]
pub struct Nlri6<'a> {
    rest: &'a [u8],
    add_path: bool,
}

macro_rules! iterate {
    ($iterator:ident, $prefix:ident, $bits:ty, $octets:literal) => {
        impl<'a> $iterator<'a> {
            /// Reads these octets; with `add_path` each prefix has a path identifier before it.
            #[inline]
            pub fn new(bytes: &'a [u8], add_path: bool) -> Self {
                Self {
                    rest: bytes,
                    add_path,
                }
            }

            /// Takes the next prefix; `None` when its length is past the family's or past what
            /// is left. Host bits are cleared: they "SHOULD be ignored" (RFC 4271, 4.3).
            #[inline]
            fn take(&mut self) -> Option<($prefix, u32)> {
                let mut rest = self.rest;
                let mut path_id = 0;
                if self.add_path {
                    let (id, after) = rest.split_first_chunk()?;
                    (path_id, rest) = (u32::from_be_bytes(*id), after);
                }
                let (&len, rest) = rest.split_first()?;
                if u32::from(len) > <$bits>::BITS {
                    return None;
                }
                let octets = usize::from(len).div_ceil(8);
                let bits = match rest.first_chunk::<$octets>() {
                    // Four octets are there whatever the length: take them all, clear the rest.
                    Some(whole) => <$bits>::from_be_bytes(*whole),
                    None => {
                        let mut whole = [0; $octets];
                        whole
                            .get_mut(..octets)?
                            .copy_from_slice(rest.get(..octets)?);
                        <$bits>::from_be_bytes(whole)
                    }
                };
                self.rest = rest.get(octets..)?;
                Some(($prefix::from_bits(bits, len), path_id))
            }
        }

        impl Iterator for $iterator<'_> {
            type Item = Result<($prefix, u32), Notification>;

            #[inline]
            fn next(&mut self) -> Option<Self::Item> {
                if self.rest.is_empty() {
                    return None;
                }
                match self.take() {
                    Some(prefix) => Some(Ok(prefix)),
                    None => {
                        self.rest = &[];
                        Some(Err(invalid_network_field()))
                    }
                }
            }
        }
    };
}

iterate!(Nlri4, Ipv4Prefix, u32, 4);
iterate!(Nlri6, Ipv6Prefix, u128, 16);

/// RFC 4271, 6.3; a session reset also under RFC 7606, 5.3, because what the rest of the field
/// says cannot be known. Who reads a list inside of an attribute says [`super::MpReach::bad_nlri`]
/// instead.
#[cold]
fn invalid_network_field() -> Notification {
    Notification::update_error(UpdateError::InvalidNetworkField)
}

/// Appends one IPv4 prefix, with its path identifier when the peer wants one.
#[inline]
pub fn put_nlri4(out: &mut Vec<u8>, prefix: Ipv4Prefix, path_id: Option<u32>) {
    put(out, &prefix.bits().to_be_bytes(), prefix.len(), path_id);
}

/// Appends one IPv6 prefix, with its path identifier when the peer wants one.
#[inline]
pub fn put_nlri6(out: &mut Vec<u8>, prefix: Ipv6Prefix, path_id: Option<u32>) {
    put(out, &prefix.bits().to_be_bytes(), prefix.len(), path_id);
}

/// Appends all octets of the address and takes back those past the length: copying a number of
/// octets that is known beforehand needs no call.
#[inline]
fn put<const N: usize>(out: &mut Vec<u8>, address: &[u8; N], len: u8, path_id: Option<u32>) {
    if let Some(id) = path_id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.push(len);
    out.extend_from_slice(address);
    let octets = usize::from(len).div_ceil(8).min(N);
    out.truncate(out.len() - (N - octets));
}
