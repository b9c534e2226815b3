//! Elements of nftables sets and maps.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Instant,
};

use nix::errno::Errno;
use wayleave_netlink::nft::{ElementChange, Key, NftSocket, Set, TableFamily, Value};

use crate::namespace::in_namespace;

const SKELETON: &str = "
table inet wl {
    set spoof4 { type ifname . ipv4_addr; }
    set spoof6 { type ifname . ipv6_addr; }
    map ports { type inet_proto . inet_service : verdict; }
    map backends { type ipv4_addr : ipv4_addr; }
    chain service { }
}
";

/// Whether there is nft to make a table with; says so if not.
fn has_nft() -> bool {
    let there = Command::new("nft").arg("--version").output().is_ok();
    assert!(
        there || std::env::var_os("CI").is_none(),
        "CI must have nft"
    );
    if !there {
        eprintln!("skipped: nft of nftables is needed to make a table");
    }
    there
}

/// Runs nft in this thread's namespace and returns what it prints.
fn nft(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nft");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "nft {arguments:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn set(name: &str) -> Set {
    Set {
        family: TableFamily::Inet,
        table: "wl".to_owned(),
        set: name.to_owned(),
    }
}

#[test]
fn elements_are_as_nft_shows_them_and_a_transaction_is_all_or_nothing() {
    in_namespace(|| {
        if !has_nft() {
            return;
        }
        nft(&["-f", "-"], SKELETON);
        let mut socket = NftSocket::open().expect("a socket");
        let add = |key, value| ElementChange::Add(key, value);
        let spoof4 = |host: u8| Key::new().ifname("wl0123").v4([10, 1, 0, host].into());
        let spoof6 = Key::new()
            .ifname("wl0123")
            .v6("2001:db8::5".parse().expect("an address"));
        let port = |port| Key::new().proto(6).port(port);
        let backend = |host: u8| Key::new().v4([192, 0, 2, host].into());
        let changes = [
            (
                set("spoof4"),
                vec![add(spoof4(1), Value::None), add(spoof4(2), Value::None)],
            ),
            (set("spoof6"), vec![add(spoof6, Value::None)]),
            (
                set("ports"),
                vec![
                    add(port(80), Value::Jump("service".to_owned())),
                    add(port(81), Value::Drop),
                    add(port(82), Value::Goto("service".to_owned())),
                    add(port(83), Value::Accept),
                ],
            ),
            (
                set("backends"),
                vec![add(backend(1), Value::Data(backend(9)))],
            ),
        ];
        socket.apply(&changes).expect("applied");
        socket
            .apply(&changes[..2])
            .expect("adding again what is there is nothing");
        let shown = nft(&["list", "ruleset"], "");
        for expected in [
            "\"wl0123\" . 10.1.0.1",
            "\"wl0123\" . 2001:db8::5",
            "tcp . 80 : jump service",
            "tcp . 81 : drop",
            "tcp . 82 : goto service",
            "tcp . 83 : accept",
            "192.0.2.1 : 192.0.2.9",
        ] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }

        // A map's value is flipped by deleting and adding in one transaction.
        let flip = vec![
            ElementChange::Delete(backend(1)),
            add(backend(1), Value::Data(backend(8))),
        ];
        socket.apply(&[(set("backends"), flip)]).expect("flipped");
        let shown = nft(&["list", "ruleset"], "");
        assert!(shown.contains("192.0.2.1 : 192.0.2.8"), "{shown}");

        // One wrong change undoes the whole.
        let wrong = vec![
            ElementChange::Delete(spoof4(1)),
            ElementChange::Delete(spoof4(99)),
            add(spoof4(3), Value::None),
        ];
        let error = socket
            .apply(&[(set("spoof4"), wrong)])
            .expect_err("there is no 99");
        assert!(error.is(Errno::ENOENT), "{error}");
        let mut keys = socket.keys(&set("spoof4")).expect("a listing");
        keys.sort();
        assert_eq!(keys, [spoof4(1), spoof4(2)]);
        let error = socket.keys(&set("nothing")).expect_err("no such set");
        assert!(error.is(Errno::ENOENT), "{error}");
        socket.apply(&[]).expect("nothing is nothing");
    });
}

#[test]
fn ten_thousand_elements_are_one_transaction() {
    in_namespace(|| {
        if !has_nft() {
            return;
        }
        nft(&["-f", "-"], SKELETON);
        let mut socket = NftSocket::open().expect("a socket");
        let key = |i: u32| {
            Key::new()
                .ifname(&format!("wl{i}"))
                .v4((0x0a00_0000 + i).into())
        };
        let adds = (0..10_000)
            .map(|i| ElementChange::Add(key(i), Value::None))
            .collect();
        let start = Instant::now();
        socket.apply(&[(set("spoof4"), adds)]).expect("applied");
        eprintln!("10000 elements were added in {:?}", start.elapsed());
        assert_eq!(
            socket.keys(&set("spoof4")).expect("a listing").len(),
            10_000
        );
        let deletes = (0..10_000)
            .rev()
            .map(|i| ElementChange::Delete(key(i)))
            .collect();
        socket.apply(&[(set("spoof4"), deletes)]).expect("applied");
        assert_eq!(socket.keys(&set("spoof4")).expect("a listing"), []);
    });
}
