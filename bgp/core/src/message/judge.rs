//! What a session does with a message, and everything that was found.

use serde::{Deserialize, Serialize};

use super::Hex;
use crate::wire::{Approach, Malformed, Notification, Witness, attribute_name};

/// What a session does with a message, weakest first (RFC 7606, 2). The names are those of
/// [`crate::wire::Verdict::name`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is taken as it is.
    #[default]
    Ok,
    /// It is taken without an attribute.
    AttributeDiscard,
    /// The prefixes it announces count as withdrawn.
    TreatAsWithdraw,
    /// The session ends.
    SessionReset,
}

impl From<Approach> for Outcome {
    fn from(approach: Approach) -> Self {
        match approach {
            Approach::Discard => Self::AttributeDiscard,
            Approach::TreatAsWithdraw => Self::TreatAsWithdraw,
            Approach::Reset => Self::SessionReset,
        }
    }
}

/// The NOTIFICATION that ends the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Both by their names in the RFCs.
    pub name: String,
    /// The data field.
    pub data: Hex,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// What it alone leads to; `ok` for what is only worth a remark.
    pub verdict: Outcome,
    /// The attribute's type code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<u8>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is wrong.
    pub what: String,
    /// The text that says what is done about it: `RFC 7606, 7.1`.
    pub section: String,
}

/// Gathers what is found in one message, in the order in which a session looks. The first reason
/// to reset the session is the one it acts on.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) verdict: Outcome,
    pub(super) section: Option<&'static str>,
    pub(super) reset: Option<Notification>,
    pub(super) problems: Vec<Found>,
}

impl Judge {
    pub(super) fn remark(&mut self, what: &str, section: &'static str) {
        self.found(Outcome::Ok, what, section);
    }

    pub(super) fn reset(&mut self, notification: Notification, what: &str, section: &'static str) {
        self.found(Outcome::SessionReset, what, section);
        self.decide(Outcome::SessionReset, section, Some(notification));
    }

    /// A list of prefixes in an attribute cannot be read.
    pub(super) fn bad_nlri(&mut self, malformed: Malformed, notification: Notification) {
        self.saw(Approach::Reset, malformed);
        self.decide(Outcome::SessionReset, malformed.section, Some(notification));
    }

    pub(super) fn decide(
        &mut self,
        verdict: Outcome,
        section: &'static str,
        reset: Option<Notification>,
    ) {
        if verdict > self.verdict {
            self.verdict = verdict;
            self.section = Some(section);
            self.reset = reset;
        }
    }

    fn found(&mut self, verdict: Outcome, what: &str, section: &'static str) {
        self.problems.push(Found {
            verdict,
            attribute: None,
            name: None,
            what: what.to_owned(),
            section: section.to_owned(),
        });
    }
}

impl Witness for Judge {
    const READS_ON: bool = true;

    fn saw(&mut self, approach: Approach, malformed: Malformed) {
        // 0 stands for the attributes as a whole.
        let attribute = (malformed.code != 0).then_some(malformed.code);
        self.problems.push(Found {
            verdict: approach.into(),
            attribute,
            name: attribute.and_then(attribute_name).map(str::to_owned),
            what: malformed.problem.to_string(),
            section: malformed.section.to_owned(),
        });
    }
}

impl From<Notification> for Reset {
    fn from(notification: Notification) -> Self {
        Self {
            code: notification.code,
            subcode: notification.subcode,
            name: match notification.names() {
                (Some(code), Some(subcode)) => format!("{code}: {subcode}"),
                (Some(code), None) => code.to_owned(),
                (None, _) => "Unknown error".to_owned(),
            },
            data: Hex(notification.data),
        }
    }
}
