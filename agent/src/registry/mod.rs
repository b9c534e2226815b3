//! The services of this host: who registers them, whether they are healthy, what is announced for them.
//!
//! ```text
//!  services.d/*.toml ─┐                       ┌─▶ store (durable before the answer)
//!  API, CLI ──────────┼─ Request ─▶ registry ─┤
//!  containers ─ AddressNews ─────────┘  ▲     └─▶ Change: an address's endpoint, or none ─▶ originate
//!                             watch  ▼  │ Report
//!                                health runner ⇄ containers
//! ```
//!
//! One task owns all of it ([`run`]). Requests are answered one after another; changes leave through a bounded channel
//! that the task never waits for: while it is full, changes of one address fall together and the latest remains.
//!
//! Services are of containers: nothing is taken before the containers of the last run have been judged, what was
//! registered for one that is gone is forgotten, and news of containers are taken before any request is answered.
//!
//! What a file registered belongs to the file, which is read at start and when asked to. Stored of it is what an operator
//! wants of it (drain, maintenance) and what its checks found.

mod addresses;
mod file;
pub mod originate;
mod store;
mod task;

use tokio::sync::{mpsc, oneshot};
use wayleave_discovery::{
    names::InstanceId,
    registry::{Admin, Instance, Origin, Places, RegisterError, Registered, Registration},
};

pub(crate) use self::file::parse as parse_file;
pub use self::{
    addresses::{AddressNews, Addresses, addresses},
    file::{FileError, read_file},
    store::{ServiceStore, ServiceStoreError},
    task::{Setup, run},
};

/// How many requests wait before the next one has to.
const QUEUE: usize = 64;

/// Why a request was not carried out. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The registration does not fit.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// No such instance.
    #[error(
        "no instance `{0}` is registered on this host; `wayleave services --local` lists those that are"
    )]
    Unknown(InstanceId),
    /// It is somebody else's.
    #[error("instance `{instance}` was registered by {owner}; remove it there")]
    Owned {
        /// The instance.
        instance: InstanceId,
        /// Who registered it.
        owner: Origin,
    },
    /// The disk refused.
    #[error("the registration of `{instance}` could not be stored: {source}")]
    Store {
        /// The instance.
        instance: InstanceId,
        /// Why.
        source: ServiceStoreError,
    },
    /// The registry's task is gone.
    #[error("the agent is stopping")]
    Stopping,
}

/// What the registry is asked.
#[derive(Debug)]
pub enum Request {
    /// Take a registration, durably.
    Register {
        /// What.
        registration: Registration,
        /// By whom.
        origin: Origin,
        /// The outcome.
        reply: oneshot::Sender<Result<Registered, RequestError>>,
    },
    /// Take a registration back, durably. What a file registered is removed in the file.
    Deregister {
        /// Which.
        instance: InstanceId,
        /// What it was.
        reply: oneshot::Sender<Result<Instance, RequestError>>,
    },
    /// Drain an instance, take it out, or neither; durably.
    SetAdmin {
        /// Which.
        instance: InstanceId,
        /// What is wanted of it.
        admin: Admin,
        /// The outcome.
        reply: oneshot::Sender<Result<(), RequestError>>,
    },
    /// Take what the configuration says of addresses now, and read the files again.
    Reload {
        /// This host's blocks, and addresses that are no container's.
        places: Places,
        /// What came of it.
        reply: oneshot::Sender<Reread>,
    },
    /// Tell all instances.
    List {
        /// All instances, by id.
        reply: oneshot::Sender<Vec<Instance>>,
    },
}

/// What reading the files of services again has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reread {
    /// Instances that are new, or not what they were.
    pub registered: Vec<InstanceId>,
    /// Instances that no file has any more.
    pub deregistered: Vec<InstanceId>,
    /// What is wrong with files; their instances are as they were.
    pub errors: Vec<FileError>,
}

/// The way to the registry for the API and for containers. Clones share it.
#[derive(Clone, Debug)]
pub struct RegistryHandle {
    requests: mpsc::Sender<Request>,
}

/// A handle, and the receiver to give to [`run`].
#[must_use]
pub fn channel() -> (RegistryHandle, mpsc::Receiver<Request>) {
    let (requests, receiver) = mpsc::channel(QUEUE);
    (RegistryHandle { requests }, receiver)
}

impl RegistryHandle {
    /// Takes a registration; it is durable when this returns.
    pub async fn register(
        &self,
        registration: Registration,
        origin: Origin,
    ) -> Result<Registered, RequestError> {
        self.ask(|reply| Request::Register {
            registration,
            origin,
            reply,
        })
        .await?
    }

    /// Takes a registration back and says what it was.
    pub async fn deregister(&self, instance: InstanceId) -> Result<Instance, RequestError> {
        self.ask(|reply| Request::Deregister { instance, reply })
            .await?
    }

    /// Drains an instance, takes it out, or neither.
    pub async fn set_admin(&self, instance: InstanceId, admin: Admin) -> Result<(), RequestError> {
        self.ask(|reply| Request::SetAdmin {
            instance,
            admin,
            reply,
        })
        .await?
    }

    /// Takes what the configuration says of addresses now, and reads the files again.
    pub async fn reload(&self, places: Places) -> Result<Reread, RequestError> {
        self.ask(|reply| Request::Reload { places, reply }).await
    }

    /// All instances of this host, by id.
    pub async fn list(&self) -> Result<Vec<Instance>, RequestError> {
        self.ask(|reply| Request::List { reply }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(request(reply))
            .await
            .map_err(|_| RequestError::Stopping)?;
        answer.await.map_err(|_| RequestError::Stopping)
    }
}

#[cfg(test)]
mod tests;
