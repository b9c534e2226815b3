//! What is wrong with a configuration, for the person who wrote it.

use std::{fmt, io, path::PathBuf};

use super::source::{Place, Sources};
use crate::text;

/// One thing that is wrong, rendered with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// `FILE:LINE:COLUMN`, or only the file.
    pub place: String,
    /// What was found and what was expected.
    pub message: String,
    /// The whole report: message, place, excerpt, help.
    pub rendered: String,
}

/// Everything that is wrong, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// At least one.
    pub diagnostics: Vec<Diagnostic>,
}

impl ConfigErrors {
    pub(super) fn unreadable(files: Vec<(PathBuf, io::Error)>) -> Self {
        let diagnostics = files.into_iter().map(|(path, error)| {
            let place = path.display().to_string();
            let message = format!("cannot read {place}: {}", text::io_reason(&error));
            let help = if error.kind() == io::ErrorKind::NotFound {
                "\n  = help: create it, or name another file with --config"
            } else if error.kind() == io::ErrorKind::PermissionDenied {
                "\n  = help: run as root, or make it readable"
            } else {
                ""
            };
            Diagnostic {
                rendered: format!("error: {message}{help}\n"),
                place,
                message,
            }
        });
        Self {
            diagnostics: diagnostics.collect(),
        }
    }

    /// One line, for a log or a problem: the first error and how many follow.
    pub fn summary(&self) -> String {
        let Some(first) = self.diagnostics.first() else {
            return "no error".to_owned();
        };
        let head = format!("{}: {}", first.place, first.message);
        match self.diagnostics.len() - 1 {
            0 => head,
            1 => format!("{head} (and one more error)"),
            more => format!("{head} (and {more} more errors)"),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            f.write_str(&diagnostic.rendered)?;
        }
        Ok(())
    }
}

/// A fault before it is rendered.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    message: String,
    place: Option<Place>,
    also: Vec<(String, Place)>,
    help: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            also: Vec::new(),
            help: None,
        }
    }

    pub(super) fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    /// Another place that has to do with it, and why.
    pub(super) fn also(mut self, why: impl Into<String>, place: &Place) -> Self {
        self.also.push((why.into(), place.clone()));
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn render(self, sources: &Sources) -> Diagnostic {
        let mut rendered = format!("error: {}\n", text::printable(&self.message));
        let place = match &self.place {
            Some(place) => {
                excerpt(&mut rendered, sources, place, "-->");
                sources.locate(place).to_string()
            }
            None => sources.paths().first().map_or_else(
                || "configuration".to_owned(),
                |path| path.display().to_string(),
            ),
        };
        for (why, place) in &self.also {
            rendered.push_str(&format!("note: {why}\n"));
            excerpt(&mut rendered, sources, place, "-->");
        }
        if let Some(help) = &self.help {
            rendered.push_str(&format!("  = help: {}\n", text::printable(help)));
        }
        Diagnostic {
            place,
            message: text::printable(&self.message),
            rendered,
        }
    }
}

/// Where faults are collected while a configuration is read and checked.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    pub(super) fn push(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn into_errors(mut self, sources: &Sources) -> ConfigErrors {
        self.list.sort_by_key(|fault| match &fault.place {
            Some(place) => (place.file, place.span.start),
            None => (usize::MAX, 0),
        });
        let diagnostics = self
            .list
            .into_iter()
            .map(|fault| fault.render(sources))
            .collect();
        ConfigErrors { diagnostics }
    }
}

/// The place, its line and a row of carets under what is meant.
fn excerpt(out: &mut String, sources: &Sources, place: &Place, arrow: &str) {
    let location = sources.locate(place);
    let number = location.line.to_string();
    let margin = " ".repeat(number.len());
    out.push_str(&format!("{margin}{arrow} {location}\n"));
    let Some((line, covered)) = sources.excerpt(place) else {
        return;
    };
    // One column per character, so that the carets stand under what they mean.
    let shown: String = line
        .chars()
        .map(|c| if text::is_hostile(c) { ' ' } else { c })
        .collect();
    let carets = "^".repeat(covered.len().max(1));
    let indent = " ".repeat(covered.start);
    out.push_str(&format!(
        "{margin} |\n{number} | {shown}\n{margin} | {indent}{carets}\n"
    ));
}

/// The known word nearest to a misspelt one, when it is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > 64 {
        return None;
    }
    let limit = (length / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_meant_and_a_strange_one_finds_none() {
        let keys = ["address", "asn", "hold_time", "import", "export"];
        assert_eq!(nearest("adress", keys), Some("address"));
        assert_eq!(nearest("holdtime", keys), Some("hold_time"));
        assert_eq!(nearest("ans", keys), Some("asn"));
        assert_eq!(nearest("improt", keys), Some("import"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", keys), None);
    }
}
