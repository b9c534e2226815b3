//! What a neighbour sees of the protocol itself: a table that is sent again because it was asked
//! for, and where a table ends.

use std::collections::BTreeMap;

use serde_json::Value;
use wayleave_lab::{Why, ensure, lab};

use crate::middle::{BIRD_NETWORKS, CONVERGED, FRR_NETWORKS, Fabric, Middle, bird_config, peers};
use crate::scripted::{ROUTE_REFRESH, Scripted, UPDATE};

/// What BIRD has beside [`BIRD_NETWORKS`].
const MORE: [&str; 3] = ["198.51.100.2/32", "198.51.100.3/32", "2001:db8:2::2/128"];

#[test]
fn a_table_that_frr_asks_for_again_is_sent_again_and_nobody_else_is_troubled() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        for address in MORE {
            fabric.bhost.address("lo", address)?;
        }
        lab.snapshot()?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)?;
        let all = || BIRD_NETWORKS.into_iter().chain(MORE);
        let has_all = |there: bool| {
            lab.until(CONVERGED, &format!("FRR to have them: {there}"), || {
                for prefix in all() {
                    let found = fabric.frr.best(prefix).is_ok();
                    ensure!(found == there, "{prefix}: {found}");
                }
                Ok(())
            })
        };
        has_all(true)?;
        let [us4, us6] = fabric.us_at_frr;
        let filter = |no: &str| -> Result<(), Why> {
            Ok(fabric.frr.configure(&[
                "route-map NONE deny 10",
                "exit",
                "router bgp 65001",
                "address-family ipv4 unicast",
                &format!("{no} neighbor {us4} route-map NONE in"),
                "exit-address-family",
                "address-family ipv6 unicast",
                &format!("{no} neighbor {us6} route-map NONE in"),
            ])?)
        };
        // What its filter refuses FRR forgets: it can only come back from us.
        filter("")?;
        has_all(false)?;
        let before = messages(&fabric)?;
        filter("no")?;
        fabric.frr.vtysh("clear bgp * soft in")?;
        has_all(true)?;

        let neighbors = fabric.frr.vtysh_json("show bgp neighbors json")?;
        let shown = |name: &str| {
            let ours = if name == "frr4" { us4 } else { us6 };
            neighbors[ours.to_string()]["messageStats"].clone()
        };
        for name in ["frr4", "frr6"] {
            let (asked, got) = (
                &shown(name)["routeRefreshSent"],
                &shown(name)["routeRefreshRecv"],
            );
            // We ask for nothing: what comes are the marks around each table (RFC 7313, 3.2).
            let marks = asked.as_u64().map(|asked| 2 * asked);
            ensure!(
                got.as_u64() == marks,
                "FRR asked {asked} times and heard {got} marks"
            );
            let after = messages(&fabric)?;
            ensure!(after[name].asked > before[name].asked, "{name} did not ask");
            ensure!(
                *asked == after[name].asked,
                "asked {asked} times, we heard {:?}",
                after[name]
            );
            ensure!(
                after[name].told > before[name].told,
                "{name} was told nothing"
            );
        }
        undisturbed(&fabric, &before, ["bird4", "bird6"])
    });
}

#[test]
fn a_table_that_bird_asks_for_again_is_sent_again_and_nobody_else_is_troubled() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)?;
        let config = bird_config(65002, 65000, fabric.us_at_bird);
        let has_all = |there: bool| {
            lab.until(CONVERGED, &format!("BIRD to have them: {there}"), || {
                for prefix in FRR_NETWORKS {
                    let found = fabric.bird.best(prefix).is_ok();
                    ensure!(found == there, "{prefix}: {found}");
                }
                Ok(())
            })
        };
        // What its filter refuses BIRD forgets, and by itself it asks again when that changes.
        fabric
            .bird
            .configure(&config.replace("import all", "import none"))?;
        has_all(false)?;
        let before = messages(&fabric)?;
        fabric.bird.configure(&config)?;
        has_all(true)?;
        // And once more by command, for routes it has.
        let (asked, updates) = (messages(&fabric)?, import_updates(&fabric)?);
        fabric.bird.cli("reload in middle4")?;
        fabric.bird.cli("reload in middle6")?;
        lab.until(CONVERGED, "BIRD to be told again", || {
            for (name, now) in import_updates(&fabric)? {
                ensure!(now > updates[&name], "{name}: {now} updates");
            }
            Ok(())
        })?;
        let after = messages(&fabric)?;
        for name in ["bird4", "bird6"] {
            ensure!(
                asked[name].asked > before[name].asked,
                "{name} did not ask by itself"
            );
            ensure!(
                after[name].asked == asked[name].asked + 1,
                "{name} by command: {:?}",
                after[name]
            );
            ensure!(
                after[name].told > asked[name].told,
                "{name} was told nothing"
            );
        }
        undisturbed(&fabric, &before, ["frr4", "frr6"])
    });
}

