//! `wayleave policy test`, held against `tests/data/transcripts/policy.txt`. No agent is asked.
//! `UPDATE_GOLDENS=1` writes the transcript anew, for a person to read.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::place::Directory;

const CONFIG: &str = r#"
[node]
router_id = "192.0.2.1"

[bgp]
asn = 65001

[[peer]]
name = "transit"
address = "192.0.2.254"
asn = 65010
import = "all"
export = "own"

[[pool]]
cidr = "10.1.0.0/16"

[[block]]
prefix = "10.1.7.0/24"

[prefix_list.bogons]
prefixes = ["0.0.0.0/8", "192.168.0.0/16"]
le = 32

[prefix_list.customers]
prefixes = ["203.0.113.0/24", "10.64.0.0/10 ge 16 le 24"]

[[policy.transit-in.rule]]
name = "bogons"
match = { prefix = ["bogons", "pools", "0.0.0.0/0"] }
then = "reject"

[[policy.transit-in.rule]]
name = "wash"
set = { strip_community = ["65001:*", "65001:*:*"] }
then = "next"

[[policy.transit-in.rule]]
name = "graceful shutdown"
match = { community = "graceful-shutdown" }
set = { local_pref = 0 }
then = "next"

[[policy.transit-in.rule]]
name = "customers"
match = { prefix = "customers", as_path = "65010 * 65020", not = { community = "65010:666" } }
set = { local_pref = 200, med = "none", add_community = ["65001:100", "65001:1:1"], next_hop = "peer" }
then = "accept"

[[policy.transit-in.rule]]
name = "rest"
match = { as_path_length = "1-50", validation = ["valid", "not-found"] }
then = "accept"

[[policy.out.rule]]
name = "own blocks"
match = { source = "own", prefix = "blocks" }
set = { prepend = 2, med = 50, next_hop = "self" }
then = "accept"
"#;

/// Command lines and what they say.
struct Conversation {
    directory: Directory,
    text: String,
}

impl Conversation {
    fn new() -> Self {
        let directory = Directory::new();
        directory.write("wayleave.toml", CONFIG);
        Self {
            directory,
            text: String::new(),
        }
    }

    /// Runs `wayleave policy test` with these words, and this on standard input.
    fn run(&mut self, words: &[&str], input: Option<&str>) -> (Option<i32>, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wayleave"))
            .args(["policy", "test", "--config"])
            .arg(self.directory.path())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(input.unwrap_or_default().as_bytes())
            .unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        let words: Vec<_> = words
            .iter()
            .map(|word| {
                if word.contains(' ') {
                    format!("\"{word}\"")
                } else {
                    (*word).to_owned()
                }
            })
            .collect();
        self.text
            .push_str(&format!("$ wayleave policy test {}\n", words.join(" ")));
        if let Some(input) = input {
            self.text.push_str(&format!("< {input}\n"));
        }
        self.text.push_str(&told);
        self.text.push_str(&complaint);
        let code = output.status.code();
        self.text
            .push_str(&format!("[exit code {}]\n\n", code.unwrap_or(-1)));
        (code, told)
    }
}

