//! Interfaces that go down, told to the speaker: the sessions on them are lost, and need not wait for
//! their hold timers.

use std::collections::BTreeSet;

use wayleave_bgp::SpeakerHandle;
use wayleave_netlink::{Event, Group, KernelError, Monitor, Object};

/// Tells the speaker of every interface that loses its carrier, is set down or is deleted, as long as
/// the kernel tells us.
pub(super) async fn watch(speaker: SpeakerHandle) {
    // Hold timers and BFD do the same, later.
    if let Err(error) = follow(&speaker).await {
        tracing::warn!(%error, "cannot hear of interfaces that go down: sessions on them end later");
    }
}

async fn follow(speaker: &SpeakerHandle) -> Result<(), KernelError> {
    let mut monitor = Monitor::open(&[Group::Links])?;
    let mut readiness = monitor.readiness()?;
    let mut down = Down::default();
    let mut events = Vec::new();
    loop {
        while monitor.read(&mut events)? {}
        for event in events.drain(..) {
            if let Some(interface) = down.note(event) {
                speaker.link_down(interface);
            }
        }
        readiness.changed().await?;
    }
}

/// The interfaces that are known to be down.
#[derive(Debug, Default)]
struct Down(BTreeSet<u32>);

impl Down {
    /// The interface that has gone down with this event.
    fn note(&mut self, event: Event) -> Option<String> {
        let (link, runs) = match event {
            Event::New(Object::Link(link)) => {
                let runs = link.up && link.running;
                (link, runs)
            }
            Event::Gone(Object::Link(link)) => {
                self.0.remove(&link.ifindex);
                return Some(link.name);
            }
            // What was missed is found out by the hold timers, and what is known is so no longer: to
            // be told again that an interface is down does no harm.
            Event::Overrun => {
                self.0.clear();
                return None;
            }
            Event::New(_) | Event::Gone(_) | Event::Replaced(_) | Event::Dropped(_) => return None,
        };
        if runs {
            self.0.remove(&link.ifindex);
            return None;
        }
        self.0.insert(link.ifindex).then_some(link.name)
    }
}

#[cfg(test)]
mod tests {
    use wayleave_netlink::Link;

    use super::*;

    fn link(up: bool, running: bool) -> Link {
        Link {
            ifindex: 7,
            name: "eth0".to_owned(),
            kind: None,
            up,
            running,
            carrier: running,
            loopback: false,
            mtu: 1_500,
            mac: None,
            master: None,
            peer: None,
            peer_netns: None,
            group: 0,
        }
    }

    #[test]
    fn an_interface_goes_down_once_until_it_runs_again() {
        let mut down = Down::default();
        let mut note = |event| down.note(event).is_some();
        let new = |up, running| Event::New(Object::Link(Box::new(link(up, running))));
        assert!(!note(new(true, true)));
        assert!(note(new(true, false)), "no carrier");
        assert!(!note(new(false, false)), "it was down already");
        assert!(!note(new(true, true)));
        assert!(note(new(false, false)), "set down");
        assert!(note(Event::Gone(Object::Link(Box::new(link(
            false, false
        ))))));
        assert!(!note(Event::Overrun));
    }
}
