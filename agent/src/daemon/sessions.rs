//! Sessions that should be up and are not, as problems, and router ids that two routers have.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wayleave_bgp::SpeakerHandle;
use wayleave_bgp_core::view::{PeerView, State};

use crate::{
    api::peers::place,
    config::{Config, Peer},
    problem::{Problem, Problems, Severity},
    text::printable,
};

/// How often sessions are looked at.
const PERIOD: Duration = Duration::from_secs(3);
/// How long a session may take to come up, at the start and after a loss.
const GRACE: Duration = Duration::from_secs(10);
/// How many reasons of one outage are shown.
const REASONS: usize = 3;
/// How the speaker calls OPEN Message Error 2/3.
const REFUSED_IDENTIFIER: &str = "Bad BGP Identifier";
/// What the keys of these problems begin with.
const KEYS: &str = "peer.";

/// Raises and clears the problems of sessions until the speaker is gone.
pub(super) async fn watch(
    speaker: SpeakerHandle,
    config: watch::Receiver<Arc<Config>>,
    problems: Problems,
) {
    let mut down = Down::default();
    loop {
        let Ok(views) = speaker.peers().await else {
            return;
        };
        let config = config.borrow().clone();
        problems.replace(KEYS, down.judge(Instant::now(), &views, &config));
        tokio::time::sleep(PERIOD).await;
    }
}

/// The sessions that should be up and are not.
#[derive(Debug, Default)]
struct Down {
    sessions: BTreeMap<String, Outage>,
}

/// One of them.
#[derive(Clone, Debug)]
struct Outage {
    since: Instant,
    /// What it said, the latest first, none twice: a refusal must not be hidden by the broken
    /// connection that follows from it.
    reasons: Vec<String>,
}

impl Down {
    fn judge(&mut self, now: Instant, views: &[PeerView], config: &Config) -> Vec<Problem> {
        let wanted: BTreeMap<_, _> = config
            .peers
            .iter()
            .filter(|peer| !peer.transport.disabled.value)
            .map(|peer| (peer.name.value.as_str(), peer))
            .collect();
        let mut problems: Vec<_> = views
            .iter()
            .filter_map(|view| same_router_id(view, config))
            .collect();
        problems.extend(views.iter().filter_map(shut_down));
        let mut still = BTreeMap::new();
        let is_wanted = |view: &&PeerView| view.shut_down.is_none();
        let down = views.iter().filter(|view| view.state != State::Established);
        for view in down.filter(is_wanted) {
            let Some(peer) = wanted.get(view.name.as_str()) else {
                continue;
            };
            let mut outage = self.sessions.remove(&view.name).unwrap_or(Outage {
                since: now,
                reasons: Vec::new(),
            });
            outage.note(view.last_error.as_deref());
            if let Some(refusal) = outage.about_router_ids() {
                // Time does not heal it.
                problems.push(router_id_refused(view, peer, refusal, config));
            } else if is_unfound(view) {
                // Who looks for it says why.
            } else if now.saturating_duration_since(outage.since) >= GRACE {
                problems.push(problem(view, peer, &outage));
            }
            still.insert(view.name.clone(), outage);
        }
        self.sessions = still;
        problems
    }
}

impl Outage {
    fn note(&mut self, reason: Option<&str>) {
        let Some(reason) = reason.map(printable) else {
            return;
        };
        self.reasons.retain(|known| *known != reason);
        self.reasons.insert(0, reason);
        self.reasons.truncate(REASONS);
    }
}

impl Outage {
    /// The refusal of an identifier (RFC 4271, 6.2: OPEN Message Error, Bad BGP Identifier), sent or
    /// received, among what the session said.
    fn about_router_ids(&self) -> Option<&str> {
        let mut reasons = self.reasons.iter().map(String::as_str);
        reasons.find(|reason| reason.contains(REFUSED_IDENTIFIER))
    }
}

/// Nobody is known on the link of an unnumbered peer.
fn is_unfound(view: &PeerView) -> bool {
    view.interface.is_some() && view.address.is_unspecified()
}

/// A session that somebody has shut down: no fault, and easily forgotten.
fn shut_down(view: &PeerView) -> Option<Problem> {
    let shut_down = view.shut_down.as_ref()?;
    let said = match &shut_down.communication {
        Some(text) => format!(", with the words {text:?}"),
        None => String::new(),
    };
    Some(Problem {
        key: format!("{KEYS}{}.shut-down", view.name),
        severity: Severity::Warning,
        what: format!("{} ({}) is shut down", view.name, place(view)),
        why: format!("{} has shut it down{said}", shut_down.by),
        fix: format!(
            "`wayleave peers enable {}` when it is to come back",
            view.name
        ),
    })
}

