//! How names reach those who ask: over which transports, in which communities, and from which host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;

use serde_json::Value;
use wayleave_lab::{Container, Lab, Why, ensure, lab};

use crate::fabric::{Between, CONVERGED, Fabric, Node};

const GA: u32 = 4_200_000_999;
const NAMES: &str = "[discovery]\nnumber = 4200000999\n\
                     [dns]\nlisten = [\"{uplink}:53\", \"[{uplink6}]:53\"]\n";
const WEB: &str = "web.default.svc.wayleave.internal";

#[test]
fn a_container_is_answered_alike_over_udp_and_tcp_and_over_both_families() {
    lab!(Agent, Cni, Dig).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 2, NAMES)?;
        let [one, other] = [&fabric.nodes[0], &fabric.nodes[1]];
        let (a, b) = (one.attach(lab, "web")?, one.attach(lab, "two")?);
        let client = other.attach(lab, "cli")?;
        register(one, &[&a, &b])?;
        let there: BTreeSet<IpAddr> = a.addresses()?.into_iter().chain(b.addresses()?).collect();
        lab.until(CONVERGED, "the name to be known elsewhere", || {
            resolves_to(other, &client, &there)
        })?;
        let ask = |server: IpAddr, transport: &str, name: &str, kind: &str| {
            Dig::ask(&client, server, &[transport], name, kind)
        };
        for server in [other.uplink, other.uplink6] {
            for (option, transport) in [("+notcp", "(UDP)"), ("+tcp", "(TCP)")] {
                for kind in ["A", "AAAA"] {
                    let answer = ask(server, option, WEB, kind)?;
                    let expected = there.iter().filter(|ip| ip.is_ipv4() == (kind == "A"));
                    ensure!(answer.used(transport), "not {transport}: {}", answer.text);
                    ensure!(
                        answer.addresses()? == expected.copied().collect(),
                        "{server} {option} {kind}: {}",
                        answer.text
                    );
                }
                let srv = ask(server, option, &format!("_http._tcp.{WEB}"), "SRV")?;
                ensure!(srv.used(transport), "not {transport}: {}", srv.text);
                ensure!(srv.data().len() == 4, "{}", srv.text);
                let mut targets = BTreeSet::new();
                for record in srv.data() {
                    let [_, _, port, target] = record.split(' ').collect::<Vec<_>>()[..] else {
                        return Err(format!("no SRV record: {record}").into());
                    };
                    ensure!(port == "8080", "port {port}");
                    for kind in ["A", "AAAA"] {
                        targets.append(&mut ask(server, option, target, kind)?.addresses()?);
                    }
                }
                ensure!(
                    targets == there,
                    "{server} {option}: SRV leads to {targets:?}"
                );
                let nobody = ask(server, option, "nobody.default.svc.wayleave.internal", "A")?;
                ensure!(nobody.status("NXDOMAIN"), "{}", nobody.text);
            }
        }
        Ok(())
    });
}

#[test]
fn an_answer_too_long_for_a_datagram_is_cut_and_whole_over_tcp() {
    /// Of 28 octets each: more than 512, less than 1,232.
    const COUNT: usize = 24;
    lab!(Agent, Cni, Dig).run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 2, NAMES)?;
        let [one, other] = [&fabric.nodes[0], &fabric.nodes[1]];
        let mut backends = Vec::new();
        for n in 0..COUNT {
            backends.push(one.attach(lab, &n.to_string())?);
        }
        let client = other.attach(lab, "cli")?;
        register(one, &backends.iter().collect::<Vec<_>>())?;
        let mut there = BTreeSet::new();
        for backend in &backends {
            there.extend(backend.addresses()?);
        }
        lab.until(CONVERGED, "the name to be known elsewhere", || {
            resolves_to(other, &client, &there)
        })?;
        let v6: BTreeSet<IpAddr> = there.into_iter().filter(IpAddr::is_ipv6).collect();
        let ask = |options: &[&str]| Dig::ask(&client, other.uplink, options, WEB, "AAAA");

        // A resolver that takes 512 octets and does not ask again has some of them.
        let cut = ask(&["+noedns", "+ignore"])?;
        ensure!(cut.cut() && cut.used("(UDP)"), "{}", cut.text);
        let some = cut.addresses()?;
        ensure!(
            !some.is_empty() && some.len() < COUNT && some.is_subset(&v6),
            "{} of {COUNT}: {}",
            some.len(),
            cut.text
        );
        // One that does ask again has all.
        let whole = ask(&["+noedns"])?;
        ensure!(whole.used("(TCP)") && !whole.cut(), "{}", whole.text);
        ensure!(
            whole.text.contains("retrying in TCP mode"),
            "{}",
            whole.text
        );
        ensure!(whole.addresses()? == v6, "{}", whole.text);
        // And one that takes more at once need not.
        let large = ask(&["+bufsize=1232"])?;
        ensure!(large.used("(UDP)") && !large.cut(), "{}", large.text);
        ensure!(large.addresses()? == v6, "{}", large.text);
        Ok(())
    });
}

