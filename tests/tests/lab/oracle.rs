//! The oracle can find what it is there to find: every invariant holds first, and is then violated
//! on purpose.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use wayleave_lab::{Container, Host, Lab, LabError, Why, ensure, lab, oracle};

use oracle::Violation;

use crate::fabric::{Between, Fabric};

#[test]
fn i1_finds_an_address_that_two_containers_hold() {
    lab!().leaves_trouble().run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        let first = lab.container(&a, "c")?;
        let second = lab.container(&b, "c")?;
        attach(lab, &first, 1)?;
        attach(lab, &second, 2)?;
        holds(&oracle::one_holder_each(lab)?)?;

        second.inside().address("eth0", "10.1.0.1/32")?;
        let found = oracle::one_holder_each(lab)?;
        finds(&found, 1, "I1 10.1.0.1: is held by a-c and b-c")?;

        first.vanish()?;
        holds(&oracle::one_holder_each(lab)?)
    });
}

#[test]
fn i2_finds_a_container_that_a_host_cannot_reach_unless_that_is_declared() {
    lab!().leaves_trouble().run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        let link = lab.link(&a, &b)?;
        let first = lab.container(&a, "c")?;
        let second = lab.container(&b, "c")?;
        attach(lab, &first, 1)?;
        attach(lab, &second, 2)?;
        a.ip(&format!("route add 10.1.0.2/32 via {}", link.b.v4))?;
        a.ip(&format!("route add fd00:1::2/128 via {}", link.b.v6))?;
        b.ip(&format!("route add 10.1.0.1/32 via {}", link.a.v4))?;
        b.ip(&format!("route add fd00:1::1/128 via {}", link.a.v6))?;
        holds(&oracle::all_reachable(lab)?)?;

        // Host b and its container, and the container on a, whose requests b cannot answer.
        b.ip("route del fd00:1::1/128")?;
        let found = oracle::all_reachable(lab)?;
        finds(&found, 3, "I2 b: a-c (fd00:1::1) cannot be reached from it")?;

        lab.declare_cut_off(&[&b]);
        holds(&oracle::all_reachable(lab)?)?;
        lab.declare_cut_off(&[]);
        ensure!(
            !oracle::all_reachable(lab)?.is_empty(),
            "healed by declaration"
        );
        Ok(())
    });
}

#[test]
fn i3_finds_routes_that_only_the_kernel_or_only_the_agent_has() {
    lab!().leaves_trouble().run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        let (one, two) = (lab.link(&a, &b)?, lab.link(&a, &b)?);
        let (v4, v6) = (one.b.v4, one.b.v6);
        let (other4, other6) = (two.b.v4, two.b.v6);
        for words in [
            format!("route add 10.2.0.0/24 via {v4} proto 201"),
            format!("route add 10.2.1.1/32 proto wayleave nexthop via {v4} nexthop via {other4}"),
            "route add blackhole 10.2.2.0/24 proto 201 metric 999".to_owned(),
            format!("route add 10.2.3.0/24 via inet6 {v6} proto 201"),
            "route add 10.2.4.0/24 dev lo proto 201 table 100".to_owned(),
            format!("-6 route add fd00:2::/64 proto 201 nexthop via {v6} nexthop via {other6}"),
            "-6 route add blackhole fd00:3::/64 proto 201".to_owned(),
            format!("route add 10.9.0.0/24 via {v4} proto static"),
        ] {
            a.ip(&words)?;
        }
        let (dev1, dev2) = (&one.a.name, &two.a.name);
        let route = |prefix: &str, metric: u32, kind: &str, hops: Value| {
            let installed = json!({ "kind": kind, "next_hops": hops });
            json!({ "prefix": prefix, "metric": metric, "installed": installed })
        };
        let view = oracle::agent_view(&json!({ "routes": [
            route("10.2.0.0/24", 0, "unicast", json!([{ "gateway": v4, "dev": dev1 }])),
            route("10.2.1.1/32", 0, "unicast", json!([
                { "gateway": other4, "dev": dev2 }, { "gateway": v4, "dev": dev1 },
            ])),
            route("10.2.2.0/24", 999, "blackhole", json!([])),
            route("10.2.3.0/24", 0, "unicast", json!([{ "gateway": v6, "dev": dev1 }])),
            route("10.2.4.0/24", 0, "unicast", json!([{ "dev": "lo" }])),
            route("fd00:2::/64", 1024, "unicast", json!([
                { "gateway": v6, "dev": dev1 }, { "gateway": other6, "dev": dev2 },
            ])),
            route("fd00:3::/64", 1024, "blackhole", json!([])),
        ]}))?;
        holds(&oracle::difference("a", &oracle::kernel_view(&a)?, &view))?;

        a.ip("route del 10.2.0.0/24")?;
        let found = oracle::difference("a", &oracle::kernel_view(&a)?, &view);
        finds(
            &found,
            1,
            "I3 a: believed, not in the kernel: unicast 10.2.0.0/24 metric 0 via",
        )?;

        a.ip(&format!("route add 10.2.0.0/24 via {v4} proto 201"))?;
        a.ip("-6 route add blackhole fd00:4::/64 proto 201")?;
        let found = oracle::difference("a", &oracle::kernel_view(&a)?, &view);
        finds(
            &found,
            1,
            "I3 a: in the kernel, unknown to the agent: blackhole fd00:4::/64",
        )
    });
}

