//! Waking one task of this thread.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Context, Poll, Waker},
};

/// Says to one task that there is something to do; said often before the task runs, it is heard
/// once. No lock and no list of waiters: nothing here leaves its thread, and every change that
/// passes through the speaker waits for it.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    given: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Signal {
    /// Wakes the task that waits, or lets the next that would wait go on.
    pub(crate) fn give(&self) {
        if !self.given.replace(true)
            && let Some(waker) = &*self.waiting.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Ready once for what was given since the last time.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.given.take() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        match &mut *waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waiting = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for it.
    pub(crate) async fn given(&self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}
