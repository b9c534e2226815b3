//! Connections.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::{
    Shared,
    message::{Action, Transport},
    stats::Stats,
};

/// How long a connection may be silent (RFC 7766, section 6.2.3: "a few seconds").
const IDLE: Duration = Duration::from_secs(10);

/// How long one message may take, either way.
const MESSAGE: Duration = Duration::from_secs(5);

/// The connections that are open, by source.
#[derive(Debug)]
pub(super) struct Open {
    counts: Mutex<(usize, HashMap<IpAddr, usize>)>,
    limit: usize,
    limit_each: usize,
}

/// One connection's place; dropping it frees it.
struct Place {
    open: Arc<Open>,
    source: IpAddr,
}

impl Open {
    pub(super) fn new((limit, limit_each): (usize, usize)) -> Self {
        Self {
            counts: Mutex::default(),
            limit,
            limit_each,
        }
    }

    fn take(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let source = Shared::source(source);
        let mut counts = self.counts();
        let (all, by_source) = &mut *counts;
        let each = by_source.get(&source).copied().unwrap_or_default();
        if *all >= self.limit || each >= self.limit_each {
            return None;
        }
        *all += 1;
        by_source.insert(source, each + 1);
        Some(Place {
            open: Arc::clone(self),
            source,
        })
    }

    fn counts(&self) -> MutexGuard<'_, (usize, HashMap<IpAddr, usize>)> {
        // Whole between any two statements that could panic, of which there are none.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        counts.0 -= 1;
        if let Some(each) = counts.1.get_mut(&self.source) {
            *each -= 1;
            if *each == 0 {
                counts.1.remove(&self.source);
            }
        }
    }
}

/// Serves one listener until the task is dropped, and its connections with it.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, open: Arc<Open>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, source)) => match open.take(source.ip()) {
                Some(place) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        let source = source.ip();
                        // Closed, too slow or reset: all the same to the server.
                        let _ = converse(&shared, stream, source).await;
                        drop(place);
                    });
                }
                None => Stats::up(&shared.stats.overloaded),
            },
            Err(error) => {
                // Out of descriptors, mostly: trying again at once would spin.
                tracing::warn!(%error, "the name server cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers the questions of one connection, one after another.
async fn converse(shared: &Shared, mut stream: TcpStream, source: IpAddr) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut reply = Vec::new();
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut request = vec![0; usize::from(length)];
        timeout(MESSAGE, stream.read_exact(&mut request)).await??;
        match shared.answer(source, Transport::Tcp, &request, &mut reply) {
            Action::Drop => return Ok(()),
            Action::Reply => {}
            Action::Forward(forward) => {
                reply = match shared.forwarder.known(&forward, &shared.stats) {
                    Some(known) => known,
                    None => shared.resolve(&forward).await,
                };
            }
        }
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &reply].concat();
        timeout(MESSAGE, stream.write_all(&framed)).await??;
    }
}
