//! Capabilities: what a speaker offers in its OPEN (RFC 5492, 4).
//!
//! ```text
//! +------------------------------+
//! | Capability Code (1 octet)    |
//! | Capability Length (1 octet)  |
//! | Capability Value (variable)  |
//! +------------------------------+
//! ```
//!
//! Gaps: outbound route filtering (RFC 5291) and labelled or VPN families are kept as unknown
//! capabilities or bare numbers, because nothing here acts on them.

use serde::{Deserialize, Serialize};

use super::notification::{Notification, OpenError, printable};
use crate::types::{Asn, Family};

pub(crate) const MULTIPROTOCOL: u8 = 1; // RFC 4760, 8
pub(crate) const ROUTE_REFRESH: u8 = 2; // RFC 2918, 2
pub(crate) const EXTENDED_NEXT_HOP: u8 = 5; // RFC 8950, 4
pub(crate) const EXTENDED_MESSAGE: u8 = 6; // RFC 8654, 3
pub(crate) const ROLE: u8 = 9; // RFC 9234, 4.1
pub(crate) const GRACEFUL_RESTART: u8 = 64; // RFC 4724, 3; RFC 8538, 2
pub(crate) const FOUR_OCTET_AS: u8 = 65; // RFC 6793, 3
pub(crate) const ADD_PATH: u8 = 69; // RFC 7911, 4
pub(crate) const ENHANCED_REFRESH: u8 = 70; // RFC 7313, 3.1
pub(crate) const LONG_LIVED: u8 = 71; // RFC 9494, 3
pub(crate) const FQDN: u8 = 73; // draft-walton-bgp-hostname-capability

/// The forwarding state of a family was kept (RFC 4724, 3).
const FORWARDING: u8 = 0x80;

/// All a speaker offers. The order within a list is the order on the wire; a capability that
/// comes twice counts as the sum of both (RFC 5492, 4), graceful restart as the last (RFC 4724,
/// 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Multiprotocol: AFI and SAFI (RFC 4760).
    pub families: Vec<(u16, u8)>,
    /// Route refresh (RFC 2918).
    pub route_refresh: bool,
    /// Enhanced route refresh (RFC 7313).
    pub enhanced_refresh: bool,
    /// Messages up to 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// Four-octet AS numbers, with our own (RFC 6793).
    pub as4: Option<Asn>,
    /// ADD-PATH: AFI, SAFI and 1 to receive, 2 to send, 3 for both (RFC 7911).
    pub add_path: Vec<(u16, u8, u8)>,
    /// Graceful restart (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
    /// Long-lived graceful restart: AFI, SAFI, forwarding state kept, seconds (24 bits)
    /// (RFC 9494). Without any: only routes of others are held so.
    pub long_lived: Option<Vec<(u16, u8, bool, u32)>>,
    /// Extended next hop: AFI, SAFI and the AFI a next hop may have (RFC 8950). A SAFI past 255
    /// exists in this field only and is not read.
    pub extended_next_hop: Vec<(u16, u8, u16)>,
    /// Role: 0 provider, 1 route server, 2 its client, 3 customer, 4 peer (RFC 9234).
    pub role: Option<u8>,
    /// The speaker's name.
    pub hostname: Option<Fqdn>,
    /// Code and value of everything else.
    pub unknown: Vec<(u8, Vec<u8>)>,
}

/// The graceful restart capability (RFC 4724, 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GracefulRestart {
    /// R: the speaker has restarted.
    pub restarting: bool,
    /// N: a NOTIFICATION keeps the routes too (RFC 8538).
    pub notification: bool,
    /// Seconds the session may take to come back, 12 bits.
    pub time: u16,
    /// AFI, SAFI and F: the forwarding state of this family was kept. At most 63 fit.
    pub families: Vec<(u16, u8, bool)>,
}

/// The host and domain name capability (draft-walton-bgp-hostname-capability); each name at
/// most 255 octets, both together at most 253. What a peer sends is made printable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fqdn {
    /// Host name.
    pub host: String,
    /// Domain name, often empty.
    pub domain: String,
}

