//! Names that travel and are asked for: which texts may be one, and which rule a refused text breaks.
//!
//! Names are compared without case in DNS and as octets everywhere else, so only one spelling of each is let in:
//! the lower-case one. The same rules hold for what a user registers and for what a route carries.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Which rule a refused name breaks. The sentence completes "`x` is not a service name: ...".
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Over the limit of its kind.
    #[error("it has {len} octets, the limit is {limit} ({source_rule})")]
    TooLong {
        /// Octets found.
        len: usize,
        /// Octets allowed.
        limit: usize,
        /// Where the limit comes from.
        source_rule: &'static str,
    },
    /// Upper case.
    #[error(
        "`{0}` is upper case; names are compared without case, so only the lower-case spelling is taken"
    )]
    UpperCase(char),
    /// A character outside of letters, digits and hyphens.
    #[error("`{}` at position {at} is not a letter, a digit or a hyphen (RFC 1123, section 2.1)", .character.escape_default())]
    Character {
        /// The character.
        character: char,
        /// Its position in octets, from 0.
        at: usize,
    },
    /// A hyphen at an end.
    #[error("it begins or ends with a hyphen (RFC 1123, section 2.1)")]
    HyphenAtEnd,
    /// Two hyphens in a row in a port name.
    #[error("it has two hyphens in a row (RFC 6335, section 5.1)")]
    AdjacentHyphens,
    /// A port name of digits only.
    #[error("it has no letter (RFC 6335, section 5.1)")]
    NoLetter,
    /// A tag without a key.
    #[error("the key before `=` is empty (RFC 6763, section 6.4)")]
    EmptyKey,
    /// A tag's key with a character that is not printable ASCII.
    #[error("`{}` in the key is not printable ASCII (RFC 6763, section 6.4)", .0.escape_default())]
    KeyCharacter(char),
    /// A character of an instance id that has a meaning in URLs.
    #[error("`{0}` may not stand in it, because ids are parts of URLs")]
    UrlCharacter(char),
    /// A control character, or white space where none may be.
    #[error("it contains {:?}, which is a control character or white space", .0)]
    Unprintable(char),
}

/// A text that is not a name of the kind wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {kind}: {rule}", .text.escape_debug())]
pub struct NameError {
    /// What was wanted, with its article: `a service name`.
    pub kind: &'static str,
    /// The refused text, cut after 80 characters.
    pub text: String,
    /// The rule it breaks.
    pub rule: Rule,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the text against the rules of its kind.
            pub fn new(text: &str) -> Result<Self, NameError> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.into())),
                    Err(rule) => Err(NameError { kind: $kind, text: text.chars().take(80).collect(), rule }),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a service: one DNS label.
    ServiceName, "a service name", label
}
name! {
    /// The namespace a service lives in: one DNS label, `default` unless said otherwise.
    Namespace, "a namespace", label
}
name! {
    /// The name of a node or container: one DNS label.
    HostName, "a host name", label
}
name! {
    /// The name of a port, as in `_http._tcp`: a service name of RFC 6335, at most 15 characters.
    PortName, "a port name", port_name
}
name! {
    /// A tag of a service, `key` or `key=value`, at most 255 octets (RFC 6763, section 6).
    Tag, "a tag", tag
}
name! {
    /// What tells one registration from all others on this host: printable ASCII without spaces and without
    /// `/`, `?`, `#` and `%`, at most 128 octets.
    InstanceId, "an instance id", instance_id
}

impl Namespace {
    /// The namespace of everything that names none. It never travels: its absence means it.
    pub const DEFAULT: &'static str = "default";

    /// Whether this is the namespace `default`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl Tag {
    /// The part before the first `=`.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once('=').map_or(&*self.0, |(key, _)| key)
    }

    /// The part after the first `=`; a key alone has none (RFC 6763, section 6.4).
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.0.split_once('=').map(|(_, value)| value)
    }
}

/// A service by its full name: `name.namespace`, in the order in which DNS writes it.
///
/// One string, so that a look-up borrows the question's own octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(Box<str>);

impl ServiceId {
    /// The full name of a service.
    #[must_use]
    pub fn new(name: &ServiceName, namespace: &Namespace) -> Self {
        Self(format!("{name}.{namespace}").into())
    }

    /// The full name as text: `web.default`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the dot.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(name, _)| name)
    }

    /// The part after the dot.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0
            .split_once('.')
            .map_or(Namespace::DEFAULT, |(_, namespace)| namespace)
    }
}

impl FromStr for ServiceId {
    type Err = NameError;

