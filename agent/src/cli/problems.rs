//! `wayleave problems`

use std::io::{self, Write};

use super::{Client, CommandError, Outcome, client::typed, output::Output, table::duration};
use crate::{
    api::problems::{ProblemList, ProblemView},
    problem::Severity,
    text::printable,
};

const PATH: &str = "/v1/problems";

pub(super) fn exec(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let answer = client.get(PATH)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let list: ProblemList = typed(PATH, &answer)?;
    if list.problems.is_empty() {
        writeln!(out, "no problems")?;
    }
    print_problems(&list.problems, out)?;
    Ok(Outcome::Done)
}

/// What is wrong, since when, why, and what to do.
pub(super) fn print_problems(problems: &[ProblemView], out: &mut Output<'_>) -> io::Result<()> {
    for view in problems {
        let problem = &view.problem;
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(
            out,
            "  {severity}: {}  [{}]",
            printable(&problem.what),
            printable(&problem.key)
        )?;
        writeln!(out, "    why    {}", printable(&problem.why))?;
        writeln!(out, "    fix    {}", printable(&problem.fix))?;
        writeln!(
            out,
            "    since  {} ({})",
            view.since,
            duration(view.since_seconds)
        )?;
    }
    Ok(())
}
