//! The lab itself: makes everything, and knows everything it made.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::agent::Agent;
use crate::bfd::Bfd;
use crate::bird::Bird;
use crate::container::Container;
use crate::error::{LabError, Why, lock};
use crate::frr::{Frr, FrrConfig};
use crate::host::Host;
use crate::link::{Link, Switch};
use crate::oracle::{Baseline, Snapshot};
use crate::process::Process;
use crate::until::until;

/// A lab. Cheap to clone; all clones are the same lab.
#[derive(Debug, Clone)]
pub struct Lab {
    inner: Arc<Inner>,
}

/// A world has one lab: what is part of it finds it here.
static CURRENT: Mutex<Weak<Inner>> = Mutex::new(Weak::new());

#[derive(Debug, Default)]
struct Inner {
    made: Mutex<Made>,
}

/// Everything that was made, for the oracle and for the description after a failure.
#[derive(Default)]
struct Made {
    hosts: Vec<Host>,
    pairs: u8,
    switches: u8,
    containers: Vec<Container>,
    agents: Vec<Agent>,
    processes: Vec<Arc<Process>>,
    views: Vec<View>,
    snapshots: Vec<Snapshot>,
    cut_off: Vec<String>,
    skipped: Option<String>,
    baseline: Option<Baseline>,
}

/// A named way to describe a part of the lab after a failure.
pub(crate) struct View {
    pub(crate) title: String,
    pub(crate) show: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Lab {
    pub(crate) fn new() -> Result<Self, LabError> {
        let lab = Self {
            inner: Arc::default(),
        };
        *lock(&CURRENT) = Arc::downgrade(&lab.inner);
        Ok(lab)
    }

    /// A fault is about to be injected into this world's lab: takes the baseline of a test that has
    /// taken none itself.
    pub(crate) fn fault_ahead() {
        let Some(inner) = lock(&CURRENT).upgrade() else {
            return;
        };
        let lab = Self { inner };
        if lab.made(|made| made.baseline.is_none()) {
            let baseline = Baseline::take_by_itself(&lab);
            lab.made(|made| made.baseline = baseline);
        }
    }

    /// Makes a host.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        let host = Host::create(name)?;
        self.made(|made| made.hosts.push(host.clone()));
        Ok(host)
    }

    /// Lays a cable between two hosts and gives both ends addresses.
    pub fn link(&self, a: &Host, b: &Host) -> Result<Link, LabError> {
        let n = self.pairs(1)?;
        // A second cable between the same two hosts needs another name.
        let name = |near: &Host, far: &Host| -> Result<String, LabError> {
            let plain = format!("to-{}", far.name());
            let taken = near
                .output(["ip", "link", "show", "dev", &plain])?
                .status
                .success();
            Ok(if taken { format!("{plain}-{n}") } else { plain })
        };
        Link::lay(n, a, b, (name(a, b)?, name(b, a)?))
    }

    /// Connects hosts by a switch, which is a host of its own.
    pub fn switch(&self, name: &str, hosts: &[&Host]) -> Result<Switch, LabError> {
        let count = u8::try_from(hosts.len()).map_err(|_| too_many("ports"))?;
        let first_pair = self.pairs(count)?;
        let host = self.host(name)?;
        let n = self.made(|made| {
            made.switches += 1;
            made.switches
        });
        Switch::build(n, host, hosts, first_pair)
    }

    /// Starts stock FRR on a host.
    pub fn frr(&self, host: &Host, config: FrrConfig) -> Result<Frr, LabError> {
        self.snapshot_once()?;
        Frr::start(self, host, config)
    }

    /// Starts stock BIRD on a host, with a configuration that need not say where to log.
    pub fn bird(&self, host: &Host, config: &str) -> Result<Bird, LabError> {
        self.snapshot_once()?;
        Bird::start(self, host, config)
    }

    /// Starts an agent on a host, with a configuration that need not say where its paths are.
    pub fn agent(&self, host: &Host, config: &str) -> Result<Agent, LabError> {
        self.snapshot_once()?;
        let agent = Agent::start(self, host, config)?;
        self.made(|made| made.agents.push(agent.clone()));
        Ok(agent)
    }

    /// Starts our BFD by itself on a host, with the arguments of the example program.
    pub fn bfd(&self, host: &Host, arguments: &[&str]) -> Result<Bfd, LabError> {
        self.snapshot_once()?;
        Bfd::start(self, host, arguments)
    }

    /// Makes a container on a host: a network namespace as a runtime makes it, not yet attached.
    pub fn container(&self, host: &Host, name: &str) -> Result<Container, LabError> {
        let container = Container::create(host, name)?;
        self.made(|made| made.containers.push(container.clone()));
        Ok(container)
    }

    /// Waits until an attempt succeeds, and returns what it returned. After the deadline it says
    /// what was waited for and why the last attempt failed; the test harness describes the lab.
    pub fn until<T>(
        &self,
        within: Duration,
        what: &str,
        attempt: impl FnMut() -> Result<T, Why>,
    ) -> Result<T, LabError> {
        until(within, what, attempt)
    }

