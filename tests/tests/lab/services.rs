//! Services with names: they appear, fail, move and leave, as a container elsewhere sees them.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

use wayleave_lab::{Container, Lab, Why, ensure, lab};

use crate::fabric::{Between, CONVERGED, Fabric, Node};

const NAMES: &str = "[discovery]\nnumber = 4200000999\n[dns]\nlisten = [\"{uplink}:53\"]\n";
const WEB: &str = "web.default.svc.wayleave.internal";

#[test]
fn a_service_appears_loses_a_backend_and_leaves_through_frr() {
    lab!(Frr, Agent, Cni, Dig).run(|lab| appears_fails_and_leaves(lab, Between::Frr));
}

#[test]
fn a_service_appears_loses_a_backend_and_leaves_through_bird() {
    lab!(Bird, Agent, Cni, Dig).run(|lab| appears_fails_and_leaves(lab, Between::Bird));
}

fn appears_fails_and_leaves(lab: &Lab, between: Between) -> Result<(), Why> {
    let fabric = Fabric::start(lab, between, 3, NAMES)?;
    let [one, other, third] = [&fabric.nodes[0], &fabric.nodes[1], &fabric.nodes[2]];
    let (a, b, client) = (
        one.attach(lab, "web")?,
        other.attach(lab, "web")?,
        third.attach(lab, "cli")?,
    );
    let (serves_a, _serves_b) = (a.serve(8080)?, b.serve(8080)?);
    let start = Instant::now();
    register(one, &a)?;
    register(other, &b)?;

    let both: BTreeSet<IpAddr> = a.addresses()?.into_iter().chain(b.addresses()?).collect();
    resolves_to(lab, third, &client, &both)?;
    eprintln!(
        "{between:?}: registered to resolvable elsewhere in {} ms",
        start.elapsed().as_millis()
    );
    let srv = dig(third, &client, &format!("_http._tcp.{WEB}"), "SRV")?;
    ensure!(
        srv.lines().count() == both.len(),
        "{} addresses, and SRV says {srv:?}",
        both.len()
    );
    ensure!(
        srv.lines()
            .all(|line| line.split(' ').nth(2) == Some("8080")),
        "{srv:?}"
    );
    let mut answered = BTreeSet::new();
    for address in &both {
        answered.insert(client.tcp(*address, 8080)?.by);
    }
    ensure!(answered.len() == 2, "only {answered:?} answered");

    // A backend dies: its health check notices, and its name goes.
    drop(serves_a);
    let start = Instant::now();
    resolves_to(lab, third, &client, &b.addresses()?.into_iter().collect())?;
    eprintln!(
        "{between:?}: backend death to gone in {} ms",
        start.elapsed().as_millis()
    );
    let _serves_a = a.serve(8080)?;
    resolves_to(lab, third, &client, &both)?;

    // It leaves on purpose.
    deregister(one)?;
    resolves_to(lab, third, &client, &b.addresses()?.into_iter().collect())?;
    deregister(other)?;
    resolves_to(lab, third, &client, &BTreeSet::new())?;
    Ok(())
}

#[test]
fn a_service_described_by_a_file_moves_with_the_file_and_keeps_its_name() {
    lab!(Agent, Cni, Dig).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 3, NAMES)?;
        let [one, other, third] = [&fabric.nodes[0], &fabric.nodes[1], &fabric.nodes[2]];
        let (a, b, client) = (
            one.attach(lab, "web")?,
            other.attach(lab, "web")?,
            third.attach(lab, "cli")?,
        );
        let _serve = (a.serve(8080)?, b.serve(8080)?);
        describe(one, &a)?;
        resolves_to(lab, third, &client, &a.addresses()?.into_iter().collect())?;
        describe(other, &b)?;
        forget(one)?;
        resolves_to(lab, third, &client, &b.addresses()?.into_iter().collect())?;
        // The host it left knows that, too.
        resolves_to(lab, one, &a, &b.addresses()?.into_iter().collect())
    });
}

#[test]
fn a_service_survives_its_agent_and_a_dead_host_takes_its_services_with_it() {
    lab!(Frr, Agent, Cni, Dig).run(|lab| {
        let fabric = Fabric::start(lab, Between::Frr, 2, NAMES)?;
        let [one, other] = [&fabric.nodes[0], &fabric.nodes[1]];
        let (a, client) = (one.attach(lab, "web")?, other.attach(lab, "cli")?);
        let _serves = a.serve(8080)?;
        register(one, &a)?;
        let there: BTreeSet<IpAddr> = a.addresses()?.into_iter().collect();
        resolves_to(lab, other, &client, &there)?;
        one.agent.kill()?;
        one.agent.start_again()?;
        resolves_to(lab, other, &client, &there)?;

        one.host.ip("link set to-tor down")?;
        lab.declare_cut_off(&[&one.host]);
        resolves_to(lab, other, &client, &BTreeSet::new())?;
        one.uplink_up()?;
        lab.declare_cut_off(&[]);
        resolves_to(lab, other, &client, &there)
    });
}

