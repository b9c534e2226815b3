//! What owners answer, to people and to machines: conversations with a real agent, held against
//! those in `tests/data/transcripts`. `UPDATE_GOLDENS=1` writes them anew, for a person to read.

use std::{fs, path::PathBuf, sync::Arc, thread};

use serde_json::{Value, json};
use wayleave_agent::cli::{Client, ClientError};

use crate::{
    namespace::{Container, in_namespace, ip},
    place::{Agent, until},
};

const CONFIG: &str = r#"
[node]
name = "h1"
router_id = "192.0.2.1"
address = ["192.0.2.1"]
[bgp]
asn = 65001
listen = []
originate = ["10.99.0.0/16"]
[discovery]
number = 4200000000
[[pool]]
name = "fabric"
cidr = ["10.1.0.0/16", "fd00:1::/112"]
exclude = ["10.1.7.0/30"]
[[block]]
prefix = "10.1.7.0/26"
[[block]]
prefix = "fd00:1::/122"
"#;

/// A host with an uplink, one container and one service of a file.
struct World {
    agent: Agent,
    container: Container,
    text: String,
    key: String,
}

/// Holds a conversation on a host of its own and compares it with the one that was written down.
fn transcript(name: &'static str, conversation: impl FnOnce(&mut World) + Send + 'static) {
    in_namespace(move || {
        let mut world = World::new();
        conversation(&mut world);
        world.check(name);
    });
}

impl World {
    fn new() -> Self {
        for command in [
            "link add uplink type veth peer name far",
            "addr add 192.0.2.1/24 dev uplink",
            "link set far up",
            "link set uplink up",
            "route add default via 192.0.2.254",
        ] {
            assert!(ip(command), "{command}");
        }
        let agent = Agent::start(CONFIG);
        agent.directory().write(
            "services.d/web.toml",
            "[[service]]\nname = \"web\"\naddresses = [\"10.1.7.4\", \"fd00:1::\"]\n\
             ports = [{ name = \"http\", port = 80 }]\ntags = [\"version=2\"]\n",
        );
        let container = Container::new("c1");
        container.cni("ADD", &agent.directory().path().join("run/cni.sock"));
        assert!(agent.run(&["reload"]).status.success(), "{}", agent.log());
        let mut world = Self {
            agent,
            container,
            text: String::new(),
            key: String::new(),
        };
        world.settle(2);
        let page = world.get("/v1/endpoints").unwrap();
        world.key = page["endpoints"][0]["key"].as_str().unwrap().to_owned();
        world
    }

    fn client(&self) -> Client {
        Client::new(&self.agent.socket())
    }

    fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.client().get(path)
    }

    /// Waits until this many endpoints have come round: from the registry over the speaker.
    fn settle(&self, endpoints: usize) {
        self.wait(&format!("{endpoints} endpoints"), |world| {
            let page = world.get("/v1/endpoints").unwrap();
            page["endpoints"].as_array().unwrap().len() == endpoints
        });
    }

    fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        until(what, || condition(self).then_some(()));
    }

    /// Runs a command line and writes down what it says.
    fn run(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let output = self.agent.run(&words);
        self.text.push_str(&format!("$ wayleave {line}\n"));
        let told = String::from_utf8(output.stdout).unwrap();
        // How wide a column is depends on the directory that is named in it.
        let is_wide = told.contains("REGISTERED BY");
        for line in told.lines() {
            let cells = line.split("  ").filter(|cell| !cell.is_empty());
            let line = if is_wide {
                cells.map(str::trim).collect::<Vec<_>>().join("  ")
            } else {
                line.to_owned()
            };
            self.text.push_str(&format!("{line}\n"));
        }
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            self.text.push_str(&format!("stderr: {line}\n"));
        }
        self.text
            .push_str(&format!("exit {}\n\n", output.status.code().unwrap()));
    }

    /// The same for people, for wide terminals and for machines.
    fn run_all(&mut self, line: &str) {
        self.run(line);
        self.run(&format!("{line} -o wide"));
        self.run(&format!("{line} -o json"));
    }

    /// Asks the API and writes the answer down.
    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) {
        let client = self.client();
        let answer = match (method, body) {
            ("GET", _) => client.get(path),
            ("PUT", Some(body)) => client.put(path, body),
            ("DELETE", _) => client.delete(path),
            (_, body) => client.post(path, body),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(ClientError::Refused(error)) => json!({ "refused": error }),
            Err(error) => panic!("{path}: {error}"),
        };
        let body = body.map(|body| format!(" {body}")).unwrap_or_default();
        let answer = serde_json::to_string_pretty(&answer).unwrap();
        self.text
            .push_str(&format!("{method} {path}{body}\n{answer}\n\n"));
    }

    /// One page after the other, one entry each.
    fn ask_pages(&mut self, path: &str, joined: char) {
        let mut after = String::new();
        loop {
            let path = format!("{path}{joined}limit=1{after}");
            self.ask("GET", &path, None);
            let page = self.get(&path).unwrap();
            let Some(next) = page["next"].as_str() else {
                return;
            };
            after = format!("&after={}", next.replace('/', "%2F"));
        }
    }

    fn check(self, name: &str) {
        let directory = self.agent.directory().path().display().to_string();
        let mut text = self
            .text
            .replace(&directory, "DIR")
            .replace(&self.key, "0123456789abcdef");
        for (before, end, instead) in [
            ("\"since_seconds\":", '}', "SECONDS"),
            ("\"age_seconds\":", ',', "SECONDS"),
            ("\"index\":", ',', "INDEX"),
            ("\"netns\": \"", '"', "NETNS"),
            ("\"netns\":\"", '"', "NETNS"),
            ("\"4200000000:", '"', "..."),
            ("/proc/", ' ', "NETNS"),
        ] {
            text = blanked(&text, before, end, instead);
        }
        let text = without_times(&text);
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/transcripts")
            .join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::create_dir_all(golden.parent().unwrap()).unwrap();
            fs::write(&golden, &text).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        for (number, (line, expected)) in text.lines().zip(expected.lines()).enumerate() {
            assert_eq!(line, expected, "{}:{}", golden.display(), number + 1);
        }
        assert_eq!(text.lines().count(), expected.lines().count());
    }
}

/// Replaces what stands between `before` and `end`, wherever that is on one line.
fn blanked(text: &str, before: &str, end: char, instead: &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.find([end, '\n']).map_or("", |at| &part[at..]);
        out.push_str(&format!("{before}{instead}{rest}"));
    }
    out
}

/// Puts TIME for every point in time, and no seconds for every age.
fn without_times(text: &str) -> String {
    let is_delimiter = |c: char| c.is_whitespace() || "()\"".contains(c);
    let shown = |word: &str, is_quoted: bool| {
        let is_time = word.len() == 20 && word.starts_with("20") && word.ends_with('Z');
        let age = word.strip_suffix('s').map(str::parse::<u8>);
        if is_time {
            "TIME".to_owned()
        } else if matches!(age, Some(Ok(0..60))) && !is_quoted {
            "0s".to_owned()
        } else {
            word.to_owned()
        }
    };
    text.split_inclusive(is_delimiter)
        .map(|part| {
            let word = part.trim_end_matches(is_delimiter);
            shown(word, part.ends_with('"')) + &part[word.len()..]
        })
        .collect()
}

#[test]
fn services_are_registered_drained_kept_out_and_taken_back() {
    transcript("services", |world| {
        world.run_all("services");
        world.run_all("services --local");
        world.run(
            "register db --namespace shop --address 10.1.7.4 --port sql=5432/tcp --port 9000 \
             --tag primary --weight 3 --priority 1 --check tcp:5432 --interval 60s --id db-1",
        );
        world.run("services --local -o wide");
        world.ask("GET", "/v1/services/local", None);
        world.run("register db --namespace shop --address 10.1.7.4 --id db-1 -o json");
        world.run("register db --namespace shop --address 10.1.7.4 --id db-1");
        world.run("drain db.shop");
        world.run("undrain db-1 -o json");
        world.run("maint on db-1 --reason disk");
        world.run_all("services --local");
        world.run("maint off db-1");
        world.run("deregister db.shop");
        world.run("deregister db.shop");
        world.run("drain nobody");
        world.run("deregister web");
        let body = json!({"name": "api", "addresses": ["10.1.7.4"], "id": "api-1",
            "ports": [{"port": 8080}]});
        world.ask("PUT", "/v1/services", Some(&body));
        world.ask("POST", "/v1/services/api-1/drain", None);
        world.ask("POST", "/v1/services/api-1/undrain", None);
        world.ask(
            "POST",
            "/v1/services/api-1/maintenance",
            Some(&json!({"reason": "a new disk"})),
        );
        world.ask("GET", "/v1/services/local", None);
        world.ask("DELETE", "/v1/services/api-1", None);
        world.ask("DELETE", "/v1/services/api-1", None);
        world.ask("PUT", "/v1/services", Some(&json!({"name": "api"})));
        world.ask(
            "PUT",
            "/v1/services",
            Some(&json!({"name": "No Name", "addresses": ["10.1.7.4"]})),
        );
        world.ask(
            "POST",
            "/v1/services/api-1/maintenance",
            Some(&json!({"why": "x"})),
        );
    });
}

