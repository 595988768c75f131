//! Items where they were dropped: until they are complete, and have been taken. Knows what looks and walks show; refuses to
//! know what is made of an item.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::api::{IngestKind, IngestState};
use common::name::ItemId;

use crate::config::ingest::DropFolder;
use crate::ingest::documents::Stays;
use crate::ingest::engine::{Ended, Engine, FOLDER_LOOK, TICK};
use crate::ingest::jobs::{Listed, Shown, Target, Took};
use crate::ingest::lanes::{Kind, Seen, TakeError};
use crate::ingest::names::{NameKind, Place, Root, namespace_of};
use crate::ingest::process;
use crate::ingest::settle::{Look, Settling, Verdict};
use crate::ingest::table::Row;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::ingest::Dropper;
use crate::store::records::{IngestOutcome, IngestRecord};
use crate::{clock, error_chain};

/// Items that are known before they are taken. Those beyond are found by a later walk.
const PENDING_MAX: usize = 100_000;
/// The same of one owner: nobody keeps all others out with what never becomes complete.
const PENDING_OF_OWNER_MAX: usize = PENDING_MAX / 2;
/// Where there were too many, a walk looks for the others when so few are left.
const PENDING_FEW: usize = PENDING_MAX / 4;
/// Folders that wait for somebody to say that they are complete, and are watched for it. Others are looked at from time to
/// time.
const OPEN_FOLDERS_MAX: usize = 512;
/// Folders that are watched, beyond which no empty folder becomes a namespace of itself: each is a folder that every walk reads,
/// and anybody who may drop files can make folders.
const WATCHED_MAX: usize = 1000;
/// A sidecar waits so long for its file, milliseconds.
const LONE_SIDECAR_MS: i64 = clock::DAY_MS;
/// What changed between a look and its take is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Where a pending item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is looked at until it is complete.
    Settling,
    /// It is complete, and waits to be taken.
    Ready,
    /// It is being taken.
    Taking,
    /// It can't be moved: refused where it lies, until it changes.
    Stuck,
}

/// An item where it was dropped.
pub(super) struct Pending {
    pub(super) place: Place,
    /// To whom it belonged when it was first seen.
    pub(super) owner_uid: u32,
    pub(super) phase: Phase,
    pub(super) settling: Settling,
    pub(super) last: Option<Seen>,
    pub(super) beside: BTreeMap<OsString, Seen>,
    pub(super) due: Option<Instant>,
    pub(super) claimed: bool,
    /// It is given up, and only to be moved.
    pub(super) discarded: bool,
    /// Where its document would lie beside it, if it was refused where it lies.
    pub(super) noted: Option<PathBuf>,
}

/// Something that an earlier run refused where it lies, as its document says.
pub(super) struct Stayed {
    pub(super) id: ItemId,
    pub(super) noted: PathBuf,
    pub(super) given_up: bool,
    pub(super) detail: String,
    pub(super) problem: Option<String>,
    pub(super) log_index: Option<u64>,
    pub(super) at_ms: i64,
}

