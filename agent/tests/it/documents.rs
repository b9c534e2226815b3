//! The manual and the examples say what the code does.

use std::{fs, path::PathBuf};

use wayleave_agent::config::{self, HostFacts};

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
            .find(|line| line.starts_with("## ") && line.contains(&format!("[{table}]")))
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
