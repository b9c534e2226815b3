//! Capabilities one by one, in the order of the OPEN (RFC 5492, 4).

use serde::{Deserialize, Serialize};

use super::{EncodeError, FamilyCode, Hex};
use crate::{
    types::Asn,
    wire::{
        Capabilities, Fqdn, GracefulRestart,
        capability::{
            ADD_PATH, ENHANCED_REFRESH, EXTENDED_MESSAGE, EXTENDED_NEXT_HOP, FOUR_OCTET_AS, FQDN,
            GRACEFUL_RESTART, LONG_LIVED, MULTIPROTOCOL, ROLE, ROUTE_REFRESH, unread_name,
        },
    },
};

/// One capability. The fields that its code does not have are absent; `hex` is the value where
/// the code is not known, or where the fields would not give the same octets back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// The code.
    pub code: u8,
    /// The code by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Multiprotocol (RFC 4760, 8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<FamilyCode>,
    /// Four-octet AS number (RFC 6793, 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<Asn>,
    /// Role (RFC 9234, 4.1): `provider`, `route-server`, `route-server-client`, `customer`,
    /// `peer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Graceful restart, R: the speaker has restarted (RFC 4724, 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarting: Option<bool>,
    /// Graceful restart, N: a NOTIFICATION keeps the routes too (RFC 8538, 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<bool>,
    /// Graceful restart: seconds until the session is back (RFC 4724, 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u16>,
    /// The families of ADD-PATH, graceful restart, its long-lived kind and extended next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub families: Option<Vec<FamilyEntry>>,
    /// Host name (draft-walton-bgp-hostname-capability).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Domain name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The value as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<Hex>,
}

/// What a capability says of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyEntry {
    /// The family.
    pub family: FamilyCode,
    /// ADD-PATH (RFC 7911, 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Extended next hop: the AFI a next hop may have (RFC 8950, 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_afi: Option<u16>,
    /// The forwarding state was kept (RFC 4724, 3; RFC 9494, 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<bool>,
    /// Seconds for which stale routes are kept (RFC 9494, 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_time: Option<u32>,
}

/// What a speaker wants to do with path identifiers (RFC 7911, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// 1.
    Receive,
    /// 2.
    Send,
    /// 3.
    SendReceive,
}

const ROLES: [&str; 5] = [
    "provider",
    "route-server",
    "route-server-client",
    "customer",
    "peer",
];

/// The capabilities of one optional parameter; `None` when they do not add up.
pub(super) fn read(mut parameter: &[u8]) -> Option<Vec<Capability>> {
    let mut capabilities = Vec::new();
    while let Some((&[code, len], rest)) = parameter.split_first_chunk() {
        let (value, rest) = rest.split_at_checked(len.into())?;
        let whole = parameter.get(..2 + value.len())?;
        capabilities.push(read_one(code, value, whole));
        parameter = rest;
    }
    parameter.is_empty().then_some(capabilities)
}

/// By the code that a session reads them with, if what it understood gives the same octets back.
fn read_one(code: u8, value: &[u8], whole: &[u8]) -> Capability {
    let mut understood = Capabilities::default();
    let read = understood.decode(whole).is_ok();
    let mut capability = from_understood(code, &understood);
    let same = read && octets(&capability, "").is_ok_and(|octets| octets == whole);
    if !same {
        capability = Capability {
            code,
            hex: Some(Hex(value.to_vec())),
            ..Capability::default()
        };
    }
    capability.name = name(code).map(str::to_owned);
    capability
}

fn from_understood(code: u8, understood: &Capabilities) -> Capability {
    let mut capability = Capability {
        code,
        ..Capability::default()
    };
    let entry = |afi, safi| FamilyEntry {
        family: FamilyCode::new(afi, safi),
        mode: None,
        next_hop_afi: None,
        forwarding: None,
        stale_time: None,
    };
    match code {
        MULTIPROTOCOL => {
            let family = understood.families.first();
            capability.family = family.map(|&(afi, safi)| FamilyCode::new(afi, safi));
        }
        EXTENDED_NEXT_HOP => {
            let entries = understood.extended_next_hop.iter();
            let entries = entries.map(|&(afi, safi, hop)| FamilyEntry {
                next_hop_afi: Some(hop),
                ..entry(afi, safi)
            });
            capability.families = Some(entries.collect());
        }
        ROLE => {
            let role = understood
                .role
                .and_then(|role| ROLES.get(usize::from(role)));
            capability.role = role.map(|&role| role.to_owned());
        }
        GRACEFUL_RESTART => {
            if let Some(restart) = &understood.graceful_restart {
                capability.restarting = Some(restart.restarting);
                capability.notification = Some(restart.notification);
                capability.time = Some(restart.time);
                let entries = restart.families.iter();
                let entries = entries.map(|&(afi, safi, kept)| FamilyEntry {
                    forwarding: Some(kept),
                    ..entry(afi, safi)
                });
                capability.families = Some(entries.collect());
            }
        }
        FOUR_OCTET_AS => capability.asn = understood.as4,
        ADD_PATH => {
            let entries = understood.add_path.iter();
            let entries = entries.map(|&(afi, safi, mode)| FamilyEntry {
                mode: Some(match mode {
                    1 => Mode::Receive,
                    2 => Mode::Send,
                    _ => Mode::SendReceive,
                }),
                ..entry(afi, safi)
            });
            capability.families = Some(entries.collect());
        }
        LONG_LIVED => {
            let entries = understood.long_lived.iter().flatten();
            let entries = entries.map(|&(afi, safi, kept, seconds)| FamilyEntry {
                forwarding: Some(kept),
                stale_time: Some(seconds),
                ..entry(afi, safi)
            });
            capability.families = Some(entries.collect());
        }
        FQDN => {
            if let Some(Fqdn { host, domain }) = &understood.hostname {
                capability.host = Some(host.clone());
                capability.domain = Some(domain.clone());
            }
        }
        _ => {}
    }
    capability
}

