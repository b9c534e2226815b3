//! Hosts of a test's own: a network namespace, and containers in others.

use std::{
    path::PathBuf,
    process::Command,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use wayleave_cni::{
    client::Patience,
    environment::Verb,
    plugin::{self, Outcome},
};

/// Runs a test in a network namespace, which processes it starts are in too. Without privilege it is
/// skipped, and said so; in CI that is a failure.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let outcome = thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            assert!(
                std::env::var_os("CI").is_none(),
                "no network namespace: {errno}"
            );
            eprintln!("SKIPPED: a network namespace cannot be made: {errno}");
            return;
        }
        assert!(ip("link set lo up"));
        test();
    });
    if let Err(panic) = outcome.join() {
        std::panic::resume_unwind(panic);
    }
}

/// `ip` in the namespace of the calling thread.
pub(crate) fn ip(arguments: &str) -> bool {
    Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap()
        .success()
}

/// What `ip` says.
pub(crate) fn ip_says(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// A container: a namespace that lives as long as its thread.
pub(crate) struct Container {
    name: &'static str,
    netns: PathBuf,
    living: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Container {
    pub(crate) fn new(name: &'static str) -> Self {
        let (live, living) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let tid = nix::unistd::gettid();
            let path = format!("/proc/{}/task/{tid}/ns/net", std::process::id());
            tell.send(path).unwrap();
            // Until the other end is dropped.
            let _ = living.recv();
        });
        Self {
            name,
            netns: told.recv().unwrap().into(),
            living: Some((live, thread)),
        }
    }

    /// Calls the plugin as a runtime does.
    pub(crate) fn cni(&self, verb: &str, socket: &std::path::Path) -> Value {
        use std::io::Write;
        let config = json!({
            "cniVersion": "1.1.0", "name": "fabric", "type": "wayleave-cni", "socket": socket,
        });
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(config.to_string().as_bytes()).unwrap();
        drop(writer);
        let variable = |name: &str| match name {
            "CNI_COMMAND" => Some(verb.into()),
            "CNI_CONTAINERID" => Some(self.name.into()),
            "CNI_IFNAME" => Some("eth0".into()),
            "CNI_NETNS" => Some(self.netns.clone().into_os_string()),
            "CNI_ARGS" => Some("IgnoreUnknown=1".into()),
            _ => None,
        };
        let Outcome { success, stdout } =
            plugin::run(variable, reader, Some(Patience::of(Verb::Add)));
        assert!(success, "{verb}: {stdout:?}");
        stdout.unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some((live, thread)) = self.living.take() {
            drop(live);
            let _ = thread.join();
        }
    }
}
