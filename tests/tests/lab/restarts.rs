//! Routers that restart while packets pass: their routes are held meanwhile (RFC 4724, 4.2).

use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, FrrConfig, Lab, Link, Why, ensure, lab};

use crate::middle::peers;

const CONVERGED: Duration = Duration::from_secs(30);
/// What the router announces.
const PREFIX: &str = "203.0.113.0/24";
/// What it does not announce any more when it is back.
const FORMER: &str = "198.51.100.0/24";

#[test]
fn routes_of_an_frr_that_is_killed_and_started_again_stay_in_the_kernel() {
    lab!(Frr, Agent).run(|lab| {
        let (host, far) = (lab.host("host")?, lab.host("router")?);
        let link = lab.link(&host, &far)?;
        let agent = lab.agent(&host, &agent_config(&link))?;
        let config = |former: &str| {
            format!(
                "ip route {PREFIX} blackhole\nip route {FORMER} blackhole\n\
                 router bgp 65001\nbgp router-id 1.1.1.1\nno bgp ebgp-requires-policy\n\
                 bgp graceful-restart\nbgp graceful-restart preserve-fw-state\n\
                 neighbor {0} remote-as 65000\nneighbor {0} timers connect 1\n\
                 address-family ipv4 unicast\nnetwork {PREFIX}\n{former}\nexit-address-family\n",
                link.a.v4
            )
        };
        let frr = lab.frr(
            &far,
            FrrConfig::new(config(&format!("network {FORMER}"))).statics(),
        )?;
        let is_there = || -> Result<(), Why> {
            let shown = far.ip("route show type blackhole")?;
            ensure!(shown.contains(PREFIX) && shown.contains(FORMER), "{shown}");
            Ok(())
        };
        lab.until(CONVERGED, "the router to have its own", is_there)?;
        lab.snapshot()?;
        let killed = || -> Result<(), Why> {
            let bgpd = frr.daemon("bgpd")?;
            bgpd.kill()?;
            Ok(())
        };
        let back = || -> Result<(), Why> {
            let file = format!("/etc/frr/{}/frr.conf", far.name());
            std::fs::write(&file, format!("frr defaults datacenter\n{}", config("")))?;
            frr.start_daemons()?;
            Ok(())
        };
        held(lab, &agent, killed, back)
    });
}

#[test]
fn routes_of_a_bird_that_is_killed_and_started_again_stay_in_the_kernel() {
    lab!(Bird, Agent).run(|lab| {
        let (host, far) = (lab.host("host")?, lab.host("router")?);
        let link = lab.link(&host, &far)?;
        let agent = lab.agent(&host, &agent_config(&link))?;
        let config = |former: &str| {
            format!(
                "router id 1.1.1.1;
protocol device {{ scan time 1; }}
protocol static {{ ipv4; route {PREFIX} blackhole; {former} }}
protocol bgp session {{
  local as 65001; neighbor {} as 65000;
  connect retry time 1; connect delay time 1; error wait time 1,2;
  graceful restart on; graceful restart time 60;
  ipv4 {{ import all; export where source = RTS_STATIC; }};
}}
",
                link.a.v4
            )
        };
        let bird = lab.bird(&far, &config(&format!("route {FORMER} blackhole;")))?;
        let killed = || -> Result<(), Why> {
            bird.process().kill()?;
            Ok(())
        };
        let back = || -> Result<(), Why> {
            let file = format!("/run/lab/{}.bird.conf", far.name());
            std::fs::write(&file, format!("log stderr all;\n{}", config("")))?;
            bird.start_again()?;
            Ok(())
        };
        held(lab, &agent, killed, back)
    });
}

/// Both routes stay while the router is away; when it is back, that which it has no more goes.
fn held(
    lab: &Lab,
    agent: &Agent,
    kill: impl Fn() -> Result<(), Why>,
    start: impl Fn() -> Result<(), Why>,
) -> Result<(), Why> {
    let installed = |prefix: &str| -> Result<bool, Why> {
        let shown = agent.host().ip_json(&format!("route show {prefix}"))?;
        Ok(shown.as_array().is_some_and(|routes| !routes.is_empty()))
    };
    let both = |what: &str| {
        lab.until(CONVERGED, what, || {
            for prefix in [PREFIX, FORMER] {
                ensure!(installed(prefix)?, "{prefix} is not there");
            }
            Ok(())
        })
    };
    both("both routes to be in the kernel")?;
    let state = || -> Result<Value, Why> { Ok(peers(agent)?[0]["state"].clone()) };
    kill()?;
    lab.until(CONVERGED, "the session to end", || {
        ensure!(state()? != "Established", "it is up");
        Ok(())
    })?;
    for prefix in [PREFIX, FORMER] {
        ensure!(installed(prefix)?, "{prefix} went with the session");
    }
    let routes = agent.cli(["routes", "--rib", "in"])?.to_string();
    ensure!(routes.contains("\"stale\":true"), "{routes}");

    start()?;
    lab.until(CONVERGED, "the session to come up again", || {
        ensure!(state()? == "Established", "it is down");
        ensure!(
            installed(PREFIX)?,
            "{PREFIX} went while the router came back"
        );
        Ok(())
    })?;
    lab.until(CONVERGED, "the former route to go", || {
        ensure!(installed(PREFIX)?, "{PREFIX} is gone");
        ensure!(!installed(FORMER)?, "{FORMER} is there");
        Ok(())
    })?;
    Ok(())
}

fn agent_config(link: &Link) -> String {
    format!(
        "[bgp]\nasn = 65000\nconnect_retry = 1\n\
         [[peer]]\nname = \"router\"\naddress = \"{}\"\nasn = 65001\nimport = \"all\"\n\
         export = \"all\"\nfamilies = [\"ipv4\"]\n",
        link.b.v4,
    )
}