#[test]
fn i4_finds_every_foreign_thing_that_came_or_went_and_nothing_else() {
    lab!(Nft).leaves_trouble().run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        let link = lab.link(&a, &b)?;
        a.ip("route add 10.3.0.0/24 dev lo")?;
        a.ip("-6 route add blackhole fd00:3::/64 proto static")?;
        a.run(["nft", "table inet theirs { chain c { counter; }; }"])?;
        lab.snapshot()?;

        // What is ours, what counts, and what comes back may change.
        a.ip("route add 10.3.1.0/24 dev lo proto 201")?;
        a.ip("rule add from 10.3.0.0/24 table 100 protocol 201")?;
        a.run(["nft", "table inet wayleave { chain c { counter; }; }"])?;
        lab.link(&a, &b)?;
        link.down()?;
        holds(&oracle::foreign_untouched(lab)?)?;
        link.up()?;
        lab.until(
            Duration::from_secs(5),
            "the cable's own routes to come back",
            || holds(&oracle::foreign_untouched(lab)?),
        )?;

        type Fault = (
            &'static [&'static str],
            &'static [&'static str],
            &'static str,
        );
        let faults: [Fault; 5] = [
            (
                &["ip", "route", "del", "10.3.0.0/24"],
                &["ip", "route", "add", "10.3.0.0/24", "dev", "lo"],
                "is gone: route -4",
            ),
            (
                &["ip", "-6", "route", "del", "blackhole", "fd00:3::/64"],
                &[
                    "ip",
                    "-6",
                    "route",
                    "add",
                    "blackhole",
                    "fd00:3::/64",
                    "proto",
                    "static",
                ],
                "is gone: route -6",
            ),
            (
                &["ip", "route", "add", "blackhole", "10.3.2.0/24"],
                &["ip", "route", "del", "blackhole", "10.3.2.0/24"],
                "is new: route -4",
            ),
            (
                &["ip", "rule", "add", "from", "10.3.0.0/24", "table", "200"],
                &["ip", "rule", "del", "from", "10.3.0.0/24", "table", "200"],
                "is new: rule -4",
            ),
            (
                &["nft", "add table inet other"],
                &["nft", "delete table inet other"],
                "is new: table inet other",
            ),
        ];
        for (fault, undo, expected) in faults {
            a.run(fault)?;
            finds(&oracle::foreign_untouched(lab)?, 1, expected)?;
            a.run(undo)?;
            holds(&oracle::foreign_untouched(lab)?)?;
        }
        // Changed inside: the old text is gone, a new one there.
        a.run(["nft", "add rule inet theirs c accept"])?;
        finds(
            &oracle::foreign_untouched(lab)?,
            2,
            "is gone: table inet theirs",
        )
    });
}

