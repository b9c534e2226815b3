//! The store on a disk that fails, loses power, or belongs to somebody else.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use wayleave_ipam::{Lease, Owner, ProofOfLife, Time};

use super::{
    disk::{Disk, Operation, apply},
    *,
};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wl-store-{}-{next}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn host() -> Host {
    Host {
        machine: Some("m1".to_owned()),
        boot: BootId(7),
    }
}

fn lease(n: u8) -> Lease {
    Lease {
        address: format!("10.1.7.{n}").parse().unwrap(),
        owner: Owner::new(format!("c{n}"), "eth0"),
        network: "fabric".to_owned(),
        pool: "green".to_owned(),
        alive: ProofOfLife {
            netns_cookie: n.into(),
            boot: BootId(7),
        },
        since: Time(n.into()),
    }
}

fn put(n: u8) -> Vec<Write> {
    vec![Write::lease(&lease(n)).unwrap()]
}

#[test]
fn what_was_committed_is_there_after_a_restart_and_the_key_stays() {
    let scratch = Scratch::new();
    let (store, first) = Store::open(&scratch.0, &host()).unwrap();
    assert_eq!((first.previous_boot, first.leases.len()), (None, 0));
    let service = Write::put_bytes(Table::Services, "web", b"opaque".to_vec());
    store
        .commit_blocking([put(1), put(2), vec![service]].concat())
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let gone = Write::forget_lease(lease(1).address);
    runtime.block_on(store.commit(vec![gone])).unwrap();
    drop(store);
    let second = reopen(&scratch.0, &host()).unwrap().1;
    assert_eq!(second.leases, [lease(2)]);
    assert_eq!(
        second.services,
        BTreeMap::from([("web".to_owned(), b"opaque".to_vec())])
    );
    assert_eq!(second.node_key, first.node_key);
    assert_ne!(second.node_key, 0);
    assert_eq!(second.previous_boot, Some(host().boot));
}

fn reopen(path: &Path, host: &Host) -> Result<(StoreHandle, Restored), StoreError> {
    closed(path);
    Store::open(path, host)
}

/// Waits for the owner thread of the store before to close the file; returns the file, opened.
fn closed(path: &Path) -> Database {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Database::open(path.join(FILE)) {
            Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            other => return other.unwrap(),
        }
    }
}

#[test]
fn a_second_agent_on_the_same_directory_is_refused() {
    let scratch = Scratch::new();
    let _first = Store::open(&scratch.0, &host()).unwrap();
    let error = Store::open(&scratch.0, &host()).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
}

#[test]
fn state_of_another_machine_and_of_a_newer_release_is_refused_untouched() {
    let scratch = Scratch::new();
    drop(Store::open(&scratch.0, &host()).unwrap());
    let other = Host {
        machine: Some("m2".to_owned()),
        ..host()
    };
    let before = content(&scratch.0);
    let error = reopen(&scratch.0, &other).unwrap_err();
    assert!(
        matches!(&error, StoreError::Foreign { found, here, .. } if found == "m1" && here == "m2")
    );
    assert!(error.to_string().contains("move it away"), "{error}");
    assert_eq!(content(&scratch.0), before);
    {
        let database = closed(&scratch.0);
        let write = database.begin_write().unwrap();
        write
            .open_table(record::META)
            .unwrap()
            .insert("schema", "2")
            .unwrap();
        write.commit().unwrap();
    }
    let before = content(&scratch.0);
    let error = reopen(&scratch.0, &host()).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 2, .. }),
        "{error}"
    );
    assert_eq!(content(&scratch.0), before);
}

/// The records; the library itself may note in the header that the file was opened.
fn content(path: &Path) -> (BTreeMap<String, String>, Vec<Records>) {
    use redb::{ReadableDatabase, ReadableTable};
    let database = closed(path);
    let read = database.begin_read().unwrap();
    let meta = read.open_table(record::META).unwrap();
    let meta = meta.iter().unwrap().map(|entry| {
        let (key, value) = entry.unwrap();
        (key.value().to_owned(), value.value().to_owned())
    });
    let tables = Table::ALL.map(|table| {
        let table = read.open_table(table.definition()).unwrap();
        let records = table.iter().unwrap().map(|entry| {
            let (key, value) = entry.unwrap();
            (key.value().to_owned(), value.value().to_vec())
        });
        records.collect()
    });
    (meta.collect(), tables.to_vec())
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("state"), &host()).unwrap_err();
    assert!(
        error.to_string().contains("file/state cannot be made"),
        "{error}"
    );
}

