//! Reading one value: what it must be, and what is said when it is not.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use toml::{Spanned, de::DeValue};
use wayleave_bgp_core::{Asn, Family, Prefix, RouterId, config::Password};

use super::{
    diagnostic::{Fault, Faults},
    model::{
        BgpRoleSetting, LogFormat, NextHopSelfSetting, PolicySetting, RemoteAsSetting, Role, Secret,
    },
    source::Place,
};

/// A value as written, with its place.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Where a value is being read: the file, the full name of the key, and where faults go.
pub(super) struct Reading<'a> {
    pub(super) file: usize,
    pub(super) key: &'a str,
    pub(super) faults: &'a mut Faults,
}

impl Reading<'_> {
    pub(super) fn place(&self, value: &Spanned<DeValue<'_>>) -> Place {
        Place::new(self.file, value.span())
    }

    pub(super) fn expected<T>(
        &mut self,
        expected: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<T> {
        let place = self.place(value);
        let found = describe(value.get_ref());
        let message = format!("`{}`: expected {expected}, found {found}", self.key);
        self.faults.push(Fault::new(message).at(&place));
        None
    }

    pub(super) fn refused<T>(&mut self, why: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let place = self.place(value);
        self.faults
            .push(Fault::new(format!("`{}`: {why}", self.key)).at(&place));
        None
    }
}

/// A type a value of the configuration can have.
pub(super) trait FromToml: Sized {
    /// Reads it, or says what is wrong and gives nothing.
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self>;
}

impl<T: FromToml> FromToml for Found<T> {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let place = reading.place(value);
        T::from_toml(value, reading).map(|value| Self { value, place })
    }
}

/// A list; a single value stands for a list of one.
impl<T: FromToml> FromToml for Vec<T> {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let Some(items) = value.get_ref().as_array() else {
            return T::from_toml(value, reading).map(|single| vec![single]);
        };
        let read: Vec<_> = items
            .iter()
            .map(|item| T::from_toml(item, reading))
            .collect();
        read.into_iter().collect()
    }
}

impl FromToml for bool {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref().as_bool() {
            Some(read) => Some(read),
            None => reading.expected("true or false", value),
        }
    }
}

impl FromToml for String {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some(read) => Some(read.to_owned()),
            None => reading.expected("a string", value),
        }
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl FromToml for $type {
            fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
                match integer(value.get_ref()).map(Self::try_from) {
                    Some(Ok(read)) => Some(read),
                    _ => reading.expected(
                        &format!("a whole number from 0 to {}", Self::MAX),
                        value,
                    ),
                }
            }
        }
    )*};
}
whole_numbers!(u8, u16, u32);

/// Values written as a string that parses; the third part is what was expected.
macro_rules! parsed_strings {
    ($($type:ty, $expected:literal;)*) => {$(
        impl FromToml for $type {
            fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
                match value.get_ref().as_str().map(str::parse) {
                    Some(Ok(read)) => Some(read),
                    _ => reading.expected($expected, value),
                }
            }
        }
    )*};
}
parsed_strings! {
    IpAddr, "an IPv4 or IPv6 address such as \"192.0.2.1\"";
    RouterId, "a router id written like an IPv4 address, such as \"192.0.2.1\"";
}

/// A whole number as TOML has it, whatever its base.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i128> {
    let integer = value.as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl FromToml for SocketAddr {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let expected = "an address and a port such as \"0.0.0.0:179\" or \"[::]:179\"";
        let Some(text) = value.get_ref().as_str() else {
            return reading.expected(expected, value);
        };
        match (text.parse::<Self>(), text.parse::<IpAddr>()) {
            (Ok(read), _) => Some(read),
            (Err(_), Ok(IpAddr::V4(bare))) => reading.refused(
                &format!("the port is missing: write \"{bare}:PORT\""),
                value,
            ),
            (Err(_), Ok(IpAddr::V6(bare))) => reading.refused(
                &format!("the port is missing: write \"[{bare}]:PORT\""),
                value,
            ),
            (Err(_), Err(_)) => reading.expected(expected, value),
        }
    }
}

impl FromToml for Prefix {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            return reading.expected("a prefix such as \"10.1.0.0/16\"", value);
        };
        match text.parse() {
            Ok(read) => Some(read),
            Err(error) => reading.refused(&error.to_string(), value),
        }
    }
}

