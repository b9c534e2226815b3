//! How others talk to the speaker's thread.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use mio::Waker;
use tokio::sync::{mpsc, oneshot};
use wayleave_bgp_core::{
    Family, Prefix, QueryError, RefreshRefused,
    config::SpeakerConfig,
    feed::{FeedEvent, Forwarding, Origination},
    news::MalformedMessage,
    view::{PeerView, RoutePage, RouteQuery, SpeakerView},
};

use crate::{feed::Prompt, start::StartError};

/// The speaker's thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the BGP speaker has stopped")]
pub struct Gone;

/// How to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The process will be back at once: peers that know graceful restart hold our routes meanwhile.
    Restart,
    /// An operator's decision; peers are told the text (RFC 9003).
    Administrative(String),
}

/// Which table of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What it tells us.
    In,
    /// What we tell it.
    Out,
}

/// What the thread is asked to do.
pub(crate) enum Command {
    Speaker(oneshot::Sender<SpeakerView>),
    Peers(oneshot::Sender<Vec<PeerView>>),
    Routes(RouteQuery, oneshot::Sender<Result<RoutePage, QueryError>>),
    Malformed(String, oneshot::Sender<Option<Vec<MalformedMessage>>>),
    Reset(String, Option<String>, oneshot::Sender<bool>),
    ShutDown(String, String, Option<String>, oneshot::Sender<bool>),
    Enable(String, oneshot::Sender<bool>),
    Refresh(
        String,
        Direction,
        Option<Family>,
        oneshot::Sender<Result<Vec<Family>, RefreshRefused>>,
    ),
    Originate(Vec<Origination>),
    Withdraw(u8, Vec<Prefix>),
    OwnRoutesAreComplete,
    NeighborIs(String, Ipv6Addr),
    LinkDown(String),
    TrackNextHops(mpsc::UnboundedSender<Vec<(IpAddr, bool)>>),
    Reachable(Vec<(IpAddr, bool)>),
    Reconfigure(
        Box<SpeakerConfig>,
        oneshot::Sender<Result<Vec<String>, StartError>>,
    ),
    Subscribe(mpsc::Sender<FeedEvent>),
    SubscribeForwarding(
        Option<Prompt<Forwarding>>,
        mpsc::Sender<FeedEvent<Forwarding>>,
    ),
    Shutdown(Shutdown, oneshot::Sender<()>),
}

/// A handle to a running speaker; cheap to clone. The thread ends when told to, or when the last
/// handle is gone.
#[derive(Clone, Debug)]
pub struct SpeakerHandle {
    line: Arc<Line>,
}

/// The way to the thread. What it is made of is dropped in this order: the thread is woken when there
/// is nothing left to say.
struct Line {
    // Unbounded: those who send are the agent's own owners, each of which keeps at most the state
    // it wants on the way, and the API, which waits for every answer.
    commands: std::sync::mpsc::Sender<Command>,
    wake: Wake,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

struct Wake(Arc<Waker>);

impl Wake {
    fn wake(&self) {
        // It fails only when the thread's end of it is broken, and then nobody waits.
        let _ = self.0.wake();
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.wake();
    }
}

impl SpeakerHandle {
    pub(crate) fn new(commands: std::sync::mpsc::Sender<Command>, waker: Arc<Waker>) -> Self {
        let wake = Wake(waker);
        let line = Arc::new(Line { commands, wake });
        Self { line }
    }

    fn send(&self, command: Command) -> Result<(), Gone> {
        self.line.commands.send(command).map_err(|_| Gone)?;
        self.line.wake.wake();
        Ok(())
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        self.send(command(answer))?;
        answered.await.map_err(|_| Gone)
    }

    /// The speaker as a whole.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the thread has ended, as for all of these.
    pub async fn speaker(&self) -> Result<SpeakerView, Gone> {
        self.ask(Command::Speaker).await
    }

    /// All peers.
    ///
    /// # Errors
    ///
    /// [`Gone`].
    pub async fn peers(&self) -> Result<Vec<PeerView>, Gone> {
        self.ask(Command::Peers).await
    }

    /// One page of routes.
    ///
    /// # Errors
    ///
    /// [`Gone`]; inside, [`QueryError`] when the question makes no sense.
    pub async fn routes(&self, query: RouteQuery) -> Result<Result<RoutePage, QueryError>, Gone> {
        self.ask(|answer| Command::Routes(query, answer)).await
    }

    /// The last messages of a peer that were malformed, latest first; `None`: there is no such peer.
    ///
    /// # Errors
    ///
    /// [`Gone`].
    pub async fn malformed(&self, peer: &str) -> Result<Option<Vec<MalformedMessage>>, Gone> {
        self.ask(|answer| Command::Malformed(peer.to_owned(), answer))
            .await
    }

    /// Closes the session of a peer and opens it again; whether there is such a peer.
    ///
    /// # Errors
    ///
    /// [`Gone`].
    pub async fn reset(&self, peer: &str, communication: Option<String>) -> Result<bool, Gone> {
        self.ask(|answer| Command::Reset(peer.to_owned(), communication, answer))
            .await
    }

