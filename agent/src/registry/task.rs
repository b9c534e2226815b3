//! The task that owns the registry.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use tokio::sync::{mpsc, watch};
use wayleave_discovery::{
    codec::Codec,
    health::Health,
    names::InstanceId,
    registry::{Admin, Change, Instance, NodeSettings, Origin, Registered, Registration, Registry},
};

use super::{
    FileError, Request, RequestError, Reread, ServiceStore,
    file::{files, read_file},
};
use crate::{
    health::{Report, Runner},
    problem::{Problem, Problems, Severity},
};

/// What the registry's problems begin with.
const PROBLEMS: &str = "registry.";

/// What [`run`] needs.
#[derive(Debug)]
pub struct Setup<S> {
    /// The codec of the fabric.
    pub codec: Codec,
    /// What all endpoints of this node have in common.
    pub node: NodeSettings,
    /// The directory of the files; none: no files.
    pub directory: Option<PathBuf>,
    /// What the store held at start. Instances of containers that did not survive are left out by the caller.
    pub stored: Vec<Instance>,
    /// Where registrations are made durable.
    pub store: S,
    /// How many health checks may be under way.
    pub checks: usize,
    /// Spreads the checks; another one on each host.
    pub seed: u64,
    /// The table of problems; those of the registry begin with `registry.`.
    pub problems: Problems,
}

/// Owns the services of this host until `shutdown` turns true or all handles are gone.
///
/// * `requests`: of [`channel`](super::channel).
/// * `changes`: what is to be announced, address by address. The first picture comes first. While the channel is full
///   changes of one address fall together; the task does not wait for its reader.
/// * `in_sync`: called once, when everything stored and in files has been taken.
///
/// At the end nothing is withdrawn: a stop of the agent is no news about services. What the checks found is stored, so
/// that the next start begins with it.
pub async fn run<S: ServiceStore>(
    setup: Setup<S>,
    mut requests: mpsc::Receiver<Request>,
    changes: mpsc::Sender<Change>,
    mut shutdown: watch::Receiver<bool>,
    in_sync: impl FnOnce(),
) {
    let mut owner = Owner {
        registry: Registry::new(setup.codec, setup.node),
        runner: Runner::new(setup.checks, setup.seed),
        directory: setup.directory,
        store: setup.store,
        problems: setup.problems,
    };
    owner.start(setup.stored).await;
    in_sync();
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => owner.answer(request).await,
                None => break,
            },
            report = owner.runner.next() => owner.take(&report),
            permit = changes.reserve(), if owner.registry.may_have_changes() => {
                // Without a reader there is nobody to announce to: the agent is stopping.
                let Ok(permit) = permit else { break };
                if let Some(change) = owner.registry.poll_change() {
                    permit.send(change);
                }
            }
            () = stopped(&mut shutdown) => break,
        }
    }
    owner.store_health().await;
}

/// Returns when it is time to stop.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody is left to serve.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

struct Owner<S> {
    registry: Registry,
    runner: Runner,
    directory: Option<PathBuf>,
    store: S,
    problems: Problems,
}

impl<S: ServiceStore> Owner<S> {
    /// Takes what was stored and what stands in files.
    async fn start(&mut self, stored: Vec<Instance>) {
        self.reload_files();
        for instance in stored {
            let id = instance.registration.instance.clone();
            if let Origin::File(_) = instance.origin {
                // Of a file only the operator's wish is stored; without its instance it is about nothing.
                let owner = self.registry.instance(&id).map(|found| &found.origin);
                if owner == Some(&instance.origin) {
                    self.registry.set_admin(&id, instance.admin);
                } else if let Err(error) = self.store.remove(&id).await {
                    tracing::warn!(instance = %id, %error, "cannot forget an instance of a file that is gone");
                }
                continue;
            }
            let address_health = instance.health.clone();
            match self.registry.restore(instance) {
                Ok(_) => self.watch(&id, |address| address_health.get(&address).copied()),
                Err(error) => self.problems.raise(Problem {
                    key: format!("{PROBLEMS}restore.{id}"),
                    severity: Severity::Error,
                    what: format!("instance `{id}` is not announced any more"),
                    why: error.to_string(),
                    fix: format!("deregister `{id}`, or register it again as it fits"),
                }),
            }
        }
    }

