//! `/v1/routes`: the tables, in pages.

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use wayleave_bgp_core::{
    Family, Prefix,
    view::{RibKind, RoutePage, RouteQuery},
};

use super::{ApiError, Code, Context};

/// Routes in one page unless asked for otherwise, and at most.
const PAGE: u32 = 1_000;
const LARGEST_PAGE: u32 = 10_000;

/// What may stand behind the question mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteParameters {
    /// `in`, `loc` (default) or `out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rib: Option<RibKind>,
    /// `ipv4` (default) or `ipv6`; that of the prefix when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Only from, or with `rib=out` to, this peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Only this prefix; an address stands for the prefix that covers it best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// With `prefix`: what lies inside it too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub longer: bool,
    /// With `prefix`: the longest prefix that covers it instead.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub covering: bool,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u32>,
    /// Routes in a page: 1 to 10,000, by default 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl RouteParameters {
    /// The question the speaker is asked.
    ///
    /// # Errors
    /// When the parameters contradict each other.
    pub fn query(&self) -> Result<RouteQuery, ApiError> {
        let bad = |message: String| ApiError::new(Code::BadRequest, message);
        let (prefix, covering) = match &self.prefix {
            None if self.longer || self.covering => {
                return Err(bad("`longer` and `covering` go with `prefix`".to_owned()));
            }
            None => (None, false),
            Some(text) => match (text.parse::<std::net::IpAddr>(), text.parse::<Prefix>()) {
                (Ok(address), _) => (Some(Prefix::host(address)), !self.longer),
                (Err(_), Ok(prefix)) => (Some(prefix), self.covering),
                (Err(_), Err(error)) => return Err(bad(error.to_string())),
            },
        };
        if self.longer && self.covering {
            return Err(bad("`longer` and `covering` exclude each other".to_owned()));
        }
        let family = match (self.family, prefix) {
            (Some(family), Some(prefix)) if family != prefix.family() => {
                return Err(bad(format!("{prefix} is not {family}")));
            }
            (Some(family), _) => family,
            (None, Some(prefix)) => prefix.family(),
            (None, None) => Family::Ipv4Unicast,
        };
        let rib = self.rib.unwrap_or(RibKind::Loc);
        if rib == RibKind::Out && self.peer.is_none() {
            return Err(bad("what was told is kept per peer".to_owned())
                .hint("say which one: peer=NAME, or --peer NAME"));
        }
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            return Err(bad(format!(
                "`limit`: expected 1 to {LARGEST_PAGE}, found {limit}"
            )));
        }
        Ok(RouteQuery {
            peer: self.peer.clone(),
            prefix,
            longer: self.longer,
            covering,
            cursor: self.cursor.unwrap_or(0),
            limit,
            ..RouteQuery::all(rib, family)
        })
    }
}

pub(super) fn routes() -> Router<Context> {
    Router::new().route("/v1/routes", get(page))
}

async fn page(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
) -> Result<Json<RoutePage>, ApiError> {
    let parameters: RouteParameters = super::parameters(query.as_deref())?;
    let page = context.speaker.routes(parameters.query()?).await?;
    page.map(Json)
        .map_err(|error| ApiError::new(Code::NotFound, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<RouteQuery, String> {
        let parameters: RouteParameters =
            crate::api::parameters(Some(text)).map_err(|error| error.message)?;
        parameters.query().map_err(|error| error.message)
    }

    #[test]
    fn an_address_asks_for_the_route_that_covers_it_and_brings_its_family() {
        let query = query("prefix=fd00::1").unwrap();
        assert_eq!(query.family, Family::Ipv6Unicast);
        assert!(query.covering);
        assert_eq!(query.prefix, Some("fd00::1/128".parse().unwrap()));
    }

    #[test]
    fn a_prefix_is_asked_for_itself() {
        let query =
            query("rib=in&peer=tor&prefix=10.0.0.0/8&longer=true&limit=5&cursor=7").unwrap();
        assert_eq!(
            (query.rib, query.longer, query.covering),
            (RibKind::In, true, false)
        );
        assert_eq!((query.limit, query.cursor), (5, 7));
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_reason() {
        let table = [
            ("rib=out", "what was told is kept per peer"),
            ("longer=true", "`longer` and `covering` go with `prefix`"),
            (
                "prefix=10.0.0.1/8",
                "`10.0.0.1/8` has bits set past its length; did you mean 10.0.0.0/8?",
            ),
            (
                "prefix=10.0.0.0/8&family=ipv6",
                "10.0.0.0/8 is not ipv6-unicast",
            ),
            ("limit=0", "`limit`: expected 1 to 10000, found 0"),
            ("limit=10001", "`limit`: expected 1 to 10000, found 10001"),
        ];
        for (text, message) in table {
            assert_eq!(query(text).unwrap_err(), message, "{text}");
        }
        for text in ["rib=fib", "color=red", "limit=x"] {
            assert!(query(text).is_err(), "{text}");
        }
    }
}
