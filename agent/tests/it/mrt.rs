//! `wayleave bgp dump` and `wayleave bgp mrt`: files from the agent's answers, and what is shown of
//! files. What other programs make of them, and of theirs we, the labs show (`lab/mrt`).

use std::{
    fs,
    process::{Command, Output},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    pages::answering,
    place::{Agent, Directory, wayleave},
};

const CONFIG: &str = r#"
[node]
name = "h1"
router_id = "192.0.2.1"
[bgp]
asn = 65001
listen = []
originate = ["10.7.0.0/16", "fd00:7::/32"]
[[peer]]
name = "tor"
address = "192.0.2.9"
asn = 65002
disabled = true
[fib]
install = false
"#;

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

fn objects(octets: &[u8]) -> Vec<Value> {
    let read = |line| serde_json::from_str(line).unwrap();
    text(octets).lines().map(read).collect()
}

/// `wayleave bgp mrt`, which needs no agent.
fn mrt(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wayleave"))
        .args(["bgp", "mrt"])
        .args(words)
        .output()
        .unwrap()
}

/// A record: its type, its subtype and the rest in hexadecimal.
fn record(kind: u16, subtype: u16, body: &str) -> Vec<u8> {
    let digits: Vec<char> = body
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .collect();
    let octet = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    let body: Vec<u8> = digits.chunks(2).map(octet).collect();
    let mut out = 1_300_475_700_u32.to_be_bytes().to_vec();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&subtype.to_be_bytes());
    out.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&body);
    out
}

const KEEPALIVE: &str = "ffffffffffffffffffffffffffffffff001304";
const SESSION: &str = "0000fbf0 0000fbf1 0000 0001 c0000255 c6336404";

fn message() -> Vec<u8> {
    record(17, 4, &format!("0001e240 {SESSION} {KEEPALIVE}"))
}

