//! A table asked for again (RFC 2918) is told again. We never ask ourselves: what a neighbour told is
//! kept.

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::Daemon;
use crate::interop::ours::{CONVERGED, OWN, Pair};

pub(crate) fn asked_for<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let pair = Pair::<D>::start(lab, |_| {}, "")?;
    pair.wait_for_routes(lab)?;
    // Both tables with their ends, so that no UPDATE of the first telling is counted for the second.
    lab.until(CONVERGED, "our tables to be told", || {
        let peer = pair.peer()?;
        ensure!(count(&peer["sent"]["update"])? >= 4, "{}", peer["sent"]);
        Ok(())
    })?;
    let before = pair.peer()?;
    pair.daemon.ask_again(pair.link.b.v4.into())?;
    if !D::ASKS_AGAIN {
        return never_asks(lab, &pair);
    }
    lab.until(CONVERGED, "both tables to be asked for and told", || {
        let now = pair.peer()?;
        let since = |direction: &str, kind: &str| -> Result<u64, Why> {
            Ok(count(&now[direction][kind])? - count(&before[direction][kind])?)
        };
        let asked = since("received", "route_refresh")?;
        let told = since("sent", "update")?;
        ensure!(asked >= 2 && told >= 2, "asked {asked} times, told {told}");
        // The marks around each answer for those who know them (RFC 7313), and no request of ours.
        let capabilities = now["capabilities_received"].to_string();
        let marks = match capabilities.contains("enhanced-route-refresh") {
            true => 2 * asked,
            false => 0,
        };
        let said = since("sent", "route_refresh")?;
        ensure!(said == marks, "we said {said} ROUTE-REFRESH, not {marks}");
        if let Some(heard) = pair.daemon.refreshes_heard(pair.link.b.v4.into())? {
            ensure!(
                heard == marks,
                "it heard {heard} ROUTE-REFRESH, not {marks}"
            );
        }
        Ok(())
    })?;
    for prefix in OWN {
        pair.daemon.best(prefix)?;
    }
    let peer = pair.peer()?;
    ensure!(
        peer["established_count"] == 1,
        "it went down: {}",
        peer["last_error"]
    );
    Ok(())
}

/// It has carried the command out, and the end of the session shows that nothing is on its way.
fn never_asks<D: Daemon>(lab: &Lab, pair: &Pair<D>) -> Result<(), Why> {
    pair.agent.cli(["peers", "reset", "daemon"])?;
    lab.until(CONVERGED, "the session to be closed", || {
        let state = &pair.peer()?["state"];
        ensure!(state != "Established", "it is {state}");
        Ok(())
    })?;
    let asked = count(&pair.peer()?["received"]["route_refresh"])?;
    ensure!(asked == 0, "it asked {asked} times");
    Ok(())
}

fn count(value: &serde_json::Value) -> Result<u64, Why> {
    Ok(value.as_u64().ok_or_else(|| format!("no count: {value}"))?)
}
