//! Path attributes: judged, brought into canonical form, and written for a peer.
//!
//! ```text
//! +---------------+---------------+---------------+---------------+
//! |O T P E 0 0 0 0|   Type code   | Length (1 octet, 2 with E)    |
//! +---------------+---------------+---------------+---------------+
//! |   Value ...
//! ```
//!
//! The *canonical* form of a set of attributes is a run of these, in the order of their codes,
//! each code at most once: AS numbers have four octets, the flags are those of the attribute's
//! definition (P survives where the attribute is optional and transitive), E is set only past
//! 255 octets. NEXT_HOP, MP_REACH_NLRI, MP_UNREACH_NLRI, AS4_PATH and AS4_AGGREGATOR are not
//! part of it: they belong to a message or a session, not to the route. Equal routes have equal
//! octets, whatever their sender's habits.

mod canonical;
mod edit;
mod egress;
mod facts;
mod parse;
mod parts;
mod path;
pub(crate) mod table;
mod verdict;

pub(crate) use canonical::{Tlvs, push};
pub use canonical::{decode_canonical, encode_canonical};
pub(crate) use edit::Edit;
pub use egress::{Egress, Reflect, egress_attributes};
pub(crate) use facts::only_to_customer;
pub use facts::{
    AttrFacts, cluster_list_contains, contains_large_community, facts_of, has_large_community,
    path_contains,
};
pub use parse::{DecodeContext, MpReach, MpUnreach, Parsed, parse_attributes};
pub(crate) use parse::{Witness, parse_before};
pub(crate) use parts::{Hop, Parts};
pub use table::attribute_name;
pub(crate) use table::spec;
pub(super) use table::{EXTENDED_LENGTH, MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL};
pub use verdict::{Approach, Malformed, Problem, Verdict};
