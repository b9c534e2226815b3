//! Executing a CNI plugin exactly as a container runtime does.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::{LabError, head};
use crate::host::Host;

/// What a plugin is asked to do (`CNI_COMMAND`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Attach a container.
    Add,
    /// Detach a container.
    Del,
    /// Is the attachment as it should be?
    Check,
    /// Could the plugin serve an ADD?
    Status,
    /// Remove what belongs to none of the listed attachments.
    Gc,
    /// Which versions of the specification?
    Version,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        })
    }
}

/// A plugin said no, or did not keep to the protocol.
#[derive(Debug, thiserror::Error)]
pub enum CniFailure {
    /// The plugin answered with the specification's error object.
    #[error("CNI {verb} of {container}: error {code}: {msg} ({details})")]
    Refused {
        /// The verb.
        verb: Verb,
        /// The container's id, empty for STATUS, GC and VERSION.
        container: String,
        /// The error code of the specification, or one of the plugin's own from 100 on.
        code: u64,
        /// The short message.
        msg: String,
        /// The long message.
        details: String,
    },
    /// Neither a result nor an error object, or a success that an exit status contradicts.
    #[error("CNI {verb} of {container} broke the protocol: {why}")]
    Broken {
        /// The verb.
        verb: Verb,
        /// The container's id.
        container: String,
        /// What it did.
        why: String,
    },
}

/// The part of a call that travels in the environment.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) container: &'a str,
    pub(crate) namespace: Option<&'a Path>,
    pub(crate) interface: Option<&'a str>,
    pub(crate) args: Option<&'a str>,
}

/// Executes a plugin on a host. Returns what it printed; verbs that print nothing give null.
pub(crate) fn execute(
    host: &Host,
    plugin: &Path,
    verb: Verb,
    call: &Call<'_>,
    configuration: &Value,
) -> Result<Value, LabError> {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", "60"]).arg(plugin);
    // A runtime gives nothing but these and its own PATH.
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("CNI_COMMAND", verb.to_string());
    command.env("CNI_PATH", plugin.parent().unwrap_or(Path::new("/")));
    if !call.container.is_empty() {
        command.env("CNI_CONTAINERID", call.container);
    }
    if let Some(path) = call.namespace {
        command.env("CNI_NETNS", path);
    }
    if let Some(name) = call.interface {
        command.env("CNI_IFNAME", name);
    }
    if let Some(args) = call.args {
        command.env("CNI_ARGS", args);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let refused = |e| LabError::system(format!("execute {} {verb}", plugin.display()), e);
    let mut child = host.enter(|| command.spawn())?.map_err(refused)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that answers without reading is judged by its answer.
        let _ = stdin.write_all(configuration.to_string().as_bytes());
    }
    let output = child.wait_with_output().map_err(refused)?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    judge(
        verb,
        call.container,
        output.status.success(),
        stdout.trim(),
        stderr.trim(),
    )
    .map_err(LabError::from)
}

fn judge(
    verb: Verb,
    container: &str,
    success: bool,
    stdout: &str,
    stderr: &str,
) -> Result<Value, CniFailure> {
    let broken = |why: String| {
        let why = format!(
            "{why}; stdout {:?}, stderr {:?}",
            head(stdout, 400),
            head(stderr, 400)
        );
        CniFailure::Broken {
            verb,
            container: container.to_owned(),
            why,
        }
    };
    let answer = match stdout {
        "" => Value::Null,
        text => serde_json::from_str(text).map_err(|e| broken(format!("not JSON ({e})")))?,
    };
    let prints = matches!(verb, Verb::Add | Verb::Version);
    if success {
        return match (&answer, prints) {
            (Value::Object(fields), true) if !fields.contains_key("code") => Ok(answer),
            (_, true) => Err(broken("success without a result".to_owned())),
            (Value::Null, false) => Ok(answer),
            (_, false) => Err(broken(
                "success with output, where there must be none".to_owned(),
            )),
        };
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    match answer["code"].as_u64() {
        Some(code) if code > 0 && !text("msg").is_empty() => Err(CniFailure::Refused {
            verb,
            container: container.to_owned(),
            code,
            msg: text("msg"),
            details: text("details"),
        }),
        _ => Err(broken(
            "failure without an error object of code and msg".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_held_to_the_protocol() {
        let ok = |verb, out| judge(verb, "c", true, out, "").is_ok();
        assert!(ok(Verb::Add, r#"{"cniVersion":"1.1.0","ips":[]}"#));
        assert!(!ok(Verb::Add, ""), "an ADD without a result");
        assert!(
            !ok(Verb::Add, r#"{"code":7,"msg":"no"}"#),
            "an error with exit status 0"
        );
        assert!(ok(Verb::Del, ""));
        assert!(!ok(Verb::Del, "{}"), "DEL prints nothing");
        assert!(!ok(Verb::Version, "1.1.0 and others"), "no JSON");

        let refused = judge(
            Verb::Add,
            "c",
            false,
            r#"{"code":7,"msg":"no","details":"why"}"#,
            "",
        );
        assert!(
            matches!(refused, Err(CniFailure::Refused { code: 7, .. })),
            "{refused:?}"
        );
        for out in ["", "{}", r#"{"code":7}"#, r#"{"code":0,"msg":"fine"}"#] {
            let broken = judge(Verb::Add, "c", false, out, "");
            assert!(
                matches!(broken, Err(CniFailure::Broken { .. })),
                "{out}: {broken:?}"
            );
        }
    }
}
