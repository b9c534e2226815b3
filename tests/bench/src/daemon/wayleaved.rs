//! Our own daemon as a plain speaker: no pool, no container, nothing into the kernel.

use std::{fmt::Write as _, path::Path, process::Command};

use crate::{
    daemon::{Relation, Role, write},
    error::Error,
    fabric::{PORT, ROUTER_ID},
};

pub(super) fn prepare(program: &Path, role: &Role, scratch: &Path) -> Result<Command, Error> {
    if role.relation == Relation::Client {
        return Err(Error::Usage("wayleaved has no reflector role yet".to_owned()));
    }
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
         [fib]\ninstall = false\n",
        scratch.join("state").display(),
        scratch.join("run").display(),
        role.asn,
    );
    for (number, (address, asn)) in role.neighbours().enumerate() {
        let _ = write!(
            text,
            "\n[[peer]]\nname = \"p{number}\"\naddress = \"{address}\"\nasn = {asn}\n\
             passive = true\nimport = \"all\"\nexport = \"all\"\n",
        );
    }
    text
}
