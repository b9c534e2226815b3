//! Sessions whose way breaks: BFD with stock routers finds it, and so does an interface that goes
//! down, long before a hold timer would.

use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, FrrConfig, Host, Lab, Link, Why, ensure, lab};

use crate::middle::peers;

const CONVERGED: Duration = Duration::from_secs(30);
/// The hold time of all sessions here is 90 s: whatever ends one sooner was something else.
const SOON: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Router {
    Frr,
    Bird,
}

#[test]
fn frr_and_a_host_find_a_way_that_is_cut_without_a_word() {
    lab!(Frr, Agent).run(|lab| cut(lab, Router::Frr));
}

#[test]
fn bird_and_a_host_find_a_way_that_is_cut_without_a_word() {
    lab!(Bird, Agent).run(|lab| cut(lab, Router::Bird));
}

/// Without BFD, and with a neighbour that has none.
#[test]
fn an_interface_that_loses_its_carrier_takes_its_sessions_along() {
    lab!(Bird, Agent).run(|lab| {
        let (host, far) = (lab.host("host")?, lab.host("router")?);
        let link = lab.link(&host, &far)?;
        let agent = lab.agent(&host, &agent_config(&link, "bfd = false"))?;
        lab.bird(&far, &bird_config(&link, ""))?;
        established(lab, &agent)?;
        link.b.down()?;
        lab.until(SOON, "the sessions to end", || {
            for peer in peers(&agent)? {
                ensure!(peer["state"] != "Established", "{} is up", peer["name"]);
                let why = peer["last_error"].to_string();
                ensure!(why.contains("is down"), "{why}");
            }
            Ok(())
        })?;
        link.b.up()?;
        established(lab, &agent)
    });
}

/// Tables come and go through the kernel, with packets of BFD due every 50 ms between them.
#[test]
fn neither_bfd_nor_keepalives_starve_while_tables_go_into_the_kernel_and_out_again() {
    const ROUTES: usize = 50_000;
    lab!(Bird, Agent).run(|lab| {
        let (host, far) = (lab.host("host")?, lab.host("router")?);
        let link = lab.link(&host, &far)?;
        let config = agent_config(&link, "bfd_interval = 50\nhold_time = 3")
            .replace("[fib]\ninstall = false\n", "");
        let agent = lab.agent(&host, &config)?;
        let routes: String = (0..ROUTES)
            .map(|n| {
                format!(
                    "route 100.{}.{}.{}/32 blackhole;\n",
                    64 + n / 65_536,
                    n / 256 % 256,
                    n % 256
                )
            })
            .collect();
        let table = format!(
            "protocol static fifty {{ disabled; ipv4; {routes} }}\n{}",
            bird_config(&link, "bfd on").replacen(
                "export none",
                "export where source = RTS_STATIC",
                1
            )
        );
        let bird = lab.bird(&far, &table)?;
        established(lab, &agent)?;
        lab.until(CONVERGED, "BFD to be up on all sessions", || {
            for peer in peers(&agent)? {
                ensure!(peer["bfd"] == "Up", "{}: {}", peer["name"], peer["bfd"]);
            }
            Ok(())
        })?;
        let installed =
            || -> Result<usize, Why> { Ok(host.ip("route show proto 201")?.lines().count()) };
        for _ in 0..3 {
            bird.cli("enable fifty")?;
            lab.until(CONVERGED, "all to be in the kernel", || {
                let installed = installed()?;
                ensure!(installed == ROUTES, "{installed} are");
                Ok(())
            })?;
            bird.cli("disable fifty")?;
            lab.until(CONVERGED, "all to be out of the kernel", || {
                let installed = installed()?;
                ensure!(installed == 0, "{installed} are left");
                Ok(())
            })?;
        }
        for peer in peers(&agent)? {
            ensure!(peer["bfd"] == "Up", "{}: {}", peer["name"], peer["bfd"]);
            ensure!(
                peer["established_count"] == 1 && peer["state"] == "Established",
                "{} went down: {}",
                peer["name"],
                peer["last_error"]
            );
        }
        Ok(())
    });
}

