//! Settings under `/proc/sys/net` of one interface, for those that netlink cannot write.
//!
//! `/proc/sys/net` shows the network namespace of the calling thread, which for the agent is its
//! own always. Inside a container the shim writes, on the agent's instruction.

use std::{fmt, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A setting of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sysctl {
    /// `ipv4.conf.*.forwarding`.
    ForwardingV4,
    /// `ipv6.conf.*.forwarding`: 1 also makes the kernel ignore router advertisements.
    ForwardingV6,
    /// `ipv4.conf.*.proxy_arp`.
    ProxyArp,
    /// `ipv6.conf.*.proxy_ndp`.
    ProxyNdp,
    /// `ipv4.conf.*.rp_filter`: 0 off, 1 strict, 2 loose.
    RpFilter,
    /// `ipv6.conf.*.accept_dad`: 0 off.
    AcceptDad,
    /// `ipv6.conf.*.dad_transmits`: 0 makes addresses usable at once.
    DadTransmits,
    /// `ipv6.conf.*.accept_ra`: 0 never, 1 unless forwarding, 2 always.
    AcceptRa,
    /// `ipv6.conf.*.addr_gen_mode`: 1 makes no link-local address.
    AddrGenMode,
    /// `ipv6.conf.*.disable_ipv6`.
    DisableIpv6,
}

impl Sysctl {
    /// The path for an interface, or for `all` or `default`, below `/proc/sys`.
    ///
    /// # Errors
    /// [`SysctlError`] when the name cannot be one of an interface (`/`, `..`, empty, too long).
    pub fn path(self, interface: &str) -> Result<PathBuf, SysctlError> {
        let bad = interface.is_empty()
            || interface.len() > 15
            || interface == "."
            || interface == ".."
            || interface.contains(['/', '\0']);
        if bad {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "no interface name");
            return Err(self.error(interface, "write", source));
        }
        let (family, name) = self.names();
        Ok(PathBuf::from(format!(
            "/proc/sys/net/{family}/conf/{interface}/{name}"
        )))
    }

    /// Reads the setting.
    ///
    /// # Errors
    /// [`SysctlError`]; its source is `NotFound` when the interface is gone or IPv6 is off.
    pub fn read(self, interface: &str) -> Result<i32, SysctlError> {
        let text = fs::read_to_string(self.path(interface)?)
            .map_err(|source| self.error(interface, "read", source))?;
        text.trim().parse().map_err(|error| {
            self.error(
                interface,
                "read",
                io::Error::new(io::ErrorKind::InvalidData, error),
            )
        })
    }

    /// Writes the setting.
    ///
    /// # Errors
    /// [`SysctlError`]; its source is `NotFound` when the interface is gone or IPv6 is off,
    /// `PermissionDenied` or `ReadOnlyFilesystem` when `/proc/sys` may not be written.
    pub fn write(self, interface: &str, value: i32) -> Result<(), SysctlError> {
        fs::write(self.path(interface)?, value.to_string())
            .map_err(|source| self.error(interface, "write", source))
    }

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::ForwardingV4 => ("ipv4", "forwarding"),
            Self::ForwardingV6 => ("ipv6", "forwarding"),
            Self::ProxyArp => ("ipv4", "proxy_arp"),
            Self::ProxyNdp => ("ipv6", "proxy_ndp"),
            Self::RpFilter => ("ipv4", "rp_filter"),
            Self::AcceptDad => ("ipv6", "accept_dad"),
            Self::DadTransmits => ("ipv6", "dad_transmits"),
            Self::AcceptRa => ("ipv6", "accept_ra"),
            Self::AddrGenMode => ("ipv6", "addr_gen_mode"),
            Self::DisableIpv6 => ("ipv6", "disable_ipv6"),
        }
    }

    fn error(self, interface: &str, verb: &'static str, source: io::Error) -> SysctlError {
        SysctlError {
            setting: self,
            interface: interface.to_owned(),
            verb,
            source,
        }
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, name) = self.names();
        write!(f, "net.{family}.conf.*.{name}")
    }
}

/// A setting that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {setting} of interface `{}`: {source}", interface.escape_default())]
pub struct SysctlError {
    /// The setting.
    pub setting: Sysctl,
    /// The interface.
    pub interface: String,
    verb: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}
