//! What a neighbour with an Established session gets wrong: it costs as much as RFC 7606 says, and
//! nobody else anything.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, FrrConfig, Why, ensure, lab};

use crate::scripted::{
    END_OF_RIB_IPV4, KEEPALIVE, Message, NOTIFICATION, Scripted, UPDATE, octets,
};

const CONVERGED: Duration = Duration::from_secs(30);

/// What is done about it (RFC 7606, 2).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cost {
    /// Nothing: it only looks like a mistake.
    Nothing,
    /// The route, but not the session.
    Route,
    /// An attribute, but not the route.
    Attribute,
    /// The session, by a NOTIFICATION of this code and subcode.
    Session(u8, u8),
}

use Cost::{Attribute, Nothing, Route, Session};

/// Right attributes: ORIGIN, AS_PATH of AS 65009. `N` is the neighbour's own address.
const O: &str = "40010100";
const A: &str = "400206 0201 0000fdf1";
const N: &str = "400304 N";
/// The prefix the malformed UPDATE is about, 203.0.113.0/24.
const V: &str = "18cb0071";
/// And of IPv6, 2001:db8::/32.
const V6: &str = "20 20010db8";

/// An UPDATE of these attributes for the prefix; both lengths are right.
const ATTRIBUTES: [(&str, [&str; 4], Cost); 22] = [
    (
        "ORIGIN with two octets of length (RFC 4271, 4.3)",
        ["5001000100", A, N, ""],
        Nothing,
    ),
    (
        "an unknown attribute, optional and transitive (RFC 4271, 5)",
        [O, A, N, "c0c801 00"],
        Nothing,
    ),
    (
        "MP_REACH_NLRI of a family nobody has asked for (RFC 4760, 6)",
        [O, A, N, "800e09 40044700 000000 0000"],
        Nothing,
    ),
    ("no attributes at all (3 d)", ["", "", "", ""], Route),
    (
        "no ORIGIN, and ATOMIC_AGGREGATE of one octet: the stronger counts (3 h)",
        ["", A, N, "40060100"],
        Route,
    ),
    (
        "ORIGIN of two octets (7.1)",
        ["4001020000", A, N, ""],
        Route,
    ),
    ("ORIGIN of value 3 (7.1)", ["40010103", A, N, ""], Route),
    (
        "ORIGIN marked optional (3 c)",
        ["c0010100", A, N, ""],
        Route,
    ),
    ("no ORIGIN (3 d)", ["", A, N, ""], Route),
    (
        "AS_PATH whose segment overruns it (7.2)",
        [O, "400206 0202 0000fdf1", N, ""],
        Route,
    ),
    (
        "AS_PATH of an unknown segment (7.2)",
        [O, "400206 0901 0000fdf1", N, ""],
        Route,
    ),
    (
        "AS_PATH with an empty segment (7.2)",
        [O, "400208 0200 0201 0000fdf1", N, ""],
        Route,
    ),
    ("no NEXT_HOP (3 d)", [O, A, "", ""], Route),
    (
        "NEXT_HOP of five octets (7.3)",
        [O, A, "400305 0a0a0a0a0a", ""],
        Route,
    ),
    (
        "two NEXT_HOPs, the first of which counts (3 g)",
        [O, A, N, "400304 01020304"],
        Attribute,
    ),
    (
        "MULTI_EXIT_DISC that reaches past the attributes (4)",
        [O, A, N, "800408 00000001"],
        Route,
    ),
    (
        "LOCAL_PREF from an external peer (7.5)",
        [O, A, N, "400504 00000064"],
        Attribute,
    ),
    (
        "AGGREGATOR of five octets (7.7)",
        [O, A, N, "c00705 0000fdf101"],
        Attribute,
    ),
    (
        "COMMUNITIES of three octets (7.8)",
        [O, A, N, "c00803 fdf100"],
        Route,
    ),
    (
        "LARGE_COMMUNITY of eleven octets (RFC 8092, 6)",
        [O, A, N, "c0200b 0000fdf100000001000000"],
        Route,
    ),
    (
        "MP_REACH_NLRI whose next hop has five octets (7.11)",
        [O, A, N, "800e0b 000201 05 0102030405 00 00"],
        Session(3, 9),
    ),
    (
        "an unknown attribute marked well-known (RFC 4271, 6.3)",
        [O, A, N, "40c801 00"],
        Session(3, 2),
    ),
];

