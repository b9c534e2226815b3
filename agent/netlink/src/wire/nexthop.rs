//! Nexthop objects as bytes (linux/nexthop.h); no published codec has them.
//!
//! ```text
//! struct nhmsg { u8 family, scope, protocol, resvd; u32 flags; }
//! struct nexthop_grp { u32 id; u8 weight, weight_high; u16 resvd; }   weight is less by one
//! ```

use super::{Attributes, NLA_F_NESTED, Writer, ip_of, malformed, u32_at, u32_of, with_octets};
use crate::{
    error::KernelError,
    nexthop::{Member, Nexthop, NexthopId, NexthopTarget},
    prefix::Family,
    route::Protocol,
};

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_RES_GROUP: u16 = 12;
const NHA_RES_GROUP_BUCKETS: u16 = 1;
const NHA_RES_GROUP_IDLE_TIMER: u16 = 2;
const NHA_RES_GROUP_UNBALANCED_TIMER: u16 = 3;
const NEXTHOP_GRP_TYPE_RES: u16 = 1;
const RTNH_F_ONLINK: u32 = 4;
const AF_UNSPEC: u8 = 0;

/// Length of `nhmsg`.
const NHMSG: usize = 8;
/// Length of `nexthop_grp`.
const MEMBER: usize = 8;
/// More members than this do not fit in an attribute.
const MAX_MEMBERS: usize = 4096;

pub(super) fn check(nexthop: &Nexthop) -> Result<(), KernelError> {
    let no = |why: String| Err(KernelError::Inexpressible(why));
    if nexthop.id.0 == 0 {
        return no("nexthop id 0 is reserved".to_owned());
    }
    let (NexthopTarget::Group(members) | NexthopTarget::Resilient { members, .. }) = &nexthop.to
    else {
        return Ok(());
    };
    if members.is_empty() || members.len() > MAX_MEMBERS {
        return no(format!(
            "a group of {} members, 1 to {MAX_MEMBERS} are possible",
            members.len()
        ));
    }
    match members
        .iter()
        .find(|member| !(1..=65_536).contains(&member.weight))
    {
        Some(member) => no(format!("weight {} is not within 1 to 65536", member.weight)),
        None => Ok(()),
    }
}

pub(super) fn write(w: &mut Writer<'_>, nexthop: &Nexthop) {
    let (family, flags) = match &nexthop.to {
        NexthopTarget::Via {
            gateway, onlink, ..
        } => (
            Family::of(*gateway).number(),
            if *onlink { RTNH_F_ONLINK } else { 0 },
        ),
        NexthopTarget::Dev { family, .. } | NexthopTarget::Blackhole { family } => {
            (family.number(), 0)
        }
        NexthopTarget::Group(_) | NexthopTarget::Resilient { .. } => (AF_UNSPEC, 0),
    };
    w.put(&[family, 0, nexthop.protocol.0, 0]);
    w.put(&flags.to_ne_bytes());
    w.attr_u32(NHA_ID, nexthop.id.0);
    match &nexthop.to {
        NexthopTarget::Via {
            gateway, ifindex, ..
        } => {
            w.attr_u32(NHA_OIF, *ifindex);
            with_octets(*gateway, |octets| w.attr(NHA_GATEWAY, octets));
        }
        NexthopTarget::Dev { ifindex, .. } => w.attr_u32(NHA_OIF, *ifindex),
        NexthopTarget::Blackhole { .. } => w.attr(NHA_BLACKHOLE, &[]),
        NexthopTarget::Group(members) => write_members(w, members),
        NexthopTarget::Resilient {
            members,
            buckets,
            idle,
            unbalanced,
        } => {
            write_members(w, members);
            w.attr(NHA_GROUP_TYPE, &NEXTHOP_GRP_TYPE_RES.to_ne_bytes());
            let resilient = w.nest(NHA_RES_GROUP | NLA_F_NESTED);
            w.attr(NHA_RES_GROUP_BUCKETS, &buckets.to_ne_bytes());
            w.attr_u32(NHA_RES_GROUP_IDLE_TIMER, *idle);
            w.attr_u32(NHA_RES_GROUP_UNBALANCED_TIMER, *unbalanced);
            w.end(resilient);
        }
    }
}

