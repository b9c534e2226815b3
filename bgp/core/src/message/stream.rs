//! Messages one after the other: where each ends, and hexadecimal text that holds them.

use std::collections::VecDeque;

use super::{Decoded, Options, decode, hex::digit};
use crate::wire::{HEADER_LEN, MAX_EXTENDED, frame};

const MARKER: [u8; 16] = [0xFF; 16];

/// What is at the beginning of some octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message, and how many octets it takes.
    Message(Box<Decoded>, usize),
    /// The beginning of a message; its length, if that much of it is there.
    Incomplete(Option<usize>),
}

/// Decodes the message at the beginning of `octets`. `ended`: nothing follows them.
///
/// A session ends with the first error that resets it. Here the messages after it are wanted
/// too. They begin where the header says, if it is only wrong in its type, or if a marker stands
/// there; else at the next marker. What comes out does not depend on how much is there at once.
pub fn next(octets: &[u8], options: &Options, ended: bool) -> Step {
    let said = octets
        .first_chunk::<HEADER_LEN>()
        .map(|&[.., high, low, _]| usize::from(u16::from_be_bytes([high, low])));
    let found = match frame(octets, options.max_len()) {
        Ok(message) => message.map(|message| message.len),
        Err(error) if matches!(error.subcode, 1 | 2) => {
            resume(octets, said.unwrap_or_default(), ended)
        }
        Err(_) if ended => said.map(|said| said.min(octets.len())),
        Err(_) => said.filter(|said| *said <= octets.len()),
    };
    let message = found.and_then(|taken| octets.get(..taken));
    match message.and_then(|message| Some((decode(message, options)?, message.len()))) {
        Some((decoded, taken)) => Step::Message(Box::new(decoded), taken),
        None => Step::Incomplete(said),
    }
}

/// Where the message after one begins whose marker or length is wrong; `None` while what is there
/// does not tell. It is not looked for past what the longest message has.
fn resume(octets: &[u8], said: usize, ended: bool) -> Option<usize> {
    let has_marker = octets.starts_with(&MARKER);
    if has_marker
        && said >= HEADER_LEN
        && let Some(rest) = octets.get(said..)
    {
        match rest.first_chunk::<16>() {
            Some(first) if *first == MARKER => return Some(said),
            Some(_) => {}
            None if !ended => return None,
            None if MARKER.starts_with(rest) => return Some(said),
            None => {}
        }
    } else if has_marker && said >= HEADER_LEN && !ended {
        return None;
    }
    let from = if has_marker { HEADER_LEN } else { 1 };
    let most = MAX_EXTENDED + MARKER.len();
    let within = octets.get(from..octets.len().min(most))?;
    let place = within
        .windows(MARKER.len())
        .position(|window| window == MARKER);
    match place {
        Some(place) => Some(from + place),
        None if ended || octets.len() >= most => Some(octets.len().min(MAX_EXTENDED)),
        None => None,
    }
}

/// Why text cannot be read to its end. Lines and octets are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Not a hexadecimal digit, white space or a comment.
    #[error("line {line}, column {column}: {found:?} is not a hexadecimal digit")]
    Digit {
        /// The line.
        line: usize,
        /// The octet of the line.
        column: usize,
        /// What stands there.
        found: char,
    },
    /// The text ends with half an octet.
    #[error("line {line}: half an octet is left over: an odd number of hexadecimal digits")]
    Odd {
        /// The last line with a digit.
        line: usize,
    },
    /// The text ends in the middle of a message.
    #[error(
        "line {line}, octet {octet} of all: the message that begins here is cut off: {there} octets \
         of {}", .expected.map_or_else(|| "a header of 19".to_owned(), |len| len.to_string())
    )]
    CutOff {
        /// Where the message begins.
        line: usize,
        /// The place of its first octet among all that were read.
        octet: usize,
        /// How many octets of it are there.
        there: usize,
        /// How many it says it has; `None` where not even its header is whole.
        expected: Option<usize>,
    },
}

