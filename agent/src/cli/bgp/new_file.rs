//! A file that is there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::super::CommandError;
use crate::text::io_reason;

/// A file that is written beside its place, under a name of its own, and put there when it is whole:
/// who reads meanwhile has the one before. Dropped without [`commit`](NewFile::commit) it is gone.
#[derive(Debug)]
pub(super) struct NewFile {
    place: PathBuf,
    partial: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl NewFile {
    /// # Errors
    /// When the place is no file, or nothing can be written beside it.
    pub(super) fn create(place: &Path) -> Result<Self, CommandError> {
        // A link stays one, and the file behind it is replaced.
        let place = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        let before = fs::metadata(&place).ok();
        if before.as_ref().is_some_and(|before| !before.is_file()) {
            return Err(CommandError::Usage(format!(
                "{} is there and is no file: name one, or write to standard output (`-`)",
                place.display()
            )));
        }
        let mut partial = place.clone().into_os_string();
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = PathBuf::from(partial);
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&partial);
        let file = opened.map_err(|error| cannot("write", &partial, &error))?;
        let new = Self {
            place,
            partial,
            writer: Some(BufWriter::new(file)),
        };
        if let Some(before) = before {
            // Who could read the one before can read this one.
            let kept = fs::set_permissions(&new.partial, before.permissions());
            kept.map_err(|error| cannot("set the mode of", &new.partial, &error))?;
        }
        Ok(new)
    }

    /// Appends.
    pub(super) fn write(&mut self, octets: &[u8]) -> Result<(), CommandError> {
        match &mut self.writer {
            Some(writer) => writer
                .write_all(octets)
                .map_err(|error| cannot("write", &self.partial, &error)),
            None => Ok(()),
        }
    }

    /// Puts the file into its place.
    pub(super) fn commit(mut self) -> Result<(), CommandError> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let whole = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            // The name must not be on the disk before the content is.
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.place));
        whole.map_err(|error| {
            let error = cannot("write", &self.place, &error);
            let _ = fs::remove_file(&self.partial);
            error
        })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Why something cannot be done with a file.
pub(super) fn cannot(what: &str, path: &Path, error: &io::Error) -> CommandError {
    CommandError::Usage(format!(
        "cannot {what} {}: {}",
        path.display(),
        io_reason(error)
    ))
}
