//! Collecting bytes that nothing points to, while everything else goes on: what crashes left, and removals that failed. On the
//! way it is seen what is missing, and which counts of references don't fit the versions. Knows how the three are compared;
//! that a blob may go is for the log to say (`removal.rs`), what is missing is for the scrubber to examine (`scrub.rs`).
//!
//! Three orders by digest are merged: what is stored, what the records say, and what versions point to. Two of them come in no
//! order and are sorted in pieces on disk, so memory is the same for any number of blobs. Nothing of that is one moment: what
//! was stored, published or purged in between looks odd. So it only makes suspects. What is listed and not recorded goes only
//! if it is old enough, nobody holds it and the log says that nothing points to it, read anew while it is closed to new
//! pins. A count is wrong only if the log's own versions say so, and missing is only what is asked for by its name and isn't
//! there.
//!
//! A stop or a kill at any point leaves what was there before, or less of what nobody needs. That a collection has ended is an
//! entry; without it, the next is still due.

mod sorted;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use common::api::gc::{GcLine, GcRequest, GcStatus, GcTotal};
use common::audit::{Action, Entry, Outcome as EntryOutcome, Target};
use common::digest::Digest;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use self::sorted::{Sorted, Sorter};
use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::throttle::give_way;
use crate::registry::{Inner, Registry};
use crate::store::records::BlobRecord;
use crate::store::references::{References, Verdict};
use crate::store::{EntryQuery, View};

/// How often it is looked whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Lines that may wait for the one who asked; then the collection waits.
const LINES_MAX: usize = 64;
/// Findings of a kind that are told one by one; the rest is only counted.
const TOLD_MAX: u64 = 1000;
/// Digests of removed blobs that the entry names.
const SAID_MAX: usize = 50;
/// Suspects that one reading of the log decides on: what is held of them are some 100 octets each.
const SUSPECTS_AT_ONCE: usize = 65_536;
/// Versions and records read at once.
const PAGE: usize = 256;
/// After so many rows it rests as long as they took, and no longer than [`REST_MAX`].
const ROWS_A_BREATH: u64 = 1024;
/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(100);
/// The longest that somebody can ask to leave alone, in seconds: ten years.
const AGE_S_MAX: u64 = 3650 * 24 * 3600;
/// Entries looked through for the last collection that removed.
const ENTRIES_MAX: usize = 100;

/// What collections share with everybody else.
#[derive(Default)]
pub(crate) struct Gc {
    running: Arc<AtomicBool>,
    runs: AtomicU64,
    removed: AtomicU64,
    removed_bytes: AtomicU64,
}

/// Counts of this daemon since its start.
#[derive(Debug, Clone, Copy)]
pub struct GcCounts {
    /// Collections that came to their end, dry runs included.
    pub runs: u64,
    /// Blobs that they removed.
    pub removed: u64,
    /// Octets of those.
    pub removed_bytes: u64,
}

