//! Links with no addresses but link-local ones: neighbours find each other by router advertisements, and
//! IPv4 routes lead over IPv6 next hops (RFC 8950).

use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, End, FrrConfig, Host, Lab, Link, Why, ensure, lab};

use crate::middle::peers;

/// Longer than it takes until somebody who is gone is forgotten.
const CONVERGED: Duration = Duration::from_secs(60);
/// How soon a link that comes up again has its session.
const HEALED: Duration = Duration::from_secs(30);

/// What the host and the router announce; each has it on its loopback interface.
const OURS: [&str; 2] = ["10.9.1.1/32", "2001:db8:9:1::1/128"];
const THEIRS: [&str; 2] = ["10.9.2.1/32", "2001:db8:9:2::1/128"];

#[test]
fn frr_and_a_host_find_each_other_on_a_link_without_addresses() {
    lab!(Frr, Agent).run(|lab| {
        let (host, far) = hosts(lab)?;
        let link = bare_link(lab, &host, &far)?;
        let frr = lab.frr(&far, frr_config(&[&link.b.name]).bfd())?;
        let agent = lab.agent(&host, &agent_config(65000, &OURS, &[&link.a.name]))?;
        carries(lab, &agent, &link)?;

        lab.until(CONVERGED, "BFD to be up", || {
            for peer in peers(&agent)? {
                ensure!(peer["bfd"] == "Up", "{}: {}", peer["bfd"], peer["warnings"]);
            }
            Ok(())
        })?;

        // FRR sees the session as one on an interface, and what we said by its name for that.
        let summary = frr.vtysh_json("show bgp neighbors json")?;
        let neighbor = &summary[&link.b.name];
        ensure!(
            neighbor["bgpState"] == "Established",
            "FRR has {}: {summary}",
            link.b.name
        );
        let capabilities = &neighbor["neighborCapabilities"];
        let extended = &capabilities["extendedNexthop"];
        ensure!(
            extended.to_string().contains("dvertisedAndReceived"),
            "extended next hop: {capabilities}"
        );
        // FRR's way back has our address, and no IPv4 one in its place.
        let back = far.ip(&format!("route show {}", OURS[0]))?;
        let ours = link_local(&link.a)?;
        ensure!(back.contains(&format!("via inet6 {ours}")), "{back}");
        // We are nobody's default router.
        let default = far.ip("-6 route show default")?;
        ensure!(
            default.trim().is_empty(),
            "FRR's host follows us: {default}"
        );

        for end in [&link.a, &link.b] {
            end.down()?;
            gone(lab, &agent)?;
            end.up()?;
            carries(lab, &agent, &link)?;
        }
        // Both begin anew, one after the other.
        agent.kill()?;
        agent.start_again()?;
        carries(lab, &agent, &link)?;
        frr.kill()?;
        gone(lab, &agent)?;
        frr.start_daemons()?;
        carries(lab, &agent, &link)
    });
}

#[test]
fn two_hosts_find_each_other_on_a_link_without_addresses() {
    lab!(Agent).run(|lab| {
        let (host, far) = hosts(lab)?;
        let link = bare_link(lab, &host, &far)?;
        let agent = lab.agent(&host, &agent_config(65000, &OURS, &[&link.a.name]))?;
        // Nobody is there for a while.
        lab.until(CONVERGED, "the problem to be told", || {
            let key = format!("neighbor.unheard.{}", link.a.name);
            ensure!(agent.has_problem(&key)?, "no {key}");
            Ok(())
        })?;
        let other = lab.agent(&far, &agent_config(65001, &THEIRS, &[&link.b.name]))?;
        carries(lab, &agent, &link)?;
        lab.until(CONVERGED, "the problem to be gone", || {
            let key = format!("neighbor.unheard.{}", link.a.name);
            ensure!(!agent.has_problem(&key)?, "{key} stands");
            Ok(())
        })?;
        link.b.down()?;
        gone(lab, &agent)?;
        link.b.up()?;
        carries(lab, &agent, &link)?;
        other.restart()?;
        carries(lab, &agent, &link)?;

        // The interface gets another name and is looked for under that.
        agent.write_config(&agent_config(65000, &OURS, &["uplink"]))?;
        agent.cli(["reload"])?;
        gone(lab, &agent)?;
        host.ip(&format!("link set {} name uplink", link.a.name))?;
        let renamed = End {
            name: "uplink".to_owned(),
            ..link.a.clone()
        };
        carries(lab, &agent, &Link { a: renamed, ..link })
    });
}

