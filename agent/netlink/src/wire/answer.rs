//! Acknowledgements: `NLMSG_ERROR`, its extended attributes, and the end of a listing.

use super::{
    Attributes, HEADER, Message, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_OVERRUN, malformed, u32_at,
};
use crate::error::{Code, KernelError};

/// `NLMSGERR_ATTR_MSG`: a text for a person.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// What a message means to the one who asked.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The request with this sequence number is done, or why it is not.
    Ack(Result<(), KernelError>),
    /// The listing is complete, or why it broke off.
    Done(Result<(), KernelError>),
    /// The kernel says that it dropped messages (never seen; `ENOBUFS` says it in practice).
    Overrun,
    /// An object.
    Object,
}

/// Classifies a message.
pub(crate) fn answer(message: &Message<'_>) -> Result<Answer, KernelError> {
    match message.kind {
        NLMSG_ERROR => {
            let code = code(message)?;
            // struct nlmsgerr { int error; struct nlmsghdr msg; }, then the request's payload
            // unless capped, then attributes.
            let request = u32_at(message.payload, 4).map_or(HEADER, |len| len as usize);
            let echoed = if message.flags & NLM_F_CAPPED != 0 {
                HEADER
            } else {
                request
            };
            Ok(Answer::Ack(verdict(
                code,
                message,
                4 + echoed.next_multiple_of(4),
            )))
        }
        NLMSG_DONE => Ok(Answer::Done(match message.payload.len() {
            0..4 => Ok(()),
            _ => verdict(code(message)?, message, 4),
        })),
        NLMSG_OVERRUN => Ok(Answer::Overrun),
        _ => Ok(Answer::Object),
    }
}

fn code(message: &Message<'_>) -> Result<i32, KernelError> {
    let code = u32_at(message.payload, 0).ok_or_else(|| malformed("an answer without a code"))?;
    Ok(code.cast_signed())
}

fn verdict(code: i32, message: &Message<'_>, attributes: usize) -> Result<(), KernelError> {
    if code >= 0 {
        return Ok(());
    }
    let mut text = None;
    if message.flags & NLM_F_ACK_TLVS != 0 {
        let attributes = message.payload.get(attributes..).unwrap_or(&[]);
        // An explanation that cannot be read must not hide the error it explains.
        for (kind, value) in Attributes(attributes).flatten() {
            if kind == NLMSGERR_ATTR_MSG {
                let value = value.strip_suffix(&[0]).unwrap_or(value);
                text = Some(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    Err(KernelError::Refused {
        // The least number has no counterpart.
        errno: Code(code.saturating_neg()),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Messages, Writer};

    fn error(flags: u16, code: i32, echo: &[u8], text: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::begin(&mut out, NLMSG_ERROR, flags, 9);
        writer.put(&code.to_ne_bytes());
        let echoed = u32::try_from(HEADER + echo.len()).expect("short");
        writer.put(&echoed.to_ne_bytes());
        writer.put(&[0; 12]);
        if flags & NLM_F_CAPPED == 0 {
            writer.put(echo);
        }
        if let Some(text) = text {
            let mut value = text.as_bytes().to_vec();
            value.push(0);
            writer.attr(NLMSGERR_ATTR_MSG, &value);
        }
        writer.finish();
        out
    }

    /// The error in an answer, printed, or "done".
    fn read(bytes: &[u8]) -> String {
        let message = Messages(bytes)
            .next()
            .expect("a message")
            .expect("well formed");
        match answer(&message).expect("an answer") {
            Answer::Ack(result) | Answer::Done(result) => {
                result.map_or_else(|error| error.to_string(), |()| "done".to_owned())
            }
            other @ (Answer::Overrun | Answer::Object) => panic!("no acknowledgement: {other:?}"),
        }
    }

    #[test]
    fn the_text_is_found_behind_a_capped_and_behind_an_echoed_request() {
        assert_eq!(read(&error(NLM_F_CAPPED, 0, &[], None)), "done");
        for flags in [NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED] {
            let said = read(&error(flags, -17, &[1, 2, 3, 4], Some("Nope")));
            assert_eq!(said, "the kernel refused: File exists (EEXIST): Nope");
        }
    }

    #[test]
    fn a_cut_message_is_an_error_and_never_a_panic() {
        let whole = error(NLM_F_ACK_TLVS, -17, &[1, 2, 3, 4], Some("Nope"));
        for cut in 1..whole.len() {
            let message = Messages(&whole[..cut]).next().expect("something");
            assert!(
                matches!(message, Err(KernelError::Malformed(_))),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn the_least_number_is_an_error_like_any_other() {
        let payload = i32::MIN.to_ne_bytes();
        let message = Message {
            kind: NLMSG_ERROR,
            flags: 0,
            sequence: 1,
            port: 0,
            payload: &payload,
        };
        let Ok(Answer::Ack(Err(KernelError::Refused { errno, .. }))) = answer(&message) else {
            panic!("not an error");
        };
        assert_eq!(errno, Code(i32::MAX));
    }
}