impl Engine {
    pub(super) fn walked(&mut self, listed: Vec<Listed>) {
        let Some(lanes) = self.lanes.clone() else { return };
        self.shared.table().folder.walked_at = Some(clock::rfc3339(clock::now_ms()));
        let mut there: HashSet<Place> = HashSet::new();
        let mut folders: HashSet<PathBuf> = HashSet::new();
        let mut is_new_folder = false;
        if std::mem::take(&mut self.watch_again) {
            self.watched.clear();
            self.watch_open_again();
        }
        for Listed { root, namespace, entries } in listed {
            is_new_folder |= self.watch_folder(&lanes, root, namespace.as_deref());
            folders.insert(lanes.path_of(root, namespace.as_deref()));
            let place = |name: &OsString| Place { root, namespace: namespace.clone(), name: name.clone() };
            let names: HashSet<&OsString> = entries.iter().map(|entry| &entry.name).collect();
            for entry in &entries {
                let here = place(&entry.name);
                match here.kind() {
                    NameKind::Item => {
                        if !self.is_as_known(&here, &entry.seen) {
                            self.look(here.clone());
                        }
                    }
                    NameKind::Sidecar(of) | NameKind::Checksum(of) => {
                        let item = here.beside(of);
                        let is_known = match self.by_place.get(&item).and_then(|id| self.pending.get(id)) {
                            Some(pending) => pending.beside.get(&entry.name) == Some(&entry.seen),
                            None => !names.contains(&item.name) && self.is_as_known(&here, &entry.seen),
                        };
                        if !is_known {
                            self.beside.entry(item.clone()).or_default().insert(entry.name.clone());
                            self.look(item);
                        }
                    }
                    NameKind::Temporary => self.unfinished(here.clone(), Some(&entry.seen)),
                    NameKind::Complete | NameKind::Namespace | NameKind::Ignored => {}
                }
                there.insert(here);
            }
        }
        // What was pending and is not listed: a look decides.
        let gone: Vec<Place> = self.by_place.keys().filter(|place| !there.contains(place)).cloned().collect();
        for place in gone {
            self.look(place);
        }
        let away: Vec<PathBuf> = self.watched.keys().filter(|path| !folders.contains(*path)).cloned().collect();
        for path in away {
            self.watched.remove(&path);
            if let Some(watch) = &mut self.watch {
                watch.remove(&path);
            }
        }
        self.moved_in.retain(|place| there.contains(place));
        // What came into a folder between its listing and its watch, nobody told.
        self.walk_wanted |= is_new_folder && self.watch.is_some();
    }

    pub(super) fn is_as_known(&self, place: &Place, seen: &Seen) -> bool {
        let pending = self.by_place.get(place).and_then(|id| self.pending.get(id));
        pending.is_some_and(|pending| pending.last.as_ref() == Some(seen))
    }

    pub(super) fn looked(&mut self, target: Target, shown: std::io::Result<Shown>) {
        let shown = match (&target, shown) {
            (_, Ok(shown)) => shown,
            (Target::Place(place), Err(error)) => {
                tracing::debug!(path = process::shown(place), %error, "it can't be looked at");
                if let Some(id) = self.by_place.get(place).copied() {
                    self.set_due(id, Some(Instant::now() + FOLDER_LOOK));
                    self.wait(id, IngestState::Waiting, format!("it can't be looked at: {error}"));
                } else {
                    self.next_check = Instant::now();
                }
                return;
            }
            (Target::Item(id, _), Err(error)) => return self.failed(*id, format!("it can't be looked at: {error}")),
        };
        match target {
            Target::Item(id, _) => self.taken_looked(id, shown),
            Target::Place(place) => match place.kind() {
                NameKind::Item => self.item_looked(place, shown),
                NameKind::Sidecar(_) | NameKind::Checksum(_) => self.lone_looked(place, shown.seen),
                NameKind::Temporary => self.unfinished(place, shown.seen.as_ref()),
                NameKind::Complete | NameKind::Namespace | NameKind::Ignored => {}
            },
        }
    }

    /// Something with a name that says it is not finished.
    pub(super) fn unfinished(&mut self, place: Place, seen: Option<&Seen>) {
        let Some(seen) = seen else { return self.forget_place(&place) };
        let Some(id) = self.pending_at(&place, seen) else { return };
        let Some(pending) = self.pending.get_mut(&id) else { return };
        self.unfinished.insert((seen.device, seen.inode), id);
        pending.last = Some(seen.clone());
        let look = Look { seen: seen.clone(), beside: Vec::new(), writer: None, moved_in: false };
        if pending.discarded {
            return self.is_ready(id);
        }
        if let Verdict::Ask { reason, .. } = pending.settling.look(look, Instant::now(), self.rest) {
            self.wait(id, IngestState::Waiting, reason);
        }
    }

