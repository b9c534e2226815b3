//! `wayleave drain|undrain INSTANCE`, `wayleave maint on|off INSTANCE`

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Client, CommandError, Outcome,
    client::{encoded, typed},
    output::Output,
    services::wanted,
};
use crate::{api::services::LocalService, text::printable};

#[derive(Debug, Args)]
pub(super) struct Drain {
    /// The instance, or the service if it has one instance on this host.
    instance: String,
}

#[derive(Debug, Args)]
pub(super) struct Undrain {
    /// The instance, or the service if it has one instance on this host.
    instance: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Maint {
    /// Takes it out of every answer until `maint off`.
    On {
        /// The instance, or the service if it has one instance on this host.
        instance: String,
        /// Why, for whoever finds it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Takes it back in.
    Off {
        /// The instance, or the service if it has one instance on this host.
        instance: String,
    },
}

impl Drain {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        set(client, out, &self.instance, "drain", None)
    }
}

impl Undrain {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        set(client, out, &self.instance, "undrain", None)
    }
}

impl Maint {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        match self {
            Self::On { instance, reason } => {
                let body = reason.map(|reason| json!({ "reason": reason }));
                set(client, out, &instance, "maintenance", body.as_ref())
            }
            Self::Off { instance } => set(client, out, &instance, "undrain", None),
        }
    }
}

fn set(
    client: &Client,
    out: &mut Output<'_>,
    instance: &str,
    verb: &str,
    body: Option<&Value>,
) -> Result<Outcome, CommandError> {
    let path = format!("/v1/services/{}/{verb}", encoded(instance));
    let answer = client.post(&path, body)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let now: LocalService = typed(&path, &answer)?;
    let wanted = match wanted(&now.admin) {
        wanted if wanted.is_empty() => "in service".to_owned(),
        wanted if wanted.starts_with("maintenance") => format!("in {wanted}"),
        wanted => wanted,
    };
    writeln!(out, "{} is {}", now.instance, printable(&wanted))?;
    for address in &now.addresses {
        let announced = address.announced.map_or_else(
            || "not announced".to_owned(),
            |state| format!("announced as {state}"),
        );
        writeln!(out, "  {}  {announced}", address.address)?;
    }
    Ok(Outcome::Done)
}
