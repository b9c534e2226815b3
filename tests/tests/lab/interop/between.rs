//! A daemon between two of our hosts, one session of each family to either: a service that one
//! registers is believed by the other, with every large community that it travels in.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use wayleave_lab::{Agent, Container, End, Host, Lab, Why, ensure};

use crate::interop::daemon::{Daemon, Families, Neighbour, Setup, set};
use crate::interop::ours::{ASN, CONVERGED, DAEMON_AS, chain, peer_config};
use crate::middle::peers;

/// The daemon is another AS between two, on a cable to either.
pub(crate) fn transit<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let (hosts, ends) = chain(lab)?;
    // It is asked to pass routes on, and not packets: three of the five have no table in the kernel.
    lab.declare_cut_off(&[&hosts[0]]);
    passes::<D>(lab, DAEMON_AS, [ASN, ASN + 10], &hosts, &ends)
}

/// The daemon reflects inside one AS, on one network: packets pass it by.
pub(crate) fn reflector<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let hosts = [lab.host("left")?, lab.host("mid")?, lab.host("right")?];
    let [left, mid, right] = &hosts;
    let switch = lab.switch("sw", &[left, mid, right])?;
    let end = |n: usize| switch.ends[n].clone();
    if !D::PASSES_ON {
        lab.declare_cut_off(&[left]);
    }
    let ends = [[end(0), end(1)], [end(2), end(1)]];
    passes::<D>(lab, ASN, [ASN, ASN], &hosts, &ends)
}

fn passes<D: Daemon>(
    lab: &Lab,
    asn: u32,
    numbers: [u32; 2],
    [left, far, right]: &[Host; 3],
    ends: &[[End; 2]; 2],
) -> Result<(), Why> {
    let mut neighbours = Vec::new();
    for ([ours, its], number) in ends.iter().zip(numbers) {
        for address in addresses(ours) {
            neighbours.push(Neighbour {
                asn: number,
                here: its.clone(),
                address,
                families: Families::One,
                client: true,
                password: None,
            });
        }
    }
    let setup = Setup {
        asn,
        id: Ipv4Addr::new(9, 9, 9, 9),
        neighbours,
        networks: Vec::new(),
        limit: None,
        next_hop_unset: false,
        more_large: 0,
        more: String::new(),
    };
    let daemon = D::start(lab, far, &setup)?;
    let [one, other] = [
        lab.agent(left, &config(1, numbers[0], &ends[0][1], asn))?,
        lab.agent(right, &config(2, numbers[1], &ends[1][1], asn))?,
    ];
    let web = lab.container(left, "web")?;
    attach(&one, &web)?;
    let mut there = BTreeSet::new();
    for address in web.addresses()? {
        let text = address.to_string();
        one.cli([
            "register",
            "web",
            "--address",
            &text,
            "--id",
            &text,
            "--port",
            "http=8080",
        ])?;
        there.insert(text);
    }
    if !D::PASSES_ON {
        return kept(lab, &daemon, &one, &other, &there);
    }
    lab.until(CONVERGED, "the service to be believed elsewhere", || {
        ensure!(
            believed(&other)? == there,
            "{:?}",
            other.cli(["endpoints"])?
        );
        Ok(())
    })?;
    for address in &there {
        let own = large(&one, "loc", address)?;
        // A mark, its name, its state, both halves of the key, and the record.
        ensure!(own.len() > 6, "{own:?}");
        let arrived = large(&other, "in", address)?;
        ensure!(arrived == own, "{arrived:?} and not {own:?}");
    }
    // It goes the same way.
    for address in &there {
        one.cli(["deregister", address])?;
    }
    lab.until(CONVERGED, "the service to be gone elsewhere", || {
        ensure!(
            believed(&other)?.is_empty(),
            "{:?}",
            other.cli(["endpoints"])?
        );
        Ok(())
    })?;
    Ok(())
}

/// The daemon heard it, and the other host, whose sessions are up, hears nothing of it.
fn kept<D: Daemon>(
    lab: &Lab,
    daemon: &D,
    one: &Agent,
    other: &Agent,
    there: &BTreeSet<String>,
) -> Result<(), Why> {
    lab.until(CONVERGED, "the daemon to hear of the service", || {
        for address in there {
            daemon.best(&host_route(address))?;
        }
        for agent in [one, other] {
            for peer in peers(agent)? {
                ensure!(peer["state"] == "Established", "{} is down", peer["name"]);
                // Whatever it has to say to begin with is said.
                let family = peer["name"].as_str().unwrap_or_default();
                ensure!(peer[family]["end_of_rib"] == true, "{}", peer[family]);
            }
        }
        Ok(())
    })?;
    for peer in peers(other)? {
        let family = peer["name"].as_str().unwrap_or_default();
        ensure!(peer[family]["received"] == 0, "{}", peer[family]);
    }
    Ok(())
}

/// The addresses of all endpoints of others that a host believes.
fn believed(agent: &Agent) -> Result<BTreeSet<String>, Why> {
    let answer = agent.cli(["endpoints"])?;
    let endpoints = answer["endpoints"]
        .as_array()
        .ok_or("no list of endpoints")?;
    let believed = endpoints
        .iter()
        .filter(|endpoint| endpoint["believed"] == true);
    Ok(set(
        believed.filter_map(|endpoint| endpoint["address"].as_str())
    ))
}

/// The large communities of the route of an address.
fn large(agent: &Agent, rib: &str, address: &str) -> Result<BTreeSet<String>, Why> {
    let prefix = host_route(address);
    let answer = agent.cli(["routes", "--rib", rib, &prefix])?;
    let communities = &answer["routes"][0]["attributes"]["large_communities"];
    let communities: &Vec<Value> = communities
        .as_array()
        .ok_or_else(|| format!("no large communities at {prefix}: {answer}"))?;
    Ok(set(communities.iter().filter_map(|text| text.as_str())))
}

fn host_route(address: &str) -> String {
    let length = if address.contains(':') { 128 } else { 32 };
    format!("{address}/{length}")
}

fn addresses(end: &End) -> [IpAddr; 2] {
    [end.v4.into(), end.v6.into()]
}

fn attach(agent: &Agent, container: &Container) -> Result<(), Why> {
    container.cni_add(&json!({
        "cniVersion": "1.1.0",
        "name": "fabric",
        "type": "wayleave-cni",
        "socket": agent.run_directory().join("cni.sock"),
    }))?;
    Ok(())
}

/// A host that announces its blocks and services, and believes those of others.
fn config(id: u8, asn: u32, there: &End, remote: u32) -> String {
    let mut text = format!(
        "[node]\nname = \"h{id}\"\nrouter_id = \"{id}.{id}.{id}.{id}\"\n\
         [bgp]\nasn = {asn}\nconnect_retry = 1\nhold_time = 9\n\
         [discovery]\nnumber = 4200000999\n\
         [[pool]]\ncidr = [\"10.1.0.0/16\", \"fd00:1::/48\"]\nblock_ipv6 = 64\n\
         [[block]]\nprefix = \"10.1.{id}.0/24\"\n[[block]]\nprefix = \"fd00:1:0:{id}::/64\"\n"
    );
    for (family, address) in ["ipv4", "ipv6"].into_iter().zip(addresses(there)) {
        let more = format!("families = [\"{family}\"]\ndiscovery = true");
        text += &peer_config(family, address, remote, &more);
    }
    text
}
