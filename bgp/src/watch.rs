//! BFD for the sessions that want it: what the speaker asks for, and what it is told.

use std::{
    collections::BTreeMap,
    num::NonZeroU8,
    sync::Arc,
    task::{Context, Poll},
};

use mio::Waker;
use wayleave_bgp_core::{BfdReport, ConnId, config::BfdTimers, view::BfdState};

use crate::{
    bfd::{
        self, BfdEvent, BfdHandle, BfdSession, Event, Events, Hops, Interval, SessionId, Timers,
    },
    wake::Woken,
};

/// The thread of BFD, which is started for the first session that wants it, and its sessions.
#[derive(Debug)]
pub(crate) struct Watch {
    woken: Arc<Woken>,
    running: Option<(BfdHandle, Events)>,
    sessions: BTreeMap<SessionId, ConnId>,
}

/// The way to watch.
pub(crate) struct Way<'a> {
    pub(crate) remote: std::net::IpAddr,
    pub(crate) local: std::net::IpAddr,
    /// The interface of a peer one hop away.
    pub(crate) link: Option<&'a str>,
    pub(crate) timers: BfdTimers,
}

impl Watch {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            woken: Woken::new(waker),
            running: None,
            sessions: BTreeMap::new(),
        }
    }

    /// Watches the way of a session; an error is for people.
    pub(crate) fn start(&mut self, conn: ConnId, way: &Way<'_>) -> Result<(), String> {
        let timers = timers(way.timers)?;
        if self.running.is_none() {
            let running = bfd::spawn(bfd::Options::default());
            self.running = Some(running.map_err(|error| error.to_string())?);
            // The first look at the events has somebody woken for the next.
            self.woken.set();
        }
        let Some((handle, _)) = &self.running else {
            return Ok(());
        };
        let session = handle.add(BfdSession {
            local: Some(way.local),
            interface: way.link.map(str::to_owned),
            // Routers send with 64 as well as with 255: over several hops a TTL says little.
            hops: match way.link {
                Some(_) => Hops::Single,
                None => Hops::Multi { least_ttl: 0 },
            },
            timers,
            ..BfdSession::single_hop(way.remote)
        });
        self.sessions.insert(session, conn);
        Ok(())
    }

    /// Goes on as fast as this.
    pub(crate) fn retime(&mut self, conn: ConnId, wanted: BfdTimers) {
        let Some((handle, _)) = &self.running else {
            return;
        };
        // What cannot be is refused where a configuration is read; then nothing changes.
        let Ok(timers) = timers(wanted) else {
            return;
        };
        for (&session, _) in self.sessions.iter().filter(|(_, of)| **of == conn) {
            handle.reconfigure(session, timers);
        }
    }

    /// No longer.
    pub(crate) fn stop(&mut self, conn: ConnId) {
        let Some((handle, _)) = &self.running else {
            return;
        };
        self.sessions.retain(|&session, of| {
            if *of == conn {
                handle.remove(session);
            }
            *of != conn
        });
    }

    /// Calls `each` with what there is to report.
    pub(crate) fn reports(&mut self, mut each: impl FnMut(ConnId, BfdReport)) {
        if !self.woken.take() {
            return;
        }
        let Some((_, events)) = &mut self.running else {
            return;
        };
        let waker = Arc::clone(&self.woken).into();
        let mut cx = Context::from_waker(&waker);
        loop {
            match events.poll_recv(&mut cx) {
                Poll::Ready(Some(event)) => {
                    let (session, report) = report(event);
                    // Those of a session that was ended may have been on their way.
                    if let Some(&conn) = self.sessions.get(&session) {
                        each(conn, report);
                    }
                }
                // That it has ended says nothing about any way.
                Poll::Ready(None) => {
                    for &conn in self.sessions.values() {
                        each(conn, BfdReport::Trouble("its thread has ended".to_owned()));
                    }
                    self.sessions.clear();
                    self.running = None;
                    return;
                }
                Poll::Pending => return,
            }
        }
    }
}

fn report(event: BfdEvent) -> (SessionId, BfdReport) {
    match event {
        BfdEvent::State(event) if event.path_failed() => (event.session, BfdReport::Failed),
        BfdEvent::State(event) => (event.session, BfdReport::State(state(&event))),
        BfdEvent::Trouble { session, what } => (session, BfdReport::Trouble(what)),
        BfdEvent::Healed { session } => (session, BfdReport::Healed),
    }
}

fn state(event: &Event) -> BfdState {
    if event.admin_down() {
        return BfdState::AdminDown;
    }
    match event.state {
        bfd::State::AdminDown => BfdState::AdminDown,
        bfd::State::Down => BfdState::Down,
        bfd::State::Init => BfdState::Init,
        bfd::State::Up => BfdState::Up,
    }
}

fn timers(timers: BfdTimers) -> Result<Timers, String> {
    let interval = Interval::try_from(timers.interval).map_err(|error| error.to_string())?;
    let detect_mult =
        NonZeroU8::new(timers.multiplier).ok_or("a multiplier of 0 would never be satisfied")?;
    Ok(Timers {
        desired_min_tx: interval,
        required_min_rx: interval,
        detect_mult,
    })
}
