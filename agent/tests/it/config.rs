//! Files in `tests/data/config`: what is right with what it means, what is wrong with what is
//! said. `UPDATE_GOLDENS=1` writes the answers anew, for a person to read before committing.

use std::{fs, path::PathBuf};

use wayleave_agent::{
    api::configuration::ConfigView,
    config::{self, Config, ConfigErrors, HostFacts, Sources},
};

use crate::place::Directory;

fn host() -> HostFacts {
    HostFacts {
        name: Some("h1.example.org".to_owned()),
        ipv4: Some("192.0.2.10".parse().unwrap()),
        ipv6: Some("2001:db8::10".parse().unwrap()),
    }
}

fn parse(name: &str, text: &str) -> Result<Config, ConfigErrors> {
    config::parse(&Sources::from_texts([(name, text)]), &host())
}

/// Checks every file of a folder against the answer beside it.
fn goldens(folder: &str, answer: impl Fn(&str, &str) -> String) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/config")
        .join(folder);
    let update = std::env::var_os("UPDATE_GOLDENS").is_some();
    let mut checked = 0;
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "toml"))
    {
        let name = file.file_name().unwrap().to_str().unwrap();
        let actual = answer(name, &fs::read_to_string(file).unwrap());
        let golden = file.with_extension("txt");
        if update {
            fs::write(&golden, &actual).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(
            actual,
            expected,
            "{} (UPDATE_GOLDENS=1 to accept)",
            file.display()
        );
        checked += 1;
    }
    assert!(checked > 0, "no files in {}", directory.display());
}

#[test]
fn everything_wrong_with_a_file_is_reported_at_once_with_place_and_excerpt() {
    goldens("bad", |name, text| match parse(name, text) {
        Ok(_) => panic!("{name} is accepted"),
        Err(errors) => errors.to_string(),
    });
}

#[test]
fn every_value_of_a_correct_file_says_where_it_comes_from() {
    goldens("good", |name, text| {
        let config = parse(name, text).unwrap_or_else(|errors| panic!("{errors}"));
        let mut out = String::new();
        for table in ConfigView::new(&config).tables {
            let name = table
                .name
                .map(|name| format!(" {name}"))
                .unwrap_or_default();
            for entry in table.entries {
                out.push_str(&format!(
                    "{}{name}.{} = {}  # {}\n",
                    table.table, entry.key, entry.value, entry.origin
                ));
            }
        }
        for problem in config::advice(&config) {
            out.push_str(&format!(
                "{}: {}: {}\n",
                problem.key, problem.what, problem.why
            ));
        }
        out
    });
}

