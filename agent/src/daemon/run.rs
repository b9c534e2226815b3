//! The life of the agent from READY to the end.
//!
//! A planned stop (SIGTERM, SIGINT) is a restart to come: nothing is withdrawn, the kernel's routes
//! stay, and neighbours that know of graceful restart (RFC 4724) hold theirs to us until the next start has
//! told them everything, or their patience ends; the others are told that we are gone (Cease, 6/2). It
//! gets through whatever is
//! under way, a start and a reload included. A second signal ends the process at once.
//!
//! An owner whose task ends takes the agent with it: there is never half an agent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use wayleave_bgp::{Shutdown, SpeakerHandle};
use wayleave_bgp_core::config::SpeakerConfig;

use super::{
    Source, StartError, directories, links,
    owners::{self, Dependencies, Owners},
    reload::{Reloading, reload},
    resumption, service, sessions,
    signals::{Asked, Signals},
};
use crate::{
    api::{self, Context, Socket},
    config::{self, Config},
    event::{Applied, Owner, Phase, Progress, Refused, Reload},
    log::Log,
    neighbor,
    problem::Problems,
};

/// How long sessions may take to close.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long CNI calls under way may take.
const LAST_CALLS: Duration = Duration::from_secs(10);
/// Reloads that may wait; one does all that ten would.
const RELOADS: usize = 4;

/// Starts everything, runs until a signal, stops everything.
pub(super) async fn run(config: Config, source: Source, log: &Log) -> Result<(), StartError> {
    let started = Instant::now();
    let mut signals = Signals::listen()?;
    let group = api::socket_group(config.api.group.value.as_deref())?;
    let directories = directories::take(&config.paths, group)?;
    let paths = config.paths.clone();
    let socket = Socket::bind(&paths.api_socket(), group)?;
    let problems = Problems::default();
    problems.replace("config.", config::advice(&config));
    let progress = Progress::default();
    // A SIGHUP that comes during a start or a reload: what it is about may have been read before.
    let mut again = false;
    progress.expect(Owner::Speaker, "the peers to be configured");
    let opened = tokio::select! {
        opened = owners::open(&config, &progress) => opened?,
        () = stop_asked(&mut signals, &mut again) => {
            tracing::info!("asked to stop before the durable state was read");
            directories::clear_run(&paths);
            return Ok(());
        }
    };
    let restarted = resumption::ran_before(&paths.state.value);
    if restarted {
        tracing::info!(
            "an agent ran here before: its routes stay, and nothing is announced before the neighbours \
             have told theirs, for {} s at most",
            config.bgp.selection_deferral.value
        );
    }
    let speaker = wayleave_bgp::spawn(SpeakerConfig {
        restarted,
        awaits_own_routes: true,
        ..config::speaker_config(&config, opened.node_key())
    })?;
    speaker.handle.originate(config::originations(&config));
    progress.in_sync(Owner::Speaker);
    let (lost, mut losses) = mpsc::channel(1);
    let dependencies = Dependencies {
        progress: progress.clone(),
        problems: problems.clone(),
        speaker: speaker.handle.clone(),
        lost,
    };
    let owners = tokio::select! {
        owners = owners::start(&config, &dependencies, opened) => owners?,
        () = stop_asked(&mut signals, &mut again) => {
            tracing::info!("asked to stop before the start was complete");
            close_sessions(&speaker.handle).await;
            directories::clear_run(&paths);
            return Ok(());
        }
    };
    greet(&config);

    let (config, config_seen) = watch::channel(Arc::new(config));
    let (phase, phase_seen) = watch::channel(Phase::Starting);
    let (reload_wanted, mut reloads) = mpsc::channel(RELOADS);
    let context = Context {
        speaker: speaker.handle.clone(),
        problems: problems.clone(),
        config: config_seen,
        config_path: (source.path.clone(), source.optional),
        phase: phase_seen,
        progress: progress.clone(),
        dns: owners.dns(),
        reload: reload_wanted,
        started,
    };
    let api = Api::serve(socket, api::router(context.clone(), owners.routes.clone()));
    // These only watch and report; the end of the runtime is theirs.
    tokio::spawn(sessions::watch(
        speaker.handle.clone(),
        context.config.clone(),
        problems.clone(),
    ));
    tokio::spawn(links::watch(speaker.handle.clone()));
    tokio::spawn(neighbor::run(
        speaker.handle.clone(),
        context.config.clone(),
        problems.clone(),
    ));
    tokio::spawn(service::keep_watchdog(speaker.handle.clone()));
    tokio::spawn(service::keep_status(context));

    let reloading = Reloading {
        source: &source,
        current: &config,
        speaker: &speaker.handle,
        owners: &owners,
        log,
        problems: &problems,
    };
    let outcome = loop {
        let reply = tokio::select! {
            biased;
            Some(error) = losses.recv() => break Err(StartError::from(error)),
            () = async {}, if std::mem::take(&mut again) => None,
            asked = signals.next() => match asked {
                Asked::Stop => break Ok(()),
                Asked::Reload => {
                    tracing::info!("reload asked for by SIGHUP");
                    None
                }
            },
            () = progress.complete(), if *phase.borrow() == Phase::Starting => {
                phase.send_replace(Phase::Ready);
                speaker.handle.own_routes_are_complete();
                resumption::leave_word(&paths.state.value);
                service::ready();
                tracing::info!("ready after {} ms", started.elapsed().as_millis());
                continue;
            }
            Some(Reload { reply }) = reloads.recv() => reply,
        };
        // A start is not over because a reload is: the service manager hears of neither.
        let is_ready = *phase.borrow() == Phase::Ready;
        if is_ready {
            service::reloading();
        }
        let outcome = tokio::select! {
            outcome = reload(&reloading) => outcome,
            // A disk that is stuck must not hold up a stop.
            () = stop_asked(&mut signals, &mut again) => {
                answer(reply, Err(Refused::Stopping));
                break Ok(());
            }
        };
        if is_ready {
            service::ready();
        }
        answer(reply, outcome);
    };

    phase.send_replace(Phase::Stopping);
    service::stopping();
    if let Err(reason) = &outcome {
        tracing::error!("{reason}");
    }
    tracing::info!("stopping: sessions are closed, routes in the kernel stay");
    tokio::select! {
        () = stop(owners, &speaker.handle, api) => {}
        // A reload asked for now has come too late.
        () = stop_asked(&mut signals, &mut again) => {
            tracing::warn!("asked to stop twice: ending at once");
        }
    }
    directories::clear_run(&paths);
    drop(directories);
    tracing::info!("stopped");
    outcome
}

