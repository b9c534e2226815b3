//! The finite state machine of one peer (RFC 4271, 8), both connections of a collision in it.
//!
//! The RFC describes one machine per connection. Here a peer has at most two *links*, one it
//! opened and one we opened, each with the states from OpenSent on; Idle, Connect and Active are
//! the peer's. Deviations, with reasons:
//!
//! - A transport that closes does not lead to Idle but to Active, so that a neighbour that
//!   restarts is let in at once; so does "Hold Timer Expired" on a session that was up. IdleHoldTime
//!   (8.1.1) follows the other NOTIFICATIONs, and sessions that come and go: see [`loss`].
//! - A second connection that the peer opens replaces its first one, unless that is Established: it
//!   has given it up, whether we have heard of that or not.
//! - The hold timer restarts with every message, not with UPDATE and KEEPALIVE alone.
//! - The neighbour's OPEN is waited for a minute, not the four that 8.2.2 suggests.
//! - A collision is resolved as soon as one OPEN has been read, whether the other link is in
//!   OpenSent or OpenConfirm: both sides know both identifiers then (6.8 allows it). But one on which
//!   the peer has been silent while it speaks on the other is dead, and does not win: what the peer
//!   says there may be lost on the way (TTL security, a firewall).

mod effect;
mod loss;
mod negotiate;
mod timers;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

pub use self::effect::{ConnId, Down};
pub(crate) use self::{
    effect::{Effect, Effects},
    negotiate::{Identity, Negotiated, OurRestart, PeerRestart},
};
use self::{
    negotiate::{negotiate, our_open},
    timers::{FORGOTTEN_AFTER, Jitter, KEEPALIVE_LEAST, OPEN_HOLD, OPEN_OVERDUE, QUICK_RETRY},
};
use crate::{
    config::PeerConfig,
    types::Time,
    view::{ErrorCode, State},
    wire::{Cease, FsmError, MessageKind, Notification, Open},
};

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    We,
    Peer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Connecting,
    /// The transport is there, and the peer may speak first (DelayOpen, 8.1.1).
    Delayed,
    OpenSent,
    OpenConfirm,
    Established,
}

/// One connection to the peer.
#[derive(Debug)]
struct Link {
    conn: ConnId,
    side: Side,
    phase: Phase,
    /// DelayOpenTimer.
    delay: Option<Time>,
    hold: Option<Time>,
    keepalive: Option<Time>,
    negotiated: Option<Box<Negotiated>>,
    since: Time,
    /// When the transport last took something of ours.
    wrote: Time,
}

impl Link {
    fn new(conn: ConnId, side: Side, now: Time) -> Self {
        Self {
            conn,
            side,
            phase: Phase::Connecting,
            delay: None,
            hold: None,
            keepalive: None,
            negotiated: None,
            since: now,
            wrote: now,
        }
    }

    /// A reason that ends the session for good, as it has to be said where other reasons do not
    /// (RFC 8538, 3.1).
    fn hard(&self, why: Notification) -> Notification {
        match &self.negotiated {
            Some(agreed)
                if agreed.notification && (agreed.holds_ours || agreed.restart.is_some()) =>
            {
                Notification::hard_reset(&why)
            }
            Some(_) | None => why,
        }
    }

    /// What the peer said of its restarts.
    fn restart(&self) -> Option<PeerRestart> {
        self.negotiated.as_ref()?.restart
    }

    /// The SendHoldTimer (RFC 9687): as KEEPALIVEs are due all the time, a transport that takes
    /// nothing for so long leads to a peer that reads nothing. Without KEEPALIVEs there is none.
    fn send_hold(&self, config: &PeerConfig) -> Option<Time> {
        let negotiated = self.negotiated.as_ref()?;
        if self.phase != Phase::Established || negotiated.hold_time == 0 {
            return None;
        }
        Some(self.wrote + config.send_hold_time.max(negotiated.hold() * 2))
    }
}

