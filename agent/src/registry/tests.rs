use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use wayleave_discovery::{
    answers::Network,
    codec::{Codec, NodeKey, State},
    community::DiscoveryNumber,
    health::Health,
    registry::{Change, NodeSettings},
};

use super::*;
use crate::problem::Problems;

const DEADLINE: Duration = Duration::from_secs(10);

/// A disk in memory, that can be full.
#[derive(Clone, Debug, Default)]
struct Disk {
    records: Arc<Mutex<BTreeMap<String, Instance>>>,
    full: Arc<AtomicBool>,
    commits: Arc<AtomicUsize>,
}

impl Disk {
    fn stored(&self) -> Vec<Instance> {
        self.records.lock().unwrap().values().cloned().collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Instance]) -> bool) {
        let held = timeout(DEADLINE, async {
            while !holds(&self.stored()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        held.await
            .unwrap_or_else(|_| panic!("{what}: {:?}", self.stored()));
    }
}

impl ServiceStore for Disk {
    async fn write(
        &self,
        written: Vec<(InstanceId, Option<Instance>)>,
    ) -> Result<(), ServiceStoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(ServiceStoreError("no space left on device".to_owned()));
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        let mut records = self.records.lock().unwrap();
        for (id, instance) in written {
            match instance {
                Some(instance) => records.insert(id.as_str().to_owned(), instance),
                None => records.remove(id.as_str()),
            };
        }
        Ok(())
    }
}

/// A directory of services, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wayleave-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        std::fs::write(self.0.join("web.toml"), text).unwrap();
    }

    fn remove(&self) {
        std::fs::remove_file(self.0.join("web.toml")).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const RIGHT: &str = "[[service]]\nname = \"web\"\naddress = \"10.1.7.2\"\n";
const WRONG: &str = "[[service]]\nname = \"Web\"\naddress = \"10.1.7.2\"\n";

/// A registry that runs.
struct Running {
    handle: RegistryHandle,
    addresses: Addresses,
    changes: mpsc::Receiver<Change>,
    problems: Problems,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Starts on a host whose block is 10.1.7.0/24 and on which a container has 10.1.7.2.
fn start(disk: &Disk, directory: Option<&Directory>) -> Running {
    start_with(disk, directory, &["10.1.7.2"])
}

fn start_with(disk: &Disk, directory: Option<&Directory>, containers: &[&str]) -> Running {
    start_node(disk, directory, containers, NodeSettings::new(NodeKey(7)))
}

fn start_with_budget(disk: &Disk, max_addresses: usize) -> Running {
    let node = NodeSettings {
        max_addresses,
        ..NodeSettings::new(NodeKey(7))
    };
    start_node(disk, None, &["10.1.7.2"], node)
}

fn start_node(
    disk: &Disk,
    directory: Option<&Directory>,
    containers: &[&str],
    node: NodeSettings,
) -> Running {
    let (handle, requests) = channel();
    let (addresses, news) = addresses();
    let (changes, changed) = mpsc::channel(4);
    let (stop, stopped) = watch::channel(false);
    let problems = Problems::default();
    let number = DiscoveryNumber::new(4_200_000_000).unwrap();
    let setup = Setup {
        codec: Codec::new(number),
        node,
        places: places(),
        directory: directory.map(|directory| directory.0.clone()),
        stored: disk.stored(),
        store: disk.clone(),
        checks: 8,
        seed: 1,
        problems: problems.clone(),
    };
    let task = tokio::spawn(run(setup, requests, news, changes, stopped, || {}));
    for address in containers {
        addresses.tell(AddressNews::Taken(address.parse().unwrap()));
    }
    addresses.tell(AddressNews::InSync);
    Running {
        handle,
        addresses,
        changes: changed,
        problems,
        stop,
        task,
    }
}

fn places() -> Places {
    Places {
        blocks: Network::new("10.1.7.0".parse().unwrap(), 24)
            .into_iter()
            .collect(),
        reserved: BTreeMap::new(),
    }
}

impl Running {
    /// The next change: the address, and the worst state there; none when nothing is announced.
    async fn change(&mut self) -> (String, Option<State>) {
        let change = timeout(DEADLINE, self.changes.recv())
            .await
            .unwrap()
            .unwrap();
        (
            change.address.to_string(),
            change.endpoint.map(|endpoint| endpoint.state()),
        )
    }

    fn taken(&self, address: &str) {
        self.addresses
            .tell(AddressNews::Taken(address.parse().unwrap()));
    }

    fn gone(&self, address: &str) {
        self.addresses
            .tell(AddressNews::Gone(address.parse().unwrap()));
    }

    /// The one instance there is.
    async fn only(&self) -> Instance {
        let mut all = self.handle.list().await.unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn has_problem(&self, part: &str) -> bool {
        let standing = self.problems.standing();
        standing
            .iter()
            .any(|standing| standing.problem.key.contains(part))
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

fn registration(json: &str) -> Registration {
    serde_json::from_str(json).unwrap()
}

fn web() -> Registration {
    registration(r#"{"name":"web","address":"10.1.7.2","ports":[{"name":"http","port":80}]}"#)
}

#[tokio::test]
async fn a_registration_is_durable_announced_and_there_after_a_restart() {
    let disk = Disk::default();
    let mut registry = start(&disk, None);
    let registered = registry.handle.register(web(), Origin::Api).await.unwrap();
    assert_eq!(registered, Registered::Created);
    assert_eq!(disk.stored().len(), 1, "on disk before the answer");
    assert_eq!(
        registry.change().await,
        ("10.1.7.2".to_owned(), Some(State::Ready))
    );
    let again = registry.handle.register(web(), Origin::Api).await.unwrap();
    assert_eq!(again, Registered::Unchanged);
    registry.end().await;

    let mut registry = start(&disk, None);
    assert_eq!(
        registry.change().await,
        ("10.1.7.2".to_owned(), Some(State::Ready))
    );
    let id = registry.handle.list().await.unwrap()[0]
        .registration
        .instance
        .clone();
    registry.handle.deregister(id).await.unwrap();
    assert_eq!(registry.change().await, ("10.1.7.2".to_owned(), None));
    assert!(disk.stored().is_empty());
    registry.end().await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_nothing_is_announced() {
    let disk = Disk::default();
    disk.full.store(true, Ordering::Relaxed);
    let mut registry = start(&disk, None);
    let refused = registry
        .handle
        .register(web(), Origin::Api)
        .await
        .unwrap_err();
    assert!(matches!(refused, RequestError::Store { .. }), "{refused}");
    assert!(registry.handle.list().await.unwrap().is_empty());
    disk.full.store(false, Ordering::Relaxed);
    registry.handle.register(web(), Origin::Api).await.unwrap();
    assert_eq!(registry.change().await.1, Some(State::Ready));
    registry.end().await;
}

#[tokio::test]
async fn what_a_container_had_goes_with_its_address() {
    let disk = Disk::default();
    let mut registry = start(&disk, None);
    registry.handle.register(web(), Origin::Api).await.unwrap();
    assert_eq!(registry.change().await.1, Some(State::Ready));
    // The next container gets the address at once: it has nothing to do with what was registered.
    registry.gone("10.1.7.2");
    registry.taken("10.1.7.2");
    assert!(registry.handle.list().await.unwrap().is_empty());
    assert_eq!(registry.change().await.1, None);
    assert!(disk.stored().is_empty());
    registry.end().await;
}

#[tokio::test]
async fn only_for_a_container_that_is_attached_a_service_is_taken() {
    let disk = Disk::default();
    let mut registry = start_with(&disk, None, &[]);
    let refused = registry
        .handle
        .register(web(), Origin::Api)
        .await
        .unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("no container of this host has 10.1.7.2"),
        "{refused}"
    );
    // Who attached it and registers at once is not refused because the news are under way.
    registry.taken("10.1.7.2");
    registry.handle.register(web(), Origin::Api).await.unwrap();
    assert_eq!(registry.change().await.1, Some(State::Ready));
    registry.end().await;
}

#[tokio::test]
async fn a_service_whose_container_ended_while_no_agent_ran_is_gone_from_the_disk_too() {
    let disk = Disk::default();
    let registry = start_with(&disk, None, &["10.1.7.2", "10.1.7.3"]);
    registry.handle.register(web(), Origin::Api).await.unwrap();
    let other = registration(r#"{"id":"other","name":"web","address":"10.1.7.3"}"#);
    registry.handle.register(other, Origin::Api).await.unwrap();
    registry.task.abort();

    let mut registry = start_with(&disk, None, &["10.1.7.3"]);
    assert_eq!(
        registry.change().await,
        ("10.1.7.3".to_owned(), Some(State::Ready))
    );
    assert_eq!(
        registry.only().await.registration.instance.as_str(),
        "other"
    );
    assert_eq!(disk.stored().len(), 1);
    assert!(registry.problems.standing().is_empty());
    // Somebody else's container at the address is not taken for the one that ended.
    registry.taken("10.1.7.2");
    assert_eq!(
        registry.only().await.registration.instance.as_str(),
        "other"
    );
    registry.end().await;
}

#[tokio::test]
async fn that_a_service_is_gone_reaches_the_disk_when_it_can_be_written_again() {
    let disk = Disk::default();
    let registry = start(&disk, None);
    registry.handle.register(web(), Origin::Api).await.unwrap();
    disk.full.store(true, Ordering::Relaxed);
    registry.gone("10.1.7.2");
    assert!(registry.handle.list().await.unwrap().is_empty());
    assert_eq!(disk.stored().len(), 1);
    disk.full.store(false, Ordering::Relaxed);
    registry.taken("10.1.7.2");
    assert!(registry.handle.list().await.unwrap().is_empty());
    assert!(disk.stored().is_empty());
    registry.end().await;
}

#[tokio::test]
async fn a_service_of_a_file_waits_while_nobody_has_its_address() {
    let directory = Directory::new("services-wait");
    directory.write(RIGHT);
    let disk = Disk::default();
    let mut registry = start(&disk, Some(&directory));
    assert_eq!(registry.change().await.1, Some(State::Ready));
    registry.gone("10.1.7.2");
    assert_eq!(registry.change().await.1, None);
    assert!(registry.only().await.health.is_empty());
    assert!(registry.has_problem("registry.suspended.web@10.1.7.2"));
    registry.taken("10.1.7.2");
    assert_eq!(registry.change().await.1, Some(State::Ready));
    assert!(registry.problems.standing().is_empty());
    registry.end().await;

    let mut registry = start_with(&disk, Some(&directory), &[]);
    assert!(registry.only().await.health.is_empty());
    registry.taken("10.1.7.2");
    assert_eq!(registry.change().await.1, Some(State::Ready));
    registry.end().await;
}

#[tokio::test]
async fn what_is_wanted_of_a_service_outlives_a_start_at_which_its_file_is_wrong() {
    let directory = Directory::new("services-wish");
    directory.write(RIGHT);
    let disk = Disk::default();
    let mut registry = start(&disk, Some(&directory));
    assert_eq!(registry.change().await.1, Some(State::Ready));
    let id = registry.only().await.registration.instance;
    let wish = Admin::Maintenance("disk".to_owned());
    registry.handle.set_admin(id, wish.clone()).await.unwrap();
    assert_eq!(registry.change().await.1, Some(State::Maintenance));
    registry.end().await;

    directory.write(WRONG);
    let mut registry = start(&disk, Some(&directory));
    assert!(registry.handle.list().await.unwrap().is_empty());
    let problem = registry.problems.standing().remove(0).problem;
    assert!(
        problem.fix.contains("is not announced"),
        "nothing stays as it was: {problem:?}"
    );
    directory.write(RIGHT);
    registry.handle.reload(places()).await.unwrap();
    assert_eq!(registry.change().await.1, Some(State::Maintenance));
    assert_eq!(registry.only().await.admin, wish);
    // Who takes it out of the file wants nothing of it any more.
    directory.remove();
    registry.handle.reload(places()).await.unwrap();
    assert!(disk.stored().is_empty());
    assert_eq!(registry.change().await.1, None);
    directory.write(RIGHT);
    registry.handle.reload(places()).await.unwrap();
    assert_eq!(registry.change().await.1, Some(State::Ready));
    registry.end().await;
}

#[tokio::test]
async fn what_cannot_be_restored_is_listed_and_can_be_deregistered() {
    let directory = Directory::new("services-refused");
    let disk = Disk::default();
    let registry = start(&disk, None);
    registry.handle.register(web(), Origin::Api).await.unwrap();
    let id = registry.only().await.registration.instance;
    registry.end().await;
    directory.write(&format!("{RIGHT}id = \"{id}\"\n"));
    let registry = start(&disk, Some(&directory));
    assert!(matches!(registry.only().await.origin, Origin::File(_)));
    let problem = registry.problems.standing().remove(0).problem;
    assert!(problem.key.contains("restore"), "{problem:?}");
    assert!(problem.fix.contains("another `id`"), "{problem:?}");
    directory.remove();
    registry.handle.reload(places()).await.unwrap();
    assert!(registry.problems.standing().is_empty());
    assert_eq!(registry.only().await.origin, Origin::Api);
    registry.end().await;

    // Too many for a budget that has become smaller.
    let registry = start_with_budget(&disk, 0);
    assert!(registry.only().await.health.is_empty());
    let problem = registry.problems.standing().remove(0).problem;
    assert!(
        problem
            .fix
            .contains("`wayleave deregister web@10.1.7.2:80`"),
        "{problem:?}"
    );
    registry.handle.deregister(id).await.unwrap();
    assert!(registry.handle.list().await.unwrap().is_empty());
    assert!(disk.stored().is_empty() && registry.problems.standing().is_empty());
    registry.end().await;
}

#[tokio::test]
async fn an_address_that_a_reload_gives_to_a_neighbour_is_withdrawn() {
    let disk = Disk::default();
    let mut registry = start(&disk, None);
    registry.handle.register(web(), Origin::Api).await.unwrap();
    assert_eq!(registry.change().await.1, Some(State::Ready));
    let neighbours = Places {
        reserved: [(
            "10.1.7.2".parse().unwrap(),
            "the address of neighbour tor".to_owned(),
        )]
        .into(),
        ..places()
    };
    registry.handle.reload(neighbours).await.unwrap();
    assert_eq!(registry.change().await.1, None);
    let problem = registry.problems.standing().remove(0).problem;
    assert!(problem.why.contains("neighbour tor"), "{problem:?}");
    registry.handle.reload(places()).await.unwrap();
    assert_eq!(registry.change().await.1, Some(State::Ready));
    registry.end().await;
}

/// Twenty services with a check each, and the first verdict of one of them. What it is depends on what answers at the
/// address where the test runs, and does not matter.
async fn checked(registry: &mut Running) -> State {
    for n in 0..20 {
        let json = format!(
            r#"{{"id":"n{n}","name":"n{n}","address":"10.1.7.2",
                "checks":[{{"kind":"tcp","port":1,"fall":1,"interval":"60s","timeout":"50ms"}}]}}"#
        );
        let registration = registration(&json);
        registry
            .handle
            .register(registration, Origin::Api)
            .await
            .unwrap();
    }
    registry.change().await.1.expect("a verdict")
}

fn is_known(instance: &Instance) -> bool {
    let mut health = instance.health.values();
    health.all(|health| *health != Health::Starting)
}

#[tokio::test]
async fn what_checks_found_is_there_after_a_kill() {
    let disk = Disk::default();
    let mut registry = start(&disk, None);
    checked(&mut registry).await;
    disk.until("health on disk", |stored| stored.iter().all(is_known))
        .await;
    registry.task.abort();
    let mut registry = start(&disk, None);
    let (_, state) = timeout(Duration::from_secs(1), registry.change())
        .await
        .expect("announced before the next check, which is due within a minute");
    assert!(state.is_some());
    registry.end().await;
}

#[tokio::test]
async fn a_stop_stores_what_all_checks_found_in_one_commit() {
    let disk = Disk::default();
    let mut registry = start(&disk, None);
    checked(&mut registry).await;
    registry.end().await;
    assert!(disk.stored().iter().any(is_known));
    let commits = disk.commits.load(Ordering::Relaxed);
    assert!(
        (20..=22).contains(&commits),
        "{commits} commits for 20 registrations and a stop"
    );
}

#[tokio::test]
async fn drain_is_announced_and_outlives_a_restart() {
    let disk = Disk::default();
    let mut registry = start(&disk, None);
    registry.handle.register(web(), Origin::Api).await.unwrap();
    let id = registry.handle.list().await.unwrap()[0]
        .registration
        .instance
        .clone();
    assert_eq!(registry.change().await.1, Some(State::Ready));
    registry
        .handle
        .set_admin(id.clone(), Admin::Draining)
        .await
        .unwrap();
    assert_eq!(registry.change().await.1, Some(State::Draining));
    registry.end().await;
    let mut registry = start(&disk, None);
    assert_eq!(registry.change().await.1, Some(State::Draining));
    let unknown = InstanceId::new("nobody").unwrap();
    let refused = registry
        .handle
        .set_admin(unknown, Admin::Normal)
        .await
        .unwrap_err();
    assert!(matches!(refused, RequestError::Unknown(_)), "{refused}");
    registry.end().await;
}

#[tokio::test]
async fn files_are_taken_as_they_are_and_a_wrong_one_changes_nothing() {
    let directory = Directory::new("services");
    directory.write(RIGHT);
    let disk = Disk::default();
    let mut registry = start(&disk, Some(&directory));
    assert_eq!(
        registry.change().await,
        ("10.1.7.2".to_owned(), Some(State::Ready))
    );
    assert!(
        disk.stored().is_empty(),
        "what stands in a file is not stored"
    );
    directory.write(WRONG);
    let reread = registry.handle.reload(places()).await.unwrap();
    assert_eq!(reread.errors.len(), 1);
    assert_eq!((reread.registered, reread.deregistered), (vec![], vec![]));
    let problem = registry.problems.standing().remove(0).problem;
    assert!(problem.key.contains("file"), "{problem:?}");
    assert!(problem.fix.contains("stay as they were"), "{problem:?}");
    assert_eq!(registry.handle.list().await.unwrap().len(), 1);
    directory.write("[[service]]\nname = \"web\"\naddress = \"192.0.2.1\"\n");
    let reread = registry.handle.reload(places()).await.unwrap();
    assert!(
        reread.errors[0].message.contains("no block of this host"),
        "{reread:?}"
    );
    directory.remove();
    let reread = registry.handle.reload(places()).await.unwrap();
    assert_eq!((reread.registered, reread.errors), (vec![], vec![]));
    assert_eq!(registry.change().await.1, None);
    assert!(registry.problems.standing().is_empty());
    registry.end().await;
}
