//! The result of an ADD.
//!
//! Held in the shape of the newest version, printed in the version that was asked for, read from any of them.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::address::AddressPrefix;
use crate::version::SpecVersion;

/// What a container got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniResult {
    /// Interfaces made, on the host and in the container.
    #[serde(default, deserialize_with = "null_is_default")]
    pub interfaces: Vec<Interface>,
    /// Addresses given.
    #[serde(default, deserialize_with = "null_is_default")]
    pub ips: Vec<IpConfig>,
    /// Routes made in the container.
    #[serde(default, deserialize_with = "null_is_default")]
    pub routes: Vec<Route>,
    /// Where the container finds name servers.
    #[serde(default, deserialize_with = "null_is_default")]
    pub dns: Dns,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in octets; 1.1.0 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The path of the container's namespace; empty on the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// A socket behind the interface; 1.1.0 and later; kept when another plugin of the chain set it.
    #[serde(
        default,
        rename = "socketPath",
        skip_serializing_if = "String::is_empty"
    )]
    pub socket_path: String,
    /// A PCI device behind the interface; 1.1.0 and later; kept when another plugin of the chain set it.
    #[serde(default, rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpConfig {
    /// The address.
    pub address: AddressPrefix,
    /// The gateway of its network.
    #[serde(
        default,
        deserialize_with = "empty_is_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub gateway: Option<IpAddr>,
    /// The index of its interface in [`CniResult::interfaces`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub dst: AddressPrefix,
    /// The gateway.
    #[serde(
        default,
        deserialize_with = "empty_is_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub gw: Option<IpAddr>,
    /// The route's MTU; this and the following: 1.1.0 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The TCP segment size to announce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The metric; lower wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope (`man ip-route`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// Where a container finds name servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to search.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub options: Vec<String>,
}

impl CniResult {
    /// The result as a runtime reads it in that version.
    #[must_use]
    pub fn to_json(&self, version: SpecVersion) -> Value {
        let extended = version >= SpecVersion::V1_1_0;
        let interfaces: Vec<Value> = self
            .interfaces
            .iter()
            .map(|i| interface_json(i, extended))
            .collect();
        let ips: Vec<Value> = self.ips.iter().map(|ip| ip_json(ip, version)).collect();
        let routes: Vec<Value> = self
            .routes
            .iter()
            .map(|r| route_json(r, extended))
            .collect();
        json!({
            "cniVersion": version.as_str(),
            "interfaces": interfaces,
            "ips": ips,
            "routes": routes,
            "dns": self.dns,
        })
    }

    /// Reads a `prevResult` of any supported version.
    ///
    /// # Errors
    /// When a field has the wrong type or an address does not parse.
    pub fn from_json(value: &Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(value)
    }

    /// What the next plugin of a chain sees: the results so far with ours after them.
    #[must_use]
    pub fn followed_by(mut self, ours: CniResult) -> Self {
        let shift = self.interfaces.len();
        self.interfaces.extend(ours.interfaces);
        self.ips.extend(ours.ips.into_iter().map(|mut ip| {
            ip.interface = ip.interface.map(|index| index + shift);
            ip
        }));
        self.routes.extend(ours.routes);
        if ours.dns != Dns::default() {
            self.dns = ours.dns;
        }
        self
    }
}

fn interface_json(interface: &Interface, extended: bool) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), interface.name.clone().into());
    let mut text = |key: &str, value: &String| {
        if !value.is_empty() {
            object.insert(key.into(), value.clone().into());
        }
    };
    text("mac", &interface.mac);
    text("sandbox", &interface.sandbox);
    if extended {
        text("socketPath", &interface.socket_path);
        text("pciID", &interface.pci_id);
        if let Some(mtu) = interface.mtu {
            object.insert("mtu".into(), mtu.into());
        }
    }
    Value::Object(object)
}

fn ip_json(ip: &IpConfig, version: SpecVersion) -> Value {
    let mut object = Map::new();
    if version < SpecVersion::V1_0_0 {
        let family = if ip.address.address.is_ipv4() {
            "4"
        } else {
            "6"
        };
        object.insert("version".into(), family.into());
    }
    object.insert("address".into(), ip.address.to_string().into());
    if let Some(gateway) = ip.gateway {
        object.insert("gateway".into(), gateway.to_string().into());
    }
    if let Some(index) = ip.interface {
        object.insert("interface".into(), index.into());
    }
    Value::Object(object)
}

