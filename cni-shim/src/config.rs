//! The network configuration that a runtime writes to stdin.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::DEFAULT_SOCKET;
use crate::address::AddressPrefix;
use crate::environment::{Attachment, Verb, explain, is_identifier, shorten};
use crate::error::{CniError, code};
use crate::result::{CniResult, Dns};
use crate::version::SpecVersion;

/// A network, as far as Wayleave reads it. Keys it does not know belong to others and are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// The version of the specification.
    #[serde(rename = "cniVersion")]
    pub cni_version: SpecVersion,
    /// The network's name, the same on every host.
    pub name: String,
    /// The agent's CNI socket.
    #[serde(default = "default_socket")]
    pub socket: String,
    /// The pools to take addresses from, the preferred one first; empty for all.
    #[serde(default)]
    pub pools: Vec<String>,
    /// The address families; empty for all that the host has.
    #[serde(default)]
    pub families: Vec<AddressFamily>,
    /// The MTU in octets; the uplink's when absent.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Name servers for the containers.
    #[serde(default)]
    pub dns: Dns,
    /// What the runtime adds for capabilities.
    #[serde(default, rename = "runtimeConfig")]
    pub runtime: RuntimeConfig,
    /// What an orchestrator adds.
    #[serde(default)]
    pub args: Args,
    /// The result of the plugins before us, or of our own ADD.
    #[serde(default, rename = "prevResult")]
    pub previous: Option<CniResult>,
    /// With GC: what exists.
    #[serde(default, rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Vec<Attachment>>,
}

/// An address family by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressFamily {
    /// `ipv4`
    Ipv4,
    /// `ipv6`
    Ipv6,
}

/// `runtimeConfig`: what the configuration's `capabilities` asked the runtime for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeConfig {
    /// Static addresses, with or without a prefix length.
    #[serde(default)]
    pub ips: Vec<String>,
    /// The hardware address of the container's interface.
    #[serde(default)]
    pub mac: Option<String>,
    /// Name servers for this container.
    #[serde(default)]
    pub dns: Option<RuntimeDns>,
}

/// `runtimeConfig.dns`: like [`Dns`], with the plural names that this convention uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeDns {
    /// Addresses of name servers.
    #[serde(default)]
    pub servers: Vec<String>,
    /// Domains to search.
    #[serde(default)]
    pub searches: Vec<String>,
    /// Options of the resolver.
    #[serde(default)]
    pub options: Vec<String>,
}

/// `args`: free form; ours are in `cni`, by convention.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Args {
    /// The part that plugins share.
    #[serde(default)]
    pub cni: CniArgs,
}

/// `args.cni`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniArgs {
    /// Static addresses, with or without a prefix length.
    #[serde(default)]
    pub ips: Vec<String>,
    /// Labels of the container.
    #[serde(default)]
    pub labels: Vec<Label>,
}

/// A label of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The version a broken call is answered in: the one it names, else the newest.
#[must_use]
pub fn version_of(text: &[u8]) -> SpecVersion {
    serde_json::from_slice::<Value>(text)
        .ok()
        .and_then(|value| value.get("cniVersion")?.as_str()?.parse().ok())
        .unwrap_or(SpecVersion::NEWEST)
}

impl NetworkConfig {
    /// Reads the configuration for a call of the verb.
    ///
    /// # Errors
    /// Codes 1 (version), 2 (unsupported field), 6 (no JSON) and 7 (JSON, but no configuration).
    pub fn read(text: &[u8], verb: Verb) -> Result<Self, CniError> {
        let mut value: Value = serde_json::from_slice(text).map_err(|error| {
            let msg = if text.is_empty() {
                "there is no network configuration on stdin".to_owned()
            } else {
                "the network configuration on stdin is not JSON".to_owned()
            };
            CniError::new(code::DECODING_FAILURE, msg).because(explain(&error))
        })?;
        let Some(fields) = value.as_object_mut() else {
            return Err(invalid("the network configuration is not a JSON object"));
        };
        // An early text of the specification named this key otherwise; runtimes write one of the two, or both.
        if let Some(list) = fields.remove("cni.dev/attachments") {
            fields.entry("cni.dev/valid-attachments").or_insert(list);
        }
        check_version(&value, verb)?;
        check_names(&value)?;
        refuse_unsupported(&value)?;
        let config = Self::deserialize(&value).map_err(|error| {
            invalid("the network configuration is not valid").because(explain(&error))
        })?;
        config.check_values(verb)?;
        Ok(config)
    }

