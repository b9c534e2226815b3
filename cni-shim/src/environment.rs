//! The `CNI_*` variables of a call.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{CniError, code};

/// What a runtime can ask of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// Attach a container.
    Add,
    /// Detach a container.
    Del,
    /// Is the container attached as ADD left it?
    Check,
    /// Detach everything but the listed attachments.
    Gc,
    /// Could ADD be served now?
    Status,
    /// Which versions are spoken?
    Version,
}

/// One call's variables, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// `CNI_CONTAINERID` and `CNI_IFNAME`; with ADD, DEL and CHECK.
    pub attachment: Option<Attachment>,
    /// `CNI_NETNS`; always with ADD and CHECK, perhaps with DEL.
    pub netns: Option<PathBuf>,
    /// `CNI_ARGS`.
    pub args: BTreeMap<String, String>,
}

/// An interface of a container, as runtimes name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's identifier.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
}

/// Longer identifiers than any runtime makes, yet short enough for a record and a log line.
const CONTAINER_ID_MAX: usize = 512;
/// `IFNAMSIZ` without the final zero.
const IFNAME_MAX: usize = 15;

impl Environment {
    /// Reads and checks the variables that the verb needs.
    ///
    /// # Errors
    /// Code 4, naming every variable that is missing or wrong.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, CniError> {
        let text = |name: &str| -> Result<Option<String>, String> {
            match variable(name).map(OsString::into_string) {
                None => Ok(None),
                Some(Ok(value)) if value.is_empty() => Ok(None),
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(_)) => Err(format!("{name} is not UTF-8")),
            }
        };
        let verb = match text("CNI_COMMAND").map_err(wrong)? {
            Some(command) => command.parse::<Verb>()?,
            None => {
                return Err(wrong("CNI_COMMAND is not set".to_owned()).because(
                    "this program is a CNI plugin: container runtimes execute it with CNI_* variables and a configuration on stdin",
                ));
            }
        };
        let mut wrongs = Vec::new();
        let mut required = |name: &str, check: fn(&str) -> Result<(), String>| {
            let value = match text(name) {
                Ok(Some(value)) => value,
                Ok(None) => {
                    wrongs.push(format!("{name} is not set"));
                    return String::new();
                }
                Err(why) => {
                    wrongs.push(why);
                    return String::new();
                }
            };
            if let Err(why) = check(&value) {
                wrongs.push(format!("{name} {why}"));
            }
            value
        };
        let attachment = match verb {
            Verb::Add | Verb::Del | Verb::Check => Some(Attachment {
                container_id: required("CNI_CONTAINERID", check_container_id),
                ifname: required("CNI_IFNAME", check_ifname),
            }),
            Verb::Gc | Verb::Status | Verb::Version => None,
        };
        let netns = match verb {
            Verb::Add | Verb::Check => Some(PathBuf::from(required("CNI_NETNS", |_| Ok(())))),
            Verb::Del => text("CNI_NETNS").ok().flatten().map(PathBuf::from),
            Verb::Gc | Verb::Status | Verb::Version => None,
        };
        let args = match text("CNI_ARGS").and_then(|args| parse_args(&args.unwrap_or_default())) {
            Ok(args) => args,
            Err(why) => {
                wrongs.push(why);
                BTreeMap::new()
            }
        };
        if !wrongs.is_empty() {
            return Err(wrong(wrongs.join("; ")));
        }
        Ok(Self {
            verb,
            attachment,
            netns,
            args,
        })
    }
}

impl std::str::FromStr for Verb {
    type Err = CniError;

    fn from_str(command: &str) -> Result<Self, CniError> {
        Ok(match command {
            "ADD" => Verb::Add,
            "DEL" => Verb::Del,
            "CHECK" => Verb::Check,
            "GC" => Verb::Gc,
            "STATUS" => Verb::Status,
            "VERSION" => Verb::Version,
            other => {
                return Err(wrong(format!("CNI_COMMAND is `{}`", shorten(other)))
                    .because("it must be ADD, DEL, CHECK, GC, STATUS or VERSION"));
            }
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Add => "ADD",
            Verb::Del => "DEL",
            Verb::Check => "CHECK",
            Verb::Gc => "GC",
            Verb::Status => "STATUS",
            Verb::Version => "VERSION",
        })
    }
}

/// Specification, section 2: starts with a letter or digit, then also `_`, `.` and `-`.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Checks a container's identifier; the agent uses it again on what it receives.
///
/// # Errors
/// What is wrong with it, to follow its name.
pub fn check_container_id(id: &str) -> Result<(), String> {
    if id.len() > CONTAINER_ID_MAX {
        return Err(format!(
            "has {} characters; {CONTAINER_ID_MAX} are allowed",
            id.len()
        ));
    }
    if !is_identifier(id) {
        return Err(format!(
            "`{}` is no container identifier: it must start with a letter or digit and go on with these, `_`, `.` and `-`",
            shorten(id)
        ));
    }
    Ok(())
}