#[test]
fn i5_finds_deaths_ungraceful_stops_and_last_words() {
    lab!().leaves_trouble().run(|lab| {
        let host = lab.host("h")?;
        let process = lab.process(&host, "dies", ["sleep", "600"])?;
        process.pause()?;
        process.resume()?;
        process.kill()?;
        holds(&oracle::nothing_crashed(lab)?)?;

        process.start()?;
        process.signal(Signal::SIGSEGV)?;
        lab.until(Duration::from_secs(5), "it to die", || {
            ensure!(!process.alive(), "still alive");
            Ok(())
        })?;
        finds(
            &oracle::nothing_crashed(lab)?,
            1,
            "I5 h.dies: ended by itself with signal: 11",
        )?;

        let stubborn = lab.process(
            &host,
            "stubborn",
            [
                "sh",
                "-c",
                "trap 'exit 3' TERM; while :; do sleep 0.01; done",
            ],
        )?;
        lab.until(Duration::from_secs(5), "the trap to be set", || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", stubborn.pid()?))?;
            // The bit of SIGTERM, 15, in the mask of caught signals.
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let mask = u64::from_str_radix(caught.unwrap_or_default().trim(), 16)?;
            ensure!(mask & (1 << 14) != 0, "{mask:x}");
            Ok(())
        })?;
        let stopped = stubborn.stop(Duration::from_secs(5));
        ensure!(
            matches!(stopped, Err(LabError::Process { .. })),
            "{stopped:?}"
        );
        let asked = "I5 h.stubborn: was asked to stop and ended with exit status: 3";
        finds(&oracle::nothing_crashed(lab)?, 2, asked)?;

        for (found, name, said) in [
            (3, "talks", "thread 'main' panicked at src/main.rs:1:1:"),
            (4, "agent", "2026-01-01 error panic, a bug in wayleaved: no"),
        ] {
            let words = format!("echo \"{said}\"; exec sleep 600");
            lab.process(&host, name, ["sh", "-c", &words])?;
            lab.until(Duration::from_secs(5), "its words", || {
                let expected = format!("I5 h.{name}: said \"{said}");
                finds(&oracle::nothing_crashed(lab)?, found, &expected)
            })?;
        }
        Ok(())
    });
}

#[test]
fn i6_finds_memory_and_descriptors_that_were_not_given_back() {
    lab!().leaves_trouble().run(|lab| {
        let host = lab.host("h")?;
        // Grows on SIGUSR1, leaks descriptors on SIGUSR2, and says when it has.
        let script = "trap 'x=$(head -c 8000000 /dev/zero | tr \"\\0\" x); echo grown' USR1
                      trap 'exec 4</dev/null 5</dev/null 6</dev/null; echo leaked' USR2
                      echo ready
                      while :; do sleep 0.01; done";
        let says = |process: &wayleave_lab::Process, word: &str| {
            lab.until(Duration::from_secs(10), word, || {
                ensure!(process.log().contains(word), "it said {:?}", process.log());
                Ok(())
            })
        };
        let grows = lab.process(&host, "grows", ["sh", "-c", script])?;
        let leaks = lab.process(&host, "leaks", ["sh", "-c", script])?;
        says(&grows, "ready")?;
        says(&leaks, "ready")?;
        lab.baseline()?;
        holds(&oracle::resources_returned(lab)?)?;

        leaks.signal(Signal::SIGUSR2)?;
        says(&leaks, "leaked")?;
        finds(&oracle::resources_returned(lab)?, 1, "I6 h.leaks: has")?;

        grows.signal(Signal::SIGUSR1)?;
        says(&grows, "grown")?;
        finds(&oracle::resources_returned(lab)?, 2, "I6 h.grows: uses")
    });
}

