//! The real `wayleaved` and `wayleave`, on loopback addresses and paths of their own.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::{UnixDatagram, UnixStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::place::{Agent, Directory, PORT, loopback, speaker, until, wayleave};

/// A speaker without peers.
fn alone(name: &str) -> String {
    format!(
        "[node]\nname = \"{name}\"\nrouter_id = \"192.0.2.1\"\n[bgp]\nasn = 65001\n\
         originate = [\"10.0.0.0/24\"]\n[fib]\ninstall = false\n"
    )
}

/// Runs `wayleaved` to its end and gives what it said.
fn refused(config: &str) -> String {
    let mut agent = Agent::launch(config, |_| {});
    let status = agent.wait();
    assert_eq!(status.code(), Some(1), "{}", agent.log());
    until("the last words", || {
        Some(agent.log()).filter(|log| !log.is_empty())
    })
}

fn prefixes(agent: &Agent, words: &[&str]) -> Vec<String> {
    let answer = agent.cli(&[&["routes"], words].concat());
    let routes = answer["routes"].as_array().unwrap();
    let mut prefixes: Vec<_> = routes
        .iter()
        .map(|route| route["prefix"].as_str().unwrap().to_owned())
        .collect();
    prefixes.sort();
    prefixes
}

#[test]
fn two_agents_exchange_routes_and_a_planned_stop_is_clean() {
    let (one, two) = (loopback(), loopback());
    let first = Agent::start(&speaker("one", 65001, one, two, "\"10.0.1.0/24\""));
    let mut second = Agent::start(&speaker(
        "two",
        65002,
        two,
        one,
        "\"10.0.2.0/24\", \"10.0.3.0/24\"",
    ));
    until("the session", || {
        let peer = first.cli(&["peers", "other"]);
        (peer["state"] == "Established" && peer["ipv4"]["received"] == 2).then_some(())
    });
    let peer = first.cli(&["peers", "other"]);
    assert_eq!(peer["asn"], 65002);
    assert_eq!(peer["session_type"], "ebgp");
    assert_eq!(peer["router_id"], json!(two));
    assert_eq!(
        prefixes(&first, &[]),
        ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"]
    );
    assert_eq!(
        prefixes(&first, &["--rib", "in"]),
        ["10.0.2.0/24", "10.0.3.0/24"]
    );
    assert_eq!(
        prefixes(&first, &["--rib", "out", "--peer", "other"]),
        ["10.0.1.0/24"]
    );
    assert_eq!(prefixes(&first, &["10.0.2.7"]), ["10.0.2.0/24"]);
    let status = first.cli(&["status"]);
    assert_eq!(status["speaker"]["established"], 1);
    assert_eq!(status["problems"], json!([]));

    // The tables for people show the same.
    let text = String::from_utf8(first.run(&["peers"]).stdout).unwrap();
    assert!(
        text.lines()
            .any(|line| line.starts_with("other") && line.contains("Established")),
        "{text}"
    );
    let text = String::from_utf8(first.run(&["routes", "-o", "wide"]).stdout).unwrap();
    assert!(
        text.lines()
            .any(|line| line.contains("10.0.2.0/24") && line.contains("65002")),
        "{text}"
    );
    let summary: Value =
        serde_json::from_slice(&first.run(&["show", "bgp", "summary", "json"]).stdout).unwrap();
    assert_eq!(summary["peers"][0]["name"], "other");

    second.signal(Signal::SIGTERM);
    assert!(second.wait().success(), "{}", second.log());
    assert!(!second.socket().exists());
    until("the loss", || {
        let peer = first.cli(&["peers", "other"]);
        (peer["state"] != "Established").then_some(())
    });
    second.start_again();
    until("the session after a restart", || {
        (first.cli(&["peers", "other"])["ipv4"]["received"] == 2).then_some(())
    });
}

#[test]
fn a_reset_closes_the_session_and_it_comes_back() {
    let (one, two) = (loopback(), loopback());
    let first = Agent::start(&speaker("one", 65001, one, two, ""));
    let second = Agent::start(&speaker("two", 65002, two, one, ""));
    let established = |agent: &Agent| agent.cli(&["peers", "other"])["established_count"].as_u64();
    until("the session", || {
        (established(&first) == Some(1)).then_some(())
    });
    let done = first.cli(&[
        "peers",
        "reset",
        "other",
        "--message",
        "maintenance of rack 7",
    ]);
    assert_eq!(done["peer"], "other");
    until("the session again", || {
        (established(&first) >= Some(2)).then_some(())
    });
    let why = second.cli(&["peers", "other"])["last_error"]
        .as_str()
        .map(str::to_owned);
    assert!(
        why.as_deref()
            .is_some_and(|why| why.contains("maintenance of rack 7")),
        "{why:?}"
    );
}

