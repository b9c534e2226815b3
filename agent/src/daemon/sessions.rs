//! Sessions that should be up and are not, as problems.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wayleave_bgp::SpeakerHandle;
use wayleave_bgp_core::view::{PeerView, State};

use crate::{
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
        problems.replace(KEYS, down.judge(Instant::now(), &views, &config.peers));
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
    fn judge(&mut self, now: Instant, views: &[PeerView], peers: &[Peer]) -> Vec<Problem> {
        let wanted: BTreeMap<_, _> = peers
            .iter()
            .filter(|peer| !peer.transport.disabled.value)
            .map(|peer| (peer.name.value.as_str(), peer))
            .collect();
        let mut problems = Vec::new();
        let mut still = BTreeMap::new();
        for view in views.iter().filter(|view| view.state != State::Established) {
            let Some(peer) = wanted.get(view.name.as_str()) else {
                continue;
            };
            let mut outage = self.sessions.remove(&view.name).unwrap_or(Outage {
                since: now,
                reasons: Vec::new(),
            });
            outage.note(view.last_error.as_deref());
            if now.saturating_duration_since(outage.since) >= GRACE {
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

fn problem(view: &PeerView, peer: &Peer, outage: &Outage) -> Problem {
    let passive = peer.transport.passive.value;
    let port = peer.transport.port.value;
    let address = std::net::SocketAddr::new(view.address, port);
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
            view.address
        )
    } else {
        format!(
            "check that {address} is reachable and runs BGP, that it has this host as a neighbour, \
             and that the AS numbers agree ({})",
            peer.transport.address.origin
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
            view.address,
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
    use wayleave_bgp_core::Asn;

    use super::*;
    use crate::config::{HostFacts, Sources, parse};

    fn peers(extra: &str) -> Vec<Peer> {
        let text = format!(
            "[node]\nrouter_id = \"192.0.2.1\"\n[bgp]\nasn = 65001\n\
             [[peer]]\nname = \"tor\"\naddress = \"192.0.2.2\"\nasn = 65100\n{extra}\n"
        );
        let sources = Sources::from_texts([("t.toml", text.as_str())]);
        parse(&sources, &HostFacts::default())
            .unwrap_or_else(|errors| panic!("{errors}"))
            .peers
    }

    fn view(state: State, last_error: Option<&str>) -> PeerView {
        PeerView {
            name: "tor".to_owned(),
            address: "192.0.2.2".parse().unwrap(),
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
            capabilities_sent: Vec::new(),
            capabilities_received: Vec::new(),
            sent: Default::default(),
            received: Default::default(),
            ipv4: None,
            ipv6: None,
            treated_as_withdraw: 0,
            attributes_discarded: 0,
            last_malformed: None,
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
        for reason in ["bad BGP identifier", "reset", "bad BGP identifier", "reset"] {
            down.judge(start, &[view(State::Active, Some(reason))], &peers);
        }
        let raised = down.judge(start + GRACE, &[view(State::Active, Some("reset"))], &peers);
        assert_eq!(raised[0].why, "reset; before that: bad BGP identifier");
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
