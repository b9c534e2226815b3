//! NOTIFICATION (RFC 4271, 4.5; RFC 9003).

use serde::{Deserialize, Serialize};

use super::{EncodeError, Hex, judge::Judge};
use crate::wire;

/// The content of a NOTIFICATION. It is made from `code`, `subcode` and `data`; without `data`
/// from `communication`, where the subcode carries one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    #[serde(default)]
    pub subcode: u8,
    /// The code by its name.
    #[serde(default)]
    pub code_name: Option<String>,
    /// The subcode by its name.
    #[serde(default)]
    pub subcode_name: Option<String>,
    /// The data field.
    #[serde(default)]
    pub data: Option<Hex>,
    /// The other operator's text on a shutdown or reset (RFC 9003, 2), safe to print.
    #[serde(default)]
    pub communication: Option<String>,
    /// All of it in words.
    #[serde(default)]
    pub text: String,
}

pub(super) fn decode(body: &[u8], judge: &mut Judge) -> Notification {
    let notification = wire::Notification::decode(body);
    if notification.has_communication()
        && let Some((&len, text)) = notification.data.split_first()
        && usize::from(len) != text.len()
    {
        let what = "the length of the shutdown communication is not that of its text";
        judge.remark(what, "RFC 9003, 4");
    }
    let (code_name, subcode_name) = notification.names();
    Notification {
        code: notification.code,
        subcode: notification.subcode,
        code_name: code_name.map(str::to_owned),
        subcode_name: subcode_name.map(str::to_owned),
        communication: notification.communication(),
        text: notification.to_string(),
        data: Some(Hex(notification.data)),
    }
}

pub(super) fn encode(content: &Notification, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.extend_from_slice(&[content.code, content.subcode]);
    match (&content.data, &content.communication) {
        (Some(Hex(data)), _) => out.extend_from_slice(data),
        (None, None) => {}
        (None, Some(text)) => {
            let wrong = |what| Err(EncodeError::new("notification.communication", what));
            if !wire::Notification::new(content.code, content.subcode).has_communication() {
                return wrong("only 6/2 and 6/4 carry one (RFC 9003, 2)");
            }
            let Ok(len) = u8::try_from(text.len()) else {
                return wrong("more than the 255 octets it may have (RFC 9003, 2)");
            };
            out.push(len);
            out.extend_from_slice(text.as_bytes());
        }
    }
    Ok(())
}
