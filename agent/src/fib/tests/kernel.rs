//! The task on the real kernel, in a network namespace: the test runs itself there again.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use wayleave_bgp_core::{
    attributes,
    feed::{FeedEvent, FeedPath, Forwarding, RouteChange, RouteSource},
};
use wayleave_netlink::{Dump, Kernel, Nexthop, NexthopTarget, Object, RouteFilter, Socket};

use super::*;
use crate::{event::Progress, fib, problem::Problems};

/// Set in the process that runs inside.
const INSIDE: &str = "WAYLEAVE_TEST_NAMESPACE";

/// A socket in a namespace with an uplink, made for the test of this name; `None`: it has run
/// itself there, and goes no further out here.
fn inside(test: &str) -> Option<Socket> {
    inside_of("kernel", test)
}

/// The same for a test of another module.
pub(super) fn inside_of(module: &str, test: &str) -> Option<Socket> {
    if std::env::var_os(INSIDE).is_some() {
        let mut socket = Socket::open().expect("a socket");
        uplink(&mut socket);
        return Some(socket);
    }
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must run the kernel tests as root"
        );
        eprintln!("skipped: network namespaces need root");
        return None;
    }
    let test = format!("fib::tests::{module}::{test}");
    let this = std::env::current_exe().expect("the path of the test");
    let output = Command::new("unshare")
        .args(["--net", "--kill-child"])
        .arg(this)
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "it failed inside the namespace");
    // Of a name that nobody has, no test fails.
    assert!(said.contains("1 passed"), "{test} did not run in there");
    None
}

pub(super) fn apply(socket: &mut Socket, changes: impl IntoIterator<Item = Change>) {
    let changes: Vec<_> = changes.into_iter().collect();
    for (change, result) in changes.iter().zip(socket.apply(&changes)) {
        if let Err(error) = result {
            panic!("{}", error.about(change));
        }
    }
}

fn uplink(socket: &mut Socket) {
    let end = |name: &str, ifindex| NewEnd {
        ifindex: Some(ifindex),
        ..NewEnd::new(name)
    };
    let veth = NewLink::Veth {
        host: end("eth0", ETH0 + 100),
        peer: end("peer", 200),
        peer_netns: None,
    };
    apply(
        socket,
        [
            LinkChange::of("lo").up(true).into(),
            veth.into(),
            LinkChange::of("eth0").up(true).into(),
            LinkChange::of("peer").up(true).into(),
            Change::AddressAdd(Address::new(ETH0 + 100, ip("192.0.2.1"), 24)),
            Change::AddressAdd(Address::new(ETH0 + 100, ip("2001:db8::1"), 64)),
        ],
    );
}

pub(super) fn learned(text: &str, router: Option<&str>) -> RouteChange<Forwarding> {
    let prefix = prefix(text);
    let route = router.map(|router| Forwarding {
        paths: Arc::new([FeedPath {
            source: RouteSource::Peer("tor".into()),
            next_hop: attributes::NextHop::from(ip(router)),
            interface: None,
        }]),
    });
    RouteChange {
        prefix: wayleave_bgp_core::Prefix::new(prefix.addr(), prefix.len()),
        route,
    }
}

pub(super) fn ours(socket: &mut Socket) -> Vec<Route> {
    [Family::V4, Family::V6]
        .into_iter()
        .flat_map(|family| {
            socket
                .routes(RouteFilter::all(family).protocol(OURS))
                .expect("a listing")
        })
        .collect()
}

pub(super) fn nexthops(socket: &mut Socket) -> Vec<Nexthop> {
    let listed = socket.dump(&Dump::Nexthops).expect("a listing").into_iter();
    listed
        .filter_map(|object| {
            if let Object::Nexthop(nexthop) = object {
                Some(nexthop)
            } else {
                None
            }
        })
        .collect()
}

/// Waits for a condition, and says how long it took.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        // Generous: the machine may be busy, and most who wait are done in milliseconds.
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    start.elapsed()
}

