//! `wayleave peers [NAME]`, `wayleave peers show NAME`, and the commands of [`session`](super::session).

use std::io::Write;

use clap::{Args, Subcommand};
use wayleave_bgp_core::view::{
    BfdState, FamilyCounts, MessageCounts, SessionType, ShutDownView, State,
};

use super::{
    Client, CommandError, Outcome,
    client::{encoded, typed},
    output::Output,
    session::SessionCommand,
    table::{Align, Table, count, duration},
};
use crate::{
    api::{
        peers::{PeerList, PeerReport, place},
        sessions::Malformed,
    },
    text::printable,
};

pub(super) const PATH: &str = "/v1/peers";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Peers {
    #[command(subcommand)]
    command: Option<PeersCommand>,
    /// One neighbour in detail, by name or address.
    name: Option<String>,
}

#[derive(Debug, Subcommand)]
enum PeersCommand {
    /// One neighbour in detail, by name or address.
    Show {
        /// Its name or address.
        name: String,
    },
    /// The last messages of a neighbour that were malformed, as they came (RFC 7606).
    Malformed {
        /// Its name or address.
        name: String,
        /// Only the messages, as `wayleave bgp decode` reads them.
        #[arg(long)]
        hex: bool,
    },
    #[command(flatten)]
    Session(SessionCommand),
}

impl Peers {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        match (self.command, self.name) {
            (Some(PeersCommand::Session(command)), _) => command.exec(client, out),
            (Some(PeersCommand::Malformed { name, hex }), _) => malformed(client, out, &name, hex),
            (Some(PeersCommand::Show { name }), _) | (None, Some(name)) => show(client, out, &name),
            (None, None) => list(client, out),
        }
    }
}

/// All sessions, one a line.
pub(super) fn list(client: &Client, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let answer = client.get(PATH)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let list: PeerList = typed(PATH, &answer)?;
    if list.peers.is_empty() {
        writeln!(out, "no peers; add a [[peer]] to the configuration")?;
        return Ok(Outcome::Done);
    }
    let mut columns = vec![
        ("NAME", Align::Left),
        ("ADDRESS", Align::Left),
        ("AS", Align::Right),
        ("STATE", Align::Left),
        ("FOR", Align::Right),
        ("RECEIVED", Align::Right),
        ("ACCEPTED", Align::Right),
        ("TOLD", Align::Right),
    ];
    if out.is_wide() {
        columns.extend([
            ("TYPE", Align::Left),
            ("ROUTER ID", Align::Left),
            ("HOLD", Align::Right),
            ("UPS", Align::Right),
            ("MSGS IN", Align::Right),
            ("MSGS OUT", Align::Right),
        ]);
    }
    columns.push(("LAST DOWN", Align::Left));
    let mut table = Table::new(columns);
    for peer in &list.peers {
        table.row(row(peer, out.is_wide()));
    }
    table.print(out)?;
    Ok(Outcome::Done)
}

fn row(peer: &PeerReport, wide: bool) -> Vec<String> {
    let view = &peer.view;
    let families = || [view.ipv4, view.ipv6].into_iter().flatten();
    let sum = |of: fn(FamilyCounts) -> u32| count(families().map(of).map(u64::from).sum::<u64>());
    let mut row = vec![
        view.name.clone(),
        place(view),
        view.asn.map(|asn| asn.to_string()).unwrap_or_default(),
        state(peer),
        duration(view.state_seconds),
        sum(|family| family.received),
        sum(|family| family.accepted),
        sum(|family| family.advertised),
    ];
    if wide {
        row.extend([
            view.session_type
                .map(session_type)
                .unwrap_or_default()
                .to_owned(),
            view.router_id.map(|id| id.to_string()).unwrap_or_default(),
            view.hold_time
                .map(|time| time.to_string())
                .unwrap_or_default(),
            view.established_count.to_string(),
            count(total(view.received)),
            count(total(view.sent)),
        ]);
    }
    row.push(view.last_error.clone().unwrap_or_default());
    row
}

