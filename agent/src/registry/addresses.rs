//! News of the addresses of this host's containers, from their owner to the registry.

use std::net::IpAddr;

use tokio::sync::mpsc;

/// Something about an address of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressNews {
    /// A container has it.
    Taken(IpAddr),
    /// Its container is gone, or about to go.
    Gone(IpAddr),
    /// All that containers have from earlier runs has been told.
    InSync,
}

/// The way of the news. Clones share it.
///
/// It never blocks, for it is used from threads that answer to container runtimes; nor does it grow beyond the calls
/// of runtimes, of which each makes a commit. When all clones are dropped, there are no containers and will be none.
#[derive(Clone, Debug)]
pub struct Addresses {
    news: mpsc::UnboundedSender<AddressNews>,
}

/// The way of the news, and the receiver to give to [`run`](super::run).
#[must_use]
pub fn addresses() -> (Addresses, mpsc::UnboundedReceiver<AddressNews>) {
    let (news, receiver) = mpsc::unbounded_channel();
    (Addresses { news }, receiver)
}

impl Addresses {
    /// Tells. News of one address arrive in the order in which they are told.
    pub fn tell(&self, news: AddressNews) {
        // Without a registry nobody listens: the agent is stopping.
        let _ = self.news.send(news);
    }
}