/// Checks an interface name by the kernel's rules and the specification's.
///
/// # Errors
/// What is wrong with it, to follow its name.
pub fn check_ifname(name: &str) -> Result<(), String> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > IFNAME_MAX {
        return Err(format!(
            "`{}` is no interface name: 1 to {IFNAME_MAX} octets",
            shorten(name)
        ));
    }
    if name == "." || name == ".." || name.contains(bad) {
        return Err(format!(
            "`{}` is no interface name: no `/`, `:` or blanks, and neither `.` nor `..`",
            shorten(name)
        ));
    }
    Ok(())
}

fn parse_args(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut args = BTreeMap::new();
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                args.insert(key.to_owned(), value.to_owned());
            }
            _ => {
                return Err(format!(
                    "CNI_ARGS has `{}` where KEY=VALUE should be",
                    shorten(pair)
                ));
            }
        }
    }
    Ok(args)
}

fn wrong(msg: String) -> CniError {
    CniError::new(code::INVALID_ENVIRONMENT, msg)
}

/// Hostile input is quoted, but not at length, and without control characters.
pub(crate) fn shorten(text: &str) -> String {
    printable(text, 64)
}

/// What a parser says of input: it quotes from it, as it is and at any length.
pub(crate) fn explain(error: &impl fmt::Display) -> String {
    printable(&error.to_string(), 256)
}

/// At most so many characters, control characters escaped.
fn printable(text: &str, most: usize) -> String {
    let mut short = String::new();
    for c in text.chars().take(most) {
        if c.is_control() {
            short.extend(c.escape_debug());
        } else {
            short.push(c);
        }
    }
    if text.chars().nth(most).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, CniError> {
        Environment::read(|name| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    const ADD: [(&str, &str); 4] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/c1"),
        ("CNI_IFNAME", "eth0"),
    ];

    #[test]
    fn an_add_is_read() {
        let mut variables = ADD.to_vec();
        variables.push(("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web;EMPTY="));
        let environment = read(&variables).unwrap();
        assert_eq!(environment.verb, Verb::Add);
        assert_eq!(environment.attachment.unwrap().ifname, "eth0");
        assert_eq!(environment.args["K8S_POD_NAME"], "web");
        assert_eq!(environment.args["EMPTY"], "");
    }

    #[test]
    fn everything_wrong_is_named_at_once_with_code_4() {
        let long = "x".repeat(600);
        for (variables, wanted) in [
            (vec![], "CNI_COMMAND is not set"),
            (vec![("CNI_COMMAND", "add")], "CNI_COMMAND is `add`"),
            (
                vec![("CNI_COMMAND", "ADD")],
                "CNI_CONTAINERID is not set; CNI_IFNAME is not set; CNI_NETNS is not set",
            ),
            (
                vec![
                    ("CNI_COMMAND", "DEL"),
                    ("CNI_CONTAINERID", ""),
                    ("CNI_IFNAME", "eth0"),
                ],
                "CNI_CONTAINERID is not set",
            ),
            (
                [&ADD[..], &[("CNI_ARGS", "novalue")]].concat(),
                "CNI_ARGS has `novalue`",
            ),
            (
                vec![
                    ("CNI_COMMAND", "DEL"),
                    ("CNI_CONTAINERID", "../etc"),
                    ("CNI_IFNAME", "eth0"),
                ],
                "`../etc` is no container identifier",
            ),
            (
                vec![
                    ("CNI_COMMAND", "DEL"),
                    ("CNI_CONTAINERID", &long),
                    ("CNI_IFNAME", "eth0"),
                ],
                "has 600 characters",
            ),
            (
                vec![
                    ("CNI_COMMAND", "DEL"),
                    ("CNI_CONTAINERID", "c"),
                    ("CNI_IFNAME", "sixteen-octets-x"),
                ],
                "1 to 15 octets",
            ),
            (
                vec![
                    ("CNI_COMMAND", "DEL"),
                    ("CNI_CONTAINERID", "c"),
                    ("CNI_IFNAME", ".."),
                ],
                "`..` is no interface name",
            ),
            (
                vec![
                    ("CNI_COMMAND", "DEL"),
                    ("CNI_CONTAINERID", "c"),
                    ("CNI_IFNAME", "a\u{7}b"),
                ],
                "`a\\u{7}b` is no interface name",
            ),
        ] {
            let error = read(&variables).unwrap_err();
            assert_eq!(error.code, 4);
            assert!(error.msg.contains(wanted), "{}", error.msg);
        }
        let error = Environment::read(|_| Some(OsString::from_vec(vec![0xff]))).unwrap_err();
        assert_eq!(
            (error.code, error.msg.as_str()),
            (4, "CNI_COMMAND is not UTF-8")
        );
    }

    #[test]
    fn a_del_needs_no_namespace_and_gc_and_status_need_nothing() {
        let del = [
            ("CNI_COMMAND", "DEL"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
        ];
        assert_eq!(read(&del).unwrap().netns, None);
        for verb in ["GC", "STATUS", "VERSION"] {
            assert_eq!(read(&[("CNI_COMMAND", verb)]).unwrap().attachment, None);
        }
    }
}
