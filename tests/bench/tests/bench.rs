//! The whole program as a user starts it, in the namespaces it makes for itself.

use std::{env, fs, path::Path, process::Command};

const BENCH: &str = env!("CARGO_BIN_EXE_wayleave-bench");

/// Whether this may run: it takes root. Without it a test is skipped and says so; in CI that is
/// a failure.
fn root() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("procfs is mounted");
    let uids = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .expect("a line of uids");
    let root = uids.split_whitespace().nth(2) == Some("0");
    if !root {
        assert!(env::var_os("CI").is_none(), "CI must run this as root");
        eprintln!("SKIPPED: namespaces take root");
    }
    root
}

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(BENCH);
    command
        .args([
            "--routes",
            "2000",
            "--runs",
            "2",
            "--samples",
            "20",
            "--kernel",
            "3000",
            "--daemons",
        ])
        .args(arguments);
    command
}

#[test]
fn generator_and_sink_agree_over_a_bare_wire_in_both_families() {
    if !root() {
        return;
    }
    let json = env::temp_dir().join(format!("wayleave-bench-{}.json", std::process::id()));
    let file = json.to_str().expect("a plain path");
    let run = bench(&["wire", "--reflect", "5x40", "--json", file])
        .output()
        .expect("it runs");
    let text = fs::read_to_string(&json).unwrap_or_default();
    let _ = fs::remove_file(&json);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let sections = report["sections"].as_array().expect("a list");
    let figures = [
        "transfer",
        "withdraw",
        "reflect",
        "installed",
        "fib_peer_down",
    ];
    assert_eq!(
        sections.len(),
        figures.len(),
        "two tables, a reflection, the kernel in both families"
    );
    for (section, figure) in sections.iter().zip(figures) {
        let samples = section["figures"][figure]["wire"]
            .as_array()
            .expect("both runs");
        assert_eq!(samples.len(), 2, "{section}");
        assert!(
            samples.iter().all(|s| s.as_f64().is_some_and(|s| s > 0.0)),
            "{section}"
        );
    }
    for kernel in &sections[3..] {
        for figure in ["resynced", "next_hop_moved", "next_hop_object"] {
            let samples = kernel["figures"][figure]["wire"].as_array();
            assert_eq!(samples.map(Vec::len), Some(2), "{figure} in {kernel}");
        }
    }
}

#[test]
fn a_daemon_that_ends_at_once_fails_the_run_and_an_absent_one_is_skipped() {
    if !root() {
        return;
    }
    assert!(Path::new("/bin/false").exists());
    let arguments = [
        "bird,gobgp",
        "--families",
        "ipv4",
        "--phases",
        "transfer",
        "--reflect",
    ];
    let mut command = bench(&arguments);
    let run = command
        .env("BIRD", "/bin/false")
        .env("GOBGPD", "/nowhere")
        .output()
        .expect("runs");
    assert!(!run.status.success());
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        said.contains("bird failed**: run 1: opening the sessions: the daemon ended"),
        "{said}"
    );
    assert!(
        said.contains("gobgp skipped: GOBGPD names /nowhere, which is no file"),
        "{said}"
    );
}

#[test]
fn nonsense_on_the_command_line_is_refused_with_what_is_wanted() {
    for (arguments, wanted) in [
        (&["wire", "--reflect", "5by40"][..], "PEERSxROUTES"),
        (&["quagga"], "bird"),
        (
            &["wire", "--feed", "/nowhere/feed.gz", "--quick"],
            "cannot be used",
        ),
        (
            &["wire", "--write", "/nowhere/page.md"],
            "cannot write /nowhere/page.md",
        ),
    ] {
        let run = Command::new(BENCH)
            .arg("--daemons")
            .args(arguments)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && said.contains(wanted), "{said}");
    }
}