    /// The static addresses that were asked for, in configuration, capability or `CNI_ARGS` (`IP=`).
    ///
    /// # Errors
    /// Code 7 when one of them is no address.
    pub fn static_addresses(&self, cni_args_ip: Option<&str>) -> Result<Vec<IpAddr>, CniError> {
        let from_args = cni_args_ip.into_iter().flat_map(|list| list.split(','));
        let all = self
            .runtime
            .ips
            .iter()
            .chain(&self.args.cni.ips)
            .map(String::as_str);
        let mut addresses = Vec::new();
        for text in all
            .chain(from_args)
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            let address = text
                .parse::<IpAddr>()
                .or_else(|_| text.parse::<AddressPrefix>().map(|prefix| prefix.address))
                .map_err(|error| {
                    invalid(format!(
                        "the static address `{}` is not valid",
                        shorten(text)
                    ))
                    .because(explain(&error))
                })?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// The name servers for a container: the runtime's if it gave some, else the network's.
    #[must_use]
    pub fn effective_dns(&self) -> Dns {
        match &self.runtime.dns {
            Some(dns) => Dns {
                nameservers: dns.servers.clone(),
                domain: self.dns.domain.clone(),
                search: dns.searches.clone(),
                options: dns.options.clone(),
            },
            None => self.dns.clone(),
        }
    }

    fn check_values(&self, verb: Verb) -> Result<(), CniError> {
        // IPv4's minimum (RFC 791) and the largest that a veth takes.
        if let Some(mtu) = self.mtu
            && !(68..=65_535).contains(&mtu)
        {
            return Err(invalid(format!(
                "mtu is {mtu}; it must lie between 68 and 65535"
            )));
        }
        if !self.socket.starts_with('/') {
            return Err(invalid(format!(
                "socket is `{}`, not an absolute path",
                shorten(&self.socket)
            )));
        }
        if verb == Verb::Check && self.previous.is_none() {
            return Err(invalid("CHECK needs prevResult in the configuration")
                .because("the runtime must pass the result of the ADD"));
        }
        if verb == Verb::Gc && self.valid_attachments.is_none() {
            // Absent is not empty: taking it for empty would detach every container.
            return Err(invalid(
                "GC needs cni.dev/valid-attachments in the configuration",
            ));
        }
        Ok(())
    }
}

fn check_version(value: &Value, verb: Verb) -> Result<(), CniError> {
    let incompatible = |msg: String| CniError::new(code::INCOMPATIBLE_VERSION, msg);
    let Some(version) = value.get("cniVersion") else {
        return Err(
            incompatible("the network configuration has no cniVersion".into())
                .because("supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0"),
        );
    };
    let Some(text) = version.as_str() else {
        return Err(invalid("cniVersion is not a string"));
    };
    let version: SpecVersion = text.parse().map_err(|_| {
        incompatible(format!("CNI version `{}` is not supported", shorten(text)))
            .because("supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0")
    })?;
    let since = match verb {
        Verb::Add | Verb::Del | Verb::Version => SpecVersion::V0_3_1,
        Verb::Check => SpecVersion::V0_4_0,
        Verb::Gc | Verb::Status => SpecVersion::V1_1_0,
    };
    if version < since {
        return Err(
            incompatible(format!("CNI {version} has no {verb}")).because(format!(
                "it came with {since}: raise cniVersion in the network configuration"
            )),
        );
    }
    Ok(())
}

fn check_names(value: &Value) -> Result<(), CniError> {
    match value.get("name").and_then(Value::as_str) {
        None | Some("") => Err(invalid("the network configuration has no name")),
        Some(name) if !is_identifier(name) => Err(invalid(format!(
            "`{}` is no network name",
            shorten(name)
        ))
        .because("it must start with a letter or digit and go on with these, `_`, `.` and `-`")),
        Some(_) => Ok(()),
    }
}

/// What would change the attachment if we did it, and we do not do it yet.
fn refuse_unsupported(value: &Value) -> Result<(), CniError> {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    let refuse = |key: &str, value: &Value, why: &str| {
        let shown = shorten(&value.to_string());
        Err(CniError::new(
            code::UNSUPPORTED_FIELD,
            format!("unsupported field {key}: {shown}"),
        )
        .because(why))
    };
    for (pointer, key, why) in [
        (
            "/ipam/type",
            "ipam.type",
            "Wayleave gives the addresses itself: remove `ipam`",
        ),
        (
            "/ipMasq",
            "ipMasq",
            "routed containers keep their own source address: remove it",
        ),
        (
            "/runtimeConfig/portMappings",
            "runtimeConfig.portMappings",
            "put the `portmap` plugin behind this one and move the capability there",
        ),
        (
            "/runtimeConfig/bandwidth",
            "runtimeConfig.bandwidth",
            "put the `bandwidth` plugin behind this one and move the capability there",
        ),
        (
            "/runtimeConfig/aliases",
            "runtimeConfig.aliases",
            "remove the capability `aliases`",
        ),
    ] {
        if let Some(found) = value.pointer(pointer)
            && !empty(found)
        {
            return refuse(key, found, why);
        }
    }
    match value.get("mode") {
        Some(mode) if mode != "routed" => refuse("mode", mode, "the only mode is `routed`"),
        _ => Ok(()),
    }
}

fn invalid(msg: impl Into<String>) -> CniError {
    CniError::new(code::INVALID_CONFIGURATION, msg)
}

fn default_socket() -> String {
    DEFAULT_SOCKET.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value, verb: Verb) -> Result<NetworkConfig, CniError> {
        NetworkConfig::read(value.to_string().as_bytes(), verb)
    }

