//! The plugin as a runtime executes it, against an agent that the test plays.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the makers of test data are no tests themselves, and a skipped test says so"
)]

use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept, bind, listen, socket,
};
use serde_json::{Value, json};
use wayleave_cni::client::Patience;
use wayleave_cni::environment::Verb;
use wayleave_cni::frame::Channel;
use wayleave_cni::message::{Call, Performed, Reply, Step};
use wayleave_cni::netns_cookie;
use wayleave_cni::plugin::{self, Outcome};
use wayleave_cni::result::{CniResult, Interface, IpConfig};

const BINARY: &str = env!("CARGO_BIN_EXE_wayleave-cni");

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A directory of its own for each test, removed at the end even of a panic.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wl-cni-{}-{next}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("cni.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bound(path: &Path) -> OwnedFd {
    let listener = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    bind(listener.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    listen(&listener, Backlog::new(16).unwrap()).unwrap();
    listener
}

#[allow(unsafe_code, reason = "accept returns a bare descriptor")]
fn accepted(listener: &OwnedFd) -> Channel {
    let raw = accept(listener.as_raw_fd()).unwrap();
    // SAFETY: `accept` has just made it for us.
    Channel::new(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Plays the agent for one connection.
fn agent<T: Send + 'static>(
    path: &Path,
    play: impl FnOnce(Channel, Call, Vec<OwnedFd>) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = bound(path);
    thread::spawn(move || {
        let channel = accepted(&listener);
        let (call, descriptors) = channel.receive::<Call>(soon()).unwrap();
        play(channel, call, descriptors)
    })
}

/// A network namespace that lives as long as the value, and its path.
struct Namespace {
    path: PathBuf,
    cookie: u64,
    end: Option<mpsc::Sender<()>>,
    member: Option<JoinHandle<()>>,
}

impl Namespace {
    /// `None` without privilege, which is said, and an error where everything must run.
    fn new() -> Option<Self> {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let member = thread::spawn(move || {
            let made = unshare(CloneFlags::CLONE_NEWNET).map(|()| {
                let tid = nix::unistd::gettid();
                let path = PathBuf::from(format!("/proc/{}/task/{tid}/ns/net", std::process::id()));
                let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
                (path, netns_cookie(&probe).unwrap())
            });
            let live = made.is_ok();
            tell.send(made).unwrap();
            if live {
                let _ = ended.recv();
            }
        });
        match told.recv().unwrap() {
            Ok((path, cookie)) => Some(Self {
                path,
                cookie,
                end: Some(end),
                member: Some(member),
            }),
            Err(errno) => {
                assert!(
                    std::env::var("CI").as_deref() != Ok("true"),
                    "no network namespace: {errno}"
                );
                println!("SKIPPED: a network namespace cannot be made: {errno}");
                None
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(member) = self.member.take() {
            let _ = member.join();
        }
    }
}

fn config(socket: &Path, version: &str) -> Value {
    json!({"cniVersion": version, "name": "fabric", "type": "wayleave-cni", "socket": socket})
}

/// Executes the binary as a runtime does.
fn spawn(variables: &[(&str, &str)], stdin: &[u8]) -> Child {
    let mut child = Command::new(BINARY)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It may refuse the call without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child
}

/// The same to its end: returns what it printed and whether it succeeded.
fn execute(variables: &[(&str, &str)], stdin: &[u8]) -> (Value, bool) {
    let output = spawn(variables, stdin).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap()
    };
    (value, output.status.success())
}

/// The same within this process, with less patience.
fn run(variables: &[(&str, &str)], config: &Value, patience: Patience) -> Outcome {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(config.to_string().as_bytes()).unwrap();
    drop(writer);
    let variable = |name: &str| {
        variables
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.into())
    };
    plugin::run(variable, reader, Some(patience))
}

const fn impatient() -> Patience {
    Patience {
        connect: Duration::from_millis(200),
        total: Duration::from_millis(400),
        stdin: Duration::from_millis(200),
    }
}

const DEL: [(&str, &str); 3] = [
    ("CNI_COMMAND", "DEL"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_IFNAME", "eth0"),
];

fn add(netns: &Path) -> Vec<(&str, &str)> {
    vec![
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", netns.to_str().unwrap()),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web"),
    ]
}

#[test]
fn an_add_hands_over_the_namespace_performs_steps_inside_and_answers_in_the_version_asked() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let scratch = Scratch::new();
        let cookie = namespace.cookie;
        let agent = agent(&scratch.socket(), move |channel, call, descriptors| {
            assert_eq!(call.verb, Verb::Add);
            assert_eq!(call.attachment.as_ref().unwrap().container_id, "c1");
            assert_eq!(call.args["K8S_POD_NAME"], "web");
            assert!(call.patience_ms > 1_000);
            assert_eq!(descriptors.len(), 2);
            assert_eq!(netns_cookie(&descriptors[1]).unwrap(), cookie);
            let path = "net/ipv4/conf/lo/arp_notify".to_owned();
            let steps = vec![
                Step::WriteSysctl {
                    path: path.clone(),
                    value: "1".into(),
                },
                Step::ReadSysctl { path },
                Step::ReadSysctl {
                    path: "net/ipv4/conf/nosuch/arp_notify".into(),
                },
                Step::WriteSysctl {
                    path: "kernel/hostname".into(),
                    value: "x".into(),
                },
            ];
            channel
                .send(&Reply::Perform { steps }, &[], soon())
                .unwrap();
            let (performed, _) = channel.receive::<Performed>(soon()).unwrap();
            let [wrote, read, missing, refused] = &performed.outcomes[..] else {
                panic!()
            };
            assert_eq!(wrote, &Ok(String::new()));
            assert_eq!(read, &Ok("1".to_owned()));
            assert_eq!(missing.as_ref().unwrap_err().errno, Some(2));
            assert!(refused.as_ref().unwrap_err().message.contains("refused"));
            let result = CniResult {
                interfaces: vec![Interface {
                    name: "eth0".into(),
                    mtu: Some(1500),
                    sandbox: call.netns.unwrap(),
                    ..Interface::default()
                }],
                ips: vec![IpConfig {
                    address: "10.1.7.5/32".parse().unwrap(),
                    gateway: None,
                    interface: Some(0),
                }],
                ..CniResult::default()
            };
            channel
                .send(
                    &Reply::Done {
                        result: Some(result),
                    },
                    &[],
                    soon(),
                )
                .unwrap();
        });
        let mut config = config(&scratch.socket(), version);
        config["prevResult"] = json!({"cniVersion": version, "interfaces": [{"name": "before"}]});
        let (printed, success) = execute(&add(&namespace.path), config.to_string().as_bytes());
        agent.join().unwrap();
        assert!(success, "{printed}");
        assert_eq!(printed["cniVersion"], version);
        assert_eq!(printed["interfaces"][0]["name"], "before");
        assert_eq!(
            printed["interfaces"][1]["sandbox"],
            namespace.path.to_str().unwrap()
        );
        assert_eq!(printed["ips"][0]["interface"], 1);
        assert_eq!(
            printed["ips"][0].get("version").is_some(),
            version < "1.0.0"
        );
        assert_eq!(
            printed["interfaces"][1].get("mtu").is_some(),
            version == "1.1.0"
        );
    }
    // Written inside only.
    let here = std::fs::read_to_string("/proc/sys/net/ipv4/conf/lo/arp_notify").unwrap();
    assert_eq!(here.trim(), "0");
}