/// What a peer does when it has no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Switched off.
    Stopped,
    /// IdleHoldTimer: refuses connections until then.
    IdleHold(Time),
    /// ConnectRetryTimer: tries at this time, and lets the peer connect meanwhile.
    Retry(Time),
    /// Waits for the peer, without end.
    Passive,
}

/// The machine of one peer.
#[derive(Debug)]
pub(crate) struct Session {
    config: PeerConfig,
    /// Where the peer is. That of an unnumbered one is not known before it is found.
    remote: Option<IpAddr>,
    identity: Identity,
    /// What our OPENs say of our own restarts.
    our_restart: OurRestart,
    links: Vec<Link>,
    rest: Rest,
    /// ConnectRetryCounter: what counts against the peer, without a stable session since.
    failures: u32,
    /// The peer cannot read capabilities (2/4): it gets an OPEN without them (RFC 5492, 3).
    bare: bool,
    jitter: Jitter,
    last_open: Option<Open>,
    last_down: Option<(Down, Time)>,
    /// Why the last connection could not be opened, if that was later.
    last_try: Option<Down>,
    /// The last of these, until somebody has been told.
    news: Option<Down>,
}

impl Session {
    pub(crate) fn new(config: PeerConfig, identity: Identity, seed: u64) -> Self {
        Self {
            remote: (!config.is_unnumbered()).then_some(config.address),
            config,
            identity,
            our_restart: OurRestart::default(),
            links: Vec::new(),
            rest: Rest::Stopped,
            failures: 0,
            bare: false,
            jitter: Jitter::new(seed),
            last_open: None,
            last_down: None,
            last_try: None,
            news: None,
        }
    }

    /// What has ended a session, or why none came about for another reason than the last time, since this
    /// was last asked.
    pub(crate) fn take_news(&mut self) -> Option<Down> {
        self.news.take()
    }

    /// Remembers what has ended a session, or what was said instead of one.
    fn ended(&mut self, now: Time, down: Down) {
        self.news = Some(down.clone());
        self.last_down = Some((down, now));
    }

    /// Remembers why there is no session.
    fn failed(&mut self, down: Down) {
        if self.last_try.as_ref() != Some(&down) {
            self.news = Some(down.clone());
        }
        self.last_try = Some(down);
    }

    pub(crate) fn config(&self) -> &PeerConfig {
        &self.config
    }

    /// Where the peer is, if that is known.
    pub(crate) fn remote(&self) -> Option<IpAddr> {
        self.remote
    }

    /// An unnumbered peer was found. Whoever waited for that begins. While the session is up nobody else
    /// is the peer.
    pub(crate) fn found(&mut self, now: Time, remote: IpAddr, fx: &mut Effects) {
        if self.established().is_some() {
            return;
        }
        let before = self.remote.replace(remote);
        if before.is_none() && self.rest == Rest::Passive && self.links.is_empty() {
            self.connect(now, fx);
        }
    }

    /// Where the peer is that there is a session with.
    pub(crate) fn is_at(&mut self, remote: IpAddr) {
        self.remote = Some(remote);
    }

    /// Whether the peer is only waited for.
    fn is_passive(&self) -> bool {
        self.config.passive || self.remote.is_none()
    }

    /// What the OPENs to come say of our own restarts.
    pub(crate) fn set_restart(&mut self, restart: OurRestart) {
        self.our_restart = restart;
    }

    /// Takes settings that differ only in what an open session does not depend on.
    pub(crate) fn set_config(&mut self, config: PeerConfig) {
        self.config = config;
    }

