//! Routes, sessions and rules in few words.

use std::net::IpAddr;

use wayleave_bgp_core::{
    Asn, Prefix, RouterId,
    attributes::{AsSegment, Attributes},
    policy::{
        AnyCommunity, CommunityPattern, Outcome, PrefixEntry, PrefixList, Route, Rules, Session,
        Set, Source, Validation,
    },
    wire::{DecodeContext, Verdict, decode_canonical, encode_canonical, parse_attributes},
};

/// A route as a test speaks of it.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) prefix: Prefix,
    pub(crate) attributes: Attributes,
    pub(crate) next_hop: Option<IpAddr>,
    pub(crate) source: Source,
    pub(crate) validation: Validation,
}

/// From an external neighbour in AS 65010, by way of it from 65020.
pub(crate) fn given() -> Given {
    Given {
        prefix: "10.1.0.0/16".parse().unwrap(),
        attributes: Attributes {
            as_path: vec![AsSegment::Sequence(vec![Asn(65_010), Asn(65_020)])],
            ..Attributes::default()
        },
        next_hop: Some(IpAddr::from([192, 0, 2, 1])),
        source: Source::External,
        validation: Validation::NotFound,
    }
}

pub(crate) fn session() -> Session {
    Session {
        peer: "tor1".to_owned(),
        group: None,
        role: None,
        address: IpAddr::from([192, 0, 2, 1]),
        external: true,
        local_as: Asn(65_001),
    }
}

impl Given {
    pub(crate) fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.parse().unwrap();
        self
    }

    pub(crate) fn path(mut self, asns: &[u32]) -> Self {
        let asns = asns.iter().copied().map(Asn).collect();
        self.attributes.as_path = vec![AsSegment::Sequence(asns)];
        self
    }

    pub(crate) fn with(mut self, communities: &[&str]) -> Self {
        for text in communities {
            match text.parse().unwrap() {
                AnyCommunity::Standard(community) => self.attributes.communities.push(community),
                AnyCommunity::Extended(octets) => self.attributes.extended_communities.push(octets),
                AnyCommunity::Large(large) => self.attributes.large_communities.push(large),
            }
        }
        self
    }

    pub(crate) fn change(mut self, by: impl FnOnce(&mut Attributes)) -> Self {
        by(&mut self.attributes);
        self
    }

    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut canonical = Vec::new();
        encode_canonical(&self.attributes, &mut canonical);
        canonical
    }

    pub(crate) fn set<'a>(&self, canonical: &'a [u8]) -> Set<'a> {
        Set {
            family: self.prefix.family(),
            source: self.source,
            attributes: canonical,
            next_hop: self.next_hop.map(Into::into),
        }
    }

    pub(crate) fn judge(&self, rules: &Rules) -> Outcome {
        self.judge_on(&session(), rules)
    }

    pub(crate) fn judge_on(&self, session: &Session, rules: &Rules) -> Outcome {
        let canonical = self.canonical();
        let route = Route {
            prefix: self.prefix,
            validation: self.validation,
            set: self.set(&canonical),
        };
        rules.evaluate(session, &route)
    }

    /// The attributes with which it leaves.
    pub(crate) fn after(&self, rules: &Rules) -> Attributes {
        match self.judge(rules).changed {
            Some(changed) => decode_canonical(&changed.attributes),
            None => self.attributes.clone(),
        }
    }
}

pub(crate) fn patterns(texts: &[&str]) -> Vec<CommunityPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn communities(texts: &[&str]) -> Vec<AnyCommunity> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn list(entries: &[&str]) -> std::sync::Arc<PrefixList> {
    let entries = entries
        .iter()
        .map(|text| text.parse::<PrefixEntry>().unwrap());
    PrefixList::new(entries.collect()).into()
}

/// Octets that a neighbour's reader takes for canonical as they are.
pub(crate) fn is_canonical(octets: &[u8]) -> bool {
    let next_hop = [0x40, 3, 4, 192, 0, 2, 1];
    let ctx = DecodeContext {
        as4: true,
        ebgp: false,
    };
    let mut again = Vec::new();
    let raw = [octets, &next_hop].concat();
    let parsed = parse_attributes(&raw, &ctx, true, &mut again);
    parsed.verdict == Verdict::Ok && again == octets
}

pub(crate) fn router_id(number: u32) -> RouterId {
    RouterId::from(number)
}