#[test]
fn a_del_succeeds_silently_with_a_namespace_that_is_gone_and_with_none() {
    let gone = ("CNI_NETNS", "/run/netns/gone");
    for variables in [DEL.to_vec(), [&DEL[..], &[gone]].concat()] {
        let scratch = Scratch::new();
        let agent = agent(&scratch.socket(), |channel, call, descriptors| {
            assert_eq!((call.verb, descriptors.len()), (Verb::Del, 0));
            let steps = vec![Step::ReadSysctl {
                path: "net/ipv4/ip_forward".into(),
            }];
            channel
                .send(&Reply::Perform { steps }, &[], soon())
                .unwrap();
            let (performed, _) = channel.receive::<Performed>(soon()).unwrap();
            assert!(
                performed.outcomes[0].is_err(),
                "never performed on the host"
            );
            channel
                .send(&Reply::Done { result: None }, &[], soon())
                .unwrap();
        });
        let (printed, success) = execute(
            &variables,
            config(&scratch.socket(), "1.0.0").to_string().as_bytes(),
        );
        agent.join().unwrap();
        assert_eq!((printed, success), (Value::Null, true));
    }
}

#[test]
fn an_agent_that_is_restarted_in_mid_call_is_asked_again() {
    let scratch = Scratch::new();
    let path = scratch.socket();
    let mut plugin = spawn(&DEL, config(&path, "1.1.0").to_string().as_bytes());
    tried_in_vain(&plugin);
    let listener = bound(&path);
    let channel = accepted(&listener);
    channel.receive::<Call>(soon()).unwrap();
    drop((channel, listener));
    std::fs::remove_file(&path).unwrap();
    tried_in_vain(&plugin);
    let channel = accepted(&bound(&path));
    let (call, _) = channel.receive::<Call>(soon()).unwrap();
    channel
        .send(&Reply::Done { result: None }, &[], soon())
        .unwrap();
    assert_eq!(call.verb, Verb::Del);
    let mut printed = String::new();
    let mut stdout = plugin.stdout.take().unwrap();
    std::io::Read::read_to_string(&mut stdout, &mut printed).unwrap();
    assert_eq!(
        (printed.as_str(), plugin.wait().unwrap().success()),
        ("", true)
    );
}

