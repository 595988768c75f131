//! The task of the drop folder: it alone knows each item's next step. It waits for hints, the clock, commands and finished
//! work, and begins what is due; it never blocks, and everything it begins is bounded: one batch of looks, one of takes,
//! one walk, and as many items at work as there are places.
//!
//! An item is *pending* while it lies where it was dropped, then *taken* while it lies in `processing/`, then it is only a
//! row of the table. Everything here may be lost at any time: a start finds it all again on disk and in the records.
//!
//! | module | what it does |
//! |---|---|
//! | `start` | the start, and the loss of the folder |
//! | `clock` | timers, walks and the kernel's hints |
//! | `turns` | what is begun next, and who is told when it has ended |
//! | `pending` | items where they were dropped |
//! | `taken` | items in `processing/` |
//! | `people` | what people do with items |

mod clock;
mod pending;
mod people;
mod start;
mod taken;
mod turns;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::name::ItemId;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};

use crate::config::ingest::DropFolder;
use crate::http::server::{Stop, raised};
use crate::ingest::documents::Stays;
use crate::ingest::engine::pending::{Pending, Stayed};
use crate::ingest::engine::people::Refused;
use crate::ingest::engine::taken::Taken;
use crate::ingest::jobs::{Listed, Shown, Target, Took};
use crate::ingest::lanes::{Lanes, TakeError, lease};
use crate::ingest::names::{Place, Root};
use crate::ingest::process::{Context, Prepared, Unprepared, Worked};
use crate::ingest::queue::{Command, Shared};
use crate::ingest::schedule::Schedule;
use crate::ingest::settle::Rest;
use crate::ingest::watch::Watch;
use crate::registry::error::{Failure, RegistryError};
use crate::store::records::IngestRecord;

/// Hints are collected for so long.
const HINTS_PAUSE: Duration = Duration::from_millis(20);
/// Walks where the kernel tells of changes, and where it does not.
const POLL_WITH_EVENTS: Duration = Duration::from_secs(60);
const POLL_WITHOUT_EVENTS: Duration = Duration::from_secs(5);
/// Where the kernel can't tell whether a file is open for writing, it rests so many times as long.
const UNSURE_FACTOR: u32 = 5;
/// A folder that is gone is looked for so often, and one that is there is looked after.
const FOLDER_LOOK: Duration = Duration::from_secs(5);
/// Rates are measured, and old items leave the list, so often.
const TICK: Duration = Duration::from_secs(1);
/// Problem of an item that is refused where it lies.
const OF_DISCARDED: &str = "given up by hand";

/// What a job came to.
enum Ended {
    Looked(Vec<(Target, std::io::Result<Shown>)>),
    Walked(std::io::Result<Vec<Listed>>),
    Took(Vec<(ItemId, Took)>),
    Prepared(Vec<(ItemId, Result<Prepared, Unprepared>)>),
    Marked(Place, std::io::Result<()>),
    Worked(ItemId, Worked),
    Finished(ItemId, std::io::Result<PathBuf>),
    Dismissed(ItemId, Option<oneshot::Sender<()>>, std::io::Result<()>),
    RefusedInPlace(ItemId, Result<(IngestRecord, Option<PathBuf>), Failure>),
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
    /// Watched folders that wait for a marker.
    open_folders: HashMap<PathBuf, Place>,
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
    /// What an earlier run refused where it lies.
    stayed: HashMap<Stays, Stayed>,
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
    /// Decided items, to be moved …
    to_finish: VecDeque<ItemId>,
    /// … and being moved.
    finishing: HashMap<Id, ItemId>,
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
            open_folders: HashMap::new(),
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
            stayed: HashMap::new(),
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
            to_finish: VecDeque::new(),
            finishing: HashMap::new(),
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
        loop {
            if let Some(context) = self.context.clone() {
                self.begin_finishing(&context);
            }
            if self.is_idle() {
                return;
            }
            tokio::select! {
                biased;
                Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
                () = &mut until => break,
                () = raised(&mut stop.at_once) => break,
            }
        }
        let items = self.workers.len() + self.finishing.len() + self.to_finish.len();
        tracing::info!(items, "items of the drop folder are left for the next start");
        self.leave.send_replace(true);
        // What waits for octets sees it at once; a commit under way is waited for by the registry.
        let quit = async { while self.jobs.join_next().await.is_some() {} };
        if tokio::time::timeout(HINTS_PAUSE.saturating_mul(50), quit).await.is_err() {
            self.jobs.abort_all();
        }
    }
}
