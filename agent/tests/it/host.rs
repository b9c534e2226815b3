//! The agent on a host of its own: what it does to the kernel, and what gets through to it.

use std::{os::unix::net::UnixDatagram, process::Stdio, time::Duration};

use nix::sys::{signal::Signal, stat::Mode};

use crate::{
    namespace::{in_namespace, ip, ip_says},
    place::{Agent, until},
};

const HOST: &str =
    "[node]\nname = \"h1\"\nrouter_id = \"192.0.2.1\"\n[bgp]\nasn = 65001\nlisten = []\n";

fn keys(agent: &Agent) -> Vec<String> {
    let problems = agent.cli(&["problems"]);
    let problems = problems["problems"].as_array().unwrap().iter();
    problems
        .map(|problem| problem["key"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_block_is_announced_only_once_the_kernel_drops_what_no_container_has() {
    in_namespace(|| {
        assert!(ip("route add unreachable 10.1.7.0/24 proto static"));
        let agent = Agent::start(&format!(
            "{HOST}[[pool]]\ncidr = \"10.1.0.0/16\"\nblock = 24\n\
             [[block]]\nprefix = \"10.1.7.0/24\"\n[[block]]\nprefix = \"10.1.8.0/24\"\n"
        ));
        let announced = || {
            let routes = agent.cli(&["routes"]);
            let routes = routes["routes"].as_array().unwrap().iter();
            routes
                .map(|route| route["prefix"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let key = "block.10.1.7.0/24".to_owned();
        until("the problem", || keys(&agent).contains(&key).then_some(()));
        until("the other block", || {
            (announced() == ["10.1.8.0/24"]).then_some(())
        });
        assert!(keys(&agent).contains(&key), "another block is not its cure");
        assert!(ip("route del unreachable 10.1.7.0/24 proto static"));
        until("the block", || (announced().len() == 2).then_some(()));
        until("the end of the problem", || {
            (!keys(&agent).contains(&key)).then_some(())
        });
    });
}

#[test]
fn routes_of_an_earlier_run_are_swept_where_containers_cannot_be_attached() {
    in_namespace(|| {
        assert!(ip("link add uplink type veth peer name far"));
        assert!(ip("link set far up"));
        assert!(ip("addr add 192.0.2.1/24 dev uplink"));
        assert!(ip("link set uplink up"));
        assert!(ip(
            "route add 10.9.9.0/24 via 192.0.2.7 proto 201 metric 50"
        ));
        let mut agent = Agent::start(HOST);
        agent.signal(Signal::SIGKILL);
        agent.wait();
        assert!(ip(
            "route replace 10.9.9.0/24 via 192.0.2.7 proto 201 metric 50"
        ));
        // What lies where the CNI socket should be is left alone.
        let socket = agent.directory().path().join("run/cni.sock");
        let _ = std::fs::remove_file(&socket);
        std::fs::create_dir(&socket).unwrap();
        agent.start_again();
        assert!(
            keys(&agent).contains(&"attach.off".to_owned()),
            "{}",
            agent.log()
        );
        until("the route to be swept", || {
            ip_says("route show proto 201").is_empty().then_some(())
        });
    });
}

#[test]
fn a_host_that_had_containers_does_not_start_without_them() {
    in_namespace(|| {
        let block = "[[pool]]\ncidr = \"10.1.0.0/16\"\n[[block]]\nprefix = \"10.1.7.0/26\"\n";
        let mut agent = Agent::start(&format!("{HOST}{block}"));
        let container = crate::namespace::Container::new("c1");
        let socket = agent.directory().path().join("run/cni.sock");
        container.cni("ADD", &socket);
        agent.signal(Signal::SIGKILL);
        agent.wait();
        agent.write_config(HOST);
        std::fs::remove_file(&socket).unwrap();
        std::fs::create_dir(&socket).unwrap();
        agent.relaunch();
        assert_eq!(agent.wait().code(), Some(1), "{}", agent.log());
        assert!(
            ip_says("route show proto 201").contains("10.1.7.0 dev way")
                || ip_says("route show proto 201").contains("10.1.7.1 dev way"),
            "the container is cut off: {}",
            ip_says("route show proto 201")
        );
    });
}

#[test]
fn without_cap_net_raw_a_peer_without_an_address_is_a_problem_that_says_what_to_do() {
    in_namespace(|| {
        assert!(ip(
            "link add eth1 index 101 type veth peer name far index 102"
        ));
        assert!(ip("link set eth1 up") && ip("link set far up"));
        let peer = "[[peer]]\ninterface = \"eth1\"\nasn = \"external\"\nimport = \"all\"\nexport = \"own\"\n";
        let agent = Agent::launch(&format!("{HOST}{peer}"), |command| {
            let mut wrapped = std::process::Command::new("setpriv");
            wrapped
                .args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"])
                .arg(command.get_program())
                .args(command.get_args())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            *command = wrapped;
        });
        agent.wait_ready();
        let problem = until("the problem", || {
            let problems = agent.cli(&["problems"]);
            let mut problems = problems["problems"].as_array().unwrap().iter();
            problems
                .find(|problem| problem["key"] == "neighbor.no-socket")
                .cloned()
        });
        let fix = problem["fix"].as_str().unwrap();
        assert!(fix.contains("AmbientCapabilities=CAP_NET_RAW"), "{fix}");
        // Nobody is looked for any more.
        agent.write_config(HOST);
        agent.cli(&["reload"]);
        until("it to be gone", || {
            let gone = !keys(&agent).contains(&"neighbor.no-socket".to_owned());
            gone.then_some(())
        });
    });
}

#[test]
fn a_stop_gets_through_a_reload_that_is_stuck() {
    let mut agent = Agent::start(&format!("{HOST}[fib]\ninstall = false\n"));
    let file = agent.directory().path().join("wayleave.toml");
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    agent.signal(Signal::SIGHUP);
    until("the reload", || {
        agent.log().contains("reload asked for").then_some(())
    });
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait().success(), "{}", agent.log());
}

#[test]
fn a_reload_during_the_start_does_not_make_the_service_manager_believe_that_it_is_over() {
    in_namespace(|| {
        let place = crate::place::Directory::new();
        let path = place.path().join("notify.sock");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let agent = Agent::launch(HOST, |command| {
            command.env("NOTIFY_SOCKET", &path);
        });
        // From here on it listens to signals.
        let lock = agent.directory().path().join("run/wayleaved.lock");
        until("the lock", || lock.exists().then_some(()));
        agent.signal(Signal::SIGHUP);
        let mut heard = String::new();
        let mut buffer = [0; 4096];
        while !heard.contains("READY=1") {
            let len = manager.recv(&mut buffer).unwrap();
            heard.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
            heard.push('\n');
        }
        assert!(!heard.contains("RELOADING"), "{heard}");
        agent.wait_ready();
        until("the reload", || {
            agent.log().contains("reloaded").then_some(())
        });
    });
}