#[test]
fn a_policy_says_which_rule_decides_why_and_what_leaves() {
    let mut conversation = Conversation::new();
    let customer = [
        "transit-in",
        "--prefix",
        "10.64.0.0/16",
        "--peer",
        "transit",
        "--as-path",
        "65010 65020",
        "--community",
        "65010:1",
        "--large",
        "65010:1:2",
        "--community",
        "rt:65010:9",
        "--community",
        "65001:666",
        "--med",
        "20",
    ];
    let runs: &[(&[&str], Option<i32>)] = &[
        (&["transit-in", "--prefix", "192.168.7.0/24"], Some(2)),
        (
            &["transit-in", "--prefix", "10.1.7.0/24", "--ibgp"],
            Some(2),
        ),
        (&customer, Some(0)),
        (
            &[
                "transit-in",
                "--prefix",
                "198.51.100.0/24",
                "--as-path",
                "65010",
                "--validation",
                "invalid",
            ],
            Some(2),
        ),
        (
            &[
                "transit-in",
                "--prefix",
                "192.0.2.0/24",
                "--as-path",
                "65010",
                "--community",
                "graceful-shutdown",
            ],
            Some(0),
        ),
        (
            &["out", "--prefix", "10.1.7.0/24", "--source", "own"],
            Some(0),
        ),
        (
            &[
                "fabric-import",
                "--prefix",
                "10.1.7.0/24",
                "--peer",
                "transit",
            ],
            Some(0),
        ),
        (
            &[
                "fabric-export",
                "--prefix",
                "10.1.7.0/24",
                "--source",
                "own",
                "--peer",
                "transit",
            ],
            Some(0),
        ),
        (
            &[
                "border-export",
                "--prefix",
                "10.1.7.0/24",
                "--source",
                "own",
                "--community",
                "65001:1",
            ],
            Some(0),
        ),
        (
            &[
                "border-import",
                "--prefix",
                "10.1.7.0/24",
                "--validation",
                "invalid",
            ],
            Some(2),
        ),
        (
            &[
                "border-import",
                "--prefix",
                "2001:db8::/32",
                "--next-hop",
                "2001:db8::1",
                "-o",
                "json",
            ],
            Some(0),
        ),
        (&["transit-im", "--prefix", "10.1.7.0/24"], Some(1)),
        (&["elsewhere", "--prefix", "10.1.7.0/24"], Some(1)),
        (
            &["transit-in", "--prefix", "10.1.7.0/24", "--peer", "tor"],
            Some(1),
        ),
        (
            &[
                "transit-in",
                "--prefix",
                "10.1.7.0/24",
                "--peer",
                "transit",
                "--ibgp",
            ],
            Some(1),
        ),
        (
            &[
                "transit-in",
                "--prefix",
                "10.1.7.0/24",
                "--as-path",
                "65010,65020",
            ],
            Some(1),
        ),
    ];
    for (words, code) in runs {
        let (found, _) = conversation.run(words, None);
        assert_eq!(found, *code, "{words:?}\n{}", conversation.text);
    }
    let route = r#"{"prefix": "192.0.2.0/24", "peer": "transit", "best": true, "next_hop": {"addr": "192.0.2.254"}, "attributes": {"as_path": [{"sequence": [65010]}], "communities": ["65001:7"]}}"#;
    for (input, code) in [(route, Some(0)), ("{}", Some(1)), ("routes", Some(1))] {
        let (found, _) = conversation.run(&["border-import", "--stdin"], Some(input));
        assert_eq!(found, code, "{}", conversation.text);
    }
    let golden =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts/policy.txt");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&golden, &conversation.text).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(conversation.text, expected, "UPDATE_GOLDENS=1 to accept");
}

#[test]
fn the_answer_for_machines_has_what_people_are_told() {
    let mut conversation = Conversation::new();
    let (code, told) = conversation.run(
        &[
            "border-import",
            "--prefix",
            "192.0.2.0/24",
            "--community",
            "65001:1",
            "-o",
            "json",
        ],
        None,
    );
    assert_eq!(code, Some(0));
    let answer: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(answer["verdict"], "accept");
    assert_eq!(answer["decided_by"], Value::Null);
    assert_eq!(answer["rules"][1]["applies"], true);
    assert_eq!(answer["before"]["attributes"]["communities"][0], "65001:1");
    assert_eq!(answer["after"]["attributes"].get("communities"), None);
}

#[test]
fn a_wrong_configuration_is_reported_as_by_check_config() {
    let mut conversation = Conversation::new();
    conversation
        .directory
        .write("wayleave.toml", "[policy.x]\ndefault = \"perhaps\"\n");
    let (code, told) = conversation.run(&["x", "--prefix", "192.0.2.0/24"], None);
    assert_eq!((code, told.as_str()), (Some(1), ""));
    assert!(
        conversation
            .text
            .contains("`policy.default`: expected \"accept\" or \"reject\""),
        "{}",
        conversation.text
    );
}