/// How often BIRD was told of a route, by protocol.
fn import_updates(fabric: &Fabric) -> Result<BTreeMap<String, u64>, Why> {
    let mut counts = BTreeMap::new();
    for name in ["middle4", "middle6"] {
        let shown = fabric.bird.cli(&format!("show protocols all {name}"))?;
        let line = shown
            .lines()
            .find_map(|line| line.trim().strip_prefix("Import updates:"));
        let received = line.and_then(|line| line.split_whitespace().next());
        let received = received.ok_or_else(|| format!("no count of updates: {shown}"))?;
        counts.insert(name.to_owned(), received.parse()?);
    }
    Ok(counts)
}

/// Messages of one of our sessions.
#[derive(Debug, PartialEq)]
struct Messages {
    /// ROUTE-REFRESH heard.
    asked: u64,
    /// UPDATE said.
    told: u64,
    /// ROUTE-REFRESH said: marks around answers.
    asks: u64,
    established: u64,
}

fn messages(fabric: &Fabric) -> Result<BTreeMap<String, Messages>, Why> {
    let mut all = BTreeMap::new();
    for peer in peers(fabric.agent()?)? {
        let count = |value: &Value| value.as_u64().ok_or_else(|| format!("no count in {peer}"));
        let messages = Messages {
            asked: count(&peer["received"]["route_refresh"])?,
            told: count(&peer["sent"]["update"])?,
            asks: count(&peer["sent"]["route_refresh"])?,
            established: count(&peer["established_count"])?,
        };
        all.insert(
            peer["name"].as_str().unwrap_or_default().to_owned(),
            messages,
        );
    }
    Ok(all)
}

/// These sessions have heard and said nothing of it; we have asked nobody, and no session went down.
fn undisturbed(
    fabric: &Fabric,
    before: &BTreeMap<String, Messages>,
    others: [&str; 2],
) -> Result<(), Why> {
    let after = messages(fabric)?;
    for name in others {
        ensure!(
            after[name] == before[name],
            "{name}: {:?}, before {:?}",
            after[name],
            before[name]
        );
    }
    for (name, messages) in after {
        // Marks stand in pairs around answers (RFC 7313); we ask nobody.
        ensure!(
            messages.asks % 2 == 0 && messages.asks <= 2 * messages.asked,
            "{name} was asked by us: {messages:?}"
        );
        ensure!(messages.established == 1, "{name} went down: {messages:?}");
    }
    Ok(())
}

#[test]
fn stock_routers_see_where_our_tables_end_and_we_see_where_theirs_do() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)?;
        // BIRD says it in its log alone, and of sessions that come up from now on.
        for name in ["middle4", "middle6"] {
            fabric.bird.cli(&format!("debug {name} all"))?;
            fabric.bird.cli(&format!("restart {name}"))?;
        }
        let what = "every table to have ended on both sides";
        lab.until(CONVERGED, what, || ends_are_seen(&fabric))?;
        Ok(())
    });
}

