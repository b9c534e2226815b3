//! `wayleave reload`

use std::io::Write;

use super::{Client, CommandError, Outcome, client::typed, config::print_delta, output::Output};
use crate::{event::Applied, text::printable};

const PATH: &str = "/v1/config/reload";

pub(super) fn exec(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let answer = client.post(PATH, None)?;
    let applied: Applied = typed(PATH, &answer)?;
    let outcome = match applied.wrong.as_slice() {
        [] => Outcome::Done,
        _ => Outcome::Degraded,
    };
    if out.is_json() {
        out.json(&answer)?;
        return Ok(outcome);
    }
    print_delta(&applied.delta, out)?;
    for action in &applied.actions {
        writeln!(out, "done: {}", printable(action))?;
    }
    for file in &applied.wrong {
        writeln!(out, "wrong: {}", printable(file))?;
    }
    Ok(outcome)
}
