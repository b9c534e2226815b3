//! What the kernel cannot tell apart: it looks for the password of whoever connects by the address
//! alone, and takes that of the longest prefix.

use std::net::Ipv6Addr;

use super::{check::Check, diagnostic::Fault, model::Peer, model::Range};
use wayleave_bgp_core::Prefix;

/// Neighbours that would be held to a password that is not theirs.
pub(super) fn check(peers: &[Peer], ranges: &[Range], check: &mut Check<'_>) {
    let signed = |prefix: Prefix| {
        let covering = ranges.iter().filter(|range| {
            range.options.password.value.is_some() && range.prefix.value.contains(prefix)
        });
        covering.max_by_key(|range| range.prefix.value.len())
    };
    let mut refuse = |who: String, range: &Range, help: &str| {
        let outer = range.prefix.value;
        let fault = Fault::new(format!(
            "{who} has no password, and [[range]] {outer} ({}), which has one, contains it: the kernel \
             would want it signed all the same",
            range.prefix.origin
        ));
        check.faults.push(fault.help(help));
    };
    for peer in peers {
        // One that is found on its link has some link-local address.
        let address = match peer.transport.address.value {
            Some(address) => Prefix::host(address),
            None => Prefix::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(), 64),
        };
        if peer.options.password.value.is_none()
            && let Some(range) = signed(address)
        {
            let origin = peer.origin();
            let help = match peer.transport.unnumbered() {
                Some(_) => "take link-local addresses out of the range, or its password",
                None => "give it a password as well, or take it out of the range",
            };
            refuse(
                format!("[[peer]] {} ({origin})", peer.name.value),
                range,
                help,
            );
        }
    }
    for range in ranges {
        let prefix = range.prefix.value;
        if range.options.password.value.is_none()
            && let Some(outer) = signed(prefix)
        {
            refuse(
                format!("[[range]] {prefix} ({})", range.prefix.origin),
                outer,
                "give it a password as well, or take it out of the range",
            );
        }
    }
    for (n, first) in peers.iter().enumerate() {
        let Some(address) = first.transport.address.value else {
            continue;
        };
        let twin = peers.iter().skip(n + 1).find(|other| {
            other.transport.address.value == Some(address)
                && other.options.password.value != first.options.password.value
        });
        if let Some(twin) = twin {
            let fault = Fault::new(format!(
                "[[peer]] {} and [[peer]] {} have the address {address} on two interfaces and different \
                 passwords: the kernel cannot tell whose to ask for",
                first.name.value, twin.name.value
            ));
            check.faults.push(fault.help("give both the same password"));
        }
    }
}