#[test]
fn a_service_whose_container_ended_while_no_agent_ran_is_not_there_after_the_start() {
    lab!(Agent, Cni, Dig).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 2, NAMES)?;
        let [one, other] = [&fabric.nodes[0], &fabric.nodes[1]];
        let (a, stays, client) = (
            one.attach(lab, "web")?,
            one.attach(lab, "stays")?,
            other.attach(lab, "cli")?,
        );
        let serves = (a.serve(8080)?, stays.serve(8080)?);
        for (id, container) in [("gone", &a), ("stays", &stays)] {
            let file = one.agent.run_directory().join("web.toml");
            let text =
                description(container)?.replacen("name =", &format!("id = \"{id}\"\nname ="), 1);
            fs::write(&file, text)?;
            one.agent
                .cli(["register", "--file", &file.display().to_string()])?;
        }
        let both: BTreeSet<IpAddr> = a
            .addresses()?
            .into_iter()
            .chain(stays.addresses()?)
            .collect();
        resolves_to(lab, other, &client, &both)?;
        one.agent.kill()?;
        drop(serves.0);
        a.vanish()?;
        // The kernel takes an interface away some time after the namespace it was in.
        lab.until(CONVERGED, "one container's interface to be left", || {
            let links = one.host.run(["ip", "-o", "link"])?;
            let left = links.lines().filter(|line| line.contains(": way")).count();
            ensure!(left == 1, "{left}: {links}");
            Ok(())
        })?;
        one.agent.start_again()?;
        let left: BTreeSet<IpAddr> = stays.addresses()?.into_iter().collect();
        resolves_to(lab, other, &client, &left)?;
        resolves_to(lab, one, &stays, &left)?;
        let local = one.agent.cli(["services", "--local"])?;
        let ids: Vec<_> = local["instances"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|instance| instance["instance"].as_str().unwrap_or_default())
            .collect();
        ensure!(ids == ["stays"], "{local}");
        // The host itself may ask, too.
        let server = format!("@{}", one.uplink);
        let words = ["dig", "+short", "+time=1", "+tries=1", &server, WEB, "A"];
        let said = one.host.run(words)?;
        ensure!(!said.trim().is_empty(), "the host was told nothing");
        // Its runtime comes round to it.
        a.cni_del(&one.network())?;
        Ok(())
    });
}

#[test]
fn a_service_is_registered_only_at_an_address_of_a_container_of_its_host() {
    lab!(Agent, Cni).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 2, NAMES)?;
        let [one, other] = [&fabric.nodes[0], &fabric.nodes[1]];
        let b = other.attach(lab, "web")?;
        let theirs = b.addresses()?[0].to_string();
        for (address, why) in [
            (theirs.as_str(), "lies in no block of this host"),
            (&other.uplink.to_string(), "the address of neighbour"),
            (&one.uplink.to_string(), "this host's own address"),
            ("10.1.1.77", "no container of this host has 10.1.1.77"),
        ] {
            let refused = one.agent.cli(["register", "web", "--address", address]);
            let said = match refused {
                Ok(said) => return Err(format!("{address} was registered: {said}").into()),
                Err(error) => error.to_string(),
            };
            ensure!(said.contains(why), "{address}: {said}");
        }
        let local = one.agent.cli(["services", "--local"])?;
        ensure!(
            local["instances"].as_array().is_some_and(Vec::is_empty),
            "{local}"
        );
        // It could have been.
        other.agent.cli(["register", "web", "--address", &theirs])?;
        Ok(())
    });
}

/// Registers a container's service by the command line.
fn register(node: &Node, container: &Container) -> Result<(), Why> {
    let file = node
        .agent
        .run_directory()
        .join("web.toml")
        .display()
        .to_string();
    fs::write(&file, description(container)?)?;
    node.agent.cli(["register", "--file", &file])?;
    Ok(())
}

fn deregister(node: &Node) -> Result<(), Why> {
    node.agent.cli(["deregister", "web"])?;
    Ok(())
}

/// The same by a file in `services.d`, beside the agent's configuration.
fn describe(node: &Node, container: &Container) -> Result<(), Why> {
    fs::create_dir_all(services(node)?)?;
    fs::write(services(node)?.join("web.toml"), description(container)?)?;
    node.agent.cli(["reload"])?;
    Ok(())
}

fn forget(node: &Node) -> Result<(), Why> {
    fs::remove_file(services(node)?.join("web.toml"))?;
    node.agent.cli(["reload"])?;
    Ok(())
}

fn description(container: &Container) -> Result<String, Why> {
    let addresses: Vec<String> = container
        .addresses()?
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    Ok(format!(
        "[[service]]\nname = \"web\"\naddresses = [{}]\nports = [{{ name = \"http\", port = 8080 }}]\n\
         checks = [{{ kind = \"http\", port = 8080, path = \"/\", interval = \"1s\", timeout = \"1s\" }}]\n",
        addresses.join(", ")
    ))
}

fn services(node: &Node) -> Result<PathBuf, Why> {
    let directory = node
        .agent
        .config_file()
        .parent()
        .ok_or("a configuration without a directory")?;
    Ok(directory.join("services.d"))
}

/// Waits until the name server of a host answers a container of it with exactly these addresses.
fn resolves_to(
    lab: &Lab,
    node: &Node,
    client: &Container,
    expected: &BTreeSet<IpAddr>,
) -> Result<(), Why> {
    lab.until(CONVERGED, &format!("{WEB} to be {expected:?}"), || {
        let mut found = BTreeSet::new();
        for kind in ["A", "AAAA"] {
            for line in dig(node, client, WEB, kind)?.lines() {
                found.insert(line.parse()?);
            }
        }
        ensure!(found == *expected, "{} says {found:?}", node.host.name());
        Ok(())
    })?;
    Ok(())
}

/// Asks the name server of a host from inside one of its containers.
fn dig(node: &Node, client: &Container, name: &str, kind: &str) -> Result<String, Why> {
    let server = format!("@{}", node.uplink);
    let words = ["dig", "+short", "+time=1", "+tries=1", &server, name, kind];
    Ok(client.inside().run(words)?)
}
