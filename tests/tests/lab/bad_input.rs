//! What a person or a neighbour can do wrong: the agent says so in a sentence, and goes on or ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use wayleave_lab::{Agent, FrrConfig, Host, Why, ensure, lab};

use crate::scripted::octets;

const CONVERGED: Duration = Duration::from_secs(30);

#[test]
fn a_wrong_configuration_is_refused_with_every_fault_and_its_place() {
    lab!(Agent).run(|lab| {
        let host = lab.host("h")?;
        let text = "[bgp]\nasn = 65000\nhold_tme = 9\n\n[[peer]]\nname = \"x\"\nasn = 65001\n\
                    address = \"10.0.0.300\"\n";
        let told = refused(&host, "wrong.toml", text, &[])?;
        for part in [
            "wrong.toml:3:1",
            "hold_tme",
            "hold_time",
            "wrong.toml:8:11",
            "10.0.0.300",
        ] {
            ensure!(told.contains(part), "{part:?} is not in {told:?}");
        }
        Ok(())
    });
}

#[test]
fn a_state_directory_that_cannot_be_is_named_in_one_sentence() {
    lab!(Agent).run(|lab| {
        let host = lab.host("h")?;
        let told = refused(
            &host,
            "state.toml",
            &paths("/proc/nowhere", "/run/lab/run"),
            &[],
        )?;
        one_sentence(&told, &["/proc/nowhere", "state"])
    });
}

#[test]
fn a_taken_port_is_named_in_one_sentence() {
    lab!(Agent).run(|lab| {
        let host = lab.host("h")?;
        let _taken = host.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 179)))??;
        let text = format!(
            "[bgp]\nasn = 65000\nlisten = [\"0.0.0.0:179\"]\n{}",
            paths("/run/lab/state", "/run/lab/run")
        );
        let told = refused(&host, "port.toml", &text, &[])?;
        one_sentence(&told, &["0.0.0.0:179", "already"])
    });
}

#[test]
fn a_missing_privilege_is_named_in_one_sentence() {
    lab!(Agent).run(|lab| {
        let host = lab.host("h")?;
        for directory in ["/run/lab/state", "/run/lab/run"] {
            fs::create_dir_all(directory)?;
            host.run(["chown", "65534:65534", directory])?;
        }
        host.sysctl("net/ipv4/ip_unprivileged_port_start", "1024")?;
        let text = format!(
            "[bgp]\nasn = 65000\nlisten = [\"0.0.0.0:179\"]\n{}",
            paths("/run/lab/state", "/run/lab/run")
        );
        let nobody = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
        ];
        let told = refused(&host, "nobody.toml", &text, &nobody)?;
        one_sentence(&told, &["179", "CAP_NET_BIND_SERVICE"])
    });
}

#[test]
fn a_second_agent_on_the_same_paths_is_refused_and_the_first_goes_on() {
    lab!(Agent).run(|lab| {
        let host = lab.host("h")?;
        let first = lab.agent(&host, "[bgp]\nasn = 65000\n[fib]\ninstall = false\n")?;
        let text = paths(
            &first.state_directory().display().to_string(),
            &first.run_directory().display().to_string(),
        );
        refused(&host, "second.toml", &text, &[])?;
        ensure!(first.process().alive(), "the first agent has gone");
        first.cli(["status"])?;
        Ok(())
    });
}

#[test]
fn two_speakers_of_one_as_with_the_same_router_id_say_so() {
    lab!(Agent).run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        let link = lab.link(&a, &b)?;
        let agent = |host: &Host, far: Ipv4Addr| {
            let text = format!(
                "[node]\nrouter_id = \"9.9.9.9\"\n[bgp]\nasn = 65000\nconnect_retry = 1\n\
                 [fib]\ninstall = false\n\
                 [[peer]]\nname = \"far\"\naddress = \"{far}\"\nasn = \"internal\"\n"
            );
            lab.agent(host, &text)
        };
        let (one, other) = (agent(&a, link.b.v4)?, agent(&b, link.a.v4)?);
        lab.until(CONVERGED, "one of them to say what is wrong", || {
            let mut said = Vec::new();
            for agent in [&one, &other] {
                let peer = &peers(agent)?[0];
                ensure!(peer["established_count"] == 0, "they came up: {peer}");
                said.push(peer["last_error"].as_str().unwrap_or_default().to_owned());
            }
            let identifier = |text: &String| text.to_ascii_lowercase().contains("identifier");
            ensure!(said.iter().any(identifier), "they said {said:?}");
            Ok(())
        })?;
        Ok(())
    });
}

