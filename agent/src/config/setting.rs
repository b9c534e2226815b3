//! A value with its origin, and tables of such values.

use std::{fmt, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

/// A line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: Arc<Path>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// Computed from something else, which is named.
    Derived(&'static str),
    /// Written in a file.
    File(Location),
    /// Written in a file, for the peer group of this name.
    Group(Arc<str>, Location),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Derived(from) => write!(f, "derived from {from}"),
            Self::File(location) => location.fmt(f),
            Self::Group(name, location) => write!(f, "{location} (peer group {name})"),
        }
    }
}

/// A value that knows where it comes from.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value nobody set.
    pub fn default_to(value: T) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }

    /// A value computed from `from`.
    pub fn derived(value: T, from: &'static str) -> Self {
        Self {
            value,
            origin: Origin::Derived(from),
        }
    }

    /// Whether it stands in a file.
    pub fn is_set(&self) -> bool {
        matches!(self.origin, Origin::File(_) | Origin::Group(..))
    }

    pub(super) fn map<U>(self, with: impl FnOnce(T) -> U) -> Setting<U> {
        Setting {
            value: with(self.value),
            origin: self.origin,
        }
    }
}

/// Two settings are the same when their values are: moving a line is no change.
impl<T: PartialEq> PartialEq for Setting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Setting<T> {}

/// What it takes to put a changed value into effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Applied at once; no session notices.
    Live,
    /// The session of this peer is closed and opened again.
    ResetsSession,
    /// Every session is closed and opened again.
    ResetsAllSessions,
    /// A reload refuses it; restart the agent (the kernel's routes and containers stay).
    NeedsRestart,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::ResetsSession => "resets the session",
            Self::ResetsAllSessions => "resets every session",
            Self::NeedsRestart => "needs a restart",
        })
    }
}

/// One value of a table, as it is shown and compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: &'static str,
    /// The value; null when it is unset.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub origin: Origin,
    /// What changing it takes.
    pub effect: Effect,
}

/// Defines a table of the configuration once: its keys, their types, and what changing each of
/// them takes. `entries` lists them for people and for the comparison of two configurations, so
/// that no key can be forgotten in either.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $key:ident : $type:ty => $effect:ident,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $key: $crate::config::Setting<$type>,)*
        }

        impl $name {
            /// Every value with its origin and what changing it takes.
            pub fn entries(&self) -> Vec<$crate::config::Entry> {
                vec![$($crate::config::Entry {
                    key: stringify!($key),
                    // Serialising these types cannot fail: no map with keys other than text.
                    value: serde_json::to_value(&self.$key.value).unwrap_or_default(),
                    origin: self.$key.origin.clone(),
                    effect: $crate::config::Effect::$effect,
                },)*]
            }
        }
    };
}
pub(super) use settings;