/// One at a time; dropped at its end, however it ends.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(gc: &Gc) -> Option<Self> {
        (!gc.running.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(&gc.running)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What was asked of a collection.
struct Asked {
    by: Caller,
    dry_run: bool,
    min_age: Duration,
}

impl Registry {
    /// Begins a collection, on a thread that gives way. What it tells ends with the total; an end without one says that it
    /// could not be done. It ends when nobody listens any more.
    ///
    /// # Errors
    /// `OperatorOnly`; `Invalid`; `Conflict` while another runs.
    pub async fn collect(&self, caller: &Caller, request: GcRequest) -> Result<mpsc::Receiver<GcLine>, Failure> {
        let inner = &self.inner;
        let note = Note::event(Action::BlobsCollect, Target::new("blobs", "all")).with("dry_run", request.dry_run);
        if let Err(error) = caller.require_operator() {
            return Err(inner.refuse(caller, note, error).await);
        }
        if request.min_age_seconds.is_some_and(|seconds| seconds > AGE_S_MAX) {
            let error = RegistryError::invalid("body.min_age_seconds", format!("must be at most {AGE_S_MAX}"));
            return Err(inner.refuse(caller, note, error).await);
        }
        let Some(turn) = Turn::take(&inner.gc) else {
            let what = "a collection is running already; wait for its end".to_owned();
            return Err(RegistryError::Conflict(what).into());
        };
        let (tell, told) = mpsc::channel(LINES_MAX);
        let asked = Asked {
            by: Caller { request: None, ..caller.clone() },
            dry_run: request.dry_run,
            min_age: request.min_age_seconds.map_or(inner.settings().gc.min_age, Duration::from_secs),
        };
        let (done, _nobody_waits) = oneshot::channel();
        inner.begin_collection(turn, asked, Some(tell), done)?;
        Ok(told)
    }

    /// How collecting is doing.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn gc_status(&self) -> Result<GcStatus, RegistryError> {
        let inner = &self.inner;
        let interval = inner.settings().gc.interval;
        let (last, due_ms) =
            inner.read(|view| Ok((last(view)?, interval.map(|it| due_ms(view, it)).transpose()?))).await?;
        let state = match (inner.gc.running.load(Ordering::Acquire), interval) {
            (true, _) => "running",
            (false, Some(_)) => "waiting",
            (false, None) => "off",
        };
        Ok(GcStatus {
            state: state.to_owned(),
            last_ended_at: last.as_ref().map(|(at_ms, _total)| clock::rfc3339(*at_ms)),
            last: last.map(|(_at_ms, total)| total),
            next_at: due_ms.map(clock::rfc3339),
        })
    }

    /// What collections came to since the start.
    pub fn gc_counts(&self) -> GcCounts {
        let gc = &self.inner.gc;
        GcCounts {
            runs: gc.runs.load(Ordering::Relaxed),
            removed: gc.removed.load(Ordering::Relaxed),
            removed_bytes: gc.removed_bytes.load(Ordering::Relaxed),
        }
    }
}

/// The last collection that was not dry: when it ended, and what it came to.
fn last(view: &dyn View) -> Result<Option<(i64, GcTotal)>, RegistryError> {
    let query = EntryQuery {
        action: Some(Action::BlobsCollect.as_str().to_owned()),
        outcome: Some(EntryOutcome::Ok),
        limit: ENTRIES_MAX,
        ..EntryQuery::default()
    };
    for found in view.entries(&query)?.entries {
        let entry = Entry::parse(&found.leaf).map_err(|error| RegistryError::Corrupt(error.into()))?;
        let count = |key: &str| entry.data.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
        if entry.data.get("dry_run").is_some_and(|dry_run| *dry_run == serde_json::Value::Bool(true)) {
            continue;
        }
        let total = GcTotal {
            dry_run: false,
            stored: count("stored"),
            stored_bytes: count("stored_octets"),
            needed: count("needed"),
            orphans: count("orphans"),
            orphan_bytes: count("orphan_octets"),
            removed: count("removed"),
            removed_bytes: count("octets_freed"),
            left: count("left"),
            missing: count("missing"),
            wrong_size: count("wrong_size"),
            miscounted: count("miscounted"),
        };
        return Ok(Some((entry.ts, total)));
    }
    Ok(None)
}

/// When the next is due, milliseconds since the epoch: an interval after the last, or after the log began.
fn due_ms(view: &dyn View, interval: Duration) -> Result<i64, RegistryError> {
    let since = match last(view)? {
        Some((at_ms, _total)) => at_ms,
        None => {
            let leaf = view.leaf(0)?.unwrap_or_default();
            Entry::parse(&leaf).map_err(|error| RegistryError::Corrupt(error.into()))?.ts
        }
    };
    Ok(since.saturating_add(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX)))
}

/// Collects by the clock, for as long as the registry is there.
pub(crate) async fn rounds(inner: Weak<Inner>, interval: Duration) {
    let mut ticks = tokio::time::interval(LOOK_EVERY.min(interval));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        if !inner.store.upkeeps() {
            continue;
        }
        let due = match inner.read(|view| due_ms(view, interval)).await {
            Ok(due_ms) => due_ms <= clock::now_ms(),
            Err(error) => {
                tracing::warn!(error = crate::error_chain(&error), "can't tell when bytes are to be collected");
                false
            }
        };
        if !due {
            continue;
        }
        let Some(turn) = Turn::take(&inner.gc) else { continue };
        let asked = Asked { by: Caller::system(), dry_run: false, min_age: inner.settings().gc.min_age };
        let (done, ended) = oneshot::channel();
        if let Err(error) = inner.begin_collection(turn, asked, None, done) {
            tracing::warn!(error = crate::error_chain(&error), "bytes can't be collected");
            continue;
        }
        drop(inner);
        // A thread that panicked is gone; the next tick begins anew.
        let _ended = ended.await;
    }
}