/// A session that says nothing but what is given, from a neighbour's address.
struct Attempt {
    what: &'static str,
    hex: &'static str,
    /// Error code and subcode of the NOTIFICATION that must come back.
    code: (u8, u8),
}

const MARKER: &str = "ffffffffffffffffffffffffffffffff";
/// An OPEN of AS 65009 (fdf1), hold time 90, identifier 9.9.9.9, no parameters.
const OPEN: &str = "001d0104fdf1005a0909090900";

/// RFC 4271, 6.1 and 6.2. `M` stands for the marker, `O` for a right OPEN.
const ATTEMPTS: [Attempt; 9] = [
    Attempt {
        what: "a marker that is none",
        hex: "00112233445566778899aabbccddeeff001304",
        code: (1, 1),
    },
    Attempt {
        what: "a length below the least",
        hex: "M001204",
        code: (1, 2),
    },
    Attempt {
        what: "a length above the most",
        hex: "M100102",
        code: (1, 2),
    },
    Attempt {
        what: "an unknown type",
        hex: "M001309",
        code: (1, 3),
    },
    Attempt {
        what: "an OPEN of version 3",
        hex: "M001d0103fdf1005a0909090900",
        code: (2, 1),
    },
    Attempt {
        what: "an OPEN of another AS",
        hex: "M001d01040001005a0909090900",
        code: (2, 2),
    },
    Attempt {
        what: "an OPEN with hold time 1",
        hex: "M001d0104fdf100010909090900",
        code: (2, 6),
    },
    Attempt {
        what: "an UPDATE before the session is up",
        hex: "MOM00170200000000",
        code: (5, 2),
    },
    Attempt {
        what: "a request for HTTP",
        hex: "474554202f20485454502f312e310d0a0d0a0d0a",
        code: (1, 1),
    },
];

#[test]
fn a_neighbour_that_talks_nonsense_is_told_so_and_costs_no_other_session() {
    lab!(Frr, Agent).run(|lab| {
        let (us, good, bad) = (lab.host("us")?, lab.host("good")?, lab.host("bad")?);
        let switch = lab.switch("sw", &[&us, &good, &bad])?;
        let (at_us, at_good) = (switch.ends[0].v4, switch.ends[1].v4);
        let mut text = format!(
            "[node]\nrouter_id = \"3.3.3.3\"\n[bgp]\nasn = 65000\nconnect_retry = 1\n\
             [fib]\ninstall = false\n\
             [[peer]]\nname = \"good\"\naddress = \"{at_good}\"\nasn = 65001\n"
        );
        // Each attempt comes from a neighbour of its own: one that has talked nonsense is held off.
        for n in 0..ATTEMPTS.len() {
            let address = format!("10.254.1.{}", 100 + n);
            bad.address(&switch.ends[2].name, &format!("{address}/24"))?;
            text += &format!(
                "[[peer]]\nname = \"bad{n}\"\naddress = \"{address}\"\nasn = 65009\npassive = true\n"
            );
        }
        let agent = lab.agent(&us, &text)?;
        let frr = FrrConfig::new(format!(
            "router bgp 65001\n neighbor {at_us} remote-as 65000\n neighbor {at_us} timers connect 1\n"
        ));
        lab.frr(&good, frr)?;
        let good_is_up = || -> Result<u64, Why> {
            let peer = peer(&agent, "good")?;
            ensure!(peer["state"] == "Established", "{}", peer["state"]);
            Ok(peer["established_count"].as_u64().ok_or("no established_count")?)
        };
        lab.until(CONVERGED, "the good neighbour's session", good_is_up)?;
        lab.baseline()?;

        for (n, attempt) in ATTEMPTS.iter().enumerate() {
            let source = format!("dev {} src 10.254.1.{}", switch.ends[2].name, 100 + n);
            bad.ip(&format!("route replace {at_us}/32 {source}"))?;
            let notification = converse(&bad, SocketAddr::new(at_us.into(), 179), attempt.hex)?;
            ensure!(notification == Some(attempt.code), "{}: {notification:?}", attempt.what);
            ensure!(good_is_up()? == 1, "{} cost the good neighbour its session", attempt.what);
        }
        bad.ip(&format!("route del {at_us}/32"))?;
        Ok(())
    });
}