    pub(crate) fn state(&self) -> State {
        let delayed_by = |side: Side| {
            let mut links = self.links.iter();
            links.any(|link| link.phase == Phase::Delayed && link.side == side)
        };
        match self.links.iter().map(|link| link.phase).max() {
            // Who waits for the other's OPEN stays in the state the transport came up in.
            Some(Phase::Delayed) if !delayed_by(Side::We) => State::Active,
            Some(Phase::Delayed) => State::Connect,
            Some(Phase::Established) => State::Established,
            Some(Phase::OpenConfirm) => State::OpenConfirm,
            Some(Phase::OpenSent) => State::OpenSent,
            Some(Phase::Connecting) => State::Connect,
            None => match self.rest {
                Rest::Stopped | Rest::IdleHold(_) => State::Idle,
                Rest::Retry(_) | Rest::Passive => State::Active,
            },
        }
    }

    /// The connection of the Established session with what was agreed.
    pub(crate) fn established(&self) -> Option<(ConnId, &Negotiated)> {
        let link = self
            .links
            .iter()
            .find(|link| link.phase == Phase::Established)?;
        Some((link.conn, link.negotiated.as_deref()?))
    }

    /// Whether there is no connection at all.
    pub(crate) fn is_alone(&self) -> bool {
        self.links.is_empty()
    }

    /// The NOTIFICATION by which the session was last lost, if it was.
    pub(crate) fn last_code(&self) -> Option<ErrorCode> {
        let (sent, said) = match &self.last_down.as_ref()?.0 {
            Down::Sent(said) => (true, said),
            Down::Received(said) => (false, said),
            Down::Closed(_) | Down::Unreachable(_) => return None,
        };
        Some(ErrorCode {
            sent,
            code: said.code,
            subcode: said.subcode,
        })
    }

    /// ConnectRetryCounter.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when connections are neither made nor taken (IdleHoldTimer).
    pub(crate) fn held_back(&self) -> Option<Time> {
        match self.rest {
            Rest::IdleHold(until) => Some(until),
            Rest::Stopped | Rest::Retry(_) | Rest::Passive => None,
        }
    }

    /// Whether there is no connection, and nothing in its past that the next one is judged by.
    pub(crate) fn is_forgettable(&self, now: Time) -> bool {
        let past = |&(_, at): &(Down, Time)| now.since(at) >= FORGOTTEN_AFTER;
        self.links.is_empty()
            && self.held_back().is_none()
            && (self.failures == 0 || self.last_down.as_ref().is_none_or(past))
    }

    /// Whether somebody has switched it off.
    pub(crate) fn is_stopped(&self) -> bool {
        self.rest == Rest::Stopped
    }

    /// The OPEN of the session that is up, or the last one that was heard.
    pub(crate) fn last_open(&self) -> Option<&Open> {
        self.last_open.as_ref()
    }

    /// Why the session was last lost, in words, with why it has not come back; and when.
    pub(crate) fn last_error(&self) -> Option<(String, Option<Time>)> {
        match (&self.last_down, &self.last_try) {
            (Some((down, at)), Some(since)) => {
                Some((format!("{down}; since then: {since}"), Some(*at)))
            }
            (Some((down, at)), None) => Some((down.to_string(), Some(*at))),
            (None, Some(since)) => Some((since.to_string(), None)),
            (None, None) => None,
        }
    }

    /// The OPEN we send.
    pub(crate) fn our_open(&self) -> Open {
        our_open(self.identity, &self.config, self.our_restart, self.bare)
    }

    /// ManualStart (event 1).
    pub(crate) fn start(&mut self, now: Time, fx: &mut Effects) {
        if self.rest == Rest::Stopped && self.links.is_empty() && !self.config.disabled {
            self.forgive();
            self.rest = Rest::Passive;
            self.connect(now, fx);
        }
    }

    /// ManualStop (event 2).
    pub(crate) fn stop(&mut self, now: Time, why: &Notification, fx: &mut Effects) {
        self.rest = Rest::Stopped;
        self.drop_all(now, why, fx);
    }

