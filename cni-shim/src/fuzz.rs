//! Bodies of the fuzz targets as plain functions, so that stable tests run them too.

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use serde::{Serialize, de::DeserializeOwned};

use crate::config::{NetworkConfig, version_of};
use crate::environment::{Environment, Verb};
use crate::error::{CniError, code};
use crate::frame::{Channel, FrameError, TEXT_MAX};
use crate::message::{Call, Performed, Reply};
use crate::result::CniResult;
use crate::version::SpecVersion;

const VERBS: [Verb; 6] = [
    Verb::Add,
    Verb::Del,
    Verb::Check,
    Verb::Gc,
    Verb::Status,
    Verb::Version,
];

const VERSIONS: [SpecVersion; 4] = [
    SpecVersion::V0_3_1,
    SpecVersion::V0_4_0,
    SpecVersion::V1_0_0,
    SpecVersion::V1_1_0,
];

/// Octets as a network configuration, for every verb.
///
/// # Panics
/// When what was understood is passed on and understood differently, or an error is none that a
/// runtime may be told: that is the finding.
pub fn config(octets: &[u8]) {
    let version = version_of(octets);
    for verb in VERBS {
        match NetworkConfig::read(octets, verb) {
            Ok(config) => understood(&config),
            Err(error) => told(
                &error,
                version,
                &[
                    code::INCOMPATIBLE_VERSION,
                    code::UNSUPPORTED_FIELD,
                    code::DECODING_FAILURE,
                    code::INVALID_CONFIGURATION,
                ],
            ),
        }
    }
}

fn understood(config: &NetworkConfig) {
    same(config);
    if let Err(error) = config.static_addresses(Some("10.1.7.5, fd00::5")) {
        told(&error, config.cni_version, &[code::INVALID_CONFIGURATION]);
    }
    let result = CniResult {
        dns: config.effective_dns(),
        ..config.previous.clone().unwrap_or_default()
    };
    for version in VERSIONS {
        // What an older version has no words for is lost in it once, and then no more.
        let once = CniResult::from_json(&result.to_json(version)).expect("ours can be read");
        let again = CniResult::from_json(&once.to_json(version)).expect("ours can be read");
        assert_eq!(once, again, "in {version}");
        if version == SpecVersion::NEWEST {
            assert_eq!(once, result);
        }
    }
    let count = result.interfaces.len();
    let both = result.clone().followed_by(result);
    assert_eq!(both.interfaces.len(), 2 * count);
}

/// Octets as the variables of a call, one a line, then what `CNI_ARGS` has in `IP`.
///
/// # Panics
/// When an error is none that a runtime may be told: that is the finding.
pub fn environment(octets: &[u8]) {
    let lines: Vec<&[u8]> = octets.split(|octet| *octet == b'\n').collect();
    let read = Environment::read(|name| {
        let line = lines.iter().find_map(|line| {
            let value = line.strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        });
        line.map(|value| OsString::from_vec(value.to_vec()))
    });
    match read {
        Ok(environment) => {
            let named = matches!(environment.verb, Verb::Add | Verb::Del | Verb::Check);
            assert_eq!(environment.attachment.is_some(), named);
        }
        Err(error) => told(&error, SpecVersion::NEWEST, &[code::INVALID_ENVIRONMENT]),
    }
}

/// Octets as what comes in on the socket, in packets: a length and as many octets each.
///
/// # Panics
/// When what was understood is sent and understood differently: that is the finding.
pub fn frames(octets: &[u8]) {
    received::<Call>(octets);
    received::<Reply>(octets);
    received::<Performed>(octets);
    // And as the text of a frame: a mutation that has to get lengths right does not get far.
    for text in [Some(octets), octets.get(8..)].into_iter().flatten() {
        parsed::<Call>(text);
        parsed::<Reply>(text);
        parsed::<Performed>(text);
    }
}

