//! What one side takes back is gone at the other, and nothing else is.

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::{Daemon, networks};
use crate::interop::ours::{CONVERGED, DAEMON_AS, OWN, Pair, heard};

pub(crate) fn goes<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let pair = Pair::<D>::start(lab, |_| {}, "")?;
    pair.wait_for_routes(lab)?;
    let [v4, v6] = networks(1);
    for (gone, stays) in [(&v4, Some(&v6)), (&v6, None)] {
        pair.daemon.withdraw(gone)?;
        lab.until(CONVERGED, &format!("{gone} to be gone here"), || {
            ensure!(heard(&pair.agent, "daemon", gone).is_err(), "it is there");
            Ok(())
        })?;
        if let Some(stays) = stays {
            heard(&pair.agent, "daemon", stays)?;
        }
    }
    for (gone, left) in [(OWN[0], &OWN[1..]), (OWN[1], &[])] {
        pair.agent
            .write_config(&Pair::<D>::config(&pair.link, DAEMON_AS, "", left))?;
        pair.agent.cli(["reload"])?;
        lab.until(CONVERGED, &format!("{gone} to be gone there"), || {
            ensure!(pair.daemon.best(gone).is_err(), "it is there");
            Ok(())
        })?;
        for prefix in left {
            pair.daemon.best(prefix)?;
        }
    }
    let peer = pair.peer()?;
    ensure!(
        peer["established_count"] == 1,
        "it went down: {}",
        peer["last_error"]
    );
    Ok(())
}