#[test]
fn drop_ins_are_merged_in_the_order_of_their_names_and_the_last_value_stands() {
    let directory = Directory::new();
    let main = directory.write(
        "wayleave.toml",
        "[bgp]\nasn = 65001\nmultipath = 2\n[[peer]]\naddress = \"192.0.2.1\"\nasn = 65002\n",
    );
    directory.write("conf.d/20-late.toml", "[bgp]\nmultipath = 8\n");
    directory.write(
        "conf.d/10-early.toml",
        "[bgp]\nmultipath = 4\nhold_time = 30\n",
    );
    directory.write(
        "conf.d/30-peer.toml",
        "[[peer]]\naddress = \"192.0.2.2\"\nasn = 65003\n",
    );
    directory.write("conf.d/.hidden.toml", "nonsense");
    directory.write("conf.d/notes.txt", "nonsense");
    for path in [main.as_path(), directory.path()] {
        let config = config::load(path, false, &host()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.bgp.multipath.value, 8);
        let origin = config.bgp.multipath.origin.to_string();
        assert!(origin.ends_with("conf.d/20-late.toml:2:13"), "{origin}");
        let peers: Vec<_> = config
            .peers
            .iter()
            .map(|peer| peer.name.value.as_str())
            .collect();
        assert_eq!(peers, ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(config.peers[0].options.hold_time.value, 30);
    }
}

#[test]
fn the_same_peer_in_two_files_names_both_places() {
    let directory = Directory::new();
    let peer = "[[peer]]\nname = \"tor\"\naddress = \"192.0.2.1\"\nasn = 65002\n";
    let main = directory.write("wayleave.toml", &format!("[bgp]\nasn = 65001\n{peer}"));
    directory.write("conf.d/peer.toml", &peer.replace("2.1", "2.2"));
    let errors = config::load(&main, false, &host()).unwrap_err();
    let text = errors.to_string();
    assert_eq!(errors.diagnostics.len(), 1, "{text}");
    assert!(text.contains("two peers have the name \"tor\""), "{text}");
    assert!(text.contains("conf.d/peer.toml:2:8"), "{text}");
    assert!(text.contains("wayleave.toml:4:8"), "{text}");
}

#[test]
fn a_missing_file_is_an_error_only_when_it_was_asked_for() {
    let directory = Directory::new();
    let path = directory.path().join("wayleave.toml");
    assert!(config::load(&path, false, &host()).is_err());
    let config = config::load(&path, true, &host()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.node.name.value, "h1");
    assert_eq!(
        config.node.name.origin.to_string(),
        "derived from the host name"
    );
    assert_eq!(config.bgp.listen.value, []);
    let keys: Vec<_> = config::advice(&config)
        .into_iter()
        .map(|problem| problem.key)
        .collect();
    assert_eq!(keys, ["config.no-peers", "config.no-pool"]);
}

#[test]
fn a_host_without_ipv4_starts_without_peers_and_refuses_peers_without_a_router_id() {
    let nowhere = HostFacts::default();
    let empty = Sources::from_texts([("a.toml", "")]);
    let config = config::parse(&empty, &nowhere).unwrap_or_else(|errors| panic!("{errors}"));
    let advice = config::advice(&config);
    assert!(
        advice
            .iter()
            .any(|problem| problem.key == "config.no-router-id"),
        "{advice:?}"
    );
    let text = "[bgp]\nasn = 65001\n[[peer]]\naddress = \"2001:db8::1\"\nasn = 65002\n";
    let errors = config::parse(&Sources::from_texts([("a.toml", text)]), &nowhere).unwrap_err();
    assert!(
        errors.to_string().contains("`node.router_id` is missing"),
        "{errors}"
    );
}

#[test]
fn unreadable_files_are_named_with_the_reason() {
    let directory = Directory::new();
    directory.write("wayleave.toml", "");
    fs::write(
        directory.path().join("conf.d"),
        "a file where a directory belongs",
    )
    .unwrap();
    let errors = config::load(directory.path(), false, &host())
        .unwrap_err()
        .to_string();
    assert!(
        errors.contains("conf.d: a part of the path is not a directory"),
        "{errors}"
    );
    fs::remove_file(directory.path().join("conf.d")).unwrap();
    fs::write(directory.path().join("wayleave.toml"), b"name = \"\xff\"").unwrap();
    let errors = config::load(directory.path(), false, &host())
        .unwrap_err()
        .to_string();
    assert!(
        errors.contains("it is not UTF-8 (first at byte 8)"),
        "{errors}"
    );
}

#[test]
fn no_text_makes_the_configuration_panic() {
    // Every prefix of files that use everything, and every byte of them replaced.
    no_change_panics(include_str!("../data/config/good/everything.toml"));
    no_change_panics(include_str!("../data/config/good/policy.toml"));
}

fn no_change_panics(text: &str) {
    for end in 0..text.len() {
        if let Some(part) = text.get(..end) {
            let _ = parse("part.toml", part);
        }
    }
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        for byte in [b'"', b'[', b'\n', 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            if let Ok(changed) = String::from_utf8(changed)
                && let Err(errors) = parse("changed.toml", &changed)
            {
                assert!(!errors.to_string().is_empty());
            }
        }
    }
}
