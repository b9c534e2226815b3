use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use wayleave_discovery::{
    codec::{Codec, NodeKey, State},
    community::DiscoveryNumber,
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
}

impl Disk {
    fn stored(&self) -> Vec<Instance> {
        self.records.lock().unwrap().values().cloned().collect()
    }

    fn check(&self) -> Result<(), ServiceStoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(ServiceStoreError("no space left on device".to_owned()));
        }
        Ok(())
    }
}

impl ServiceStore for Disk {
    async fn save(&self, instance: &Instance) -> Result<(), ServiceStoreError> {
        self.check()?;
        let id = instance.registration.instance.as_str().to_owned();
        self.records.lock().unwrap().insert(id, instance.clone());
        Ok(())
    }

    async fn remove(&self, instance: &InstanceId) -> Result<(), ServiceStoreError> {
        self.check()?;
        self.records.lock().unwrap().remove(instance.as_str());
        Ok(())
    }
}

/// A registry that runs.
struct Running {
    handle: RegistryHandle,
    changes: mpsc::Receiver<Change>,
    problems: Problems,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn start(disk: &Disk, directory: Option<PathBuf>) -> Running {
    let (handle, requests) = channel();
    let (changes, changed) = mpsc::channel(4);
    let (stop, stopped) = watch::channel(false);
    let problems = Problems::default();
    let number = DiscoveryNumber::new(4_200_000_000).unwrap();
    let setup = Setup {
        codec: Codec::new(number),
        node: NodeSettings::new(NodeKey(7)),
        directory,
        stored: disk.stored(),
        store: disk.clone(),
        checks: 8,
        seed: 1,
        problems: problems.clone(),
    };
    let task = tokio::spawn(run(setup, requests, changes, stopped, || {}));
    Running {
        handle,
        changes: changed,
        problems,
        stop,
        task,
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
    registry
        .handle
        .register(web(), Origin::Container("c1".to_owned()))
        .await
        .unwrap();
    assert_eq!(registry.change().await.1, Some(State::Ready));
    let gone = registry
        .handle
        .address_gone("10.1.7.2".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(gone.len(), 1);
    assert_eq!(registry.change().await.1, None);
    assert!(disk.stored().is_empty());
    registry.end().await;
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
    let directory = std::env::temp_dir().join(format!("wayleave-services-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("web.toml");
    std::fs::write(
        &file,
        "[[service]]\nname = \"web\"\naddress = \"10.1.7.2\"\n",
    )
    .unwrap();
    let disk = Disk::default();
    let mut registry = start(&disk, Some(directory.clone()));
    assert_eq!(
        registry.change().await,
        ("10.1.7.2".to_owned(), Some(State::Ready))
    );
    assert!(
        disk.stored().is_empty(),
        "what stands in a file is not stored"
    );
    std::fs::write(
        &file,
        "[[service]]\nname = \"Web\"\naddress = \"10.1.7.2\"\n",
    )
    .unwrap();
    let reread = registry.handle.reload_files().await.unwrap();
    assert_eq!(reread.errors.len(), 1);
    assert_eq!((reread.registered, reread.deregistered), (vec![], vec![]));
    assert!(
        registry
            .problems
            .standing()
            .iter()
            .any(|problem| problem.problem.key.contains("file"))
    );
    assert_eq!(registry.handle.list().await.unwrap().len(), 1);
    std::fs::remove_file(&file).unwrap();
    let reread = registry.handle.reload_files().await.unwrap();
    assert_eq!((reread.registered, reread.errors), (vec![], vec![]));
    assert_eq!(reread.deregistered.len(), 1);
    assert_eq!(registry.change().await.1, None);
    assert!(registry.problems.standing().is_empty());
    registry.end().await;
    std::fs::remove_dir_all(&directory).unwrap();
}
