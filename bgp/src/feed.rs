//! One subscription: events go out as fast as the reader takes them. It ends when the speaker is
//! told to, before sessions close: what its reader knew then is what it keeps.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use wayleave_bgp_core::{FeedId, Speaker, Time, feed::FeedEvent};

use crate::wake::Woken;

/// Changes in one event.
const CHANGES: usize = 4_096;

/// How the machine is asked for the next event, which depends on how much it tells of a route.
pub(crate) type Ask<R> = fn(&mut Speaker, Time, FeedId, usize) -> Option<FeedEvent<R>>;

/// Takes an event at once, on the speaker's thread, or gives it back; then it goes through the
/// channel. For a reader who can do what is to be done faster than another thread is woken. The
/// speaker does nothing else meanwhile.
pub type Prompt<R> = Box<dyn FnMut(FeedEvent<R>) -> Option<FeedEvent<R>> + Send>;

/// A subscription of some kind.
pub(crate) trait Subscription {
    /// Its number in the machine.
    fn id(&self) -> FeedId;

    /// Whether it takes changes at once.
    fn is_prompt(&self) -> bool;

    /// Hands over what there is and fits; whether there is still somebody who reads.
    fn advance(&mut self, machine: &mut Speaker, now: Time) -> bool;
}

/// A subscription whose reader is told `R` of a route.
pub(crate) struct Feed<R> {
    id: FeedId,
    ask: Ask<R>,
    prompt: Option<Prompt<R>>,
    events: mpsc::Sender<FeedEvent<R>>,
    /// The reader lags: this is ready when there is room again.
    room: Option<Pin<Box<Room>>>,
    wake: Arc<Woken>,
}

type Room = dyn Future<Output = ()> + Send;

impl<R: Send + 'static> Feed<R> {
    pub(crate) fn new(
        id: FeedId,
        ask: Ask<R>,
        prompt: Option<Prompt<R>>,
        events: mpsc::Sender<FeedEvent<R>>,
        waker: Arc<mio::Waker>,
    ) -> Self {
        let wake = Woken::new(waker);
        Self {
            id,
            ask,
            prompt,
            events,
            room: None,
            wake,
        }
    }

    /// Whether the reader still lags.
    fn lags(&mut self) -> bool {
        let Some(room) = &mut self.room else {
            return false;
        };
        if !self.wake.take() {
            return true;
        }
        let waker = Arc::clone(&self.wake).into();
        let lags = room.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending;
        if !lags {
            self.room = None;
        }
        lags
    }

    fn wait_for_room(&mut self) {
        let events = self.events.clone();
        // Whether there is room or no reader is found out by the next one who wants to send.
        self.room = Some(Box::pin(async move { drop(events.reserve().await) }));
        self.wake.set();
    }
}

impl<R: Send + 'static> Subscription for Feed<R> {
    fn id(&self) -> FeedId {
        self.id
    }

    fn is_prompt(&self) -> bool {
        self.prompt.is_some()
    }

    fn advance(&mut self, machine: &mut Speaker, now: Time) -> bool {
        while !self.lags() {
            if self.events.is_closed() {
                return false;
            }
            // Room first: what is taken from the speaker is then the latest state.
            if self.events.capacity() == 0 {
                self.wait_for_room();
                continue;
            }
            let Some(event) = (self.ask)(machine, now, self.id, CHANGES) else {
                break;
            };
            let left = match &mut self.prompt {
                Some(prompt) => prompt(event),
                None => Some(event),
            };
            // Nobody else sends, so that there still is room; and a reader who has just left needs
            // nothing.
            if left.is_some_and(|event| self.events.try_send(event).is_err()) {
                return false;
            }
        }
        true
    }
}
