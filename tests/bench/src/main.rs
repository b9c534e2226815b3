//! `wayleave-bench`: BGP daemons side by side, timed and checked by an independent generator and
//! sink. What it measures and how: `docs/benchmarks.md`, whose head is `preface.md` here.

mod args;
mod canonical;
mod check;
mod daemon;
mod decode;
mod encode;
mod error;
mod fabric;
mod feed;
mod fib;
mod kernel;
mod latency;
mod lifecycle;
mod measure;
mod netlink;
mod prefix;
mod process;
mod random;
mod readers;
mod record;
mod reflect;
mod report;
mod serve;
mod session;
mod table;

use std::{fs, process::ExitCode, time::Instant};

use clap::Parser;

use crate::{
    args::{Args, Plan},
    daemon::{Contender, Kind},
    error::Error,
    fabric::Fabric,
    lifecycle::{NEIGHBOUR_AS, Phase, Sampling, Workload},
    measure::{Measurement, Section},
    prefix::Family,
    reflect::Reflection,
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
        realtime: args.realtime,
    };
    let mut contenders = Vec::new();
    for &kind in &plan.daemons {
        let named = args
            .wayleaved
            .as_deref()
            .filter(|_| kind == Kind::Wayleaved);
        match Contender::find(kind, named) {
            Ok(contender) => {
                report.versions.push((kind, contender.version.clone()));
                contenders.push(contender);
            }
            Err(why) => {
                print(&format!("- {} skipped: {why}\n", kind.name()));
                report.skipped.push((kind, why));
            }
        }
    }
    // Writing to the host's files comes after; the namespaces hide only /run.
    if args.realtime {
        process::outrank_everybody()?;
    }
    let reflected = plan
        .reflections
        .iter()
        .map(|shape| shape.peers)
        .max()
        .unwrap_or(0);
    let fabric = Fabric::raise(reflected.max(plan.readers + 2).max(3))?;
    for (number, &family) in plan.families.iter().enumerate() {
        // In a hurry one family shows all phases, the other that it works at all.
        let hurry = args.quick && number > 0;
        let phases = if hurry {
            &[Phase::Transfer][..]
        } else {
            &plan.phases
        };
        let table = match &args.feed {
            Some(path) if family == Family::Ipv4 => {
                let feed = feed::read(path, NEIGHBOUR_AS)?;
                report.source.push_str(&format!(
                    "; IPv4 from a recorded session ({} of its routes cannot pass on and are left out)",
                    feed.left_out
                ));
                feed.table
            }
            _ => Table::synthetic(family, plan.routes, NEIGHBOUR_AS, args.seed),
        };
        let section = life_with_a_table(&fabric, &plan, family, phases, table, &contenders)?;
        print(&report.section(&section));
        report.sections.push(section);
    }
    let slow = plan.families.first().filter(|_| plan.readers > 0);
    if let Some(&family) = slow.filter(|_| contenders.iter().any(|one| one.kind != Kind::Wire)) {
        let section = slow_readers(&fabric, &plan, family, args.seed, &contenders)?;
        print(&report.section(&section));
        report.sections.push(section);
    }
    for &shape in &plan.reflections {
        let family = plan.families.first().copied().unwrap_or(Family::Ipv4);
        let reflection = Reflection::new(family, shape)?;
        let mut section = Section {
            title: format!("Reflector, {shape}, {family}"),
            key: format!("reflect-{family}-{}x{}", shape.peers, shape.routes).to_lowercase(),
            ..Section::default()
        };
        in_turns(&plan, &contenders, &mut section, |contender, measured| {
            reflect::run(&fabric, contender, &reflection, measured)
        });
        print(&report.section(&section));
        report.sections.push(section);
    }
    for &family in plan.families.iter().filter(|_| plan.kernel > 0) {
        let section = into_the_kernel(&fabric, &plan, family, args.seed, &contenders)?;
        print(&report.section(&section));
        report.sections.push(section);
    }
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", report.json());
        fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))?;
    }
    if let Some(path) = &args.write {
        let said = format!("write {}", path.display());
        fs::write(path, report.page()).map_err(Error::io(said))?;
    }
    Ok(report
        .sections
        .iter()
        .all(|section| section.failures.is_empty()))
}

