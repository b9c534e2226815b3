//! Us and a stock router on one cable, and how each sees the other.

use std::thread;
use std::time::{Duration, Instant};

use wayleave_lab::{Bfd, Bird, End, Frr, FrrConfig, Host, Lab, Link, Why, ensure};

use super::UP;

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bird,
    Frr,
}

/// The two ends of a session as each sees the other.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) ours: String,
    pub(super) theirs: String,
}

impl Peer {
    pub(super) fn frr_line(&self, interface: &str) -> String {
        let Self { ours, theirs } = self;
        format!("peer {ours} local-address {theirs} interface {interface}")
    }
}

/// A stock router on the other end.
pub(super) enum Router {
    Bird(Bird),
    Frr(Frr),
}

/// Us and a router on one cable, with three sessions: IPv4, IPv6, and IPv6 link-local.
pub(super) struct Pair {
    pub(super) link: Link,
    pub(super) peers: [Peer; 3],
    pub(super) us: Bfd,
    pub(super) them: Router,
}

impl Pair {
    pub(super) fn start(lab: &Lab, kind: Kind, arguments: &[&str]) -> Result<Self, Why> {
        let (us, them) = (lab.host("us")?, lab.host("them")?);
        let link = lab.link(&us, &them)?;
        let (a, b) = (&link.a, &link.b);
        let peers = [
            Peer {
                ours: a.v4.to_string(),
                theirs: b.v4.to_string(),
            },
            Peer {
                ours: a.v6.to_string(),
                theirs: b.v6.to_string(),
            },
            Peer {
                ours: link_local(a)?,
                theirs: link_local(b)?,
            },
        ];
        let router = match kind {
            Kind::Bird => Router::Bird(lab.bird(&them, &bird_config(&peers, &b.name))?),
            Kind::Frr => Router::Frr(lab.frr(&them, frr_config(&peers, &b.name))?),
        };
        let theirs = peers.iter().map(|peer| peer.theirs.as_str());
        let fixed = ["--interface", a.name.as_str()];
        let arguments: Vec<&str> = theirs
            .chain(fixed)
            .chain(arguments.iter().copied())
            .collect();
        let us = lab.bfd(&us, &arguments)?;
        Ok(Self {
            link,
            peers,
            us,
            them: router,
        })
    }

