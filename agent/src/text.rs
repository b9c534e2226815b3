//! Text that reaches a terminal or a log: escaped, and worded for people.

use std::{fmt::Write as _, io};

/// The text with control characters (line breaks too) and direction overrides escaped, so that
/// what a peer or a file put in it can neither forge a line nor drive a terminal.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) {
            // Writing to a string does not fail.
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that do not print as themselves: C0 and C1 controls, and the format characters
/// that reorder or hide text (CVE-2021-42574).
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Why an operation failed, without the number of the error.
pub fn io_reason(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::NotFound, "no such file or directory"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
        (io::ErrorKind::AddrInUse, "address already in use"),
        (
            io::ErrorKind::AddrNotAvailable,
            "this host does not have that address",
        ),
        (io::ErrorKind::ConnectionRefused, "nobody answers there"),
        (io::ErrorKind::TimedOut, "no answer in time"),
        (io::ErrorKind::IsADirectory, "it is a directory"),
        (
            io::ErrorKind::NotADirectory,
            "a part of the path is not a directory",
        ),
        (
            io::ErrorKind::ReadOnlyFilesystem,
            "the file system is read-only",
        ),
        (io::ErrorKind::StorageFull, "no space left on the device"),
    ];
    if let Some((_, reason)) = known.iter().find(|(kind, _)| *kind == error.kind()) {
        return (*reason).to_owned();
    }
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_overrides_are_escaped_and_words_are_not() {
        assert_eq!(printable("grüße ✓"), "grüße ✓");
        assert_eq!(
            printable("a\nb\x1b[2J\u{202e}c"),
            "a\\nb\\u{1b}[2J\\u{202e}c"
        );
    }
}