fn life_with_a_table(
    fabric: &Fabric,
    plan: &Plan,
    family: Family,
    phases: &[Phase],
    table: Table,
    contenders: &[Contender],
) -> Result<Section, Error> {
    let sets = table.groups.len();
    let workload = Workload::new(family, &table)?;
    drop(table);
    let mut section = Section {
        title: format!("{} {family} routes, {sets} attribute sets", workload.routes),
        key: format!("table-{family}-{}", workload.routes).to_lowercase(),
        ..Section::default()
    };
    let sampling = Sampling {
        samples: plan.samples,
        budget: plan.latency_budget,
    };
    in_turns(plan, contenders, &mut section, |contender, measured| {
        lifecycle::run(fabric, contender, &workload, phases, sampling, measured)
    });
    Ok(section)
}

fn slow_readers(
    fabric: &Fabric,
    plan: &Plan,
    family: Family,
    seed: u64,
    contenders: &[Contender],
) -> Result<Section, Error> {
    let table = Table::synthetic(family, plan.routes, NEIGHBOUR_AS, seed);
    let workload = Workload::new(family, &table)?;
    drop(table);
    let mut section = Section {
        title: format!(
            "Slow and dead readers beside {} others, {} {family} routes",
            plan.readers, plan.routes
        ),
        key: format!("readers-{family}-{}", plan.routes).to_lowercase(),
        ..Section::default()
    };
    in_turns(plan, contenders, &mut section, |contender, measured| {
        if contender.kind == Kind::Wire {
            // Nobody stands between its readers.
            return Ok(());
        }
        readers::run(fabric, contender, &workload, plan.readers, measured)
    });
    Ok(section)
}

fn into_the_kernel(
    fabric: &Fabric,
    plan: &Plan,
    family: Family,
    seed: u64,
    contenders: &[Contender],
) -> Result<Section, Error> {
    let table = Table::synthetic(family, plan.kernel, NEIGHBOUR_AS, seed);
    let load = kernel::Load::new(family, &table)?;
    drop(table);
    let mut section = Section {
        title: format!("Into the kernel, {} {family} routes", plan.kernel),
        key: format!("kernel-{family}-{}", plan.kernel).to_lowercase(),
        yardstick: Some(Kind::Wire),
        absent: contenders
            .iter()
            .filter_map(|one| one.installs().err().map(|why| (one.kind, why)))
            .collect(),
        ..Section::default()
    };
    let sampling = Sampling {
        samples: plan.samples,
        budget: plan.latency_budget,
    };
    in_turns(plan, contenders, &mut section, |contender, measured| {
        kernel::run(fabric, contender, &load, sampling, measured)
    });
    Ok(section)
}

/// Runs the daemons one after the other, again and again: what disturbs the machine for a while
/// hits all of them. A daemon that failed is not tried again.
fn in_turns(
    plan: &Plan,
    contenders: &[Contender],
    section: &mut Section,
    mut run: impl FnMut(&Contender, &mut Vec<Measurement>) -> Result<(), Error>,
) {
    for round in 1..=plan.runs {
        for contender in contenders {
            let kind = contender.kind;
            let mut out = section.failures.iter().chain(&section.absent);
            if out.any(|(failed, _)| *failed == kind) {
                continue;
            }
            let begun = Instant::now();
            let mut measured = Vec::new();
            let done = run(contender, &mut measured);
            section.add(kind, &measured);
            let (name, title) = (kind.name(), &section.title);
            let took = begun.elapsed().as_secs_f64();
            match done {
                Ok(()) => eprintln!("{title}: {name}, run {round} of {}: {took:.1} s", plan.runs),
                Err(error) => {
                    eprintln!("{title}: {name}, run {round} FAILED: {error}");
                    section
                        .failures
                        .push((kind, format!("run {round}: {error}")));
                }
            }
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is this program's output")]
fn print(text: &str) {
    print!("{text}");
}
