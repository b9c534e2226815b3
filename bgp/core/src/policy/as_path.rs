//! Patterns of AS_PATHs: a small language that is matched in one pass.
//!
//! A pattern stands for the whole path and is made of words with spaces between: a number or a
//! range (`64512-65534`) for one AS, `?` for any one AS, `*` for any run of them, also an empty
//! one. `65001 * 65010` is a path from neighbour 65001 that began in 65010.
//!
//! The habit of regular expressions is understood as far as it says the same: `_65001_` (in the
//! path), `^65001_` (the neighbour), `_65010$` (the origin), `^65001$`, `^$` (empty), with `.*`
//! for any run. There is no alternation and no repetition of groups: several patterns in a list
//! say the former.
//!
//! An AS_SET is one place, where any of its members will do; confederation segments are left out
//! (RFC 5065, 5.3). The states a pattern can be in are the bits of one number, so that a path costs
//! its length times that of the pattern at most, whatever both are.

use std::{fmt, str::FromStr};

use super::{TextError, number::Numbers};
use crate::wire::{Hop, Parts};

/// Words of a pattern: one bit each, and one for having seen them all.
const MOST_WORDS: usize = 63;

/// A pattern of AS_PATHs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    words: Vec<Word>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Word {
    /// One AS of these.
    As(Numbers),
    /// Any run of ASes.
    Run,
}

impl PathPattern {
    /// Whether the path of a set is one that is meant.
    pub(crate) fn matches(&self, parts: &Parts<'_>) -> bool {
        self.matches_hops(parts.hops())
    }

    fn matches_hops<'a>(&self, hops: impl Iterator<Item = Hop<'a>>) -> bool {
        let mut states = self.past_runs(1);
        for hop in hops {
            let mut next = 0;
            let mut left = states;
            while left != 0 {
                let state = left.trailing_zeros();
                left &= left - 1;
                match self.words.get(state as usize) {
                    Some(Word::As(numbers)) if is_one_of(*numbers, hop) => next |= 1 << (state + 1),
                    Some(Word::Run) => next |= 1 << state,
                    Some(Word::As(_)) | None => {}
                }
            }
            if next == 0 {
                return false;
            }
            states = self.past_runs(next);
        }
        states >> self.words.len() & 1 != 0
    }

    /// A run may be empty: where a state stands before one, it stands behind it too.
    fn past_runs(&self, mut states: u64) -> u64 {
        for (place, word) in self.words.iter().enumerate() {
            if *word == Word::Run && states >> place & 1 != 0 {
                states |= 1 << (place + 1);
            }
        }
        states
    }
}

fn is_one_of(numbers: Numbers, hop: Hop<'_>) -> bool {
    match hop {
        Hop::As(asn) => numbers.contains(asn),
        Hop::Set(members) => members
            .iter()
            .any(|asn| numbers.contains(u32::from_be_bytes(*asn))),
    }
}

impl FromStr for PathPattern {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "AS numbers, ranges, `?` and `*` with spaces between, such as `65001 * 65010`, \
                        or a form such as `_65001_`, `^65001_` or `_65001$`";
        let wrong = || TextError::new(text, expected);
        let words = if text.contains(['_', '^', '$']) {
            from_habit(text)
        } else {
            text.split_ascii_whitespace().map(word).collect()
        };
        let mut words: Vec<Word> = words.ok_or_else(wrong)?;
        words.dedup_by(|a, b| (*a, *b) == (Word::Run, Word::Run));
        if words.is_empty() && !text.contains('^') {
            return Err(TextError::new(text, "a pattern; `^$` is the empty path"));
        }
        if words.len() > MOST_WORDS {
            return Err(TextError::new(text, "at most 63 words"));
        }
        Ok(Self { words })
    }
}

fn word(text: &str) -> Option<Word> {
    match text {
        "*" | ".*" => Some(Word::Run),
        "?" => Some(Word::As(Numbers::ANY)),
        text => text.parse().ok().map(Word::As),
    }
}