/// The same of IPv6: attributes before an MP_REACH_NLRI, and the prefix in it.
const IPV6: [(&str, [&str; 2], &str, Cost); 5] = [
    ("ORIGIN of value 3 (7.1), IPv6", ["40010103", A], V6, Route),
    (
        "MULTI_EXIT_DISC of three octets (7.4), IPv6",
        [O, "400206 0201 0000fdf1 800403 000000"],
        V6,
        Route,
    ),
    ("no AS_PATH (3 d), IPv6", [O, ""], V6, Route),
    (
        "a prefix of 129 bits (5.3; RFC 4760, 7)",
        [O, A],
        "81 20010db8",
        Session(3, 9),
    ),
    (
        "a prefix longer than what is left (5.3; RFC 4760, 7)",
        [O, A],
        "40 20010db8",
        Session(3, 9),
    ),
];

/// Whole messages, `M` being the marker.
const MESSAGES: [(&str, &str, Cost); 9] = [
    (
        "withdrawn routes longer than the message (3 b)",
        "M 0017 02 0001 0000",
        Session(3, 1),
    ),
    (
        "attributes longer than the message (3 b)",
        "M 0017 02 0000 0001",
        Session(3, 1),
    ),
    (
        "a prefix of 33 bits (5.3)",
        "M 0030 02 0000 0014 40010100 400206 0201 0000fdf1 400304 N 21cb007100",
        Session(3, 10),
    ),
    (
        "two MP_REACH_NLRI (3 g)",
        "M 0044 02 0000 002d 40010100 400206 0201 0000fdf1 \
      800e0d 000101 04 0a000001 00 18cb0071 800e0d 000101 04 0a000001 00 18cb0071",
        Session(3, 1),
    ),
    ("an unknown type", "M 0013 09", Session(1, 3)),
    (
        "a marker that is none",
        "00112233445566778899aabbccddeeff 0013 04",
        Session(1, 1),
    ),
    ("a length below the least", "M 0012 04", Session(1, 2)),
    (
        "an UPDATE below its least length",
        "M 0016 02 0000 00",
        Session(1, 2),
    ),
    (
        "a KEEPALIVE with something in it",
        "M 0014 04 00",
        Session(1, 2),
    ),
];