impl FromToml for Asn {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let asn = integer(value.get_ref())
            .and_then(|number| u32::try_from(number).ok())
            .map(Self);
        match asn {
            Some(asn) if asn.is_usable() => Some(asn),
            Some(asn) => reading.refused(&reserved(asn), value),
            None => reading.expected("an AS number from 1 to 4294967294", value),
        }
    }
}

fn reserved(asn: Asn) -> String {
    format!("{asn} is reserved (RFC 7607, RFC 7300, RFC 6793) and cannot be the number of an AS")
}

impl FromToml for PathBuf {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref().as_str().map(Self::from) {
            Some(path) if path.is_absolute() => Some(path),
            _ => reading.expected("an absolute path such as \"/var/lib/wayleave\"", value),
        }
    }
}

impl FromToml for Secret {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            return reading.expected("a password, as a string", value);
        };
        match Password::new(text) {
            Some(password) => Some(Self(password)),
            // It is not repeated here: what is said of a configuration goes into logs.
            None => {
                let why = format!(
                    "a password has 1 to {} octets, and this one {}",
                    Password::LONGEST,
                    text.len()
                );
                reading.refused(&why, value)
            }
        }
    }
}

impl FromToml for Family {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some("ipv4" | "ipv4-unicast") => Some(Self::Ipv4Unicast),
            Some("ipv6" | "ipv6-unicast") => Some(Self::Ipv6Unicast),
            _ => reading.expected("\"ipv4\" or \"ipv6\"", value),
        }
    }
}

impl FromToml for RemoteAsSetting {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) if text == "external" => Some(Self::External),
            DeValue::String(text) if text == "internal" => Some(Self::Internal),
            DeValue::Integer(_) => Asn::from_toml(value, reading).map(Self::Exact),
            DeValue::String(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                reading.expected("an AS number, \"external\" or \"internal\"", value)
            }
        }
    }
}

impl FromToml for NextHopSelfSetting {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match (value.get_ref().as_bool(), value.get_ref().as_str()) {
            (Some(false), _) => Some(Self::Never),
            (Some(true), _) => Some(Self::Always),
            (None, Some("external")) => Some(Self::External),
            (None, _) => reading.expected("true, false or \"external\"", value),
        }
    }
}

impl FromToml for BgpRoleSetting {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some("provider") => Some(Self::Provider),
            Some("route-server") => Some(Self::RouteServer),
            Some("route-server-client") => Some(Self::RouteServerClient),
            Some("customer") => Some(Self::Customer),
            Some("peer") => Some(Self::Peer),
            _ => {
                let expected = "what we are to the neighbour: \"provider\", \"customer\", \"peer\", \
                                \"route-server\" or \"route-server-client\"";
                reading.expected(expected, value)
            }
        }
    }
}

impl FromToml for PolicySetting {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some("all") => return Some(Self::All),
            Some("none") => return Some(Self::None),
            Some("own") => return Some(Self::Own),
            Some("pools") => return Some(Self::Pools),
            Some(text) if text.starts_with("policy:") && text != "policy:" => {
                let name = text.strip_prefix("policy:").unwrap_or_default();
                return Some(Self::Named(name.to_owned()));
            }
            Some(text) if !text.contains('/') => {
                let expected =
                    "\"all\", \"none\", \"own\", \"pools\", \"policy:NAME\" or a list of prefixes";
                return reading.expected(expected, value);
            }
            Some(_) | None => {}
        }
        Vec::from_toml(value, reading).map(Self::Within)
    }
}

impl FromToml for Role {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some("host") => Some(Self::Host),
            _ => reading.expected("\"host\"", value),
        }
    }
}

impl FromToml for LogFormat {
    fn from_toml(value: &Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some("text") => Some(Self::Text),
            Some("json") => Some(Self::Json),
            _ => reading.expected("\"text\" or \"json\"", value),
        }
    }
}

/// What was found, with its value where that is short.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    const SHOWN: usize = 60;
    match value {
        DeValue::String(text) if text.chars().count() <= SHOWN => format!("{text:?}"),
        DeValue::String(text) => {
            let start: String = text.chars().take(SHOWN).collect();
            format!("the string {start:?}...")
        }
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(value) => format!("the date or time {value}"),
        DeValue::Array(items) => format!("a list of {}", items.len()),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