    /// A sidecar without its file.
    pub(super) fn lone_looked(&mut self, place: Place, seen: Option<Seen>) {
        let (NameKind::Sidecar(of) | NameKind::Checksum(of)) = place.kind() else { return };
        let Some(seen) = seen else { return self.forget_place(&place) };
        let item = place.beside(of);
        if self.by_place.contains_key(&item) {
            self.forget_place(&place);
            self.beside.entry(item.clone()).or_default().insert(place.name);
            return self.look(item);
        }
        let Some(id) = self.pending_at(&place, &seen) else { return };
        // Whoever looks at the file once it comes knows of it, however its ending is written.
        self.beside.entry(item.clone()).or_default().insert(place.name.clone());
        let Some(pending) = self.pending.get_mut(&id).filter(|pending| pending.phase != Phase::Taking) else { return };
        if pending.discarded {
            pending.last = Some(seen);
            return self.is_ready(id);
        }
        let changed_ms = i64::try_from(seen.changed_ns / 1_000_000).unwrap_or(i64::MAX);
        pending.last = Some(seen);
        let left_ms = LONE_SIDECAR_MS.saturating_sub(clock::now_ms().saturating_sub(changed_ms));
        let reason = format!("the file that it speaks of, `{}`, is not there", item.name.to_string_lossy());
        self.wait(id, IngestState::Waiting, reason);
        match u64::try_from(left_ms) {
            Ok(left_ms) if left_ms > 0 => self.set_due(id, Some(Instant::now() + Duration::from_millis(left_ms))),
            Ok(_) | Err(_) => self.is_ready(id),
        }
    }

    /// The pending item at a place; a new one if there is none, unless there are too many.
    pub(super) fn pending_at(&mut self, place: &Place, seen: &Seen) -> Option<ItemId> {
        // What the records say of an item holds for what it was then: what is there now is another.
        let is_another = |pending: &Pending| {
            let was = pending.last.as_ref();
            let is_same_file = was.is_some_and(|was| (was.device, was.inode) == (seen.device, seen.inode));
            (pending.phase == Phase::Stuck && was != Some(seen)) || (pending.discarded && !is_same_file)
        };
        if self.by_place.get(place).and_then(|id| self.pending.get(id)).is_some_and(is_another) {
            self.forget_place(place);
        }
        let kind = match (place.kind(), seen.kind) {
            (NameKind::Sidecar(_) | NameKind::Checksum(_), _) => IngestKind::Sidecar,
            (_, Kind::File) => IngestKind::File,
            (_, Kind::Folder) => IngestKind::Folder,
            (_, Kind::Other(_)) => IngestKind::Other,
        };
        let id = match self.by_place.get(place) {
            Some(id) => *id,
            None => match self.renamed_to(place, seen) {
                Some(id) => id,
                None if !self.has_room_for(seen.owner_uid) => return None,
                None => {
                    // Of what was given up where it lies, nothing is told until it changes.
                    let given_up = self.given_up_before(place, seen);
                    let id = new_id();
                    if given_up.is_none() {
                        let row = Row::new(place.shown(), lies_at(place), kind, clock::now_ms());
                        self.shared.table().insert(id, row);
                    }
                    self.by_place.insert(place.clone(), id);
                    *self.owners.entry(seen.owner_uid).or_default() += 1;
                    let pending = Pending {
                        place: place.clone(),
                        owner_uid: seen.owner_uid,
                        phase: if given_up.is_some() { Phase::Stuck } else { Phase::Settling },
                        settling: Settling::new(place.clone()),
                        last: given_up.is_some().then(|| seen.clone()),
                        beside: BTreeMap::new(),
                        due: None,
                        claimed: false,
                        discarded: false,
                        noted: given_up,
                    };
                    self.pending.insert(id, pending);
                    id
                }
            },
        };
        let by = by_of(&self.settings, seen.owner_uid);
        let name = process::name_of(place, kind).ok().map(|name| name.to_string());
        let is_item = place.kind() == NameKind::Item;
        self.shared.table().change(id, |row| {
            row.kind = kind;
            row.size = seen.size;
            row.files = seen.tree.as_ref().map_or(1, |tree| tree.files);
            row.owner_uid = seen.owner_uid;
            row.by = by;
            row.name = name.filter(|_| is_item && matches!(kind, IngestKind::File | IngestKind::Folder));
        });
        Some(id)
    }