/// An IPv4 route through two routers at once, neither of which has an IPv4 address there.
#[test]
fn two_unnumbered_uplinks_share_the_traffic() {
    lab!(Frr, Agent).run(|lab| {
        let (host, far) = hosts(lab)?;
        let links = [bare_link(lab, &host, &far)?, bare_link(lab, &host, &far)?];
        let [first, second] = &links;
        let (near, distant) = (
            [first.a.name.as_str(), &second.a.name],
            [first.b.name.as_str(), &second.b.name],
        );
        lab.frr(&far, frr_config(&distant))?;
        let agent = lab.agent(&host, &agent_config(65000, &OURS, &near))?;
        for without_objects in [false, true] {
            if without_objects {
                let config = agent_config(65000, &OURS, &near);
                agent.write_config(&format!("{config}[fib]\nnexthop_objects = false\n"))?;
                agent.restart()?;
            }
            lab.until(CONVERGED, "both uplinks to be used", || {
                for prefix in THEIRS {
                    let route = host.ip(&route_words(prefix))?;
                    for name in near {
                        ensure!(
                            route.contains(&format!("dev {name} ")) && route.contains("fe80::"),
                            "{prefix}: {route:?}"
                        );
                    }
                    ping(&host, prefix)?;
                }
                Ok(())
            })?;
            first.b.down()?;
            lab.until(HEALED, "one of them to be enough", || {
                for prefix in THEIRS {
                    let route = host.ip(&route_words(prefix))?;
                    ensure!(
                        !route.contains(&format!("dev {} ", near[0])) && route.contains("fe80::"),
                        "{prefix}: {route:?}"
                    );
                    ping(&host, prefix)?;
                }
                Ok(())
            })?;
            first.b.up()?;
        }
        Ok(())
    });
}

/// BIRD finds nobody: it is told our link-local address, and connects.
#[test]
fn bird_connects_to_a_host_that_waits_on_a_link_without_addresses() {
    lab!(Bird, Agent).run(|lab| with_bird(lab, ""));
}

/// But it can be found.
#[test]
fn a_host_finds_bird_by_its_router_advertisements() {
    lab!(Bird, Agent).run(|lab| with_bird(lab, "passive on;"));
}

fn with_bird(lab: &Lab, passive: &str) -> Result<(), Why> {
    let (host, far) = hosts(lab)?;
    let link = bare_link(lab, &host, &far)?;
    let neighbor = format!("{}%'{}'", link_local(&link.a)?, link.b.name);
    let mut config =
        bird_config(&neighbor).replace("connect retry", &format!("{passive} connect retry"));
    if !passive.is_empty() {
        config.push_str(&format!(
            "protocol radv {{ interface \"{}\" {{ min ra interval 3; max ra interval 4; default lifetime 0; }}; }}\n",
            link.b.name
        ));
    }
    lab.bird(&far, &config)?;
    let agent = lab.agent(&host, &agent_config(65000, &OURS, &[&link.a.name]))?;
    carries(lab, &agent, &link)?;
    let unheard = format!("neighbor.unheard.{}", link.a.name);
    ensure!(!agent.has_problem(&unheard)?, "{unheard}");
    link.a.down()?;
    gone(lab, &agent)?;
    link.a.up()?;
    carries(lab, &agent, &link)
}