/// Returns when a stop is asked for; notes a reload that is.
async fn stop_asked(signals: &mut Signals, reload: &mut bool) {
    while signals.next().await != Asked::Stop {
        *reload = true;
    }
}

/// The outcome of a reload stands in the log and among the problems: whoever asked may be gone, and
/// for a signal nobody waits.
fn answer(
    reply: Option<oneshot::Sender<Result<Applied, Refused>>>,
    outcome: Result<Applied, Refused>,
) {
    if let Some(reply) = reply {
        let _ = reply.send(outcome);
    }
}

async fn stop(owners: Owners, speaker: &SpeakerHandle, api: Api) {
    // Calls under way end first: what they attach is still announced.
    if tokio::time::timeout(LAST_CALLS, owners.stop())
        .await
        .is_err()
    {
        tracing::warn!("CNI calls did not end within {} s", LAST_CALLS.as_secs());
    }
    close_sessions(speaker).await;
    // Last, so that `status` answers until the end.
    api.stop().await;
}

async fn close_sessions(speaker: &SpeakerHandle) {
    if tokio::time::timeout(LAST_WORDS, speaker.shutdown(Shutdown::Restart))
        .await
        .is_err()
    {
        tracing::warn!("sessions did not close within {} s", LAST_WORDS.as_secs());
    }
}

/// The API's task and the way to stop it.
struct Api {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Api {
    fn serve(socket: Socket, router: Router) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(socket.serve(router, async {
            let _ = stopped.await;
        }));
        Self { stop, task }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

fn greet(config: &Config) {
    let files = match config.files.as_slice() {
        [] => "no configuration file".to_owned(),
        files => files
            .iter()
            .map(|file| file.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
    };
    tracing::info!(
        node = config.node.name.value,
        router_id = %config.node.router_id.value,
        asn = config.bgp.asn.value.0,
        peers = config.peers.len(),
        "wayleaved {} with {files}",
        env!("CARGO_PKG_VERSION"),
    );
}
