//! The start, and the loss of the drop folder: what an earlier run left is taken up, and while the folder is gone nothing is
//! known of it. Knows what lies where; refuses to know what comes of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use common::api::{IngestKind, IngestState};
use common::name::ItemId;

use crate::clock;
use crate::ingest::documents::{Rejection, Stays};
use crate::ingest::engine::pending::{Stayed, created_ms};
use crate::ingest::engine::people::Refused;
use crate::ingest::engine::taken::{Taken, TakenStage};
use crate::ingest::engine::{Engine, FOLDER_LOOK, POLL_WITH_EVENTS, POLL_WITHOUT_EVENTS};
use crate::ingest::jobs;
use crate::ingest::jobs::Found;
use crate::ingest::lanes::{DONE, Lanes};
use crate::ingest::names::{Place, Root};
use crate::ingest::process::{self, Context};
use crate::ingest::queue::show_intake;
use crate::ingest::schedule::Schedule;
use crate::ingest::table::{DONE_KEPT_MS, DONE_MAX, Row};
use crate::ingest::watch::Watch;
use crate::registry::error::RegistryError;
use crate::registry::ingest::{Arrived, Item};
use crate::store::records::{IngestOutcome, IngestRecord};

/// Records that are read at once at a start.
const RECORDS_AT_ONCE: usize = 256;

impl Engine {
    pub(super) async fn begin(&mut self) {
        if let Err(why) = self.try_begin().await {
            self.lost(why);
        }
    }

