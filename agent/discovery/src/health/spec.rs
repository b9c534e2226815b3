//! What a check does and how often: validated when it is made, so that the machine need not ask.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one attempt does. The target is the service's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A TCP connection is taken.
    Tcp {
        /// The port.
        port: u16,
    },
    /// An HTTP/1.1 GET is answered with a status that is wanted.
    Http {
        /// The port.
        port: u16,
        /// The path and query, beginning with a slash.
        path: String,
        /// The Host header; the address when left out.
        host: Option<String>,
        /// The status codes that pass, first and last.
        status: (u16, u16),
    },
}

impl CheckKind {
    /// The port it goes to.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp { port } | Self::Http { port, .. } => *port,
        }
    }
}

/// A check of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawCheck", into = "RawCheck")]
pub struct CheckSpec {
    /// What an attempt does.
    pub kind: CheckKind,
    /// From the beginning of an attempt to the beginning of the next.
    pub interval: Duration,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// Passes in a row until a failing target passes. The first pass of a new one is enough.
    pub rise: u32,
    /// Failures in a row until a target fails.
    pub fall: u32,
    /// How long after registration failures of a target that has never passed do not count.
    pub start_grace: Duration,
    /// The least time between two changes that are told.
    pub hold: Duration,
}

/// Why a check is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// An unknown kind.
    #[error("a check of kind `{}` is not known: write tcp or http", .0.escape_debug())]
    Kind(String),
    /// A port that is none.
    #[error("a check needs the port it goes to, 1 to 65535")]
    Port,
    /// A field of another kind.
    #[error("`{field}` belongs to a check of kind http, this one is {kind}")]
    Foreign {
        /// The field.
        field: &'static str,
        /// The kind of the check.
        kind: &'static str,
    },
    /// A path that is none.
    #[error("`{}` is not a path: begin it with a slash and use printable ASCII without spaces", .0.escape_debug())]
    Path(String),
    /// A Host header that is none.
    #[error("`{}` is not a value for the Host header: use printable ASCII without spaces", .0.escape_debug())]
    Host(String),
    /// Status codes that are none.
    #[error("`{}` does not say which status passes: write 200 or 200-399, between 100 and 599", .0.escape_debug())]
    Status(String),
    /// Not a span of time.
    #[error("`{}` is not a span of time: write a number and ms, s, m or h, as in 500ms or 10s", .0.escape_debug())]
    Span(String),
    /// A span out of its limits.
    #[error("{field} is {}, it must be {} to {}", format_span(*.found), format_span(*.least), format_span(*.most))]
    SpanRange {
        /// The field.
        field: &'static str,
        /// Its value.
        found: Duration,
        /// The least it may be.
        least: Duration,
        /// The most it may be.
        most: Duration,
    },
    /// A number of attempts out of its limits.
    #[error("{field} is {found}, it must be 1 to 100")]
    Count {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u32,
    },
}

impl CheckSpec {
    /// A check with the default figures: every 10 s (timeout 2 s), 2 passes up, 3 failures down.
    #[must_use]
    pub fn new(kind: CheckKind) -> Self {
        Self {
            kind,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            start_grace: Duration::ZERO,
            hold: Duration::from_secs(1),
        }
    }

    fn validate(self) -> Result<Self, SpecError> {
        let (ms, day) = (Duration::from_millis(1), Duration::from_secs(86_400));
        let spans = [
            ("interval", self.interval, ms * 10, day),
            // A timeout over the interval would stretch the interval without saying so.
            ("timeout", self.timeout, ms, self.interval.max(ms * 10)),
            ("start_grace", self.start_grace, Duration::ZERO, day),
            ("hold", self.hold, Duration::ZERO, day),
        ];
        for (field, found, least, most) in spans {
            if found < least || found > most {
                return Err(SpecError::SpanRange {
                    field,
                    found,
                    least,
                    most,
                });
            }
        }
        for (field, found) in [("rise", self.rise), ("fall", self.fall)] {
            if !(1..=100).contains(&found) {
                return Err(SpecError::Count { field, found });
            }
        }
        Ok(self)
    }
}

/// A check as it is written in files, requests and the store.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    kind: String,
    #[serde(default)]
    port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rise: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fall: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_grace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
}

impl TryFrom<RawCheck> for CheckSpec {
    type Error = SpecError;