    /// Whether another item of an owner may be known before it is taken.
    fn has_room_for(&mut self, owner_uid: u32) -> bool {
        let of_owner = self.owners.get(&owner_uid).copied().unwrap_or_default();
        if self.pending.len() < PENDING_MAX && of_owner < PENDING_OF_OWNER_MAX {
            return true;
        }
        if !std::mem::replace(&mut self.overfull, true) {
            let items = self.pending.len();
            tracing::warn!(items, owner_uid, of_owner, "more lies in the drop folder than is looked at at once");
        }
        false
    }

    /// What was known under the name of something unfinished, and lies here now.
    pub(super) fn renamed_to(&mut self, place: &Place, seen: &Seen) -> Option<ItemId> {
        let id = self.unfinished.remove(&(seen.device, seen.inode))?;
        let pending = self.pending.get_mut(&id).filter(|pending| pending.place.kind() == NameKind::Temporary)?;
        let before = std::mem::replace(&mut pending.place, place.clone());
        pending.settling.renamed(place.clone());
        self.by_place.remove(&before);
        self.by_place.insert(place.clone(), id);
        self.shared.table().change(id, |row| (row.path, row.place) = (place.shown(), lies_at(place)));
        Some(id)
    }

    /// What was pending at a place is no longer there.
    pub(super) fn forget_place(&mut self, place: &Place) {
        let Some(id) = self.by_place.get(place).copied() else { return };
        if self.pending.get(&id).is_some_and(|pending| pending.phase == Phase::Taking) {
            return;
        }
        self.forget_pending(id);
        self.shared.table().remove(id);
        self.answer(id);
    }

    pub(super) fn forget_pending(&mut self, id: ItemId) {
        self.set_due(id, None);
        if let Some(pending) = self.pending.remove(&id) {
            self.unwatch_open(&pending.place);
            if let NameKind::Sidecar(of) | NameKind::Checksum(of) = pending.place.kind() {
                let item = pending.place.beside(of);
                if let Some(names) = self.beside.get_mut(&item) {
                    names.remove(&pending.place.name);
                    if names.is_empty() {
                        self.beside.remove(&item);
                    }
                }
            }
            if let Some(of_owner) = self.owners.get_mut(&pending.owner_uid) {
                *of_owner -= 1;
                if *of_owner == 0 {
                    self.owners.remove(&pending.owner_uid);
                }
            }
            self.by_place.remove(&pending.place);
            if let Some(seen) = &pending.last
                && self.unfinished.get(&(seen.device, seen.inode)) == Some(&id)
            {
                self.unfinished.remove(&(seen.device, seen.inode));
            }
        }
        if self.overfull && self.pending.len() < PENDING_FEW {
            (self.overfull, self.walk_wanted) = (false, true);
        }
    }

    pub(super) fn wait(&self, id: ItemId, state: IngestState, reason: String) {
        self.shared.table().change(id, |row| row.come_to(state, Some(reason), clock::now_ms()));
    }

    pub(super) fn item_looked(&mut self, place: Place, shown: Shown) {
        let Shown { seen, beside, writer } = shown;
        let Some(seen) = seen else {
            self.forget_place(&place);
            for (name, seen) in beside {
                self.lone_looked(place.beside(name), Some(seen));
            }
            return;
        };
        for (name, _) in &beside {
            self.forget_place(&place.beside(name.clone()));
        }
        let Some(id) = self.pending_at(&place, &seen) else { return };
        let moved_in = self.moved_in.remove(&place);
        let Some(pending) = self.pending.get_mut(&id) else { return };
        match pending.phase {
            Phase::Taking => return,
            Phase::Stuck if pending.last.as_ref() == Some(&seen) => return,
            Phase::Stuck => pending.phase = Phase::Settling,
            Phase::Settling | Phase::Ready => {}
        }
        pending.beside = beside.into_iter().collect();
        pending.last = Some(seen.clone());
        if pending.discarded {
            return self.is_ready(id);
        }
        let now = Instant::now();
        let look = Look { seen, beside: pending.beside.values().cloned().collect(), writer, moved_in };
        match pending.settling.look(look, now, self.rest) {
            Verdict::Ready => self.is_ready(id),
            Verdict::Namespace { mark: false } => {
                self.forget_place(&place);
                self.new_namespace(&place);
            }
            Verdict::Namespace { mark: true } => {
                self.not_ready(id);
                if self.watched.len() >= WATCHED_MAX {
                    let reason = format!(
                        "empty, and there are {WATCHED_MAX} namespaces already: no more are made of empty folders; remove some, \
                         or put `.mreg-namespace` in it"
                    );
                    self.wait(id, IngestState::Waiting, reason);
                    return self.set_due(id, None);
                }
                let Some(lanes) = self.lanes.clone() else { return };
                self.jobs.spawn_blocking(move || {
                    let marked = lanes.mark_namespace(&place);
                    Ended::Marked(place, marked)
                });
            }
            Verdict::Wait { until, reason } => {
                self.not_ready(id);
                self.wait(id, IngestState::Seen, reason);
                if until > now {
                    self.set_due(id, Some(until));
                } else {
                    self.set_due(id, None);
                    self.look(place);
                }
            }
            Verdict::Ask { until, reason } => {
                self.not_ready(id);
                self.wait(id, IngestState::Waiting, reason);
                self.set_due(id, until);
                self.watch_open(place);
            }
        }
    }