    /// The folder was gone: perhaps it is there again.
    pub(super) async fn begin_again(&mut self) {
        self.next_check = Instant::now() + FOLDER_LOOK;
        let (dir, events) = (self.settings.dir.clone(), self.settings.events);
        let open = move || {
            let lanes = Lanes::open_again(&dir)?;
            Ok::<_, std::io::Error>(if events { lanes } else { lanes.written_elsewhere() })
        };
        let reopened = tokio::task::spawn_blocking(open).await;
        match reopened {
            Ok(Ok(lanes)) => {
                self.lanes = Some(Arc::new(lanes));
                match self.try_begin().await {
                    Ok(()) => tracing::info!(dir = %self.settings.dir.display(), "the drop folder is there again"),
                    Err(why) => self.lost(why),
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "the drop folder is still gone"),
            Err(error) => tracing::error!(%error, "the drop folder can't be opened again"),
        }
    }

    pub(super) async fn try_begin(&mut self) -> Result<(), String> {
        let Some(lanes) = self.lanes.clone() else { return Err("it is gone".to_owned()) };
        let registry = Arc::clone(&self.shared.registry);
        let told = |error: RegistryError| format!("the registry's records can't be read: {error}");
        if let Some(record) = registry.intake().await.map_err(told)? {
            self.paused = record.paused;
            show_intake(&mut self.shared.table(), &record);
        }
        let (on_thread, settings) = (Arc::clone(&lanes), Arc::clone(&self.settings));
        let found = tokio::task::spawn_blocking(move || jobs::find(&on_thread, &settings.namespaces)).await;
        let Found { taken, rejected, may_lease } =
            found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let mut recorded = BTreeMap::new();
        let mut after = None;
        loop {
            let page = registry.ingest_records(after, RECORDS_AT_ONCE).await.map_err(told)?;
            after = page.last().map(|record| record.item);
            let is_last = page.len() < RECORDS_AT_ONCE;
            recorded.extend(page.into_iter().map(|record| (record.item, record)));
            if is_last {
                break;
            }
        }
        self.context = Some(Arc::new(Context {
            registry: Arc::clone(&registry),
            lanes: Arc::clone(&lanes),
            settings: Arc::clone(&self.settings),
            leave: self.leave.subscribe(),
        }));
        self.begin_watching(&lanes);
        self.stayed.clear();
        for (id, place) in taken {
            let is_recorded = recorded.remove(&id).is_some();
            self.take_up(id, place, is_recorded);
        }
        for (path, document) in rejected.into_iter().rev() {
            self.list_rejected(path, &document, &mut recorded);
        }
        let (device, now_ms) = (lanes.device(), clock::now_ms());
        for arrived in registry.arrived_ingests(now_ms - DONE_KEPT_MS, DONE_MAX).await.map_err(told)? {
            self.list_arrived(arrived);
        }
        recorded.retain(|_, record| jobs::may_be_forgotten(record, device, now_ms));
        let own = registry.own_ingests(recorded.into_values().collect()).await.map_err(told)?;
        registry.forget_ingests(own);
        let now = Instant::now();
        (self.next_walk, self.next_check) = (now, now + FOLDER_LOOK);
        self.walk_wanted = true;
        let mut table = self.shared.table();
        table.folder.problem = None;
        table.folder.events = self.events;
        table.folder.poll_seconds = self.poll.as_secs().max(1);
        table.folder.settle_seconds =
            u64::try_from(self.settings.settle.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        tracing::info!(
            dir = %self.settings.dir.display(),
            events = self.events,
            poll_seconds = table.folder.poll_seconds,
            settle_ms = u64::try_from(self.settings.settle.as_millis()).unwrap_or(u64::MAX),
            leases = may_lease,
            "the drop folder is watched"
        );
        Ok(())
    }

    pub(super) fn begin_watching(&mut self, lanes: &Lanes) {
        self.watched.clear();
        self.open_folders.clear();
        self.watch = None;
        if self.settings.events {
            match Watch::new() {
                Ok(watch) => {
                    self.woken = Arc::clone(&watch.woken);
                    self.watch = Some(watch);
                }
                Err(why) => {
                    tracing::warn!(%why, "the kernel does not tell of changes in the drop folder; it is walked")
                }
            }
        }
        for root in [Root::Top, Root::Incoming] {
            self.watch_folder(lanes, root, None);
        }
        self.events = self.watch.is_some() && !lanes.is_remote();
        let usual = if self.events { POLL_WITH_EVENTS } else { POLL_WITHOUT_EVENTS };
        self.poll = self.settings.poll.unwrap_or(usual);
    }

    /// Watches a folder, if it is not watched. True where that is new.
    pub(super) fn watch_folder(&mut self, lanes: &Lanes, root: Root, namespace: Option<&str>) -> bool {
        let path = lanes.path_of(root, namespace);
        if self.watched.contains_key(&path) {
            return false;
        }
        if let Some(watch) = &mut self.watch
            && let Err(why) = watch.add(&path)
        {
            tracing::warn!(path = %path.display(), %why, "a folder can't be watched; its changes are found by walks");
        }
        self.watched.insert(path, (root, namespace.map(str::to_owned)));
        true
    }

    /// An item that an earlier run had taken.
    pub(super) fn take_up(&mut self, id: ItemId, place: Place, is_recorded: bool) {
        let now_ms = clock::now_ms();
        let mut row = Row::new(place.shown(), format!("processing/{id}"), IngestKind::File, now_ms);
        row.seen_at_ms = created_ms(id);
        let text = if is_recorded { "it is decided, and is moved" } else { "it was taken before the daemon started" };
        row.come_to(IngestState::Waiting, Some(text.to_owned()), now_ms);
        self.shared.table().insert(id, row);
        self.insert_taken(id, place, None, is_recorded);
        self.to_prepare.push_back(id);
    }

    pub(super) fn insert_taken(&mut self, id: ItemId, place: Place, beside: Option<Vec<OsString>>, is_recorded: bool) {
        let taken = Taken {
            place,
            beside,
            prepared: None,
            decided: None,
            may_be_decided: is_recorded,
            is_recorded,
            attempts: 0,
            stage: TakenStage::Preparing,
            settling: None,
            due: None,
            claimed: false,
        };
        self.taken.insert(id, taken);
    }

    /// An item that lies in `rejected/` from an earlier run.
    pub(super) fn list_rejected(
        &mut self,
        lies: PathBuf,
        document: &[u8],
        recorded: &mut BTreeMap<ItemId, IngestRecord>,
    ) {
        let Ok(found) = serde_json::from_slice::<Rejection>(document) else {
            tracing::warn!(
                path = common::shown::shown(&lies.to_string_lossy(), 200),
                "a document in `rejected/` can't be read; its file is not listed"
            );
            return;
        };
        let (Ok(id), Some(mut place)) = (found.item.parse::<ItemId>(), place_of_rejected(&lies, &found.item)) else {
            return;
        };
        if self.refused.contains_key(&id) || self.taken.contains_key(&id) {
            return;
        }
        // It could not be moved: a walk finds it, if it is there still.
        if let Some(stays) = &found.stays {
            place.name = stays_name(stays).unwrap_or(place.name);
            let discarded = recorded.get(&id).is_some_and(|of| matches!(of.outcome, IngestOutcome::Discarded { .. }));
            let stayed = Stayed {
                id,
                noted: lies.clone(),
                given_up: found.given_up.is_some() || discarded,
                detail: found.problem.detail.clone(),
                problem: found.problem.kind.strip_prefix("/problems/").map(str::to_owned),
                log_index: found.log_index,
                at_ms: clock::parse_rfc3339(&found.at).unwrap_or_else(clock::now_ms),
            };
            self.stayed.insert(stays.clone(), stayed);
            if discarded
                && found.given_up.is_none()
                && let Some(record) = recorded.remove(&id)
            {
                self.dismiss(place, lies, record, None);
            }
            return;
        }
        // It was taken off the list by hand.
        if found.given_up.is_some() {
            return;
        }
        // It was to be, when the daemon ended.
        let is_given_up = |record: &IngestRecord| matches!(record.outcome, IngestOutcome::Discarded { .. });
        if !found.is_of_discarded() && recorded.get(&id).is_some_and(is_given_up) {
            if let Some(record) = recorded.remove(&id) {
                self.dismiss(place, lies, record, None);
            }
            return;
        }
        let at_ms = clock::parse_rfc3339(&found.at).unwrap_or_else(clock::now_ms);
        let mut row = Row::new(found.path.clone(), lies.display().to_string(), IngestKind::File, at_ms);
        row.seen_at_ms = created_ms(id);
        row.come_to(IngestState::Rejected, Some(found.problem.detail), at_ms);
        (row.size, row.owner_uid, row.log_index) = (found.size, found.owner_uid, found.log_index);
        row.problem = found.problem.kind.strip_prefix("/problems/").map(str::to_owned);
        let item = Item {
            id,
            path: found.path,
            kind: IngestKind::File,
            device: 0,
            inode: 0,
            owner_uid: found.owner_uid,
            size: found.size,
            digest: None,
            stage: None,
        };
        self.refused.insert(id, Refused { place, lies, item, claimed: false });
        let mut table = self.shared.table();
        table.insert(id, row);
        table.count_rejected(id, false);
    }

    /// An item that came to a version in an earlier run, not long ago.
    fn list_arrived(&mut self, arrived: Arrived) {
        let Arrived { item: id, at_ms, size, .. } = arrived;
        let mut table = self.shared.table();
        if self.taken.contains_key(&id) || self.refused.contains_key(&id) || table.get(id).is_some() {
            return;
        }
        // Where exactly it lies there, its receipt tells.
        let place = format!("{DONE}/{}", process::date(at_ms));
        let mut row = Row::new(arrived.path, place, IngestKind::File, at_ms);
        row.seen_at_ms = created_ms(id);
        row.come_to(if arrived.is_held { IngestState::Quarantined } else { IngestState::Done }, None, at_ms);
        (row.size, row.octets_done, row.files) = (size, size, 1);
        (row.owner_uid, row.by) = (arrived.owner_uid, Some(arrived.by));
        (row.name, row.model, row.version) = (arrived.name, Some(arrived.model), Some(arrived.version));
        (row.digest, row.log_index) = (arrived.digest, Some(arrived.index));
        table.insert(id, row);
        table.count_done(id, size, at_ms, false);
    }

    /// The folder can't be used: everything that lies in it is forgotten until it is there again. Nothing is made of what
    /// is not there, and nothing is lost with it.
    pub(super) fn lost(&mut self, why: String) {
        let why = format!("the drop folder {} can't be used: {why}", self.settings.dir.display());
        let mut table = self.shared.table();
        if table.folder.problem.is_none() {
            tracing::error!("{why}; it is looked for every {} s", FOLDER_LOOK.as_secs());
        }
        table.folder.problem = Some(why);
        for id in self.pending.keys().chain(self.taken.keys()).chain(self.refused.keys()) {
            table.remove(*id);
        }
        drop(table);
        self.pending.clear();
        self.owners.clear();
        self.by_place.clear();
        self.ready.clear();
        self.taken.clear();
        self.refused.clear();
        self.stayed.clear();
        self.schedule = Schedule::new(self.settings.parallel);
        self.moved_in.clear();
        self.unfinished.clear();
        self.waiters.clear();
        self.retries.clear();
        self.to_look.clear();
        self.queued.clear();
        self.beside.clear();
        self.to_prepare.clear();
        self.to_finish.clear();
        self.timers.clear();
        self.watched.clear();
        self.open_folders.clear();
        self.watch = None;
        self.hints_at = None;
        self.walk_wanted = false;
        self.lanes = None;
        self.context = None;
        self.next_check = Instant::now() + FOLDER_LOOK;
    }
}

/// The name of something that stays where it was dropped; none where it is not as it was written.
fn stays_name(stays: &Stays) -> Option<OsString> {
    Path::new(&stays.place).file_name().map(OsString::from)
}

/// Where an item came from that lies at `rejected/<date>/[<namespace>/]<name>`.
fn place_of_rejected(lies: &Path, item: &str) -> Option<Place> {
    let below: Vec<OsString> = lies.components().skip(2).map(|part| part.as_os_str().to_owned()).collect();
    let (namespace, name) = match below.as_slice() {
        [name] => (None, name),
        [namespace, name] => (Some(namespace.to_str()?.to_owned()), name),
        _ => return None,
    };
    let name = match name.to_str().and_then(|text| text.strip_prefix(item)?.strip_prefix('-')) {
        Some(own) if !own.is_empty() => own.into(),
        Some(_) | None => name.clone(),
    };
    Some(Place { root: Root::Incoming, namespace, name })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::place_of_rejected;

    /// Where a refused item came from follows from where it lies; the id that made room for it goes.
    #[test]
    fn places_of_refused() {
        let place =
            |lies: &str| place_of_rejected(Path::new(lies), "01ITEM").map(|place| (place.namespace, place.name));
        assert_eq!(place("rejected/2026-01-01/x.bin"), Some((None, "x.bin".into())));
        assert_eq!(place("rejected/2026-01-01/nlp/x.bin"), Some((Some("nlp".to_owned()), "x.bin".into())));
        assert_eq!(place("rejected/2026-01-01/01ITEM-x.bin"), Some((None, "x.bin".into())));
        assert_eq!(place("rejected/2026-01-01"), None);
    }
}
