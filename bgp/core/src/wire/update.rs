//! UPDATE, cut into its parts (RFC 4271, 4.3).
//!
//! ```text
//! +-----------------------------------------------------+
//! |   Withdrawn Routes Length (2 octets)                |
//! |   Withdrawn Routes (variable)                       |
//! |   Total Path Attribute Length (2 octets)            |
//! |   Path Attributes (variable)                        |
//! |   Network Layer Reachability Information (the rest) |
//! +-----------------------------------------------------+
//! ```

use super::notification::{Notification, UpdateError};

/// The three parts of an UPDATE, where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawUpdate<'a> {
    /// IPv4 prefixes withdrawn.
    pub withdrawn: &'a [u8],
    /// Path attributes; see [`super::parse_attributes`].
    pub attributes: &'a [u8],
    /// IPv4 prefixes announced.
    pub nlri: &'a [u8],
}

impl<'a> RawUpdate<'a> {
    /// Cuts the body of an UPDATE.
    ///
    /// # Errors
    /// 3/1 when the two lengths do not fit the message: nothing in it can be found then, so this
    /// stays a session reset (RFC 7606, 3 b).
    #[inline]
    pub fn split(body: &'a [u8]) -> Result<Self, Notification> {
        counted(body)
            .and_then(|(withdrawn, rest)| {
                let (attributes, nlri) = counted(rest)?;
                Some(Self {
                    withdrawn,
                    attributes,
                    nlri,
                })
            })
            .ok_or_else(|| Notification::update_error(UpdateError::MalformedAttributeList))
    }

    /// The minimal UPDATE: nothing withdrawn, nothing announced. For IPv4 unicast this is
    /// End-of-RIB (RFC 4724, 2); other families say it by an empty MP_UNREACH_NLRI.
    #[inline]
    pub fn is_end_of_rib_ipv4(&self) -> bool {
        self.withdrawn.is_empty() && self.attributes.is_empty() && self.nlri.is_empty()
    }
}

/// Two octets of length, as many octets, and what is left.
#[inline]
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