impl Inner {
    /// Starts the thread of a collection.
    fn begin_collection(
        self: &Arc<Self>,
        turn: Turn,
        asked: Asked,
        tell: Option<mpsc::Sender<GcLine>>,
        done: oneshot::Sender<()>,
    ) -> Result<(), RegistryError> {
        let (inner, runtime, counted) = (Arc::clone(self), Handle::current(), self.tasks.hold());
        let work = move || {
            let _counted = counted;
            let turn = turn;
            give_way(false);
            let _entered = runtime.enter();
            let by_clock = tell.is_none();
            let mut collection = Collection::new(&inner, &runtime, asked, tell);
            match collection.run() {
                Ok(()) if collection.goes_on() => collection.finish(),
                // A stop, or nobody listens any more.
                Ok(()) => {}
                Err(error) => {
                    let error = crate::error_chain(&error);
                    tracing::warn!(error, by_clock, "a collection could not be done; what it removed was not needed");
                    collection.say(GcLine::Remark { what: format!("the collection could not be done: {error}") });
                }
            }
            // Whoever sees the end of this one may begin another.
            drop(turn);
            drop(collection);
            drop(inner);
            let _nobody_waits = done.send(());
        };
        std::thread::Builder::new()
            .name("mregd-gc".to_owned())
            .spawn(work)
            .map(|_thread| ())
            .map_err(|error| RegistryError::Internal(error.into()))
    }
}

/// Rests so that a walk takes half of the time at most.
struct Breath {
    rows: u64,
    since: Instant,
}

impl Breath {
    fn new() -> Self {
        Self { rows: 0, since: Instant::now() }
    }

    fn row(&mut self) {
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS_A_BREATH) {
            std::thread::sleep(self.since.elapsed().min(REST_MAX));
            self.since = Instant::now();
        }
    }
}

/// A collection under way.
struct Collection<'i> {
    inner: &'i Arc<Inner>,
    runtime: &'i Handle,
    asked: Asked,
    tell: Option<mpsc::Sender<GcLine>>,
    total: GcTotal,
    /// Digests of what was removed, the first of them.
    removed: Vec<String>,
    /// Listed, not recorded, and not looked at closer yet; with their sizes.
    orphans: Vec<(Digest, u64)>,
    /// Those whose counts don't fit what was seen.
    doubtful: Vec<Digest>,
    /// Whether there were more of those than are held.
    more_doubtful: bool,
    failures: u64,
    breath: Breath,
}

impl<'i> Collection<'i> {
    fn new(inner: &'i Arc<Inner>, runtime: &'i Handle, asked: Asked, tell: Option<mpsc::Sender<GcLine>>) -> Self {
        // As in `removal.rs`: the pins of others are not ours to see.
        let keeps_all = inner.store.is_shared() && inner.blobs.commit_within().is_none();
        let says_why = keeps_all && !asked.dry_run;
        let asked = Asked { dry_run: asked.dry_run || keeps_all, ..asked };
        let total = GcTotal { dry_run: asked.dry_run, ..GcTotal::default() };
        let mut collection = Self {
            inner,
            runtime,
            tell,
            total,
            removed: Vec::new(),
            orphans: Vec::new(),
            doubtful: Vec::new(),
            more_doubtful: false,
            failures: 0,
            breath: Breath::new(),
            asked,
        };
        if says_why {
            collection.say(GcLine::Remark {
                what: "several daemons share a directory of artifacts, so nothing is removed: stop all but one, and collect \
                       there without MREG_DATABASE, or keep artifacts in a bucket"
                    .to_owned(),
            });
        }
        collection
    }

    /// Whether to go on: nobody stops the daemon, and whoever asked still listens.
    fn goes_on(&self) -> bool {
        !self.inner.removals.is_stopping() && self.tell.as_ref().is_none_or(|tell| !tell.is_closed())
    }

