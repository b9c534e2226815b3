//! What a speaker shows: peers and routes as values that are printed for people and as JSON.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    attributes::{Attributes, NextHop},
    types::{Asn, Family, Prefix, RouterId},
};

/// The states of RFC 4271, 8.2.2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum State {
    /// Refuses all connections.
    #[default]
    Idle,
    /// Waits for its TCP connection to complete.
    Connect,
    /// Waits for the neighbour to connect.
    Active,
    /// Waits for the neighbour's OPEN.
    OpenSent,
    /// Waits for a KEEPALIVE or NOTIFICATION.
    OpenConfirm,
    /// Exchanges routes.
    Established,
}

/// States of a BFD session (RFC 5880, 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BfdState {
    /// One of the two is told not to say anything about the way.
    AdminDown,
    /// The other end is not heard.
    Down,
    /// The other end is heard, and does not hear us yet.
    Init,
    /// Both hear each other.
    Up,
}

/// Messages by type, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCounts {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

/// Prefixes of one family on one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyCounts {
    /// Received and held (adj-RIB-in).
    pub received: u32,
    /// Of these, accepted by import policy.
    pub accepted: u32,
    /// Last told to the peer (adj-RIB-out).
    pub advertised: u32,
    /// The peer's End-of-RIB has come.
    pub end_of_rib: bool,
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its configured name.
    pub name: String,
    /// Its address; `::` while an unnumbered one was not found.
    pub address: IpAddr,
    /// The interface its address belongs to, where that means something on one link only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its AS: as negotiated, else as configured where that is one number.
    pub asn: Option<Asn>,
    /// Ours towards it.
    pub local_asn: Asn,
    /// `ibgp` or `ebgp`, once known.
    pub session_type: Option<SessionType>,
    /// FSM state.
    pub state: State,
    /// Seconds in this state.
    pub state_seconds: u64,
    /// Its BGP identifier, when it has sent an OPEN.
    pub router_id: Option<RouterId>,
    /// Our own address on the session.
    pub local_address: Option<IpAddr>,
    /// Negotiated hold time in seconds.
    pub hold_time: Option<u16>,
    /// Times the session reached Established.
    pub established_count: u64,
    /// Why it last left Established or failed to reach it, in words.
    pub last_error: Option<String>,
    /// Seconds since then.
    pub last_error_seconds: Option<u64>,
    /// The NOTIFICATION it ended with, if it did.
    #[serde(default)]
    pub last_error_code: Option<ErrorCode>,
    /// What counts against the peer since its last session that lasted (ConnectRetryCounter).
    #[serde(default)]
    pub failures: u32,
    /// Seconds until connections are made and taken again (IdleHoldTimer).
    #[serde(default)]
    pub held_back_seconds: Option<u64>,
    /// Somebody has shut it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shut_down: Option<ShutDownView>,
    /// It came from a listen range.
    #[serde(default)]
    pub dynamic: bool,
    /// What we offer.
    pub capabilities_sent: Vec<String>,
    /// What it offered.
    pub capabilities_received: Vec<String>,
    /// Messages sent.
    pub sent: MessageCounts,
    /// Messages received.
    pub received: MessageCounts,
    /// IPv4 unicast, if negotiated.
    pub ipv4: Option<FamilyCounts>,
    /// IPv6 unicast, if negotiated.
    pub ipv6: Option<FamilyCounts>,
    /// UPDATEs treated as withdraw (RFC 7606).
    pub treated_as_withdraw: u64,
    /// UPDATEs that lost an attribute (RFC 7606).
    pub attributes_discarded: u64,
    /// Why the last of these was.
    pub last_malformed: Option<String>,
    /// What BFD says of the way, while the session is up and is watched.
    #[serde(default)]
    pub bfd: Option<BfdState>,
    /// What does not work on this session, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A peer that is kept down because somebody wants that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutDownView {
    /// For how many seconds by now.
    pub seconds: u64,
    /// Who has done that, in words.
    pub by: String,
    /// What the neighbour's operator was told (RFC 9003).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communication: Option<String>,
}

/// A NOTIFICATION in numbers (RFC 4271, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ErrorCode {
    /// We sent it; else the peer did.
    pub sent: bool,
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
}

/// Internal or external.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionType {
    /// Same AS.
    Ibgp,
    /// Another AS.
    Ebgp,
}

/// Which table is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RibKind {
    /// What peers sent.
    In,
    /// The best of it.
    Loc,
    /// What a peer was told.
    Out,
}

/// A question for routes; answered in pages, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteQuery {
    /// Which table.
    pub rib: RibKind,
    /// Which family.
    pub family: Family,
    /// Only from (`In`, `Loc`) or to (`Out`, where it is required) this peer.
    pub peer: Option<String>,
    /// Only this prefix.
    pub prefix: Option<Prefix>,
    /// With `prefix`: what lies inside it too.
    pub longer: bool,
    /// With `prefix`: the longest route that covers it instead.
    pub covering: bool,
    /// Where the last page ended; 0 to begin.
    pub cursor: u32,
    /// At most this many routes.
    pub limit: u32,
}

impl RouteQuery {
    /// Everything in one table of one family, a thousand routes at a time.
    pub fn all(rib: RibKind, family: Family) -> Self {
        Self {
            rib,
            family,
            peer: None,
            prefix: None,
            longer: false,
            covering: false,
            cursor: 0,
            limit: 1_000,
        }
    }
}

/// One path to a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// The prefix.
    pub prefix: Prefix,
    /// Which of several paths it is: the identifier the peer has given it, or knows it by (RFC 7911, 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_id: Option<u32>,
    /// The peer it came from; absent for our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The next hop; absent for our own with none set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<NextHop>,
    /// It is the best path.
    pub best: bool,
    /// It is as good as the best and used beside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multipath: bool,
    /// Import policy refused it, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Kept from a session that is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// The step of the decision that ranked it behind the best, or made it the best.
    pub reason: String,
    /// Seconds since it last changed.
    pub age_seconds: u64,
    /// AS_PATH as text.
    pub as_path: String,
    /// All attributes.
    pub attributes: Attributes,
}

/// One page of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePage {
    /// The routes.
    pub routes: Vec<RouteView>,
    /// Where to go on; absent at the end.
    pub next: Option<u32>,
}

/// The speaker as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerView {
    /// Our AS.
    pub asn: Asn,
    /// Our BGP identifier.
    pub router_id: RouterId,
    /// Peers configured, with dynamic ones.
    pub peers: u32,
    /// Of these, Established.
    pub established: u32,
    /// Prefixes with a best path, IPv4.
    pub ipv4_routes: u32,
    /// Prefixes with a best path, IPv6.
    pub ipv6_routes: u32,
    /// Paths held, both families.
    pub paths: u32,
    /// Distinct attribute sets held.
    pub attribute_sets: u32,
    /// After a restart: nothing is told and installed yet. [`crate::Speaker::deferral`], which takes the
    /// time; a driver puts it here.
    pub deferring: Option<DeferralView>,
}

/// What a speaker waits for after a restart (RFC 4724, 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeferralView {
    /// At most so many seconds more.
    pub seconds: u64,
    /// Peers, ranges and what else there is, in words.
    pub waits_for: Vec<String>,
}
