//! The same figures three ways: Markdown for people and for `docs/`, JSON for machines.

use std::{fmt::Write as _, fs, process::Command};

use serde_json::{Value, json};

use crate::{daemon::Kind, measure::Section};

/// Everything one invocation found out.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) sections: Vec<Section>,
    /// Daemons that took part, with the versions they state.
    pub(crate) versions: Vec<(Kind, String)>,
    /// Daemons that did not, and why.
    pub(crate) skipped: Vec<(Kind, String)>,
    pub(crate) yardstick: Kind,
    pub(crate) runs: usize,
    pub(crate) seed: u64,
    /// Whether everything ran under SCHED_FIFO.
    pub(crate) realtime: bool,
    /// Whether single changes were also timed with all processors awake.
    pub(crate) awake: bool,
    /// Where the table came from, in words.
    pub(crate) source: String,
}

impl Report {
    /// All sections, and who is missing.
    fn markdown(&self) -> String {
        let sections = self.sections.iter().map(|section| self.section(section));
        let mut text: String = sections.collect();
        for (kind, why) in &self.skipped {
            let _ = writeln!(text, "- {} skipped: {why}", kind.name());
        }
        text
    }

    /// A section as a Markdown table, columns aligned so that it reads well as text too.
    pub(crate) fn section(&self, section: &Section) -> String {
        let mut text = format!("### {}\n\n{}\n", section.title, self.table(section));
        for (kind, why) in &section.failures {
            let why = why.replace('\n', "\n  ");
            let _ = writeln!(text, "- **{} failed**: {why}", kind.name());
        }
        for (kind, why) in &section.absent {
            let _ = writeln!(text, "- {} is not in this: {why}", kind.name());
        }
        for (kind, why) in &section.remarks {
            let _ = writeln!(text, "- {}: {why}", kind.name());
        }
        let lists = [&section.failures, &section.absent, &section.remarks];
        if lists.iter().any(|list| !list.is_empty()) {
            text.push('\n');
        }
        text
    }

    fn table(&self, section: &Section) -> String {
        let kinds: Vec<Kind> = self.versions.iter().map(|v| v.0).collect();
        let head = |kind: &Kind| match self.versions.iter().find(|v| v.0 == *kind) {
            Some((_, version)) if !version.is_empty() => format!("{} {version}", kind.name()),
            _ => kind.name().to_owned(),
        };
        let yardstick = section.yardstick.unwrap_or(self.yardstick);
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(kinds.iter().map(head));
        for &metric in section.figures.keys() {
            let mut row = vec![metric.title().to_owned()];
            row.extend(
                kinds
                    .iter()
                    .map(|kind| section.cell(metric, *kind, yardstick)),
            );
            rows.push(row);
        }
        let columns = rows[0].len();
        let width = |at: usize| {
            rows.iter()
                .map(|r| r[at].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(text, "| {cell:width$} ");
            }
            text.push_str("|\n");
            if number == 0 {
                for width in &widths {
                    let _ = write!(text, "|{:-<1$}", "", width + 2);
                }
                text.push_str("|\n");
            }
        }
        text
    }

    /// The page for `docs/`: what was measured on what, and how to do it again.
    pub(crate) fn page(&self) -> String {
        let mut text = String::from(PREFACE);
        let _ = writeln!(text, "\n## Last run\n");
        let _ = writeln!(
            text,
            "{}, {}{}. Medians of {} runs, daemons in turns; in parentheses the ratio to {}. Table: {}.\n",
            date(),
            machine(),
            if self.realtime { ", SCHED_FIFO" } else { "" },
            self.runs,
            self.yardstick.name(),
            self.source,
        );
        text.push_str(&self.markdown());
        text.push('\n');
        text.push_str(WHY);
        text
    }

    /// Every sample, not only medians.
    pub(crate) fn json(&self) -> Value {
        let sections: Vec<Value> = self
            .sections
            .iter()
            .map(|section| {
                let failures: Vec<_> = section
                    .failures
                    .iter()
                    .map(|(kind, why)| json!({ "daemon": kind, "why": why }))
                    .collect();
                let remarks: Vec<_> = section
                    .remarks
                    .iter()
                    .map(|(kind, why)| json!({ "daemon": kind, "why": why }))
                    .collect();
                let mut figures = serde_json::Map::new();
                for (metric, by_kind) in &section.figures {
                    let samples: serde_json::Map<_, _> = by_kind
                        .iter()
                        .map(|(kind, samples)| (kind.name().to_owned(), json!(samples)))
                        .collect();
                    let name = json!(metric).as_str().unwrap_or_default().to_owned();
                    figures.insert(name, Value::Object(samples));
                }
                json!({ "scenario": section.key, "title": section.title, "figures": figures, "failures": failures, "remarks": remarks })
            })
            .collect();
        let named = |list: &[(Kind, String)]| -> serde_json::Map<String, Value> {
            list.iter()
                .map(|(kind, said)| (kind.name().to_owned(), json!(said)))
                .collect()
        };
        json!({
            "date": date(),
            "machine": machine(),
            "realtime": self.realtime,
            "awake": self.awake,
            "runs": self.runs,
            "seed": self.seed,
            "table": self.source,
            "yardstick": self.yardstick,
            "versions": named(&self.versions),
            "skipped": named(&self.skipped),
            "sections": sections,
        })
    }
}

const PREFACE: &str = include_str!("preface.md");
/// Where the time goes, written by hand: a bench tells how long, a profile what for.
const WHY: &str = include_str!("why.md");

fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map_or_else(
        |_| "date unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Cores, processor, kernel: what the figures depend on, and no names.
fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel
        .trim()
        .split('-')
        .next()
        .unwrap_or_default()
        .to_owned();
    format!("{cores} cores ({model}), Linux {kernel}")
}
