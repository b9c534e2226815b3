//! Network interfaces: what they are, how they are made and changed.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::change::Change;

/// An interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number in this namespace.
    pub ifindex: u32,
    /// Its name, which anybody may change at any time.
    pub name: String,
    /// `veth`, `bridge` ...; `None` for physical ones and loopback.
    pub kind: Option<String>,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Up and with carrier (`IFF_RUNNING`): packets can pass.
    pub running: bool,
    /// The lower layer has carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Is this `lo`?
    pub loopback: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Hardware address, if it is one of Ethernet.
    pub mac: Option<Mac>,
    /// The bridge or bond it belongs to.
    pub master: Option<u32>,
    /// The other end of a veth, or the interface below (`IFLA_LINK`).
    pub peer: Option<u32>,
    /// The namespace `peer` lives in, by its local id, when it is another one.
    pub peer_netns: Option<i32>,
    /// Interface group, 0 unless set.
    pub group: u32,
}

/// How to name an interface in a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LinkId {
    /// By number. Preferred: names change hands.
    Index(u32),
    /// By name, at most 15 bytes.
    Name(String),
}

impl From<u32> for LinkId {
    fn from(ifindex: u32) -> Self {
        Self::Index(ifindex)
    }
}

impl From<&str> for LinkId {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(ifindex) => write!(f, "if{ifindex}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An open network namespace, kept open as long as any request names it.
#[derive(Debug, Clone)]
pub struct Netns(Arc<OwnedFd>);

impl Netns {
    /// The namespace behind a descriptor of `/proc/<pid>/ns/net` or a bind mount of it.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }

    pub(crate) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The same descriptor; two descriptors of one namespace are *not* equal.
impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Netns {}

/// A new interface of one of the kinds we make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewLink {
    /// A veth pair. Both ends exist or neither does.
    Veth {
        /// The end in the namespace of the socket.
        host: NewEnd,
        /// The other end.
        peer: NewEnd,
        /// Where the other end is made; `None`: beside the first. Made there, never moved: moving
        /// costs a grace period and shows a half-made interface to both namespaces.
        peer_netns: Option<Netns>,
    },
    /// A bridge.
    Bridge(NewEnd),
}

/// One new interface, or one end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnd {
    /// Name, at most 15 bytes.
    pub name: String,
    /// The number to give it; `None`: the next free one. A number chosen beforehand lets
    /// addresses and routes follow in the same batch; `EEXIST` when it is taken.
    pub ifindex: Option<u32>,
    /// MTU in bytes; `None`: the kernel's default.
    pub mtu: Option<u32>,
    /// Hardware address; `None`: random.
    pub mac: Option<Mac>,
    /// Interface group: all of a group can be deleted by one message.
    pub group: Option<u32>,
    /// Bring it up at once. The kernel then gives it an IPv6 link-local address with DAD, which
    /// nothing in this message can prevent: see [`VethPlan`] for how not to.
    pub up: bool,
}

impl NewEnd {
    /// An interface that is down, with everything else left to the kernel.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ifindex: None,
            mtu: None,
            mac: None,
            group: None,
            up: false,
        }
    }
}

/// The changes that make a veth pair between this namespace and another, without the IPv6
/// link-local addresses and the duplicate address detection that the kernel would start on both.
///
/// The address generation mode can neither be given when an interface is made (`EAFNOSUPPORT`)
/// nor in the message that brings it up (the kernel raises the interface first): hence three
/// messages for the end here and two for the other one. Those of each side are one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethPlan {
    /// For a socket of this namespace, first.
    pub host: Vec<Change>,
    /// For a socket made inside the other namespace, after that.
    pub inside: Vec<Change>,
}

impl VethPlan {
    /// Makes `host` here and `peer` in `netns`, both up. `ipv4` settings are those of the end
    /// here and take effect before it is up.
    #[must_use]
    pub fn new(host: NewEnd, peer: NewEnd, netns: Netns, ipv4: Vec<(Ipv4Setting, u32)>) -> Self {
        let (here, there) = (host.name.clone(), peer.name.clone());
        let quiet = |name: &str| LinkChange {
            link_local: Some(false),
            ..LinkChange::of(name)
        };
        let up = |name: &str| LinkChange::of(name).up(true);
        let host = NewEnd { up: false, ..host };
        let peer = NewEnd { up: false, ..peer };
        Self {
            host: vec![
                NewLink::Veth {
                    host,
                    peer,
                    peer_netns: Some(netns),
                }
                .into(),
                LinkChange {
                    ipv4,
                    ..quiet(&here)
                }
                .into(),
                up(&here).into(),
            ],
            inside: vec![quiet(&there).into(), up(&there).into()],
        }
    }
}

/// Changes to an existing interface; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkChange {
    /// Which.
    pub link: LinkId,
    /// Up or down.
    pub up: Option<bool>,
    /// A new name; the kernel wants the interface down before Linux 6.2.
    pub name: Option<String>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Interface group.
    pub group: Option<u32>,
    /// Attach to this bridge; `Some(0)` detaches.
    pub master: Option<u32>,
    /// Let the kernel make IPv6 link-local addresses.
    pub link_local: Option<bool>,
    /// IPv4 settings of the interface, which netlink can write where `/proc/sys` is out of reach.
    pub ipv4: Vec<(Ipv4Setting, u32)>,
}

impl LinkChange {
    /// No change yet.
    #[must_use]
    pub fn of(link: impl Into<LinkId>) -> Self {
        Self {
            link: link.into(),
            up: None,
            name: None,
            mtu: None,
            mac: None,
            group: None,
            master: None,
            link_local: None,
            ipv4: Vec::new(),
        }
    }

    /// Up or down.
    #[must_use]
    pub fn up(self, up: bool) -> Self {
        Self {
            up: Some(up),
            ..self
        }
    }

    /// One more IPv4 setting.
    #[must_use]
    pub fn ipv4(mut self, setting: Ipv4Setting, value: u32) -> Self {
        self.ipv4.push((setting, value));
        self
    }
}

/// `net.ipv4.conf.<interface>.*` settings that `IFLA_INET_CONF` carries (`IPV4_DEVCONF_*`).
///
/// The kernel has no such message for IPv6 settings other than the address generation mode: these
/// go through [`sysctl`](crate::sysctl).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u16)]
pub enum Ipv4Setting {
    /// Forward packets that arrive here.
    Forwarding = 1,
    /// Answer ARP for addresses routed elsewhere.
    ProxyArp = 3,
    /// Send ICMP redirects.
    SendRedirects = 6,
    /// Reverse path filter: 0 off, 1 strict, 2 loose. The larger of this and `all` counts.
    RpFilter = 8,
    /// Reply to ARP only if the target is on this interface and so on (see ip-sysctl).
    ArpIgnore = 19,
    /// Forget neighbours when carrier is lost.
    ArpEvictNocarrier = 33,
}
