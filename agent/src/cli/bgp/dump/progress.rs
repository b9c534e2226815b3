//! How far a dump is.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::api::status::Status;

/// How often it is said.
const PROGRESS: Duration = Duration::from_secs(2);

/// How far it is, for a person at a terminal.
pub(super) struct Progress {
    of: u32,
    next: Option<Instant>,
    told: bool,
}

impl Progress {
    pub(super) fn new(status: &Status) -> Self {
        Self {
            of: status.speaker.ipv4_routes + status.speaker.ipv6_routes,
            next: io::stderr()
                .is_terminal()
                .then(|| Instant::now() + PROGRESS),
            told: false,
        }
    }

    pub(super) fn tell(&mut self, prefixes: u32) {
        let now = Instant::now();
        if self.next.is_some_and(|next| now >= next) {
            self.next = Some(now + PROGRESS);
            self.told = true;
            let of = self.of;
            let _ = write!(io::stderr(), "\r{prefixes} of about {of} prefixes");
        }
    }

    pub(super) fn end(&self) {
        if self.told {
            let _ = writeln!(io::stderr());
        }
    }
}