#[test]
fn a_session_that_is_shut_down_stays_down_over_a_reload_and_says_by_whom_until_it_is_enabled() {
    let (one, two) = (loopback(), loopback());
    let config = speaker("one", 65001, one, two, "");
    let first = Agent::start(&config);
    let second = Agent::start(&speaker("two", 65002, two, one, ""));
    let state = |agent: &Agent| agent.cli(&["peers", "other"])["state"].clone();
    let up = || (state(&first) == "Established").then_some(());
    until("the session", up);
    let text = |words: &[&str]| {
        let output = first.run(words);
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    };
    // While there is a session, it is asked and told again.
    let (code, told) = text(&["peers", "refresh", "other", "--family", "ipv4"]);
    assert_eq!(
        (code, told.as_str()),
        (
            Some(0),
            "other is asked for its ipv4-unicast routes again\n"
        )
    );
    let (code, told) = text(&["peers", "refresh", &two.to_string(), "--out"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("other is told all "), "{told}");
    assert_eq!(state(&first), "Established");

    let (code, told) = text(&["peers", "shutdown", "other", "--message", "moving racks"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("`wayleave peers enable other`"), "{told}");
    until("the neighbour to hear why", || {
        let peer = second.cli(&["peers", "other"]);
        let why = peer["last_error"].as_str()?;
        why.contains("moving racks").then_some(())
    });
    first.write_config(&config.replace("[bgp]", "[bgp]\nhold_time = 12"));
    first.cli(&["reload"]);
    let peer = first.cli(&["peers", "other"]);
    assert_eq!(peer["state"], "Idle");
    assert_eq!(peer["shut_down"]["communication"], "moving racks");
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    let me = me.map_or_else(String::new, |user| user.name);
    assert_eq!(peer["shut_down"]["by"], json!(me));
    let (_, told) = text(&["peers", "show", "other"]);
    let line = told
        .lines()
        .find(|line| line.contains("shut down  "))
        .expect(&told);
    assert!(
        line.contains(&format!("by {me}, ")) && line.contains("\"moving racks\""),
        "{line}"
    );
    let (_, told) = text(&["peers"]);
    assert!(told.contains("shut down"), "{told}");
    until("the status to say so", || {
        let problems = first.cli(&["problems"]);
        let mut problems = problems["problems"].as_array()?.iter();
        problems.find(|problem| problem["key"] == "peer.other.shut-down")?;
        Some(())
    });
    // What is down is neither asked nor told, and says so.
    let (code, told) = text(&["peers", "refresh", "other"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("is not Established"), "{told}");

    let (code, told) = text(&["peers", "enable", "other"]);
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "other may have a session again\n")
    );
    until("the session again", up);
    let (code, told) = text(&["peers", "enable", "other"]);
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "other was not shut down\n")
    );
    let (code, told) = text(&["peers", "shutdown", "nobody"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("there is no peer \"nobody\""), "{told}");
}