    /// Ends for a restart. A neighbour that holds our routes meanwhile takes a transport that ends as
    /// one (RFC 4724, 4.2), and a NOTIFICATION only where both have said so (RFC 8538, 4).
    pub(crate) fn depart(&mut self, now: Time, fx: &mut Effects) {
        self.rest = Rest::Stopped;
        for link in std::mem::take(&mut self.links) {
            let up = link.phase == Phase::Established;
            if up {
                fx.push(Effect::Down(link.conn, None));
            }
            let agreed = link.negotiated.as_deref().filter(|_| up);
            let (holds, reads) = agreed.map_or((false, false), |agreed| {
                (agreed.holds_ours, agreed.notification)
            });
            // Of one that has only begun it is not known, and the neighbour may hold our routes since the
            // last time.
            let asks = self.config.graceful_restart
                && (self.our_restart.time > 0 || self.our_restart.long_lived > 0);
            let why = match (holds, reads) {
                (true, false) => None,
                (false, _) if asks && !up => None,
                (true, true) => Some(Notification::cease(Cease::AdministrativeReset, None)),
                (false, _) => {
                    let why = Notification::cease(Cease::AdministrativeShutdown, None);
                    Some(link.hard(why))
                }
            };
            let why = why.filter(|_| link.phase >= Phase::OpenSent);
            if let Some(why) = &why {
                self.ended(now, Down::Sent(why.clone()));
            }
            fx.push(Effect::Close(link.conn, why));
        }
    }

    /// Closes the session and starts again (`peers reset`).
    pub(crate) fn reset(&mut self, now: Time, why: &Notification, fx: &mut Effects) {
        if self.rest == Rest::Stopped {
            return;
        }
        self.drop_all(now, why, fx);
        self.forgive();
        self.rest = Rest::Passive;
        self.retry_after(now, QUICK_RETRY);
    }

    fn drop_all(&mut self, now: Time, why: &Notification, fx: &mut Effects) {
        for link in std::mem::take(&mut self.links) {
            let told = link.phase >= Phase::OpenSent;
            // Somebody wants it to be over: no neighbour is to hold our routes for that.
            let said = link.hard(why.clone());
            if link.phase == Phase::Established {
                fx.push(Effect::Down(link.conn, None));
            }
            if told {
                self.ended(now, Down::Sent(why.clone()));
            }
            fx.push(Effect::Close(link.conn, told.then_some(said)));
        }
    }

    fn connect(&mut self, now: Time, fx: &mut Effects) {
        if self.is_passive() {
            self.rest = Rest::Passive;
            return;
        }
        let conn = fx.next_conn();
        self.retry_after(now, self.config.connect_retry);
        self.links.push(Link::new(conn, Side::We, now));
        fx.push(Effect::Connect(conn));
    }

    fn retry_after(&mut self, now: Time, wait: Duration) {
        if !self.is_passive() {
            self.rest = Rest::Retry(now + self.jitter.apply(wait));
        }
    }

    /// Our connection is open (events 16, 17).
    pub(crate) fn connected(&mut self, now: Time, conn: ConnId, fx: &mut Effects) {
        let Some(at) = self.position(conn) else {
            fx.push(Effect::Close(conn, None));
            return;
        };
        self.transport_is_up(now, at, fx);
    }

    /// The peer opened a connection; whether it is let in.
    pub(crate) fn accepted(&mut self, now: Time, fx: &mut Effects) -> Option<ConnId> {
        if matches!(self.rest, Rest::Stopped | Rest::IdleHold(_)) {
            return None;
        }
        // The peer has given its earlier connection up, whether we have heard of it or not.
        let earlier = self
            .links
            .iter()
            .position(|link| link.side == Side::Peer && link.phase < Phase::Established);
        if let Some(at) = earlier {
            let link = self.links.remove(at);
            fx.push(Effect::Close(link.conn, None));
        }
        let conn = fx.next_conn();
        self.links.push(Link::new(conn, Side::Peer, now));
        let at = self.links.len() - 1;
        self.transport_is_up(now, at, fx);
        Some(conn)
    }

