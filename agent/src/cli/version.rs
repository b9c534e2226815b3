//! `wayleave version`

use std::io::Write;

use serde_json::{Value, json};

use super::{Client, ClientError, CommandError, Outcome, output::Output};

pub(super) fn exec(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let own = env!("CARGO_PKG_VERSION");
    // The agent's version is worth having and no reason to fail.
    let agent = match client.get("/v1/status") {
        Ok(status) => status["version"].clone(),
        Err(
            ClientError::Unreachable { .. } | ClientError::Refused(_) | ClientError::Answer { .. },
        ) => Value::Null,
    };
    if out.is_json() {
        out.json(&json!({ "wayleave": own, "wayleaved": agent }))?;
    } else {
        writeln!(out, "wayleave {own}")?;
        match agent.as_str() {
            Some(agent) => writeln!(out, "wayleaved {}", crate::text::printable(agent))?,
            None => writeln!(out, "wayleaved is not reachable")?,
        }
    }
    Ok(Outcome::Done)
}
