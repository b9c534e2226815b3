//! BIRD 2: direct neighbours, everything in and out; a kernel protocol only where routes are to be
//! installed.

use std::{fmt::Write as _, path::Path, process::Command};

use crate::{
    daemon::{Neighbour, Relation, Role, write},
    error::Error,
    fabric::ROUTER_ID,
    prefix::Family,
};

pub(super) fn prepare(program: &Path, role: &Role, scratch: &Path) -> Result<Command, Error> {
    let config = scratch.join("bird.conf");
    write(&config, &configuration(role))?;
    let mut command = Command::new(program);
    command.arg("-f").arg("-c").arg(&config);
    command
        .arg("-s")
        .arg(scratch.join("bird.ctl"))
        .arg("-P")
        .arg(scratch.join("bird.pid"));
    Ok(command)
}

fn configuration(role: &Role) -> String {
    let client = match role.relation {
        Relation::External => String::new(),
        Relation::Client => format!(" direct; rr client; rr cluster id {ROUTER_ID};"),
    };
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug }};\nrouter id {ROUTER_ID};\nprotocol device {{ }}\n"
    );
    // Connected networks are what next hops are resolved by; to nobody are they told.
    let (installed, told, resolve) = if role.tracked {
        text.push_str("protocol direct { ipv4; ipv6; }\n");
        ("where source = RTS_BGP", "none", " gateway recursive;")
    } else {
        ("all", "all", "")
    };
    if role.install {
        // The second channel has nothing to do; the scan, by default once a minute, would take its
        // time out of whatever is measured then.
        for channel in ["ipv4", "ipv6"] {
            let _ = writeln!(
                text,
                "protocol kernel {{ scan time 3600; {channel} {{ import none; export {installed}; }}; }}"
            );
        }
    }
    for (number, neighbour) in role.neighbours().enumerate() {
        let Neighbour { address, asn, .. } = neighbour;
        let channel = match neighbour.carried {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        // A peer that went down may come back at once: the bench reconnects on purpose.
        let _ = writeln!(
            text,
            "protocol bgp p{number} {{ local {} as {}; neighbor {address} as {asn}; passive on; \
             error wait time 1, 2;{client} {channel} {{ import all; export {told};{resolve} }}; }}",
            role.local(),
            role.asn,
        );
    }
    text
}
