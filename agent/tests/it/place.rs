//! Directories, addresses and processes of a test's own, gone with it however it ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;

/// The longest anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives something; on expiry says what it waited for.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A directory that is removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wayleave-it-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A loopback address that no other test uses, nor another run of these.
pub(crate) fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 1, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The port all tests speak BGP on.
pub(crate) const PORT: u16 = 11_179;

/// A running `wayleaved` with paths of its own.
pub(crate) struct Agent {
    directory: Directory,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Agent {
    /// Starts it with this configuration (`[paths]` is added) and waits until it is ready.
    pub(crate) fn start(config: &str) -> Self {
        let agent = Self::launch(config, |_| {});
        agent.wait_ready();
        agent
    }

    /// Starts it without waiting.
    pub(crate) fn launch(config: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let directory = Directory::new();
        write_config(&directory, config);
        let (child, log) = launch(&directory, prepare);
        Self {
            directory,
            child,
            log,
        }
    }

    /// Starts it with nobody reading its log until [`Agent::read_log`].
    pub(crate) fn start_unread(config: &str) -> Self {
        let directory = Directory::new();
        write_config(&directory, config);
        let child = command(&directory).spawn().unwrap();
        let agent = Self {
            directory,
            child,
            log: Arc::default(),
        };
        agent.wait_ready();
        agent
    }

    /// Begins to read the log of an agent that was started unread.
    pub(crate) fn read_log(&mut self) {
        self.log = collect(&mut self.child);
    }

    /// The same directory, a new process.
    pub(crate) fn start_again(&mut self) {
        self.relaunch();
        self.wait_ready();
    }

    /// The same without waiting.
    pub(crate) fn relaunch(&mut self) {
        (self.child, self.log) = launch(&self.directory, |_| {});
    }

    pub(crate) fn wait_ready(&self) {
        until(
            &format!("the agent to be ready; its log:\n{}", self.log()),
            || {
                let status = self.try_cli(&["status"])?;
                (status["phase"] == "ready").then_some(())
            },
        );
    }

    pub(crate) fn write_config(&self, config: &str) {
        write_config(&self.directory, config);
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("run/wayleave.sock")
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Runs `wayleave` against it.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        wayleave(&self.socket(), words)
    }

    /// Runs `wayleave -o json` against it.
    pub(crate) fn cli(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["-o", "json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!(
                "wayleave {words:?}: {error}\n{text}{complaint}\nlog:\n{}",
                self.log()
            )
        })
    }

    fn try_cli(&self, words: &[&str]) -> Option<Value> {
        let output = self.run(&[words, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).ok()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the agent to end", || child.try_wait().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(directory: &Directory, config: &str) {
    let root = directory.path().display();
    let paths = format!("[paths]\nstate = \"{root}/state\"\nrun = \"{root}/run\"\n");
    directory.write("wayleave.toml", &format!("{config}\n{paths}"));
}

fn command(directory: &Directory) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wayleaved"));
    command
        .arg("--config")
        .arg(directory.path().join("wayleave.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn launch(
    directory: &Directory,
    prepare: impl FnOnce(&mut Command),
) -> (Child, Arc<Mutex<String>>) {
    let mut command = command(directory);
    prepare(&mut command);
    let mut child = command.spawn().unwrap();
    let log = collect(&mut child);
    (child, log)
}

/// Gathers what a process says on standard error.
fn collect(child: &mut Child) -> Arc<Mutex<String>> {
    let lines = BufReader::new(child.stderr.take().unwrap());
    let log = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&log);
    thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            sink.lock().unwrap().push_str(&format!("{line}\n"));
        }
    });
    log
}

/// Runs `wayleave` against a socket.
pub(crate) fn wayleave(socket: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wayleave"));
    command
        .env_remove("WAYLEAVE_SOCKET")
        .arg("--socket")
        .arg(socket)
        .args(words);
    command.output().unwrap()
}

/// The configuration of a speaker at `own` that peers with one at `other`.
pub(crate) fn speaker(
    name: &str,
    asn: u32,
    own: Ipv4Addr,
    other: Ipv4Addr,
    originate: &str,
) -> String {
    format!(
        r#"
[node]
name = "{name}"
router_id = "{own}"
[bgp]
asn = {asn}
listen = ["{}"]
connect_retry = 1
originate = [{originate}]
[fib]
install = false
[[peer]]
name = "other"
address = "{other}"
local_address = "{own}"
port = {PORT}
asn = "external"
families = ["ipv4"]
import = "all"
export = "all"
"#,
        SocketAddr::from((own, PORT)),
    )
}
