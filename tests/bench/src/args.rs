//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{
    daemon::Kind, error::Error, fib::Waits, lifecycle::Phase, prefix::Family, reflect::Shape,
};

/// BGP daemons side by side: the same routes in and out, timed and checked.
///
/// Runs as root, in network namespaces of its own. Prints one table per scenario with the ratio
/// to the yardstick; exits with an error when a daemon lost or changed a route.
#[derive(Debug, Parser)]
#[command(name = "wayleave-bench", version)]
pub(crate) struct Args {
    /// Routes in the table.
    #[arg(long, default_value_t = 200_000)]
    routes: usize,
    /// How often each daemon runs, in turns; figures are medians.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Which daemons, in this order; those not installed are skipped and named.
    #[arg(long, value_delimiter = ',', default_value = "wire,wayleaved,bird,frr")]
    daemons: Vec<Kind>,
    /// What to measure over each daemon's life with the table.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "transfer,latency,withdraw,reannounce,late-joiner,peer-down"
    )]
    phases: Vec<Phase>,
    /// Address families, one table each (reflections use the first); without a value: no table.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "ipv4,ipv6")]
    families: Vec<Family>,
    /// Single changes to time for the latency.
    #[arg(long, default_value_t = 2000)]
    samples: usize,
    /// Seconds at most for those; the report says how many were taken.
    #[arg(long, default_value_t = 20)]
    latency_seconds: u64,
    /// Readers of the table beside which one more peer reads slowly or not at all; 0: not measured.
    #[arg(long, value_name = "READERS", default_value_t = 10)]
    readers: usize,
    /// Reflections to measure, peers times routes each; without a value: none.
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 0..,
        default_value = "50x1000,100x1000,250x200"
    )]
    reflect: Vec<Shape>,
    /// Routes to put into the kernel of the daemon's namespace; 0: not measured.
    #[arg(long, value_name = "ROUTES", default_value_t = 200_000)]
    kernel: usize,
    /// An MRT file with a recorded IPv4 session (BGP4MP, four-octet AS, .gz or plain): all of its
    /// routes make one more table, measured as the others are.
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    pub(crate) feed: Option<PathBuf>,
    /// Seed of the synthetic table.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// What ratios are relative to.
    #[arg(long, default_value = "bird")]
    pub(crate) yardstick: Kind,
    /// Run generator, sink and daemons under SCHED_FIFO: other work on the machine hardly disturbs
    /// the figures then, but waits meanwhile.
    #[arg(long)]
    pub(crate) realtime: bool,
    /// Time single changes once more with every processor kept from halting: threads under
    /// SCHED_IDLE spin meanwhile and give way to everybody. What a virtual machine needs to wake a
    /// halted processor is most of these figures, and comes or not by chance.
    #[arg(long)]
    pub(crate) awake: bool,
    /// Our daemon, when it is not built beside this program and WAYLEAVED does not name it.
    #[arg(long, value_name = "PATH")]
    pub(crate) wayleaved: Option<PathBuf>,
    /// Also write every sample as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also write the page for the manual, as docs/benchmarks.md.
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// Small and short (20,000 routes, half of them into the kernel, one run, 200 samples, no slow
    /// readers): does it still work?
    #[arg(long, conflicts_with_all = ["routes", "runs", "samples", "latency_seconds", "readers", "reflect", "kernel"])]
    pub(crate) quick: bool,
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) routes: usize,
    pub(crate) runs: usize,
    pub(crate) daemons: Vec<Kind>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) families: Vec<Family>,
    pub(crate) samples: usize,
    pub(crate) latency_budget: Duration,
    pub(crate) reflections: Vec<Shape>,
    pub(crate) readers: usize,
    /// Routes into the kernel.
    pub(crate) kernel: usize,
    pub(crate) waits: Waits,
}

impl Plan {
    /// How many peers a scenario has at most.
    pub(crate) fn most_peers(&self) -> usize {
        let reflected = self.reflections.iter().map(|shape| shape.peers);
        reflected.max().unwrap_or(0).max(self.readers + 2).max(3)
    }
}

impl Args {
    /// Checks the numbers and settles what `--quick` means.
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let plan = Plan {
            routes: if self.quick { 20_000 } else { self.routes },
            runs: if self.quick { 1 } else { self.runs },
            daemons: self.daemons.clone(),
            phases: self.phases.clone(),
            families: self.families.clone(),
            readers: if self.quick { 0 } else { self.readers.min(100) },
            kernel: if self.quick { 10_000 } else { self.kernel },
            reflections: if self.quick {
                vec![Shape {
                    peers: 20,
                    routes: 100,
                }]
            } else {
                self.reflect.clone()
            },
            samples: if self.quick { 200 } else { self.samples },
            latency_budget: if self.quick {
                Duration::from_millis(500)
            } else {
                Duration::from_secs(self.latency_seconds)
            },
            waits: if self.quick {
                Waits {
                    quiet: Duration::from_millis(100),
                    unnoticed: Duration::from_millis(500),
                }
            } else {
                Waits {
                    quiet: Duration::from_millis(300),
                    unnoticed: Duration::from_secs(10),
                }
            },
        };
        for (name, value, most) in [
            ("routes", plan.routes, 4_000_000),
            ("kernel", plan.kernel.max(1), 4_000_000),
            ("runs", plan.runs, 1000),
            ("samples", plan.samples, 60_000),
        ] {
            if value == 0 || value > most {
                return Err(Error::Usage(format!(
                    "--{name} is {value}; it must be 1 to {most}"
                )));
            }
        }
        Ok(plan)
    }
}
