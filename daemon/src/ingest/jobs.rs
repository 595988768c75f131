//! What is done with the folder on blocking threads, in batches. Each is a function from what is to be looked at or moved to
//! what came of it; refuses to know why.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use common::name::ItemId;

use crate::clock;
use crate::ingest::lanes::{Entry, Kind, Lanes, Seen, TakeError};
use crate::ingest::names::{NameKind, Place, Root, namespace_of};
use crate::ingest::process::{Prepared, Unprepared, prepare, sidecar_names};
use crate::ingest::settle::Writer;
use crate::ingest::table::REJECTED_MAX;
use crate::store::records::IngestRecord;

/// Records of items that were on another device than the drop folder is now are kept so long, milliseconds.
const RECORDS_KEPT_MS: i64 = 30 * clock::DAY_MS;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// What lies in a watched folder.
    Place(Place),
    /// A taken item.
    Item(ItemId, Place),
}

/// What a look showed.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) seen: Option<Seen>,
    /// The sidecars that are there.
    pub(crate) beside: Vec<(OsString, Seen)>,
    /// None where it was not asked.
    pub(crate) writer: Option<Writer>,
}

/// What is to be looked at.
pub(crate) struct ToLook {
    pub(crate) target: Target,
    /// Sidecars to look for besides the usual names.
    pub(crate) known: BTreeSet<OsString>,
    /// Whether to ask for writers.
    pub(crate) asks: bool,
}

/// Looks at one of them.
pub(crate) fn look(lanes: &Lanes, ToLook { target, known, asks }: &ToLook) -> io::Result<Shown> {
    let place = match target {
        Target::Item(item, place) => {
            let seen = lanes.look_taken(*item, place)?;
            let writer = writer_of(seen.as_ref(), *asks, || lanes.writer_taken(*item, place));
            return Ok(Shown { seen, beside: Vec::new(), writer });
        }
        Target::Place(place) => place,
    };
    let seen = lanes.look(place)?;
    if place.kind() != NameKind::Item {
        return Ok(Shown { seen, beside: Vec::new(), writer: None });
    }
    let mut names: BTreeSet<OsString> = sidecar_names(&place.name).into_iter().collect();
    names.extend(known.iter().cloned());
    let mut beside = Vec::new();
    for name in names {
        if let Some(seen) = lanes.look(&place.beside(name.clone()))? {
            beside.push((name, seen));
        }
    }
    let writer = writer_of(seen.as_ref(), *asks, || {
        // Whoever still writes a sidecar has not said all of it.
        let of_sidecar = |(name, seen): &(OsString, Seen)| match is_hostile(seen) {
            true => Writer::None,
            false => lanes.writer(&place.beside(name.clone())),
        };
        let all: Vec<Writer> = std::iter::once(lanes.writer(place)).chain(beside.iter().map(of_sidecar)).collect();
        let graver = [Writer::Some, Writer::Unknown].into_iter().find(|writer| all.contains(writer));
        graver.unwrap_or(Writer::None)
    });
    Ok(Shown { seen, beside, writer })
}

/// Nothing hostile is opened to ask whether it is being written.
fn writer_of(seen: Option<&Seen>, asks: bool, ask: impl FnOnce() -> Writer) -> Option<Writer> {
    match seen {
        Some(seen) if is_hostile(seen) => Some(Writer::None),
        Some(_) if asks => Some(ask()),
        Some(_) | None => None,
    }
}

/// Whether something is of a kind that is never taken in.
pub(crate) fn is_hostile(seen: &Seen) -> bool {
    match seen.kind {
        Kind::Other(_) => true,
        Kind::File => seen.links > 1,
        Kind::Folder => false,
    }
}

/// One watched folder, listed.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) root: Root,
    pub(crate) namespace: Option<String>,
    pub(crate) entries: Vec<Entry>,
}

/// Lists all watched folders.
///
/// # Errors
/// One of those that are the daemon's own can't be listed.
pub(crate) fn walk(lanes: &Lanes) -> io::Result<Vec<Listed>> {
    let mut all = Vec::new();
    for root in [Root::Top, Root::Incoming] {
        let entries = lanes.list(root, None)?;
        let namespaces: Vec<String> = entries
            .iter()
            .filter(|entry| entry.seen.tree.as_ref().is_some_and(|tree| tree.namespace))
            .filter_map(|entry| namespace_of(&entry.name))
            .map(str::to_owned)
            .collect();
        all.push(Listed { root, namespace: None, entries });
        for namespace in namespaces {
            match lanes.list(root, Some(&namespace)) {
                Ok(entries) => all.push(Listed { root, namespace: Some(namespace), entries }),
                // It is its owner's, who moved it away or closed it in between: no harm to what lies elsewhere.
                Err(error) => {
                    tracing::debug!(%error, namespace, "a namespace can't be listed; the next walk tries again")
                }
            }
        }
    }
    Ok(all)
}

/// What is to be taken.
#[derive(Debug)]
pub(crate) struct ToTake {
    pub(crate) id: ItemId,
    pub(crate) place: Place,
    pub(crate) seen: Seen,
    pub(crate) sidecars: Vec<OsString>,
    /// Where it was noted that it could not be moved.
    pub(crate) noted: Option<PathBuf>,
}