fn ends_are_seen(fabric: &Fabric) -> Result<(), Why> {
    let neighbors = fabric.frr.vtysh_json("show bgp neighbors json")?;
    for (n, family) in ["ipv4", "ipv6"].into_iter().enumerate() {
        let info = &neighbors[fabric.us_at_frr[n].to_string()]["gracefulRestartInfo"];
        for direction in ["endOfRibSend", "endOfRibRecv"] {
            let there = &info[direction][format!("{family}Unicast")];
            ensure!(there == true, "FRR, {family}: {direction}: {info}");
        }
    }
    for peer in peers(fabric.agent()?)? {
        let name = peer["name"].as_str().unwrap_or_default();
        let family = if name.ends_with('4') { "ipv4" } else { "ipv6" };
        ensure!(
            peer[family]["end_of_rib"] == true,
            "{name}: {}",
            peer[family]
        );
        ensure!(peer["state"] == "Established", "{name}: {}", peer["state"]);
    }
    let log = fabric.bird.process().log();
    for (name, channel, prefix) in [
        ("middle4", "middle4.ipv4", FRR_NETWORKS[0]),
        ("middle6", "middle6.ipv6", FRR_NETWORKS[1]),
    ] {
        let at = |words: String| {
            log.find(&words)
                .ok_or_else(|| format!("BIRD did not say {words:?}"))
        };
        let up = at(format!("{name}: BGP session established"))?;
        let end = at(format!("{name}: Got END-OF-RIB"))?;
        let route = at(format!("{channel} > added [best] {prefix}"))?;
        ensure!(
            up < route && route < end,
            "{name}: the end came before {prefix}"
        );
        let ends = log.matches(&format!("{name}: Got END-OF-RIB")).count();
        ensure!(ends == 1, "{name}: {ends} ends");
        at(format!("{name}: Sending END-OF-RIB"))?;
    }
    Ok(())
}

#[test]
fn a_table_is_told_once_in_both_families_and_one_family_again_when_asked_for() {
    lab!(Agent).run(|lab| {
        let (us, far) = (lab.host("us")?, lab.host("far")?);
        let link = lab.link(&us, &far)?;
        let agent = lab.agent(
            &us,
            &format!(
                "[node]\nrouter_id = \"3.3.3.3\"\n[bgp]\nasn = 65000\n\
                 originate = [\"192.0.2.1/32\", \"192.0.2.2/32\", \"2001:db8:1::1/128\"]\n\
                 [fib]\ninstall = false\n\
                 [[peer]]\nname = \"far\"\naddress = \"{}\"\nasn = 65009\npassive = true\n\
                 import = \"none\"\nexport = \"all\"\n",
                link.b.v4
            ),
        )?;
        let mut far = Scripted::establish(&far, link.a.v4.into(), 65009, link.b.v4)?;
        let told = far.hear_table()?;
        let holds = |octets: &[u8]| {
            told.iter()
                .any(|body| body.windows(octets.len()).any(|w| w == octets))
        };
        for prefix in [
            &[32, 192, 0, 2, 1][..],
            &[32, 192, 0, 2, 2],
            &[128, 0x20, 1, 0xd, 0xb8, 0, 1],
        ] {
            ensure!(
                holds(prefix),
                "{prefix:?} was not told before the end: {told:?}"
            );
        }
        let is_v4 = |body: &&Vec<u8>| body.windows(5).any(|w| w[..4] == [32, 192, 0, 2]);
        let v4: Vec<_> = told.iter().filter(is_v4).collect();

        far.say(ROUTE_REFRESH, &[0, 1, 0, 1])?;
        let mut again = Vec::new();
        while again.len() < v4.len() {
            let (kind, body) = far.hear()?.ok_or("it closed")?;
            ensure!(kind != ROUTE_REFRESH, "it asks us: {body:?}");
            if kind == UPDATE && body.len() > 4 {
                again.push(body);
            }
        }
        ensure!(
            again.iter().collect::<Vec<_>>() == v4,
            "{again:?}, before {v4:?}"
        );
        // A family that was not negotiated, and a subtype nobody knows, are no reason to speak.
        far.say(ROUTE_REFRESH, &[0, 25, 0, 65])?;
        far.say(ROUTE_REFRESH, &[0, 1, 77, 1])?;
        let heard = || -> Result<Value, Why> { Ok(agent.api("/v1/peers/far")?) };
        lab.until(CONVERGED, "it to hear all three", || {
            let peer = heard()?;
            ensure!(
                peer["received"]["route_refresh"] == 3,
                "{}",
                peer["received"]
            );
            Ok(())
        })?;
        let peer = heard()?;
        // The table with its two ends, and IPv4 again.
        let expected = told.len() + 2 + v4.len();
        ensure!(
            peer["sent"]["update"] == expected,
            "{} UPDATEs, where {expected} are due",
            peer["sent"]["update"]
        );
        ensure!(peer["state"] == "Established", "{}", peer["last_error"]);
        ensure!(peer["sent"]["route_refresh"] == 0, "{}", peer["sent"]);
        Ok(())
    });
}