#[test]
fn i6_is_asked_of_agents_after_a_fault_without_a_baseline_of_the_test() {
    lab!(Agent).leaves_trouble().run(|lab| {
        let host = lab.host("h")?;
        let agent = lab.agent(&host, "[bgp]\nasn = 65000\n[fib]\ninstall = false\n")?;
        let clients = || -> Result<Vec<UnixStream>, Why> {
            let socket = agent.run_directory().join("wayleave.sock");
            let clients = (0..20).map(|_| Ok(UnixStream::connect(&socket)?));
            clients.collect()
        };
        let open = || -> Result<usize, Why> {
            Ok(std::fs::read_dir(format!("/proc/{}/fd", agent.process().pid()?))?.count())
        };
        // Without a fault nothing is compared.
        let rest = open()?;
        let before = clients()?;
        lab.until(Duration::from_secs(10), "the agent to take them", || {
            ensure!(open()? >= rest + 16, "{} descriptors", open()?);
            Ok(())
        })?;
        holds(&oracle::resources_returned(lab)?)?;
        drop(before);
        lab.until(
            Duration::from_secs(10),
            "the agent to let go of them",
            || {
                ensure!(open()? <= rest + 2, "{} descriptors", open()?);
                Ok(())
            },
        )?;
        agent.pause()?;
        agent.resume()?;
        holds(&oracle::resources_returned(lab)?)?;
        let _held = clients()?;
        lab.until(Duration::from_secs(10), "the agent to take them", || {
            finds(&oracle::resources_returned(lab)?, 1, "I6 h.wayleaved: has")
        })?;
        Ok(())
    });
}

#[test]
fn i7_finds_promises_that_are_not_kept_and_remains() {
    lab!().leaves_trouble().run(|lab| {
        let host = lab.host("h")?;
        let container = lab.container(&host, "c")?;
        attach(lab, &container, 1)?;
        let result = json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                { "name": "h-1" },
                { "name": "eth0", "sandbox": container.inside().namespace_path() },
            ],
            "ips": [{ "address": "10.1.0.1/32" }, { "address": "fd00:1::1/128" }],
        });
        container.attached_by_hand(result.clone(), false);
        holds(&oracle::attachments_true(lab)?)?;

        container.inside().ip("address del 10.1.0.1/32 dev eth0")?;
        let lost = "I7 h-c: was promised 10.1.0.1 and does not hold it";
        finds(&oracle::attachments_true(lab)?, 1, lost)?;
        container.inside().ip("address add 10.1.0.1/32 dev eth0")?;
        // With its last address the kernel took the default route.
        container
            .inside()
            .ip("route add default via 169.254.1.1 dev eth0 onlink")?;

        host.ip("route del fd00:1::1/128")?;
        finds(
            &oracle::attachments_true(lab)?,
            1,
            "I7 h-c: its fd00:1::1 does not answer",
        )?;

        // The DEL is said to have succeeded, and everything is still there.
        container.attached_by_hand(result, true);
        let found = oracle::attachments_true(lab)?;
        finds(&found, 3, "I7 h-c: still has the interface eth0")?;
        finds(&found, 3, "I7 h-c: the host still has its interface h-1")?;
        finds(&found, 3, "I7 h-c: the host still has a route to 10.1.0.1")?;

        host.ip("link del h-1")?;
        lab.until(Duration::from_secs(5), "nothing to be left", || {
            holds(&oracle::attachments_true(lab)?)
        })?;
        Ok(())
    });
}

#[test]
fn i8_finds_what_the_agents_own_audit_finds() {
    // The books of an agent cannot be falsified from outside; what is tested is that an answer
    // with problems in it does not pass for one without.
    let audit = |problems: Value| json!({ "problems": problems, "attachments": 1, "leases": 2 });
    let answer = audit(json!([{ "key": "lease/10.1.0.1", "what": "leased twice" }]));
    let found = oracle::audit_problems("h", &answer, 1).expect("an answer of the known shape");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].to_string().contains("leased twice"),
        "{}",
        found[0]
    );
    let found = oracle::audit_problems("h", &audit(json!([])), 1);
    assert_eq!(found.expect("an answer of the known shape"), []);
}