impl Capabilities {
    /// Reads the capabilities of one optional parameter and adds them.
    pub(crate) fn decode(&mut self, mut bytes: &[u8]) -> Result<(), Notification> {
        while let Some((&[code, len], rest)) = bytes.split_first_chunk() {
            let Some((value, rest)) = rest.split_at_checked(len.into()) else {
                return Err(malformed(bytes));
            };
            if !self.decode_one(code, value)? {
                let whole = bytes.get(..2 + value.len()).unwrap_or(bytes);
                return Err(malformed(whole));
            }
            bytes = rest;
        }
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(malformed(bytes))
        }
    }

    /// `Ok(false)`: a value that this capability cannot have.
    fn decode_one(&mut self, code: u8, value: &[u8]) -> Result<bool, Notification> {
        match code {
            MULTIPROTOCOL => match *value {
                [a, b, _reserved, safi] => {
                    let family = (u16::from_be_bytes([a, b]), safi);
                    // RFC 4760, 8 does not forbid to say it twice.
                    if !self.families.contains(&family) {
                        self.families.push(family);
                    }
                }
                _ => return Ok(false),
            },
            // None of the three has a value; one that is there says nothing, and is not read.
            ROUTE_REFRESH => self.route_refresh = true,
            ENHANCED_REFRESH => self.enhanced_refresh = true,
            EXTENDED_MESSAGE => self.extended_message = true,
            FOUR_OCTET_AS => match <[u8; 4]>::try_from(value) {
                Ok(asn) => self.as4 = Some(Asn(u32::from_be_bytes(asn))),
                Err(_) => return Ok(false),
            },
            ADD_PATH => {
                for &[a, b, safi, mode] in whole_chunks(value) {
                    // "If any other value is received, then the capability SHOULD be treated as
                    // not understood and ignored" (RFC 7911, 4).
                    if matches!(mode, 1..=3) {
                        self.add_path.push((u16::from_be_bytes([a, b]), safi, mode));
                    }
                }
                return Ok(value.len().is_multiple_of(4));
            }
            EXTENDED_NEXT_HOP => {
                for &[a, b, high, safi, c, d] in whole_chunks(value) {
                    if high == 0 {
                        let (afi, hop) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                        self.extended_next_hop.push((afi, safi, hop));
                    }
                }
                return Ok(value.len().is_multiple_of(6));
            }
            GRACEFUL_RESTART => return Ok(self.decode_graceful_restart(value)),
            LONG_LIVED => {
                let all = self.long_lived.get_or_insert_default();
                for &[a, b, safi, flags, c, d, e] in whole_chunks(value) {
                    let afi = u16::from_be_bytes([a, b]);
                    let seconds = u32::from_be_bytes([0, c, d, e]);
                    let kept = flags & FORWARDING != 0;
                    all.push((afi, safi, kept, seconds));
                }
                return Ok(value.len().is_multiple_of(7));
            }
            ROLE => match *value {
                // "If multiple BGP Role Capabilities are received and not all of them have the
                // same value, then the BGP speaker MUST reject the connection" (RFC 9234, 4.2).
                [role] if self.role.is_some_and(|before| before != role) => {
                    return Err(Notification::open_error(OpenError::RoleMismatch));
                }
                [role] => self.role = Some(role),
                _ => return Ok(false),
            },
            // Not a standard and only for people: what cannot be read is kept as it is.
            FQDN => match decode_fqdn(value) {
                Some(name) => self.hostname = Some(name),
                None => self.unknown.push((code, value.to_vec())),
            },
            _ => self.unknown.push((code, value.to_vec())),
        }
        Ok(true)
    }

    fn decode_graceful_restart(&mut self, value: &[u8]) -> bool {
        let &[high, low, ref families @ ..] = value else {
            return false;
        };
        self.graceful_restart = Some(GracefulRestart {
            restarting: high & 0x80 != 0,
            notification: high & 0x40 != 0,
            time: u16::from_be_bytes([high & 0x0F, low]),
            families: whole_chunks(families)
                .map(|&[a, b, safi, flags]| {
                    (u16::from_be_bytes([a, b]), safi, flags & FORWARDING != 0)
                })
                .collect(),
        });
        families.len().is_multiple_of(4)
    }

    /// Appends all capabilities, one after the other.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for &(afi, safi) in &self.families {
            let [a, b] = afi.to_be_bytes();
            put(out, MULTIPROTOCOL, &[a, b, 0, safi]);
        }
        if self.route_refresh {
            put(out, ROUTE_REFRESH, &[]);
        }
        let hops = self.extended_next_hop.iter().flat_map(|&(afi, safi, hop)| {
            let ([a, b], [c, d]) = (afi.to_be_bytes(), hop.to_be_bytes());
            [a, b, 0, safi, c, d]
        });
        put_list(out, EXTENDED_NEXT_HOP, 6, hops);
        if self.extended_message {
            put(out, EXTENDED_MESSAGE, &[]);
        }
        if let Some(role) = self.role {
            put(out, ROLE, &[role]);
        }
        if let Some(restart) = &self.graceful_restart {
            let [high, low] = (restart.time & 0x0FFF).to_be_bytes();
            let flags = u8::from(restart.restarting) << 7 | u8::from(restart.notification) << 6;
            let mut value = vec![flags | high, low];
            for &(afi, safi, kept) in restart.families.iter().take(63) {
                let [a, b] = afi.to_be_bytes();
                value.extend_from_slice(&[a, b, safi, flag(kept)]);
            }
            put(out, GRACEFUL_RESTART, &value);
        }
        if let Some(asn) = self.as4 {
            put(out, FOUR_OCTET_AS, &asn.0.to_be_bytes());
        }
        let paths = self.add_path.iter().flat_map(|&(afi, safi, mode)| {
            let [a, b] = afi.to_be_bytes();
            [a, b, safi, mode]
        });
        put_list(out, ADD_PATH, 4, paths);
        if self.enhanced_refresh {
            put(out, ENHANCED_REFRESH, &[]);
        }
        if let Some(long_lived) = &self.long_lived {
            let stale = long_lived.iter().flat_map(|&(afi, safi, kept, seconds)| {
                let ([a, b], [_, c, d, e]) = (afi.to_be_bytes(), seconds.to_be_bytes());
                [a, b, safi, flag(kept), c, d, e]
            });
            match long_lived.is_empty() {
                true => put(out, LONG_LIVED, &[]),
                false => put_list(out, LONG_LIVED, 7, stale),
            }
        }
        if let Some(Fqdn { host, domain }) = &self.hostname {
            let host = cut(host, 253);
            let domain = cut(domain, 253 - host.len());
            let mut value = Vec::with_capacity(255);
            for name in [host, domain] {
                value.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                value.extend_from_slice(name.as_bytes());
            }
            put(out, FQDN, &value);
        }
        for (code, value) in &self.unknown {
            put(out, *code, value);
        }
    }

    /// All of them, one after the other, as in an optional parameter.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    /// The capabilities in words, for `peers show`.
    pub fn describe(&self) -> Vec<String> {
        let mut words = Vec::new();
        for &(afi, safi) in &self.families {
            words.push(format!("multiprotocol {}", family_name(afi, safi)));
        }
        if self.route_refresh {
            words.push("route-refresh".to_owned());
        }
        if self.enhanced_refresh {
            words.push("enhanced-route-refresh".to_owned());
        }
        if let Some(asn) = self.as4 {
            words.push(format!("four-octet-as {asn}"));
        }
        if self.extended_message {
            words.push("extended-message".to_owned());
        }
        for &(afi, safi, mode) in &self.add_path {
            let mode = match mode {
                1 => "receive",
                2 => "send",
                _ => "send-receive",
            };
            words.push(format!("add-path {} {mode}", family_name(afi, safi)));
        }
        for &(afi, safi, hop) in &self.extended_next_hop {
            let hop = match hop {
                1 => "ipv4".to_owned(),
                2 => "ipv6".to_owned(),
                other => format!("afi-{other}"),
            };
            words.push(format!(
                "extended-next-hop {} over {hop}",
                family_name(afi, safi)
            ));
        }
        if let Some(restart) = &self.graceful_restart {
            words.push(restart.describe());
        }
        if self.long_lived.as_ref().is_some_and(Vec::is_empty) {
            words.push("long-lived-graceful-restart of others".to_owned());
        }
        for &(afi, safi, kept, seconds) in self.long_lived.iter().flatten() {
            let kept = if kept { ", forwarding kept" } else { "" };
            words.push(format!(
                "long-lived-graceful-restart {} {seconds}s{kept}",
                family_name(afi, safi)
            ));
        }
        if let Some(role) = self.role {
            words.push(match role {
                0 => "role provider".to_owned(),
                1 => "role route-server".to_owned(),
                2 => "role route-server-client".to_owned(),
                3 => "role customer".to_owned(),
                4 => "role peer".to_owned(),
                other => format!("role {other}"),
            });
        }
        if let Some(Fqdn { host, domain }) = &self.hostname {
            let dot = if domain.is_empty() { "" } else { "." };
            words.push(format!("hostname {host}{dot}{domain}"));
        }
        for (code, value) in &self.unknown {
            let octets = value.len();
            words.push(match unread_name(*code) {
                Some(name) => name.to_owned(),
                None => format!("capability {code} ({octets} octets)"),
            });
        }
        words
    }
}