    async fn answer(&mut self, request: Request) {
        // A requester that has gone does not undo what it asked for: each reply may be lost.
        match request {
            Request::Register {
                registration,
                origin,
                reply,
            } => {
                let _ = reply.send(self.register(registration, origin).await);
            }
            Request::Deregister { instance, reply } => {
                let _ = reply.send(self.deregister(&instance).await);
            }
            Request::AddressGone { address, reply } => {
                let _ = reply.send(self.address_gone(address).await);
            }
            Request::SetAdmin {
                instance,
                admin,
                reply,
            } => {
                let _ = reply.send(self.set_admin(&instance, admin).await);
            }
            Request::ReloadFiles { reply } => {
                let _ = reply.send(self.reload_files());
            }
            Request::List { reply } => {
                let all = self
                    .registry
                    .instances()
                    .map(|(_, instance)| instance.clone());
                let _ = reply.send(all.collect());
            }
        }
    }

    async fn register(
        &mut self,
        registration: Registration,
        origin: Origin,
    ) -> Result<Registered, RequestError> {
        let id = registration.instance.clone();
        let before = self.registry.instance(&id).cloned();
        let outcome = self.registry.register(registration, origin)?;
        if outcome == Registered::Unchanged {
            return Ok(outcome);
        }
        if let Some(instance) = self.registry.instance(&id)
            && let Err(source) = self.store.save(instance).await
        {
            // Changes leave the registry only between requests: nobody has seen this one.
            self.registry.deregister(&id);
            if let Some(before) = before {
                self.registry.restore(before)?;
            }
            return Err(RequestError::Store {
                instance: id,
                source,
            });
        }
        self.problems.clear(&format!("{PROBLEMS}restore.{id}"));
        self.rewatch(&id, before.as_ref());
        Ok(outcome)
    }

    async fn deregister(&mut self, id: &InstanceId) -> Result<Instance, RequestError> {
        match self.registry.instance(id) {
            None => return Err(RequestError::Unknown(id.clone())),
            Some(Instance {
                origin: owner @ Origin::File(_),
                ..
            }) => {
                return Err(RequestError::Owned {
                    instance: id.clone(),
                    owner: owner.clone(),
                });
            }
            Some(_) => {}
        }
        let removed = self.store.remove(id).await;
        removed.map_err(|source| RequestError::Store {
            instance: id.clone(),
            source,
        })?;
        let instance = self.registry.deregister(id);
        let instance = instance.ok_or_else(|| RequestError::Unknown(id.clone()))?;
        self.forget(&instance);
        Ok(instance)
    }

    async fn address_gone(&mut self, address: IpAddr) -> Vec<InstanceId> {
        let gone = self.registry.remove_address(address);
        for id in &gone {
            self.runner.forget(id, address);
            // The container is gone whether the disk likes it or not: what cannot be stored now is asked for again at
            // the next start, when the address has no container either.
            let stored = match self.registry.instance(id) {
                Some(instance) => self.store.save(instance).await,
                None => self.store.remove(id).await,
            };
            if let Err(error) = stored {
                tracing::warn!(instance = %id, %address, %error, "cannot store that an address is gone");
            }
        }
        gone
    }

    async fn set_admin(&mut self, id: &InstanceId, admin: Admin) -> Result<(), RequestError> {
        let Some(before) = self
            .registry
            .instance(id)
            .map(|instance| instance.admin.clone())
        else {
            return Err(RequestError::Unknown(id.clone()));
        };
        self.registry.set_admin(id, admin);
        if let Some(instance) = self.registry.instance(id)
            && let Err(source) = self.store.save(instance).await
        {
            self.registry.set_admin(id, before);
            return Err(RequestError::Store {
                instance: id.clone(),
                source,
            });
        }
        Ok(())
    }

    /// Makes the instances of files what the files say. Those of a file that is wrong stay as they were.
    fn reload_files(&mut self) -> Reread {
        let mut reread = Reread::default();
        if let Some(directory) = self.directory.clone() {
            match files(&directory) {
                Ok(paths) => self.take_files(&paths, &mut reread),
                Err(error) => reread.errors.push(error),
            }
            self.raise_file_problems(&reread.errors);
        }
        reread
    }

