//! The whole log at once: into an empty database, back out of one, and one held against a replica. Blocks for as long as
//! that takes, in memory that doesn't grow with the log. Knows that what was copied counts only once it was read back;
//! refuses to know what a state is.

use std::sync::Arc;
use std::thread;

use common::audit::{Frontier, Hash, leaf_hash};
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use super::connect::answered;
use super::schema::LOCK_CLASS;
use super::writer::Writer;
use super::{Contradiction, Head, SharedError};
use crate::config::database::SharedDatabase;
use crate::store::StoreError;
use crate::store::check::Listener;
use crate::store::journal::{JournalReader, Position, Record};
use crate::store::merkle::HashFiles;
use crate::store::records::LogKeysRecord;
use crate::store::sled::{Derived, owned, root_of};

/// Records of the journal that are read ahead.
const AHEAD: usize = 64;
/// The advisory lock that every daemon holds together with all others, as long as it follows the log.
pub(super) const LOCK_DAEMONS: i32 = 2;
/// Differences that are told.
const TOLD_MAX: usize = 100;

/// Refuses a database in which a log was begun.
///
/// # Errors
/// [`SharedError::Refused`].
pub(crate) fn require_empty(head: &Head) -> Result<(), SharedError> {
    if head.size == 0 && head.moved.is_none() {
        return Ok(());
    }
    Err(SharedError::Refused(format!(
        "there is a log of {} entries in the database, and only an empty one is copied to; name another database, or drop the \
         schema mreg there if its log is not needed any more",
        head.size
    )))
}

/// Refuses as long as a daemon follows the log.
///
/// # Errors
/// [`SharedError`].
pub(crate) fn require_nobody(writer: &mut Writer) -> Result<(), SharedError> {
    let alone: bool = writer.unbounded(async |client| {
        let lock = client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&LOCK_CLASS, &LOCK_DAEMONS]);
        answered(lock).await.map(|row| row.get(0))
    })?;
    if alone {
        return Ok(());
    }
    Err(SharedError::Refused("a daemon still works with the database; stop all of them first".to_owned()))
}

/// Reads the journal's records up to a size, on a thread of its own.
fn records(journal: &Arc<JournalReader>, size: u64) -> Result<mpsc::Receiver<Result<Record, StoreError>>, StoreError> {
    let (send, receive) = mpsc::channel(AHEAD);
    let journal = Arc::clone(journal);
    thread::Builder::new().name("mregd-copy".to_owned()).spawn(move || {
        let gone = || StoreError::Unavailable("nobody reads on".to_owned());
        let read = journal.read_on(&mut Position::default(), size, &mut |record| {
            send.blocking_send(Ok(owned(&record))).map_err(|_gone| gone())
        });
        if let Err(error) = read {
            // Whoever is gone needs no reason.
            let _gone = send.blocking_send(Err(error));
        }
    })?;
    Ok(receive)
}

/// Copies the journal's first entries into an empty database, all or none: they count once they were read back there, and made
/// the same root and state.
///
/// # Errors
/// [`SharedError`].
pub(crate) fn copy_in(
    writer: &mut Writer,
    journal: &Arc<JournalReader>,
    size: u64,
    root: Hash,
    mut derived: Derived,
    state: [u8; 32],
) -> Result<(), SharedError> {
    let unread = |error: StoreError| SharedError::Refused(crate::error_chain(&error));
    require_nobody(writer)?;
    let head = writer.begin()?;
    require_empty(&head)?;
    let mut source = records(journal, size).map_err(unread)?;
    writer.in_turn(async |client| {
        let failed = |error: tokio_postgres::Error| SharedError::of(&error);
        let sink = client
            .copy_in("COPY mreg.log_entry (seq, leaf, change) FROM STDIN (FORMAT binary)")
            .await
            .map_err(failed)?;
        let rows = BinaryCopyInWriter::new(sink, &[Type::INT8, Type::BYTEA, Type::BYTEA]);
        let mut rows = std::pin::pin!(rows);
        let mut index: i64 = 0;
        while let Some(record) = source.recv().await {
            let record = record.map_err(unread)?;
            rows.as_mut().write(&[&index, &&*record.leaf, &record.change]).await.map_err(failed)?;
            index += 1;
        }
        rows.finish().await.map_err(failed)?;
        Ok(())
    })?;
    for_each(writer, size, &mut |records| derived.apply(records).map_err(unread))?;
    let (there, state_there, _keys) = derived.finish().map_err(unread)?;
    if (there, state_there) != (root, state) {
        return Err(SharedError::Refused(format!(
            "what was read back from the database has the root {there} and not {root}, or makes another state; nothing was \
             copied"
        )));
    }
    let size = i64::try_from(size).map_err(|_wide| SharedError::Refused("the log is too long".to_owned()))?;
    writer.in_turn(async |client| {
        let root: &[u8] = &root.0;
        answered(client.execute("UPDATE mreg.log_head SET size = $1, root = $2", &[&size, &root])).await?;
        answered(client.batch_execute("COMMIT")).await
    })?;
    writer.ended();
    Ok(())
}

