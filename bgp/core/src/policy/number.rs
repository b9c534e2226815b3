//! Numbers and ranges of them, as they stand in every kind of condition.

use std::{fmt, str::FromStr};

use super::TextError;

/// A range of numbers, both ends in it: `5`, `5-9`, `5-` (5 and more) or `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numbers {
    first: u32,
    last: u32,
}

impl Numbers {
    /// Every number.
    pub const ANY: Self = Self {
        first: 0,
        last: u32::MAX,
    };

    /// This one.
    pub fn one(number: u32) -> Self {
        Self {
            first: number,
            last: number,
        }
    }

    /// From `first` to `last`, if that is a range.
    pub fn range(first: u32, last: u32) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Whether a number lies in it.
    #[inline]
    pub fn contains(self, number: u32) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// The largest number written in it.
    pub fn largest(self) -> u32 {
        if self.last == u32::MAX {
            self.first
        } else {
            self.last
        }
    }

    /// The only number in it, when there is but one.
    pub fn single(self) -> Option<u32> {
        (self.first == self.last).then_some(self.first)
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (0, u32::MAX) => f.write_str("*"),
            (first, last) if first == last => first.fmt(f),
            (first, u32::MAX) => write!(f, "{first}-"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for Numbers {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = match text.split_once('-') {
            _ if text == "*" => Some(Self::ANY),
            None => number(text).map(Self::one),
            Some((first, "")) => number(first).and_then(|first| Self::range(first, u32::MAX)),
            Some((first, last)) => number(first)
                .zip(number(last))
                .and_then(|(first, last)| Self::range(first, last)),
        };
        range.ok_or_else(|| {
            TextError::new(
                text,
                "a number, a range (`5-9`, `5-` for 5 and more) or `*`",
            )
        })
    }
}

/// A decimal number without a sign.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// `1`, `1 or 2`, `1, 2 or 3`.
pub(super) fn any_of<T: fmt::Display>(items: &[T]) -> String {
    let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_what_they_print_and_refuse_what_is_none() {
        for text in ["*", "0", "65001", "100-200", "7-", "4294967295"] {
            assert_eq!(text.parse::<Numbers>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "-",
            "-5",
            "9-5",
            "+5",
            "5-x",
            "4294967296",
            "1-2-3",
            " 5",
        ] {
            assert!(text.parse::<Numbers>().is_err(), "{text:?}");
        }
        let range: Numbers = "100-200".parse().unwrap();
        assert!(range.contains(100) && range.contains(200));
        assert!(!range.contains(99) && !range.contains(201));
    }
}