#[test]
fn without_peers_it_runs_and_says_what_to_set() {
    let mut agent = Agent::start("");
    let status = agent.run(&["status"]);
    assert_eq!(
        status.status.code(),
        Some(0),
        "warnings alone are not degraded"
    );
    let keys: Vec<_> = agent.cli(&["problems"])["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["config.no-peers", "config.no-pool"]);
    assert_eq!(agent.cli(&["peers"]), json!({"peers": []}));
    agent.signal(Signal::SIGINT);
    assert!(agent.wait().success(), "{}", agent.log());
}

#[test]
fn a_peer_that_does_not_come_up_makes_the_status_degraded() {
    let (one, two) = (loopback(), loopback());
    let agent = Agent::start(&speaker("one", 65001, one, two, ""));
    assert_eq!(
        agent.run(&["status"]).status.code(),
        Some(0),
        "it has time to come up"
    );
    until("the problem", || {
        let problems = agent.cli(&["problems"]);
        (problems["problems"][0]["key"] == "peer.other.down").then_some(())
    });
    assert_eq!(agent.run(&["status"]).status.code(), Some(2));
    assert_eq!(agent.run(&["status", "-o", "json"]).status.code(), Some(2));
    // Who comes up clears it.
    let _second = Agent::start(&speaker("two", 65002, two, one, ""));
    until("the problem to go", || {
        (agent.cli(&["problems"])["problems"] == json!([])).then_some(())
    });
}

#[test]
fn a_router_id_clash_is_one_clear_sentence_on_both_sides_and_a_non_zero_exit() {
    let (one, two) = (loopback(), loopback());
    let with_the_id = |name: &str, asn: u32, own, other| {
        let config = speaker(name, asn, own, other, "");
        config.replace(&format!("router_id = \"{own}\""), "router_id = \"9.9.9.9\"")
    };
    let internal = |config: String| config.replace("asn = \"external\"", "asn = \"internal\"");
    let agents = [
        Agent::start(&internal(with_the_id("one", 65001, one, two))),
        Agent::start(&internal(with_the_id("two", 65001, two, one))),
    ];
    for agent in &agents {
        until("the clash to be named", || {
            let problems = agent.cli(&["problems"]);
            let problems = problems["problems"].as_array()?;
            let clash = problems
                .iter()
                .find(|p| p["key"] == "peer.other.router-id")?;
            let what = clash["what"].as_str()?;
            assert!(
                what.contains("the router id of this host, 9.9.9.9"),
                "{what}"
            );
            Some(())
        });
        assert_eq!(agent.run(&["status"]).status.code(), Some(2));
    }
    // Between ASes it is allowed, and said.
    let (one, two) = (loopback(), loopback());
    let first = Agent::start(&with_the_id("one", 65001, one, two));
    let _second = Agent::start(&with_the_id("two", 65002, two, one));
    until("the warning", || {
        let problems = first.cli(&["problems"]);
        (problems["problems"][0]["key"] == "peer.other.router-id").then_some(())
    });
    assert_eq!(first.cli(&["peers", "other"])["state"], "Established");
    assert_eq!(first.run(&["status"]).status.code(), Some(0));
}

#[test]
fn a_wrong_configuration_names_file_line_and_column() {
    let said = refused("[bgp]\nasn = 65001\nhold_tiem = 3\n");
    assert!(said.contains("unknown key `hold_tiem` in [bgp]"), "{said}");
    assert!(said.contains("wayleave.toml:3:1"), "{said}");
    assert!(said.contains("did you mean `hold_time`?"), "{said}");
}

#[test]
fn a_taken_port_is_one_clear_sentence() {
    let address = loopback();
    let _taken = TcpListener::bind((address, PORT)).unwrap();
    let said = refused(&format!(
        "[bgp]\nlisten = [\"{address}:{PORT}\"]\n[fib]\ninstall = false\n[node]\nrouter_id = \"192.0.2.1\"\n"
    ));
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("wayleaved:"))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains(&format!("{address}:{PORT}")), "{said}");
    assert!(lines[0].contains("another process"), "{said}");
}

#[test]
fn a_missing_privilege_is_one_clear_sentence() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    const NOBODY: u32 = 65_534;
    let floor = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let floor: u16 = floor.unwrap_or_default().trim().parse().unwrap_or(1_024);
    if !nix::unistd::geteuid().is_root() || floor <= 179 {
        let why = "needs root to run as nobody, and port 179 to be privileged";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        println!("SKIPPED a_missing_privilege_is_one_clear_sentence: {why}");
        return;
    }
    // Nobody may be kept out of where this was built.
    let directory = Directory::new();
    let program = directory.path().join("wayleaved");
    std::fs::copy(env!("CARGO_BIN_EXE_wayleaved"), &program).unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let address = loopback();
    let config = directory.write(
        "wayleave.toml",
        &format!(
            "[paths]\nstate = \"{0}/state\"\nrun = \"{0}/run\"\n[bgp]\nlisten = [\"{address}:179\"]\n",
            directory.path().display()
        ),
    );
    let output = Command::new(program)
        .arg("--config")
        .arg(config)
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let sentence = said.lines().find(|line| line.starts_with("wayleaved:"));
    assert!(
        sentence.is_some_and(|line| line.contains(":179") && line.contains("CAP_NET_BIND_SERVICE")),
        "{said}"
    );
}