/// An agent's FIB on the kernel of this namespace.
pub(super) struct Running {
    pub(super) feed: mpsc::Sender<FeedEvent<Forwarding>>,
    /// What the speaker would ask before it sends.
    prompt: std::cell::RefCell<wayleave_bgp::Prompt<Forwarding>>,
    pub(super) handle: fib::FibHandle,
    /// What the speaker is told of its next hops.
    reachable: std::cell::RefCell<mpsc::UnboundedReceiver<Vec<(IpAddr, bool)>>>,
    pub(super) task: tokio::task::JoinHandle<Result<(), fib::Lost>>,
    pub(super) progress: Progress,
    problems: Problems,
}

pub(super) fn run() -> Running {
    run_with(SETTINGS)
}

pub(super) fn run_with(settings: Settings) -> Running {
    let (feed, received) = mpsc::channel(16);
    let (problems, progress) = (Problems::default(), Progress::default());
    let (told, reachable) = mpsc::unbounded_channel();
    let prompt = std::rc::Rc::new(std::cell::RefCell::new(None));
    let kept = std::rc::Rc::clone(&prompt);
    let (handle, task) = fib::start(
        settings,
        &[Owner::Bgp],
        fib::Learned {
            subscribe: Box::new(move |prompt| {
                *kept.borrow_mut() = Some(prompt);
                received
            }),
            carriers: None,
            reachable: Box::new(move |next_hops| {
                // A test that does not ask has let go of the other end.
                let _ = told.send(next_hops);
            }),
        },
        problems.clone(),
        progress.clone(),
    )
    .expect("netlink sockets");
    let prompt = prompt.take().expect("it subscribes");
    Running {
        feed,
        prompt: std::cell::RefCell::new(prompt),
        handle,
        reachable: std::cell::RefCell::new(reachable),
        task: tokio::spawn(task),
        progress,
        problems,
    }
}

impl Running {
    /// As the speaker does: at once, or through the channel. Whether it was done at once.
    pub(super) async fn learn(&self, changes: Vec<RouteChange<Forwarding>>) -> bool {
        let left = (self.prompt.borrow_mut())(FeedEvent::Changes(changes));
        let Some(event) = left else { return true };
        self.feed.send(event).await.expect("the task runs");
        false
    }

    /// What the speaker is told next of its next hops.
    pub(super) async fn reachability(&self) -> Vec<(IpAddr, bool)> {
        let mut reachable = self.reachable.borrow_mut();
        let told = tokio::time::timeout(Duration::from_secs(60), reachable.recv());
        told.await.expect("it is told").expect("the task runs")
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let standing = self.problems.standing();
        let keys = standing.iter().map(|standing| standing.problem.key.clone());
        keys.collect()
    }

