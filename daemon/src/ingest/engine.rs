//! The task of the drop folder: it alone knows each item's next step. It waits for hints, the clock, commands and finished
//! work, and begins what is due; it never blocks, and everything it begins is bounded: one batch of looks, one of takes,
//! one walk, and as many items at work as there are places.
//!
//! An item is *pending* while it lies where it was dropped, then *taken* while it lies in `processing/`, then it is only a
//! row of the table. Everything here may be lost at any time: a start finds it all again on disk and in the records.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::api::{IngestKind, IngestState};
use common::name::ItemId;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};

use crate::config::ingest::DropFolder;
use crate::http::server::{Stop, raised};
use crate::ingest::documents::Rejection;
use crate::ingest::jobs::{self, Found, Listed, Shown, Target, ToLook, ToPrepare, ToTake, Took};
use crate::ingest::lanes::{Kind, Lanes, Seen, TakeError, lease};
use crate::ingest::names::{NameKind, Place, Root, namespace_of};
use crate::ingest::process::{self, CameTo, Context, Decided, Prepared, Unprepared, Work, Worked};
use crate::ingest::queue::{Claimed, Command, Purpose, Shared, not_found, show_intake};
use crate::ingest::schedule::{BIG_OCTETS, Job, Schedule};
use crate::ingest::settle::{Look, Rest, Settling, Verdict, Writer};
use crate::ingest::table::{ATTEMPTS_MAX, Progress, Row};
use crate::ingest::watch::{Hints, Watch};
use crate::registry::error::{Failure, RegistryError};
use crate::registry::ingest::{Dropper, Item};
use crate::store::records::{IngestOutcome, IngestRecord, IntakeRecord};
use crate::{clock, error_chain};

/// Looks, takes or preparations of one batch.
const BATCH: usize = 256;
/// Items that are taken and wait for a place, at most: the others wait where they were dropped.
const TAKEN_MAX: usize = 256;
/// Items that are taken and get no place for now, at most: somebody writes them, they wait for room or for a person. They
/// don't keep others from being taken, or whoever holds a few files open would hold up everybody.
const TAKEN_PARKED_MAX: usize = 10_000;
/// The same of big ones.
const TAKEN_BIG_MAX: usize = 16;
/// The same of those that become versions of one model, for they go one after the other.
const TAKEN_OF_MODEL_MAX: usize = 32;
/// Items that are known before they are taken. Those beyond are found by a later walk.
const PENDING_MAX: usize = 100_000;
/// The same of one owner: nobody keeps all others out with what never becomes complete.
const PENDING_OF_OWNER_MAX: usize = PENDING_MAX / 2;
/// Where there were too many, a walk looks for the others when so few are left.
const PENDING_FEW: usize = PENDING_MAX / 4;
/// Hints are collected for so long.
const HINTS_PAUSE: Duration = Duration::from_millis(20);
/// Walks where the kernel tells of changes, and where it does not.
const POLL_WITH_EVENTS: Duration = Duration::from_secs(60);
const POLL_WITHOUT_EVENTS: Duration = Duration::from_secs(5);
/// Where the kernel can't tell whether a file is open for writing, it rests so many times as long.
const UNSURE_FACTOR: u32 = 5;
/// A sidecar waits so long for its file, milliseconds.
const LONE_SIDECAR_MS: i64 = clock::DAY_MS;
/// The first wait after a failure, doubled with each …
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Where none of those that wait may be taken, they are gone through again after so long.
const TAKE_PAUSE: Duration = Duration::from_millis(50);
/// What changed between a look and its take is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// An item that waits for room looks for it so often.
const ROOM_LOOK: Duration = Duration::from_secs(30);
/// A folder that is gone is looked for so often, and one that is there is looked after.
const FOLDER_LOOK: Duration = Duration::from_secs(5);
/// A file system that has not answered such a look for so long is said not to.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// What is said of it.
const NO_ANSWER: &str = "the file system of the drop folder does not answer";
/// Rates are measured, and old items leave the list, so often.
const TICK: Duration = Duration::from_secs(1);
/// Records that are read at once at a start.
const RECORDS_AT_ONCE: usize = 256;
/// Problem of an item that is refused where it lies.
const OF_DISCARDED: &str = "given up by hand";

/// Where a pending item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
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
struct Pending {
    place: Place,
    /// To whom it belonged when it was first seen.
    owner_uid: u32,
    phase: Phase,
    settling: Settling,
    last: Option<Seen>,
    beside: BTreeMap<OsString, Seen>,
    due: Option<Instant>,
    claimed: bool,
    /// It is given up, and only to be moved.
    discarded: bool,
}

/// An item in `processing/`.
struct Taken {
    place: Place,
    /// What was taken along, where that is known.
    beside: Option<Vec<OsString>>,
    prepared: Option<Arc<Prepared>>,
    decided: Option<Arc<Decided>>,
    may_be_decided: bool,
    attempts: u32,
    stage: TakenStage,
    settling: Option<Settling>,
    due: Option<Instant>,
    claimed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TakenStage {
    /// It is to be looked at, or is.
    Preparing,
    /// It has its turn in the schedule, or is at work.
    Scheduled,
    /// It waits for its time.
    Waiting,
    /// Somebody still wrote it: it settles again.
    Settling,
    /// Only a person can help, or a start.
    GivenUp,
}

/// A refused item in `rejected/`.
struct Refused {
    place: Place,
    lies: PathBuf,
    item: Item,
    claimed: bool,
}

/// What a job came to.
enum Ended {
    Looked(Vec<(Target, std::io::Result<Shown>)>),
    Walked(std::io::Result<Vec<Listed>>),
    Took(Vec<(ItemId, Took)>),
    Prepared(Vec<(ItemId, Result<Prepared, Unprepared>)>),
    Marked(Place, std::io::Result<()>),
    Worked(ItemId, Worked),
    RefusedInPlace(ItemId, Result<IngestRecord, Failure>),
    Readmitted(ItemId, Result<(), TakeError>),
    Checked(std::io::Result<()>),
}

pub(crate) struct Engine {
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    settings: Arc<DropFolder>,
    /// None while the folder is gone.
    context: Option<Arc<Context>>,
    lanes: Option<Arc<Lanes>>,
    leave: watch::Sender<bool>,
    watch: Option<Watch>,
    woken: Arc<Notify>,
    watched: HashMap<PathBuf, (Root, Option<String>)>,
    paused: bool,
    events: bool,
    rest: Rest,
    poll: Duration,