    /// Watches a folder that waits for somebody to say that it is complete: what is put in it is seen at once.
    fn watch_open(&mut self, place: Place) {
        let Some(lanes) = &self.lanes else { return };
        let path = lanes.path_of(place.root, place.namespace.as_deref()).join(&place.name);
        if self.open_folders.contains_key(&path) || self.open_folders.len() >= OPEN_FOLDERS_MAX {
            return;
        }
        let Some(watch) = &mut self.watch else { return };
        match watch.add(&path) {
            Ok(()) => {
                self.open_folders.insert(path, place.clone());
                // What came between the look and the watch, nobody told.
                self.look(place);
            }
            Err(why) => {
                tracing::debug!(path = process::shown(&place), %why, "a folder that waits can't be watched; it is looked at");
            }
        }
    }

    /// It waits no longer, or lies elsewhere.
    fn unwatch_open(&mut self, place: &Place) {
        let Some(lanes) = &self.lanes else { return };
        let path = lanes.path_of(place.root, place.namespace.as_deref()).join(&place.name);
        // A namespace by now, it is watched as one.
        if self.open_folders.remove(&path).is_some()
            && !self.watched.contains_key(&path)
            && let Some(watch) = &mut self.watch
        {
            watch.remove(&path);
        }
    }

    /// The kernel watches folders, not names: another folder may have taken the name of one.
    fn watch_open_again(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        self.open_folders.retain(|path, _| watch.add(path).is_ok());
        let again: Vec<Place> = self.open_folders.values().cloned().collect();
        for place in again {
            self.look(place);
        }
    }

    pub(super) fn new_namespace(&mut self, place: &Place) {
        let Some(lanes) = self.lanes.clone() else { return };
        if let Some(name) = namespace_of(&place.name)
            && self.watch_folder(&lanes, place.root, Some(name))
        {
            self.walk_wanted = true;
        }
    }

    pub(super) fn marked(&mut self, place: Place, marked: std::io::Result<()>) {
        if self.lanes.is_none() {
            return;
        }
        match marked {
            Ok(()) => {
                tracing::info!(path = process::shown(&place), "an empty folder of the drop folder is a namespace now");
                self.forget_place(&place);
                self.new_namespace(&place);
            }
            Err(error) => {
                if let Some(id) = self.by_place.get(&place).copied() {
                    let reason = format!("it is empty, and can't be made a namespace: {error}");
                    self.wait(id, IngestState::Waiting, reason);
                    self.set_due(id, Some(Instant::now() + FOLDER_LOOK));
                }
            }
        }
    }

