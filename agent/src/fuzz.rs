//! Bodies of the fuzz targets as plain functions, so that stable tests run them too: texts that
//! operators write and records that lie on the disk. That of DNS is [`crate::dns::fuzz_one`].

use std::{fmt::Debug, path::Path, str};

use serde::{Serialize, de::DeserializeOwned};
use wayleave_discovery::{
    codec::NodeKey,
    registry::{Instance, Registration},
};
use wayleave_ipam::Lease;

use crate::{
    attach::Attachment,
    config::{self, Delta, HostFacts, Sources},
    registry,
    text::is_hostile,
};

/// Octets as the main file of a configuration.
///
/// # Panics
/// When it is understood in two ways, or a fault is told in words that could drive a terminal:
/// that is the finding.
pub fn settings(octets: &[u8]) {
    let Ok(text) = str::from_utf8(octets) else {
        return;
    };
    let sources = Sources::from_texts([("/etc/wayleave/wayleave.toml", text)]);
    let host = HostFacts {
        name: Some("host".to_owned()),
        ipv4: Some([192, 0, 2, 1].into()),
        ipv6: None,
    };
    match config::parse(&sources, &host) {
        Ok(config) => {
            let again = config::parse(&sources, &host);
            assert_eq!(again.as_ref().ok(), Some(&config));
            assert!(Delta::between(&config, &config).is_empty());
            for (_, name, entries) in config.tables() {
                assert!(name.is_none_or(|name| !name.is_empty()) && !entries.is_empty());
            }
            let _ = config::speaker_config(&config, NodeKey(7));
            let _ = config::originations(&config);
            let _ = config::advice(&config);
        }
        Err(errors) => {
            assert!(!errors.diagnostics.is_empty());
            harmless(&errors.to_string());
            harmless(&errors.summary());
        }
    }
}

/// Octets as a file of `services.d`.
///
/// # Panics
/// As [`settings`].
pub fn services(octets: &[u8]) {
    let Ok(text) = str::from_utf8(octets) else {
        return;
    };
    match registry::parse_file(Path::new("/etc/wayleave/services.d/a.toml"), text) {
        Ok(registrations) => registrations.iter().for_each(same),
        Err(error) => harmless(&error.to_string()),
    }
}

/// Octets as a record of the store, of each table.
///
/// # Panics
/// When what was read is written and read differently: that is the finding.
pub fn records(octets: &[u8]) {
    record::<Lease>(octets);
    record::<Attachment>(octets);
    record::<Instance>(octets);
    record::<Registration>(octets);
}

fn record<T: DeserializeOwned + Serialize + PartialEq + Debug>(octets: &[u8]) {
    match serde_json::from_slice::<T>(octets) {
        Ok(record) => same(&record),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn same<T: DeserializeOwned + Serialize + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_vec(value).expect("it has a JSON form");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(again, *value);
}

fn harmless(text: &str) {
    let hostile = text.chars().find(|&c| is_hostile(c) && c != '\n');
    assert_eq!(hostile, None, "in {text:?}");
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    /// Lines that are nearly a configuration or a file of services.
    fn lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("[node]".to_owned()),
            Just("[bgp]".to_owned()),
            Just("[[peer]]".to_owned()),
            Just("[[pool]]".to_owned()),
            Just("[[service]]".to_owned()),
            Just("asn = 65000".to_owned()),
            Just("address = \"10.1.7.2\"".to_owned()),
            Just("ports = [{ name = \"http\", port = 80 }]".to_owned()),
            ("[a-z_]{1,9}", "[ -~]{0,9}").prop_map(|(key, text)| format!("{key} = {text:?}")),
            "[ -~\u{1b}é]{0,20}",
        ];
        vec(line, 0..12).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn the_fuzz_bodies_stand_any_text(text in lines(), octets in vec(any::<u8>(), 0..200)) {
            for octets in [text.as_bytes(), octets.as_slice()] {
                super::settings(octets);
                super::services(octets);
                super::records(octets);
            }
        }
    }
}
