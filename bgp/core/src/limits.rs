//! How much is held and done at once.

/// Bounds on memory and on the work of one turn. The defaults suit machines from 2 cores and a
/// handful of peers to hundreds; tests make them small, so that a few routes reach what
/// otherwise takes hundreds of thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets kept for slow members of one update group; past this the slowest walk the table.
    pub log: usize,
    /// Destinations compared, filled in, swept and freed in one turn and family; at least 1.
    pub turn: u32,
    /// Destinations one walk handles in one turn and family; at least 1.
    pub walk: usize,
    /// A walk with this many octets unwritten waits; at least 1.
    pub unwritten: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log: 8 << 20,
            turn: 16_384,
            walk: 2_048,
            unwritten: 64 << 10,
        }
    }
}
