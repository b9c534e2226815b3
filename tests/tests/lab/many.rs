//! Many neighbours at once.

use std::collections::BTreeSet;
use std::time::Instant;

use wayleave_lab::{Agent, Host, Why, ensure, lab};

use crate::fabric::CONVERGED;

const CLIENTS: usize = 30;

#[test]
fn thirty_hosts_of_one_reflector_have_each_others_routes_in_both_families() {
    lab!(Agent).run(|lab| {
        let reflector = lab.host("r")?;
        let hosts: Vec<Host> = (1..=CLIENTS)
            .map(|n| lab.host(&format!("c{n}")))
            .collect::<Result<_, _>>()?;
        let all: Vec<&Host> = [&reflector].into_iter().chain(&hosts).collect();
        let switch = lab.switch("sw", &all)?;
        let middle = lab.agent(&reflector, &reflecting())?;
        let start = Instant::now();
        let mut clients = Vec::new();
        for (n, host) in (1..).zip(&hosts) {
            let [v4, v6] = [switch.ends[0].v4.into(), switch.ends[0].v6.into()];
            clients.push(lab.agent(host, &client(n, [v4, v6]))?);
        }
        let started = start.elapsed();
        lab.until(CONVERGED, "every host to have everybody's routes", || {
            for (n, agent) in (1..).zip(&clients) {
                has_all(
                    n,
                    agent,
                    &switch.ends[1..]
                        .iter()
                        .map(|e| (e.v4.to_string(), e.v6.to_string()))
                        .collect::<Vec<_>>(),
                )?;
            }
            Ok(())
        })?;
        eprintln!(
            "{CLIENTS} hosts started in {} ms, and knew each other {} ms later",
            started.as_millis(),
            (start.elapsed() - started).as_millis()
        );
        let status = middle.api("/v1/peers")?;
        let peers = status["peers"].as_array().ok_or("no list of peers")?;
        ensure!(peers.len() == 2 * CLIENTS, "{} sessions", peers.len());
        for peer in peers {
            ensure!(
                peer["established_count"] == 1,
                "{}: {}",
                peer["name"],
                peer["last_error"]
            );
        }

        // One that goes is missed by all, as it asks nobody to wait for it, and nothing else is.
        clients[0].stop()?;
        lab.until(CONVERGED, "it to be missed", || {
            for (n, agent) in (1..).zip(&clients).skip(1) {
                let kernel = kernel(agent.host())?;
                for gone in prefixes(1) {
                    ensure!(!kernel.iter().any(|r| r.0 == gone), "c{n} has {gone}");
                }
                ensure!(
                    kernel.len() == 2 * (CLIENTS - 2),
                    "c{n} has {} routes",
                    kernel.len()
                );
            }
            Ok(())
        })?;
        Ok(())
    });
}

/// All others' routes are in the table of a host, and in its kernel by way of who said them.
fn has_all(own: usize, agent: &Agent, at: &[(String, String)]) -> Result<(), Why> {
    let expected: BTreeSet<(String, String)> = (1..=CLIENTS)
        .filter(|n| *n != own)
        .flat_map(|n| {
            let [v4, v6] = prefixes(n);
            let (at4, at6) = at[n - 1].clone();
            [(v4, at4), (v6, at6)]
        })
        .collect();
    let mut table = 0;
    for family in ["ipv4", "ipv6"] {
        let page = agent.api(&format!("/v1/routes?family={family}"))?;
        let routes = page["routes"].as_array().ok_or("no list of routes")?;
        table += routes.iter().filter(|route| route["best"] == true).count();
    }
    ensure!(
        table == 2 * CLIENTS,
        "c{own} knows {table} of {} routes",
        2 * CLIENTS
    );
    let kernel = kernel(agent.host())?;
    let lacks: Vec<_> = expected.difference(&kernel).collect();
    ensure!(lacks.is_empty(), "c{own} lacks {lacks:?}");
    ensure!(
        kernel == expected,
        "c{own} has {} routes too many",
        kernel.len() - expected.len()
    );
    Ok(())
}

/// Prefix and gateway of all routes of the agent in a kernel.
fn kernel(host: &Host) -> Result<BTreeSet<(String, String)>, Why> {
    let mut found = BTreeSet::new();
    for family in ["-4", "-6"] {
        let routes = host.ip_json(&format!("{family} route show proto 201"))?;
        for route in routes.as_array().ok_or("no list of routes")? {
            let text = |key: &str| route[key].as_str().unwrap_or_default().to_owned();
            found.insert((text("dst"), text("gateway")));
        }
    }
    Ok(found)
}

/// What a host announces, as the kernel writes it.
fn prefixes(n: usize) -> [String; 2] {
    [format!("10.7.{n}.1"), format!("fd00:7:{n}::1")]
}

fn reflecting() -> String {
    let mut text = "[node]\nrouter_id = \"9.9.9.9\"\n[bgp]\nasn = 65000\nhold_time = 30\n\
                    [fib]\ninstall = false\n"
        .to_owned();
    for (prefix, family) in [("10.254.0.0/16", "ipv4"), ("fd00:254::/32", "ipv6")] {
        text += &format!(
            "[[range]]\nprefix = \"{prefix}\"\nasn = \"internal\"\nreflector_client = true\n\
             families = [\"{family}\"]\n"
        );
    }
    text
}

fn client(n: usize, reflector: [std::net::IpAddr; 2]) -> String {
    let [v4, v6] = prefixes(n);
    let mut text = format!(
        "[node]\nrouter_id = \"10.0.0.{n}\"\n[bgp]\nasn = 65000\nhold_time = 30\nconnect_retry = 1\n\
         restart_time = 0\nlong_lived_restart_time = 0\n\
         originate = [\"{v4}/32\", \"{v6}/128\"]\n"
    );
    for (address, family) in reflector.into_iter().zip(["ipv4", "ipv6"]) {
        text += &format!(
            "[[peer]]\nname = \"{family}\"\naddress = \"{address}\"\nasn = \"internal\"\n\
             families = [\"{family}\"]\n"
        );
    }
    text
}