fn received<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(octets: &[u8]) {
    let pair = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    );
    let Ok((ours, theirs)) = pair else {
        return; // No descriptors left: nothing is found out.
    };
    let mut rest = octets;
    // More does not fit a socket's buffer unread.
    for _ in 0..8 {
        let Some((&[high, low], packets)) = rest.split_first_chunk() else {
            break;
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (packet, after) = packets.split_at(len.min(packets.len()));
        rest = after;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // An empty packet is the end of the connection to its reader.
        if send(ours.as_raw_fd(), packet, flags).is_err() {
            break;
        }
    }
    drop(ours);
    let soon = Instant::now() + Duration::from_secs(10);
    match Channel::new(theirs).receive::<T>(soon) {
        Ok((message, descriptors)) => {
            assert!(descriptors.is_empty());
            same(&message);
        }
        Err(FrameError::Timeout) => panic!("the other end is closed, and was waited for"),
        Err(FrameError::TooLarge(len)) => assert!(len > TEXT_MAX),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn parsed<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(text: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<T>(text) {
        same(&message);
    }
}

/// What was read reads the same after it was written.
fn same<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_vec(value).expect("what came as JSON goes as JSON");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(again, *value);
}

/// An error with one of these codes, that a runtime may print.
fn told(error: &CniError, version: SpecVersion, codes: &[u32]) {
    assert!(codes.contains(&error.code), "{error:?}");
    assert_eq!(error.to_json(version)["code"], error.code);
    for text in [&error.msg, &error.details] {
        let hostile = text.chars().find(|character| character.is_control());
        assert_eq!(hostile, None, "in {text:?}");
        assert!(text.len() < 4_096, "an error of {} octets", text.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    /// JSON that is nearly a configuration.
    fn nearly() -> impl Strategy<Value = String> {
        let keys = prop_oneof![
            Just("cniVersion"),
            Just("name"),
            Just("socket"),
            Just("pools"),
            Just("families"),
            Just("mtu"),
            Just("dns"),
            Just("runtimeConfig"),
            Just("args"),
            Just("prevResult"),
            Just("mode"),
            Just("cni.dev/valid-attachments"),
        ];
        let values = prop_oneof![
            Just("\"1.1.0\"".to_owned()),
            Just("\"ipv4\"".to_owned()),
            Just("[\"ipv4\"]".to_owned()),
            Just("[\"\\u001b[2J\"]".to_owned()),
            Just("1500".to_owned()),
            Just("null".to_owned()),
            Just("{\"ips\":[\"10.0.0.1\"]}".to_owned()),
            Just("{\"cni\":{\"ips\":[\"10.0.0.1\\n\"]}}".to_owned()),
            Just("{\"ips\":[{\"address\":\"10.0.0.1/24\",\"interface\":7}]}".to_owned()),
            Just("[{\"containerID\":\"a\",\"ifname\":\"b\"}]".to_owned()),
        ];
        vec((keys, values), 0..6).prop_map(|fields| {
            let fields = fields
                .into_iter()
                .map(|(key, value)| format!("\"{key}\":{value}"));
            let rest: Vec<String> = fields.collect();
            format!(
                "{{\"cniVersion\":\"1.1.0\",\"name\":\"n\"{}{}}}",
                if rest.is_empty() { "" } else { "," },
                rest.join(",")
            )
        })
    }

    proptest! {
        #[test]
        fn the_fuzz_bodies_stand_arbitrary_octets(octets in vec(any::<u8>(), 0..400)) {
            super::config(&octets);
            super::environment(&octets);
            super::frames(&octets);
        }

        #[test]
        fn the_fuzz_bodies_stand_what_is_nearly_right(text in nearly(), verb in "[A-Z]{2,6}") {
            super::config(text.as_bytes());
            super::environment(format!("CNI_COMMAND={verb}\nCNI_ARGS={text}").as_bytes());
            let len = u16::try_from(text.len() + 8).expect("short").to_be_bytes();
            let mut frame = len.to_vec();
            frame.extend(b"WL\x01\x00\x00\x00");
            frame.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
            frame.extend(text.as_bytes());
            super::frames(&frame);
        }
    }
}
