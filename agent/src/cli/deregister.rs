//! `wayleave deregister INSTANCE`

use std::io::Write;

use clap::Args;

use super::{
    Client, CommandError, Outcome,
    client::{encoded, typed},
    output::Output,
};
use crate::api::services::LocalService;

#[derive(Debug, Args)]
pub(super) struct Deregister {
    /// The instance, or the service if it has one instance on this host; `services --local` lists them.
    instance: String,
}

impl Deregister {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        let path = format!("/v1/services/{}", encoded(&self.instance));
        let answer = client.delete(&path)?;
        if out.is_json() {
            out.json(&answer)?;
            return Ok(Outcome::Done);
        }
        let removed: LocalService = typed(&path, &answer)?;
        writeln!(
            out,
            "{} ({}) is deregistered",
            removed.instance, removed.service
        )?;
        Ok(Outcome::Done)
    }
}
