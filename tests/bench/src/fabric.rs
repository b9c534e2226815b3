//! Two network namespaces joined by a veth pair: the daemon in one, its peers in the other.
//!
//! So every daemon sees directly connected neighbours on an ordinary interface, and nothing of
//! the host's network is touched. Scratch files live on a tmpfs that only this process sees: with
//! the process everything is gone, however it ends.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use crate::{error::Error, prefix::Family};

/// The daemon listens here, in its own namespace.
pub(crate) const PORT: u16 = 179;
/// The daemon's router id and cluster id.
pub(crate) const ROUTER_ID: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// The namespaces; the calling thread lives in the peers' one.
#[derive(Debug)]
pub(crate) struct Fabric {
    daemon: File,
    peers: File,
    scratch: PathBuf,
}

impl Fabric {
    /// Makes both namespaces with addresses for `peers` peers. Call once, before any thread.
    pub(crate) fn raise(peers: usize) -> Result<Self, Error> {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| Error::Namespaces { source: e.into() })?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .map_err(|e| Error::Namespaces { source: e.into() })?;
        mount(
            Some("tmpfs"),
            "/run",
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=755"),
        )
        .map_err(|e| Error::Namespaces { source: e.into() })?;
        let scratch = PathBuf::from("/run/wayleave-bench");
        fs::create_dir_all(&scratch).map_err(Error::io("make a scratch directory"))?;

        let daemon = new_namespace()?;
        ip("link set lo up")?;
        let peer_side = new_namespace()?;
        ip("link set lo up")?;
        ip("link add peers type veth peer name daemon")?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), daemon.as_raw_fd());
        ip(&format!("link set daemon netns {path}"))?;
        let fabric = Self {
            daemon,
            peers: peer_side,
            scratch,
        };
        fabric.in_daemons(|| {
            ip("link set daemon up")?;
            ip(&format!(
                "address add {}/16 dev daemon",
                daemon_address(Family::Ipv4)
            ))?;
            ip(&format!(
                "address add {}/64 dev daemon nodad",
                daemon_address(Family::Ipv6)
            ))
        })??;
        let mut batch = String::from("link set peers up\n");
        for peer in 0..peers {
            let v4 = peer_address(Family::Ipv4, peer);
            let v6 = peer_address(Family::Ipv6, peer);
            batch.push_str(&format!("address add {v4}/16 dev peers\n"));
            batch.push_str(&format!("address add {v6}/64 dev peers nodad\n"));
        }
        let file = fabric.scratch.join("addresses");
        fs::write(&file, batch).map_err(Error::io("write the list of addresses"))?;
        ip(&format!("-batch {}", file.display()))?;
        Ok(fabric)
    }

    /// Runs something, such as starting a process or opening a socket, in the daemon's namespace.
    pub(crate) fn in_daemons<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        let enter = |namespace: &File| {
            setns(namespace, CloneFlags::CLONE_NEWNET)
                .map_err(|e| Error::Namespaces { source: e.into() })
        };
        enter(&self.daemon)?;
        let done = work();
        enter(&self.peers)?;
        Ok(done)
    }

    /// The number of an interface of the daemon's namespace.
    pub(crate) fn interface(&self, name: &str) -> Result<u32, Error> {
        let found = self.in_daemons(|| nix::net::if_::if_nametoindex(name))?;
        Ok(found?)
    }

    /// Runs `ip` in the daemon's namespace.
    pub(crate) fn ip_in_daemons(&self, arguments: &str) -> Result<(), Error> {
        self.in_daemons(|| ip(arguments))?
    }

    /// Nexthop objects outlive the daemon that made them: they go.
    pub(crate) fn flush_nexthops(&self) -> Result<(), Error> {
        self.ip_in_daemons("nexthop flush")
    }

    /// A fresh directory that vanishes with this process.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.scratch.join(name);
        let fresh = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&path),
        };
        fresh.map_err(Error::io(format!("make {}", path.display())))?;
        Ok(path)
    }
}

/// Where the daemon listens.
pub(crate) fn daemon_address(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(ROUTER_ID),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1)),
    }
}

/// The daemon's socket address.
pub(crate) fn daemon_socket(family: Family) -> SocketAddr {
    SocketAddr::new(daemon_address(family), PORT)
}

/// The address of the peer numbered so, from zero.
pub(crate) fn peer_address(family: Family, peer: usize) -> IpAddr {
    let host = peer as u16 + 2;
    match family {
        Family::Ipv4 => IpAddr::V4(peer_id(peer)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, host)),
    }
}

/// The BGP identifier of the peer numbered so: its IPv4 address.
pub(crate) fn peer_id(peer: usize) -> Ipv4Addr {
    let [high, low] = (peer as u16 + 2).to_be_bytes();
    Ipv4Addr::new(10, 99, high, low)
}

fn new_namespace() -> Result<File, Error> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::Namespaces { source: e.into() })?;
    let path = Path::new("/proc/thread-self/ns/net");
    File::open(path).map_err(|source| Error::Namespaces { source })
}

fn ip(arguments: &str) -> Result<(), Error> {
    let command = format!("ip {arguments}");
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .map_err(Error::io(format!("run `{command}` (package iproute2)")))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::Command { command, said })
        }
    }
}