/// A session that cannot open because of the identifiers: within an AS both ends have the same.
fn router_id_refused(view: &PeerView, peer: &Peer, refusal: &str, config: &Config) -> Problem {
    let ours = config.node.router_id.value;
    let is_external = peer.options.asn.value.is_external(config.bgp.asn.value);
    let what = if is_external {
        format!(
            "{} ({}) and this host refuse each other over the router id; ours is {ours}",
            view.name,
            place(view)
        )
    } else {
        format!(
            "{} ({}) has the router id of this host, {ours}, so that no session opens between them",
            view.name,
            place(view)
        )
    };
    Problem {
        key: format!("{KEYS}{}.router-id", view.name),
        severity: Severity::Error,
        what,
        why: format!("no two routers of an AS may have one router id (RFC 6286): {refusal}"),
        fix: format!(
            "set [node] router_id on one of the two to an address that only it has ({})",
            config.node.router_id.origin
        ),
    }
}

/// A neighbour in another AS that has our identifier: allowed (RFC 6286), and never wanted.
fn same_router_id(view: &PeerView, config: &Config) -> Option<Problem> {
    let ours = config.node.router_id.value;
    if view.state != State::Established || view.router_id != Some(ours) {
        return None;
    }
    Some(Problem {
        key: format!("{KEYS}{}.router-id", view.name),
        severity: Severity::Warning,
        what: format!(
            "{} ({}) has the router id of this host, {ours}",
            view.name,
            place(view)
        ),
        why: "that is allowed between ASes (RFC 6286), but once both are seen from a third router it \
              cannot tell their routes apart by it"
            .to_owned(),
        fix: format!(
            "set [node] router_id on one of the two to an address that only it has ({})",
            config.node.router_id.origin
        ),
    })
}

fn problem(view: &PeerView, peer: &Peer, outage: &Outage) -> Problem {
    let passive = peer.transport.passive.value;
    let port = peer.transport.port.value;
    let address = match &view.interface {
        Some(interface) => format!("[{}%{interface}]:{port}", view.address),
        None => std::net::SocketAddr::new(view.address, port).to_string(),
    };
    let why = match (outage.reasons.as_slice(), view.state) {
        ([_, ..], _) => outage.reasons.join("; before that: "),
        ([], State::Active | State::Idle) if passive => {
            "it has not connected, and it is waited for (passive)".to_owned()
        }
        ([], State::Idle | State::Connect | State::Active) => "it does not answer".to_owned(),
        ([], State::OpenSent | State::OpenConfirm) => {
            "it answers, but does not complete the opening".to_owned()
        }
        ([], State::Established) => String::new(),
    };
    let fix = if passive {
        format!(
            "check that {} runs BGP and connects to this host",
            place(view)
        )
    } else {
        format!(
            "check that {address} is reachable and runs BGP, that it has this host as a neighbour, \
             and that the AS numbers agree ({})",
            peer.origin()
        )
    };
    Problem {
        key: format!("{KEYS}{}.down", view.name),
        // Who is waited for may have its reasons; who was to be reached is missing.
        severity: if passive {
            Severity::Warning
        } else {
            Severity::Error
        },
        what: format!(
            "the session with {} ({}) is down ({})",
            view.name,
            place(view),
            state(view.state)
        ),
        why,
        fix,
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Idle => "Idle",
        State::Connect => "Connect",
        State::Active => "Active",
        State::OpenSent => "OpenSent",
        State::OpenConfirm => "OpenConfirm",
        State::Established => "Established",
    }
}

#[cfg(test)]
mod tests {
    use wayleave_bgp_core::{Asn, view::ShutDownView};

    use super::*;
    use crate::config::{HostFacts, Sources, parse};

    fn peers(extra: &str) -> Config {
        configured(&format!("asn = 65100\n{extra}"))
    }

