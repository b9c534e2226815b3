//! The plugin against the socket, on the real kernel.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde_json::{Value, json};
use wayleave_cni::{
    client::Patience,
    config::NetworkConfig,
    environment::{Attachment as Name, Verb},
    message::{Call, Reply},
    plugin::{self, Outcome},
};

use super::*;
use crate::attach::world::{Container, World, first_packet, in_world};

/// A place for a socket, removed at the end even of a panic.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wl-cnid-{}-{next}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("cni.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serve(world: &mut World, place: &Place) -> (Server, Attachments) {
    let (attachments, _) = world.start();
    (
        Server::start(&place.socket(), None, attachments.clone()).unwrap(),
        attachments,
    )
}

/// Calls the plugin as a runtime does, within this process.
fn run(verb: &str, container: &Container, config: &Value) -> Outcome {
    let netns = container.path.display().to_string();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(config.to_string().as_bytes()).unwrap();
    drop(writer);
    let variable = |name: &str| match name {
        "CNI_COMMAND" => Some(verb.into()),
        "CNI_CONTAINERID" => Some(container.name.clone().into()),
        "CNI_IFNAME" => Some("eth0".into()),
        "CNI_NETNS" => Some(netns.clone().into()),
        "CNI_ARGS" => Some("IgnoreUnknown=1".into()),
        _ => None,
    };
    plugin::run(variable, reader, Some(Patience::of(Verb::Add)))
}

fn config(place: &Place, version: &str) -> Value {
    json!({"cniVersion": version, "name": "fabric", "type": "wayleave-cni", "socket": place.socket()})
}

#[track_caller]
fn success(outcome: Outcome) -> Value {
    assert!(outcome.success, "{:?}", outcome.stdout);
    outcome.stdout.unwrap_or(Value::Null)
}

#[track_caller]
fn failure(outcome: Outcome) -> (u64, String) {
    assert!(!outcome.success);
    let error = outcome.stdout.unwrap();
    (error["code"].as_u64().unwrap(), error.to_string())
}

#[test]
fn a_container_lives_its_life_in_every_version() {
    in_world(|world| {
        let place = Place::new();
        let (server, attachments) = serve(world, &place);
        let mode = fs::metadata(place.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let container = Container::new(&format!("c{version}"));
            let mut config = config(&place, version);
            let added = success(run("ADD", &container, &config));
            assert_eq!(added["interfaces"][1]["name"], "eth0");
            assert_eq!(
                added["interfaces"][1]["sandbox"],
                container.path.to_str().unwrap()
            );
            assert_eq!(added["ips"][0]["gateway"], "169.254.1.1");
            assert_eq!(added["ips"][1]["interface"], 1);
            assert_eq!(added["routes"][1]["dst"], "::/0");
            container.echo();
            for ip in added["ips"].as_array().unwrap() {
                let address = ip["address"].as_str().unwrap().split('/').next().unwrap();
                first_packet(address.parse().unwrap()).unwrap();
            }
            assert_eq!(success(run("ADD", &container, &config)), added, "twice");
            config["prevResult"] = added.clone();
            if version > "0.3.1" {
                success(run("CHECK", &container, &config));
                config["prevResult"]["ips"] = json!([]);
                let (code, text) = failure(run("CHECK", &container, &config));
                assert_eq!(code, 100);
                assert!(text.contains("prevResult lacks"), "{text}");
            }
            if version == "1.1.0" {
                success(run("STATUS", &container, &config));
                let listed = json!([{"containerID": container.name, "ifname": "eth0"}]);
                config["cni.dev/valid-attachments"] = listed;
                success(run("GC", &container, &config));
                assert_eq!(attachments.list().len(), 1);
                config["cni.dev/valid-attachments"] = json!([]);
                success(run("GC", &container, &config));
                assert_eq!(attachments.list().len(), 0);
            }
            success(run("DEL", &container, &config));
            success(run("DEL", &container, &config));
        }
        server.stop();
        assert!(!place.socket().exists());
        world.assert_empty();
    });
}