fn malformed(
    client: &Client,
    out: &mut Output<'_>,
    name: &str,
    hex: bool,
) -> Result<Outcome, CommandError> {
    let path = format!("{PATH}/{}/malformed", encoded(name));
    let answer = client.get(&path)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let malformed: Malformed = typed(&path, &answer)?;
    if hex {
        for message in &malformed.messages {
            writeln!(out, "{}", message.message)?;
        }
        return Ok(Outcome::Done);
    }
    if malformed.messages.is_empty() {
        let peer = printable(&malformed.peer);
        writeln!(
            out,
            "{peer} has sent nothing malformed since wayleaved started"
        )?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(vec![
        ("AGO", Align::Right),
        ("OCTETS", Align::Right),
        ("OUTCOME", Align::Left),
        ("WHAT", Align::Left),
    ]);
    for message in &malformed.messages {
        let outcome = serde_json::to_value(message.outcome).unwrap_or_default();
        table.row(vec![
            duration(message.seconds),
            message.message.0.len().to_string(),
            outcome.as_str().unwrap_or_default().to_owned(),
            message.what.clone(),
        ]);
    }
    table.print(out)?;
    let name = printable(name);
    writeln!(
        out,
        "\n`wayleave peers malformed {name} --hex | wayleave bgp decode` shows what is in them"
    )?;
    Ok(Outcome::Done)
}

fn show(client: &Client, out: &mut Output<'_>, name: &str) -> Result<Outcome, CommandError> {
    let path = format!("{PATH}/{}", encoded(name));
    let answer = client.get(&path)?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let peer: PeerReport = typed(&path, &answer)?;
    print_one(&peer, out)?;
    Ok(Outcome::Done)
}

fn print_one(peer: &PeerReport, out: &mut Output<'_>) -> Result<(), CommandError> {
    let view = &peer.view;
    let asn = view
        .asn
        .map_or_else(|| "any AS".to_owned(), |asn| format!("AS {asn}"));
    writeln!(out, "{} ({}, {asn})", printable(&view.name), place(view))?;
    let mut line = |label: &str, text: String| writeln!(out, "  {label:<13}{}", printable(&text));
    line(
        "state",
        format!(
            "{} for {} (since {})",
            state(peer),
            duration(view.state_seconds),
            peer.since
        ),
    )?;
    if let Some(ShutDownView {
        seconds,
        by,
        communication,
    }) = &view.shut_down
    {
        let said = communication.as_ref();
        let said = said.map_or_else(String::new, |text| format!(", with the words {text:?}"));
        let (ago, name) = (duration(*seconds), &view.name);
        let end = format!("`wayleave peers enable {name}` ends it");
        line("shut down", format!("by {by}, {ago} ago{said}; {end}"))?;
    }
    if let Some(error) = &view.last_error {
        let when = peer
            .last_error_at
            .as_ref()
            .map(|at| format!(" at {at}"))
            .unwrap_or_default();
        line("last down", format!("{error}{when}"))?;
    }
    if let Some(seconds) = view.held_back_seconds {
        line(
            "held back",
            format!(
                "for {} more, after {} failures in a row; `wayleave peers reset` ends it",
                duration(seconds),
                view.failures
            ),
        )?;
    }
    line("established", format!("{} times", view.established_count))?;
    let kind = view
        .session_type
        .map(session_type)
        .unwrap_or("not known yet");
    line("session", format!("{kind}, our AS {}", view.local_asn))?;
    let known = |what: Option<String>| what.unwrap_or_else(|| "not known yet".to_owned());
    line("router id", known(view.router_id.map(|id| id.to_string())))?;
    line(
        "our address",
        known(view.local_address.map(|address| address.to_string())),
    )?;
    line(
        "hold time",
        known(view.hold_time.map(|time| format!("{time} s"))),
    )?;
    if let Some(configured) = &peer.configured {
        line("import", configured.import.to_string().replace('"', ""))?;
        line("export", configured.export.to_string().replace('"', ""))?;
        line("configured", configured.origin.clone())?;
    } else {
        line("configured", "from a range".to_owned())?;
    }
    let list = |list: &[String]| {
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(", ")
        }
    };
    line("we offer", list(&view.capabilities_sent))?;
    line("it offers", list(&view.capabilities_received))?;
    for (family, counts) in [("IPv4", view.ipv4), ("IPv6", view.ipv6)] {
        if let Some(counts) = counts {
            let end = if counts.end_of_rib {
                "complete"
            } else {
                "End-of-RIB not seen"
            };
            line(
                family,
                format!(
                    "{} received, {} accepted, {} told; {end}",
                    count(counts.received),
                    count(counts.accepted),
                    count(counts.advertised)
                ),
            )?;
        }
    }
    if let Some(bfd) = view.bfd {
        line("BFD", bfd_state(bfd).to_owned())?;
    }
    for warning in &view.warnings {
        line("warning", warning.clone())?;
    }
    line("messages in", messages(view.received))?;
    line("messages out", messages(view.sent))?;
    if view.treated_as_withdraw + view.attributes_discarded > 0 {
        line(
            "malformed",
            format!(
                "{} updates treated as withdraw, {} lost an attribute (RFC 7606); last: {}",
                count(view.treated_as_withdraw),
                count(view.attributes_discarded),
                view.last_malformed.as_deref().unwrap_or("not known"),
            ),
        )?;
    }
    Ok(())
}

fn state(peer: &PeerReport) -> String {
    let disabled = peer
        .configured
        .as_ref()
        .is_some_and(|configured| configured.disabled);
    match peer.view.state {
        _ if disabled => "disabled",
        _ if peer.view.shut_down.is_some() => "shut down",
        State::Idle => "Idle",
        State::Connect => "Connect",
        State::Active => "Active",
        State::OpenSent => "OpenSent",
        State::OpenConfirm => "OpenConfirm",
        State::Established => "Established",
    }
    .to_owned()
}

fn bfd_state(state: BfdState) -> &'static str {
    match state {
        BfdState::AdminDown => "switched off at one end",
        BfdState::Down => "Down: the neighbour is not heard (without BFD it never is)",
        BfdState::Init => "Init: the neighbour does not hear us",
        BfdState::Up => "Up",
    }
}

fn session_type(kind: SessionType) -> &'static str {
    match kind {
        SessionType::Ibgp => "iBGP",
        SessionType::Ebgp => "eBGP",
    }
}

fn total(counts: MessageCounts) -> u64 {
    let MessageCounts {
        open,
        update,
        notification,
        keepalive,
        route_refresh,
    } = counts;
    open + update + notification + keepalive + route_refresh
}

fn messages(counts: MessageCounts) -> String {
    format!(
        "{} ({} open, {} update, {} keepalive, {} refresh, {} notification)",
        count(total(counts)),
        count(counts.open),
        count(counts.update),
        count(counts.keepalive),
        count(counts.route_refresh),
        count(counts.notification),
    )
}