    fn configured(peer: &str) -> Config {
        let text = format!(
            "[node]\nrouter_id = \"192.0.2.1\"\n[bgp]\nasn = 65001\n\
             [[peer]]\nname = \"tor\"\naddress = \"192.0.2.2\"\n{peer}\n"
        );
        let sources = Sources::from_texts([("t.toml", text.as_str())]);
        parse(&sources, &HostFacts::default()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn view(state: State, last_error: Option<&str>) -> PeerView {
        PeerView {
            name: "tor".to_owned(),
            address: "192.0.2.2".parse().unwrap(),
            interface: None,
            asn: Some(Asn(65100)),
            local_asn: Asn(65001),
            session_type: None,
            state,
            state_seconds: 0,
            router_id: None,
            local_address: None,
            hold_time: None,
            established_count: 0,
            last_error: last_error.map(str::to_owned),
            last_error_seconds: None,
            last_error_code: None,
            failures: 0,
            held_back_seconds: None,
            shut_down: None,
            dynamic: false,
            capabilities_sent: Vec::new(),
            capabilities_received: Vec::new(),
            sent: Default::default(),
            received: Default::default(),
            ipv4: None,
            ipv6: None,
            treated_as_withdraw: 0,
            attributes_discarded: 0,
            last_malformed: None,
            bfd: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_session_is_a_problem_once_it_had_time_to_come_up_and_only_while_it_is_down() {
        let (peers, start, mut down) = (peers(""), Instant::now(), Down::default());
        let idle = [view(State::Active, None)];
        assert_eq!(down.judge(start, &idle, &peers), []);
        assert_eq!(down.judge(start + GRACE - PERIOD, &idle, &peers), []);
        let raised = down.judge(start + GRACE, &idle, &peers);
        assert_eq!(raised[0].key, "peer.tor.down");
        assert_eq!(raised[0].severity, Severity::Error);
        let up = [view(State::Established, None)];
        assert_eq!(down.judge(start + GRACE, &up, &peers), []);
        assert_eq!(
            down.judge(start + GRACE, &idle, &peers),
            [],
            "the grace begins again"
        );
    }

    #[test]
    fn the_reason_is_what_the_session_said_last_with_hostile_bytes_escaped() {
        let mut down = Down::default();
        let views = [view(State::Idle, Some("closed: \u{1b}[2J"))];
        let peers = peers("");
        let start = Instant::now();
        down.judge(start, &views, &peers);
        let raised = down.judge(start + GRACE, &views, &peers);
        assert_eq!(raised[0].why, "closed: \\u{1b}[2J");
    }

    #[test]
    fn a_refusal_is_not_hidden_by_the_broken_connection_that_follows() {
        let (peers, start, mut down) = (peers(""), Instant::now(), Down::default());
        for reason in ["refused", "reset", "refused", "reset"] {
            down.judge(start, &[view(State::Active, Some(reason))], &peers);
        }
        let raised = down.judge(start + GRACE, &[view(State::Active, Some("reset"))], &peers);
        assert_eq!(raised[0].why, "reset; before that: refused");
    }

    #[test]
    fn a_router_id_clash_is_an_error_at_once_on_both_sides() {
        // As the speaker says it, whoever sent it.
        let open_error = wayleave_bgp_core::wire::Notification::new(2, 3).to_string();
        for reason in [
            format!("received {open_error}"),
            format!("sent {open_error}"),
        ] {
            for passive in ["", "\npassive = true"] {
                let config = configured(&format!("asn = \"internal\"{passive}"));
                let mut down = Down::default();
                let views = [view(State::Active, Some(&reason))];
                let raised = down.judge(Instant::now(), &views, &config);
                assert_eq!(raised.len(), 1, "{raised:?}");
                assert_eq!(raised[0].key, "peer.tor.router-id");
                assert_eq!(raised[0].severity, Severity::Error);
                assert_eq!(
                    raised[0].what,
                    "tor (192.0.2.2) has the router id of this host, 192.0.2.1, so that no session \
                     opens between them"
                );
            }
        }
    }

    #[test]
    fn a_neighbour_of_another_as_with_our_router_id_is_a_warning_while_its_session_is_up() {
        let (config, mut down) = (peers(""), Down::default());
        let up = PeerView {
            router_id: Some("192.0.2.1".parse().unwrap()),
            ..view(State::Established, None)
        };
        let raised = down.judge(Instant::now(), &[up], &config);
        assert_eq!(raised[0].key, "peer.tor.router-id");
        assert_eq!(raised[0].severity, Severity::Warning);
        let other = PeerView {
            router_id: Some("192.0.2.2".parse().unwrap()),
            ..view(State::Established, None)
        };
        assert_eq!(down.judge(Instant::now(), &[other], &config), []);
    }

    #[test]
    fn a_peer_that_was_shut_down_is_a_warning_that_says_by_whom_and_not_down_besides() {
        let (config, mut down) = (peers(""), Down::default());
        let kept_down = [PeerView {
            shut_down: Some(ShutDownView {
                seconds: 9,
                by: "root".to_owned(),
                communication: Some("moving racks".to_owned()),
            }),
            ..view(State::Idle, Some("sent Cease"))
        }];
        let start = Instant::now();
        down.judge(start, &kept_down, &config);
        let raised = down.judge(start + GRACE, &kept_down, &config);
        assert_eq!(raised.len(), 1, "{raised:?}");
        assert_eq!(raised[0].key, "peer.tor.shut-down");
        assert_eq!(raised[0].severity, Severity::Warning);
        assert_eq!(
            raised[0].why,
            "root has shut it down, with the words \"moving racks\""
        );
        assert_eq!(
            down.judge(start + GRACE, &[view(State::Idle, None)], &config),
            []
        );
    }

    #[test]
    fn a_disabled_peer_is_no_problem_and_a_passive_one_only_a_warning() {
        let start = Instant::now();
        let idle = [view(State::Idle, None)];
        let mut down = Down::default();
        let disabled = peers("disabled = true");
        down.judge(start, &idle, &disabled);
        assert_eq!(down.judge(start + GRACE, &idle, &disabled), []);
        let passive = peers("passive = true");
        down.judge(start, &idle, &passive);
        assert_eq!(
            down.judge(start + GRACE, &idle, &passive)[0].severity,
            Severity::Warning
        );
    }
}
