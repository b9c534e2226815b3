//! The text of an operator who closes a session (RFC 9003): ours there, and theirs here.

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::{Daemon, LUNCH};
use crate::interop::ours::{CONVERGED, Pair};

const OURS: &str = "gone fishing";

pub(crate) fn ours<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let pair = Pair::<D>::start(lab, |_| {}, "")?;
    pair.wait_for_routes(lab)?;
    pair.agent
        .cli(["peers", "reset", "daemon", "--message", OURS])?;
    lab.until(CONVERGED, "the session to be closed", || {
        let peer = pair.peer()?;
        let ups = &peer["established_count"];
        ensure!(
            peer["state"] != "Established" || *ups == 2,
            "it is still up"
        );
        Ok(())
    })?;
    if D::SHOWS_TEXT {
        lab.until(CONVERGED, "it to show what we said", || {
            ensure!(pair.daemon.said()?.contains(OURS), "it does not show it");
            Ok(())
        })?;
    }
    pair.wait_for_routes(lab)?;
    if !D::SHOWS_TEXT {
        // It is past that session, and has shown nothing.
        ensure!(!pair.daemon.said()?.contains(OURS), "it shows what we said");
    }
    Ok(())
}

pub(crate) fn theirs<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    // We call it again and again, as anybody would: that must not hide what it said.
    let pair = Pair::<D>::start(lab, |_| {}, "")?;
    pair.wait_for_routes(lab)?;
    pair.daemon.close(pair.link.b.v4.into(), LUNCH)?;
    lab.until(CONVERGED, "us to show what it said", || {
        let peer = pair.peer()?;
        let code = &peer["last_error_code"];
        let why = peer["last_error"].as_str().unwrap_or_default();
        ensure!(code["sent"] == false && code["code"] == 6, "{code}: {why}");
        // Administrative Shutdown, Administrative Reset, and Hard Reset with one of them inside
        // (RFC 8538): FRR keeps us from holding its routes by that.
        ensure!(
            [2, 4, 9].contains(&code["subcode"].as_u64().unwrap_or(0)),
            "{code}: {why}"
        );
        // In quotes: what the code means is shown beside it.
        ensure!(why.contains(&format!("\"{}\"", D::SAYS)), "{why}");
        Ok(())
    })?;
    Ok(())
}
