//! One AS: we reflect between two daemons of a kind, and each has the other's routes as they were
//! told.

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::{Daemon, LOCAL_PREF, Route, Setup, is_ipv6, networks};
use crate::interop::ours::{ASN, CONVERGED, OWN, config, heard, peer_config};

pub(crate) fn reflected<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let hosts = [lab.host("left")?, lab.host("us")?, lab.host("right")?];
    let switch = lab.switch("sw", &[&hosts[0], &hosts[1], &hosts[2]])?;
    let [left, us, right] = [&switch.ends[0], &switch.ends[1], &switch.ends[2]];
    let mut peers = String::new();
    for (name, end) in [("left", left), ("right", right)] {
        peers += &peer_config(name, end.v4, ASN, "reflector_client = true");
    }
    let mut daemons = Vec::new();
    for (id, host, here) in [(1, &hosts[0], left), (2, &hosts[2], right)] {
        daemons.push(D::start(lab, host, &Setup::beside(ASN, id, here, us))?);
    }
    let agent = lab.agent(&hosts[1], &config(3, &OWN, &peers))?;
    for (id, name, from, other) in [(1, "left", left, 1), (2, "right", right, 0)] {
        for prefix in networks(id) {
            let next_hop = match is_ipv6(&prefix) {
                true => from.v6.to_string(),
                false => from.v4.to_string(),
            };
            let expected = Route {
                local_pref: Some(LOCAL_PREF),
                ..Route::rich("", next_hop)
            };
            lab.until(CONVERGED, &format!("{prefix} to be reflected"), || {
                let route = heard(&agent, name, &prefix)?;
                ensure!(route == expected, "us: {route:?} and not {expected:?}");
                let daemon: &D = &daemons[other];
                let route = daemon.best(&prefix)?;
                ensure!(route == expected, "it: {route:?} and not {expected:?}");
                Ok(())
            })?;
        }
    }
    Ok(())
}