    /// Closes the session of a peer, with this text for its operator (RFC 9003), and keeps it closed until
    /// [`enable`](Self::enable). `by`: who wants that, in words. Whether there is such a peer.
    ///
    /// # Errors
    ///
    /// [`Gone`].
    pub async fn shut_down(
        &self,
        peer: &str,
        by: String,
        communication: Option<String>,
    ) -> Result<bool, Gone> {
        self.ask(|answer| Command::ShutDown(peer.to_owned(), by, communication, answer))
            .await
    }

    /// Lets a peer that was shut down have sessions again; whether it was.
    ///
    /// # Errors
    ///
    /// [`Gone`].
    pub async fn enable(&self, peer: &str) -> Result<bool, Gone> {
        self.ask(|answer| Command::Enable(peer.to_owned(), answer))
            .await
    }

    /// Has a table told again, of one family or of all that are exchanged with the peer; which these are.
    ///
    /// # Errors
    ///
    /// [`Gone`]; inside, [`RefreshRefused`] when that cannot be.
    pub async fn refresh(
        &self,
        peer: &str,
        direction: Direction,
        family: Option<Family>,
    ) -> Result<Result<Vec<Family>, RefreshRefused>, Gone> {
        self.ask(|answer| Command::Refresh(peer.to_owned(), direction, family, answer))
            .await
    }

    /// Originates routes, or replaces what was originated for their prefixes with their rank.
    pub fn originate(&self, routes: Vec<Origination>) {
        // A speaker that has stopped originates nothing; its end is reported elsewhere.
        let _ = self.send(Command::Originate(routes));
    }

    /// Everything this speaker originates has been said: after a restart it waits for that
    /// ([`SpeakerConfig::awaits_own_routes`]).
    pub fn own_routes_are_complete(&self) {
        let _ = self.send(Command::OwnRoutesAreComplete);
    }

    /// Takes routes of our own with this rank back.
    pub fn withdraw(&self, rank: u8, prefixes: Vec<Prefix>) {
        let _ = self.send(Command::Withdraw(rank, prefixes));
    }

    /// The neighbour on the link of an interface has this link-local address: an unnumbered peer is
    /// there. To say it again does no harm.
    pub fn neighbor_is(&self, interface: String, address: Ipv6Addr) {
        let _ = self.send(Command::NeighborIs(interface, address));
    }

    /// Next hops as they come into use (`true`) and out of it; those that are in use come first. Whoever
    /// asks finds out whether they can be reached ([`reachable`](Self::reachable)).
    pub fn track_next_hops(&self) -> mpsc::UnboundedReceiver<Vec<(IpAddr, bool)>> {
        let (news, receiver) = mpsc::unbounded_channel();
        let _ = self.send(Command::TrackNextHops(news));
        receiver
    }

    /// Whether these next hops can be reached. As long as nobody says so, all can be.
    pub fn reachable(&self, next_hops: Vec<(IpAddr, bool)>) {
        let _ = self.send(Command::Reachable(next_hops));
    }

    /// An interface cannot pass packets any more: sessions with external neighbours on its link are
    /// lost at once.
    pub fn link_down(&self, interface: String) {
        // A speaker that has stopped has no sessions.
        let _ = self.send(Command::LinkDown(interface));
    }

    /// Puts another configuration in force; says in words what was done.
    ///
    /// # Errors
    ///
    /// [`Gone`]; inside, [`StartError`] when an address to listen on cannot be had: then nothing
    /// changed.
    pub async fn reconfigure(
        &self,
        config: SpeakerConfig,
    ) -> Result<Result<Vec<String>, StartError>, Gone> {
        self.ask(|answer| Command::Reconfigure(Box::new(config), answer))
            .await
    }

    /// The best routes of both families: all there are, then changes, at most `capacity` events
    /// on the way. A reader that lags gets the latest state of each prefix, never a backlog. It ends
    /// with a shutdown, without a word of the sessions that close then.
    pub fn subscribe(&self, capacity: usize) -> mpsc::Receiver<FeedEvent> {
        let (events, receiver) = mpsc::channel(capacity);
        let _ = self.send(Command::Subscribe(events));
        receiver
    }

    /// As [`subscribe`](Self::subscribe), with nothing of a route but where its packets go. What
    /// `prompt` takes does not come through the channel.
    pub fn subscribe_forwarding(
        &self,
        capacity: usize,
        prompt: Option<Prompt<Forwarding>>,
    ) -> mpsc::Receiver<FeedEvent<Forwarding>> {
        let (events, receiver) = mpsc::channel(capacity);
        let subscribe = Command::SubscribeForwarding(prompt, events);
        let _ = self.send(subscribe);
        receiver
    }

    /// Closes all sessions and ends the thread.
    pub async fn shutdown(&self, why: Shutdown) {
        let _ = self.ask(|done| Command::Shutdown(why, done)).await;
    }
}
