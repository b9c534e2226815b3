//! The route that is asked about: options, or JSON.

use std::net::{IpAddr, Ipv4Addr};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use wayleave_bgp_core::{
    Asn, LargeCommunity, Prefix,
    attributes::{AsSegment, Attributes, NextHop, Origin},
    policy::{AnyCommunity, Route, Session, Set, Source, Validation},
    wire::encode_canonical,
};

/// The address of a neighbour that is not named.
pub(super) const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Debug, Args)]
pub(super) struct RouteOptions {
    /// The prefix of the route.
    #[arg(long, required_unless_present = "stdin")]
    prefix: Option<Prefix>,
    /// AS_PATH, neighbour first: "65010 65020 {65030,65031}".
    #[arg(long, value_name = "PATH")]
    as_path: Option<String>,
    /// A community of any kind (65001:1, no-export, 65001:1:2, rt:65001:1); once for each.
    #[arg(long, value_name = "COMMUNITY")]
    community: Vec<AnyCommunity>,
    /// A large community; once for each.
    #[arg(long, value_name = "A:B:C")]
    large: Vec<LargeCommunity>,
    /// MULTI_EXIT_DISC.
    #[arg(long)]
    med: Option<u32>,
    /// LOCAL_PREF.
    #[arg(long)]
    local_pref: Option<u32>,
    /// ORIGIN.
    #[arg(long, value_enum)]
    origin: Option<OriginArg>,
    /// The next hop; by default the peer's address, or none where it is our own route.
    #[arg(long, value_name = "ADDRESS")]
    next_hop: Option<IpAddr>,
    /// The peer of the configuration on whose session the policy stands.
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// The session is external, which it is unless --peer says otherwise.
    #[arg(long, conflicts_with = "ibgp")]
    ebgp: bool,
    /// The session is internal.
    #[arg(long)]
    ibgp: bool,
    /// Where the route came from; by default what the session is.
    #[arg(long, value_enum)]
    source: Option<SourceArg>,
    /// Its validation state (RFC 6811).
    #[arg(long, value_enum, value_name = "STATE")]
    validation: Option<ValidationArg>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OriginArg {
    Igp,
    Egp,
    Incomplete,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SourceArg {
    Own,
    Internal,
    External,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ValidationArg {
    Valid,
    Invalid,
    NotFound,
}

/// A route as JSON has it. What else `routes -o json` says about one is left aside.
#[derive(Debug, Deserialize)]
struct RouteJson {
    prefix: Prefix,
    #[serde(default)]
    peer: Option<String>,
    #[serde(default)]
    next_hop: Option<NextHopJson>,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    source: Option<Source>,
    #[serde(default)]
    validation: Option<Validation>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NextHopJson {
    Address(IpAddr),
    Whole(NextHop),
}

/// What is asked about, before it is known on which session.
#[derive(Debug)]
pub(super) struct Given {
    prefix: Prefix,
    attributes: Attributes,
    next_hop: Option<NextHop>,
    source: Option<Source>,
    validation: Validation,
    pub(super) peer: Option<String>,
    pub(super) external: Option<bool>,
}

impl Given {
    pub(super) fn from_options(options: &RouteOptions) -> Result<Self, String> {
        let prefix = options.prefix.ok_or("--prefix is missing")?;
        let mut given = Self {
            prefix,
            attributes: Attributes::default(),
            next_hop: None,
            source: None,
            validation: Validation::NotFound,
            peer: None,
            external: None,
        };
        given.apply(options)?;
        Ok(given)
    }

    /// What stands in the JSON, and what options say beside.
    pub(super) fn from_json(text: &str, options: &RouteOptions) -> Result<Self, String> {
        let route: RouteJson = serde_json::from_str(text)
            .map_err(|error| format!("standard input is no route in JSON: {error}"))?;
        let mut given = Self {
            prefix: route.prefix,
            attributes: route.attributes,
            next_hop: route.next_hop.map(|next_hop| match next_hop {
                NextHopJson::Address(addr) => addr.into(),
                NextHopJson::Whole(next_hop) => next_hop,
            }),
            source: route.source,
            validation: route.validation.unwrap_or_default(),
            peer: route.peer,
            external: None,
        };
        given.apply(options)?;
        Ok(given)
    }

    fn apply(&mut self, options: &RouteOptions) -> Result<(), String> {
        let attributes = &mut self.attributes;
        if let Some(text) = &options.as_path {
            attributes.as_path = as_path(text)
                .ok_or_else(|| format!("--as-path: expected AS numbers with spaces between, and sets in braces, found {text:?}"))?;
        }
        for community in &options.community {
            match community {
                AnyCommunity::Standard(standard) => attributes.communities.push(*standard),
                AnyCommunity::Extended(octets) => attributes.extended_communities.push(*octets),
                AnyCommunity::Large(large) => attributes.large_communities.push(*large),
            }
        }
        attributes.large_communities.extend(&options.large);
        attributes.large_communities.sort_unstable();
        attributes.large_communities.dedup();
        attributes.med = options.med.or(attributes.med);
        attributes.local_pref = options.local_pref.or(attributes.local_pref);
        if let Some(origin) = options.origin {
            attributes.origin = match origin {
                OriginArg::Igp => Origin::Igp,
                OriginArg::Egp => Origin::Egp,
                OriginArg::Incomplete => Origin::Incomplete,
            };
        }
        self.next_hop = options.next_hop.map(Into::into).or(self.next_hop);
        if let Some(source) = options.source {
            self.source = Some(match source {
                SourceArg::Own => Source::Own,
                SourceArg::Internal => Source::Internal,
                SourceArg::External => Source::External,
            });
        }
        if let Some(validation) = options.validation {
            self.validation = match validation {
                ValidationArg::Valid => Validation::Valid,
                ValidationArg::Invalid => Validation::Invalid,
                ValidationArg::NotFound => Validation::NotFound,
            };
        }
        if options.peer.is_some() {
            self.peer.clone_from(&options.peer);
        }
        self.external = match (options.ebgp, options.ibgp) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        };
        Ok(())
    }

    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut canonical = Vec::new();
        encode_canonical(&self.attributes, &mut canonical);
        canonical
    }

    pub(super) fn route<'a>(&self, canonical: &'a [u8], session: &Session) -> Route<'a> {
        let source = self.source.unwrap_or(if session.external {
            Source::External
        } else {
            Source::Internal
        });
        let from_peer = (source != Source::Own && session.address != NOBODY)
            .then(|| NextHop::from(session.address));
        Route {
            prefix: self.prefix,
            validation: self.validation,
            set: Set {
                family: self.prefix.family(),
                source,
                attributes: canonical,
                next_hop: self.next_hop.or(from_peer),
            },
        }
    }
}

/// `65010 65020 {65030,65031}`
fn as_path(text: &str) -> Option<Vec<AsSegment>> {
    let mut segments: Vec<AsSegment> = Vec::new();
    for word in text.split_ascii_whitespace() {
        let asn = |text: &str| text.trim().parse().ok().map(Asn).filter(|asn| asn.0 != 0);
        if let Some(members) = word.strip_prefix('{') {
            let members: Option<Vec<_>> = members.strip_suffix('}')?.split(',').map(asn).collect();
            segments.push(AsSegment::Set(members?));
        } else if let Some(AsSegment::Sequence(asns)) = segments.last_mut() {
            asns.push(asn(word)?);
        } else {
            segments.push(AsSegment::Sequence(vec![asn(word)?]));
        }
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_printed() {
        for text in ["", "65010", "65010 65020 {65030,65031}", "{1,2} 3"] {
            let attributes = Attributes {
                as_path: as_path(text).unwrap(),
                ..Attributes::default()
            };
            assert_eq!(attributes.as_path_text(), text);
        }
        for text in ["x", "0", "{1,2", "1,2", "65010 _"] {
            assert_eq!(as_path(text), None, "{text}");
        }
    }
}
