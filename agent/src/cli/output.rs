//! Where answers go: one locked, buffered writer, and the form that was asked for.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::Value;

use super::Format;

/// Standard output for the time of one command.
pub(super) struct Output<'a> {
    writer: BufWriter<StdoutLock<'a>>,
    format: Format,
}

impl<'a> Output<'a> {
    pub(super) fn new(stdout: StdoutLock<'a>, format: Format) -> Self {
        Self {
            writer: BufWriter::new(stdout),
            format,
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn is_wide(&self) -> bool {
        self.format == Format::Wide
    }

    pub(super) fn set_json(&mut self) {
        self.format = Format::Json;
    }

    /// The answer as it came.
    pub(super) fn json(&mut self, value: &Value) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.writer, value).map_err(io::Error::from)?;
        writeln!(self.writer)
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
