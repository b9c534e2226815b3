//! One-off questions to the kernel of the agent's own namespace, through the rtnetlink crate:
//! where it saves work and its slowness does not matter (`wayleave ipam explain`).

use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt, pin_mut};
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia},
};
use nix::errno::Errno;
use rtnetlink::{Error as RtnetlinkError, Handle};

use crate::{
    address::Address,
    error::{Code, KernelError, SocketOperation},
    link::Link,
    wire::{read_address, read_link},
};

/// Asks. Answers come by a task of the tokio runtime, which ends with the last clone of this.
#[derive(Debug, Clone)]
pub struct Lookup {
    handle: Handle,
}

/// How the kernel would send to an address now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The interface.
    pub ifindex: u32,
    /// The router; `None` on the link.
    pub gateway: Option<IpAddr>,
    /// The source address the kernel would choose.
    pub source: Option<IpAddr>,
}

impl Lookup {
    /// Opens a socket in the network namespace of the calling thread and spawns its task.
    ///
    /// # Errors
    /// [`KernelError::Socket`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO enabled.
    pub fn spawn() -> Result<Self, KernelError> {
        let (connection, handle, _events) = rtnetlink::new_connection()
            .map_err(|error| KernelError::socket(SocketOperation::Open, &error))?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// All interfaces.
    ///
    /// # Errors
    /// As the kernel answers.
    pub async fn links(&self) -> Result<Vec<Link>, KernelError> {
        let links = self.handle.link().get().execute();
        links.map_ok(read_link).try_collect().await.map_err(refusal)
    }

    /// The interface of a name, or `None`.
    ///
    /// # Errors
    /// As the kernel answers.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, KernelError> {
        let answer = self.handle.link().get().match_name(name).execute();
        pin_mut!(answer);
        match answer.next().await.transpose().map_err(refusal) {
            Ok(message) => Ok(message.map(read_link)),
            Err(error) if error.is(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All IPv4 and IPv6 addresses.
    ///
    /// # Errors
    /// As the kernel answers.
    pub async fn addresses(&self) -> Result<Vec<Address>, KernelError> {
        let answer = self.handle.address().get().execute();
        pin_mut!(answer);
        let mut addresses = Vec::new();
        while let Some(message) = answer.next().await {
            addresses.extend(read_address(message.map_err(refusal)?)?);
        }
        Ok(addresses)
    }

    /// How the kernel would send to `to`; `None` when it has no route.
    ///
    /// # Errors
    /// As the kernel answers, other than that there is no route.
    pub async fn path(&self, to: IpAddr) -> Result<Option<Path>, KernelError> {
        let mut question = RouteMessage::default();
        let (family, len, destination) = match to {
            IpAddr::V4(v4) => (AddressFamily::Inet, 32, RouteAddress::Inet(v4)),
            IpAddr::V6(v6) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(v6)),
        };
        question.header.address_family = family;
        question.header.destination_prefix_length = len;
        question
            .attributes
            .push(RouteAttribute::Destination(destination));
        let answer = self.handle.route().get(question).execute();
        pin_mut!(answer);
        match answer.next().await.transpose().map_err(refusal) {
            Ok(message) => Ok(message.map(|message| path(&message))),
            Err(error) if no_route(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn path(message: &RouteMessage) -> Path {
    let mut path = Path {
        ifindex: 0,
        gateway: None,
        source: None,
    };
    for attribute in &message.attributes {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "the attributes are an open set"
        )]
        match attribute {
            RouteAttribute::Oif(ifindex) => path.ifindex = *ifindex,
            RouteAttribute::Gateway(gateway) => path.gateway = ip(gateway),
            RouteAttribute::Via(RouteVia::Inet(gateway)) => path.gateway = Some((*gateway).into()),
            RouteAttribute::Via(RouteVia::Inet6(gateway)) => path.gateway = Some((*gateway).into()),
            RouteAttribute::PrefSource(source) => path.source = ip(source),
            _ => {}
        }
    }
    path
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "other families are no IP addresses"
    )]
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn no_route(error: &KernelError) -> bool {
    [
        Errno::ENETUNREACH,
        Errno::EHOSTUNREACH,
        Errno::EACCES,
        Errno::EINVAL,
    ]
    .into_iter()
    .any(|errno| error.is(errno))
}

fn refusal(error: RtnetlinkError) -> KernelError {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the errors are an open set")]
    match error {
        RtnetlinkError::NetlinkError(message) => KernelError::Refused {
            errno: Code(-message.raw_code()),
            text: None,
        },
        other => KernelError::Malformed(other.to_string()),
    }
}
