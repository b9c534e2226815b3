//! Octets as hexadecimal text.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::types::as_text;

/// Octets that a person or a tool reads as two hexadecimal digits each.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex(pub Vec<u8>);

impl Hex {
    /// `None` for no octets.
    pub(super) fn unless_empty(octets: &[u8]) -> Option<Self> {
        (!octets.is_empty()).then(|| Self(octets.to_vec()))
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex({self})")
    }
}

/// Why a text is not hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// Not 0 to 9 or a to f.
    #[error("{0:?} is not a hexadecimal digit")]
    Digit(char),
    /// Half an octet is left over.
    #[error("an odd number of hexadecimal digits")]
    Odd,
}

impl FromStr for Hex {
    type Err = HexError;

    /// White space between digits is allowed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = Vec::with_capacity(text.len() / 2);
        let mut half = None;
        for character in text.chars().filter(|character| !character.is_whitespace()) {
            let digit = digit(character).ok_or(HexError::Digit(character))?;
            match half.take() {
                None => half = Some(digit),
                Some(high) => octets.push(high << 4 | digit),
            }
        }
        match half {
            None => Ok(Self(octets)),
            Some(_) => Err(HexError::Odd),
        }
    }
}

pub(super) fn digit(character: char) -> Option<u8> {
    u8::try_from(character.to_digit(16)?).ok()
}

as_text!(Hex);

/// One octet as two digits, for flags.
pub(super) mod octet {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::message) fn serialize<S: Serializer>(
        octet: &u8,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{octet:02x}"))
    }

    pub(in crate::message) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<super::Hex>().map_err(D::Error::custom)?.0[..] {
            [octet] => Ok(octet),
            _ => Err(D::Error::custom(format!(
                "`{text}` is not one octet: expected two hexadecimal digits"
            ))),
        }
    }
}