    fn say(&mut self, line: GcLine) {
        if let Some(tell) = &self.tell {
            // Nobody listens: the next look ends it.
            let _gone = tell.blocking_send(line);
        }
    }

    fn progress(&mut self, step: &str, done: u64) {
        if done.is_multiple_of(ROWS_A_BREATH) {
            self.say(GcLine::Progress { step: step.to_owned(), done });
        }
    }

    fn fail(&mut self, digest: &Digest, what: String) {
        self.failures += 1;
        if self.failures <= TOLD_MAX {
            tracing::error!(%digest, what, "a collection found something wrong with a blob");
            self.say(GcLine::Failure { place: digest.to_string(), what });
        }
        if self.failures == TOLD_MAX {
            self.say(GcLine::Remark { what: "more is wrong, which is counted, but not told one by one".to_owned() });
        }
    }

    fn run(&mut self) -> Result<(), RegistryError> {
        // Where the whole store is away, that a blob is missing says nothing.
        self.inner.blobs.is_there()?;
        let mut stored = self.stored()?;
        let mut pointed = self.pointed()?;
        self.merge(&mut stored, &mut pointed)?;
        self.see_to_orphans()?;
        self.see_to_doubtful()
    }

    /// What is stored.
    fn stored(&mut self) -> Result<Sorted, RegistryError> {
        let internal = |error: std::io::Error| RegistryError::Internal(error.into());
        let mut sorter = Sorter::in_dir(&self.inner.settings().gc.dir).map_err(internal)?;
        let mut failed = None;
        let blobs = Arc::clone(&self.inner.blobs);
        blobs.list(&mut |digest, size| {
            if failed.is_some() || !self.goes_on() {
                return;
            }
            self.total.stored += 1;
            self.total.stored_bytes = self.total.stored_bytes.saturating_add(size);
            failed = sorter.push((digest, size)).err();
            self.progress("stored blobs", self.total.stored);
            self.breath.row();
        })?;
        match failed {
            Some(error) => Err(internal(error)),
            None => sorter.finish().map_err(internal),
        }
    }

    /// What versions point to, once for each file.
    fn pointed(&mut self) -> Result<Sorted, RegistryError> {
        let internal = |error: std::io::Error| RegistryError::Internal(error.into());
        let mut sorter = Sorter::in_dir(&self.inner.settings().gc.dir).map_err(internal)?;
        let (mut after, mut versions) = (None, 0);
        while self.goes_on() {
            let page = self.read(|view| Ok(view.all_versions(after, PAGE)?))?;
            for version in &page {
                for artifact in &version.artifacts {
                    sorter.push((artifact.digest, artifact.size)).map_err(internal)?;
                    self.breath.row();
                }
                versions += 1;
                self.progress("versions", versions);
            }
            after = page.last().map(|version| (version.model, version.version));
            if page.len() < PAGE {
                break;
            }
        }
        sorter.finish().map_err(internal)
    }

    fn merge(&mut self, stored: &mut Sorted, pointed: &mut Sorted) -> Result<(), RegistryError> {
        let internal = |error: std::io::Error| RegistryError::Internal(error.into());
        let mut records = Records::default();
        let mut done = 0;
        while self.goes_on() {
            let recorded = records.peek(self)?;
            let all = [stored.peek(), pointed.peek()].map(|row| row.map(|(digest, _size)| digest));
            let Some(digest) = all.into_iter().chain([recorded.map(|(digest, _)| digest)]).flatten().min() else {
                return Ok(());
            };
            let mut size = None;
            while let Some((_, found)) = stored.peek().filter(|(one, _)| *one == digest) {
                size = Some(found);
                stored.next().map_err(internal)?;
            }
            let mut count = 0;
            while pointed.peek().is_some_and(|(one, _)| one == digest) {
                count += 1;
                pointed.next().map_err(internal)?;
            }
            let record = recorded.filter(|(one, _)| *one == digest).map(|(_, record)| record);
            if record.is_some() {
                records.take();
            }
            self.compare(digest, size, count, record)?;
            done += 1;
            self.progress("blobs", done);
            self.breath.row();
        }
        Ok(())
    }

