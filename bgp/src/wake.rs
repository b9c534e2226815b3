//! Ending the wait of the speaker's thread from another one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

use mio::Waker;

/// Remembers for what the thread was woken. As a [`Wake`] it stands in a future or a channel that
/// the thread looks at again then.
#[derive(Debug)]
pub(crate) struct Woken {
    woken: AtomicBool,
    waker: Arc<Waker>,
}

impl Woken {
    pub(crate) fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(false),
            waker,
        })
    }

    /// There is something to look at, as far as this thread knows itself.
    pub(crate) fn set(&self) {
        self.woken.store(true, Ordering::Release);
    }

    /// Whether there is, since the last time.
    pub(crate) fn take(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
        // It fails only when the speaker's end of it is broken, and then nobody waits.
        let _ = self.waker.wake();
    }
}
