//! MRT (RFC 6396): what we dump is what bgpdump shows, and what other daemons dump is what we show.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use wayleave_lab::{Agent, Lab, Why, ensure, lab};

use crate::interop::daemon::{COMMUNITIES, Daemon, LARGE, is_ipv6, networks, set};
use crate::interop::ours::{ASN, CONVERGED, DAEMON_AS, OWN, Pair};
use crate::interop::{bird, frr, gobgp, openbgpd};

/// Where the daemons write: some of them are not root then.
const DIRECTORY: &str = "/run/lab/dumps";

fn place(name: &str) -> Result<String, Why> {
    fs::create_dir_all(DIRECTORY)?;
    fs::set_permissions(DIRECTORY, Permissions::from_mode(0o777))?;
    Ok(format!("{DIRECTORY}/{name}"))
}

#[test]
fn what_we_dump_of_routes_heard_is_what_bgpdump_shows() {
    lab!(Bird, Agent, Bgpdump).run(|lab| {
        let pair = Pair::<bird::Tested>::start(lab, |_| {}, "")?;
        pair.wait_for_routes(lab)?;
        let file = place("heard.mrt")?;
        let told = pair.agent.cli(["bgp", "dump", "--rib", "in", &file])?;
        ensure!(told["paths"] == 2 && told["left_out"] == 0, "{told}");
        let shown = bgpdump(&pair, &["-m", &file])?;
        let lines: Vec<&str> = shown.lines().collect();
        ensure!(lines.len() == 2, "{shown}");
        let peer = pair.link.a.v4.to_string();
        for (line, prefix) in lines.iter().zip(networks(1)) {
            let fields: Vec<&str> = line.split('|').collect();
            let hop = next_hop(&pair, &prefix);
            let expected = [
                peer.as_str(),
                "4200000001",
                &prefix,
                "4200000001 4200000001",
                "IGP",
                &hop,
                "0",
                "50",
            ];
            ensure!(
                fields.get(3..11) == Some(&expected),
                "{line}: not {expected:?}"
            );
            let communities = fields.get(11).copied().unwrap_or_default();
            ensure!(set(communities.split(' ')) == set(COMMUNITIES), "{line}");
        }
        // Large communities, and the time it was heard, it shows only at length.
        let shown = bgpdump(&pair, &[&file])?;
        let large = format!("LARGE_COMMUNITY: {}", LARGE.join(" "));
        ensure!(shown.matches(&large).count() == 2, "{shown}");
        Ok(())
    });
}

#[test]
fn what_we_dump_of_the_best_routes_is_what_bgpdump_shows() {
    lab!(Bird, Agent, Bgpdump).run(|lab| {
        let pair = Pair::<bird::Tested>::start(lab, |_| {}, "")?;
        pair.wait_for_routes(lab)?;
        let file = place("best.mrt")?;
        pair.agent.cli(["bgp", "dump", &file])?;
        let shown = bgpdump(&pair, &["-m", &file])?;
        let daemon = pair.link.a.v4.to_string();
        let mut found = BTreeSet::new();
        for line in shown.lines() {
            let fields: Vec<&str> = line.split('|').collect();
            let [_, _, _, peer, asn, prefix, ..] = fields[..] else {
                return Err(format!("not understood: {line}").into());
            };
            found.insert((prefix.to_owned(), peer.to_owned(), asn.to_owned()));
        }
        let theirs = networks(1).map(|prefix| (prefix, daemon.clone(), DAEMON_AS.to_string()));
        let ours = OWN.map(|prefix| (prefix.to_owned(), "0.0.0.0".to_owned(), ASN.to_string()));
        ensure!(found == theirs.into_iter().chain(ours).collect(), "{shown}");
        Ok(())
    });
}

#[test]
fn a_table_and_messages_of_bird_are_read() {
    lab!(Bird, Agent).run(|lab| {
        let (table, messages) = (place("table.mrt")?, place("messages.mrt")?);
        let more = format!("mrtdump \"{messages}\";\nmrtdump protocols {{ states, messages }};\n");
        let pair = Pair::<bird::Tested>::start(lab, |setup| setup.more = more, "")?;
        pair.wait_for_routes(lab)?;
        for name in ["master4", "master6"] {
            let to = format!("{table}.{name}");
            pair.daemon.dump(name, &to)?;
            lab.until(CONVERGED, "BIRD to have written it", || {
                let records = read(&pair.agent, &to)?;
                is_table(&pair, &records)
            })?;
        }
        heard_us(lab, &pair, &messages)
    });
}

#[test]
fn a_table_and_messages_of_frr_are_read() {
    lab!(Frr, Agent).run(|lab| {
        let (table, messages) = (place("table.mrt")?, place("messages.mrt")?);
        let more = format!("exit\ndump bgp all-et {messages}\ndump bgp routes-mrt {table} 1\n");
        let pair = Pair::<frr::Tested>::start(lab, |setup| setup.more = more, "")?;
        pair.wait_for_routes(lab)?;
        lab.until(CONVERGED, "FRR to have written its table", || {
            is_table(&pair, &read(&pair.agent, &table)?)
        })?;
        heard_us(lab, &pair, &messages)
    });
}

