//! One subscription: events go out as fast as the reader takes them. It ends when the speaker is
//! told to, before sessions close: what its reader knew then is what it keeps.

use std::rc::Rc;

use tokio::sync::{Notify, mpsc};
use wayleave_bgp_core::{FeedId, feed::FeedEvent};

use crate::driver::Driver;

/// Changes in one event.
const CHANGES: usize = 4_096;

pub(crate) async fn run(
    driver: Rc<Driver>,
    id: FeedId,
    wake: Rc<Notify>,
    events: mpsc::Sender<FeedEvent>,
) {
    // Room first: what is taken from the speaker is then the latest state.
    while let Ok(room) = events.reserve().await {
        let event = loop {
            if driver.is_stopping() {
                break None;
            }
            let now = driver.now();
            let event = driver.machine.borrow_mut().poll_feed(now, id, CHANGES);
            if let Some(event) = event {
                break Some(event);
            }
            tokio::select! {
                () = wake.notified() => {}
                () = events.closed() => break None,
            }
        };
        match event {
            Some(event) => room.send(event),
            None => break,
        }
    }
    driver.drop_feed(id, &wake);
}
