//! FRR's bgpd alone: no zebra, no kernel, every neighbour activated in one family.
//!
//! By default bgpd holds back the first announcement of a new update group by 50 ms for each
//! peer, at least 1 s and at most 10 s. That is a timer, not work; it is switched off, in FRR's favour.

use std::{fmt::Write as _, path::Path, process::Command};

use crate::{
    daemon::{Relation, Role, write},
    error::Error,
    fabric::ROUTER_ID,
    prefix::Family,
};

pub(super) fn prepare(program: &Path, role: &Role, scratch: &Path) -> Result<Command, Error> {
    let config = scratch.join("bgpd.conf");
    write(&config, &configuration(role))?;
    let mut command = Command::new(program);
    // -n: no kernel, -Z: no zebra, -S: stay root, vty only on a socket of its own.
    command.args([
        "-n",
        "-Z",
        "-S",
        "-P",
        "0",
        "--log",
        "stdout",
        "--log-level",
        "warnings",
    ]);
    command
        .arg("-f")
        .arg(&config)
        .arg("-i")
        .arg(scratch.join("bgpd.pid"));
    command.arg("--vty_socket").arg(scratch);
    Ok(command)
}

fn configuration(role: &Role) -> String {
    let family = match role.family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    };
    let mut text = format!(
        "router bgp {}\n bgp router-id {ROUTER_ID}\n bgp cluster-id {ROUTER_ID}\n \
         no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n coalesce-time 0\n",
        role.asn,
    );
    for (address, asn) in role.neighbours() {
        let _ = writeln!(text, " neighbor {address} remote-as {asn}");
        let _ = writeln!(text, " neighbor {address} passive");
        let _ = writeln!(text, " neighbor {address} advertisement-interval 0");
    }
    let _ = writeln!(text, " address-family {family} unicast");
    for (address, _) in role.neighbours() {
        let _ = writeln!(text, "  neighbor {address} activate");
        if role.relation == Relation::Client {
            let _ = writeln!(text, "  neighbor {address} route-reflector-client");
        }
    }
    text.push_str(" exit-address-family\n");
    text
}