/// `_` is the border of a number, `^` and `$` are the ends of the path, which is open where they
/// are not written.
fn from_habit(text: &str) -> Option<Vec<Word>> {
    let (begins, rest) = match text.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (ends, rest) = match rest.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    // A number that ends at nothing could be the start of a longer one: `^65` is not read as 65.
    let closed = |edge: bool, border: bool| edge || border || rest.is_empty();
    if !closed(begins, rest.starts_with(['_', '.'])) || !closed(ends, rest.ends_with(['_', '*'])) {
        return None;
    }
    let mut words = Vec::new();
    if !begins {
        words.push(Word::Run);
    }
    for part in rest.split(['_', ' ']).filter(|part| !part.is_empty()) {
        words.push(match part {
            // Alone these mean something else in regular expressions.
            "*" | "?" => return None,
            part => word(part)?,
        });
    }
    if !ends {
        words.push(Word::Run);
    }
    Some(words)
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.words.is_empty() {
            return f.write_str("^$");
        }
        for (place, word) in self.words.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { " " })?;
            match word {
                Word::As(Numbers::ANY) => f.write_str("?")?,
                Word::As(numbers) => numbers.fmt(f)?,
                Word::Run => f.write_str("*")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &[u32]) -> bool {
        let pattern: PathPattern = pattern.parse().unwrap_or_else(|error| panic!("{error}"));
        pattern.matches_hops(path.iter().map(|asn| Hop::As(*asn)))
    }

    #[test]
    fn a_pattern_stands_for_the_whole_path() {
        let table: &[(&str, &[u32], bool)] = &[
            ("65001", &[65001], true),
            ("65001", &[65001, 65002], false),
            ("65001 *", &[65001], true),
            ("65001 *", &[65001, 65002], true),
            ("* 65010", &[65001, 65010], true),
            ("65001 * 65010", &[65001, 1, 2, 65010], true),
            ("65001 * 65010", &[65001, 65010], true),
            ("65001 * 65010", &[65001, 65010, 3], false),
            ("65001 ? 65010", &[65001, 65010], false),
            ("65001 ? 65010", &[65001, 9, 65010], true),
            ("* 64512-65534 *", &[1, 65000, 2], true),
            ("* 64512-65534 *", &[1, 2, 3], false),
            ("*", &[], true),
            ("* * *", &[1], true),
            ("?", &[], false),
            ("65001 65001 65001 *", &[65001, 65001, 2], false),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(matches(pattern, path), *expected, "{pattern} on {path:?}");
        }
    }

    #[test]
    fn the_habit_of_regular_expressions_is_understood_where_it_says_the_same() {
        let table: &[(&str, &str)] = &[
            ("_65001_", "* 65001 *"),
            ("^65001_", "65001 *"),
            ("_65001$", "* 65001"),
            ("^65001$", "65001"),
            ("^65001_65002$", "65001 65002"),
            ("^65001 65002$", "65001 65002"),
            ("^65001_.*_65010$", "65001 * 65010"),
            ("^65001_.*$", "65001 *"),
            ("_64512-65534_", "* 64512-65534 *"),
            ("^$", "^$"),
        ];
        for (habit, own) in table {
            let read: PathPattern = habit.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.to_string(), *own, "{habit}");
        }
        assert!(matches("^$", &[]) && !matches("^$", &[1]));
        for text in [
            "_6500[0-9]_",
            "^(1|2)_",
            "^65",
            "65001$",
            "_1?_",
            "",
            "a",
            "1, 2",
            "^1+$",
        ] {
            assert!(text.parse::<PathPattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_set_is_one_place_that_any_of_its_members_fills() {
        let members = [65_003_u32.to_be_bytes(), 65_004_u32.to_be_bytes()];
        let path = || [Hop::As(65_001), Hop::Set(&members)].into_iter();
        for (pattern, expected) in [
            ("65001 65004", true),
            ("65001 65003 65004", false),
            ("65001 65005", false),
            ("65001 ?", true),
        ] {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches_hops(path()), expected, "{pattern}");
        }
    }

    #[test]
    fn the_pattern_that_ruins_backtracking_costs_its_length() {
        let pattern = format!("{}65001", "* 1 ".repeat(31));
        let path = vec![1; 10_000];
        assert!(!matches(&pattern, &path));
    }
}
