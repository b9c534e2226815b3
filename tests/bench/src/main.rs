//! `wayleave-bench`: BGP daemons side by side, timed and checked by an independent generator and
//! sink. What it measures and how: `docs/benchmarks.md`, whose head is `preface.md` here.

mod args;
mod check;
mod daemon;
mod decode;
mod encode;
mod error;
mod fabric;
mod latency;
mod lifecycle;
mod measure;
mod prefix;
mod process;
mod random;
mod record;
mod report;
mod session;
mod table;

use std::{fs, process::ExitCode, time::Instant};

use clap::Parser;

use crate::{
    args::Args,
    daemon::Kind,
    error::Error,
    fabric::Fabric,
    lifecycle::{NEIGHBOUR_AS, Sampling, Workload},
    measure::Section,
    prefix::Family,
    report::Report,
    table::Table,
};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wayleave-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and reports; false when a daemon failed a run.
fn run(args: &Args) -> Result<bool, Error> {
    let plan = args.plan()?;
    let mut report = Report {
        sections: Vec::new(),
        versions: Vec::new(),
        skipped: Vec::new(),
        yardstick: args.yardstick,
        runs: plan.runs,
        seed: args.seed,
        source: format!("synthetic, seed {}", args.seed),
    };
    for &kind in &plan.daemons {
        match kind.program() {
            Ok(_) => report.versions.push((kind, kind.version())),
            Err(why) => {
                eprintln!("{} skipped: {why}", kind.name());
                report.skipped.push((kind, why));
            }
        }
    }
    // Writing to the host's files comes after; the namespaces hide only /run.
    let fabric = Fabric::raise(3)?;
    let kinds: Vec<Kind> = report.versions.iter().map(|v| v.0).collect();
    for &family in &plan.families {
        report.sections.push(life_with_a_table(&fabric, &plan, family, args.seed, &kinds)?);
    }
    print(&report.markdown());
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", report.json());
        fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))?;
    }
    if let Some(path) = &args.write {
        let said = format!("write {}", path.display());
        fs::write(path, report.page()).map_err(Error::io(said))?;
    }
    Ok(report.sections.iter().all(|section| section.failures.is_empty()))
}

fn life_with_a_table(
    fabric: &Fabric,
    plan: &args::Plan,
    family: Family,
    seed: u64,
    kinds: &[Kind],
) -> Result<Section, Error> {
    let table = Table::synthetic(family, plan.routes, NEIGHBOUR_AS, seed);
    let sets = table.groups.len();
    let workload = Workload::new(family, &table)?;
    drop(table);
    let mut section = Section {
        title: format!("{} {family} routes, {sets} attribute sets", workload.routes()),
        key: format!("table-{family}-{}", workload.routes()).to_lowercase(),
        ..Section::default()
    };
    let sampling = Sampling { samples: plan.samples, budget: plan.latency_budget };
    for round in 0..plan.runs {
        for &kind in kinds {
            let begun = Instant::now();
            let mut measured = Vec::new();
            let done =
                lifecycle::run(fabric, kind, &workload, &plan.phases, sampling, &mut measured);
            section.add(kind, &measured);
            let took = begun.elapsed().as_secs_f64();
            let (name, family) = (kind.name(), workload.family());
            match done {
                Ok(()) => eprintln!("{name} {family}, run {} of {}: {took:.1} s", round + 1, plan.runs),
                Err(error) => {
                    eprintln!("{name} {family}, run {}: FAILED: {error}", round + 1);
                    section.failures.push((kind, format!("run {}: {error}", round + 1)));
                }
            }
        }
    }
    Ok(section)
}

#[allow(clippy::print_stdout, reason = "the report is this program's output")]
fn print(text: &str) {
    println!("{text}");
}