fn cut(lab: &Lab, router: Router) -> Result<(), Why> {
    let (host, far) = (lab.host("host")?, lab.host("router")?);
    let link = lab.link(&host, &far)?;
    let agent = lab.agent(&host, &agent_config(&link, "bfd_interval = 50"))?;
    match router {
        Router::Frr => {
            let frr = FrrConfig::new(frr_config(&link)).bfd();
            lab.frr(&far, frr)?;
        }
        Router::Bird => {
            lab.bird(&far, &bird_config(&link, "bfd on"))?;
        }
    }
    established(lab, &agent)?;
    lab.until(CONVERGED, "BFD to be up on all sessions", || {
        for peer in peers(&agent)? {
            ensure!(peer["bfd"] == "Up", "{}: {}", peer["name"], peer["bfd"]);
        }
        Ok(())
    })?;

    // Nothing passes, and neither interface notices.
    silence(&far, true)?;
    let ended = lab.until(SOON, "the sessions to end", || {
        let peers = peers(&agent)?;
        for peer in &peers {
            ensure!(peer["state"] != "Established", "{} is up", peer["name"]);
        }
        Ok(peers)
    })?;
    for peer in &ended {
        let code = &peer["last_error_code"];
        ensure!(
            (code["code"].as_u64(), code["subcode"].as_u64()) == (Some(6), Some(10)),
            "{}: {code}, {}",
            peer["name"],
            peer["last_error"]
        );
    }
    silence(&far, false)?;
    established(lab, &agent)?;

    // Switched off and on again in a reload, the sessions stay.
    let ups = || -> Result<Vec<Value>, Why> {
        let peers = peers(&agent)?;
        Ok(peers
            .iter()
            .map(|peer| peer["established_count"].clone())
            .collect())
    };
    let before = ups()?;
    for bfd in ["bfd = false", "bfd_interval = 100"] {
        agent.write_config(&agent_config(&link, bfd))?;
        agent.cli(["reload"])?;
    }
    lab.until(CONVERGED, "BFD to be up again", || {
        for peer in peers(&agent)? {
            ensure!(peer["bfd"] == "Up", "{}: {}", peer["name"], peer["bfd"]);
        }
        Ok(())
    })?;
    ensure!(ups()? == before, "a session was opened again");
    Ok(())
}

/// Nothing passes in either direction from one moment to the next: with one of them first, the router
/// would find out before us and might still say so.
fn silence(far: &Host, on: bool) -> Result<(), Why> {
    let rules = if on {
        let chain = |hook: &str| {
            format!(
                "add chain inet cut {hook} {{ type filter hook {hook} priority 0; policy drop; }}"
            )
        };
        let (input, output) = (chain("input"), chain("output"));
        format!("add table inet cut\n{input}\n{output}")
    } else {
        "delete table inet cut".to_owned()
    };
    far.run(["nft", &rules])?;
    Ok(())
}

fn established(lab: &Lab, agent: &Agent) -> Result<(), Why> {
    lab.until(CONVERGED, "the sessions to come up", || {
        for peer in peers(agent)? {
            ensure!(
                peer["state"] == "Established",
                "{}: {}",
                peer["name"],
                peer["state"]
            );
        }
        Ok(())
    })?;
    Ok(())
}

fn agent_config(link: &Link, more: &str) -> String {
    format!(
        "[bgp]\nasn = 65000\nconnect_retry = 1\n[fib]\ninstall = false\n\
         [[peer]]\nname = \"v4\"\naddress = \"{}\"\nasn = 65001\nimport = \"all\"\n\
         export = \"all\"\n{more}\n\
         [[peer]]\nname = \"v6\"\naddress = \"{}\"\nasn = 65001\nimport = \"all\"\n\
         export = \"all\"\n{more}\n",
        link.b.v4, link.b.v6,
    )
}

fn frr_config(link: &Link) -> String {
    let neighbours: String = [link.a.v4.to_string(), link.a.v6.to_string()]
        .iter()
        .map(|ours| {
            format!(
                "neighbor {ours} remote-as 65000\nneighbor {ours} timers 30 90\n\
                 neighbor {ours} timers connect 1\nneighbor {ours} bfd 3 50 50\n"
            )
        })
        .collect();
    format!("router bgp 65001\nbgp router-id 1.1.1.1\nno bgp ebgp-requires-policy\n{neighbours}")
}

fn bird_config(link: &Link, more: &str) -> String {
    let (bfd, of_sessions) = match more {
        "" => ("", String::new()),
        more => (
            "protocol bfd { interface \"*\" { interval 50 ms; multiplier 3; }; }",
            format!("{more};"),
        ),
    };
    format!(
        "router id 1.1.1.1;
protocol device {{ scan time 1; }}
{bfd}
template bgp session {{ local as 65001; hold time 90; connect retry time 1; connect delay time 1; error wait time 1,2; {of_sessions} }}
protocol bgp us4 from session {{ neighbor {} as 65000; ipv4 {{ import all; export none; }}; }}
protocol bgp us6 from session {{ neighbor {} as 65000; ipv6 {{ import all; export none; }}; }}
",
        link.a.v4, link.a.v6
    )
}
