//! `wayleave bgp encode`

use std::io::{self, Read, Write};

use serde_json::Deserializer;
use wayleave_bgp_core::message::{self, Decoded, Hex, Options};

use super::{
    super::{CommandError, Outcome, output::Output},
    place::place,
};
use crate::text::io_reason;

pub(super) fn exec(options: &Options, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let mut octets = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut octets)
        .map_err(|error| {
            CommandError::Usage(format!("cannot read standard input: {}", io_reason(&error)))
        })?;
    let text = String::from_utf8(octets).map_err(|error| {
        let place = error.utf8_error().valid_up_to() + 1;
        CommandError::Usage(format!("the input is not UTF-8: first at octet {place}"))
    })?;
    let wrong = |error: &serde_json::Error| CommandError::Usage(explain(error, &text));
    let mut number = 0;
    let mut put = |message: &Decoded, out: &mut Output<'_>| {
        number += 1;
        let mut octets = Vec::new();
        message::encode(message, options, &mut octets)
            .map_err(|error| CommandError::Usage(format!("message {number}: {error}")))?;
        writeln!(out, "{}", Hex(octets)).map_err(CommandError::from)
    };
    let mut made = || {
        if text.trim_start().starts_with('[') {
            let list: Vec<Decoded> = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
            return list.iter().try_for_each(|message| put(message, out));
        }
        for message in Deserializer::from_str(&text).into_iter() {
            put(&message.map_err(|error| wrong(&error))?, out)?;
        }
        Ok(())
    };
    let made = made();
    out.flush()?;
    made.map(|()| Outcome::Done)
}

/// What is wrong with the JSON, with the line, the column and the field.
fn explain(error: &serde_json::Error, text: &str) -> String {
    let (line, column) = (error.line(), error.column());
    let told = error.to_string();
    // The place is told in front, with the field.
    let what = told
        .rsplit_once(" at line ")
        .map_or(told.as_str(), |(what, _)| what);
    let field = place(text, line, column);
    let field = if field.is_empty() {
        String::new()
    } else {
        format!(", `{field}`")
    };
    format!("line {line}, column {column}{field}: {what}")
}