/// Root and state that the entries in the database make, and the log's keys.
///
/// # Errors
/// [`SharedError`].
pub(crate) fn read_back(
    writer: &mut Writer,
    size: u64,
    mut derived: Derived,
) -> Result<(Hash, [u8; 32], LogKeysRecord), SharedError> {
    let unread = |error: StoreError| SharedError::Refused(crate::error_chain(&error));
    for_each(writer, size, &mut |records| derived.apply(records).map_err(unread))?;
    derived.finish().map_err(unread)
}

/// Visits the database's first entries, some at a time.
fn for_each(
    writer: &mut Writer,
    size: u64,
    visit: &mut dyn FnMut(&[Record]) -> Result<(), SharedError>,
) -> Result<(), SharedError> {
    let mut from = 0;
    while from < size {
        let records = writer.fetch(from, size)?;
        visit(&records)?;
        from += records.len() as u64;
    }
    Ok(())
}

/// Holds the database's log against the first entries of a replica, octet by octet. What differs is told.
///
/// # Errors
/// The replica can't be read. A database that doesn't answer is told like a difference: nothing is proved then.
pub(crate) fn compare(
    database: &SharedDatabase,
    journal: &Arc<JournalReader>,
    size: u64,
    hashes: &HashFiles,
    listener: &mut dyn Listener,
) -> Result<(), StoreError> {
    match compare_with(database, journal, size, hashes, listener) {
        Ok(()) => Ok(()),
        Err(Stopped::Database(error)) => {
            listener.failure("database".to_owned(), error.to_string());
            Ok(())
        }
        Err(Stopped::Replica(error)) => Err(error),
    }
}

enum Stopped {
    Database(SharedError),
    Replica(StoreError),
}

impl From<SharedError> for Stopped {
    fn from(error: SharedError) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Replica(error)
    }
}

fn compare_with(
    database: &SharedDatabase,
    journal: &Arc<JournalReader>,
    size: u64,
    hashes: &HashFiles,
    listener: &mut dyn Listener,
) -> Result<(), Stopped> {
    let mut writer = Writer::open(database)?;
    let head = writer.head()?;
    if head.size < size {
        let here = (size, root_of(hashes, size)?);
        listener.failure("database".to_owned(), Contradiction { here, there: &head }.to_string());
        return Ok(());
    }
    let mut source = records(journal, size)?;
    let mut frontier = Frontier::new();
    let mut told = 0;
    let mut from = 0;
    while from < head.size {
        // The listener may wait for a person's terminal; the database doesn't.
        let records = writer.fetch(from, head.size)?;
        for (index, there) in (from..).zip(&records) {
            frontier.append(leaf_hash(&there.leaf), |_level, _index, _hash| {});
            if index >= size {
                continue;
            }
            let missing = || StoreError::Corrupt(format!("journal record {index} is missing"));
            let here = source.blocking_recv().ok_or_else(missing)??;
            if here.leaf != there.leaf || here.change != there.change {
                told += 1;
                if told <= TOLD_MAX {
                    let what = "the entry in the database is another than in this daemon's replica".to_owned();
                    listener.failure(format!("entry {index}"), what);
                }
            }
        }
        from += records.len() as u64;
        listener.progress("database", from, head.size);
    }
    if frontier.root() != head.root {
        let what =
            format!("its {} entries have the root {}, but its head says {}", head.size, frontier.root(), head.root);
        listener.failure("database".to_owned(), what);
    }
    Ok(())
}