/// One capability with its code and length; `field` is its name.
pub(super) fn octets(capability: &Capability, field: &str) -> Result<Vec<u8>, EncodeError> {
    let code = capability.code;
    let wrong = |what: String| EncodeError::new(field, what);
    if let Some(Hex(value)) = &capability.hex {
        let len = u8::try_from(value.len())
            .map_err(|_| wrong("`hex` has more than the 255 octets of a capability".to_owned()))?;
        return Ok([&[code, len], value.as_slice()].concat());
    }
    let understood = to_understood(capability)
        .map_err(|what| wrong(format!("capability {code} takes {what}")))?;
    let mut out = Vec::new();
    understood.encode(&mut out);
    match out.as_slice() {
        // An empty list is a capability without a value, which the encoder of a session never
        // says.
        [] => Ok(vec![code, 0]),
        [_, len, value @ ..] if value.len() == usize::from(*len) => Ok(out),
        _ => Err(wrong("more than the 255 octets of a capability".to_owned())),
    }
}

fn to_understood(capability: &Capability) -> Result<Capabilities, &'static str> {
    let mut understood = Capabilities::default();
    let families = || capability.families.as_deref();
    match capability.code {
        MULTIPROTOCOL => {
            let family = capability.family.ok_or("`family`")?;
            understood.families.push((family.afi, family.safi));
        }
        ROUTE_REFRESH => understood.route_refresh = true,
        ENHANCED_REFRESH => understood.enhanced_refresh = true,
        EXTENDED_MESSAGE => understood.extended_message = true,
        EXTENDED_NEXT_HOP => {
            let what = "`families` with `next_hop_afi`";
            for FamilyEntry {
                family,
                next_hop_afi,
                ..
            } in families().ok_or(what)?
            {
                let hop = next_hop_afi.ok_or(what)?;
                understood
                    .extended_next_hop
                    .push((family.afi, family.safi, hop));
            }
        }
        ROLE => {
            let what = "`role`: provider, route-server, route-server-client, customer or peer";
            let role = capability.role.as_deref().ok_or(what)?;
            let place = ROLES.iter().position(|known| *known == role).ok_or(what)?;
            understood.role = u8::try_from(place).ok();
        }
        GRACEFUL_RESTART => {
            let time = capability.time.filter(|time| *time < 4096);
            let entries = families().unwrap_or_default().iter();
            understood.graceful_restart = Some(GracefulRestart {
                restarting: capability.restarting.unwrap_or_default(),
                notification: capability.notification.unwrap_or_default(),
                time: time.ok_or("`time` from 0 to 4095")?,
                families: entries
                    .map(
                        |FamilyEntry {
                             family, forwarding, ..
                         }| {
                            (family.afi, family.safi, forwarding.unwrap_or_default())
                        },
                    )
                    .collect(),
            });
            if families().is_some_and(|families| families.len() > 63) {
                return Err("63 `families` at most");
            }
        }
        FOUR_OCTET_AS => understood.as4 = Some(capability.asn.ok_or("`asn`")?),
        ADD_PATH => {
            let what = "`families` with `mode`";
            for FamilyEntry { family, mode, .. } in families().ok_or(what)? {
                let mode = match mode.ok_or(what)? {
                    Mode::Receive => 1,
                    Mode::Send => 2,
                    Mode::SendReceive => 3,
                };
                understood.add_path.push((family.afi, family.safi, mode));
            }
        }
        LONG_LIVED => {
            let what = "`families` with `stale_time` from 0 to 16777215";
            let all = understood.long_lived.get_or_insert_default();
            for FamilyEntry {
                family,
                forwarding,
                stale_time,
                ..
            } in families().ok_or(what)?
            {
                let seconds = stale_time
                    .filter(|seconds| *seconds < 1 << 24)
                    .ok_or(what)?;
                let kept = forwarding.unwrap_or_default();
                all.push((family.afi, family.safi, kept, seconds));
            }
        }
        FQDN => {
            let host = capability.host.clone().ok_or("`host`, `domain`")?;
            let domain = capability.domain.clone().unwrap_or_default();
            if host.len() + domain.len() > 253 {
                return Err("`host` and `domain` of 253 octets together at most");
            }
            understood.hostname = Some(Fqdn { host, domain });
        }
        _ => return Err("`hex`"),
    }
    Ok(understood)
}

fn name(code: u8) -> Option<&'static str> {
    Some(match code {
        MULTIPROTOCOL => "multiprotocol",
        ROUTE_REFRESH => "route-refresh",
        EXTENDED_NEXT_HOP => "extended-next-hop",
        EXTENDED_MESSAGE => "extended-message",
        ROLE => "role",
        GRACEFUL_RESTART => "graceful-restart",
        FOUR_OCTET_AS => "four-octet-as",
        ADD_PATH => "add-path",
        ENHANCED_REFRESH => "enhanced-route-refresh",
        LONG_LIVED => "long-lived-graceful-restart",
        FQDN => "hostname",
        _ => return unread_name(code),
    })
}