impl GracefulRestart {
    fn describe(&self) -> String {
        let mut words = format!("graceful-restart {}s", self.time);
        for (set, what) in [
            (self.restarting, "restarted"),
            (self.notification, "on notification too"),
        ] {
            if set {
                words += ", ";
                words += what;
            }
        }
        for &(afi, safi, kept) in &self.families {
            words += ", ";
            words += &family_name(afi, safi);
            if kept {
                words += " forwarding kept";
            }
        }
        words
    }
}

/// `ipv4-unicast`, or the numbers of a family that is none of ours.
pub(crate) fn family_name(afi: u16, safi: u8) -> String {
    match Family::from_code(afi, safi) {
        Some(family) => family.to_string(),
        None => format!("afi-{afi}-safi-{safi}"),
    }
}

/// Capabilities that are not acted on, but whose names help an operator.
pub(crate) fn unread_name(code: u8) -> Option<&'static str> {
    Some(match code {
        3 => "outbound-route-filtering",                     // RFC 5291, 4
        7 => "bgpsec",                                       // RFC 8205, 2
        67 => "dynamic-capability",                          // draft-ietf-idr-dynamic-cap
        75 => "software-version", // draft-abraitis-bgp-version-capability
        128 => "route-refresh (before RFC 2918)", // RFC 8810
        130 => "outbound-route-filtering (before RFC 5291)", // RFC 8810
        _ => return None,
    })
}

