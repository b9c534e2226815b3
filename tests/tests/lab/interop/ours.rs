//! Our agent in the matrix: how it is configured, and what it shows.

use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, End, Host, Lab, LabError, Link, Why, ensure};

use crate::interop::daemon::{Daemon, Route, Setup, networks, set};

pub(crate) const CONVERGED: Duration = Duration::from_secs(30);
/// Beyond the reach of two octets, as all numbers here.
pub(crate) const ASN: u32 = 4_200_000_000;
pub(crate) const DAEMON_AS: u32 = 4_200_000_001;
/// What our agent originates.
pub(crate) const OWN: [&str; 2] = ["203.0.113.0/24", "2001:db8:ff::/48"];

/// One daemon and one of our agents on a cable. The agent calls its neighbour `daemon`.
pub(crate) struct Pair<D> {
    pub(crate) daemon: D,
    pub(crate) agent: Agent,
    /// The daemon's end first.
    pub(crate) link: Link,
}

impl<D: Daemon> Pair<D> {
    /// Starts both; `of_daemon` changes what the daemon is started with, and `peer` is added to what
    /// our agent has of it.
    pub(crate) fn start(
        lab: &Lab,
        of_daemon: impl FnOnce(&mut Setup),
        peer: &str,
    ) -> Result<Self, Why> {
        let (far, us) = (lab.host("far")?, lab.host("us")?);
        let link = lab.link(&far, &us)?;
        let mut setup = Setup::beside(DAEMON_AS, 1, &link.a, &link.b);
        of_daemon(&mut setup);
        let config = Self::config(&link, setup.asn, peer, &OWN);
        // The daemon first: a connection that is refused is a fault to us, and postpones the next.
        let daemon = D::start(lab, &far, &setup)?;
        let agent = lab.agent(&us, &config)?;
        Ok(Self {
            daemon,
            agent,
            link,
        })
    }

    /// What the agent is configured with; for reloads.
    pub(crate) fn config(link: &Link, asn: u32, peer: &str, originate: &[&str]) -> String {
        let more = peer_config("daemon", link.a.v4, asn, peer);
        config(3, originate, &more)
    }

    /// The session is up, and each side has both networks of the other.
    pub(crate) fn wait_for_routes(&self, lab: &Lab) -> Result<(), LabError> {
        lab.until(CONVERGED, "routes to cross both ways", || {
            for prefix in networks(1) {
                heard(&self.agent, "daemon", &prefix)?;
            }
            for prefix in OWN {
                self.daemon.best(prefix)?;
            }
            Ok(())
        })
    }

    /// What our agent shows of the session.
    pub(crate) fn peer(&self) -> Result<Value, Why> {
        Ok(self.agent.cli(["peers", "daemon"])?)
    }
}

pub(crate) fn config(id: u8, originate: &[&str], more: &str) -> String {
    format!(
        "[node]\nname = \"us\"\nrouter_id = \"{id}.{id}.{id}.{id}\"\n\
         [bgp]\nasn = {ASN}\nconnect_retry = 1\nhold_time = 9\noriginate = {originate:?}\n\
         [fib]\ninstall = false\n{more}"
    )
}

pub(crate) fn peer_config(name: &str, address: impl ToString, asn: u32, more: &str) -> String {
    let address = address.to_string();
    format!(
        "[[peer]]\nname = \"{name}\"\naddress = \"{address}\"\nasn = {asn}\nimport = \"all\"\n\
         export = \"all\"\n{more}\n"
    )
}

/// What a neighbour of an agent told it of a prefix, before policy. Fails when it told nothing.
pub(crate) fn heard(agent: &Agent, peer: &str, prefix: &str) -> Result<Route, Why> {
    let answer = agent.cli(["routes", "--rib", "in", "--peer", peer, prefix])?;
    let route = &answer["routes"][0];
    ensure!(route.is_object(), "{peer} told nothing of {prefix}");
    ensure!(route["refused"].is_null(), "{prefix}: {}", route["refused"]);
    Ok(shown(route))
}

/// A route as our agent shows it.
fn shown(route: &Value) -> Route {
    let attributes = &route["attributes"];
    let list = |key: &str| {
        let values = attributes[key].as_array().map(Vec::as_slice);
        set(values
            .unwrap_or_default()
            .iter()
            .filter_map(|value| value.as_str()))
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Route {
        path: text(&route["as_path"]),
        communities: list("communities"),
        large: list("large_communities"),
        med: attributes["med"].as_u64().unwrap_or(0),
        local_pref: attributes["local_pref"].as_u64(),
        next_hop: text(&route["next_hop"]["addr"]),
    }
}

/// Three hosts in a row, and the cables of the outer two to the middle one: the outer ends first.
pub(crate) fn chain(lab: &Lab) -> Result<([Host; 3], [[End; 2]; 2]), Why> {
    let hosts = [lab.host("left")?, lab.host("mid")?, lab.host("right")?];
    let (left, right) = (
        lab.link(&hosts[0], &hosts[1])?,
        lab.link(&hosts[2], &hosts[1])?,
    );
    Ok((hosts, [[left.a, left.b], [right.a, right.b]]))
}
