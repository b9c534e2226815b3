//! Containers on three hosts: attached by the CNI plugin, reached through every kind of router.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use wayleave_lab::{CniFailure, Container, Lab, LabError, Stream, Why, ensure, lab};

use crate::fabric::{Between, CONVERGED, Fabric, Node, Numbers};
use crate::middle::peers;

#[test]
fn containers_reach_each_other_through_frr() {
    lab!(Frr, Agent, Cni).run(|lab| reach_each_other(lab, Between::Frr));
}

#[test]
fn containers_reach_each_other_through_bird() {
    lab!(Bird, Agent, Cni).run(|lab| reach_each_other(lab, Between::Bird));
}

#[test]
fn containers_reach_each_other_with_no_router_between() {
    lab!(Agent, Cni).run(|lab| reach_each_other(lab, Between::Switch));
}

fn reach_each_other(lab: &Lab, between: Between) -> Result<(), Why> {
    let fabric = Fabric::start(lab, between, 3, "")?;
    let start = Instant::now();
    let mut containers = Vec::new();
    for node in &fabric.nodes {
        containers.push(node.attach(lab, "a")?);
    }
    // And two on one host, who need no router at all.
    containers.push(fabric.nodes[0].attach(lab, "b")?);
    lab.until(CONVERGED, "every container to reach every other", || {
        Fabric::all_connected(&containers)
    })?;
    eprintln!(
        "{between:?}: first ADD to full reachability in {} ms",
        start.elapsed().as_millis()
    );
    for block in ["10.1.2.0/24", "fd00:1:0:2::/64"] {
        if let Some(frr) = &fabric.frr {
            frr.best(block)?;
        }
        if let Some(bird) = &fabric.bird {
            bird.best(block)?;
        }
    }
    for (container, node) in containers
        .iter()
        .zip(fabric.nodes.iter().chain(&fabric.nodes[..1]))
    {
        container.cni_check(&node.network())?;
        container.cni_del(&node.network())?;
    }
    Ok(())
}

#[test]
fn a_killed_agent_does_not_disturb_its_containers_and_serves_them_again() {
    lab!(Frr, Agent, Cni).run(|lab| {
        let fabric = Fabric::start(lab, Between::Frr, 2, "")?;
        let [near, far] = [&fabric.nodes[0], &fabric.nodes[1]];
        let (a, b) = (near.attach(lab, "a")?, near.attach(lab, "b")?);
        let elsewhere = far.attach(lab, "c")?;
        let all = [a.clone(), b.clone(), elsewhere];
        lab.until(CONVERGED, "every container to reach every other", || {
            Fabric::all_connected(&all)
        })?;
        lab.baseline()?;

        let before = a.addresses()?;
        let stream = Stream::start(a.inside(), b.inside(), first_v4(&b)?)?;
        near.agent.kill()?;
        near.agent.start_again()?;
        lab.until(CONVERGED, "every container to reach every other", || {
            Fabric::all_connected(&all)
        })?;
        let report = stream.stop();
        ensure!(
            report.lost == 0,
            "two containers of one host need no agent: {report:?}"
        );
        ensure!(a.addresses()? == before, "the addresses changed");
        a.cni_check(&near.network())?;

        // The leases were kept: nobody gets an address that is in use (the oracle looks, too).
        let new = near.attach(lab, "d")?;
        a.cni_del(&near.network())?;
        new.cni_del(&near.network())?;
        Ok(())
    });
}

#[test]
fn packets_to_and_from_a_host_do_not_miss_its_agent_through_frr() {
    lab!(Frr, Agent, Cni).run(|lab| missed_by_nobody(lab, Between::Frr));
}

#[test]
fn packets_to_and_from_a_host_do_not_miss_its_agent_through_bird() {
    lab!(Bird, Agent, Cni).run(|lab| missed_by_nobody(lab, Between::Bird));
}

#[test]
fn packets_to_and_from_a_host_do_not_miss_its_agent_from_host_to_host() {
    lab!(Agent, Cni).run(|lab| missed_by_nobody(lab, Between::Switch));
}