    fn try_from(raw: RawCheck) -> Result<Self, SpecError> {
        if raw.port == 0 {
            return Err(SpecError::Port);
        }
        let kind = match raw.kind.as_str() {
            "tcp" => {
                let fields = [
                    ("path", &raw.path),
                    ("host", &raw.host),
                    ("status", &raw.status),
                ];
                if let Some((field, _)) = fields.into_iter().find(|(_, value)| value.is_some()) {
                    return Err(SpecError::Foreign { field, kind: "tcp" });
                }
                CheckKind::Tcp { port: raw.port }
            }
            "http" => {
                let path = raw.path.unwrap_or_else(|| "/".to_owned());
                if !path.starts_with('/') || !path.bytes().all(|octet| octet.is_ascii_graphic()) {
                    return Err(SpecError::Path(path));
                }
                if let Some(host) = &raw.host
                    && (host.is_empty() || !host.bytes().all(|octet| octet.is_ascii_graphic()))
                {
                    return Err(SpecError::Host(host.clone()));
                }
                let status = raw.status.as_deref().map_or(Ok((200, 399)), parse_status)?;
                CheckKind::Http {
                    port: raw.port,
                    path,
                    host: raw.host,
                    status,
                }
            }
            _ => return Err(SpecError::Kind(raw.kind)),
        };
        let mut spec = Self::new(kind);
        if let Some(text) = raw.interval {
            spec.interval = parse_span(&text)?;
            // The default timeout follows an interval shorter than itself.
            spec.timeout = spec.timeout.min(spec.interval);
        }
        let spans = [
            (raw.timeout, &mut spec.timeout),
            (raw.start_grace, &mut spec.start_grace),
            (raw.hold, &mut spec.hold),
        ];
        for (text, to) in spans {
            if let Some(text) = text {
                *to = parse_span(&text)?;
            }
        }
        spec.rise = raw.rise.unwrap_or(spec.rise);
        spec.fall = raw.fall.unwrap_or(spec.fall);
        spec.validate()
    }
}

impl From<CheckSpec> for RawCheck {
    fn from(spec: CheckSpec) -> Self {
        let (kind, path, host, status) = match &spec.kind {
            CheckKind::Tcp { .. } => ("tcp", None, None, None),
            CheckKind::Http {
                path,
                host,
                status: (first, last),
                ..
            } => (
                "http",
                Some(path.clone()),
                host.clone(),
                Some(format!("{first}-{last}")),
            ),
        };
        Self {
            kind: kind.to_owned(),
            port: spec.kind.port(),
            path,
            host,
            status,
            interval: Some(format_span(spec.interval)),
            timeout: Some(format_span(spec.timeout)),
            rise: Some(spec.rise),
            fall: Some(spec.fall),
            start_grace: Some(format_span(spec.start_grace)),
            hold: Some(format_span(spec.hold)),
        }
    }
}

/// Reads a span of time: a whole number and `ms`, `s`, `m` or `h`.
pub fn parse_span(text: &str) -> Result<Duration, SpecError> {
    let wrong = || SpecError::Span(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(wrong)
}

/// Writes a span of time as [`parse_span`] reads it, in the largest unit that keeps it whole; parts of a
/// millisecond are left out.
#[must_use]
pub fn format_span(span: Duration) -> String {
    let milliseconds = span.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds != 0 && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    format!("{milliseconds}ms")
}

fn parse_status(text: &str) -> Result<(u16, u16), SpecError> {
    let wrong = || SpecError::Status(text.to_owned());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|code| (100..600).contains(code))
    };
    let (first, last) = (
        number(first).ok_or_else(wrong)?,
        number(last).ok_or_else(wrong)?,
    );
    if first > last {
        return Err(wrong());
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_alike() {
        for text in ["10ms", "1500ms", "2s", "90s", "2m", "1h"] {
            assert_eq!(format_span(parse_span(text).expect(text)), text);
        }
        for wrong in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse_span(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_check_survives_its_text_form() {
        let text = r#"{"kind":"http","port":8080,"path":"/healthz","status":"200","interval":"500ms","fall":1}"#;
        let spec: CheckSpec = serde_json::from_str(text).expect(text);
        assert_eq!(
            spec.timeout,
            Duration::from_millis(500),
            "the timeout follows a short interval"
        );
        let again: CheckSpec = serde_json::from_str(&serde_json::to_string(&spec).expect("plain"))
            .expect("its own text");
        assert_eq!(again, spec);
    }

    #[test]
    fn a_wrong_check_says_what_is_wrong() {
        for (text, part) in [
            (r#"{"kind":"icmp","port":1}"#, "`icmp` is not known"),
            (r#"{"kind":"tcp"}"#, "needs the port"),
            (
                r#"{"kind":"tcp","port":1,"path":"/"}"#,
                "`path` belongs to a check of kind http",
            ),
            (
                r#"{"kind":"http","port":1,"path":"x"}"#,
                "begin it with a slash",
            ),
            (
                r#"{"kind":"http","port":1,"path":"/ HTTP/1.1\r\nX: y"}"#,
                "without spaces",
            ),
            (r#"{"kind":"http","port":1,"host":"a b"}"#, "Host header"),
            (
                r#"{"kind":"http","port":1,"status":"300-200"}"#,
                "which status passes",
            ),
            (
                r#"{"kind":"tcp","port":1,"interval":"1s","timeout":"2s"}"#,
                "timeout is 2s, it must be 1ms to 1s",
            ),
            (
                r#"{"kind":"tcp","port":1,"interval":"1ms"}"#,
                "interval is 1ms",
            ),
            (r#"{"kind":"tcp","port":1,"rise":0}"#, "rise is 0"),
            (
                r#"{"kind":"tcp","port":1,"color":"x"}"#,
                "unknown field `color`",
            ),
        ] {
            let error = serde_json::from_str::<CheckSpec>(text)
                .expect_err(text)
                .to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