#[test]
fn endpoints_and_names_are_told_as_they_are_announced() {
    transcript("names", |world| {
        let other = Container::new("c2");
        other.cni("ADD", &world.agent.directory().path().join("run/cni.sock"));
        let register = "register db --address 10.1.7.5 --port sql=5432 --id db-1";
        assert!(
            world
                .agent
                .run(&register.split(' ').collect::<Vec<_>>())
                .status
                .success()
        );
        world.settle(3);
        world.run_all("endpoints");
        world.run("endpoints 10.1.7.5");
        world.run("endpoints --service web");
        world.run("endpoints --service nobody");
        world.run("endpoints --node h1 --service db -o json");
        world.run("endpoints --node h9");
        world.run("endpoints --service a.b.c.d");
        world.run("endpoints 10.1.7");
        world.ask_pages("/v1/endpoints", '?');
        world.ask_pages("/v1/services", '?');
        world.ask("GET", "/v1/endpoints?limit=0", None);
        world.ask("GET", "/v1/endpoints?colour=red", None);
        world.run_all("resolve web");
        world.run("resolve _sql._tcp.db --type srv");
        world.run("resolve h1.node");
        world.run("resolve 10.1.7.5");
        world.run("resolve web --type TXT -o json");
        world.run("resolve db --type AAAA");
        world.run("resolve nobody");
        world.run("resolve example.org.");
        world.ask("GET", "/v1/resolve", None);
        world.ask("GET", "/v1/resolve?name=web&type=MX", None);
    });
}

#[test]
fn addresses_are_shown_checked_and_explained() {
    transcript("ipam", |world| {
        world.run_all("ipam show");
        world.run_all("ipam attachments");
        world.run_all("ipam check");
        for address in [
            "10.1.7.4",
            "10.1.7.9",
            "10.1.7.1",
            "10.1.200.1",
            "10.99.0.1",
            "192.0.2.1",
            "203.0.113.9",
        ] {
            world.run(&format!("ipam explain {address}"));
        }
        world.run("ipam explain 10.1.7.4 -o json");
        world.ask_pages("/v1/ipam", '?');
        let second = Container::new("c2");
        second.cni("ADD", &world.agent.directory().path().join("run/cni.sock"));
        world.ask_pages("/v1/ipam/attachments", '?');
        world.ask("GET", "/v1/ipam/explain", None);
        world.ask("GET", "/v1/ipam/explain?address=10.1.7", None);
        // Somebody deletes the interface of a container that lives.
        let attached = world.get("/v1/ipam/attachments").unwrap();
        let interface = attached["attachments"][1]["host_interface"]
            .as_str()
            .unwrap();
        assert!(ip(&format!("link del {interface}")));
        world.run("ipam check");
        world.run("ipam check -o json");
        for container in [&second, &world.container] {
            container.cni("DEL", &world.agent.directory().path().join("run/cni.sock"));
        }
        world.run("ipam check");
        world.run("ipam show");
        world.run("ipam attachments");
    });
}

#[test]
fn routes_in_the_kernel_are_listed_by_family_prefix_and_page() {
    transcript("fib", |world| {
        world.run_all("routes --rib fib");
        world.run("routes --rib fib --family ipv6");
        world.run("routes --rib fib 10.1.7.4");
        world.run("routes --rib fib 10.1.7.0/26");
        world.run("routes --rib fib 10.1.0.0/16 --longer -o json");
        world.run("routes --rib fib 10.2.0.0/16 --longer");
        world.run("routes --rib fib --peer tor");
        world.ask_pages("/v1/fib", '?');
        world.ask_pages("/v1/fib?family=ipv4", '&');
        world.ask("GET", "/v1/fib?prefix=10.1.7.9", None);
        world.ask("GET", "/v1/fib?prefix=10.1.7.4/32", None);
        world.ask("GET", "/v1/fib?longer=true", None);
        world.ask("GET", "/v1/fib?prefix=10.1.7.9/26", None);
        world.ask("GET", "/v1/fib?after=10.1.7.4", None);
    });
}