#[test]
fn a_service_moves_to_another_host_through_frr() {
    lab!(Frr, Agent, Cni, Dig).run(|lab| moves(lab, Between::Frr));
}

#[test]
fn a_service_moves_to_another_host_through_bird() {
    lab!(Bird, Agent, Cni, Dig).run(|lab| moves(lab, Between::Bird));
}

/// It moves there and back, and whoever asks meanwhile has an answer.
fn moves(lab: &Lab, between: Between) -> Result<(), Why> {
    let fabric = Fabric::start(lab, between, 3, NAMES)?;
    let [one, other, third] = [&fabric.nodes[0], &fabric.nodes[1], &fabric.nodes[2]];
    let (a, b) = (one.attach(lab, "web")?, other.attach(lab, "web")?);
    let client = third.attach(lab, "cli")?;
    let _serve = (a.serve(8080)?, b.serve(8080)?);
    register(one, &[&a])?;
    let at_a: BTreeSet<IpAddr> = a.addresses()?.into_iter().collect();
    let at_b: BTreeSet<IpAddr> = b.addresses()?.into_iter().collect();
    lab.until(CONVERGED, "the name to be known elsewhere", || {
        resolves_to(third, &client, &at_a)
    })?;
    let both: BTreeSet<IpAddr> = at_a.union(&at_b).copied().collect();
    for (to, container, from, there) in [(other, &b, one, &at_b), (one, &a, other, &at_a)] {
        let mut empty = 0;
        let mut turns_to = |expected: &BTreeSet<IpAddr>| {
            lab.until(CONVERGED, &format!("{WEB} to be {expected:?}"), || {
                empty += u32::from(found(third, &client)?.is_empty());
                resolves_to(third, &client, expected)
            })
        };
        register(to, &[container])?;
        turns_to(&both)?;
        from.agent.cli(["deregister", "web"])?;
        turns_to(there)?;
        ensure!(empty == 0, "{empty} questions had no answer");
        for address in there {
            let by = client.tcp(*address, 8080)?.by;
            ensure!(by == container.id(), "{by} answers at {address}");
        }
        // The hosts it left and came to agree with the third.
        for (node, asks) in [(one, &a), (other, &b)] {
            lab.until(CONVERGED, "all hosts to agree", || {
                resolves_to(node, asks, there)
            })?;
        }
    }
    Ok(())
}

#[test]
fn communities_of_a_host_are_what_frr_shows_of_them() {
    lab!(Frr, Agent, Cni, Dig).run(|lab| communities(lab, Between::Frr));
}

#[test]
fn communities_of_a_host_are_what_bird_shows_of_them() {
    lab!(Bird, Agent, Cni, Dig).run(|lab| communities(lab, Between::Bird));
}