#[test]
fn what_the_configuration_asks_for_is_what_the_container_gets() {
    in_world(|world| {
        let place = Place::new();
        let (_server, attachments) = serve(world, &place);
        let container = Container::new("c1");
        let mut wishes = config(&place, "1.1.0");
        wishes["mtu"] = json!(1_300);
        wishes["families"] = json!(["ipv4"]);
        wishes["pools"] = json!(["green"]);
        wishes["dns"] = json!({"nameservers": ["10.1.0.53"]});
        wishes["runtimeConfig"] = json!({"ips": ["10.1.7.77/24"], "mac": "02:00:00:00:00:77"});
        let added = success(run("ADD", &container, &wishes));
        assert_eq!(added["ips"].as_array().unwrap().len(), 1);
        assert_eq!(added["ips"][0]["address"], "10.1.7.77/32");
        assert_eq!(added["interfaces"][1]["mac"], "02:00:00:00:00:77");
        assert_eq!(added["interfaces"][1]["mtu"], 1_300);
        assert_eq!(added["dns"]["nameservers"][0], "10.1.0.53");
        wishes["prevResult"] = added;
        success(run("CHECK", &container, &wishes));
        let other = Container::new("c2");
        for (key, value, code, wanted) in [
            (
                "runtimeConfig",
                json!({"ips": ["10.1.7.77"]}),
                7,
                "already leased to eth0 of container c1",
            ),
            (
                "runtimeConfig",
                json!({"ips": ["192.0.2.77"]}),
                7,
                "in none of this host's blocks",
            ),
            (
                "runtimeConfig",
                json!({"mac": "01:00:00:00:00:77"}),
                7,
                "is no hardware address",
            ),
            (
                "runtimeConfig",
                json!({"mac": "02:00:00"}),
                7,
                "is no hardware address",
            ),
            (
                "pools",
                json!(["red"]),
                7,
                "there is no pool `red`; this host knows green",
            ),
        ] {
            let mut config = config(&place, "1.1.0");
            config[key] = value;
            let (got, text) = failure(run("ADD", &other, &config));
            assert!(got == code && text.contains(wanted), "{text}");
        }
        assert_eq!(attachments.list().len(), 1);
    });
}

#[test]
fn an_agent_without_a_pool_says_so_and_a_full_block_is_to_be_tried_again_later() {
    in_world(|world| {
        let place = Place::new();
        let (attachments, _) = world.start_with((vec![], vec![]), None).unwrap();
        let server = Server::start(&place.socket(), None, attachments).unwrap();
        let container = Container::new("c1");
        let (code, text) = failure(run("STATUS", &container, &config(&place, "1.1.0")));
        assert!(code == 50 && text.contains("no pool configured"), "{text}");
        let (code, text) = failure(run("ADD", &container, &config(&place, "1.1.0")));
        assert!(
            code == 11 && text.contains("no pool is configured"),
            "{text}"
        );
        success(run("DEL", &container, &config(&place, "1.1.0")));
        server.stop();
        let (pools, _) = crate::attach::world::space();
        let block = wayleave_ipam::Block::fixed("green", "10.1.7.0/31".parse().unwrap());
        let (attachments, _) = world.start_with((pools, vec![block]), None).unwrap();
        let _server = Server::start(&place.socket(), None, attachments).unwrap();
        let containers = ["c1", "c2", "c3"].map(Container::new);
        success(run("ADD", &containers[0], &config(&place, "1.1.0")));
        success(run("ADD", &containers[1], &config(&place, "1.1.0")));
        let (code, text) = failure(run("ADD", &containers[2], &config(&place, "1.1.0")));
        assert!(code == 11 && text.contains("2 of 2 are leased"), "{text}");
        success(run("DEL", &containers[0], &config(&place, "1.1.0")));
        success(run("ADD", &containers[2], &config(&place, "1.1.0")));
    });
}

/// The plugins retry until the next agent is there: no call fails.
#[test]
fn no_call_fails_while_the_agent_is_restarted() {
    in_world(|world| {
        let place = Place::new();
        let (server, attachments) = serve(world, &place);
        let containers: Vec<_> = (0..30).map(|n| Container::new(&format!("c{n}"))).collect();
        let config = config(&place, "1.1.0");
        thread::scope(|scope| {
            let calls: Vec<_> = containers
                .iter()
                .map(|c| scope.spawn(|| run("ADD", c, &config)))
                .collect();
            // Somewhere in the middle of them.
            let deadline = Instant::now() + Duration::from_secs(10);
            while attachments.list().len() < 5 && Instant::now() < deadline {
                thread::yield_now();
            }
            // In the wrong order too: what the agent no longer takes, its successor does.
            attachments.stop();
            server.stop();
            drop(attachments);
            let (_next, attachments) = serve(world, &place);
            for call in calls {
                success(call.join().unwrap());
            }
            assert_eq!(attachments.list().len(), 30);
            assert_eq!(attachments.leases().len(), 60);
            for container in &containers {
                success(run("DEL", container, &config));
            }
        });
        world.assert_empty();
    });
}