#[test]
fn more_than_one_neighbour_on_a_link_is_a_problem_until_there_is_one() {
    lab!(Agent).run(|lab| {
        let hosts = [lab.host("a")?, lab.host("b")?, lab.host("c")?];
        let all: Vec<_> = hosts.iter().collect();
        let switch = lab.switch("sw", &all)?;
        for end in &switch.ends {
            end.host
                .ip(&format!("address flush dev {} scope global", end.name))?;
        }
        let mut agents = Vec::new();
        for (asn, end) in (65000..).zip(&switch.ends) {
            agents.push(lab.agent(&end.host, &agent_config(asn, &[], &[&end.name]))?);
        }
        let several = |agent: &Agent| agent.has_problem("neighbor.several.sw-sw");
        lab.until(CONVERGED, "each to hear two others", || {
            for agent in &agents {
                ensure!(several(agent)?, "{} does not", agent.host().name());
            }
            Ok(())
        })?;
        switch.ends[2].down()?;
        lab.until(CONVERGED, "two to hear each other alone", || {
            for agent in &agents[..2] {
                ensure!(!several(agent)?, "{} does not", agent.host().name());
                for peer in peers(agent)? {
                    ensure!(peer["state"] == "Established", "{}", peer["state"]);
                }
            }
            Ok(())
        })?;
        Ok(())
    });
}

#[test]
fn bird_and_a_host_exchange_ipv4_over_ipv6_addresses() {
    lab!(Bird, Agent).run(|lab| {
        let (host, far) = hosts(lab)?;
        let link = lab.link(&host, &far)?;
        for end in [&link.a, &link.b] {
            end.host.ip(&format!("-4 address flush dev {}", end.name))?;
        }
        lab.bird(&far, &bird_config(&link.a.v6.to_string()))?;
        let peer = format!("address = \"{}\"", link.b.v6);
        let agent = lab.agent(&host, &agent_config_with(65000, &OURS, &peer))?;
        carries(lab, &agent, &link)?;
        let route = host.ip(&route_words(THEIRS[0]))?;
        let via = format!("via inet6 {} dev {}", link.b.v6, link.a.name);
        ensure!(route.contains(&via), "{route:?} and not {via}");
        agent.kill()?;
        agent.start_again()?;
        carries(lab, &agent, &link)?;
        link.b.down()?;
        gone(lab, &agent)?;
        link.b.up()?;
        carries(lab, &agent, &link)
    });
}

fn hosts(lab: &Lab) -> Result<(Host, Host), Why> {
    let (host, far) = (lab.host("host")?, lab.host("tor")?);
    for (of, addresses) in [(&host, OURS), (&far, THEIRS)] {
        for address in addresses {
            of.address("lo", address)?;
        }
    }
    Ok((host, far))
}

/// A cable whose ends have link-local addresses and no others.
fn bare_link(lab: &Lab, a: &Host, b: &Host) -> Result<Link, Why> {
    let link = lab.link(a, b)?;
    for end in [&link.a, &link.b] {
        end.host
            .ip(&format!("address flush dev {} scope global", end.name))?;
    }
    Ok(link)
}

