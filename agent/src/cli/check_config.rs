//! `wayleave check-config [FILE|DIR]`: without the agent.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{CommandError, Outcome, output::Output, table::plural};
use crate::{
    config::{self, DEFAULT_PATH, HostFacts},
    text::printable,
};

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// A file with the conf.d beside it, or a directory.
    #[arg(value_name = "FILE|DIR")]
    path: Option<PathBuf>,
}

impl CheckConfig {
    pub(super) fn exec(self, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
        let path = self.path.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
        let loaded = config::load(path, self.path.is_none(), &HostFacts::observe());
        if out.is_json() {
            let answer = match &loaded {
                Ok(config) => json!({
                    "ok": true,
                    "files": config.files,
                    "errors": [],
                    "warnings": config::advice(config),
                }),
                Err(errors) => {
                    let list = errors.diagnostics.iter().map(|diagnostic| {
                        json!({ "place": diagnostic.place, "message": diagnostic.message })
                    });
                    json!({ "ok": false, "errors": list.collect::<Vec<_>>(), "warnings": [] })
                }
            };
            out.json(&answer)?;
            return if loaded.is_ok() {
                Ok(Outcome::Done)
            } else {
                Err(CommandError::Told)
            };
        }
        let config = match loaded {
            Ok(config) => config,
            Err(errors) => {
                write!(out, "{errors}")?;
                writeln!(out, "\n{}", plural(errors.diagnostics.len(), "error"))?;
                out.flush()?;
                return Err(CommandError::Told);
            }
        };
        for problem in config::advice(&config) {
            writeln!(out, "warning: {}", printable(&problem.what))?;
            writeln!(out, "  why  {}", printable(&problem.why))?;
            writeln!(out, "  fix  {}", printable(&problem.fix))?;
        }
        match config.files.as_slice() {
            [] => writeln!(
                out,
                "{}: there is none, so the defaults hold",
                path.display()
            )?,
            files => {
                for file in files {
                    writeln!(out, "{}: correct", file.display())?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}
