//! Tables of routes, asked for page by page and family by family.

use clap::ValueEnum;
use serde_json::Value;
use wayleave_bgp_core::Family;

use super::{Client, CommandError};

/// Routes asked for at a time: few questions, and no answer that takes the speaker long.
const PAGE: u32 = 5_000;

/// A family, as it is called on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FamilyName {
    Ipv4,
    Ipv6,
}

impl From<FamilyName> for Family {
    fn from(name: FamilyName) -> Self {
        match name {
            FamilyName::Ipv4 => Self::Ipv4Unicast,
            FamilyName::Ipv6 => Self::Ipv6Unicast,
        }
    }
}

/// A question for routes, from its first page to its last. All paths to one prefix are on one page.
pub(super) struct RoutePages {
    families: Vec<Family>,
    query: Vec<String>,
}

impl RoutePages {
    /// Routes of these families that fit the query (`key=value`, encoded already).
    pub(super) fn new(families: Vec<Family>, query: Vec<String>) -> Self {
        Self { families, query }
    }

    /// Asks for one page after the other; `take` gets the path and the answer.
    pub(super) fn each(
        &self,
        client: &Client,
        mut take: impl FnMut(&str, &Value) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        for family in &self.families {
            let mut cursor = 0;
            loop {
                let path = self.path(*family, cursor);
                let answer = client.get(&path)?;
                take(&path, &answer)?;
                match answer["next"].as_u64() {
                    // An agent that repeats itself is not asked for ever.
                    Some(next) if next != cursor => cursor = next,
                    Some(_) | None => break,
                }
            }
        }
        Ok(())
    }

    fn path(&self, family: Family, cursor: u64) -> String {
        let mut path = format!("/v1/routes?family={family}&cursor={cursor}&limit={PAGE}");
        for parameter in &self.query {
            path.push('&');
            path.push_str(parameter);
        }
        path
    }
}