/// The routes of the far side are in our kernel, over link-local or IPv6 next hops, and packets pass
/// both ways between the loopback addresses.
fn carries(lab: &Lab, agent: &Agent, link: &Link) -> Result<(), Why> {
    lab.until(CONVERGED, "packets to pass", || {
        let shown: Vec<Value> = peers(agent)?;
        for peer in &shown {
            ensure!(
                peer["state"] == "Established",
                "{} ({}): {}, {}",
                peer["name"],
                peer["address"],
                peer["state"],
                peer["last_error"]
            );
        }
        for prefix in THEIRS {
            let route = agent.host().ip(&route_words(prefix))?;
            let there = route.contains(&format!("dev {}", link.a.name)) && route.contains("via ");
            ensure!(there, "{prefix}: {route:?}");
            ping(agent.host(), prefix)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn gone(lab: &Lab, agent: &Agent) -> Result<(), Why> {
    lab.until(HEALED, "the routes to be gone", || {
        for prefix in THEIRS {
            let route = agent.host().ip(&route_words(prefix))?;
            ensure!(route.trim().is_empty(), "{prefix}: {route:?}");
        }
        let ours = agent.cli_text(["routes", "--rib", "fib"])?;
        ensure!(!ours.contains("10.9.2.1"), "we believe in {ours}");
        Ok(())
    })?;
    Ok(())
}

fn route_words(prefix: &str) -> String {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    format!("{family} route show {prefix} proto 201")
}

/// From our loopback address to theirs, so that the way back is a route as well.
fn ping(host: &Host, to: &str) -> Result<(), Why> {
    let from = OURS[usize::from(to.contains(':'))];
    let plain = |prefix: &str| prefix.split('/').next().unwrap_or(prefix).to_owned();
    let (from, to) = (plain(from), plain(to));
    host.run(["ping", "-n", "-q", "-c", "1", "-W", "1", "-I", &from, &to])?;
    Ok(())
}

fn link_local(end: &End) -> Result<String, Why> {
    let shown = end
        .host
        .ip_json(&format!("-6 address show dev {} scope link", end.name))?;
    let address = shown[0]["addr_info"][0]["local"].as_str();
    Ok(address
        .ok_or_else(|| format!("no link-local address: {shown}"))?
        .to_owned())
}

fn agent_config(asn: u32, networks: &[&str], interfaces: &[&str]) -> String {
    let peers: Vec<_> = interfaces
        .iter()
        .map(|name| format!("interface = \"{name}\""))
        .collect();
    let peers: Vec<_> = peers.iter().map(String::as_str).collect();
    agent_config_of(asn, networks, &peers)
}

fn agent_config_with(asn: u32, networks: &[&str], peer: &str) -> String {
    agent_config_of(asn, networks, &[peer])
}

fn agent_config_of(asn: u32, networks: &[&str], peers: &[&str]) -> String {
    let peers: String = peers
        .iter()
        .map(|peer| {
            format!("[[peer]]\n{peer}\nasn = \"external\"\nimport = \"all\"\nexport = \"own\"\n")
        })
        .collect();
    format!(
        "[node]\nrouter_id = \"192.0.2.{}\"\n[bgp]\nasn = {asn}\nconnect_retry = 1\n\
         restart_time = 0\nlong_lived_restart_time = 0\noriginate = {networks:?}\n{peers}",
        asn % 100 + 1
    )
}

fn frr_config(interfaces: &[&str]) -> FrrConfig {
    let each = |line: &str| -> String {
        let lines = interfaces.iter();
        lines
            .map(|name| format!("{}\n", line.replace("IF", name)))
            .collect()
    };
    let [v4, v6] = THEIRS;
    FrrConfig::new(format!(
        "router bgp 65001
bgp router-id 1.1.1.1
no bgp ebgp-requires-policy
{}{}address-family ipv4 unicast
network {v4}
exit-address-family
address-family ipv6 unicast
network {v6}
{}exit-address-family
",
        each("neighbor IF interface remote-as external"),
        each("neighbor IF timers connect 1\nneighbor IF bfd"),
        each("neighbor IF activate"),
    ))
}

fn bird_config(neighbor: &str) -> String {
    format!(
        "router id 1.1.1.1;
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; interface \"lo\"; }}
protocol kernel {{ ipv4 {{ export where source = RTS_BGP; }}; }}
protocol kernel {{ ipv6 {{ export where source = RTS_BGP; }}; }}
protocol bgp host {{
  local as 65001; neighbor {neighbor} as 65000;
  connect retry time 1; connect delay time 1; error wait time 1,2;
  ipv4 {{ import all; export where source = RTS_DEVICE; extended next hop on; }};
  ipv6 {{ import all; export where source = RTS_DEVICE; }};
}}
"
    )
}
