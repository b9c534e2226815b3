//! The files a configuration is made of, and places in them.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    diagnostic::ConfigErrors,
    setting::{Location, Origin},
};

/// Where the configuration lies unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/wayleave/wayleave.toml";

/// More than this is not a configuration; reading goes no further.
const LARGEST_FILE: u64 = 16 << 20;

/// A stretch of one file, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub(super) file: usize,
    pub(super) span: Range<usize>,
    /// It lies in the table of this peer group.
    pub(super) group: Option<Arc<str>>,
}

impl Place {
    pub(super) fn new(file: usize, span: Range<usize>) -> Self {
        Self {
            file,
            span,
            group: None,
        }
    }
}

/// The texts of a configuration in the order they are merged: the main file, then the drop-ins
/// by name.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
    directory: PathBuf,
}

#[derive(Clone, Debug)]
struct SourceFile {
    path: Arc<Path>,
    text: String,
    lines: Vec<usize>,
}

impl Sources {
    /// Reads `path` and the `conf.d/*.toml` beside it. With `optional` a missing main file is no
    /// error (the drop-ins are read all the same).
    ///
    /// # Errors
    /// A file that cannot be read, is not UTF-8, or is larger than 16 MiB.
    pub fn read(path: &Path, optional: bool) -> Result<Self, ConfigErrors> {
        let main = if path.is_dir() {
            path.join("wayleave.toml")
        } else {
            path.to_owned()
        };
        let directory = main.parent().map(Path::to_owned).unwrap_or_default();
        let mut sources = Self {
            files: Vec::new(),
            directory,
        };
        let mut errors = Vec::new();
        match read_file(&main) {
            Ok(text) => sources.push(&main, text),
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => errors.push((main, error)),
        }
        match drop_ins(&sources.directory.join("conf.d")) {
            Ok(paths) => {
                for path in paths {
                    match read_file(&path) {
                        Ok(text) => sources.push(&path, text),
                        Err(error) => errors.push((path, error)),
                    }
                }
            }
            Err(error) => errors.push((sources.directory.join("conf.d"), error)),
        }
        if errors.is_empty() {
            Ok(sources)
        } else {
            Err(ConfigErrors::unreadable(errors))
        }
    }

    /// Texts that come from elsewhere than the file system, by the name they are shown under.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources = Self::default();
        for (name, text) in texts {
            sources.push(Path::new(name), text.to_owned());
        }
        if let Some(first) = sources.files.first() {
            sources.directory = first.path.parent().map(Path::to_owned).unwrap_or_default();
        }
        sources
    }

    /// The directory of the main file: `conf.d` and `services.d` are looked for here.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files read, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files
            .iter()
            .map(|file| file.path.to_path_buf())
            .collect()
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = (usize, &str)> {
        self.files
            .iter()
            .enumerate()
            .map(|(index, file)| (index, file.text.as_str()))
    }

    /// The file, line and column of the first byte of a place.
    pub fn locate(&self, place: &Place) -> Location {
        let Some(file) = self.files.get(place.file) else {
            return Location {
                path: Arc::from(Path::new("")),
                line: 0,
                column: 0,
            };
        };
        let line = file.line_at(place.span.start);
        let start = file.lines[line];
        let end = place.span.start.clamp(start, file.text.len());
        let column = file
            .text
            .get(start..end)
            .map_or(0, |text| text.chars().count());
        Location {
            path: Arc::clone(&file.path),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn origin(&self, place: &Place) -> Origin {
        let location = self.locate(place);
        match &place.group {
            Some(group) => Origin::Group(Arc::clone(group), location),
            None => Origin::File(location),
        }
    }

    /// The line a place begins in, and which of its characters the place covers.
    pub(super) fn excerpt(&self, place: &Place) -> Option<(&str, Range<usize>)> {
        let file = self.files.get(place.file)?;
        let line = file.line_at(place.span.start);
        let start = file.lines[line];
        let end = file
            .lines
            .get(line + 1)
            .map_or(file.text.len(), |next| next - 1);
        let text = file.text.get(start..end)?.trim_end_matches('\r');
        let characters = |until: usize| {
            let until = until.clamp(start, start + text.len());
            file.text
                .get(start..until)
                .map_or(0, |text| text.chars().count())
        };
        Some((
            text,
            characters(place.span.start)..characters(place.span.end),
        ))
    }

    fn push(&mut self, path: &Path, text: String) {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0)
            .chain(starts.map(|(at, _)| at + 1))
            .collect();
        self.files.push(SourceFile {
            path: Arc::from(path),
            text,
            lines,
        });
    }
}

impl SourceFile {
    fn line_at(&self, byte: usize) -> usize {
        self.lines
            .partition_point(|start| *start <= byte)
            .saturating_sub(1)
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    String::from_utf8(fs::read(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!("it is not UTF-8 (first at byte {at})"))
    })
}

fn drop_ins(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
            && !hidden
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_line_and_by_characters_not_bytes() {
        let sources = Sources::from_texts([("a.toml", "x = 1\nname = \"größe\" # y\n")]);
        let start = "x = 1\nname = \"größe\" # ".len();
        let place = Place::new(0, start..start + 1);
        let location = sources.locate(&place);
        assert_eq!((location.line, location.column), (2, 18));
        assert_eq!(
            sources.excerpt(&place),
            Some(("name = \"größe\" # y", 17..18))
        );
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        let sources = Sources::from_texts([("a.toml", "x = ")]);
        let place = Place::new(0, 900..901);
        assert_eq!(sources.locate(&place).column, 5);
        assert_eq!(sources.excerpt(&place), Some(("x = ", 4..4)));
    }
}