#[test]
fn a_reload_says_what_it_did_and_which_files_are_wrong() {
    transcript("reload", |world| {
        world.run("config show");
        world.run("config show -o json");
        world.run("reload");
        world.agent.directory().write(
            "services.d/bad.toml",
            "[[service]]\nname = \"web\"\nadresses = [\"10.1.7.4\"]\n",
        );
        world.agent.directory().write(
            "services.d/more.toml",
            "[[service]]\nname = \"more\"\naddresses = [\"10.1.7.4\"]\n",
        );
        let directory = world.agent.directory().path();
        fs::remove_file(directory.join("services.d/web.toml")).unwrap();
        world.run("reload");
        world.run("reload -o json");
        let config = CONFIG.replace("originate = [\"10.99.0.0/16\"]", "multipath = 1");
        world.agent.write_config(&config);
        world.run("config diff");
        world.run("reload");
        world.agent.write_config(&config.replace("65001", "\"x\""));
        world.run("reload");
        world.agent.write_config(
            &config.replace("address = [\"192.0.2.1\"]", "address = [\"192.0.2.9\"]"),
        );
        world.run("reload");
        world.run("config diff -o json");
    });
}

/// No golden: time is what it is about.
#[test]
fn a_watch_waits_for_a_change_and_leaves_room_for_others() {
    in_namespace(|| {
        let world = World::new();
        let index = |answer: &Value| answer["index"].as_u64().unwrap();
        let now = world.get("/v1/watch").unwrap();
        assert_eq!(
            now["changed"], true,
            "without an index there is nothing to wait for"
        );
        let same = format!("/v1/watch?index={}&wait=0", index(&now));
        assert_eq!(world.get(&same).unwrap()["changed"], false);
        let nobody = world
            .get("/v1/watch?index=0&service=nobody&wait=1")
            .unwrap();
        assert_eq!(nobody, json!({"index": 0, "changed": false}));

        // Who waits for a service that is not there yet hears of it, and of nothing else.
        let socket = Arc::new(world.agent.socket());
        let waiting = thread::spawn({
            let socket = Arc::clone(&socket);
            move || Client::new(&socket).get("/v1/watch?index=0&service=late&wait=25")
        });
        let other = world
            .agent
            .run(&["register", "other", "--address", "10.1.7.4"]);
        assert!(other.status.success());
        // Who waits for that one hears of it: from here on the other had its chance to be woken.
        let heard = world
            .get("/v1/watch?index=0&service=other&wait=25")
            .unwrap();
        assert_eq!(heard["changed"], true);
        assert!(!waiting.is_finished(), "another service is no news");
        assert!(
            world
                .agent
                .run(&["register", "late", "--address", "10.1.7.4"])
                .status
                .success()
        );
        let answer = waiting.join().unwrap().unwrap();
        assert_eq!(answer["changed"], true);
        assert!(index(&answer) > index(&heard), "{answer} after {heard}");

        let nobody = world.get("/v1/watch?service=nobody").unwrap();
        let path = format!("/v1/watch?index={}&service=nobody&wait=8", index(&nobody));
        let many: Vec<_> = (0..80)
            .map(|_| {
                let (socket, path) = (Arc::clone(&socket), path.clone());
                thread::spawn(move || Client::new(&socket).get(&path))
            })
            .collect();
        world.wait("some to be turned away", |_| {
            many.iter().filter(|watcher| watcher.is_finished()).count() >= 48
        });
        let status = world.agent.run(&["status"]);
        assert_eq!(status.status.code(), Some(0), "others are served");
        let answers: Vec<_> = many.into_iter().map(|w| w.join().unwrap()).collect();
        let waited = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(waited, 32);
        for answer in answers {
            if let Err(ClientError::Refused(error)) = answer {
                let error = serde_json::to_value(error).unwrap();
                assert_eq!(error["code"], "busy");
                assert!(
                    error["hint"].as_str().unwrap().contains("ask again"),
                    "{error}"
                );
            }
        }
        for wrong in [
            "/v1/watch?wait=26",
            "/v1/watch?index=x",
            "/v1/watch?service=a.b.c.d",
        ] {
            assert!(
                matches!(world.get(wrong), Err(ClientError::Refused(_))),
                "{wrong}"
            );
        }
    });
}
