//! The task that owns the registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use wayleave_discovery::{
    codec::Codec,
    names::InstanceId,
    registry::{
        Admin, Change, Instance, NodeSettings, NotHere, Origin, Places, RegisterError, Registered,
        Registration, Registry, Restored,
    },
};

use super::{
    AddressNews, FileError, Request, RequestError, Reread, ServiceStore, ServiceStoreError,
    file::{ReadFile, read_all},
};
use crate::{
    health::{Report, Runner},
    problem::{Problem, Problems, Severity},
};

/// What the registry's problems begin with.
const PROBLEMS: &str = "registry.";

/// For how long changes of health gather before they are stored together.
const HEALTH_GATHERS: Duration = Duration::from_secs(2);

/// What [`run`] needs.
#[derive(Debug)]
pub struct Setup<S> {
    /// The codec of the fabric.
    pub codec: Codec,
    /// What all endpoints of this node have in common.
    pub node: NodeSettings,
    /// This host's blocks, and addresses that are no container's.
    pub places: Places,
    /// The directory of the files; none: no files.
    pub directory: Option<PathBuf>,
    /// What the store held at start.
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
/// * `addresses`: of [`addresses`](super::addresses()). Until they are in sync, or nobody is left to tell any, it does
///   nothing else.
/// * `changes`: what is to be announced, address by address. The first picture comes first. While the channel is full
///   changes of one address fall together; the task does not wait for its reader.
/// * `in_sync`: called once, when everything stored and in files has been taken, and what there is to announce of it
///   stands in the channel, as far as it fits.
///
/// At the end nothing is withdrawn: a stop of the agent is no news about services. What the checks found is stored, so
/// that the next start begins with it.
pub async fn run<S: ServiceStore>(
    setup: Setup<S>,
    mut requests: mpsc::Receiver<Request>,
    mut addresses: mpsc::UnboundedReceiver<AddressNews>,
    changes: mpsc::Sender<Change>,
    mut shutdown: watch::Receiver<bool>,
    in_sync: impl FnOnce(),
) {
    let mut owner = Owner {
        registry: Registry::new(setup.codec, setup.node, setup.places),
        runner: Runner::new(setup.checks, setup.seed),
        directory: setup.directory,
        store: setup.store,
        problems: setup.problems,
        of_files: BTreeMap::new(),
        refused: BTreeMap::new(),
        unstored: BTreeSet::new(),
        health_due: None,
    };
    loop {
        tokio::select! {
            news = addresses.recv() => match news {
                Some(AddressNews::InSync) | None => break,
                Some(news) => owner.hear(news),
            },
            () = stopped(&mut shutdown) => return,
        }
    }
    owner.start(setup.stored).await;
    // The first picture goes out before anybody hears that it is complete.
    while owner.registry.may_have_changes() {
        let Ok(permit) = changes.try_reserve() else {
            break;
        };
        let Some(change) = owner.registry.poll_change() else {
            break;
        };
        permit.send(change);
    }
    in_sync();
    loop {
        let health_due = owner.health_due;
        tokio::select! {
            Some(news) = addresses.recv() => owner.hear_all(news, &mut addresses).await,
            request = requests.recv() => match request {
                Some(request) => {
                    // Who was told that its container is attached may register for it.
                    if let Ok(news) = addresses.try_recv() {
                        owner.hear_all(news, &mut addresses).await;
                    }
                    owner.answer(request).await;
                }
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
            () = sleep_until(health_due.unwrap_or_else(Instant::now)), if health_due.is_some() => {
                owner.store_health().await;
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
    /// Stored of instances of files that have not been read since the start, for they are wrong.
    of_files: BTreeMap<InstanceId, Instance>,
    /// Stored, and not taken at the start. Kept on disk, tried again at each reload.
    refused: BTreeMap<InstanceId, Instance>,
    /// Instances whose records are not, or may not be, what they should be: written with whatever is written next.
    unstored: BTreeSet<InstanceId>,
    /// When changes of health are to be stored.
    health_due: Option<Instant>,
}

impl<S: ServiceStore> Owner<S> {
    /// Takes what was stored and what stands in files.
    async fn start(&mut self, stored: Vec<Instance>) {
        let mut others = Vec::new();
        for instance in stored {
            let id = instance.registration.instance.clone();
            if let Origin::File(_) = instance.origin {
                self.of_files.insert(id, instance);
            } else {
                others.push(instance);
            }
        }
        // Files first: what stands in one is what its host is meant to have.
        self.reload_files().await;
        self.restore(others);
        self.store_late("what the start has found").await;
        self.raise_suspended();
    }

    /// Takes back what was stored, as far as its containers are still there.
    fn restore(&mut self, stored: impl IntoIterator<Item = Instance>) {
        for instance in stored {
            let id = instance.registration.instance.clone();
            let key = format!("{PROBLEMS}restore.{id}");
            match self.registry.restore(instance.clone()) {
                Ok(outcome) => {
                    match outcome {
                        Restored::Whole => {}
                        Restored::Less | Restored::Gone => {
                            tracing::info!(instance = %id, "services went with containers that ended meanwhile");
                            self.unstored.insert(id.clone());
                        }
                    }
                    self.refused.remove(&id);
                    self.problems.clear(&key);
                    self.watch(&id);
                }
                Err(error) => {
                    self.problems.raise(Problem {
                        key,
                        severity: Severity::Error,
                        what: format!("instance `{id}` is not announced any more"),
                        why: error.to_string(),
                        fix: if let RegisterError::Owned { .. } = error {
                            format!(
                                "give the service in the file another `id` than `{id}`, and reload"
                            )
                        } else {
                            format!("`wayleave deregister {id}`, or make room for it and reload")
                        },
                    });
                    self.refused.insert(id, instance);
                }
            }
        }
    }

    /// Takes news and all that have come behind them, with one commit for all.
    async fn hear_all(
        &mut self,
        news: AddressNews,
        more: &mut mpsc::UnboundedReceiver<AddressNews>,
    ) {
        self.hear(news);
        while let Ok(news) = more.try_recv() {
            self.hear(news);
        }
        // Containers are gone whether the disk likes it or not. What cannot be stored now goes with the next commit;
        // an address has its next container by a commit, too, and the news of that come here.
        self.store_late("that addresses are gone").await;
        self.raise_suspended();
    }

    fn hear(&mut self, news: AddressNews) {
        match news {
            AddressNews::Taken(address) => {
                for id in self.registry.address_taken(address) {
                    self.watch(&id);
                }
            }
            AddressNews::Gone(address) => {
                let gone = self.registry.address_gone(address);
                if !gone.lost.is_empty() {
                    tracing::info!(%address, services = ?gone.lost, "services went with their container");
                }
                for id in gone.lost.iter().chain(&gone.suspended) {
                    self.runner.forget(id, address);
                }
                self.unstored.extend(gone.lost);
            }
            AddressNews::InSync => {}
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
            Request::SetAdmin {
                instance,
                admin,
                reply,
            } => {
                let _ = reply.send(self.set_admin(&instance, admin).await);
            }
            Request::Reload { places, reply } => {
                let _ = reply.send(self.reload(places).await);
            }
            Request::List { reply } => {
                let _ = reply.send(self.list());
            }
        }
    }

    /// All instances by id. Those that were refused at the start are announced nowhere.
    fn list(&self) -> Vec<Instance> {
        let taken = self
            .registry
            .instances()
            .map(|(id, instance)| (id, instance.clone()));
        let mut all: BTreeMap<&InstanceId, Instance> = taken.collect();
        for (id, refused) in &self.refused {
            all.entry(id).or_insert_with(|| nowhere(refused.clone()));
        }
        all.into_values().collect()
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
        if let Err(source) = self.store([id.clone()]).await {
            // Changes leave the registry only between requests: nobody has seen this one.
            match before {
                Some(before) => self.registry.put_back(before),
                None => drop(self.registry.deregister(&id)),
            }
            return Err(RequestError::Store {
                instance: id,
                source,
            });
        }
        self.refused.remove(&id);
        self.problems.clear(&format!("{PROBLEMS}restore.{id}"));
        self.rewatch(&id, before.as_ref());
        self.raise_suspended();
        Ok(outcome)
    }

    async fn deregister(&mut self, id: &InstanceId) -> Result<Instance, RequestError> {
        if let Some(Instance {
            origin: owner @ Origin::File(_),
            ..
        }) = self.registry.instance(id)
        {
            return Err(RequestError::Owned {
                instance: id.clone(),
                owner: owner.clone(),
            });
        }
        let (taken, refused) = (self.registry.deregister(id), self.refused.remove(id));
        if taken.is_none() && refused.is_none() {
            return Err(RequestError::Unknown(id.clone()));
        }
        if let Err(source) = self.store([id.clone()]).await {
            if let Some(taken) = taken {
                self.registry.put_back(taken);
            }
            self.refused
                .extend(refused.map(|refused| (id.clone(), refused)));
            return Err(RequestError::Store {
                instance: id.clone(),
                source,
            });
        }
        self.problems.clear(&format!("{PROBLEMS}restore.{id}"));
        if let Some(taken) = &taken {
            self.forget(taken);
        }
        self.raise_suspended();
        let refused = refused.map(nowhere);
        taken
            .or(refused)
            .ok_or_else(|| RequestError::Unknown(id.clone()))
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
        if let Err(source) = self.store([id.clone()]).await {
            self.registry.set_admin(id, before);
            return Err(RequestError::Store {
                instance: id.clone(),
                source,
            });
        }
        Ok(())
    }

    /// Makes the records of these instances, and of those that wait, what they should be; one commit for all.
    async fn store(
        &mut self,
        ids: impl IntoIterator<Item = InstanceId>,
    ) -> Result<(), ServiceStoreError> {
        self.unstored.extend(ids);
        if self.unstored.is_empty() {
            return Ok(());
        }
        let records = self.unstored.iter().map(|id| (id.clone(), self.record(id)));
        self.store.write(records.collect()).await?;
        self.unstored.clear();
        Ok(())
    }

    /// The same for what is so whether it can be stored or not.
    async fn store_late(&mut self, what: &str) {
        if let Err(error) = self.store([]).await {
            tracing::warn!(%error, "cannot store {what} yet");
        }
    }

    /// What should be on disk for an instance.
    fn record(&self, id: &InstanceId) -> Option<Instance> {
        let Some(instance) = self.registry.instance(id) else {
            return self
                .of_files
                .get(id)
                .or_else(|| self.refused.get(id))
                .cloned();
        };
        let is_in_file = matches!(instance.origin, Origin::File(_));
        let says_more = instance.admin != Admin::Normal || !instance.registration.checks.is_empty();
        (!is_in_file || says_more).then(|| instance.clone())
    }

    /// Takes what the configuration says of addresses now, and reads the files again.
    async fn reload(&mut self, places: Places) -> Reread {
        for id in self.registry.set_places(places) {
            self.watch(&id);
        }
        let reread = self.reload_files().await;
        let refused: Vec<Instance> = self.refused.values().cloned().collect();
        self.restore(refused);
        self.store_late("what the reload has found").await;
        self.raise_suspended();
        reread
    }

    /// Makes the instances of files what the files say. Those of a file that is wrong stay as they were.
    async fn reload_files(&mut self) -> Reread {
        let mut reread = Reread::default();
        let Some(directory) = self.directory.clone() else {
            return reread;
        };
        let there = directory.clone();
        // The disk may be slow, or not a disk at all.
        match tokio::task::spawn_blocking(move || read_all(&there)).await {
            Ok(Ok(files)) => self.take_files(files, &mut reread),
            Ok(Err(error)) => reread.errors.push(error),
            // A panic has ended the process already.
            Err(_) => reread.errors.push(FileError {
                path: directory,
                place: None,
                message: "not read: the agent is stopping".to_owned(),
            }),
        }
        self.raise_file_problems(&reread.errors);
        reread
    }

    fn take_files(&mut self, files: Vec<ReadFile>, reread: &mut Reread) {
        let (mut kept, mut wrong) = (BTreeSet::new(), BTreeSet::new());
        for (path, read) in files {
            let origin = Origin::File(path.display().to_string());
            let errors = reread.errors.len();
            match read {
                Ok(services) => {
                    // Those that are no longer in it go first: one that takes over an address finds it free.
                    let ids: BTreeSet<&InstanceId> = services.iter().map(|s| &s.instance).collect();
                    let gone =
                        |id: &InstanceId, owner: &Origin| *owner == origin && !ids.contains(id);
                    reread.deregistered.extend(self.drop_instances(gone));
                    for service in services {
                        self.take_from_file(&path, service, &origin, reread);
                    }
                }
                Err(error) => reread.errors.push(error),
            }
            if reread.errors.len() > errors {
                wrong.insert(origin.clone());
            }
            kept.insert(origin);
        }
        let gone = |_: &InstanceId, owner: &Origin| {
            matches!(owner, Origin::File(_)) && !kept.contains(owner)
        };
        reread.deregistered.extend(self.drop_instances(gone));
        // What is wanted of an instance that no file has is wanted of nothing; one in a file that is wrong may be
        // back when it is corrected.
        let unclaimed = self
            .of_files
            .extract_if(.., |_, instance| !wrong.contains(&instance.origin));
        self.unstored.extend(unclaimed.map(|(id, _)| id));
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
                if let Some(stored) = self.of_files.remove(&id) {
                    self.take_over(&id, stored);
                }
                self.unstored.insert(id.clone());
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

    /// Gives an instance of a file the wish and the health it had before the start.
    fn take_over(&mut self, id: &InstanceId, stored: Instance) {
        self.registry.set_admin(id, stored.admin);
        let has_checks = |instance: &Instance| {
            let checks = &stored.registration.checks;
            !checks.is_empty() && instance.registration.checks == *checks
        };
        if self.registry.instance(id).is_some_and(has_checks) {
            for (address, health) in stored.health {
                self.registry.set_health(id, address, health);
            }
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
                self.unstored.insert(id.clone());
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
            fix: if self.has_some_of(&error.path) {
                "correct the file and reload; until then its services stay as they were"
            } else {
                "correct the file and reload; until then what it describes is not announced"
            }
            .to_owned(),
        });
        self.problems.replace(&prefix, problems.collect());
    }

    /// Whether there are instances of a file, or of any when it is their directory.
    fn has_some_of(&self, path: &Path) -> bool {
        self.registry
            .instances()
            .any(|(_, instance)| match &instance.origin {
                Origin::File(file) => Path::new(file).starts_with(path),
                Origin::Api | Origin::Container(_) => false,
            })
    }

    /// Tells of what is registered and cannot be announced where it is.
    fn raise_suspended(&self) {
        let prefix = format!("{PROBLEMS}suspended.");
        let problems = self.registry.suspended().map(|(id, reason)| {
            let origin = self
                .registry
                .instance(id)
                .map_or(&Origin::Api, |instance| &instance.origin);
            let remove = match origin {
                Origin::File(path) => format!("take it out of {path} and reload"),
                Origin::Api | Origin::Container(_) => format!("`wayleave deregister {id}`"),
            };
            // Its container may be about to be started.
            let (severity, fix) = if let NotHere::Vacant { .. } = &reason {
                (
                    Severity::Warning,
                    format!("{}, or {remove}", reason.remedy()),
                )
            } else {
                (Severity::Error, format!("{remove}; {}", reason.remedy()))
            };
            Problem {
                key: format!("{prefix}{id}.{}", reason.address()),
                severity,
                what: format!("`{id}` is not announced at {}", reason.address()),
                why: reason.to_string(),
                fix,
            }
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
        self.watch(id);
    }

    /// Checks an instance where it is not suspended, going on with what is known.
    fn watch(&mut self, id: &InstanceId) {
        let Some(instance) = self.registry.instance(id) else {
            return;
        };
        for address in &instance.registration.addresses {
            match instance.health.get(address) {
                Some(health) => {
                    let checks = &instance.registration.checks;
                    self.runner.watch(id, *address, checks, *health);
                }
                None => self.runner.forget(id, *address),
            }
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
        if self.registry.set_health(instance, *address, *health) {
            self.unstored.insert(instance.clone());
            self.health_due
                .get_or_insert_with(|| Instant::now() + HEALTH_GATHERS);
        }
    }

    /// Stores what the checks found, so that a start after a crash too begins with it: a service that passed is
    /// announced at once then, and one that failed is not answered with until it is asked again.
    async fn store_health(&mut self) {
        self.health_due = None;
        self.store_late("the health of services").await;
    }
}

/// An instance that is announced nowhere.
fn nowhere(instance: Instance) -> Instance {
    Instance {
        health: BTreeMap::new(),
        ..instance
    }
}
