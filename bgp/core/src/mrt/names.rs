//! Types and subtypes by their numbers (RFC 6396, 5; RFC 6397; RFC 8050, 5).

pub(super) const TABLE_DUMP_V2: u16 = 13; // RFC 6396, 4.3
pub(super) const BGP4MP: u16 = 16; // RFC 6396, 4.4
pub(super) const BGP4MP_ET: u16 = 17; // RFC 6396, 3 and 4.4

pub(super) const PEER_INDEX_TABLE: u16 = 1; // RFC 6396, 4.3.1
pub(super) const RIB_IPV4_UNICAST: u16 = 2; // RFC 6396, 4.3.2
pub(super) const RIB_IPV6_UNICAST: u16 = 4; // RFC 6396, 4.3.2
pub(super) const RIB_IPV4_UNICAST_ADDPATH: u16 = 8; // RFC 8050, 4.1
pub(super) const RIB_IPV6_UNICAST_ADDPATH: u16 = 10; // RFC 8050, 4.1

pub(super) const STATE_CHANGE: u16 = 0; // RFC 6396, 4.4.1
pub(super) const MESSAGE: u16 = 1; // RFC 6396, 4.4.2
pub(super) const MESSAGE_AS4: u16 = 4; // RFC 6396, 4.4.3
pub(super) const STATE_CHANGE_AS4: u16 = 5; // RFC 6396, 4.4.4
pub(super) const MESSAGE_LOCAL: u16 = 6; // RFC 6396, 4.4.5
pub(super) const MESSAGE_AS4_LOCAL: u16 = 7; // RFC 6396, 4.4.6
pub(super) const MESSAGE_ADDPATH: u16 = 8; // RFC 8050, 3
pub(super) const MESSAGE_AS4_ADDPATH: u16 = 9; // RFC 8050, 3
pub(super) const MESSAGE_LOCAL_ADDPATH: u16 = 10; // RFC 8050, 3
pub(super) const MESSAGE_AS4_LOCAL_ADDPATH: u16 = 11; // RFC 8050, 3

/// The name of a type in the RFCs' spelling, if it has one.
pub fn type_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        0 => "NULL",
        1 => "START",
        2 => "DIE",
        3 => "I_AM_DEAD",
        4 => "PEER_DOWN",
        5 => "BGP",
        6 => "RIP",
        7 => "IDRP",
        8 => "RIPNG",
        9 => "BGP4PLUS",
        10 => "BGP4PLUS_01",
        11 => "OSPFv2",
        12 => "TABLE_DUMP",
        TABLE_DUMP_V2 => "TABLE_DUMP_V2",
        BGP4MP => "BGP4MP",
        BGP4MP_ET => "BGP4MP_ET",
        32 => "ISIS",
        33 => "ISIS_ET",
        48 => "OSPFv3",
        49 => "OSPFv3_ET",
        _ => return None,
    })
}

/// The name of a subtype of a type, if it has one.
pub fn subtype_name(kind: u16, subtype: u16) -> Option<&'static str> {
    Some(match (kind, subtype) {
        (12, 1) => "AFI_IPv4",
        (12, 2) => "AFI_IPv6",
        (TABLE_DUMP_V2, PEER_INDEX_TABLE) => "PEER_INDEX_TABLE",
        (TABLE_DUMP_V2, RIB_IPV4_UNICAST) => "RIB_IPV4_UNICAST",
        (TABLE_DUMP_V2, 3) => "RIB_IPV4_MULTICAST",
        (TABLE_DUMP_V2, RIB_IPV6_UNICAST) => "RIB_IPV6_UNICAST",
        (TABLE_DUMP_V2, 5) => "RIB_IPV6_MULTICAST",
        (TABLE_DUMP_V2, 6) => "RIB_GENERIC",
        (TABLE_DUMP_V2, 7) => "GEO_PEER_TABLE",
        (TABLE_DUMP_V2, RIB_IPV4_UNICAST_ADDPATH) => "RIB_IPV4_UNICAST_ADDPATH",
        (TABLE_DUMP_V2, 9) => "RIB_IPV4_MULTICAST_ADDPATH",
        (TABLE_DUMP_V2, RIB_IPV6_UNICAST_ADDPATH) => "RIB_IPV6_UNICAST_ADDPATH",
        (TABLE_DUMP_V2, 11) => "RIB_IPV6_MULTICAST_ADDPATH",
        (TABLE_DUMP_V2, 12) => "RIB_GENERIC_ADDPATH",
        (BGP4MP | BGP4MP_ET, STATE_CHANGE) => "BGP4MP_STATE_CHANGE",
        (BGP4MP | BGP4MP_ET, MESSAGE) => "BGP4MP_MESSAGE",
        (BGP4MP | BGP4MP_ET, 2) => "BGP4MP_ENTRY",
        (BGP4MP | BGP4MP_ET, 3) => "BGP4MP_SNAPSHOT",
        (BGP4MP | BGP4MP_ET, MESSAGE_AS4) => "BGP4MP_MESSAGE_AS4",
        (BGP4MP | BGP4MP_ET, STATE_CHANGE_AS4) => "BGP4MP_STATE_CHANGE_AS4",
        (BGP4MP | BGP4MP_ET, MESSAGE_LOCAL) => "BGP4MP_MESSAGE_LOCAL",
        (BGP4MP | BGP4MP_ET, MESSAGE_AS4_LOCAL) => "BGP4MP_MESSAGE_AS4_LOCAL",
        (BGP4MP | BGP4MP_ET, MESSAGE_ADDPATH) => "BGP4MP_MESSAGE_ADDPATH",
        (BGP4MP | BGP4MP_ET, MESSAGE_AS4_ADDPATH) => "BGP4MP_MESSAGE_AS4_ADDPATH",
        (BGP4MP | BGP4MP_ET, MESSAGE_LOCAL_ADDPATH) => "BGP4MP_MESSAGE_LOCAL_ADDPATH",
        (BGP4MP | BGP4MP_ET, MESSAGE_AS4_LOCAL_ADDPATH) => "BGP4MP_MESSAGE_AS4_LOCAL_ADDPATH",
        _ => return None,
    })
}
