//! The daemons that can stand on the bench, each configured for the same job.

mod bird;
mod frr;
mod gobgp;
mod openbgpd;
mod wayleaved;

use std::{
    env,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Serialize;

use crate::{
    error::Error,
    fabric::{Fabric, daemon_address, peer_address},
    prefix::Family,
    process::Process,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Generator straight to sink: what the bench itself costs.
    Wire,
    Wayleaved,
    Bird,
    Frr,
    Gobgp,
    Openbgpd,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Wayleaved => "wayleaved",
            Self::Bird => "bird",
            Self::Frr => "frr",
            Self::Gobgp => "gobgp",
            Self::Openbgpd => "openbgpd",
        }
    }

    /// The hold time the peers offer, in seconds. Zero means no keepalives, so that a stream is
    /// nothing but what is measured. GoBGP 3.10 drops such a session as expired: it gets, and is
    /// configured with, the longest there is.
    pub(crate) fn hold_time(self) -> u16 {
        if self == Self::Gobgp { u16::MAX } else { 0 }
    }

    /// Where its program is, or why there is none. An environment variable of the daemon's name
    /// (WAYLEAVED, BIRD, BGPD, GOBGPD, OPENBGPD) points elsewhere.
    pub(crate) fn program(self) -> Result<PathBuf, String> {
        let (variable, places, package): (_, &[&str], _) = match self {
            Self::Wire => return Ok(PathBuf::new()),
            Self::Wayleaved => ("WAYLEAVED", &[], None),
            Self::Bird => ("BIRD", &["/usr/sbin/bird"], Some("bird2")),
            Self::Frr => ("BGPD", &["/usr/lib/frr/bgpd"], Some("frr")),
            Self::Gobgp => ("GOBGPD", &["/usr/bin/gobgpd"], Some("gobgpd")),
            Self::Openbgpd => ("OPENBGPD", &["/usr/sbin/bgpd"], Some("openbgpd")),
        };
        if let Some(path) = env::var_os(variable).map(PathBuf::from) {
            return if path.is_file() {
                Ok(path)
            } else {
                Err(format!(
                    "{variable} names {}, which is no file",
                    path.display()
                ))
            };
        }
        let beside = env::current_exe()
            .ok()
            .map(|exe| exe.with_file_name(self.name()));
        let beside = beside.filter(|_| self == Self::Wayleaved);
        let mut found = beside.into_iter().chain(places.iter().map(PathBuf::from));
        found
            .find(|path| path.is_file())
            .ok_or_else(|| match package {
                Some(package) => {
                    format!("not installed (package {package}; {variable} may name it)")
                }
                None => format!("not built beside the benchmark; {variable} may name it"),
            })
    }

    /// The version it states.
    pub(crate) fn version(self) -> String {
        let Ok(program) = self.program() else {
            return String::new();
        };
        if self == Self::Wire {
            return String::new();
        }
        let flag = if self == Self::Openbgpd {
            "-V"
        } else {
            "--version"
        };
        let Ok(output) = Command::new(program).arg(flag).output() else {
            return "unknown".to_owned();
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = said
            .split_whitespace()
            .find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
        version.unwrap_or("unknown").to_owned()
    }
}

/// What a daemon is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) family: Family,
    /// The daemon's AS.
    pub(crate) asn: u32,
    /// [`Kind::hold_time`] of the daemon.
    pub(crate) hold_time: u16,
    /// How many peers, all of them opening the session from their side.
    pub(crate) peers: usize,
    pub(crate) relation: Relation,
}

/// What the peers are to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Each in an AS of its own, [`Role::peer_as`].
    External,
    /// In the daemon's AS, clients of its reflection.
    Client,
}

impl Role {
    /// The AS of the peer numbered so.
    pub(crate) fn peer_as(&self, peer: usize) -> u32 {
        match self.relation {
            Relation::External => self.asn + 1 + peer as u32,
            Relation::Client => self.asn,
        }
    }

    fn local(&self) -> IpAddr {
        daemon_address(self.family)
    }

    /// Address and AS of every peer.
    fn neighbours(&self) -> impl Iterator<Item = (IpAddr, u32)> + '_ {
        (0..self.peers).map(|peer| (peer_address(self.family, peer), self.peer_as(peer)))
    }
}

/// Starts a daemon in its namespace.
pub(crate) fn start(kind: Kind, fabric: &Fabric, role: &Role) -> Result<Process, Error> {
    let scratch = fabric.scratch(kind.name())?;
    let program = kind.program().map_err(Error::Usage)?;
    let command = match kind {
        Kind::Bird => bird::prepare(&program, role, &scratch)?,
        Kind::Frr => frr::prepare(&program, role, &scratch)?,
        Kind::Gobgp => gobgp::prepare(&program, role, &scratch)?,
        Kind::Openbgpd => openbgpd::prepare(&program, role, &scratch)?,
        Kind::Wayleaved => wayleaved::prepare(&program, role, &scratch)?,
        Kind::Wire => return Err(Error::Usage("the wire is no process".to_owned())),
    };
    fabric.in_daemons(|| Process::start(command, &scratch))?
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}
