//! What our operator does to a session, and what the other side sees of it.

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::Daemon;
use crate::interop::ours::{CONVERGED, DAEMON_AS, OWN, Pair};
use crate::interop::{bird, frr};

const WORDS: &str = "moving racks";

crate::interop::tests! { frr::Tested, [Frr, Agent],
    frr_shows_why_we_shut_a_session_down => operators::shut_down,
    frr_is_asked_and_told_again => operators::refresh,
}
crate::interop::tests! { bird::Tested, [Bird, Agent],
    bird_shows_why_we_shut_a_session_down => operators::shut_down,
    bird_is_asked_and_told_again => operators::refresh,
}

pub(crate) fn shut_down<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let pair = Pair::<D>::start(lab, |_| {}, "")?;
    pair.wait_for_routes(lab)?;
    let agent = &pair.agent;
    agent.cli(["peers", "shutdown", "daemon", "--message", WORDS])?;
    lab.until(CONVERGED, "it to show what we said", || {
        ensure!(pair.daemon.said()?.contains(WORDS), "it does not show it");
        for prefix in OWN {
            ensure!(pair.daemon.best(prefix).is_err(), "it still has {prefix}");
        }
        Ok(())
    })?;
    let shown = agent.cli_text(["peers", "show", "daemon"])?;
    let line = shown
        .lines()
        .find(|line| line.contains("shut down by") || line.contains("by root"));
    let line = line.ok_or_else(|| format!("nobody says who: {shown}"))?;
    ensure!(line.contains(WORDS), "{line}");
    lab.until(CONVERGED, "our status to say so", || {
        ensure!(
            agent.has_problem("peer.daemon.shut-down")?,
            "it is no problem"
        );
        ensure!(!agent.has_problem("peer.daemon.down")?, "it is one besides");
        Ok(())
    })?;
    // A reload that opens sessions anew leaves it as it is.
    let config = Pair::<D>::config(&pair.link, DAEMON_AS, "hold_time = 12", &OWN);
    agent.write_config(&config)?;
    agent.cli(["reload"])?;
    let peer = pair.peer()?;
    ensure!(
        peer["state"] == "Idle" && peer["established_count"] == 0,
        "{peer}"
    );
    ensure!(peer["shut_down"]["by"] == "root", "{}", peer["shut_down"]);
    agent.cli(["peers", "enable", "daemon"])?;
    pair.wait_for_routes(lab)?;
    let peer = pair.peer()?;
    ensure!(peer["shut_down"].is_null(), "{}", peer["shut_down"]);
    ensure!(
        peer["hold_time"] == 12 || peer["hold_time"] == 9,
        "{}",
        peer["hold_time"]
    );
    Ok(())
}

pub(crate) fn refresh<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let pair = Pair::<D>::start(lab, |_| {}, "")?;
    pair.wait_for_routes(lab)?;
    let agent = &pair.agent;
    let count = |direction: &str, kind: &str| -> Result<u64, Why> {
        let peer = pair.peer()?;
        let count = peer[direction][kind].as_u64();
        Ok(count.ok_or_else(|| format!("no count of {kind}: {peer}"))?)
    };
    let us = pair.link.b.v4.into();
    let heard = pair.daemon.refreshes_heard(us)?;
    let updates = count("received", "update")?;
    let asked = agent.cli(["peers", "refresh", "daemon", "--in"])?;
    ensure!(
        asked["families"]
            .as_array()
            .is_some_and(|families| families.len() == 2),
        "{asked}"
    );
    lab.until(CONVERGED, "it to tell everything again", || {
        let by_now = count("received", "update")?;
        ensure!(
            by_now >= updates + 2,
            "{by_now} updates, and {updates} before"
        );
        let now = pair.daemon.refreshes_heard(us)?;
        ensure!(
            now == heard.map(|heard| heard + 2),
            "it has heard {now:?} requests, and {heard:?} before"
        );
        Ok(())
    })?;
    let updates = count("sent", "update")?;
    let told = agent.cli(["peers", "refresh", "daemon", "--out", "--family", "ipv6"])?;
    ensure!(
        told["families"] == serde_json::json!(["ipv6-unicast"]),
        "{told}"
    );
    lab.until(CONVERGED, "it to be told again", || {
        ensure!(count("sent", "update")? > updates, "nothing was sent");
        for prefix in OWN {
            pair.daemon.best(prefix)?;
        }
        Ok(())
    })?;
    ensure!(
        pair.peer()?["established_count"] == 1,
        "the session did not stay"
    );
    Ok(())
}