/// Cut short, emptied, overwritten, single bits turned: the file is refused, or what it holds is
/// what was written. Never anything else.
#[test]
fn a_damaged_file_is_refused_or_harmless() {
    let scratch = Scratch::new();
    let (store, _) = Store::open(&scratch.0, &host()).unwrap();
    for n in 0..50 {
        store.commit_blocking(put(n)).unwrap();
    }
    drop(store);
    let whole = reopen(&scratch.0, &host()).unwrap().1;
    assert_eq!(whole.leases.len(), 50);
    drop(closed(&scratch.0));
    let good = fs::read(scratch.0.join(FILE)).unwrap();
    let mut refused = 0;
    let mut harmless = 0;
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for round in 0..300u32 {
        let mut bytes = good.clone();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = usize::try_from(seed % good.len() as u64).unwrap();
        match round % 3 {
            0 => bytes[at] ^= 1 << (seed >> 61),
            1 => bytes.truncate(at),
            _ => {
                let end = (at + 512).min(bytes.len());
                bytes[at..end].fill(0);
            }
        }
        let damaged = Scratch::new();
        fs::write(damaged.0.join(FILE), &bytes).unwrap();
        match std::panic::catch_unwind(|| Store::open(&damaged.0, &host())) {
            Ok(Ok((_, restored))) => {
                assert_eq!(
                    restored, whole,
                    "round {round}: a wrong state went unnoticed"
                );
                harmless += 1;
            }
            Ok(Err(StoreError::Damaged { .. } | StoreError::Open { .. })) => refused += 1,
            Ok(Err(other)) => panic!("round {round}: {other}"),
            Err(_) => panic!("round {round}: a panic"),
        }
    }
    println!("300 damages: {refused} refused, {harmless} harmless");
    assert!(refused > 50, "the test must do damage: {refused}");
}

#[test]
fn a_disk_that_fills_up_refuses_until_there_is_space_and_loses_nothing() {
    let disk = Disk::default();
    let (store, _) = Store::open_with(disk.opener(), Path::new("memory"), &host()).unwrap();
    let mut durable = vec![];
    for n in 0..40 {
        // The disk fails during every fourth commit, a little later in each.
        if n % 4 == 3 {
            disk.0.fuse.store(u64::from(n / 4) + 1, Ordering::SeqCst);
            match store.commit_blocking(put(n)) {
                // The fuse was longer than the commit: the next one meets it.
                Ok(()) => durable.push(lease(n)),
                Err(error) => assert!(matches!(error, StoreError::Commit { .. }), "{error}"),
            }
            disk.0.fuse.store(1, Ordering::SeqCst);
            let error = store.commit_blocking(put(200)).unwrap_err();
            let told = matches!(
                error,
                StoreError::Refusing { .. } | StoreError::Commit { .. }
            );
            assert!(told, "{error}");
            let error = store.commit_blocking(put(201)).unwrap_err();
            assert!(matches!(error, StoreError::Refusing { .. }), "{error}");
            disk.0.fuse.store(0, Ordering::SeqCst);
        } else {
            store.commit_blocking(put(n)).unwrap();
            durable.push(lease(n));
        }
    }
    drop(store);
    let restored = reopened(&disk);
    for lease in &durable {
        assert!(restored.leases.contains(lease), "{} is lost", lease.address);
    }
    for refused in [200, 201] {
        assert!(
            !restored.leases.contains(&lease(refused)),
            "a refused write was made"
        );
    }
}

/// What a fresh process would find on a copy of the disk.
fn reopened(disk: &Disk) -> Restored {
    let copy = disk.copy();
    Store::open_with(copy.opener(), Path::new("memory"), &host())
        .unwrap()
        .1
}

