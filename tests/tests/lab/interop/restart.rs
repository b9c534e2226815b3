//! A daemon dies without a word, or nearly, and another takes its place.

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::{Daemon, networks};
use crate::interop::ours::{CONVERGED, Pair, heard};

pub(crate) fn comes_back<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let pair = Pair::<D>::start(lab, |_| {}, "")?;
    pair.wait_for_routes(lab)?;
    pair.daemon.kill()?;
    lab.until(CONVERGED, "its routes to be gone", || {
        for prefix in networks(1) {
            ensure!(
                heard(&pair.agent, "daemon", &prefix).is_err(),
                "{prefix} is there"
            );
        }
        let state = &pair.peer()?["state"];
        ensure!(state != "Established", "the session is {state}");
        Ok(())
    })?;
    pair.daemon.start_again()?;
    pair.wait_for_routes(lab)?;
    let peer = pair.peer()?;
    ensure!(
        peer["established_count"] == 2,
        "{}",
        peer["established_count"]
    );
    Ok(())
}
