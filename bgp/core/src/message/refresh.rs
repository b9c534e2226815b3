//! ROUTE-REFRESH (RFC 2918, 3; RFC 7313, 3.2).

use serde::{Deserialize, Serialize};

use super::{FamilyCode, Hex, judge::Judge};
use crate::wire;

/// The content of a ROUTE-REFRESH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRefresh {
    /// The family asked for.
    pub family: FamilyCode,
    /// 0 for a request, 1 and 2 for its beginning and end (RFC 7313, 3.2).
    #[serde(default)]
    pub subtype: u8,
    /// The subtype by its name.
    #[serde(default)]
    pub subtype_name: Option<String>,
    /// What follows, such as an outbound route filter (RFC 5291, 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<Hex>,
}

pub(super) fn decode(body: &[u8], judge: &mut Judge) -> Option<RouteRefresh> {
    if let Err(notification) = wire::RouteRefresh::decode(body) {
        let (what, section) = match notification.code {
            7 => (
                "a beginning or end that is not four octets long",
                "RFC 7313, 5",
            ),
            _ => ("fewer than four octets", "RFC 4271, 6.1"),
        };
        judge.reset(notification, what, section);
    }
    let &[high, low, subtype, safi, ref more @ ..] = body else {
        return None;
    };
    let family = FamilyCode::new(u16::from_be_bytes([high, low]), safi);
    let subtype_name = match subtype {
        wire::RouteRefresh::REQUEST => Some("request"),
        wire::RouteRefresh::BEGIN => Some("beginning"),
        wire::RouteRefresh::END => Some("end"),
        _ => None,
    };
    if subtype_name.is_none() {
        judge.remark("an unknown subtype: the message is ignored", "RFC 7313, 5");
    } else if family.known().is_none() {
        judge.remark(
            "a family that was not offered: the message is ignored",
            "RFC 2918, 4",
        );
    }
    Some(RouteRefresh {
        family,
        subtype,
        subtype_name: subtype_name.map(str::to_owned),
        more: Hex::unless_empty(more),
    })
}

pub(super) fn encode(content: &RouteRefresh, out: &mut Vec<u8>) {
    out.extend_from_slice(&content.family.afi.to_be_bytes());
    out.extend_from_slice(&[content.subtype, content.family.safi]);
    if let Some(Hex(more)) = &content.more {
        out.extend_from_slice(more);
    }
}