    pending: HashMap<ItemId, Pending>,
    /// How many of them each owner has.
    owners: HashMap<u32, usize>,
    by_place: HashMap<Place, ItemId>,
    ready: VecDeque<ItemId>,
    taken: HashMap<ItemId, Taken>,
    refused: HashMap<ItemId, Refused>,
    schedule: Schedule,
    moved_in: HashSet<Place>,
    /// Pending items with names of something unfinished, by device and inode: they come back under other names.
    unfinished: HashMap<(u64, u64), ItemId>,
    waiters: HashMap<ItemId, Vec<oneshot::Sender<()>>>,
    retries: HashMap<ItemId, oneshot::Sender<Result<(), RegistryError>>>,

    to_look: VecDeque<Target>,
    queued: HashSet<Target>,
    beside: HashMap<Place, BTreeSet<OsString>>,
    to_prepare: VecDeque<ItemId>,
    timers: BTreeSet<(Instant, ItemId)>,

    jobs: JoinSet<Ended>,
    workers: HashMap<Id, ItemId>,
    looking: bool,
    walking: bool,
    taking: bool,
    preparing: bool,
    checking: bool,
    check_began: Instant,
    /// It was said of the check that has not ended.
    is_unanswered: bool,
    walk_wanted: bool,
    /// Folders are to be added to the kernel's watch again.
    watch_again: bool,
    overfull: bool,
    next_walk: Instant,
    next_check: Instant,
    next_tick: Instant,
    hints_at: Option<Instant>,
    take_after: Instant,
    overflows: u64,
}

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        settings: DropFolder,
        lanes: Lanes,
    ) -> Self {
        let now = Instant::now();
        let rest = Rest { sure: settings.settle, unsure: settings.settle.saturating_mul(UNSURE_FACTOR) };
        let schedule = Schedule::new(settings.parallel);
        Self {
            shared,
            commands,
            settings: Arc::new(settings),
            context: None,
            lanes: Some(Arc::new(lanes)),
            leave: watch::Sender::new(false),
            watch: None,
            woken: Arc::new(Notify::new()),
            watched: HashMap::new(),
            paused: false,
            events: false,
            rest,
            poll: POLL_WITHOUT_EVENTS,
            pending: HashMap::new(),
            owners: HashMap::new(),
            by_place: HashMap::new(),
            ready: VecDeque::new(),
            taken: HashMap::new(),
            refused: HashMap::new(),
            schedule,
            moved_in: HashSet::new(),
            unfinished: HashMap::new(),
            waiters: HashMap::new(),
            retries: HashMap::new(),
            to_look: VecDeque::new(),
            queued: HashSet::new(),
            beside: HashMap::new(),
            to_prepare: VecDeque::new(),
            timers: BTreeSet::new(),
            jobs: JoinSet::new(),
            workers: HashMap::new(),
            looking: false,
            walking: false,
            taking: false,
            preparing: false,
            checking: false,
            check_began: now,
            is_unanswered: false,
            walk_wanted: false,
            watch_again: false,
            overfull: false,
            next_walk: now,
            next_check: now,
            next_tick: now,
            hints_at: None,
            take_after: now,
            overflows: 0,
        }
    }

    /// Works until the stop, then lets what is under way end for as long as `grace`.
    pub(crate) async fn run(mut self, mut stop: Stop, grace: Duration) {
        if let Err(error) = lease::ignore_breaks() {
            tracing::warn!(%error, "it can't be told whether dropped files are open for writing; they rest longer");
        }
        self.begin().await;
        loop {
            self.dispatch();
            let due = tokio::time::Instant::from_std(self.next_due());
            let woken = Arc::clone(&self.woken);
            tokio::select! {
                biased;
                () = raised(&mut stop.begun) => break,
                Some(command) = self.commands.recv() => self.command(command),
                Some(ended) = self.jobs.join_next_with_id(), if !self.jobs.is_empty() => {
                    self.ended(ended);
                    while let Some(ended) = self.jobs.try_join_next_with_id() {
                        self.ended(ended);
                    }
                }
                () = woken.notified(), if self.hints_at.is_none() => {
                    self.hints_at = Some(Instant::now() + HINTS_PAUSE);
                }
                () = tokio::time::sleep_until(due) => {}
            }
            if self.lanes.is_none() && self.jobs.is_empty() && Instant::now() >= self.next_check {
                self.begin_again().await;
            }
            self.clock();
        }
        self.end(stop, grace).await;
    }

    /// Lets items at work end. What does not in time is left where it lies: the next start goes on with it.
    async fn end(mut self, mut stop: Stop, grace: Duration) {
        let until = tokio::time::sleep(grace);
        tokio::pin!(until);
        while !self.workers.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
                () = &mut until => break,
                () = raised(&mut stop.at_once) => break,
            }
        }
        if self.workers.is_empty() {
            return;
        }
        tracing::info!(items = self.workers.len(), "items of the drop folder are left for the next start");
        self.leave.send_replace(true);
        // What waits for octets sees it at once; a commit under way is waited for by the registry.
        let quit = async { while self.jobs.join_next().await.is_some() {} };
        if tokio::time::timeout(HINTS_PAUSE.saturating_mul(50), quit).await.is_err() {
            self.jobs.abort_all();
        }
    }

    // ---- the start ----------------------------------------------------------------------------------------------

    async fn begin(&mut self) {
        if let Err(why) = self.try_begin().await {
            self.lost(why);
        }
    }

    /// The folder was gone: perhaps it is there again.
    async fn begin_again(&mut self) {
        self.next_check = Instant::now() + FOLDER_LOOK;
        let dir = self.settings.dir.clone();
        let reopened = tokio::task::spawn_blocking(move || Lanes::open_again(&dir)).await;
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

    async fn try_begin(&mut self) -> Result<(), String> {
        let Some(lanes) = self.lanes.clone() else { return Err("it is gone".to_owned()) };
        let registry = Arc::clone(&self.shared.registry);
        let told = |error: RegistryError| format!("the registry's records can't be read: {error}");
        if let Some(record) = registry.intake().await.map_err(told)? {
            self.paused = record.paused;
            show_intake(&mut self.shared.table(), &record);
        }
        let (on_thread, settings) = (Arc::clone(&lanes), Arc::clone(&self.settings));
        let found = tokio::task::spawn_blocking(move || jobs::find(&on_thread, &settings.namespaces)).await;
        let Found { taken, rejected } = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
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
        for (id, place) in taken {
            let may_be_decided = recorded.remove(&id).is_some();
            self.take_up(id, place, may_be_decided);
        }
        // What was on its way back from there is taken.
        for (path, document) in rejected.into_iter().rev() {
            self.list_rejected(path, &document);
        }
        let (device, now_ms) = (lanes.device(), clock::now_ms());
        recorded.retain(|_, record| jobs::may_be_forgotten(record, device, now_ms));
        registry.forget_ingests(recorded.into_keys().collect());
        let now = Instant::now();
        (self.next_walk, self.next_check) = (now, now + FOLDER_LOOK);
        self.walk_wanted = true;
        let mut table = self.shared.table();
        table.folder.problem = None;
        table.folder.events = self.events;
        table.folder.poll_seconds = self.poll.as_secs().max(1);
        table.folder.settle_seconds =
            u64::try_from(self.settings.settle.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Ok(())
    }

    fn begin_watching(&mut self, lanes: &Lanes) {
        self.watched.clear();
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
    fn watch_folder(&mut self, lanes: &Lanes, root: Root, namespace: Option<&str>) -> bool {
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
    fn take_up(&mut self, id: ItemId, place: Place, may_be_decided: bool) {
        let now_ms = clock::now_ms();
        let mut row = Row::new(place.shown(), format!("processing/{id}"), IngestKind::File, now_ms);
        row.seen_at_ms = created_ms(id);
        let text =
            if may_be_decided { "it is decided, and is moved" } else { "it was taken before the daemon started" };
        row.come_to(IngestState::Waiting, Some(text.to_owned()), now_ms);
        self.shared.table().insert(id, row);
        self.insert_taken(id, place, None, may_be_decided);
        self.to_prepare.push_back(id);
    }

    fn insert_taken(&mut self, id: ItemId, place: Place, beside: Option<Vec<OsString>>, may_be_decided: bool) {
        let taken = Taken {
            place,
            beside,
            prepared: None,
            decided: None,
            may_be_decided,
            attempts: 0,
            stage: TakenStage::Preparing,
            settling: None,
            due: None,
            claimed: false,
        };
        self.taken.insert(id, taken);
    }

    /// An item that lies in `rejected/` from an earlier run.
    fn list_rejected(&mut self, lies: PathBuf, document: &[u8]) {
        let Ok(found) = serde_json::from_slice::<Rejection>(document) else {
            tracing::warn!(
                path = common::shown::shown(&lies.to_string_lossy(), 200),
                "a document in `rejected/` can't be read; its file is not listed"
            );
            return;
        };
        let (Ok(id), Some(place)) = (found.item.parse::<ItemId>(), place_of_rejected(&lies, &found.item)) else {
            return;
        };
        if self.refused.contains_key(&id) || self.taken.contains_key(&id) {
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

    /// The folder can't be used: everything that lies in it is forgotten until it is there again. Nothing is made of what
    /// is not there, and nothing is lost with it.
    fn lost(&mut self, why: String) {
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
        self.schedule = Schedule::new(self.settings.parallel);
        self.moved_in.clear();
        self.unfinished.clear();
        self.waiters.clear();
        self.retries.clear();
        self.to_look.clear();
        self.queued.clear();
        self.beside.clear();
        self.to_prepare.clear();
        self.timers.clear();
        self.watched.clear();
        self.watch = None;
        self.hints_at = None;
        self.walk_wanted = false;
        self.lanes = None;
        self.context = None;
        self.next_check = Instant::now() + FOLDER_LOOK;
    }

    // ---- the clock and the kernel -------------------------------------------------------------------------------

    fn next_due(&self) -> Instant {
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
    fn clock(&mut self) {
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

    fn set_due(&mut self, id: ItemId, at: Option<Instant>) {
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
    fn due(&mut self, id: ItemId, at: Instant) {
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
            TakenStage::Preparing | TakenStage::Scheduled | TakenStage::GivenUp => {}
        }
    }

    fn look(&mut self, place: Place) {
        self.look_at(Target::Place(place));
    }

    fn look_at(&mut self, target: Target) {
        if self.queued.insert(target.clone()) {
            self.to_look.push_back(target);
        }
    }

    fn hints(&mut self, hints: Hints) {
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
            }
        }
    }

    fn place_at(&self, folder: &Path, name: OsString) -> Option<Place> {
        let (root, namespace) = self.watched.get(folder)?.clone();
        Some(Place { root, namespace, name })
    }

    fn hint(&mut self, place: Place) {
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

    // ---- beginning what is due ----------------------------------------------------------------------------------

    fn dispatch(&mut self) {
        let (Some(lanes), Some(context)) = (self.lanes.clone(), self.context.clone()) else { return };
        if self.walk_wanted && !self.walking {
            (self.walk_wanted, self.walking) = (false, true);
            let lanes = Arc::clone(&lanes);
            self.jobs.spawn_blocking(move || Ended::Walked(jobs::walk(&lanes)));
        }
        if !self.to_look.is_empty() && !self.looking {
            self.looking = true;
            let count = self.to_look.len().min(BATCH);
            let now = Instant::now();
            let mut batch = Vec::with_capacity(count);
            for target in self.to_look.drain(..count) {
                self.queued.remove(&target);
                let mut known = BTreeSet::new();
                let settling = match &target {
                    Target::Place(place) => {
                        known = self.beside.remove(place).unwrap_or_default();
                        let pending = self.by_place.get(place).and_then(|id| self.pending.get(id));
                        if let Some(pending) = pending {
                            known.extend(pending.beside.keys().cloned());
                        }
                        pending.map(|pending| &pending.settling)
                    }
                    Target::Item(id, _) => self.taken.get(id).and_then(|taken| taken.settling.as_ref()),
                };
                let asks = settling.is_some_and(|settling| settling.asks_writer(now, self.rest));
                batch.push(ToLook { target, known, asks });
            }
            let lanes = Arc::clone(&lanes);
            self.jobs.spawn_blocking(move || {
                let look = |one: ToLook| {
                    let shown = jobs::look(&lanes, &one);
                    (one.target, shown)
                };
                let mut looked: Vec<_> = batch.into_iter().map(look).collect();
                // What is gone comes last: it may have come back under another name of the same batch.
                looked.sort_by_key(|(_, shown)| shown.as_ref().is_ok_and(|shown| shown.seen.is_none()));
                Ended::Looked(looked)
            });
        }
        if !self.to_prepare.is_empty() && !self.preparing {
            self.preparing = true;
            let count = self.to_prepare.len().min(BATCH);
            let batch: Vec<ToPrepare> = self
                .to_prepare
                .drain(..count)
                .filter_map(|id| self.taken.get(&id).map(|taken| (id, taken.place.clone(), taken.beside.clone())))
                .collect();
            let lanes = Arc::clone(&lanes);
            self.jobs.spawn_blocking(move || Ended::Prepared(jobs::prepare_batch(&lanes, batch)));
        }
        if !self.taking && !self.ready.is_empty() && Instant::now() >= self.take_after {
            let batch = self.choose();
            if batch.is_empty() {
                // Not at each event: there may be many that wait, and each was looked at.
                self.take_after = Instant::now() + TAKE_PAUSE;
            } else {
                self.taking = true;
                let lanes = Arc::clone(&lanes);
                self.jobs.spawn_blocking(move || Ended::Took(jobs::take(&lanes, batch)));
            }
        }
        self.begin_work(&context);
    }

    /// The ready items that are taken next, small ones first.
    fn choose(&mut self) -> Vec<ToTake> {
        let (mut parked, mut big_taken) = (0, 0);
        for taken in self.taken.values() {
            parked += usize::from(taken.is_parked());
            big_taken += usize::from(taken.is_big() && !taken.is_parked());
        }
        let mut room = TAKEN_MAX.saturating_sub(self.taken.len().saturating_sub(parked)).min(BATCH);
        room = room.min(TAKEN_PARKED_MAX.saturating_sub(parked));
        let mut room_big = TAKEN_BIG_MAX.saturating_sub(big_taken);
        let mut of_model: HashMap<String, usize> = HashMap::new();
        let (mut batch, mut left) = (Vec::new(), VecDeque::new());
        while let Some(id) = self.ready.pop_front() {
            let Some(pending) = self.pending.get_mut(&id).filter(|pending| pending.phase == Phase::Ready) else {
                continue;
            };
            let Some(seen) = pending.last.clone() else { continue };
            let is_big = seen.size >= BIG_OCTETS;
            let model = process::name_of(&pending.place, kind_now(&seen)).ok().map(|name| name.folded());
            let many = model
                .as_ref()
                .map_or(0, |model| self.schedule.of_model(model) + of_model.get(model).copied().unwrap_or_default());
            let fits = room > 0 && (!is_big || room_big > 0) && many < TAKEN_OF_MODEL_MAX;
            if !pending.discarded && (self.paused || pending.claimed || !fits) {
                left.push_back(id);
                if room == 0 {
                    break;
                }
                continue;
            }
            room = room.saturating_sub(1);
            room_big = room_big.saturating_sub(usize::from(is_big));
            if let Some(model) = model {
                *of_model.entry(model).or_default() += 1;
            }
            pending.phase = Phase::Taking;
            let sidecars = pending.beside.keys().cloned().collect();
            batch.push(ToTake { id, place: pending.place.clone(), seen, sidecars });
        }
        left.append(&mut self.ready);
        self.ready = left;
        batch.sort_by_key(|one| one.seen.size >= BIG_OCTETS);
        batch
    }

    fn begin_work(&mut self, context: &Arc<Context>) {
        loop {
            let (paused, all) = (self.paused, &self.taken);
            let next = self.schedule.next(|id| {
                all.get(&id)
                    .is_some_and(|taken| !taken.claimed && (!paused || taken.decided.is_some() || taken.may_be_decided))
            });
            let Some(id) = next else { return };
            let Some((taken, prepared)) =
                self.taken.get(&id).and_then(|taken| Some((taken, Arc::clone(taken.prepared.as_ref()?))))
            else {
                self.schedule.remove(id);
                continue;
            };
            let progress = Progress::new();
            let (now, now_ms) = (Instant::now(), clock::now_ms());
            self.shared.table().change(id, |row| {
                row.attempts = taken.attempts + 1;
                row.come_to(IngestState::Hashing, None, now_ms);
                row.progress = Some(Arc::clone(&progress));
                row.samples.push_back((now, 0));
            });
            let work = Work {
                id,
                place: taken.place.clone(),
                prepared,
                progress,
                may_be_decided: taken.may_be_decided || taken.attempts > 0,
                decided: taken.decided.clone(),
            };
            let context = Arc::clone(context);
            let begun = self.jobs.spawn(async move {
                let (id, worked) = process::run(context, work).await;
                Ended::Worked(id, worked)
            });
            self.workers.insert(begun.id(), id);
        }
    }

    // ---- what has ended -----------------------------------------------------------------------------------------

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let ended = match ended {
            Ok((task, ended)) => {
                self.workers.remove(&task);
                ended
            }
            Err(error) => match self.workers.remove(&error.id()) {
                Some(id) => {
                    tracing::error!(%error, "the work on an item of the drop folder failed");
                    Ended::Worked(
                        id,
                        Worked::Failed("a fault in the registry; the daemon's log has the cause".to_owned()),
                    )
                }
                None => {
                    (self.looking, self.walking, self.taking, self.preparing) = (false, false, false, false);
                    self.checking = false;
                    self.lost(format!("a fault: {error}"));
                    return;
                }
            },
        };
        match ended {
            Ended::Looked(looked) => {
                self.looking = false;
                if self.lanes.is_some() {
                    for (target, shown) in looked {
                        self.looked(target, shown);
                    }
                }
            }
            Ended::Walked(walked) => {
                self.walking = false;
                match walked {
                    Ok(listed) if self.lanes.is_some() => self.walked(listed),
                    Ok(_) => {}
                    Err(error) if self.lanes.is_some() => self.lost(format!("it can't be listed: {error}")),
                    Err(_) => {}
                }
            }
            Ended::Took(took) => {
                self.taking = false;
                for (id, took) in took {
                    self.took(id, took);
                }
            }
            Ended::Prepared(prepared) => {
                self.preparing = false;
                for (id, prepared) in prepared {
                    self.prepared(id, prepared);
                }
            }
            Ended::Marked(place, marked) => self.marked(place, marked),
            Ended::Worked(id, worked) => self.worked(id, worked),
            Ended::RefusedInPlace(id, recorded) => self.refused_in_place(id, recorded),
            Ended::Readmitted(id, readmitted) => self.readmitted(id, readmitted),
            Ended::Checked(checked) => {
                self.checking = false;
                self.checked(checked);
            }
        }
    }

    fn checked(&mut self, checked: std::io::Result<()>) {
        if std::mem::take(&mut self.is_unanswered) {
            tracing::info!("the file system of the drop folder answers again");
            self.shared.table().folder.problem = None;
        }
        if let (Err(error), Some(_)) = (checked, &self.lanes) {
            self.lost(error.to_string());
        }
    }

    // ---- pending items ------------------------------------------------------------------------------------------

    fn walked(&mut self, listed: Vec<Listed>) {
        let Some(lanes) = self.lanes.clone() else { return };
        self.shared.table().folder.walked_at = Some(clock::rfc3339(clock::now_ms()));
        let mut there: HashSet<Place> = HashSet::new();
        let mut folders: HashSet<PathBuf> = HashSet::new();
        let mut is_new_folder = false;
        if std::mem::take(&mut self.watch_again) {
            self.watched.clear();
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

    fn is_as_known(&self, place: &Place, seen: &Seen) -> bool {
        let pending = self.by_place.get(place).and_then(|id| self.pending.get(id));
        pending.is_some_and(|pending| pending.last.as_ref() == Some(seen))
    }

    fn looked(&mut self, target: Target, shown: std::io::Result<Shown>) {
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
    fn unfinished(&mut self, place: Place, seen: Option<&Seen>) {
        let Some(seen) = seen else { return self.forget_place(&place) };
        let Some(id) = self.pending_at(&place, seen) else { return };
        let Some(pending) = self.pending.get_mut(&id) else { return };
        self.unfinished.insert((seen.device, seen.inode), id);
        pending.last = Some(seen.clone());
        let look = Look { seen: seen.clone(), beside: Vec::new(), writer: None, moved_in: false };
        if pending.discarded {
            return self.is_ready(id);
        }
        if let Verdict::Wait { reason, .. } = pending.settling.look(look, Instant::now(), self.rest) {
            self.wait(id, IngestState::Seen, reason);
        }
    }

    /// A sidecar without its file.
    fn lone_looked(&mut self, place: Place, seen: Option<Seen>) {
        let (NameKind::Sidecar(of) | NameKind::Checksum(of)) = place.kind() else { return };
        let Some(seen) = seen else { return self.forget_place(&place) };
        let item = place.beside(of);
        if self.by_place.contains_key(&item) {
            self.forget_place(&place);
            self.beside.entry(item.clone()).or_default().insert(place.name);
            return self.look(item);
        }
        let Some(id) = self.pending_at(&place, &seen) else { return };
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
    fn pending_at(&mut self, place: &Place, seen: &Seen) -> Option<ItemId> {
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
                    let id = new_id();
                    let row = Row::new(place.shown(), lies_at(place), kind, clock::now_ms());
                    self.shared.table().insert(id, row);
                    self.by_place.insert(place.clone(), id);
                    *self.owners.entry(seen.owner_uid).or_default() += 1;
                    let pending = Pending {
                        place: place.clone(),
                        owner_uid: seen.owner_uid,
                        phase: Phase::Settling,
                        settling: Settling::new(place.clone()),
                        last: None,
                        beside: BTreeMap::new(),
                        due: None,
                        claimed: false,
                        discarded: false,
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
    fn renamed_to(&mut self, place: &Place, seen: &Seen) -> Option<ItemId> {
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
    fn forget_place(&mut self, place: &Place) {
        let Some(id) = self.by_place.get(place).copied() else { return };
        if self.pending.get(&id).is_some_and(|pending| pending.phase == Phase::Taking) {
            return;
        }
        self.forget_pending(id);
        self.shared.table().remove(id);
        self.answer(id);
    }

    fn forget_pending(&mut self, id: ItemId) {
        self.set_due(id, None);
        if let Some(pending) = self.pending.remove(&id) {
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

    fn wait(&self, id: ItemId, state: IngestState, reason: String) {
        self.shared.table().change(id, |row| row.come_to(state, Some(reason), clock::now_ms()));
    }

    fn item_looked(&mut self, place: Place, shown: Shown) {
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
                let Some(lanes) = self.lanes.clone() else { return };
                self.jobs.spawn_blocking(move || {
                    let marked = lanes.mark_namespace(&place);
                    Ended::Marked(place, marked)
                });
            }
            Verdict::Wait { until, reason } => {
                self.not_ready(id);
                self.wait(id, IngestState::Seen, reason);
                self.set_due(id, until);
                if until.is_some_and(|until| until <= now) {
                    self.set_due(id, None);
                    self.look(place);
                }
            }
        }
    }

    fn new_namespace(&mut self, place: &Place) {
        let Some(lanes) = self.lanes.clone() else { return };
        if let Some(name) = namespace_of(&place.name)
            && self.watch_folder(&lanes, place.root, Some(name))
        {
            self.walk_wanted = true;
        }
    }

    fn marked(&mut self, place: Place, marked: std::io::Result<()>) {
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

    fn not_ready(&mut self, id: ItemId) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.phase = Phase::Settling;
        }
    }

    fn is_ready(&mut self, id: ItemId) {
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

    fn reason_to_wait(&self) -> String {
        if self.paused { "the drop folder is paused" } else { "it waits for its turn" }.to_owned()
    }

    fn took(&mut self, id: ItemId, took: Took) {
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
    fn refuse_in_place(&mut self, id: ItemId, why: String) {
        let (Some(context), Some(pending)) = (self.context.clone(), self.pending.get_mut(&id)) else { return };
        let Some(seen) = pending.last.clone() else { return };
        pending.phase = Phase::Stuck;
        let place = pending.place.clone();
        tracing::warn!(path = process::shown(&place), %why, "a dropped file is refused where it lies");
        self.wait(id, IngestState::Rejected, why.clone());
        self.jobs.spawn(async move {
            let error = RegistryError::invalid("file", why);
            let item = process::item(id, &place, kind_now(&seen), &seen, None, None);
            let recorded = process::reject(&context, None, item, &error).await;
            // It is not in `processing/`: no start would ask for the record.
            context.registry.forget_ingests(vec![id]);
            Ended::RefusedInPlace(id, recorded)
        });
    }

    fn refused_in_place(&mut self, id: ItemId, recorded: Result<IngestRecord, Failure>) {
        match recorded {
            Ok(record) => {
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

    // ---- taken items --------------------------------------------------------------------------------------------

    fn prepare_again(&mut self, id: ItemId) {
        let Some(taken) = self.taken.get_mut(&id) else { return };
        taken.stage = TakenStage::Preparing;
        if !self.to_prepare.contains(&id) {
            self.to_prepare.push_back(id);
        }
    }

    fn prepared(&mut self, id: ItemId, prepared: Result<Prepared, Unprepared>) {
        let Some(taken) = self.taken.get_mut(&id) else { return };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(Unprepared::Gone) => return self.gone(id),
            Err(Unprepared::Changed) => return self.settle_again(id, "it changed while it was looked at".to_owned()),
            Err(Unprepared::Io(error)) => {
                self.next_check = Instant::now();
                return self.failed(id, format!("it can't be looked at: {error}"));
            }
        };
        let is_decided = taken.may_be_decided || taken.decided.is_some();
        let is_written = prepared.writer == Writer::Some && !is_decided;
        let by = by_of(&self.settings, prepared.seen.owner_uid);
        let (name, reason) = (prepared.name.clone(), self.reason_to_wait());
        self.shared.table().change(id, |row| {
            row.kind = prepared.kind;
            row.size = prepared.seen.size;
            row.files = prepared.seen.tree.as_ref().map_or(1, |tree| tree.files);
            row.owner_uid = prepared.seen.owner_uid;
            row.by = by;
            row.name = name.as_ref().map(ToString::to_string).or_else(|| row.name.take());
            row.come_to(IngestState::Waiting, Some(reason), clock::now_ms());
        });
        let job = Job { item: id, size: prepared.seen.size, model: name.map(|name| name.folded()) };
        let Some(taken) = self.taken.get_mut(&id) else { return };
        taken.prepared = Some(Arc::new(prepared));
        if is_written {
            return self.settle_again(id, "a program still has it open for writing".to_owned());
        }
        taken.stage = TakenStage::Scheduled;
        if self.schedule.has(id) { self.schedule.resume(id) } else { self.schedule.add(job) }
    }

    /// It must rest again, where it is now. Nobody waits for it.
    fn settle_again(&mut self, id: ItemId, reason: String) {
        self.schedule.remove(id);
        let Some(taken) = self.taken.get_mut(&id) else { return };
        (taken.stage, taken.settling) = (TakenStage::Settling, Some(Settling::taken(taken.place.clone())));
        self.wait(id, IngestState::Waiting, reason);
        self.set_due(id, Some(Instant::now() + HINTS_PAUSE));
    }

    fn taken_looked(&mut self, id: ItemId, shown: Shown) {
        let Some(taken) = self.taken.get_mut(&id).filter(|taken| taken.stage == TakenStage::Settling) else { return };
        let Some(seen) = shown.seen else { return self.gone(id) };
        let now = Instant::now();
        let look = Look { seen, beside: Vec::new(), writer: shown.writer, moved_in: false };
        let Some(settling) = &mut taken.settling else { return self.prepare_again(id) };
        match settling.look(look, now, self.rest) {
            Verdict::Ready | Verdict::Namespace { .. } => self.prepare_again(id),
            Verdict::Wait { until, reason } => {
                self.wait(id, IngestState::Waiting, reason);
                self.set_due(id, Some(until.unwrap_or(now + FOLDER_LOOK)));
            }
        }
    }

    /// Somebody took it out of `processing/`.
    fn gone(&mut self, id: ItemId) {
        self.schedule.remove(id);
        self.set_due(id, None);
        if let Some(taken) = self.taken.remove(&id) {
            tracing::warn!(path = process::shown(&taken.place), item = %id, "an item is no longer in `processing/`");
        }
        self.shared.table().remove(id);
        self.shared.registry.forget_ingests(vec![id]);
        self.answer(id);
    }

    /// It is tried again, later; after some times only by hand.
    fn failed(&mut self, id: ItemId, reason: String) {
        let Some(taken) = self.taken.get_mut(&id) else { return };
        taken.attempts += 1;
        // What is decided is moved at last, however long it takes.
        let is_over = taken.attempts >= ATTEMPTS_MAX && taken.decided.is_none();
        taken.stage = if is_over { TakenStage::GivenUp } else { TakenStage::Waiting };
        let (attempts, now_ms) = (taken.attempts, clock::now_ms());
        let wait = backoff(attempts);
        let is_decided = taken.decided.is_some();
        if is_over || is_decided {
            self.schedule.remove(id)
        } else {
            self.schedule.hold(id)
        }
        self.set_due(id, (!is_over).then(|| Instant::now() + wait));
        self.shared.table().change(id, |row| {
            row.step(IngestState::Failed, reason.clone(), now_ms);
            row.state_since_ms = now_ms;
            row.state = IngestState::Failed;
            row.come_to(IngestState::Failed, Some(reason), now_ms);
            row.attempts = attempts;
            let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            row.next_try_at_ms = (!is_over).then(|| now_ms.saturating_add(wait_ms));
        });
        if is_over {
            tracing::warn!(item = %id, attempts, "an item of the drop folder waits for a person: retry or discard it");
        }
        self.answer(id);
    }

    fn worked(&mut self, id: ItemId, worked: Worked) {
        if !self.taken.contains_key(&id) {
            // The folder was gone in between. If it came to something, the records know.
            return;
        }
        match worked {
            Worked::Finished(decided, lies) => self.finished(id, &decided, lies),
            Worked::Unfinished(decided, error) => {
                tracing::warn!(item = %id, %error, "a decided item can't be moved; it is tried again");
                self.next_check = Instant::now();
                if let Some(taken) = self.taken.get_mut(&id) {
                    taken.decided = Some(decided);
                }
                self.failed(id, format!("it is decided, and can't be moved out of `processing/`: {error}"));
            }
            Worked::Changed(why) => self.settle_again(id, why),
            Worked::Full(why) => {
                // Nobody knows for how long: smaller ones of its model do not wait for it.
                self.schedule.remove(id);
                if let Some(taken) = self.taken.get_mut(&id) {
                    taken.stage = TakenStage::Waiting;
                }
                self.wait(id, IngestState::Waiting, why);
                self.set_due(id, Some(Instant::now() + ROOM_LOOK));
                self.answer(id);
            }
            Worked::Failed(why) => self.failed(id, why),
            Worked::Left => self.schedule.remove(id),
        }
    }

    fn finished(&mut self, id: ItemId, decided: &Decided, lies: PathBuf) {
        self.schedule.remove(id);
        self.set_due(id, None);
        let Some(taken) = self.taken.remove(&id) else { return };
        let (path, now_ms) = (process::shown(&taken.place), clock::now_ms());
        let record = &decided.record;
        let mut table = self.shared.table();
        match &decided.came_to {
            CameTo::Version { name, model, version, quarantined } => {
                let model_name = name.as_deref().unwrap_or_default();
                tracing::info!(path, version = format!("{model_name}:{version}"), item = %id, "taken in");
                table.change(id, |row| {
                    row.come_to(if *quarantined { IngestState::Quarantined } else { IngestState::Done }, None, now_ms);
                    row.name = name.clone().or_else(|| row.name.take());
                    (row.model, row.version) = (Some(*model), Some(*version));
                });
                table.count_done(id, record.size, now_ms);
            }
            CameTo::Refused { problem, detail } => {
                let problem_shown = problem.as_deref().unwrap_or(OF_DISCARDED);
                tracing::info!(path, problem = problem_shown, item = %id, "refused");
                table.change(id, |row| {
                    row.come_to(IngestState::Rejected, Some(detail.clone()), now_ms);
                    row.problem.clone_from(problem);
                });
                table.count_rejected(id, true);
                let kind = taken.prepared.as_ref().map_or(IngestKind::File, |prepared| prepared.kind);
                let item = Item {
                    id,
                    path: record.path.clone(),
                    kind,
                    device: record.device,
                    inode: record.inode,
                    owner_uid: record.owner_uid,
                    size: record.size,
                    digest: record.digest,
                    stage: None,
                };
                self.refused.insert(id, Refused { place: taken.place, lies: lies.clone(), item, claimed: false });
            }
        }
        table.change(id, |row| {
            row.octets_done = if matches!(decided.came_to, CameTo::Version { .. }) { row.size } else { 0 };
            row.digest = record.digest;
            row.log_index = Some(record.index);
            row.place = lies.display().to_string();
            if taken.prepared.is_none() {
                (row.size, row.owner_uid) = (record.size, record.owner_uid);
            }
            if row.by.is_none() {
                row.by = Some(decided.by.clone());
            }
        });
        // The list keeps the newest; what left it needs no keeping here.
        if self.refused.len() > 2 * crate::ingest::table::REJECTED_MAX {
            self.refused.retain(|id, _| table.get(*id).is_some());
        }
        drop(table);
        self.answer(id);
    }

    fn answer(&mut self, id: ItemId) {
        for waiter in self.waiters.remove(&id).unwrap_or_default() {
            // Nobody may wait any more.
            let _ = waiter.send(());
        }
    }

    // ---- what people do -----------------------------------------------------------------------------------------

    fn command(&mut self, command: Command) {
        match command {
            Command::Claim { id, purpose, reply } => {
                let claimed = self.claim(id, purpose);
                if let Err(Ok(_unclaimed)) = reply.send(claimed) {
                    self.release(id);
                }
            }
            Command::Release { id } => self.release(id),
            Command::Retry { id, by, reply } => self.retry(id, &by, reply),
            Command::Discard { id, record, reply } => self.discard(id, &record, reply),
            Command::Intake(record) => self.intake(&record),
        }
    }

    fn claim(&mut self, id: ItemId, purpose: Purpose) -> Result<Claimed, RegistryError> {
        let state = self.shared.table().item(id).map(|item| item.state).ok_or_else(|| not_found(id))?;
        let was = serde_json::to_value(state).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default();
        let conflict = |text: &str| Err(RegistryError::Conflict(text.to_owned()));
        if let Some(refused) = self.refused.get_mut(&id) {
            if std::mem::replace(&mut refused.claimed, true) {
                return conflict("somebody else does something with the item");
            }
            return Ok(Claimed { item: refused.item.clone(), was });
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            if pending.claimed || pending.discarded || pending.phase == Phase::Taking {
                return conflict("the item is under way");
            }
            if purpose == Purpose::Retry && pending.phase != Phase::Stuck {
                return conflict("the item is neither failed nor refused; it is taken in when it is complete");
            }
            let Some(seen) = &pending.last else { return conflict("the item has not yet been looked at") };
            pending.claimed = true;
            let item = process::item(id, &pending.place, kind_now(seen), seen, None, None);
            return Ok(Claimed { item, was });
        }
        let Some(taken) = self.taken.get_mut(&id) else {
            return conflict("the item is a version already");
        };
        let is_at_work = self.schedule.is_active(id) || taken.stage == TakenStage::Preparing;
        if is_at_work || taken.claimed {
            return conflict("the item is under way");
        }
        if taken.decided.is_some() || taken.may_be_decided {
            let is_retry = purpose == Purpose::Retry && state == IngestState::Failed;
            if !is_retry {
                return conflict("the item is decided already, and is only to be moved");
            }
        }
        // What waits for room need not wait for the next look.
        let may_go_on = state == IngestState::Failed || taken.stage == TakenStage::Waiting;
        if purpose == Purpose::Retry && !may_go_on {
            return conflict("the item is neither failed nor refused; it goes on by itself");
        }
        taken.claimed = true;
        let item = match &taken.prepared {
            Some(prepared) => process::item(id, &taken.place, prepared.kind, &prepared.seen, None, None),
            // It could not even be looked at since the start.
            None => Item {
                id,
                path: taken.place.shown(),
                kind: IngestKind::File,
                device: 0,
                inode: 0,
                owner_uid: 0,
                size: 0,
                digest: None,
                stage: None,
            },
        };
        Ok(Claimed { item, was })
    }

    fn release(&mut self, id: ItemId) {
        if let Some(refused) = self.refused.get_mut(&id) {
            refused.claimed = false;
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.claimed = false;
        }
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.claimed = false;
        }
    }

    fn retry(&mut self, id: ItemId, by: &str, reply: oneshot::Sender<Result<(), RegistryError>>) {
        self.release(id);
        let text = format!("tried again by `{by}`");
        if let (Some(refused), Some(lanes)) = (self.refused.get_mut(&id), self.lanes.clone()) {
            refused.claimed = true;
            let (place, lies) = (refused.place.clone(), refused.lies.clone());
            self.shared.table().change(id, |row| row.step(IngestState::Waiting, text, clock::now_ms()));
            self.retries.insert(id, reply);
            self.jobs.spawn_blocking(move || Ended::Readmitted(id, lanes.readmit(id, &place, &lies)));
            return;
        }
        let came = if let Some(pending) = self.pending.get_mut(&id) {
            pending.phase = Phase::Settling;
            let place = pending.place.clone();
            self.look(place);
            Ok(())
        } else if let Some(taken) = self.taken.get_mut(&id) {
            taken.attempts = 0;
            taken.may_be_decided = true;
            self.set_due(id, None);
            self.prepare_again(id);
            Ok(())
        } else {
            Err(not_found(id))
        };
        if came.is_ok() {
            self.shared.table().change(id, |row| {
                row.attempts = 0;
                row.problem = None;
                row.come_to(IngestState::Waiting, Some(text), clock::now_ms());
            });
        }
        // Nobody may wait any more.
        let _ = reply.send(came);
    }

    fn readmitted(&mut self, id: ItemId, readmitted: Result<(), TakeError>) {
        let reply = self.retries.remove(&id);
        let came = match readmitted {
            Ok(()) => {
                if let Some(refused) = self.refused.remove(&id) {
                    self.insert_taken(id, refused.place, None, false);
                    self.to_prepare.push_back(id);
                    self.shared.table().change(id, |row| {
                        row.attempts = 0;
                        (row.problem, row.log_index) = (None, None);
                        row.place = format!("processing/{id}");
                        let reason = "it is tried again".to_owned();
                        row.come_to(IngestState::Waiting, Some(reason), clock::now_ms());
                    });
                }
                Ok(())
            }
            Err(error) => {
                self.release(id);
                match error {
                    TakeError::Changed => {
                        self.refused.remove(&id);
                        self.shared.table().remove(id);
                        Err(RegistryError::Conflict("it no longer lies in `rejected/`; drop it again".to_owned()))
                    }
                    TakeError::Refused(why) => Err(RegistryError::Conflict(why)),
                    TakeError::Io(error) => Err(RegistryError::Internal(error.into())),
                }
            }
        };
        if let Some(reply) = reply {
            // Nobody may wait any more.
            let _ = reply.send(came);
        }
    }

    fn discard(&mut self, id: ItemId, record: &IngestRecord, reply: oneshot::Sender<()>) {
        self.release(id);
        if let Some(refused) = self.refused.remove(&id) {
            self.shared.table().remove(id);
            self.shared.registry.forget_ingests(vec![refused.item.id]);
            // Nobody may wait any more.
            let _ = reply.send(());
            return;
        }
        let given_up = match &record.outcome {
            IngestOutcome::Discarded { by, reason } => format!("given up by `{by}`: {reason}"),
            IngestOutcome::Published { .. } | IngestOutcome::Rejected { .. } => OF_DISCARDED.to_owned(),
        };
        self.shared.table().change(id, |row| row.step(IngestState::Waiting, given_up, clock::now_ms()));
        if let Some(pending) = self.pending.get_mut(&id) {
            if pending.phase == Phase::Stuck {
                // It stays where it is, and is not tried again until it changes.
                self.shared.table().remove(id);
                self.shared.registry.forget_ingests(vec![id]);
                let _ = reply.send(());
                return;
            }
            pending.discarded = true;
            let place = pending.place.clone();
            self.waiters.entry(id).or_default().push(reply);
            self.look(place);
        } else if let Some(taken) = self.taken.get_mut(&id) {
            taken.may_be_decided = true;
            taken.attempts = 0;
            self.waiters.entry(id).or_default().push(reply);
            self.set_due(id, None);
            self.prepare_again(id);
        }
    }

    fn intake(&mut self, record: &IntakeRecord) {
        self.paused = record.paused;
        tracing::info!(paused = record.paused, by = record.by, "the drop folder was told");
        let reason = self.reason_to_wait();
        let mut table = self.shared.table();
        let waiting = self.taken.iter().filter(|(_, taken)| taken.stage == TakenStage::Scheduled).map(|(id, _)| id);
        for id in self.ready.iter().chain(waiting) {
            table.change(*id, |row| {
                if row.state == IngestState::Waiting {
                    row.reason = Some(reason.clone());
                }
            });
        }
    }
}

impl Taken {
    /// Whether it goes on only when somebody else does something.
    fn is_parked(&self) -> bool {
        match self.stage {
            TakenStage::Settling | TakenStage::GivenUp => true,
            // Without a failure it waits for room.
            TakenStage::Waiting => self.attempts == 0,
            TakenStage::Preparing | TakenStage::Scheduled => false,
        }
    }

    fn is_big(&self) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| prepared.seen.size >= BIG_OCTETS)
    }
}

/// How long an item waits after so many failures.
fn backoff(attempts: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(RETRY_MAX)
}

/// The user that acts for files of a user of the machine, as people see it.
fn by_of(settings: &DropFolder, uid: u32) -> Option<String> {
    process::dropper_of(settings, uid).map(|dropper| match dropper {
        Dropper::User(name) => name.to_string(),
        Dropper::Watcher(_) => "watcher".to_owned(),
    })
}

fn kind_now(seen: &Seen) -> IngestKind {
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
fn created_ms(id: ItemId) -> i64 {
    i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX)
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
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::path::Path;
    use std::time::Duration;

    use super::{RETRY_MAX, backoff, created_ms, new_id, place_of_rejected};
    use crate::clock;

    /// The waits double up to their end.
    #[test]
    fn waits() {
        let waits: Vec<u64> = (1..=9).map(|attempts| backoff(attempts).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(backoff(u32::MAX), RETRY_MAX);
        assert_eq!(backoff(0), Duration::from_secs(5));
    }

    /// Ids tell when they were given, and differ.
    #[test]
    fn ids() {
        let (before, one, other) = (clock::now_ms(), new_id(), new_id());
        assert!((before..=clock::now_ms()).contains(&created_ms(one)));
        assert_ne!(one, other);
    }

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
