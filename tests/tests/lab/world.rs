//! The world itself: privacy, waiting, time limits, and that a test that fails is seen to fail.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process;
use std::time::{Duration, Instant};

use wayleave_lab::{LabError, Stream, Why, ensure, lab};

#[test]
fn names_and_files_of_a_world_are_its_own() {
    lab!().run(only_here);
}

#[test]
fn the_same_names_in_another_world_do_not_clash() {
    lab!().run(only_here);
}

fn only_here(lab: &wayleave_lab::Lab) -> Result<(), Why> {
    ensure!(process::id() == 1, "process {} of its world", process::id());
    for path in ["/run/mark", "/etc/wayleave/mark", "/var/lib/mark"] {
        ensure!(
            fs::metadata(path).is_err(),
            "{path} is left from another world"
        );
        fs::write(path, "here")?;
    }
    let host = lab.host("same")?;
    let names = fs::read_dir("/run/netns")?.count();
    ensure!(names == 1, "{names} namespaces, where one was made");
    ensure!(
        host.ip("link show lo")?.contains("UP"),
        "the loopback is down"
    );
    Ok(())
}

#[test]
fn a_cable_carries_both_families_at_once_and_a_switch_connects_all() {
    lab!().run(|lab| {
        let (a, b, c) = (lab.host("a")?, lab.host("b")?, lab.host("c")?);
        let cable = lab.link(&a, &b)?;
        let second = lab.link(&a, &b)?;
        ensure!(cable.a.name != second.a.name, "two cables, one name");
        ensure!(
            cable.a.index()? != cable.b.index()?,
            "equal indexes delay the news of a lost carrier"
        );
        // The first packet counts: no duplicate address detection holds it back.
        a.ping(cable.b.v6.into())?;
        b.ping(cable.a.v4.into())?;
        a.ping(second.b.v6.into())?;

        let switch = lab.switch("sw", &[&a, &b, &c])?;
        for end in &switch.ends {
            for far in &switch.ends {
                end.host.ping(far.v4.into())?;
                end.host.ping(far.v6.into())?;
            }
        }
        ensure!(
            switch.end(&c).is_some_and(|end| end.v4.octets()[3] == 3),
            "the third port"
        );
        Ok(())
    });
}

#[test]
fn a_cable_set_down_takes_the_far_carrier_at_once() {
    lab!().run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        let cable = lab.link(&a, &b)?;
        cable.down()?;
        let start = Instant::now();
        lab.until(Duration::from_secs(3), "b to lose its carrier", || {
            let link = b.ip_json(&format!("link show {}", cable.b.name))?;
            ensure!(link[0]["operstate"] != "UP", "{}", link[0]["operstate"]);
            Ok(())
        })?;
        ensure!(
            start.elapsed() < Duration::from_millis(500),
            "took {:?}",
            start.elapsed()
        );
        cable.up()?;
        lab.until(
            Duration::from_secs(3),
            "both families to work again",
            || {
                a.ping(cable.b.v4.into())?;
                a.ping(cable.b.v6.into())?;
                Ok(())
            },
        )?;
        Ok(())
    });
}

#[test]
fn a_stream_loses_exactly_what_a_fault_takes() {
    lab!(Nft).run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        let cable = lab.link(&a, &b)?;
        let stream = Stream::start(&a, &b, cable.b.v4.into())?;
        lab.until(Duration::from_secs(2), "packets to flow", || {
            let counters = b.ip_json(&format!("-s link show {}", cable.b.name))?;
            let packets = counters[0]["stats64"]["rx"]["packets"]
                .as_u64()
                .unwrap_or(0);
            ensure!(packets > 200, "{packets} packets so far");
            Ok(())
        })?;
        // A packet has 36 bytes: 100 of them fit under the quota, the next is let through.
        let drops = "table inet fault { chain in { type filter hook input priority 0; \
                     udp dport 1-65535 quota until 3610 bytes counter drop; }; }";
        b.run(["nft", drops])?;
        lab.until(Duration::from_secs(5), "100 packets to be dropped", || {
            let dropped = b.run(["nft", "list", "table", "inet", "fault"])?;
            ensure!(dropped.contains("packets 100 "), "{dropped}");
            Ok(())
        })?;
        b.run(["nft", "delete", "table", "inet", "fault"])?;
        let report = stream.stop();
        eprintln!("{report:?}");
        ensure!(report.lost == 100, "not 100: {report:?}");
        ensure!(
            report.longest_outage >= 99 && report.duplicates == 0,
            "{report:?}"
        );
        ensure!(report.received + report.lost == report.sent, "{report:?}");
        Ok(())
    });
}

