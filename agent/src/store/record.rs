//! Tables, what is written to them, and what is read from them at start.

use std::{collections::BTreeMap, fs::File, io::Read, net::IpAddr, path::Path};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};
use wayleave_ipam::{BootId, Lease};

use super::{Host, Records, SCHEMA, error::StoreError};

/// A table of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// [`Lease`]s by address.
    Leases,
    /// Attachments by container and interface, those under way included.
    Attachments,
    /// Registered services by instance.
    Services,
}

impl Table {
    pub(super) const ALL: [Table; 3] = [Table::Leases, Table::Attachments, Table::Services];

    pub(super) const fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(match self {
            Table::Leases => "leases",
            Table::Attachments => "attachments",
            Table::Services => "services",
        })
    }
}

/// `schema`, `machine`, `node_key`, `boot`: as text.
pub(super) const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");

/// One record to be written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub(super) table: Table,
    pub(super) key: String,
    /// `None` deletes; what is not there needs no deleting.
    pub(super) value: Option<Vec<u8>>,
}

impl Write {
    /// Writes a value under a key, in place of what is there.
    ///
    /// # Errors
    /// When the value has no JSON form, such as a map whose keys are no strings.
    pub fn put<T: Serialize>(
        table: Table,
        key: impl Into<String>,
        value: &T,
    ) -> Result<Self, StoreError> {
        let value = serde_json::to_vec(value).map_err(|error| StoreError::Encode {
            why: error.to_string(),
        })?;
        Ok(Self::put_bytes(table, key, value))
    }

    /// Writes a value that is encoded already.
    pub fn put_bytes(table: Table, key: impl Into<String>, value: Vec<u8>) -> Self {
        let key = key.into();
        Self {
            table,
            key,
            value: Some(value),
        }
    }

    /// Deletes what is under a key.
    pub fn delete(table: Table, key: impl Into<String>) -> Self {
        let key = key.into();
        Self {
            table,
            key,
            value: None,
        }
    }

    /// Writes a lease.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn lease(lease: &Lease) -> Result<Self, StoreError> {
        Self::put(Table::Leases, lease.address.to_string(), lease)
    }

    /// Deletes the lease of an address.
    #[must_use]
    pub fn forget_lease(address: IpAddr) -> Self {
        Self::delete(Table::Leases, address.to_string())
    }
}

/// What a start finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The node's key: random, made once, kept as long as the state.
    pub node_key: u64,
    /// The boot during which the state was opened last; `None` when it is new.
    pub previous_boot: Option<BootId>,
    /// The leases, by address.
    pub leases: Vec<Lease>,
    /// Attachments as they were encoded.
    pub attachments: Records,
    /// Services as they were encoded.
    pub services: Records,
}

/// Decodes all records of a table.
///
/// # Errors
/// Names the record that cannot be read.
pub(crate) fn decode<T: DeserializeOwned>(
    records: &Records,
) -> Result<BTreeMap<String, T>, String> {
    records
        .iter()
        .map(|(key, value)| match serde_json::from_slice(value) {
            Ok(value) => Ok((key.clone(), value)),
            Err(error) => Err(format!("the record `{key}` cannot be read: {error}")),
        })
        .collect()
}

/// Checks whose state it is, reads all of it, and notes the running boot.
pub(super) fn restore(
    database: &Database,
    path: &Path,
    host: &Host,
) -> Result<Restored, StoreError> {
    let meta = read_meta(database).map_err(|error| StoreError::damaged(path, error))?;
    if let Some(schema) = meta.get("schema") {
        let found: u32 = schema
            .parse()
            .map_err(|_| StoreError::damaged(path, format!("schema `{schema}`")))?;
        if found > SCHEMA {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
            });
        }
    }
    if let (Some(found), Some(here)) = (meta.get("machine"), &host.machine)
        && found != here
    {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
            found: found.clone(),
            here: here.clone(),
        });
    }
    let node_key = match meta.get("node_key") {
        Some(text) => u64::from_str_radix(text, 16)
            .map_err(|_| StoreError::damaged(path, format!("node key `{text}`")))?,
        None if meta.is_empty() => random_key().map_err(|error| StoreError::Open {
            path: path.to_owned(),
            why: format!("no random key can be made: {error}"),
        })?,
        None => return Err(StoreError::damaged(path, "the node key is missing")),
    };
    let mut tables = BTreeMap::new();
    for table in Table::ALL {
        let records =
            read_table(database, table).map_err(|error| StoreError::damaged(path, error))?;
        tables.insert(table, records);
    }
    let mut take = |table| tables.remove(&table).unwrap_or_default();
    let leases: BTreeMap<String, Lease> =
        decode(&take(Table::Leases)).map_err(|why| StoreError::damaged(path, why))?;
    let previous_boot = match meta.get("boot") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|error| StoreError::damaged(path, error))?,
        ),
    };
    let restored = Restored {
        node_key,
        previous_boot,
        leases: leases.into_values().collect(),
        attachments: take(Table::Attachments),
        services: take(Table::Services),
    };
    write_meta(database, node_key, host).map_err(|error| StoreError::Open {
        path: path.to_owned(),
        why: format!("it cannot be written: {error}"),
    })?;
    Ok(restored)
}

fn read_meta(database: &Database) -> Result<BTreeMap<String, String>, redb::Error> {
    let read = database.begin_read()?;
    let table = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut meta = BTreeMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        meta.insert(key.value().to_owned(), value.value().to_owned());
    }
    Ok(meta)
}

fn read_table(database: &Database, table: Table) -> Result<Records, redb::Error> {
    let read = database.begin_read()?;
    let table = match read.open_table(table.definition()) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Records::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Records::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.insert(key.value().to_owned(), value.value().to_vec());
    }
    Ok(records)
}

fn write_meta(database: &Database, node_key: u64, host: &Host) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert("schema", SCHEMA.to_string().as_str())?;
        meta.insert("node_key", format!("{node_key:016x}").as_str())?;
        meta.insert("boot", host.boot.to_string().as_str())?;
        if let Some(machine) = &host.machine {
            meta.insert("machine", machine.as_str())?;
        }
        for table in Table::ALL {
            write.open_table(table.definition())?;
        }
    }
    write.commit()?;
    Ok(())
}

/// Read once in the life of the state; the kernel's pool is filled long before.
fn random_key() -> std::io::Result<u64> {
    let mut key = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(u64::from_ne_bytes(key))
}
