//! What `policy test` says: rule by rule, then what leaves.

use std::io::Write;

use serde_json::{Value, json};
use wayleave_bgp_core::{
    attributes::Attributes,
    policy::{
        AnyCommunity, Explanation, NextHopChange, Route, RuleExplained, Rules, Session, Source,
        Then, Verdict,
    },
    wire::decode_canonical,
};

use super::{
    super::{
        CommandError,
        output::Output,
        table::{Align, Table},
    },
    input::NOBODY,
};
use crate::text::printable;

pub(super) fn print(
    out: &mut Output<'_>,
    rules: &Rules,
    session: &Session,
    route: &Route<'_>,
    explanation: &Explanation,
) -> Result<(), CommandError> {
    if out.is_json() {
        out.json(&answer(rules, route, explanation))?;
        return Ok(());
    }
    for (index, rule) in explanation.rules.iter().enumerate() {
        print_rule(out, index + 1, rule)?;
    }
    let outcome = &explanation.outcome;
    let by = match outcome
        .rule
        .and_then(|place| explanation.rules.get(place).zip(Some(place)))
    {
        Some((rule, place)) => format!("rule {} ({}) decides", place + 1, printable(&rule.name)),
        None => "no rule decides, so the default stands".to_owned(),
    };
    let prefix = route.prefix;
    match outcome.verdict {
        Verdict::Reject => writeln!(out, "{prefix}: rejected; {by}")?,
        Verdict::Accept => {
            writeln!(out, "{prefix}: accepted; {by}\n")?;
            print_attributes(out, session, route, explanation)?;
        }
    }
    Ok(())
}

fn print_rule(
    out: &mut Output<'_>,
    number: usize,
    rule: &RuleExplained,
) -> Result<(), CommandError> {
    let said = match (rule.asked, rule.applies) {
        (false, _) => "not asked".to_owned(),
        (true, false) => "does not apply".to_owned(),
        (true, true) => match rule.then {
            Then::Accept | Then::Reject => format!("applies: {}", rule.then),
            Then::Next => "applies: on to the next rule".to_owned(),
        },
    };
    writeln!(out, "{number} {}: {said}", printable(&rule.name))?;
    for condition in &rule.conditions {
        let holds = if condition.holds { "yes" } else { "no " };
        let (condition, found) = (printable(&condition.condition), printable(&condition.found));
        writeln!(out, "    {holds}  {condition} ({found})")?;
    }
    if rule.applies {
        for action in &rule.actions {
            writeln!(out, "    does {}", printable(action))?;
        }
    }
    Ok(())
}

fn print_attributes(
    out: &mut Output<'_>,
    session: &Session,
    route: &Route<'_>,
    explanation: &Explanation,
) -> Result<(), CommandError> {
    let before = rows(&decode_canonical(route.set.attributes));
    let after = match &explanation.outcome.changed {
        Some(changed) => rows(&decode_canonical(&changed.attributes)),
        None => before.clone(),
    };
    let next_hops = (
        next_hop_before(route),
        next_hop_after(session, route, explanation),
    );
    let mut table = Table::new([
        ("ATTRIBUTE", Align::Left),
        ("BEFORE", Align::Left),
        ("AFTER", Align::Left),
    ]);
    let hops = [("NEXT_HOP", next_hops.0, next_hops.1)];
    let all = before
        .into_iter()
        .zip(after)
        .map(|((name, before), (_, after))| (name, before, after));
    for (name, before, after) in all.chain(hops) {
        if before.is_empty() && after.is_empty() && name != "AS_PATH" {
            continue;
        }
        let after = if before == after {
            "unchanged".to_owned()
        } else {
            after
        };
        table.row([name.to_owned(), before, after]);
    }
    table.print(out)?;
    Ok(())
}

/// The attributes a policy can change, and the rest as one.
fn rows(attributes: &Attributes) -> Vec<(&'static str, String)> {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let list = |texts: Vec<String>| texts.join(" ");
    let standard = attributes.communities.iter().map(ToString::to_string);
    let large = attributes.large_communities.iter().map(ToString::to_string);
    let extended = attributes.extended_communities.iter();
    let extended = extended.map(|octets| AnyCommunity::Extended(*octets).to_string());
    let origin = serde_json::to_value(attributes.origin).unwrap_or_default();
    vec![
        ("ORIGIN", origin.as_str().unwrap_or_default().to_owned()),
        ("AS_PATH", attributes.as_path_text()),
        ("MED", number(attributes.med)),
        ("LOCAL_PREF", number(attributes.local_pref)),
        ("COMMUNITIES", list(standard.collect())),
        ("EXTENDED", list(extended.collect())),
        ("LARGE", list(large.collect())),
    ]
}

fn next_hop_before(route: &Route<'_>) -> String {
    match route.set.next_hop {
        Some(next_hop) => next_hop.addr.to_string(),
        None if route.set.source == Source::Own => "our own address".to_owned(),
        None => "not given".to_owned(),
    }
}

fn next_hop_after(session: &Session, route: &Route<'_>, explanation: &Explanation) -> String {
    let changed = explanation.outcome.changed.as_ref();
    match changed.map_or(NextHopChange::Usual, |changed| changed.next_hop) {
        NextHopChange::Usual => next_hop_before(route),
        NextHopChange::Own => "our own address".to_owned(),
        NextHopChange::Unchanged => "as received, on external sessions too".to_owned(),
        NextHopChange::Address(addr) if addr == NOBODY && session.address == NOBODY => {
            "the neighbour's address".to_owned()
        }
        NextHopChange::Address(addr) => addr.to_string(),
    }
}

fn answer(rules: &Rules, route: &Route<'_>, explanation: &Explanation) -> Value {
    let outcome = &explanation.outcome;
    let told = explanation.rules.iter().enumerate().map(|(index, rule)| {
        let conditions = rule.conditions.iter().map(|condition| {
            json!({
                "condition": condition.condition,
                "holds": condition.holds,
                "found": condition.found,
            })
        });
        json!({
            "number": index + 1,
            "name": rule.name,
            "asked": rule.asked,
            "applies": rule.applies,
            "conditions": conditions.collect::<Vec<_>>(),
            "actions": rule.actions,
            "then": rule.then.to_string(),
        })
    });
    let decided = outcome.rule.and_then(|place| {
        let rule = explanation.rules.get(place)?;
        Some(json!({ "number": place + 1, "name": rule.name }))
    });
    let before = route.set.attributes;
    let after = outcome
        .changed
        .as_ref()
        .map_or(before, |changed| &changed.attributes);
    let state = |canonical: &[u8], next_hop: Value| json!({ "attributes": decode_canonical(canonical), "next_hop": next_hop });
    let next_hop = json!(route.set.next_hop.map(|next_hop| next_hop.addr));
    let changed = outcome.changed.as_ref().map(|changed| changed.next_hop);
    let turned = match changed.unwrap_or_default() {
        NextHopChange::Usual => next_hop.clone(),
        NextHopChange::Own => json!("self"),
        NextHopChange::Unchanged => json!("unchanged"),
        NextHopChange::Address(addr) if addr == NOBODY => json!("peer"),
        NextHopChange::Address(addr) => json!(addr),
    };
    let after = match outcome.verdict {
        Verdict::Accept => state(after, turned),
        Verdict::Reject => Value::Null,
    };
    json!({
        "policy": rules.name(),
        "prefix": route.prefix,
        "verdict": outcome.verdict.to_string(),
        "decided_by": decided,
        "rules": told.collect::<Vec<_>>(),
        "before": state(before, next_hop),
        "after": after,
    })
}
