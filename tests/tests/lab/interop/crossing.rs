//! Routes of one daemon reach another of its kind through us, over one session with both families
//! where it can: what we hear is what it said, and what the other hears is what we may say outside.

use wayleave_lab::{Lab, Why, ensure};

use crate::interop::daemon::{Daemon, Route, Setup, is_ipv6, networks};
use crate::interop::ours::{
    ASN, CONVERGED, DAEMON_AS, OWN, Pair, chain, config, heard, peer_config,
};

pub(crate) fn cross<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let ([left, us, right], ends) = chain(lab)?;
    let mut peers = String::new();
    for (n, [outer, _]) in ends.iter().enumerate() {
        let of = |families| format!("families = [{families}]");
        if D::BOTH_OVER_IPV4 {
            peers += &peer_config(NAMES[n], outer.v4, numbers(n), "");
        } else {
            peers += &peer_config(NAMES[n], outer.v4, numbers(n), &of("\"ipv4\""));
            peers += &peer_config(NAMES6[n], outer.v6, numbers(n), &of("\"ipv6\""));
        }
    }
    let mut daemons = Vec::new();
    for (n, host) in [left, right].iter().enumerate() {
        let [here, there] = &ends[n];
        let setup = match D::BOTH_OVER_IPV4 {
            true => Setup::beside(numbers(n), id(n), here, there),
            false => Setup::beside_twice(numbers(n), id(n), here, there),
        };
        daemons.push(D::start(lab, host, &setup)?);
    }
    let agent = lab.agent(&us, &config(3, &OWN, &peers))?;
    for (n, [outer, _]) in ends.iter().enumerate() {
        let other = 1 - n;
        let [_, ours] = &ends[other];
        let prepended = format!("{0} {0}", numbers(n));
        for prefix in networks(id(n)) {
            let at = |v4: &dyn ToString, v6: &dyn ToString| match is_ipv6(&prefix) {
                true => v6.to_string(),
                false => v4.to_string(),
            };
            let name = match is_ipv6(&prefix) && !D::BOTH_OVER_IPV4 {
                true => NAMES6[n],
                false => NAMES[n],
            };
            let expected = Route::rich(&prepended, at(&outer.v4, &outer.v6));
            lab.until(CONVERGED, &format!("us to hear {prefix}"), || {
                let route = heard(&agent, name, &prefix)?;
                ensure!(route == expected, "{route:?} and not {expected:?}");
                Ok(())
            })?;
            // MED stays behind (RFC 4271, 5.1.4), so does LOCAL_PREF (5.1.5).
            let expected = Route {
                med: 0,
                ..Route::rich(format!("{ASN} {prepended}"), at(&ours.v4, &ours.v6))
            };
            lab.until(CONVERGED, &format!("the other to hear {prefix}"), || {
                let route = Route {
                    local_pref: None,
                    ..daemons[other].best(&prefix)?
                };
                ensure!(route == expected, "{route:?} and not {expected:?}");
                Ok(())
            })?;
        }
        lab.until(CONVERGED, "our own routes to arrive", || {
            for prefix in OWN {
                let route = daemons[n].best(prefix)?;
                ensure!(route.path == ASN.to_string(), "{prefix}: {route:?}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// An IPv6 route needs a next hop that the address of an IPv4 session cannot be.
pub(crate) fn unset_next_hop<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    // Where one session cannot do it, it cannot with a next hop that is set either.
    let unset = D::BOTH_OVER_IPV4;
    let pair = Pair::<D>::start(lab, |setup| setup.next_hop_unset = unset, "")?;
    let [_, prefix] = networks(1);
    let Some(expected) = D::unset_next_hop(&pair.link.a) else {
        lab.until(CONVERGED, "us to close over its IPv6 route", || {
            // Where the prefixes begin is not known then (RFC 7606, 7.11): UPDATE Message Error,
            // Optional Attribute Error.
            let peer = pair.peer()?;
            let code = serde_json::json!({ "sent": true, "code": 3, "subcode": 9 });
            let seen = &peer["last_error_code"];
            ensure!(*seen == code, "{seen}: {}", peer["last_error"]);
            Ok(())
        })?;
        return Ok(());
    };
    lab.until(CONVERGED, "its IPv6 route to arrive", || {
        let route = heard(&pair.agent, "daemon", &prefix)?;
        ensure!(route.next_hop == expected, "{route:?}");
        Ok(())
    })?;
    Ok(())
}

const NAMES: [&str; 2] = ["left", "right"];
/// The sessions of IPv6, where there are two.
const NAMES6: [&str; 2] = ["left6", "right6"];

fn numbers(n: usize) -> u32 {
    DAEMON_AS + u32::from(id(n)) - 1
}

fn id(n: usize) -> u8 {
    [1, 2][n]
}
