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

    /// The send hold timer (RFC 9687) it has, in the versions of Debian 12.
    pub(crate) fn send_hold(self) -> SendHold {
        match self {
            Self::Wayleaved => SendHold::Settable,
            Self::Frr => SendHold::TwiceHold,
            Self::Wire | Self::Bird | Self::Gobgp | Self::Openbgpd => SendHold::Unknown,
        }
    }

    /// What puts it on the bench: the variable that names its program, where it usually is, the
    /// Debian package, and how to ask for its version.
    fn origin(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Wire => ("", "", "", ""),
            Self::Wayleaved => ("WAYLEAVED", "", "wayleaved", "--version"),
            Self::Bird => ("BIRD", "/usr/sbin/bird", "bird2", "--version"),
            Self::Frr => ("BGPD", "/usr/lib/frr/bgpd", "frr", "--version"),
            Self::Gobgp => ("GOBGPD", "/usr/bin/gobgpd", "gobgpd", "--version"),
            Self::Openbgpd => ("OPENBGPD", "/usr/sbin/bgpd", "openbgpd", "-V"),
        }
    }
}

/// How a daemon lets go of a peer that reads nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendHold {
    /// It does not, or nobody has looked.
    Unknown,
    /// When it happens to look, after twice the hold time.
    TwiceHold,
    /// After a time it is told.
    Settable,
}

/// A daemon found on this machine.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    /// What it says its version is; empty for the wire.
    pub(crate) version: String,
    program: PathBuf,
}

impl Contender {
    /// Looks for a daemon: at `named`, where its environment variable (WAYLEAVED, BIRD, BGPD,
    /// GOBGPD, OPENBGPD) says, or in its usual place; ours beside this program.
    ///
    /// # Errors
    /// With the reason why it cannot take part.
    pub(crate) fn find(kind: Kind, named: Option<&Path>) -> Result<Self, String> {
        let (variable, usual, package, flag) = kind.origin();
        if kind == Kind::Wire {
            return Ok(Self {
                kind,
                version: String::new(),
                program: PathBuf::new(),
            });
        }
        let program = match (named.map(Path::to_owned), env::var_os(variable)) {
            (Some(path), _) if path.is_file() => path,
            (Some(path), _) => return Err(format!("{} is no file", path.display())),
            (None, Some(path)) if Path::new(&path).is_file() => path.into(),
            (None, Some(path)) => {
                return Err(format!(
                    "{variable} names {}, which is no file",
                    path.display()
                ));
            }
            (None, None) if kind == Kind::Wayleaved => env::current_exe()
                .map(|exe| exe.with_file_name("wayleaved"))
                .ok()
                .filter(|path| path.is_file())
                .ok_or("not built beside the benchmark; --wayleaved or WAYLEAVED may name it")?,
            (None, None) if Path::new(usual).is_file() => usual.into(),
            (None, None) => {
                return Err(format!(
                    "not installed (package {package}; {variable} may name it)"
                ));
            }
        };
        let version = match Command::new(&program).arg(flag).output() {
            Ok(output) => version_in(&String::from_utf8_lossy(
                &[output.stdout, output.stderr].concat(),
            )),
            Err(error) => return Err(format!("{} does not run: {error}", program.display())),
        };
        Ok(Self {
            kind,
            version,
            program,
        })
    }

    /// Starts the daemon in its namespace.
    pub(crate) fn start(&self, fabric: &Fabric, role: &Role) -> Result<Process, Error> {
        let scratch = fabric.scratch(self.kind.name())?;
        let prepare = match self.kind {
            Kind::Bird => bird::prepare,
            Kind::Frr => frr::prepare,
            Kind::Gobgp => gobgp::prepare,
            Kind::Openbgpd => openbgpd::prepare,
            Kind::Wayleaved => wayleaved::prepare,
            Kind::Wire => return Err(Error::Usage("the wire is no process".to_owned())),
        };
        let command = prepare(&self.program, role, &scratch)?;
        if self.kind == Kind::Frr && role.install {
            let zebra = frr::zebra(&self.program, &scratch)?;
            let mut zebra = fabric.in_daemons(|| Process::start(zebra, "zebra", &scratch))??;
            frr::await_zebra(&mut zebra, &scratch)?;
            let bgpd = fabric.in_daemons(|| Process::start(command, "output", &scratch))??;
            return Ok(bgpd.beside(zebra));
        }
        fabric.in_daemons(|| Process::start(command, "output", &scratch))?
    }

    /// Whether it can put routes into the kernel here.
    ///
    /// # Errors
    /// With the reason why not.
    pub(crate) fn installs(&self) -> Result<(), String> {
        match self.kind {
            Kind::Wire | Kind::Wayleaved | Kind::Bird => Ok(()),
            Kind::Frr => {
                let zebra = frr::zebra_beside(&self.program);
                let missing = || format!("no {} (package frr)", zebra.display());
                zebra.is_file().then_some(()).ok_or_else(missing)
            }
            Kind::Gobgp => Err("needs a zebra of FRR for that".to_owned()),
            Kind::Openbgpd => Err("its portable version does not do that on Linux".to_owned()),
        }
    }
}

/// The first word that begins with a digit.
fn version_in(said: &str) -> String {
    let mut words = said.split_whitespace();
    let version = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    version.unwrap_or("of unknown version").to_owned()
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
    /// How many more there are after these that exchange no routes: theirs is the other family.
    pub(crate) silent: usize,
    pub(crate) relation: Relation,
    /// Put the routes into the kernel.
    pub(crate) install: bool,
    /// Their next hop is not the peer, and what network it is on changes.
    pub(crate) tracked: bool,
    /// Seconds until a peer that reads nothing is let go of, where the daemon can be told.
    pub(crate) send_hold: Option<u16>,
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

    /// Every peer.
    fn neighbours(&self) -> impl Iterator<Item = Neighbour> + '_ {
        (0..self.peers + self.silent).map(|peer| Neighbour {
            address: peer_address(self.family, peer),
            asn: self.peer_as(peer),
            carried: self.carried(peer),
        })
    }

    /// The family of the routes on the session of the peer numbered so.
    pub(crate) fn carried(&self, peer: usize) -> Family {
        if peer < self.peers {
            self.family
        } else {
            self.family.other()
        }
    }
}

/// A peer, as a daemon's configuration names it.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    address: IpAddr,
    asn: u32,
    /// The family of the routes on its session.
    carried: Family,
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}
