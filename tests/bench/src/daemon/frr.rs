//! FRR's bgpd alone: no zebra, no kernel, every neighbour activated in one family. Where routes
//! are to be installed, zebra runs beside it; their sockets are in the scratch directory.
//!
//! By default bgpd holds back the first announcement of a new update group by 50 ms for each
//! peer, at least 1 s and at most 10 s. That is a timer, not work; it is switched off, in FRR's favour.

use std::{
    fmt::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    daemon::{Neighbour, Relation, Role, write},
    error::Error,
    fabric::ROUTER_ID,
    prefix::Family,
    process::Process,
};

/// Where zebra listens for bgpd, in the scratch directory.
const SOCKET: &str = "zserv.api";

pub(super) fn prepare(program: &Path, role: &Role, scratch: &Path) -> Result<Command, Error> {
    let config = scratch.join("bgpd.conf");
    write(&config, &configuration(role))?;
    let mut command = Command::new(program);
    if role.install {
        command.arg("-z").arg(scratch.join(SOCKET));
    } else {
        // No kernel, no zebra.
        command.args(["-n", "-Z"]);
    }
    // -S: stay root.
    command.arg("-S").args(QUIET);
    command
        .arg("-f")
        .arg(&config)
        .arg("-i")
        .arg(scratch.join("bgpd.pid"));
    command.arg("--vty_socket").arg(scratch);
    Ok(command)
}

/// vty only on a socket of its own; only what is wrong into the log.
const QUIET: [&str; 6] = ["-P", "0", "--log", "stdout", "--log-level", "warnings"];

/// zebra as it comes.
pub(super) fn zebra(bgpd: &Path, scratch: &Path) -> Result<Command, Error> {
    let config = scratch.join("zebra.conf");
    write(&config, "")?;
    let mut command = Command::new(zebra_beside(bgpd));
    // As root it dies with the bench; its vty group must be among the groups of its user.
    command.args(["-u", "root", "-g", "frrvty"]).args(QUIET);
    command.arg("-f").arg(&config);
    command.arg("-i").arg(scratch.join("zebra.pid"));
    command.arg("--vty_socket").arg(scratch);
    command.arg("-z").arg(scratch.join(SOCKET));
    Ok(command)
}

/// The zebra that belongs to a bgpd.
pub(super) fn zebra_beside(bgpd: &Path) -> PathBuf {
    bgpd.with_file_name("zebra")
}

/// Waits until bgpd can connect: it would try again only after seconds.
pub(super) fn await_zebra(zebra: &mut Process, scratch: &Path) -> Result<(), Error> {
    let begun = Instant::now();
    while let Err(error) = UnixStream::connect(scratch.join(SOCKET)) {
        if let Some(status) = zebra.ended() {
            return Err(Error::Died {
                step: "starting zebra",
                status,
                log: zebra.log_tail(),
            });
        }
        if begun.elapsed() > Duration::from_secs(20) {
            return Err(Error::io("connect to zebra")(error));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn configuration(role: &Role) -> String {
    let mut text = format!(
        "router bgp {}\n bgp router-id {ROUTER_ID}\n bgp cluster-id {ROUTER_ID}\n \
         no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n coalesce-time 0\n",
        role.asn,
    );
    for Neighbour { address, asn, .. } in role.neighbours() {
        let _ = writeln!(text, " neighbor {address} remote-as {asn}");
        let _ = writeln!(text, " neighbor {address} passive");
        let _ = writeln!(text, " neighbor {address} advertisement-interval 0");
    }
    for Neighbour {
        address, carried, ..
    } in role.neighbours()
    {
        let family = match carried {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let _ = writeln!(text, " address-family {family} unicast");
        let _ = writeln!(text, "  neighbor {address} activate");
        if role.relation == Relation::Client {
            let _ = writeln!(text, "  neighbor {address} route-reflector-client");
        }
        text.push_str(" exit-address-family\n");
    }
    text
}
