//! Hosts as BGP neighbours of a top-of-rack router and of each other, with no container in sight.

use std::time::Duration;

use wayleave_lab::{Lab, Why, ensure, lab};

use crate::fabric::{Between, CONVERGED, Fabric, Numbers};
use crate::middle::peers;

const SPEAKER: &str = "[fib]\ninstall = false\n";

#[test]
fn what_a_host_originates_reaches_all_others_through_frr() {
    lab!(Frr, Agent).run(|lab| reaches_all(lab, Between::Frr));
}

#[test]
fn what_a_host_originates_reaches_all_others_through_bird() {
    lab!(Bird, Agent).run(|lab| reaches_all(lab, Between::Bird));
}

#[test]
fn what_a_host_originates_reaches_all_others_directly() {
    lab!(Agent).run(|lab| reaches_all(lab, Between::Switch));
}

/// Beyond the reach of two octets.
const LONG: Numbers = Numbers {
    hosts: 4_200_000_000,
    router: 4_200_000_100,
    ..Numbers::UNHELD
};

#[test]
fn as_numbers_of_four_octets_arrive_whole_through_frr() {
    lab!(Frr, Agent).run(|lab| reaches_all_as(lab, Between::Frr, LONG));
}

#[test]
fn as_numbers_of_four_octets_arrive_whole_through_bird() {
    lab!(Bird, Agent).run(|lab| reaches_all_as(lab, Between::Bird, LONG));
}

/// It is told AS_TRANS, and the number beside it (RFC 6793, 4.2).
#[test]
fn as_numbers_of_four_octets_arrive_whole_through_a_router_that_knows_two() {
    let numbers = Numbers {
        router: 65100,
        as4: false,
        ..LONG
    };
    lab!(Bird, Agent).run(|lab| reaches_all_as(lab, Between::Bird, numbers));
}

fn reaches_all(lab: &Lab, between: Between) -> Result<(), Why> {
    reaches_all_as(lab, between, Numbers::UNHELD)
}

fn reaches_all_as(lab: &Lab, between: Between, numbers: Numbers) -> Result<(), Why> {
    let fabric = Fabric::numbered(lab, between, 3, SPEAKER, numbers)?;
    lab.until(CONVERGED, "every host to know every other", || {
        for (n, node) in fabric.nodes.iter().enumerate() {
            for other in (1..=3).filter(|other| *other != n + 1) {
                for prefix in own(other) {
                    let path = best(&fabric, n, &prefix)?;
                    let origin = numbers.hosts + other as u32;
                    let expected = match between {
                        Between::Switch => format!("{origin}"),
                        Between::Frr | Between::Bird => format!("{} {origin}", numbers.router),
                    };
                    ensure!(
                        path == expected,
                        "{}: {prefix} by {path:?}",
                        node.host.name()
                    );
                }
            }
        }
        Ok(())
    })?;

    // The router's own command line has the whole number, too, even where it came beside the path.
    for peer in peers(&fabric.nodes[0].agent)? {
        let offered = peer["capabilities_received"].to_string();
        let as4 = offered.contains("four-octet-as");
        ensure!(as4 == numbers.as4, "{}: it offers {offered}", peer["name"]);
    }
    for prefix in own(2) {
        let expected = (numbers.hosts + 2).to_string();
        if let Some(frr) = &fabric.frr {
            let path = frr.best(&prefix)?;
            ensure!(path["aspath"]["string"] == expected, "{}", path["aspath"]);
        }
        if let Some(bird) = &fabric.bird {
            let path = bird.best(&prefix)?;
            ensure!(path.get("BGP.as_path") == Some(&expected), "{path:?}");
        }
    }

    // A host that dies takes its own with it, and nothing else.
    fabric.nodes[2].agent.kill()?;
    lab.until(CONVERGED, "the dead host's routes to go", || {
        for n in [0, 1] {
            for prefix in own(3) {
                ensure!(
                    best(&fabric, n, &prefix).is_err(),
                    "host {} has {prefix}",
                    n + 1
                );
            }
        }
        Ok(())
    })?;
    for (n, other) in [(0, 2), (1, 1)] {
        for prefix in own(other) {
            best(&fabric, n, &prefix)?;
        }
    }
    Ok(())
}

