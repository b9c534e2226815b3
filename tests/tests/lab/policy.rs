//! Rules of policy on sessions with stock routers: FRR on one side, BIRD on the other, and between
//! them a host that passes routes on by its rules; a reload changes these, and no session.

use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, Bird, Frr, FrrConfig, Link, Why, ensure, lab};

use crate::middle::peers;

const CONVERGED: Duration = Duration::from_secs(30);

/// What FRR is told to announce, and with which communities.
const CUSTOMER: &str = "10.64.0.0/16";
const PRIVATE: &str = "10.65.0.0/16";
const OURS: &str = "10.1.0.0/24";
const V6: &str = "2001:db8:64::/48";

#[test]
fn rules_on_sessions_with_frr_and_bird_do_what_they_say_and_a_reload_changes_only_them() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let (above, host, below) = (lab.host("above")?, lab.host("host")?, lab.host("below")?);
        let (up, down) = (lab.link(&host, &above)?, lab.link(&host, &below)?);
        // Where the next hop is that a rule sends.
        above.run(["ip", "address", "add", "192.0.2.1/24", "dev", "to-host"])?;
        let agent = lab.agent(&host, &agent_config(&up, &down, RULES))?;
        let frr = lab.frr(&above, FrrConfig::new(frr_config(&up)))?;
        let bird = lab.bird(&below, &bird_config(&down))?;
        lab.until(CONVERGED, "the first rules to be in force", || {
            first(&agent, &frr, &bird)
        })?;

        let ups = || -> Result<Vec<Value>, Why> {
            let peers = peers(&agent)?.into_iter();
            Ok(peers
                .map(|peer| peer["established_count"].clone())
                .collect())
        };
        let before = ups()?;
        agent.write_config(&agent_config(&up, &down, OTHER_RULES))?;
        agent.cli(["reload"])?;
        lab.until(CONVERGED, "the other rules to be in force", || {
            second(&agent, &bird)
        })?;
        ensure!(ups()? == before, "a session was opened again");
        agent.write_config(&agent_config(&up, &down, RULES))?;
        agent.cli(["reload"])?;
        lab.until(CONVERGED, "the first rules to be in force again", || {
            first(&agent, &frr, &bird)
        })?;
        ensure!(ups()? == before, "a session was opened again");
        Ok(())
    });
}

fn first(agent: &Agent, frr: &Frr, bird: &Bird) -> Result<(), Why> {
    // In: LOCAL_PREF, a community more, one less; our own space and what nobody lets in are kept out.
    let route = route(agent, &["routes", CUSTOMER])?;
    ensure!(route["attributes"]["local_pref"] == 200, "{route}");
    ensure!(
        route["attributes"]["communities"] == serde_json::json!(["65010:100", "65000:64"]),
        "{route}"
    );
    for (prefix, why) in [
        (
            OURS,
            "import policy above-in: rule `our own space` rejects it",
        ),
        (PRIVATE, "import policy above-in: no rule accepts it"),
    ] {
        let came = self::route(agent, &["routes", "--rib", "in", prefix])?;
        ensure!(came["refused"] == why, "{came}");
    }
    // Out to BIRD: a longer path, MED, our own communities stay behind; both families.
    let there = bird.best(CUSTOMER)?;
    let attribute = |name: &str| there.get(name).map_or("", String::as_str);
    ensure!(
        attribute("BGP.as_path") == "65000 65000 65000 65010",
        "{there:?}"
    );
    ensure!(attribute("BGP.med") == "7", "{there:?}");
    ensure!(attribute("BGP.community") == "(65010,100)", "{there:?}");
    bird.best(V6)?;
    for absent in [OURS, PRIVATE] {
        ensure!(bird.best(absent).is_err(), "BIRD was told {absent}");
    }
    // And to FRR, through rules that BIRD's routes pass with another next hop.
    let back = frr.best("10.80.0.0/16")?;
    ensure!(back["aspath"]["string"] == "65000 65020", "{back}");
    ensure!(back["nexthops"][0]["ip"] == "192.0.2.80", "{back}");
    Ok(())
}

