//! What the service manager is told (sd_notify): READY, RELOADING, STOPPING, a status line, and
//! that we live.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use wayleave_bgp::SpeakerHandle;

use crate::{
    api::Context,
    event::Phase,
    problem::{Problems, Severity},
};

/// How often the status line is renewed when no problem changes.
const RENEWAL: Duration = Duration::from_secs(10);

/// Tells the service manager, if there is one. Without one this does nothing.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager was not told: {error}");
    }
}

/// The agent reloads; [`ready`] ends that.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The agent is ready, for the first time or again.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The agent is about to end.
pub(super) fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping: routes in the kernel stay"),
    ]);
}

/// Keeps the status line true.
pub(super) async fn keep_status(context: Context) {
    let mut changes = context.problems.changes();
    let mut phase = context.phase.clone();
    loop {
        if *phase.borrow_and_update() == Phase::Stopping {
            return;
        }
        let line = status_line(&context).await;
        tell(&[NotifyState::Status(&line)]);
        tokio::select! {
            _ = changes.changed() => {}
            _ = phase.changed() => {}
            () = tokio::time::sleep(RENEWAL) => {}
        }
        // Problems come in bursts; one line a second is enough.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn status_line(context: &Context) -> String {
    let phase = *context.phase.borrow();
    let sessions = match context.speaker.speaker().await {
        Ok(view) => format!("{} of {} peers established", view.established, view.peers),
        Err(_) => "no speaker".to_owned(),
    };
    format!(
        "{phase}; {sessions}; {}",
        problems_in_words(&context.problems)
    )
}

fn problems_in_words(problems: &Problems) -> String {
    let standing = problems.standing();
    let errors = standing
        .iter()
        .filter(|s| s.problem.severity == Severity::Error)
        .count();
    match (errors, standing.first()) {
        (_, None) => "no problems".to_owned(),
        (0, Some(_)) => format!("{} warnings", standing.len()),
        (_, Some(first)) => {
            format!(
                "{errors} errors, {} warnings; {}",
                standing.len() - errors,
                first.problem.what
            )
        }
    }
}

/// Says that we live as often as the service manager wants it, and only while this runtime runs
/// and the speaker's thread answers.
pub(super) async fn keep_watchdog(speaker: SpeakerHandle) {
    let Some(within) = sd_notify::watchdog_enabled() else {
        return;
    };
    let period = feeding(within);
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match timeout(period, speaker.speaker()).await {
            Ok(Ok(_)) => tell(&[NotifyState::Watchdog]),
            Ok(Err(_)) | Err(_) => {
                tracing::error!("the BGP speaker does not answer; the watchdog is not fed");
            }
        }
    }
}

/// A sixth of the interval: a tick, and a speaker that takes as long to answer as it may, are a
/// third of it together, so that one that is missed is made up for.
fn feeding(within: Duration) -> Duration {
    (within / 6).max(Duration::from_millis(50))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_with_a_third_of_the_interval_at_most_between() {
        for within in [Duration::from_secs(2), Duration::from_secs(10)] {
            assert!(feeding(within) * 2 <= within / 3, "{within:?}");
        }
    }
}
