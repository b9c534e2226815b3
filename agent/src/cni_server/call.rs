//! One call: read, done, answered.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use wayleave_cni::{
    CniError,
    address::AddressPrefix,
    config::AddressFamily,
    environment::{Attachment as Name, Verb, check_container_id, check_ifname},
    error::code,
    frame::{Channel, FrameError},
    message::{Call, Performed, Reply, Step, StepError},
    result::{CniResult, Interface, IpConfig, Route},
};
use wayleave_ipam::{Owner, Wanted};
use wayleave_netlink::Mac;

use crate::attach::{
    AddRequest, AttachError, Attached, Attachments, GATEWAY_V4, GATEWAY_V6, Member, Namespace,
};

/// A plugin performs steps in microseconds.
const STEPS: Duration = Duration::from_secs(5);
/// An answer is read at once.
const ANSWER: Duration = Duration::from_secs(5);

/// Serves one connection; `deadline` is for its call to arrive.
pub(super) fn serve(channel: &Channel, attachments: &Attachments, deadline: Instant) {
    let (call, descriptors) = match channel.receive::<Call>(deadline) {
        Ok(received) => received,
        // A plugin that was killed, or a probe for life: nothing to be said to anybody.
        Err(FrameError::Closed) => return,
        Err(error) => {
            tracing::warn!(%error, "a CNI call could not be read");
            let error = CniError::new(code::PROTOCOL, error.to_string());
            let reply = Reply::Failed { error };
            let _ = channel.send(&reply, &[], Instant::now() + ANSWER);
            return;
        }
    };
    let begun = Instant::now();
    let what = describe(&call);
    let (verb, network) = (call.verb, call.config.name.clone());
    let outcome = answer(call, descriptors, channel, attachments);
    let took = begun.elapsed();
    let outcome = match outcome {
        Ok(result) => Ok(result),
        Err(Refusal::Told(error)) => Err(error),
        // Told nothing, the plugin sees its connection end and calls the next agent.
        Err(Refusal::Stopping) => {
            tracing::info!(%verb, network, what, ?took, "CNI: left to the next agent");
            return;
        }
    };
    let reply = match outcome {
        Ok(result) => {
            tracing::info!(%verb, network, what, ?took, "CNI");
            Reply::Done { result }
        }
        Err(error) => {
            tracing::warn!(%verb, network, what, ?took, %error, "CNI");
            Reply::Failed { error }
        }
    };
    if let Err(error) = channel.send(&reply, &[], Instant::now() + ANSWER) {
        // The runtime gave the call up; its DEL will follow.
        tracing::warn!(%verb, what, %error, "the answer to a CNI call was not taken");
    }
}

fn describe(call: &Call) -> String {
    match &call.attachment {
        Some(name) => format!("{} of {}", name.ifname, name.container_id),
        None => String::new(),
    }
}

/// Why a call is not served.
enum Refusal {
    /// What the runtime is told.
    Told(CniError),
    /// The agent is stopping; another one will serve the call.
    Stopping,
}

impl From<CniError> for Refusal {
    fn from(error: CniError) -> Self {
        Self::Told(error)
    }
}

impl From<AttachError> for Refusal {
    fn from(error: AttachError) -> Self {
        if matches!(error, AttachError::Stopping) {
            return Self::Stopping;
        }
        Self::Told(error.to_cni())
    }
}

fn answer(
    call: Call,
    descriptors: Vec<OwnedFd>,
    channel: &Channel,
    attachments: &Attachments,
) -> Result<Option<CniResult>, Refusal> {
    match call.verb {
        Verb::Add => {
            let dns = call.config.effective_dns();
            let request = add_request(&call, namespace(descriptors)?)?;
            let netns = request.netns.clone();
            let attached = attachments.add(request, &mut Plugin { channel })?;
            Ok(Some(CniResult {
                dns,
                ..result(&attached, netns)
            }))
        }
        Verb::Del => {
            attachments.delete(&owner(&call)?)?;
            Ok(None)
        }
        Verb::Check => {
            let owner = owner(&call)?;
            let ips = call
                .config
                .previous
                .map(|previous| previous.ips)
                .unwrap_or_default();
            let believed: Vec<IpAddr> = ips.iter().map(|ip| ip.address.address).collect();
            attachments.check(&owner, namespace(descriptors)?, &believed)?;
            Ok(None)
        }
        Verb::Gc => {
            let Some(list) = call.config.valid_attachments else {
                let msg = "GC without a list";
                return Err(CniError::new(code::INVALID_CONFIGURATION, msg).into());
            };
            let valid: BTreeSet<Owner> = list
                .into_iter()
                .map(|name| Owner::new(name.container_id, name.ifname))
                .collect();
            let collected = attachments.collect(&call.config.name, &valid)?;
            tracing::info!(network = call.config.name, collected, "garbage collection");
            Ok(None)
        }
        Verb::Status => {
            attachments.readiness().map_err(|why| why.to_cni())?;
            Ok(None)
        }
        Verb::Version => {
            let msg = "VERSION is the plugin's to answer";
            Err(CniError::new(code::PROTOCOL, msg).into())
        }
    }
}

