//! Several paths to one prefix (RFC 7911), both ways on one session: two routers in another AS tell
//! the daemon of one prefix and us of another, and each side passes on both paths of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;
use wayleave_lab::{Agent, End, Host, Lab, LabError, Why, ensure};

use crate::interop::daemon::Daemon;
use crate::interop::documented::block;
use crate::interop::ours::CONVERGED;

/// What the daemon has two paths to, and what we have.
const THEIRS: &str = "198.51.100.0/24";
const OURS: &str = "203.0.113.0/24";

/// What the check asks of a daemon beyond [`Daemon`].
pub(crate) trait Paths: Daemon {
    /// Its command line shows the identifiers that we have given to the paths.
    const SHOWS_IDENTIFIERS: bool = true;
    /// What it does when we ask for its routes again (RFC 2918).
    const ASKED: Asked = Asked::Tells;

    /// All paths to a prefix that we have told it: their next hops and identifiers.
    fn paths(&self, prefix: &str, us: IpAddr) -> Result<Told, Why>;

    /// Fails unless its command line shows that both sides have offered both directions.
    fn agreed(&self, us: IpAddr) -> Result<(), Why>;

    /// Takes back one of two paths, or tells it again: where it has them by itself, not from others.
    fn own_path(&self, _prefix: &str, _next_hop: IpAddr, _there: bool) -> Result<(), Why> {
        Err("its paths are those of others".into())
    }
}

/// What becomes of a request of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Tells,
    /// It ignores it, and says this.
    Ignores(&'static str),
    /// It closes the session, and comes back.
    Closes,
}

/// Identifiers by next hop, where they are shown.
pub(crate) type Told = BTreeMap<String, Option<u64>>;

pub(crate) fn both_ways<D: Paths>(lab: &Lab) -> Result<(), Why> {
    let net = Net::<D>::start(lab)?;
    let both = [net.one, net.two];
    let (here, there) = net.wait(lab, &both, &both)?;
    net.daemon.agreed(net.us)?;
    let peer = net.peer()?;
    for direction in ["capabilities_sent", "capabilities_received"] {
        let offered = peer[direction].to_string();
        ensure!(
            offered.contains("add-path ipv4-unicast send-receive"),
            "{direction}: {offered}"
        );
    }
    net.refreshed(lab)?;
    ensure!(
        net.wait(lab, &both, &both)? == (here.clone(), there.clone()),
        "a refresh has changed identifiers"
    );

    // One of the two goes, on one side and then on the other; the rest stays as it was.
    net.announce(false, true)?;
    let left = [net.two];
    let now = net.wait(lab, &left, &both)?;
    ensure!(now == (only(&here, net.two), there.clone()), "{now:?}");
    net.announce(false, false)?;
    let now = net.wait(lab, &left, &left)?;
    ensure!(
        now == (only(&here, net.two), only(&there, net.two)),
        "{now:?}"
    );
    net.announce(true, true)?;
    net.wait(lab, &both, &both)?;
    let peer = net.peer()?;
    let ups = if D::ASKED == Asked::Closes { 2 } else { 1 };
    ensure!(
        peer["established_count"] == ups,
        "it went down: {}",
        peer["last_error"]
    );
    Ok(())
}

/// Identifiers may be others in the next session: what was held meanwhile (RFC 4724) has the old ones,
/// and must not stay beside the new.
pub(crate) fn killed<D: Paths>(lab: &Lab) -> Result<(), Why> {
    let net = Net::<D>::start(lab)?;
    let both = [net.one, net.two];
    net.wait(lab, &both, &both)?;
    net.daemon.kill()?;
    // What goes while nobody is there to be told must not come back.
    net.tell(&[THEIRS])?;
    net.daemon.start_again()?;
    net.wait_for_session(lab, 2)?;
    net.wait(lab, &both, &[net.two])?;
    net.announce(true, true)?;
    net.wait(lab, &both, &both)?;
    net.agent.kill()?;
    net.agent.start_again()?;
    net.wait_for_session(lab, 1)?;
    net.wait(lab, &both, &both)?;
    Ok(())
}

