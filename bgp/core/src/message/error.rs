//! Why a message cannot be made.

use std::fmt::Display;

/// Why a message cannot be made, and the field that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {what}")]
pub struct EncodeError {
    /// Where: `update.attributes.as_path[0]`.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
}

impl EncodeError {
    pub(super) fn new(field: impl Into<String>, what: impl Display) -> Self {
        Self {
            field: field.into(),
            what: what.to_string(),
        }
    }
}