/// Messages in hexadecimal text, however they lie on its lines. White space is allowed
/// everywhere, and what follows a `#` is a comment.
#[derive(Debug)]
pub struct HexStream {
    options: Options,
    octets: Vec<u8>,
    /// How many of `octets` went out with messages.
    start: usize,
    half: Option<u8>,
    line: usize,
    column: usize,
    in_comment: bool,
    /// Octets that went out with messages and are not in `octets` any more.
    gone: usize,
    /// Where lines begin: the line, and the place of its first octet among all.
    lines: VecDeque<(usize, usize)>,
    /// Where the last digit was.
    last_line: usize,
    ended: bool,
}

impl HexStream {
    /// An empty stream.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            octets: Vec::new(),
            start: 0,
            half: None,
            line: 1,
            column: 0,
            in_comment: false,
            gone: 0,
            lines: VecDeque::from([(1, 0)]),
            last_line: 1,
            ended: false,
        }
    }

    /// Takes more text, cut anywhere.
    ///
    /// # Errors
    /// [`InputError::Digit`]; what stands before it counts.
    pub fn push(&mut self, text: &[u8]) -> Result<(), InputError> {
        // Once for what one call brought: not for every message in it.
        self.gone += self.start;
        self.octets.drain(..self.start);
        self.start = 0;
        let is_behind = |(_, next): &(usize, usize)| *next <= self.gone;
        while self.lines.get(1).is_some_and(is_behind) {
            self.lines.pop_front();
        }
        for (place, &octet) in text.iter().enumerate() {
            self.column += 1;
            match octet {
                b'\n' => {
                    self.line += 1;
                    (self.column, self.in_comment) = (0, false);
                    let first = self.gone + self.octets.len();
                    self.lines.push_back((self.line, first));
                }
                _ if self.in_comment => {}
                b'#' => self.in_comment = true,
                b' ' | b'\t' | b'\r' => {}
                octet => {
                    let Some(digit) = digit(octet.into()) else {
                        let rest = text.get(place..).unwrap_or_default();
                        return Err(self.not_a_digit(rest));
                    };
                    self.last_line = self.line;
                    match self.half.take() {
                        None => self.half = Some(digit),
                        Some(high) => self.octets.push(high << 4 | digit),
                    }
                }
            }
        }
        Ok(())
    }

    fn not_a_digit(&self, rest: &[u8]) -> InputError {
        // No character has more octets than these.
        let rest = rest.get(..4).unwrap_or(rest);
        let found = String::from_utf8_lossy(rest).chars().next();
        InputError::Digit {
            line: self.line,
            column: self.column,
            found: found.unwrap_or(char::REPLACEMENT_CHARACTER),
        }
    }

    /// Says that there is no more text: what is there is all there is.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// What is left when no message comes any more.
    ///
    /// # Errors
    /// [`InputError::Odd`] or [`InputError::CutOff`]: the text ended too early.
    pub fn rest(&self) -> Result<(), InputError> {
        if self.half.is_some() {
            return Err(InputError::Odd {
                line: self.last_line,
            });
        }
        let left = self.octets.get(self.start..).unwrap_or_default();
        match next(left, &self.options, true) {
            Step::Incomplete(expected) if !left.is_empty() => Err(InputError::CutOff {
                line: self.line_of(self.gone + self.start),
                octet: self.gone + self.start + 1,
                there: left.len(),
                expected,
            }),
            Step::Incomplete(_) | Step::Message(..) => Ok(()),
        }
    }

    fn line_of(&self, octet: usize) -> usize {
        let before = self.lines.iter().rev().find(|(_, first)| *first <= octet);
        before.map_or(self.line, |(line, _)| *line)
    }
}

impl Iterator for HexStream {
    type Item = Decoded;

    /// The next message that is whole; `None` until there is one.
    fn next(&mut self) -> Option<Decoded> {
        let left = self.octets.get(self.start..)?;
        if left.is_empty() {
            return None;
        }
        match next(left, &self.options, self.ended) {
            Step::Message(decoded, taken) => {
                self.start += taken;
                Some(*decoded)
            }
            Step::Incomplete(_) => None,
        }
    }
}