#[test]
fn a_silent_link_stays_up_and_a_blocked_port_blocks_nothing_else() {
    lab!(Nft).run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        let cable = lab.link(&a, &b)?;
        let (v4, v6) = (cable.b.v4.into(), cable.b.v6.into());
        let _answers = b.serve(80)?;
        let _others = b.serve(81)?;
        a.ping(v4)?;

        // A neighbour that could not be resolved meanwhile is asked for again, within a second.
        let heals = |to| {
            lab.until(
                Duration::from_secs(5),
                "packets to pass",
                || Ok(a.ping(to)?),
            )
        };
        let fault = cable.silence()?;
        ensure!(
            a.ping(v4).is_err() && a.ping(v6).is_err(),
            "packets pass a silent link"
        );
        ensure!(
            a.ip("link show to-b")?.contains("state UP"),
            "the link went down"
        );
        fault.heal()?;
        heals(v4)?;
        heals(v6)?;

        let fault = cable.b.deafen()?;
        ensure!(a.ping(v4).is_err(), "b hears a");
        drop(fault);
        heals(v4)?;
        heals(v6)?;

        let fault = b.block_tcp(80)?;
        ensure!(a.fetch(v6, 80).is_err(), "a blocked port answers");
        a.fetch(v6, 81)?;
        fault.heal()?;
        a.fetch(v6, 80)?;
        Ok(())
    });
}

#[test]
fn a_wait_that_is_in_vain_says_for_what_and_why() {
    lab!().run(|lab| {
        let mut attempts = 0;
        let expired = lab.until(
            Duration::from_millis(120),
            "pigs to fly",
            || -> Result<(), Why> {
                attempts += 1;
                Err(format!("attempt {attempts}: too heavy"))?
            },
        );
        let Err(LabError::Expired { waited, what, last }) = expired else {
            return Err("a wait in vain must expire".into());
        };
        ensure!(waited >= Duration::from_millis(120), "{waited:?}");
        ensure!(
            what == "pigs to fly" && last.contains("too heavy"),
            "{what}: {last}"
        );
        ensure!(attempts > 2, "{attempts} attempts");
        Ok(())
    });
}

#[test]
fn a_command_that_fails_says_where_which_and_why() {
    lab!().run(|lab| {
        let host = lab.host("h")?;
        let failed = host
            .ip("link show nowhere")
            .expect_err("there is no such link")
            .to_string();
        for part in ["on h", "ip link show nowhere", "does not exist"] {
            ensure!(failed.contains(part), "{part:?} is not in {failed:?}");
        }
        Ok(())
    });
}

/// The tests below fail on purpose. Alone they are ignored; the one after them runs each and
/// demands that it fails, for its own reason.
mod fails_on_purpose {
    use super::*;

    #[test]
    #[ignore = "fails on purpose; run by failures_inside_a_world_are_failures_outside"]
    fn by_an_error() {
        lab!().run(|_| Err("an error on purpose".into()));
    }

    #[test]
    #[ignore = "fails on purpose; run by failures_inside_a_world_are_failures_outside"]
    fn by_a_panic() {
        lab!().run(|_| panic!("a panic on purpose"));
    }

    #[test]
    #[ignore = "fails on purpose; run by failures_inside_a_world_are_failures_outside"]
    fn by_a_hang() {
        lab!().limit(Duration::from_millis(500)).run(|_| {
            loop {
                std::thread::park();
            }
        });
    }