#[test]
fn i3_and_i8_are_asked_of_running_agents() {
    lab!(Agent).leaves_trouble().run(|lab| {
        let fabric = Fabric::start(lab, Between::Switch, 2, "")?;
        let node = &fabric.nodes[0];
        lab.until(
            Duration::from_secs(10),
            "agents and kernels to agree",
            || {
                holds(&oracle::fib_agrees(lab)?)?;
                ensure!(
                    !oracle::kernel_view(&node.host)?.is_empty(),
                    "there is nothing to agree on"
                );
                Ok(())
            },
        )?;
        holds(&oracle::ipam_sound(lab)?)?;

        // An address that a better connection has is desired and cannot be installed as it is.
        let elsewhere = "10.1.102.1/32";
        node.host
            .ip(&format!("route add blackhole {elsewhere} metric 1"))?;
        lab.until(Duration::from_secs(10), "the trouble to be seen", || {
            finds(
                &oracle::fib_agrees(lab)?,
                1,
                &format!("I3 h1: {elsewhere} is in trouble"),
            )
        })?;
        node.host
            .ip(&format!("route del blackhole {elsewhere} metric 1"))?;
        lab.until(Duration::from_secs(10), "the trouble to end", || {
            holds(&oracle::fib_agrees(lab)?)
        })?;

        // In a table that is not the agent's, where it does not clean up.
        node.host
            .ip("route add 10.9.9.0/24 dev lo proto 201 table 77")?;
        let leaked = "I3 h1: in the kernel, unknown to the agent: unicast 10.9.9.0/24";
        finds(&oracle::fib_agrees(lab)?, 1, leaked)?;

        let container = lab.container(&node.host, "c")?;
        container.attached_by_hand(json!({ "ips": [] }), false);
        finds(
            &oracle::ipam_sound(lab)?,
            1,
            "I8 h1: knows 0 attachments, where runtimes have 1",
        )
    });
}

#[test]
fn a_sound_lab_passes_all_invariants_together() {
    lab!().run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        lab.link(&a, &b)?;
        let container = lab.container(&a, "c")?;
        attach(lab, &container, 1)?;
        let sleeper = lab.process(&a, "sleeper", ["sleep", "600"])?;
        lab.baseline()?;
        ensure!(sleeper.alive(), "it sleeps");
        let _answers = container.serve(80)?;
        let served = a.fetch("10.1.0.1".parse()?, 80)?;
        ensure!(
            served.by == "a-c" && served.source.to_string() == "169.254.1.1",
            "{served:?}"
        );
        let served = a.fetch("fd00:1::1".parse()?, 80)?;
        ensure!(served.by == "a-c" && served.source.is_ipv6(), "{served:?}");
        Ok(())
    });
}

/// Attaches a container as the agent does: a routed veth, 10.1.0.n/32 and fd00:1::n/128.
fn attach(lab: &Lab, container: &Container, n: u8) -> Result<(), Why> {
    let (host, inside): (&Host, &Host) = (container.host(), container.inside());
    let veth = format!("h-{n}");
    host.ip(&format!(
        "link add {veth} type veth peer name eth0 netns {}",
        inside.name()
    ))?;
    host.address(&veth, "169.254.1.1/32")?;
    host.address(&veth, "fe80::1/64")?;
    host.ip(&format!("link set {veth} up"))?;
    inside.sysctl("net/ipv6/conf/eth0/accept_dad", "0")?;
    inside.address("eth0", &format!("10.1.0.{n}/32"))?;
    inside.address("eth0", &format!("fd00:1::{n}/128"))?;
    inside.ip("link set eth0 up")?;
    inside.ip("route add default via 169.254.1.1 dev eth0 onlink")?;
    inside.ip("-6 route add default via fe80::1 dev eth0")?;
    host.ip(&format!("route add 10.1.0.{n}/32 dev {veth}"))?;
    host.ip(&format!("route add fd00:1::{n}/128 dev {veth}"))?;
    // The kernel makes an IPv6 address usable in its own time.
    lab.until(
        Duration::from_secs(5),
        "the container to answer its host",
        || {
            host.ping(format!("10.1.0.{n}").parse()?)?;
            Ok(host.ping(format!("fd00:1::{n}").parse()?)?)
        },
    )?;
    Ok(())
}

fn holds(found: &[Violation]) -> Result<(), Why> {
    ensure!(found.is_empty(), "{}", oracle::describe(found));
    Ok(())
}

fn finds(found: &[Violation], count: usize, expected: &str) -> Result<(), Why> {
    let there = found
        .iter()
        .any(|violation| violation.to_string().contains(expected));
    ensure!(
        there,
        "{expected:?} is not among them: {}",
        oracle::describe(found)
    );
    ensure!(
        found.len() == count,
        "not {count}: {}",
        oracle::describe(found)
    );
    Ok(())
}
