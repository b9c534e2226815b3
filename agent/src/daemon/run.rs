//! The life of the agent from READY to the end.
//!
//! A planned stop (SIGTERM, SIGINT) is a restart to come: nothing is withdrawn, the speaker
//! closes its sessions as for a graceful restart, the kernel's routes stay. A second signal ends
//! the process at once.

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

use super::{
    Source, StartError, directories,
    owners::{self, Dependencies, Owners},
    reload::{Reloading, reload},
    service, sessions,
    signals::{Asked, Signals},
};
use crate::{
    api::{self, Context, Socket},
    config::{self, Config},
    event::{Owner, Phase, Progress, Reload},
    log::Log,
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
    progress.expect(Owner::Speaker, "the peers to be configured");
    let speaker = wayleave_bgp::spawn(config::speaker_config(&config))?;
    speaker.handle.originate(config::originations(&config));
    progress.in_sync(Owner::Speaker);
    let dependencies = Dependencies {
        progress: progress.clone(),
        problems: problems.clone(),
        speaker: speaker.handle.clone(),
    };
    let owners = owners::start(&config, &dependencies).await?;
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
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break,
                Asked::Reload => {
                    tracing::info!("reload asked for by SIGHUP");
                    service::reloading();
                    // The outcome stands in the log and among the problems.
                    let _ = reload(&reloading).await;
                    service::ready();
                }
            },
            Some(Reload { reply }) = reloads.recv() => {
                service::reloading();
                let outcome = reload(&reloading).await;
                service::ready();
                if let Some(reply) = reply {
                    // Whoever asked may be gone.
                    let _ = reply.send(outcome);
                }
            }
            () = progress.complete(), if *phase.borrow() == Phase::Starting => {
                phase.send_replace(Phase::Ready);
                service::ready();
                tracing::info!("ready after {} ms", started.elapsed().as_millis());
            }
        }
    }

    phase.send_replace(Phase::Stopping);
    service::stopping();
    tracing::info!("stopping: sessions close as for a restart, routes in the kernel stay");
    tokio::select! {
        () = stop(owners, &speaker.handle, api) => {}
        () = second_stop(&mut signals) => tracing::warn!("asked to stop twice: ending at once"),
    }
    directories::clear_run(&paths);
    drop(directories);
    tracing::info!("stopped");
    Ok(())
}

/// A reload asked for now has come too late.
async fn second_stop(signals: &mut Signals) {
    while signals.next().await != Asked::Stop {}
}

async fn stop(owners: Owners, speaker: &SpeakerHandle, api: Api) {
    // Calls under way end first: what they attach is still announced.
    if tokio::time::timeout(LAST_CALLS, owners.stop())
        .await
        .is_err()
    {
        tracing::warn!("CNI calls did not end within {} s", LAST_CALLS.as_secs());
    }
    if tokio::time::timeout(LAST_WORDS, speaker.shutdown(Shutdown::Restart))
        .await
        .is_err()
    {
        tracing::warn!("sessions did not close within {} s", LAST_WORDS.as_secs());
    }
    // Last, so that `status` answers until the end.
    api.stop().await;
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
