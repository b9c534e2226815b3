//! Lists that come in pages: asked for one after the other, printed as they come.

use std::io::Write;

use serde_json::Value;

use super::{Client, CommandError, Outcome, client::encoded, output::Output};

/// A list of the agent, from its first page to its last.
pub(super) struct Pages {
    path: String,
    limit: u32,
    query: Vec<String>,
}

impl Pages {
    /// The pages of `path` with these parameters (`key=value`, encoded already), `limit` entries
    /// each. Their answers have `next`, which is the `after` of the page that follows.
    pub(super) fn new(path: &str, query: &[String], limit: u32) -> Self {
        Self {
            path: path.to_owned(),
            limit,
            query: query.to_vec(),
        }
    }

    /// Asks for one page after the other; `print` gets the path and the answer.
    pub(super) fn each(
        &self,
        client: &Client,
        mut print: impl FnMut(&str, &Value) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let mut after: Option<String> = None;
        loop {
            let path = self.page(after.as_deref());
            let answer = client.get(&path)?;
            print(&path, &answer)?;
            match answer["next"].as_str() {
                // An agent that repeats itself is not asked for ever.
                Some(next) if after.as_deref() != Some(next) => after = Some(next.to_owned()),
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn page(&self, after: Option<&str>) -> String {
        let mut query = self.query.clone();
        query.push(format!("limit={}", self.limit));
        query.extend(after.map(|after| format!("after={}", encoded(after))));
        format!("{}?{}", self.path, query.join("&"))
    }
}

/// One object with one list, an entry a line, written page by page: what else stood on the first
/// page stands before the list.
pub(super) fn print_json(
    client: &Client,
    out: &mut Output<'_>,
    pages: &Pages,
    list: &str,
) -> Result<Outcome, CommandError> {
    let mut begun = false;
    let mut separator = "\n";
    pages.each(client, |_, answer| {
        if !begun {
            write!(out, "{{")?;
            for (key, value) in answer.as_object().into_iter().flatten() {
                if key != list && key != "next" {
                    writeln!(out, "{}:{value},", Value::from(key.as_str()))?;
                }
            }
            write!(out, "{}:[", Value::from(list))?;
            begun = true;
        }
        for entry in answer[list].as_array().into_iter().flatten() {
            write!(out, "{separator}{entry}")?;
            separator = ",\n";
        }
        Ok(())
    })?;
    writeln!(out, "\n]}}")?;
    Ok(Outcome::Done)
}
