//! Sessions that only the right neighbour can have: signed segments (TCP-MD5, RFC 2385) and TTL
//! security (GTSM, RFC 5082), beside stock routers.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use wayleave_lab::{Agent, FrrConfig, Host, Lab, Link, Why, ensure, lab};

use crate::middle::peers;
use crate::scripted::Scripted;

const CONVERGED: Duration = Duration::from_secs(30);
/// Long enough for several attempts of either side to come through, if they could.
const SEVERAL_TRIES: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Router {
    Frr,
    Bird,
}

#[test]
fn a_session_with_frr_is_signed_and_comes_up_with_the_same_password_only() {
    lab!(Frr, Agent).run(|lab| signed(lab, Router::Frr));
}

#[test]
fn a_session_with_bird_is_signed_and_comes_up_with_the_same_password_only() {
    lab!(Bird, Agent).run(|lab| signed(lab, Router::Bird));
}

#[test]
fn a_session_with_frr_is_held_over_the_shortest_way_only() {
    lab!(Frr, Agent).run(|lab| ttl_security(lab, Router::Frr));
}

#[test]
fn a_session_with_bird_is_held_over_the_shortest_way_only() {
    lab!(Bird, Agent).run(|lab| ttl_security(lab, Router::Bird));
}

/// Both families, a connection in each direction: over IPv4 we call, over IPv6 the router does.
fn signed(lab: &Lab, router: Router) -> Result<(), Why> {
    let (host, far) = (lab.host("host")?, lab.host("router")?);
    let link = lab.link(&host, &far)?;
    let agent = lab.agent(
        &host,
        &agent_config(&link, "password = \"right\"", "passive = true"),
    )?;
    let secret = match router {
        Router::Frr => "neighbor ADDRESS password right",
        Router::Bird => "password \"right\"",
    };
    start(lab, router, &far, &link, secret)?;
    established(lab, &agent, 2)?;

    // Another password, in a reload: the sessions are closed, and none comes up again.
    agent.write_config(&agent_config(
        &link,
        "password = \"wrong\"",
        "passive = true",
    ))?;
    agent.cli(["reload"])?;
    stays_down(lab, &agent)?;
    let why = peers(&agent)?[0]["last_error"].to_string();
    ensure!(why.contains("password"), "{why}");
    let shown = agent.cli(["config", "show"])?.to_string();
    ensure!(!shown.contains("wrong"), "the password is shown: {shown}");

    // Without one nothing unsigned gets an answer out of the router, nor we out of it.
    agent.write_config(&agent_config(&link, "", "passive = true"))?;
    agent.cli(["reload"])?;
    stays_down(lab, &agent)?;

    agent.write_config(&agent_config(
        &link,
        "password = \"right\"",
        "passive = true",
    ))?;
    agent.cli(["reload"])?;
    established(lab, &agent, 2)?;

    // Somebody at the router's address who does not know it is not even connected.
    let to = IpAddr::V4(link.a.v4);
    let refused = Scripted::establish(&far, to, 65_001, [9, 9, 9, 9].into());
    ensure!(refused.is_err(), "an unsigned connection came through");
    established(lab, &agent, 2)
}

/// A packet from a router's hop away has a lower TTL than the one the kernel lets through.
fn ttl_security(lab: &Lab, router: Router) -> Result<(), Why> {
    let (host, far) = (lab.host("host")?, lab.host("router")?);
    let link = lab.link(&host, &far)?;
    let agent = lab.agent(&host, &agent_config(&link, "ttl_security = true", ""))?;
    let started = start(lab, router, &far, &link, "")?;
    // The router's packets come with TTL 1, as eBGP has it.
    stays_down(lab, &agent)?;
    match &started {
        Started::Frr(frr) => {
            let lines: Vec<String> = [IpAddr::V4(link.a.v4), IpAddr::V6(link.a.v6)]
                .iter()
                .map(|ours| format!("neighbor {ours} ttl-security hops 1"))
                .collect();
            let mut commands = vec!["router bgp 65001"];
            commands.extend(lines.iter().map(String::as_str));
            frr.configure(&commands)?;
        }
        Started::Bird(bird) => {
            bird.configure(&bird_config(&link, "ttl security yes"))?;
        }
    }
    established(lab, &agent, 2)
}

fn agent_config(link: &Link, both: &str, of_v6: &str) -> String {
    format!(
        "[bgp]\nasn = 65000\nlisten = [\"0.0.0.0:179\", \"[::]:179\"]\nconnect_retry = 1\n\
         [fib]\ninstall = false\n\
         [[peer]]\nname = \"v4\"\naddress = \"{}\"\nasn = 65001\nimport = \"all\"\n\
         export = \"all\"\n{both}\n\
         [[peer]]\nname = \"v6\"\naddress = \"{}\"\nasn = 65001\nimport = \"all\"\n\
         export = \"all\"\n{both}\n{of_v6}\n",
        link.b.v4, link.b.v6,
    )
}

enum Started {
    Frr(wayleave_lab::Frr),
    Bird(wayleave_lab::Bird),
}

fn start(lab: &Lab, router: Router, far: &Host, link: &Link, more: &str) -> Result<Started, Why> {
    Ok(match router {
        Router::Frr => {
            let neighbours: String = [IpAddr::V4(link.a.v4), IpAddr::V6(link.a.v6)]
                .iter()
                .map(|ours| {
                    format!(
                        "neighbor {ours} remote-as 65000\nneighbor {ours} timers connect 1\n{}\n",
                        more.replace("ADDRESS", &ours.to_string())
                    )
                })
                .collect();
            let text = format!(
                "router bgp 65001\nbgp router-id 1.1.1.1\nno bgp ebgp-requires-policy\n{neighbours}"
            );
            Started::Frr(lab.frr(far, FrrConfig::new(text))?)
        }
        Router::Bird => Started::Bird(lab.bird(far, &bird_config(link, more))?),
    })
}

fn bird_config(link: &Link, more: &str) -> String {
    let more = match more {
        "" => String::new(),
        more => format!("{more};"),
    };
    format!(
        "router id 1.1.1.1;
protocol device {{ scan time 1; }}
template bgp session {{ local as 65001; connect retry time 1; connect delay time 1; error wait time 1,2; {more} }}
protocol bgp us4 from session {{ neighbor {} as 65000; ipv4 {{ import all; export none; }}; }}
protocol bgp us6 from session {{ neighbor {} as 65000; ipv6 {{ import all; export none; }}; }}
",
        link.a.v4, link.a.v6
    )
}

fn established(lab: &Lab, agent: &Agent, count: usize) -> Result<(), Why> {
    lab.until(CONVERGED, "the sessions to come up", || {
        let up = states(agent)?;
        let up = up.iter().filter(|state| *state == "Established").count();
        ensure!(up == count, "{up} are up");
        Ok(())
    })?;
    Ok(())
}

/// Nothing comes up, over as long as several attempts take.
fn stays_down(lab: &Lab, agent: &Agent) -> Result<(), Why> {
    lab.until(CONVERGED, "the sessions to close", || none_up(agent))?;
    let end = Instant::now() + SEVERAL_TRIES;
    while Instant::now() < end {
        none_up(agent)?;
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn none_up(agent: &Agent) -> Result<(), Why> {
    for state in states(agent)? {
        ensure!(state != "Established", "a session is up");
    }
    Ok(())
}

fn states(agent: &Agent) -> Result<Vec<String>, Why> {
    let peers = peers(agent)?;
    let state = |peer: &serde_json::Value| peer["state"].as_str().unwrap_or_default().to_owned();
    Ok(peers.iter().map(state).collect())
}
