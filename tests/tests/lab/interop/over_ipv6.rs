//! IPv4 routes over IPv6 next hops (RFC 8950), on a link without IPv4 addresses. FRR and BIRD have that in
//! `unnumbered`.

use serde_json::json;
use wayleave_lab::{Host, Lab, Link, Why, ensure};

use crate::interop::daemon::{Daemon, Families, Setup};
use crate::interop::documented::{afterwards, block};
use crate::interop::ours::{ASN, CONVERGED, DAEMON_AS, heard};
use crate::interop::{exabgp, gobgp, openbgpd};

const THEIRS: &str = "198.51.100.0/24";
const OURS: &str = "203.0.113.0/24";
const AGENT: &str = "The agent, with IPv6 next hops";

crate::interop::tests! { gobgp::Tested, [Agent],
    gobgp_and_a_host_exchange_ipv4_over_ipv6_addresses => over_ipv6::crosses,
}
crate::interop::tests! { exabgp::Tested, [Agent],
    exabgp_and_a_host_exchange_ipv4_over_ipv6_addresses => over_ipv6::crosses,
}
crate::interop::tests! { openbgpd::Tested, [Agent],
    openbgpd_is_told_no_ipv4_over_ipv6_addresses => over_ipv6::not_told,
}

pub(crate) fn crosses<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let (far, us, link) = bare(lab)?;
    let ends = [&link.b, &link.a];
    let heading = format!("{}, with IPv6 next hops", D::HEADING);
    let daemon = D::run(lab, &far, &block(&heading, 0, &ends)?)?;
    afterwards::<D>(&far, &heading, &ends)?;
    let agent = lab.agent(&us, &block(AGENT, 0, &ends)?)?;
    let (hop, ours) = (link.a.v6.to_string(), link.b.v6.to_string());
    lab.until(CONVERGED, "IPv4 routes to cross both ways", || {
        let route = heard(&agent, "daemon", THEIRS)?;
        ensure!(route.next_hop == hop, "{route:?}");
        let route = us.ip(&format!("route show {THEIRS}"))?;
        ensure!(route.contains(&format!("via inet6 {hop} ")), "{route}");
        let route = daemon.best(OURS)?;
        ensure!(route.next_hop == ours, "{route:?}");
        Ok(())
    })?;
    Ok(())
}

/// Whoever has not said that it can is told nothing, and our operator why.
pub(crate) fn not_told<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let (far, us, link) = bare(lab)?;
    let mut setup = Setup::beside_twice(DAEMON_AS, 1, &link.a, &link.b);
    setup.neighbours.remove(0);
    setup.neighbours[0].families = Families::Both;
    D::start(lab, &far, &setup)?;
    let config = block(AGENT, 0, &[&link.b, &link.a])?
        .replace("asn = 65000", &format!("asn = {DAEMON_AS}"))
        .replace("asn = 65001", &format!("asn = {ASN}"));
    let agent = lab.agent(&us, &config)?;
    lab.until(CONVERGED, "us to say that they are not sent", || {
        let peer = agent.cli(["peers", "daemon"])?;
        ensure!(peer["state"] == "Established", "{}", peer["last_error"]);
        let warnings = peer["warnings"].to_string();
        ensure!(warnings.contains("ipv4-unicast routes"), "{warnings}");
        Ok(())
    })?;
    let told = agent.cli(["routes", "--rib", "out", "--peer", "daemon"])?;
    ensure!(told["routes"] == json!([]), "{told}");
    Ok(())
}

/// The daemon's host and ours on a cable that has no IPv4 addresses.
fn bare(lab: &Lab) -> Result<(Host, Host, Link), Why> {
    let (far, us) = (lab.host("far")?, lab.host("us")?);
    let link = lab.link(&far, &us)?;
    for end in [&link.a, &link.b] {
        end.host.ip(&format!("-4 address flush dev {}", end.name))?;
    }
    Ok((far, us, link))
}
