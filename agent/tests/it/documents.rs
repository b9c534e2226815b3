//! The manual and the examples say what the code does.

use std::{fs, path::PathBuf};

use wayleave_agent::config::{self, Effect, HostFacts, Sources};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_example_is_a_correct_configuration() {
    let host = HostFacts {
        ipv4: Some("192.0.2.7".parse().unwrap()),
        ..HostFacts::default()
    };
    let mut checked = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            if let Err(errors) = config::load(&path, false, &host) {
                panic!("{errors}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 3, "speaker, host and reflector at least");
}

#[test]
fn the_manual_describes_every_key_and_no_other() {
    let manual = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    for (table, keys) in config::known_keys() {
        let heading = manual
            .lines()
            .find(|line| {
                let opened = [format!("[{table}]"), format!("[{table}.NAME]")];
                line.starts_with("## ") && opened.iter().any(|opened| line.contains(opened))
            })
            .unwrap_or_else(|| panic!("docs/configuration.md has no section for {table}"));
        let section = manual
            .split(heading)
            .nth(1)
            .unwrap()
            .split("\n## ")
            .next()
            .unwrap();
        let documented: Vec<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        for key in keys {
            assert!(
                documented.contains(key),
                "{table}.{key} is not in docs/configuration.md"
            );
        }
        for key in documented {
            assert!(
                keys.contains(&key),
                "docs/configuration.md describes {table}.{key}, which is unknown"
            );
        }
    }
}

#[test]
fn the_manual_says_what_a_change_of_each_key_costs() {
    let manual = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let text = "[node]\nname = \"h1\"\nrouter_id = \"192.0.2.1\"\n[bgp]\nasn = 65001\n\
                [[peer]]\naddress = \"192.0.2.2\"\nasn = 65002\n\
                [[range]]\nprefix = \"198.51.100.0/24\"\nasn = 65002\n\
                [[pool]]\ncidr = \"10.1.0.0/16\"\n[[block]]\nprefix = \"10.1.7.0/26\"\n";
    let sources = Sources::from_texts([("t.toml", text)]);
    let config = config::parse(&sources, &HostFacts::default()).unwrap();
    let mut compared = 0;
    for (table, _, entries) in config.tables() {
        let section = manual
            .split("\n## ")
            .find(|section| {
                section
                    .lines()
                    .next()
                    .is_some_and(|head| head.contains(&format!("[{table}]")))
            })
            .unwrap();
        for entry in entries {
            let start = format!("| `{}` |", entry.key);
            // A range has values of a peer that cannot be set for it.
            let Some(row) = section.lines().find(|line| line.starts_with(&start)) else {
                continue;
            };
            let said = match row.split(" | ").nth(3).unwrap() {
                "live" => Effect::Live,
                "session" => Effect::ResetsSession,
                "all sessions" => Effect::ResetsAllSessions,
                "restart" => Effect::NeedsRestart,
                // It depends, and says on what.
                _ => continue,
            };
            // A role is what it implies, which is compared by itself.
            if entry.key != "role" {
                assert_eq!(said, entry.effect, "{table}.{}", entry.key);
                compared += 1;
            }
        }
    }
    assert!(compared > 40, "{compared} keys were compared");
}

#[test]
fn the_manual_of_policies_describes_every_key_of_a_rule() {
    let manual = fs::read_to_string(root().join("docs/policy.md")).unwrap();
    for (table, keys) in config::policy_keys() {
        for key in *keys {
            let described = manual.contains(&format!("| `{key}` |"))
                // The table of `prepend` is an example.
                || (*table == "prepend" && manual.contains(&format!("{key} = ")));
            assert!(described, "{table}.{key} is not in docs/policy.md");
        }
    }
}

#[test]
fn what_the_manual_of_policies_shows_is_correct() {
    let manual = fs::read_to_string(root().join("docs/policy.md")).unwrap();
    let host = HostFacts {
        ipv4: Some("192.0.2.7".parse().unwrap()),
        ..HostFacts::default()
    };
    let blocks = manual.split("```toml\n").skip(1);
    let mut text = "[bgp]\nasn = 65001\n[[pool]]\ncidr = \"10.1.0.0/16\"\n".to_owned();
    for block in blocks.map(|rest| rest.split("```").next().unwrap()) {
        text.push_str(block);
    }
    let config = config::parse(&Sources::from_texts([("policy.md", text.as_str())]), &host);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.policies.policies.len() >= 8);
}
