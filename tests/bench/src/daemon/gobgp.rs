//! GoBGP: policies at their defaults, which accept everything.

use std::{fmt::Write as _, path::Path, process::Command};

use crate::{
    daemon::{Neighbour, Relation, Role, write},
    error::Error,
    fabric::{PORT, ROUTER_ID},
    prefix::Family,
};

pub(super) fn prepare(program: &Path, role: &Role, scratch: &Path) -> Result<Command, Error> {
    let config = scratch.join("gobgpd.toml");
    write(&config, &configuration(role))?;
    let mut command = Command::new(program);
    command
        .arg("-f")
        .arg(&config)
        .args(["-l", "warn", "-p", "--pprof-disable"]);
    Ok(command)
}

fn configuration(role: &Role) -> String {
    let mut text = format!(
        "[global.config]\nas = {}\nrouter-id = \"{ROUTER_ID}\"\nport = {PORT}\n\
         local-address-list = [\"{}\"]\n",
        role.asn,
        role.local(),
    );
    for Neighbour {
        address,
        asn,
        carried,
    } in role.neighbours()
    {
        let family = match carried {
            Family::Ipv4 => "ipv4-unicast",
            Family::Ipv6 => "ipv6-unicast",
        };
        let _ = write!(
            text,
            "\n[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{address}\"\npeer-as = {asn}\n\
             [neighbors.timers.config]\nhold-time = {hold}\nkeepalive-interval = {keepalive}\n\
             [neighbors.transport.config]\npassive-mode = true\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n",
            hold = role.hold_time,
            keepalive = role.hold_time / 3,
        );
        if role.relation == Relation::Client {
            let _ = write!(
                text,
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = \"{ROUTER_ID}\"\n",
            );
        }
    }
    text
}
