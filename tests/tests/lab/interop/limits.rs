//! A bound on prefixes, on either side: the session is closed with the reason (RFC 4486, 1).

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::Daemon;
use crate::interop::ours::{CONVERGED, DAEMON_AS, Pair};

pub(crate) fn ours<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let pair = Pair::<D>::start(lab, |_| {}, "max_prefixes = 1\nmax_prefixes_restart = 600")?;
    closed(lab, &pair, true)
}

pub(crate) fn theirs<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    // Past the limit in each family, as some count, and together, as OpenBGPD does; by more than
    // one, as FRR 8.4 finds out with the next prefix.
    let more = [
        "203.0.113.0/24",
        "203.0.114.0/24",
        "203.0.115.0/24",
        "203.0.116.0/24",
        "2001:db8:fc::/48",
        "2001:db8:fd::/48",
        "2001:db8:fe::/48",
        "2001:db8:ff::/48",
    ];
    let pair = Pair::<D>::start(lab, |setup| setup.limit = Some(2), "")?;
    pair.wait_for_routes(lab)?;
    let config = Pair::<D>::config(&pair.link, DAEMON_AS, "", &more);
    pair.agent.write_config(&config)?;
    pair.agent.cli(["reload"])?;
    if !D::LIMITS {
        lab.until(CONVERGED, "it to take them all", || {
            for prefix in more {
                pair.daemon.best(prefix)?;
            }
            Ok(())
        })?;
        return Ok(());
    }
    closed(lab, &pair, false)
}

/// The session ended with Cease, Maximum Number of Prefixes Reached, be it inside a Hard Reset
/// (RFC 8538, 3.1).
fn closed<D: Daemon>(lab: &Lab, pair: &Pair<D>, by_us: bool) -> Result<(), Why> {
    lab.until(CONVERGED, "the session to be closed", || {
        let peer = pair.peer()?;
        let (code, why) = (&peer["last_error_code"], peer["last_error"].to_string());
        ensure!(code["sent"] == by_us && code["code"] == 6, "{code}: {why}");
        ensure!(
            why.contains("Maximum Number of Prefixes Reached (6/1)"),
            "{why}"
        );
        Ok(())
    })?;
    Ok(())
}