/// Killed and started, and stopped and started: the neighbours hold the host's routes meanwhile (RFC
/// 4724), and let go of those that it has no more when it is back.
fn missed_by_nobody(lab: &Lab, between: Between) -> Result<(), Why> {
    uninterrupted(lab, between, Numbers::SHORT, |[near, far], both| {
        let sees = |prefix: &str| -> Result<Option<bool>, Why> {
            let page = far.agent.cli(["routes", "--rib", "in", prefix])?;
            let routes = page["routes"].as_array().map(Vec::as_slice);
            let route = routes.unwrap_or_default().first();
            Ok(route.map(|route| route["stale"] == true))
        };
        for orderly in [false, true] {
            if orderly {
                near.agent.stop()?;
            } else {
                near.agent.kill()?;
            }
            if let Between::Switch = between {
                lab.until(CONVERGED, "its neighbour to hold its routes", || {
                    let held = sees("10.1.1.0/24")?;
                    ensure!(held == Some(true), "stale: {held:?}");
                    Ok(())
                })?;
            }
            // Without this address: it is to go, but not before the agent is back.
            let file = near.agent.config_file();
            let text = fs::read_to_string(file)?;
            fs::write(file, text.replace("\"10.1.101.1/32\", ", ""))?;
            ensure!(sees("10.1.101.1/32")?.is_some() != orderly, "held or not");
            near.agent.start_again()?;
            lab.until(CONVERGED, "what it has no more to go", || {
                ensure!(sees("10.1.101.1/32")?.is_none(), "it is there");
                ensure!(sees("10.1.1.0/24")? == Some(false), "the block is stale");
                Fabric::all_connected(both)
            })?;
        }
        Ok(())
    })
}

/// Streams in both directions and families between containers of two hosts lose nothing, whatever is
/// done to the first one's agent.
fn uninterrupted(
    lab: &Lab,
    between: Between,
    numbers: Numbers,
    disturb: impl FnOnce([&Node; 2], &[Container]) -> Result<(), Why>,
) -> Result<(), Why> {
    let fabric = Fabric::numbered(lab, between, 2, "", numbers)?;
    let [near, far] = [&fabric.nodes[0], &fabric.nodes[1]];
    // Only what the agent has installed leads away: a default route would hide its loss.
    for family in ["-4", "-6"] {
        near.host.ip(&format!("{family} route flush default"))?;
    }
    lab.snapshot()?;
    let both = [near.attach(lab, "a")?, far.attach(lab, "c")?];
    lab.until(CONVERGED, "both to reach each other", || {
        Fabric::all_connected(&both)
    })?;
    let [a, c] = &both;
    let mut streams = Vec::new();
    for (from, to) in [(a, c), (c, a)] {
        for address in to.addresses()? {
            streams.push(Stream::start(from.inside(), to.inside(), address)?);
        }
    }
    disturb([near, far], &both)?;
    for report in streams.into_iter().map(Stream::stop) {
        eprintln!("while its agent was disturbed: {report:?}");
        ensure!(report.sent > 100, "nothing was sent: {report:?}");
        ensure!(report.lost == 0 && report.refused == 0, "{report:?}");
    }
    if !matches!(between, Between::Switch) {
        near.uplink_up()?;
    }
    lab.snapshot()?;
    Ok(())
}

#[test]
fn an_agent_that_is_killed_again_and_again_costs_no_packet_through_bird() {
    lab!(Bird, Agent, Cni).run(|lab| {
        // BIRD lets go at the second time as long as the Restart Time has not passed.
        let numbers = Numbers {
            restart_time: 0,
            long_lived: 60,
            ..Numbers::SHORT
        };
        killed_again_and_again(lab, Between::Bird, numbers)
    });
}

#[test]
fn an_agent_that_is_killed_again_and_again_costs_no_packet_from_host_to_host() {
    lab!(Agent, Cni).run(|lab| killed_again_and_again(lab, Between::Switch, Numbers::SHORT));
}

/// Each time as soon as its sessions are up, before its neighbours have heard everything: "a route
/// previously marked as stale MUST be deleted" then (RFC 4724, 4.2), but for RFC 9494.
fn killed_again_and_again(lab: &Lab, between: Between, numbers: Numbers) -> Result<(), Why> {
    uninterrupted(lab, between, numbers, |[near, _], both| {
        for _ in 0..5 {
            near.agent.kill()?;
            near.agent.start_again()?;
            lab.until(CONVERGED, "a session to come up", || {
                let up = peers(&near.agent)?.into_iter();
                let up = up.filter(|peer| peer["state"] == "Established").count();
                ensure!(up > 0, "none is");
                Ok(())
            })?;
        }
        lab.until(CONVERGED, "all to be as it was", || {
            for peer in peers(&near.agent)? {
                ensure!(peer["state"] == "Established", "{} is down", peer["name"]);
            }
            Fabric::all_connected(both)
        })?;
        Ok(())
    })
}