    fn with(extra: Value) -> Value {
        let mut value = json!({"cniVersion": "1.1.0", "name": "fabric", "type": "wayleave-cni"});
        for (key, field) in extra.as_object().unwrap() {
            value[key] = field.clone();
        }
        value
    }

    #[test]
    fn the_smallest_configuration_has_defaults() {
        let config = read(&with(json!({})), Verb::Add).unwrap();
        assert_eq!(config.socket, "/run/wayleave/cni.sock");
        assert!(config.pools.is_empty() && config.families.is_empty() && config.previous.is_none());
    }

    #[test]
    fn keys_of_others_are_ignored() {
        let extra = json!({"capabilities": {"ips": true}, "keepers": [1], "args": {"x": 1}, "runtimeConfig": {"portMappings": []}});
        read(&with(extra), Verb::Add).unwrap();
    }

    #[test]
    fn what_is_wrong_gets_its_code_and_names_the_key() {
        for (verb, extra, code, wanted) in [
            (
                Verb::Add,
                json!({"cniVersion": "0.2.0"}),
                1,
                "CNI version `0.2.0` is not supported",
            ),
            (
                Verb::Add,
                json!({"cniVersion": 1}),
                7,
                "cniVersion is not a string",
            ),
            (
                Verb::Check,
                json!({"cniVersion": "0.3.1"}),
                1,
                "CNI 0.3.1 has no CHECK",
            ),
            (
                Verb::Gc,
                json!({"cniVersion": "1.0.0"}),
                1,
                "CNI 1.0.0 has no GC",
            ),
            (
                Verb::Status,
                json!({"cniVersion": "1.0.0"}),
                1,
                "CNI 1.0.0 has no STATUS",
            ),
            (Verb::Add, json!({"name": ""}), 7, "has no name"),
            (
                Verb::Add,
                json!({"name": "../x"}),
                7,
                "`../x` is no network name",
            ),
            (
                Verb::Add,
                json!({"ipam": {"type": "host-local"}}),
                2,
                "ipam.type: \"host-local\"",
            ),
            (Verb::Add, json!({"mode": "bridge"}), 2, "mode"),
            (Verb::Add, json!({"ipMasq": true}), 2, "ipMasq: true"),
            (
                Verb::Add,
                json!({"runtimeConfig": {"portMappings": [{"hostPort": 80}]}}),
                2,
                "portMappings",
            ),
            (Verb::Add, json!({"pools": "blue"}), 7, "not valid"),
            (Verb::Add, json!({"families": ["ipx"]}), 7, "not valid"),
            (Verb::Add, json!({"mtu": 20}), 7, "between 68 and 65535"),
            (
                Verb::Add,
                json!({"socket": "cni.sock"}),
                7,
                "not an absolute path",
            ),
            (
                Verb::Add,
                json!({"prevResult": {"ips": [{"address": "10.0.0.1"}]}}),
                7,
                "not valid",
            ),
            (Verb::Check, json!({}), 7, "CHECK needs prevResult"),
            (Verb::Gc, json!({}), 7, "GC needs cni.dev/valid-attachments"),
        ] {
            let error = read(&with(extra), verb).unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.msg.contains(wanted), "{}", error.msg);
        }
    }

    #[test]
    fn what_a_parser_quotes_is_short_and_has_no_control_characters() {
        let long = "x".repeat(10_000);
        for (extra, wanted) in [
            (json!({"families": ["ipv\u{7f}6\u{1b}[2J"]}), "ipv\\u{7f}6"),
            (json!({"families": [long]}), "..."),
            (
                json!({"prevResult": {"ips": [{"address": "\u{1b}[2J"}]}}),
                "\\u{1b}",
            ),
        ] {
            let error = read(&with(extra), Verb::Add).unwrap_err();
            assert!(error.details.contains(wanted), "{error:?}");
            assert!(error.details.len() < 300 && !error.details.contains(char::is_control));
        }
        let config = read(&with(json!({})), Verb::Add).unwrap();
        let error = config.static_addresses(Some("\u{1b}[2J")).unwrap_err();
        assert!(!error.details.contains(char::is_control), "{error:?}");
    }

    #[test]
    fn text_that_is_no_json_gets_code_6_and_the_place() {
        for text in [&b""[..], b"{", b"\xff", b"{\"name\":}"] {
            let error = NetworkConfig::read(text, Verb::Add).unwrap_err();
            assert_eq!(error.code, 6);
            assert!(error.details.contains("line 1"), "{error}");
        }
        let nested = "[".repeat(100_000);
        assert_eq!(
            NetworkConfig::read(nested.as_bytes(), Verb::Add)
                .unwrap_err()
                .code,
            6
        );
    }

    #[test]
    fn static_addresses_come_from_all_places_once() {
        let extra = json!({
            "runtimeConfig": {"ips": ["10.1.7.5/24", "fd00::5"]},
            "args": {"cni": {"ips": ["10.1.7.5"]}},
        });
        let config = read(&with(extra), Verb::Add).unwrap();
        let addresses = config.static_addresses(Some("10.1.7.5, fd00::6")).unwrap();
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.1.7.5", "fd00::5", "fd00::6"]);
        assert_eq!(config.static_addresses(Some("ten")).unwrap_err().code, 7);
    }

    #[test]
    fn both_spellings_of_the_garbage_collection_list_are_read() {
        let list = json!([{"containerID": "c1", "ifname": "eth0"}]);
        let (new, old) = ("cni.dev/valid-attachments", "cni.dev/attachments");
        for extra in [
            json!({new: list}),
            json!({old: list}),
            json!({new: list, old: []}),
        ] {
            let config = read(&with(extra), Verb::Gc).unwrap();
            assert_eq!(config.valid_attachments.unwrap()[0].container_id, "c1");
        }
    }
}
