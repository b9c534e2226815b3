//! `wayleave peers reset|shutdown|enable|refresh NAME`

use std::io::Write;

use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::{Value, json, to_value};
use wayleave_bgp_core::Family;

use super::{
    Client, CommandError, Outcome,
    client::{encoded, typed},
    output::Output,
    peers::PATH,
    route_pages::FamilyName,
};
use crate::{
    api::sessions::{Closed, Enabled, RefreshDirection, Refreshed},
    text::printable,
};

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Closes a session; it is opened again.
    Reset(Close),
    /// Closes a session and keeps it closed, over reloads too, until `peers enable` or a restart of
    /// wayleaved.
    Shutdown(Close),
    /// Lets a neighbour that was shut down have a session again.
    Enable {
        /// Its name or address.
        name: String,
    },
    /// Has routes told again; the session stays.
    Refresh(Refresh),
}

#[derive(Debug, Args)]
pub(super) struct Close {
    /// Its name or address.
    name: String,
    /// A text for the neighbour's operator, at most 255 bytes (RFC 9003).
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Refresh {
    /// Its name or address.
    name: String,
    /// What the neighbour tells us: it is asked for that (RFC 2918). So it is when nothing is said.
    #[arg(long = "in", conflicts_with = "out")]
    inbound: bool,
    /// What we tell the neighbour.
    #[arg(long)]
    out: bool,
    /// Only this family.
    #[arg(long, value_enum)]
    family: Option<FamilyName>,
}

impl SessionCommand {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        match self {
            Self::Reset(close) => close.exec(client, out, "reset", |peer| {
                format!("the session with {peer} was closed and is opened again")
            }),
            Self::Shutdown(close) => close.exec(client, out, "shutdown", |peer| {
                format!(
                    "the session with {peer} is shut down until `wayleave peers enable {peer}`, or until \
                     wayleaved starts again"
                )
            }),
            Self::Enable { name } => post(client, out, &name, "enable", None, |done: &Enabled| {
                let peer = &done.peer;
                let done_now = match done.was_shut_down {
                    true => format!("{peer} may have a session again"),
                    false => format!("{peer} was not shut down"),
                };
                match &done.disabled_at {
                    Some(place) => format!("{done_now}; it is switched off by `disabled` at {place}"),
                    None => done_now,
                }
            }),
            Self::Refresh(refresh) => refresh.exec(client, out),
        }
    }
}

impl Close {
    fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
        verb: &str,
        words: impl Fn(&str) -> String,
    ) -> Result<Outcome, CommandError> {
        let body = self.message.map(|text| json!({ "communication": text }));
        let words = |done: &Closed| words(&done.peer);
        post(client, out, &self.name, verb, body, words)
    }
}

impl Refresh {
    fn exec(self, client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
        let direction = match self.out {
            true => RefreshDirection::Out,
            false => RefreshDirection::In,
        };
        let family = self.family.map(Family::from);
        // Serialising these types cannot fail.
        let body = json!({
            "direction": to_value(direction).unwrap_or_default(),
            "family": to_value(family).unwrap_or_default(),
        });
        post(
            client,
            out,
            &self.name,
            "refresh",
            Some(body),
            |done: &Refreshed| {
                let families = done.families.iter().map(Family::to_string);
                let families = families.collect::<Vec<_>>().join(" and ");
                match done.direction {
                    RefreshDirection::In => {
                        format!("{} is asked for its {families} routes again", done.peer)
                    }
                    RefreshDirection::Out => {
                        format!("{} is told all {families} routes again", done.peer)
                    }
                }
            },
        )
    }
}

fn post<T: DeserializeOwned>(
    client: &Client,
    out: &mut Output<'_>,
    name: &str,
    verb: &str,
    body: Option<Value>,
    words: impl Fn(&T) -> String,
) -> Result<Outcome, CommandError> {
    let path = format!("{PATH}/{}/{verb}", encoded(name));
    let answer = client.post(&path, body.as_ref())?;
    if out.is_json() {
        out.json(&answer)?;
    } else {
        let done: T = typed(&path, &answer)?;
        writeln!(out, "{}", printable(&words(&done)))?;
    }
    Ok(Outcome::Done)
}