    pub(super) fn not_ready(&mut self, id: ItemId) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.phase = Phase::Settling;
        }
    }

    pub(super) fn is_ready(&mut self, id: ItemId) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        if pending.phase != Phase::Ready {
            pending.phase = Phase::Ready;
            self.ready.push_back(id);
            if pending.discarded {
                self.take_after = Instant::now();
            }
        }
        self.set_due(id, None);
        let reason = self.reason_to_wait();
        self.wait(id, IngestState::Waiting, reason);
    }

    pub(super) fn reason_to_wait(&self) -> String {
        if self.paused { "the drop folder is paused" } else { "it waits for its turn" }.to_owned()
    }

    pub(super) fn took(&mut self, id: ItemId, took: Took) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let prepared = match took {
            Took::Taken(prepared) => prepared,
            Took::Not(error) => {
                pending.phase = Phase::Settling;
                let place = pending.place.clone();
                match error {
                    // Not at once: a look that sees no change would be followed by the same take.
                    TakeError::Changed => self.set_due(id, Some(Instant::now() + LOOK_AGAIN)),
                    TakeError::Refused(why) => self.refuse_in_place(id, why),
                    TakeError::Io(error) => {
                        tracing::warn!(path = process::shown(&place), %error, "a dropped file can't be taken");
                        self.wait(id, IngestState::Waiting, format!("it can't be taken: {error}"));
                        let now = Instant::now();
                        self.set_due(id, Some(now + FOLDER_LOOK));
                        self.take_after = now + TICK;
                        self.next_check = now;
                    }
                }
                return self.answer(id);
            }
        };
        let (place, beside) = (pending.place.clone(), pending.beside.keys().cloned().collect());
        let discarded = pending.discarded;
        self.forget_pending(id);
        self.shared.table().change(id, |row| row.place = format!("processing/{id}"));
        self.insert_taken(id, place.clone(), Some(beside), discarded);
        self.prepared(id, *prepared);
        // Another of the same name may have come before this one was gone, and nobody would tell again.
        self.look(place);
    }

    /// It can't be moved: it is refused where it lies.
    pub(super) fn refuse_in_place(&mut self, id: ItemId, why: String) {
        let (Some(context), Some(pending)) = (self.context.clone(), self.pending.get_mut(&id)) else { return };
        let Some(seen) = pending.last.clone() else { return };
        pending.phase = Phase::Stuck;
        let place = pending.place.clone();
        let stays = stays_of(&place, &seen);
        if let Some(stayed) = self.stayed.remove(&stays) {
            return self.stays_refused(id, stayed);
        }
        tracing::warn!(path = process::shown(&place), %why, "a dropped file is refused where it lies");
        self.wait(id, IngestState::Rejected, why.clone());
        self.jobs.spawn(async move {
            let error = RegistryError::invalid("file", why);
            let item = process::item(id, &place, kind_now(&seen), &seen, None, None);
            let recorded = match process::reject(&context, None, item, &error).await {
                Ok(record) => {
                    // Whoever dropped it learns of it there, as of all that is refused.
                    let noted = process::note(&context, place, &record, &error, stays).await;
                    let noted = noted.inspect_err(|error| {
                        tracing::warn!(item = %id, %error, "the document of what is refused where it lies can't be written");
                    });
                    Ok((record, noted.ok()))
                }
                Err(failure) => Err(failure),
            };
            // It is not in `processing/`: no start would ask for the record.
            context.registry.forget_ingests(vec![id]);
            Ended::RefusedInPlace(id, recorded)
        });
    }

    /// An earlier run has refused it already, as it is: nothing is recorded again.
    fn stays_refused(&mut self, id: ItemId, stayed: Stayed) {
        let Some(mut row) = self.shared.table().get(id).cloned() else { return };
        let Some(mut pending) = self.pending.get(&id).map(|pending| pending.copy_at_rest()) else { return };
        self.forget_pending(id);
        self.answer(id);
        row.come_to(IngestState::Rejected, Some(stayed.detail), stayed.at_ms);
        row.seen_at_ms = created_ms(stayed.id);
        (row.problem, row.log_index) = (stayed.problem, stayed.log_index);
        pending.noted = Some(stayed.noted);
        *self.owners.entry(pending.owner_uid).or_default() += 1;
        self.by_place.insert(pending.place.clone(), stayed.id);
        self.pending.insert(stayed.id, pending);
        let mut table = self.shared.table();
        table.remove(id);
        table.insert(stayed.id, row);
        table.count_rejected(stayed.id, false);
    }

    /// Where the document lies of something that was refused where it lies, and given up, before the daemon started.
    fn given_up_before(&self, place: &Place, seen: &Seen) -> Option<PathBuf> {
        if self.stayed.is_empty() {
            return None;
        }
        self.stayed.get(&stays_of(place, seen)).filter(|stayed| stayed.given_up).map(|stayed| stayed.noted.clone())
    }

    pub(super) fn refused_in_place(&mut self, id: ItemId, recorded: Result<(IngestRecord, Option<PathBuf>), Failure>) {
        match recorded {
            Ok((record, noted)) => {
                if let Some(pending) = self.pending.get_mut(&id) {
                    pending.noted = noted;
                }
                let mut table = self.shared.table();
                table.change(id, |row| {
                    row.log_index = Some(record.index);
                    if let IngestOutcome::Rejected { problem, .. } = record.outcome {
                        row.problem = Some(problem);
                    }
                });
                table.count_rejected(id, true);
            }
            Err(failure) => {
                tracing::warn!(error = error_chain(&failure.error), "a refusal can't be recorded; it is tried again");
                if let Some(pending) = self.pending.get_mut(&id) {
                    (pending.phase, pending.last) = (Phase::Settling, None);
                    self.set_due(id, Some(Instant::now() + FOLDER_LOOK));
                }
            }
        }
    }
}

