//! One subscription: events go out as fast as the reader takes them. It ends when the speaker is
//! told to, before sessions close: what its reader knew then is what it keeps.

use std::rc::Rc;

use tokio::sync::{Notify, mpsc};
use wayleave_bgp_core::{FeedId, Speaker, Time, feed::FeedEvent};

use crate::driver::Driver;

/// Changes in one event.
const CHANGES: usize = 4_096;

/// How the machine is asked for the next event, which depends on how much it tells of a route.
pub(crate) type Poll<R> = fn(&mut Speaker, Time, FeedId, usize) -> Option<FeedEvent<R>>;

/// Takes an event at once, on the speaker's thread, or gives it back; then it goes through the
/// channel. For a reader who can do what is to be done faster than another thread is woken. The
/// speaker does nothing else meanwhile.
pub type Prompt<R> = Box<dyn FnMut(FeedEvent<R>) -> Option<FeedEvent<R>> + Send>;

pub(crate) async fn run<R>(
    driver: Rc<Driver>,
    id: FeedId,
    wake: Rc<Notify>,
    poll: Poll<R>,
    mut prompt: Option<Prompt<R>>,
    events: mpsc::Sender<FeedEvent<R>>,
) {
    // Room first: what is taken from the speaker is then the latest state.
    while let Ok(room) = events.reserve().await {
        let event = loop {
            if driver.is_stopping() {
                break None;
            }
            let now = driver.now();
            let event = poll(&mut driver.machine.borrow_mut(), now, id, CHANGES);
            if let Some(event) = event {
                let left = match &mut prompt {
                    Some(prompt) => prompt(event),
                    None => Some(event),
                };
                match left {
                    Some(event) => break Some(event),
                    None => continue,
                }
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