    pub(super) async fn in_sync(&self) {
        for family in wayleave_bgp_core::Family::ALL {
            self.feed
                .send(FeedEvent::InSync(family))
                .await
                .expect("the task runs");
        }
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn learned_routes_are_in_the_kernel_and_stay_there_whatever_others_do() {
    let Some(mut socket) =
        inside("learned_routes_are_in_the_kernel_and_stay_there_whatever_others_do")
    else {
        return;
    };
    let stray = route("10.200.0.0/24", OURS, "192.0.2.9", ETH0 + 100);
    let foreign = route("10.201.0.0/24", Protocol::BIRD, "192.0.2.9", ETH0 + 100);
    apply(
        &mut socket,
        [&stray, &foreign].map(|route| Change::RouteAdd(route.clone())),
    );
    runtime().block_on(async {
        let agent = run();
        let mut texts: Vec<_> = (0..1_000)
            .map(|i| format!("10.{}.{}.0/24", i / 250, i % 250))
            .collect();
        texts.push("2001:db8:77::/64".to_owned());
        let router = |text: &str| {
            if text.contains(':') {
                "2001:db8::2"
            } else {
                "192.0.2.2"
            }
        };
        agent
            .learn(
                texts
                    .iter()
                    .map(|text| learned(text, Some(router(text))))
                    .collect(),
            )
            .await;
        agent
            .learn(vec![learned("10.201.0.0/24", Some("192.0.2.2"))])
            .await;
        let slots = texts.iter().map(|text| (prefix(text), METRIC)).collect();
        let settled = agent.handle.settled(slots).await.expect("the task runs");
        assert!(settled.iter().all(Result::is_ok), "{settled:?}");
        assert_eq!(ours(&mut socket).len(), 1_002, "the stray is there yet");
        agent.in_sync().await;
        until("the stray is swept", || ours(&mut socket).len() == 1_001).await;
        agent.progress.complete().await;
        let standing = agent.problems.standing();
        let keys: Vec<_> = standing
            .iter()
            .map(|standing| standing.problem.key.as_str())
            .collect();
        assert_eq!(keys, ["fib.occupied"]);

        // Deleted, replaced, flushed.
        let all = ours(&mut socket);
        apply(&mut socket, [Change::RouteDelete(all[0].key())]);
        let took = until("a deleted route is back", || ours(&mut socket) == all).await;
        eprintln!("a deleted route was back after {took:?}");
        let hole = Route::blackhole(all[1].prefix, Protocol::BOOT).with_metric(METRIC);
        apply(&mut socket, [Change::RouteReplace(hole)]);
        let took = until("a replaced route is back", || ours(&mut socket) == all).await;
        eprintln!("a replaced route was back after {took:?}");
        apply(
            &mut socket,
            all.iter()
                .skip(2)
                .rev()
                .map(|route| Change::RouteDelete(route.key())),
        );
        let took = until("flushed routes are back", || ours(&mut socket) == all).await;
        eprintln!("999 flushed routes were back after {took:?}");

        // The uplink and its address bounce.
        apply(&mut socket, [LinkChange::of("eth0").up(false).into()]);
        until("all are gone with the link", || {
            ours(&mut socket).is_empty()
        })
        .await;
        apply(&mut socket, [LinkChange::of("eth0").up(true).into()]);
        let v6 = Address::new(ETH0 + 100, ip("2001:db8::1"), 64);
        let _may_have_stayed = socket.apply_one(&Change::AddressAdd(v6));
        let took = until("all are back with the link", || ours(&mut socket) == all).await;
        eprintln!("1001 routes were back with their link after {took:?}");
        let address = Address::new(ETH0 + 100, ip("192.0.2.1"), 24);
        apply(
            &mut socket,
            [Change::AddressDelete(address), Change::AddressAdd(address)],
        );
        let took = until("all are back with the address", || ours(&mut socket) == all).await;
        eprintln!("1000 routes were back with their address after {took:?}");

        // Gone from the feed, gone from the kernel; nobody else's route was touched.
        agent
            .learn(texts.iter().map(|text| learned(text, None)).collect())
            .await;
        until("withdrawn routes are gone", || ours(&mut socket).is_empty()).await;
        let theirs = RouteFilter::all(Family::V4).protocol(Protocol::BIRD);
        let left = socket.routes(theirs).expect("a listing");
        // The link went down under it, which is not our doing.
        assert!(left.is_empty() || left == [foreign]);
        let Running {
            feed, handle, task, ..
        } = agent;
        drop((feed, handle));
        task.await.expect("no panic").expect("a clean end");
    });
}

#[test]
fn an_agent_killed_and_started_leaves_every_route_untouched() {
    let Some(mut socket) = inside("an_agent_killed_and_started_leaves_every_route_untouched")
    else {
        return;
    };
    let changes = || {
        (0..500).map(|i| {
            learned(
                &format!("10.{}.{}.0/24", i / 250, i % 250),
                Some("192.0.2.2"),
            )
        })
    };
    runtime().block_on(async {
        let first = run();
        first.learn(changes().collect()).await;
        until("all are installed", || ours(&mut socket).len() == 500).await;
        // Its end touches nothing, as a kill does not.
        drop((first.feed, first.handle));
        first.task.await.expect("no panic").expect("a clean end");
        let mut monitor = wayleave_netlink::Monitor::open(&[wayleave_netlink::Group::RoutesV4])
            .expect("a monitor");
        let second = run();
        // Only half of them come again before the rest is given up.
        second.learn(changes().skip(250).collect()).await;
        second.progress.complete().await;
        let mut events = Vec::new();
        assert!(!monitor.read(&mut events).expect("readable"));
        assert_eq!(events, [], "nothing was touched");
        assert_eq!(ours(&mut socket).len(), 500);
        second.in_sync().await;
        until("what nobody claimed is swept", || {
            ours(&mut socket).len() == 250
        })
        .await;
    });
}

#[test]
fn twenty_thousand_routes_that_somebody_flushes_are_back() {
    let Some(mut socket) = inside("twenty_thousand_routes_that_somebody_flushes_are_back") else {
        return;
    };
    runtime().block_on(async {
        let agent = run();
        let start = Instant::now();
        let texts: Vec<_> = (0..20_000)
            .map(|i| format!("10.{}.{}.{}/30", i / 4096, i / 64 % 64, i % 64 * 4))
            .collect();
        for texts in texts.chunks(4_000) {
            agent
                .learn(
                    texts
                        .iter()
                        .map(|text| learned(text, Some("192.0.2.2")))
                        .collect(),
                )
                .await;
        }
        agent.in_sync().await;
        let slots = texts.iter().map(|text| (prefix(text), METRIC)).collect();
        agent.handle.settled(slots).await.expect("the task runs");
        eprintln!("20000 routes were installed after {:?}", start.elapsed());
        let all = ours(&mut socket);
        assert_eq!(all.len(), 20_000);
        // Faster than the thread heeds the events, and perhaps than its buffer holds.
        apply(
            &mut socket,
            all.iter()
                .rev()
                .map(|route| Change::RouteDelete(route.key())),
        );
        let took = until("all are back", || ours(&mut socket).len() == 20_000).await;
        eprintln!("20000 deleted routes were back after {took:?}");
    });
}

#[test]
fn a_next_hop_that_moves_takes_all_its_routes_along_and_carrier_loss_is_made_good() {
    let Some(mut socket) =
        inside("a_next_hop_that_moves_takes_all_its_routes_along_and_carrier_loss_is_made_good")
    else {
        return;
    };
    let second = NewLink::Veth {
        host: NewEnd {
            ifindex: Some(300),
            ..NewEnd::new("eth1")
        },
        peer: NewEnd::new("peer1"),
        peer_netns: None,
    };
    let up = |name: &str| Change::from(LinkChange::of(name).up(true));
    apply(&mut socket, [second.into(), up("eth1"), up("peer1")]);
    runtime().block_on(async {
        let agent = run();
        let texts: Vec<_> = (0..5_000)
            .map(|i| format!("10.{}.{}.0/24", i / 250, i % 250))
            .collect();
        let both = texts.iter().map(|text| learned(text, Some("192.0.2.2")));
        agent.learn(both.collect()).await;
        agent.learn(vec![learned("2001:db8:77::/64", Some("2001:db8::2"))]).await;
        agent.in_sync().await;
        let slots: Vec<_> = texts.iter().map(|text| (prefix(text), METRIC)).collect();
        agent.handle.settled(slots.clone()).await.expect("the thread runs");
        let before = ours(&mut socket);
        assert_eq!(before.len(), 5_001);
        let object = before[0].nexthop.expect("a route through an object");
        assert!(before[..5_000].iter().all(|route| route.nexthop == Some(object)));
        let leads_over = |socket: &mut Socket| {
            let mut there = nexthops(socket).into_iter();
            match there.find(|nexthop| nexthop.id == object)?.to {
                NexthopTarget::Via { ifindex, .. } => Some(ifindex),
                NexthopTarget::Dev { .. }
                | NexthopTarget::Blackhole { .. }
                | NexthopTarget::Group(_)
                | NexthopTarget::Resilient { .. } => None,
            }
        };
        assert_eq!(leads_over(&mut socket), Some(ETH0 + 100));

        // The router's network moves to the other interface: the object does, the routes stay.
        let mut monitor = wayleave_netlink::Monitor::open(&[wayleave_netlink::Group::RoutesV4])
            .expect("a monitor");
        let nearer = Address::new(300, ip("192.0.2.5"), 29);
        apply(&mut socket, [Change::AddressAdd(nearer)]);
        let took = until("the object leads over the other interface", || {
            leads_over(&mut socket) == Some(300)
        })
        .await;
        eprintln!("5000 routes were repointed after {took:?}");
        assert_eq!(ours(&mut socket), before);
        let mut events = Vec::new();
        while monitor.read(&mut events).expect("readable") {}
        let of_ours = |event: &Event| matches!(event, Event::Gone(wayleave_netlink::Object::Route(route)) if route.protocol == OURS);
        assert!(!events.iter().any(of_ours), "no route was away at any time");

        // Carrier goes, and with it, silently, the object and its routes: they go by the other
        // interface again, whose network has the router too; and back with the carrier. Only the
        // ends are waited for: what lies between may be over before anybody looks.
        let routes_over = |socket: &mut Socket, ifindex| {
            ours(socket).len() == 5_001 && leads_over(socket) == Some(ifindex)
        };
        apply(&mut socket, [LinkChange::of("peer1").up(false).into()]);
        let took = until("all go by the other interface", || {
            routes_over(&mut socket, ETH0 + 100)
        })
        .await;
        eprintln!("5000 routes went by the other interface after {took:?}");
        apply(&mut socket, [up("peer1")]);
        let took = until("all are back with the carrier", || {
            routes_over(&mut socket, 300)
        })
        .await;
        eprintln!("5000 routes were back with the carrier after {took:?}");

        // The same with no other way: they are gone until the carrier comes.
        let other = Address::new(ETH0 + 100, ip("192.0.2.1"), 24);
        apply(&mut socket, [Change::AddressDelete(other)]);
        apply(&mut socket, [LinkChange::of("peer1").up(false).into()]);
        until("routes over the dead link are gone", || {
            ours(&mut socket).len() == 1
        })
        .await;
        apply(&mut socket, [up("peer1")]);
        let took = until("all are back with the carrier", || {
            routes_over(&mut socket, 300)
        })
        .await;
        eprintln!("5000 routes were back with the only carrier after {took:?}");

        // Somebody flushes the objects.
        apply(&mut socket, [Change::NexthopDelete(object)]);
        let took = until("all are back after a flush", || {
            ours(&mut socket).len() == 5_001
        })
        .await;
        eprintln!("5000 routes were back after a flush of nexthop objects after {took:?}");
        let outcomes = agent.handle.settled(slots).await.expect("the thread runs");
        assert!(outcomes.iter().all(Result::is_ok));
    });
}

#[test]
fn a_few_changes_are_done_at_once_and_never_before_older_ones() {
    let Some(mut socket) = inside("a_few_changes_are_done_at_once_and_never_before_older_ones")
    else {
        return;
    };
    runtime().block_on(async {
        let agent = run();
        agent.in_sync().await;
        agent.progress.complete().await;
        // The thread is asleep, or about to be.
        let start = Instant::now();
        while !agent
            .learn(vec![learned("10.0.0.0/24", Some("192.0.2.2"))])
            .await
        {
            assert!(start.elapsed() < Duration::from_secs(60), "never at once");
        }
        assert_eq!(
            ours(&mut socket).len(),
            1,
            "it is there when the call returns"
        );
        // A flood, and in its midst single changes of the same prefixes: the last word counts.
        let mut at_once = 0;
        for round in 0..50 {
            let texts: Vec<_> = (0..200).map(|i| format!("10.1.{i}.0/24")).collect();
            let routers = ["192.0.2.2", "192.0.2.3"];
            let all = texts
                .iter()
                .map(|text| learned(text, Some(routers[round % 2])));
            agent.learn(all.collect()).await;
            for text in &texts[..20] {
                let last = learned(text, Some("192.0.2.9"));
                at_once += u32::from(agent.learn(vec![last]).await);
            }
            if round % 5 == 0 {
                // The thread comes to rest, and the next change is done at once again.
                let again = || vec![learned(&texts[19], Some("192.0.2.9"))];
                while !agent.learn(again()).await {
                    assert!(start.elapsed() < Duration::from_secs(60), "never at once");
                    tokio::time::sleep(Duration::from_micros(50)).await;
                }
                at_once += 1;
            }
            agent.learn(vec![learned(&texts[50], None)]).await;
        }
        until("the last change is done", || ours(&mut socket).len() == 200).await;
        eprintln!("{at_once} of 1010 single changes in a flood were done at once");
        let there = ours(&mut socket);
        let nexthops = nexthops(&mut socket);
        let gateway = |route: &Route| {
            let mut all = nexthops.iter();
            all.find(|nexthop| Some(nexthop.id) == route.nexthop)
                .map(Nexthop::to_string)
        };
        let through = |router: &str| {
            let leads = |route: &&Route| gateway(route).is_some_and(|to| to.contains(router));
            there.iter().filter(leads).count()
        };
        assert_eq!(through("via 192.0.2.9 "), 20);
        assert_eq!(through("via 192.0.2.3 "), 179);
    });
}
