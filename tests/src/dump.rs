//! The description of a whole lab, printed when a test has failed and before the lab goes away.

use std::fmt::Write;

use crate::host::Host;
use crate::lab::Lab;

const LOG_LINES: usize = 60;
/// A router with a full table must not bury what matters.
const VIEW_LINES: usize = 150;

/// Describes hosts, containers, routers, agents and the ends of all logs.
pub(crate) fn describe(lab: &Lab) -> String {
    let mut text = String::from("======== the lab as it is ========\n");
    for host in lab.hosts() {
        section(&mut text, &format!("host {}", host.name()), &kernel(&host));
    }
    for container in lab.containers() {
        section(
            &mut text,
            &format!("container {}", container.id()),
            &kernel(container.inside()),
        );
    }
    for (title, shown) in lab.views() {
        section(&mut text, &title, &first_lines(&shown, VIEW_LINES));
    }
    for process in lab.processes() {
        let life = match process.ended() {
            Some(status) => format!("ended with {status}"),
            None => "running".to_owned(),
        };
        let title = format!("log of {} ({life})", process.name());
        section(&mut text, &title, &last_lines(&process.log(), LOG_LINES));
    }
    text.push_str("======== end of the lab ========");
    text
}

fn kernel(host: &Host) -> String {
    ["-br address", "route show", "-6 route show"]
        .iter()
        .map(|words| {
            let answer = host.ip(words).unwrap_or_else(|e| format!("{e}\n"));
            format!("> ip {words}\n{}", first_lines(&answer, VIEW_LINES))
        })
        .collect()
}

fn section(text: &mut String, title: &str, body: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "-------- {title}");
    for line in body.lines() {
        let _ = writeln!(text, "  {line}");
    }
}

fn first_lines(text: &str, limit: usize) -> String {
    let total = text.lines().count();
    let mut shown: String = text
        .lines()
        .take(limit)
        .flat_map(|line| [line, "\n"])
        .collect();
    if total > limit {
        let _ = writeln!(shown, "... and {} more lines", total - limit);
    }
    shown
}

fn last_lines(text: &str, limit: usize) -> String {
    let total = text.lines().count();
    text.lines()
        .skip(total.saturating_sub(limit))
        .flat_map(|line| [line, "\n"])
        .collect()
}