    /// One blob: its size where it is stored, how many files of versions point to it, what its record says.
    fn compare(
        &mut self,
        digest: Digest,
        stored: Option<u64>,
        pointed: u64,
        record: Option<BlobRecord>,
    ) -> Result<(), RegistryError> {
        let refs = record.map_or(0, |record| record.refs);
        if refs != pointed {
            if self.doubtful.len() < SUSPECTS_AT_ONCE {
                self.doubtful.push(digest);
            } else {
                self.more_doubtful = true;
            }
        }
        match (stored, record) {
            (Some(size), None) if pointed == 0 => {
                self.orphans.push((digest, size));
                if self.orphans.len() >= SUSPECTS_AT_ONCE {
                    self.see_to_orphans()?;
                }
            }
            (None, Some(_)) => {
                self.total.needed += 1;
                self.look_again(digest)?;
            }
            (Some(size), Some(record)) => {
                self.total.needed += 1;
                if size != record.size {
                    self.look_again(digest)?;
                }
            }
            (Some(_), None) | (None, None) => {}
        }
        Ok(())
    }

    /// A blob that looked missing or of another size: it may have come or gone since it was listed.
    fn look_again(&mut self, digest: Digest) -> Result<(), RegistryError> {
        let there = self.inner.blobs.contains(&digest)?;
        let Some(record) = self.read(|view| Ok(view.blob(&digest)?))? else { return Ok(()) };
        match there {
            Some(size) if size == record.size => return Ok(()),
            Some(size) => {
                self.total.wrong_size += 1;
                self.fail(&digest, format!("has {size} octets, and not the {} that were recorded", record.size));
            }
            None => {
                self.total.missing += 1;
                let refs = record.refs;
                self.fail(&digest, format!("is missing; {refs} files of versions are to be it"));
            }
        }
        // Whoever reads it holds back what needs it.
        self.inner.scrub.suspect(digest);
        Ok(())
    }

    /// Removes orphans that the log says nothing points to, or tells of them.
    fn see_to_orphans(&mut self) -> Result<(), RegistryError> {
        let mut suspects = Vec::new();
        for (digest, size) in std::mem::take(&mut self.orphans) {
            if !self.goes_on() {
                return Ok(());
            }
            self.breath.row();
            if self.read(|view| Ok(view.blob(&digest)?.is_some()))? {
                continue;
            }
            if self.inner.pins.is_held(&digest) || self.is_young(&digest)? {
                self.orphan(digest, size, false);
            } else {
                suspects.push((digest, size));
            }
        }
        if suspects.is_empty() {
            return Ok(());
        }
        let digests: Vec<Digest> = suspects.iter().map(|(digest, _size)| *digest).collect();
        let references = self.runtime.block_on(self.inner.read_references(References::of(&digests)))?;
        let is_free = |digest: &Digest| references.verdict(digest) == Verdict::Free;
        let wrong: Vec<Digest> =
            digests.iter().filter(|digest| references.verdict(digest) == Verdict::Miscounted).copied().collect();
        for digest in wrong {
            self.total.miscounted += 1;
            self.fail(
                &digest,
                "has a count of references in the log that doesn't fit its versions; it is kept".to_owned(),
            );
        }
        suspects.retain(|(digest, _size)| is_free(digest));
        if self.asked.dry_run {
            for (digest, size) in suspects {
                self.orphan(digest, size, true);
            }
            return Ok(());
        }
        let free: Vec<Digest> = suspects.iter().map(|(digest, _size)| *digest).collect();
        let removed = self.runtime.block_on(self.inner.remove_free(&free, references))?;
        for (digest, size) in suspects {
            self.orphan(digest, size, removed.contains(&digest));
        }
        Ok(())
    }

    /// Counts and tells an orphan.
    fn orphan(&mut self, digest: Digest, size: u64, removed: bool) {
        let total = &mut self.total;
        total.orphans += 1;
        total.orphan_bytes = total.orphan_bytes.saturating_add(size);
        if removed {
            total.removed += 1;
            total.removed_bytes = total.removed_bytes.saturating_add(size);
            if self.removed.len() < SAID_MAX {
                self.removed.push(digest.to_string());
            }
        } else {
            total.left += 1;
        }
        if removed && !self.asked.dry_run {
            self.inner.gc.removed.fetch_add(1, Ordering::Relaxed);
            self.inner.gc.removed_bytes.fetch_add(size, Ordering::Relaxed);
        }
        self.say(GcLine::Orphan { digest, size, removed });
    }