    /// An OPEN goes out at once, or when DelayOpenTime is over.
    fn transport_is_up(&mut self, now: Time, at: usize, fx: &mut Effects) {
        if self.config.delay_open.is_zero() {
            return self.send_open(now, at, fx);
        }
        let link = &mut self.links[at];
        link.phase = Phase::Delayed;
        link.since = now;
        link.delay = Some(now + self.config.delay_open);
        if link.side == Side::Peer {
            // Nothing was asked of the peer yet; the connection has to be known all the same.
            fx.push(Effect::Taken(link.conn));
        }
    }

    fn send_open(&mut self, now: Time, at: usize, fx: &mut Effects) {
        let mut bytes = Vec::new();
        self.our_open().encode(&mut bytes);
        let link = &mut self.links[at];
        link.phase = Phase::OpenSent;
        link.delay = None;
        link.since = now;
        link.hold = Some(now + OPEN_HOLD);
        fx.push(Effect::Send(link.conn, bytes));
    }

    /// The transport failed or ended (event 18).
    pub(crate) fn closed(&mut self, now: Time, conn: ConnId, why: &str, fx: &mut Effects) {
        let Some(at) = self.position(conn) else {
            return;
        };
        let why = why.to_owned();
        let down = if self.links[at].phase == Phase::Connecting {
            Down::Unreachable(why)
        } else {
            Down::Closed(why)
        };
        self.lose(now, at, down, None, fx);
    }

    /// The way that a connection goes is broken: whatever the peer does, its routes lead nowhere.
    pub(crate) fn way_lost(&mut self, now: Time, conn: ConnId, why: &str, fx: &mut Effects) {
        if let Some(at) = self.position(conn) {
            if let Some(negotiated) = &mut self.links[at].negotiated {
                negotiated.restart = None;
                negotiated.notification = false;
            }
            self.closed(now, conn, why, fx);
        }
    }

    /// A message other than UPDATE and ROUTE-REFRESH, or one of these outside Established.
    pub(crate) fn message(
        &mut self,
        now: Time,
        conn: ConnId,
        kind: MessageKind,
        body: &[u8],
        fx: &mut Effects,
    ) {
        let Some(at) = self.position(conn) else {
            return;
        };
        match (self.links[at].phase, kind) {
            (_, MessageKind::Notification) => {
                let down = Down::Received(Notification::decode(body));
                self.lose(now, at, down, None, fx);
            }
            // Events 19 and 20.
            (Phase::Delayed | Phase::OpenSent, MessageKind::Open) => self.open(now, at, body, fx),
            (Phase::OpenConfirm, MessageKind::Keepalive) => self.establish(now, at, fx),
            (Phase::Established, MessageKind::Keepalive) => {}
            (
                phase,
                MessageKind::Open
                | MessageKind::Update
                | MessageKind::Keepalive
                | MessageKind::RouteRefresh,
            ) => {
                // RFC 6608: what came when.
                let error = match phase {
                    Phase::Connecting | Phase::Delayed => FsmError::Unspecific,
                    Phase::OpenSent => FsmError::UnexpectedInOpenSent,
                    Phase::OpenConfirm => FsmError::UnexpectedInOpenConfirm,
                    Phase::Established => FsmError::UnexpectedInEstablished,
                };
                let notification = Notification::fsm_error(error).with_data(vec![kind as u8]);
                self.fault(now, conn, notification, fx);
            }
        }
    }

    /// Something arrived: the peer lives (RFC 4271, 8.2.2: UPDATE and KEEPALIVE restart the hold
    /// timer).
    pub(crate) fn heard(&mut self, now: Time, conn: ConnId) {
        if let Some(at) = self.position(conn) {
            let link = &mut self.links[at];
            if link.phase >= Phase::OpenConfirm
                && let Some(negotiated) = &link.negotiated
                && negotiated.hold_time != 0
            {
                link.hold = Some(now + negotiated.hold());
            }
        }
    }

    /// The transport took something of ours.
    pub(crate) fn wrote(&mut self, now: Time, conn: ConnId) {
        if let Some(at) = self.position(conn) {
            self.links[at].wrote = now;
        }
    }

