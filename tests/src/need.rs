//! What a test needs from the machine, and how to say that it is not there.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::error::LabError;
use crate::lab::Lab;

/// A prerequisite beyond root, `unshare`, `setpriv` and `ip`, which every lab needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Stock FRR (zebra, bgpd, vtysh).
    Frr,
    /// Stock BIRD 2 or later.
    Bird,
    /// nftables' command.
    Nft,
    /// BIND's `dig`.
    Dig,
    /// RIPE NCC's reader of MRT.
    Bgpdump,
    /// `wayleaved` and `wayleave`, built.
    Agent,
    /// `wayleave-cni`, built.
    Cni,
    /// The example program `bfd` of wayleave-bgp, built.
    Bfd,
}

impl Need {
    /// Why this is not met here, or nothing.
    pub(crate) fn unmet(self) -> Option<String> {
        let programs: &[&str] = match self {
            Self::Frr => &["/usr/lib/frr/zebra", "/usr/lib/frr/bgpd", "vtysh"],
            Self::Bird => &["bird", "birdc"],
            Self::Nft => &["nft"],
            Self::Dig => &["dig"],
            Self::Bgpdump => &["bgpdump"],
            Self::Agent => return unbuilt(&[Built::Wayleaved, Built::Wayleave]),
            Self::Cni => return unbuilt(&[Built::Cni]),
            Self::Bfd => return unbuilt(&[Built::Bfd]),
        };
        absent(programs, &format!("install the package {self}"))
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frr => "frr",
            Self::Bird => "bird2",
            Self::Nft => "nftables",
            Self::Dig => "bind9-dnsutils",
            Self::Bgpdump => "bgpdump",
            Self::Agent => "wayleave-agent",
            Self::Cni => "wayleave-cni",
            Self::Bfd => "the example bfd",
        })
    }
}

/// What every lab needs and this machine lacks, or nothing.
pub(crate) fn base_unmet() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("labs are made of namespaces and need root".to_owned());
    }
    absent(
        &["unshare", "setpriv", "timeout", "ip", "ping"],
        "install util-linux, coreutils, iproute2 and iputils-ping",
    )
}

/// A program of this workspace.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Built {
    Wayleaved,
    Wayleave,
    Cni,
    Bfd,
}

impl Built {
    fn name(self) -> &'static str {
        match self {
            Self::Wayleaved => "wayleaved",
            Self::Wayleave => "wayleave",
            Self::Cni => "wayleave-cni",
            Self::Bfd => "examples/bfd",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Wayleaved => "WAYLEAVED",
            Self::Wayleave => "WAYLEAVE",
            Self::Cni => "WAYLEAVE_CNI",
            Self::Bfd => "WAYLEAVE_BFD",
        }
    }

    /// How it is built.
    fn build(self) -> String {
        match self {
            Self::Wayleaved | Self::Wayleave | Self::Cni => {
                format!("cargo build --bin {}", self.name())
            }
            Self::Bfd => "cargo build -p wayleave-bgp --example bfd".to_owned(),
        }
    }

    /// Where the program lies: the variable (`WAYLEAVED` for `wayleaved`), else beside
    /// `WAYLEAVED`, else the newest of the cargo target directory that this test runs from.
    pub(crate) fn path(self) -> Result<PathBuf, LabError> {
        let missing = |fix| LabError::Missing {
            program: self.name().to_owned(),
            fix,
        };
        if let Some(path) = env::var_os(self.variable()).map(PathBuf::from) {
            return match path.is_file() {
                true => Ok(path),
                false => Err(missing(format!(
                    "{} names {}",
                    self.variable(),
                    path.display()
                ))),
            };
        }
        if let Some(daemon) = env::var_os(Self::Wayleaved.variable()).map(PathBuf::from) {
            let beside = daemon.with_file_name(self.name());
            if beside.is_file() {
                return Ok(beside);
            }
        }
        // target/<profile>/deps/<this test>
        let here = env::current_exe().map_err(|e| LabError::system("find this program", e))?;
        let target = here.ancestors().nth(3).unwrap_or(Path::new("target"));
        let newest = ["debug", "release"]
            .iter()
            .map(|profile| target.join(profile).join(self.name()))
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .max();
        match newest {
            Some((_, path)) => Ok(path),
            None => Err(missing(format!("build it: {}", self.build()))),
        }
    }
}

fn unbuilt(programs: &[Built]) -> Option<String> {
    programs
        .iter()
        .find_map(|p| p.path().err())
        .map(|e| e.to_string())
}

/// Names the first program that is not installed. Names with a slash are paths.
fn absent(programs: &[&str], fix: &str) -> Option<String> {
    let gone = programs.iter().find(|program| find(program).is_none())?;
    Some(format!("{gone} is missing: {fix}"))
}

/// What is missing of some programs of a package, as a test that skips itself says it.
pub(crate) fn lacks(programs: &[&str], package: &str) -> Option<String> {
    absent(programs, &format!("install the package {package}"))
}

/// Where a daemon of a package lies, which is about to be started in a lab.
pub(crate) fn daemon(lab: &Lab, program: &str, package: &str) -> Result<PathBuf, LabError> {
    let found = find(program).ok_or_else(|| LabError::Missing {
        program: program.to_owned(),
        fix: format!("install the package {package}"),
    })?;
    // The state of the kernel before the first daemon is what the oracle compares with.
    if lab.snapshots().is_empty() {
        lab.snapshot()?;
    }
    Ok(found)
}

/// Where a program lies, by path or by search. Adds the administrator's directories, which an
/// ordinary user's PATH may lack.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|p| p.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
