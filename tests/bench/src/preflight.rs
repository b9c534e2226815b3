//! What a run will need, looked for before anything is measured and told all at once: a run of an
//! hour should not end at a file it cannot write.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use crate::{
    args::{Args, Plan},
    error::Error,
};

/// Capabilities by their bit, and what each is for.
const CAPABILITIES: [(u32, &str, &str); 3] = [
    (21, "CAP_SYS_ADMIN", "namespaces of its own"),
    (12, "CAP_NET_ADMIN", "links, addresses and routes in them"),
    (10, "CAP_NET_BIND_SERVICE", "port 179"),
];
/// Open files besides the sessions.
const FILES: usize = 100;

/// Looks for everything that would stop the run.
///
/// # Errors
/// With all that is missing.
pub(crate) fn check(args: &Args, plan: &Plan) -> Result<(), Error> {
    let mut problems = Vec::new();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing: Vec<_> = lacking(&status)
        .map(|(_, name, purpose)| format!("{name} ({purpose})"))
        .collect();
    if !missing.is_empty() {
        problems.push(format!(
            "run as root: there is no {}",
            missing.join(", no ")
        ));
    }
    if Command::new("ip").arg("-V").output().is_err() {
        problems.push("there is no `ip` (package iproute2)".to_owned());
    }
    for path in [&args.json, &args.write].into_iter().flatten() {
        if let Err(error) = writable(path) {
            problems.push(format!("cannot write {}: {error}", path.display()));
        }
    }
    // Generator and sink of the wire are both ours.
    let sessions = plan.most_peers() * 2;
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = open_files(&limits).filter(|most| *most < sessions + FILES) {
        problems.push(format!(
            "{most} open files are too few: `ulimit -n {}` before",
            sessions + FILES
        ));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Problems(problems)),
    }
}

/// The capabilities a process with this status lacks; none when it cannot be told.
fn lacking(status: &str) -> impl Iterator<Item = (u32, &'static str, &'static str)> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    CAPABILITIES
        .into_iter()
        .filter(move |(bit, ..)| effective & (1 << bit) == 0)
}

/// The soft limit of open files; `None` without one.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    line?.split_whitespace().next()?.parse().ok()
}

/// Tries without changing what is there; what was not there is taken away again.
fn writable(path: &Path) -> std::io::Result<()> {
    let absent = !path.exists();
    File::options().append(true).create(true).open(path)?;
    if absent {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_rights_lacks_all_and_root_none() {
        assert_eq!(lacking("CapEff:\t0000000000000000\n").count(), 3);
        assert_eq!(lacking("CapEff:\t000001ffffffffff\n").count(), 0);
        assert_eq!(lacking("").count(), 0);
        let bound: Vec<_> = lacking("CapEff:\t0000000000201000\n")
            .map(|l| l.1)
            .collect();
        assert_eq!(bound, ["CAP_NET_BIND_SERVICE"]);
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let text = "Limit  Soft  Hard  Units\nMax open files            1024     524288    files\n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(
            open_files("Max open files  unlimited  unlimited  files\n"),
            None
        );
    }

    #[test]
    fn trying_to_write_leaves_nothing_and_changes_nothing() {
        let path = std::env::temp_dir().join(format!("wayleave-preflight-{}", std::process::id()));
        writable(&path).expect("a temporary file");
        assert!(!path.exists());
        fs::write(&path, "kept").expect("a temporary file");
        writable(&path).expect("a temporary file");
        assert_eq!(fs::read_to_string(&path).expect("still there"), "kept");
        fs::remove_file(&path).expect("ours");
        assert!(writable(Path::new("/nowhere/page.md")).is_err());
    }
}