    /// Takes `web.default`, and `web` for the service of that name in the namespace `default`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, namespace) = text.split_once('.').unwrap_or((text, Namespace::DEFAULT));
        Ok(Self::new(
            &ServiceName::new(name)?,
            &Namespace::new(namespace)?,
        ))
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for ServiceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn label(text: &str) -> Result<(), Rule> {
    length(text, 63, "RFC 1035, section 2.3.4")?;
    letters_digits_hyphens(text)
}

fn port_name(text: &str) -> Result<(), Rule> {
    length(text, 15, "RFC 6335, section 5.1")?;
    letters_digits_hyphens(text)?;
    if text.contains("--") {
        return Err(Rule::AdjacentHyphens);
    }
    if !text.bytes().any(|octet| octet.is_ascii_lowercase()) {
        return Err(Rule::NoLetter);
    }
    Ok(())
}

fn tag(text: &str) -> Result<(), Rule> {
    length(
        text,
        255,
        "one character-string of a TXT record, RFC 6763, section 6.1",
    )?;
    let key = text.split_once('=').map_or(text, |(key, _)| key);
    if key.is_empty() {
        return Err(Rule::EmptyKey);
    }
    if let Some(wrong) = key.chars().find(|c| !matches!(c, ' '..='~')) {
        return Err(Rule::KeyCharacter(wrong));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(wrong) => Err(Rule::Unprintable(wrong)),
        None => Ok(()),
    }
}

fn instance_id(text: &str) -> Result<(), Rule> {
    length(text, 128, "the registry's own limit")?;
    if let Some(wrong) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(Rule::Unprintable(wrong));
    }
    match text.chars().find(|c| matches!(c, '/' | '?' | '#' | '%')) {
        Some(wrong) => Err(Rule::UrlCharacter(wrong)),
        None => Ok(()),
    }
}

fn length(text: &str, limit: usize, source_rule: &'static str) -> Result<(), Rule> {
    match text.len() {
        0 => Err(Rule::Empty),
        len if len > limit => Err(Rule::TooLong {
            len,
            limit,
            source_rule,
        }),
        _ => Ok(()),
    }
}

fn letters_digits_hyphens(text: &str) -> Result<(), Rule> {
    for (at, character) in text.char_indices() {
        match character {
            'a'..='z' | '0'..='9' | '-' => {}
            'A'..='Z' => return Err(Rule::UpperCase(character)),
            _ => return Err(Rule::Character { character, at }),
        }
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(Rule::HyphenAtEnd);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_label_names_the_rule_it_breaks() {
        let long = "a".repeat(64);
        let cases: &[(&str, Rule)] = &[
            ("", Rule::Empty),
            (
                &long,
                Rule::TooLong {
                    len: 64,
                    limit: 63,
                    source_rule: "RFC 1035, section 2.3.4",
                },
            ),
            ("Web", Rule::UpperCase('W')),
            (
                "we_b",
                Rule::Character {
                    character: '_',
                    at: 2,
                },
            ),
            (
                "web.shop",
                Rule::Character {
                    character: '.',
                    at: 3,
                },
            ),
            (
                "wéb",
                Rule::Character {
                    character: 'é',
                    at: 1,
                },
            ),
            ("-web", Rule::HyphenAtEnd),
            ("web-", Rule::HyphenAtEnd),
        ];
        for (text, rule) in cases {
            let error = ServiceName::new(text).expect_err(text);
            assert_eq!(error.rule, *rule, "{text:?}");
        }
        for good in ["web", "3com", "a", "x--y", &"a".repeat(63)] {
            assert!(ServiceName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_error_is_a_sentence_for_a_person() {
        let error = Namespace::new("Shop").expect_err("upper case");
        assert_eq!(
            error.to_string(),
            "`Shop` is not a namespace: `S` is upper case; names are compared without case, so only the lower-case \
             spelling is taken"
        );
        let hostile = ServiceName::new("a\u{1b}[2J")
            .expect_err("escape sequence")
            .to_string();
        assert!(
            !hostile.contains('\u{1b}'),
            "an escape sequence reached the message: {hostile:?}"
        );
    }

    #[test]
    fn port_names_follow_rfc_6335() {
        for (text, rule) in [
            ("http--alt", Rule::AdjacentHyphens),
            ("8080", Rule::NoLetter),
            (
                "sixteen-letters-",
                Rule::TooLong {
                    len: 16,
                    limit: 15,
                    source_rule: "RFC 6335, section 5.1",
                },
            ),
        ] {
            assert_eq!(PortName::new(text).expect_err(text).rule, rule);
        }
        assert!(PortName::new("http").is_ok());
        assert!(PortName::new("p2p-9").is_ok());
    }

    #[test]
    fn tags_are_a_key_with_or_without_a_value() {
        let tag = Tag::new("route=/a=b c").expect("a tag");
        assert_eq!((tag.key(), tag.value()), ("route", Some("/a=b c")));
        let bare = Tag::new("canary").expect("a tag");
        assert_eq!((bare.key(), bare.value()), ("canary", None));
        assert_eq!(Tag::new("=x").expect_err("no key").rule, Rule::EmptyKey);
        assert_eq!(
            Tag::new("k=\n").expect_err("control").rule,
            Rule::Unprintable('\n')
        );
        assert_eq!(
            Tag::new("k\u{fc}=1").expect_err("key").rule,
            Rule::KeyCharacter('\u{fc}')
        );
    }

    #[test]
    fn instance_ids_are_parts_of_urls() {
        assert!(InstanceId::new("web.shop@[fd00::2]:80").is_ok());
        assert_eq!(
            InstanceId::new("a/b").expect_err("a path").rule,
            Rule::UrlCharacter('/')
        );
        assert_eq!(
            InstanceId::new("a b").expect_err("a space").rule,
            Rule::Unprintable(' ')
        );
    }

    #[test]
    fn a_service_without_a_namespace_is_in_the_default_one() {
        let id: ServiceId = "web".parse().expect("a service");
        assert_eq!(
            (id.as_str(), id.name(), id.namespace()),
            ("web.default", "web", "default")
        );
        let id: ServiceId = "web.shop".parse().expect("a service");
        assert_eq!((id.name(), id.namespace()), ("web", "shop"));
        assert!("web.shop.x".parse::<ServiceId>().is_err());
    }
}