#[test]
fn what_a_host_sends_elsewhere_does_not_miss_its_dead_agent() {
    lab!(Frr, Agent, Cni).run(|lab| {
        // Nobody holds its routes: what comes for it goes astray.
        let fabric = Fabric::numbered(lab, Between::Frr, 2, "", Numbers::UNHELD)?;
        let [near, far] = [&fabric.nodes[0], &fabric.nodes[1]];
        // Only what the agent has installed leads away: a default route would hide its loss.
        for family in ["-4", "-6"] {
            near.host.ip(&format!("{family} route flush default"))?;
        }
        lab.snapshot()?;
        let (a, c) = (near.attach(lab, "a")?, far.attach(lab, "c")?);
        let both = [a.clone(), c.clone()];
        lab.until(CONVERGED, "both to reach each other", || {
            Fabric::all_connected(&both)
        })?;
        let start = |from: &Container, to: &Container| -> Result<Vec<Stream>, Why> {
            let to = (to.addresses()?.into_iter(), to.inside());
            let streams =
                to.0.map(|address| Stream::start(from.inside(), to.1, address));
            Ok(streams.collect::<Result<_, _>>()?)
        };
        let (away, back) = (start(&a, &c)?, start(&c, &a)?);
        near.agent.kill()?;
        let frr = fabric.frr.as_ref().ok_or("no FRR")?;
        lab.until(CONVERGED, "the router to miss the dead agent", || {
            for block in ["10.1.1.0/24", "fd00:1:0:1::/64"] {
                ensure!(frr.best(block).is_err(), "FRR has {block}");
            }
            Ok(())
        })?;
        near.agent.start_again()?;
        lab.until(CONVERGED, "both to reach each other again", || {
            Fabric::all_connected(&both)
        })?;
        for report in away.into_iter().map(Stream::stop) {
            eprintln!("agent killed and restarted, away from its host: {report:?}");
            ensure!(report.sent > 100, "nothing was sent: {report:?}");
            ensure!(report.lost == 0 && report.refused == 0, "{report:?}");
        }
        // The way back goes with the session: counted, and that it was lost shows that the streams
        // could have lost something.
        for report in back.into_iter().map(Stream::stop) {
            eprintln!("agent killed and restarted, towards its host: {report:?}");
            ensure!(report.lost > 0, "the session was not missed: {report:?}");
        }
        // The oracle's pings come from the far host's uplink, which is no route of BGP's.
        near.uplink_up()?;
        lab.snapshot()?;
        Ok(())
    });
}

