//! Messages past 4,096 octets (RFC 8654): what they carry goes on to those who take such, and is taken
//! back from those who do not.

use wayleave_lab::{Agent, End, Exabgp, Host, Lab, Why, ensure};

use crate::interop::daemon::{Daemon, LARGE, Setup, networks};
use crate::interop::exabgp;
use crate::interop::ours::{ASN, CONVERGED, DAEMON_AS, config, heard, peer_config};

/// Large communities of twelve octets each, more than 4,096 hold.
const MANY: u32 = 400;
/// ExaBGP, and an agent that does not take long messages.
const SOURCE_AS: u32 = DAEMON_AS + 1;
const SHORT_AS: u32 = DAEMON_AS + 2;

/// ExaBGP has a route that grows; the daemon is told of it if it takes long messages.
pub(crate) fn sink<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    if let Some(why) = Exabgp::missing() {
        return lab.skip(why);
    }
    let source = lab.host("source")?;
    // To those who do not know of long messages, its own routes are as they always are.
    let of_daemon = if D::LONG_MESSAGES { MANY } else { 0 };
    let net = Net::<D>::start(lab, of_daemon, Some(&source))?;
    let end = net.ends.last().ok_or("no end of the source")?;
    let mut setup = Setup::beside(SOURCE_AS, 2, end, &net.ends[0]);
    let [route, _] = setup.networks.clone().try_into().map_err(|_| "networks")?;
    setup.networks = Vec::new();
    setup.more_large = MANY;
    let source = <exabgp::Tested as Daemon>::start(lab, &source, &setup)?;
    let announce = |large: &[String]| -> Result<(), Why> {
        source.cli(&format!(
            "announce route {route} next-hop {} as-path [ {SOURCE_AS} ] large-community [ {} ]",
            end.v4,
            large.join(" ")
        ))
    };
    let large = |count| -> Result<(), Why> {
        let seen = heard(&net.agent, "source", &route)?.large.len();
        ensure!(seen == count, "we have {seen} of {count}");
        Ok(())
    };
    lab.until(CONVERGED, "all sessions to be up", || net.up(&["source"]))?;
    announce(&LARGE.map(str::to_owned))?;
    lab.until(CONVERGED, "the short route to reach everybody", || {
        large(LARGE.len())?;
        net.daemon.best(&route)?;
        net.short(&route)
    })?;

    let many = setup.large();
    announce(&many)?;
    lab.until(CONVERGED, "the long one to reach those who take it", || {
        large(many.len())?;
        ensure!(net.short(&route).is_err(), "it is still at the short one");
        let best = net.daemon.best(&route);
        match D::LONG_MESSAGES {
            true => ensure!(best?.large.len() == many.len(), "it has another"),
            false => ensure!(best.is_err(), "it still has {best:?}"),
        }
        Ok(())
    })?;

    announce(&LARGE.map(str::to_owned))?;
    lab.until(CONVERGED, "the short one to be back", || {
        let best = net.daemon.best(&route)?;
        ensure!(best.large.len() == LARGE.len(), "{}", best.large.len());
        net.short(&route)
    })?;
    // Nobody has closed a session over any of that.
    net.stayed(&["daemon", "short", "source"])
}

/// The daemon's own routes are long from the beginning.
pub(crate) fn source<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    if !D::LONG_MESSAGES {
        // It offers nothing of the kind.
        let net = Net::<D>::start(lab, 0, None)?;
        lab.until(CONVERGED, "all sessions to be up", || net.up(&[]))?;
        let peer = net.agent.cli(["peers", "daemon"])?;
        let offered = peer["capabilities_received"].to_string();
        ensure!(!offered.contains("extended-message"), "{offered}");
        return Ok(());
    }
    let net = Net::<D>::start(lab, MANY, None)?;
    let expected = LARGE.len() + usize::try_from(MANY)?;
    let [route, _] = networks(1);
    lab.until(CONVERGED, "its long route to be held", || {
        net.up(&[])?;
        let seen = heard(&net.agent, "daemon", &route)?.large.len();
        ensure!(seen == expected, "{seen} of {expected}");
        Ok(())
    })?;
    let peer = net.agent.cli(["peers", "daemon"])?;
    for direction in ["capabilities_sent", "capabilities_received"] {
        let offered = peer[direction].to_string();
        ensure!(
            offered.contains("extended-message"),
            "{direction}: {offered}"
        );
    }
    // The other check shows that what is shorter does go there.
    let words = ["routes", "--rib", "out", "--peer", "short", &route];
    let told = net.agent.cli(words)?;
    ensure!(told["routes"] == serde_json::json!([]), "{told}");
    net.stayed(&["daemon", "short"])
}

/// Us, the daemon, and a neighbour that takes no long messages, on a switch.
struct Net<D> {
    daemon: D,
    agent: Agent,
    short: Agent,
    /// Ours, and the last is that of the host beside, if any.
    ends: Vec<End>,
}

impl<D: Daemon> Net<D> {
    fn start(lab: &Lab, more_large: u32, beside: Option<&Host>) -> Result<Self, Why> {
        let hosts = [lab.host("us")?, lab.host("far")?, lab.host("short")?];
        let all: Vec<&Host> = hosts.iter().chain(beside).collect();
        let ends = lab.switch("sw", &all)?.ends;
        let mut setup = Setup::beside(DAEMON_AS, 1, &ends[1], &ends[0]);
        setup.more_large = more_large;
        let daemon = D::start(lab, &hosts[1], &setup)?;
        let mut peers = peer_config("daemon", ends[1].v4, DAEMON_AS, "");
        peers += &peer_config("short", ends[2].v4, SHORT_AS, "");
        if let Some(source) = ends.get(3) {
            peers += &peer_config("source", source.v4, SOURCE_AS, "");
        }
        let agent = lab.agent(&hosts[0], &config(3, &[], &peers))?;
        let short = peer_config("us", ends[0].v4, ASN, "extended_messages = false");
        let short = config(4, &[], &short).replace(
            &format!("asn = {ASN}\nconnect_retry"),
            &format!("asn = {SHORT_AS}\nconnect_retry"),
        );
        Ok(Self {
            daemon,
            agent,
            short: lab.agent(&hosts[2], &short)?,
            ends,
        })
    }

    /// Fails unless sessions are up.
    fn up(&self, more: &[&str]) -> Result<(), Why> {
        for name in ["daemon", "short"].iter().chain(more) {
            let state = &self.agent.cli(["peers", name])?["state"];
            ensure!(*state == "Established", "{name} is {state}");
        }
        Ok(())
    }

    /// Fails unless the one that takes no long messages has a route of ours.
    fn short(&self, prefix: &str) -> Result<(), Why> {
        heard(&self.short, "us", prefix).map(drop)
    }

    fn stayed(&self, names: &[&str]) -> Result<(), Why> {
        for name in names {
            let peer = self.agent.cli(["peers", name])?;
            let (ups, why) = (&peer["established_count"], &peer["last_error"]);
            ensure!(*ups == 1, "{name} was up {ups} times: {why}");
        }
        Ok(())
    }
}
