//! MRT, the format in which routing is recorded (RFC 6396; RFC 8050 for ADD-PATH): tables of
//! routes, and BGP messages as they came.
//!
//! A file is records one after the other. [`Header`] says how long one is, so that one that cannot
//! be read costs nothing but itself: [`split`] finds the records, [`Record::decode`] reads one, and
//! [`Record::encode`] writes one. Reading is total: any octets end in a record or in a [`Malformed`],
//! and nothing is allocated that the octets themselves do not pay for.
//!
//! Read and written are PEER_INDEX_TABLE, RIB_IPV4_UNICAST and RIB_IPV6_UNICAST of TABLE_DUMP_V2,
//! messages and state changes of BGP4MP and BGP4MP_ET, and all that RFC 8050 adds to these. Other
//! records are passed through as octets ([`Content::Other`]): TABLE_DUMP, which TABLE_DUMP_V2 has
//! replaced; RIB_GENERIC and multicast, whose families this speaker has not; GEO_PEER_TABLE (RFC
//! 6397); other protocols.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod attributes;
mod bgp4mp;
mod cursor;
mod error;
pub mod fuzz;
mod header;
mod names;
mod peers;
mod record;
mod rib;

pub use attributes::{EntryAttributes, encode_attributes};
pub use bgp4mp::{Message, Session, StateChange, state_name};
pub use error::{Malformed, Unwritable};
pub use header::{HEADER_LEN, Header, MAX_RECORD, split};
pub use names::{subtype_name, type_name};
pub use peers::{Peer, PeerIndexTable};
pub use record::{Content, Record};
pub use rib::{Rib, RibEntry};
