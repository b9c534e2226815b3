//! The configurations in docs/interop.md, as they stand there but for the addresses of the cable.

use wayleave_lab::{End, Host, Lab, Why, ensure};

use crate::interop::daemon::{Daemon, is_ipv6};
use crate::interop::ours::{CONVERGED, heard};

const DOCUMENT: &str = include_str!("../../../../docs/interop.md");
const THEIRS: [&str; 2] = ["198.51.100.0/24", "2001:db8:100::/48"];
const OURS: [&str; 2] = ["203.0.113.0/24", "2001:db8:200::/48"];

pub(crate) fn comes_up<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let (far, us) = (lab.host("far")?, lab.host("us")?);
    let link = lab.link(&far, &us)?;
    let ends = [&link.b, &link.a];
    let daemon = D::run(lab, &far, &block(D::HEADING, 0, &ends)?)?;
    afterwards::<D>(&far, D::HEADING, &ends)?;
    let agent = block("The agent", 0, &ends)?;
    // A speaker alone: the networks of the daemon lead nowhere.
    let agent = lab.agent(&us, &format!("{agent}\n[fib]\ninstall = false\n"))?;
    lab.until(CONVERGED, "routes to cross both ways", || {
        for prefix in THEIRS {
            let (peer, hop) = match is_ipv6(prefix) {
                true => ("ipv6", link.a.v6.to_string()),
                false => ("ipv4", link.a.v4.to_string()),
            };
            let route = heard(&agent, peer, prefix)?;
            ensure!(route.next_hop == hop, "{prefix}: {route:?}");
        }
        for prefix in OURS {
            let hop = match is_ipv6(prefix) {
                true => link.b.v6.to_string(),
                false => link.b.v4.to_string(),
            };
            let route = daemon.best(prefix)?;
            ensure!(route.next_hop == hop, "{prefix}: {route:?}");
        }
        Ok(())
    })?;
    Ok(())
}

/// Runs the commands of the second block below a heading, if the daemon needs any.
pub(crate) fn afterwards<D: Daemon>(far: &Host, heading: &str, ends: &[&End]) -> Result<(), Why> {
    if D::AFTERWARDS.is_empty() {
        return Ok(());
    }
    for command in block(heading, 1, ends)?.lines() {
        let words: Vec<&str> = command.split_whitespace().collect();
        ensure!(words.first() == Some(&D::AFTERWARDS), "{command}");
        far.run(words)?;
    }
    Ok(())
}

/// A block of code below a heading, with the addresses of these ends in the place of 192.0.2.1,
/// 192.0.2.2 and so on.
pub(crate) fn block(heading: &str, n: usize, ends: &[&End]) -> Result<String, Why> {
    let title = format!("\n### {heading}\n");
    let (_, section) = DOCUMENT
        .split_once(&title)
        .ok_or_else(|| format!("docs/interop.md has no section {heading}"))?;
    let section = section.split("\n### ").next().unwrap_or(section);
    // Every second piece lies between fences, behind the name of its language.
    let code = section.split("```").skip(1).step_by(2).nth(n);
    let (_, code) = code
        .and_then(|code| code.split_once('\n'))
        .ok_or_else(|| format!("{heading} has no block {n}"))?;
    let mut code = code.to_owned();
    for (n, end) in (1..).zip(ends) {
        code = code
            .replace(&format!("192.0.2.{n}"), &end.v4.to_string())
            .replace(&format!("2001:db8::{n}"), &end.v6.to_string());
    }
    Ok(code)
}
