//! The API over a real Unix socket, in front of a real speaker.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::PathBuf,
    sync::{Arc, mpsc as std_mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use wayleave_agent::{
    api::{self, BindError, Context, Socket},
    cli::{Client, ClientError},
    config::{self, HostFacts, Sources},
    event::{Owner, Phase, Progress},
    problem::{Problem, Problems, Severity},
};

use crate::place::{DEADLINE, Directory};

const CONFIG: &str = r#"
[node]
name = "h1"
router_id = "192.0.2.1"
[bgp]
asn = 65001
listen = []
originate = ["10.0.0.0/24", "10.0.1.0/24", "10.0.1.128/25", "fd00::/64"]
[[peer]]
name = "tor%1"
address = "127.0.0.1"
asn = 65002
disabled = true
"#;

/// An API in a thread of its own.
struct Server {
    path: PathBuf,
    problems: Problems,
    progress: Progress,
    phase: watch::Sender<Phase>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _directory: Directory,
}

impl Server {
    fn start() -> Self {
        let directory = Directory::new();
        let path = directory.path().join("wayleave.sock");
        let problems = Problems::default();
        let progress = Progress::default();
        let (phase, phase_seen) = watch::channel(Phase::Starting);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std_mpsc::channel();
        let (socket_path, table, expected) = (path.clone(), problems.clone(), progress.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let sources = Sources::from_texts([("/etc/wayleave/wayleave.toml", CONFIG)]);
                let config = config::parse(&sources, &HostFacts::default()).unwrap();
                let speaker = wayleave_bgp::spawn(config::speaker_config(
                    &config,
                    wayleave_discovery::codec::NodeKey(1),
                ))
                .unwrap();
                speaker.handle.originate(config::originations(&config));
                let (_config, config_seen) = watch::channel(Arc::new(config));
                // Nobody reads it: a reload is not answered here.
                let (reload, _) = mpsc::channel(1);
                let context = Context {
                    speaker: speaker.handle.clone(),
                    problems: table,
                    config: config_seen,
                    config_path: (PathBuf::from("/nonexistent/wayleave.toml"), false),
                    phase: phase_seen,
                    progress: expected,
                    dns: None,
                    reload,
                    started: Instant::now(),
                };
                let socket = Socket::bind(&socket_path, None).unwrap();
                ready.send(()).unwrap();
                let router = api::router(context, axum::Router::new());
                socket.serve(router, async { drop(stopped.await) }).await;
                speaker
                    .handle
                    .shutdown(wayleave_bgp::Shutdown::Restart)
                    .await;
            });
        });
        is_ready.recv_timeout(DEADLINE).unwrap();
        let (stop, thread) = (Some(stop), Some(thread));
        Self {
            path,
            problems,
            progress,
            phase,
            stop,
            thread,
            _directory: directory,
        }
    }

    fn get(&self, path: &str) -> Value {
        self.try_get(path)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn try_get(&self, path: &str) -> Result<Value, ClientError> {
        Client::new(&self.path).get(path)
    }

    fn refusal(&self, path: &str) -> Value {
        match self.try_get(path) {
            Err(ClientError::Refused(error)) => serde_json::to_value(error).unwrap(),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Writes bytes as they are and reads until the agent closes.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // The agent may refuse before it has read everything.
        let _ = stream.write_all(request);
        self.read_all(stream)
    }

    /// The same, and then says that nothing more will come.
    fn raw_and_gone(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        self.read_all(stream)
    }

    fn read_all(&self, mut stream: UnixStream) -> String {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn status_carries_speaker_node_and_problems() {
    let server = Server::start();
    server.problems.raise(Problem {
        key: "test.key".to_owned(),
        severity: Severity::Error,
        what: "something".to_owned(),
        why: "for a reason".to_owned(),
        fix: "do this".to_owned(),
    });
    let status = server.get("/v1/status");
    assert_eq!(
        status["node"],
        json!({"name": "h1", "router_id": "192.0.2.1", "addresses": []})
    );
    assert_eq!(status["speaker"]["asn"], 65001);
    assert_eq!(status["speaker"]["ipv4_routes"], 3);
    assert_eq!(
        status["config_files"],
        json!(["/etc/wayleave/wayleave.toml"])
    );
    assert_eq!(status["problems"][0]["key"], "test.key");
    assert_eq!(status["problems"][0]["severity"], "error");
    assert_eq!(server.get("/v1/problems")["problems"], status["problems"]);
}

#[test]
fn readiness_follows_the_owners_and_health_the_speaker() {
    let server = Server::start();
    server
        .progress
        .expect(Owner::Fib, "the kernel's routes to be adopted");
    let refusal = server.refusal("/readyz");
    assert_eq!(refusal["code"], "unavailable");
    assert_eq!(
        refusal["causes"],
        json!(["waiting for the kernel's routes to be adopted"])
    );
    server.progress.in_sync(Owner::Fib);
    server.phase.send_replace(Phase::Ready);
    assert_eq!(server.get("/readyz")["status"], "ok");
    assert_eq!(server.get("/healthz")["status"], "ok");
}

#[test]
fn a_peer_is_found_by_name_and_by_address_and_a_stranger_is_told_who_there_is() {
    let server = Server::start();
    let peers = server.get("/v1/peers");
    assert_eq!(peers["peers"][0]["name"], "tor%1");
    assert_eq!(peers["peers"][0]["configured"]["disabled"], true);
    assert_eq!(peers["peers"][0]["configured"]["import"], "none");
    let origin = peers["peers"][0]["configured"]["origin"].as_str().unwrap();
    assert_eq!(origin, "/etc/wayleave/wayleave.toml:11:11");
    assert_eq!(server.get("/v1/peers/tor%251")["name"], "tor%1");
    assert_eq!(server.get("/v1/peers/127.0.0.1")["name"], "tor%1");
    let refusal = server.refusal("/v1/peers/leaf");
    assert_eq!(refusal["code"], "not-found");
    assert_eq!(refusal["hint"], "the peers are tor%1");
}

#[test]
fn routes_come_in_pages_and_by_prefix() {
    let server = Server::start();
    let prefixes = |path: &str| -> Vec<String> {
        let page = server.get(path);
        let routes = page["routes"].as_array().unwrap().clone();
        routes
            .iter()
            .map(|route| route["prefix"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut paged = Vec::new();
    let mut path = "/v1/routes?limit=1".to_owned();
    loop {
        let page = server.get(&path);
        assert!(page["routes"].as_array().unwrap().len() <= 1);
        paged.extend(
            page["routes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["prefix"].clone()),
        );
        match page["next"].as_u64() {
            Some(next) => path = format!("/v1/routes?limit=1&cursor={next}"),
            None => break,
        }
    }
    paged.sort_by_key(Value::to_string);
    assert_eq!(paged, ["10.0.0.0/24", "10.0.1.0/24", "10.0.1.128/25"]);
    assert_eq!(prefixes("/v1/routes?family=ipv6"), ["fd00::/64"]);
    assert_eq!(prefixes("/v1/routes?prefix=10.0.1.0/24"), ["10.0.1.0/24"]);
    let mut longer = prefixes("/v1/routes?prefix=10.0.1.0/24&longer=true");
    longer.sort();
    assert_eq!(longer, ["10.0.1.0/24", "10.0.1.128/25"]);
    assert_eq!(prefixes("/v1/routes?prefix=10.0.1.200"), ["10.0.1.128/25"]);
    assert_eq!(prefixes("/v1/routes?prefix=fd00::7"), ["fd00::/64"]);
    assert_eq!(
        prefixes("/v1/routes?prefix=192.0.2.1"),
        Vec::<String>::new()
    );
}

#[test]
fn every_refusal_is_an_object_with_code_and_message() {
    let server = Server::start();
    for (path, code) in [
        ("/", "not-found"),
        ("/v1/nothing", "not-found"),
        ("/v1/routes?rib=out", "bad-request"),
        ("/v1/routes?rib=sideways", "bad-request"),
        ("/v1/routes?colour=red", "bad-request"),
        ("/v1/routes?prefix=10.0.0.1/8", "bad-request"),
        ("/v1/routes?rib=in&peer=nobody", "not-found"),
        ("/v1/peers/x/reset", "method-not-allowed"),
        ("/v1/peers/x/shutdown", "method-not-allowed"),
        ("/v1/peers/x/refresh", "method-not-allowed"),
        ("/v1/config/diff", "invalid"),
    ] {
        let refusal = server.refusal(path);
        assert_eq!(refusal["code"], code, "{path}: {refusal}");
        assert!(!refusal["message"].as_str().unwrap().is_empty(), "{path}");
    }
    let long = format!("{{\"communication\": \"{}\"}}", "x".repeat(256));
    for (command, body) in [
        ("reset", "{\"communication\": 3}"),
        ("reset", "{\"other\": 1}"),
        ("reset", "not json"),
        ("reset", &long),
        ("shutdown", &long),
        ("shutdown", "{\"message\": \"TEXT\"}"),
        ("refresh", ""),
        ("refresh", "{\"direction\": \"sideways\"}"),
        ("refresh", "{\"direction\": \"in\", \"family\": \"vpnv4\"}"),
    ] {
        let request = format!(
            "POST /v1/peers/127.0.0.1/{command} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = server.raw(request.as_bytes());
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("bad-request"),
            "{answer}"
        );
    }
}

#[test]
fn garbage_and_giants_are_turned_away_and_the_next_request_is_served() {
    let server = Server::start();
    for garbage in [
        &b"\x16\x03\x01\x02\x00garbage\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let answer = server.raw_and_gone(garbage);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let head = [
        b"GET /".as_slice(),
        &vec![b'x'; 200_000],
        b" HTTP/1.1\r\n\r\n",
    ]
    .concat();
    let answer = server.raw(&head);
    assert!(
        !answer.starts_with("HTTP/1.1 200"),
        "{}",
        &answer[..answer.len().min(200)]
    );
    let body = [
        b"POST /v1/peers/127.0.0.1/reset HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n".as_slice(),
        &vec![b' '; 1_000_000],
    ]
    .concat();
    let answer = server.raw(&body);
    assert!(
        answer.starts_with("HTTP/1.1 413"),
        "{}",
        &answer[..answer.len().min(200)]
    );
    assert_eq!(server.get("/healthz")["status"], "ok");
}

#[test]
fn more_connections_than_there_is_room_for_wait_their_turn() {
    let server = Server::start();
    // Idle connections fill the room, and give it back when they close.
    let idle: Vec<_> = (0..64)
        .map(|_| UnixStream::connect(&server.path).unwrap())
        .collect();
    let path = server.path.clone();
    let (answered, is_answered) = std_mpsc::channel();
    let waiting = thread::spawn(move || {
        let answer = Client::new(&path).get("/healthz");
        answered.send(answer.is_ok()).unwrap();
    });
    let early = is_answered.recv_timeout(Duration::from_millis(300));
    assert!(early.is_err(), "the 65th connection was served at once");
    drop(idle);
    assert!(is_answered.recv_timeout(DEADLINE).unwrap());
    waiting.join().unwrap();
}

#[test]
fn the_socket_is_for_root_and_group_only_and_goes_with_the_server() {
    let server = Server::start();
    let mode = std::fs::metadata(&server.path)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let path = server.path.clone();
    // Held so that the directory outlives the server.
    assert!(path.exists());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let second = Socket::bind(&path, None);
    assert!(matches!(second, Err(BindError::Served(_))), "{second:?}");
}

#[test]
fn a_stale_socket_is_replaced_and_a_file_of_another_kind_is_not() {
    let directory = Directory::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let stale = directory.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists(), "dropping a listener leaves its file");
    let socket = Socket::bind(&stale, None).unwrap();
    drop(socket);
    assert!(!stale.exists());
    let file = directory.write("file.sock", "precious");
    assert!(matches!(
        Socket::bind(&file, None),
        Err(BindError::NotASocket(_))
    ));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let missing = api::socket_group(Some("no-such-group-here"));
    assert!(matches!(missing, Err(BindError::NoGroup(_))));
}

#[test]
fn the_group_of_the_socket_is_the_one_that_was_configured() {
    let root = api::socket_group(Some("root")).unwrap();
    assert_eq!(root.map(nix::unistd::Gid::as_raw), Some(0));
}