#[test]
fn every_version_of_the_specification_is_spoken() {
    lab!(Agent, Cni).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 1, "")?;
        let node = &fabric.nodes[0];
        for (name, version) in [
            ("a", "0.3.1"),
            ("b", "0.4.0"),
            ("c", "1.0.0"),
            ("d", "1.1.0"),
        ] {
            let mut network = node.network();
            network["cniVersion"] = json!(version);
            let known = node.host.cni_version(&network)?;
            ensure!(
                known["cniVersion"] == version,
                "VERSION of {version}: {known}"
            );
            let supported = json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
            ensure!(known["supportedVersions"] == supported, "{known}");

            let container = lab.container(&node.host, name)?;
            let result = container.cni_add(&network)?;
            ensure!(
                result["cniVersion"] == version,
                "ADD of {version}: {result}"
            );
            let held: BTreeSet<IpAddr> = container.addresses()?.into_iter().collect();
            let mut told = BTreeSet::new();
            for ip in result["ips"].as_array().ok_or("no ips")? {
                let address = ip["address"].as_str().unwrap_or_default();
                let address: IpAddr = address.split('/').next().unwrap_or_default().parse()?;
                // Before 1.0.0 each address says its family, since then none does.
                let family = if address.is_ipv4() { "4" } else { "6" };
                let expected = if version < "1.0.0" {
                    json!(family)
                } else {
                    json!(null)
                };
                ensure!(ip["version"] == expected, "{version}: {ip}");
                let interface =
                    &result["interfaces"][ip["interface"].as_u64().ok_or("no interface")? as usize];
                ensure!(interface["name"] == "eth0", "{version}: {result}");
                told.insert(address);
            }
            ensure!(
                told == held && told.len() == 2,
                "{version}: {result}, and held {held:?}"
            );
            // Since 1.1.0 an interface says its MTU.
            let mtu = result["interfaces"][0].get("mtu").is_some();
            ensure!(mtu == (version == "1.1.0"), "{version}: {result}");

            // CHECK came with 0.4.0, STATUS and GC with 1.1.0.
            let checked = container.cni_check(&network);
            let mut keeps = network.clone();
            keeps["cni.dev/valid-attachments"] =
                json!([{ "containerID": container.id(), "ifname": "eth0" }]);
            for (verb, since, outcome) in [
                ("CHECK", "0.4.0", checked),
                ("STATUS", "1.1.0", node.host.cni_status(&network)),
                ("GC", "1.1.0", node.host.cni_gc(&keeps)),
            ] {
                match outcome {
                    Ok(()) => ensure!(version >= since, "{verb} in {version}"),
                    Err(LabError::Cni(CniFailure::Refused { code, .. })) => {
                        ensure!(version < since, "{verb} in {version}: error {code}");
                    }
                    Err(other) => return Err(other.into()),
                }
            }
            for address in &held {
                node.host.ping(*address)?;
            }
            container.cni_del(&network)?;
            ensure!(
                container.addresses()?.is_empty(),
                "{version}: DEL left addresses"
            );
        }
        // One that does not exist, and one from before results had this shape.
        for version in ["0.2.0", "2.0.0"] {
            let mut network = node.network();
            network["cniVersion"] = json!(version);
            let refused = lab
                .container(&node.host, &version.replace('.', ""))?
                .cni_add(&network);
            ensure!(
                matches!(
                    refused,
                    Err(LabError::Cni(CniFailure::Refused { code: 1, .. }))
                ),
                "ADD of {version}: {refused:?}"
            );
        }
        Ok(())
    });
}

#[test]
fn fifty_adds_at_once_give_fifty_containers() {
    lab!(Agent, Cni).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 1, "")?;
        let node = &fabric.nodes[0];
        let containers: Vec<Container> = (0..50)
            .map(|n| lab.container(&node.host, &n.to_string()))
            .collect::<Result<_, _>>()?;
        // The first round fills what an allocator keeps; the second must not need more.
        fifty_at_once(node, &containers)?;
        lab.baseline()?;
        fifty_at_once(node, &containers)
    });
}

fn fifty_at_once(node: &Node, containers: &[Container]) -> Result<(), Why> {
    let start = Instant::now();
    all_at_once(containers, |container| {
        container.cni_add(&node.network()).map(drop)
    })?;
    eprintln!("50 ADDs at once: {} ms", start.elapsed().as_millis());
    let mut addresses = BTreeSet::new();
    for container in containers {
        addresses.extend(container.addresses()?);
    }
    ensure!(
        addresses.len() == 100,
        "{} different addresses and not 100",
        addresses.len()
    );
    for address in addresses {
        node.host.ping(address)?;
    }
    let start = Instant::now();
    all_at_once(containers, |container| container.cni_del(&node.network()))?;
    eprintln!("50 DELs at once: {} ms", start.elapsed().as_millis());
    Ok(())
}

fn all_at_once(
    containers: &[Container],
    work: impl Fn(&Container) -> Result<(), LabError> + Sync,
) -> Result<(), Why> {
    let failures: Vec<LabError> = thread::scope(|scope| {
        let threads: Vec<_> = containers
            .iter()
            .map(|container| scope.spawn(|| work(container)))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok()?.err())
            .collect()
    });
    ensure!(
        failures.is_empty(),
        "{} failed, the first: {}",
        failures.len(),
        failures[0]
    );
    Ok(())
}

