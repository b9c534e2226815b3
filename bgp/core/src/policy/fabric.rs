//! Rules that are there without being written: what is safe within a fabric and at its borders.

use std::sync::Arc;

use super::{
    action::{Action, Amount},
    community::CommunityPattern,
    condition::{Condition, Match},
    extended::ExtendedPattern,
    number::Numbers,
    prefix_list::{PrefixEntry, PrefixList},
    route::Source,
    rules::{Rule, Rules, Then, Verdict},
};
use crate::types::{Asn, Prefix};

/// What a fabric is, as far as its borders are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fabric {
    /// Our AS.
    pub asn: Asn,
    /// Address space that is the fabric's own, and what its nodes say about themselves.
    pub pools: Vec<Prefix>,
    /// Global administrator of the large communities of service discovery.
    pub discovery: Option<u32>,
}

impl Fabric {
    /// All of these, by their names.
    pub fn all(&self) -> [Rules; 4] {
        [
            self.import(),
            self.export(),
            self.border_import(),
            self.border_export(),
        ]
    }

    /// From neighbours within the fabric: what lies in the pools.
    pub fn import(&self) -> Rules {
        let pools = Rule::new("pools", Then::Accept).when(Condition::Prefix(vec![self.space()]));
        let rules = vec![graceful_shutdown(), pools];
        Rules::new("fabric-import", rules, Verdict::Reject)
    }

    /// To neighbours within the fabric: what this host itself originates.
    pub fn export(&self) -> Rules {
        Rules::new("fabric-export", vec![own()], Verdict::Reject)
    }

    /// From networks of others: anything but routes to our own space, without communities that
    /// mean something to us.
    pub fn border_import(&self) -> Rules {
        let spoofed = Match::is(Condition::Prefix(vec![self.space()]));
        let rules = vec![
            Rule::new("our own space", Then::Reject).when(spoofed),
            Rule::new("our communities", Then::Next)
                .with(Action::StripCommunities(self.communities())),
            graceful_shutdown(),
        ];
        Rules::new("border-import", rules, Verdict::Accept)
    }

    /// To networks of others: what this host itself originates, without our communities, and
    /// without extended ones that are to stay within the AS (RFC 4360, 2).
    pub fn border_export(&self) -> Rules {
        let mut stay = self.communities();
        stay.push(CommunityPattern::Extended(ExtendedPattern::NonTransitive));
        let rules = vec![
            Rule::new("our communities", Then::Next).with(Action::StripCommunities(stay)),
            own(),
        ];
        Rules::new("border-export", rules, Verdict::Reject)
    }

    /// The pools and everything inside them.
    fn space(&self) -> Arc<PrefixList> {
        let entries = self.pools.iter().copied().map(PrefixEntry::or_longer);
        Arc::new(PrefixList::named("pools", entries.collect()))
    }

    /// Communities whose meaning is ours.
    fn communities(&self) -> Vec<CommunityPattern> {
        let asn = Numbers::one(self.asn.0);
        let large = |global| CommunityPattern::Large([global, Numbers::ANY, Numbers::ANY]);
        let mut patterns = Vec::new();
        if u16::try_from(self.asn.0).is_ok() {
            patterns.push(CommunityPattern::Standard(asn, Numbers::ANY));
        }
        patterns.push(large(asn));
        let discovery = self.discovery.filter(|number| *number != self.asn.0);
        patterns.extend(discovery.map(Numbers::one).map(large));
        patterns
    }
}

/// "The LOCAL_PREF value SHOULD be lower than any of the alternative paths. The RECOMMENDED value is
/// 0" (RFC 8326, 4), of routes that an external neighbour has marked (4.1).
fn graceful_shutdown() -> Rule {
    let [high, low] = [0xFFFF, 0].map(Numbers::one);
    Rule::new("graceful shutdown", Then::Next)
        .when(Condition::External(true))
        .when(Condition::Community(vec![CommunityPattern::Standard(
            high, low,
        )]))
        .with(Action::LocalPref(Amount::Set(0)))
}

fn own() -> Rule {
    Rule::new("our own", Then::Accept).when(Condition::Source(vec![Source::Own]))
}