#[test]
fn a_malformed_update_costs_what_rfc_7606_says_and_no_other_session() {
    lab!(Frr, Agent).run(|lab| {
        let (us, good, bad) = (lab.host("us")?, lab.host("good")?, lab.host("bad")?);
        let switch = lab.switch("sw", &[&us, &good, &bad])?;
        let (at_us, at_good) = (switch.ends[0].v4, switch.ends[1].v4);
        let mut text = format!(
            "[node]\nrouter_id = \"3.3.3.3\"\n[bgp]\nasn = 65000\nconnect_retry = 1\n\
             [fib]\ninstall = false\n\
             [[peer]]\nname = \"good\"\naddress = \"{at_good}\"\nasn = 65001\n\
             import = \"all\"\nexport = \"all\"\n"
        );
        // Each mistake is made by a neighbour of its own, so that its counters are its own.
        let mut cases: Vec<Case> = Vec::new();
        let at = |n: usize| Ipv4Addr::new(10, 254, 1, 100 + n as u8);
        let hex = |n: usize, text: &str| {
            let own: String = at(n).octets().map(|o| format!("{o:02x}")).concat();
            octets(&text.replace('N', &own).replace('M', &"ff".repeat(16)))
        };
        for (what, attributes, cost) in ATTRIBUTES {
            let message = framed(&update(&hex(cases.len(), &attributes.concat())?, V)?);
            cases.push(Case {
                what,
                is_ipv6: false,
                message,
                cost,
            });
        }
        for (what, attributes, prefix, cost) in IPV6 {
            let reach = reach(switch.ends[2].v6, prefix);
            let message = framed(&update(&octets(&(attributes.concat() + &reach))?, "")?);
            cases.push(Case {
                what,
                is_ipv6: true,
                message,
                cost,
            });
        }
        for (what, message, cost) in MESSAGES {
            let message = hex(cases.len(), message)?;
            cases.push(Case {
                what,
                is_ipv6: false,
                message,
                cost,
            });
        }
        for n in 0..cases.len() {
            bad.address(&switch.ends[2].name, &format!("{}/24", at(n)))?;
            text += &format!(
                "[[peer]]\nname = \"bad{n}\"\naddress = \"{}\"\nasn = 65009\npassive = true\n\
                 import = \"all\"\nexport = \"none\"\n",
                at(n)
            );
        }
        let agent = lab.agent(&us, &text)?;
        let frr = FrrConfig::new(format!(
            "router bgp 65001\n no bgp ebgp-requires-policy\n neighbor {at_us} remote-as 65000\n \
             neighbor {at_us} timers connect 1\n"
        ));
        let frr = lab.frr(&good, frr)?;
        lab.until(CONVERGED, "the good neighbour's session", || {
            ensure!(peer(&agent, "good")?["state"] == "Established", "not yet");
            Ok(())
        })?;

        let mut sessions = Vec::new();
        for (n, case) in cases.iter().enumerate() {
            let Case {
                what,
                is_ipv6,
                message,
                cost,
            } = case;
            let name = format!("bad{n}");
            let source = format!("dev {} src {}", switch.ends[2].name, at(n));
            bad.ip(&format!("route replace {at_us}/32 {source}"))?;
            let mut session = Scripted::establish(&bad, at_us.into(), 65009, at(n))?;
            // The one that is kept tells whether the session and its other routes live.
            let (kept, victim, right) = if *is_ipv6 {
                let reach = reach(switch.ends[2].v6, &format!("20 20010d{n:02x} {V6}"));
                let right = update(&octets(&[O, A, &reach].concat())?, "")?;
                (format!("2001:d{n:02x}::/32"), "2001:db8::/32", right)
            } else {
                let prefixes = format!("20c00002{n:02x} {V}");
                let right = update(&hex(n, &[O, A, N].concat())?, &prefixes)?;
                (format!("192.0.2.{n}/32"), "203.0.113.0/24", right)
            };
            session.say(UPDATE, &right)?;
            session.say(UPDATE, END_OF_RIB_IPV4)?;
            let held = |prefixes: [(&str, bool); 2]| -> Result<(), Why> {
                for (prefix, expected) in prefixes {
                    let path = format!("/v1/routes?rib=in&peer={name}&prefix={prefix}");
                    let routes = agent.api(&path)?;
                    let there = routes["routes"].as_array().is_some_and(|r| !r.is_empty());
                    ensure!(
                        there == expected,
                        "{what}: {prefix} is held: {there}; {routes}"
                    );
                }
                Ok(())
            };
            lab.until(CONVERGED, "the right routes to be held", || {
                held([(&kept, true), (victim, true)])
            })?;
            // The good neighbour has them, too, if it speaks their family.
            if !is_ipv6 {
                lab.until(CONVERGED, "the good neighbour to have both", || {
                    frr.best(&kept)?;
                    frr.best(victim)?;
                    Ok(())
                })?;
            }

            session.say_octets(message)?;
            if let Session(code, subcode) = *cost {
                let told = session
                    .hear_notification()
                    .map_err(|e| format!("{what}: {e:?}"))?;
                // RFC 4760, 7 has its own subcode for prefixes in an attribute, and only SHOULD.
                let general = *is_ipv6 && told == (3, 10);
                ensure!(general || told == (code, subcode), "{what}: {told:?}");
                lab.until(CONVERGED, "the session and its routes to go", || {
                    ensure!(
                        peer(&agent, &name)?["state"] != "Established",
                        "{what}: it is up"
                    );
                    held([(&kept, false), (victim, false)])
                })?;
            } else {
                // What is said behind it is heard: the session goes on.
                session.say(KEEPALIVE, &[])?;
                lab.until(CONVERGED, &format!("{what}: {cost:?}"), || {
                    let peer = peer(&agent, &name)?;
                    let counts = [&peer["treated_as_withdraw"], &peer["attributes_discarded"]];
                    let expected = [u64::from(*cost == Route), u64::from(*cost == Attribute)];
                    ensure!(
                        counts == expected,
                        "{what}: {counts:?}, {}",
                        peer["last_malformed"]
                    );
                    ensure!(
                        peer["state"] == "Established",
                        "{what}: {}",
                        peer["last_error"]
                    );
                    held([(&kept, true), (victim, *cost != Route)])
                })?;
                if *cost == Route && !is_ipv6 {
                    lab.until(CONVERGED, "the good neighbour to lose it", || {
                        frr.best(&kept)?;
                        ensure!(frr.best(victim).is_err(), "{what}: FRR has {victim}");
                        Ok(())
                    })?;
                }
                // The route that stays would hide what becomes of the next one's.
                session.say(UPDATE, &octets(&format!("0004 {V} 0000"))?)?;
                sessions.push((what, name, session));
            }
        }
        for (what, name, mut session) in sessions {
            let peer = peer(&agent, &name)?;
            ensure!(
                peer["state"] == "Established" && peer["established_count"] == 1,
                "{what}: the session was lost later: {peer}"
            );
            // And nobody was told off.
            session.say_octets(&framed(&[0; 2]))?;
            let heard: Vec<Message> =
                std::iter::from_fn(|| session.hear().ok().flatten()).collect();
            let last = heard.last().ok_or("nothing was heard")?;
            ensure!(
                last.0 == NOTIFICATION && last.1[..2] == [1, 2],
                "{what}: the last word was {last:?}, and not about the message just sent"
            );
        }
        let good = peer(&agent, "good")?;
        ensure!(
            good["established_count"] == 1,
            "the good neighbour's session: {good}"
        );
        bad.ip(&format!("route del {at_us}/32"))?;
        Ok(())
    });
}