    /// Ends a connection for a fault of the peer.
    pub(crate) fn fault(
        &mut self,
        now: Time,
        conn: ConnId,
        notification: Notification,
        fx: &mut Effects,
    ) {
        if let Some(at) = self.position(conn) {
            self.lose(
                now,
                at,
                Down::Sent(notification.clone()),
                Some(notification),
                fx,
            );
        }
    }

    fn open(&mut self, now: Time, at: usize, body: &[u8], fx: &mut Effects) {
        let conn = self.links[at].conn;
        let judged = Open::decode(body).and_then(|open| {
            let negotiated = negotiate(
                self.identity,
                &self.config,
                self.our_restart,
                &open,
                self.bare,
            )?;
            Ok((open, negotiated))
        });
        let (open, negotiated) = match judged {
            Ok(judged) => judged,
            Err(notification) => return self.fault(now, conn, notification, fx),
        };
        let peer_is_higher = (open.router_id.to_u32(), open.asn)
            > (
                self.identity.router_id.to_u32(),
                self.config.shown_as(self.identity.asn),
            );
        if self.links[at].phase == Phase::Delayed {
            self.send_open(now, at, fx);
        }
        let restarts = open
            .capabilities
            .graceful_restart
            .as_ref()
            .is_some_and(|restart| restart.restarting);
        if !self.survives_collision(now, at, peer_is_higher, restarts, fx) {
            return;
        }
        // That of a connection that has lost says nothing about the session.
        self.last_open = Some(open);
        let Some(at) = self.position(conn) else {
            return;
        };
        let link = &mut self.links[at];
        link.phase = Phase::OpenConfirm;
        link.since = now;
        link.hold = (negotiated.hold_time != 0).then(|| now + negotiated.hold());
        link.keepalive = negotiated
            .keepalive()
            .map(|time| now + self.jitter.apply(time).max(KEEPALIVE_LEAST));
        link.negotiated = Some(Box::new(negotiated));
        fx.push(Effect::Keepalive(conn));
    }

    /// RFC 4271, 6.8 (with RFC 6286, 2.3 for equal identifiers). Whether the link at `at`, whose
    /// OPEN has just been read, lives on.
    fn survives_collision(
        &mut self,
        now: Time,
        at: usize,
        peer_is_higher: bool,
        restarts: bool,
        fx: &mut Effects,
    ) -> bool {
        let Some(other) = (0..self.links.len())
            .find(|&other| other != at && self.links[other].phase >= Phase::OpenSent)
        else {
            return true;
        };
        // A peer that restarts calls before we know that it went: its old session "MUST be closed, and
        // the new one retained", and nothing is said on the old one (RFC 4724, 4.2). An attempt of its
        // own that came through late is no restart.
        let calls = self.links[at].side == Side::Peer;
        let anew = restarts || now.since(self.links[other].since) >= OPEN_OVERDUE;
        if self.links[other].phase == Phase::Established
            && calls
            && anew
            && let Some(restart) = self.links[other].restart()
        {
            let link = self.links.remove(other);
            fx.push(Effect::Down(link.conn, Some(restart)));
            fx.push(Effect::Close(link.conn, None));
            let why = "the peer has restarted and opened another connection".to_owned();
            self.ended(now, Down::Closed(why));
            return true;
        }
        let favoured = if peer_is_higher { Side::Peer } else { Side::We };
        let rival = &self.links[other];
        let loser = if rival.phase == Phase::OpenSent && now.since(rival.since) >= OPEN_OVERDUE {
            other
        } else if rival.phase == Phase::Established || self.links[at].side != favoured {
            at
        } else {
            other
        };
        let link = self.links.remove(loser);
        fx.push(Effect::Close(
            link.conn,
            Some(Notification::cease(Cease::CollisionResolution, None)),
        ));
        loser != at
    }