#[test]
fn routes_of_this_host_are_dumped_and_read_back() {
    let agent = Agent::start(CONFIG);
    let file = agent.directory().path().join("routes.mrt");
    let told = agent.cli(&["bgp", "dump", file.to_str().unwrap()]);
    assert_eq!(told["view"], "Loc-RIB");
    assert_eq!(
        (&told["prefixes"], &told["paths"], &told["peers"]),
        (&json!(2), &json!(2), &json!(2))
    );
    assert_eq!(told["left_out"], 0);
    let shown = mrt(&[file.to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let [table, v4, v6] = &objects(&shown.stdout)[..] else {
        panic!("{}", text(&shown.stdout))
    };
    assert_eq!(table["subtype"], "PEER_INDEX_TABLE");
    assert_eq!(
        (&table["collector"], &table["view"]),
        (&json!("192.0.2.1"), &json!("Loc-RIB"))
    );
    assert_eq!(
        table["peers"],
        json!([
            {"index": 0, "address": "0.0.0.0", "asn": 65001, "router_id": "192.0.2.1"},
            {"index": 1, "address": "192.0.2.9", "asn": 65002, "router_id": "0.0.0.0"},
        ])
    );
    assert_eq!(
        (&v4["prefix"], &v4["sequence"]),
        (&json!("10.7.0.0/16"), &json!(0))
    );
    assert_eq!(
        (&v6["prefix"], &v6["sequence"]),
        (&json!("fd00:7::/32"), &json!(1))
    );
    for record in [v4, v6] {
        assert_eq!(record["entries"][0]["peer"]["index"], 0);
        assert_eq!(record["entries"][0].get("problems"), None, "{record}");
    }
    // The same on standard output, and of one family.
    let output = agent.run(&["bgp", "dump", "--family", "ipv6", "-"]);
    assert!(output.status.success());
    fs::write(&file, output.stdout).unwrap();
    let shown = objects(&mrt(&[file.to_str().unwrap()]).stdout);
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[1]["prefix"], "fd00:7::/32");
    // What was heard: nothing.
    let told = agent.cli(&["bgp", "dump", "--rib", "in", file.to_str().unwrap()]);
    assert_eq!(
        (&told["view"], &told["prefixes"]),
        (&json!("Adj-RIB-In"), &json!(0))
    );
    let unknown = agent.run(&["bgp", "dump", "--peer", "nobody", file.to_str().unwrap()]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("no peer is named `nobody`"));
}

/// What an agent says of itself and its neighbour, to be said by another.
fn introduction() -> Vec<Value> {
    let agent = Agent::start(CONFIG);
    let mut peers = agent.cli(&["peers"]);
    peers["peers"][0]["router_id"] = json!("192.0.2.99");
    vec![agent.cli(&["status"]), peers]
}

fn route(prefix: &str, peer: &str, path_id: Option<u32>, next_hop: &str) -> Value {
    json!({
        "prefix": prefix,
        "path_id": path_id,
        "peer": peer,
        "next_hop": {"addr": next_hop},
        "best": true,
        "reason": "only path",
        "age_seconds": 1000,
        "as_path": "65002 4200000000",
        "attributes": {
            "origin": "igp",
            "as_path": [{"sequence": [65002, 4_200_000_000_u32]}],
            "communities": ["65002:1"],
            "large_communities": ["65002:1:2"],
        },
    })
}

#[test]
fn paths_have_their_peer_their_identifier_and_the_time_of_their_age() {
    let directory = Directory::new();
    let mut answers = introduction();
    answers.push(json!({"routes": [
        route("10.1.0.0/16", "tor", None, "192.0.2.9"),
        route("10.1.0.0/16", "tor", Some(5), "192.0.2.8"),
        route("10.2.0.0/16", "tor", None, "192.0.2.9"),
        route("10.3.0.0/16", "late", None, "192.0.2.9"),
    ], "next": 4}));
    answers.push(json!({"routes": [], "next": null}));
    answers.push(
        json!({"routes": [route("2001:db8::/32", "tor", None, "2001:db8::9")], "next": null}),
    );
    let (socket, asked) = answering(&directory, answers);
    let file = directory.path().join("routes.mrt");
    let begun = now();
    let output = wayleave(
        &socket,
        &["bgp", "dump", "--rib", "in", file.to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stderr),
        "wayleave: 1 path of late left out: it was not there when the dump began\n"
    );
    assert!(text(&output.stdout).ends_with("routes.mrt: 3 prefixes, 4 paths, 1 peer\n"));
    let asked = asked.join().unwrap();
    assert_eq!(
        asked[2],
        "/v1/routes?family=ipv4-unicast&cursor=0&limit=5000&rib=in"
    );
    assert_eq!(
        asked[3],
        "/v1/routes?family=ipv4-unicast&cursor=4&limit=5000&rib=in"
    );
    let shown = objects(&mrt(&[file.to_str().unwrap()]).stdout);
    assert_eq!(shown.len(), 4);
    let [one, other] = &shown[1]["entries"].as_array().unwrap()[..] else {
        panic!("{}", shown[1])
    };
    assert_eq!(shown[1]["subtype"], "RIB_IPV4_UNICAST_ADDPATH");
    assert_eq!((&one["path_id"], &other["path_id"]), (&json!(0), &json!(5)));
    assert_eq!(other["next_hops"], json!(["192.0.2.8"]));
    let expected =
        json!({"index": 0, "address": "192.0.2.9", "asn": 65002, "router_id": "192.0.2.99"});
    assert_eq!(one["peer"], expected);
    assert_eq!(
        one["attributes"],
        json!({
            "origin": "igp",
            "as_path": [{"sequence": [65002, 4_200_000_000_u32]}],
            "communities": ["65002:1"],
            "large_communities": ["65002:1:2"],
        })
    );
    assert_eq!(shown[2]["subtype"], "RIB_IPV4_UNICAST");
    assert_eq!(shown[3]["entries"][0]["next_hops"], json!(["2001:db8::9"]));
    // In the file the time is a number: behind the sequence, the prefix, the count and the index.
    let octets = fs::read(&file).unwrap();
    let place = octets
        .windows(3)
        .position(|window| window == [16, 10, 2])
        .unwrap();
    let time = u32::from_be_bytes(octets[place + 7..place + 11].try_into().unwrap());
    assert!(
        (begun - 1000..=now() - 1000).contains(&time.into()),
        "{time}"
    );
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn a_dump_that_fails_leaves_the_file_that_was_there_and_no_other() {
    let directory = Directory::new();
    let mut answers = introduction();
    answers.push(json!({"routes": [route("10.1.0.0/16", "tor", None, "192.0.2.9")], "next": 1}));
    answers.push(json!({"routes": 3}));
    let (socket, asked) = answering(&directory, answers);
    let file = directory.write("routes.mrt", "the one before");
    let output = wayleave(&socket, &["bgp", "dump", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("of one version?"));
    asked.join().unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"the one before");
    let mut there: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, ["routes.mrt", "wayleave.sock"]);
}

#[test]
fn a_place_that_is_no_file_is_refused_in_words() {
    let agent = Agent::start(CONFIG);
    let directory = agent.directory().path().to_str().unwrap();
    let output = agent.run(&["bgp", "dump", directory]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is there and is no file"));
    let output = agent.run(&["bgp", "dump", "/nonexistent/routes.mrt"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no such file or directory"));
}

#[test]
fn each_record_is_an_object_and_a_malformed_one_costs_no_other() {
    let directory = Directory::new();
    let file = directory.path().join("some.mrt");
    let octets = [
        message(),
        record(13, 2, "00000001 21 0a"),
        record(16, 5, &format!("{SESSION} 0006 0009")),
        record(13, 2, "00000001 08 0a 0001 0004 4d83af34 0000"),
        record(48, 0, "0102"),
        record(64512, 7, ""),
    ];
    fs::write(&file, octets.concat()).unwrap();
    let output = mrt(&[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let shown = objects(&output.stdout);
    let ends = json!({
        "peer": {"address": "192.0.2.85", "asn": 64496},
        "local": {"address": "198.51.100.4", "asn": 64497},
        "interface": 0,
    });
    for (place, time) in [
        (0, "2011-03-18T19:15:00.123456Z"),
        (2, "2011-03-18T19:15:00Z"),
    ] {
        assert_eq!(shown[place]["time"], time);
        for end in ["peer", "local", "interface"] {
            assert_eq!(shown[place][end], ends[end]);
        }
    }
    assert_eq!(shown[0]["direction"], "received");
    assert_eq!(shown[0]["message"]["type"], "KEEPALIVE");
    assert_eq!(shown[1]["error"], "it ends within its prefix");
    assert_eq!(shown[1]["hex"], "00000001210a");
    assert_eq!(
        (&shown[2]["old_state"], &shown[2]["new_state"]),
        (&json!("Established"), &json!("9"))
    );
    // There is no table of peers before it.
    assert_eq!(shown[3]["entries"][0]["peer"], json!({"index": 4}));
    assert_eq!(shown[3]["entries"][0]["originated"], "2011-03-18T19:15:00Z");
    assert!(
        !shown[3]["entries"][0]["problems"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        (&shown[4]["type"], &shown[4]["subtype"]),
        (&json!("OSPFv3"), &json!(0))
    );
    assert_eq!(
        (&shown[5]["type"], &shown[5]["hex"]),
        (&json!(64512), &json!(""))
    );
}

#[test]
fn messages_in_hexadecimal_are_what_decode_takes() {
    let directory = Directory::new();
    let old = record(
        16,
        1,
        &format!("fbf0 fbf0 0000 0001 c0000255 c6336404 {KEEPALIVE}"),
    );
    let file = directory.path().join("some.mrt");
    fs::write(
        &file,
        [message(), record(13, 1, "01010101 0000 0000"), old].concat(),
    )
    .unwrap();
    let output = mrt(&["--hex", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        format!(
            "{KEEPALIVE} # 2011-03-18T19:15:00.123456Z from 192.0.2.85 AS 64496\n\
             {KEEPALIVE} # 2011-03-18T19:15:00Z from 192.0.2.85 AS 64496 --as2 --ibgp\n"
        )
    );
    let decoded = crate::bgp::bgp(&["decode"], output.stdout);
    assert_eq!(decoded.status.code(), Some(0));
    assert_eq!(objects(&decoded.stdout).len(), 2);
    fs::write(&file, record(13, 1, "01010101 0000 0000")).unwrap();
    let output = mrt(&["--hex", file.to_str().unwrap()]);
    assert!(text(&output.stderr).contains("no BGP messages in"));
}

#[test]
fn what_cannot_be_read_is_told_and_what_stands_before_it_is_shown() {
    let directory = Directory::new();
    let file = directory.path().join("some.mrt");
    let name = file.to_str().unwrap();
    let whole = message();
    let too_long = [&[0; 4][..], &[0, 13, 0, 2], &0x0100_0001_u32.to_be_bytes()].concat();
    let body = vec![0; 0x0100_0001];
    for (octets, shown, code, said) in [
        (
            [&whole[..], &whole[..20]].concat(),
            1,
            1,
            format!(
                "{name} ends within record 2, which begins at octet {}: 20 octets of {}",
                whole.len(),
                whole.len()
            ),
        ),
        (
            vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0, 9],
            0,
            1,
            "gzip -dc FILE | wayleave bgp mrt -".to_owned(),
        ),
        (
            b"[node]\nname = \"h1\"\n".to_vec(),
            0,
            1,
            format!("{name} is no MRT file"),
        ),
        // Passed over, and none of it is held.
        ([&too_long[..], &body, &whole].concat(), 2, 2, String::new()),
    ] {
        fs::write(&file, octets).unwrap();
        let output = mrt(&[name]);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(objects(&output.stdout).len(), shown, "{said}");
        assert!(
            text(&output.stderr).contains(&said),
            "{}",
            text(&output.stderr)
        );
    }
    assert_eq!(mrt(&["/nonexistent"]).status.code(), Some(1));
}
