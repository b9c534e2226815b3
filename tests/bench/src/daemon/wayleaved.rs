//! Our own daemon as a plain speaker: no pool, no container, and nothing into the kernel unless
//! that is what is measured.

use std::{fmt::Write as _, path::Path, process::Command};

use crate::{
    daemon::{Neighbour, Relation, Role, write},
    error::Error,
    fabric::{PORT, ROUTER_ID},
    prefix::Family,
};

pub(super) fn prepare(program: &Path, role: &Role, scratch: &Path) -> Result<Command, Error> {
    let config = scratch.join("wayleave.toml");
    write(&config, &configuration(role, scratch))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&config);
    Ok(command)
}

fn configuration(role: &Role, scratch: &Path) -> String {
    let listen = std::net::SocketAddr::new(role.local(), PORT);
    let mut text = format!(
        "[node]\nname = \"bench\"\nrouter_id = \"{ROUTER_ID}\"\n\n\
         [paths]\nstate = \"{}\"\nrun = \"{}\"\n\n\
         [bgp]\nasn = {}\nlisten = [\"{listen}\"]\n\n\
         [fib]\ninstall = {}\n",
        scratch.join("state").display(),
        scratch.join("run").display(),
        role.asn,
        role.install,
    );
    let client = match role.relation {
        Relation::External => "",
        Relation::Client => "reflector_client = true\n",
    };
    let hold = role
        .send_hold
        .map(|seconds| format!("send_hold_time = {seconds}\n"))
        .unwrap_or_default();
    for (number, neighbour) in role.neighbours().enumerate() {
        let Neighbour { address, asn, .. } = neighbour;
        let family = match neighbour.carried {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let _ = write!(
            text,
            "\n[[peer]]\nname = \"p{number}\"\naddress = \"{address}\"\nasn = {asn}\n\
             families = [\"{family}\"]\npassive = true\nimport = \"all\"\nexport = \"all\"\n{client}{hold}",
        );
    }
    text
}
