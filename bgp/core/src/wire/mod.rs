//! Messages on the wire: framing, decoding and encoding (RFC 4271 and what grew on it).
//!
//! Decoding is total: any string of octets ends in a value or in a typed error, in time linear
//! in its length, and the way of an UPDATE allocates nothing. Three kinds of error keep apart
//! what they are for: [`Malformed`] says what was wrong with an attribute, [`Verdict`] what is
//! done about it (RFC 7606), [`Notification`] what the peer is told when the session ends.
//!
//! An UPDATE is read in three steps: [`frame`] finds the message, [`RawUpdate::split`] cuts it,
//! [`parse_attributes`] judges the attributes and writes them in *canonical* form, the one form
//! in which the RIB keeps, compares and interns them. [`Nlri4`] and [`Nlri6`] read the prefixes
//! where they lie. On the way out [`egress_attributes`] turns canonical bytes into those a group
//! of peers is sent, and `pack_*` fills messages with prefixes that share them.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod attribute;
pub(crate) mod capability;
pub mod fuzz;
mod header;
mod nlri;
mod notification;
mod open;
mod pack;
mod refresh;
mod update;

pub use attribute::{
    Approach, AttrFacts, DecodeContext, Egress, Malformed, MpReach, MpUnreach, Parsed, Problem,
    Reflect, Verdict, attribute_name, cluster_list_contains, contains_large_community,
    decode_canonical, egress_attributes, encode_canonical, facts_of, has_large_community,
    parse_attributes, path_contains,
};
pub(crate) use attribute::{Edit, Hop, Parts, only_to_customer};
pub(crate) use attribute::{Tlvs, Witness, parse_before, push, spec, table};
pub(crate) use capability::family_name;
pub use capability::{Capabilities, Fqdn, GracefulRestart};
pub use header::{Frame, HEADER_LEN, MAX_EXTENDED, MAX_MESSAGE, MessageKind, frame, keepalive};
pub(crate) use header::{begin, finish};
pub use nlri::{Nlri4, Nlri6, put_nlri4, put_nlri6};
pub use notification::{
    Cease, FsmError, HeaderError, Notification, OpenError, RefreshError, UpdateError,
};
pub use open::Open;
pub use pack::{
    TooLarge, end_of_rib, pack_reach_mp, pack_reach4, pack_withdraw_mp, pack_withdraw4,
    pack_withdraw6,
};
pub use refresh::RouteRefresh;
pub use update::RawUpdate;