/// Everything that a host says of its blocks, its endpoints and itself stands at the router and at
/// another host as it was said, the host's key on each.
fn communities(lab: &Lab, between: Between) -> Result<(), Why> {
    let fabric = Fabric::start(lab, between, 2, NAMES)?;
    let [one, other] = [&fabric.nodes[0], &fabric.nodes[1]];
    let (a, client) = (one.attach(lab, "web")?, other.attach(lab, "cli")?);
    register(one, &[&a])?;
    let there: BTreeSet<IpAddr> = a.addresses()?.into_iter().collect();
    lab.until(CONVERGED, "the name to be known elsewhere", || {
        resolves_to(other, &client, &there)
    })?;

    let said = own_communities(one)?;
    let mut keys = BTreeSet::new();
    for (prefix, communities) in &said {
        lab.until(
            CONVERGED,
            &format!("{prefix} to be elsewhere as it was said"),
            || {
                let shown = shown_by_router(&fabric, prefix)?;
                ensure!(
                    shown == *communities,
                    "the router: {shown:?} and not {communities:?}"
                );
                let heard = heard_by(other, prefix)?;
                ensure!(
                    heard == *communities,
                    "h2: {heard:?} and not {communities:?}"
                );
                Ok(())
            },
        )?;
        keys.insert(key(communities).ok_or_else(|| format!("{prefix}: no key: {communities:?}"))?);
    }
    ensure!(keys.len() == 1, "one host, and keys {keys:?}");
    for (_, communities) in own_communities(other)? {
        let theirs = key(&communities).ok_or("no key on a route of h2")?;
        ensure!(!keys.contains(&theirs), "two hosts with the key {theirs:?}");
    }

    // Nothing was left out: blocks, endpoints, and the carrier, which alone has a mark and no name.
    let of = |prefix: &str| {
        said.get(prefix)
            .ok_or_else(|| format!("nothing on {prefix}: {said:?}"))
    };
    for block in ["10.1.1.0/24", "fd00:1:0:1::/64"] {
        ensure!(
            marks(of(block)?, 1).is_empty(),
            "a block is marked as an endpoint"
        );
    }
    for address in &there {
        let endpoint = of(&format!(
            "{address}/{}",
            if address.is_ipv4() { 32 } else { 128 }
        ))?;
        for plane in [1, 2, 3, 6] {
            ensure!(marks(endpoint, plane).len() == 1, "{plane} of {endpoint:?}");
        }
        let record = endpoint.iter().filter(|text| is_record(text)).count();
        ensure!(record > 1, "no record in {endpoint:?}");
    }
    let carriers = said
        .values()
        .filter(|said| !marks(said, 1).is_empty() && marks(said, 3).is_empty());
    ensure!(carriers.count() == 1, "not one carrier: {said:?}");
    Ok(())
}

type Communities = BTreeSet<String>;

/// The large communities of what a host announces itself, by prefix.
fn own_communities(node: &Node) -> Result<BTreeMap<String, Communities>, Why> {
    let mut own = BTreeMap::new();
    for family in ["ipv4", "ipv6"] {
        let page = node.agent.api(&format!("/v1/routes?family={family}"))?;
        for route in page["routes"].as_array().ok_or("no list of routes")? {
            let communities = of_route(route);
            let prefix = route["prefix"].as_str().unwrap_or_default().to_owned();
            // What `originate` names is the operator's, and said without a word.
            if route["peer"].is_null() && !communities.is_empty() {
                own.insert(prefix, communities);
            }
        }
    }
    Ok(own)
}

fn heard_by(node: &Node, prefix: &str) -> Result<Communities, Why> {
    let page = node
        .agent
        .api(&format!("/v1/routes?rib=in&prefix={prefix}"))?;
    Ok(of_route(&page["routes"][0]))
}

