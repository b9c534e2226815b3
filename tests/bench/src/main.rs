//! `wayleave-bench`: BGP daemons side by side, timed and checked by an independent generator and
//! sink. What it measures and how: `docs/benchmarks.md`, whose head is `preface.md` here.

mod args;
mod awake;
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
mod overrun;
mod prefix;
mod preflight;
mod process;
mod random;
mod readers;
mod record;
mod reflect;
mod report;
mod serve;
mod session;
mod stopped;
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
    reflect::{Reflection, Shape},
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

/// Routes that are held while single changes are timed, also where the tables are larger.
const HELD: usize = 200_000;

/// Measures and reports; false when a daemon failed a run.
fn run(args: &Args) -> Result<bool, Error> {
    let plan = args.plan()?;
    preflight::check(args, &plan)?;
    // Read before hours are spent on the rest.
    let recorded = args
        .feed
        .as_ref()
        .map(|path| feed::read(path, NEIGHBOUR_AS))
        .transpose()?;
    let mut report = Report {
        sections: Vec::new(),
        versions: Vec::new(),
        skipped: Vec::new(),
        yardstick: args.yardstick,
        runs: plan.runs,
        seed: args.seed,
        source: format!("synthetic, seed {}", args.seed),
        realtime: args.realtime,
        awake: args.awake,
    };
    if let Some(feed) = &recorded {
        report.source.push_str(&format!(
            "; one from a recorded session ({} of its routes cannot pass on and are left out)",
            feed.left_out
        ));
    }
    let contenders = contenders(args, &plan, &mut report)?;
    // Writing to the host's files comes after; the namespaces hide only /run.
    if args.realtime {
        process::outrank_everybody()?;
    }
    let bench = Bench {
        fabric: Fabric::raise(plan.most_peers())?,
        plan,
        contenders,
        seed: args.seed,
        awake: args.awake,
    };
    bench.all(args.quick, recorded, &mut |section| {
        // One that nobody takes part in says nothing.
        if !(section.figures.is_empty() && section.failures.is_empty()) {
            print(&report.section(&section));
            report.sections.push(section);
        }
    })?;
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

/// The daemons that take part; the others are named in the report, with the reason.
fn contenders(args: &Args, plan: &Plan, report: &mut Report) -> Result<Vec<Contender>, Error> {
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
    if contenders.is_empty() {
        let skipped = report.skipped.iter();
        let why = skipped.map(|(kind, why)| format!("{}: {why}", kind.name()));
        return Err(Error::Problems(why.collect()));
    }
    if !contenders.iter().any(|one| one.kind == report.yardstick) {
        let name = report.yardstick.name();
        print(&format!("- no ratios: the yardstick {name} does not run\n"));
    }
    if cfg!(debug_assertions) {
        print("- generator and sink are not optimised: the figures say little\n");
    }
    Ok(contenders)
}

/// Everything the scenarios share.
struct Bench {
    fabric: Fabric,
    plan: Plan,
    contenders: Vec<Contender>,
    seed: u64,
    awake: bool,
}

impl Bench {
    /// Runs every scenario; each section goes out as soon as it is done.
    fn all(
        &self,
        hurry: bool,
        recorded: Option<feed::Feed>,
        done: &mut dyn FnMut(Section),
    ) -> Result<(), Error> {
        let plan = &self.plan;
        for (number, &family) in plan.families.iter().enumerate() {
            // In a hurry one family shows all phases, the other that it works at all.
            let phases = if hurry && number > 0 {
                &[Phase::Transfer][..]
            } else {
                &plan.phases
            };
            done(self.life(family, phases, &self.table(family, plan.routes), "")?);
        }
        if let Some(feed) = recorded {
            done(self.life(
                Family::Ipv4,
                &plan.phases,
                &feed.table,
                " of a recorded feed",
            )?);
        }
        if plan.phases.contains(&Phase::Latency) && plan.routes > HELD {
            for &family in &plan.families {
                let phases = [Phase::Transfer, Phase::Latency];
                done(self.life(family, &phases, &self.table(family, HELD), "")?);
            }
        }
        // Of these one family says it.
        if let Some(&family) = plan.families.first().filter(|_| plan.readers > 0) {
            done(self.slow_readers(family)?);
        }
        for &shape in &plan.reflections {
            let family = plan.families.first().copied().unwrap_or(Family::Ipv4);
            done(self.reflection(family, shape)?);
        }
        let families = plan.families.iter().filter(|_| plan.kernel > 0);
        for &family in families.take(if hurry { 1 } else { usize::MAX }) {
            done(self.kernel(family)?);
        }
        Ok(())
    }

    fn table(&self, family: Family, routes: usize) -> Table {
        Table::synthetic(family, routes, NEIGHBOUR_AS, self.seed)
    }

    fn sampling(&self) -> Sampling {
        Sampling {
            samples: self.plan.samples,
            budget: self.plan.latency_budget,
            awake: self.awake,
        }
    }

    fn life(
        &self,
        family: Family,
        phases: &[Phase],
        table: &Table,
        origin: &str,
    ) -> Result<Section, Error> {
        let workload = Workload::new(family, table)?;
        let (routes, sets) = (workload.routes, table.groups.len());
        let from = if origin.is_empty() { "table" } else { "feed" };
        let mut section = Section {
            title: format!("{routes} {family} routes{origin}, {sets} attribute sets"),
            key: format!("{from}-{family}-{routes}").to_lowercase(),
            ..Section::default()
        };
        self.in_turns(&mut section, |contender, measured| {
            let (fabric, sampling) = (&self.fabric, self.sampling());
            lifecycle::run(fabric, contender, &workload, phases, sampling, measured)
        });
        Ok(section)
    }

    fn slow_readers(&self, family: Family) -> Result<Section, Error> {
        let Plan {
            readers, routes, ..
        } = self.plan;
        let workload = Workload::new(family, &self.table(family, routes))?;
        let mut section = Section {
            title: format!(
                "Slow and dead readers beside {readers} others, {routes} {family} routes"
            ),
            key: format!("readers-{family}-{routes}").to_lowercase(),
            ..Section::default()
        };
        self.in_turns(&mut section, |contender, measured| {
            if contender.kind == Kind::Wire {
                // Nobody stands between its readers.
                return Ok(());
            }
            readers::run(&self.fabric, contender, &workload, readers, measured)
        });
        Ok(section)
    }

    fn reflection(&self, family: Family, shape: Shape) -> Result<Section, Error> {
        let reflection = Reflection::new(family, shape)?;
        let mut section = Section {
            title: format!("Reflector, {shape}, {family}"),
            key: format!("reflect-{family}-{}x{}", shape.peers, shape.routes).to_lowercase(),
            ..Section::default()
        };
        self.in_turns(&mut section, |contender, measured| {
            reflect::run(&self.fabric, contender, &reflection, measured)
        });
        Ok(section)
    }

    fn kernel(&self, family: Family) -> Result<Section, Error> {
        let routes = self.plan.kernel;
        let (all, half) = (self.table(family, routes), self.table(family, routes / 2));
        let load = kernel::Load::new(family, &all, &half, self.plan.waits)?;
        let mut section = Section {
            title: format!("Into the kernel, {routes} {family} routes"),
            key: format!("kernel-{family}-{routes}").to_lowercase(),
            yardstick: Some(Kind::Wire),
            absent: (self.contenders.iter())
                .filter_map(|one| one.installs().err().map(|why| (one.kind, why)))
                .collect(),
            ..Section::default()
        };
        let mut remarks = Vec::new();
        self.in_turns(&mut section, |contender, measured| {
            let mut said = Vec::new();
            let (fabric, sampling) = (&self.fabric, self.sampling());
            let done = kernel::run(fabric, contender, &load, sampling, measured, &mut said);
            remarks.extend(said.into_iter().map(|why| (contender.kind, why)));
            done
        });
        // The runs may say the same.
        remarks.sort();
        remarks.dedup();
        section.remarks = remarks;
        Ok(section)
    }

    /// Runs the daemons one after the other, again and again: what disturbs the machine for a while
    /// hits all of them. A daemon that failed is not tried again.
    fn in_turns(
        &self,
        section: &mut Section,
        mut run: impl FnMut(&Contender, &mut Vec<Measurement>) -> Result<(), Error>,
    ) {
        let runs = self.plan.runs;
        for round in 1..=runs {
            for contender in &self.contenders {
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
                    Ok(()) => eprintln!("{title}: {name}, run {round} of {runs}: {took:.1} s"),
                    Err(error) => {
                        eprintln!("{title}: {name}, run {round} FAILED: {error}");
                        let why = format!("run {round}: {error}");
                        section.failures.push((kind, why));
                    }
                }
            }
        }
    }
}

#[allow(clippy::print_stdout, reason = "the report is this program's output")]
fn print(text: &str) {
    print!("{text}");
}