pub(super) fn write_id(w: &mut Writer<'_>, id: NexthopId) {
    w.put(&[0; NHMSG]);
    w.attr_u32(NHA_ID, id.0);
}

pub(super) fn write_filter(w: &mut Writer<'_>) {
    w.put(&[0; NHMSG]);
}

/// Reads a nexthop object; `None` if it is of a kind that is not ours to know (bridge FDB).
pub(super) fn read(payload: &[u8]) -> Result<Option<Nexthop>, KernelError> {
    let Some((head, attributes)) = payload.split_at_checked(NHMSG) else {
        return Err(malformed("a nexthop shorter than its header"));
    };
    let onlink = u32_at(head, 4).unwrap_or(0) & RTNH_F_ONLINK != 0;
    let mut id = None;
    let (mut gateway, mut ifindex, mut blackhole) = (None, None, false);
    let (mut members, mut resilient) = (None, None);
    for attribute in Attributes(attributes) {
        let (attribute, value) = attribute?;
        match attribute {
            NHA_ID => id = Some(NexthopId(u32_of(value)?)),
            NHA_GROUP => members = Some(read_members(value)),
            NHA_BLACKHOLE => blackhole = true,
            NHA_OIF => ifindex = Some(u32_of(value)?),
            NHA_GATEWAY => gateway = Some(ip_of(value)?),
            NHA_RES_GROUP => resilient = Some(read_resilient(value)?),
            _ => {}
        }
    }
    let Some(id) = id else {
        return Err(malformed("a nexthop without an id"));
    };
    let family = Family::from_number(head[0]);
    let to = match (members, resilient, gateway, ifindex, family) {
        (Some(members), Some((buckets, idle, unbalanced)), ..) => NexthopTarget::Resilient {
            members,
            buckets,
            idle,
            unbalanced,
        },
        (Some(members), None, ..) => NexthopTarget::Group(members),
        (None, _, _, _, Some(family)) if blackhole => NexthopTarget::Blackhole { family },
        (None, _, Some(gateway), Some(ifindex), _) => NexthopTarget::Via {
            gateway,
            ifindex,
            onlink,
        },
        (None, _, None, Some(ifindex), Some(family)) => NexthopTarget::Dev { ifindex, family },
        _ => return Ok(None),
    };
    Ok(Some(Nexthop {
        id,
        protocol: Protocol(head[2]),
        to,
    }))
}

fn write_members(w: &mut Writer<'_>, members: &[Member]) {
    let group = w.nest(NHA_GROUP);
    for member in members {
        // Invariant: `check` has seen that the weight is within 1..=65536.
        let [low, high, ..] = member.weight.saturating_sub(1).to_le_bytes();
        w.put(&member.id.0.to_ne_bytes());
        w.put(&[low, high, 0, 0]);
    }
    w.end(group);
}

fn read_members(value: &[u8]) -> Vec<Member> {
    value
        .chunks_exact(MEMBER)
        .map(|member| Member {
            id: NexthopId(u32_at(member, 0).unwrap_or(0)),
            weight: u32::from(u16::from_le_bytes([member[4], member[5]])) + 1,
        })
        .collect()
}

fn read_resilient(value: &[u8]) -> Result<(u16, u32, u32), KernelError> {
    let (mut buckets, mut idle, mut unbalanced) = (0, 0, 0);
    for attribute in Attributes(value) {
        let (attribute, value) = attribute?;
        match attribute {
            NHA_RES_GROUP_BUCKETS => {
                let bytes = value.try_into().map_err(|_| malformed("a bucket count"))?;
                buckets = u16::from_ne_bytes(bytes);
            }
            NHA_RES_GROUP_IDLE_TIMER => idle = u32_of(value)?,
            NHA_RES_GROUP_UNBALANCED_TIMER => unbalanced = u32_of(value)?,
            _ => {}
        }
    }
    Ok((buckets, idle, unbalanced))
}