/// Connects, says it all, and returns code and subcode of the first NOTIFICATION heard before the
/// other side closes; fails when the connection is refused or closed before anything was said.
fn converse(from: &Host, to: SocketAddr, hex: &str) -> Result<Option<(u8, u8)>, String> {
    let bytes = octets(&hex.replace('O', OPEN).replace('M', MARKER))?;
    let talk = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&bytes)?;
        let mut answer = Vec::new();
        // A reset after the answer does not take back what was heard.
        let end = stream.read_to_end(&mut answer);
        let _ = stream.shutdown(Shutdown::Both);
        if answer.is_empty() {
            end.map(|_| answer)
        } else {
            Ok(answer)
        }
    };
    let answer = from
        .enter(talk)
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    if answer.is_empty() {
        return Err("closed before a word".to_owned());
    }
    let mut rest = answer.as_slice();
    while let [header @ .., _] = rest.get(..19).unwrap_or_default() {
        let length = usize::from(u16::from_be_bytes([header[16], rest[17]]));
        if rest[18] == 3 && length >= 21 {
            return Ok(rest.get(19..21).map(|codes| (codes[0], codes[1])));
        }
        rest = rest.get(length.max(19)..).unwrap_or_default();
    }
    Ok(None)
}

/// Runs `wayleaved` with a configuration it must refuse; returns what it said.
fn refused(host: &Host, file: &str, text: &str, before: &[&str]) -> Result<String, Why> {
    let file = format!("/run/lab/{file}");
    fs::write(&file, text)?;
    let program = Agent::program()?;
    // Anybody may execute it, wherever it was built.
    let copy = "/run/lab/wayleaved";
    fs::copy(program, copy)?;
    let command = ["timeout", "10", copy, "--config", &file];
    let Output {
        status,
        stdout,
        stderr,
    } = host.output(before.iter().chain(&command))?;
    let told = String::from_utf8_lossy(&stderr) + String::from_utf8_lossy(&stdout);
    ensure!(
        status.code() != Some(124),
        "it went on as if nothing were wrong: {told}"
    );
    ensure!(
        status.code().is_some_and(|code| code != 0),
        "it ended with {status}: {told}"
    );
    ensure!(!told.contains("panicked"), "{told}");
    Ok(told.into_owned())
}

/// What was said at last is one line, with the words that matter in it.
fn one_sentence(told: &str, words: &[&str]) -> Result<(), Why> {
    // Warnings about the configuration may come first.
    let last = told.lines().last().unwrap_or_default();
    for word in words {
        ensure!(last.contains(word), "{word:?} is not in {last:?}");
    }
    Ok(())
}

fn paths(state: &str, run: &str) -> String {
    format!("[node]\nrouter_id = \"9.9.9.9\"\n[paths]\nstate = \"{state}\"\nrun = \"{run}\"\n")
}

fn peers(agent: &Agent) -> Result<Vec<Value>, Why> {
    let answer = agent.cli(["peers"])?;
    let peers = answer["peers"].as_array().cloned();
    Ok(peers.ok_or_else(|| format!("`wayleave peers` has no list of peers: {answer}"))?)
}

fn peer(agent: &Agent, name: &str) -> Result<Value, Why> {
    let found = peers(agent)?.into_iter().find(|peer| peer["name"] == name);
    Ok(found.ok_or_else(|| format!("no peer {name}"))?)
}
