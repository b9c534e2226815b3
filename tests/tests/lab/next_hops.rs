//! Next hops that cannot be reached, or are behind somebody else's route: two BIRDs tell a host of one
//! prefix, the better one with a next hop that is nowhere near.

use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, Link, Why, ensure, lab};

const CONVERGED: Duration = Duration::from_secs(30);
const PREFIX: &str = "10.64.0.0/16";
const FAR: &str = "203.0.113.9";

#[test]
fn a_next_hop_counts_when_the_kernel_knows_a_way_to_it_and_no_longer() {
    lab!(Bird, Agent).run(|lab| {
        let (host, one, two) = (lab.host("host")?, lab.host("one")?, lab.host("two")?);
        let below = lab.host("below")?;
        let links = [lab.link(&host, &one)?, lab.link(&host, &two)?];
        let down = lab.link(&host, &below)?;
        let agent = lab.agent(&host, &agent_config(&links, &down))?;
        // LOCAL_PREF decides, were it not for the next hop.
        let far = format!("bgp_local_pref = 200; bgp_next_hop = {FAR};");
        lab.bird(&one, &bird_config(&links[0], 1, &far))?;
        lab.bird(&two, &bird_config(&links[1], 2, "bgp_local_pref = 100;"))?;
        let told = lab.bird(&below, &below_config(&down))?;
        let goes_to = |name: &str, link: &Link| -> Result<(), Why> {
            let best = route(&agent, &["routes", PREFIX], name)?;
            ensure!(best["best"] == true, "{best}");
            let kernel = host.ip(&format!("route show {PREFIX} proto 201"))?;
            ensure!(kernel.contains(&format!("via {} ", link.b.v4)), "{kernel}");
            told.best(PREFIX)?;
            Ok(())
        };
        lab.until(CONVERGED, "the path that leads somewhere", || {
            goes_to("two", &links[1])?;
            let other = route(&agent, &["routes", "--rib", "in", PREFIX], "one")?;
            ensure!(
                other["reason"] == "its next hop cannot be reached",
                "{other}"
            );
            let problems = agent.cli(["problems"])?.to_string();
            ensure!(problems.contains("fib.next-hops"), "{problems}");
            ensure!(problems.contains(FAR), "{problems}");
            Ok(())
        })?;

        // Somebody else, an IGP or a person, knows the way.
        let way = format!("203.0.113.0/24 via {}", links[0].b.v4);
        host.ip(&format!("route add {way}"))?;
        lab.until(CONVERGED, "the better path", || {
            goes_to("one", &links[0])?;
            let problems = agent.cli(["problems"])?.to_string();
            ensure!(!problems.contains("fib.next-hops"), "{problems}");
            Ok(())
        })?;
        host.ip(&format!("route del {way}"))?;
        lab.until(CONVERGED, "the other path again", || {
            goes_to("two", &links[1])
        })?;

        // Where there is no other, nobody is told of a way that leads nowhere.
        agent.cli(["peers", "shutdown", "two"])?;
        lab.until(CONVERGED, "the route to be gone", || {
            ensure!(told.best(PREFIX).is_err(), "{PREFIX} is still told");
            let kernel = host.ip(&format!("route show {PREFIX} proto 201"))?;
            ensure!(kernel.is_empty(), "{kernel}");
            Ok(())
        })?;
        host.ip(&format!("route add {way}"))?;
        lab.until(CONVERGED, "the only path", || goes_to("one", &links[0]))?;
        host.ip(&format!("route del {way}"))?;
        agent.cli(["peers", "enable", "two"])?;
        lab.until(CONVERGED, "all to be as it was", || {
            goes_to("two", &links[1])
        })?;
        Ok(())
    });
}

/// The one route of this peer in an answer.
fn route(agent: &Agent, words: &[&str], peer: &str) -> Result<Value, Why> {
    let answer = agent.cli(words.iter().copied())?;
    let routes = answer["routes"].as_array().map(Vec::as_slice);
    let mut of_peer = routes.unwrap_or_default().iter();
    let found = of_peer.find(|route| route["peer"] == peer);
    Ok(found
        .ok_or_else(|| format!("{words:?}: nothing of {peer}: {answer}"))?
        .clone())
}

fn agent_config(links: &[Link; 2], down: &Link) -> String {
    let peer = |name: &str, address: &dyn std::fmt::Display, asn: u32| {
        format!(
            "[[peer]]\nname = \"{name}\"\naddress = \"{address}\"\nasn = {asn}\nimport = \"all\"\n\
             export = \"all\"\n"
        )
    };
    let peers = [
        peer("one", &links[0].b.v4, 65_000),
        peer("two", &links[1].b.v4, 65_000),
        peer("below", &down.b.v4, 65_020),
    ];
    format!("[bgp]\nasn = 65000\nconnect_retry = 1\n{}", peers.concat())
}

fn bird_config(link: &Link, id: u8, set: &str) -> String {
    format!(
        "router id {id}.{id}.{id}.{id};
protocol device {{ scan time 1; }}
protocol static {{ ipv4; route {PREFIX} blackhole; }}
protocol bgp host {{ local as 65000; neighbor {} as 65000; connect retry time 1; connect delay time 1;
  ipv4 {{ import none; export filter {{ if source != RTS_STATIC then reject; {set} accept; }}; }}; }}
",
        link.a.v4
    )
}

fn below_config(down: &Link) -> String {
    format!(
        "router id 9.9.9.9;
protocol device {{ scan time 1; }}
protocol bgp host {{ local as 65020; neighbor {} as 65000; connect retry time 1; connect delay time 1;
  ipv4 {{ import all; export none; }}; }}
",
        down.a.v4
    )
}
