//! The thread that owns the database.

use std::sync::{Arc, mpsc::Receiver};

use redb::Database;
use tokio::sync::oneshot;

use super::{
    Opener,
    error::StoreError,
    record::{META, Write},
};

/// Writes that wait to become durable, and who waits for them.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) writes: Vec<Write>,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// Requests in one commit; the rest share the next.
const BATCH: usize = 256;

/// Serves requests until the last handle is dropped.
pub(super) fn run(database: Database, opener: Opener, queue: &Receiver<Request>) {
    let mut owner = Owner {
        database: Some(database),
        opener,
        broken: false,
    };
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        owner.serve(batch);
    }
}

struct Owner {
    /// `None` after a failure: the library refuses everything then, so the file is opened anew.
    database: Option<Database>,
    opener: Opener,
    /// A commit failed and no probe has succeeded since.
    broken: bool,
}

impl Owner {
    fn serve(&mut self, batch: Vec<Request>) {
        if self.broken
            && let Err(why) = self.probe()
        {
            for request in batch {
                // Who no longer waits needs no answer.
                let _ = request.done.send(Err(StoreError::Refusing {
                    why: why.to_string(),
                }));
            }
            return;
        }
        let outcome = self.commit(batch.iter().flat_map(|request| &request.writes));
        if let Err(why) = &outcome {
            tracing::error!(%why, "the state could not be written; refusing until it can");
            self.broken = true;
            self.database = None;
        }
        for request in batch {
            let answer = match &outcome {
                Ok(()) => Ok(()),
                Err(why) => Err(StoreError::Commit {
                    why: why.to_string(),
                }),
            };
            let _ = request.done.send(answer);
        }
    }

    /// Opens the file again and writes something to it.
    fn probe(&mut self) -> Result<(), Arc<str>> {
        let text = |error: &dyn std::fmt::Display| Arc::from(error.to_string());
        if self.database.is_none() {
            self.database = Some((self.opener)().map_err(|error| text(&error))?);
        }
        let probed = self.database.as_ref().map_or(Ok(()), probe_write);
        if let Err(error) = probed {
            self.database = None;
            return Err(text(&error));
        }
        tracing::info!("the state can be written again");
        self.broken = false;
        Ok(())
    }

    fn commit<'a>(&self, writes: impl Iterator<Item = &'a Write>) -> Result<(), redb::Error> {
        let Some(database) = &self.database else {
            return Err(redb::Error::PreviousIo);
        };
        let transaction = database.begin_write()?;
        for write in writes {
            let mut table = transaction.open_table(write.table.definition())?;
            match &write.value {
                Some(value) => drop(table.insert(write.key.as_str(), value.as_slice())?),
                None => drop(table.remove(write.key.as_str())?),
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn probe_write(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("probe", "")?;
    }
    transaction.commit()?;
    Ok(())
}
