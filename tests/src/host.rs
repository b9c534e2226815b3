//! A host of the lab: a network namespace, and what can be done inside it.

use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::error::{LabError, head};
use crate::namespace::Namespace;
use crate::until::until;

/// A command that takes longer is killed, and its test told.
const COMMAND_LIMIT_S: &str = "30";

/// The kernel's deferred work, on a busy machine.
const SETTLE: Duration = Duration::from_secs(10);

/// The sysctls of every host: it forwards, checks no reverse paths (routes are asymmetric while a
/// fabric converges), and neither waits for duplicate address detection nor forgets its IPv6
/// addresses when a link goes down.
const SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/fib_multipath_hash_policy", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/all/keep_addr_on_down", "1"),
    ("net/ipv6/conf/default/keep_addr_on_down", "1"),
];

/// A host: a named network namespace in the lab. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: Arc<Namespace>,
}

impl Host {
    /// Makes a host with its loopback up and its sysctls set.
    pub(crate) fn create(name: &str) -> Result<Self, LabError> {
        check_name(name)?;
        let host = Self {
            namespace: Arc::new(Namespace::create(name)?),
        };
        for (key, value) in SYSCTLS {
            host.sysctl(key, value)?;
        }
        host.ip("link set lo up")?;
        Ok(host)
    }

    /// A bare namespace: what a container runtime hands to a CNI plugin, or a switch.
    pub(crate) fn create_bare(name: &str) -> Result<Self, LabError> {
        Ok(Self {
            namespace: Arc::new(Namespace::create(name)?),
        })
    }

    /// The host's name, which is its namespace's name too (`ip -n <name>`).
    #[must_use]
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// The path of the host's network namespace.
    #[must_use]
    pub fn namespace_path(&self) -> &Path {
        self.namespace.path()
    }

    /// Whether the namespace still has its name.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.namespace.exists()
    }

    pub(crate) fn remove(&self) -> Result<(), LabError> {
        self.namespace.remove()
    }

    /// Runs a closure on a fresh thread inside the host's namespace and waits for it. Sockets made
    /// there stay there; a runtime must be built there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.namespace.enter(work)
    }

    /// Runs a command on the host and returns what it printed, or fails when the command does.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        command: impl IntoIterator<Item = S>,
    ) -> Result<String, LabError> {
        let command: Vec<S> = command.into_iter().collect();
        let output = self.output(&command)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.failure(&command, &output))
    }

    /// Runs a command on the host, however it ends. Its time is bounded to 30 s.
    pub fn output<S: AsRef<OsStr>>(
        &self,
        command: impl IntoIterator<Item = S>,
    ) -> Result<Output, LabError> {
        let mut bounded = Command::new("timeout");
        bounded
            .args(["--kill-after=1", COMMAND_LIMIT_S])
            .args(command)
            .stdin(Stdio::null());
        self.enter(|| bounded.output())?
            .map_err(|e| LabError::system(format!("run {bounded:?} on {}", self.name()), e))
    }

    /// The error of a command that ended badly.
    pub(crate) fn failure<S: AsRef<OsStr>>(&self, command: &[S], output: &Output) -> LabError {
        let words: Vec<_> = command
            .iter()
            .map(|w| w.as_ref().to_string_lossy())
            .collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let said = format!("{}\n{}", text(&output.stderr), text(&output.stdout));
        LabError::Command {
            host: self.name().to_owned(),
            command: words.join(" "),
            status: output.status,
            output: head(said.trim(), 2000),
        }
    }

    /// Runs `ip` with words separated by spaces.
    pub fn ip(&self, words: &str) -> Result<String, LabError> {
        self.run(["ip"].into_iter().chain(words.split_whitespace()))
    }

    /// Runs `ip -j` and parses the answer. No answer at all (an empty table) is an empty list.
    pub fn ip_json(&self, words: &str) -> Result<Value, LabError> {
        let text = self.run(["ip", "-j"].into_iter().chain(words.split_whitespace()))?;
        if text.trim().is_empty() {
            return Ok(Value::Array(Vec::new()));
        }
        parse_json(&format!("`ip -j {words}` on {}", self.name()), &text)
    }

    /// Sets a sysctl by its path below `/proc/sys`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        self.enter(|| fs::write(format!("/proc/sys/{key}"), value))?
            .map_err(|e| LabError::system(format!("set {key} = {value} on {}", self.name()), e))
    }

    /// Puts an address with its prefix length on an interface. On one that is up it can be used
    /// when this returns.
    pub fn address(&self, interface: &str, address: &str) -> Result<(), LabError> {
        if !address.contains(':') {
            let words = format!("address add {address} dev {interface}");
            return self.ip(&words).map(drop);
        }
        // Sysctls switch detection off for interfaces made later; this one may be older.
        self.ip(&format!("address add {address} dev {interface} nodad"))?;
        let link = self.ip_json(&format!("link show dev {interface}"))?;
        let flags = link[0]["flags"].to_string();
        if !flags.contains("LOWER_UP") {
            return Ok(());
        }
        // The kernel makes its local route in its own time: a snapshot taken before would see it
        // come.
        let plain = address.split('/').next().unwrap_or(address);
        let what = format!("{plain} to be local to {}", self.name());
        until(SETTLE, &what, || {
            let words = format!("-6 route show table local {plain}");
            let routes = self.ip_json(&words)?;
            match routes.as_array().map(Vec::is_empty) {
                Some(false) => Ok(()),
                _ => Err(LabError::shape(words, "no route")),
            }
        })
    }

    /// Sends one echo request and waits at most a second for the answer.
    pub fn ping(&self, to: IpAddr) -> Result<(), LabError> {
        self.run(["ping", "-n", "-q", "-c", "1", "-W", "1", &to.to_string()])
            .map(drop)
    }
}

/// The name becomes part of interface names (15 bytes) and of paths.
fn check_name(name: &str) -> Result<(), LabError> {
    let refused = |why| {
        Err(LabError::Name {
            name: name.to_owned(),
            why,
        })
    };
    if name.is_empty() || name.len() > 9 {
        return refused(
            "a host's name has 1 to 9 characters, as it becomes part of interface names",
        );
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    {
        return refused("a host's name consists of lower-case letters and digits");
    }
    Ok(())
}

/// Parses what a program printed.
pub(crate) fn parse_json(what: &str, text: &str) -> Result<Value, LabError> {
    serde_json::from_str(text).map_err(|source| LabError::NotJson {
        what: what.to_owned(),
        source,
        text: head(text.trim(), 300),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_not_fit_into_interface_names_are_refused() {
        for name in ["", "a-b", "A", "tenletters", "a/b", "ü"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["a", "h1", "reflector"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