/// What came of a take.
#[derive(Debug)]
pub(crate) enum Took {
    Taken(Box<Result<Prepared, Unprepared>>),
    Not(TakeError),
}

/// Takes a batch, makes that durable once, and looks at what was taken.
pub(crate) fn take(lanes: &Lanes, batch: Vec<ToTake>) -> Vec<(ItemId, Took)> {
    let taken: Vec<(ToTake, Result<(), TakeError>)> = batch
        .into_iter()
        .map(|one| {
            let taken = lanes.take(one.id, &one.place, &one.seen, &one.sidecars);
            if let (Ok(()), Some(noted)) = (&taken, &one.noted)
                && let Err(error) = lanes.withdraw(one.id, &one.place, noted)
            {
                tracing::warn!(%error, item = %one.id, "the document of an item that could not be moved before stays in rejected/");
            }
            (one, taken)
        })
        .collect();
    let durable = if taken.iter().any(|(_, taken)| taken.is_ok()) { lanes.sync_taken() } else { Ok(()) };
    taken
        .into_iter()
        .map(|(one, taken)| {
            let prepared = match (taken, &durable) {
                (Err(error), _) => return (one.id, Took::Not(error)),
                (Ok(()), Ok(())) => prepare(lanes, one.id, &one.place, Some(&one.sidecars)),
                // It lies in `processing/`, and is asked to be made durable again before anything is made of it.
                (Ok(()), Err(error)) => Err(Unprepared::Io(copy_of(error))),
            };
            (one.id, Took::Taken(Box::new(prepared)))
        })
        .collect()
}

/// A taken item to look at, with its sidecars where they are known.
pub(crate) type ToPrepare = (ItemId, Place, Option<Vec<OsString>>);

/// Looks at items that were taken before.
pub(crate) fn prepare_batch(lanes: &Lanes, batch: Vec<ToPrepare>) -> Vec<(ItemId, Result<Prepared, Unprepared>)> {
    let durable = lanes.sync_taken();
    let one = |(id, place, beside): ToPrepare| {
        let prepared = match &durable {
            Ok(()) => prepare(lanes, id, &place, beside.as_deref()),
            Err(error) => Err(Unprepared::Io(copy_of(error))),
        };
        (id, prepared)
    };
    batch.into_iter().map(one).collect()
}

fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Whether a record of an item that does not lie in `processing/` is of no use any more. It is, while the item may only be
/// away: what lies there may be the empty folder below a mount that is to come.
pub(crate) fn may_be_forgotten(record: &IngestRecord, device: u64, now_ms: i64) -> bool {
    record.device == device || now_ms.saturating_sub(record.at_ms) > RECORDS_KEPT_MS
}

/// What is found at a start.
pub(crate) struct Found {
    pub(crate) taken: Vec<(ItemId, Place)>,
    /// Where each lies below the drop folder, with its document.
    pub(crate) rejected: Vec<(PathBuf, Vec<u8>)>,
    /// Whether the kernel can tell of everybody's files whether somebody writes to them.
    pub(crate) may_lease: bool,
}

/// The bit of `CAP_LEASE` in a set of capabilities (capability.h).
const CAP_LEASE: u32 = 28;

/// Whether the daemon may ask for leases on files of other users (proc(5), `CapEff`).
fn has_cap_lease() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
    set.and_then(|set| u64::from_str_radix(set, 16).ok()).is_some_and(|set| set >> CAP_LEASE & 1 == 1)
}

/// Looks at what an earlier run left, and makes the folders of namespaces.
pub(crate) fn find(lanes: &Lanes, namespaces: &BTreeSet<String>) -> io::Result<Found> {
    for namespace in namespaces {
        // Somebody may have put something else there: the others are taken in all the same.
        if let Err(error) = lanes.make_namespace(namespace) {
            tracing::warn!(%error, namespace, "the folder of a namespace can't be made");
        }
    }
    Ok(Found {
        taken: lanes.taken()?,
        rejected: lanes.rejected(REJECTED_MAX).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was refused before can't be listed");
            Vec::new()
        }),
        may_lease: has_cap_lease() && !lanes.is_remote(),
    })
}

#[cfg(test)]
mod tests {
    use common::name::ItemId;

    use super::{RECORDS_KEPT_MS, may_be_forgotten};
    use crate::store::records::{IngestOutcome, IngestRecord};

    /// A record outlives a start at which another file system lies where the drop folder was, and not for ever.
    #[test]
    fn records_of_a_mount_that_is_away_are_kept() {
        let record = IngestRecord {
            item: ItemId::from_u128(1),
            path: "x.bin".to_owned(),
            device: 7,
            inode: 8,
            owner_uid: 9,
            digest: None,
            size: 1,
            outcome: IngestOutcome::Rejected { problem: "invalid".to_owned(), detail: String::new() },
            at_ms: 1_000,
            index: 2,
        };
        assert!(may_be_forgotten(&record, 7, 1_000));
        assert!(!may_be_forgotten(&record, 6, 1_000 + RECORDS_KEPT_MS));
        assert!(may_be_forgotten(&record, 6, 1_001 + RECORDS_KEPT_MS));
    }
}
