//! OpenBGPD: no FIB, every filter open. Three processes; all of them are weighed.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use crate::{
    daemon::{Neighbour, Relation, Role, write},
    error::Error,
    fabric::ROUTER_ID,
};

/// Where it confines its unprivileged processes; on our own tmpfs.
const CHROOT: &str = "/run/openbgpd";

pub(super) fn prepare(program: &Path, role: &Role, scratch: &Path) -> Result<Command, Error> {
    fs::create_dir_all(CHROOT).map_err(Error::io(format!("make {CHROOT}")))?;
    let config = scratch.join("bgpd.conf");
    write(&config, &configuration(role, scratch))?;
    let mut command = Command::new(program);
    command.arg("-d").arg("-f").arg(&config);
    Ok(command)
}

fn configuration(role: &Role, scratch: &Path) -> String {
    let client = match role.relation {
        Relation::External => String::new(),
        Relation::Client => format!("  route-reflector {ROUTER_ID}\n"),
    };
    let mut text = format!(
        "AS {}\nrouter-id {ROUTER_ID}\nfib-update no\nlisten on {}\nsocket \"{}\"\n",
        role.asn,
        role.local(),
        scratch.join("control").display(),
    );
    for Neighbour {
        address,
        asn,
        carried,
    } in role.neighbours()
    {
        let _ = write!(
            text,
            "neighbor {address} {{\n  remote-as {asn}\n  passive\n  announce IPv4 none\n  \
             announce IPv6 none\n  announce {carried} unicast\n{client}}}\n",
        );
    }
    text.push_str("allow from any\nallow to any\n");
    text
}