/// The user that acts for files of a user of the machine, as people see it.
pub(super) fn by_of(settings: &DropFolder, uid: u32) -> Option<String> {
    process::dropper_of(settings, uid).map(|dropper| match dropper {
        Dropper::User(name) => name.to_string(),
        Dropper::Watcher(_) => "watcher".to_owned(),
    })
}

pub(super) fn kind_now(seen: &Seen) -> IngestKind {
    match seen.kind {
        Kind::File => IngestKind::File,
        Kind::Folder => IngestKind::Folder,
        Kind::Other(_) => IngestKind::Other,
    }
}

fn lies_at(place: &Place) -> String {
    match place.root {
        Root::Top => place.shown(),
        Root::Incoming => format!("incoming/{}", place.shown()),
    }
}

/// How something that can't be moved is known again.
fn stays_of(place: &Place, seen: &Seen) -> Stays {
    let mut mark = format!("{}-{}", seen.inode, seen.changed_ns);
    for octet in seen.tree.iter().flat_map(|tree| tree.print) {
        // Nothing goes wrong in writing to a string.
        let _ = write!(mark, "{octet:02x}");
    }
    Stays { place: lies_at(place), mark }
}

impl Pending {
    /// The same, as what is not to be touched until it changes.
    fn copy_at_rest(&self) -> Self {
        Self {
            place: self.place.clone(),
            owner_uid: self.owner_uid,
            phase: Phase::Stuck,
            settling: Settling::new(self.place.clone()),
            last: self.last.clone(),
            beside: self.beside.clone(),
            due: None,
            claimed: false,
            discarded: false,
            noted: self.noted.clone(),
        }
    }
}

/// A new item's id: 48 bits of time, 80 of chance.
fn new_id() -> ItemId {
    let mut random = [0; 10];
    let now_ms = u128::from(u64::try_from(clock::now_ms()).unwrap_or_default());
    if let Err(error) = getrandom::fill(&mut random) {
        // Ids must differ, and nothing more.
        tracing::warn!(%error, "the kernel gives no random octets");
        let now = clock::now_ms().to_be_bytes();
        random[..now.len()].copy_from_slice(&now);
    }
    let random = random.iter().fold(0, |bits: u128, octet| bits << 8 | u128::from(*octet));
    ItemId::from_u128((now_ms << 80) | random)
}

/// When an id was given, milliseconds since the epoch.
pub(super) fn created_ms(id: ItemId) -> i64 {
    i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{created_ms, new_id};
    use crate::clock;

    /// Ids tell when they were given, and differ.
    #[test]
    fn ids() {
        let (before, one, other) = (clock::now_ms(), new_id(), new_id());
        assert!((before..=clock::now_ms()).contains(&created_ms(one)));
        assert_ne!(one, other);
    }
}