fn route_json(route: &Route, extended: bool) -> Value {
    let mut object = Map::new();
    object.insert("dst".into(), route.dst.to_string().into());
    if let Some(gateway) = route.gw {
        object.insert("gw".into(), gateway.to_string().into());
    }
    if extended {
        for (key, value) in [
            ("mtu", route.mtu),
            ("advmss", route.advmss),
            ("priority", route.priority),
            ("table", route.table),
            ("scope", route.scope),
        ] {
            if let Some(value) = value {
                object.insert(key.into(), value.into());
            }
        }
    }
    Value::Object(object)
}

/// Go writes an empty list as `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Go writes an absent address as an empty string.
fn empty_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> CniResult {
        CniResult {
            interfaces: vec![
                Interface {
                    name: "wl0123456789a".into(),
                    mac: "02:00:00:00:00:01".into(),
                    mtu: Some(1500),
                    ..Interface::default()
                },
                Interface {
                    name: "eth0".into(),
                    mac: "02:00:00:00:00:02".into(),
                    mtu: Some(1500),
                    sandbox: "/run/netns/c1".into(),
                    ..Interface::default()
                },
            ],
            ips: vec![
                IpConfig {
                    address: "10.1.7.5/32".parse().unwrap(),
                    gateway: Some("169.254.1.1".parse().unwrap()),
                    interface: Some(1),
                },
                IpConfig {
                    address: "fd00:7::5/128".parse().unwrap(),
                    gateway: Some("fe80::1".parse().unwrap()),
                    interface: Some(1),
                },
            ],
            routes: vec![Route {
                dst: "0.0.0.0/0".parse().unwrap(),
                gw: Some("169.254.1.1".parse().unwrap()),
                mtu: Some(1400),
                advmss: None,
                priority: None,
                table: None,
                scope: None,
            }],
            dns: Dns {
                nameservers: vec!["169.254.1.1".into()],
                ..Dns::default()
            },
        }
    }

    #[test]
    fn each_version_gets_exactly_the_fields_it_knows() {
        for version in SpecVersion::ALL {
            let printed = sample().to_json(version);
            assert_eq!(printed["cniVersion"], version.as_str());
            assert_eq!(
                printed["ips"][1].get("version").is_some(),
                version < SpecVersion::V1_0_0
            );
            assert_eq!(
                printed["interfaces"][1].get("mtu").is_some(),
                version >= SpecVersion::V1_1_0
            );
            assert_eq!(
                printed["routes"][0].get("mtu").is_some(),
                version >= SpecVersion::V1_1_0
            );
            assert_eq!(printed["interfaces"][1]["sandbox"], "/run/netns/c1");
            assert_eq!(printed["dns"]["nameservers"][0], "169.254.1.1");
        }
        assert_eq!(
            sample().to_json(SpecVersion::V0_4_0)["ips"][1]["version"],
            "6"
        );
    }

    #[test]
    fn a_result_reads_back_from_every_version() {
        for version in SpecVersion::ALL {
            let mut expected = sample();
            if version < SpecVersion::V1_1_0 {
                expected.interfaces.iter_mut().for_each(|i| i.mtu = None);
                expected.routes.iter_mut().for_each(|r| r.mtu = None);
            }
            assert_eq!(
                CniResult::from_json(&sample().to_json(version)).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn what_go_plugins_print_is_read() {
        let value = json!({
            "cniVersion": "1.0.0",
            "interfaces": null,
            "ips": [{"address": "10.0.0.2/24", "gateway": ""}],
            "routes": null,
            "dns": {"nameservers": null},
        });
        let result = CniResult::from_json(&value).unwrap();
        assert_eq!(result.ips[0].gateway, None);
        assert!(result.interfaces.is_empty() && result.routes.is_empty());
    }

    #[test]
    fn behind_another_plugin_our_interface_indices_are_shifted() {
        let before = CniResult {
            interfaces: vec![Interface {
                name: "lo".into(),
                ..Interface::default()
            }],
            ..CniResult::default()
        };
        let merged = before.followed_by(sample());
        assert_eq!(merged.interfaces.len(), 3);
        assert!(
            merged
                .ips
                .iter()
                .all(|ip| merged.interfaces[ip.interface.unwrap()].name == "eth0")
        );
    }
}