    #[test]
    #[ignore = "runs until it is killed; run by a_killed_test_leaves_nothing_behind"]
    fn by_being_killed() {
        lab!().run(|lab| {
            let host = lab.host("h")?;
            let _sleeper = lab.process(&host, "sleeper", ["sleep", "600"])?;
            eprintln!("everything runs");
            loop {
                std::thread::park();
            }
        });
    }

    #[test]
    #[ignore = "fails on purpose; run by failures_inside_a_world_are_failures_outside"]
    fn by_an_early_end() {
        lab!().run(|_| process::exit(0));
    }

    #[test]
    #[ignore = "fails on purpose; run by failures_inside_a_world_are_failures_outside"]
    fn by_the_oracle() {
        lab!().run(|lab| {
            let host = lab.host("h")?;
            let sleeper = lab.process(&host, "sleeper", ["sleep", "600"])?;
            host.run(["kill", "-9", &sleeper.pid()?.to_string()])?;
            lab.until(Duration::from_secs(2), "it to die", || {
                ensure!(!sleeper.alive(), "still alive");
                Ok(())
            })?;
            Ok(())
        });
    }
}

#[test]
fn a_killed_test_leaves_nothing_behind() {
    let name = "world::fails_on_purpose::by_being_killed";
    let mut outer = process::Command::new(env::current_exe().expect("this test's own path"))
        .args([name, "--exact", "--include-ignored", "--nocapture"])
        .env("WAYLEAVE_LAB_KILLED", process::id().to_string())
        .stdout(process::Stdio::null())
        .stderr(process::Stdio::piped())
        .spawn()
        .expect("this test runs itself");
    let output = outer.stderr.take().expect("its standard error is a pipe");
    let first = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("everything runs") || line.contains("SKIPPED "));
    if first.as_ref().is_none_or(|line| line.contains("SKIPPED ")) {
        let _ = outer.wait();
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED world::a_killed_test_leaves_nothing_behind: no labs here: {first:?}"
        );
        return;
    }
    let marker = format!("WAYLEAVE_LAB_KILLED={}", process::id());
    // The test, setpriv become unshare, process 1 of the world, and the sleeper inside it.
    assert!(marked(&marker) >= 4, "only {} processes", marked(&marker));
    outer.kill().expect("it can be killed");
    outer.wait().expect("it ends");
    let start = Instant::now();
    while marked(&marker) > 0 {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{} are left",
            marked(&marker)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many processes have this in their environment.
fn marked(marker: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc can be read").flatten();
    let environments = processes.filter_map(|entry| fs::read(entry.path().join("environ")).ok());
    let marker = marker.as_bytes();
    environments
        .filter(|text| text.split(|byte| *byte == 0).any(|pair| pair == marker))
        .count()
}

#[test]
fn failures_inside_a_world_are_failures_outside() {
    let cases = [
        ("by_an_error", "an error on purpose"),
        ("by_a_panic", "a panic on purpose"),
        ("by_a_hang", "did not end within"),
        ("by_an_early_end", "without having run the test"),
        ("by_the_oracle", "I5 h.sleeper: ended by itself"),
    ];
    // Labs may not be possible here; then that is said by the first of them.
    let mut skipped = 0;
    for (name, reason) in cases {
        let output = process::Command::new(env::current_exe().expect("this test's own path"))
            .args([
                &format!("world::fails_on_purpose::{name}"),
                "--exact",
                "--include-ignored",
            ])
            .output()
            .expect("this test runs itself");
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if text.contains("SKIPPED ") {
            skipped += 1;
            continue;
        }
        assert!(!output.status.success(), "{name} passed: {text}");
        assert!(
            text.contains(reason),
            "{name} failed for another reason: {text}"
        );
    }
    if skipped > 0 {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED world::failures_inside_a_world_are_failures_outside: no labs here"
        );
    }
}
