//! The list of standards, which is of use only as long as it is true.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each test in `docs/rfcs.md` is a function of the file that is named before it.
#[test]
fn every_test_that_the_list_of_standards_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = fs::read_to_string(root.join("docs/rfcs.md")).unwrap();
    let mut named = 0;
    for row in list.lines().filter(|line| line.starts_with('|')) {
        let mut source = None;
        for word in row.split('`').skip(1).step_by(2) {
            if let Some(path) = source_of(word) {
                let path = root.join(path);
                source = Some(fs::read_to_string(&path).expect(word));
            } else if is_test(word) {
                let source = source.as_deref().expect(word);
                let there = source.contains(&format!("fn {word}("));
                assert!(there, "there is no {word} where docs/rfcs.md looks for it");
                named += 1;
            }
        }
    }
    assert!(named > 100, "only {named} are named");
}

/// Where the tests lie that are named after this.
fn source_of(word: &str) -> Option<PathBuf> {
    let fixed = match word {
        "session" => "bgp/core/src/session/tests.rs",
        "rib" => "bgp/core/src/rib/tests.rs",
        "bfd/driver" => "bgp/src/bfd/tests.rs",
        "lab/bfd" => "tests/tests/lab/bfd/mod.rs",
        _ => {
            let (first, file) = word.split_once('/')?;
            let directory = match first {
                "wire" | "machine" | "policy" | "mrt" => format!("bgp/core/tests/{first}"),
                "it" => "bgp/tests/it".to_owned(),
                "bfd" => "bgp/bfd/tests/machine".to_owned(),
                "lab" => "tests/tests/lab".to_owned(),
                _ => return None,
            };
            let named = file
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || b"_/".contains(&octet));
            return named.then(|| Path::new(&directory).join(file).with_extension("rs"));
        }
    };
    Some(fixed.into())
}

/// Names of tests are sentences; those of settings are shorter.
fn is_test(word: &str) -> bool {
    let sentence = word
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
    sentence && word.matches('_').count() >= 4
}
