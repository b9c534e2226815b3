//! The error object of the CNI specification.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::version::SpecVersion;

/// What a runtime reads from stdout when a call fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniError {
    /// One of the [`code`]s.
    pub code: u32,
    /// What happened, to what, in one sentence.
    pub msg: String,
    /// Why, and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

/// Codes of the specification (section 5, "Error") and our own from 100 on.
pub mod code {
    /// The version in the configuration is not supported, or does not know the verb.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field of the configuration is not supported; the message names key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container does not exist; the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// A `CNI_*` variable is missing or wrong.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Input or output failed.
    pub const IO_FAILURE: u32 = 5;
    /// The configuration or a message is no valid JSON.
    pub const DECODING_FAILURE: u32 = 6;
    /// The configuration is valid JSON but not a valid configuration.
    pub const INVALID_CONFIGURATION: u32 = 7;
    /// Something that passes by itself: the runtime should try again later.
    pub const TRY_AGAIN_LATER: u32 = 11;
    /// STATUS: ADD cannot be served now.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: ADD cannot be served now and running containers may have limited connectivity.
    pub const NOT_AVAILABLE_LIMITED: u32 = 51;
    /// Ours: CHECK found the attachment other than ADD left it.
    pub const CHECK_FAILED: u32 = 100;
    /// Ours: the kernel refused a step of the attachment.
    pub const KERNEL_REFUSED: u32 = 101;
    /// Ours: the interface already exists in the container and is not ours.
    pub const INTERFACE_EXISTS: u32 = 102;
    /// Ours: plugin and agent do not understand each other.
    pub const PROTOCOL: u32 = 103;
    /// Ours: a defect in Wayleave.
    pub const INTERNAL: u32 = 199;
}

impl CniError {
    /// An error with its details still empty.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// The same error with an explanation.
    #[must_use]
    pub fn because(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The object as it is printed, in the version of the call.
    #[must_use]
    pub fn to_json(&self, version: SpecVersion) -> Value {
        json!({
            "cniVersion": version.as_str(),
            "code": self.code,
            "msg": self.msg,
            "details": self.details,
        })
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.msg)?;
        if !self.details.is_empty() {
            write!(f, ": {}", self.details)?;
        }
        write!(f, " (CNI code {})", self.code)
    }
}

impl std::error::Error for CniError {}