    fn is_young(&self, digest: &Digest) -> Result<bool, RegistryError> {
        if self.asked.min_age.is_zero() {
            return Ok(false);
        }
        // Of what can't tell its age nothing is removed.
        Ok(self.inner.blobs.age(digest)?.is_none_or(|age| age < self.asked.min_age))
    }

    /// Asks the log about counts that didn't fit.
    fn see_to_doubtful(&mut self) -> Result<(), RegistryError> {
        let doubtful = std::mem::take(&mut self.doubtful);
        if doubtful.is_empty() || !self.goes_on() {
            return Ok(());
        }
        // Reading them also compares what reads show with the log, and says where they differ.
        let references = self.runtime.block_on(self.inner.read_references(References::of(&doubtful)))?;
        for digest in doubtful {
            let (recorded, files) = references.counted(&digest);
            let shown = self.read(|view| Ok(view.blob(&digest)?))?.map_or(0, |record| record.refs);
            if recorded != files {
                self.total.miscounted += 1;
                let what =
                    format!("has {recorded} references by the count in the log, and {files} files of versions are it");
                self.fail(&digest, what);
            } else if shown != recorded && self.inner.store.stats().in_doubt {
                self.total.miscounted += 1;
                self.fail(&digest, format!("is shown with {shown} references, and the log has {recorded}; restart"));
            }
        }
        if self.more_doubtful {
            self.say(GcLine::Remark {
                what: "there are more counts in doubt than were looked up: run `mregd check`".into(),
            });
        }
        Ok(())
    }

    fn read<T: Send>(
        &self,
        work: impl FnOnce(&dyn View) -> Result<T, RegistryError> + Send,
    ) -> Result<T, RegistryError> {
        self.runtime.block_on(self.inner.read(work))
    }

    /// Records the end, and tells it.
    fn finish(&mut self) {
        let total = self.total;
        let note = Note::event(Action::BlobsCollect, Target::new("blobs", "all"))
            .with("dry_run", total.dry_run)
            .with("min_age_seconds", self.asked.min_age.as_secs())
            .with("stored", total.stored)
            .with("stored_octets", total.stored_bytes)
            .with("needed", total.needed)
            .with("orphans", total.orphans)
            .with("orphan_octets", total.orphan_bytes)
            .with("removed", total.removed)
            .with("octets_freed", total.removed_bytes)
            .with("left", total.left)
            .with("missing", total.missing)
            .with("wrong_size", total.wrong_size)
            .with("miscounted", total.miscounted)
            .with("digests", self.removed.clone());
        match self.runtime.block_on(self.inner.record(&self.asked.by, note)) {
            Ok(_done) => {
                self.inner.gc.runs.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    stored = total.stored,
                    orphans = total.orphans,
                    removed = total.removed,
                    octets_freed = total.removed_bytes,
                    missing = total.missing,
                    dry_run = total.dry_run,
                    "looked for bytes that nothing points to"
                );
                self.say(GcLine::Total(total));
            }
            Err(failure) => {
                let error = crate::error_chain(&failure.error);
                tracing::warn!(error, "what a collection came to can't be recorded");
                self.say(GcLine::Remark { what: format!("what it came to can't be recorded: {error}") });
            }
        }
    }
}

/// The records of blobs, page by page.
#[derive(Default)]
struct Records {
    page: std::collections::VecDeque<(Digest, BlobRecord)>,
    after: Option<Digest>,
    is_over: bool,
}

impl Records {
    fn peek(&mut self, collection: &Collection<'_>) -> Result<Option<(Digest, BlobRecord)>, RegistryError> {
        if self.page.is_empty() && !self.is_over {
            let after = self.after;
            let page = collection.read(|view| Ok(view.blobs(after.as_ref(), PAGE)?))?;
            self.is_over = page.len() < PAGE;
            self.after = page.last().map(|(digest, _record)| *digest);
            self.page = page.into();
        }
        Ok(self.page.front().copied())
    }

    fn take(&mut self) {
        self.page.pop_front();
    }
}
