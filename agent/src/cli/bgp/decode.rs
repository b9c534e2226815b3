//! `wayleave bgp decode`

use std::io::{self, BufRead, Write};

use wayleave_bgp_core::message::{self, HexStream, Options};

use super::super::{CommandError, Outcome, output::Output};
use crate::text::io_reason;

pub(super) fn exec(options: Options, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let mut input = io::stdin().lock();
    let mut stream = HexStream::new(options);
    let mut outcome = Outcome::Done;
    loop {
        let text = match input.fill_buf() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let what = format!("cannot read standard input: {}", io_reason(&error));
                return Err(CommandError::Usage(what));
            }
        };
        let len = text.len();
        let read = stream.push(text);
        if len == 0 {
            stream.end();
        }
        for message in stream.by_ref() {
            if message.verdict != message::Outcome::Ok {
                outcome = Outcome::Degraded;
            }
            serde_json::to_writer(&mut *out, &message).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        // Before an error is told, and before more input is waited for.
        out.flush()?;
        read.map_err(usage)?;
        if len == 0 {
            stream.rest().map_err(usage)?;
            return Ok(outcome);
        }
        input.consume(len);
    }
}

fn usage(error: message::InputError) -> CommandError {
    CommandError::Usage(error.to_string())
}
