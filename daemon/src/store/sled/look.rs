//! What a stopped log's journal says by itself, before anything is derived from it, cut or removed: that it is whole, the
//! log's keys, its head, and which signed heads it doesn't extend. Changes nothing of what is there; refuses to know what
//! follows from it.

use std::collections::BTreeMap;

use common::audit::{Checkpoint, Frontier, Hash, leaf_hash};

use super::recover::{
    Genesis, LAST_CHECKPOINT, LostHead, MARK, Stance, check_origin, judge, key_refused, read_record, root_here,
};
use super::restored::Restored;
use super::{OpenError, SledOptions};
use crate::store::StoreError;
use crate::store::journal::Journal;
use crate::store::keys::KeyDir;
use crate::store::mark::{HighWaterMark, read_checkpoint};
use crate::store::records::{LogKeysRecord, Write};

/// What was found.
pub(super) struct Looked {
    /// The log's name and keys.
    pub(super) keys: LogKeysRecord,
    /// How many entries there are.
    pub(super) size: u64,
    /// The root over them.
    pub(super) root: Hash,
    /// Signed heads that they don't extend; only with [`Stance::Accept`].
    pub(super) lost: Vec<LostHead>,
    /// Where they were restored from, where nothing tells what was signed since.
    pub(super) restored: Option<Restored>,
}

/// Reads the whole journal and holds the signed heads against it. The locks are held.
pub(super) fn look(options: &SledOptions, stance: Stance) -> Result<Looked, OpenError> {
    let log_dir = options.log_dir();
    let disk = &options.disk;
    let journal = Journal::open(disk, &log_dir, options.file_entries_max)?;
    let key_dir = KeyDir::new(&options.key_dir, disk);
    let Some(Genesis { keys: mut found, .. }) = Genesis::of(&journal)? else {
        return Err(OpenError::Refused(format!(
            "{} holds no log that could be gone on with; restore a copy of the data directory first",
            options.data_dir.display()
        )));
    };
    let mark = HighWaterMark::open(disk, options.key_dir.join("log.mark"))?;
    let mut verifiers = key_dir.verifiers().map_err(key_refused)?;
    verifiers.extend(found.current.vkey.parse());
    let signed = [
        (LAST_CHECKPOINT, read_checkpoint(disk, &log_dir.join("checkpoint"), &verifiers)?),
        (MARK, mark.last().checkpoint),
    ];
    let heads: Vec<(&'static str, Checkpoint)> =
        signed.into_iter().filter_map(|(what, head)| Some((what, head?))).collect();

    let mut frontier = Frontier::new();
    let mut roots: BTreeMap<u64, Hash> = BTreeMap::from([(0, frontier.root())]);
    journal.check_sequence(&mut |_index| false)?;
    journal.scan_from(0, &mut |record| {
        frontier.append(leaf_hash(record.leaf), |_level, _index, _hash| {});
        if heads.iter().any(|(_what, head)| head.size == frontier.size()) {
            roots.insert(frontier.size(), frontier.root());
        }
        for write in read_record(&record)?.1 {
            if let Write::PutLogKeys(brought) = write {
                found = brought;
            }
        }
        Ok(())
    })?;
    let (keys, size) = (found, frontier.size());
    check_origin(options, &keys)?;
    let mut lost = Vec::new();
    for (what, head) in heads {
        let root_at = |size: u64| {
            let missing = || StoreError::Corrupt(format!("the first {size} entries can't be read"));
            roots.get(&size).copied().ok_or_else(missing)
        };
        let held = keys.holds(&head, size, root_at)?;
        let here = root_here(options, &key_dir, &keys, held)?;
        judge(options, &keys, size, LostHead { what, head, here }, held, stance, &mut lost)?;
    }
    let restored = Restored::read(&log_dir)?.filter(|restored| restored.is_in_question(&mark));
    if let Some(restored) = restored.as_ref().filter(|_restored| stance == Stance::Refuse) {
        return Err(restored.refusal(options));
    }
    if stance == Stance::Accept && lost.is_empty() && restored.is_none() {
        return Err(OpenError::Refused(
            "the data extends all that was signed: there is nothing to accept, and the log keeps its name".to_owned(),
        ));
    }
    Ok(Looked { keys, size, root: frontier.root(), lost, restored })
}