    fn take_files(&mut self, paths: &[PathBuf], reread: &mut Reread) {
        let mut kept = BTreeSet::new();
        for path in paths {
            let origin = Origin::File(path.display().to_string());
            match read_file(path) {
                Ok(services) => {
                    // Those that are no longer in it go first: one that takes over an address finds it free.
                    let ids: BTreeSet<&InstanceId> = services.iter().map(|s| &s.instance).collect();
                    let gone =
                        |id: &InstanceId, owner: &Origin| *owner == origin && !ids.contains(id);
                    reread.deregistered.extend(self.drop_instances(gone));
                    for service in services {
                        self.take_from_file(path, service, &origin, reread);
                    }
                }
                Err(error) => reread.errors.push(error),
            }
            kept.insert(origin);
        }
        let gone = |_: &InstanceId, owner: &Origin| {
            matches!(owner, Origin::File(_)) && !kept.contains(owner)
        };
        reread.deregistered.extend(self.drop_instances(gone));
    }

    fn take_from_file(
        &mut self,
        path: &Path,
        service: Registration,
        origin: &Origin,
        reread: &mut Reread,
    ) {
        let id = service.instance.clone();
        let before = self.registry.instance(&id).cloned();
        match self.registry.register(service, origin.clone()) {
            Ok(Registered::Unchanged) => {}
            Ok(_) => {
                self.rewatch(&id, before.as_ref());
                reread.registered.push(id);
            }
            Err(error) => reread.errors.push(FileError {
                path: path.to_owned(),
                place: None,
                message: error.to_string(),
            }),
        }
    }

    fn drop_instances(
        &mut self,
        is_dropped: impl Fn(&InstanceId, &Origin) -> bool,
    ) -> Vec<InstanceId> {
        let ids: Vec<InstanceId> = self
            .registry
            .instances()
            .filter(|(id, instance)| is_dropped(id, &instance.origin))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &ids {
            if let Some(instance) = self.registry.deregister(id) {
                self.forget(&instance);
            }
        }
        ids
    }

    fn raise_file_problems(&self, errors: &[FileError]) {
        let prefix = format!("{PROBLEMS}file.");
        let problems = errors.iter().enumerate().map(|(number, error)| Problem {
            key: format!("{prefix}{number:03}.{}", error.path.display()),
            severity: Severity::Error,
            what: format!(
                "services of {} are not as the file says",
                error.path.display()
            ),
            why: error.to_string(),
            fix: "correct the file and reload; until then its services stay as they were"
                .to_owned(),
        });
        self.problems.replace(&prefix, problems.collect());
    }

    /// Checks an instance that was registered, and no longer what it replaced.
    fn rewatch(&mut self, id: &InstanceId, before: Option<&Instance>) {
        let Some(instance) = self.registry.instance(id) else {
            return;
        };
        if let Some(before) = before {
            let same = before.registration.checks == instance.registration.checks;
            if same && before.registration.addresses == instance.registration.addresses {
                return;
            }
            for address in &before.registration.addresses {
                self.runner.forget(id, *address);
            }
        }
        let health = instance.health.clone();
        self.watch(id, |address| health.get(&address).copied());
    }

    fn watch(&mut self, id: &InstanceId, health: impl Fn(IpAddr) -> Option<Health>) {
        let Some(instance) = self.registry.instance(id) else {
            return;
        };
        for address in &instance.registration.addresses {
            let health = health(*address).unwrap_or(Health::Starting);
            self.runner
                .watch(id, *address, &instance.registration.checks, health);
        }
    }

    fn forget(&mut self, instance: &Instance) {
        for address in &instance.registration.addresses {
            self.runner
                .forget(&instance.registration.instance, *address);
        }
    }

    fn take(&mut self, report: &Report) {
        let Report {
            instance,
            address,
            health,
            why,
        } = report;
        match why {
            Some(why) => tracing::warn!(%instance, %address, why, "the service fails its checks"),
            None => tracing::info!(%instance, %address, "the service passes its checks"),
        }
        self.registry.set_health(instance, *address, *health);
    }

    /// Stores what the checks found, for the next start.
    async fn store_health(&self) {
        for (id, instance) in self.registry.instances() {
            if matches!(instance.origin, Origin::File(_)) || instance.registration.checks.is_empty()
            {
                continue;
            }
            if let Err(error) = self.store.save(instance).await {
                // The next start checks at once instead.
                tracing::warn!(instance = %id, %error, "cannot store the health of services");
                return;
            }
        }
    }
}