    pub(super) fn wait_up(&self, lab: &Lab) -> Result<(), Why> {
        lab.until(UP, "all sessions to be up at both ends", || {
            for peer in &self.peers {
                let ours = self.us.state(&peer.theirs);
                ensure!(ours == "Up", "our session with {} is {ours}", peer.theirs);
                let theirs = self.them.state(&peer.ours)?;
                ensure!(theirs == "up", "theirs with {} is {theirs}", peer.ours);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Lets both ends agree on the fast intervals: a Poll Sequence of a few packets, of which
    /// neither tells. Then no session has gone down meanwhile.
    pub(super) fn settle(&self) -> Result<(), Why> {
        let ours = self.us.changes();
        thread::sleep(Duration::from_millis(1_500));
        ensure!(
            self.us.changes() == ours,
            "not stable: {:?}",
            self.us.changes()
        );
        Ok(())
    }

    /// When all sessions have gone down at our end and at theirs.
    pub(super) fn wait_for_falls(
        &self,
        ours: usize,
        theirs: usize,
    ) -> Result<(Instant, Instant), Why> {
        let count = self.peers.len();
        let (mut us, mut them) = (None, None);
        soon(|| {
            if us.is_none() && self.us.changes().len() >= ours + count {
                us = Some(Instant::now());
            }
            if them.is_none() && self.them.falls() >= theirs + count {
                them = Some(Instant::now());
            }
            us.zip(them)
        })
        .map_err(|why| {
            let (we, they) = (self.us.changes(), self.them.falls() - theirs);
            format!("{why:?}; we saw {:?}, they {they}", &we[ours..]).into()
        })
    }

    pub(super) fn wait_for_our_change(
        &self,
        lab: &Lab,
        from: usize,
        peer: &Peer,
    ) -> Result<wayleave_lab::Change, Why> {
        let change = lab.until(UP, "a change of ours", || {
            let changes = self.us.changes();
            let mut new = changes[from..].iter();
            let change = new.find(|change| change.peer == peer.theirs);
            change.cloned().ok_or_else(|| format!("{changes:?}").into())
        })?;
        Ok(change)
    }
}

impl Router {
    /// The state of the session with this address, in lower-case letters.
    pub(super) fn state(&self, address: &str) -> Result<String, Why> {
        match self {
            Self::Bird(bird) => {
                let text = bird.cli("show bfd sessions")?;
                let line = text
                    .lines()
                    .find(|line| line.split(' ').next() == Some(address));
                let state = line.and_then(|line| line.split_whitespace().nth(2));
                Ok(state.unwrap_or("nothing").to_lowercase())
            }
            Self::Frr(frr) => {
                let all = frr.vtysh_json("show bfd peers json")?;
                let peers = all.as_array().map(Vec::as_slice).unwrap_or_default();
                let peer = peers.iter().find(|peer| peer["peer"] == address);
                let state = peer.and_then(|peer| peer["status"].as_str());
                Ok(state.unwrap_or("nothing").to_owned())
            }
        }
    }

    pub(super) fn kill(&self) -> Result<(), Why> {
        match self {
            Self::Bird(bird) => bird.process().kill()?,
            Self::Frr(frr) => frr.kill()?,
        }
        Ok(())
    }

    pub(super) fn start_again(&self) -> Result<(), Why> {
        match self {
            Self::Bird(bird) => bird.start_again()?,
            Self::Frr(frr) => frr.start_daemons()?,
        }
        Ok(())
    }

    /// How often any of its sessions has left Up, as it has logged it: the moment counts, and asking
    /// takes longer.
    pub(super) fn falls(&self) -> usize {
        let (log, fall) = match self {
            Self::Bird(bird) => (bird.process().log(), "changed state from Up to "),
            Self::Frr(frr) => (frr.log(), "] up -> "),
        };
        log.lines().filter(|line| line.contains(fall)).count()
    }

    /// It has seen that we were switched off, not that the path has failed.
    pub(super) fn ensure_told_of_admin_down(&self) -> Result<(), Why> {
        match self {
            // It says no more than that its neighbour has signalled it, which a timeout is not.
            Self::Bird(bird) => {
                let log = bird.process().log();
                ensure!(!log.contains("expired"), "{log}");
            }
            Self::Frr(frr) => {
                let all = frr.vtysh_json("show bfd peers json")?;
                let peers = all.as_array().map(Vec::as_slice).unwrap_or_default();
                ensure!(!peers.is_empty(), "{all}");
                for peer in peers {
                    ensure!(
                        peer["diagnostic"] == "neighbor signaled session down"
                            && peer["remote-diagnostic"] == "administratively down",
                        "{peer}"
                    );
                }
            }
        }
        Ok(())
    }
}

fn bird_config(peers: &[Peer], interface: &str) -> String {
    let neighbours: String = peers
        .iter()
        .map(|Peer { ours, theirs }| {
            format!("  neighbor {ours} dev \"{interface}\" local {theirs};\n")
        })
        .collect();
    format!(
        "router id 2.2.2.2;\nprotocol device {{ scan time 1; }}\n\
         protocol bfd {{\n  debug {{ events }};\n  interface \"*\" {{ min rx interval 50 ms; \
         min tx interval 50 ms; multiplier 3; }};\n{neighbours}}}\n"
    )
}

fn frr_config(peers: &[Peer], interface: &str) -> FrrConfig {
    let peers: String = peers
        .iter()
        .map(|peer| {
            format!(
                " {}\n  detect-multiplier 3\n  receive-interval 50\n  transmit-interval 50\n !\n",
                peer.frr_line(interface)
            )
        })
        .collect();
    FrrConfig::new(format!("debug bfd peer\nbfd\n{peers}!\n")).bfd()
}

fn link_local(end: &End) -> Result<String, Why> {
    let host: &Host = &end.host;
    let words = format!("-6 address show dev {} scope link", end.name);
    let shown = host.ip_json(&words)?;
    // `ip` leaves empty objects where others than these stood.
    let held = shown[0]["addr_info"].as_array();
    let mut held = held.map(Vec::as_slice).unwrap_or_default().iter();
    held.find_map(|address| address["local"].as_str())
        .map(str::to_owned)
        .ok_or_else(|| format!("{} has no link-local address: {shown}", end.name).into())
}

/// Looks every two milliseconds: a time is measured, and [`Lab::until`] rests longer.
pub(super) fn soon<T>(mut look: impl FnMut() -> Option<T>) -> Result<T, Why> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        ensure!(Instant::now() < end, "not seen within 10 s");
        thread::sleep(Duration::from_millis(2));
    }
}