fn of_route(route: &Value) -> Communities {
    let list = route["attributes"]["large_communities"].as_array();
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn shown_by_router(fabric: &Fabric, prefix: &str) -> Result<Communities, Why> {
    let text = match (&fabric.frr, &fabric.bird) {
        (Some(frr), _) => {
            let path = frr.best(prefix)?;
            let text = path["largeCommunity"]["string"].as_str();
            text.unwrap_or_default().to_owned()
        }
        // `(1, 2, 3) (1, 2, 4)`
        (None, Some(bird)) => {
            let route = bird.best(prefix)?;
            let text = route.get("BGP.large_community").cloned();
            text.unwrap_or_default()
                .replace(", ", ":")
                .replace(['(', ')'], "")
        }
        (None, None) => return Err("no router".into()),
    };
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// The values under a small second field.
fn marks(communities: &Communities, second: u32) -> Vec<u32> {
    let start = format!("{GA}:{second}:");
    let values = communities
        .iter()
        .filter_map(|text| text.strip_prefix(&start));
    values.filter_map(|value| value.parse().ok()).collect()
}

/// The key of the node: exactly one high and one low half.
fn key(communities: &Communities) -> Option<(u32, u32)> {
    match (&marks(communities, 12)[..], &marks(communities, 13)[..]) {
        ([high], [low]) => Some((*high, *low)),
        _ => None,
    }
}

/// A piece of an endpoint's record: the second field has its top bit set.
fn is_record(community: &str) -> bool {
    let second = community
        .split(':')
        .nth(1)
        .and_then(|text| text.parse::<u32>().ok());
    second.is_some_and(|second| second >= 1 << 31)
}

/// Registers containers' service at their host, healthy without a check.
fn register(node: &Node, containers: &[&Container]) -> Result<(), Why> {
    let mut addresses = Vec::new();
    for container in containers {
        let own = container.addresses()?;
        addresses.extend(own.iter().map(|address| format!("\"{address}\"")));
    }
    let text = format!(
        "[[service]]\nname = \"web\"\naddresses = [{}]\nports = [{{ name = \"http\", port = 8080 }}]\n",
        addresses.join(", ")
    );
    let file = node.agent.run_directory().join("web.toml");
    fs::write(&file, text)?;
    node.agent
        .cli(["register", "--file", &file.display().to_string()])?;
    Ok(())
}

/// All addresses that the name server of a host has for the name.
fn found(node: &Node, client: &Container) -> Result<BTreeSet<IpAddr>, Why> {
    let mut found = BTreeSet::new();
    for kind in ["A", "AAAA"] {
        found.append(&mut Dig::ask(client, node.uplink, &[], WEB, kind)?.addresses()?);
    }
    Ok(found)
}

fn resolves_to(node: &Node, client: &Container, expected: &BTreeSet<IpAddr>) -> Result<(), Why> {
    let found = found(node, client)?;
    ensure!(found == *expected, "{} says {found:?}", node.host.name());
    Ok(())
}

/// What `dig` printed: answers, and comments on how it came by them.
struct Dig {
    text: String,
}

impl Dig {
    /// Asks a name server from inside a container.
    fn ask(
        client: &Container,
        server: IpAddr,
        options: &[&str],
        name: &str,
        kind: &str,
    ) -> Result<Self, Why> {
        let server = format!("@{server}");
        let fixed = [
            "dig",
            "+time=2",
            "+tries=1",
            "+noadditional",
            &server,
            name,
            kind,
        ];
        let text = client.inside().run(fixed.iter().chain(options))?;
        Ok(Self { text })
    }

    fn used(&self, transport: &str) -> bool {
        let mut lines = self.text.lines();
        lines.any(|line| line.starts_with(";; SERVER:") && line.ends_with(transport))
    }

    fn status(&self, status: &str) -> bool {
        self.text.contains(&format!("status: {status}"))
    }

    /// The flag TC.
    fn cut(&self) -> bool {
        let flags = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix(";; flags:"));
        let flags = flags.and_then(|flags| flags.split(';').next());
        flags.is_some_and(|flags| flags.split(' ').any(|flag| flag == "tc"))
    }

    /// The data of the records of the answer.
    fn data(&self) -> Vec<String> {
        let lines = self.text.lines().filter(|line| !line.starts_with(';'));
        let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields
            .filter(|fields| fields.len() > 4 && fields[3] != "SOA")
            .map(|fields| fields[4..].join(" "))
            .collect()
    }

    fn addresses(&self) -> Result<BTreeSet<IpAddr>, Why> {
        let parsed = self.data().into_iter().map(|text| Ok(text.parse()?));
        parsed.collect()
    }
}