/// Four hosts on a switch: the daemon and us in one AS, and two routers in another.
struct Net<D> {
    daemon: D,
    agent: Agent,
    host: Host,
    first: Agent,
    us: IpAddr,
    far: IpAddr,
    one: IpAddr,
    two: IpAddr,
}

impl<D: Paths> Net<D> {
    fn start(lab: &Lab) -> Result<Self, Why> {
        let hosts = [
            lab.host("us")?,
            lab.host("far")?,
            lab.host("one")?,
            lab.host("two")?,
        ];
        let switch = lab.switch("sw", &hosts.each_ref())?;
        let ends: Vec<&End> = switch.ends.iter().collect();
        let [us, far, one, two] = [0, 1, 2, 3].map(|n: usize| IpAddr::from(ends[n].v4));
        let text = block(&format!("{}, with ADD-PATH", D::HEADING), 0, &ends)?;
        let daemon = D::run(lab, &hosts[1], &text)?;
        let agent = block("The agent, with ADD-PATH", 0, &ends)?;
        let agent = lab.agent(&hosts[0], &agent)?;
        let all = [THEIRS, OURS];
        let first = lab.agent(&hosts[2], &router(3, us, far, &all))?;
        lab.agent(&hosts[3], &router(4, us, far, &all))?;
        let [host, ..] = hosts;
        Ok(Self {
            daemon,
            agent,
            host,
            first,
            us,
            far,
            one,
            two,
        })
    }

    fn peer(&self) -> Result<Value, Why> {
        Ok(self.agent.cli(["peers", "daemon"])?)
    }

    /// What the first router announces: to the daemon, and to us.
    fn announce(&self, theirs: bool, ours: bool) -> Result<(), Why> {
        let mut all = Vec::new();
        if theirs {
            all.push(THEIRS);
        }
        if ours {
            all.push(OURS);
        }
        self.tell(&all)?;
        if !D::PASSES_ON {
            self.daemon.own_path(THEIRS, self.one, theirs)?;
        }
        Ok(())
    }

    fn tell(&self, all: &[&str]) -> Result<(), Why> {
        let config = router(3, self.us, self.far, all);
        self.first.write_config(&config)?;
        self.first.cli(["reload"])?;
        Ok(())
    }

    fn wait_for_session(&self, lab: &Lab, ups: u64) -> Result<(), LabError> {
        lab.until(CONVERGED, "the session to be back", || {
            let peer = self.peer()?;
            let back = peer["state"] == "Established" && peer["established_count"] == ups;
            ensure!(back, "{}: {}", peer["state"], peer["last_error"]);
            // What is stale goes with the end of the table, where there is such a thing.
            let offered = peer["capabilities_received"].to_string();
            let ended = peer["ipv4"]["end_of_rib"] == true;
            ensure!(ended || !offered.contains("graceful-restart"), "no end yet");
            Ok(())
        })
    }

    /// Waits until we hold and use paths through these routers, and the daemon has those through those
    /// of us; returns what is told in either direction.
    fn wait(
        &self,
        lab: &Lab,
        ours: &[IpAddr],
        theirs: &[IpAddr],
    ) -> Result<(Told, Told), LabError> {
        let through = |told: &Told, routers: &[IpAddr]| {
            let routers = routers.iter().map(IpAddr::to_string);
            told.keys().cloned().eq(routers)
        };
        lab.until(CONVERGED, "the paths to be as they should", || {
            let here = self.heard()?;
            ensure!(through(&here, ours), "we hold {here:?}");
            distinct(&here)?;
            self.used(ours)?;
            let there = self.daemon.paths(OURS, self.us)?;
            ensure!(through(&there, theirs), "it has {there:?}");
            if D::SHOWS_IDENTIFIERS {
                distinct(&there)?;
                let told = self.shown("out", OURS)?;
                ensure!(told == there, "we told {told:?}, it has {there:?}");
            }
            Ok((here, there))
        })
    }