#[test]
fn an_unreachable_state_directory_is_one_clear_sentence() {
    let directory = Directory::new();
    let config = directory.write(
        "wayleave.toml",
        &format!(
            "[paths]\nstate = \"/proc/version/state\"\nrun = \"{}/run\"\n",
            directory.path().display()
        ),
    );
    let output = Command::new(env!("CARGO_BIN_EXE_wayleaved"))
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("wayleaved: cannot use /proc/version/state as the state directory: a part of the path is not a directory"),
        "{said}"
    );
}

#[test]
fn a_second_agent_on_the_same_paths_is_refused_and_the_first_is_not_disturbed() {
    let first = Agent::start(&alone("one"));
    let config = first.directory().path().join("wayleave.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_wayleaved"))
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("another wayleaved (process "), "{said}");
    assert_eq!(first.cli(&["status"])["phase"], "ready");
}

#[test]
fn a_killed_agent_leaves_nothing_that_stops_the_next() {
    let mut agent = Agent::start(&alone("one"));
    agent.signal(Signal::SIGKILL);
    agent.wait();
    assert!(
        agent.socket().exists(),
        "a killed process leaves its socket"
    );
    agent.start_again();
    assert_eq!(prefixes(&agent, &[]), ["10.0.0.0/24"]);
}

#[test]
fn checking_says_what_is_wrong_without_starting_anything() {
    let directory = Directory::new();
    let config = directory.write("wayleave.toml", "[bgp]\nasn = 0\n");
    for (program, args) in [
        (env!("CARGO_BIN_EXE_wayleaved"), vec!["--check", "--config"]),
        (env!("CARGO_BIN_EXE_wayleave"), vec!["check-config"]),
    ] {
        let output = Command::new(program)
            .args(&args)
            .arg(&config)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{program}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("wayleave.toml:2:7"), "{program}: {said}");
    }
    directory.write("wayleave.toml", "[bgp]\nasn = 65001\n");
    let output = Command::new(env!("CARGO_BIN_EXE_wayleaved"))
        .args(["--check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(output.status.success());
    let output = Command::new(env!("CARGO_BIN_EXE_wayleave"))
        .args(["check-config", "-o", "json"])
        .arg(&config)
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["warnings"][0]["key"], "config.no-peers");
}

#[test]
fn a_reload_is_applied_whole_or_refused_and_the_difference_says_so_beforehand() {
    let agent = Agent::start(&alone("one"));
    agent.write_config(&alone("one").replace("10.0.0.0/24", "10.0.7.0/24"));
    let delta = agent.cli(&["config", "diff"]);
    assert_eq!(delta["changes"][0]["keys"][0]["key"], "originate");
    assert_eq!(delta["changes"][0]["effect"], "live");
    assert_eq!(
        prefixes(&agent, &[]),
        ["10.0.0.0/24"],
        "a difference changes nothing"
    );
    agent.signal(Signal::SIGHUP);
    until("the reload", || {
        (prefixes(&agent, &[]) == ["10.0.7.0/24"]).then_some(())
    });
    assert_eq!(agent.cli(&["config", "diff"])["changes"], json!([]));

    // Wrong: refused, and it stands among the problems until it is put right.
    agent.write_config(&alone("one").replace("asn = 65001", "asn = \"x\""));
    let output = agent.run(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("nothing was changed") && said.contains("wayleave.toml:5:7"),
        "{said}"
    );
    assert_eq!(
        agent.cli(&["problems"])["problems"][0]["key"],
        "config.reload-refused"
    );

    // Right, but not for a running agent.
    agent.write_config(&alone("two"));
    let output = agent.run(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("node (name) changed, which needs a restart"),
        "{said}"
    );
    assert_eq!(agent.cli(&["status"])["node"]["name"], "one");

    agent.write_config(&alone("one"));
    let applied = agent.cli(&["reload"]);
    assert_eq!(
        applied["actions"],
        json!(["originated 10.0.0.0/24", "withdrew 10.0.7.0/24"])
    );
    let keys = agent.cli(&["problems"]).to_string();
    assert!(!keys.contains("reload-refused"), "{keys}");
}