#[test]
fn the_plugin_is_forgiving_where_the_specification_wants_it_and_strict_elsewhere() {
    lab!(Agent, Cni).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 1, "")?;
        let node = &fabric.nodes[0];
        let network = node.network();
        node.host.cni_status(&network)?;

        // ADD twice is the same attachment, DEL twice is gone.
        let a = node.attach(lab, "a")?;
        let addresses = a.addresses()?;
        a.cni_add(&network)?;
        ensure!(
            a.addresses()? == addresses,
            "a second ADD gave {:?}",
            a.addresses()?
        );
        a.cni_check(&network)?;
        a.cni_del(&network)?;
        a.cni_del(&network)?;

        // A DEL before any ADD, and one after the namespace has gone.
        lab.container(&node.host, "b")?.cni_del(&network)?;
        let c = node.attach(lab, "c")?;
        c.vanish()?;
        c.cni_del(&network)?;

        // CHECK sees what somebody broke.
        let d = node.attach(lab, "d")?;
        d.inside()
            .ip(&format!("address del {}/32 dev eth0", first_v4(&d)?))?;
        let checked = d.cni_check(&network);
        ensure!(
            matches!(checked, Err(LabError::Cni(CniFailure::Refused { .. }))),
            "CHECK of a broken attachment: {checked:?}"
        );
        d.cni_del(&network)?;
        Ok(())
    });
}

#[test]
fn gc_removes_what_belongs_to_nobody_and_nothing_else() {
    lab!(Agent, Cni).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 1, "")?;
        let node = &fabric.nodes[0];
        let (kept, orphan) = (node.attach(lab, "a")?, node.attach(lab, "b")?);
        let freed = first_v4(&orphan)?;
        let mut network = node.network();
        network["cni.dev/valid-attachments"] =
            json!([{ "containerID": kept.id(), "ifname": "eth0" }]);
        node.host.cni_gc(&network)?;
        // To the runtime the orphan is gone, and so it is for the oracle.
        orphan.attached_by_hand(
            json!({ "ips": [{ "address": format!("{freed}/32") }] }),
            true,
        );
        lab.until(Duration::from_secs(5), "the orphan's route to go", || {
            let routes = node.host.ip(&format!("route show {freed}"))?;
            ensure!(!routes.contains("dev"), "{routes}");
            Ok(())
        })?;
        kept.cni_check(&node.network())?;
        node.host.ping(first_v4(&kept)?)?;
        kept.cni_del(&node.network())?;
        Ok(())
    });
}

#[test]
fn a_containers_own_route_deleted_by_hand_comes_back() {
    lab!(Agent, Cni).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 1, "")?;
        let node = &fabric.nodes[0];
        let container = node.attach(lab, "a")?;
        let address = first_v4(&container)?;
        node.host.ping(address)?;
        node.host.ip(&format!("route del {address}/32"))?;
        lab.until(Duration::from_secs(2), "the route to come back", || {
            Ok(node.host.ping(address)?)
        })?;
        container.cni_del(&node.network())?;
        Ok(())
    });
}

#[test]
fn a_link_that_comes_back_brings_the_fabric_back() {
    lab!(Frr, Agent, Cni).run(|lab| {
        let fabric = Fabric::start(lab, Between::Frr, 2, "")?;
        let (a, b) = (
            fabric.nodes[0].attach(lab, "a")?,
            fabric.nodes[1].attach(lab, "b")?,
        );
        let both = [a, b];
        lab.until(CONVERGED, "both to reach each other", || {
            Fabric::all_connected(&both)
        })?;
        fabric.nodes[0].host.ip("link set to-tor down")?;
        lab.until(CONVERGED, "the far host to lose the block", || {
            let routes = fabric.nodes[1]
                .host
                .ip("route show 10.1.1.0/24 proto 201")?;
            ensure!(routes.is_empty(), "{routes}");
            Ok(())
        })?;
        let start = Instant::now();
        fabric.nodes[0].uplink_up()?;
        lab.until(CONVERGED, "both to reach each other again", || {
            Fabric::all_connected(&both)
        })?;
        eprintln!("link up to healed: {} ms", start.elapsed().as_millis());
        Ok(())
    });
}

fn first_v4(container: &Container) -> Result<IpAddr, Why> {
    let addresses = container.addresses()?;
    let first = addresses.into_iter().find(IpAddr::is_ipv4);
    Ok(first.ok_or_else(|| format!("{} has no IPv4 address", container.id()))?)
}
