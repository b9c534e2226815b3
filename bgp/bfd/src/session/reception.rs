//! What a packet does to its session (RFC 5880, 6.8.6, from "Set bfd.RemoteDiscr" on).

use crate::{
    packet::{Diagnostic, Packet, State},
    session::{Out, Remote, Session},
    time::Time,
};

impl Session {
    /// A packet that no check has discarded.
    pub(crate) fn received(&mut self, now: Time, packet: &Packet, out: &mut Out<'_>) {
        self.counts.received += 1;
        self.remote = Remote {
            state: packet.state,
            diagnostic: packet.diagnostic,
            discriminator: packet.my_discriminator.get(),
            min_rx: packet.required_min_rx,
            demand: packet.demand,
            desired_min_tx: packet.desired_min_tx,
            detect_mult: Some(packet.detect_mult),
            independent: packet.control_plane_independent,
        };
        // In AdminDown too: what is known of the remote system has to be kept for a detection time
        // after the last packet "regardless of the session state" (6.8.1).
        self.heard = Some(now);
        self.poll.heard(packet.final_);
        // The transmit interval and the detection time are computed whenever they are asked for.
        self.take_effect();
        if self.state == State::AdminDown {
            return;
        }
        if let Some((state, why)) = transition(self.state, packet.state) {
            self.enter(now, state, why.unwrap_or(self.diagnostic));
        }
        if packet.poll {
            // "As soon as practicable", whatever the timers say; nor do they take note of it.
            self.send(
                Packet {
                    final_: true,
                    ..self.contents()
                },
                out,
            );
        }
    }
}

/// The state machine: where a received state leads from a state of ours, and the diagnostic if
/// there is one to set.
pub(super) fn transition(state: State, received: State) -> Option<(State, Option<Diagnostic>)> {
    use State::{AdminDown, Down, Init, Up};
    match (state, received) {
        (Init | Up, AdminDown) => Some((Down, Some(Diagnostic::NEIGHBOR_DOWN))),
        (Down, Down) => Some((Init, None)),
        (Down, Init) | (Init, Init | Up) => Some((Up, Some(Diagnostic::NONE))),
        (Up, Down) => Some((Down, Some(Diagnostic::NEIGHBOR_DOWN))),
        (AdminDown, _) | (Down, Up | AdminDown) | (Init, Down) | (Up, Init | Up) => None,
    }
}
