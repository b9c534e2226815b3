//! The task: joins the finder with the kernel, the socket and the speaker.

use std::{
    collections::BTreeSet,
    future::pending,
    hash::{BuildHasher, RandomState},
    io,
    net::Ipv6Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wayleave_bgp::SpeakerHandle;
use wayleave_bgp_core::{Time, view::State};
use wayleave_netlink::{Dump, Group, Kernel, KernelError, Monitor, Socket};

use super::{
    finder::Finder,
    message::{Advertisement, Message},
    search::{SEARCHING, Say},
    socket::{ALL_NODES, ALL_ROUTERS, RouterSocket},
    trouble,
};
use crate::{
    config::{self, Config},
    problem::{Problem, Problems},
    text,
};

/// Before what the system has refused is tried again.
const PAUSE: Duration = Duration::from_secs(30);
/// Messages read before others have their turn: everybody on a link can send as many as he likes.
const BUDGET: usize = 64;

/// Tells the speaker who is on the links of unnumbered peers, as long as the agent runs.
pub(crate) async fn run(
    speaker: SpeakerHandle,
    mut config: watch::Receiver<Arc<Config>>,
    problems: Problems,
) {
    while search(&speaker, &mut config, &problems).await.is_ok() {}
}

/// The agent ends.
struct Ended;

/// Searches until nobody is looked for any more, or something has to be begun anew.
async fn search(
    speaker: &SpeakerHandle,
    config: &mut watch::Receiver<Arc<Config>>,
    problems: &Problems,
) -> Result<(), Ended> {
    let mut wanted = config::unnumbered(&config.borrow_and_update());
    if wanted.is_empty() {
        problems.replace(trouble::KEYS, Vec::new());
        return config.changed().await.map_err(|_| Ended);
    }
    let found = |interface: &str, address| speaker.neighbor_is(interface.to_owned(), address);
    let mut searching = match Searching::begin(&wanted) {
        Ok(searching) => searching,
        Err(error) => {
            problems.replace(trouble::KEYS, vec![trouble::no_news(&error)]);
            return pause(config).await;
        }
    };
    let mut told = None;
    loop {
        searching.speak();
        let wrong = searching.problems();
        // Sessions come up meanwhile; but the speaker is not asked at every message.
        let is_told = told.as_ref().is_some_and(|(before, at): &(_, Instant)| {
            *before == wrong && at.elapsed() < SEARCHING
        });
        if !is_told {
            told = Some((wrong.clone(), Instant::now()));
            problems.replace(trouble::KEYS, less_who_connected(wrong, speaker).await);
        }
        let happened = tokio::select! {
            changed = config.changed() => {
                changed.map_err(|_| Ended)?;
                wanted = config::unnumbered(&config.borrow_and_update());
                if wanted.is_empty() {
                    return Ok(());
                }
                searching.want(&wanted);
                Ok(())
            }
            happened = searching.happens(&found) => happened,
        };
        if let Err(error) = happened {
            problems.replace(trouble::KEYS, vec![trouble::no_news(&error)]);
            return pause(config).await;
        }
    }
}

/// Who connected by himself need not be heard.
async fn less_who_connected(mut wrong: Vec<Problem>, speaker: &SpeakerHandle) -> Vec<Problem> {
    if !wrong.is_empty()
        && let Ok(views) = speaker.peers().await
    {
        let up = views.iter().filter(|view| view.state == State::Established);
        for interface in up.filter_map(|view| view.interface.as_deref()) {
            wrong.retain(|problem| problem.key != trouble::unheard_key(interface));
        }
    }
    wrong
}

/// Waits until it may be tried again.
async fn pause(config: &mut watch::Receiver<Arc<Config>>) -> Result<(), Ended> {
    tokio::select! {
        changed = config.changed() => changed.map_err(|_| Ended),
        () = tokio::time::sleep(PAUSE) => Ok(()),
    }
}

/// What a search needs of the system.
struct Searching {
    clock: Instant,
    finder: Finder,
    monitor: Monitor,
    readiness: wayleave_netlink::Readiness,
    /// Without one nobody is heard, and nothing can be said.
    socket: io::Result<RouterSocket>,
    /// Whether there may be messages that were not read yet.
    more: bool,
    /// When a socket that could not be opened is tried again.
    again: Instant,
    /// Where we are known as a router.
    spoken: BTreeSet<u32>,
}

impl Searching {
    fn begin(wanted: &BTreeSet<String>) -> Result<Self, KernelError> {
        // Before anything is listed: what happens meanwhile is heard.
        let monitor = Monitor::open(&[Group::Links, Group::AddressesV6])?;
        let readiness = monitor.readiness()?;
        let clock = Instant::now();
        let mut searching = Self {
            clock,
            // The seed of a RandomState comes from the kernel's random numbers.
            finder: Finder::new(RandomState::new().hash_one(0)),
            monitor,
            readiness,
            socket: RouterSocket::open(),
            more: false,
            again: clock + PAUSE,
            spoken: BTreeSet::new(),
        };
        searching.finder.want(Time(0), wanted);
        searching.list()?;
        Ok(searching)
    }

    fn now(&self) -> Time {
        Time(0) + self.clock.elapsed()
    }

    fn list(&mut self) -> Result<(), KernelError> {
        let mut kernel = Socket::open()?;
        let mut objects = kernel.dump(&Dump::Links)?;
        objects.extend(kernel.dump(&Dump::Addresses { ifindex: None })?);
        let now = self.now();
        self.finder.listed(now, objects);
        Ok(())
    }

    fn want(&mut self, wanted: &BTreeSet<String>) {
        let now = self.now();
        self.finder.want(now, wanted);
        let outlets = self.finder.outlets();
        if let Ok(socket) = &self.socket {
            for ifindex in self.spoken.difference(&outlets) {
                socket.leave(*ifindex);
            }
        }
        self.spoken.retain(|ifindex| outlets.contains(ifindex));
    }

    /// Sends what is due.
    fn speak(&mut self) {
        let now = self.now();
        for (interface, say) in self.finder.step(now) {
            let Ok(socket) = &self.socket else { continue };
            let outcome = send(socket, say);
            match &outcome {
                Ok(()) => drop(self.spoken.insert(say.from.ifindex)),
                Err(error) => tracing::debug!(interface, %error, "no router advertisement sent"),
            }
            let outcome = outcome.map_err(|error| text::io_reason(&error));
            self.finder.sent(&interface, outcome);
        }
    }

    fn problems(&self) -> Vec<Problem> {
        match &self.socket {
            Ok(_) => self.finder.problems(self.now()),
            // The rest follows from it.
            Err(error) => vec![trouble::no_socket(error)],
        }
    }

    /// Waits until something happens, and takes note of it.
    async fn happens(&mut self, found: &impl Fn(&str, Ipv6Addr)) -> Result<(), KernelError> {
        let due = self.finder.next_due(self.now());
        let due = due.map(|due| self.clock + due.since(Time(0)));
        let due = match &self.socket {
            Ok(_) => due,
            Err(_) => Some(self.again),
        };
        let is_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        let heard = async {
            match &self.socket {
                Ok(_) if self.more => {
                    tokio::task::yield_now().await;
                    Ok(())
                }
                Ok(socket) => socket.readable().await,
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            changed = self.readiness.changed() => {
                changed?;
                self.follow()
            }
            heard = heard => {
                if let Err(error) = heard.and_then(|()| self.hear(found)) {
                    tracing::warn!(%error, "the socket of router advertisements has failed, and is opened again");
                    self.open_again();
                }
                Ok(())
            }
            () = is_due => {
                if self.socket.is_err() {
                    self.open_again();
                }
                Ok(())
            }
        }
    }

    fn open_again(&mut self) {
        self.socket = RouterSocket::open();
        self.spoken.clear();
        self.more = false;
        self.again = Instant::now() + PAUSE;
    }

    /// Takes note of what has happened to interfaces and addresses.
    fn follow(&mut self) -> Result<(), KernelError> {
        let mut events = Vec::new();
        while self.monitor.read(&mut events)? {}
        let now = self.now();
        let mut lost = false;
        for event in events {
            lost |= self.finder.happened(now, event);
        }
        if lost { self.list() } else { Ok(()) }
    }

    /// Takes note of what has come from the links.
    fn hear(&mut self, found: &impl Fn(&str, Ipv6Addr)) -> io::Result<()> {
        let now = self.now();
        let Ok(socket) = &mut self.socket else {
            return Ok(());
        };
        self.more = true;
        for _ in 0..BUDGET {
            let Some(received) = socket.receive()? else {
                self.more = false;
                break;
            };
            let (ifindex, source) = (received.ifindex, received.source);
            match Message::decode(source, received.hop_limit, received.octets) {
                Ok(message) => {
                    if let Some(interface) = self.finder.received(now, ifindex, source, message) {
                        found(interface, source);
                    }
                }
                Err(why) => {
                    tracing::debug!(ifindex, %source, %why, "ignored a message of neighbour discovery")
                }
            }
        }
        Ok(())
    }
}

/// Says that we are here, and asks who else is.
fn send(socket: &RouterSocket, say: Say) -> io::Result<()> {
    if say.solicit {
        socket.send(say.from, ALL_ROUTERS, &Message::Solicitation.encode())?;
    }
    // Nobody's default router: hosts on the link must not send us what is not for them. FRR (8.4.4) looks
    // at the sender and not at the lifetime, and takes us for a neighbour all the same; its own
    // advertisements make it the default router of whoever listens.
    let advertisement = Message::Advertisement(Advertisement { lifetime: 0 });
    socket.send(say.from, ALL_NODES, &advertisement.encode())
}
