//! A reload: the configuration is applied whole, or refused with nothing changed. The files of
//! services follow, each by itself: a wrong one is a problem of its own and holds up no other.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::watch;
use wayleave_bgp::SpeakerHandle;
use wayleave_bgp_core::{Prefix, feed::Origination};

use super::{Source, owners::Owners};
use crate::{
    config::{self, Config, Delta},
    event::{Applied, Refused, rank},
    log::Log,
    problem::{Problem, Problems, Severity},
};

/// The key under which a refused reload stands until one is applied.
const KEY: &str = "config.reload-refused";

/// What a reload acts on.
pub(super) struct Reloading<'a> {
    pub(super) source: &'a Source,
    pub(super) current: &'a watch::Sender<Arc<Config>>,
    pub(super) speaker: &'a SpeakerHandle,
    pub(super) owners: &'a Owners,
    pub(super) log: &'a Log,
    pub(super) problems: &'a Problems,
}

/// Reads the configuration again and applies the difference.
pub(super) async fn reload(reloading: &Reloading<'_>) -> Result<Applied, Refused> {
    let Reloading {
        current, problems, ..
    } = reloading;
    let outcome = apply(reloading).await;
    match &outcome {
        Ok(applied) => {
            let config = current.borrow().clone();
            problems.clear(KEY);
            problems.replace("config.", config::advice(&config));
            tracing::info!("reloaded: {}", in_words(applied));
        }
        Err(reason) => problems.raise(Problem {
            key: KEY.to_owned(),
            severity: Severity::Error,
            what: "the configuration on disk is not the one in effect: a reload was refused"
                .to_owned(),
            why: reason.to_string(),
            fix: match reason {
                Refused::Invalid(_) => {
                    "see `wayleave check-config`, correct it and reload".to_owned()
                }
                Refused::NeedsRestart(_) => {
                    "see `wayleave config diff`; restart wayleaved, or undo that change and reload"
                        .to_owned()
                }
                Refused::CannotListen(_) => {
                    "make that address available, or set bgp.listen to others, and reload"
                        .to_owned()
                }
                Refused::SpeakerGone | Refused::Stopping => "restart wayleaved".to_owned(),
            },
        }),
    }
    outcome
}

async fn apply(reloading: &Reloading<'_>) -> Result<Applied, Refused> {
    let Reloading {
        source,
        current,
        speaker,
        owners,
        log,
        ..
    } = *reloading;
    let before = current.borrow().clone();
    let source = source.clone();
    let loaded = tokio::task::spawn_blocking(move || source.load()).await;
    // The closure does not panic (that would have ended the process) and is never cancelled.
    let after = loaded
        .map_err(|_| Refused::Stopping)?
        .map_err(Refused::Invalid)?;
    let delta = Delta::between(&before, &after);
    if delta.refused().next().is_some() {
        return Err(Refused::NeedsRestart(delta));
    }
    let mut actions = speaker
        .reconfigure(config::speaker_config(&after, owners.node_key()))
        .await
        .map_err(|_| Refused::SpeakerGone)?
        .map_err(|error| Refused::CannotListen(error.to_string()))?;
    actions.extend(originate(&before, &after, speaker));
    if before.log.level != after.log.level {
        match log.set_levels(&after.log.level.value) {
            Ok(()) => actions.push(format!("log at {}", after.log.level.value)),
            // Checked with the rest of the configuration, so that this cannot be the level.
            Err(error) => tracing::error!("{error}"),
        }
    }
    let after = Arc::new(after);
    current.send_replace(Arc::clone(&after));
    let services = owners.reread_services(&after).await;
    let registered = services.registered.iter();
    actions.extend(registered.map(|instance| format!("registered {instance}")));
    let deregistered = services.deregistered.iter();
    actions.extend(deregistered.map(|instance| format!("deregistered {instance}")));
    Ok(Applied {
        delta,
        actions,
        wrong: services.errors.iter().map(ToString::to_string).collect(),
    })
}

/// Announces what is new before it withdraws what is gone.
fn originate(before: &Config, after: &Config, speaker: &SpeakerHandle) -> Vec<String> {
    let old: BTreeSet<Prefix> = before.bgp.originate.value.iter().copied().collect();
    let new: BTreeSet<Prefix> = after.bgp.originate.value.iter().copied().collect();
    let announced: Vec<_> = new.difference(&old).copied().collect();
    let withdrawn: Vec<_> = old.difference(&new).copied().collect();
    let told = announced
        .iter()
        .map(|prefix| format!("originated {prefix}"));
    let told = told
        .chain(withdrawn.iter().map(|prefix| format!("withdrew {prefix}")))
        .collect();
    if !announced.is_empty() {
        speaker.originate(announced.into_iter().map(Origination::new).collect());
    }
    if !withdrawn.is_empty() {
        speaker.withdraw(rank::CONFIGURED, withdrawn);
    }
    told
}

fn in_words(applied: &Applied) -> String {
    if applied.delta.is_empty() && applied.actions.is_empty() {
        return "nothing changed".to_owned();
    }
    let subjects = applied
        .delta
        .changes
        .iter()
        .map(|change| format!("{} ({})", change.subject(), change.effect));
    let subjects = subjects.collect::<Vec<_>>().join(", ");
    let parts = [subjects, applied.actions.join("; ")];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(": ")
}
