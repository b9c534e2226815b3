//! What keeps neighbours from being found, in words.

use std::io;

use wayleave_bgp_core::Time;

use super::search::{Search, Standing};
use crate::{
    problem::{Problem, Severity},
    text,
};

/// What the keys of these problems begin with.
pub(super) const KEYS: &str = "neighbor.";

/// What is wrong on one interface.
pub(super) fn of_search(interface: &str, search: &Search, now: Time) -> Vec<Problem> {
    let unheard = search.is_in_vain(now).then(|| unheard(interface, search));
    let several = search
        .neighbor()
        .and_then(|neighbor| several(interface, &neighbor.to_string(), search));
    unheard.into_iter().chain(several).collect()
}

/// The key of the problem that nobody is heard on an interface.
pub(super) fn unheard_key(interface: &str) -> String {
    format!("{KEYS}unheard.{interface}")
}

fn unheard(interface: &str, search: &Search) -> Problem {
    let (why, fix) = match (search.standing(), search.unsent()) {
        (Standing::Missing, _) => (
            "there is no interface of this name".to_owned(),
            "make it, or correct `interface` of the [[peer]]; `ip link` lists what there is".to_owned(),
        ),
        (Standing::Down, _) => (
            "the interface is down, or has no carrier".to_owned(),
            format!(
                "set it up (`ip link set {interface} up`), and see whether the cable and the other end are"
            ),
        ),
        (Standing::NoAddress, _) => (
            "the interface has no IPv6 link-local address that can be used".to_owned(),
            format!(
                "see `ip -6 address show dev {interface}`: without any, set the sysctl \
                 net.ipv6.conf.{interface}.disable_ipv6 to 0; with `dadfailed`, somebody else on the link \
                 has the same"
            ),
        ),
        (Standing::Usable(_), Some(error)) => (
            format!("router advertisements cannot be sent there: {error}"),
            "let ICMPv6 of the types 133 and 134 leave this host".to_owned(),
        ),
        (Standing::Usable(_), None) => (
            "nobody sends router advertisements there, by which it would be found".to_owned(),
            "see that the router at the other end has this link as unnumbered, too (FRR: `neighbor \
             INTERFACE interface remote-as external`), and that no firewall drops ICMPv6 of the types 133 \
             and 134; or write its link-local address as `address` beside `interface`"
                .to_owned(),
        ),
    };
    Problem {
        key: unheard_key(interface),
        severity: Severity::Error,
        what: format!("no neighbour is found on {interface}"),
        why,
        fix,
    }
}

fn several(interface: &str, neighbor: &str, search: &Search) -> Option<Problem> {
    let others: Vec<_> = search.others().map(|other| other.to_string()).collect();
    (!others.is_empty()).then(|| Problem {
        key: format!("{KEYS}several.{interface}"),
        severity: Severity::Warning,
        what: format!(
            "there are several routers on the link of {interface}: {neighbor}, which is taken for the \
             neighbour, and {}",
            others.join(", ")
        ),
        why: "a [[peer]] without an address is for links with one neighbour, and whoever is heard first \
              is it"
            .to_owned(),
        fix: "write a [[peer]] with `address` and `interface` for each of them, or take the others off \
              the link"
            .to_owned(),
    })
}

/// No socket, no neighbours.
pub(super) fn no_socket(error: &io::Error) -> Problem {
    let fix = if error.kind() == io::ErrorKind::PermissionDenied {
        "give wayleaved CAP_NET_RAW: under systemd run `systemctl edit wayleaved`, write [Service], \
         CapabilityBoundingSet=CAP_NET_RAW and AmbientCapabilities=CAP_NET_RAW on three lines, and restart \
         it; or write the neighbours' link-local addresses as `address` beside `interface`"
    } else {
        "see whether this host has IPv6 at all; it is tried again in half a minute"
    };
    Problem {
        key: format!("{KEYS}no-socket"),
        severity: Severity::Error,
        what: "neighbours of peers without an address cannot be found, nor find this host"
            .to_owned(),
        why: format!(
            "there is no raw ICMPv6 socket for router advertisements: {}",
            text::io_reason(error)
        ),
        fix: fix.to_owned(),
    }
}

/// No news of interfaces.
pub(super) fn no_news(error: &wayleave_netlink::KernelError) -> Problem {
    Problem {
        key: format!("{KEYS}no-news"),
        severity: Severity::Error,
        what: "neighbours of peers without an address cannot be found".to_owned(),
        why: format!("the kernel does not tell of interfaces and addresses: {error}"),
        fix: "nothing; it is tried again in half a minute".to_owned(),
    }
}