#[test]
fn a_peer_added_by_reload_comes_up_and_the_others_do_not_notice() {
    let (one, two, three) = (loopback(), loopback(), loopback());
    let base = speaker("one", 65001, one, two, "");
    let first = Agent::start(&base);
    let _second = Agent::start(&speaker("two", 65002, two, one, ""));
    let count = |name: &str| {
        let peer = first.cli(&["peers", name]);
        (peer["state"] == "Established").then(|| peer["established_count"].as_u64())
    };
    until("the first session", || count("other"));
    let third = speaker("three", 65003, three, one, "");
    let _third = Agent::start(&third);
    first.write_config(&format!(
        "{base}\n[[peer]]\nname = \"third\"\naddress = \"{three}\"\nlocal_address = \"{one}\"\nport = {PORT}\n\
         asn = 65003\nimport = \"all\"\nexport = \"all\"\nfamilies = \"ipv4\"\n"
    ));
    let applied = first.cli(&["reload"]);
    assert_eq!(applied["delta"]["changes"][0]["name"], "third");
    assert_eq!(applied["delta"]["changes"][0]["effect"], "live");
    until("the second session", || count("third"));
    assert_eq!(
        count("other"),
        Some(Some(1)),
        "the first session was closed"
    );
}

#[test]
fn an_unreachable_agent_is_exit_code_3_with_its_socket() {
    let directory = Directory::new();
    let socket = directory.path().join("none.sock");
    for words in [
        &["status"][..],
        &["peers"],
        &["routes", "-o", "json"],
        &["reload"],
    ] {
        let output = wayleave(&socket, words);
        assert_eq!(output.status.code(), Some(3), "{words:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("none.sock") && said.contains("wayleaved"),
            "{said}"
        );
    }
    let version = wayleave(&socket, &["version"]);
    assert_eq!(
        version.status.code(),
        Some(0),
        "the version does not need the agent"
    );
    assert_eq!(
        wayleave(&socket, &["statsu"]).status.code(),
        Some(1),
        "wrong usage"
    );
    assert_eq!(
        wayleave(&socket, &["show", "version"]).status.code(),
        Some(1)
    );
    assert_eq!(wayleave(&socket, &["--help"]).status.code(), Some(0));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let agent = Agent::start(&alone("one"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_wayleave"))
        .arg("--socket")
        .arg(agent.socket())
        .args(["routes", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_service_manager_is_told_ready_reloading_and_stopping() {
    let directory = Directory::new();
    let path = directory.path().join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut heard = String::new();
    let mut hear = |word: &str| {
        let mut buffer = [0; 4096];
        while !heard.lines().any(|line| line.starts_with(word)) {
            let length = manager
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("no {word}: {error}; heard:\n{heard}"));
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
        heard.clear();
    };
    let mut agent = Agent::launch(&alone("one"), |command| {
        command.env("NOTIFY_SOCKET", &path);
        // The watchdog of another process is not ours to feed: no WATCHDOG_PID.
        command
            .env("WATCHDOG_USEC", "3000000")
            .env_remove("WATCHDOG_PID");
    });
    hear("READY=1");
    hear("STATUS=ready");
    hear("WATCHDOG=1");
    agent.signal(Signal::SIGHUP);
    hear("RELOADING=1");
    hear("READY=1");
    agent.signal(Signal::SIGTERM);
    hear("STOPPING=1");
    assert!(agent.wait().success());
}

#[test]
fn every_line_of_a_json_log_is_an_object() {
    let mut agent = Agent::start(&format!(
        "{}\n[log]\nformat = \"json\"\nlevel = \"debug\"\n",
        alone("one")
    ));
    agent.signal(Signal::SIGTERM);
    agent.wait();
    let log = until("the last line", || {
        Some(agent.log()).filter(|log| log.contains("\"stopped\""))
    });
    for line in log.lines() {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["time", "level", "target", "message"] {
            assert!(value[key].is_string(), "{line}");
        }
    }
}

#[test]
fn a_log_that_nobody_reads_costs_lines_and_holds_up_nothing() {
    let config = format!("{}\n[log]\nlevel = \"debug\"\n", alone("one"));
    let mut agent = Agent::start_unread(&config);
    // A connection that breaks off is a line at level debug; these are more than the pipe and the
    // queue hold together.
    for _ in 0..8_000 {
        let mut stream = UnixStream::connect(agent.socket()).unwrap();
        stream.write_all(b"nonsense\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let asked = Instant::now();
    assert_eq!(agent.cli(&["status"])["phase"], "ready");
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    agent.read_log();
    until("the count of lost lines", || {
        agent
            .log()
            .contains("lines of the log were dropped")
            .then_some(())
    });
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait().success());
}