/// What the plugin checked is checked again: it is another process.
fn owner(call: &Call) -> Result<Owner, CniError> {
    let wrong = |why: String| CniError::new(code::INVALID_ENVIRONMENT, why);
    let Some(Name {
        container_id,
        ifname,
    }) = &call.attachment
    else {
        return Err(wrong(format!(
            "{} without container and interface",
            call.verb
        )));
    };
    check_container_id(container_id).map_err(|why| wrong(format!("the container {why}")))?;
    check_ifname(ifname).map_err(|why| wrong(format!("the interface {why}")))?;
    Ok(Owner::new(container_id, ifname))
}

fn namespace(descriptors: Vec<OwnedFd>) -> Result<Namespace, CniError> {
    let [netns, route_socket] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|came| {
        let msg = format!("2 descriptors were expected and {} came", came.len());
        CniError::new(code::PROTOCOL, msg)
    })?;
    Ok(Namespace {
        netns,
        route_socket,
    })
}

fn add_request(call: &Call, namespace: Namespace) -> Result<AddRequest, CniError> {
    let config = &call.config;
    let has = |family| config.families.contains(&family);
    let wanted = match (has(AddressFamily::Ipv4), has(AddressFamily::Ipv6)) {
        (false, false) => Wanted::Available,
        (true, false) => Wanted::Ipv4,
        (false, true) => Wanted::Ipv6,
        (true, true) => Wanted::Both,
    };
    let mac = match &config.runtime.mac {
        Some(text) if !text.is_empty() => Some(parse_mac(text)?),
        _ => call
            .args
            .get("MAC")
            .map(|text| parse_mac(text))
            .transpose()?,
    };
    Ok(AddRequest {
        owner: owner(call)?,
        network: config.name.clone(),
        netns: call.netns.clone().unwrap_or_default(),
        pools: config.pools.clone(),
        wanted,
        addresses: config.static_addresses(call.args.get("IP").map(String::as_str))?,
        mtu: config.mtu,
        mac,
        namespace,
    })
}

fn parse_mac(text: &str) -> Result<Mac, CniError> {
    let wrong = || {
        let msg = format!("`{}` is no hardware address", text.escape_debug());
        CniError::new(code::INVALID_CONFIGURATION, msg)
            .because("it must be unicast, such as 02:00:00:00:00:01")
    };
    let mut octets = [0; 6];
    let mut parts = text.split([':', '-']);
    for octet in &mut octets {
        let part = parts
            .next()
            .filter(|part| part.len() == 2)
            .ok_or_else(wrong)?;
        *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() || octets[0] & 1 == 1 || octets == [0; 6] {
        return Err(wrong());
    }
    Ok(Mac(octets))
}

/// The result of an ADD in the newest version; the plugin prints the one that was asked for.
fn result(attached: &Attached, netns: String) -> CniResult {
    let attachment = &attached.attachment;
    let mtu = Some(attachment.mtu);
    let host = Interface {
        name: attachment.host_name.clone(),
        mac: attachment.host_mac.to_string(),
        mtu,
        ..Interface::default()
    };
    let container = Interface {
        name: attachment.owner.interface.clone(),
        mac: attachment.container_mac.to_string(),
        mtu,
        sandbox: netns,
        ..Interface::default()
    };
    let gateway = |address: &IpAddr| -> IpAddr {
        if address.is_ipv4() {
            GATEWAY_V4.into()
        } else {
            GATEWAY_V6.into()
        }
    };
    let ips = attachment.addresses.iter().map(|address| IpConfig {
        address: AddressPrefix::host(*address),
        gateway: Some(gateway(address)),
        interface: Some(1),
    });
    let routes = attachment.addresses.iter().map(|address| Route {
        dst: AddressPrefix {
            address: match address {
                IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            },
            len: 0,
        },
        gw: Some(gateway(address)),
        mtu: None,
        advmss: None,
        priority: (attached.metric != 0).then_some(attached.metric),
        table: None,
        scope: None,
    });
    CniResult {
        interfaces: vec![host, container],
        ips: ips.collect(),
        routes: routes.collect(),
        ..CniResult::default()
    }
}

/// The plugin at the other end, inside the container's namespace.
struct Plugin<'a> {
    channel: &'a Channel,
}

impl Member for Plugin<'_> {
    fn perform(&mut self, steps: Vec<Step>) -> Result<Vec<Result<String, StepError>>, String> {
        let deadline = Instant::now() + STEPS;
        let perform = Reply::Perform { steps };
        self.channel
            .send(&perform, &[], deadline)
            .map_err(|error| error.to_string())?;
        let (performed, _) = self
            .channel
            .receive::<Performed>(deadline)
            .map_err(|error| error.to_string())?;
        Ok(performed.outcomes)
    }
}