    /// What the daemon has told us, and has not been refused.
    fn heard(&self) -> Result<Told, Why> {
        self.shown("in", THEIRS)
    }

    fn shown(&self, rib: &str, prefix: &str) -> Result<Told, Why> {
        let words = ["routes", "--rib", rib, "--peer", "daemon", prefix];
        let answer = self.agent.cli(words)?;
        let routes = answer["routes"].as_array().ok_or("no list of routes")?;
        let mut told = Told::new();
        for route in routes {
            ensure!(route["refused"].is_null(), "{}", route["refused"]);
            let hop = route["next_hop"]["addr"].as_str().unwrap_or_default();
            told.insert(hop.to_owned(), route["path_id"].as_u64());
        }
        // Two with one next hop would look like one.
        ensure!(told.len() == routes.len(), "{answer}");
        Ok(told)
    }

    /// The kernel's route to the daemon's prefix leads over all these routers, and no other.
    fn used(&self, routers: &[IpAddr]) -> Result<(), Why> {
        let route = self.host.ip(&format!("route show {THEIRS}"))?;
        for router in [self.one, self.two] {
            let there = route.contains(&format!("via {router} "));
            ensure!(there == routers.contains(&router), "{router}: {route}");
        }
        Ok(())
    }

    /// Both sides ask for all routes again, where they can, and are told.
    fn refreshed(&self, lab: &Lab) -> Result<(), Why> {
        let count = |direction: &str| -> Result<u64, Why> {
            let count = self.peer()?[direction]["update"].as_u64();
            Ok(count.ok_or("no count of updates")?)
        };
        let (received, sent) = (count("received")?, count("sent")?);
        self.daemon.ask_again(self.us)?;
        lab.until(CONVERGED, "us to tell everything again", || {
            let told = count("sent")? > sent || !D::ASKS_AGAIN;
            ensure!(told, "we have told nothing");
            Ok(())
        })?;
        self.agent.cli(["peers", "refresh", "daemon", "--in"])?;
        lab.until(CONVERGED, "it to have our request", || {
            match D::ASKED {
                Asked::Tells => ensure!(count("received")? > received, "it has told nothing"),
                Asked::Ignores(why) => ensure!(self.daemon.said()?.contains(why), "no word"),
                Asked::Closes => {
                    let ups = &self.peer()?["established_count"];
                    ensure!(*ups == 2, "it was up {ups} times");
                }
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// The paths of a prefix have identifiers, each its own.
fn distinct(told: &Told) -> Result<(), Why> {
    let mut seen = Vec::new();
    for (hop, path_id) in told {
        let path_id = path_id.ok_or_else(|| format!("no identifier: {hop}"))?;
        ensure!(!seen.contains(&path_id), "one identifier for two: {told:?}");
        seen.push(path_id);
    }
    Ok(())
}

fn only(told: &Told, router: IpAddr) -> Told {
    let mut told = told.clone();
    told.retain(|hop, _| *hop == router.to_string());
    told
}

/// A router that tells the daemon of one prefix and us of the other.
fn router(id: u8, us: IpAddr, far: IpAddr, originate: &[&str]) -> String {
    let mut text = format!(
        "[node]\nrouter_id = \"{id}.{id}.{id}.{id}\"\n\
         [bgp]\nasn = 65001\nconnect_retry = 1\noriginate = {originate:?}\n\
         [fib]\ninstall = false\n"
    );
    for (name, address, prefix) in [("us", us, OURS), ("far", far, THEIRS)] {
        text += &format!(
            "[[peer]]\nname = \"{name}\"\naddress = \"{address}\"\nasn = 65000\nbfd = false\n\
             import = \"none\"\nexport = [\"{prefix}\"]\n"
        );
    }
    text
}
