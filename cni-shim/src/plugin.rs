//! One execution of the plugin, from variables and stdin to stdout and exit code.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::client::{self, Patience};
use crate::config::{NetworkConfig, version_of};
use crate::environment::{Environment, Verb};
use crate::error::{CniError, code};
use crate::message::Call;
use crate::namespace::{Namespace, NamespaceError};
use crate::result::CniResult;
use crate::version::SpecVersion;

/// No configuration is longer.
pub const CONFIG_MAX: usize = 512 * 1024;

/// What the process prints and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The JSON for stdout, if any.
    pub stdout: Option<Value>,
    /// Whether the exit code is 0.
    pub success: bool,
}

/// Runs one call. `variable` looks up the environment; `patience` overrides the verb's own.
pub fn run(
    variable: impl Fn(&str) -> Option<OsString>,
    stdin: impl Read + AsFd,
    patience: Option<Patience>,
) -> Outcome {
    let environment = match Environment::read(variable) {
        Ok(environment) => environment,
        // Without a verb nothing is known of stdin: it may be a terminal.
        Err(error) => return failed(&error, SpecVersion::NEWEST),
    };
    let patience = patience.unwrap_or(Patience::of(environment.verb));
    let text = match read_config(stdin, patience.stdin) {
        Ok(text) => text,
        Err(error) => return failed(&error, SpecVersion::NEWEST),
    };
    let version = version_of(&text);
    if environment.verb == Verb::Version {
        return Outcome {
            stdout: Some(versions(version)),
            success: true,
        };
    }
    let outcome = NetworkConfig::read(&text, environment.verb)
        .and_then(|config| pass_on(environment, config, patience));
    match outcome {
        Ok(result) => Outcome {
            stdout: result.map(|r| r.to_json(version)),
            success: true,
        },
        Err(error) => failed(&error, version),
    }
}

/// Hands the call to the agent; returns the result of an ADD.
fn pass_on(
    environment: Environment,
    config: NetworkConfig,
    patience: Patience,
) -> Result<Option<CniResult>, CniError> {
    let verb = environment.verb;
    let namespace = match (&environment.netns, verb) {
        (Some(path), Verb::Add | Verb::Check) => Some(open(path)?),
        // A namespace that is gone is an ordinary case of DEL; the agent works from the host's side then.
        (Some(path), _) => Namespace::open(path).ok(),
        (None, _) => None,
    };
    // Paths need not be UTF-8; this one only is shown.
    let netns = environment
        .netns
        .map(|path| path.to_string_lossy().into_owned());
    let socket = config.socket.clone();
    let previous = config.previous.clone();
    let call = Call {
        verb,
        attachment: environment.attachment,
        netns,
        args: environment.args,
        config,
        patience_ms: 0,
    };
    let answer = client::call(Path::new(&socket), &call, namespace.as_ref(), patience)
        .map_err(|error| error.to_cni(verb))??;
    match (verb, answer) {
        (Verb::Add, Some(result)) => Ok(Some(match previous {
            Some(previous) => previous.followed_by(result),
            None => result,
        })),
        (Verb::Add, None) => Err(CniError::new(
            code::PROTOCOL,
            "the agent answered an ADD without a result",
        )),
        (_, _) => Ok(None),
    }
}

fn open(path: &Path) -> Result<Namespace, CniError> {
    Namespace::open(path).map_err(|error| {
        let root = "the runtime must execute the plugin as root";
        let (code, details) = match &error {
            NamespaceError::Missing(_) => (
                code::UNKNOWN_CONTAINER,
                "CNI_NETNS names it; the container may have ended already",
            ),
            NamespaceError::NotANamespace(_) | NamespaceError::Own(_) => (
                code::INVALID_ENVIRONMENT,
                "CNI_NETNS must name the container's network namespace, such as /run/netns/NAME",
            ),
            NamespaceError::Open { .. } => (code::INVALID_ENVIRONMENT, root),
            NamespaceError::Enter { .. } | NamespaceError::Socket(_) => (code::IO_FAILURE, root),
        };
        CniError::new(code, error.to_string()).because(details)
    })
}

/// The answer to VERSION, in the version of the question when it has one.
fn versions(version: SpecVersion) -> Value {
    let supported: Vec<&str> = SpecVersion::ALL.iter().map(|v| v.as_str()).collect();
    json!({"cniVersion": version.as_str(), "supportedVersions": supported})
}

fn failed(error: &CniError, version: SpecVersion) -> Outcome {
    Outcome {
        stdout: Some(error.to_json(version)),
        success: false,
    }
}

fn read_config(mut stdin: impl Read + AsFd, patience: Duration) -> Result<Vec<u8>, CniError> {
    let failure = |why: String| {
        CniError::new(
            code::IO_FAILURE,
            "the network configuration cannot be read from stdin",
        )
        .because(why)
    };
    let deadline = Instant::now() + patience;
    let mut text = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(0) => {
                return Err(failure(format!("it was not complete after {patience:?}")));
            }
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(failure(errno.to_string())),
        }
        match stdin.read(&mut buffer) {
            Ok(0) => return Ok(text),
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failure(error.to_string())),
        }
        if text.len() > CONFIG_MAX {
            return Err(CniError::new(
                code::INVALID_CONFIGURATION,
                format!("the network configuration is larger than {CONFIG_MAX} octets"),
            ));
        }
    }
}