#[test]
fn a_host_passes_nothing_on_that_is_not_its_own() {
    lab!(Frr, Agent).run(|lab| {
        let fabric = Fabric::start(lab, Between::Frr, 2, SPEAKER)?;
        let frr = fabric.frr.as_ref().ok_or("no FRR")?;
        lab.until(CONVERGED, "both hosts to know each other", || {
            best(&fabric, 0, &own(2)[0])?;
            best(&fabric, 1, &own(1)[0])?;
            Ok(())
        })?;
        // FRR tells a host what another said; a host must not say it again, nor what is no pool's.
        frr.configure(&[
            "router bgp 65100",
            "no bgp network import-check",
            "address-family ipv4 unicast",
            "network 10.1.250.1/32",
            "network 203.0.113.0/24",
        ])?;
        lab.until(CONVERGED, "the pool's address to arrive", || {
            best(&fabric, 0, "10.1.250.1/32")?;
            Ok(())
        })?;
        // It has come, and it was refused: were it only late, nothing would be shown.
        let agent = &fabric.nodes[0].agent;
        lab.until(CONVERGED, "the other to arrive and be refused", || {
            let told = agent.cli(["routes", "--rib", "in", "203.0.113.0/24"])?;
            let refused = &told["routes"][0]["refused"];
            ensure!(refused.is_string(), "{told}");
            Ok(())
        })?;
        let refused = best(&fabric, 0, "203.0.113.0/24");
        ensure!(
            refused.is_err(),
            "a route outside the pools was accepted: {refused:?}"
        );
        for (number, host) in [(1, "10.255.0.2"), (2, "10.255.1.2")] {
            let command = format!("show bgp ipv4 unicast neighbors {host} routes json");
            let told = frr.vtysh_json(&command)?;
            let routes = told["routes"]
                .as_object()
                .ok_or_else(|| format!("no routes: {told}"))?;
            let [originated, block] = [own(number)[0].clone(), format!("10.1.{number}.0/24")];
            ensure!(
                routes.contains_key(&originated),
                "{host} did not tell {originated}"
            );
            for prefix in routes.keys() {
                ensure!(
                    *prefix == originated || *prefix == block,
                    "{host} told {prefix}"
                );
            }
        }
        Ok(())
    });
}

#[test]
fn a_silent_path_is_noticed_by_the_hold_timer_and_heals() {
    lab!(Frr, Nft, Agent).run(|lab| {
        // Otherwise what the hold timer ends is held as over a restart (RFC 8538).
        let fabric = Fabric::numbered(lab, Between::Frr, 2, SPEAKER, Numbers::UNHELD)?;
        let known = || -> Result<(), Why> {
            best(&fabric, 0, &own(2)[0])?;
            best(&fabric, 1, &own(1)[1])?;
            Ok(())
        };
        lab.until(CONVERGED, "both hosts to know each other", known)?;
        let fault = fabric.nodes[1].host.block_tcp(179)?;
        lab.until(
            Duration::from_secs(25),
            "the hold time of 9 s to expire",
            || {
                ensure!(
                    best(&fabric, 0, &own(2)[0]).is_err(),
                    "host 1 still knows host 2"
                );
                Ok(())
            },
        )?;
        fault.heal()?;
        lab.until(CONVERGED, "both hosts to know each other again", known)?;
        Ok(())
    });
}

/// What a host originates by configuration.
fn own(number: usize) -> [String; 2] {
    let own = 100 + number;
    [format!("10.1.{own}.1/32"), format!("fd00:1:0:{own}::1/128")]
}

/// The AS_PATH of the best route of a host (from 0) to a prefix.
fn best(fabric: &Fabric, node: usize, prefix: &str) -> Result<String, Why> {
    let answer = fabric.nodes[node]
        .agent
        .api(&format!("/v1/routes?prefix={prefix}"))?;
    let routes = answer["routes"]
        .as_array()
        .ok_or_else(|| format!("no routes: {answer}"))?;
    let route = routes
        .iter()
        .find(|route| route["best"] == true && route["prefix"] == prefix);
    let path = route.and_then(|route| route["as_path"].as_str());
    Ok(path
        .ok_or_else(|| format!("h{} has no route to {prefix}", node + 1))?
        .to_owned())
}
