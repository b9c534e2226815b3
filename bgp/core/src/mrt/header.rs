//! The header that all records have (RFC 6396, 2).
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------------------------------------------------------+
//! |                           Timestamp                           |
//! +-------------------------------+-------------------------------+
//! |             Type              |            Subtype            |
//! +-------------------------------+-------------------------------+
//! |              Length of what follows the header                |
//! +---------------------------------------------------------------+
//! ```

/// Octets in a header.
pub const HEADER_LEN: usize = 12;

/// The longest record that is read and written, without its header. The format has no limit below
/// four gigabytes; a table of a thousand neighbours has records of some hundred kilobytes. What says
/// it is longer is most likely no MRT at all.
pub const MAX_RECORD: u32 = 16 << 20;

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Seconds since 1970, in UTC.
    pub timestamp: u32,
    /// Type.
    pub kind: u16,
    /// Subtype.
    pub subtype: u16,
    /// Octets that follow.
    pub length: u32,
}

impl Header {
    /// Reads a header: any octets are one.
    pub fn decode(octets: &[u8; HEADER_LEN]) -> Self {
        let [t3, t2, t1, t0, k1, k0, s1, s0, l3, l2, l1, l0] = *octets;
        Self {
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
            kind: u16::from_be_bytes([k1, k0]),
            subtype: u16::from_be_bytes([s1, s0]),
            length: u32::from_be_bytes([l3, l2, l1, l0]),
        }
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.kind.to_be_bytes());
        out.extend_from_slice(&self.subtype.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }
}

/// The first record of some octets: its header, what follows that, and where the next one begins.
/// `None`: the octets end before it does.
pub fn split(octets: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let (header, rest) = octets.split_first_chunk()?;
    let header = Header::decode(header);
    let (body, rest) = rest.split_at_checked(usize::try_from(header.length).ok()?)?;
    Some((header, body, rest))
}
