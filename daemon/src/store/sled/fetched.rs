//! Fetching what the database has and a replica's journal has not, before anything is derived. Knows that nothing gets into the
//! journal that doesn't come to the root that the head says; refuses to know what a replica is.
//!
//! The log is fetched twice where it is more than one piece: once to see that all of it comes to that root, and how far each
//! piece has come, and once to write, each piece compared before it is.

use std::collections::VecDeque;

use common::audit::{Frontier, Hash, leaf_hash};

use super::recover::read_record;
use super::{OpenError, SledOptions};
use crate::store::StoreError;
use crate::store::journal::{AppendError, Journal, Place, Record, Scanned, Spare};
use crate::store::merkle::HashFiles;
use crate::store::shared::writer::Writer;
use crate::store::shared::{Contradiction, Head, SharedError};

/// Sizes and roots at the ends of the pieces in which a log is fetched.
type Ends = VecDeque<(u64, Hash)>;

/// Appends all that the head says there is.
///
/// # Errors
/// [`OpenError`]; `Refused` where the entries don't come to the head's root, or a change is not what its entry says. Then
/// nothing of the piece in question was written.
pub(super) fn fill(
    options: &SledOptions,
    journal: &mut Journal,
    writer: &mut Writer,
    head: &Head,
) -> Result<(), OpenError> {
    let from = journal.next_index();
    if from >= head.size {
        return Ok(());
    }
    // The files of hashes are derived, and may be of another state.
    if let Ok(frontier) = HashFiles::new(&options.disk, &options.log_dir()).frontier(from)
        && let Some(ends) = look_ahead(writer, frontier.clone(), head)?
    {
        return write(journal, writer, head, frontier, ends);
    }
    let frontier = of_journal(journal)?;
    match look_ahead(writer, frontier.clone(), head)? {
        Some(ends) => write(journal, writer, head, frontier, ends),
        None => Err(contradicts(&frontier, head)),
    }
}

fn contradicts(here: &Frontier, head: &Head) -> OpenError {
    OpenError::Refused(Contradiction { here: (here.size(), here.root()), there: head }.to_string())
}

/// The frontier of the journal's own records.
fn of_journal(journal: &Journal) -> Result<Frontier, StoreError> {
    let mut frontier = Frontier::new();
    journal.scan_from(0, &mut |record| {
        append(&mut frontier, record.leaf);
        Ok(())
    })?;
    Ok(frontier)
}

fn append(frontier: &mut Frontier, leaf: &[u8]) {
    frontier.append(leaf_hash(leaf), |_level, _index, _hash| {});
}

/// Fetches all that comes behind a frontier, and keeps none of it. None: it doesn't come to the head's root.
fn look_ahead(writer: &mut Writer, mut frontier: Frontier, head: &Head) -> Result<Option<Ends>, SharedError> {
    let mut ends = Ends::new();
    while frontier.size() < head.size {
        for record in writer.fetch(frontier.size(), head.size)? {
            append(&mut frontier, &record.leaf);
        }
        ends.push_back((frontier.size(), frontier.root()));
    }
    Ok((frontier.root() == head.root).then_some(ends))
}

fn write(
    journal: &mut Journal,
    writer: &mut Writer,
    head: &Head,
    mut frontier: Frontier,
    ends: Ends,
) -> Result<(), OpenError> {
    for (size, root) in ends {
        let (before, first) = (frontier.clone(), frontier.size());
        let records = writer.fetch(first, size)?;
        for record in &records {
            append(&mut frontier, &record.leaf);
        }
        // It may be other octets than a moment ago.
        if (frontier.size(), frontier.root()) != (size, root) {
            return Err(contradicts(&before, head));
        }
        check_changes(first, &records)?;
        journal.append(&records, Spare::Keep).map_err(|error| match error {
            AppendError::NotWritten(error) => OpenError::Store(error.into()),
            AppendError::Lost(why) | AppendError::Unknown(why) => OpenError::Store(StoreError::Unavailable(why)),
        })?;
    }
    Ok(())
}

/// That each change is what its entry, which the root covers, says.
fn check_changes(first: u64, records: &[Record]) -> Result<(), StoreError> {
    for (index, record) in (first..).zip(records) {
        let place = Place { offset: 0, octets: 0 };
        read_record(&Scanned { index, place, leaf: &record.leaf, change: &record.change })?;
    }
    Ok(())
}
