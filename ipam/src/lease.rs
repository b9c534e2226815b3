//! A lease: one address, whose it is, and what shows that its owner lives.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the host booted, suspended time included.
///
/// It means something only together with the [`BootId`] of that boot. Wall time is never stored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

/// The kernel's random identifier of this boot (`/proc/sys/kernel/random/boot_id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u128);

/// Who holds a lease: one interface of one container.
///
/// The network is not part of the key: an interface name is unique in its container, so one interface is in one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The container's identifier as its runtime gave it.
    pub container: String,
    /// The interface's name inside the container.
    pub interface: String,
}

/// What tells a living owner from a dead one.
///
/// The cookie (`SO_NETNS_COOKIE`) is never used twice within a boot, while inode numbers of namespaces are: comparing the
/// pair is safe where comparing paths or inodes is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProofOfLife {
    /// The cookie of the container's network namespace.
    pub netns_cookie: u64,
    /// The boot during which the cookie was read.
    pub boot: BootId,
}

/// An address in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The address. Its host route (/32 or /128) leads to the container.
    pub address: IpAddr,
    /// Whose it is.
    pub owner: Owner,
    /// The network (the CNI configuration's `name`) it was given for.
    pub network: String,
    /// The pool it came from.
    pub pool: String,
    /// What shows that the owner lives.
    pub alive: ProofOfLife,
    /// When it was given, on the clock of the boot named in `alive`.
    pub since: Time,
}

impl Owner {
    /// The owner with this container identifier and interface name.
    pub fn new(container: impl Into<String>, interface: impl Into<String>) -> Self {
        Self {
            container: container.into(),
            interface: interface.into(),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of container {}", self.interface, self.container)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &hex[0..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..32]
        )
    }
}

/// The text is no boot identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a boot identifier: expected 32 hexadecimal digits in the form of a UUID")]
pub struct BootIdError(String);

impl FromStr for BootId {
    type Err = BootIdError;

    fn from_str(text: &str) -> Result<Self, BootIdError> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BootIdError(text.to_owned()));
        }
        u128::from_str_radix(&digits, 16)
            .map(Self)
            .map_err(|_| BootIdError(text.to_owned()))
    }
}

impl Serialize for BootId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BootId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_reads_and_prints_as_the_kernel_prints_it() {
        let text = "8f2b0c1e-0000-4d5e-9a7b-00c0ffee0001";
        let boot: BootId = format!("{text}\n").parse().unwrap();
        assert_eq!(boot.to_string(), text);
        assert_eq!(serde_json::to_string(&boot).unwrap(), format!("\"{text}\""));
    }

    #[test]
    fn a_text_of_another_shape_is_no_boot_id() {
        for text in [
            "",
            "8f2b",
            "8f2b0c1e-0000-4d5e-9a7b-00c0ffee000g",
            "é8f2b0c1e00004d5e9a7b00c0ffee00",
        ] {
            assert!(text.parse::<BootId>().is_err(), "{text}");
        }
    }
}