    fn establish(&mut self, now: Time, at: usize, fx: &mut Effects) {
        let link = &mut self.links[at];
        link.phase = Phase::Established;
        link.since = now;
        link.wrote = now;
        let conn = link.conn;
        let negotiated = link.negotiated.clone();
        // A connection that has not come through, or on which nothing was said, is not needed any
        // more.
        self.links.retain(|link| {
            let kept = link.conn == conn || link.phase >= Phase::OpenSent;
            if !kept {
                fx.push(Effect::Close(link.conn, None));
            }
            kept
        });
        self.last_try = None;
        if let Some(negotiated) = negotiated {
            fx.push(Effect::Up(conn, negotiated));
        }
    }

    /// The next deadline and the timer it belongs to.
    pub(crate) fn deadline(&self) -> Option<(Time, &'static str)> {
        let rest = match self.rest {
            Rest::IdleHold(at) => Some((at, "IdleHoldTimer")),
            Rest::Retry(at) if self.retries() => Some((at, "ConnectRetryTimer")),
            Rest::Stopped | Rest::Passive | Rest::Retry(_) => None,
        };
        let of_links = self.links.iter().flat_map(|link| {
            let hold = link.hold.map(|at| (at, "HoldTimer"));
            let send_hold = link.send_hold(&self.config);
            let delay = link.delay.map(|at| (at, "DelayOpenTimer"));
            hold.into_iter()
                .chain(delay)
                .chain(link.keepalive.map(|at| (at, "KeepaliveTimer")))
                .chain(send_hold.map(|at| (at, "SendHoldTimer")))
        });
        rest.into_iter().chain(of_links).min()
    }

    /// Whether the retry timer means anything: no connection beyond TCP is there.
    fn retries(&self) -> bool {
        self.links
            .iter()
            .all(|link| link.phase == Phase::Connecting)
    }

    /// Acts on every deadline up to `now`.
    pub(crate) fn timeout(&mut self, now: Time, fx: &mut Effects) {
        for at in (0..self.links.len()).rev() {
            // A link that is lost may take another one along.
            let Some(link) = self.links.get_mut(at) else {
                continue;
            };
            let overdue = |due: Option<Time>| due.is_some_and(|due| due <= now);
            let notification = if overdue(link.hold) {
                Some(Notification::hold_timer_expired())
            } else if overdue(link.send_hold(&self.config)) {
                Some(Notification::send_hold_timer_expired())
            } else {
                None
            };
            if let Some(notification) = notification {
                self.lose(
                    now,
                    at,
                    Down::Sent(notification.clone()),
                    Some(notification),
                    fx,
                );
                continue;
            }
            if overdue(link.delay) {
                // Event 12.
                self.send_open(now, at, fx);
                continue;
            }
            if link.keepalive.is_some_and(|due| due <= now)
                && let Some(time) = link.negotiated.as_ref().and_then(|open| open.keepalive())
            {
                link.keepalive = Some(now + self.jitter.apply(time).max(KEEPALIVE_LEAST));
                fx.push(Effect::Keepalive(link.conn));
            }
        }
        match self.rest {
            Rest::IdleHold(due) if due <= now => {
                self.rest = Rest::Passive;
                self.connect(now, fx);
            }
            Rest::Retry(due) if due <= now && self.retries() => {
                for link in std::mem::take(&mut self.links) {
                    let unsigned = match self.config.password {
                        Some(_) => {
                            "; with a password the neighbour needs the same one, and says \
                                    nothing if it has another"
                        }
                        None => "",
                    };
                    let why = format!("no answer within the connect retry time{unsigned}");
                    self.failed(Down::Unreachable(why));
                    fx.push(Effect::Close(link.conn, None));
                }
                self.connect(now, fx);
            }
            Rest::Stopped | Rest::Passive | Rest::IdleHold(_) | Rest::Retry(_) => {}
        }
    }

    fn position(&self, conn: ConnId) -> Option<usize> {
        self.links.iter().position(|link| link.conn == conn)
    }
}
