//! Lists of prefixes (RFC 4271, 4.3; RFC 4760, 5; RFC 7911, 3).

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{EncodeError, Options};
use crate::{
    types::{Family, Prefix},
    wire::{Nlri4, Nlri6, put_nlri4, put_nlri6},
};

/// A prefix, with its path identifier where the session has them (RFC 7911). It is read from a
/// bare text too, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PathPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// The path identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_id: Option<u32>,
}

impl<'de> Deserialize<'de> for PathPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            prefix: Prefix,
            #[serde(default)]
            path_id: Option<u32>,
        }

        struct TextOrObject;

        impl<'de> Visitor<'de> for TextOrObject {
            type Value = PathPrefix;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a prefix, or an object with `prefix` and `path_id`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<PathPrefix, E> {
                Ok(PathPrefix {
                    prefix: text.parse().map_err(E::custom)?,
                    path_id: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PathPrefix, A::Error> {
                let Fields { prefix, path_id } =
                    Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(PathPrefix { prefix, path_id })
            }
        }

        deserializer.deserialize_any(TextOrObject)
    }
}

/// The prefixes in a list, and what is left from the first on that cannot be read.
pub(super) fn read(list: &[u8], family: Family, options: &Options) -> (Vec<PathPrefix>, Vec<u8>) {
    let add_path = options.has_add_path(family);
    let prefixes: Vec<PathPrefix> = match family {
        Family::Ipv4Unicast => Nlri4::new(list, add_path)
            .map_while(Result::ok)
            .map(|(prefix, id)| path_prefix(prefix.into(), id, add_path))
            .collect(),
        Family::Ipv6Unicast => Nlri6::new(list, add_path)
            .map_while(Result::ok)
            .map(|(prefix, id)| path_prefix(prefix.into(), id, add_path))
            .collect(),
    };
    let octets = |path: &PathPrefix| {
        let id = if add_path { 4 } else { 0 };
        id + 1 + usize::from(path.prefix.len()).div_ceil(8)
    };
    let taken: usize = prefixes.iter().map(octets).sum();
    (prefixes, list.get(taken..).unwrap_or_default().to_vec())
}

fn path_prefix(prefix: Prefix, id: u32, add_path: bool) -> PathPrefix {
    PathPrefix {
        prefix,
        path_id: add_path.then_some(id),
    }
}

/// Appends a list; `field` is its name.
pub(super) fn write(
    list: &[PathPrefix],
    family: Family,
    options: &Options,
    field: &str,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let add_path = options.has_add_path(family);
    for (place, path) in list.iter().enumerate() {
        let wrong = |what: String| Err(EncodeError::new(format!("{field}[{place}]"), what));
        match path.path_id {
            None if add_path => {
                return wrong(format!(
                    "`path_id` is missing: the session has ADD-PATH for {family}"
                ));
            }
            Some(_) if !add_path => {
                return wrong(format!(
                    "a `path_id`, and the session has no ADD-PATH for {family}"
                ));
            }
            _ => {}
        }
        match (path.prefix, family) {
            (Prefix::V4(prefix), Family::Ipv4Unicast) => put_nlri4(out, prefix, path.path_id),
            (Prefix::V6(prefix), Family::Ipv6Unicast) => put_nlri6(out, prefix, path.path_id),
            (prefix, _) => return wrong(format!("{prefix} is not a prefix of {family}")),
        }
    }
    Ok(())
}