fn second(agent: &Agent, bird: &Bird) -> Result<(), Why> {
    let route = route(agent, &["routes", PRIVATE])?;
    ensure!(route["attributes"]["local_pref"].is_null(), "{route}");
    let there = bird.best(PRIVATE)?;
    let attribute = |name: &str| there.get(name).map_or("", String::as_str);
    ensure!(attribute("BGP.as_path") == "65000 65010", "{there:?}");
    ensure!(
        attribute("BGP.community").contains("(65000,2)"),
        "{there:?}"
    );
    ensure!(bird.best(CUSTOMER).is_err(), "BIRD still has {CUSTOMER}");
    ensure!(bird.best(V6).is_err(), "BIRD still has {V6}");
    Ok(())
}

fn route(agent: &Agent, words: &[&str]) -> Result<Value, Why> {
    let answer = agent.cli(words.iter().copied())?;
    let routes = answer["routes"].as_array().map(Vec::as_slice);
    let [route] = routes.unwrap_or_default() else {
        return Err(format!("{words:?}: not one route: {answer}").into());
    };
    Ok(route.clone())
}

const RULES: &str = r#"
[prefix_list.customers]
prefixes = ["10.64.0.0/16 le 24", "2001:db8:64::/48"]

[[policy.above-in.rule]]
name = "our own space"
match = { prefix = "pools" }
then = "reject"

[[policy.above-in.rule]]
name = "not ours to grant"
set = { strip_community = "65000:*" }
then = "next"

[[policy.above-in.rule]]
name = "customers"
match = { prefix = "customers", as_path = "65010" }
set = { local_pref = 200, add_community = "65000:64" }
then = "accept"

[[policy.below-out.rule]]
name = "clean"
set = { strip_community = "65000:*" }
then = "next"

[[policy.below-out.rule]]
name = "customers"
match = { local_pref = 200 }
set = { prepend = 2, med = 7 }
then = "accept"

[[policy.above-out.rule]]
name = "from below"
match = { source = "external", as_path = "65020" }
set = { next_hop = "192.0.2.80" }
then = "accept"
"#;

const OTHER_RULES: &str = r#"
[[policy.above-in.rule]]
name = "private"
match = { prefix = "10.65.0.0/16" }
set = { add_community = "65000:2" }
then = "accept"

[[policy.below-out.rule]]
name = "all"
then = "accept"

[[policy.above-out.rule]]
name = "none"
then = "reject"
"#;

fn agent_config(up: &Link, down: &Link, rules: &str) -> String {
    format!(
        "[bgp]\nasn = 65000\nconnect_retry = 1\n[fib]\ninstall = false\n\
         [[pool]]\ncidr = \"10.1.0.0/16\"\n\
         [[peer]]\nname = \"above\"\naddress = \"{}\"\nasn = 65010\n\
         import = \"policy:above-in\"\nexport = \"policy:above-out\"\n\
         [[peer]]\nname = \"below\"\naddress = \"{}\"\nasn = 65020\n\
         import = \"all\"\nexport = \"policy:below-out\"\n{rules}",
        up.b.v4, down.b.v4,
    )
}

fn frr_config(up: &Link) -> String {
    format!(
        "route-map tags permit 10\n set community 65010:100 65000:1\n\
         router bgp 65010\n bgp router-id 1.1.1.1\n no bgp ebgp-requires-policy\n\
         no bgp network import-check\n\
         neighbor {us} remote-as 65000\n neighbor {us} timers connect 1\n\
         address-family ipv4 unicast\n network {CUSTOMER} route-map tags\n network {PRIVATE}\n\
         network {OURS}\n exit-address-family\n\
         address-family ipv6 unicast\n network {V6}\n neighbor {us} activate\n\
         exit-address-family\n",
        us = up.a.v4,
    )
}

fn bird_config(down: &Link) -> String {
    format!(
        "router id 2.2.2.2;
protocol device {{ scan time 1; }}
protocol static {{ ipv4; route 10.80.0.0/16 blackhole; }}
protocol bgp middle {{ local as 65020; neighbor {} as 65000; connect retry time 1; connect delay time 1;
  ipv4 {{ import all; export where source = RTS_STATIC; }};
  ipv6 {{ import all; export none; }}; }}
",
        down.a.v4
    )
}