fn connected(path: &Path) -> Channel {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    connect(
        std::os::fd::AsRawFd::as_raw_fd(&socket),
        &UnixAddr::new(path).unwrap(),
    )
    .unwrap();
    Channel::new(socket)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[test]
fn calls_that_no_plugin_of_ours_makes_are_refused_and_harm_nobody() {
    in_world(|world| {
        let place = Place::new();
        let (_server, _attachments) = serve(world, &place);
        let text = config(&place, "1.1.0").to_string();
        let call = |verb, name: Option<(&str, &str)>| Call {
            verb,
            attachment: name.map(|(id, ifname)| Name {
                container_id: id.to_owned(),
                ifname: ifname.to_owned(),
            }),
            netns: None,
            args: std::collections::BTreeMap::new(),
            config: NetworkConfig::read(text.as_bytes(), Verb::Del).unwrap(),
            patience_ms: 1_000,
        };
        for (call, code) in [
            (call(Verb::Add, Some(("c1", "eth0"))), 103),
            (call(Verb::Check, Some(("c1", "eth0"))), 103),
            (call(Verb::Del, None), 4),
            (call(Verb::Del, Some(("../c1", "eth0"))), 4),
            (call(Verb::Del, Some(("c1", "eth0/../x"))), 4),
            (call(Verb::Gc, None), 7),
            (call(Verb::Version, None), 103),
        ] {
            let channel = connected(&place.socket());
            channel.send(&call, &[], soon()).unwrap();
            let (reply, _) = channel.receive::<Reply>(soon()).unwrap();
            let Reply::Failed { error } = reply else {
                panic!("{reply:?}")
            };
            assert_eq!(error.code, code, "{error}");
        }
        // Not a call at all, and descriptors that are no namespace.
        let channel = connected(&place.socket());
        channel.send(&"hello", &[], soon()).unwrap();
        let (reply, _) = channel.receive::<Reply>(soon()).unwrap();
        assert!(matches!(reply, Reply::Failed { error } if error.code == 103));
        let null = fs::File::open("/dev/null").unwrap();
        let null = std::os::fd::AsFd::as_fd(&null);
        let channel = connected(&place.socket());
        channel
            .send(
                &call(Verb::Add, Some(("c1", "eth0"))),
                &[null, null],
                soon(),
            )
            .unwrap();
        let (reply, _) = channel.receive::<Reply>(soon()).unwrap();
        assert!(matches!(reply, Reply::Failed { error } if error.code == 103));
        drop(channel);
        let container = Container::new("c1");
        success(run("ADD", &container, &config(&place, "1.1.0")));
        success(run("DEL", &container, &config(&place, "1.1.0")));
        world.assert_empty();
    });
}

#[test]
fn connections_that_say_nothing_keep_their_places_for_seconds_only() {
    in_world(|world| {
        let place = Place::new();
        let (_server, _attachments) = serve(world, &place);
        let silent: Vec<Channel> = (0..CALLS_MAX + 10)
            .map(|_| connected(&place.socket()))
            .collect();
        let container = Container::new("c1");
        let begun = Instant::now();
        success(run("ADD", &container, &config(&place, "1.1.0")));
        println!(
            "an ADD behind {} silent connections: {:?}",
            silent.len(),
            begun.elapsed()
        );
        assert!(begun.elapsed() < FIRST_FRAME * 4);
    });
}

#[test]
fn a_socket_left_behind_is_replaced_one_in_use_is_not_and_a_file_is_left_alone() {
    in_world(|world| {
        let place = Place::new();
        let left = listener::bind(&place.socket()).unwrap();
        drop(left);
        let (server, attachments) = serve(world, &place);
        let container = Container::new("c1");
        success(run("STATUS", &container, &config(&place, "1.1.0")));
        let error = Server::start(&place.socket(), None, attachments.clone()).unwrap_err();
        assert!(matches!(error, ServeError::InUse(_)), "{error}");
        server.stop();
        fs::write(place.socket(), "precious").unwrap();
        let error = Server::start(&place.socket(), None, attachments.clone()).unwrap_err();
        assert!(matches!(error, ServeError::NotASocket(_)), "{error}");
        assert_eq!(fs::read_to_string(place.socket()).unwrap(), "precious");
        fs::remove_file(place.socket()).unwrap();
        let group = Some(Gid::from_raw(12_345));
        let _server = Server::start(&place.socket(), group, attachments).unwrap();
        let metadata = fs::metadata(place.socket()).unwrap();
        assert_eq!(
            (metadata.permissions().mode() & 0o777, metadata.gid()),
            (0o660, 12_345)
        );
    });
}