/// "If one of the Optional Parameters in the OPEN message is recognized, but is malformed, then
/// the Error Subcode MUST be set to 0 (Unspecific)" (RFC 4271, 6.2).
pub(super) fn malformed(bytes: &[u8]) -> Notification {
    Notification::open_error(OpenError::Unspecific).with_data(bytes.to_vec())
}

fn decode_fqdn(value: &[u8]) -> Option<Fqdn> {
    let (&len, rest) = value.split_first()?;
    let (host, rest) = rest.split_at_checked(len.into())?;
    let (&len, rest) = rest.split_first()?;
    let domain = rest.get(..usize::from(len))?;
    Some(Fqdn {
        host: printable(host),
        domain: printable(domain),
    })
}

fn whole_chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = &[u8; N]> {
    bytes.as_chunks().0.iter()
}

fn flag(kept: bool) -> u8 {
    if kept { FORWARDING } else { 0 }
}

fn cut(text: &str, octets: usize) -> &str {
    text.get(..text.floor_char_boundary(octets))
        .unwrap_or_default()
}

/// One capability; a value past 255 octets cannot be said and is left out.
fn put(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    debug_assert!(value.len() <= 255, "capability {code} is too long");
    if let Ok(len) = u8::try_from(value.len()) {
        out.extend_from_slice(&[code, len]);
        out.extend_from_slice(value);
    }
}

/// A list of entries of `size` octets, over as many capabilities of one code as it takes.
fn put_list(out: &mut Vec<u8>, code: u8, size: usize, octets: impl Iterator<Item = u8>) {
    let octets: Vec<u8> = octets.collect();
    for part in octets.chunks(255 / size * size) {
        put(out, code, part);
    }
}
