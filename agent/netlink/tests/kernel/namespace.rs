//! A network namespace of one thread.

use std::{fs::File, net::IpAddr, os::fd::OwnedFd, thread};

use nix::sched::{CloneFlags, unshare};
use wayleave_netlink::{
    Address, Change, Kernel, LinkChange, Netns, NewEnd, NewLink, Prefix, Socket,
};

/// Runs `test` on a thread in a new network namespace, where only `lo` exists and is up.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must run the kernel tests as root"
        );
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root can make a network namespace");
        let mut socket = Socket::open().expect("a socket");
        apply(&mut socket, [LinkChange::of("lo").up(true).into()]);
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Another network namespace, without a thread in it, and a socket made inside.
pub(crate) fn another() -> (Netns, Socket) {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root can make a network namespace");
        let fd: OwnedFd = File::open("/proc/thread-self/ns/net")
            .expect("our namespace")
            .into();
        let socket = std::os::fd::AsFd::as_fd(&Socket::open().expect("a socket"))
            .try_clone_to_owned()
            .expect("a descriptor");
        (
            Netns::from_fd(fd),
            Socket::from_fd(socket).expect("a netlink socket"),
        )
    });
    made.join().expect("the thread makes a namespace")
}

/// Applies changes that must all succeed.
pub(crate) fn apply(kernel: &mut impl Kernel, changes: impl IntoIterator<Item = Change>) {
    let changes: Vec<_> = changes.into_iter().collect();
    for (change, result) in changes.iter().zip(kernel.apply(&changes)) {
        if let Err(error) = result {
            panic!("{}", error.about(change));
        }
    }
}

/// A veth pair `u0`-`u1`, both ends up here; `u0` has 192.0.2.1/24 and 2001:db8::1/64.
/// Returns the number of `u0`.
pub(crate) fn uplink(socket: &mut Socket) -> u32 {
    let veth = NewLink::Veth {
        host: NewEnd {
            ifindex: Some(100),
            ..NewEnd::new("u0")
        },
        peer: NewEnd {
            ifindex: Some(200),
            ..NewEnd::new("u1")
        },
        peer_netns: None,
    };
    apply(
        socket,
        [
            veth.into(),
            LinkChange::of("u0").up(true).into(),
            LinkChange::of("u1").up(true).into(),
            Change::AddressAdd(Address::new(100, ip("192.0.2.1"), 24)),
            Change::AddressAdd(Address::new(100, ip("2001:db8::1"), 64)),
        ],
    );
    100
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}
