//! Containers: attachments, the CNI socket, and the announcement of this host's blocks.

use std::{collections::BTreeSet, time::Duration};

use tokio::sync::watch;
use wayleave_bgp::SpeakerHandle;
use wayleave_bgp_core::{Prefix, feed::Origination};
use wayleave_ipam::Cidr;
use wayleave_netlink::{Prefix as KernelPrefix, Route};

use super::{Dependencies, OwnerError, blocking};
use crate::{
    attach::{self, Attachments, Outlet},
    cni_server::Server,
    config::Config,
    event::{Owner, Progress, rank},
    fib::{self, FibHandle},
    problem::{Problem, Problems, Severity},
    registry::{AddressNews, Addresses},
    store::{Host, Restored, StoreHandle},
};

/// The containers' side of the agent.
pub(super) struct Containers {
    pub(super) attachments: Attachments,
    server: Server,
}

impl Containers {
    /// Takes no more calls and waits for those under way.
    pub(super) async fn stop(self) {
        let Self {
            attachments,
            server,
        } = self;
        let _ = blocking(move || {
            // The socket first: a plugin that comes now waits for the next agent.
            server.stop();
            attachments.stop();
        })
        .await;
    }
}

/// Starts to serve CNI calls. Without a pool they are served too, and answered with that.
pub(super) async fn start(
    config: &Config,
    dependencies: &Dependencies,
    host: &Host,
    (store, restored): (StoreHandle, Restored),
    outside: Outside,
) -> Result<Option<Containers>, OwnerError> {
    let Dependencies {
        progress,
        problems,
        speaker,
        ..
    } = dependencies.clone();
    let Outside { fib, addresses } = outside;
    progress.expect(
        Owner::Attach,
        "the containers of the last run to be taken over",
    );
    // What a container still uses must not be swept, so that whoever had some needs this too.
    let had_some = !restored.attachments.is_empty() || !restored.leases.is_empty();
    let needed = !config.blocks.is_empty() || had_some;
    let (originated, wanted) = watch::channel(BTreeSet::new());
    let outlet = Way {
        fib: fib.clone(),
        originated,
        addresses: addresses.clone(),
    };
    let (config, boot, warned) = (config.clone(), host.boot, problems.clone());
    let started = blocking(move || -> Result<Containers, OwnerError> {
        let state = (store, &restored);
        let attachments = attach::open(&config, boot, state, Box::new(outlet), &warned)?;
        // Before a call is served: a service of the last run must not meet the next container at its address.
        if let Some(addresses) = addresses {
            addresses.tell(AddressNews::InSync);
        }
        // For root alone: the group of the API may look, not attach containers.
        let server = Server::start(&config.paths.cni_socket(), None, attachments.clone())?;
        Ok(Containers {
            attachments,
            server,
        })
    })
    .await?;
    let containers = match started {
        Ok(containers) => containers,
        // A plain speaker needs no containers; it says that it can have none.
        Err(error) if !needed => {
            problems.raise(Problem {
                key: "attach.off".to_owned(),
                severity: Severity::Warning,
                what: "containers cannot be attached".to_owned(),
                why: error.to_string(),
                fix: "run wayleaved with CAP_NET_ADMIN, or leave it: this host has no block"
                    .to_owned(),
            });
            // Nobody desires anything, and an earlier run had no containers.
            if let Some(fib) = &fib {
                fib.in_sync(fib::Owner::Attach);
                fib.in_sync(fib::Owner::Block);
            }
            progress.in_sync(Owner::Attach);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if let Some(fib) = &fib {
        fib.in_sync(fib::Owner::Attach);
    }
    tokio::spawn(announce(wanted, fib, speaker, problems, progress));
    tokio::spawn(recheck(containers.attachments.clone()));
    Ok(Some(containers))
}

/// Who hears of containers.
pub(super) struct Outside {
    pub(super) fib: Option<FibHandle>,
    pub(super) addresses: Option<Addresses>,
}

/// The way out of the attachments. Called from threads that block: it only hands over.
struct Way {
    fib: Option<FibHandle>,
    originated: watch::Sender<BTreeSet<Cidr>>,
    addresses: Option<Addresses>,
}

impl Outlet for Way {
    fn local_route(&self, prefix: KernelPrefix, route: Option<Route>) {
        if let Some(addresses) = &self.addresses {
            addresses.tell(match route {
                Some(_) => AddressNews::Taken(prefix.addr()),
                None => AddressNews::Gone(prefix.addr()),
            });
        }
        if let Some(fib) = &self.fib {
            match route {
                Some(route) => fib.keep(&route),
                None => fib.forget(prefix),
            }
        }
    }

    fn originate(&self, prefixes: &BTreeSet<Cidr>) {
        self.originated.send_replace(prefixes.clone());
    }
}

/// How often it is looked whether problems of the start were solved from outside.
const RECHECK: Duration = Duration::from_secs(15);

/// Clears problems that an operator solved with `sysctl` or `ip`, until the runtime ends.
async fn recheck(attachments: Attachments) {
    loop {
        tokio::time::sleep(RECHECK).await;
        let attachments = attachments.clone();
        if blocking(move || attachments.recheck()).await.is_err() {
            return;
        }
    }
}

/// How often a block is tried again that the kernel does not drop the rest of.
const AGAIN: Duration = Duration::from_secs(5);

/// Announces what is wanted: after the kernel drops what no container has, withdrawn before it
/// stops to. What the kernel does not drop is not announced: packets to it would come in and go out
/// again by the default route, round and round. Once everything of the last run has had its turn, the
/// containers are in sync.
async fn announce(
    mut wanted: watch::Receiver<BTreeSet<Cidr>>,
    fib: Option<FibHandle>,
    speaker: SpeakerHandle,
    problems: Problems,
    progress: Progress,
) {
    let mut announced = BTreeSet::new();
    // Asked of the kernel, whatever it answered.
    let mut dropped: BTreeSet<Cidr> = BTreeSet::new();
    let mut first = true;
    loop {
        let now = wanted.borrow_and_update().clone();
        let gone: Vec<Cidr> = announced.difference(&now).copied().collect();
        speaker.withdraw(rank::BLOCK, gone.iter().map(route).collect());
        announced.retain(|cidr| now.contains(cidr));
        let mut new: Vec<Cidr> = now.difference(&announced).copied().collect();
        let mut refused = Vec::new();
        if let Some(fib) = &fib {
            for cidr in dropped.difference(&now) {
                fib.blackhole(kernel(cidr), false);
            }
            for cidr in now.difference(&dropped) {
                fib.blackhole(kernel(cidr), true);
            }
            dropped.clone_from(&now);
            if std::mem::take(&mut first) {
                fib.in_sync(fib::Owner::Block);
            }
            let slots = new.iter().map(|cidr| (kernel(cidr), 0)).collect();
            // The task has ended, and the agent is about to.
            let Some(outcomes) = fib.settled(slots).await else {
                return;
            };
            let judged = new.iter().copied().zip(outcomes);
            let (held, taken): (Vec<_>, Vec<_>) = judged.partition(|(_, outcome)| outcome.is_err());
            new = taken.into_iter().map(|(cidr, _)| cidr).collect();
            refused = held
                .into_iter()
                .filter_map(|(cidr, outcome)| Some(unannounced(&cidr, &outcome.err()?)))
                .collect();
        }
        let waits = !refused.is_empty();
        problems.replace(KEYS, refused);
        let originations = new.iter().map(|cidr| {
            let mut origination = Origination::new(route(cidr));
            origination.rank = rank::BLOCK;
            origination
        });
        speaker.originate(originations.collect());
        announced.extend(new);
        progress.in_sync(Owner::Attach);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(AGAIN), if waits => {}
        }
    }
}

/// What the keys of these problems begin with.
const KEYS: &str = "block.";

fn unannounced(cidr: &Cidr, trouble: &fib::Trouble) -> Problem {
    Problem {
        key: format!("{KEYS}{cidr}"),
        severity: Severity::Error,
        what: format!(
            "{cidr} is not announced, so that its containers cannot be reached from other hosts"
        ),
        why: format!(
            "the kernel does not drop packets to addresses of it that no container has: {trouble}"
        ),
        fix:
            "see `ip route show table all`: whose route is in the way? Remove it, and the block is \
              announced within seconds"
                .to_owned(),
    }
}

fn route(cidr: &Cidr) -> Prefix {
    Prefix::new(cidr.network(), cidr.len())
}

fn kernel(cidr: &Cidr) -> KernelPrefix {
    KernelPrefix::new(cidr.network(), cidr.len())
        .expect("invariant: both types bound the length by the family")
}
