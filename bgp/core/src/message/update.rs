//! UPDATE (RFC 4271, 4.3).
//!
//! [`decode`] looks at the same things in the same order as a session does
//! (`speaker/update.rs`), and by the same functions; it goes on after an error to find the others.

use serde::{Deserialize, Serialize};

use super::{
    EncodeError, FamilyCode, Hex, Options, PathPrefix,
    attributes::{self, PathAttributes},
    judge::{Judge, Outcome},
    prefixes,
};
use crate::{
    types::Family,
    wire::{
        self, Approach, DecodeContext, Notification, RawUpdate, UpdateError, Verdict, Witness,
        parse_before,
    },
};

/// The content of an UPDATE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Update {
    /// IPv4 prefixes withdrawn.
    pub withdrawn: Vec<PathPrefix>,
    /// From the first one on that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_unread: Option<Hex>,
    /// Path attributes.
    pub attributes: PathAttributes,
    /// IPv4 prefixes announced.
    pub nlri: Vec<PathPrefix>,
    /// From the first one on that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nlri_unread: Option<Hex>,
    /// It is the End-of-RIB of this family (RFC 4724, 2). Follows from the others.
    pub end_of_rib: Option<FamilyCode>,
}

pub(super) fn decode(body: &[u8], options: &Options, judge: &mut Judge) -> Option<Update> {
    let raw = match RawUpdate::split(body) {
        Ok(raw) => raw,
        Err(notification) => {
            let what =
                "lengths of the withdrawn routes and attributes that contradict the message's";
            judge.reset(notification, what, "RFC 7606, 3 b");
            return None;
        }
    };
    let (withdrawn, unread) = prefixes::read(raw.withdrawn, Family::Ipv4Unicast, options);
    let withdrawn_unread = Hex::unless_empty(&unread);
    if withdrawn_unread.is_some() {
        let what = "withdrawn routes: a prefix that is too long or cut off";
        judge.reset(invalid_network_field(), what, "RFC 7606, 5.3");
    }
    let context = DecodeContext {
        as4: options.as4,
        ebgp: options.ebgp,
    };
    let has_nlri = !raw.nlri.is_empty();
    let mut canonical = Vec::new();
    let parsed = parse_before(judge, raw.attributes, &context, has_nlri, &mut canonical);
    let section = parsed.malformed.map_or("", |malformed| malformed.section);
    match &parsed.verdict {
        Verdict::Ok => {}
        Verdict::Discard(_) => judge.decide(Outcome::AttributeDiscard, section, None),
        Verdict::TreatAsWithdraw(_) => judge.decide(Outcome::TreatAsWithdraw, section, None),
        Verdict::Reset(notification) => {
            judge.decide(Outcome::SessionReset, section, Some(notification.clone()));
        }
    }
    let attributes = attributes::decode(raw.attributes, &parsed, options);
    if let (Some(raw), Some(read)) = (&parsed.unreach, &attributes.mp_unreach) {
        match read.family.known() {
            None => remark_family(judge),
            Some(_) if read.nlri_unread.is_some() => {
                judge.bad_nlri(wire::MpUnreach::BAD_NLRI, raw.bad_nlri());
            }
            Some(_) => {}
        }
    }
    if let Some(malformed) = parsed
        .reach
        .as_ref()
        .and_then(|reach| reach.foreign_next_hop(options.extended_next_hop))
    {
        judge.saw(Approach::TreatAsWithdraw, malformed);
        judge.decide(Outcome::TreatAsWithdraw, malformed.section, None);
    }
    if let (Some(raw), Some(read)) = (&parsed.reach, &attributes.mp_reach) {
        match read.family.known() {
            None => remark_family(judge),
            Some(_) if read.nlri_unread.is_some() => {
                judge.bad_nlri(wire::MpReach::BAD_NLRI, raw.bad_nlri());
            }
            Some(_) => {}
        }
    }
    let (nlri, unread) = prefixes::read(raw.nlri, Family::Ipv4Unicast, options);
    let nlri_unread = Hex::unless_empty(&unread);
    if nlri_unread.is_some() {
        let what = "NLRI: a prefix that is too long or cut off";
        judge.reset(invalid_network_field(), what, "RFC 7606, 5.3");
    }
    let end_of_rib = end_of_rib(&raw, &parsed);
    Some(Update {
        withdrawn,
        withdrawn_unread,
        attributes,
        nlri,
        nlri_unread,
        end_of_rib,
    })
}

fn invalid_network_field() -> Notification {
    Notification::update_error(UpdateError::InvalidNetworkField)
}

fn remark_family(judge: &mut Judge) {
    let what = "prefixes of a family that was not offered: they are ignored";
    judge.remark(what, "RFC 4760, 8");
}

fn end_of_rib(raw: &RawUpdate<'_>, parsed: &wire::Parsed<'_>) -> Option<FamilyCode> {
    if raw.is_end_of_rib_ipv4() {
        return Some(Family::Ipv4Unicast.into());
    }
    let unreach = parsed.unreach?;
    let nothing = unreach.nlri.is_empty() && raw.nlri.is_empty() && parsed.reach.is_none();
    nothing.then(|| FamilyCode::new(unreach.afi, unreach.safi))
}

pub(super) fn encode(
    content: &Update,
    options: &Options,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut withdrawn = Vec::new();
    let mut nlri = Vec::new();
    for (list, unread, field, octets) in [
        (
            &content.withdrawn,
            &content.withdrawn_unread,
            "update.withdrawn",
            &mut withdrawn,
        ),
        (
            &content.nlri,
            &content.nlri_unread,
            "update.nlri",
            &mut nlri,
        ),
    ] {
        prefixes::write(list, Family::Ipv4Unicast, options, field, octets)?;
        if let Some(Hex(unread)) = unread {
            octets.extend_from_slice(unread);
        }
    }
    let mut attributes = Vec::new();
    attributes::encode(&content.attributes, options, &mut attributes)?;
    let start = out.len();
    for (field, octets) in [
        ("update.withdrawn", &withdrawn),
        ("update.attributes", &attributes),
    ] {
        let len = u16::try_from(octets.len())
            .map_err(|_| EncodeError::new(field, "more octets than a message holds"))?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(octets);
    }
    out.extend_from_slice(&nlri);
    if content.end_of_rib.is_some() {
        let body = out.get(start..).unwrap_or_default();
        let made = decode(body, options, &mut Judge::default());
        if made.is_some_and(|made| made.end_of_rib != content.end_of_rib) {
            let what = "this is not what the rest of the message says: End-of-RIB of IPv4 is an \
                        UPDATE without anything in it, that of another family `attributes` with \
                        nothing but `mp_unreach` without `nlri`";
            return Err(EncodeError::new("update.end_of_rib", what));
        }
    }
    Ok(())
}