#[test]
fn a_table_and_messages_of_openbgpd_are_read() {
    lab!(Agent).run(|lab| {
        if let Some(why) = <openbgpd::Tested as Daemon>::missing() {
            return lab.skip(why);
        }
        let (table, messages) = (place("table.mrt")?, place("messages.mrt")?);
        let more = format!("dump table-v2 \"{table}\" 1\ndump all in \"{messages}\"\n");
        let pair = Pair::<openbgpd::Tested>::start(lab, |setup| setup.more = more, "")?;
        pair.wait_for_routes(lab)?;
        lab.until(CONVERGED, "OpenBGPD to have written its table", || {
            is_table(&pair, &read(&pair.agent, &table)?)
        })?;
        heard_us(lab, &pair, &messages)
    });
}

/// Its tables it writes once a minute at most.
#[test]
fn messages_of_gobgp_are_read() {
    lab!(Agent).run(|lab| {
        if let Some(why) = <gobgp::Tested as Daemon>::missing() {
            return lab.skip(why);
        }
        let messages = place("messages.mrt")?;
        let more = format!(
            "[[mrt-dump]]\n  [mrt-dump.config]\n    dump-type = \"updates\"\n    \
             file-name = \"{messages}\"\n"
        );
        let pair = Pair::<gobgp::Tested>::start(lab, |setup| setup.more = more, "")?;
        pair.wait_for_routes(lab)?;
        heard_us(lab, &pair, &messages)
    });
}

fn bgpdump<D>(pair: &Pair<D>, words: &[&str]) -> Result<String, Why> {
    let words = ["bgpdump"].iter().chain(words);
    Ok(pair.agent.host().run(words)?)
}

fn next_hop<D>(pair: &Pair<D>, prefix: &str) -> String {
    match is_ipv6(prefix) {
        true => pair.link.a.v6.to_string(),
        false => pair.link.a.v4.to_string(),
    }
}

/// The records of a file, each of them understood.
fn read(agent: &Agent, file: &str) -> Result<Vec<Value>, Why> {
    let text = agent.cli_text(["bgp", "mrt", file])?;
    let records = text.lines().map(serde_json::from_str);
    let records: Vec<Value> = records.collect::<Result<_, _>>()?;
    for record in &records {
        ensure!(
            record["error"].is_null() && record["hex"].is_null(),
            "{record}"
        );
    }
    Ok(records)
}

/// A table of the daemon, with its networks and ours.
fn is_table<D>(pair: &Pair<D>, records: &[Value]) -> Result<(), Why> {
    let first = records.first().ok_or("an empty file")?;
    ensure!(first["subtype"] == "PEER_INDEX_TABLE", "{first}");
    let us = pair.link.b.v4.to_string();
    let routes = records.iter().filter(|record| record["prefix"].is_string());
    let mut ours = 0;
    for record in routes {
        let prefix = record["prefix"].as_str().unwrap_or_default();
        ensure!(
            OWN.contains(&prefix) || networks(1).contains(&prefix.to_owned()),
            "{record}"
        );
        if !OWN.contains(&prefix) {
            continue;
        }
        let entries = record["entries"].as_array().ok_or("no entries")?;
        let of_us = entries.iter().find(|entry| entry["peer"]["address"] == *us);
        let entry = of_us.ok_or_else(|| format!("not from us: {record}"))?;
        ensure!(
            entry["peer"]["asn"] == ASN && entry["peer"]["router_id"] == "3.3.3.3",
            "{entry}"
        );
        ensure!(entry["problems"].is_null(), "{entry}");
        let path = &entry["attributes"]["as_path"][0]["sequence"];
        ensure!(path[0] == ASN, "{entry}");
        let hop = match is_ipv6(prefix) {
            true => pair.link.b.v6.to_string(),
            false => us.clone(),
        };
        ensure!(entry["next_hops"][0] == *hop, "{entry}");
        ours += 1;
    }
    ensure!(ours > 0, "nothing of ours in {records:?}");
    Ok(())
}

/// Waits until the daemon has written what it has heard of us.
fn heard_us<D>(lab: &Lab, pair: &Pair<D>, file: &str) -> Result<(), Why> {
    lab.until(CONVERGED, "what we said to be written", || {
        are_messages(pair, &read(&pair.agent, file)?)
    })?;
    Ok(())
}

/// The messages of our session, as the daemon has heard them.
fn are_messages<D>(pair: &Pair<D>, records: &[Value]) -> Result<(), Why> {
    let us = pair.link.b.v4.to_string();
    let heard = |kind: &'static str| {
        records.iter().filter(move |record| {
            record["direction"] == "received" && record["message"]["type"] == kind
        })
    };
    for record in heard("OPEN").chain(heard("UPDATE")) {
        ensure!(record["peer"]["address"] == *us, "{record}");
        ensure!(record["message"]["verdict"] == "ok", "{record}");
    }
    let announced: BTreeSet<&str> = heard("UPDATE")
        .flat_map(|record| {
            let update = &record["message"]["update"];
            let lists = [&update["nlri"], &update["attributes"]["mp_reach"]["nlri"]];
            lists
                .into_iter()
                .flat_map(|list| list.as_array().into_iter().flatten())
        })
        .filter_map(|path| path["prefix"].as_str())
        .collect();
    ensure!(announced == BTreeSet::from(OWN), "{announced:?}");
    Ok(())
}
