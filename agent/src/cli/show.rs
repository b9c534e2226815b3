//! `wayleave show bgp summary [json]` and its kin, for fingers trained on other routers.

use clap::Args;

use super::{Client, CommandError, Outcome, output::Output, peers, status};

#[derive(Debug, Args)]
pub(super) struct Show {
    /// `bgp summary [json]`, `bgp neighbors [json]` or `status [json]`.
    #[arg(required = true, value_name = "WORDS")]
    words: Vec<String>,
}

impl Show {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        let mut words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        if words.last() == Some(&"json") {
            words.pop();
            out.set_json();
        }
        match words.as_slice() {
            ["bgp", "summary" | "neighbors"]
            | ["ip", "bgp"]
            | ["ip", "bgp", "summary" | "neighbors"]
            | ["protocols"] => peers::list(client, out),
            ["status"] => status::exec(client, out),
            _ => Err(CommandError::Usage(format!(
                "`show {}` is not known; `show bgp summary` is, and `wayleave help` lists the rest",
                self.words.join(" ")
            ))),
        }
    }
}