/// A mistake, made on a session that has announced right routes of the family before.
struct Case {
    what: &'static str,
    is_ipv6: bool,
    message: Vec<u8>,
    cost: Cost,
}

/// MP_REACH_NLRI of IPv6 (RFC 4760, 3) in hexadecimal digits.
fn reach(next_hop: Ipv6Addr, prefixes: &str) -> String {
    let hop: String = next_hop.octets().map(|o| format!("{o:02x}")).concat();
    let digits = prefixes.replace(' ', "");
    format!(
        "800e{:02x} 000201 10 {hop} 00 {digits}",
        21 + digits.len() / 2
    )
}

/// The body of an UPDATE that announces prefixes.
fn update(attributes: &[u8], prefixes: &str) -> Result<Vec<u8>, Why> {
    let mut body = vec![0, 0];
    body.extend(u16::try_from(attributes.len())?.to_be_bytes());
    body.extend(attributes);
    body.extend(octets(prefixes)?);
    Ok(body)
}

/// An UPDATE with a right header.
fn framed(body: &[u8]) -> Vec<u8> {
    let length = body.len() + 19;
    let mut message = vec![0xff; 16];
    message.extend([(length >> 8) as u8, length as u8, UPDATE]);
    message.extend(body);
    message
}

fn peer(agent: &Agent, name: &str) -> Result<Value, Why> {
    Ok(agent.api(&format!("/v1/peers/{name}"))?)
}
