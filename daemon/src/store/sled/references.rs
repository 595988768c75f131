//! Reading in the journal what points to blobs, and holding the view against it. Knows that the view is only derived;
//! refuses to mend it: the next start makes it anew.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::digest::Digest;
use tokio::sync::oneshot;

use super::SledStore;
use crate::store::codec::decode_change;
use crate::store::journal::JournalReader;
use crate::store::packed::PackedTree;
use crate::store::references::References;
use crate::store::sequencer::{Request, Shown};
use crate::store::view::KvRecords;
use crate::store::{Records, StoreError};

impl SledStore {
    /// Reads on to the newest checkpoint, and compares the view with what was read.
    pub(super) fn read_references_on(
        &self,
        references: &mut References,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), StoreError> {
        // What other daemons committed by now counts, too.
        if self.shared.is_some() {
            let stopped = || StoreError::Unavailable("the daemon is stopping".to_owned());
            let (reply, caught_up) = oneshot::channel();
            self.requests.blocking_send(Request::CatchUp(u64::MAX, reply)).map_err(|_closed| stopped())?;
            let caught_up = caught_up.blocking_recv().map_err(|_closed| stopped())?;
            caught_up.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        read_on(&self.view.journal, &self.shown, references, goes_on)?;
        let differ = differing(&self.view.tree, references)?;
        if differ.is_empty() {
            return Ok(());
        }
        // The view may only have moved on: it is looked at again where nothing moves.
        references.compare_again(differ);
        let lost = self.look_still(references)?;
        if !lost.is_empty() {
            self.shown.doubt.raise();
            self.shown.in_doubt.store(true, Ordering::Relaxed);
        }
        for digest in lost {
            tracing::error!(
                %digest,
                "the view shows another count of references to a blob than the journal; its bytes are kept. Restart the \
                 daemon: the view is made anew from the journal"
            );
        }
        Ok(())
    }

    /// Reads on and compares between two batches, on the writing thread; what came since the last reading is little.
    fn look_still(&self, references: &mut References) -> Result<Vec<Digest>, StoreError> {
        let (done, result) = std::sync::mpsc::sync_channel(1);
        let (tree, journal, shown) = (self.view.tree.clone(), Arc::clone(&self.view.journal), Arc::clone(&self.shown));
        let mut taken = std::mem::take(references);
        let stopped = || StoreError::Unavailable("the daemon is stopping".to_owned());
        let work = move || {
            // The writing thread must outlive whatever sled does.
            let looked = catch_unwind(AssertUnwindSafe(|| {
                read_on(&journal, &shown, &mut taken, &|| true)?;
                Ok((differing(&tree, &mut taken)?, taken))
            }));
            // The one who waits may be gone; then nobody wants it.
            let _gone =
                done.send(looked.unwrap_or_else(|_panic| Err(StoreError::Corrupt("the view panicked".to_owned()))));
        };
        self.requests.blocking_send(Request::Still(Box::new(work))).map_err(|_closed| stopped())?;
        let (differ, taken) = result.recv().map_err(|_closed| stopped())??;
        *references = taken;
        Ok(differ)
    }
}

fn read_on(
    journal: &JournalReader,
    shown: &Shown,
    references: &mut References,
    goes_on: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    let size = shown.checkpoint.borrow().size;
    let mut position = references.position;
    journal.read_on(&mut position, size, &mut |record| {
        if !goes_on() {
            return Err(StoreError::Unavailable("the daemon is stopping".to_owned()));
        }
        references.take(&decode_change(record.change)?);
        Ok(())
    })?;
    references.position = position;
    Ok(())
}

/// The blobs of which the view shows another count.
fn differing(tree: &PackedTree, references: &mut References) -> Result<Vec<Digest>, StoreError> {
    let mut differ = Vec::new();
    for (digest, recorded) in references.take_uncompared() {
        if KvRecords(tree).blob(&digest)?.map_or(0, |blob| blob.refs) != recorded {
            differ.push(digest);
        }
    }
    Ok(differ)
}