/// The power goes at every point of the log. What was not flushed may be there or not, in any
/// choice and half of a write too; what was acknowledged must be.
#[test]
fn a_power_cut_at_any_point_leaves_the_old_or_the_new_state() {
    let disk = Disk::default();
    let (store, _) = Store::open_with(disk.opener(), Path::new("memory"), &host()).unwrap();
    let mut acknowledged = vec![(Disk::locked(&disk.0.log).len(), 0u8)];
    let first = acknowledged[0].0;
    for n in 1..=12 {
        store.commit_blocking(put(n)).unwrap();
        acknowledged.push((Disk::locked(&disk.0.log).len(), n));
    }
    drop(store);
    let log = Disk::locked(&disk.0.log).clone();
    let last = acknowledged[acknowledged.len() - 1].0;
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut cuts = 0;
    for cut in first..=last {
        for variant in 0..6 {
            let flushed = log[..cut]
                .iter()
                .rposition(|o| matches!(o, Operation::Sync));
            let mut bytes = Vec::new();
            for (at, operation) in log[..cut].iter().enumerate() {
                let durable = flushed.is_some_and(|flushed| at <= flushed);
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                match operation {
                    // A file's length is metadata: it may be lost like any write.
                    _ if durable || variant == 0 => apply(&mut bytes, operation),
                    Operation::Write(offset, data) if seed & 3 == 1 => {
                        // Torn within a sector boundary of the disk.
                        let part = (data.len() / 2).next_multiple_of(512).min(data.len());
                        let fits = usize::try_from(*offset).unwrap() + part <= bytes.len();
                        if fits {
                            apply(
                                &mut bytes,
                                &Operation::Write(*offset, data[..part].to_vec()),
                            );
                        }
                    }
                    Operation::Write(offset, data) if seed & 3 == 2 => {
                        let fits = usize::try_from(*offset).unwrap() + data.len() <= bytes.len();
                        if fits {
                            apply(&mut bytes, operation);
                        }
                    }
                    Operation::Length(_) if seed & 1 == 1 => apply(&mut bytes, operation),
                    Operation::Write(..) | Operation::Length(_) | Operation::Sync => {}
                }
            }
            let copy = Disk::default();
            *Disk::locked(&copy.0.bytes) = bytes;
            let opened = Store::open_with(copy.opener(), Path::new("memory"), &host());
            let restored = opened
                .unwrap_or_else(|error| panic!("cut {cut}.{variant}: {error}"))
                .1;
            let at_least = acknowledged
                .iter()
                .rev()
                .find(|(at, _)| *at <= cut)
                .unwrap()
                .1;
            let found = u8::try_from(restored.leases.len()).unwrap();
            assert!(
                found == at_least || found == at_least + 1,
                "cut {cut}.{variant}: {found} leases, {at_least} acknowledged"
            );
            let expected: Vec<Lease> = (1..=found).map(lease).collect();
            let mut leases = restored.leases;
            leases.sort_by_key(|lease| lease.since);
            assert_eq!(leases, expected);
            cuts += 1;
        }
    }
    println!("{cuts} power cuts");
}

#[test]
fn requests_that_wait_share_a_commit() {
    let disk = Disk::default();
    let (store, _) = Store::open_with(disk.opener(), Path::new("memory"), &host()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    store.commit_blocking(put(0)).unwrap();
    let one = disk.0.syncs.load(Ordering::SeqCst);
    store.commit_blocking(put(1)).unwrap();
    let per_commit = disk.0.syncs.load(Ordering::SeqCst) - one;
    assert!(per_commit > 0);
    let before = disk.0.syncs.load(Ordering::SeqCst);
    runtime.block_on(async {
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.commit(put(n)).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    let commits = (disk.0.syncs.load(Ordering::SeqCst) - before) / per_commit;
    println!("200 requests in {commits} commits");
    assert!(commits < 100, "{commits}");
    assert_eq!(reopened(&disk).leases.len(), 200);
}