/// Waits until the plugin has looked for the socket that is not there: it goes to sleep between two
/// attempts. The sleep after the next may have begun before the socket went; behind the third (the
/// first of a call is the wait for its standard input) lies an attempt in vain.
fn tried_in_vain(plugin: &Child) {
    let slept = || -> u64 {
        let path = format!("/proc/{}/status", plugin.id());
        let status = std::fs::read_to_string(path).unwrap();
        let count = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.unwrap().trim().parse().unwrap()
    };
    let (before, deadline) = (slept(), soon());
    while slept() < before + 3 {
        assert!(Instant::now() < deadline, "it does not try again");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_agents_refusal_reaches_the_runtime_as_it_is() {
    let scratch = Scratch::new();
    let refusal = wayleave_cni::CniError::new(50, "no pool is configured")
        .because("set block = in the configuration");
    let sent = refusal.clone();
    let agent = agent(&scratch.socket(), move |channel, call, _| {
        assert_eq!(call.verb, Verb::Status);
        channel
            .send(&Reply::Failed { error: sent }, &[], soon())
            .unwrap();
    });
    let (printed, success) = execute(
        &[("CNI_COMMAND", "STATUS")],
        config(&scratch.socket(), "1.1.0").to_string().as_bytes(),
    );
    agent.join().unwrap();
    assert!(!success);
    assert_eq!(
        printed,
        json!({"cniVersion": "1.1.0", "code": 50, "msg": refusal.msg, "details": refusal.details})
    );
}

#[test]
fn a_socket_that_nobody_answers_ends_in_bounded_time_with_the_right_code() {
    let scratch = Scratch::new();
    let missing = scratch.0.join("missing.sock");
    let stale = scratch.0.join("stale.sock");
    drop(bound(&stale));
    let silent = scratch.0.join("silent.sock");
    let _listener = bound(&silent);
    let file = scratch.0.join("file");
    std::fs::write(&file, "").unwrap();
    let stream = scratch.0.join("stream.sock");
    let _stream = std::os::unix::net::UnixListener::bind(&stream).unwrap();
    let long = scratch.0.join("x".repeat(200));
    for (path, del, status) in [
        (&missing, 11, 50),
        (&stale, 11, 50),
        (&silent, 11, 50),
        (&file, 11, 50),
        (&stream, 5, 50),
        (&long, 5, 50),
    ] {
        for (variables, code) in [(&DEL[..], del), (&[("CNI_COMMAND", "STATUS")], status)] {
            let start = Instant::now();
            let outcome = run(variables, &config(path, "1.1.0"), impatient());
            let printed = outcome.stdout.unwrap();
            assert!(!outcome.success);
            assert_eq!(printed["code"], code, "{}: {printed}", path.display());
            assert!(!printed["details"].as_str().unwrap().is_empty());
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{:?}",
                start.elapsed()
            );
        }
    }
}

#[test]
fn an_agent_that_talks_nonsense_is_a_protocol_error() {
    for play in [
        (|channel: Channel| channel.send(&"hello", &[], soon()).unwrap()) as fn(Channel),
        |channel| {
            let perform = Reply::Perform { steps: vec![] };
            while channel.send(&perform, &[], soon()).is_ok()
                && channel.receive::<Performed>(soon()).is_ok()
            {}
        },
    ] {
        let scratch = Scratch::new();
        let agent = agent(&scratch.socket(), move |channel, _, _| play(channel));
        let patience = Patience {
            total: Duration::from_secs(10),
            ..impatient()
        };
        let outcome = run(&DEL, &config(&scratch.socket(), "1.1.0"), patience);
        agent.join().unwrap();
        assert_eq!(outcome.stdout.unwrap()["code"], 103);
    }
}

#[test]
fn a_garbage_collection_of_thousands_of_attachments_fits() {
    let scratch = Scratch::new();
    let agent = agent(&scratch.socket(), |channel, call, _| {
        channel
            .send(&Reply::Done { result: None }, &[], soon())
            .unwrap();
        call.config.valid_attachments.unwrap().len()
    });
    let mut config = config(&scratch.socket(), "1.1.0");
    let list: Vec<Value> = (0..4_000)
        .map(|n| json!({"containerID": format!("{n:064x}"), "ifname": "eth0"}))
        .collect();
    config["cni.dev/valid-attachments"] = Value::Array(list);
    let (printed, success) = execute(&[("CNI_COMMAND", "GC")], config.to_string().as_bytes());
    assert!(success, "{printed}");
    assert_eq!(agent.join().unwrap(), 4_000);
}

#[test]
fn version_is_answered_without_an_agent_in_the_version_of_the_question() {
    for (stdin, version) in [
        ("", "1.1.0"),
        ("{\"cniVersion\":\"0.4.0\"}", "0.4.0"),
        ("{\"cniVersion\":\"9\"}", "1.1.0"),
    ] {
        let (printed, success) = execute(&[("CNI_COMMAND", "VERSION")], stdin.as_bytes());
        assert!(success);
        assert_eq!(
            printed,
            json!({"cniVersion": version, "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]})
        );
    }
}

#[test]
fn a_malformed_call_exits_1_with_a_cni_error_on_stdout() {
    let scratch = Scratch::new();
    let good = config(&scratch.socket(), "1.0.0").to_string();
    let fifo = scratch.0.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let oversized = format!(
        "{{\"cniVersion\":\"1.0.0\",\"name\":\"{}\"}}",
        "x".repeat(600 * 1024)
    );
    let cases = [
        (Vec::<(&str, &str)>::new(), "", 4),
        (vec![("CNI_COMMAND", "ATTACH")], "", 4),
        (vec![("CNI_COMMAND", "ADD")], &good, 4),
        (DEL.to_vec(), "", 6),
        (DEL.to_vec(), "{\"cniVersion\":", 6),
        (DEL.to_vec(), "[]", 7),
        (DEL.to_vec(), "{\"cniVersion\":\"3.0.0\"}", 1),
        (DEL.to_vec(), &oversized, 7),
        (add(Path::new("/run/netns/missing")), &good, 3),
        (add(Path::new("/etc/hostname")), &good, 4),
        (add(Path::new("/proc/self/ns/mnt")), &good, 4),
        (add(Path::new("/proc/self/ns/net")), &good, 4),
        (add(&fifo), &good, 4),
    ];
    let root = nix::unistd::geteuid().is_root();
    for (variables, stdin, code) in cases {
        if !root && variables.iter().any(|(name, _)| *name == "CNI_NETNS") && code == 4 {
            println!("SKIPPED without root: {variables:?}");
            continue;
        }
        let (printed, success) = execute(&variables, stdin.as_bytes());
        assert!(!success);
        assert_eq!(printed["code"], code, "{variables:?}: {printed}");
        assert!(printed["cniVersion"].is_string() && printed["msg"].is_string());
    }
}

#[test]
fn a_runtime_that_never_finishes_writing_is_not_waited_for() {
    let (reader, writer) = std::io::pipe().unwrap();
    let variable = |name: &str| DEL.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into());
    let outcome = plugin::run(variable, reader, Some(impatient()));
    assert_eq!(outcome.stdout.unwrap()["code"], 5);
    drop(writer);
}
