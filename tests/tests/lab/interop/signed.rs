//! TCP-MD5 (RFC 2385): the session is there with the same password on both sides, and only then.

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::{Daemon, Setup};
use crate::interop::ours::{CONVERGED, DAEMON_AS, OWN, Pair};

pub(crate) fn signed<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let with_password = |setup: &mut Setup| {
        for neighbour in &mut setup.neighbours {
            neighbour.password = Some("right");
        }
    };
    let pair = Pair::<D>::start(lab, with_password, "password = \"wrong\"")?;
    // Each side has tried by then: ours says so, and had the other come through, it would be up.
    lab.until(CONVERGED, "an attempt of ours to be in vain", || {
        let peer = pair.peer()?;
        ensure!(peer["state"] != "Established", "it is up");
        let why = peer["last_error"].to_string();
        ensure!(why.contains("password"), "{why}");
        Ok(())
    })?;
    let peer = pair.peer()?;
    ensure!(peer["established_count"] == 0, "it was up");
    let right = Pair::<D>::config(&pair.link, DAEMON_AS, "password = \"right\"", &OWN);
    pair.agent.write_config(&right)?;
    pair.agent.cli(["reload"])?;
    pair.wait_for_routes(lab)?;
    Ok(())
}
