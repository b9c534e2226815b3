//! What a start found wrong, for as long as it is so.
//!
//! The owner of these problems raises them at a start, when it looks at everything. What they are
//! about is told by their keys, so that whoever removes it need not know whether it was one.

use wayleave_netlink::{Kernel, LinkId, sysctl::Sysctl};

use super::{Attachments, Shared, group};

/// A lease whose record is missing, by address.
pub(super) const LEASE: &str = "attach.lease.";
/// A lease that does not fit the configuration, by address.
pub(super) const MISFIT: &str = "ipam.misfit.";
/// An interface of ours without a record, by name.
pub(super) const ORPHAN: &str = "attach.orphan.";
/// An attachment that could not be put in order, by the name of its interface.
pub(super) const REPAIR: &str = "attach.repair.";
/// A family the host does not forward.
pub(super) const FORWARDING: &str = "attach.forwarding.";

impl Attachments {
    /// Clears the problems of the start that are none any more, whoever saw to that.
    pub fn recheck(&self) {
        self.shared.clear_solved();
    }
}

impl Shared {
    /// As [`Attachments::recheck`]. What cannot be looked at is left standing.
    pub(super) fn clear_solved(&self) {
        for standing in self.settings.problems.standing() {
            let key = standing.problem.key.as_str();
            if self.is_solved(key) {
                self.settings.problems.clear(key);
            }
        }
    }

    fn is_solved(&self, key: &str) -> bool {
        if let Some(address) = key.strip_prefix(LEASE) {
            let state = self.lock();
            let lease = address.parse().ok().and_then(|a| state.allocator.lease(a));
            lease.is_none_or(|lease| state.attachments.contains_key(&lease.owner))
        } else if let Some(address) = key.strip_prefix(MISFIT) {
            let state = self.lock();
            let lease = address.parse().ok().and_then(|a| state.allocator.lease(a));
            lease.is_none()
        } else if let Some(name) = key.strip_prefix(ORPHAN) {
            self.is_gone(name)
        } else if let Some(name) = key.strip_prefix(REPAIR) {
            let state = self.lock();
            !state.attachments.values().any(|a| a.host_name == name)
        } else {
            let setting = match key.strip_prefix(FORWARDING) {
                Some("ipv4") => Sysctl::ForwardingV4,
                Some("ipv6") => Sysctl::ForwardingV6,
                Some(_) | None => return false,
            };
            setting.read("all").is_ok_and(|value| value != 0)
        }
    }

    /// Whether no interface of this name is ours.
    fn is_gone(&self, name: &str) -> bool {
        let Ok(mut host) = self.host_socket() else {
            return false;
        };
        host.link(&LinkId::Name(name.to_owned()))
            .is_ok_and(|link| link.is_none_or(|link| !group::is_ours(link.group)))
    }
}
