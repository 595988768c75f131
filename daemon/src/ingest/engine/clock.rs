//! What time and the kernel tell: timers, walks, and hints that something has changed. Knows when to look, and where; refuses
//! to know what a look shows.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use common::name::ItemId;

use crate::clock;
use crate::ingest::engine::taken::TakenStage;
use crate::ingest::engine::{Ended, Engine, FOLDER_LOOK, TICK};
use crate::ingest::jobs::Target;
use crate::ingest::names::{NameKind, Place};
use crate::ingest::watch::{Hints, Watch};

/// A file system that has not answered a look at the folder for so long is said not to.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// What is said of it.
const NO_ANSWER: &str = "the file system of the drop folder does not answer";

impl Engine {
    pub(super) fn next_due(&self) -> Instant {
        let is_at_work = !self.workers.is_empty();
        let first = self.timers.first().map(|(at, _)| *at);
        let tick = is_at_work.then_some(self.next_tick);
        let waits = !self.paused && !self.taking && !self.ready.is_empty();
        let take = waits.then_some(self.take_after);
        [first, tick, take, self.hints_at, Some(self.next_walk), Some(self.next_check)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.next_walk)
    }

    /// What is due by now.
    pub(super) fn clock(&mut self) {
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.shared.table().tick(now, clock::now_ms());
        }
        let Some(lanes) = self.lanes.clone() else {
            // Nothing else is to be done; `next_check` says when.
            self.next_walk = self.next_check + FOLDER_LOOK;
            return;
        };
        if self.hints_at.is_some_and(|at| at <= now) {
            self.hints_at = None;
            if let Some(hints) = self.watch.as_ref().map(Watch::take) {
                self.hints(hints);
            }
        }
        while let Some((at, id)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.due(id, at);
        }
        if now >= self.next_walk {
            self.next_walk = now + self.poll;
            self.walk_wanted = true;
        }
        if now >= self.next_check && !self.checking {
            self.next_check = now + FOLDER_LOOK;
            (self.checking, self.check_began) = (true, now);
            self.jobs.spawn_blocking(move || Ended::Checked(lanes.check()));
        } else if now >= self.next_check {
            self.next_check = now + FOLDER_LOOK;
            if now.duration_since(self.check_began) >= ANSWER_WAIT && !self.is_unanswered {
                self.is_unanswered = true;
                tracing::error!(dir = %self.settings.dir.display(), "{NO_ANSWER}");
                self.shared.table().folder.problem = Some(NO_ANSWER.to_owned());
            }
        }
    }

    pub(super) fn set_due(&mut self, id: ItemId, at: Option<Instant>) {
        let due = match (self.pending.get_mut(&id), self.taken.get_mut(&id)) {
            (Some(pending), _) => &mut pending.due,
            (None, Some(taken)) => &mut taken.due,
            (None, None) => return,
        };
        if let Some(old) = std::mem::replace(due, at) {
            self.timers.remove(&(old, id));
        }
        if let Some(at) = at {
            self.timers.insert((at, id));
        }
    }

    /// The time of an item has come.
    pub(super) fn due(&mut self, id: ItemId, at: Instant) {
        if let Some(pending) = self.pending.get_mut(&id) {
            if pending.due == Some(at) {
                pending.due = None;
                let place = pending.place.clone();
                self.look(place);
            }
            return;
        }
        let Some(taken) = self.taken.get_mut(&id).filter(|taken| taken.due == Some(at)) else { return };
        taken.due = None;
        match taken.stage {
            TakenStage::Settling => {
                let target = Target::Item(id, taken.place.clone());
                self.look_at(target);
            }
            TakenStage::Waiting => self.prepare_again(id),
            TakenStage::Preparing | TakenStage::Scheduled | TakenStage::Finishing | TakenStage::GivenUp => {}
        }
    }

    pub(super) fn look(&mut self, place: Place) {
        self.look_at(Target::Place(place));
    }

    pub(super) fn look_at(&mut self, target: Target) {
        if self.queued.insert(target.clone()) {
            self.to_look.push_back(target);
        }
    }

    pub(super) fn hints(&mut self, hints: Hints) {
        if hints.overflows != self.overflows {
            self.overflows = hints.overflows;
            self.shared.table().folder.overflows = hints.overflows;
            tracing::debug!("events of the drop folder were lost; it is walked");
        }
        self.walk_wanted |= hints.walk;
        self.watch_again |= hints.walk;
        for (folder, name) in hints.moved_in {
            if let Some(place) = self.place_at(&folder, name) {
                self.moved_in.insert(place);
            }
        }
        for (folder, name) in hints.names {
            if let Some(place) = self.place_at(&folder, name) {
                self.hint(place);
            } else if let Some(place) = self.open_folders.get(&folder) {
                self.look(place.clone());
            }
        }
    }

    pub(super) fn place_at(&self, folder: &Path, name: OsString) -> Option<Place> {
        let (root, namespace) = self.watched.get(folder)?.clone();
        Some(Place { root, namespace, name })
    }

    pub(super) fn hint(&mut self, place: Place) {
        match place.kind() {
            NameKind::Item | NameKind::Temporary => self.look(place),
            NameKind::Sidecar(of) | NameKind::Checksum(of) => {
                let item = place.beside(of);
                self.beside.entry(item.clone()).or_default().insert(place.name.clone());
                self.look(item);
                // Alone it may be gone.
                if self.by_place.contains_key(&place) {
                    self.look(place);
                }
            }
            NameKind::Namespace => self.walk_wanted = true,
            NameKind::Complete | NameKind::Ignored => {}
        }
    }
}