    /// Remembers what the kernel of every host holds that is not the agents': the oracle compares
    /// at the end (I4). Taken by itself before the first daemon starts; a test that changes foreign
    /// routes, rules or nftables afterwards takes it again.
    pub fn snapshot(&self) -> Result<(), LabError> {
        let snapshots: Result<Vec<_>, _> = self.hosts().iter().map(Snapshot::take).collect();
        let snapshots = snapshots?;
        self.made(|made| made.snapshots = snapshots);
        Ok(())
    }

    /// Remembers what the agents use now: the oracle demands that memory and descriptors return to
    /// it (I6). A test takes it when the lab is at rest, before its fault; for one that does not, the
    /// lab takes a rougher one before the first fault it injects itself.
    pub fn baseline(&self) -> Result<(), LabError> {
        let baseline = Baseline::take(self)?;
        self.made(|made| made.baseline = Some(baseline));
        Ok(())
    }

    /// Declares hosts cut off from the others: the oracle does not demand that their containers be
    /// reached, nor that they reach others (I2). An empty list heals them.
    pub fn declare_cut_off(&self, hosts: &[&Host]) {
        let names = hosts.iter().map(|host| host.name().to_owned()).collect();
        self.made(|made| made.cut_off = names);
    }

    pub(crate) fn cut_off(&self) -> Vec<String> {
        self.made(|made| made.cut_off.clone())
    }

    /// Gives the test up as skipped: for what only the inside can find out, such as a part that an
    /// agent says it does not contain. In CI it is a failure, like every missing prerequisite.
    ///
    /// # Errors
    /// Always, so that `return lab.skip(..)` ends the test.
    #[track_caller]
    pub fn skip(&self, why: impl Into<String>) -> Result<(), Why> {
        let why = why.into();
        self.made(|made| made.skipped = Some(why.clone()));
        Err(Why::from(why))
    }

    pub(crate) fn skipped(&self) -> Option<String> {
        self.made(|made| made.skipped.clone())
    }

    /// All hosts, switches among them, in the order of their making.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        self.made(|made| made.hosts.clone())
    }

    /// All containers that have not been removed.
    #[must_use]
    pub fn containers(&self) -> Vec<Container> {
        self.made(|made| made.containers.clone())
    }

    /// All agents.
    #[must_use]
    pub fn agents(&self) -> Vec<Agent> {
        self.made(|made| made.agents.clone())
    }

    /// All processes that were started and have not been dismissed.
    #[must_use]
    pub fn processes(&self) -> Vec<Arc<Process>> {
        self.made(|made| made.processes.clone())
    }

    /// Starts any program as a daemon of the lab: watched by the oracle, its output in a log.
    pub fn process<const N: usize>(
        &self,
        host: &Host,
        name: &str,
        command: [&str; N],
    ) -> Result<Arc<Process>, LabError> {
        self.snapshot_once()?;
        let Some((program, arguments)) = command.split_first() else {
            return Err(LabError::Name {
                name: name.to_owned(),
                why: "no command was given",
            });
        };
        let path =
            crate::need::find(program).ok_or_else(|| LabError::NoSuchFile(program.into()))?;
        let process = Process::new(
            host,
            name,
            crate::Role::Other,
            path,
            arguments.iter().copied(),
        );
        self.register(&process);
        process.start()?;
        Ok(process)
    }

    pub(crate) fn register(&self, process: &Arc<Process>) {
        self.made(|made| made.processes.push(Arc::clone(process)));
    }

    pub(crate) fn view(&self, title: String, show: impl Fn() -> String + Send + Sync + 'static) {
        self.made(|made| {
            made.views.push(View {
                title,
                show: Arc::new(show),
            })
        });
    }

    /// What every view shows now, by title.
    pub(crate) fn views(&self) -> Vec<(String, String)> {
        // Called without the lock: a view may ask the lab itself.
        let views: Vec<_> = self.made(|made| {
            made.views
                .iter()
                .map(|v| (v.title.clone(), Arc::clone(&v.show)))
                .collect()
        });
        views
            .into_iter()
            .map(|(title, show)| (title, show()))
            .collect()
    }

    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        self.made(|made| made.snapshots.clone())
    }

    pub(crate) fn known_baseline(&self) -> Option<Baseline> {
        self.made(|made| made.baseline.clone())
    }

    /// Kills what still runs. The world would do it too; this way coverage of a hang is the test's.
    pub(crate) fn end(&self) {
        *lock(&CURRENT) = Weak::new();
        for process in self.processes() {
            if process.alive() {
                let _ = process.kill();
            }
        }
    }

    fn snapshot_once(&self) -> Result<(), LabError> {
        if self.made(|made| made.snapshots.is_empty()) {
            self.snapshot()
        } else {
            Ok(())
        }
    }

    /// The number of the next `count` veth pairs.
    fn pairs(&self, count: u8) -> Result<u8, LabError> {
        self.made(|made| {
            let first = made.pairs;
            made.pairs = first.checked_add(count).ok_or_else(|| too_many("cables"))?;
            Ok(first)
        })
    }

    fn made<T>(&self, work: impl FnOnce(&mut Made) -> T) -> T {
        work(&mut lock(&self.inner.made))
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} hosts, {} processes",
            self.hosts.len(),
            self.processes.len()
        )
    }
}

fn too_many(what: &str) -> LabError {
    LabError::Name {
        name: what.to_owned(),
        why: "a lab numbers its cables and ports from 0 to 255, and these are too many",
    }
}
