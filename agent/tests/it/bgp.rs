//! `wayleave bgp decode` and `encode`: captured messages and conversations through the command,
//! without an agent. `UPDATE_GOLDENS=1` writes the conversations anew, for a person to read.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};

/// Runs `wayleave bgp` with this on its standard input.
pub(crate) fn bgp(words: &[&str], input: impl Into<Vec<u8>>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wayleave"))
        .arg("bgp")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.into();
    let feeder = thread::spawn(move || {
        // A command that has seen enough may be gone.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout);
    let read = |line| serde_json::from_str(line).unwrap();
    lines.lines().map(read).collect()
}

/// The messages that other daemons made (see `bgp/core/tests/wire/golden.rs`), with the options
/// of the sessions they were made for.
fn captured() -> Vec<(Vec<&'static str>, Vec<Value>)> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bgp/core/tests/data/wire-goldens.json");
    let all: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut groups: Vec<(Vec<&str>, Vec<Value>)> = Vec::new();
    for golden in all {
        let mut words = Vec::new();
        for (key, option) in [
            ("two_octet", "--as2"),
            ("internal", "--ibgp"),
            ("add_path", "--add-path=ipv4,ipv6"),
        ] {
            if golden[key] == true {
                words.push(option);
            }
        }
        match groups.iter_mut().find(|(known, _)| *known == words) {
            Some((_, list)) => list.push(golden),
            None => groups.push((words, vec![golden])),
        }
    }
    groups
}

#[test]
fn captured_messages_are_decoded_encoded_and_decoded_to_the_same() {
    let groups = captured();
    assert!(groups.len() >= 3, "sessions of three kinds");
    for (words, goldens) in groups {
        let hex: Vec<_> = goldens
            .iter()
            .map(|golden| format!("{}{}", "ff".repeat(16), golden["hex"].as_str().unwrap()))
            .collect();
        // One a line, and all on one line.
        let decode = [&["decode"], &words[..]].concat();
        let output = bgp(&decode, hex.join("\n"));
        let decoded = objects(&output);
        assert_eq!(output.stdout, bgp(&decode, hex.concat()).stdout);
        assert_eq!(decoded.len(), goldens.len());
        for (object, golden) in decoded.iter().zip(&goldens) {
            agree(object, golden);
        }
        let encode = [&["encode"], &words[..]].concat();
        let made = bgp(&encode, text(&output.stdout));
        assert!(made.status.success(), "{}", text(&made.stderr));
        let again = bgp(&decode, made.stdout);
        assert_eq!(text(&again.stdout), text(&output.stdout), "{words:?}");
        let list = Value::from(decoded).to_string();
        assert_eq!(
            text(&bgp(&decode, bgp(&encode, list).stdout).stdout),
            text(&output.stdout)
        );
    }
}

/// What the command says against what was read when the message was captured.
fn agree(object: &Value, golden: &Value) {
    let read = &golden["read"];
    let what = &golden["what"];
    if let Some(verdict) = read.get("verdict") {
        assert_eq!(&object["verdict"], verdict, "{what}");
    }
    if let Some(words) = read.get("notification") {
        assert_eq!(&object["notification"]["text"], words, "{what}");
    }
    if let Some(open) = read.get("open") {
        for (key, same) in [
            ("asn", "asn"),
            ("hold_time", "hold_time"),
            ("router_id", "identifier"),
        ] {
            assert_eq!(object["open"][same], open[key], "{what}");
        }
    }
    if object["type"] != "UPDATE" {
        return;
    }
    let update = &object["update"];
    let prefixes = |list: &Value| -> Vec<String> {
        let one = |path: &Value| {
            let prefix = path["prefix"].as_str().unwrap();
            match path.get("path_id").and_then(Value::as_u64) {
                None | Some(0) => prefix.to_owned(),
                Some(id) => format!("{prefix} path {id}"),
            }
        };
        list.as_array()
            .map(|list| list.iter().map(one).collect())
            .unwrap_or_default()
    };
    for (found, expected) in [
        (&update["withdrawn"], &read["withdrawn"]),
        (&update["nlri"], &read["announced"]),
        (
            &update["attributes"]["mp_reach"]["nlri"],
            &read["reach"]["announced"],
        ),
        (
            &update["attributes"]["mp_unreach"]["nlri"],
            &read["unreach"]["withdrawn"],
        ),
    ] {
        let expected = if expected.is_null() {
            json!([])
        } else {
            expected.clone()
        };
        assert_eq!(json!(prefixes(found)), expected, "{what}");
    }
    for key in [
        "med",
        "local_pref",
        "communities",
        "large_communities",
        "originator_id",
    ] {
        if let Some(expected) = read["attributes"].get(key) {
            assert_eq!(&update["attributes"][key], expected, "{what}");
        }
    }
}

/// Messages of each kind and with each kind of error, as people see them.
#[test]
fn conversations_are_as_they_were_written_down() {
    let header = |kind: u8, body: &str| {
        let len = 19 + body.split_whitespace().collect::<String>().len() / 2;
        let line = format!("{} {len:04x} {kind:02x} {body}", "ff".repeat(16));
        format!("{}\n", line.trim_end())
    };
    let mandatory = "40010100 4002060201 0000fdea 400304c0000202";
    let update = |attributes: &str, nlri: &str| {
        let len = attributes.split_whitespace().collect::<String>().len() / 2;
        header(2, &format!("0000 {len:04x} {attributes} {nlri}"))
    };
    let keepalive = header(4, "");
    let talks: Vec<(&str, &str, String)> = vec![
        (
            "an OPEN with a capability nobody knows",
            "decode",
            header(
                1,
                "04 fdea 005a c0000202 0f 020d 0104 00010001 c803 010203 0200",
            ),
        ),
        (
            "an OPEN in which much is wrong",
            "decode",
            header(1, "03 0000 0001 00000000 00"),
        ),
        (
            "an UPDATE that is taken",
            "decode",
            update(mandatory, "10 0a01"),
        ),
        (
            "path identifiers",
            "decode --add-path ipv4",
            update(mandatory, "00000007 10 0a01"),
        ),
        (
            "End-of-RIB",
            "decode",
            update("", "") + &update("800f03 000201", ""),
        ),
        (
            "RFC 7606, 7.6",
            "decode",
            update(&format!("{mandatory} 40060101"), "10 0a01"),
        ),
        (
            "RFC 7606, 7.1",
            "decode",
            update(&mandatory.replacen("010100", "010109", 1), "10 0a01"),
        ),
        ("RFC 7606, 5.2", "decode", update("40010109", "")),
        (
            "a prefix of 33 bits",
            "decode",
            update(mandatory, "10 0a01 21 0a010101 01"),
        ),
        (
            "the same in MP_UNREACH_NLRI",
            "decode",
            update("800f05 0001012101", ""),
        ),
        (
            "LOCAL_PREF of an external peer",
            "decode",
            update(&format!("{mandatory} 400504 00000064"), "10 0a01"),
        ),
        (
            "and of an internal one",
            "decode --ibgp",
            update(&format!("{mandatory} 400504 00000064"), "10 0a01"),
        ),
        (
            "two octets",
            "decode --as2",
            update(
                "40010100 400206 0202 5ba0 fdea 400304 c0000202 c01106 0201 0001 86a0",
                "10 0a01",
            ),
        ),
        (
            "a shutdown with its text",
            "decode",
            header(3, "0602 0c 6d6f76696e67207261636b73"),
        ),
        (
            "a text that would drive a terminal",
            "decode",
            header(3, "0602 04 1b5b324a"),
        ),
        (
            "route refresh",
            "decode",
            header(5, "0002 01 01") + &header(5, "0002 01 01 00"),
        ),
        (
            "an error does not hide what follows",
            "decode",
            format!("# type 9\n{}{keepalive}", header(9, "0102")),
        ),
        (
            "nor does a marker that is none",
            "decode",
            format!("{}{keepalive}", keepalive.replacen("ff", "00", 1)),
        ),
        (
            "cut off",
            "decode",
            format!("{keepalive}\n{}", &update(mandatory, "10 0a01")[..60]),
        ),
        (
            "not hexadecimal",
            "decode",
            format!("{keepalive}{}", "ffff xyz"),
        ),
        ("half an octet", "decode", format!("{keepalive}f")),
        (
            "made",
            "encode",
            "{\"type\": \"UPDATE\", \"update\": {\n  \"attributes\": {\"origin\": \
            \"igp\", \"as_path\": [{\"sequence\": [65002]}], \"next_hop\": \"192.0.2.2\"},\n  \
            \"nlri\": [\"10.1.0.0/16\"]}}\n{\"type\": \"KEEPALIVE\"}\n"
                .to_owned(),
        ),
        (
            "a wrong value",
            "encode",
            "{\"type\": \"KEEPALIVE\"}\n{\"type\": \"UPDATE\", \"update\": \
            {\"nlri\": [\"10.1.0.0/16\", \"10.1.0.0/33\"]}}\n"
                .to_owned(),
        ),
        (
            "a wrong name",
            "encode",
            "{\"type\": \"UPDATE\", \"update\": {\"attributes\": {\"medd\": 7}}}\n".to_owned(),
        ),
        (
            "a contradiction",
            "encode --as2",
            "[{\"type\": \"UPDATE\", \"update\": {\"attributes\": \
            {\"as_path\": [{\"sequence\": [4200000000]}]}}}]\n"
                .to_owned(),
        ),
        ("no JSON", "encode", "{\"type\": \"UPDATE\"".to_owned()),
    ];
    let mut told = String::new();
    for (what, line, input) in talks {
        let words: Vec<_> = line.split(' ').collect();
        let output = bgp(&words, input.clone());
        told.push_str(&format!("# {what}\n$ wayleave bgp {line}\n"));
        for line in input.lines() {
            told.push_str(&format!("< {line}\n"));
        }
        told.push_str(&text(&output.stdout));
        for line in text(&output.stderr).lines() {
            told.push_str(&format!("stderr: {line}\n"));
        }
        told.push_str(&format!("exit {}\n\n", output.status.code().unwrap()));
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts/bgp.txt");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, &told).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(told == expected, "{told}\n(UPDATE_GOLDENS=1 to accept)");
}

#[test]
fn nothing_is_lost_before_input_that_is_wrong() {
    let keepalive = format!("{}001304", "ff".repeat(16));
    for (end, code) in [("", 0), ("ff", 1), ("f", 1), (" x", 1), ("\n\u{fc}", 1)] {
        let output = bgp(&["decode"], format!("{}{end}", keepalive.repeat(5)));
        assert_eq!(objects(&output).len(), 5);
        assert_eq!(output.status.code(), Some(code), "{end:?}");
        let told = text(&output.stderr);
        assert_eq!(told.lines().count(), usize::from(code == 1), "{told}");
        assert!(
            told.is_empty() || told.starts_with("wayleave: line "),
            "{told}"
        );
    }
    // Octets that are no text at all.
    let output = bgp(&["decode"], vec![0xFF; 100]);
    assert_eq!(output.status.code(), Some(1));
    let output = bgp(&["encode"], vec![0xFF; 100]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not UTF-8"));
    // More than a pipe and a buffer hold.
    let output = bgp(&["decode"], format!("{keepalive}\n").repeat(20_000));
    assert_eq!(text(&output.stdout).lines().count(), 20_000);
    assert_eq!(output.status.code(), Some(0));
}
