//! The services of this host: who registers them, whether they are healthy, what is announced for them.
//!
//! ```text
//!  services.d/*.toml ─┐                       ┌─▶ store (durable before the answer)
//!  API, CLI ──────────┼─ Request ─▶ registry ─┤
//!  containers ────────┘              │  ▲     └─▶ Change: an address's endpoint, or none ─▶ originate
//!                             watch  ▼  │ Report
//!                                health runner ⇄ containers
//! ```
//!
//! One task owns all of it ([`run`]). Requests are answered one after another; changes leave through a bounded channel
//! that the task never waits for: while it is full, changes of one address fall together and the latest remains.
//!
//! What a file registered belongs to the file: it is read at start and when asked to, never stored, except for what an
//! operator wants of it (drain, maintenance).

mod file;
pub mod originate;
mod store;
mod task;

use std::net::IpAddr;

use tokio::sync::{mpsc, oneshot};
use wayleave_discovery::{
    names::InstanceId,
    registry::{Admin, Instance, Origin, RegisterError, Registered, Registration},
};

pub use self::{
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
    /// An address is gone with its container: everything at it goes, whoever registered it.
    AddressGone {
        /// The address.
        address: IpAddr,
        /// What went or lost the address.
        reply: oneshot::Sender<Vec<InstanceId>>,
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
    /// Read the files again.
    ReloadFiles {
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

    /// Says that an address is gone with its container.
    pub async fn address_gone(&self, address: IpAddr) -> Result<Vec<InstanceId>, RequestError> {
        self.ask(|reply| Request::AddressGone { address, reply })
            .await
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

    /// Reads the files again.
    pub async fn reload_files(&self) -> Result<Reread, RequestError> {
        self.ask(|reply| Request::ReloadFiles { reply }).await
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
