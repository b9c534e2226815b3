//! AS numbers that are others on a session than elsewhere (RFC 7705), as the other side shows them.

use wayleave_lab::{Agent, Lab, LabError, Why, ensure};

use crate::interop::daemon::{Daemon, Families, Neighbour, Setup, networks};
use crate::interop::ours::{
    ASN, CONVERGED, DAEMON_AS, OWN, Pair, chain, config, heard, peer_config,
};
use crate::interop::{bird, frr};

/// The AS that the neighbour takes us to be in.
const OLD: u32 = 65_010;

crate::interop::tests! { frr::Tested, [Frr, Agent],
    frr_takes_us_to_be_in_another_as => numbers::local_as,
    two_sites_of_one_as_hear_of_each_other_through_us => numbers::as_override,
}
crate::interop::tests! { bird::Tested, [Bird, Agent],
    bird_takes_us_to_be_in_another_as => numbers::local_as,
}

pub(crate) fn local_as<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let of_daemon = |setup: &mut Setup| setup.neighbours[0].asn = OLD;
    let local = format!("local_as = {OLD}");
    let pair = Pair::<D>::start(lab, of_daemon, &local)?;
    pair.wait_for_routes(lab)?;
    let both = format!("{OLD} {ASN}");
    // It puts itself into its path once more than it has to.
    let through_old = format!("{OLD} {DAEMON_AS} {DAEMON_AS}");
    let as_it_came = format!("{DAEMON_AS} {DAEMON_AS}");
    paths(lab, &pair, &both, &through_old)?;
    ensure!(
        heard(&pair.agent, "daemon", &networks(1)[0])?.path == as_it_came,
        "what it sent is not shown as it came"
    );
    let ups = |pair: &Pair<D>| -> Result<u64, Why> {
        let ups = &pair.peer()?["established_count"];
        Ok(ups.as_u64().ok_or("no count")?)
    };
    let before = ups(&pair)?;
    let more = format!("{local}\nlocal_as_replace = true\nlocal_as_prepend = false");
    let changed = Pair::<D>::config(&pair.link, DAEMON_AS, &more, &OWN);
    pair.agent.write_config(&changed)?;
    pair.agent.cli(["reload"])?;
    paths(lab, &pair, &OLD.to_string(), &as_it_came)?;
    ensure!(ups(&pair)? == before, "the session did not stay");
    Ok(())
}

/// Waits until each side has the other's networks with these paths.
fn paths<D: Daemon>(lab: &Lab, pair: &Pair<D>, there: &str, here: &str) -> Result<(), LabError> {
    lab.until(CONVERGED, "both sides to have the right paths", || {
        for prefix in OWN {
            let route = pair.daemon.best(prefix)?;
            ensure!(route.path == there, "{prefix} there: {}", route.path);
        }
        for prefix in networks(1) {
            let path = used(&pair.agent, &prefix)?;
            ensure!(path == here, "{prefix} here: {path}");
        }
        Ok(())
    })
}

/// The path of the route that an agent uses.
fn used(agent: &Agent, prefix: &str) -> Result<String, Why> {
    let answer = agent.cli(["routes", prefix])?;
    let path = answer["routes"][0]["as_path"].as_str();
    Ok(path
        .ok_or_else(|| format!("no route {prefix}: {answer}"))?
        .to_owned())
}

pub(crate) fn as_override<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let ([left, mid, right], ends) = chain(lab)?;
    let site = |id: u8, [here, there]: &[wayleave_lab::End; 2]| Setup {
        asn: DAEMON_AS,
        id: [id; 4].into(),
        neighbours: vec![Neighbour {
            asn: ASN,
            here: here.clone(),
            address: there.v4.into(),
            families: Families::Both,
            client: false,
            password: None,
        }],
        networks: networks(id).to_vec(),
        limit: None,
        next_hop_unset: false,
        more_large: 0,
        more: String::new(),
    };
    let one = D::start(lab, &left, &site(1, &ends[0]))?;
    let other = D::start(lab, &right, &site(2, &ends[1]))?;
    let ours = |more: &str| {
        let peers = [("one", &ends[0][0]), ("other", &ends[1][0])];
        let peers = peers.map(|(name, end)| peer_config(name, end.v4, DAEMON_AS, more));
        config(3, &[], &peers.concat())
    };
    let agent = lab.agent(&mid, &ours(""))?;
    lab.until(CONVERGED, "each to be told of the other", || {
        for (peer, id) in [("one", 2), ("other", 1)] {
            for prefix in networks(id) {
                let told = agent.cli(["routes", "--rib", "out", "--peer", peer, &prefix])?;
                ensure!(told["routes"][0].is_object(), "{peer}: {told}");
            }
        }
        Ok(())
    })?;
    // What it is told by then it has refused: its own AS is in it.
    ensure!(other.best(&networks(1)[0]).is_err(), "it takes loops");
    agent.write_config(&ours("as_override = true"))?;
    agent.cli(["reload"])?;
    // Our AS before the path, and in the place of theirs, which stands there twice.
    let path = format!("{ASN} {ASN} {ASN}");
    lab.until(CONVERGED, "each to believe the other's routes", || {
        for (site, id) in [(&one, 2), (&other, 1)] {
            for prefix in networks(id) {
                let route = site.best(&prefix)?;
                ensure!(route.path == path, "{prefix}: {}", route.path);
            }
        }
        Ok(())
    })?;
    Ok(())
}
